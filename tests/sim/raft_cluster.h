/* A whole Raft cluster in one thread: the real machine on a network that delays, loses, doubles and
 * reorders, on disks that lose what was not persisted, with processes that crash, pause and come
 * back, sometimes with an empty disk. All chance comes from one generator: the same seed is the
 * same story.
 *
 * After every event the invariants of TESTING.md are looked at (raft_checker.c); the first that
 * does not hold ends the process with the seed. */
#ifndef TESTS_SIM_RAFT_CLUSTER_H
#define TESTS_SIM_RAFT_CLUSTER_H

#include "controller/raft/raft.h"
#include "libdmq/base/heap.h"
#include "tests/support/raft_disk.h"

#define CLUSTER_NODES 7
#define CLUSTER_MAX_INDEX 20000
#define CLUSTER_MAX_TERM 4000

/* What is meant to happen, counted: a run over many seeds fails if one of them stays zero. */
#define CLUSTER_COUNTS(X)                                                                          \
    X(elections)                                                                                   \
    X(leaders)                                                                                     \
    X(stepped_down)                                                                                \
    X(truncations)                                                                                 \
    X(proposals)                                                                                   \
    X(commits)                                                                                     \
    X(reads)                                                                                       \
    X(reads_failed)                                                                                \
    X(crashes)                                                                                     \
    X(crashes_mid_step)                                                                            \
    X(writes_lost)                                                                                 \
    X(writes_kept)                                                                                 \
    X(wipes)                                                                                       \
    X(disk_failures)                                                                               \
    X(stalls)                                                                                      \
    X(pauses)                                                                                      \
    X(jumps)                                                                                       \
    X(lost)                                                                                        \
    X(doubled)                                                                                     \
    X(cut)                                                                                         \
    X(partitions)                                                                                  \
    X(one_way)                                                                                     \
    X(heals)                                                                                       \
    X(compactions)                                                                                 \
    X(installs)                                                                                    \
    X(chunks)                                                                                      \
    X(learners)                                                                                    \
    X(promotions)                                                                                  \
    X(removals)                                                                                    \
    X(leaders_removed)                                                                             \
    X(repaired)                                                                                    \
    X(transfers)                                                                                   \
    X(refused_proposals)                                                                           \
    X(gone)                                                                                        \
    X(restarts)                                                                                    \
    X(lone_clusters)                                                                               \
    X(disturbed)

struct cluster_counts {
#define X(name) uint64_t name;
    CLUSTER_COUNTS(X)
#undef X
};

struct cluster_options {
    int32_t voters; /* at the beginning: 1, 3 or 5 */
    int64_t delay_us;
    unsigned loss;    /* per mille */
    unsigned doubled; /* per mille */
    int64_t write_us;
    unsigned stalls; /* of writes, per mille */
    int64_t fault_every_us;
    int64_t work_every_us;
    unsigned faults[10]; /* weights */
    unsigned work[8];    /* weights */
    struct raft_config config;
};

struct cluster_node {
    struct raft_id id;
    bool up;
    uint64_t life; /* events of an earlier life are dropped */
    struct raft raft;
    struct raft_disk disk;
    struct raft_persist *writing;
    int64_t paused_until_us;
    int64_t clock_ms; /* added to the time of the world */
    int64_t tick_us;  /* next tick that is on its way */

    /* the state machine */
    int64_t applied;
    uint64_t digest;

    /* what it has told the world */
    int64_t voted_term;
    struct raft_id voted_for;
    int64_t disk_commit; /* largest ever synced on this disk */
    int64_t disk_term;
};

struct cluster_read {
    bool waits;
    int64_t floor; /* committed anywhere when it was asked */
};

struct cluster_entry {
    int64_t term;
    uint64_t hash;
    uint64_t digest;     /* of the state machine after it */
    int64_t commit_term; /* of who committed it first */
};

struct cluster {
    uint64_t seed;
    struct rng rng;
    struct cluster_options options;
    struct heap events;
    int64_t now_us;
    bool faults_on;
    bool trace;
    uint64_t hash;
    uint64_t steps;
    struct cluster_node nodes[CLUSTER_NODES + 1]; /* by node id */
    bool cut[CLUSTER_NODES + 1][CLUSTER_NODES + 1];
    struct raft_effects effects;
    struct cluster_counts counts;

    /* what the checker knows */
    int64_t committed; /* anywhere */
    struct cluster_entry log[CLUSTER_MAX_INDEX];
    struct raft_id leaders[CLUSTER_MAX_TERM];
    struct raft_id votes[CLUSTER_MAX_TERM][CLUSTER_NODES + 1]; /* who voted for the term's winner */
    struct raft_id voted[CLUSTER_MAX_TERM][CLUSTER_NODES + 1]; /* whom they voted for */
    struct cluster_read reads[1 << 16];
    uint64_t next_read;
    uint64_t next_payload;
};

/* cluster.c: zeroed memory of the caller. */
void cluster_init(struct cluster *cluster, uint64_t seed, bool trace);
void cluster_deinit(struct cluster *cluster);
/* Runs until the time, or until done says so. */
bool cluster_run(struct cluster *cluster, int64_t until_us, bool (*done)(struct cluster *cluster));
void cluster_step(struct cluster *cluster, struct cluster_node *node, struct raft_event event);
void cluster_crash(struct cluster *cluster, struct cluster_node *node);
void cluster_start(struct cluster *cluster, struct cluster_node *node);
struct cluster_node *cluster_leader(struct cluster *cluster);
int64_t cluster_now_ms(const struct cluster *cluster, const struct cluster_node *node);
void cluster_later(struct cluster *cluster, struct cluster_node *node, int64_t after_us);
__attribute__((format(printf, 3, 4))) void
cluster_tell(struct cluster *cluster, const struct cluster_node *node, const char *format, ...);

/* raft_faults.c: one of the faults, one thing of the workload; healing for good. */
void cluster_draw(struct cluster *cluster);
void cluster_fault(struct cluster *cluster);
void cluster_work(struct cluster *cluster);
void cluster_heal(struct cluster *cluster);
/* Starts who is down and cuts off a minority that is drawn. */
void cluster_heal_quorum(struct cluster *cluster);

/* raft_checker.c */
void check_send(struct cluster *cluster, const struct cluster_node *node,
                const struct raft_message *message);
void check_applied(struct cluster *cluster, struct cluster_node *node,
                   const struct raft_effect *effect);
void check_installed(struct cluster *cluster, struct cluster_node *node);
void check_leader(struct cluster *cluster, const struct cluster_node *node);
void check_read(struct cluster *cluster, const struct cluster_node *node,
                const struct raft_effect *effect);
void check_written(struct cluster *cluster, struct cluster_node *node);
void check_step(struct cluster *cluster, const struct cluster_node *node);
__attribute__((format(printf, 3, 4))) _Noreturn void cluster_wrong(const struct cluster *cluster,
                                                                   const struct cluster_node *node,
                                                                   const char *format, ...);
uint64_t cluster_mix(uint64_t hash, const void *data, size_t size);

#endif
