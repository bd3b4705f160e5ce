#include <stdio.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* A follower's log is cut where the leader's parts from it:
 *
 *   the mark is lowered, synced   else the cut log would look damaged at the next start
 *   OPEN with a cut               recovery of what is left: epochs, indexes, producers go with it
 *   TRUNCATED                     the replica fetches on
 *
 * Or it is emptied, because all of it lies below the leader's log start, and goes on there:
 *
 *   log start and mark are raised to there, synced   the mark says that nothing is behind it
 *   OPEN                          recovery removes what lies below, and makes the first segment
 *   EMPTIED                       the replica fetches on
 *
 * Until then the partition is OPENING again: it takes no batches and changes no role. Producers go
 * on from the newest snapshot of what stays, and are replayed from there; so they are what they
 * were when the log ended here. */

/* Whether it is emptied, and not cut. */
static bool
restarts(const struct partition *p)
{
    return p->replica.truncate_to > p->replica.end;
}

/* What the store is to say of the log before anything is done to it. */
static struct mark_row
row_of(const struct partition *p)
{
    int64_t to = p->replica.truncate_to;
    if (restarts(p)) {
        return (struct mark_row){.mark = {.segment = to, .pos = 0, .offset = to, .epoch = -1},
                                 .high_watermark = to,
                                 .start = to};
    }
    return (struct mark_row){.mark = plog_mark(p->log),
                             .high_watermark = p->replica.high_watermark,
                             .damaged = repair_is_damaged(p),
                             .start = plog_start(p->log)};
}

/* Epochs of what stays; NULL: none. */
static struct buf *
epochs_of(const struct partition *p)
{
    return restarts(p) ? NULL : plog_epochs_row(p->log);
}

void
truncate_begin(struct brk *brk, struct partition *p)
{
    struct kv_batch batch = {0};
    DMQ_ASSERT(p->state == PARTITION_OPEN && p->replica.truncating && !p->truncating);
    brk_log(brk, false, "event=%s partition=%s from=%lld to=%lld epoch=%d",
            restarts(p) ? "begins_at_leaders_log_start" : "truncating", p->label,
            (long long)plog_end(p->log), (long long)p->replica.truncate_to,
            p->replica.leader_epoch);
    p->truncating = true;
    partition_withdraw(brk, p);
    if (!restarts(p)) {
        plog_lower_mark(p->log, p->replica.truncate_to);
    }
    struct buf *epochs = epochs_of(p);
    const struct mark_row row = row_of(p);
    kv_batch_mark(&batch, p->key, &row);
    if (epochs != NULL) {
        kv_batch_log_row(&batch, p->key, LOG_ROW_EPOCHS, buf_bytes(epochs));
    } else {
        kv_batch_remove_log_row(&batch, p->key, LOG_ROW_EPOCHS);
    }
    struct buf *producers = restarts(p) ? NULL : snapshot_cut(p, p->replica.truncate_to);
    if (producers != NULL) {
        kv_batch_log_row(&batch, p->key, LOG_ROW_PRODUCERS, buf_bytes(producers));
    } else {
        snapshot_forget(p);
        kv_batch_remove_log_row(&batch, p->key, LOG_ROW_PRODUCERS);
    }
    buf_unref(epochs);
    p->stored_epoch = row.mark.epoch;
    kv_batch_emit(brk, &batch, KV_LOWERED, true)->log = p->number;
}

void
truncate_on_lowered(struct brk *brk, uint32_t log)
{
    struct partition *p = partition_by_number(brk, log);
    DMQ_ASSERT(p != NULL && p->truncating); /* OPENING: it is not removed */
    const struct mark_row row = row_of(p);
    struct log_open *open = partition_name_log(brk, p);
    open->cuts = !restarts(p);
    open->cut = p->replica.truncate_to;
    open->marked = true;
    open->mark = row.mark;
    open->start = row.start;
    open->epochs = epochs_of(p);
    open->producers = p->snapshots[0].row == NULL ? NULL : buf_ref(p->snapshots[0].row);
    brk_disk(brk, (struct disk_op){.kind = DISK_OPEN,
                                   .log = p->number,
                                   .generation = plog_generation(p->log) + 1,
                                   .u.open = open});
}

/* The end may be lower still: where a disk was full, what was appended last never got to it. */
void
truncate_on_opened(struct brk *brk, struct partition *p)
{
    struct replica_effects effects;
    const struct replica_event event = {.kind = restarts(p) ? REPLICA_EMPTIED : REPLICA_TRUNCATED,
                                        .u.end = plog_end(p->log)};
    p->truncating = false;
    partition_step(brk, p, event, &effects);
}
