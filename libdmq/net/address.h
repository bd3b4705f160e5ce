/* Hosts and ports as ZeroMQ endpoints. */
#ifndef DMQ_NET_ADDRESS_H
#define DMQ_NET_ADDRESS_H

#include "libdmq/base/err.h"

#define ADDRESS_SIZE 300

/* "tcp://host:port", with brackets around an IPv6 address. To connect to; libzmq looks the name up
 * each time that it connects. */
const char *address_print(const char *host, int32_t port, char text[ADDRESS_SIZE]);

/* The same for binding, where libzmq takes no names: host is looked up first; "*" and "" are every
 * interface. DMQ_ERR_INVALID_CONFIG if it is no address of any machine. */
dmq_err address_resolve(const char *host, int32_t port, char text[ADDRESS_SIZE],
                        struct err_msg *err);

#endif
