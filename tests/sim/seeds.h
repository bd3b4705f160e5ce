/* The main program of a simulator of one machine:
 *
 *   SIM --seed N [--seconds S] [--trace]      one story; prints its hash
 *   SIM --seeds A..B [--seconds S] [--first]  many; the counts of what happened, zeros fail, and so
 *                                             does a seed whose second run is another story.
 *                                             --first says each seed to stderr before it runs
 *
 * A story that goes wrong says so and ends the process. */
#ifndef TESTS_SIM_SEEDS_H
#define TESTS_SIM_SEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEEDS_MAX_COUNTS 128

struct seeds_sim {
    const char *name;
    const char *const *counts; /* what is meant to happen */
    size_t count_count;

    /* One story with S seconds of faults; its hash. Adds what happened to sums, one for each of
     * counts. */
    uint64_t (*run)(uint64_t seed, int64_t seconds, bool trace, uint64_t *sums);
};

/* The exit code of the process. */
int seeds_main(int argc, char **argv, const struct seeds_sim *sim);

#endif
