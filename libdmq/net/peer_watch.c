#include "libdmq/net/peer_watch.h"

void
peer_watch_update(struct peer_watch *watch, struct peer *peer, int64_t now_ms)
{
    if (!peer_set_update(watch->set, &watch->place, peer)) {
        peer_disconnect(peer, DMQ_ERR_UNREACHABLE, "no file descriptors are left", now_ms);
    }
}

dmq_err
peer_watch_send(struct peer_watch *watch, struct peer *peer, const struct peer_call *call,
                int64_t now_ms)
{
    dmq_err err = peer_send(peer, call, now_ms);
    peer_watch_update(watch, peer, now_ms);
    return err;
}

void
peer_watch_end(struct peer_watch *watch)
{
    peer_set_leave(watch->set, &watch->place);
}

bool
peer_watch_process_next(struct peer_set *set, int64_t now_ms)
{
    struct peer_place *place = peer_set_next(set);
    if (place == NULL) {
        return false;
    }
    struct peer_watch *watch = (struct peer_watch *)(void *)place; /* its first member */
    watch->process(watch->owner, now_ms);
    return true;
}
