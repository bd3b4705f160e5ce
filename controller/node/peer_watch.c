/* The sockets of an outgoing connection in the loop. */
#include "controller/node/node.h"
#include "libdmq/os/clock.h"

static int
on_input(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct peer_watch *watch = arg;
    struct node *node = watch->node;
    watch->process(watch->owner, clock_ms());
    return node_settle(node);
}

void
peer_watch_end(struct peer_watch *watch)
{
    for (size_t i = 0; i < watch->socket_count; i++) {
        zmq_pollitem_t old = {.socket = watch->sockets[i], .events = ZMQ_POLLIN};
        zloop_poller_end(watch->node->loop, &old);
    }
    watch->socket_count = 0;
    watch->generation = 0;
}

/* The sockets change with each connection. */
void
peer_watch_update(struct peer_watch *watch, struct peer *peer)
{
    if (watch->generation == peer_generation(peer)) {
        return;
    }
    peer_watch_end(watch);
    watch->socket_count = peer_sockets(peer, watch->sockets);
    for (size_t i = 0; i < watch->socket_count; i++) {
        zmq_pollitem_t item = {.socket = watch->sockets[i], .events = ZMQ_POLLIN};
        zloop_poller(watch->node->loop, &item, on_input, watch);
    }
    watch->generation = peer_generation(peer);
}
