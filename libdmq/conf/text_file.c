#include "libdmq/conf/text_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dmq_err
text_file_read(const char *path, const char *what, char **ret_text, struct err_msg *err)
{
    char reason[64];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return err_set(err, DMQ_ERR_IO, "cannot open %s '%.150s': %s", what, path,
                       strerror_r(errno, reason, sizeof(reason)));
    }
    char *text = malloc(TEXT_FILE_MAX + 1);
    size_t size = text == NULL ? 0 : fread(text, 1, TEXT_FILE_MAX + 1, file);
    int failure = ferror(file) ? errno : 0;
    fclose(file);
    if (text == NULL) {
        return err_set(err, DMQ_ERR_NOMEM, "out of memory reading %s", what);
    }
    dmq_err code = DMQ_OK;
    if (failure != 0) {
        code = err_set(err, DMQ_ERR_IO, "cannot read %s '%.150s': %s", what, path,
                       strerror_r(failure, reason, sizeof(reason)));
    } else if (size > TEXT_FILE_MAX || memchr(text, 0, size) != NULL) {
        code = err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "%s '%.150s' is no text of at most %d bytes: give another file", what, path,
                       TEXT_FILE_MAX);
    }
    if (code != DMQ_OK) {
        free(text);
        return code;
    }
    text[size] = 0;
    *ret_text = text;
    return DMQ_OK;
}
