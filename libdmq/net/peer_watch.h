/* Outgoing connections that are processed when they have input: a peer's place in a set, and whom
 * its owner wants called. A node's loop polls the set's descriptor; when that is readable it calls
 * peer_set_look() once and peer_watch_process_next() until there is none, or others are to get
 * their turn. One thread. */
#ifndef DMQ_NET_PEER_WATCH_H
#define DMQ_NET_PEER_WATCH_H

#include "libdmq/net/peer_set.h"

/* Part of what owns the peer. */
struct peer_watch {
    struct peer_place place; /* first */
    struct peer_set *set;
    void *owner;
    void (*process)(void *owner, int64_t now_ms); /* there is input */
};

/* After each peer_process. Without descriptors for it the connection is ended: its
 * input would not be seen. */
void peer_watch_update(struct peer_watch *watch, struct peer *peer, int64_t now_ms);

/* peer_send, and the update that it needs. */
dmq_err peer_watch_send(struct peer_watch *watch, struct peer *peer, const struct peer_call *call,
                        int64_t now_ms);

/* Before the peer is freed. */
void peer_watch_end(struct peer_watch *watch);

/* Has one connection with input processed, by turns; false if there is none. */
bool peer_watch_process_next(struct peer_set *set, int64_t now_ms);

#endif
