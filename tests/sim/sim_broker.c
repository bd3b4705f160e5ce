#include "tests/sim/sim_broker.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/meta/rows.h"

#define MAX_RUN 4 /* of disk effects */

struct queued {
    struct list link;
    struct brk_effect effect;
};

/* ---- events and effects ---------------------------------------------------------------------- */

static void
enqueue(struct list *queue, const struct brk_effect *effect)
{
    struct queued *queued = calloc(1, sizeof(*queued));
    DMQ_ASSERT(queued != NULL);
    queued->effect = *effect;
    list_append(queue, &queued->link);
}

static void
drop_queue(struct list *queue)
{
    struct list *link;
    while ((link = list_pop(queue)) != NULL) {
        struct queued *queued = LIST_ENTRY(link, struct queued, link);
        brk_effect_deinit(&queued->effect);
        free(queued);
    }
}

static void
keep_reply(struct sim_broker *sim, struct brk_effect *effect)
{
    struct response_header header;
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, 4096);
    dmq_err failed = msg_decode(desc_response_header(), 0, buf_bytes(effect->u.reply.frames[0]),
                                &arena, &header, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    arena_deinit(&arena);
    if (header.correlation_id == sim->pushing && sim->pushing != 0) {
        sim->pushing = 0;
        brk_effect_deinit(effect);
        return;
    }
    if (sim->drop_replies) {
        sim->replies_dropped++;
        brk_effect_deinit(effect);
        return;
    }
    struct sim_reply *reply = calloc(1, sizeof(*reply));
    DMQ_ASSERT(reply != NULL);
    reply->correlation_id = header.correlation_id;
    reply->frames = effect->u.reply.frames;
    reply->count = effect->u.reply.count;
    buf_unref(effect->u.reply.peer);
    list_append(&sim->replies, &reply->link);
}

/* The controller's answer to a request; its frames are taken. */
static void
step_answer(struct sim_broker *sim, int64_t tag, struct buf **frames, size_t count)
{
    struct brk_event event = {.kind = BRK_CONTROLLER_REPLY};
    event.u.reply.tag = tag;
    event.u.reply.frames = frames;
    event.u.reply.count = count;
    sim_broker_step(sim, &event);
}

static struct buf *
answer_header(struct sim_broker *sim, dmq_err err)
{
    int64_t version =
        sim->answer_version != 0 ? sim->answer_version : image_version(sim->ctl->image);
    const struct response_header header = {.error = err, .metadata_version = version};
    struct buf *frame = msg_encode_buf(desc_response_header(), 0, &header);
    DMQ_ASSERT(frame != NULL);
    return frame;
}

/* Where nobody is there to answer it is lost. */
static void
keep_sent(struct sim_broker *sim, struct brk_effect *effect)
{
    if (!sim->keeps_sent) {
        brk_effect_deinit(effect);
        return;
    }
    if (sim->sent_count == SIM_MAX_SENT) { /* nobody wanted the oldest */
        brk_effect_deinit(&sim->sent[0]);
        memmove(&sim->sent[0], &sim->sent[1], --sim->sent_count * sizeof(sim->sent[0]));
    }
    sim->sent[sim->sent_count++] = *effect;
}

static void
answer_controller_call(struct sim_broker *sim, struct brk_effect *effect)
{
    const struct sim_node *node = &sim->controllers[sim->connected];
    int64_t tag = effect->u.send.tag;
    struct buf *frames[2];
    size_t count = 1;
    DMQ_ASSERT(sim->connected != 0);
    if (node->mute) {
        brk_effect_deinit(effect);
        return;
    }
    if (node->leader != sim->connected || sim->refuse_requests) {
        frames[0] = answer_header(sim, DMQ_ERR_NOT_CONTROLLER);
    } else if (effect->u.send.api_key == API_BROKER_HEARTBEAT && sim->heartbeat_error != DMQ_OK) {
        frames[0] = answer_header(sim, sim->heartbeat_error);
    } else if (effect->u.send.api_key == API_ENVELOPE) {
        enqueue(&sim->envelopes, effect);
        return;
    } else if (sim->keeps_sent && (effect->u.send.api_key == API_ALTER_PARTITION ||
                                   effect->u.send.api_key == API_COMMITTED_VERSION ||
                                   effect->u.send.api_key == API_REPORT_DAMAGED)) {
        keep_sent(sim, effect);
        return;
    } else {
        sim_controller_answer(sim->ctl, effect, frames);
        count = 2;
    }
    brk_effect_deinit(effect);
    step_answer(sim, tag, frames, count);
}

bool
sim_broker_answer_forward(struct sim_broker *sim, dmq_err err, const void *body,
                          struct arena *arena, void *ret_request)
{
    struct list *link = list_pop(&sim->envelopes);
    if (link == NULL) {
        return false;
    }
    struct queued *queued = LIST_ENTRY(link, struct queued, link);
    struct brk_effect *effect = &queued->effect;
    struct request_header inner;
    struct err_msg why;
    dmq_err failed = msg_decode(desc_request_header(), 0, buf_bytes(effect->u.send.frames[0]),
                                arena, &inner, &why);
    DMQ_ASSERT(failed == DMQ_OK);
    const struct api_desc *api = api_find(inner.api_key);
    if (ret_request != NULL) {
        struct buf *copy = buf_copy(buf_bytes(effect->u.send.frames[1]));
        uint8_t *bytes = arena_alloc(arena, copy->size); /* outlives the frame */
        memcpy(bytes, copy->data, copy->size);
        failed =
            msg_decode(api->request(), 0, bytes_of(bytes, copy->size), arena, ret_request, &why);
        DMQ_ASSERT(failed == DMQ_OK);
        buf_unref(copy);
    }
    const struct envelope_response envelope = {.controller_id = sim->connected};
    struct buf *frames[4] = {answer_header(sim, DMQ_OK),
                             msg_encode_buf(desc_envelope_response(), 0, &envelope),
                             answer_header(sim, err), NULL};
    size_t count = 3;
    if (err == DMQ_OK) {
        frames[count++] = msg_encode_buf(api->response(), 0, body);
    }
    step_answer(sim, effect->u.send.tag, frames, count);
    brk_effect_deinit(effect);
    free(queued);
    return true;
}

static void
carry_out(struct sim_broker *sim, struct brk_effect *effect)
{
    switch (effect->kind) {
    case BRK_REPLY:
        keep_reply(sim, effect);
        break;
    case BRK_DISK:
        enqueue(effect->u.disk.kind == DISK_READ || effect->u.disk.kind == DISK_FIND_TIME
                    ? &sim->read_queue
                    : &sim->disk_queue,
                effect);
        break;
    case BRK_KV_WRITE:
        enqueue(&sim->store_queue, effect);
        break;
    case BRK_CONTROLLER_CONNECT:
        DMQ_ASSERT(sim->dial_count < SIM_MAX_DIALS);
        sim->dials[sim->dial_count++] = effect->u.controller_id;
        sim->dialled = effect->u.controller_id;
        sim->connected = 0;
        drop_queue(&sim->envelopes);
        break;
    case BRK_CONTROLLER_SEND:
        answer_controller_call(sim, effect);
        break;
    case BRK_READY:
        sim->ready = true;
        break;
    case BRK_EXIT:
        sim->exited = true;
        sim->exit_code = effect->u.exit_code;
        break;
    case BRK_PEER_CONNECT:
        sim->peer_dialled = effect->u.connect.broker_id;
        break;
    case BRK_PEER_SEND:
        keep_sent(sim, effect);
        break;
    case BRK_CLUSTER:
    case BRK_LOG:
        break;
    }
}

void
sim_broker_step(struct sim_broker *sim, struct brk_event *event)
{
    struct brk_effects effects = {0};
    event->now_ms = sim->now_ms;
    event->wall_ms = SIM_BROKER_WALL_MS + sim->now_ms;
    simfs_set_time(sim->disk, event->wall_ms);
    brk_step(sim->brk, event, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        carry_out(sim, &effects.items[i]);
    }
    effects.count = 0;
    brk_effects_deinit(&effects);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static void
run_read(struct sim_broker *sim, struct brk_effect *effect)
{
    struct brk_event event = {.kind = BRK_DISK_DONE};
    plog_reader_exec(sim->reader, &effect->u.disk, &event.u.disk_done);
    sim_broker_step(sim, &event);
}

/* As the worker does: what has queued up is one run, of a length that is drawn. */
static void
run_disk(struct sim_broker *sim, struct brk_effect *first)
{
    struct disk_op ops[MAX_RUN] = {first->u.disk};
    struct disk_done dones[MAX_RUN];
    size_t most = rng_chance(&sim->rng, 500) ? 1 : 1 + (size_t)rng_below(&sim->rng, MAX_RUN);
    size_t count = 1;
    while (count < most && !list_empty(&sim->disk_queue)) {
        struct queued *queued = LIST_ENTRY(list_pop(&sim->disk_queue), struct queued, link);
        ops[count++] = queued->effect.u.disk;
        free(queued);
    }
    plog_io_exec(sim->lane, ops, count, dones);
    sim->crashed = simfs_is_dead(sim->disk); /* in the middle of an effect */
    for (size_t i = 0; i < count; i++) {
        struct brk_event event = {.kind = BRK_DISK_DONE, .u.disk_done = dones[i]};
        if (sim->crashed) {
            disk_done_deinit(&dones[i]);
        } else {
            sim_broker_step(sim, &event);
        }
    }
}

static void
run_store(struct sim_broker *sim, struct brk_effect *effect)
{
    struct kv *kv = sim->kv;
    struct brk_event event = {.kind = BRK_KV_DONE};
    event.u.kv_done.id = effect->u.kv.id;
    event.u.kv_done.err =
        kv->ops->write(kv, effect->u.kv.ops, effect->u.kv.count, effect->u.kv.sync);
    brk_effect_deinit(effect);
    sim_broker_step(sim, &event);
}

static struct buf *
header_frame(struct sim_broker *sim, int api_key)
{
    const struct request_header header = {.protocol = WIRE_PROTOCOL,
                                          .api_key = (int16_t)api_key,
                                          .correlation_id = ++sim->correlation,
                                          .time_left_ms = sim->time_left_ms,
                                          .metadata_version = sim->metadata_version};
    struct buf *frame = msg_encode_buf(desc_request_header(), 0, &header);
    DMQ_ASSERT(frame != NULL);
    return frame;
}

static void
send_request(struct sim_broker *sim, enum api_listener listener, struct buf **frames, size_t count)
{
    struct brk_event event = {.kind = BRK_REQUEST};
    event.u.request.listener = listener;
    event.u.request.peer = buf_copy(bytes_str("peer"));
    event.u.request.frames = frames;
    event.u.request.count = count;
    sim_broker_step(sim, &event);
}

/* Hands over what the broker has not applied yet. */
static bool
push(struct sim_broker *sim)
{
    struct brk_stats stats;
    brk_stats(sim->brk, &stats);
    if (sim->pushing != 0 || sim->connected == 0 ||
        sim->controllers[sim->connected].leader != sim->connected) {
        return false;
    }
    sim->ctl->id = sim->connected;
    struct buf *body = sim_controller_push(sim->ctl, stats.metadata_version);
    if (body == NULL) {
        return false;
    }
    struct buf *frames[2] = {header_frame(sim, API_PUSH_METADATA), body};
    sim->pushing = sim->correlation;
    send_request(sim, LISTENER_NODE, frames, 2);
    return true;
}

/* What a dialled controller says. */
static bool
dial(struct sim_broker *sim)
{
    int32_t id = sim->dialled;
    if (id == 0) {
        return false;
    }
    struct brk_event event = {.kind = BRK_CONTROLLER_UP};
    event.u.controller.id = id;
    event.u.controller.leader = sim->controllers[id].leader;
    sim->dialled = 0;
    if (sim->controllers[id].refuses) {
        event.kind = BRK_CONTROLLER_DOWN;
        event.u.controller.err =
            sim->controllers[id].strange ? DMQ_ERR_INCONSISTENT_CLUSTER_ID : DMQ_ERR_NETWORK;
        sim_broker_step(sim, &event);
    } else if (!sim->controllers[id].mute) {
        sim->connected = id;
        sim_broker_step(sim, &event);
    }
    return true;
}

void
sim_broker_sigterm(struct sim_broker *sim)
{
    sim_broker_step(sim, &(struct brk_event){.kind = BRK_STOP});
}

void
sim_broker_name_leader(struct sim_broker *sim, int32_t leader)
{
    for (int id = 1; id <= SIM_CONTROLLERS; id++) {
        sim->controllers[id].leader = leader;
    }
}

void
sim_broker_disconnect(struct sim_broker *sim)
{
    struct brk_event event = {.kind = BRK_CONTROLLER_DOWN};
    event.u.controller.id = sim->connected;
    sim->connected = 0;
    drop_queue(&sim->envelopes);
    sim_broker_step(sim, &event);
}

/* One effect of a lane that has one; false if none has. */
static bool
run_one(struct sim_broker *sim)
{
    struct list *lanes[] = {&sim->disk_queue, &sim->store_queue, &sim->read_queue};
    size_t start = rng_below(&sim->rng, 3);
    for (size_t i = 0; i < 3; i++) {
        struct list *lane = lanes[(start + i) % 3];
        if (list_empty(lane) || (lane == &sim->store_queue && sim->store_waits) ||
            (lane == &sim->disk_queue && sim->disk_waits)) {
            continue;
        }
        if (lane != &sim->read_queue && ++sim->boundaries == sim->crash_at) {
            sim->crashed = true;
            return false;
        }
        struct queued *queued = LIST_ENTRY(list_pop(lane), struct queued, link);
        if (lane == &sim->store_queue) {
            run_store(sim, &queued->effect);
        } else if (lane == &sim->read_queue) {
            run_read(sim, &queued->effect);
        } else {
            run_disk(sim, &queued->effect);
        }
        free(queued);
        return true;
    }
    return false;
}

bool
sim_broker_run(struct sim_broker *sim)
{
    while (!sim->crashed && !sim->exited && (dial(sim) || push(sim) || run_one(sim))) {
    }
    return !sim->crashed;
}

bool
sim_broker_wait(struct sim_broker *sim, int64_t ms)
{
    int64_t until = sim->now_ms + ms;
    while (sim_broker_run(sim) && !sim->exited) {
        int64_t due = brk_deadline(sim->brk);
        if (due > until) {
            sim->now_ms = until;
            return true;
        }
        sim->now_ms = due > sim->now_ms ? due : sim->now_ms;
        sim_broker_step(sim, &(struct brk_event){.kind = BRK_TICK});
    }
    return !sim->crashed;
}

void
sim_broker_skip(struct sim_broker *sim, int64_t ms)
{
    sim->now_ms += ms;
    sim_broker_step(sim, &(struct brk_event){.kind = BRK_TICK});
}

/* ---- the process ----------------------------------------------------------------------------- */

void
sim_broker_init(struct sim_broker *sim, uint64_t seed)
{
    *sim = (struct sim_broker){.now_ms = 1000};
    rng_init(&sim->rng, seed);
    sim->disk = simfs_new(rng_next(&sim->rng));
    sim->store = simkv_new();
    sim->ctl = sim_controller_new();
    list_init(&sim->disk_queue);
    list_init(&sim->store_queue);
    list_init(&sim->read_queue);
    list_init(&sim->replies);
    list_init(&sim->envelopes);
    sim->controllers[1].leader = 1;
    sim->controller_count = 1;
    simfs_make_folder(sim->disk, "/data");
}

/* What a process that ended leaves behind in memory: nothing. */
static void
forget_process(struct sim_broker *sim)
{
    drop_queue(&sim->disk_queue);
    drop_queue(&sim->store_queue);
    drop_queue(&sim->read_queue);
    drop_queue(&sim->envelopes);
    for (size_t i = 0; i < sim->sent_count; i++) {
        brk_effect_deinit(&sim->sent[i]);
    }
    sim->sent_count = 0;
    struct list *link;
    while ((link = list_pop(&sim->replies)) != NULL) {
        sim_reply_free(LIST_ENTRY(link, struct sim_reply, link));
    }
    brk_free(sim->brk);
    plog_io_free(sim->lane);
    plog_reader_free(sim->reader);
    if (sim->kv != NULL) {
        sim->kv->ops->close(sim->kv);
    }
    sim->kv = NULL;
    sim->brk = NULL;
    sim->lane = NULL;
    sim->reader = NULL;
    sim->pushing = 0;
    sim->dialled = 0;
    sim->connected = 0;
    sim->exited = false;
    sim->ready = false;
    sim->crashed = false;
}

void
sim_broker_deinit(struct sim_broker *sim)
{
    forget_process(sim);
    sim_controller_free(sim->ctl);
    simkv_free(sim->store);
    simfs_free(sim->disk);
}

struct rows {
    struct brk_row rows[1024];
    size_t count;
    struct buf *copies[2048];
    size_t copy_count;
};

static struct bytes
copy(struct rows *rows, struct bytes bytes)
{
    struct buf *buf = buf_copy(bytes);
    DMQ_ASSERT(buf != NULL && rows->copy_count < 2048);
    rows->copies[rows->copy_count++] = buf;
    return buf_bytes(buf);
}

static dmq_err
collect(void *arg, struct bytes key, struct bytes value)
{
    struct rows *rows = arg;
    DMQ_ASSERT(rows->count < 1024);
    rows->rows[rows->count].key = copy(rows, key);
    rows->rows[rows->count++].value = copy(rows, value);
    return DMQ_OK;
}

/* A crash disarms the disk. */
static void
arm_disk(struct sim_broker *sim)
{
    uint64_t changes = simfs_counts(sim->disk)->changes;
    if (sim->die_at > changes) {
        simfs_die_after(sim->disk, sim->die_at - changes);
    }
}

void
sim_broker_start(struct sim_broker *sim)
{
    arm_disk(sim);
    static const struct brk_service controllers[SIM_CONTROLLERS] = {
        {1, "sim", 9510, "", -1}, {2, "sim", 9511, "", -1}, {3, "sim", 9512, "", -1}};
    static const struct brk_service brokers[] = {{103, "away", 9501, "r3", 1},
                                                 {SIM_BROKER_ID, "sim", 9501, "", 1}};
    struct brk_config config = {.broker_id = SIM_BROKER_ID,
                                .cluster_name = "sim",
                                .data_dir = "/data",
                                .incarnation = rng_uuid(&sim->rng),
                                .disk_id = {.b = {0xd1}},
                                .cluster_id = sim->used_before ? sim->ctl->cluster_id
                                                               : (struct uuid){.b = {0}},
                                .new_folder = !sim->used_before,
                                .host = "sim",
                                .client_port = 9501,
                                .node_port = 10501,
                                .heartbeat_ms = 500,
                                .max_request_bytes = 1 << 24,
                                .max_connection_bytes = 1 << 26,
                                .max_connection_requests = 100000,
                                .replica_lag_ms = 30000,
                                .segment_bytes = 1 << 20,
                                .hot_bytes = 4096,
                                .retention_check_ms = sim->retention_check_ms,
                                .reserve_bytes = sim->reserve_bytes,
                                .index_interval_bytes = 256,
                                .controllers = controllers,
                                .controller_count = sim->controller_count,
                                .first_controller = 1,
                                .brokers = brokers,
                                .broker_count = 2};
    struct rows *rows = calloc(1, sizeof(*rows));
    struct kv *kv = simkv_open(sim->store);
    struct brk_event event = {.kind = BRK_STARTED};
    struct err_msg err;
    DMQ_ASSERT(rows != NULL && sim->brk == NULL);
    dmq_err failed = meta_rows_load(kv, &event.u.started.image, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    failed = kv->ops->scan(kv, bytes_str("log/"), collect, rows);
    DMQ_ASSERT(failed == DMQ_OK);
    event.u.started.rows = rows->rows;
    event.u.started.count = rows->count;
    sim->used_before = true;
    sim->lane = plog_io_new(simfs_fs(sim->disk));
    sim->reader = plog_reader_new(simfs_fs(sim->disk));
    sim->kv = kv;
    sim->brk = brk_new(&config);
    sim_broker_step(sim, &event);
    for (size_t i = 0; i < rows->copy_count; i++) {
        buf_unref(rows->copies[i]);
    }
    free(rows);
    sim_broker_wait(sim, 1000);
}

bool
sim_broker_stop(struct sim_broker *sim)
{
    sim_broker_sigterm(sim);
    bool alive = sim_broker_wait(sim, 10000);
    if (alive) {
        DMQ_ASSERT(sim->exited && sim->exit_code == 0);
        forget_process(sim);
    }
    return alive;
}

void
sim_broker_crash(struct sim_broker *sim, enum simfs_crash how)
{
    forget_process(sim);
    simfs_crash(sim->disk, how, rng_next(&sim->rng));
    if (how != SIMFS_KEEP) {
        simkv_crash(sim->store, rng_next(&sim->rng));
    }
}

static int
count_segment(void *arg, const char *name)
{
    size_t *count = arg;
    size_t size = strlen(name);
    *count += size > 4 && strcmp(name + size - 4, ".log") == 0;
    return 0;
}

size_t
sim_broker_segments(struct sim_broker *sim, struct uuid topic_id, int32_t partition)
{
    char id[UUID_TEXT_SIZE];
    char path[128];
    size_t count = 0;
    struct fs *fs = simfs_fs(sim->disk);
    snprintf(path, sizeof(path), "/data/%s/%d", uuid_text(topic_id, id), partition);
    fs->ops->list(fs, path, count_segment, &count);
    return count;
}

/* ---- requests -------------------------------------------------------------------------------- */

int64_t
sim_broker_request(struct sim_broker *sim, int api_key, const void *body, struct buf **attachments,
                   size_t count)
{
    struct buf *frames[BRK_MAX_FRAMES];
    DMQ_ASSERT(count + 2 <= BRK_MAX_FRAMES);
    frames[0] = header_frame(sim, api_key);
    frames[1] = msg_encode_buf(api_find(api_key)->request(), 0, body);
    DMQ_ASSERT(frames[1] != NULL);
    for (size_t i = 0; i < count; i++) {
        frames[2 + i] = attachments[i];
    }
    int64_t correlation = sim->correlation;
    send_request(sim, LISTENER_CLIENT, frames, count + 2);
    return correlation;
}

int64_t
sim_broker_node_request(struct sim_broker *sim, int api_key, const void *body)
{
    struct buf *frames[2] = {header_frame(sim, api_key),
                             msg_encode_buf(api_find(api_key)->request(), 0, body)};
    DMQ_ASSERT(frames[1] != NULL);
    int64_t correlation = sim->correlation;
    send_request(sim, LISTENER_NODE, frames, 2);
    return correlation;
}

int64_t
sim_broker_raw_request(struct sim_broker *sim, struct buf **frames, size_t count)
{
    send_request(sim, LISTENER_CLIENT, frames, count);
    return 0;
}

struct sim_reply *
sim_broker_reply(struct sim_broker *sim, int64_t correlation_id)
{
    LIST_FOREACH (link, &sim->replies) {
        struct sim_reply *reply = LIST_ENTRY(link, struct sim_reply, link);
        if (reply->correlation_id == correlation_id) {
            list_remove(link);
            return reply;
        }
    }
    return NULL;
}

void
sim_reply_free(struct sim_reply *reply)
{
    if (reply == NULL) {
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        buf_unref(reply->frames[i]);
    }
    free(reply->frames);
    free(reply);
}

/* What is decoded points into the bytes. */
static struct bytes
keep(const struct buf *frame, struct arena *arena)
{
    uint8_t *copy = arena_alloc(arena, frame->size);
    DMQ_ASSERT(copy != NULL);
    memcpy(copy, frame->data, frame->size);
    return bytes_of(copy, frame->size);
}

dmq_err
sim_reply_decode(const struct sim_reply *reply, int api_key, struct arena *arena, void *ret_body)
{
    struct response_header header;
    struct err_msg err;
    dmq_err failed =
        msg_decode(desc_response_header(), 0, keep(reply->frames[0], arena), arena, &header, &err);
    if (failed == DMQ_OK && header.error != DMQ_OK) {
        return header.error;
    }
    if (failed != DMQ_OK || reply->count < 2) {
        return DMQ_ERR_INVALID_REQUEST;
    }
    return msg_decode(api_find(api_key)->response(), 0, keep(reply->frames[1], arena), arena,
                      ret_body, &err);
}
