#include "tests/sim/seeds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"

struct arguments {
    uint64_t first;
    uint64_t last;
    int64_t seconds;
    bool trace;
    bool announce;
};

static bool
parse_range(const char *text, struct arguments *a)
{
    char *end;
    a->first = strtoull(text, &end, 10);
    a->last = strncmp(end, "..", 2) == 0 ? strtoull(end + 2, NULL, 10) : a->first;
    return a->first <= a->last;
}

static bool
parse(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--first") == 0) {
            a->announce = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            a->trace = true;
        } else if (value != NULL && strcmp(argv[i], "--seed") == 0) {
            a->first = a->last = strtoull(argv[++i], NULL, 10);
        } else if (value != NULL && strcmp(argv[i], "--seconds") == 0) {
            a->seconds = strtoll(argv[++i], NULL, 10);
        } else if (value != NULL && strcmp(argv[i], "--seeds") == 0 && parse_range(value, a)) {
            i++;
        } else {
            return false;
        }
    }
    return true;
}

/* Returns how many of what is meant to happen never did. */
static int
print_counts(const struct seeds_sim *sim, const uint64_t *sums)
{
    int zeros = 0;
    for (size_t i = 0; i < sim->count_count; i++) {
        printf("%-26s %" PRIu64 "\n", sim->counts[i], sums[i]);
        zeros += sums[i] == 0;
    }
    return zeros;
}

int
seeds_main(int argc, char **argv, const struct seeds_sim *sim)
{
    struct arguments a = {.first = 1, .last = 100, .seconds = 10};
    uint64_t sums[SEEDS_MAX_COUNTS] = {0}, again[SEEDS_MAX_COUNTS] = {0}, hash = 0;
    DMQ_ASSERT(sim->count_count <= SEEDS_MAX_COUNTS);
    if (!parse(argc, argv, &a)) {
        fprintf(stderr, "usage: %s [--seed N | --seeds A..B] [--seconds S] [--trace] [--first]\n",
                sim->name);
        return 2;
    }
    for (uint64_t seed = a.first; seed <= a.last; seed++) {
        if (a.announce) {
            fprintf(stderr, "seed %" PRIu64 "\n", seed);
        }
        hash = sim->run(seed, a.seconds, a.trace, sums);
    }
    if (a.first == a.last) {
        printf("seed %" PRIu64 " hash %016" PRIx64 "\n", a.first, hash);
        return 0;
    }
    if (sim->run(a.last, a.seconds, false, again) != hash) {
        printf("seed %" PRIu64 ": at the end: another story the second time\n", a.last);
        return 1;
    }
    int zeros = print_counts(sim, sums);
    printf("%" PRIu64 " seeds, %d counts are zero\n", a.last - a.first + 1, zeros);
    return zeros > 0 ? 1 : 0;
}
