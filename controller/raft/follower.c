/* The follower's side of replication. What the leader sends is compared with the log, conflicts are
 * cut off, the rest appended; the answer names what is equal to the leader's log and synced.
 * Entries are answered when they are synced, heartbeats and refusals at once: a slow disk does not
 * look like a dead node. */
#include "controller/raft/internal.h"

/* Commits rest on the disk of others; ours follows as far as the log is known to be equal to the
 * leader's and synced here, so that a commit index never goes back at a restart. */
void
raft_follow_commit(struct raft *raft)
{
    if (raft->role == RAFT_LEADER || raft->installing) {
        return;
    }
    int64_t reached = min64(raft->leader_commit, min64(raft->matched, raft->synced_last));
    raft->commit = max64(raft->commit, reached);
}

void
raft_answer_append(struct raft *raft)
{
    DMQ_ASSERT(raft->role == RAFT_FOLLOWER && raft->leader.node != 0);
    raft->ack_due = raft->matched > raft->synced_last;
    raft_send(raft, &(struct raft_message){.kind = RAFT_APPEND_ANSWER,
                                           .to = raft->leader,
                                           .term = raft->term,
                                           .index = min64(raft->matched, raft->synced_last),
                                           .round = raft->leader_round,
                                           .ok = true});
}

static void
refuse(struct raft *raft, const struct raft_message *message)
{
    int64_t agreeing = raft_log_agreeing(&raft->log, message->index, message->log_term);
    raft_send(raft, &(struct raft_message){.kind = RAFT_APPEND_ANSWER,
                                           .to = message->from,
                                           .term = raft->term,
                                           .index = agreeing,
                                           .log_term = raft_log_term_at(&raft->log, agreeing),
                                           .round = raft->leader_round,
                                           .rejected = message->index});
}

/* Appends the entries from place on. Nothing that is committed is ever cut off: if it comes to
 * that, two majorities have disagreed, and to go on would spread it. */
static void
take_entries(struct raft *raft, const struct raft_message *message, uint32_t place)
{
    int64_t from = message->index + 1 + place;
    bool members = false;
    if (from <= raft_log_last(&raft->log)) {
        DMQ_ASSERT(from > raft->commit);
        members = raft->members_index >= from;
        raft_log_truncate(&raft->log, from);
        raft->stats.truncations++;
    }
    DMQ_ASSERT(from == raft_log_last(&raft->log) + 1);
    for (uint32_t i = place; i < message->entry_count; i++) {
        raft_log_append(&raft->log, &message->entries[i]);
        members |= message->entries[i].kind == RAFT_ENTRY_MEMBERS;
    }
    raft_log_changed(raft, from);
    if (members) {
        raft_adopt_members(raft);
    }
}

/* Where the entries begin that we do not have. What is in the snapshot is committed, so it is
 * equal. An entry that we have is left alone, and so is what follows it: the message may be an old
 * one that ends before our log does (Raft §5.3). */
static uint32_t
count_known(const struct raft *raft, const struct raft_message *message)
{
    uint32_t place = 0;
    for (; place < message->entry_count; place++) {
        int64_t index = message->index + 1 + place;
        if (index > raft->log.prev_index &&
            raft_log_term_at(&raft->log, index) != message->entries[place].term) {
            break;
        }
    }
    return place;
}

/* The list that the cluster was formed of comes with the beginning of the log. A first voter that
 * slept until then is one from now on, and a newcomer knows whom it will be one of. */
static void
take_first_members(struct raft *raft, const struct raft_message *message)
{
    if (message->members != NULL && raft->snapshot.index == 0 &&
        raft->snapshot.members.count == 0) {
        DMQ_ASSERT(message->index == 0 && message->members->count > 0);
        raft->snapshot.members = *message->members;
        raft_snapshot_changed(raft);
        raft_adopt_members(raft);
    }
}

void
raft_on_append(struct raft *raft, const struct raft_message *message)
{
    if (message->term < raft->term) {
        raft_send(raft, &(struct raft_message){.kind = RAFT_APPEND_ANSWER,
                                               .to = message->from,
                                               .term = raft->term,
                                               .rejected = message->index});
        return;
    }
    if (raft->role == RAFT_LEADER && message->term == raft->term) {
        raft->stats.ignored++; /* there is one leader a term, and it is this one */
        return;
    }
    raft_heard_leader(raft, message);
    bool behind = message->index < raft->log.prev_index;
    if (!behind && raft_log_term_at(&raft->log, message->index) != message->log_term) {
        refuse(raft, message);
        return;
    }
    take_first_members(raft, message);
    uint32_t known = count_known(raft, message);
    if (known < message->entry_count) {
        take_entries(raft, message, known);
    }
    raft->matched = max64(raft->matched, message->index + message->entry_count);
    raft->leader_commit = max64(raft->leader_commit, message->commit);
    raft_follow_commit(raft);
    if (known < message->entry_count) {
        raft->ack_due = true; /* on_persisted answers */
    } else {
        raft_answer_append(raft);
    }
}
