/* Leadership transfer (thesis §3.10): the leader takes no more proposals, brings the target up to
 * its own end and tells it to stand at once, without pre-vote and past the others' attention to
 * their leader. If the target has not won after an election timeout, the leader goes on as before.
 */
#include "controller/raft/internal.h"

void
raft_on_transfer(struct raft *raft, const struct raft_event *event)
{
    if (raft->role != RAFT_LEADER) {
        raft->out->result = RAFT_NOT_LEADER;
    } else if (raft->transfer_to.node != 0) {
        raft->out->result = RAFT_BUSY;
    } else if (!raft_is_voter(raft, event->u.peer) ||
               raft_id_equal(event->u.peer, raft->config.self)) {
        raft->out->result = RAFT_REFUSED;
    } else {
        raft->transfer_to = event->u.peer;
        raft->transfer_told = false;
        raft->transfer_due_ms = raft->now_ms + raft->config.election_max_ms;
    }
}

void
raft_end_transfer(struct raft *raft)
{
    raft->transfer_to = (struct raft_id){0};
}

static void
tell_to_stand(struct raft *raft, struct raft_id to)
{
    raft_send(raft, &(struct raft_message){.kind = RAFT_TIMEOUT_NOW, .to = to, .term = raft->term});
}

/* Once a step, before the heartbeats: it is told again with each of them. */
void
raft_pursue_transfer(struct raft *raft)
{
    if (raft->role != RAFT_LEADER || raft->transfer_to.node == 0) {
        return;
    }
    const struct raft_peer *peer = raft_find_peer(raft, raft->transfer_to);
    if (peer == NULL || raft->now_ms >= raft->transfer_due_ms) {
        raft_end_transfer(raft);
        return;
    }
    int64_t last = raft_log_last(&raft->log);
    bool reached = peer->match == last && raft->synced_last == last;
    if (reached && (!raft->transfer_told || raft->broadcast)) {
        raft->transfer_told = true;
        tell_to_stand(raft, peer->id);
    }
}

/* A leader that must go picks the voter with the longest log, so that nobody waits for a timeout.
 */
void
raft_hand_over(struct raft *raft)
{
    const struct raft_peer *best = NULL;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (raft->members.at[i].voter && !raft_is_self(raft, peer) &&
            (best == NULL || peer->match > best->match)) {
            best = peer;
        }
    }
    if (best != NULL) {
        tell_to_stand(raft, best->id);
    }
}

void
raft_on_timeout_now(struct raft *raft, const struct raft_message *message)
{
    bool may_stand = raft->role == RAFT_FOLLOWER || raft->role == RAFT_PRE_CANDIDATE;
    if (may_stand && message->term == raft->term && raft_may_stand(raft) && !raft->installing) {
        raft_stand(raft, true);
    }
}
