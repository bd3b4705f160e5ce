/* Options of sockets. */
#ifndef DMQ_NET_SOCKOPT_H
#define DMQ_NET_SOCKOPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_HANDSHAKE_MS 2000 /* a peer that does not speak ZMTP by then is cut off */

/* Trap: libzmq (4.3.5 too) ends the process in session_base_t::clean_pipes ("Resource temporarily
 * unavailable") if a socket is closed with LINGER 0 while a message of several frames is half sent,
 * and its connection breaks before the closing is through. A short LINGER lets it send or give up
 * in order; so 0 is only for a socket whose connection is known to have ended. */
#define NET_CLOSE_LINGER_MS 100

struct sockopt {
    int name;
    int value;
};

/* Sets them one after another; false if one cannot be set. */
bool sockopt_set(void *socket, const struct sockopt *options, size_t count);

/* What both sides have: heartbeats, handshake timeout, largest frame. */
bool sockopt_set_common(void *socket, int64_t max_frame_bytes);

/* IPv6, where the endpoint (of address.h) is such an address or every interface. */
bool sockopt_set_ipv6(void *socket, const char *endpoint);

#endif
