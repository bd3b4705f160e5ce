/* The leader: what followers say of themselves, and the high watermark that follows from it.
 *
 * A follower's fetch offset is evidence (Kafka's model): it holds all before it. But only if its
 * log is ours up to there, which the epoch of its last record tells (KIP-101, 279, 595), and only
 * of the process that said so (KIP-903). A fetch that diverges proves nothing (trap 5).
 *
 * Within a leader epoch the log of a follower that matched only grows, by our batches: so its ends
 * only rise here, in whatever order its messages arrive. */
#include <stdlib.h>
#include <string.h>

#include "broker/replica/internal.h"
#include "libdmq/base/assert.h"

static uint32_t
place_of(const struct replica *replica, int32_t broker_id)
{
    uint32_t place = 0;
    while (place < replica->peer_count && replica->peers[place].broker_id != broker_id) {
        place++;
    }
    return place;
}

/* Nothing is known of it any more; it has until now to lag from. */
static void
forget(struct replica_peer *peer, int64_t broker_epoch, int64_t now_ms)
{
    *peer = (struct replica_peer){.broker_id = peer->broker_id,
                                  .broker_epoch = broker_epoch,
                                  .eligible = peer->eligible,
                                  .caught_up_ms = now_ms,
                                  .goal_end = -1};
}

/* ---- the image ------------------------------------------------------------------------------- */

void
leader_end(struct replica *replica)
{
    free(replica->peers);
    replica->peers = NULL;
    replica->peer_count = 0;
    replica->isr = 0;
    replica->asked = 0;
    replica->asking = false;
    replica->settled = false;
    replica->unknown = false;
    replica->retry_ms = 0;
}

void
leader_begin(struct replica *replica, const struct replica_image *image, int64_t now_ms)
{
    DMQ_ASSERT(replica->peers == NULL && image->leader == replica->config.broker_id);
    /* Whatever former leaders called safe lies below: we were counted for it, else we would not
     * have been elected (an unclean election gives that up). Who joins must have all of it, though
     * we may not know how far it goes. */
    replica->epoch_start = replica->end;
    replica->peers = calloc(image->member_count, sizeof(*replica->peers));
    DMQ_ASSERT(replica->peers != NULL && image->member_count > 0);
    replica->peer_count = image->member_count;
    for (uint32_t i = 0; i < image->member_count; i++) {
        replica->peers[i].broker_id = image->members[i].broker_id;
        forget(&replica->peers[i], image->members[i].broker_epoch, now_ms);
    }
    replica->self = place_of(replica, replica->config.broker_id);
    DMQ_ASSERT(replica->self < replica->peer_count);
}

/* A newer registration than the one that fetched: what the former process said is void (trap 17).
 */
static void
update_peers(struct replica *replica, const struct replica_image *image, int64_t now_ms)
{
    DMQ_ASSERT(image->member_count == replica->peer_count);
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        struct replica_peer *peer = &replica->peers[i];
        const struct replica_member *member = &image->members[i];
        DMQ_ASSERT(peer->broker_id == member->broker_id);
        peer->eligible = member->eligible;
        if (member->broker_epoch > peer->broker_epoch) {
            forget(peer, member->broker_epoch, now_ms);
        }
    }
}

static uint64_t
isr_bits(const struct replica *replica, const struct replica_image *image)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < image->isr_count; i++) {
        uint32_t place = place_of(replica, image->isr[i]);
        DMQ_ASSERT(place < replica->peer_count);
        bits |= UINT64_C(1) << place;
    }
    return bits;
}

/* A newer partition epoch settles what was asked: it is in this image, or it never will be, for it
 * was asked with an older one. */
void
leader_update(struct replica *replica, const struct replica_image *image, int64_t now_ms,
              struct replica_effects *out)
{
    update_peers(replica, image, now_ms);
    replica->isr = isr_bits(replica, image);
    if (image->partition_epoch > replica->partition_epoch) {
        replica->asked = 0;
        replica->asking = false;
        replica->settled = false;
        replica->unknown = false;
        replica->retry_ms = now_ms;
    }
    leader_advance_hw(replica, out);
}

/* ---- the high watermark ---------------------------------------------------------------------- */

/* How far a replica may be counted on: what is synced, for an acknowledgement promises that it
 * survives the loss of every process at once; our own end not otherwise than theirs, also where we
 * are alone. A member that has not shown its log in this epoch holds the high watermark where it is
 * (trap 11): its old ends were told by a log that may have been cut since. */
int64_t
leader_counted(const struct replica *replica, uint32_t place)
{
    const struct replica_peer *peer = &replica->peers[place];
    if (place == replica->self) {
        return replica->async ? replica->end : replica->synced_end;
    }
    if (!peer->matched) {
        return -1;
    }
    return replica->async ? peer->end : peer->synced_end;
}

/* Over the maximal ISR, for a member that was asked in may lead at any moment; and only while the
 * ISR is large enough, for below that the controller keeps who left as eligible (KIP-966): they
 * must hold all that was ever safe (trap 9). */
void
leader_advance_hw(struct replica *replica, struct replica_effects *out)
{
    uint64_t maximal = replica->isr | replica->asked;
    int64_t safe = replica->end;
    if (__builtin_popcountll(replica->isr) < replica->min_isr) {
        return;
    }
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        bool counts = (maximal >> i & 1) != 0;
        int64_t counted = leader_counted(replica, i);
        safe = counts && counted < safe ? counted : safe;
    }
    if (safe > replica->high_watermark) {
        replica->high_watermark = safe;
        out->hw_advanced = true;
    }
}

/* ---- lag ------------------------------------------------------------------------------------- */

/* Who has all that we have is caught up now. Who has all that we had when its goal was set was
 * caught up then: under a steady stream nobody ever has all. */
static void
note_lag(struct replica *replica, uint32_t place, int64_t now_ms)
{
    struct replica_peer *peer = &replica->peers[place];
    int64_t counted = leader_counted(replica, place);
    if (counted >= replica->end) {
        peer->caught_up_ms = now_ms;
        peer->goal_end = -1;
    } else if (peer->goal_end < 0 || counted >= peer->goal_end) {
        peer->caught_up_ms = peer->goal_end < 0 ? peer->caught_up_ms : peer->goal_ms;
        peer->goal_end = replica->end;
        peer->goal_ms = now_ms;
    }
}

/* Who had all until now begins to lag now, however long ago it fetched. */
void
leader_on_appended(struct replica *replica, int64_t old_end, int64_t now_ms)
{
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (i != replica->self && leader_counted(replica, i) >= old_end) {
            peer->caught_up_ms = now_ms;
            peer->goal_end = replica->end;
            peer->goal_ms = now_ms;
        }
    }
}

/* ---- followers ------------------------------------------------------------------------------- */

/* Older is fenced, newer is not known here yet (KIP-320): the ends of a follower of another leader
 * are ends of another log, and who hears of a newer leader than we do must not be answered like by
 * a leader. A process that has been replaced has no say any more: the present one may hold less
 * (KIP-903, trap 17). */
static dmq_err
check_sender(const struct replica *replica, const struct replica_fetched *fetched)
{
    if (replica->role != REPLICA_LEADER) {
        return DMQ_ERR_NOT_LEADER;
    }
    if (fetched->leader_epoch != replica->leader_epoch) {
        return fetched->leader_epoch < replica->leader_epoch ? DMQ_ERR_FENCED_LEADER_EPOCH
                                                             : DMQ_ERR_UNKNOWN_LEADER_EPOCH;
    }
    uint32_t place = place_of(replica, fetched->follower);
    if (place == replica->peer_count || place == replica->self || fetched->end < 0 ||
        fetched->synced_end < 0 || fetched->synced_end > fetched->end) {
        return DMQ_ERR_INVALID_REQUEST;
    }
    return fetched->broker_epoch < replica->peers[place].broker_epoch ? DMQ_ERR_STALE_BROKER_EPOCH
                                                                      : DMQ_OK;
}

static void
take_ends(struct replica *replica, uint32_t place, const struct replica_fetched *fetched)
{
    struct replica_peer *peer = &replica->peers[place];
    peer->end = fetched->end > peer->end ? fetched->end : peer->end;
    peer->synced_end =
        fetched->synced_end > peer->synced_end ? fetched->synced_end : peer->synced_end;
}

/* First who it is, then whether its log is ours, and only then what it has: a fetch that diverges
 * leaves no trace (trap 5). It diverges if its last record is of an epoch of which we have none, or
 * if it has more of that epoch than we do: it was then written by a leader that was deposed before
 * it was safe. What it hears is how far it may agree with us; it cuts there and asks again, for one
 * answer need not be enough (KIP-279).
 *
 * told_hw goes out with the answer: what the follower knew of before, so that the core sees whether
 * it owes it a newer one. */
void
leader_on_fetched(struct replica *replica, const struct replica_fetched *fetched, int64_t now_ms,
                  struct replica_effects *out)
{
    out->err = check_sender(replica, fetched);
    if (out->err != DMQ_OK) {
        return;
    }
    uint32_t place = place_of(replica, fetched->follower);
    struct replica_peer *peer = &replica->peers[place];
    if (fetched->broker_epoch > peer->broker_epoch) {
        forget(peer, fetched->broker_epoch, now_ms); /* it started again; our image is behind */
    }
    if (fetched->ours.epoch < fetched->last_epoch || fetched->ours.end < fetched->end) {
        out->diverges = true;
        out->theirs = fetched->ours;
        return;
    }
    peer->matched = true;
    take_ends(replica, place, fetched);
    note_lag(replica, place, now_ms);
    leader_advance_hw(replica, out);
    out->told_hw = peer->told_hw;
    peer->told_hw = replica->high_watermark;
}

/* Ends of a process and an epoch that have not fetched yet prove nothing. */
void
leader_on_progress(struct replica *replica, const struct replica_fetched *fetched, int64_t now_ms,
                   struct replica_effects *out)
{
    out->err = check_sender(replica, fetched);
    if (out->err != DMQ_OK) {
        return;
    }
    uint32_t place = place_of(replica, fetched->follower);
    const struct replica_peer *peer = &replica->peers[place];
    if (!peer->matched || fetched->broker_epoch != peer->broker_epoch ||
        fetched->end > replica->end) {
        out->err = DMQ_ERR_INVALID_REQUEST;
        return;
    }
    take_ends(replica, place, fetched);
    note_lag(replica, place, now_ms);
    leader_advance_hw(replica, out);
}
