/* Names of hosts as addresses, without waiting: other threads ask the name server, and one that
 * does not answer holds up nobody but who needs that name.
 *
 * Each lookup asks anew, for machines and containers change their addresses. Who no longer wants to
 * wait just ends it; an answer that then comes is given to the next who asks for that name, so that
 * a slow name server is not asked in vain again and again. One owner each; any thread. */
#ifndef DMQ_NET_RESOLVE_H
#define DMQ_NET_RESOLVE_H

#include "libdmq/net/address.h"

struct resolve;

/* NULL if memory, descriptors or places (RESOLVE_MAX_HOSTS) are out. */
struct resolve *resolve_begin(const char *host);

/* Whether it has come to an end or not. NULL is a no-op. */
void resolve_end(struct resolve *resolve);

/* Readable from when the answer is there until resolve_end. */
int resolve_fd(const struct resolve *resolve);

/* False as long as there is no answer. Otherwise *ret_why is NULL, or a sentence's end (static) for
 * why the host has no address. */
bool resolve_answered(struct resolve *resolve, struct addresses *ret_addresses,
                      const char **ret_why);

/* The error of a host without an address; why: NULL for a name server that did not answer in time.
 * DMQ_ERR_UNREACHABLE. */
dmq_err resolve_error(const char *host, const char *why, struct err_msg *err);

#define RESOLVE_MAX_HOSTS 256  /* names in work at a time */
#define RESOLVE_MAX_THREADS 32 /* questions to the name server at a time */

#endif
