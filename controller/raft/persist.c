/* What waits for the disk, and what waits for what waits.
 *
 * One write is on its way at most; what changes meanwhile gathers in the next one (group commit).
 * Its number, persist_seq + 1, is known before it is asked, so that a message can be bound to it:
 * it leaves when synced_seq reaches that number. A term that ends takes its owed messages with it:
 * a promise of an old term must not be made by a write that no longer holds what was promised. */
#include "controller/raft/internal.h"

static uint64_t
next_seq(const struct raft *raft)
{
    return raft->persist_seq + 1;
}

static bool
writing(const struct raft *raft)
{
    return raft->persist_seq != raft->synced_seq;
}

void
raft_hard_changed(struct raft *raft)
{
    raft->hard_changed = true;
    raft->hard_seq = next_seq(raft);
}

void
raft_log_changed(struct raft *raft, int64_t from)
{
    DMQ_ASSERT(from > raft->log.prev_index);
    raft->unsaved_from = min64(raft->unsaved_from, from);
    raft->synced_last = min64(raft->synced_last, from - 1);
}

void
raft_snapshot_changed(struct raft *raft)
{
    raft->snapshot_changed = true;
    raft->snapshot_seq = next_seq(raft);
}

bool
raft_hard_synced(const struct raft *raft)
{
    return raft->hard_seq <= raft->synced_seq;
}

void
raft_persist_changes(struct raft *raft)
{
    int64_t last = raft_log_last(&raft->log);
    bool log_changed = raft->unsaved_from <= last;
    if (writing(raft) || !(raft->hard_changed || raft->snapshot_changed || log_changed)) {
        return;
    }
    int64_t from = raft->unsaved_from;
    raft->persist_seq++;
    raft_emit(raft, RAFT_PERSIST)->u.persist = (struct raft_persist){
        .seq = raft->persist_seq,
        .term = raft->term,
        .vote = raft->vote,
        .commit = raft->commit,
        .from = from,
        .entries = log_changed ? raft_log_at(&raft->log, from) : NULL,
        .count = last - from + 1,
        .prev_index = raft->log.prev_index,
        .prev_term = raft->log.prev_term,
        .snapshot = raft->snapshot_changed ? &raft->snapshot : NULL,
    };
    raft->unsaved_from = last + 1;
    raft->hard_changed = false;
    raft->snapshot_changed = false;
}

/* ---- messages that wait ---------------------------------------------------------------------- */

static void
emit_message(struct raft *raft, const struct raft_message *message)
{
    DMQ_ASSERT(!raft_id_equal(message->to, raft->config.self));
    raft_emit(raft, RAFT_SEND)->u.message = *message;
}

/* A newer message of a kind to the same member takes the place of an older one, so the list is
 * bounded by members and kinds; a stranger's flood beyond that is lost, as messages may be. */
static void
owe(struct raft *raft, const struct raft_message *message)
{
    uint32_t i = 0;
    while (i < raft->owed_count && (raft->owed[i].message.kind != message->kind ||
                                    !raft_id_equal(raft->owed[i].message.to, message->to))) {
        i++;
    }
    if (i == RAFT_MAX_OWED) {
        return;
    }
    raft->owed[i] = (struct raft_owed){*message, raft->hard_seq};
    raft->owed_count += i == raft->owed_count;
}

void
raft_send(struct raft *raft, struct raft_message *message)
{
    DMQ_ASSERT(message->entries == NULL && message->members == NULL); /* nothing borrowed is owed */
    message->from = raft->config.self;
    if (raft_hard_synced(raft)) {
        emit_message(raft, message);
    } else {
        owe(raft, message);
    }
}

void
raft_forget_owed(struct raft *raft)
{
    raft->owed_count = 0;
}

static void
send_owed(struct raft *raft)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < raft->owed_count; i++) {
        if (raft->owed[i].seq <= raft->synced_seq) {
            emit_message(raft, &raft->owed[i].message);
        } else {
            raft->owed[left++] = raft->owed[i];
        }
    }
    raft->owed_count = left;
}

/* ---- completions ----------------------------------------------------------------------------- */

void
raft_on_persisted(struct raft *raft, const struct raft_event *event)
{
    DMQ_ASSERT(writing(raft) && event->u.persisted == raft->persist_seq);
    raft->synced_seq = event->u.persisted;
    /* Below unsaved_from everything was in this write or an earlier one; what was cut off meanwhile
     * lowered unsaved_from. But a log that begins with a snapshot rests on the snapshot. */
    bool rests_on_later = raft->installing && raft->snapshot_seq > raft->synced_seq;
    if (!rests_on_later) {
        raft->synced_last = raft->unsaved_from - 1;
    }
    if (raft->installing && !rests_on_later) {
        raft_installed(raft);
    }
    send_owed(raft);
    raft_follow_commit(raft);
    if (raft->ack_due && raft->leader.node != 0) {
        raft_answer_append(raft);
    }
}

/* A leader whose disk fails must not go on: it could append nothing, yet its heartbeats would keep
 * others from standing. Nothing is retried, for the kernel has marked the lost pages clean. */
void
raft_on_persist_failed(struct raft *raft, const struct raft_event *event)
{
    DMQ_ASSERT(writing(raft) && event->u.persisted == raft->persist_seq);
    if (raft->role == RAFT_LEADER && raft_hard_synced(raft)) {
        raft_hand_over(raft);
    }
    raft_become_follower(raft, raft->term, (struct raft_id){0});
    raft_forget_owed(raft);
    raft->dead = true;
    raft_emit(raft, RAFT_FAILED);
}
