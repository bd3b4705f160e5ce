/* The simulator of one partition's replicas: see tests/sim/replica_cluster.h, and for how it is run
 * tests/sim/seeds.h.
 *
 * A story has two parts: faults, for S virtual seconds; then all is healed, and within 30 s there
 * must be a leader, every replica in its ISR, and every record that it has committed everywhere. */
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/replica_cluster.h"
#include "tests/sim/seeds.h"

static int64_t goal;

static bool
recovered(struct rsim *sim)
{
    const struct rsim_image *image = &sim->images[sim->version];
    if (sim->high_watermark < goal || image->leader < 0 || image->recorded_async != image->async) {
        return false;
    }
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        const struct rsim_node *node = &sim->nodes[i];
        if (!node->up || (image->isr >> i & 1) == 0 || node->replica.synced_end < goal) {
            return false;
        }
    }
    return true;
}

static bool
goes_on(struct rsim *sim)
{
    return sim->high_watermark >= goal;
}

/* One whose disk hangs, although it fetches, leaves the ISR and does not stop the others. */
static void
require_no_hostage(struct rsim *sim)
{
    struct rsim_node *node = &sim->nodes[sim->options.nodes];
    rsim_run(sim, sim->now_us + 6000000, recovered);
    int32_t others = sim->options.nodes - 1;
    if (others < sim->options.min_isr || node->replica.role == REPLICA_LEADER ||
        sim->high_watermark + 400 > RSIM_MAX_END) {
        return;
    }
    node->stuck = true;
    goal = sim->high_watermark + 50;
    sim->doing = "with a disk that hangs";
    if (!rsim_run(sim, sim->now_us + 10000000, goes_on)) {
        rsim_wrong(sim, node->id, "all wait for its disk");
    }
    node->stuck = false;
}

static void
require_progress(struct rsim *sim)
{
    sim->faults_on = false;
    rsim_heal(sim);
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        struct rsim_node *node = &sim->nodes[i];
        node->paused_until_us =
            node->paused_until_us > sim->now_us ? sim->now_us : node->paused_until_us;
    }
    goal = 0;
    require_no_hostage(sim);
    goal = sim->high_watermark + 20 < RSIM_MAX_END - 200 ? sim->high_watermark + 20 : 0;
    sim->doing = "after healing";
    if (!rsim_run(sim, sim->now_us + 30000000, recovered)) {
        rsim_wrong(sim, 0, "30 s after healing not everybody is in sync again");
    }
}

static uint64_t
run_seed(uint64_t seed, int64_t seconds, bool trace, uint64_t *sums)
{
    struct rsim *sim = calloc(1, sizeof(*sim));
    DMQ_ASSERT(sim != NULL);
    rsim_init(sim, seed, trace);
    rsim_run(sim, seconds * 1000000, NULL);
    require_progress(sim);
    uint64_t hash = sim->hash;
#define X(name) *sums++ += sim->counts.name;
    RSIM_COUNTS(X)
#undef X
    rsim_deinit(sim);
    free(sim);
    return hash;
}

int
main(int argc, char **argv)
{
    static const char *const counts[] = {
#define X(name) #name,
        RSIM_COUNTS(X)
#undef X
    };
    const struct seeds_sim simulator = {.name = "replica_sim",
                                        .counts = counts,
                                        .count_count = sizeof(counts) / sizeof(counts[0]),
                                        .run = run_seed};
    return seeds_main(argc, argv, &simulator);
}
