/* Shared by the files of this folder.
 *
 *   replica.c   the one switch, roles, the invariants
 *   leader.c    followers' fetches, the high watermark
 *   isr.c       who is asked in and out
 *   follower.c  the leader's answers, truncation */
#ifndef BROKER_REPLICA_INTERNAL_H
#define BROKER_REPLICA_INTERNAL_H

#include "broker/replica/replica.h"

/* ---- leader.c -------------------------------------------------------------------------------- */

void leader_begin(struct replica *replica, const struct replica_image *image, int64_t now_ms);
void leader_end(struct replica *replica);

/* The image changed within the leader epoch. */
void leader_update(struct replica *replica, const struct replica_image *image, int64_t now_ms,
                   struct replica_effects *out);
void leader_on_appended(struct replica *replica, int64_t old_end, int64_t now_ms);
void leader_on_fetched(struct replica *replica, const struct replica_fetched *fetched,
                       int64_t now_ms, struct replica_effects *out);
void leader_on_progress(struct replica *replica, const struct replica_fetched *fetched,
                        int64_t now_ms, struct replica_effects *out);

/* Up to where a peer's log counts; -1: nothing is known. */
int64_t leader_counted(const struct replica *replica, uint32_t place);
void leader_advance_hw(struct replica *replica, struct replica_effects *out);

/* ---- isr.c ----------------------------------------------------------------------------------- */

void isr_on_answered(struct replica *replica, const struct replica_event *event,
                     struct replica_effects *out);

/* Asks for the change that is due, if any. */
void isr_propose(struct replica *replica, int64_t now_ms, struct replica_effects *out);
int64_t isr_deadline(const struct replica *replica);

/* ---- follower.c ------------------------------------------------------------------------------ */

void follower_on_answered(struct replica *replica, const struct replica_answered *answered,
                          struct replica_effects *out);
void follower_on_below_start(struct replica *replica, const struct replica_below_start *below,
                             struct replica_effects *out);
void follower_on_truncated(struct replica *replica, int64_t end);
void follower_on_emptied(struct replica *replica, int64_t start, struct replica_effects *out);
void follower_advance_hw(struct replica *replica, struct replica_effects *out);

#endif
