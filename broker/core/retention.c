#include "broker/core/call.h"
#include "broker/core/partition.h"

/* retention.ms and retention.bytes. Every few seconds each log is asked where it may begin. If that
 * is further on, then in this order (trap 54):
 *
 *   1 the log begins there: nobody reads below it any more;
 *   2 log start, leader epochs and producer snapshot go to the store, in one synced batch;
 *   3 when that is back, the lane removes the segments.
 *
 * A crash before 2 changes nothing; after it, recovery finishes 3. A newest segment that is expired
 * is rolled first, and goes at a later look. */

static struct plog_retention
retention_of(const struct brk *brk, const struct partition *p)
{
    const struct image_topic *topic = image_topic_by_id(brk->image, p->key.topic_id);
    return (struct plog_retention){.wall_ms = brk->wall_ms,
                                   .age_ms = topic->config.retention_ms,
                                   .bytes = topic->config.retention_bytes,
                                   .limit = p->replica.high_watermark,
                                   .snapshot = p->snapshots[0].offset};
}

static void
emit_ops(struct brk *brk, const struct plog_ops *ops)
{
    for (size_t i = 0; i < ops->count; i++) {
        brk_disk(brk, ops->ops[i]);
    }
}

/* The rolled segment goes once a SYNC has covered the roll. */
static void
roll(struct brk *brk, struct partition *p)
{
    struct plog_ops ops = {.count = 0};
    plog_roll(p->log, &ops);
    emit_ops(brk, &ops);
    sync_want(brk, p);
}

static void
look_at(struct brk *brk, struct partition *p, struct kv_batch *batch)
{
    const struct plog_retention retention = retention_of(brk, p);
    int64_t start = plog_retained_from(p->log, &retention);
    if (start > plog_start(p->log)) {
        plog_raise_start(p->log, start);
        p->stored_epoch = -1; /* epochs begin elsewhere now */
        checkpoint_put(batch, p);
        p->removing = true;
        brk_log(brk, false, "event=segments_removed partition=%s log_start=%lld", p->label,
                (long long)start);
    } else if (plog_newest_expired(p->log, &retention)) {
        roll(brk, p);
    }
}

void
retention_tick(struct brk *brk)
{
    struct kv_batch batch = {0};
    if (retention_deadline(brk) > brk->now_ms) {
        return;
    }
    brk->retention_due_ms = brk->now_ms + brk->config.retention_check_ms;
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        if (p->state == PARTITION_OPEN && p->stuck_count == 0) {
            look_at(brk, p, &batch);
        }
    }
    if (batch.count > 0) {
        kv_batch_emit(brk, &batch, KV_LOG_STARTS, true);
        brk->raising = true;
    }
}

int64_t
retention_deadline(const struct brk *brk)
{
    bool idle = brk->raising || brk->folder_offline || brk->life < LIFE_REGISTERING ||
                brk->life >= LIFE_CLOSING;
    return idle ? INT64_MAX : brk->retention_due_ms;
}

void
retention_on_stored(struct brk *brk)
{
    brk->raising = false;
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        struct plog_ops ops = {.count = 0};
        if (p->removing && p->state == PARTITION_OPEN) {
            plog_remove(p->log, &ops);
            emit_ops(brk, &ops);
        }
        p->removing = false;
    }
}
