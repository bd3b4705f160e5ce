/* Encodes records into a batch, in place: the header's room is kept free at the front, so that an
 * uncompressed batch is finished by filling it in. No allocation per record. */
#ifndef DMQ_WIRE_BATCH_BUILD_H
#define DMQ_WIRE_BATCH_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/buf.h"
#include "libdmq/wire/batch.h"
#include "libdmq/wire/compress.h"

/* Not thread-safe. The fields are for reading only. */
struct batch_builder {
    struct buf *buf;        /* owned; NULL before the first record */
    size_t size;            /* bytes used of buf, header included */
    size_t capacity;        /* of buf */
    size_t max_bytes;       /* of the uncompressed batch */
    int64_t base_timestamp; /* of the first record */
    int64_t max_timestamp;  /* of all */
    int32_t count;          /* records */
};

/* What the header says beside what the records give. */
struct batch_options {
    uint16_t attributes; /* a compression, BATCH_TRANSACTIONAL, BATCH_CONTROL */
    int16_t producer_epoch;
    int32_t base_sequence;
    int64_t producer_id;
};

/* Neither compressed nor idempotent. */
#define BATCH_DEFAULT_OPTIONS                                                                      \
    (struct batch_options)                                                                         \
    {                                                                                              \
        .attributes = BATCH_NONE, .producer_epoch = BATCH_NO_PRODUCER_EPOCH,                       \
        .base_sequence = BATCH_NO_SEQUENCE, .producer_id = BATCH_NO_PRODUCER_ID                    \
    }

/* max_bytes: the largest size of the finished batch, between 128 and INT32_MAX. */
void batch_builder_init(struct batch_builder *builder, size_t max_bytes);
void batch_builder_deinit(struct batch_builder *builder);

/* Empties the builder for the next batch. spare (taken; may be NULL) is a batch that finish
 * returned earlier: if it has no other owner its memory is used again. */
void batch_builder_reset(struct batch_builder *builder, struct buf *spare);

/* Bytes of the batch so far, uncompressed, header included. */
static inline size_t
batch_builder_size(const struct batch_builder *builder)
{
    return builder->size;
}

static inline int32_t
batch_builder_count(const struct batch_builder *builder)
{
    return builder->count;
}

/* Adds a record. A key or value whose data is NULL is null. timestamp is in ms, >= 0, or
 * BATCH_NO_TIMESTAMP. On failure the builder is unchanged:
 * DMQ_ERR_BUFFER_FULL        no room any more: finish this batch, add to the next
 * DMQ_ERR_BATCH_TOO_LARGE    the record alone is larger than max_bytes
 * DMQ_ERR_INVALID_TIMESTAMP, DMQ_ERR_INVALID_ARGUMENT (a header's key is null), DMQ_ERR_NOMEM */
dmq_err batch_builder_append(struct batch_builder *builder, int64_t timestamp, struct bytes key,
                             struct bytes value, const struct record_header *headers,
                             size_t header_count);

/* Makes the batch (base offset 0, leader epoch -1) and empties the builder, which then has no
 * memory (batch_builder_reset gives it some). There must be a record. Where compression gains
 * nothing the batch stays uncompressed, so it is never larger than batch_builder_size says.
 * compressor may be NULL for BATCH_NONE. DMQ_ERR_NOMEM leaves the builder as it was. */
dmq_err batch_builder_finish(struct batch_builder *builder, const struct batch_options *options,
                             struct compressor *compressor, struct buf **ret_batch);

/* Gives a finished batch another producer id, epoch and base sequence, as a retry after the
 * producer was initialised again needs. Consumes batch and returns the new one: the same memory if
 * there is no other owner, else a copy; NULL (batch is released) if memory is out. */
struct buf *batch_take_with_producer(struct buf *batch, int64_t producer_id, int16_t producer_epoch,
                                     int32_t base_sequence);

#endif
