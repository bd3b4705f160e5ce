#include "broker/core/partition.h"

/* What the store keeps of the logs: everything in it can be rebuilt from them, or is checked
 * against them. The synced mark of a log is written, after its SYNC, at most MARK_LATE_MS late, and
 * is durable within about a second, whether the log goes on or not: it is what tells a torn tail
 * from damage. */

#define MARK_LATE_MS 100
#define MARK_DURABLE_MS 900

#define TICK_KEY "tick" /* written for its sync alone */

void
checkpoint_dirty(struct brk *brk, struct partition *p)
{
    if (!list_linked(&p->dirty_link)) {
        list_append(&brk->dirty, &p->dirty_link);
    }
    if (brk->checkpoint_due_ms == INT64_MAX) {
        brk->checkpoint_due_ms = brk->now_ms + MARK_LATE_MS;
    }
}

/* ---- producer snapshots ---------------------------------------------------------------------- */

void
snapshot_forget(struct partition *p)
{
    for (size_t i = 0; i < 2; i++) {
        buf_unref(p->snapshots[i].row);
        p->snapshots[i] = (struct producer_snapshot){.offset = -1};
    }
}

void
snapshot_keep(struct partition *p, int64_t offset, struct buf *row)
{
    DMQ_ASSERT((row == NULL) == (offset < 0) && offset >= p->snapshots[0].offset);
    buf_unref(p->snapshots[1].row);
    p->snapshots[1] = p->snapshots[0];
    p->snapshots[0] = (struct producer_snapshot){offset, row};
}

/* A cut mostly takes what came after the last roll, or the one before. Where neither is left, all
 * of the log is replayed. */
struct buf *
snapshot_cut(struct partition *p, int64_t to)
{
    while (p->snapshots[0].row != NULL &&
           (p->snapshots[0].offset > to || p->snapshots[0].offset < plog_start(p->log))) {
        buf_unref(p->snapshots[0].row);
        p->snapshots[0] = p->snapshots[1];
        p->snapshots[1] = (struct producer_snapshot){.offset = -1};
    }
    return p->snapshots[0].row;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The rows of one log as they stand. An epoch entry is stored at the latest with the mark that
 * covers it. */
void
checkpoint_put(struct kv_batch *batch, struct partition *p)
{
    int64_t offset = plog_snapshot_offset(p->log);
    struct buf *snapshot = plog_take_snapshot_row(p->log);
    if (snapshot != NULL) {
        kv_batch_log_row(batch, p->key, LOG_ROW_PRODUCERS, buf_bytes(snapshot));
        snapshot_keep(p, offset, snapshot);
    }
    if (plog_last_epoch(p->log) != p->stored_epoch) {
        struct buf *epochs = plog_epochs_row(p->log);
        kv_batch_log_row(batch, p->key, LOG_ROW_EPOCHS, buf_bytes(epochs));
        buf_unref(epochs);
        p->stored_epoch = plog_mark(p->log).epoch;
    }
    const struct mark_row mark = {.mark = plog_mark(p->log),
                                  .high_watermark = p->replica.high_watermark,
                                  .damaged = repair_is_damaged(p),
                                  .start = plog_start(p->log)};
    kv_batch_mark(batch, p->key, &mark);
}

static void
write_dirty(struct brk *brk)
{
    struct kv_batch batch = {0};
    struct list *link;
    while ((link = list_pop(&brk->dirty)) != NULL) {
        checkpoint_put(&batch, LIST_ENTRY(link, struct partition, dirty_link));
    }
    brk->checkpoint_due_ms = INT64_MAX;
    bool sync = brk->checkpoint_sync_due_ms <= brk->now_ms;
    if (batch.count == 0) {
        kv_batch_put(&batch, bytes_str(TICK_KEY), bytes_str(""));
    }
    if (sync) {
        brk->checkpoint_sync_due_ms = INT64_MAX;
    } else if (brk->checkpoint_sync_due_ms == INT64_MAX) {
        brk->checkpoint_sync_due_ms = brk->now_ms + MARK_DURABLE_MS;
    }
    brk->checkpointing = true;
    kv_batch_emit(brk, &batch, KV_CHECKPOINT, sync);
}

void
checkpoint_tick(struct brk *brk)
{
    if (brk->life < LIFE_CLOSING && checkpoint_deadline(brk) <= brk->now_ms) {
        write_dirty(brk);
    }
}

/* One checkpoint at a time: a slow store makes them larger, not more. */
int64_t
checkpoint_deadline(const struct brk *brk)
{
    if (brk->checkpointing || brk->life >= LIFE_CLOSING || space_is_gone(brk)) {
        return INT64_MAX;
    }
    return brk->checkpoint_due_ms < brk->checkpoint_sync_due_ms ? brk->checkpoint_due_ms
                                                                : brk->checkpoint_sync_due_ms;
}

/* All logs were closed: the next start may take their exact ends on trust. */
void
checkpoint_clean(struct brk *brk)
{
    struct kv_batch batch = {0};
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        if (p->state != PARTITION_CLOSED) {
            continue; /* damaged or offline: it is recovered again */
        }
        struct buf *epochs = plog_epochs_row(p->log);
        struct buf *producers = plog_end_snapshot_row(p->log);
        kv_batch_log_row(&batch, p->key, LOG_ROW_EPOCHS, buf_bytes(epochs));
        kv_batch_log_row(&batch, p->key, LOG_ROW_PRODUCERS, buf_bytes(producers));
        const struct mark_row mark = {.mark = plog_end_mark(p->log),
                                      .high_watermark = p->replica.high_watermark,
                                      .start = plog_start(p->log),
                                      .damaged = repair_is_damaged(p),
                                      .clean = true};
        kv_batch_mark(&batch, p->key, &mark);
        buf_unref(epochs);
        buf_unref(producers);
    }
    kv_batch_put(&batch, bytes_str(TICK_KEY), bytes_str(""));
    kv_batch_emit(brk, &batch, KV_CLOSED, true);
}

/* Before the first write of this run the store must not call a log clean any more. */
bool
checkpoint_remove_clean(struct brk *brk)
{
    struct kv_batch batch = {0};
    for (struct log_rows *rows = brk->log_rows; rows != NULL; rows = rows->hh.next) {
        struct mark_row mark;
        if (rows->mark != NULL && mark_row_decode(buf_bytes(rows->mark), &mark) && mark.clean) {
            mark.clean = false;
            kv_batch_mark(&batch, rows->key, &mark);
        }
    }
    if (batch.count == 0) {
        return false;
    }
    kv_batch_emit(brk, &batch, KV_STARTED, true);
    return true;
}
