#include "libdmq/client/partitioner.h"

#include "libdmq/base/assert.h"
#include "libdmq/wire/murmur2.h"

int32_t
partitioner_choose(struct partitioner *partitioner, struct rng *rng, struct bytes key,
                   int32_t partitions)
{
    DMQ_ASSERT(partitions > 0);
    if (key.data != NULL) {
        return partition_for_key(key, partitions);
    }
    if (partitioner->sticky < 0 || partitioner->sticky >= partitions) {
        partitioner->sticky = (int32_t)rng_below(rng, (uint64_t)partitions);
    }
    return partitioner->sticky;
}

void
partitioner_batch_left(struct partitioner *partitioner, int32_t partition)
{
    if (partitioner->sticky == partition) {
        partitioner->sticky = -1;
    }
}
