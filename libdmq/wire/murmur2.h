/* murmur2 as in Kafka's default partitioner, so that both put a key into the same partition. */
#ifndef DMQ_WIRE_MURMUR2_H
#define DMQ_WIRE_MURMUR2_H

#include <stdint.h>

#include "libdmq/base/bytes.h"

int32_t murmur2(struct bytes data);

/* The partition of a key, in [0, partitions); partitions > 0. */
int32_t partition_for_key(struct bytes key, int32_t partitions);

#endif
