#include "libdmq/base/rng.h"

#include "libdmq/base/assert.h"

static uint64_t
splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void
rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        rng->s[i] = splitmix64(&seed);
    }
}

static uint64_t
rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t
rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t
rng_below(struct rng *rng, uint64_t bound)
{
    DMQ_ASSERT(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t x;
    do {
        x = rng_next(rng);
    } while (x >= limit);
    return x % bound;
}

int64_t
rng_range(struct rng *rng, int64_t low, int64_t high)
{
    DMQ_ASSERT(low <= high);
    uint64_t span = (uint64_t)high - (uint64_t)low;
    if (span == UINT64_MAX) {
        return (int64_t)rng_next(rng);
    }
    return (int64_t)((uint64_t)low + rng_below(rng, span + 1));
}

bool
rng_chance(struct rng *rng, unsigned per_mille)
{
    return rng_below(rng, 1000) < per_mille;
}

struct uuid
rng_uuid(struct rng *rng)
{
    struct uuid id;
    put_be64(id.b, rng_next(rng));
    put_be64(id.b + 8, rng_next(rng));
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x40);
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
    return id;
}
