/* The connections of a node in one file descriptor, so that a wake of its loop costs by who has
 * something to say and not by how many there are: zmq_poll asks every socket that it is given.
 *
 * The descriptor of a ZeroMQ socket tells of news, not of state, and any call on the socket may
 * take the news away. So whoever has used a peer (peer_process, peer_send) says so by
 * peer_set_update(), which looks whether there is input still. One thread. */
#ifndef DMQ_NET_PEER_SET_H
#define DMQ_NET_PEER_SET_H

#include "libdmq/base/list.h"
#include "libdmq/net/peer.h"

/* A peer's place in a set; part of what owns the peer. Zeroed: in no set. */
struct peer_place {
    struct list ready; /* has input that its descriptors may not tell */
    uint64_t generation;
    int fds[PEER_MAX_SOCKETS]; /* our own, of the peer's sockets */
    size_t fd_count;
};

struct peer_set;

/* NULL if there are no descriptors left. */
struct peer_set *peer_set_new(void);

/* All places must have left. NULL is a no-op. */
void peer_set_free(struct peer_set *set);

/* Readable while there is something to process. */
int peer_set_fd(const struct peer_set *set);

/* After every use of the peer. Enters the set if need be. False if there are no descriptors left:
 * the connection is to be ended, for its input would not be seen. */
bool peer_set_update(struct peer_set *set, struct peer_place *place, const struct peer *peer);

/* Before the peer is freed. */
void peer_set_leave(struct peer_set *set, struct peer_place *place);

/* Looks who has input: once for each time that the descriptor was readable. */
void peer_set_look(struct peer_set *set);

/* One whose peer is to be processed now, by turns; NULL if there is none. */
struct peer_place *peer_set_next(struct peer_set *set);

#endif
