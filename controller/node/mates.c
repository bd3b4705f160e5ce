/* A connection to every other controller of services.json, from the start on. Raft's messages go
 * out as they come and may be lost; a question comes back exactly once, answered or failed. */
#include <stdlib.h>

#include "controller/node/node.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

#define MAX_QUESTIONS 4      /* the core has one on its way to each */
#define RAFT_TIMEOUT_MS 1000 /* in the header only: nothing waits for it */

struct mate_link {
    struct node *node;
    const struct service_controller *to;
    struct peer *peer;
    struct peer_watch watch;
    uint64_t unsent; /* a question that failed at once, to be told; 0: none */
    dmq_err unsent_err;
    dmq_err warned; /* why it was refused, as the log has it */
};

static struct mate_link *
find_mate(struct node *node, int32_t controller_id)
{
    for (size_t i = 0; i < node->mate_count; i++) {
        if (node->mates[i].to->id == controller_id) {
            return &node->mates[i];
        }
    }
    return NULL;
}

/* ---- what the connection says ---------------------------------------------------------------- */

static void
step_mate(struct mate_link *mate, enum ctl_event_kind kind)
{
    struct ctl_event event = {.kind = kind};
    event.u.peer = mate->to->id;
    node_step(mate->node, &event);
}

static void
step_answered(struct mate_link *mate, uint64_t number, dmq_err err, struct bytes body)
{
    struct ctl_event event = {.kind = CTL_ANSWERED};
    event.u.answered.controller_id = mate->to->id;
    event.u.answered.number = number;
    event.u.answered.err = err;
    event.u.answered.body = body;
    node_step(mate->node, &event);
}

/* One that is not who was meant, or of another cluster, stays so until somebody does something:
 * said once. */
static void
log_unreachable(struct mate_link *mate, const struct peer_event *event)
{
    bool wrong = event->err == DMQ_ERR_WRONG_NODE || event->err == DMQ_ERR_INCONSISTENT_CLUSTER_ID;
    if (wrong && mate->warned != event->err) {
        mate->warned = event->err;
        log_warn("controller_refused controller=%d text=\"%s: check --services and --data of "
                 "both\"",
                 mate->to->id, event->text);
    } else {
        log_debug("controller_unreachable controller=%d text=\"%s\"", mate->to->id, event->text);
    }
}

static void
take_event(struct mate_link *mate, const struct peer_event *event)
{
    switch (event->kind) {
    case PEER_CONNECTED:
        log_info("controller_connected controller=%d", mate->to->id);
        mate->warned = DMQ_OK;
        step_mate(mate, CTL_MATE_UP);
        break;
    case PEER_CONNECT_FAILED:
        log_unreachable(mate, event);
        if (event->err == DMQ_ERR_INCONSISTENT_CLUSTER_ID) {
            step_mate(mate, CTL_MATE_FOREIGN);
        }
        break;
    case PEER_DISCONNECTED:
        log_info("controller_disconnected controller=%d text=\"%s\"", mate->to->id, event->text);
        step_mate(mate, CTL_MATE_DOWN);
        break;
    case PEER_RESPONSE:
        step_answered(mate, event->tag, event->header.error,
                      event->header.error == 0 ? buf_bytes(event->msg.frames[1])
                                               : event->header.message);
        break;
    case PEER_FAILED:
        step_answered(mate, event->tag, event->err, bytes_str(event->text));
        break;
    }
}

static void
process(void *owner, int64_t now_ms)
{
    struct mate_link *mate = owner;
    struct peer_event event;
    peer_process(mate->peer, now_ms);
    peer_watch_update(&mate->watch, mate->peer, now_ms);
    while (peer_next_event(mate->peer, &event)) {
        take_event(mate, &event);
        peer_event_deinit(&event);
    }
}

/* ---- what the core asks for ------------------------------------------------------------------ */

void
mates_send(struct node *node, struct ctl_effect *effect)
{
    struct mate_link *mate = find_mate(node, effect->u.send.controller_id);
    if (mate != NULL) {
        const struct peer_call call = {.api_key = API_RAFT,
                                       .body = effect->u.send.body,
                                       .timeout_ms = RAFT_TIMEOUT_MS,
                                       .one_way = true};
        dmq_err err = peer_watch_send(&mate->watch, mate->peer, &call, clock_ms());
        if (err != DMQ_OK && err != DMQ_ERR_UNREACHABLE) {
            log_debug("raft_message_lost controller=%d error=%s", mate->to->id, err_name(err));
        }
    }
    ctl_effect_deinit(effect);
}

void
mates_ask(struct node *node, struct ctl_effect *effect)
{
    struct mate_link *mate = find_mate(node, effect->u.ask.controller_id);
    DMQ_ASSERT(mate != NULL && mate->unsent == 0);
    const struct peer_call call = {.api_key = API_QUORUM_STATE,
                                   .tag = effect->u.ask.number,
                                   .body = effect->u.ask.body,
                                   .timeout_ms = effect->u.ask.timeout_ms};
    dmq_err err = peer_watch_send(&mate->watch, mate->peer, &call, clock_ms());
    if (err != DMQ_OK) {
        mate->unsent = effect->u.ask.number;
        mate->unsent_err = err;
    }
    ctl_effect_deinit(effect);
}

void
mates_probe(struct node *node, int32_t controller_id)
{
    const struct mate_link *mate = find_mate(node, controller_id);
    struct ctl_event gone = {.kind = CTL_MATE_GONE};
    DMQ_ASSERT(mate != NULL);
    gone.u.peer = controller_id;
    lanes_probe(node->lanes, &gone, peer_address(mate->peer), mate->to->port);
}

bool
mates_next_event(struct node *node, struct ctl_event *ret_event)
{
    for (size_t i = 0; i < node->mate_count; i++) {
        struct mate_link *mate = &node->mates[i];
        if (mate->unsent != 0) {
            *ret_event = (struct ctl_event){.kind = CTL_ANSWERED};
            ret_event->u.answered.controller_id = mate->to->id;
            ret_event->u.answered.number = mate->unsent;
            ret_event->u.answered.err = mate->unsent_err;
            mate->unsent = 0;
            return true;
        }
    }
    return false;
}

/* ---- start, time, end ------------------------------------------------------------------------ */

static void
open_mate(struct node *node, struct mate_link *mate, const struct service_controller *to)
{
    struct peer_config config = {.zmq_context = zsys_init(),
                                 .host = to->host,
                                 .port = to->port,
                                 .node_id = to->id,
                                 .cluster_id = node->folder.identity.cluster_id,
                                 .self_id = node->conf->node_id,
                                 .client_id = "controller",
                                 .max_frame_bytes = NODE_MAX_REQUEST_BYTES,
                                 .max_in_flight = MAX_QUESTIONS,
                                 .max_backoff_ms = MATE_BACKOFF_MS,
                                 .seed = random_u64()};
    *mate = (struct mate_link){.node = node, .to = to};
    mate->watch = (struct peer_watch){.set = node->peers, .owner = mate, .process = process};
    mate->peer = peer_new(&config);
    DMQ_ASSERT(mate->peer != NULL);
}

void
mates_open(struct node *node)
{
    const struct services *services = &node->conf->services;
    node->mates = calloc(services->controller_count, sizeof(*node->mates));
    DMQ_ASSERT(node->mates != NULL);
    for (size_t i = 0; i < services->controller_count; i++) {
        if (services->controllers[i].id != node->conf->node_id) {
            open_mate(node, &node->mates[node->mate_count++], &services->controllers[i]);
        }
    }
}

void
mates_expect_cluster(struct node *node, struct uuid cluster_id)
{
    for (size_t i = 0; i < node->mate_count; i++) {
        peer_expect_cluster(node->mates[i].peer, cluster_id);
    }
}

int64_t
mates_deadline(const struct node *node)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < node->mate_count; i++) {
        int64_t at = peer_deadline(node->mates[i].peer);
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

void
mates_process_due(struct node *node, int64_t now_ms)
{
    for (size_t i = 0; i < node->mate_count; i++) {
        if (peer_deadline(node->mates[i].peer) <= now_ms) {
            process(&node->mates[i], now_ms);
        }
    }
}

void
mates_close(struct node *node)
{
    for (size_t i = 0; i < node->mate_count; i++) {
        peer_watch_end(&node->mates[i].watch);
        peer_free(node->mates[i].peer);
    }
    free(node->mates);
    node->mates = NULL;
    node->mate_count = 0;
}
