/* How far a replica may let readers and producers believe it. Three positions move: the end with
 * every append, the synced end with every SYNC that comes back, and the high watermark behind them.
 * What is below the high watermark was told to somebody (an acknowledgement, a fetch), so it must
 * be found again after any crash: it rests on synced ends, never on the page cache, unless the
 * topic's owner chose durability=async.
 *
 * The machine holds no log and no clock: it is told, and it answers with whether the high watermark
 * rose. A role changes only with a leader epoch that rises, so what an older leader is still told
 * cannot move a newer one. */
#include "broker/replica/replica.h"

#include "libdmq/base/assert.h"

void
replica_init(struct replica *replica)
{
    *replica = (struct replica){.leader_epoch = -1};
}

/* The high watermark rests on what every member of the ISR has synced, also with one replica: what
 * is below it can be read, so it must never disappear. With durability=async the owner of the topic
 * gave that up. */
static void
advance_hw(struct replica *replica, struct replica_effects *out)
{
    if (replica->role != REPLICA_LEADER) {
        return;
    }
    int64_t safe = replica->async ? replica->end : replica->synced_end;
    if (safe > replica->high_watermark) {
        replica->high_watermark = safe;
        out->hw_advanced = true;
    }
}

/* After a restart the high watermark comes from its checkpoint, never from the log end (KIP-101);
 * what recovery cut off an async log takes it down, for those records are gone. */
static void
on_opened(struct replica *replica, const struct replica_event *event)
{
    DMQ_ASSERT(replica->end == 0 && replica->role == REPLICA_IDLE);
    DMQ_ASSERT(event->end >= 0 && event->high_watermark >= 0);
    replica->end = event->end;
    replica->high_watermark =
        event->high_watermark < event->end ? event->high_watermark : event->end;
}

static void
on_leads(struct replica *replica, const struct replica_event *event, struct replica_effects *out)
{
    DMQ_ASSERT(event->leader_epoch > replica->leader_epoch);
    replica->leader_epoch = event->leader_epoch;
    replica->role = REPLICA_LEADER;
    advance_hw(replica, out);
}

static void
on_resigns(struct replica *replica, const struct replica_event *event)
{
    DMQ_ASSERT(event->leader_epoch >= replica->leader_epoch);
    replica->leader_epoch = event->leader_epoch;
    replica->role = REPLICA_IDLE;
}

static void
on_appended(struct replica *replica, const struct replica_event *event, struct replica_effects *out)
{
    DMQ_ASSERT(replica->role == REPLICA_LEADER);
    DMQ_ASSERT(event->end > replica->end);
    replica->end = event->end;
    advance_hw(replica, out);
}

static void
on_synced(struct replica *replica, const struct replica_event *event, struct replica_effects *out)
{
    DMQ_ASSERT(event->end >= replica->synced_end && event->end <= replica->end);
    replica->synced_end = event->end;
    advance_hw(replica, out);
}

static void
on_durability(struct replica *replica, const struct replica_event *event,
              struct replica_effects *out)
{
    replica->async = event->async;
    advance_hw(replica, out);
}

static void
check_invariants(const struct replica *replica)
{
    DMQ_ASSERT(replica->synced_end >= 0);
    DMQ_ASSERT(replica->synced_end <= replica->end);
    DMQ_ASSERT(replica->high_watermark >= 0);
    DMQ_ASSERT(replica->high_watermark <= replica->end);
    DMQ_ASSERT(replica->leader_epoch >= -1);
}

void
replica_step(struct replica *replica, const struct replica_event *event,
             struct replica_effects *out)
{
    int64_t hw_before = replica->high_watermark;
    *out = (struct replica_effects){0};
    switch (event->kind) {
    case REPLICA_OPENED:
        on_opened(replica, event);
        break;
    case REPLICA_LEADS:
        on_leads(replica, event, out);
        break;
    case REPLICA_RESIGNS:
        on_resigns(replica, event);
        break;
    case REPLICA_APPENDED:
        on_appended(replica, event, out);
        break;
    case REPLICA_SYNCED:
        on_synced(replica, event, out);
        break;
    case REPLICA_DURABILITY:
        on_durability(replica, event, out);
        break;
    }
    DMQ_ASSERT(replica->high_watermark >= hw_before);
    check_invariants(replica);
}
