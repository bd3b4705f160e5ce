/* dmq://host[:port][,host[:port]]... */
#ifndef LIBDMQ_API_URL_H
#define LIBDMQ_API_URL_H

#include <stddef.h>

#include "libdmq/base/err.h"
#include "libdmq/client/client.h"

#define URL_MAX_ADDRESSES 64
#define URL_DEFAULT_PORT 9501
#define URL_DEFAULT "dmq://127.0.0.1:9501"

/* Fills up to URL_MAX_ADDRESSES addresses. IPv6 addresses stand in brackets. An address that stands
 * twice is taken once. DMQ_ERR_INVALID_ARGUMENT with a sentence. */
dmq_err url_parse(const char *url, struct client_address addresses[URL_MAX_ADDRESSES],
                  size_t *ret_count, struct err_msg *err);

#endif
