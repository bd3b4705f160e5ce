/* The simulator of Raft: see tests/sim/raft_cluster.h, and for how it is run tests/sim/seeds.h.
 *
 * A story has three parts: faults, for S virtual seconds; then a quorum that is drawn is healed for
 * good and must commit and read within 15 s; then all is healed, and a node that is cut off for a
 * while and comes back must not disturb the leader. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "tests/sim/raft_cluster.h"
#include "tests/sim/seeds.h"

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

static uint64_t
run_seed(uint64_t seed, int64_t seconds, bool trace, uint64_t *sums)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    DMQ_ASSERT(cluster != NULL);
    cluster_init(cluster, seed, trace);
    cluster_run(cluster, seconds * 1000000, NULL);
    require_progress(cluster);
    require_calm(cluster);
    uint64_t hash = cluster->hash;
    cluster->counts.leaders = cluster->watch.elected;
#define X(name) *sums++ += cluster->counts.name;
    CLUSTER_COUNTS(X)
#undef X
    cluster_deinit(cluster);
    free(cluster);
    return hash;
}

int
main(int argc, char **argv)
{
    static const char *const counts[] = {
#define X(name) #name,
        CLUSTER_COUNTS(X)
#undef X
    };
    const struct seeds_sim simulator = {.name = "raft_sim",
                                        .counts = counts,
                                        .count_count = sizeof(counts) / sizeof(counts[0]),
                                        .run = run_seed};
    return seeds_main(argc, argv, &simulator);
}
