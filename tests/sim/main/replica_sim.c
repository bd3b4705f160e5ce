/* The simulator of one partition's replicas: see tests/sim/replica_cluster.h.
 *
 *   replica_sim --seed N [--seconds S] [--trace]      one story; prints its hash
 *   replica_sim --seeds A..B [--seconds S] [--first]  many; the counts of what happened, zeros
 * fail.
 *                                                     --first says each seed to stderr before it
 * runs
 *
 * A story has two parts: faults, for S virtual seconds; then all is healed, and within 30 s there
 * must be a leader, every replica in its ISR, and every record that it has committed everywhere. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "tests/sim/replica_cluster.h"

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

static void
add_counts(struct rsim_counts *sum, const struct rsim_counts *counts)
{
#define X(name) sum->name += counts->name;
    RSIM_COUNTS(X)
#undef X
}

/* Returns how many of what is meant to happen never did. */
static int
print_counts(const struct rsim_counts *counts)
{
    int zeros = 0;
#define X(name)                                                                                    \
    printf("%-26s %" PRIu64 "\n", #name, counts->name);                                            \
    zeros += counts->name == 0;
    RSIM_COUNTS(X)
#undef X
    return zeros;
}

static uint64_t
run_seed(uint64_t seed, int64_t seconds, bool trace, struct rsim_counts *sum)
{
    struct rsim *sim = calloc(1, sizeof(*sim));
    DMQ_ASSERT(sim != NULL);
    rsim_init(sim, seed, trace);
    rsim_run(sim, seconds * 1000000, NULL);
    require_progress(sim);
    uint64_t hash = sim->hash;
    add_counts(sum, &sim->counts);
    rsim_deinit(sim);
    free(sim);
    return hash;
}

int
main(int argc, char **argv)
{
    struct rsim_counts sum = {0};
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
            fprintf(stderr, "usage: replica_sim [--seed N | --seeds A..B] [--seconds S] [--trace] "
                            "[--first]\n");
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
    struct rsim_counts again = {0};
    if (run_seed(last, seconds, false, &again) != hash) {
        printf("seed %" PRIu64 ": at the end: another story the second time\n", last);
        return 1;
    }
    int zeros = print_counts(&sum);
    printf("%" PRIu64 " seeds, %d counts are zero\n", last - first + 1, zeros);
    return zeros > 0 ? 1 : 0;
}
