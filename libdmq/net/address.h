/* Hosts and ports as ZeroMQ endpoints, names as addresses. */
#ifndef DMQ_NET_ADDRESS_H
#define DMQ_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "libdmq/base/err.h"

#define ADDRESS_SIZE 300
#define ADDRESS_HOST_SIZE 256   /* a name of DNS has 253 bytes at most */
#define ADDRESS_NUMERIC_SIZE 64 /* a numeric IPv6 address with its interface */
#define ADDRESS_MAX 8           /* that are kept of one name */

/* What a host's name stands for, numeric; IPv4 first: what "localhost" means to everybody who dials
 * it. */
struct addresses {
    size_t count;
    char numeric[ADDRESS_MAX][ADDRESS_NUMERIC_SIZE];
};

/* "tcp://host:port", with brackets around an IPv6 address. To connect to, host is to be numeric:
 * libzmq looks a name up on the thread that all connections share (resolve.h). */
const char *address_print(const char *host, int32_t port, char text[ADDRESS_SIZE]);

/* Takes a numeric address as it is; false if host is a name. */
bool address_take(const char *host, struct addresses *ret_addresses);

/* Looks host up, and waits as long as that takes: for seconds if a name server is silent. NULL, or
 * why there is no address: a static text. */
const char *address_find(const char *host, struct addresses *ret_addresses);

/* An endpoint for binding, where libzmq takes no names: host is looked up first, see address_find;
 * "*" and "" are every interface. DMQ_ERR_INVALID_CONFIG if it is no address of any machine. */
dmq_err address_resolve(const char *host, int32_t port, char text[ADDRESS_SIZE],
                        struct err_msg *err);

#endif
