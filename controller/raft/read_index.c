/* Linearizable reads without a write (thesis §6.4). The leader notes its commit index, asks
 * everyone "do you still follow me" by a heartbeat with a new round number, and when a majority has
 * answered that round, no other leader can have committed anything before the read was asked. One
 * round is on its way at a time; reads that come meanwhile share the next. Nothing is answered
 * before an entry of this term is committed: only then does the leader know what is (trap 30). */
#include "controller/raft/internal.h"

void
raft_on_read_index(struct raft *raft, const struct raft_event *event)
{
    if (raft->role != RAFT_LEADER) {
        raft->out->result = RAFT_NOT_LEADER;
    } else if (raft->read_count == RAFT_MAX_READS) {
        raft->out->result = RAFT_BUSY;
    } else {
        raft->reads[raft->read_count++] = (struct raft_read){.id = event->u.read};
    }
}

static int64_t
round_of(const struct raft *raft, const struct raft_peer *peer)
{
    return raft_is_self(raft, peer) ? raft->round : peer->round;
}

/* Answers the rounds that a majority has answered; they stand first. */
static void
answer_reads(struct raft *raft)
{
    int64_t confirmed = raft_quorum_value(raft, round_of);
    uint32_t done = 0;
    while (done < raft->read_count && raft->reads[done].round > 0 &&
           raft->reads[done].round <= confirmed) {
        struct raft_effect *effect = raft_emit(raft, RAFT_READ_READY);
        effect->u.read.id = raft->reads[done].id;
        effect->u.read.index = raft->reads[done].index;
        DMQ_ASSERT(raft->reads[done].index <= raft->told_commit);
        done++;
    }
    raft->read_count -= done;
    memmove(raft->reads, raft->reads + done, raft->read_count * sizeof(raft->reads[0]));
}

static void
ask_round(struct raft *raft)
{
    if (raft->read_count == 0 || raft->reads[0].round > 0) {
        return;
    }
    raft->round++;
    raft->broadcast = true;
    for (uint32_t i = 0; i < raft->read_count; i++) {
        raft->reads[i].round = raft->round;
        raft->reads[i].index = raft->commit;
    }
}

void
raft_serve_reads(struct raft *raft)
{
    if (!raft_ready(raft)) {
        return;
    }
    answer_reads(raft);
    ask_round(raft);
    answer_reads(raft); /* a lone voter is its own majority */
}

void
raft_fail_reads(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->read_count; i++) {
        raft_emit(raft, RAFT_READ_FAILED)->u.read.id = raft->reads[i].id;
    }
    raft->read_count = 0;
}
