/* One connection of a peer: a DEALER and its monitor. Internal to libdmq/net. */
#ifndef DMQ_NET_PEER_LINK_H
#define DMQ_NET_PEER_LINK_H

#include <stdbool.h>
#include <stdint.h>

struct peer_link {
    void *dealer; /* NULL: closed */
    void *monitor;
};

enum link_state {
    LINK_QUIET, /* nothing new */
    LINK_READY, /* the handshake is done: requests can be sent */
    LINK_ENDED
};

/* False if a socket cannot be made (no file descriptors, no such endpoint). */
bool peer_link_open(struct peer_link *link, void *context, const char *endpoint,
                    int64_t max_frame_bytes);

/* ended: peer_link_poll said LINK_ENDED. Otherwise what was sent last may still reach the other
 * side for a moment. */
void peer_link_close(struct peer_link *link, bool ended);

/* Reads what the monitor reports. The reason of LINK_ENDED is a static text. */
enum link_state peer_link_poll(struct peer_link *link, const char **ret_reason);

#endif
