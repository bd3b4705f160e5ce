/* xoshiro256** 1.0 (Blackman and Vigna), seeded by splitmix64. Not for secrets. */
#ifndef DMQ_BASE_RNG_H
#define DMQ_BASE_RNG_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

/* Evenly from [0, bound); bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Evenly from [low, high]. */
int64_t rng_range(struct rng *rng, int64_t low, int64_t high);

/* True in per_mille of 1000 cases. */
bool rng_chance(struct rng *rng, unsigned per_mille);

/* A version 4 UUID. */
struct uuid rng_uuid(struct rng *rng);

#endif
