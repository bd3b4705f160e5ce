#include <stdlib.h>

#include "broker/node/node.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

/* The broker's connection to the controller that the core named last. A connection serves once:
 * when it ends, or cannot be made, it is given up, and the core says which one comes next. */

#define MAX_IN_FLIGHT 1024
#define MAX_FRAME_BYTES (64 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 1000 /* then another controller is tried */

/* ---- the connection -------------------------------------------------------------------------- */

static void process(void *owner, int64_t now_ms);

static void
give_up(struct node *node)
{
    if (node->controller != NULL) {
        peer_watch_end(&node->controller_watch);
        peer_free(node->controller);
        node->controller = NULL;
    }
}

void
controller_link_connect(struct node *node, int32_t controller_id)
{
    const struct service_controller *controller =
        services_controller(&node->conf->services, controller_id);
    DMQ_ASSERT(controller != NULL); /* the core was given their ids */
    struct peer_config config = {.zmq_context = zsys_init(),
                                 .host = controller->host,
                                 .port = controller->port,
                                 .node_id = controller_id,
                                 .cluster_id = node->folder.identity.cluster_id,
                                 .self_id = node->conf->node_id,
                                 .client_id = "broker",
                                 .max_frame_bytes = MAX_FRAME_BYTES,
                                 .max_in_flight = MAX_IN_FLIGHT,
                                 .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                 .seed = random_u64()};
    give_up(node);
    node->controller_id = controller_id;
    node->controller = peer_new(&config);
    DMQ_ASSERT(node->controller != NULL);
    node->controller_watch =
        (struct peer_watch){.set = node->peers, .owner = node, .process = process};
}

void
controller_link_close(struct node *node)
{
    give_up(node);
    free(node->unsent);
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void
step_up(struct node *node)
{
    struct brk_event event = {.kind = BRK_CONTROLLER_UP};
    event.u.controller.id = node->controller_id;
    event.u.controller.leader = peer_hello(node->controller)->controller_id;
    if (event.u.controller.leader == node->controller_id) {
        log_info("controller_connected controller=%d", node->controller_id);
        node->controller_warned = DMQ_OK;
    } else {
        log_debug("controller_connected controller=%d leader=%d", node->controller_id,
                  event.u.controller.leader);
    }
    node_step(node, &event);
}

/* A controller that is not the one that was meant stays so until somebody does something: said
 * once. */
static void
log_unreachable(struct node *node, const struct peer_event *from)
{
    bool wrong = from->err == DMQ_ERR_WRONG_NODE || from->err == DMQ_ERR_INCONSISTENT_CLUSTER_ID;
    if (wrong && node->controller_warned != from->err) {
        node->controller_warned = from->err;
        log_warn(
            "controller_refused controller=%d text=\"%s: check --services and --data of both\"",
            node->controller_id, from->text);
    } else {
        log_debug("controller_unreachable controller=%d text=\"%s\"", node->controller_id,
                  from->text);
    }
}

static void
step_down(struct node *node, dmq_err why)
{
    struct brk_event event = {.kind = BRK_CONTROLLER_DOWN};
    event.u.controller.id = node->controller_id;
    event.u.controller.err = why;
    give_up(node);
    node_step(node, &event);
}

static void
take_event(struct node *node, struct peer_event *event)
{
    switch (event->kind) {
    case PEER_CONNECTED:
        step_up(node);
        break;
    case PEER_CONNECT_FAILED:
        log_unreachable(node, event);
        step_down(node, event->err);
        break;
    case PEER_DISCONNECTED:
        log_warn("controller_disconnected controller=%d text=\"%s\"", node->controller_id,
                 event->text);
        step_down(node, event->err);
        break;
    case PEER_RESPONSE:
    case PEER_FAILED:
        node_step_reply(node, BRK_CONTROLLER_REPLY, event);
        break;
    }
}

static void
process(void *owner, int64_t now_ms)
{
    struct node *node = owner;
    struct peer_event event;
    struct peer *peer = node->controller;
    peer_process(peer, now_ms);
    peer_watch_update(&node->controller_watch, peer, now_ms);
    /* A step may replace the connection, and with it the rest of its events. */
    while (node->controller == peer && peer_next_event(peer, &event)) {
        take_event(node, &event);
        peer_event_deinit(&event);
    }
}

int64_t
controller_link_deadline(const struct node *node)
{
    return node->controller == NULL ? INT64_MAX : peer_deadline(node->controller);
}

void
controller_link_process_due(struct node *node, int64_t now_ms)
{
    if (controller_link_deadline(node) <= now_ms) {
        process(node, now_ms);
    }
}

void
controller_link_send(struct node *node, struct brk_effect *effect)
{
    dmq_err failed = DMQ_ERR_UNREACHABLE;
    if (node->controller != NULL) {
        failed = node_send(&node->controller_watch, node->controller, effect);
    }
    if (failed != DMQ_OK) {
        log_warn("controller_send_failed api=%d error=%s", effect->u.send.api_key,
                 err_name(failed));
        node_note_unsent(node, BRK_CONTROLLER_REPLY, effect->u.send.tag, failed);
    }
    brk_effect_deinit(effect);
}
