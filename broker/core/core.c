/* One event in: the clock of the step is set, the one arm of the switch runs, and at its end a SYNC
 * is asked for if one is due. Everything else that an event causes is called from its arm,
 * downwards only: no function here is called back.
 *
 * The invariants that hold between any two steps are at the end (check_invariants): what requests
 * are charged for is what waits, the store is never ahead of the image, ids are never negative. In
 * debug builds and in the simulator every log and replica is checked as well. */
#include "broker/core/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/brk.h"
#include "broker/core/call.h"
#include "broker/core/partition.h"

/* ---- effects --------------------------------------------------------------------------------- */

static void
free_frames(struct buf **frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_unref(frames[i]);
    }
    free(frames);
}

void
brk_effect_deinit(struct brk_effect *effect)
{
    switch (effect->kind) {
    case BRK_REPLY:
        buf_unref(effect->u.reply.peer);
        free_frames(effect->u.reply.frames, effect->u.reply.count);
        break;
    case BRK_DISK:
        disk_op_deinit(&effect->u.disk);
        break;
    case BRK_KV_WRITE:
        free(effect->u.kv.ops);
        free(effect->u.kv.memory);
        break;
    case BRK_CONTROLLER_SEND:
    case BRK_PEER_SEND:
        buf_unref(effect->u.send.body);
        free_frames(effect->u.send.frames, effect->u.send.count);
        break;
    case BRK_CONTROLLER_CONNECT:
    case BRK_PEER_CONNECT:
    case BRK_CLUSTER:
    case BRK_READY:
    case BRK_LOG:
    case BRK_EXIT:
        break;
    }
}

void
brk_effects_deinit(struct brk_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        brk_effect_deinit(&effects->items[i]);
    }
    free(effects->items);
    *effects = (struct brk_effects){0};
}

void *
brk_alloc(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    DMQ_ASSERT(memory != NULL);
    return memory;
}

struct brk_effect *
brk_emit(struct brk *brk, enum brk_effect_kind kind)
{
    struct brk_effects *out = brk->out;
    DMQ_ASSERT(out != NULL);
    if (out->count == out->capacity) {
        out->capacity = out->capacity == 0 ? 64 : out->capacity * 2;
        out->items = realloc(out->items, out->capacity * sizeof(*out->items));
        DMQ_ASSERT(out->items != NULL);
    }
    struct brk_effect *effect = &out->items[out->count++];
    memset(effect, 0, sizeof(*effect));
    effect->kind = kind;
    return effect;
}

uint64_t
brk_disk(struct brk *brk, struct disk_op op)
{
    op.id = ++brk->last_effect_id;
    brk_emit(brk, BRK_DISK)->u.disk = op;
    return op.id;
}

void
brk_log(struct brk *brk, bool error, const char *format, ...)
{
    struct brk_effect *effect = brk_emit(brk, BRK_LOG);
    effect->u.log.error = error;
    va_list args;
    va_start(args, format);
    vsnprintf(effect->u.log.line, sizeof(effect->u.log.line), format, args);
    va_end(args);
}

void
brk_exit(struct brk *brk, int exit_code)
{
    if (brk->life != LIFE_ENDED) {
        brk->life = LIFE_ENDED;
        brk_emit(brk, BRK_EXIT)->u.exit_code = exit_code;
    }
}

/* ---- the machine ----------------------------------------------------------------------------- */

struct brk *
brk_new(const struct brk_config *config)
{
    struct brk *brk = brk_alloc(sizeof(*brk));
    brk->config = *config;
    brk->broker_epoch = -1;
    brk->controller_id = -1;
    brk->seek = (struct seek){
        .place = -1, .leader = -1, .retry_at_ms = INT64_MAX, .answer_by_ms = INT64_MAX};
    brk->sync_due_ms = INT64_MAX;
    brk->space_due_ms = INT64_MAX;
    brk->retention_due_ms = INT64_MAX;
    brk->space_free = -1;
    brk->checkpoint_due_ms = INT64_MAX;
    brk->checkpoint_sync_due_ms = INT64_MAX;
    brk->heartbeat_due_ms = INT64_MAX;
    brk->stop_deadline_ms = INT64_MAX;
    brk->follow_retry_ms = INT64_MAX;
    brk->share_ms = INT64_MAX;
    brk->replica_tick_ms = INT64_MAX;
    list_init(&brk->calls);
    list_init(&brk->stalled);
    list_init(&brk->damaged);
    list_init(&brk->unsynced);
    list_init(&brk->kv_pending);
    list_init(&brk->sharing);
    list_init(&brk->dirty);
    list_init(&brk->awaiting);
    list_init(&brk->removals);
    list_init(&brk->producer_id_calls);
    list_init(&brk->forwards);
    list_init(&brk->answered);
    list_init(&brk->doubts);
    list_init(&brk->asked);
    return brk;
}

void
brk_free(struct brk *brk)
{
    if (brk == NULL) {
        return;
    }
    while (!list_empty(&brk->calls)) {
        call_drop(brk, LIST_ENTRY(brk->calls.next, struct call, link));
    }
    while (!list_empty(&brk->kv_pending)) {
        free(LIST_ENTRY(list_pop(&brk->kv_pending), struct kv_pending, link));
    }
    struct partition *p;
    struct partition *p_next;
    HASH_ITER (by_number, brk->numbered, p, p_next) {
        partition_free(brk, p);
    }
    struct log_rows *rows;
    struct log_rows *rows_next;
    HASH_ITER (hh, brk->log_rows, rows, rows_next) {
        HASH_DEL(brk->log_rows, rows);
        rows_free(rows);
    }
    follow_free_all(brk);
    removal_free_all(brk);
    DMQ_ASSERT(brk->connections == NULL && brk->effect_watches == NULL);
    heap_deinit(&brk->deadlines);
    image_free(brk->image);
    free(brk);
}

/* A log that could not be closed is not called clean: the next start recovers it. */
static void
on_closed(struct brk *brk, struct partition *p, const struct disk_done *done)
{
    DMQ_ASSERT(brk->closing > 0);
    brk->closing--;
    p->state = done->err == DMQ_OK ? PARTITION_CLOSED : PARTITION_OFFLINE;
    if (done->err == DMQ_ERR_IO) {
        folder_failed(brk, done);
    }
    lifecycle_log_settled(brk);
}

/* What cannot be read here can be read at another replica, if that one leads. */
static void
on_read(struct brk *brk, struct disk_done *done)
{
    uint32_t index;
    const struct disk_done failed = *done;
    struct call *call = watch_take_effect(brk, done->id, &index);
    if (call != NULL) {
        call_on_disk(brk, call, index, done);
    } else {
        disk_done_deinit(done); /* its call was answered without it */
    }
    if (failed.err == DMQ_ERR_IO && partition_by_number(brk, failed.log) != NULL) {
        folder_failed(brk, &failed);
    }
}

/* A completion finds who waits for it: a READ its call, a SYNC the group of logs that it covers,
 * the others their log. A call that was answered meanwhile (deadline, lost leadership) wants
 * nothing any more, and a log whose topic was deleted has no number here: both completions are
 * dropped. */
static void
on_disk_done(struct brk *brk, struct disk_done *done)
{
    if (done->kind == DISK_READ || done->kind == DISK_FIND_TIME) {
        on_read(brk, done);
        return;
    }
    if (done->kind == DISK_SYNC) {
        sync_on_done(brk, done);
        return;
    }
    if (done->kind == DISK_SPACE) {
        space_on_done(brk, done);
        return;
    }
    struct partition *p = partition_by_number(brk, done->log);
    if (done->kind == DISK_DELETE) {
        removal_on_done(brk, done);
    }
    if (done->kind == DISK_QUARANTINE) {
        DMQ_ASSERT(p != NULL && p->state == PARTITION_OPENING);
        repair_on_moved(brk, p, done);
    } else if (done->kind == DISK_OPEN) {
        DMQ_ASSERT(p != NULL && p->state == PARTITION_OPENING); /* it stays until then */
        partition_on_opened(brk, p, done);
    } else if (done->kind == DISK_CLOSE) {
        DMQ_ASSERT(p != NULL && p->state == PARTITION_CLOSING); /* nothing is removed any more */
        on_closed(brk, p, done);
    } else if (done->err == DMQ_ERR_DISK_FULL && p != NULL) {
        space_keep(brk, p, done);
    } else if (done->err != DMQ_OK && done->err != DMQ_ERR_DISK_FULL) {
        folder_failed(brk, done);
    } else if (p != NULL && done->kind == DISK_WRITE) {
        partition_on_written(p, done);
    }
    disk_done_deinit(done);
}

/* The store's lane is in order, so the oldest write is the one that came back. A store that fails
 * takes the process with it: the image that it should hold is what registration and recovery rest
 * on. */
static void
on_kv_done(struct brk *brk, uint64_t id, dmq_err err)
{
    struct list *link = list_pop(&brk->kv_pending);
    DMQ_ASSERT(link != NULL);
    struct kv_pending *pending = LIST_ENTRY(link, struct kv_pending, link);
    DMQ_ASSERT(pending->id == id);
    if (err != DMQ_OK) {
        brk_log(brk, true,
                "event=store_failed error=%s text=\"the broker ends: its store in %s failed\"",
                err_name(err), brk->config.data_dir);
        brk_exit(brk, 1);
    } else if (pending->purpose == KV_IMAGE) {
        push_on_persisted(brk, pending);
    } else if (pending->purpose == KV_LOWERED) {
        truncate_on_lowered(brk, pending->log);
    } else if (pending->purpose == KV_FORGOTTEN) {
        repair_on_forgotten(brk, pending->log);
    } else {
        lifecycle_kv_done(brk, pending->purpose);
    }
    free(pending);
}

/* An answer that nobody waits for any more still shows that the leader lives. */
static void
on_reply(struct brk *brk, const struct brk_reply *reply)
{
    struct call *call = watch_take_peer(brk, (uint64_t)reply->tag);
    if (call != NULL) {
        forward_on_reply(brk, call, reply);
    } else if (!isr_on_reply(brk, reply) && !lifecycle_on_reply(brk, reply) &&
               !producer_ids_on_reply(brk, reply) && !confirm_on_reply(brk, reply) &&
               !repair_on_reply(brk, reply) && reply->count > 0 &&
               controllers_is_stray(brk, reply->tag)) {
        controllers_heard(brk, DMQ_OK);
    }
    for (size_t i = 0; i < reply->count; i++) {
        buf_unref(reply->frames[i]);
    }
}

/* Calls first: what their deadline ends is not to be counted as parked by what follows. */
static void
on_tick(struct brk *brk)
{
    struct heap_node *node = heap_min(&brk->deadlines);
    while (node != NULL && node->key <= brk->now_ms) {
        heap_remove(&brk->deadlines, node);
        call_on_deadline(brk, LIST_ENTRY(node, struct call, deadline));
        node = heap_min(&brk->deadlines);
    }
    checkpoint_tick(brk);
    space_tick(brk);
    controllers_tick(brk);
    retention_tick(brk);
    isr_tick(brk);
    follow_tick(brk);
    repair_tick(brk);
    lifecycle_tick(brk);
}

static void
check_invariants(const struct brk *brk)
{
    DMQ_ASSERT(brk->stats.request_bytes >= 0);
    DMQ_ASSERT(brk->persisted_version <= image_version(brk->image));
    DMQ_ASSERT(brk->producer_ids_left >= 0);
    DMQ_ASSERT(brk->sync_id == 0 || brk->sync_id <= brk->last_effect_id);
    DMQ_ASSERT(list_empty(&brk->calls) == (brk->stats.parked_calls == 0));
    DMQ_ASSERT(!brk->controller_up || brk->seek.place >= 0);
    DMQ_ASSERT(brk->controller_up || brk->peer_watches == NULL);
#ifdef DMQ_DEBUG
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        if (p->log != NULL) {
            plog_check_invariants(p->log);
            DMQ_ASSERT(p->replica.high_watermark <= plog_end(p->log));
            DMQ_ASSERT(p->state != PARTITION_OPEN ||
                       plog_start(p->log) <= p->replica.high_watermark);
        }
    }
#endif
}

void
brk_step(struct brk *brk, struct brk_event *event, struct brk_effects *out)
{
    brk->out = out;
    brk->now_ms = event->now_ms;
    brk->wall_ms = event->wall_ms;
    DMQ_ASSERT((event->kind == BRK_STARTED) == (brk->life == LIFE_NEW));
    switch (event->kind) {
    case BRK_STARTED:
        lifecycle_start(brk, event);
        break;
    case BRK_REQUEST:
        call_start(brk, event->u.request.listener, event->u.request.peer, event->u.request.frames,
                   event->u.request.count);
        break;
    case BRK_DISK_DONE:
        on_disk_done(brk, &event->u.disk_done);
        break;
    case BRK_KV_DONE:
        on_kv_done(brk, event->u.kv_done.id, event->u.kv_done.err);
        break;
    case BRK_CONTROLLER_UP:
        controllers_on_up(brk, event->u.controller.id, event->u.controller.leader);
        break;
    case BRK_CONTROLLER_DOWN:
        controllers_on_down(brk, event->u.controller.id, event->u.controller.err);
        break;
    case BRK_CONTROLLER_REPLY:
        on_reply(brk, &event->u.reply);
        break;
    case BRK_PEER_UP:
    case BRK_PEER_DOWN:
        follow_on_link(brk, event->u.peer, event->kind == BRK_PEER_UP);
        break;
    case BRK_PEER_REPLY:
        follow_on_reply(brk, &event->u.reply);
        break;
    case BRK_STOP:
        lifecycle_stop(brk);
        break;
    case BRK_TICK:
        on_tick(brk);
        break;
    }
    sync_emit(brk);
    follow_emit(brk);
    check_invariants(brk);
    brk->out = NULL;
}

/* ---- what the shell asks --------------------------------------------------------------------- */

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t
brk_deadline(const struct brk *brk)
{
    const struct heap_node *call = heap_min(&brk->deadlines);
    int64_t due = earlier(checkpoint_deadline(brk), lifecycle_deadline(brk));
    due = earlier(due, space_deadline(brk));
    due = earlier(due, controllers_deadline(brk));
    due = earlier(due, retention_deadline(brk));
    due = earlier(due, earlier(brk->follow_retry_ms, brk->replica_tick_ms));
    due = earlier(due, brk->share_ms);
    due = earlier(due, repair_deadline(brk));
    due = earlier(due, brk->sync_id == 0 ? brk->sync_due_ms : INT64_MAX);
    return earlier(due, call == NULL ? INT64_MAX : call->key);
}

bool
brk_accepts_clients(const struct brk *brk)
{
    return brk->stats.request_bytes < brk->config.max_request_bytes;
}

void
brk_stats(const struct brk *brk, struct brk_stats *ret_stats)
{
    *ret_stats = brk->stats;
    ret_stats->ready = brk->life == LIFE_SERVING;
    ret_stats->fenced = brk->life != LIFE_SERVING;
    ret_stats->stopping = brk->life >= LIFE_HANDING_OVER;
    ret_stats->folder_offline = brk->folder_offline;
    ret_stats->disk_full = brk->disk_full;
    ret_stats->disk_free = brk->space_free;
    ret_stats->damaged_logs = (int64_t)repair_list(brk, NULL, 0);
    ret_stats->quarantined_folders = brk->quarantined;
    ret_stats->metadata_version = brk->image == NULL ? 0 : image_version(brk->image);
    ret_stats->partitions = (int64_t)HASH_CNT(by_key, brk->partitions);
}

bool
brk_partition_view(const struct brk *brk, struct uuid topic_id, int32_t partition,
                   struct brk_partition_view *ret_view)
{
    const struct partition_key key = {topic_id, partition};
    const struct partition *p;
    HASH_FIND(by_key, brk->partitions, &key, sizeof(key), p);
    if (p == NULL || p->log == NULL) {
        return false;
    }
    /* After a cut the log counts anew, but what was durable before it still is. */
    const int64_t synced = plog_synced_end(p->log);
    const int64_t marked = plog_mark(p->log).offset;
    *ret_view = (struct brk_partition_view){.start = plog_start(p->log),
                                            .end = plog_end(p->log),
                                            .synced_end = synced > marked ? synced : marked,
                                            .high_watermark = p->replica.high_watermark,
                                            .leader_epoch = p->replica.leader_epoch,
                                            .losses = p->losses,
                                            .leader = p->replica.role == REPLICA_LEADER,
                                            .follower = p->replica.role == REPLICA_FOLLOWER};
    return true;
}
