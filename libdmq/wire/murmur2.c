#include "libdmq/wire/murmur2.h"

#include "libdmq/base/assert.h"

#define SEED 0x9747b28cu
#define MULTIPLIER 0x5bd1e995u

static uint32_t
get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Austin Appleby's MurmurHash2 with Kafka's seed (org.apache.kafka.common.utils.Utils.murmur2). */
int32_t
murmur2(struct bytes data)
{
    uint32_t h = SEED ^ (uint32_t)data.size;
    size_t whole = data.size & ~(size_t)3;
    for (size_t i = 0; i < whole; i += 4) {
        uint32_t k = get_le32(data.data + i) * MULTIPLIER;
        k ^= k >> 24;
        h = (h * MULTIPLIER) ^ (k * MULTIPLIER);
    }
    if (whole < data.size) {
        for (size_t i = data.size; i > whole; i--) {
            h ^= (uint32_t)data.data[i - 1] << (8 * (i - 1 - whole));
        }
        h *= MULTIPLIER;
    }
    h ^= h >> 13;
    h *= MULTIPLIER;
    h ^= h >> 15;
    return (int32_t)h;
}

int32_t
partition_for_key(struct bytes key, int32_t partitions)
{
    DMQ_ASSERT(partitions > 0);
    return (murmur2(key) & INT32_MAX) % partitions;
}
