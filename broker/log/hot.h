/* The hot tail of a log: its newest batches, in memory. A batch that the worker has not written yet
 * is nowhere else, so such a batch is never dropped; older ones stay within a budget. */
#ifndef BROKER_LOG_HOT_H
#define BROKER_LOG_HOT_H

#include "libdmq/base/buf.h"

struct hot_batch {
    struct buf *buf; /* a reference */
    size_t from;
    size_t size;
    int64_t base; /* offset of its first record */
    int64_t end;  /* offset after its last record */
    uint64_t at;  /* bytes of all batches ever pushed before it */
};

/* A ring. Zero is an empty one. */
struct hot {
    struct hot_batch *ring;
    size_t capacity; /* a power of two, or 0 */
    size_t first;    /* index of the oldest */
    size_t count;
    uint64_t at;          /* of the next batch */
    size_t unwritten;     /* how many of the newest are not written */
    size_t written_bytes; /* what those cost that are written */
};

void hot_deinit(struct hot *hot);

/* Takes the reference to buf. The new batch is not written. */
void hot_push(struct hot *hot, struct buf *buf, size_t from, size_t size, int64_t base,
              int64_t end);

/* The oldest batch that was not written is now; returned, valid until the next call. There is
 * one. */
const struct hot_batch *hot_written(struct hot *hot);

/* Drops the oldest written batches until the written ones pin at most budget bytes. */
void hot_trim(struct hot *hot, size_t budget);

/* i counts from the oldest. */
static inline const struct hot_batch *
hot_at(const struct hot *hot, size_t i)
{
    return &hot->ring[(hot->first + i) & (hot->capacity - 1)];
}

/* Number of the batch that holds offset; hot->count if it is not in the tail. */
size_t hot_find(const struct hot *hot, int64_t offset);

/* How many of the oldest batches end at or below limit. */
size_t hot_below(const struct hot *hot, int64_t limit);

#endif
