/* One connection to the node port of each broker that the core follows, kept up by a struct peer. A
 * request that cannot be sent comes back like one that failed: exactly once, after the step. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/node/node.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

#define MAX_IN_FLIGHT 16 /* the core has one fetch on its way to each */
#define MAX_ANSWER_BYTES (64 * 1024 * 1024)
#define MAX_BACKOFF_MS 200

struct follow_link {
    struct follow_link *next;
    struct node *node;
    int32_t broker_id;
    struct peer *peer;
    struct peer_watch watch;
};

static struct follow_link *
find(struct node *node, int32_t broker_id)
{
    struct follow_link *link = node->peer_links;
    while (link != NULL && link->broker_id != broker_id) {
        link = link->next;
    }
    return link;
}

/* ---- what the connection says ---------------------------------------------------------------- */

static void
step_link(struct follow_link *link, enum brk_event_kind kind)
{
    struct brk_event event = {.kind = kind};
    event.u.peer = link->broker_id;
    node_step(link->node, &event);
}

static void
take_event(struct follow_link *link, struct peer_event *event)
{
    switch (event->kind) {
    case PEER_CONNECTED:
        log_info("peer_connected broker=%d", link->broker_id);
        step_link(link, BRK_PEER_UP);
        break;
    case PEER_CONNECT_FAILED:
        log_debug("peer_unreachable broker=%d text=\"%s\"", link->broker_id, event->text);
        break;
    case PEER_DISCONNECTED:
        log_info("peer_disconnected broker=%d text=\"%s\"", link->broker_id, event->text);
        step_link(link, BRK_PEER_DOWN);
        break;
    case PEER_RESPONSE:
    case PEER_FAILED:
        node_step_reply(link->node, BRK_PEER_REPLY, event);
        break;
    }
}

static void
process(void *owner, int64_t now_ms)
{
    struct follow_link *link = owner;
    struct peer_event event;
    struct peer *peer = link->peer;
    peer_process(peer, now_ms);
    peer_watch_update(&link->watch, peer, now_ms);
    /* A step may replace the connection, and with it the rest of its events. */
    while (link->peer == peer && peer_next_event(peer, &event)) {
        take_event(link, &event);
        peer_event_deinit(&event);
    }
}

/* ---- what the core asks for ------------------------------------------------------------------ */

void
peer_links_connect(struct node *node, const struct brk_effect *effect)
{
    struct follow_link *link = find(node, effect->u.connect.broker_id);
    struct peer_config config = {.zmq_context = zsys_init(),
                                 .host = effect->u.connect.host,
                                 .port = effect->u.connect.port,
                                 .node_id = effect->u.connect.broker_id,
                                 .cluster_id = node->folder.identity.cluster_id,
                                 .self_id = node->conf->node_id,
                                 .client_id = "broker",
                                 .max_frame_bytes = MAX_ANSWER_BYTES,
                                 .max_in_flight = MAX_IN_FLIGHT,
                                 .max_backoff_ms = MAX_BACKOFF_MS,
                                 .seed = random_u64()};
    if (link == NULL) {
        link = calloc(1, sizeof(*link));
        DMQ_ASSERT(link != NULL);
        link->node = node;
        link->broker_id = effect->u.connect.broker_id;
        link->next = node->peer_links;
        node->peer_links = link;
    } else {
        peer_watch_end(&link->watch);
        peer_free(link->peer);
    }
    link->peer = peer_new(&config);
    DMQ_ASSERT(link->peer != NULL);
    link->watch = (struct peer_watch){.set = node->peers, .owner = link, .process = process};
}

void
peer_links_send(struct node *node, struct brk_effect *effect)
{
    struct follow_link *link = find(node, effect->u.send.peer);
    DMQ_ASSERT(link != NULL);
    dmq_err failed = node_send(&link->watch, link->peer, effect);
    if (failed != DMQ_OK && !effect->u.send.one_way) {
        node_note_unsent(node, BRK_PEER_REPLY, effect->u.send.tag, failed);
    }
    brk_effect_deinit(effect);
}

/* ---- time ------------------------------------------------------------------------------------ */

int64_t
peer_links_deadline(const struct node *node)
{
    int64_t deadline = INT64_MAX;
    for (const struct follow_link *link = node->peer_links; link != NULL; link = link->next) {
        int64_t at = peer_deadline(link->peer);
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

void
peer_links_process_due(struct node *node, int64_t now_ms)
{
    for (struct follow_link *link = node->peer_links; link != NULL; link = link->next) {
        if (peer_deadline(link->peer) <= now_ms) {
            process(link, now_ms);
        }
    }
}

void
peer_links_close(struct node *node)
{
    for (struct follow_link *link, *next = node->peer_links; (link = next) != NULL;) {
        next = link->next;
        peer_watch_end(&link->watch);
        peer_free(link->peer);
        free(link);
    }
    node->peer_links = NULL;
}
