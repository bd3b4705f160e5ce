#include <stdlib.h>

#include "controller/core/call.h"

static int
by_id(const void *a, const void *b)
{
    const struct quorum_controller *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* As the leader sees it. A member is as far as what it has synced. */
dmq_err
ctl_on_describe_quorum(struct ctl *ctl, struct call *call)
{
    const struct raft *raft = ctl->raft;
    struct quorum_controller rows[RAFT_MAX_MEMBERS];
    struct describe_quorum_response response = {.leader = ctl->config.controller_id,
                                                .term = raft->term,
                                                .version = ctl->version,
                                                .controllers = rows,
                                                .controllers_count = raft->members.count};
    for (uint32_t i = 0; i < raft->members.count; i++) {
        const struct raft_member *member = &raft->members.at[i];
        bool self = raft_id_equal(member->id, raft->config.self);
        int64_t version = self ? raft->synced_last : raft->peers[i].match;
        int64_t lag = raft_last_index(raft) - version;
        rows[i] = (struct quorum_controller){
            .id = member->id.node,
            .disk_id = member->id.disk,
            .voter = member->voter,
            .leader = self,
            .version = version,
            .lag = lag > 0 ? lag : 0,
            .silent_ms = self ? 0 : raft_silent_ms(raft, member->id),
        };
    }
    qsort(rows, raft->members.count, sizeof(rows[0]), by_id);
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}

/* Whoever asks gets its answer when a quorum has said that this controller still leads, or the next
 * entry is committed: so nothing that was acknowledged before is above this version. */
dmq_err
ctl_on_committed_version(struct ctl *ctl, struct call *call)
{
    const struct committed_version_response response = {.version = ctl->version};
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
