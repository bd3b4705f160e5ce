/* Outgoing connections in the loop: all of them by one descriptor. */
#include "controller/node/node.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"

#define PEERS_PER_WAKE 64 /* before other sockets get their turn */

void
peer_watch_end(struct peer_watch *watch)
{
    peer_set_leave(watch->node->peers, &watch->place);
}

void
peer_watch_update(struct peer_watch *watch, struct peer *peer)
{
    if (!peer_set_update(watch->node->peers, &watch->place, peer)) {
        peer_disconnect(peer, DMQ_ERR_UNREACHABLE, "no file descriptors are left", clock_ms());
    }
}

static int
on_input(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct node *node = arg;
    struct peer_place *place;
    peer_set_look(node->peers);
    for (int i = 0; i < PEERS_PER_WAKE && !node->exiting; i++) {
        place = peer_set_next(node->peers);
        if (place == NULL) {
            break;
        }
        struct peer_watch *watch = (struct peer_watch *)(void *)place; /* its first member */
        watch->process(watch->owner, clock_ms());
    }
    return node_settle(node);
}

void
peer_watch_open(struct node *node)
{
    node->peers = peer_set_new();
    DMQ_ASSERT(node->peers != NULL);
    zmq_pollitem_t item = {.fd = peer_set_fd(node->peers), .events = ZMQ_POLLIN};
    zloop_poller(node->loop, &item, on_input, node);
}
