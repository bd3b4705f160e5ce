/* A partition here is a log (broker/log) and a replica (broker/replica) that know nothing of each
 * other. This file is where they meet: what the log says (appended, synced, opened) goes to the
 * replica as an event, and what the replica answers (the high watermark rose) goes to those who
 * wait.
 *
 *   image: replica here    -> OPEN of its log; it leads once the log is there and the epoch is
 *                             its own
 *   image: another epoch   -> what waits ends as "maybe written", the replica leads or resigns
 *   image: topic is gone   -> everything that waits for it ends, its log is removed (removal.c)
 *
 * A partition is never made or removed for any other reason than the image. While its log recovers,
 * a removal waits for the recovery to come back. */
#include "broker/core/partition.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/core/call.h"

#define ISR_RETRY_MS 500 /* until a refused or lost change is asked for again */

/* ---- finding --------------------------------------------------------------------------------- */

struct partition *
partition_find(struct brk *brk, struct uuid topic_id, int32_t partition)
{
    const struct partition_key key = {topic_id, partition};
    struct partition *p;
    HASH_FIND(by_key, brk->partitions, &key, sizeof(key), p);
    return p;
}

struct partition *
partition_by_number(struct brk *brk, uint32_t number)
{
    struct partition *p;
    HASH_FIND(by_number, brk->numbered, &number, sizeof(number), p);
    return p;
}

/* From what the image knows to what this process has, in the order in which a client can do
 * something about it: another topic id, another broker, another epoch (KIP-320: older is fenced,
 * newer is not known here yet), a moment's patience, another disk. */
dmq_err
partition_locate(struct brk *brk, struct uuid topic_id, int32_t partition, int32_t epoch,
                 struct partition **ret_p, struct err_msg *err)
{
    const struct image_topic *topic = image_topic_by_id(brk->image, topic_id);
    if (topic == NULL) {
        return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_ID,
                       "topic id is unknown at metadata version %lld",
                       (long long)image_version(brk->image));
    }
    const struct bytes name = topic->record->name;
    const struct partition_record *record = image_partition(brk->image, topic_id, partition);
    if (record == NULL) {
        return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "topic '%.*s' has %u partitions: there is no partition %d", (int)name.size,
                       (const char *)name.data, topic->partition_count, partition);
    }
    if (record->leader < 0) {
        return err_set(err, DMQ_ERR_LEADER_NOT_AVAILABLE, "%.*s-%d has no leader at the moment",
                       (int)name.size, (const char *)name.data, partition);
    }
    if (record->leader != brk->config.broker_id) {
        return err_set(err, DMQ_ERR_NOT_LEADER, "%.*s-%d is led by broker %d", (int)name.size,
                       (const char *)name.data, partition, record->leader);
    }
    if (epoch >= 0 && epoch != record->leader_epoch) {
        return err_set(err,
                       epoch < record->leader_epoch ? DMQ_ERR_FENCED_LEADER_EPOCH
                                                    : DMQ_ERR_UNKNOWN_LEADER_EPOCH,
                       "%.*s-%d is in leader epoch %d, not %d", (int)name.size,
                       (const char *)name.data, partition, record->leader_epoch, epoch);
    }
    struct partition *p = partition_find(brk, topic_id, partition);
    DMQ_ASSERT(p != NULL || !lifecycle_serves(brk)); /* at the start no log is opened yet */
    if (p == NULL || p->state == PARTITION_OPENING || !lifecycle_serves(brk) ||
        (p->replica.role != REPLICA_LEADER && p->log != NULL && p->state != PARTITION_OFFLINE)) {
        return err_set(err, DMQ_ERR_LEADER_NOT_AVAILABLE, "%.*s-%d is not ready yet",
                       (int)name.size, (const char *)name.data, partition);
    }
    if (p->log == NULL || p->state == PARTITION_OFFLINE) {
        return err_set(err, DMQ_ERR_STORAGE, "%s: %s", p->label, p->why);
    }
    *ret_p = p;
    return DMQ_OK;
}

bool
partition_may_come(dmq_err err)
{
    return err == DMQ_ERR_UNKNOWN_TOPIC_ID || err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION ||
           err == DMQ_ERR_UNKNOWN_LEADER_EPOCH || err == DMQ_ERR_LEADER_NOT_AVAILABLE;
}

/* ---- the two machines joined ----------------------------------------------------------------- */

static void
carry_out(struct brk *brk, struct partition *p, const struct replica_effects *effects)
{
    if (effects->hw_advanced && p->state == PARTITION_OPEN) {
        checkpoint_dirty(brk, p);
    }
    if (effects->hw_advanced && p->replica.role == REPLICA_LEADER) {
        isr_share_hw(brk, p);
    }
    if (effects->state_changed && p->replica.role == REPLICA_LEADER &&
        !replica_has_min_isr(&p->replica)) {
        watch_below_min_isr(brk, p);
    }
    if (effects->isr_change) {
        isr_ask(brk, p, &effects->change);
    }
    if (effects->truncate && effects->below_hw) {
        brk_log(brk, true,
                "event=safe_records_lost partition=%s from=%lld high_watermark=%lld text=\"the "
                "leader does not have what was safe: it was elected uncleanly\"",
                p->label, (long long)effects->truncate_to, (long long)p->replica.high_watermark);
    }
    if (effects->truncate || effects->restart) {
        truncate_begin(brk, p);
    }
    if (effects->progress) {
        follow_owe_progress(p);
    }
}

void
partition_step(struct brk *brk, struct partition *p, struct replica_event event,
               struct replica_effects *ret_effects)
{
    event.now_ms = brk->now_ms;
    replica_step(&p->replica, &event, ret_effects);
    watch_progress(brk, p, ret_effects->hw_advanced);
    carry_out(brk, p, ret_effects);
}

static void
step_replica(struct brk *brk, struct partition *p, struct replica_event event)
{
    struct replica_effects effects;
    partition_step(brk, p, event, &effects);
}

/* What the log asks for goes down the lane in its order. */
static void
emit_ops(struct brk *brk, const struct plog_ops *ops)
{
    for (size_t i = 0; i < ops->count; i++) {
        brk_disk(brk, ops->ops[i]);
    }
}

static void
appended(struct brk *brk, struct partition *p, size_t size)
{
    sync_want(brk, p);
    brk->stats.batches_appended++;
    brk->stats.bytes_appended += (int64_t)size;
    space_appended(brk, size);
    step_replica(brk, p,
                 (struct replica_event){.kind = REPLICA_APPENDED, .u.end = plog_end(p->log)});
    watch_appended(brk, p);
}

int64_t
partition_append(struct brk *brk, struct partition *p, struct buf *buf,
                 const struct batch_header *header)
{
    struct plog_ops ops = {.count = 0};
    DMQ_ASSERT(p->state == PARTITION_OPEN && p->replica.role == REPLICA_LEADER);
    const struct plog_batch batch = {.buf = buf, .from = 0, .header = header};
    int64_t base = plog_append(p->log, &batch, p->replica.leader_epoch, brk->now_ms, &ops);
    emit_ops(brk, &ops);
    appended(brk, p, header->size);
    return base;
}

/* Its offset and epoch are those that the leader has stamped. */
void
partition_append_fetched(struct brk *brk, struct partition *p, const struct plog_batch *batch)
{
    struct plog_ops ops = {.count = 0};
    DMQ_ASSERT(p->state == PARTITION_OPEN && p->replica.role == REPLICA_FOLLOWER);
    int64_t base = plog_append(p->log, batch, batch->header->leader_epoch, brk->now_ms, &ops);
    DMQ_ASSERT(base == batch->header->base_offset);
    emit_ops(brk, &ops);
    appended(brk, p, batch->header->size);
}

void
partition_on_written(struct partition *p, const struct disk_done *done)
{
    plog_on_written(p->log, done);
}

/* A SYNC may cover nothing new of this log: then nothing moves, and no row is owed. */
void
partition_on_synced(struct brk *brk, struct partition *p, uint64_t sync)
{
    if (!plog_on_synced(p->log, sync)) {
        return;
    }
    checkpoint_dirty(brk, p);
    step_replica(brk, p,
                 (struct replica_event){.kind = REPLICA_SYNCED, .u.end = plog_synced_end(p->log)});
}

/* ---- what the image says --------------------------------------------------------------------- */

/* The topic's own setting, else the broker's. */
static int64_t
segment_bytes(const struct brk *brk, const struct image_topic *topic)
{
    for (uint32_t i = 0; i < topic->record->config_count; i++) {
        if (bytes_equal_str(topic->record->config[i].name, "segment.bytes")) {
            return topic->config.segment_bytes;
        }
    }
    return brk->config.segment_bytes;
}

void
partition_name_dir(const struct brk *brk, struct partition_key key, char dir[DISK_DIR_SIZE])
{
    char id[UUID_TEXT_SIZE];
    snprintf(dir, DISK_DIR_SIZE, "%s/%s/%d", brk->config.data_dir, uuid_text(key.topic_id, id),
             key.partition);
}

struct log_open *
partition_name_log(const struct brk *brk, const struct partition *p)
{
    struct log_open *open = brk_alloc(sizeof(*open));
    partition_name_dir(brk, p->key, open->dir);
    snprintf(open->label, sizeof(open->label), "%s", p->label);
    open->segment_bytes = p->segment_bytes;
    open->index_interval_bytes = brk->config.index_interval_bytes;
    return open;
}

void
partition_withdraw(struct brk *brk, struct partition *p)
{
    p->state = PARTITION_OPENING;
    brk->opening++;
    watch_abandon(brk, p);
    list_remove(&p->unsynced_link);
    list_remove(&p->dirty_link);
    space_forget(brk, p);
}

static void
open_log(struct brk *brk, struct partition *p, const struct image_topic *topic)
{
    p->segment_bytes = segment_bytes(brk, topic);
    struct log_open *open = partition_name_log(brk, p);
    struct log_rows *rows = rows_take(brk, p->key);
    struct mark_row mark = {.high_watermark = 0};
    if (rows != NULL) {
        open->marked = rows->mark != NULL && mark_row_decode(buf_bytes(rows->mark), &mark);
        open->clean = mark.clean;
        open->mark = mark.mark;
        open->start = mark.start;
        if (mark.damaged) {
            repair_found(brk, p);
        }
        open->epochs = rows->epochs == NULL ? NULL : buf_ref(rows->epochs);
        open->producers = rows->producers == NULL ? NULL : buf_ref(rows->producers);
        if (rows->producers != NULL) {
            snapshot_keep(p, 0, buf_ref(rows->producers)); /* recovery tells its offset */
        }
        rows_free(rows);
    }
    /* A former process had this log: one that ends cleanly leaves a mark for each. */
    brk->unclean = brk->unclean || (brk->life == LIFE_OPENING && !open->marked);
    p->replica.high_watermark = mark.high_watermark; /* held against the log in on_opened */
    p->state = PARTITION_OPENING;
    brk->opening++;
    removal_disk(brk, (struct disk_op){.kind = DISK_OPEN, .log = p->number, .u.open = open});
}

static struct partition *
partition_new(struct brk *brk, struct partition_key key, const struct image_topic *topic)
{
    struct partition *p = brk_alloc(sizeof(*p));
    const struct bytes name = topic->record->name;
    p->key = key;
    p->number = ++brk->last_number;
    p->stored_epoch = -1;
    p->told_epoch = -1;
    snapshot_forget(p);
    snprintf(p->label, sizeof(p->label), "%.*s-%d", (int)name.size, (const char *)name.data,
             key.partition);
    replica_init(&p->replica, &(struct replica_config){.broker_id = brk->config.broker_id,
                                                       .lag_max_ms = brk->config.replica_lag_ms,
                                                       .retry_ms = ISR_RETRY_MS});
    list_init(&p->hw_watches);
    list_init(&p->sync_watches);
    list_init(&p->data_watches);
    list_init(&p->end_watches);
    HASH_ADD(by_key, brk->partitions, key, sizeof(p->key), p);
    HASH_ADD(by_number, brk->numbered, number, sizeof(p->number), p);
    open_log(brk, p, topic);
    return p;
}

/* Nobody may wait for it any more: whoever removes it has told them (watch_abandon). */
void
partition_free(struct brk *brk, struct partition *p)
{
    DMQ_ASSERT(list_empty(&p->hw_watches) && list_empty(&p->sync_watches));
    DMQ_ASSERT(list_empty(&p->data_watches) && list_empty(&p->end_watches));
    list_remove(&p->share_link);
    follow_forget(p);
    isr_forget(brk, p);
    list_remove(&p->damaged_link);
    list_remove(&p->unsynced_link);
    list_remove(&p->dirty_link);
    HASH_DELETE(by_key, brk->partitions, p);
    HASH_DELETE(by_number, brk->numbered, p);
    space_forget(brk, p);
    snapshot_forget(p);
    plog_free(p->log);
    replica_deinit(&p->replica);
    free(p);
}

/* The topic was deleted: by its id, so that a new one of the same name is another partition. */
void
partition_remove(struct brk *brk, struct partition *p)
{
    watch_abandon(brk, p);
    if (p->state == PARTITION_OPENING) {
        list_remove(&p->dirty_link);
        p->removed = true; /* once its recovery is back */
        return;
    }
    removal_begin(brk, p->key, p->number);
    partition_free(brk, p);
}

static bool
names(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

bool
partition_may_lead(const struct brk *brk, const struct partition *p)
{
    const struct partition_record *record =
        image_partition(brk->image, p->key.topic_id, p->key.partition);
    return record != NULL && (names(record->isr, record->isr_count, brk->config.broker_id) ||
                              names(record->elr, record->elr_count, brk->config.broker_id));
}

/* Leads only in an epoch that was given to this very process: an image from before the restart
 * still names the former incarnation's leaderships (KAFKA-18045). */
static bool
leads_here(const struct brk *brk, const struct partition_record *record)
{
    const struct broker_record *self = image_broker(brk->image, brk->config.broker_id);
    return record->leader == brk->config.broker_id && self != NULL &&
           uuid_equal(self->incarnation, brk->config.incarnation);
}

/* A log that is not writable still serves reads, where nobody else can: it leads and refuses. */
static enum replica_role
role_here(const struct brk *brk, const struct partition *p, const struct partition_record *record)
{
    if (leads_here(brk, record)) {
        bool reads = p->state == PARTITION_OPEN || p->state == PARTITION_DAMAGED;
        return reads ? REPLICA_LEADER : REPLICA_IDLE;
    }
    bool other = record->leader >= 0 && record->leader != brk->config.broker_id;
    return other ? REPLICA_FOLLOWER : REPLICA_IDLE;
}

static uint32_t
members_of(const struct brk *brk, const struct partition_record *record,
           struct replica_member *members)
{
    DMQ_ASSERT(record->replicas_count <= REPLICA_MAX);
    for (uint32_t i = 0; i < record->replicas_count; i++) {
        const struct broker_record *broker = image_broker(brk->image, record->replicas[i]);
        DMQ_ASSERT(broker != NULL);
        members[i] = (struct replica_member){.broker_id = broker->broker_id,
                                             .broker_epoch = broker->broker_epoch,
                                             .eligible = !broker->fenced && !broker->shutting_down};
    }
    return record->replicas_count;
}

/* A log that holds a later leader epoch than the one that it is to lead in: of epochs the
 * controller has given none twice and none later, so that a bit of it has flipped, above the mark,
 * where nothing else shows that. What such a leader appends would have an epoch that falls. */
static void
check_epoch(struct brk *brk, struct partition *p, const struct partition_record *record)
{
    if (p->state != PARTITION_OPEN || !leads_here(brk, record) ||
        plog_last_epoch(p->log) <= record->leader_epoch) {
        return;
    }
    repair_found(brk, p);
    p->state = PARTITION_DAMAGED;
    snprintf(p->why, sizeof(p->why),
             "the log is damaged: it has records of leader epoch %d, and that is %d",
             plog_last_epoch(p->log), record->leader_epoch);
    list_remove(&p->dirty_link);
    brk_log(brk, true, "event=log_damaged partition=%s text=\"%s\"", p->label, p->why);
}

/* Whatever the image says now. A role is for a whole leader epoch: an epoch that began while the
 * log could not be used is not led later. */
void
partition_reconcile_role(struct brk *brk, struct partition *p)
{
    if (p->truncating || p->quarantining) {
        return; /* when that is done */
    }
    const struct partition_record *record =
        image_partition(brk->image, p->key.topic_id, p->key.partition);
    const struct image_topic *topic = image_topic_by_id(brk->image, p->key.topic_id);
    struct replica_member members[REPLICA_MAX];
    bool was_async = p->replica.async;
    bool new_epoch = record->leader_epoch > p->replica.leader_epoch;
    if (new_epoch && p->replica.role == REPLICA_LEADER) {
        watch_abandon(brk, p); /* what waits was promised in the old one */
    }
    if (new_epoch) {
        check_epoch(brk, p, record);
    }
    const struct replica_image image = {.role =
                                            new_epoch ? role_here(brk, p, record) : p->replica.role,
                                        .leader = record->leader,
                                        .leader_epoch = record->leader_epoch,
                                        .partition_epoch = record->partition_epoch,
                                        .min_isr = record->min_isr,
                                        .async = topic->config.durability == DURABILITY_ASYNC,
                                        .recorded_async = record->durability == DURABILITY_ASYNC,
                                        .member_count = members_of(brk, record, members),
                                        .members = members,
                                        .isr_count = record->isr_count,
                                        .isr = record->isr};
    step_replica(brk, p, (struct replica_event){.kind = REPLICA_ROLE, .u.image = image});
    follow_update(brk, p);
    if (was_async && !p->replica.async && list_linked(&p->unsynced_link)) {
        sync_want(brk, p); /* what is not synced of it is asked for at once */
    }
}

void
partition_reconcile(struct brk *brk, struct uuid topic_id, int32_t partition)
{
    const struct partition_record *record = image_partition(brk->image, topic_id, partition);
    struct partition *p = partition_find(brk, topic_id, partition);
    if (record == NULL) {
        if (p != NULL) {
            partition_remove(brk, p);
        }
        return;
    }
    if (!names(record->replicas, record->replicas_count, brk->config.broker_id)) {
        return;
    }
    if (p == NULL) {
        const struct partition_key key = {topic_id, partition};
        partition_new(brk, key, image_topic_by_id(brk->image, topic_id));
    } else if (p->log != NULL) {
        partition_reconcile_role(brk, p);
    }
}

void
partition_reconcile_settings(struct brk *brk, struct uuid topic_id)
{
    const struct image_topic *topic = image_topic_by_id(brk->image, topic_id);
    for (uint32_t n = 0; topic != NULL && n < topic->partition_count; n++) {
        struct partition *p = partition_find(brk, topic_id, (int32_t)n);
        if (p == NULL) {
            continue; /* not here, or its own record comes in the same entry */
        }
        p->segment_bytes = segment_bytes(brk, topic);
        if (p->log != NULL) {
            plog_set_segment_bytes(p->log, p->segment_bytes);
            partition_reconcile_role(brk, p);
        }
    }
}

void
partition_reconcile_all(struct brk *brk)
{
    for (uint32_t i = 0; i < image_topic_count(brk->image); i++) {
        const struct image_topic *topic = image_topic_at(brk->image, i);
        for (uint32_t n = 0; n < topic->partition_count; n++) {
            partition_reconcile(brk, topic->record->topic_id, (int32_t)n);
        }
    }
}

/* ---- its log is there, or is not ------------------------------------------------------------- */

void
partition_set_offline(struct brk *brk, struct partition *p, const char *why)
{
    p->state = PARTITION_OFFLINE;
    snprintf(p->why, sizeof(p->why), "%s", why);
    list_remove(&p->unsynced_link);
    list_remove(&p->dirty_link);
    watch_abandon(brk, p);
}

/* A log that is cut is recovered too, with an end that was given. */
static void
take_recovered(struct brk *brk, struct partition *p, struct log_recovered *recovered)
{
    plog_free(p->log);
    p->log =
        plog_new(&(struct plog_config){.number = p->number,
                                       .segment_bytes = p->segment_bytes,
                                       .hot_bytes = (size_t)brk->config.hot_bytes,
                                       .index_interval_bytes = brk->config.index_interval_bytes},
                 recovered);
    if (plog_recovered_snapshot(p->log) < 0) {
        snapshot_forget(p); /* it was of no use */
    } else {
        DMQ_ASSERT(p->snapshots[0].row != NULL);
        p->snapshots[0].offset = plog_recovered_snapshot(p->log);
    }
    if (p->quarantining) {
        repair_on_opened(brk, p);
        return;
    }
    if (p->truncating) {
        truncate_on_opened(brk, p);
        return;
    }
    int64_t checkpointed = p->replica.high_watermark;
    p->replica.high_watermark = 0;
    step_replica(brk, p,
                 (struct replica_event){.kind = REPLICA_OPENED,
                                        .u.opened = {plog_end(p->log), checkpointed}});
    /* A log that holds nothing has nothing to sync, and no SYNC will say that it is. */
    step_replica(brk, p,
                 (struct replica_event){.kind = REPLICA_SYNCED, .u.end = plog_synced_end(p->log)});
}

void
partition_on_opened(struct brk *brk, struct partition *p, struct disk_done *done)
{
    brk->opening--;
    if (p->truncating && done->err == DMQ_ERR_DAMAGED) {
        p->losses++; /* cutting walks what no start has walked */
    }
    if (done->u.recovered != NULL) {
        take_recovered(brk, p, done->u.recovered);
        done->u.recovered = NULL; /* taken */
    }
    p->state = PARTITION_OPEN;
    if (done->err != DMQ_OK) {
        snprintf(p->why, sizeof(p->why), "%s", done->text);
        p->state =
            done->err == DMQ_ERR_DAMAGED && p->log != NULL ? PARTITION_DAMAGED : PARTITION_OFFLINE;
        brk_log(brk, true, "event=log_not_writable partition=%s error=%s text=\"%s\"", p->label,
                err_name(done->err), p->why);
    }
    if (done->err == DMQ_ERR_DAMAGED) {
        repair_found(brk, p);
    }
    if (done->err == DMQ_ERR_IO) {
        folder_failed(brk, done);
    } else if (brk->folder_offline && p->state == PARTITION_OPEN) {
        partition_set_offline(brk, p, "the data folder failed while the log was opened");
    }
    if (done->again != NULL) {
        space_keep(brk, p, done);
    }
    if (p->removed) {
        p->state = PARTITION_CLOSED;
        partition_remove(brk, p);
    } else if (p->log != NULL) {
        if (p->state == PARTITION_OPEN && plog_synced_end(p->log) < plog_end(p->log)) {
            sync_want(brk, p);
        }
        partition_reconcile_role(brk, p);
        call_unstall_all(brk);
    }
    lifecycle_log_settled(brk);
}
