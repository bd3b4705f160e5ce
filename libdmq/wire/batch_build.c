/* Records are encoded straight behind the room that the header will take. Sizes are computed before
 * a byte is written (a record begins with its own length), so nothing is ever moved or undone. */
#include "libdmq/wire/batch_build.h"

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/base/varint.h"

enum { FIRST_CAPACITY = 4096, GROWTH = 4, MIN_MAX_BYTES = 128 };

void
batch_builder_init(struct batch_builder *builder, size_t max_bytes)
{
    DMQ_ASSERT(max_bytes >= MIN_MAX_BYTES && max_bytes <= INT32_MAX);
    *builder = (struct batch_builder){.size = BATCH_HEADER_SIZE, .max_bytes = max_bytes};
}

void
batch_builder_deinit(struct batch_builder *builder)
{
    buf_unref(builder->buf);
    *builder = (struct batch_builder){0};
}

void
batch_builder_reset(struct batch_builder *builder, struct buf *spare)
{
    builder->size = BATCH_HEADER_SIZE;
    builder->count = 0;
    size_t capacity = buf_reusable(spare);
    if (capacity > builder->capacity) {
        buf_unref(builder->buf);
        builder->buf = spare;
        builder->capacity = capacity;
    } else {
        buf_unref(spare);
    }
}

static size_t
size_of_bytes(struct bytes bytes)
{
    return bytes.data == NULL ? 1 : varint_size((int32_t)bytes.size) + bytes.size;
}

static uint8_t *
put_bytes(uint8_t *p, struct bytes bytes)
{
    if (bytes.data == NULL) {
        return varint_encode(p, -1);
    }
    p = varint_encode(p, (int32_t)bytes.size);
    memcpy(p, bytes.data, bytes.size);
    return p + bytes.size;
}

/* Bytes of a record but its length, attributes and deltas. Each part is held against the largest
 * batch before it is added, so that the sum cannot overflow: header_count is a size of the caller's
 * memory. */
static dmq_err
size_content(const struct batch_builder *builder, struct bytes key, struct bytes value,
             const struct record_header *headers, size_t header_count, size_t *ret_size)
{
    if (key.size > builder->max_bytes || value.size > builder->max_bytes ||
        header_count > builder->max_bytes) {
        return DMQ_ERR_BATCH_TOO_LARGE;
    }
    size_t size = size_of_bytes(key) + size_of_bytes(value) + varint_size((int32_t)header_count);
    for (size_t i = 0; i < header_count; i++) {
        if (headers[i].key.data == NULL) {
            return DMQ_ERR_INVALID_ARGUMENT;
        }
        if (headers[i].key.size > builder->max_bytes ||
            headers[i].value.size > builder->max_bytes) {
            return DMQ_ERR_BATCH_TOO_LARGE;
        }
        size += size_of_bytes(headers[i].key) + size_of_bytes(headers[i].value);
    }
    *ret_size = size;
    return DMQ_OK;
}

/* Bytes that content takes as the only record of a batch. */
static size_t
size_alone(size_t content)
{
    size_t body = 3 + content; /* attributes and two deltas of 0 */
    return BATCH_HEADER_SIZE + varlong_size((int64_t)body) + body;
}

static dmq_err
reserve(struct batch_builder *builder, size_t size)
{
    if (size <= builder->capacity) {
        return DMQ_OK;
    }
    size_t capacity = builder->capacity == 0 ? FIRST_CAPACITY : builder->capacity * GROWTH;
    capacity = capacity < builder->max_bytes ? capacity : builder->max_bytes;
    capacity = capacity > size ? capacity : size;
    struct buf *buf = buf_new(capacity);
    if (buf == NULL) {
        return DMQ_ERR_NOMEM;
    }
    if (builder->buf != NULL) {
        memcpy(buf->data, builder->buf->data, builder->size);
        buf_unref(builder->buf);
    }
    builder->buf = buf;
    builder->capacity = capacity;
    return DMQ_OK;
}

dmq_err
batch_builder_append(struct batch_builder *builder, int64_t timestamp, struct bytes key,
                     struct bytes value, const struct record_header *headers, size_t header_count)
{
    size_t content;
    int64_t delta = 0;
    if (timestamp < BATCH_NO_TIMESTAMP ||
        (builder->count > 0 &&
         __builtin_sub_overflow(timestamp, builder->base_timestamp, &delta))) {
        return DMQ_ERR_INVALID_TIMESTAMP;
    }
    dmq_err err = size_content(builder, key, value, headers, header_count, &content);
    if (err != DMQ_OK) {
        return err;
    }
    size_t body = 1 + varlong_size(delta) + varint_size(builder->count) + content;
    size_t size = builder->size + varlong_size((int64_t)body) + body;
    if (size > builder->max_bytes) {
        return size_alone(content) > builder->max_bytes ? DMQ_ERR_BATCH_TOO_LARGE
                                                        : DMQ_ERR_BUFFER_FULL;
    }
    if (reserve(builder, size) != DMQ_OK) {
        return DMQ_ERR_NOMEM;
    }
    uint8_t *p = varint_encode(builder->buf->data + builder->size, (int32_t)body);
    *p++ = 0; /* attributes */
    p = varlong_encode(p, delta);
    p = varint_encode(p, builder->count);
    p = put_bytes(p, key);
    p = put_bytes(p, value);
    p = varint_encode(p, (int32_t)header_count);
    for (size_t i = 0; i < header_count; i++) {
        p = put_bytes(p, headers[i].key);
        p = put_bytes(p, headers[i].value);
    }
    DMQ_ASSERT(p == builder->buf->data + size);
    if (builder->count == 0) {
        builder->base_timestamp = timestamp;
        builder->max_timestamp = timestamp;
    }
    builder->max_timestamp =
        timestamp > builder->max_timestamp ? timestamp : builder->max_timestamp;
    builder->count++;
    builder->size = size;
    return DMQ_OK;
}

static void
put_producer(uint8_t *p, int64_t id, int16_t epoch, int32_t base_sequence)
{
    put_be64(p + BATCH_POS_PRODUCER_ID, (uint64_t)id);
    put_be16(p + BATCH_POS_PRODUCER_EPOCH, (uint16_t)epoch);
    put_be32(p + BATCH_POS_BASE_SEQUENCE, (uint32_t)base_sequence);
}

static void
put_crc(struct buf *batch)
{
    put_be32(batch->data + BATCH_POS_CRC, batch_crc(buf_bytes(batch)));
}

/* Fills in the header of batch, whose size is final and whose records are there. */
static void
put_header(const struct batch_builder *builder, const struct batch_options *options,
           uint16_t attributes, struct buf *batch)
{
    uint8_t *p = batch->data;
    batch_stamp(p, 0, -1);
    put_be32(p + BATCH_POS_LENGTH, (uint32_t)(batch->size - BATCH_LENGTH_BASE));
    p[BATCH_POS_MAGIC] = BATCH_MAGIC;
    put_be16(p + BATCH_POS_ATTRIBUTES, attributes);
    put_be32(p + BATCH_POS_LAST_OFFSET_DELTA, (uint32_t)(builder->count - 1));
    put_be64(p + BATCH_POS_BASE_TIMESTAMP, (uint64_t)builder->base_timestamp);
    put_be64(p + BATCH_POS_MAX_TIMESTAMP, (uint64_t)builder->max_timestamp);
    put_producer(p, options->producer_id, options->producer_epoch, options->base_sequence);
    put_be32(p + BATCH_POS_COUNT, (uint32_t)builder->count);
    put_crc(batch);
}

/* DMQ_ERR_BUFFER_FULL where it gains nothing, or would look like a bomb to a reader. */
static dmq_err
compress(const struct batch_builder *builder, int type, struct compressor *compressor,
         struct buf **ret_batch)
{
    struct bytes packed;
    struct bytes plain = {builder->buf->data + BATCH_HEADER_SIZE,
                          builder->size - BATCH_HEADER_SIZE};
    dmq_err err = compressor_pack(compressor, type, plain, plain.size - 1, &packed);
    if (err != DMQ_OK) {
        return err;
    }
    if (plain.size > decode_limit(&COMPRESS_DEFAULT_LIMITS, packed.size)) {
        return DMQ_ERR_BUFFER_FULL;
    }
    struct buf *batch = buf_new(BATCH_HEADER_SIZE + packed.size);
    if (batch == NULL) {
        return DMQ_ERR_NOMEM;
    }
    memcpy(batch->data + BATCH_HEADER_SIZE, packed.data, packed.size);
    *ret_batch = batch;
    return DMQ_OK;
}

dmq_err
batch_builder_finish(struct batch_builder *builder, const struct batch_options *options,
                     struct compressor *compressor, struct buf **ret_batch)
{
    uint16_t attributes = options->attributes;
    int type = attributes & BATCH_COMPRESSION_MASK;
    struct buf *batch = NULL;
    DMQ_ASSERT(builder->count > 0);
    DMQ_ASSERT(type == BATCH_NONE || compressor != NULL);
    dmq_err err = DMQ_ERR_BUFFER_FULL;
    if (type != BATCH_NONE) {
        err = compress(builder, type, compressor, &batch);
    }
    if (err == DMQ_ERR_BUFFER_FULL) { /* as it is */
        batch = builder->buf;
        batch->size = builder->size;
        attributes = (uint16_t)(attributes & ~BATCH_COMPRESSION_MASK);
        err = DMQ_OK;
    }
    if (err != DMQ_OK) {
        return err;
    }
    put_header(builder, options, attributes, batch);
    if (batch == builder->buf) {
        builder->buf = NULL;
        builder->capacity = 0;
    }
    batch_builder_reset(builder, NULL);
    *ret_batch = batch;
    return DMQ_OK;
}

struct buf *
batch_take_with_producer(struct buf *batch, int64_t producer_id, int16_t producer_epoch,
                         int32_t base_sequence)
{
    if (atomic_load_explicit(&batch->refs, memory_order_acquire) > 1) {
        struct buf *copy = buf_copy(buf_bytes(batch));
        buf_unref(batch);
        if (copy == NULL) {
            return NULL;
        }
        batch = copy;
    }
    put_producer(batch->data, producer_id, producer_epoch, base_sequence);
    put_crc(batch);
    return batch;
}
