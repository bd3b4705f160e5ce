/* The switch. A step is: the event's arm, then what has fallen due by its time, then in this order
 * what follows from the new state: the commit index, reads, a transfer, entries and heartbeats to
 * peers, the next write, and the news of role.
 *
 * An arm changes the state and answers its own message; it never looks at what else has become
 * possible by that. One place does, after every event, whichever it was: the same answer may
 * complete the quorum of a commit and of a read, give room in a window and end a transfer, and a
 * write that is synced may do as much. So nothing is forgotten because it came about by another
 * way, and nothing is said twice.
 *
 * Invariants: term and commit never fall, not within a life (asserted by raft_step) and not over a
 * restart (what is saved is synced before anything is sent that rests on it); everything else that
 * must hold stands in check.c. */
#include "controller/raft/raft.h"

#include "controller/raft/internal.h"

/* An election begins after five to ten heartbeats without a word: a message that is lost, or a
 * machine that stalls for a moment, elects nobody, and a leader that died is replaced within about
 * a second. The timeouts are drawn from a range that is much wider than a round trip, so that two
 * seldom stand at once (Raft §5.2).
 *
 * Appends are cut, for a heartbeat stands behind them on the same connection, and a window of them
 * keeps the connection full where the round trip is long (thesis §10.2). max_uncommitted bounds the
 * memory of a leader whose majority has gone, until check-quorum ends it. What stays of the log
 * behind a snapshot is for peers that are a little behind: entries cost them less than an image. */
void
raft_config_defaults(struct raft_config *config)
{
    *config = (struct raft_config){
        .heartbeat_ms = 100,
        .election_min_ms = 500,
        .election_max_ms = 1000,
        .max_append_entries = 256,
        .max_append_bytes = 1024 * 1024,
        .max_inflight = 8,
        .max_uncommitted = 1024,
        .chunk_bytes = 512 * 1024,
        .keep_entries = 256,
        .keep_bytes = 16 * 1024 * 1024,
        .caught_up_entries = 64,
    };
}

static void
check_config(const struct raft_config *config)
{
    /* Without a disk id an emptied disk could vote by the promises of the old one (trap 20). */
    DMQ_ASSERT(config->self.node > 0 && !uuid_is_zero(config->self.disk));
    /* Else followers would stand while their leader is well. */
    DMQ_ASSERT(config->heartbeat_ms > 0 && config->heartbeat_ms < config->election_min_ms);
    DMQ_ASSERT(config->election_min_ms <= config->election_max_ms);
    DMQ_ASSERT(config->max_append_entries > 0 && config->max_append_bytes > 0);
    DMQ_ASSERT(config->max_inflight > 0 && config->max_inflight <= RAFT_MAX_INFLIGHT);
    DMQ_ASSERT(config->max_uncommitted > 0 && config->chunk_bytes > 0);
    DMQ_ASSERT(config->keep_entries >= 0 && config->keep_bytes >= 0);
    DMQ_ASSERT(config->caught_up_entries >= 0);
}

/* Takes up where the process before ended; so a restart is seen by others as a pause. Only what was
 * in a completed write comes back, hence all of it counts as synced.
 *
 * The saved commit index is a floor. A leader would tell it again, yet what was known to be safe
 * stays so: it never goes back, and nothing below it is ever cut off. told_commit begins at the
 * snapshot all the same, for that is all that the state machine has: it is told the entries behind
 * it anew. Nobody is followed yet, and an election's whole timeout passes first: who was only
 * restarted does not disturb a leader that works. */
void
raft_init(struct raft *raft, const struct raft_config *config, const struct raft_saved *saved,
          int64_t now_ms)
{
    check_config(config);
    DMQ_ASSERT(saved->prev_index <= saved->snapshot.index);
    DMQ_ASSERT(saved->snapshot.index <= saved->prev_index + saved->count);
    *raft = (struct raft){.config = *config,
                          .now_ms = now_ms,
                          .term = saved->term,
                          .vote = saved->vote,
                          .snapshot = saved->snapshot,
                          .told_term = saved->term};
    if (raft->snapshot.data != NULL) {
        buf_ref(raft->snapshot.data);
    }
    rng_init(&raft->rng, config->seed);
    raft_log_init(&raft->log, saved);
    raft->synced_last = raft_log_last(&raft->log);
    raft->unsaved_from = raft->synced_last + 1;
    raft->commit = max64(saved->commit, saved->snapshot.index);
    raft->told_commit = saved->snapshot.index;
    /* More committed than there is means that the disk has lost a synced entry. The store finds
     * that out before (its second copy) and such a node joins as another one. */
    DMQ_ASSERT(raft->commit <= raft->synced_last);
    raft_adopt_members(raft); /* the last list of the log, committed or not (thesis §4.1) */
    raft_reset_election(raft);
    /* A lone voter has nobody to wait for, and nobody whom it could disturb. */
    if (raft_voter_count(raft) == 1 && raft_is_voter(raft, config->self)) {
        raft->election_due_ms = now_ms;
    }
    raft_check_invariants(raft);
}

void
raft_deinit(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->members.count; i++) {
        raft_end_sending(&raft->peers[i]);
    }
    raft_drop_incoming(raft);
    buf_unref(raft->snapshot.data);
    raft_log_deinit(&raft->log);
    raft->snapshot.data = NULL;
}

/* The array is bounded because each consequence is: a step that emitted more than the sum of the
 * windows has lost count of something. */
struct raft_effect *
raft_emit(struct raft *raft, enum raft_effect_kind kind)
{
    struct raft_effects *out = raft->out;
    DMQ_ASSERT(out != NULL && out->count < RAFT_MAX_EFFECTS);
    struct raft_effect *effect = &out->items[out->count++];
    effect->kind = kind;
    return effect;
}

const struct raft_entry *
raft_entry_at(const struct raft *raft, int64_t index)
{
    return raft_log_at(&raft->log, index);
}

int64_t
raft_last_index(const struct raft *raft)
{
    return raft_log_last(&raft->log);
}

/* Who has no deadline is not woken: a learner, and one that has been removed, listen and never
 * stand, so that their clock has nothing to say. */
int64_t
raft_deadline(const struct raft *raft)
{
    if (raft->dead) {
        return INT64_MAX;
    }
    switch (raft->role) {
    case RAFT_LEADER: {
        int64_t due = min64(raft->heartbeat_due_ms, raft->quorum_due_ms);
        return raft->transfer_to.node == 0 ? due : min64(due, raft->transfer_due_ms);
    }
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE: /* its questions are asked again as often as a leader would speak */
        return min64(raft->heartbeat_due_ms, raft->election_due_ms);
    case RAFT_FOLLOWER:
        break;
    }
    return raft_may_stand(raft) ? raft->election_due_ms : INT64_MAX;
}

/* ---- the step -------------------------------------------------------------------------------- */

/* A higher term in an answer, or from a leader, is taken over (Raft §5.1). Not so in questions for
 * votes: whether they count is decided with them. A node that was cut off has raised its term again
 * and again; if its question alone raised everybody's, it would depose a leader that works each
 * time it comes back (thesis §4.2.3). A pre-vote's term is only the one that would be begun, and
 * belongs to nobody yet. Appends and snapshots take theirs over where they name their leader. */
static void
take_over_term(struct raft *raft, const struct raft_message *message)
{
    switch (message->kind) {
    case RAFT_VOTE_ANSWER:
    case RAFT_APPEND_ANSWER:
    case RAFT_SNAPSHOT_ANSWER:
    case RAFT_TIMEOUT_NOW:
        if (message->term > raft->term) {
            raft_become_follower(raft, message->term, (struct raft_id){0});
        }
        break;
    case RAFT_PRE_VOTE:
    case RAFT_PRE_VOTE_ANSWER:
    case RAFT_VOTE:
    case RAFT_APPEND:
    case RAFT_SNAPSHOT:
        break;
    }
}

/* An older term is no reason to drop a message: some of its askers must hear our term, or they
 * would go on to believe in theirs (Raft §5.1). Each arm decides that for its kind. */
static void
on_received(struct raft *raft, const struct raft_event *event)
{
    const struct raft_message *message = event->u.message;
    if (!raft_message_valid(raft, message)) {
        raft->stats.ignored++;
        return;
    }
    raft->stats.stale += message->term < raft->term;
    take_over_term(raft, message);
    switch (message->kind) {
    case RAFT_PRE_VOTE:
        raft_on_pre_vote(raft, message);
        break;
    case RAFT_PRE_VOTE_ANSWER:
        raft_on_pre_vote_answer(raft, message);
        break;
    case RAFT_VOTE:
        raft_on_vote(raft, message);
        break;
    case RAFT_VOTE_ANSWER:
        raft_on_vote_answer(raft, message);
        break;
    case RAFT_APPEND:
        raft_on_append(raft, message);
        break;
    case RAFT_APPEND_ANSWER:
        raft_on_append_answer(raft, message);
        break;
    case RAFT_SNAPSHOT:
        raft_on_snapshot(raft, message);
        break;
    case RAFT_SNAPSHOT_ANSWER:
        raft_on_snapshot_answer(raft, message);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(raft, message);
        break;
    }
}

/* Each index is told once, in order and without a gap: the state machine's version is the index. */
static void
tell_commit(struct raft *raft)
{
    DMQ_ASSERT(raft->commit >= raft->told_commit);
    if (raft->commit > raft->told_commit) {
        struct raft_effect *effect = raft_emit(raft, RAFT_COMMITTED);
        effect->u.committed.first = raft->told_commit + 1;
        effect->u.committed.last = raft->commit;
        raft->told_commit = raft->commit;
    }
}

/* Last in a step, so that roles which it only passed through are not news: a lone voter is
 * follower, candidate and leader in one. A term is news by itself, for what was begun in the older
 * one ends with it even where the same node leads again. */
static void
tell_role(struct raft *raft)
{
    if (raft->role == raft->told_role && raft->term == raft->told_term &&
        raft_id_equal(raft->leader, raft->told_leader)) {
        return;
    }
    struct raft_effect *effect = raft_emit(raft, RAFT_ROLE);
    effect->u.role.role = raft->told_role = raft->role;
    effect->u.role.term = raft->told_term = raft->term;
    effect->u.role.leader = raft->told_leader = raft->leader;
}

/* What follows from the state that the event made. The order is part of the rules:
 *
 *   - time first, for it may end the role that the rest goes by;
 *   - commits are told before reads are answered, for a read must see what is committed;
 *   - reads come before replication, because a read that is new asks its question of the followers
 *     by the round number in the very next heartbeat, and so does a transfer;
 *   - entries go out before their own write is asked for. They are the older ones, already synced:
 *     what this step appended is sent when RAFT_PERSISTED has come back (trap 21);
 *   - the write is asked for last, so that one sync takes everything that the step changed. */
static void
follow_up(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        raft_pass_leader_time(raft);
    }
    raft_pass_election_time(raft);
    raft_advance_commit(raft);
    tell_commit(raft);
    raft_serve_reads(raft);
    raft_pursue_transfer(raft);
    raft_replicate(raft);
    raft_persist_changes(raft);
}

static void
dispatch(struct raft *raft, const struct raft_event *event)
{
    switch (event->kind) {
    case RAFT_TICK:
        break; /* follow_up looks at the time after every event */
    case RAFT_PROPOSE:
        raft_on_propose(raft, event);
        break;
    case RAFT_RECEIVED:
        on_received(raft, event);
        break;
    case RAFT_PERSISTED:
        raft_on_persisted(raft, event);
        break;
    case RAFT_PERSIST_FAILED:
        raft_on_persist_failed(raft, event);
        break;
    case RAFT_TRANSFER:
        raft_on_transfer(raft, event);
        break;
    case RAFT_ADD_LEARNER:
        raft_on_add_learner(raft, event);
        break;
    case RAFT_CHANGE_VOTERS:
        raft_on_change_voters(raft, event);
        break;
    case RAFT_READ_INDEX:
        raft_on_read_index(raft, event);
        break;
    case RAFT_COMPACT:
        raft_on_compact(raft, event);
        break;
    case RAFT_PEER_GONE:
        raft_on_peer_gone(raft, event);
        break;
    }
}

void
raft_step(struct raft *raft, const struct raft_event *event, struct raft_effects *ret_out)
{
    int64_t term_before = raft->term, commit_before = raft->commit;
    ret_out->result = RAFT_OK;
    ret_out->index = 0;
    ret_out->term = 0;
    ret_out->count = 0;
    if (raft->dead) {
        ret_out->result = RAFT_DEAD;
        return;
    }
    raft->out = ret_out;
    /* A clock that steps back stands still: every deadline is a sum with a time that was seen. */
    raft->now_ms = max64(raft->now_ms, event->now_ms);
    dispatch(raft, event);
    if (!raft->dead) { /* the event may have been the failure of its disk */
        follow_up(raft);
    }
    tell_role(raft);
    raft->out = NULL;
    DMQ_ASSERT(raft->term >= term_before && raft->commit >= commit_before);
    raft_check_invariants(raft);
}
