/* What may come in, and what must hold after every step. */
#include "controller/raft/internal.h"

/* ---- messages -------------------------------------------------------------------------------- */

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

static bool
snapshot_valid(const struct raft_message *message)
{
    int64_t count = (int64_t)message->data.size;
    return message->members != NULL && message->members->count <= RAFT_MAX_MEMBERS &&
           message->index > 0 && message->log_term > 0 && message->size >= 0 &&
           message->size <= RAFT_MAX_SNAPSHOT_BYTES && count <= message->size &&
           message->offset <= message->size - count;
}

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
    if (message->log_term > message->term || (message->index == 0 && message->log_term > 0) ||
        (message->kind == RAFT_APPEND && message->index > 0 && message->log_term == 0)) {
        return false;
    }
    if (message->kind == RAFT_SNAPSHOT) {
        return snapshot_valid(message);
    }
    return message->kind != RAFT_APPEND || entries_valid(message);
}

/* ---- invariants ------------------------------------------------------------------------------ */

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
