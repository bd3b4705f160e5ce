/* Why a broker cannot be reached: libzmq does not tell. */
#ifndef LIBDMQ_API_PROBE_H
#define LIBDMQ_API_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/base/err.h"

/* Whether there is such a host; false with a sentence (DMQ_ERR_UNREACHABLE) if not. libzmq would
 * look it up itself, but says nothing when it fails. */
bool probe_name(const char *host, struct err_msg *ret_reason);

/* Tries a plain TCP connection for a moment. True with a sentence if it fails with a reason:
 * DMQ_ERR_UNREACHABLE. */
bool probe(const char *host, int32_t port, struct err_msg *ret_reason);

#endif
