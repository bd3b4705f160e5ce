/* One loop, one thread: requests of clients and nodes, completions of the workers, the controller's
 * connection, signals, one timer. Each handler makes events of what it finds, steps the core,
 * carries out the effects in their order, and looks at the two things that any step may have
 * changed: the deadline of the timer, and whether clients may still be read.
 *
 * Start: signals, folder (lock), sockets, store, core. Stop: the core says so (BRK_EXIT), the lanes
 * carry out what is left, and the sockets linger for the last answers. */
#include "broker/node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "broker/store/store.h"
#include "libdmq/base/assert.h"
#include "libdmq/http/http.h"
#include "libdmq/meta/rows.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/daemon.h"
#include "libdmq/os/fs_posix.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

#define REQUESTS_PER_WAKE 64 /* before other sockets get their turn */
#define PEERS_PER_WAKE 64
#define MAX_CONNECTION_REQUESTS 1024
#define MAX_CONNECTION_BYTES (64 * 1024 * 1024)
#define HOT_BYTES (4 * 1024 * 1024)
#define LINGER_MS 1000

/* ---- steps ----------------------------------------------------------------------------------- */

/* A reply that cannot be sent is counted by the router and dropped: it never holds the core up. */
static void
send_reply(struct node *node, struct brk_effect *effect)
{
    struct router *router =
        effect->u.reply.listener == LISTENER_CLIENT ? &node->client_router : &node->node_router;
    router_reply(router, effect->u.reply.peer, effect->u.reply.frames, effect->u.reply.count);
    brk_effect_deinit(effect);
}

static void
note_cluster(struct node *node, struct uuid cluster_id)
{
    struct err_msg err;
    if (folder_set_cluster(&node->folder, cluster_id, &err) != DMQ_OK) {
        log_error("cluster_refused text=\"%s\"", err.text);
        node->exit_code = DAEMON_EXIT_ERROR;
        node->exiting = true;
    }
    if (node->controller != NULL) {
        peer_expect_cluster(node->controller, cluster_id);
    }
}

static void
carry_out(struct node *node, struct brk_effect *effect)
{
    switch (effect->kind) {
    case BRK_REPLY:
        send_reply(node, effect);
        break;
    case BRK_DISK:
    case BRK_KV_WRITE:
        lanes_push(node->lanes, effect);
        break;
    case BRK_CONTROLLER_CONNECT:
        controller_link_connect(node, effect->u.controller_id);
        break;
    case BRK_CONTROLLER_SEND:
        controller_link_send(node, effect);
        break;
    case BRK_PEER_CONNECT:
        peer_links_connect(node, effect);
        break;
    case BRK_PEER_SEND:
        peer_links_send(node, effect);
        break;
    case BRK_CLUSTER:
        note_cluster(node, effect->u.cluster_id);
        break;
    case BRK_READY:
        printf("ready broker id=%d dmq://%s:%d\n", node->conf->node_id, node->conf->broker->host,
               node->conf->broker->port);
        fflush(stdout);
        break;
    case BRK_LOG:
        if (effect->u.log.error) {
            log_error("%s", effect->u.log.line);
        } else {
            log_info("%s", effect->u.log.line);
        }
        break;
    case BRK_EXIT:
        node->exit_code = effect->u.exit_code;
        node->exiting = true;
        break;
    }
}

static void
step(struct node *node, struct brk_event *event)
{
    event->now_ms = clock_ms();
    event->wall_ms = clock_wall_ms();
    brk_step(node->brk, event, &node->effects);
    for (size_t i = 0; i < node->effects.count; i++) {
        carry_out(node, &node->effects.items[i]);
    }
    node->effects.count = 0;
}

void
node_note_unsent(struct node *node, enum brk_event_kind kind, int64_t tag, dmq_err err)
{
    node->unsent = realloc(node->unsent, (node->unsent_count + 1) * sizeof(*node->unsent));
    DMQ_ASSERT(node->unsent != NULL);
    node->unsent[node->unsent_count++] = (struct unsent){.kind = kind, .tag = tag, .err = err};
}

void
node_step(struct node *node, struct brk_event *event)
{
    step(node, event);
    while (node->unsent_count > 0) {
        const struct unsent unsent = node->unsent[--node->unsent_count];
        struct brk_event failed = {.kind = unsent.kind};
        failed.u.reply.tag = unsent.tag;
        failed.u.reply.err = unsent.err;
        step(node, &failed);
    }
}

void
node_step_reply(struct node *node, enum brk_event_kind kind, struct peer_event *from)
{
    struct brk_event event = {.kind = kind};
    event.u.reply.tag = (int64_t)from->tag;
    event.u.reply.err = from->err;
    if (from->kind == PEER_RESPONSE) {
        event.u.reply.frames = from->msg.frames;
        event.u.reply.count = from->msg.count;
        from->msg.count = 0; /* the step takes the references */
    }
    node_step(node, &event);
}

dmq_err
node_send(struct peer_watch *watch, struct peer *peer, const struct brk_effect *effect)
{
    const struct peer_call call = {.api_key = effect->u.send.api_key,
                                   .tag = (uint64_t)effect->u.send.tag,
                                   .body = effect->u.send.body,
                                   .attachments = effect->u.send.frames,
                                   .attachment_count = effect->u.send.count,
                                   .timeout_ms = effect->u.send.timeout_ms,
                                   .metadata_version = effect->u.send.metadata_version,
                                   .one_way = effect->u.send.one_way};
    return peer_watch_send(watch, peer, &call, clock_ms());
}

/* ---- time ------------------------------------------------------------------------------------ */

/* For whatever is due first. */
static void
arm_alarm(struct node *node)
{
    int64_t due = brk_deadline(node->brk);
    int64_t link = controller_link_deadline(node);
    int64_t peers = peer_links_deadline(node);
    due = link < due ? link : due;
    due = peers < due ? peers : due;
    alarm_arm(&node->alarm, due);
}

int
node_settle(struct node *node)
{
    if (node->exiting) {
        return -1;
    }
    arm_alarm(node);
    return 0;
}

static int
on_alarm(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct node *node = arg;
    alarm_clear(&node->alarm);
    int64_t now = clock_ms();
    controller_link_process_due(node, now);
    peer_links_process_due(node, now);
    if (brk_deadline(node->brk) <= now) {
        node_step(node, &(struct brk_event){.kind = BRK_TICK});
    }
    return node_settle(node);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A request without a header cannot be answered: whoever sent it hears nothing and times out. */
static void
take_request(struct node *node, enum api_listener listener)
{
    struct router_request *request = &node->request;
    if (request->header == NULL) {
        return;
    }
    struct brk_event event = {.kind = BRK_REQUEST};
    event.u.request.listener = listener;
    event.u.request.peer = buf_ref(request->routing_id);
    event.u.request.frames = request->msg.frames + 1;
    event.u.request.count = request->msg.count - 1;
    for (size_t i = 1; i < request->msg.count; i++) {
        buf_ref(request->msg.frames[i]);
    }
    net_msg_clear(&request->msg); /* one owner again: a batch is stamped in place */
    node_step(node, &event);
}

static int on_request(zloop_t *loop, zsock_t *socket, void *arg);

/* Over budget nothing more is received from clients, never from nodes. */
static void
steer_clients(struct node *node)
{
    bool accepts = brk_accepts_clients(node->brk);
    if (accepts && !node->client_reading) {
        zloop_reader(node->loop, node->client_socket, on_request, node);
    } else if (!accepts && node->client_reading) {
        zloop_reader_end(node->loop, node->client_socket);
    }
    node->client_reading = accepts;
}

static int
on_request(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    struct node *node = arg;
    bool client = socket == node->client_socket;
    struct router *router = client ? &node->client_router : &node->node_router;
    for (int i = 0; i < REQUESTS_PER_WAKE && !node->exiting; i++) {
        if (client && !brk_accepts_clients(node->brk)) {
            break;
        }
        if (router_recv(router, &node->request) != NET_OK) {
            break;
        }
        take_request(node, client ? LISTENER_CLIENT : LISTENER_NODE);
    }
    steer_clients(node);
    return node_settle(node);
}

static int
on_peers(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct node *node = arg;
    peer_set_look(node->peers);
    for (int i = 0; i < PEERS_PER_WAKE && !node->exiting; i++) {
        if (!peer_watch_process_next(node->peers, clock_ms())) {
            break;
        }
    }
    return node_settle(node);
}

static int
on_lanes(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct node *node = arg;
    struct brk_event event;
    lanes_clear(node->lanes);
    while (!node->exiting && lanes_next(node->lanes, &event)) {
        node_step(node, &event);
    }
    steer_clients(node);
    return node_settle(node);
}

static int
on_signal(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    struct node *node = arg;
    struct signalfd_siginfo info;
    if (read(item->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        log_info("stopping signal=%u", info.ssi_signo);
        lanes_end(node->lanes);
        node_step(node, &(struct brk_event){.kind = BRK_STOP});
    }
    return node_settle(node);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static bool
bind_router(struct router *router, zsock_t **ret_socket, const char *host, int32_t port)
{
    const struct router_options options = {.max_frame_bytes = MAX_CONNECTION_BYTES,
                                           .send_hwm = MAX_CONNECTION_REQUESTS,
                                           .recv_hwm = MAX_CONNECTION_REQUESTS,
                                           .linger_ms = LINGER_MS};
    struct err_msg err;
    *ret_socket = zsock_new(ZMQ_ROUTER);
    DMQ_ASSERT(*ret_socket != NULL);
    router->socket = zsock_resolve(*ret_socket);
    router->limits =
        (struct net_limits){.max_frames = BRK_MAX_FRAMES, .max_bytes = MAX_CONNECTION_BYTES};
    if (router_configure(router->socket, &options, &err) != DMQ_OK ||
        router_bind(router->socket, host, port, &err) != DMQ_OK) {
        log_error("bind_failed text=\"%s\"", err.text);
        return false;
    }
    return true;
}

static bool
open_folder(struct node *node)
{
    struct err_msg err;
    if (folder_open(node->conf->data_dir, "broker", node->conf->node_id, &node->folder, &err) !=
        DMQ_OK) {
        log_error("folder_refused text=\"%s\"", err.text);
        return false;
    }
    return true;
}

/* A folder notes its cluster, synced, before it holds anything of it. */
static bool
may_be_new(const struct node *node)
{
    return uuid_is_zero(node->folder.identity.cluster_id);
}

static void
fill_config(const struct node *node, struct brk_config *config)
{
    const struct service_broker *self = node->conf->broker;
    const struct settings *settings = &node->conf->settings;
    *config = (struct brk_config){
        .broker_id = self->id,
        .incarnation = random_uuid(),
        .disk_id = node->folder.identity.disk_id,
        .cluster_id = node->folder.identity.cluster_id,
        .new_folder = may_be_new(node),
        .client_port = self->port,
        .node_port = self->peer_port,
        .advertised_port = self->advertised_port,
        .heartbeat_ms = setting_number(settings, SETTING_BROKER_HEARTBEAT_INTERVAL_MS),
        .max_request_bytes = setting_number(settings, SETTING_QUEUED_MAX_REQUEST_BYTES),
        .max_connection_bytes = MAX_CONNECTION_BYTES,
        .max_connection_requests = MAX_CONNECTION_REQUESTS,
        .replica_lag_ms = setting_number(settings, SETTING_REPLICA_LAG_TIME_MAX_MS),
        .segment_bytes = setting_number(settings, SETTING_LOG_SEGMENT_BYTES),
        .hot_bytes = HOT_BYTES,
        .retention_check_ms = setting_number(settings, SETTING_LOG_RETENTION_CHECK_INTERVAL_MS),
        .reserve_bytes = setting_number(settings, SETTING_LOG_DISK_RESERVE_BYTES),
        .index_interval_bytes = (int32_t)setting_number(settings, SETTING_LOG_INDEX_INTERVAL_BYTES),
    };
    snprintf(config->cluster_name, sizeof(config->cluster_name), "%s",
             node->conf->services.cluster);
    snprintf(config->data_dir, sizeof(config->data_dir), "%s", node->folder.path);
    snprintf(config->host, sizeof(config->host), "%s", self->host);
    snprintf(config->advertised_host, sizeof(config->advertised_host), "%s", self->advertised_host);
    snprintf(config->rack, sizeof(config->rack), "%s", self->rack);
}

/* Who is in services.json, and which controller each broker is paired with. */
static void
fill_services(struct node *node, struct brk_config *config)
{
    const struct services *from = &node->conf->services;
    size_t controllers = from->controller_count;
    node->services = calloc(controllers + from->broker_count + 1, sizeof(*node->services));
    DMQ_ASSERT(node->services != NULL);
    for (size_t i = 0; i < controllers; i++) {
        const struct service_controller *one = &from->controllers[i];
        node->services[i] = (struct brk_service){
            .id = one->id, .host = one->host, .port = one->port, .rack = "", .controller = -1};
    }
    for (size_t i = 0; i < from->broker_count; i++) {
        const struct service_broker *one = &from->brokers[i];
        node->services[controllers + i] = (struct brk_service){.id = one->id,
                                                               .host = one->host,
                                                               .port = one->port,
                                                               .rack = one->rack,
                                                               .controller = one->controller};
    }
    config->controllers = node->services;
    config->controller_count = controllers;
    config->first_controller = node->conf->broker->controller;
    config->brokers = node->services + controllers;
    config->broker_count = from->broker_count;
}

/* Reads the store and hands what it holds to the core: its first event. */
static bool
start_core(struct node *node)
{
    struct brk_config config;
    struct err_msg err;
    struct kv *kv;
    struct brk_event event = {.kind = BRK_STARTED};
    struct store_rows rows;
    if (store_open(node->folder.path, may_be_new(node), &kv, &err) != DMQ_OK ||
        meta_rows_load(kv, &event.u.started.image, &err) != DMQ_OK) {
        log_error("store_refused text=\"%s\"", err.text);
        return false;
    }
    if (store_read(kv, bytes_str("log/"), &rows) != DMQ_OK) {
        log_error("store_refused text=\"the rows of the logs in %s cannot be read\"",
                  node->folder.path);
        return false;
    }
    node->lanes = lanes_start(fs_posix(), kv);
    if (node->lanes == NULL) {
        log_error("start_failed text=\"no thread can be made\"");
        return false;
    }
    fill_config(node, &config);
    fill_services(node, &config);
    node->brk = brk_new(&config);
    event.u.started.rows = (const struct brk_row *)rows.rows;
    event.u.started.count = rows.count;
    node_step(node, &event);
    store_rows_deinit(&rows);
    return true;
}

static bool
fill_loop(struct node *node)
{
    struct err_msg err;
    zmq_pollitem_t alarm = {.fd = node->alarm.fd, .events = ZMQ_POLLIN};
    zmq_pollitem_t lanes = {.fd = lanes_fd(node->lanes), .events = ZMQ_POLLIN};
    zmq_pollitem_t peers = {.fd = peer_set_fd(node->peers), .events = ZMQ_POLLIN};
    zmq_pollitem_t signals = {.fd = node->signal_fd, .events = ZMQ_POLLIN};
    zloop_poller(node->loop, &alarm, on_alarm, node);
    zloop_poller(node->loop, &lanes, on_lanes, node);
    zloop_poller(node->loop, &peers, on_peers, node);
    zloop_poller(node->loop, &signals, on_signal, node);
    zloop_reader(node->loop, node->node_socket, on_request, node);
    steer_clients(node);
    if (!http_pages_open(node, &err)) {
        log_error("bind_failed text=\"%s\"", err.text);
        return false;
    }
    return true;
}

static void
node_close(struct node *node)
{
    lanes_stop(node->lanes);
    controller_link_close(node);
    peer_links_close(node);
    peer_set_free(node->peers);
    http_stop(node->http);
    brk_effects_deinit(&node->effects);
    brk_free(node->brk);
    free(node->services);
    router_request_deinit(&node->request);
    zsock_destroy(&node->client_socket);
    zsock_destroy(&node->node_socket);
    zloop_destroy(&node->loop);
    folder_close(&node->folder);
    alarm_deinit(&node->alarm);
    close(node->signal_fd);
    zsys_shutdown();
}

int
node_run(const struct daemon_conf *conf)
{
    struct node node = {.conf = conf,
                        .folder = {.lock_fd = -1},
                        .signal_fd = daemon_open_signals(),
                        .exit_code = DAEMON_EXIT_ERROR};
    const struct service_broker *self = conf->broker;
    daemon_tune_memory();
    daemon_raise_limits();
    zsys_init();
    zsys_handler_set(NULL);
    node.loop = zloop_new();
    node.peers = peer_set_new();
    int no_alarm = alarm_init(&node.alarm);
    DMQ_ASSERT(no_alarm == 0);
    DMQ_ASSERT(node.loop != NULL && node.peers != NULL && node.signal_fd >= 0);
    /* The sockets are bound before the stores are opened, so that nobody is refused meanwhile. */
    if (open_folder(&node) &&
        bind_router(&node.client_router, &node.client_socket, self->listen_host, self->port) &&
        bind_router(&node.node_router, &node.node_socket, self->listen_host, self->peer_port) &&
        start_core(&node) && fill_loop(&node)) {
        arm_alarm(&node);
        while (!node.exiting && zloop_start(node.loop) == 0) {
        }
    }
    node_close(&node);
    return node.exit_code;
}
