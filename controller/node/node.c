#include "controller/node/node.h"

#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "controller/store/raft_store.h"
#include "libdmq/base/assert.h"
#include "libdmq/http/http.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/daemon.h"
#include "libdmq/os/fs_posix.h"
#include "libdmq/os/log.h"
#include "libdmq/os/random.h"

#define REQUESTS_PER_WAKE 64 /* before other sockets get their turn */
#define PEERS_PER_WAKE 64
#define LINGER_MS 1000

/* ---- steps ----------------------------------------------------------------------------------- */

static void
end(struct node *node, int exit_code)
{
    node->exit_code = exit_code;
    node->exiting = true;
}

/* The folder keeps its cluster: a store that was swapped under it is found out here. */
static void
take_cluster(struct node *node, struct uuid cluster_id)
{
    struct err_msg err;
    if (folder_set_cluster(&node->folder, cluster_id, &err) != DMQ_OK) {
        log_error("cluster_refused text=\"%s\"", err.text);
        end(node, DAEMON_EXIT_ERROR);
    }
    mates_expect_cluster(node, cluster_id);
}

static void
say_ready(const struct node *node, struct uuid cluster_id)
{
    char text[UUID_TEXT_SIZE];
    log_info("ready cluster=%s", uuid_text(cluster_id, text));
    printf("ready controller id=%d tcp://%s:%d\n", node->conf->node_id,
           node->conf->controller->host, node->conf->controller->port);
    fflush(stdout);
}

static void
carry_out(struct node *node, struct ctl_effect *effect)
{
    switch (effect->kind) {
    case CTL_PERSIST:
        lanes_persist(node->lanes, effect->u.persist);
        break;
    case CTL_REPLY:
        router_reply(&node->router, effect->u.reply.to, effect->u.reply.frames,
                     effect->u.reply.count);
        ctl_effect_deinit(effect);
        break;
    case CTL_SEND:
        mates_send(node, effect);
        break;
    case CTL_ASK:
        mates_ask(node, effect);
        break;
    case CTL_CONNECT:
        links_connect(node, effect);
        break;
    case CTL_DISCONNECT:
        links_disconnect(node, effect->u.peer);
        break;
    case CTL_PUSH:
        links_push(node, effect);
        break;
    case CTL_PROBE:
        links_probe(node, effect->u.peer);
        break;
    case CTL_PROBE_MATE:
        mates_probe(node, effect->u.peer);
        break;
    case CTL_CLUSTER:
        take_cluster(node, effect->u.cluster_id);
        break;
    case CTL_READY:
        say_ready(node, effect->u.cluster_id);
        break;
    case CTL_LOG:
        if (effect->u.log.error) {
            log_error("%s", effect->u.log.line);
        } else {
            log_info("%s", effect->u.log.line);
        }
        break;
    case CTL_FAIL:
        end(node, DAEMON_EXIT_ERROR);
        break;
    }
}

/* Effects leave in their order before the next event comes in. */
static void
step(struct node *node, struct ctl_event *event)
{
    event->now_ms = clock_ms();
    ctl_step(node->ctl, event, &node->effects);
    for (size_t i = 0; i < node->effects.count; i++) {
        carry_out(node, &node->effects.items[i]);
    }
    node->effects.count = 0;
}

void
node_step(struct node *node, struct ctl_event *event)
{
    struct ctl_event more;
    step(node, event);
    while (links_next_event(node, &more) || mates_next_event(node, &more)) {
        step(node, &more);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* For whatever is due first. */
static void
arm_alarm(struct node *node)
{
    int64_t due = ctl_deadline(node->ctl);
    int64_t links = links_deadline(node), mates = mates_deadline(node);
    due = links < due ? links : due;
    due = mates < due ? mates : due;
    alarm_arm(&node->alarm, due);
}

int
node_settle(struct node *node)
{
    if (node->exiting) {
        return -1;
    }
    links_sweep(node);
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
    links_process_due(node, clock_ms());
    mates_process_due(node, clock_ms());
    if (ctl_deadline(node->ctl) <= clock_ms()) {
        node_step(node, &(struct ctl_event){.kind = CTL_TICK});
    }
    return node_settle(node);
}

/* ---- what comes in --------------------------------------------------------------------------- */

/* A request without a header cannot be answered: whoever sent it hears nothing and times out. */
static void
take_request(struct node *node)
{
    struct router_request *request = &node->request;
    if (request->header == NULL) {
        return;
    }
    struct ctl_event event = {.kind = CTL_REQUEST};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = net_msg_take(&request->msg, 0);
    event.u.request.frames = request->msg.frames + 1;
    event.u.request.count = request->msg.count - 1;
    event.u.request.peer = request->msg.peer;
    node_step(node, &event);
    request->msg.count = 0; /* the step took the references */
}

static int
on_request(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)socket;
    struct node *node = arg;
    for (int i = 0; i < REQUESTS_PER_WAKE && !node->exiting; i++) {
        if (router_recv(&node->router, &node->request) != NET_OK) {
            break;
        }
        take_request(node);
    }
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
    struct ctl_event event;
    lanes_clear(node->lanes);
    while (!node->exiting && lanes_next(node->lanes, &event)) {
        node_step(node, &event);
    }
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
        end(node, DAEMON_EXIT_OK);
    }
    return node_settle(node);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static bool
open_folder(struct node *node)
{
    struct err_msg err;
    if (folder_open(node->conf->data_dir, "controller", node->conf->node_id, &node->folder, &err) !=
        DMQ_OK) {
        log_error("folder_refused text=\"%s\"", err.text);
        return false;
    }
    return true;
}

static bool
open_socket(struct node *node)
{
    const struct router_options options = {.max_frame_bytes = NODE_MAX_REQUEST_BYTES,
                                           .send_hwm = NODE_MAX_REQUESTS,
                                           .recv_hwm = NODE_MAX_REQUESTS,
                                           .linger_ms = LINGER_MS};
    const struct service_controller *self = node->conf->controller;
    struct err_msg err;
    node->socket = zsock_new(ZMQ_ROUTER);
    DMQ_ASSERT(node->socket != NULL);
    node->router.socket = zsock_resolve(node->socket);
    node->router.limits =
        (struct net_limits){.max_frames = 16, .max_bytes = NODE_MAX_REQUEST_BYTES};
    if (router_configure(node->router.socket, &options, &err) != DMQ_OK ||
        router_bind(node->router.socket, self->listen_host, self->port, &err) != DMQ_OK) {
        log_error("bind_failed text=\"%s\"", err.text);
        return false;
    }
    return true;
}

static dmq_err
read_store(struct node *node, bool create, struct raft_store **ret_store,
           struct raft_saved *ret_saved, struct err_msg *err)
{
    dmq_err code = raft_store_open(fs_posix(), node->folder.path, create, ret_store, err);
    if (code != DMQ_OK) {
        return code;
    }
    code = raft_store_load(*ret_store, ret_saved, err);
    if (code != DMQ_OK) {
        raft_store_close(*ret_store);
        *ret_store = NULL;
    }
    return code;
}

/* A controller whose store is damaged or gone may have forgotten a vote. It begins again as another
 * member, with a new disk id, and gets its seat back from the others; alone it has no others. */
static dmq_err
begin_anew(struct node *node, struct raft_store **ret_store, struct raft_saved *ret_saved,
           struct err_msg *err)
{
    char name[RAFT_STORE_MAX_NAME];
    if (node->conf->services.controller_count == 1) {
        struct err_msg why = *err;
        return err_set(err, DMQ_ERR_DAMAGED,
                       "%s: a lone controller cannot be repaired by others: restore the folder, or "
                       "give an empty one to form a new cluster",
                       why.text);
    }
    log_error("store_damaged text=\"%s\"", err->text);
    dmq_err code = raft_store_set_aside(fs_posix(), node->folder.path, name, err);
    if (code == DMQ_OK) {
        log_warn("store_set_aside name=%s text=\"this controller joins again as an empty one\"",
                 name);
        code = folder_renew_disk(&node->folder, err);
    }
    return code == DMQ_OK ? read_store(node, true, ret_store, ret_saved, err) : code;
}

static int64_t
rebalance_ms(const struct settings *settings)
{
    bool enabled =
        strcmp(setting_text(settings, SETTING_AUTO_LEADER_REBALANCE_ENABLE), "true") == 0;
    return enabled
               ? setting_number(settings, SETTING_LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS) * 1000
               : 0;
}

static void
make_core(struct node *node)
{
    const struct settings *settings = &node->conf->settings;
    const struct services *services = &node->conf->services;
    int32_t ids[CTL_MAX_CONTROLLERS];
    size_t count = 0;
    for (; count < services->controller_count && count < CTL_MAX_CONTROLLERS; count++) {
        ids[count] = services->controllers[count].id;
    }
    const struct ctl_config config = {
        .controller_id = node->conf->node_id,
        .disk_id = node->folder.identity.disk_id,
        .cluster_id = node->folder.identity.cluster_id,
        .data_dir = node->folder.path,
        .controllers = ids,
        .controller_count = count,
        .instance_id = random_uuid(),
        .session_timeout_ms = setting_number(settings, SETTING_BROKER_SESSION_TIMEOUT_MS),
        .rebalance_ms = rebalance_ms(settings),
        .max_message_bytes = NODE_MAX_REQUEST_BYTES,
        .max_requests = NODE_MAX_REQUESTS,
        .seed = random_u64(),
    };
    node->ctl = ctl_new(&config);
}

static bool
start_core(struct node *node)
{
    struct raft_store *store = NULL;
    struct raft_saved saved = {0};
    struct err_msg err;
    bool may_be_new = uuid_is_zero(node->folder.identity.cluster_id);
    dmq_err code = read_store(node, may_be_new, &store, &saved, &err);
    if (code == DMQ_ERR_DAMAGED) {
        code = begin_anew(node, &store, &saved, &err);
    }
    if (code != DMQ_OK) {
        log_error("store_refused text=\"%s\"", err.text);
        return false;
    }
    node->lanes = lanes_start(store);
    if (node->lanes == NULL) {
        log_error("start_failed text=\"no thread can be made\"");
        raft_saved_free(&saved);
        return false;
    }
    make_core(node);
    mates_open(node);
    struct ctl_event event = {.kind = CTL_STARTED};
    event.u.started = &saved;
    node_step(node, &event);
    raft_saved_free(&saved);
    return !node->exiting;
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
    zloop_reader(node->loop, node->socket, on_request, node);
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
    links_close(node);
    mates_close(node);
    peer_set_free(node->peers);
    http_stop(node->http);
    ctl_effects_deinit(&node->effects);
    ctl_free(node->ctl);
    router_request_deinit(&node->request);
    zsock_destroy(&node->socket);
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
    daemon_tune_memory();
    daemon_raise_limits();
    zsys_init();
    zsys_handler_set(NULL);
    node.loop = zloop_new();
    node.peers = peer_set_new();
    int no_alarm = alarm_init(&node.alarm);
    DMQ_ASSERT(no_alarm == 0);
    DMQ_ASSERT(node.loop != NULL && node.peers != NULL && node.signal_fd >= 0);
    /* The socket is bound before the store is opened, so that nobody is refused meanwhile. */
    if (open_folder(&node) && open_socket(&node) && start_core(&node) && fill_loop(&node)) {
        arm_alarm(&node);
        while (!node.exiting && zloop_start(node.loop) == 0) {
        }
    }
    node_close(&node);
    return node.exit_code;
}
