/* Which partition a record without an explicit one goes to: by its key as Kafka's clients choose
 * it, else to the sticky one, which changes with every batch so that batches are large (KIP-480).
 */
#ifndef LIBDMQ_CLIENT_PARTITIONER_H
#define LIBDMQ_CLIENT_PARTITIONER_H

#include <stdint.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/rng.h"

/* Of one topic. sticky is -1 when the next record is to choose. */
struct partitioner {
    int32_t sticky;
};

/* In [0, partitions); partitions > 0. A key whose data is NULL is none. */
int32_t partitioner_choose(struct partitioner *partitioner, struct rng *rng, struct bytes key,
                           int32_t partitions);

/* A batch of `partition` is complete: records without a key go elsewhere from now on. */
void partitioner_batch_left(struct partitioner *partitioner, int32_t partition);

#endif
