/* The replicas of one partition in one thread: the real machine over a model of a log, of a
 * controller and of a network that delays, loses, doubles and reorders; processes that crash and
 * lose what they had not synced, pause, start again as a new incarnation, sometimes with an empty
 * disk. All chance comes from one generator: the same seed is the same story.
 *
 * After every event the invariants of a partition are looked at (partition_watch.h); the first that
 * does not hold ends the process with the seed. */
#ifndef TESTS_SIM_REPLICA_CLUSTER_H
#define TESTS_SIM_REPLICA_CLUSTER_H

#include "broker/replica/replica.h"
#include "libdmq/base/heap.h"
#include "libdmq/base/rng.h"
#include "tests/sim/partition_watch.h"

#define RSIM_NODES 5
#define RSIM_MAX_END 6000
#define RSIM_MAX_VERSIONS 20000
#define RSIM_MAX_BATCH 8

/* What is meant to happen, counted: a run over many seeds fails if one of them stays zero. */
#define RSIM_COUNTS(X)                                                                             \
    X(appends)                                                                                     \
    X(refused_below_min_isr)                                                                       \
    X(committed)                                                                                   \
    X(elections)                                                                                   \
    X(elected_from_elr)                                                                            \
    X(isr_asked)                                                                                   \
    X(isr_accepted)                                                                                \
    X(isr_overtaken)                                                                               \
    X(isr_refused)                                                                                 \
    X(isr_lost)                                                                                    \
    X(isr_late)                                                                                    \
    X(isr_grown)                                                                                   \
    X(isr_shrunk)                                                                                  \
    X(elr_filled)                                                                                  \
    X(diverged)                                                                                    \
    X(truncations)                                                                                 \
    X(truncated_records)                                                                           \
    X(stale_answers)                                                                               \
    X(fetches_fenced)                                                                              \
    X(fetches_too_new)                                                                             \
    X(fetches_of_former_process)                                                                   \
    X(progress_counted)                                                                            \
    X(progress_refused)                                                                            \
    X(crashes)                                                                                     \
    X(records_lost)                                                                                \
    X(crashes_while_truncating)                                                                    \
    X(wipes)                                                                                       \
    X(pauses)                                                                                      \
    X(fenced)                                                                                      \
    X(lost)                                                                                        \
    X(doubled)                                                                                     \
    X(cut)                                                                                         \
    X(became_sync)                                                                                 \
    X(async_worlds)

struct rsim_counts {
#define X(name) uint64_t name;
    RSIM_COUNTS(X)
#undef X
};

struct rsim_record {
    int32_t epoch;
    uint64_t value;
};

/* records[0..end); a crash keeps at least [0..synced). */
struct rsim_log {
    struct rsim_record records[RSIM_MAX_END];
    int64_t end;
    int64_t synced;
};

/* What the controller's records add up to at one version. */
struct rsim_broker {
    int64_t epoch; /* 0: never registered */
    uint64_t incarnation;
    bool fenced;
};
struct rsim_image {
    struct rsim_broker brokers[RSIM_NODES + 1];
    int32_t leader;
    int32_t leader_epoch;
    int32_t partition_epoch;
    unsigned isr; /* bits by node */
    unsigned elr;
    bool async; /* of the topic */
    bool recorded_async;
};

struct rsim_node {
    int32_t id;
    bool up;
    uint64_t life; /* its number is the incarnation */
    uint64_t cuts; /* of its log */
    struct replica replica;
    struct rsim_log log;
    struct rsim_log ghost; /* what a disk that was wiped since had held */
    int64_t checkpoint;    /* of the high watermark */
    int64_t applied;       /* version of its image; survives a restart */
    int64_t syncing_end;   /* of the SYNC under way; -1: none */
    int64_t sync_done_us;
    bool truncating;
    bool stuck;            /* its disk syncs nothing any more */
    int64_t fetch_sent_us; /* of the fetch without answer; -1: none */
    int64_t paused_until_us;
    int64_t tick_us;
};

struct rsim_options {
    int32_t nodes;
    int32_t min_isr;
    bool async;
    int64_t delay_us;
    int64_t push_us;
    int64_t sync_us;
    unsigned loss;    /* per mille */
    unsigned doubled; /* per mille */
    int64_t fault_every_us;
    int64_t append_every_us;
    int64_t lag_ms;
    unsigned faults[6]; /* weights */
};

struct rsim {
    uint64_t seed;
    struct rng rng;
    struct rsim_options options;
    struct heap events;
    int64_t now_us;
    bool faults_on;
    bool trace;
    uint64_t hash;
    uint64_t steps;
    struct rsim_counts counts;
    struct rsim_node nodes[RSIM_NODES + 1];   /* by id; 0 is not used */
    bool cut[RSIM_NODES + 1][RSIM_NODES + 1]; /* 0: the controller */

    struct rsim_image images[RSIM_MAX_VERSIONS]; /* by version */
    int64_t version;

    /* what the checker knows */
    struct partition_watch *watch;
    int64_t watched_version;
    int64_t high_watermark; /* the highest that ever was */
    uint64_t next_value;
    const char *doing; /* for who reads a failure */
};

/* replica_cluster.c: zeroed memory of the caller. */
void rsim_init(struct rsim *sim, uint64_t seed, bool trace);
void rsim_deinit(struct rsim *sim);
bool rsim_run(struct rsim *sim, int64_t until_us, bool (*done)(struct rsim *sim));
void rsim_start(struct rsim *sim, struct rsim_node *node);
void rsim_crash(struct rsim *sim, struct rsim_node *node);
void rsim_start_later(struct rsim *sim, const struct rsim_node *node, int64_t after_us);
__attribute__((format(printf, 3, 4))) void rsim_tell(struct rsim *sim, int32_t node,
                                                     const char *format, ...);

/* replica_faults.c */
void rsim_draw(struct rsim *sim);
void rsim_fault(struct rsim *sim);
void rsim_heal(struct rsim *sim);

/* replica_controller.c: the model; each call that changes something makes one version. */
void rsim_controller_init(struct rsim *sim);
void rsim_register(struct rsim *sim, struct rsim_node *node, bool empty);
void rsim_fence(struct rsim *sim, int32_t node);
void rsim_unfence(struct rsim *sim, int32_t node);
enum replica_isr_outcome rsim_alter(struct rsim *sim, int32_t from,
                                    const struct replica_isr_change *change);
void rsim_topic_becomes_sync(struct rsim *sim);
bool rsim_may_wipe(const struct rsim *sim, int32_t node);

/* replica_checker.c */
struct partition_watch *rsim_watch_new(struct rsim *sim);
void rsim_check_images(struct rsim *sim);
void rsim_check_node(struct rsim *sim, const struct rsim_node *node);
void rsim_check(struct rsim *sim);
__attribute__((format(printf, 3, 4))) _Noreturn void
rsim_wrong(const struct rsim *sim, int32_t node, const char *format, ...);

#endif
