#include <stdlib.h>

#include "broker/node/node.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

/* The broker's connection to the controller that services.json pairs it with. */

#define MAX_IN_FLIGHT 1024
#define MAX_FRAME_BYTES (64 * 1024 * 1024)

bool
controller_link_open(struct node *node)
{
    const struct services *services = &node->conf->services;
    const struct service_controller *controller =
        services_controller(services, node->conf->broker->controller);
    if (controller == NULL) {
        controller = &services->controllers[0];
    }
    struct peer_config config = {.zmq_context = zsys_init(),
                                 .node_id = controller->id,
                                 .cluster_id = node->folder.identity.cluster_id,
                                 .client_id = "broker",
                                 .max_frame_bytes = MAX_FRAME_BYTES,
                                 .max_in_flight = MAX_IN_FLIGHT,
                                 .seed = random_u64()};
    address_print(controller->host, controller->port, config.endpoint);
    node->controller = peer_new(&config);
    return node->controller != NULL;
}

void
controller_link_close(struct node *node)
{
    peer_free(node->controller);
    node->controller = NULL;
    free(node->unsent);
}

static int
on_input(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct node *node = arg;
    controller_link_process(node);
    return node->exiting ? -1 : 0;
}

/* The sockets change with each connection. */
static void
watch_sockets(struct node *node)
{
    if (node->controller_generation == peer_generation(node->controller)) {
        return;
    }
    for (size_t i = 0; i < node->controller_socket_count; i++) {
        zmq_pollitem_t old = {.socket = node->controller_sockets[i], .events = ZMQ_POLLIN};
        zloop_poller_end(node->loop, &old);
    }
    node->controller_socket_count = peer_sockets(node->controller, node->controller_sockets);
    for (size_t i = 0; i < node->controller_socket_count; i++) {
        zmq_pollitem_t item = {.socket = node->controller_sockets[i], .events = ZMQ_POLLIN};
        zloop_poller(node->loop, &item, on_input, node);
    }
    node->controller_generation = peer_generation(node->controller);
}

/* An answer, or the news that none will come. */
static void
step_reply(struct node *node, struct peer_event *from)
{
    struct brk_event event = {.kind = BRK_CONTROLLER_REPLY};
    event.u.reply.tag = (int64_t)from->tag;
    if (from->kind == PEER_RESPONSE) {
        event.u.reply.frames = from->msg.frames;
        event.u.reply.count = from->msg.count;
        from->msg.count = 0; /* the step takes the references */
    }
    node_step(node, &event);
}

void
controller_link_process(struct node *node)
{
    struct peer_event event;
    peer_process(node->controller, clock_ms());
    watch_sockets(node);
    while (peer_next_event(node->controller, &event)) {
        switch (event.kind) {
        case PEER_CONNECTED:
            log_info("controller_connected node=%d", peer_hello(node->controller)->node_id);
            node_step(node, &(struct brk_event){.kind = BRK_CONTROLLER_UP});
            break;
        case PEER_CONNECT_FAILED:
            log_debug("controller_unreachable text=\"%s\"", event.text);
            break;
        case PEER_DISCONNECTED:
            log_warn("controller_disconnected text=\"%s\"", event.text);
            node_step(node, &(struct brk_event){.kind = BRK_CONTROLLER_DOWN});
            break;
        case PEER_RESPONSE:
        case PEER_FAILED:
            step_reply(node, &event);
            break;
        }
        peer_event_deinit(&event);
    }
}

int64_t
controller_link_deadline(const struct node *node)
{
    return peer_deadline(node->controller);
}

void
controller_link_send(struct node *node, struct brk_effect *effect)
{
    const struct peer_call call = {.api_key = effect->u.send.api_key,
                                   .tag = (uint64_t)effect->u.send.tag,
                                   .body = effect->u.send.body,
                                   .attachments = effect->u.send.frames,
                                   .attachment_count = effect->u.send.count,
                                   .timeout_ms = effect->u.send.timeout_ms,
                                   .metadata_version = effect->u.send.metadata_version};
    dmq_err failed = peer_send(node->controller, &call, clock_ms());
    if (failed != DMQ_OK) {
        log_warn("controller_send_failed api=%d error=%s", call.api_key, err_name(failed));
        node->unsent = realloc(node->unsent, (node->unsent_count + 1) * sizeof(*node->unsent));
        DMQ_ASSERT(node->unsent != NULL);
        node->unsent[node->unsent_count++] = effect->u.send.tag;
    }
    brk_effect_deinit(effect);
}
