/* How far a replica may let readers and producers believe it. What is below the high watermark was
 * told to somebody (an acknowledgement, a fetch), so it must be found again after any crash and on
 * any later leader: it rests on the synced ends of everyone who may lead next.
 *
 * This file is the switch and what both roles share; leader.c and follower.c are the roles, isr.c
 * who is in sync. A role is given by the image in a leader epoch that only rises, so what an older
 * leader or follower is still told cannot move a newer one. */
#include "broker/replica/replica.h"

#include <string.h>

#include "broker/replica/internal.h"
#include "libdmq/base/assert.h"

void
replica_init(struct replica *replica, const struct replica_config *config)
{
    DMQ_ASSERT(config->lag_max_ms > 0 && config->retry_ms > 0);
    *replica = (struct replica){.config = *config,
                                .leader = -1,
                                .leader_epoch = -1,
                                .partition_epoch = -1,
                                .leader_hw = -1};
}

void
replica_deinit(struct replica *replica)
{
    leader_end(replica);
}

/* After a restart the high watermark comes from its checkpoint, never from the log end (trap 14);
 * what recovery cut off takes it down, for those records are gone. */
static void
on_opened(struct replica *replica, const struct replica_event *event)
{
    int64_t end = event->u.opened.end;
    int64_t checkpoint = event->u.opened.high_watermark;
    DMQ_ASSERT(replica->end == 0 && replica->role == REPLICA_IDLE);
    DMQ_ASSERT(end >= 0 && checkpoint >= 0);
    replica->end = end;
    replica->high_watermark = checkpoint < end ? checkpoint : end;
}

/* ---- roles ----------------------------------------------------------------------------------- */

/* What is read of an async partition may be lost by both sides' leave: the topic's and the
 * record's, which tells the controller that an unclean restart cannot be trusted. */
static bool
counts_end(const struct replica_image *image)
{
    return image->async && image->recorded_async;
}

/* A new leader epoch: everything that was known of others is forgotten (trap 11). */
static void
begin_epoch(struct replica *replica, const struct replica_image *image, int64_t now_ms)
{
    leader_end(replica);
    replica->leader_epoch = image->leader_epoch;
    replica->leader = image->leader;
    replica->role = image->role;
    replica->matched = false;
    replica->leader_hw = -1;
    if (image->role == REPLICA_LEADER) {
        leader_begin(replica, image, now_ms);
    }
}

/* The image is never older than what was seen of it: its version only rises. What is newer in it
 * takes effect here and nowhere else, a changed ISR too: the reply to a request for one does not
 * count (trap 13), for it may come late, or never, or speak of what has been overtaken. Within an
 * epoch a role does not change; who leads anew does so in a new one, which is why a restarted
 * leader's epoch is raised first (trap 14a). */
static void
on_role(struct replica *replica, const struct replica_event *event, struct replica_effects *out)
{
    const struct replica_image *image = &event->u.image;
    DMQ_ASSERT(!replica->truncating);
    DMQ_ASSERT(image->member_count <= REPLICA_MAX && image->isr_count <= image->member_count);
    DMQ_ASSERT(image->leader_epoch >= replica->leader_epoch);
    DMQ_ASSERT(image->partition_epoch >= replica->partition_epoch);
    bool new_epoch = image->leader_epoch > replica->leader_epoch;
    DMQ_ASSERT(new_epoch || image->role == replica->role);
    out->state_changed = new_epoch || image->partition_epoch > replica->partition_epoch;
    replica->async = counts_end(image);
    replica->recorded_async = image->recorded_async;
    replica->min_isr = image->min_isr;
    if (new_epoch) {
        begin_epoch(replica, image, event->now_ms);
    }
    if (replica->role == REPLICA_LEADER) {
        leader_update(replica, image, event->now_ms, out);
    }
    replica->partition_epoch = image->partition_epoch;
}

/* ---- the log moved --------------------------------------------------------------------------- */

static void
advance_hw(struct replica *replica, struct replica_effects *out)
{
    if (replica->role == REPLICA_LEADER) {
        leader_advance_hw(replica, out);
    } else if (replica->role == REPLICA_FOLLOWER) {
        follower_advance_hw(replica, out);
    }
}

/* A follower appends only what its leader sent after their logs were found to match: else it could
 * have records in one epoch that the leader has not, and no epoch would tell. */
static void
on_appended(struct replica *replica, const struct replica_event *event, struct replica_effects *out)
{
    int64_t old_end = replica->end;
    DMQ_ASSERT(replica->role != REPLICA_IDLE && !replica->truncating);
    DMQ_ASSERT(replica->role != REPLICA_FOLLOWER || replica->matched);
    DMQ_ASSERT(event->u.end > old_end);
    replica->end = event->u.end;
    if (replica->role == REPLICA_LEADER) {
        leader_on_appended(replica, old_end, event->now_ms);
    }
    advance_hw(replica, out);
}

/* A follower tells a synced end that rose by itself (PROGRESS), for its next fetch may be parked at
 * the leader for long while producers wait for just this sync. */
static void
on_synced(struct replica *replica, const struct replica_event *event, struct replica_effects *out)
{
    DMQ_ASSERT(event->u.end >= replica->synced_end && event->u.end <= replica->end);
    bool rose = event->u.end > replica->synced_end;
    replica->synced_end = event->u.end;
    out->progress = rose && replica->role == REPLICA_FOLLOWER && replica->matched;
    advance_hw(replica, out);
}

/* ---- invariants ------------------------------------------------------------------------------ */

/* A leader is in its own ISR: it never asks to leave, and the controller elects from there. What
 * followers are believed to hold, we hold: an end beyond ours would have been a divergence. */
static void
check_leader(const struct replica *replica)
{
    DMQ_ASSERT(replica->peers != NULL && replica->self < replica->peer_count);
    DMQ_ASSERT(replica->peers[replica->self].broker_id == replica->config.broker_id);
    DMQ_ASSERT((replica->isr >> replica->self & 1) != 0);
    DMQ_ASSERT(replica->epoch_start <= replica->end);
    DMQ_ASSERT(!replica->truncating && replica->min_isr >= 1);
    DMQ_ASSERT(!replica->asking || replica->asked != 0);
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        DMQ_ASSERT(!peer->matched || (peer->synced_end <= peer->end && peer->synced_end >= 0));
        DMQ_ASSERT(!peer->matched || peer->end <= replica->end);
    }
}

/* Asked at the end of every step; cheap enough for release builds. The high watermark may lie above
 * the synced end: after a restart nothing counts as synced until a SYNC has run, and what was safe
 * before is so all the same. */
static void
check_invariants(const struct replica *replica)
{
    DMQ_ASSERT(replica->synced_end >= 0);
    DMQ_ASSERT(replica->synced_end <= replica->end);
    DMQ_ASSERT(replica->high_watermark >= 0);
    DMQ_ASSERT(replica->high_watermark <= replica->end);
    DMQ_ASSERT(replica->leader_epoch >= -1);
    DMQ_ASSERT(!replica->truncating || replica->truncate_to != replica->end);
    DMQ_ASSERT((replica->role == REPLICA_LEADER) == (replica->peers != NULL));
    if (replica->role == REPLICA_LEADER) {
        check_leader(replica);
    }
}

/* ---- the switch ------------------------------------------------------------------------------ */

void
replica_step(struct replica *replica, const struct replica_event *event,
             struct replica_effects *ret_effects)
{
    struct replica_effects *out = ret_effects;
    int64_t hw_before = replica->high_watermark;
    *out = (struct replica_effects){.err = DMQ_OK};
    replica->now_ms = event->now_ms;
    switch (event->kind) {
    case REPLICA_OPENED:
        on_opened(replica, event);
        break;
    case REPLICA_ROLE:
        on_role(replica, event, out);
        break;
    case REPLICA_APPENDED:
        on_appended(replica, event, out);
        break;
    case REPLICA_SYNCED:
        on_synced(replica, event, out);
        break;
    case REPLICA_TICK:
        break;
    case REPLICA_FETCHED:
        leader_on_fetched(replica, &event->u.fetched, event->now_ms, out);
        break;
    case REPLICA_PROGRESS:
        leader_on_progress(replica, &event->u.fetched, event->now_ms, out);
        break;
    case REPLICA_ISR_ANSWERED:
        isr_on_answered(replica, event, out);
        break;
    case REPLICA_ANSWERED:
        follower_on_answered(replica, &event->u.answered, out);
        break;
    case REPLICA_BELOW_START:
        follower_on_below_start(replica, &event->u.below, out);
        break;
    case REPLICA_TRUNCATED:
        follower_on_truncated(replica, event->u.end);
        break;
    case REPLICA_EMPTIED:
        follower_on_emptied(replica, event->u.end, out);
        break;
    }
    /* After every event, for anything may have made a member lag, catch up or fit to join. */
    if (replica->role == REPLICA_LEADER) {
        isr_propose(replica, event->now_ms, out);
    }
    DMQ_ASSERT(replica->high_watermark >= hw_before || event->kind == REPLICA_TRUNCATED ||
               event->kind == REPLICA_EMPTIED);
    DMQ_ASSERT(out->hw_advanced == (replica->high_watermark > hw_before) ||
               event->kind == REPLICA_OPENED);
    check_invariants(replica);
}

/* ---- questions ------------------------------------------------------------------------------- */

int64_t
replica_deadline(const struct replica *replica)
{
    return replica->role == REPLICA_LEADER ? isr_deadline(replica) : INT64_MAX;
}

bool
replica_wants_fetch(const struct replica *replica)
{
    return replica->role == REPLICA_FOLLOWER && replica->leader >= 0 && !replica->truncating;
}

bool
replica_has_min_isr(const struct replica *replica)
{
    DMQ_ASSERT(replica->role == REPLICA_LEADER);
    return replica_isr_size(replica) >= replica->min_isr;
}

int
replica_isr_size(const struct replica *replica)
{
    return __builtin_popcountll(replica->isr);
}
