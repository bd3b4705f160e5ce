#include "broker/log/hot.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"

/* What a batch costs: its bytes, and its slot and struct. Batches that came in one frame share a
 * buf; each is charged its own part, for they are dropped one after another. */
static size_t
cost(const struct hot_batch *batch)
{
    return batch->size + sizeof(struct hot_batch) + sizeof(struct buf);
}

static struct hot_batch *
slot(struct hot *hot, size_t i)
{
    return &hot->ring[(hot->first + i) & (hot->capacity - 1)];
}

void
hot_deinit(struct hot *hot)
{
    for (size_t i = 0; i < hot->count; i++) {
        buf_unref(slot(hot, i)->buf);
    }
    free(hot->ring);
    *hot = (struct hot){0};
}

static void
grow(struct hot *hot)
{
    size_t capacity = hot->capacity == 0 ? 16 : hot->capacity * 2;
    struct hot_batch *ring = malloc(capacity * sizeof(*ring));
    DMQ_ASSERT(ring != NULL);
    for (size_t i = 0; i < hot->count; i++) {
        ring[i] = *slot(hot, i);
    }
    free(hot->ring);
    hot->ring = ring;
    hot->capacity = capacity;
    hot->first = 0;
}

void
hot_push(struct hot *hot, struct buf *buf, size_t from, size_t size, int64_t base, int64_t end)
{
    DMQ_ASSERT(end > base);
    DMQ_ASSERT(hot->count == 0 || slot(hot, hot->count - 1)->end == base);
    if (hot->count == hot->capacity) {
        grow(hot);
    }
    struct hot_batch *batch = slot(hot, hot->count);
    *batch = (struct hot_batch){buf, from, size, base, end, hot->at};
    hot->count++;
    hot->unwritten++;
    hot->at += size;
}

const struct hot_batch *
hot_written(struct hot *hot)
{
    DMQ_ASSERT(hot->unwritten > 0 && hot->unwritten <= hot->count);
    const struct hot_batch *batch = slot(hot, hot->count - hot->unwritten);
    hot->unwritten--;
    hot->written_bytes += cost(batch);
    return batch;
}

void
hot_trim(struct hot *hot, size_t budget)
{
    while (hot->written_bytes > budget) {
        DMQ_ASSERT(hot->count > hot->unwritten);
        struct hot_batch *oldest = slot(hot, 0);
        hot->written_bytes -= cost(oldest);
        buf_unref(oldest->buf);
        hot->first = (hot->first + 1) & (hot->capacity - 1);
        hot->count--;
    }
}

/* How many batches, oldest first, have key(batch) <= value, where key rises with the batch. */
static size_t
count_up_to(const struct hot *hot, int64_t value, int64_t (*key)(const struct hot_batch *batch))
{
    size_t low = 0;
    size_t high = hot->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key(hot_at(hot, middle)) <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int64_t
base_of(const struct hot_batch *batch)
{
    return batch->base;
}

static int64_t
end_of(const struct hot_batch *batch)
{
    return batch->end;
}

size_t
hot_find(const struct hot *hot, int64_t offset)
{
    size_t after = count_up_to(hot, offset, base_of);
    if (after == 0 || hot_at(hot, after - 1)->end <= offset) {
        return hot->count;
    }
    return after - 1;
}

size_t
hot_below(const struct hot *hot, int64_t limit)
{
    return count_up_to(hot, limit, end_of);
}
