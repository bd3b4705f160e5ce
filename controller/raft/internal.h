/* What the files of this folder share. */
#ifndef CONTROLLER_RAFT_INTERNAL_H
#define CONTROLLER_RAFT_INTERNAL_H

#include "controller/raft/raft.h"
#include "libdmq/base/assert.h"

/* raft.c. raft_emit: the caller fills the effect. The bound of a step is the sum over its parts:
 * each member's window, heartbeat and chunk; what was owed; reads; and one each of the rest. */
struct raft_effect *raft_emit(struct raft *raft, enum raft_effect_kind kind);
static inline int64_t
min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t
max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* log.c */
void raft_log_init(struct raft_log *log, const struct raft_saved *saved);
void raft_log_deinit(struct raft_log *log);
int64_t raft_log_last(const struct raft_log *log);
int64_t raft_log_term_at(const struct raft_log *log, int64_t index); /* -1: not known */
const struct raft_entry *raft_log_at(const struct raft_log *log, int64_t index);
void raft_log_append(struct raft_log *log,
                     const struct raft_entry *entry);       /* references the payload */
void raft_log_truncate(struct raft_log *log, int64_t from); /* drops from and above */
void raft_log_drop(struct raft_log *log, int64_t upto);     /* drops upto and below */
void raft_log_reset(struct raft_log *log, int64_t prev_index, int64_t prev_term);
/* The largest index at or below upto whose term is not above term: where two logs may agree. */
int64_t raft_log_agreeing(const struct raft_log *log, int64_t upto, int64_t term);

/* persist.c */
void raft_hard_changed(struct raft *raft);
void raft_log_changed(struct raft *raft, int64_t from);
void raft_snapshot_changed(struct raft *raft);
void raft_persist_changes(struct raft *raft);
bool raft_hard_synced(const struct raft *raft);
void raft_on_persisted(struct raft *raft, const struct raft_event *event);
void raft_on_persist_failed(struct raft *raft, const struct raft_event *event);
/* Sends the message once term and vote as they are now are synced; fills in from. */
void raft_send(struct raft *raft, struct raft_message *message);
void raft_forget_owed(struct raft *raft);

/* members.c */
bool raft_is_voter(const struct raft *raft, struct raft_id id);
/* Whether it may be a candidate. */
bool raft_may_stand(const struct raft *raft);
uint32_t raft_voter_count(const struct raft *raft);
struct raft_peer *raft_find_peer(struct raft *raft, struct raft_id id);
bool raft_is_self(const struct raft *raft, const struct raft_peer *peer);
/* Puts the last member list of the log in force, after an append or truncation. */
void raft_adopt_members(struct raft *raft);
void raft_members_as_of(const struct raft *raft, int64_t index, struct raft_members *ret_members);
void raft_on_add_learner(struct raft *raft, const struct raft_event *event);
void raft_on_change_voters(struct raft *raft, const struct raft_event *event);

/* The largest value that a majority of voters reaches, ours included if we vote. */
int64_t raft_quorum_value(const struct raft *raft,
                          int64_t (*value_of)(const struct raft *raft,
                                              const struct raft_peer *peer));

/* election.c */
void raft_become_follower(struct raft *raft, int64_t term, struct raft_id leader);
void raft_heard_leader(struct raft *raft, const struct raft_message *message);
void raft_pass_election_time(struct raft *raft);
void raft_reset_election(struct raft *raft);
void raft_on_pre_vote(struct raft *raft, const struct raft_message *message);
void raft_on_pre_vote_answer(struct raft *raft, const struct raft_message *message);
void raft_on_vote(struct raft *raft, const struct raft_message *message);
void raft_on_vote_answer(struct raft *raft, const struct raft_message *message);
void raft_on_peer_gone(struct raft *raft, const struct raft_event *event);
void raft_stand(struct raft *raft, bool force);

/* leader.c */
void raft_lead(struct raft *raft);
void raft_on_propose(struct raft *raft, const struct raft_event *event);
int64_t raft_append_own(struct raft *raft, enum raft_entry_kind kind, struct buf *payload);
void raft_pass_leader_time(struct raft *raft);
void raft_advance_commit(struct raft *raft);
void raft_replicate(struct raft *raft);
void raft_on_append_answer(struct raft *raft, const struct raft_message *message);
/* The peer of an answer in our term, marked as heard; NULL if it counts for nothing. */
struct raft_peer *raft_answered(struct raft *raft, const struct raft_message *message);
void raft_reset_peer(struct raft *raft, struct raft_peer *peer);

/* follower.c */
void raft_on_append(struct raft *raft, const struct raft_message *message);
void raft_answer_append(struct raft *raft);
void raft_follow_commit(struct raft *raft);

/* snapshot.c */
void raft_on_compact(struct raft *raft, const struct raft_event *event);
void raft_on_snapshot(struct raft *raft, const struct raft_message *message);
void raft_on_snapshot_answer(struct raft *raft, const struct raft_message *message);
void raft_send_chunk(struct raft *raft, struct raft_peer *peer);
void raft_begin_sending(struct raft *raft, struct raft_peer *peer);
void raft_end_sending(struct raft_peer *peer);
void raft_installed(struct raft *raft);
void raft_drop_incoming(struct raft *raft);

/* read_index.c */
void raft_on_read_index(struct raft *raft, const struct raft_event *event);
void raft_serve_reads(struct raft *raft);
void raft_fail_reads(struct raft *raft);

/* transfer.c */
void raft_on_transfer(struct raft *raft, const struct raft_event *event);
void raft_pursue_transfer(struct raft *raft);
void raft_end_transfer(struct raft *raft);
void raft_hand_over(struct raft *raft);
void raft_on_timeout_now(struct raft *raft, const struct raft_message *message);

/* check.c: false for a message that no member sends; it may come from anywhere. */
bool raft_message_valid(const struct raft *raft, const struct raft_message *message);
void raft_check_invariants(const struct raft *raft);

#endif
