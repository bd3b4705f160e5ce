/* What may come in, and what must hold after every step.
 *
 * The two are kept strictly apart. A message is from outside, even where only members should be
 * able to send one: what does not fit is refused and counted, and nobody else's work suffers. An
 * invariant speaks of this machine alone, and one that is broken is our own bug: to go on could
 * make two majorities disagree, so the process ends. Hence nothing of a message may reach an
 * assertion unchecked. */
#include "controller/raft/internal.h"

/* ---- messages -------------------------------------------------------------------------------- */

/* Terms rise along a log and never pass that of the leader who sends it (raft_log_append asserts
 * the first). A member list is decoded here, while it can still be refused: once it is in the log
 * it is in force, and must be good. */
static bool
entries_valid(const struct raft_message *message)
{
    int64_t term = message->log_term;
    struct raft_members members;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        if (entry->term < term || entry->term > message->term || entry->term < 1 ||
            (entry->payload == NULL) != (entry->kind == RAFT_ENTRY_NOOP)) {
            return false;
        }
        if (entry->kind == RAFT_ENTRY_MEMBERS &&
            !raft_members_decode(buf_bytes(entry->payload), &members)) {
            return false;
        }
        term = entry->term;
    }
    return true;
}

/* A list beside the entries is the one that the log begins with. */
static bool
append_valid(const struct raft_message *message)
{
    const struct raft_members *members = message->members;
    bool list = members == NULL ||
                (message->index == 0 && members->count > 0 && members->count <= RAFT_MAX_MEMBERS);
    return list && entries_valid(message);
}

/* The sums are ordered so that none can overflow: a chunk lies within the size, which is bounded,
 * for that much memory is about to be given to it. */
static bool
snapshot_valid(const struct raft_message *message)
{
    int64_t count = (int64_t)message->data.size;
    return message->members != NULL && message->members->count <= RAFT_MAX_MEMBERS &&
           message->index > 0 && message->log_term > 0 && message->size >= 0 &&
           message->size <= RAFT_MAX_SNAPSHOT_BYTES && count <= message->size &&
           message->offset <= message->size - count;
}

/* One to another disk of this node was meant for the one before, whose promises are not ours (trap
 * 20); and no vote or acknowledgement of our own comes by the network. */
bool
raft_message_valid(const struct raft *raft, const struct raft_message *message)
{
    if (!raft_id_equal(message->to, raft->config.self) || message->from.node <= 0 ||
        raft_id_equal(message->from, raft->config.self)) {
        return false;
    }
    /* Half of the range, so that no sum of what came in overflows. */
    const int64_t numbers[] = {message->term,   message->index,    message->log_term,
                               message->commit, message->rejected, message->offset,
                               message->round};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i] < 0 || numbers[i] > INT64_MAX / 2) {
            return false;
        }
    }
    /* A last entry is never of a later term than its owner; before the first entry there is none.
     */
    if (message->log_term > message->term || (message->index == 0 && message->log_term > 0) ||
        (message->kind == RAFT_APPEND && message->index > 0 && message->log_term == 0)) {
        return false;
    }
    if (message->kind == RAFT_SNAPSHOT) {
        return snapshot_valid(message);
    }
    return message->kind != RAFT_APPEND || append_valid(message);
}

/* ---- invariants ------------------------------------------------------------------------------ */

/* What waits for the disk: at most one write is on its way, and what is synced is a first part of
 * the log. Were a change neither in that write nor counted for the next, a promise could leave that
 * no write holds. */
static void
check_disk(const struct raft *raft)
{
    int64_t last = raft_log_last(&raft->log);
    DMQ_ASSERT(raft->synced_seq <= raft->persist_seq);
    DMQ_ASSERT(raft->persist_seq - raft->synced_seq <= 1);
    DMQ_ASSERT(raft->unsaved_from <= last + 1);
    DMQ_ASSERT(raft->synced_last < raft->unsaved_from);
    DMQ_ASSERT(raft->hard_seq <= raft->persist_seq + 1);
    DMQ_ASSERT(raft->hard_changed == (raft->hard_seq == raft->persist_seq + 1));
    /* Everything that changed is on its way or waits behind what is. */
    DMQ_ASSERT(raft->persist_seq != raft->synced_seq ||
               (!raft->hard_changed && !raft->snapshot_changed && raft->unsaved_from == last + 1));
}

/* The snapshot and the log overlap or touch: between them no entry is missing. What is committed
 * here is synced here (follower.c says why); while a leader's snapshot is being installed the log
 * begins behind what was committed, and these two wait. */
static void
check_log(const struct raft *raft)
{
    DMQ_ASSERT(raft->log.prev_index >= 0 && raft->log.count >= 0);
    DMQ_ASSERT(raft->commit <= raft->synced_last || raft->installing);
    DMQ_ASSERT(raft->commit >= raft->log.prev_index || raft->installing);
    DMQ_ASSERT(raft->snapshot.index >= raft->log.prev_index);
    DMQ_ASSERT(raft->snapshot.index <= raft_log_last(&raft->log));
    DMQ_ASSERT(raft->snapshot.index == 0 || raft->snapshot.data != NULL);
    DMQ_ASSERT(raft->told_commit <= raft->commit);
    DMQ_ASSERT(raft_log_term_at(&raft->log, raft_log_last(&raft->log)) <= raft->term);
    DMQ_ASSERT(raft->members_index <= raft_log_last(&raft->log));
    DMQ_ASSERT(raft->matched <= raft_log_last(&raft->log) || raft->role == RAFT_LEADER);
}

/* A leader leads by its own vote in its own term, and its log ends with an entry of that term from
 * its first step on: without one it could neither commit what came before (Raft §5.4.2) nor answer
 * reads (§8). */
static void
check_leader(const struct raft *raft)
{
    DMQ_ASSERT(raft_id_equal(raft->leader, raft->config.self));
    DMQ_ASSERT(raft_id_equal(raft->vote, raft->config.self));
    DMQ_ASSERT(!raft->dead && !raft->installing);
    DMQ_ASSERT(raft_log_term_at(&raft->log, raft_log_last(&raft->log)) == raft->term);
    for (uint32_t i = 0; i < raft->members.count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        DMQ_ASSERT(raft_id_equal(peer->id, raft->members.at[i].id));
        DMQ_ASSERT(peer->next > peer->match && peer->match <= raft_log_last(&raft->log));
        DMQ_ASSERT(peer->next <= raft_log_last(&raft->log) + 1);
        DMQ_ASSERT(peer->inflight_count >= 0 && peer->inflight_count <= raft->config.max_inflight);
        DMQ_ASSERT((peer->state == RAFT_SENDING) == (peer->sending.data != NULL));
    }
}

void
raft_check_invariants(const struct raft *raft)
{
    DMQ_ASSERT(raft->term >= 0 && raft->members.count <= RAFT_MAX_MEMBERS);
    DMQ_ASSERT(raft->read_count <= RAFT_MAX_READS && raft->owed_count <= RAFT_MAX_OWED);
    /* Nothing is owed without a reason: a message waits only while term or vote are not synced. */
    DMQ_ASSERT(!raft_hard_synced(raft) || raft->owed_count == 0);
    DMQ_ASSERT(raft->role != RAFT_LEADER || raft->leader.node == raft->config.self.node);
    DMQ_ASSERT(raft->role == RAFT_LEADER || (raft->read_count == 0 && raft->transfer_to.node == 0));
    if (raft->dead) {
        return; /* what it remembers is on no disk */
    }
    check_disk(raft);
    check_log(raft);
    if (raft->role == RAFT_LEADER) {
        check_leader(raft);
    }
}
