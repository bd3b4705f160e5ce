#include <stdio.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* A follower's log is cut where the leader's parts from it:
 *
 *   the mark is lowered, synced   else the cut log would look damaged at the next start
 *   OPEN with a cut               recovery of what is left: epochs, indexes, producers go with it
 *   TRUNCATED                     the replica fetches on
 *
 * Until then the partition is OPENING again: it takes no batches and changes no role. The snapshot
 * of the producers is dropped, for it may be of what is cut: they are replayed from the log. */

void
truncate_begin(struct brk *brk, struct partition *p)
{
    struct kv_batch batch = {0};
    DMQ_ASSERT(p->state == PARTITION_OPEN && p->replica.truncating && !p->truncating);
    brk_log(brk, false, "event=truncating partition=%s from=%lld to=%lld epoch=%d", p->label,
            (long long)plog_end(p->log), (long long)p->replica.truncate_to,
            p->replica.leader_epoch);
    p->state = PARTITION_OPENING;
    p->truncating = true;
    brk->opening++;
    watch_abandon(brk, p);
    list_remove(&p->unsynced_link);
    list_remove(&p->dirty_link);
    space_forget(brk, p); /* it never got to the disk */
    plog_lower_mark(p->log, p->replica.truncate_to);
    struct buf *epochs = plog_epochs_row(p->log);
    const struct mark_row mark = {.mark = plog_mark(p->log),
                                  .high_watermark = p->replica.high_watermark,
                                  .start = plog_start(p->log)};
    kv_batch_mark(&batch, p->key, &mark);
    kv_batch_log_row(&batch, p->key, LOG_ROW_EPOCHS, buf_bytes(epochs));
    kv_batch_remove_log_row(&batch, p->key, LOG_ROW_PRODUCERS);
    buf_unref(epochs);
    p->stored_epoch = plog_mark(p->log).epoch;
    kv_batch_emit(brk, &batch, KV_LOWERED, true)->log = p->number;
}

void
truncate_on_lowered(struct brk *brk, uint32_t log)
{
    struct partition *p = partition_by_number(brk, log);
    DMQ_ASSERT(p != NULL && p->truncating); /* OPENING: it is not removed */
    struct log_open *open = partition_name_log(brk, p);
    open->segment_bytes = p->segment_bytes;
    open->index_interval_bytes = brk->config.index_interval_bytes;
    open->cuts = true;
    open->cut = p->replica.truncate_to;
    open->marked = true;
    open->mark = plog_mark(p->log);
    open->start = plog_start(p->log);
    open->epochs = plog_epochs_row(p->log);
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
    p->truncating = false;
    partition_step(brk, p,
                   (struct replica_event){.kind = REPLICA_TRUNCATED, .u.end = plog_end(p->log)},
                   &effects);
}
