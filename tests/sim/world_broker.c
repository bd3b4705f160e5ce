#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/brk.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/map.h"
#include "libdmq/meta/rows.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/world.h"

#define HEARTBEAT_MS 500
#define MAX_RUN 8 /* operations that the storage worker takes at once */

static void step(struct process *p, struct brk_event *event);

/* ---- effects --------------------------------------------------------------------------------- */

static void
give_up_controller(struct process *p)
{
    if (p->controller != NULL) {
        link_hang_up(p->controller);
        p->controller->call_count = 0;
        p->controller = NULL;
    }
}

/* A new connection: the former is hung up, and nothing more is heard of it. */
static void
dial_controller(struct process *p, int32_t id)
{
    give_up_controller(p);
    p->controller = link_dial(p, world_by_id(p->world, PROCESS_CONTROLLER, id), PORT_CONTROLLER, 0);
}

static void
send_request(struct link *link, struct brk_effect *effect)
{
    const struct request_out request = {.tag = (uint64_t)effect->u.send.tag,
                                        .api_key = effect->u.send.api_key,
                                        .client_id = "broker",
                                        .body = effect->u.send.body,
                                        .frames = effect->u.send.frames,
                                        .count = effect->u.send.count,
                                        .timeout_ms = effect->u.send.timeout_ms,
                                        .metadata_version = effect->u.send.metadata_version,
                                        .one_way = effect->u.send.one_way};
    request_send(link, &request);
    plots_sent(link->from, request.api_key);
    brk_effect_deinit(effect);
}

static struct link *
peer_link(struct process *p, int32_t broker_id)
{
    return link_find(p, world_by_id(p->world, PROCESS_BROKER, broker_id), PORT_NODE, 0);
}

static void
dial_peer(struct process *p, int32_t broker_id)
{
    struct link *former = peer_link(p, broker_id);
    if (former != NULL) {
        link_hang_up(former);
        former->call_count = 0;
    }
    link_dial(p, world_by_id(p->world, PROCESS_BROKER, broker_id), PORT_NODE, 0);
}

static enum lane
lane_of(const struct brk_effect *effect)
{
    if (effect->kind == BRK_KV_WRITE) {
        return LANE_STORE;
    }
    return effect->u.disk.kind == DISK_READ || effect->u.disk.kind == DISK_FIND_TIME ? LANE_READ
                                                                                     : LANE_DISK;
}

static void
carry_out(struct process *p, struct brk_effect *effect)
{
    switch (effect->kind) {
    case BRK_REPLY:
        link_reply(p, buf_bytes(effect->u.reply.peer), effect->u.reply.frames,
                   effect->u.reply.count);
        buf_unref(effect->u.reply.peer);
        break;
    case BRK_DISK:
    case BRK_KV_WRITE:
        lane_push(p, lane_of(effect), &(struct effect){.u.brk = *effect});
        break;
    case BRK_CONTROLLER_CONNECT:
        dial_controller(p, effect->u.controller_id);
        break;
    case BRK_CONTROLLER_SEND:
        send_request(p->controller, effect);
        break;
    case BRK_PEER_CONNECT:
        dial_peer(p, effect->u.connect.broker_id);
        break;
    case BRK_PEER_SEND:
        send_request(peer_link(p, effect->u.send.peer), effect);
        break;
    case BRK_CLUSTER:
        p->cluster_id = effect->u.cluster_id;
        break;
    case BRK_READY:
        world_trace(p->world, "broker %d ready", p->id);
        break;
    case BRK_LOG:
        world_trace(p->world, "broker %d: %s", p->id, effect->u.log.line);
        break;
    case BRK_EXIT:
        world_trace(p->world, "broker %d exits with %d", p->id, effect->u.exit_code);
        if (effect->u.exit_code != 0 && !p->store_fails) {
            world_fail(p->world, "a broker ended itself, without a fault of its own");
        }
        p->stopping = true;
        break;
    }
}

/* The process ended by itself: what it had is gone, its disk as the kernel has it. */
static void
end_by_itself(struct process *p)
{
    p->world->counts.stores_failed += p->store_fails;
    process_crash(p, SIMFS_KEEP);
    process_start_in(p, 50 * MS);
}

/* Per mille of what it says to the controller that are its last words: they may come after those of
 * its successor. */
static unsigned
last_words(const struct brk_effect *effect)
{
    if (effect->kind != BRK_CONTROLLER_SEND) {
        return 0;
    }
    return effect->u.send.api_key == API_REGISTER_BROKER    ? 200
           : effect->u.send.api_key == API_BROKER_HEARTBEAT ? 5
                                                            : 0;
}

static bool
dies_speaking(struct process *p, const struct brk_effects *effects)
{
    struct world *world = p->world;
    unsigned chance = 0;
    for (size_t i = 0; i < effects->count; i++) {
        unsigned one = last_words(&effects->items[i]);
        chance = one > chance ? one : chance;
    }
    bool dies = chance > 0 && !world->healed && world->options.die_per_million > 0 &&
                rng_chance(&world->rng, chance);
    world->counts.crashes_speaking += dies;
    return dies;
}

static void
step(struct process *p, struct brk_event *event)
{
    struct brk_effects effects = {0};
    event->now_ms = process_now_ms(p);
    event->wall_ms = WALL_START_MS + event->now_ms + p->wall_skew_ms;
    brk_step(p->brk, event, &effects);
    size_t doom = process_doom(p, effects.count);
    bool last = dies_speaking(p, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        if (i >= doom) {
            brk_effect_deinit(&effects.items[i]);
        } else {
            carry_out(p, &effects.items[i]);
        }
    }
    size_t count = effects.count;
    effects.count = 0;
    brk_effects_deinit(&effects);
    if (doom < count || last) {
        process_dies(p);
    } else if (p->stopping) {
        end_by_itself(p);
    } else {
        process_tick_at(p, brk_deadline(p->brk));
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

void
broker_tick(struct process *p)
{
    step(p, &(struct brk_event){.kind = BRK_TICK});
}

void
broker_stop(struct process *p)
{
    p->world->counts.clean_restarts++;
    step(p, &(struct brk_event){.kind = BRK_STOP});
}

static void
run_store(struct process *p, struct brk_effect *effect)
{
    struct brk_event event = {.kind = BRK_KV_DONE};
    event.u.kv_done.id = effect->u.kv.id;
    event.u.kv_done.err =
        p->kv->ops->write(p->kv, effect->u.kv.ops, effect->u.kv.count, effect->u.kv.sync);
    brk_effect_deinit(effect);
    step(p, &event);
}

static void
run_read(struct process *p, struct brk_effect *effect)
{
    struct brk_event event = {.kind = BRK_DISK_DONE};
    plog_reader_exec(p->reader, &effect->u.disk, &event.u.disk_done);
    step(p, &event);
}

/* What failed in the lane ends it: the kernel has marked pages clean that never got to the disk, so
 * that a sync which is tried again would say that all is well. */
static void
disk_exec(struct process *p, struct disk_op *ops, size_t count, struct disk_done *dones)
{
    bool failed = p->lane_failed;
    uint64_t changes = simfs_counts(p->disk)->changes;
    simfs_set_time(p->disk, WALL_START_MS + process_now_ms(p) + p->wall_skew_ms);
    plog_io_exec(p->lane, ops, count, dones);
    for (size_t i = 0; i < count; i++) {
        p->lane_failed |= dones[i].err == DMQ_ERR_IO && dones[i].kind != DISK_SPACE;
    }
    if (failed && simfs_counts(p->disk)->changes != changes) {
        world_fail(p->world, "broker %" PRId32 " wrote to a disk that had failed", p->id);
    }
}

/* Several operations at once, as the storage worker takes what has gathered. */
static void
run_disk(struct process *p, const struct brk_effect *first)
{
    struct disk_op ops[MAX_RUN];
    struct disk_done dones[MAX_RUN];
    struct list *place;
    size_t count = 1;
    uint64_t life = p->life;
    uint64_t most = rng_below(&p->world->rng, MAX_RUN) + 1;
    ops[0] = first->u.disk;
    while (count < most && (place = list_pop(&p->lanes[LANE_DISK])) != NULL) {
        struct effect *next = LIST_ENTRY(place, struct effect, link);
        ops[count++] = next->u.brk.u.disk;
        free(next);
    }
    for (size_t i = 0; i < count; i++) {
        p->world->counts.rolls += ops[i].kind == DISK_ROLL;
        p->log_generation += ops[i].kind == DISK_OPEN || ops[i].kind == DISK_DELETE ||
                             ops[i].kind == DISK_QUARANTINE;
        rot_note(p, &ops[i]);
    }
    disk_exec(p, ops, count, dones);
    for (size_t i = 0; i < count; i++) {
        struct brk_event event = {.kind = BRK_DISK_DONE, .u.disk_done = dones[i]};
        if (p->life == life && p->alive) {
            step(p, &event);
        } else {
            disk_done_deinit(&dones[i]);
        }
    }
}

void
broker_lane(struct process *p, enum lane lane)
{
    struct effect *done = LIST_ENTRY(list_pop(&p->lanes[lane]), struct effect, link);
    struct brk_effect effect = done->u.brk;
    free(done);
    p->lane_busy[lane] = true;
    if (lane == LANE_STORE) {
        run_store(p, &effect);
    } else if (lane == LANE_READ) {
        run_read(p, &effect);
    } else {
        run_disk(p, &effect);
    }
    if (p->alive) {
        lane_done(p, lane);
    }
}

/* Its hello says who leads, as the controller knows. */
void
broker_link(struct process *p, struct link *link, bool up)
{
    struct brk_event event = {.kind = up ? BRK_CONTROLLER_UP : BRK_CONTROLLER_DOWN};
    if (link->to->kind == PROCESS_BROKER) {
        event.kind = up ? BRK_PEER_UP : BRK_PEER_DOWN;
        event.u.peer = link->to->id;
        step(p, &event);
        return;
    }
    if (link != p->controller) {
        return;
    }
    event.u.controller.id = link->to->id;
    if (up) {
        struct ctl_stats stats;
        ctl_stats(link->to->ctl, &stats);
        event.u.controller.leader = stats.leader;
    } else {
        give_up_controller(p);
    }
    step(p, &event);
}

void
broker_unanswered(struct process *p, struct link *link, uint64_t tag, dmq_err err)
{
    bool peer = link->to->kind == PROCESS_BROKER;
    struct brk_event event = {.kind = peer ? BRK_PEER_REPLY : BRK_CONTROLLER_REPLY};
    if (peer || link == p->controller) {
        event.u.reply.tag = (int64_t)tag;
        event.u.reply.err = err;
        step(p, &event);
    }
}

static void
receive_answer(struct process *p, struct link *link, struct message *message)
{
    bool peer = link->to->kind == PROCESS_BROKER;
    struct brk_event event = {.kind = peer ? BRK_PEER_REPLY : BRK_CONTROLLER_REPLY};
    uint64_t tag;
    dmq_err err;
    if (!request_answered(link, message, &tag, &err)) {
        return;
    }
    event.u.reply.tag = (int64_t)tag;
    event.u.reply.frames = message->frames;
    event.u.reply.count = message->count;
    message->count = 0;
    step(p, &event);
}

void
broker_receive(struct process *p, struct link *link, int direction, struct message *message)
{
    struct brk_event event = {.kind = BRK_REQUEST};
    if (direction == 1) {
        receive_answer(p, link, message);
        return;
    }
    event.u.request.listener = link->port == PORT_CLIENT ? LISTENER_CLIENT : LISTENER_NODE;
    event.u.request.peer = message->frames[0];
    event.u.request.frames = message->frames + 1;
    event.u.request.count = message->count - 1;
    message->count = 0;
    step(p, &event);
}

/* ---- what must hold of its partitions -------------------------------------------------------- */

static void
check_partition(struct process *p, struct uuid topic_id, int32_t partition)
{
    struct brk_partition_view view;
    if (brk_partition_view(p->brk, topic_id, partition, &view)) {
        replicas_seen(p, topic_id, partition, &view);
    }
}

void
broker_check(struct process *p)
{
    const struct image *image = p->brk->image;
    for (uint32_t i = 0; image != NULL && i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t n = 0; n < topic->partition_count; n++) {
            check_partition(p, topic->record->topic_id, (int32_t)n);
        }
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

struct rows {
    struct brk_row *rows;
    size_t count;
    size_t capacity;
    struct outbuf bytes;
};

static dmq_err
collect(void *arg, struct bytes key, struct bytes value)
{
    struct rows *rows = arg;
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 64 : rows->capacity * 2;
        rows->rows = realloc(rows->rows, rows->capacity * sizeof(*rows->rows));
        DMQ_ASSERT(rows->rows != NULL);
    }
    rows->rows[rows->count++] = (struct brk_row){.key.size = key.size, .value.size = value.size};
    outbuf_put(&rows->bytes, key.data, key.size);
    outbuf_put(&rows->bytes, value.data, value.size);
    return DMQ_OK;
}

static size_t
fill_services(const struct world *world, struct brk_service *services)
{
    size_t count = 0;
    for (int i = 0; i < world->process_count; i++) {
        const struct process *other = world->processes[i];
        if (other->kind == PROCESS_CONTROLLER) {
            services[count++] =
                (struct brk_service){.id = other->id, .host = "controller", .rack = ""};
        }
    }
    return count;
}

static void
read_rows(struct kv *kv, struct rows *rows)
{
    dmq_err failed = kv->ops->scan(kv, bytes_str("log/"), collect, rows);
    DMQ_ASSERT(failed == DMQ_OK);
    const uint8_t *at = rows->bytes.data;
    for (size_t i = 0; i < rows->count; i++) {
        rows->rows[i].key.data = at;
        at += rows->rows[i].key.size;
        rows->rows[i].value.data = at;
        at += rows->rows[i].value.size;
    }
}

void
broker_start(struct process *p)
{
    struct world *world = p->world;
    size_t controllers = fill_services(world, p->services);
    struct brk_config config = {.broker_id = p->id,
                                .controllers = p->services,
                                .controller_count = controllers,
                                .first_controller = p->services[(size_t)p->number % controllers].id,
                                .cluster_name = "sim",
                                .data_dir = "/data",
                                .incarnation = rng_uuid(&world->rng),
                                .disk_id = p->disk_id,
                                .cluster_id = p->cluster_id,
                                .new_folder = uuid_is_zero(p->cluster_id),
                                .host = "sim",
                                .client_port = BROKER_CLIENT_PORT(p->id),
                                .node_port = BROKER_NODE_PORT(p->id),
                                .heartbeat_ms = HEARTBEAT_MS,
                                .max_request_bytes = 1 << 20,
                                .max_connection_bytes = 1 << 19,
                                .max_connection_requests = 64,
                                .segment_bytes = world->options.segment_bytes,
                                .hot_bytes = 2048,
                                .retention_check_ms = world->options.retention_check_ms,
                                .reserve_bytes = world->options.reserve_bytes,
                                .replica_lag_ms = world->options.replica_lag_ms,
                                .index_interval_bytes = 256};
    struct rows rows = {0};
    struct brk_event event = {.kind = BRK_STARTED};
    struct err_msg err;
    p->kv = simkv_open(p->store);
    dmq_err failed = meta_rows_load(p->kv, &event.u.started.image, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    read_rows(p->kv, &rows);
    event.u.started.rows = rows.rows;
    event.u.started.count = rows.count;
    p->lane = plog_io_new(simfs_fs(p->disk));
    p->reader = plog_reader_new(simfs_fs(p->disk));
    p->brk = brk_new(&config);
    p->controller = NULL;
    if (image_version(event.u.started.image) < p->told_version) {
        world_fail(world, "broker %d starts with version %" PRId64 ", and told of %" PRId64, p->id,
                   image_version(event.u.started.image), p->told_version);
    }
    step(p, &event);
    free(rows.rows);
    outbuf_deinit(&rows.bytes);
}

/* Of a process that does not run: everything in its folder is gone. */
void
broker_wipe(struct process *p)
{
    simfs_free(p->ghost);
    p->ghost = simfs_clone(p->disk);
    simfs_wipe(p->disk, "/data");
    simkv_free(p->store);
    p->store = simkv_new();
    p->cluster_id = (struct uuid){.b = {0}};
    p->disk_id = rng_uuid(&p->world->rng);
    p->told_version = 0;
    p->log_generation++;
}

void
broker_end(struct process *p)
{
    struct brk_stats stats;
    brk_stats(p->brk, &stats);
    p->world->counts.duplicates += (uint64_t)stats.duplicates;
    p->world->counts.crashes_in_recovery += !stats.ready;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct effect *effect;
        while ((effect = lane_pop(p, (enum lane)lane)) != NULL) {
            brk_effect_deinit(&effect->u.brk);
            free(effect);
        }
    }
    p->log_generation++;
    brk_free(p->brk);
    plog_io_free(p->lane);
    plog_reader_free(p->reader);
    p->kv->ops->close(p->kv);
    p->brk = NULL;
    p->lane = NULL;
    p->reader = NULL;
    p->kv = NULL;
    p->lane_failed = false;
    p->store_fails = false;
}
