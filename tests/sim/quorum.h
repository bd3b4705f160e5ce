/* The controllers' Raft in the world, watched. */
#ifndef TESTS_SIM_QUORUM_H
#define TESTS_SIM_QUORUM_H

#include "tests/sim/world.h"

struct raft_watch *quorum_watch_new(struct world *world);

/* The process has a disk that holds nothing. */
void quorum_new_disk(struct process *p);

/* A write is carried out; or it failed, or the process died in it: it may be there or not. */
void quorum_written(struct process *p, const struct raft_persist *write);
void quorum_half_written(struct process *p, const struct raft_persist *write);

/* A start found this in the store. */
void quorum_loaded(struct process *p, const struct raft_saved *saved);

/* A RAFT message leaves. */
void quorum_sent(struct process *p, struct bytes body);

/* After an event of the controller. */
void quorum_check(struct process *p);

/* Whether the controllers can do without the disk of this one for ever. */
bool quorum_can_spare(struct world *world, const struct process *lost);

/* ---- leases.c -------------------------------------------------------------------------------- */

#define SESSION_MS 2000 /* broker.session.timeout.ms */

/* The controller had a heartbeat of the broker, or an answer; or its port refused. */
void leases_heard(struct process *controller, const struct process *broker);
void leases_refused(struct process *controller, const struct process *broker,
                    struct uuid incarnation);
void leases_paused(struct process *controller, int64_t us);
void leases_woken(struct process *controller, int64_t early_us);

/* Around the step that takes a heartbeat. */
int64_t leases_before(struct process *controller, const struct process *broker, struct bytes body);
void leases_after(struct process *controller, const struct process *broker, int64_t lease_ms);

/* After an event of the controller. */
void leases_check(struct process *controller);

#endif
