/* Elections (Raft §5.2, §5.4.1) with pre-vote and a leader's lease of attention (thesis §4.2.3,
 * §9.6).
 *
 *   follower --silence--> pre-candidate --majority would--> candidate --majority did--> leader
 *
 * A pre-candidate has changed nothing: neither its term nor its vote. So a node that was cut off,
 * or was removed and does not know, comes back without deposing a leader that works. Who has heard
 * of a leader within the shortest election timeout grants nothing, and does not take over a higher
 * term from such a question either. */
#include "controller/raft/internal.h"

static const struct raft_id nobody;

void
raft_reset_election(struct raft *raft)
{
    const struct raft_config *config = &raft->config;
    raft->election_due_ms =
        raft->now_ms + rng_range(&raft->rng, config->election_min_ms, config->election_max_ms);
}

void
raft_become_follower(struct raft *raft, int64_t term, struct raft_id leader)
{
    DMQ_ASSERT(term >= raft->term);
    bool new_term = term > raft->term;
    if (new_term) {
        raft->term = term;
        raft->vote = nobody;
        raft_hard_changed(raft);
        raft_forget_owed(raft);
    }
    if (new_term || raft->role == RAFT_LEADER) {
        raft->matched = 0;
        raft->leader_commit = 0;
        raft->leader_round = 0;
        raft->ack_due = false;
        raft_drop_incoming(raft);
    }
    if (raft->role != RAFT_FOLLOWER) {
        raft_fail_reads(raft);
        raft_end_transfer(raft);
        raft->role = RAFT_FOLLOWER;
        raft_reset_election(raft);
    }
    raft->leader = leader;
}

void
raft_heard_leader(struct raft *raft, const struct raft_message *message)
{
    DMQ_ASSERT(message->term > raft->term ||
               (message->term == raft->term && raft->role != RAFT_LEADER));
    raft_become_follower(raft, message->term, message->from);
    raft->leader_heard_ms = raft->now_ms;
    raft->leader_round = max64(raft->leader_round, message->round);
    raft_reset_election(raft);
}

/* ---- standing -------------------------------------------------------------------------------- */

static uint32_t
votes_granted(const struct raft *raft)
{
    uint32_t granted = 0;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        granted += raft->members.at[i].voter && raft->peers[i].vote == RAFT_VOTE_GRANTED;
    }
    return granted;
}

static bool
won(const struct raft *raft)
{
    return votes_granted(raft) > raft_voter_count(raft) / 2;
}

/* Asks those who have not granted yet; in a pre-vote that is also who refused, for it may notice
 * later than we that the leader is gone. Again at each heartbeat, for messages are lost. */
static void
ask_for_votes(struct raft *raft)
{
    bool pre = raft->role == RAFT_PRE_CANDIDATE;
    /* The vote rests on the whole log, and its questions leave when all of it is synced. A pre-vote
     * leaves at once, so it may name only what is: a node with a slow disk had better not lead. */
    int64_t last = pre ? raft->synced_last : raft_log_last(&raft->log);
    raft->heartbeat_due_ms = raft->now_ms + raft->config.heartbeat_ms;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (!raft->members.at[i].voter || raft_is_self(raft, peer) ||
            peer->vote == RAFT_VOTE_GRANTED || (!pre && peer->vote == RAFT_VOTE_REFUSED)) {
            continue;
        }
        raft_send(raft, &(struct raft_message){.kind = pre ? RAFT_PRE_VOTE : RAFT_VOTE,
                                               .to = peer->id,
                                               .term = pre ? raft->term + 1 : raft->term,
                                               .index = last,
                                               .log_term = raft_log_term_at(&raft->log, last),
                                               .force = raft->forced});
    }
}

static void
begin_round(struct raft *raft, enum raft_role role)
{
    DMQ_ASSERT(raft_may_stand(raft) && !raft->dead);
    raft->role = role;
    raft->leader = nobody;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        bool self = raft_is_self(raft, &raft->peers[i]);
        raft->peers[i].vote = self ? RAFT_VOTE_GRANTED : RAFT_VOTE_NONE;
    }
    raft_reset_election(raft);
}

/* The vote for ourselves counts at once: the questions to others leave only when it is synced, and
 * a lone voter commits nothing before that. */
void
raft_stand(struct raft *raft, bool force)
{
    raft_become_follower(raft, raft->term + 1, nobody);
    raft->vote = raft->config.self;
    raft->forced = force;
    raft->stats.elections++;
    begin_round(raft, RAFT_CANDIDATE);
    DMQ_ASSERT(raft->hard_changed);
    if (won(raft)) {
        raft_lead(raft);
        return;
    }
    ask_for_votes(raft);
}

static void
pre_stand(struct raft *raft)
{
    raft->forced = false;
    begin_round(raft, RAFT_PRE_CANDIDATE);
    if (won(raft)) {
        raft_stand(raft, false); /* a lone voter has nobody to ask */
        return;
    }
    ask_for_votes(raft);
}

void
raft_pass_election_time(struct raft *raft)
{
    if (raft->role == RAFT_LEADER || !raft_may_stand(raft)) {
        return;
    }
    if (raft->now_ms >= raft->election_due_ms && raft->installing) {
        raft_reset_election(raft); /* it has no log to stand with */
    } else if (raft->now_ms >= raft->election_due_ms) {
        pre_stand(raft);
    } else if (raft->role != RAFT_FOLLOWER && raft->now_ms >= raft->heartbeat_due_ms) {
        ask_for_votes(raft);
    }
}

/* The leader's process has ended. All who follow it notice at the same moment: a short random wait
 * keeps them from splitting the vote. */
void
raft_on_peer_gone(struct raft *raft, const struct raft_event *event)
{
    if (raft->role != RAFT_FOLLOWER || raft->leader.node == 0 ||
        raft->leader.node != event->u.gone) {
        return;
    }
    raft->leader = nobody;
    int64_t soon = raft->now_ms + rng_range(&raft->rng, 0, raft->config.heartbeat_ms);
    raft->election_due_ms = min64(raft->election_due_ms, soon);
}

/* ---- granting -------------------------------------------------------------------------------- */

/* Whether a leader is heard of: then there is no reason to elect (thesis §4.2.3). A leader itself
 * is one while its quorum answers; it looks after that in its own time. */
static bool
has_leader(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        return true;
    }
    return raft->leader.node != 0 &&
           raft->now_ms - raft->leader_heard_ms < raft->config.election_min_ms;
}

/* Raft §5.4.1: who votes must not have an entry that a majority may have and the candidate lacks.
 */
static bool
up_to_date(const struct raft *raft, const struct raft_message *message)
{
    int64_t last = raft_log_last(&raft->log);
    int64_t last_term = raft_log_term_at(&raft->log, last);
    return message->log_term > last_term ||
           (message->log_term == last_term && message->index >= last);
}

static bool
vote_is_free(const struct raft *raft, struct raft_id candidate)
{
    return raft->vote.node == 0 || raft_id_equal(raft->vote, candidate);
}

void
raft_on_pre_vote(struct raft *raft, const struct raft_message *message)
{
    bool grant = message->term > raft->term ||
                 (message->term == raft->term && vote_is_free(raft, message->from));
    grant = grant && !has_leader(raft) && up_to_date(raft, message);
    raft_send(raft, &(struct raft_message){.kind = RAFT_PRE_VOTE_ANSWER,
                                           .to = message->from,
                                           .term = grant ? message->term : raft->term,
                                           .ok = grant});
}

void
raft_on_vote(struct raft *raft, const struct raft_message *message)
{
    if (message->term >= raft->term && !message->force && has_leader(raft)) {
        return; /* unanswered, the term not taken over: it would depose the leader */
    }
    if (message->term > raft->term) {
        raft_become_follower(raft, message->term, nobody);
    }
    bool grant = message->term == raft->term && vote_is_free(raft, message->from) &&
                 raft->role != RAFT_LEADER && up_to_date(raft, message);
    if (grant) {
        raft_become_follower(raft, raft->term, nobody); /* a pre-candidate gives way */
        raft_reset_election(raft);
    }
    if (grant && raft->vote.node == 0) {
        raft->vote = message->from;
        raft_hard_changed(raft);
    }
    DMQ_ASSERT(!grant || raft_id_equal(raft->vote, message->from));
    raft_send(raft,
              &(struct raft_message){
                  .kind = RAFT_VOTE_ANSWER, .to = message->from, .term = raft->term, .ok = grant});
}

/* ---- counting -------------------------------------------------------------------------------- */

/* Only voters' votes count, known by node and disk (trap 20). A grant is not taken back by a
 * refusal that was sent before it. */
static void
count_vote(struct raft *raft, const struct raft_message *message)
{
    struct raft_peer *peer = raft_find_peer(raft, message->from);
    if (peer == NULL || !raft_is_voter(raft, message->from)) {
        raft->stats.ignored++;
        return;
    }
    if (peer->vote != RAFT_VOTE_GRANTED) {
        peer->vote = message->ok ? RAFT_VOTE_GRANTED : RAFT_VOTE_REFUSED;
    }
}

void
raft_on_pre_vote_answer(struct raft *raft, const struct raft_message *message)
{
    if (!message->ok && message->term > raft->term) {
        raft_become_follower(raft, message->term, nobody);
        return;
    }
    if (raft->role != RAFT_PRE_CANDIDATE || message->term != raft->term + (message->ok ? 1 : 0)) {
        return;
    }
    count_vote(raft, message);
    if (won(raft)) {
        raft_stand(raft, false);
    }
}

void
raft_on_vote_answer(struct raft *raft, const struct raft_message *message)
{
    if (raft->role != RAFT_CANDIDATE || message->term != raft->term) {
        return;
    }
    DMQ_ASSERT(raft_id_equal(raft->vote, raft->config.self));
    count_vote(raft, message);
    if (won(raft)) {
        raft_lead(raft);
    }
}
