/* A small file, whole, as text. */
#ifndef DMQ_CONF_TEXT_FILE_H
#define DMQ_CONF_TEXT_FILE_H

#include "libdmq/base/err.h"

#define TEXT_FILE_MAX 1048576

/* what is named in errors ("services file"). The text is the caller's to free(). Returns DMQ_OK,
 * DMQ_ERR_IO (cannot be read), DMQ_ERR_INVALID_CONFIG (too large, or holds a 0) or
 * DMQ_ERR_NOMEM. */
dmq_err text_file_read(const char *path, const char *what, char **ret_text, struct err_msg *err);

#endif
