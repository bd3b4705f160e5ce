/* Who is in sync. The leader sees it and asks; the controller decides, by compare-and-set on the
 * partition epoch and the members' broker epochs; the image says what is in force (KIP-497, 841,
 * 903).
 *
 * What was asked counts for the high watermark from the moment of asking until it surely cannot
 * come about any more: a newer partition epoch, or a refusal, but not a refusal of the second try
 * when the fate of the first is unknown. In that case one more change is asked for, if need be of
 * the ISR into itself, because the partition epoch that it raises settles everything before it. */
#include "broker/replica/internal.h"
#include "libdmq/base/assert.h"

static bool
in(uint64_t set, uint32_t place)
{
    return (set >> place & 1) != 0;
}

/* Counted up to the high watermark, so that the invariant holds with it; and up to where this
 * leadership began, because former leaders' high watermarks may lie above ours, but not above that
 * (trap 10). */
static bool
holds_all_safe(const struct replica *replica, uint32_t place)
{
    int64_t counted = leader_counted(replica, place);
    return counted >= replica->high_watermark && counted >= replica->epoch_start;
}

static bool
lags(const struct replica *replica, uint32_t place, int64_t now_ms)
{
    return leader_counted(replica, place) < replica->end &&
           now_ms - replica->peers[place].caught_up_ms > replica->config.lag_max_ms;
}

/* One that lags would have to leave again at once: while the high watermark stands still, because
 * the ISR is too small, whoever stands still with it holds all that is safe. */
static bool
may_join(const struct replica *replica, uint32_t place)
{
    const struct replica_peer *peer = &replica->peers[place];
    return peer->matched && peer->eligible && holds_all_safe(replica, place) &&
           !lags(replica, place, replica->now_ms);
}

static uint64_t
wanted_isr(const struct replica *replica, int64_t now_ms)
{
    uint64_t wanted = replica->isr;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const uint64_t bit = UINT64_C(1) << i;
        if (i == replica->self) {
            continue;
        }
        if (in(replica->isr, i) && lags(replica, i, now_ms)) {
            wanted &= ~bit;
        } else if (!in(replica->isr, i) && may_join(replica, i)) {
            wanted |= bit;
        }
    }
    return wanted;
}

/* The partition may be called durable again once every member has synced what was ever safe. */
static bool
may_become_sync(const struct replica *replica)
{
    bool all = replica->recorded_async && !replica->async;
    for (uint32_t i = 0; i < replica->peer_count && all; i++) {
        all = !in(replica->isr, i) || holds_all_safe(replica, i);
    }
    return all;
}

static void
ask(struct replica *replica, uint64_t wanted, bool async, struct replica_effects *out)
{
    struct replica_isr_change *change = &out->change;
    DMQ_ASSERT(!replica->asking && in(wanted, replica->self));
    replica->asking = true;
    replica->asked |= wanted;
    out->isr_change = true;
    change->leader_epoch = replica->leader_epoch;
    change->partition_epoch = replica->partition_epoch;
    change->async = async;
    change->count = 0;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        if (in(wanted, i)) {
            change->members[change->count].broker_id = replica->peers[i].broker_id;
            change->members[change->count++].broker_epoch = replica->peers[i].broker_epoch;
        }
    }
    DMQ_ASSERT(change->count == (uint32_t)__builtin_popcountll(wanted));
}

void
isr_propose(struct replica *replica, int64_t now_ms, struct replica_effects *out)
{
    DMQ_ASSERT(replica->role == REPLICA_LEADER);
    if (replica->asking || replica->settled || now_ms < replica->retry_ms) {
        return;
    }
    uint64_t wanted = wanted_isr(replica, now_ms);
    bool sync = may_become_sync(replica);
    if (wanted != replica->isr || sync || replica->unknown) {
        ask(replica, wanted, replica->recorded_async && !sync, out);
    }
}

/* An answer to a question of an older partition epoch is of no interest: the image has settled it.
 */
void
isr_on_answered(struct replica *replica, const struct replica_event *event,
                struct replica_effects *out)
{
    if (replica->role != REPLICA_LEADER || !replica->asking ||
        event->u.isr.partition_epoch != replica->partition_epoch) {
        return;
    }
    replica->asking = false;
    switch (event->u.isr.outcome) {
    case REPLICA_ISR_SETTLED:
        replica->settled = true;
        break;
    case REPLICA_ISR_REFUSED:
        replica->asked = replica->unknown ? replica->asked : 0;
        replica->retry_ms = event->now_ms + replica->config.retry_ms;
        leader_advance_hw(replica, out);
        break;
    case REPLICA_ISR_UNKNOWN:
        replica->unknown = true;
        replica->retry_ms = event->now_ms + replica->config.retry_ms;
        break;
    }
}

/* When the first member of the ISR may have lagged for too long, or something is to be asked again.
 */
int64_t
isr_deadline(const struct replica *replica)
{
    int64_t due = INT64_MAX;
    if (replica->asking || replica->settled) {
        return due;
    }
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        int64_t lagged = replica->peers[i].caught_up_ms + replica->config.lag_max_ms + 1;
        bool behind = in(replica->isr, i) && leader_counted(replica, i) < replica->end;
        bool joins = !in(replica->isr, i) && may_join(replica, i);
        due = behind && i != replica->self && lagged < due ? lagged : due;
        due = joins && replica->retry_ms < due ? replica->retry_ms : due;
    }
    bool again = replica->unknown || may_become_sync(replica);
    due = again && replica->retry_ms < due ? replica->retry_ms : due;
    return due < replica->retry_ms ? replica->retry_ms : due;
}
