/* One connection to each broker that the core named, kept up by a struct peer. A push that cannot
 * be sent, or whose connection ends, comes back like one that failed: exactly once. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/node/node.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

#define MAX_IN_FLIGHT 4 /* the core has one push on its way to a broker */

struct link {
    struct link *next;
    struct node *node;
    int32_t broker_id;
    char host[256];
    int32_t port;
    struct uuid incarnation; /* of the process that answered there last; zero: none did */
    struct peer *peer;
    struct peer_watch watch;
    uint64_t pushes[MAX_IN_FLIGHT + 1]; /* numbers on their way; 0: none */
    uint64_t unsent;                    /* a push that failed at once, to be told; 0: none */
    dmq_err unsent_err;
    bool down;   /* the connection was given up while it was up: to be told */
    bool doomed; /* disconnected: nothing of it is told any more, links_sweep ends it */
};

static struct link *
find(struct node *node, int32_t broker_id)
{
    for (struct link *link = node->links; link != NULL; link = link->next) {
        if (link->broker_id == broker_id && !link->doomed) {
            return link;
        }
    }
    return NULL;
}

/* ---- pushes that are on their way ------------------------------------------------------------ */

static void
note_push(struct link *link, uint64_t number)
{
    for (size_t i = 0; i < MAX_IN_FLIGHT; i++) {
        if (link->pushes[i] == 0) {
            link->pushes[i] = number;
            return;
        }
    }
    DMQ_UNREACHABLE(); /* peer_send would not have taken it */
}

static void
forget_push(struct link *link, uint64_t number)
{
    for (size_t i = 0; i < MAX_IN_FLIGHT; i++) {
        if (link->pushes[i] == number) {
            link->pushes[i] = 0;
        }
    }
}

static void
step_pushed(struct link *link, uint64_t number, dmq_err err, struct bytes body)
{
    struct ctl_event event = {.kind = CTL_PUSHED};
    event.u.pushed.broker_id = link->broker_id;
    event.u.pushed.number = number;
    event.u.pushed.err = err;
    event.u.pushed.body = body;
    node_step(link->node, &event);
}

static void
step_peer(struct link *link, enum ctl_event_kind kind)
{
    struct ctl_event event = {.kind = kind};
    event.u.peer = link->broker_id;
    node_step(link->node, &event);
}

/* ---- what the connection says ---------------------------------------------------------------- */

static void
take_event(struct link *link, const struct peer_event *event)
{
    switch (event->kind) {
    case PEER_CONNECTED:
        log_info("broker_connected broker=%d", link->broker_id);
        link->incarnation = peer_hello(link->peer)->instance_id;
        step_peer(link, CTL_PEER_UP);
        break;
    case PEER_CONNECT_FAILED:
        log_debug("broker_unreachable broker=%d text=\"%s\"", link->broker_id, event->text);
        break;
    case PEER_DISCONNECTED:
        log_info("broker_disconnected broker=%d text=\"%s\"", link->broker_id, event->text);
        step_peer(link, CTL_PEER_DOWN);
        break;
    case PEER_RESPONSE:
        forget_push(link, event->tag);
        step_pushed(link, event->tag, event->header.error,
                    event->header.error == 0 ? buf_bytes(event->msg.frames[1]) : bytes_str(""));
        break;
    case PEER_FAILED:
        forget_push(link, event->tag);
        step_pushed(link, event->tag, event->err, bytes_str(""));
        break;
    }
}

/* Lets a connection move on and hands what it says to the core. */
static void
process(void *owner, int64_t now_ms)
{
    struct link *link = owner;
    struct peer_event event;
    peer_process(link->peer, now_ms);
    peer_watch_update(&link->watch, link->peer, now_ms);
    /* A step may replace the connection, and with it the rest of its events. */
    for (struct peer *peer = link->peer;
         link->peer == peer && !link->doomed && peer_next_event(peer, &event);) {
        take_event(link, &event);
        peer_event_deinit(&event);
    }
}

/* ---- what the core asks for ------------------------------------------------------------------ */

static void
open_peer(struct link *link)
{
    struct peer_config config = {.zmq_context = zsys_init(),
                                 .host = link->host,
                                 .port = link->port,
                                 .node_id = link->broker_id,
                                 .self_id = link->node->conf->node_id,
                                 .client_id = "controller",
                                 .max_frame_bytes = NODE_MAX_ANSWER_BYTES,
                                 .max_in_flight = MAX_IN_FLIGHT,
                                 .seed = random_u64()};
    link->peer = peer_new(&config);
    DMQ_ASSERT(link->peer != NULL);
    link->watch = (struct peer_watch){.set = link->node->peers, .owner = link, .process = process};
}

void
links_connect(struct node *node, const struct ctl_effect *effect)
{
    struct link *link = find(node, effect->u.connect.broker_id);
    bool same = link != NULL && strcmp(link->host, effect->u.connect.host) == 0 &&
                link->port == effect->u.connect.port;
    if (same) {
        peer_hurry(link->peer); /* it has just been heard of */
        return;
    }
    if (link == NULL) {
        link = calloc(1, sizeof(*link));
        DMQ_ASSERT(link != NULL);
        link->node = node;
        link->broker_id = effect->u.connect.broker_id;
        link->next = node->links;
        node->links = link;
    } else {
        link->down = link->down || peer_is_up(link->peer);
        peer_watch_end(&link->watch);
        peer_free(link->peer);
    }
    snprintf(link->host, sizeof(link->host), "%s", effect->u.connect.host);
    link->port = effect->u.connect.port;
    link->incarnation = (struct uuid){.b = {0}};
    open_peer(link);
}

void
links_push(struct node *node, struct ctl_effect *effect)
{
    struct link *link = find(node, effect->u.push.broker_id);
    DMQ_ASSERT(link != NULL && link->unsent == 0);
    const struct peer_call call = {.api_key = API_PUSH_METADATA,
                                   .tag = effect->u.push.number,
                                   .body = effect->u.push.body,
                                   .timeout_ms = effect->u.push.timeout_ms};
    dmq_err err = peer_watch_send(&link->watch, link->peer, &call, clock_ms());
    if (err == DMQ_OK) {
        note_push(link, effect->u.push.number);
    } else {
        link->unsent = effect->u.push.number;
        link->unsent_err = err;
    }
    ctl_effect_deinit(effect);
}

void
links_probe(struct node *node, int32_t broker_id)
{
    const struct link *link = find(node, broker_id);
    if (link == NULL || uuid_is_zero(link->incarnation)) {
        return; /* nobody was there of whom it could tell */
    }
    struct ctl_event gone = {.kind = CTL_PEER_GONE};
    gone.u.gone.broker_id = broker_id;
    gone.u.gone.incarnation = link->incarnation;
    /* Where it was: its name may lead elsewhere by now, or nowhere. */
    lanes_probe(node->lanes, &gone, peer_address(link->peer), link->port);
}

/* Without a word to the core, which has forgotten the broker already. A connection is never ended
 * while its own events are handed out: steps that they lead to may be what disconnects. */
void
links_disconnect(struct node *node, int32_t broker_id)
{
    struct link *link = find(node, broker_id);
    if (link != NULL) {
        link->doomed = true;
    }
}

static void
free_link(struct link *link)
{
    peer_watch_end(&link->watch);
    peer_free(link->peer);
    free(link);
}

void
links_sweep(struct node *node)
{
    for (struct link **at = &node->links; *at != NULL;) {
        struct link *link = *at;
        if (link->doomed) {
            *at = link->next;
            free_link(link);
        } else {
            at = &link->next;
        }
    }
}

/* A push that a replaced connection took with it. */
static uint64_t
lost_push(struct link *link)
{
    for (size_t i = 0; i < MAX_IN_FLIGHT && peer_in_flight(link->peer) == 0; i++) {
        if (link->pushes[i] != 0) {
            uint64_t number = link->pushes[i];
            link->pushes[i] = 0;
            return number;
        }
    }
    return 0;
}

bool
links_next_event(struct node *node, struct ctl_event *ret_event)
{
    for (struct link *link = node->links; link != NULL; link = link->next) {
        if (link->doomed) {
            continue;
        }
        uint64_t number = link->unsent != 0 ? link->unsent : link->down ? lost_push(link) : 0;
        if (number != 0) {
            *ret_event = (struct ctl_event){.kind = CTL_PUSHED};
            ret_event->u.pushed.broker_id = link->broker_id;
            ret_event->u.pushed.number = number;
            ret_event->u.pushed.err = link->unsent != 0 ? link->unsent_err : DMQ_ERR_NETWORK;
            link->unsent = 0;
            return true;
        }
        if (link->down) {
            link->down = false;
            *ret_event = (struct ctl_event){.kind = CTL_PEER_DOWN};
            ret_event->u.peer = link->broker_id;
            return true;
        }
    }
    return false;
}

/* ---- time ------------------------------------------------------------------------------------ */

int64_t
links_deadline(const struct node *node)
{
    int64_t deadline = INT64_MAX;
    for (const struct link *link = node->links; link != NULL; link = link->next) {
        int64_t at = peer_deadline(link->peer);
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

void
links_process_due(struct node *node, int64_t now_ms)
{
    for (struct link *link = node->links; link != NULL; link = link->next) {
        if (!link->doomed && peer_deadline(link->peer) <= now_ms) {
            process(link, now_ms);
        }
    }
}

void
links_close(struct node *node)
{
    for (struct link *link, *next = node->links; (link = next) != NULL;) {
        next = link->next;
        free_link(link);
    }
    node->links = NULL;
}
