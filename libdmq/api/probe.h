/* Why a broker cannot be reached: libzmq does not tell. */
#ifndef LIBDMQ_API_PROBE_H
#define LIBDMQ_API_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/base/err.h"

/* Tries a plain TCP connection to a numeric address for a moment. True with a sentence, in which it
 * is called host, if it fails with a reason: DMQ_ERR_UNREACHABLE. */
bool probe(const char *host, const char *address, int32_t port, struct err_msg *ret_reason);

#endif
