/* The follower: it asks from its own end with the epoch of its last record, and takes what comes in
 * this order: is it an answer to what was asked, in this epoch; does the log diverge, then it is
 * cut and nothing else of the answer counts (traps 4, 5); else the batches follow our end, and the
 * leader's high watermark is ours, up to what we have. */
#include "broker/replica/internal.h"
#include "libdmq/base/assert.h"

/* Where to cut so that the next question is about what both logs may have (KIP-101, 279): the end
 * of the leader's epoch where we have it too; else of our largest epoch below it, and the next
 * fetch asks again. Never to the high watermark, which lags behind what is safe (trap 1), but for
 * one case: nothing is left of our epochs where the leader's log begins, for retention has taken
 * it; then what we have below that is let go of, and only what was safe surely is what it was. */
static int64_t
common_end(const struct replica *replica, const struct replica_answered *answered)
{
    const struct replica_epoch_end *theirs = &answered->theirs;
    const struct replica_epoch_end *ours = &answered->ours;
    if (theirs->epoch < 0 && ours->epoch < 0) {
        bool safe = replica->high_watermark > ours->end && replica->high_watermark <= theirs->end;
        return safe ? replica->high_watermark : ours->end;
    }
    return ours->epoch == theirs->epoch && theirs->end < ours->end ? theirs->end : ours->end;
}

static void
truncate(struct replica *replica, const struct replica_answered *answered,
         struct replica_effects *out)
{
    int64_t to = common_end(replica, answered);
    if (to < 0 || to >= replica->end || answered->ours.epoch > answered->theirs.epoch) {
        out->err = DMQ_ERR_INVALID_REQUEST; /* no divergence that could be: a leader gone mad */
        return;
    }
    replica->truncating = true;
    replica->truncate_to = to;
    out->truncate = true;
    out->truncate_to = to;
    out->below_hw = to < replica->high_watermark;
}

void
follower_advance_hw(struct replica *replica, struct replica_effects *out)
{
    int64_t safe = replica->leader_hw < replica->end ? replica->leader_hw : replica->end;
    if (replica->matched && safe > replica->high_watermark) {
        replica->high_watermark = safe;
        out->hw_advanced = true;
    }
}

/* An answer to an earlier question is told by the end that was asked from: until our log matches,
 * it only shrinks, from then on it only grows, and cannot diverge any more in this epoch. */
void
follower_on_answered(struct replica *replica, const struct replica_answered *answered,
                     struct replica_effects *out)
{
    if (!replica_wants_fetch(replica) || answered->leader_epoch != replica->leader_epoch ||
        answered->asked_end != replica->end || (answered->diverges && replica->matched)) {
        out->err = DMQ_ERR_STALE_METADATA;
        return;
    }
    if (answered->diverges) {
        truncate(replica, answered, out);
        return;
    }
    replica->matched = true;
    out->append = true;
    if (answered->high_watermark > replica->leader_hw) {
        replica->leader_hw = answered->high_watermark;
    }
    follower_advance_hw(replica, out);
}

/* What we have lies below the leader's log start: it was safe, and everybody has let go of it
 * since. The log goes on where the leader's begins (Kafka: truncateFullyAndStartAt). */
void
follower_on_below_start(struct replica *replica, const struct replica_below_start *below,
                        struct replica_effects *out)
{
    if (!replica_wants_fetch(replica) || below->leader_epoch != replica->leader_epoch ||
        below->asked_end != replica->end) {
        out->err = DMQ_ERR_STALE_METADATA;
        return;
    }
    if (below->start <= replica->end || below->start > below->high_watermark) {
        out->err = DMQ_ERR_INVALID_REQUEST; /* it begins where it has nothing safe, or we overlap */
        return;
    }
    replica->truncating = true;
    replica->truncate_to = below->start;
    out->restart = true;
    out->restart_at = below->start;
}

/* What is cut was synced or not; what is left was there before. */
void
follower_on_truncated(struct replica *replica, int64_t end)
{
    DMQ_ASSERT(replica->truncating && end <= replica->truncate_to && end <= replica->end);
    replica->truncating = false;
    replica->end = end;
    replica->synced_end = replica->synced_end < end ? replica->synced_end : end;
    replica->high_watermark = replica->high_watermark < end ? replica->high_watermark : end;
}

/* Below where it begins there is nothing that it could lack: it counts up to there. Where it begins
 * again at 0, because it was damaged, nothing counts, and nobody counts on it: whoever empties a
 * log has seen to that. */
void
follower_on_emptied(struct replica *replica, int64_t start, struct replica_effects *out)
{
    DMQ_ASSERT(replica->role != REPLICA_LEADER);
    DMQ_ASSERT(!replica->truncating || start == replica->truncate_to || start == 0);
    out->hw_advanced = start > replica->high_watermark;
    replica->truncating = false;
    replica->matched = false;
    replica->end = start;
    replica->synced_end = start;
    replica->high_watermark = start;
}
