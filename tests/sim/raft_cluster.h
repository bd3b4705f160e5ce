/* A whole Raft cluster in one thread: the real machine on a network that delays, loses, doubles and
 * reorders, on disks that lose what was not persisted, with processes that crash, pause and come
 * back, sometimes with an empty disk. All chance comes from one generator: the same seed is the
 * same story.
 *
 * After every event the invariants are looked at (raft_watch.h); the first that does not hold ends
 * the process with the seed. */
#ifndef TESTS_SIM_RAFT_CLUSTER_H
#define TESTS_SIM_RAFT_CLUSTER_H

#include "libdmq/base/heap.h"
#include "tests/sim/raft_watch.h"

#define CLUSTER_NODES RAFT_WATCH_NODES

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
    struct raft_watched w; /* who it is, its disk, and what the checker knows */
    bool up;
    uint64_t life; /* events of an earlier life are dropped */
    struct raft raft;
    struct raft_persist *writing;
    int64_t paused_until_us;
    int64_t clock_ms; /* added to the time of the world */
    int64_t tick_us;  /* next tick that is on its way */
};

struct cluster_read {
    bool waits;
    int64_t floor; /* committed anywhere when it was asked */
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

    struct raft_watch watch;
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

__attribute__((format(printf, 3, 4))) _Noreturn void cluster_wrong(const struct cluster *cluster,
                                                                   const struct cluster_node *node,
                                                                   const char *format, ...);

#endif
