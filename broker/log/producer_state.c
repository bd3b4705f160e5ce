#include "broker/log/producer_state.h"

#include <stdlib.h>

#include "libdmq/base/arena.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/list.h"
#include "libdmq/base/map.h"
#include "libdmq/wire/codec.h"

#define ROW_VERSION 0
#define ROW_MEMORY ((size_t)64 << 20) /* PRODUCERS_MAX producers, decoded */
#define NOT_USED_YET INT64_MIN

struct remembered {
    int64_t base_offset;
    int32_t base_sequence;
    int32_t last_offset_delta;
};

struct producer {
    int64_t id;
    int16_t epoch;
    uint8_t first; /* oldest of the window, a ring */
    uint8_t count; /* 0: only control batches in this epoch, or none */
    int64_t used_ms;
    struct remembered window[PRODUCER_WINDOW];
    struct list use; /* in by_use */
    UT_hash_handle hh;
};

struct producers {
    struct producer *by_id;
    struct list by_use; /* least recently used first */
    int64_t since_ms;   /* first time that was told; NOT_USED_YET: none */
    int64_t now_ms;     /* last one */
};

struct producers *
producers_new(void)
{
    struct producers *producers = calloc(1, sizeof(*producers));
    DMQ_ASSERT(producers != NULL);
    list_init(&producers->by_use);
    producers->since_ms = NOT_USED_YET;
    producers->now_ms = NOT_USED_YET;
    return producers;
}

static void
forget(struct producers *producers, struct producer *producer)
{
    HASH_DEL(producers->by_id, producer);
    list_remove(&producer->use);
    free(producer);
}

/* NULL: there is none. */
static struct producer *
least_recently_used(const struct producers *producers)
{
    if (list_empty(&producers->by_use)) {
        return NULL;
    }
    return LIST_ENTRY(producers->by_use.next, struct producer, use);
}

void
producers_free(struct producers *producers)
{
    if (producers == NULL) {
        return;
    }
    struct producer *producer;
    while ((producer = least_recently_used(producers)) != NULL) {
        forget(producers, producer);
    }
    free(producers);
}

size_t
producers_count(const struct producers *producers)
{
    return HASH_COUNT(producers->by_id);
}

static struct producer *
find(const struct producers *producers, int64_t id)
{
    struct producer *producer;
    HASH_FIND(hh, producers->by_id, &id, sizeof(id), producer);
    return producer;
}

static const struct remembered *
window_at(const struct producer *producer, unsigned i)
{
    DMQ_ASSERT(i < producer->count);
    return &producer->window[(producer->first + i) % PRODUCER_WINDOW];
}

/* The sequence that the producer's next batch begins with. */
static int32_t
next_sequence(const struct producer *producer)
{
    if (producer->count == 0) {
        return 0;
    }
    const struct remembered *last = window_at(producer, producer->count - 1u);
    return batch_sequence_add(last->base_sequence, last->last_offset_delta + 1);
}

static enum producer_verdict
check_window(const struct producer *producer, const struct batch_header *header, int64_t *ret_base,
             int64_t *ret_end)
{
    for (unsigned i = 0; i < producer->count; i++) {
        const struct remembered *batch = window_at(producer, i);
        if (batch->base_sequence == header->base_sequence &&
            batch->last_offset_delta == header->last_offset_delta) {
            *ret_base = batch->base_offset;
            *ret_end = batch->base_offset + batch->last_offset_delta + 1;
            return PRODUCER_DUPLICATE;
        }
    }
    uint32_t next = (uint32_t)next_sequence(producer);
    if ((uint32_t)header->base_sequence == next) {
        return PRODUCER_NEW;
    }
    /* Sequences go round: what lies less than half the circle behind is old, the rest is ahead. */
    uint32_t behind = (next - (uint32_t)header->base_sequence) & INT32_MAX;
    return producer->count > 0 && behind <= INT32_MAX / 2 ? PRODUCER_OLD : PRODUCER_GAP;
}

enum producer_verdict
producers_check(const struct producers *producers, const struct batch_header *header,
                int64_t *ret_base, int64_t *ret_end)
{
    if (header->producer_id < 0) {
        return PRODUCER_NEW;
    }
    const struct producer *producer = find(producers, header->producer_id);
    if (producer == NULL) {
        return header->base_sequence <= 0 ? PRODUCER_NEW : PRODUCER_UNKNOWN;
    }
    if (header->producer_epoch < producer->epoch) {
        return PRODUCER_FENCED;
    }
    if (header->base_sequence < 0) {
        return PRODUCER_NEW; /* a control batch, or a sender that wants no check */
    }
    if (header->producer_epoch > producer->epoch) {
        return header->base_sequence == 0 ? PRODUCER_NEW : PRODUCER_GAP;
    }
    return check_window(producer, header, ret_base, ret_end);
}

static struct producer *
add(struct producers *producers, int64_t id, int16_t epoch)
{
    if (producers_count(producers) == PRODUCERS_MAX) {
        forget(producers, least_recently_used(producers));
    }
    struct producer *producer = calloc(1, sizeof(*producer));
    DMQ_ASSERT(producer != NULL);
    producer->id = id;
    producer->epoch = epoch;
    HASH_ADD(hh, producers->by_id, id, sizeof(producer->id), producer);
    list_append(&producers->by_use, &producer->use);
    return producer;
}

static void
remember(struct producer *producer, struct remembered batch)
{
    if (producer->count == PRODUCER_WINDOW) {
        producer->first = (uint8_t)((producer->first + 1) % PRODUCER_WINDOW);
        producer->count--;
    }
    producer->window[(producer->first + producer->count) % PRODUCER_WINDOW] = batch;
    producer->count++;
}

void
producers_note(struct producers *producers, const struct batch_header *header)
{
    if (header->producer_id < 0) {
        return;
    }
    struct producer *producer = find(producers, header->producer_id);
    if (producer == NULL) {
        producer = add(producers, header->producer_id, header->producer_epoch);
    } else {
        list_remove(&producer->use);
        list_append(&producers->by_use, &producer->use);
    }
    if (header->producer_epoch != producer->epoch) {
        producer->epoch = header->producer_epoch;
        producer->first = 0;
        producer->count = 0;
    }
    producer->used_ms = producers->now_ms;
    if (header->base_sequence >= 0) {
        remember(producer, (struct remembered){header->base_offset, header->base_sequence,
                                               header->last_offset_delta});
    }
}

void
producers_expire(struct producers *producers, int64_t now_ms)
{
    if (producers->since_ms == NOT_USED_YET) {
        producers->since_ms = now_ms;
    }
    if (now_ms > producers->now_ms) {
        producers->now_ms = now_ms;
    }
    struct producer *oldest;
    while ((oldest = least_recently_used(producers)) != NULL) {
        int64_t used_ms =
            oldest->used_ms > producers->since_ms ? oldest->used_ms : producers->since_ms;
        if (producers->now_ms - used_ms < PRODUCER_EXPIRY_MS) {
            break;
        }
        forget(producers, oldest);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void
fill(const struct producer *producer, struct log_producer *out, struct log_producer_batch *batches)
{
    *out = (struct log_producer){.producer_id = producer->id,
                                 .producer_epoch = producer->epoch,
                                 .batches = batches,
                                 .batches_count = producer->count};
    for (unsigned i = 0; i < producer->count; i++) {
        const struct remembered *batch = window_at(producer, i);
        batches[i] = (struct log_producer_batch){batch->base_offset, batch->base_sequence,
                                                 batch->last_offset_delta};
    }
}

struct buf *
producers_row(const struct producers *producers, int64_t offset)
{
    size_t count = producers_count(producers);
    struct log_producers_row row = {.version = ROW_VERSION, .offset = offset};
    struct log_producer_batch *batches = calloc(count + 1, PRODUCER_WINDOW * sizeof(*batches));
    row.producers = calloc(count + 1, sizeof(*row.producers));
    DMQ_ASSERT(batches != NULL && row.producers != NULL);
    LIST_FOREACH (link, &producers->by_use) {
        const struct producer *producer = LIST_ENTRY(link, struct producer, use);
        uint32_t i = row.producers_count++;
        fill(producer, &row.producers[i], &batches[(size_t)i * PRODUCER_WINDOW]);
    }
    struct buf *buf = msg_encode_buf(desc_log_producers_row(), ROW_VERSION, &row);
    DMQ_ASSERT(buf != NULL);
    free(row.producers);
    free(batches);
    return buf;
}

static dmq_err
take_producer(struct producers *producers, const struct log_producer *from, int64_t offset)
{
    if (from->producer_id < 0 || find(producers, from->producer_id) != NULL) {
        return DMQ_ERR_DAMAGED;
    }
    struct producer *producer = add(producers, from->producer_id, from->producer_epoch);
    producer->used_ms = NOT_USED_YET;
    for (uint32_t i = 0; i < from->batches_count; i++) {
        const struct log_producer_batch *batch = &from->batches[i];
        if (batch->base_sequence < 0 || batch->last_offset_delta < 0 || batch->base_offset < 0 ||
            batch->base_offset >= offset - batch->last_offset_delta) {
            return DMQ_ERR_DAMAGED;
        }
        remember(producer, (struct remembered){batch->base_offset, batch->base_sequence,
                                               batch->last_offset_delta});
    }
    return DMQ_OK;
}

static dmq_err
take_row(struct producers *producers, const struct log_producers_row *row)
{
    if (row->version != ROW_VERSION || row->offset < 0) {
        return DMQ_ERR_DAMAGED;
    }
    for (uint32_t i = 0; i < row->producers_count; i++) {
        dmq_err err = take_producer(producers, &row->producers[i], row->offset);
        if (err != DMQ_OK) {
            return err;
        }
    }
    return DMQ_OK;
}

dmq_err
producers_from_row(struct bytes bytes, struct producers **ret_producers, int64_t *ret_offset)
{
    struct log_producers_row row;
    struct arena arena;
    struct err_msg msg;
    struct producers *producers = producers_new();
    arena_init(&arena, ROW_MEMORY);
    dmq_err err = DMQ_ERR_DAMAGED;
    if (msg_decode(desc_log_producers_row(), ROW_VERSION, bytes, &arena, &row, &msg) == DMQ_OK) {
        err = take_row(producers, &row);
    }
    if (err == DMQ_OK) {
        *ret_producers = producers;
        *ret_offset = row.offset;
    } else {
        producers_free(producers);
    }
    arena_deinit(&arena);
    return err;
}
