#include "libdmq/cli/histogram.h"

#include <stddef.h>

/* Bucket 0 holds 2^SUB_BITS values, each in a slot of its own; every further bucket b holds the
 * values of one more bit in half as many slots of 2^b values: the lower half is bucket b-1. */
enum { HALF = 1 << (HISTOGRAM_SUB_BITS - 1) };

static int
bucket_of(uint64_t value)
{
    int bits = 64 - __builtin_clzll(value | ((UINT64_C(1) << HISTOGRAM_SUB_BITS) - 1));
    return bits - HISTOGRAM_SUB_BITS;
}

static size_t
slot_of(uint64_t value)
{
    int bucket = bucket_of(value);
    return (size_t)bucket * HALF + (size_t)(value >> bucket);
}

/* The largest value that falls into a slot. */
static int64_t
highest_of(size_t slot)
{
    size_t bucket = slot < 2 * HALF ? 0 : slot / HALF - 1;
    uint64_t sub = slot - bucket * HALF;
    return (int64_t)(((sub + 1) << bucket) - 1);
}

void
histogram_record(struct histogram *h, int64_t value)
{
    const int64_t LARGEST = (INT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;
    value = value < 0 ? 0 : value > LARGEST ? LARGEST : value;
    h->counts[slot_of((uint64_t)value)]++;
    h->count++;
    h->max = value > h->max ? value : h->max;
}

int64_t
histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)(percent * (double)h->count / 100.0 + 0.5);
    wanted = wanted > 0 ? wanted : 1;
    uint64_t seen = 0;
    for (size_t slot = 0; slot < HISTOGRAM_SIZE; slot++) {
        seen += h->counts[slot];
        if (seen >= wanted) {
            return highest_of(slot);
        }
    }
    return 0;
}
