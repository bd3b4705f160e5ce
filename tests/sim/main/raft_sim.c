/* The simulator of Raft: see tests/sim/raft_cluster.h.
 *
 *   raft_sim --seed N [--seconds S] [--trace]      one story; prints its hash
 *   raft_sim --seeds A..B [--seconds S] [--first]  many; the counts of what happened, zeros fail.
 *                                                  --first says each seed to stderr before it runs
 *
 * A story has three parts: faults, for S virtual seconds; then a quorum that is drawn is healed for
 * good and must commit and read within 15 s; then all is healed, and a node that is cut off for a
 * while and comes back must not disturb the leader. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "tests/sim/raft_cluster.h"

static int64_t goal;

static bool
reached(struct cluster *cluster)
{
    return cluster->watch.committed >= goal;
}

/* A proposal that is made now must be committed; the workload goes on by itself. */
static void
require_progress(struct cluster *cluster)
{
    cluster_heal_quorum(cluster);
    for (size_t i = 3; i < 8; i++) { /* nobody removes a member that works for one that does not */
        cluster->options.work[i] = 0;
    }
    goal = cluster->watch.committed + 5;
    if (!cluster_run(cluster, cluster->now_us + 15000000, reached)) {
        cluster_wrong(cluster, NULL, "a healed quorum commits nothing for 15 s");
    }
}

static bool
is_follower(struct cluster *cluster, const struct cluster_node *leader, int32_t number)
{
    const struct cluster_node *node = &cluster->nodes[number];
    for (uint32_t i = 0; i < leader->raft.members.count; i++) {
        if (leader->raft.members.at[i].voter && node != leader &&
            raft_id_equal(leader->raft.members.at[i].id, node->w.id)) {
            return true;
        }
    }
    return false;
}

/* Pre-vote (thesis §9.6): who was cut off comes back without an election. */
static void
require_calm(struct cluster *cluster)
{
    cluster_heal(cluster);
    memset(cluster->options.work, 0, sizeof(cluster->options.work));
    cluster->options.work[0] = 1;
    cluster_run(cluster, cluster->now_us + 5000000, NULL);
    struct cluster_node *leader = cluster_leader(cluster);
    if (leader == NULL) {
        cluster_wrong(cluster, NULL, "no leader in a healthy cluster");
    }
    int32_t other = 0;
    uint32_t alive = 0, voters = 0;
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        bool follows = is_follower(cluster, leader, i);
        other = follows ? i : other;
        alive += follows;
    }
    for (uint32_t i = 0; i < leader->raft.members.count; i++) {
        voters += leader->raft.members.at[i].voter;
    }
    if (other == 0 || alive <= voters / 2) { /* the leader and all but one of these */
        return;
    }
    int64_t term = leader->raft.term;
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        cluster->cut[i][other] = cluster->cut[other][i] = i != other;
    }
    cluster_tell(cluster, &cluster->nodes[other], "is cut off for a while");
    cluster_run(cluster, cluster->now_us + 4000000, NULL);
    cluster_heal(cluster);
    cluster_run(cluster, cluster->now_us + 3000000, NULL);
    cluster->counts.disturbed++;
    if (cluster_leader(cluster) != leader || leader->raft.term != term) {
        cluster_wrong(cluster, leader, "a node that came back deposed the leader of term %" PRId64,
                      term);
    }
}

static void
add_counts(struct cluster_counts *sum, const struct cluster_counts *counts)
{
#define X(name) sum->name += counts->name;
    CLUSTER_COUNTS(X)
#undef X
}

/* Returns how many of what is meant to happen never did. */
static int
print_counts(const struct cluster_counts *counts)
{
    int zeros = 0;
#define X(name)                                                                                    \
    printf("%-20s %" PRIu64 "\n", #name, counts->name);                                            \
    zeros += counts->name == 0;
    CLUSTER_COUNTS(X)
#undef X
    return zeros;
}

static uint64_t
run_seed(uint64_t seed, int64_t seconds, bool trace, struct cluster_counts *sum)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    DMQ_ASSERT(cluster != NULL);
    cluster_init(cluster, seed, trace);
    cluster_run(cluster, seconds * 1000000, NULL);
    require_progress(cluster);
    require_calm(cluster);
    uint64_t hash = cluster->hash;
    cluster->counts.leaders = cluster->watch.elected;
    add_counts(sum, &cluster->counts);
    cluster_deinit(cluster);
    free(cluster);
    return hash;
}

int
main(int argc, char **argv)
{
    struct cluster_counts sum = {0};
    uint64_t first = 1, last = 100;
    int64_t seconds = 10;
    bool trace = false, announce = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            first = last = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            char *end;
            first = strtoull(argv[++i], &end, 10);
            last = strncmp(end, "..", 2) == 0 ? strtoull(end + 2, NULL, 10) : first;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = strtoll(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--first") == 0) {
            announce = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else {
            fprintf(
                stderr,
                "usage: raft_sim [--seed N | --seeds A..B] [--seconds S] [--trace] [--first]\n");
            return 2;
        }
    }
    uint64_t hash = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        if (announce) {
            fprintf(stderr, "seed %" PRIu64 "\n", seed);
        }
        hash = run_seed(seed, seconds, trace, &sum);
    }
    if (first == last) {
        printf("seed %" PRIu64 " hash %016" PRIx64 "\n", first, hash);
        return 0;
    }
    struct cluster_counts again = {0};
    if (run_seed(last, seconds, false, &again) != hash) {
        printf("seed %" PRIu64 ": at the end: another story the second time\n", last);
        return 1;
    }
    int zeros = print_counts(&sum);
    printf("%" PRIu64 " seeds, %d counts are zero\n", last - first + 1, zeros);
    return zeros > 0 ? 1 : 0;
}
