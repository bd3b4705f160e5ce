/* The leader's side of replication: entries go out in batches, many on their way at once (thesis
 * §10.2), and only entries that are synced here. An entry is committed when a majority has it
 * synced and it is of this term; what is before it is committed with it (Raft §5.4.2). */
#include "controller/raft/internal.h"

/* ---- taking over ----------------------------------------------------------------------------- */

void
raft_reset_peer(struct raft *raft, struct raft_peer *peer)
{
    raft_end_sending(peer);
    peer->state = RAFT_PROBE;
    peer->next = raft_log_last(&raft->log) + 1;
    peer->match = 0;
    peer->round = 0;
    peer->heard_ms = raft->now_ms; /* trap 27: silence is counted from now */
    peer->sent_ms = -1;
    peer->caught_up = false;
    peer->inflight_count = 0;
}

void
raft_lead(struct raft *raft)
{
    DMQ_ASSERT(raft->role == RAFT_CANDIDATE);
    DMQ_ASSERT(raft_id_equal(raft->vote, raft->config.self));
    raft->role = RAFT_LEADER;
    raft->leader = raft->config.self;
    raft->stats.won++;
    raft->round = 0;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        raft_reset_peer(raft, &raft->peers[i]);
    }
    raft->quorum_due_ms = raft->now_ms + raft->config.election_max_ms;
    raft->heartbeat_due_ms = raft->now_ms; /* so that nobody else stands */
    /* Raft §8: entries of earlier terms are known to be committed only with one of this term. */
    raft->term_start = raft_append_own(raft, RAFT_ENTRY_NOOP, NULL);
}

int64_t
raft_append_own(struct raft *raft, enum raft_entry_kind kind, struct buf *payload)
{
    DMQ_ASSERT(raft->role == RAFT_LEADER);
    raft_log_append(&raft->log, &(struct raft_entry){raft->term, kind, payload});
    if (kind == RAFT_ENTRY_MEMBERS) {
        raft_adopt_members(raft);
    }
    return raft_log_last(&raft->log); /* unsaved_from is at or below it */
}

void
raft_on_propose(struct raft *raft, const struct raft_event *event)
{
    DMQ_ASSERT(event->u.propose != NULL);
    if (raft->role != RAFT_LEADER) {
        raft->out->result = RAFT_NOT_LEADER;
        return;
    }
    if (raft->transfer_to.node != 0 ||
        raft_log_last(&raft->log) - raft->commit >= raft->config.max_uncommitted) {
        raft->out->result = RAFT_BUSY;
        return;
    }
    raft->out->index = raft_append_own(raft, RAFT_ENTRY_DATA, event->u.propose);
    raft->out->term = raft->term;
}

bool
raft_ready(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t
heard_of(const struct raft *raft, const struct raft_peer *peer)
{
    return raft_is_self(raft, peer) ? raft->now_ms : peer->heard_ms;
}

/* Check-quorum (thesis §6.2): a leader that a majority does not answer would keep its clients
 * waiting for ever, and those who hear it from electing. */
static void
check_quorum(struct raft *raft)
{
    int64_t heard = raft_quorum_value(raft, heard_of);
    if (raft->now_ms - heard >= raft->config.election_max_ms) {
        raft->stats.stepped_down++;
        raft_become_follower(raft, raft->term, (struct raft_id){0});
        return;
    }
    raft->quorum_due_ms = heard + raft->config.election_max_ms;
}

void
raft_pass_leader_time(struct raft *raft)
{
    DMQ_ASSERT(raft->role == RAFT_LEADER);
    if (raft->now_ms >= raft->quorum_due_ms) {
        check_quorum(raft);
    }
    if (raft->role == RAFT_LEADER && raft->now_ms >= raft->heartbeat_due_ms) {
        raft->heartbeat_due_ms = raft->now_ms + raft->config.heartbeat_ms;
        raft->broadcast = true;
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

/* As many of the entries from next on as one message takes; only what is synced. */
static int64_t
batch_size(const struct raft *raft, int64_t next)
{
    int64_t count = 0, bytes = 0;
    int64_t most = min64(raft->config.max_append_entries, raft->synced_last - next + 1);
    while (count < most) {
        const struct raft_entry *entry = raft_log_at(&raft->log, next + count);
        bytes += entry->payload == NULL ? 0 : (int64_t)entry->payload->size;
        if (count > 0 && bytes > raft->config.max_append_bytes) {
            break;
        }
        count++;
    }
    return count;
}

/* Whoever gets the log from its beginning gets the list of members that is in force there, too. It
 * stands in no entry: one of them that missed it would have the whole log, and not know that it is
 * a voter. */
static const struct raft_members *
first_members(const struct raft *raft, int64_t prev)
{
    bool known = raft->snapshot.index == 0 && raft->snapshot.members.count > 0;
    return prev == 0 && known ? &raft->snapshot.members : NULL;
}

static void
emit_append(struct raft *raft, const struct raft_peer *peer, int64_t prev, int64_t count)
{
    DMQ_ASSERT(raft_hard_synced(raft) && prev + count <= raft->synced_last);
    raft_emit(raft, RAFT_SEND)->u.message = (struct raft_message){
        .kind = RAFT_APPEND,
        .from = raft->config.self,
        .to = peer->id,
        .term = raft->term,
        .index = prev,
        .log_term = prev == 0 ? 0 : raft_log_term_at(&raft->log, prev),
        .commit = raft->commit,
        .round = raft->round,
        .members = first_members(raft, prev),
        .entries = count > 0 ? raft_log_at(&raft->log, prev + 1) : NULL,
        .entry_count = (uint32_t)count,
    };
}

/* A follower that does not yet know our log is asked about one place in it, with the entries that
 * would follow; the next question when the answer is there or a heartbeat is due. */
static void
send_probe(struct raft *raft, struct raft_peer *peer)
{
    bool again = peer->sent_ms >= 0;
    if (again && !raft->broadcast) {
        return;
    }
    peer->next = min64(peer->next, raft->synced_last + 1);
    /* Who may be dead is not sent the same entries with every heartbeat. */
    emit_append(raft, peer, peer->next - 1, again ? 0 : batch_size(raft, peer->next));
    peer->sent_ms = raft->now_ms;
}

static void
send_pipelined(struct raft *raft, struct raft_peer *peer)
{
    bool sent = false;
    while (peer->next <= raft->synced_last && peer->inflight_count < raft->config.max_inflight) {
        int64_t count = batch_size(raft, peer->next);
        DMQ_ASSERT(count > 0);
        emit_append(raft, peer, peer->next - 1, count);
        peer->next += count; /* as if it had arrived: a refusal takes it back */
        peer->inflight[peer->inflight_count++] = peer->next - 1;
        sent = true;
    }
    /* Its place is the end of what was sent, so that it also finds out what was lost. */
    if (raft->broadcast && !sent) {
        emit_append(raft, peer, peer->next - 1, 0);
    }
}

/* Where the log still reaches a peer, it is sent; else the snapshot is, if it is synced. Who has
 * nothing is sent the snapshot anyway, for it may not know who is a member. */
static void
send_to(struct raft *raft, struct raft_peer *peer)
{
    bool out_of_reach = peer->next <= raft->log.prev_index;
    bool has_nothing = peer->next == 1 && raft->snapshot.index > 0;
    if (peer->state != RAFT_SENDING && (out_of_reach || has_nothing)) {
        raft_begin_sending(raft, peer);
    }
    switch (peer->state) {
    case RAFT_PROBE:
        send_probe(raft, peer);
        break;
    case RAFT_REPLICATE:
        send_pipelined(raft, peer);
        break;
    case RAFT_SENDING:
        if (raft->broadcast) {
            emit_append(raft, peer, 0, 0); /* fits any log: says only who leads */
        }
        raft_send_chunk(raft, peer);
        break;
    }
}

void
raft_replicate(struct raft *raft)
{
    if (raft->role != RAFT_LEADER || !raft_hard_synced(raft)) {
        return;
    }
    for (uint32_t i = 0; i < raft->members.count; i++) {
        if (!raft_is_self(raft, &raft->peers[i])) {
            send_to(raft, &raft->peers[i]);
        }
    }
    raft->broadcast = false;
}

/* ---- answers --------------------------------------------------------------------------------- */

struct raft_peer *
raft_answered(struct raft *raft, const struct raft_message *message)
{
    struct raft_peer *peer = raft_find_peer(raft, message->from);
    if (raft->role != RAFT_LEADER || message->term != raft->term) {
        return NULL; /* late: it counts for the term that it was given in */
    }
    if (peer == NULL || message->round > raft->round) {
        raft->stats.ignored++;
        return NULL;
    }
    peer->heard_ms = raft->now_ms;
    peer->round = max64(peer->round, message->round);
    return peer;
}

static void
probe(struct raft *raft, struct raft_peer *peer, int64_t next)
{
    DMQ_ASSERT(next > peer->match && next <= raft_log_last(&raft->log) + 1);
    raft_end_sending(peer);
    peer->state = RAFT_PROBE;
    peer->next = next;
    peer->sent_ms = -1;
    peer->inflight_count = 0;
}

/* The follower's log does not have our entry at `rejected`. It named the last place where its term
 * is not above ours there; we go on to the last place where ours is not above that (thesis §3.5:
 * one question a term, not one an entry). Late and doubled refusals say nothing. */
static void
refused(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    bool late = message->rejected <= peer->match ||
                (peer->state == RAFT_PROBE && message->rejected != peer->next - 1);
    if (peer->state == RAFT_SENDING || late) {
        return;
    }
    int64_t agreeing = raft_log_agreeing(&raft->log, message->index, message->log_term);
    int64_t next = min64(agreeing, message->rejected - 1) + 1;
    probe(raft, peer, max64(next, peer->match + 1));
}

static void
free_window(struct raft_peer *peer)
{
    int64_t done = 0;
    while (done < peer->inflight_count && peer->inflight[done] <= peer->match) {
        done++;
    }
    peer->inflight_count -= done;
    memmove(peer->inflight, peer->inflight + done,
            (size_t)peer->inflight_count * sizeof(peer->inflight[0]));
}

static void
note_caught_up(struct raft *raft, struct raft_peer *peer)
{
    bool near = peer->match + raft->config.caught_up_entries >= raft->commit && peer->match > 0;
    if (near && !peer->caught_up && !raft_is_voter(raft, peer->id)) {
        peer->caught_up = true;
        raft_emit(raft, RAFT_CAUGHT_UP)->u.caught_up = peer->id;
    }
}

static void
accepted(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    peer->match = max64(peer->match, message->index);
    peer->next = max64(peer->next, peer->match + 1);
    /* What is synced there is equal up to match, so the next entry goes on from there. */
    if (peer->state == RAFT_SENDING && peer->match >= peer->sending.index) {
        probe(raft, peer, peer->match + 1);
    }
    if (peer->state == RAFT_PROBE && peer->match >= peer->next - 1) {
        peer->state = RAFT_REPLICATE;
    }
    free_window(peer);
    note_caught_up(raft, peer);
}

void
raft_on_append_answer(struct raft *raft, const struct raft_message *message)
{
    struct raft_peer *peer = raft_answered(raft, message);
    if (peer == NULL) {
        return;
    }
    if (message->ok && message->index > raft->synced_last) {
        raft->stats.ignored++; /* more than it was ever sent */
        return;
    }
    if (message->ok) {
        accepted(raft, peer, message);
    } else {
        refused(raft, peer, message);
    }
}

/* ---- committing ------------------------------------------------------------------------------ */

static int64_t
match_of(const struct raft *raft, const struct raft_peer *peer)
{
    return raft_is_self(raft, peer) ? raft->synced_last : peer->match;
}

void
raft_advance_commit(struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return;
    }
    /* Only entries that it has synced itself were ever sent. */
    int64_t reached = min64(raft_quorum_value(raft, match_of), raft->synced_last);
    /* Raft §5.4.2, figure 8: an entry of an older term is not committed by counting, however many
     * have it: a later leader may still cut it off. */
    if (reached > raft->commit && raft_log_term_at(&raft->log, reached) == raft->term) {
        raft->commit = reached;
    }
    /* Thesis §4.2.2: a leader that is no voter any more leads until that is committed. */
    if (!raft_is_voter(raft, raft->config.self) && raft->members_index <= raft->commit) {
        raft_hand_over(raft);
        raft_become_follower(raft, raft->term, (struct raft_id){0});
    }
}
