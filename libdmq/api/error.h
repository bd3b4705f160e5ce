/* Filling in the caller's dmq_error. */
#ifndef LIBDMQ_API_ERROR_H
#define LIBDMQ_API_ERROR_H

#include "dmq/dmq.h"
#include "libdmq/base/err.h"

/* Sets code, class and sentence; error may be NULL. Returns code. */
__attribute__((format(printf, 3, 4))) dmq_err api_error(struct dmq_error *error, dmq_err code,
                                                        const char *format, ...);

/* The same from a result of a lower layer; DMQ_OK leaves error alone. */
dmq_err api_result(struct dmq_error *error, const struct err_msg *msg);

#endif
