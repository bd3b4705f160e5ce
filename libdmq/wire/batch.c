/* Parsing and checking of batch headers. A check walks from what makes a batch readable at all to
 * what its fields mean, so that the first sentence names the cause: a flipped bit is a wrong
 * checksum, not an odd attribute. */
#include "libdmq/wire/batch.h"

#include <inttypes.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/wire/compress.h"

/* Length, attributes, timestamp delta, offset delta, key, value and number of headers, a byte each.
 */
enum { RECORD_MIN_SIZE = 7 };

dmq_err
batch_parse(struct bytes bytes, struct batch_header *ret_header)
{
    const uint8_t *p = bytes.data;
    if (bytes.size < BATCH_HEADER_SIZE || p[BATCH_POS_MAGIC] != BATCH_MAGIC) {
        return DMQ_ERR_CORRUPT_BATCH;
    }
    int32_t length = (int32_t)get_be32(p + BATCH_POS_LENGTH);
    if (length < BATCH_HEADER_SIZE - BATCH_LENGTH_BASE) {
        return DMQ_ERR_CORRUPT_BATCH;
    }
    *ret_header = (struct batch_header){
        .base_offset = (int64_t)get_be64(p + BATCH_POS_BASE_OFFSET),
        .size = (size_t)length + BATCH_LENGTH_BASE,
        .leader_epoch = (int32_t)get_be32(p + BATCH_POS_LEADER_EPOCH),
        .crc = get_be32(p + BATCH_POS_CRC),
        .attributes = get_be16(p + BATCH_POS_ATTRIBUTES),
        .producer_epoch = (int16_t)get_be16(p + BATCH_POS_PRODUCER_EPOCH),
        .last_offset_delta = (int32_t)get_be32(p + BATCH_POS_LAST_OFFSET_DELTA),
        .base_timestamp = (int64_t)get_be64(p + BATCH_POS_BASE_TIMESTAMP),
        .max_timestamp = (int64_t)get_be64(p + BATCH_POS_MAX_TIMESTAMP),
        .producer_id = (int64_t)get_be64(p + BATCH_POS_PRODUCER_ID),
        .base_sequence = (int32_t)get_be32(p + BATCH_POS_BASE_SEQUENCE),
        .count = (int32_t)get_be32(p + BATCH_POS_COUNT),
    };
    return DMQ_OK;
}

dmq_err
batch_next(struct bytes *rest, struct bytes *ret_batch)
{
    struct batch_header header;
    if (rest->size == 0) {
        return DMQ_ERR_END;
    }
    if (batch_parse(*rest, &header) != DMQ_OK || header.size > rest->size) {
        return DMQ_ERR_CORRUPT_BATCH;
    }
    *ret_batch = (struct bytes){rest->data, header.size};
    *rest = (struct bytes){rest->data + header.size, rest->size - header.size};
    return DMQ_OK;
}

uint32_t
batch_crc(struct bytes batch)
{
    DMQ_ASSERT(batch.size >= BATCH_HEADER_SIZE);
    return crc32c(0, batch.data + BATCH_POS_ATTRIBUTES, batch.size - BATCH_POS_ATTRIBUTES);
}

static dmq_err
check_frame(struct bytes batch, const struct batch_limits *limits, struct err_msg *msg,
            struct batch_header *ret_header)
{
    if (batch.size < BATCH_HEADER_SIZE) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch of %zu bytes is cut short: its header alone takes %d",
                       batch.size, BATCH_HEADER_SIZE);
    }
    if (batch.data[BATCH_POS_MAGIC] != BATCH_MAGIC) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH, "record batch has magic %d: only %d is known",
                       batch.data[BATCH_POS_MAGIC], BATCH_MAGIC);
    }
    if (batch_parse(batch, ret_header) != DMQ_OK || ret_header->size != batch.size) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch of %zu bytes gives its length as %" PRId32 " and %d",
                       batch.size, (int32_t)get_be32(batch.data + BATCH_POS_LENGTH),
                       BATCH_LENGTH_BASE);
    }
    if (limits->max_bytes > 0 && batch.size > limits->max_bytes) {
        return err_set(msg, DMQ_ERR_BATCH_TOO_LARGE,
                       "record batch of %zu bytes is above max.message.bytes, which is %zu",
                       batch.size, limits->max_bytes);
    }
    uint32_t crc = batch_crc(batch);
    if (crc != ret_header->crc) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch of %zu bytes has CRC-32C %08" PRIx32
                       ", its header says %08" PRIx32,
                       batch.size, crc, ret_header->crc);
    }
    return DMQ_OK;
}

static dmq_err
check_attributes(const struct batch_header *header, bool from_client, struct err_msg *msg)
{
    int compression = batch_compression(header);
    if ((header->attributes & ~BATCH_KNOWN_ATTRIBUTES) != 0) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH, "record batch has unknown attributes 0x%04x",
                       header->attributes);
    }
    if (compression != BATCH_NONE && compression != BATCH_LZ4 && compression != BATCH_ZSTD) {
        return err_set(msg, DMQ_ERR_UNSUPPORTED_COMPRESSION,
                       "record batch has compression %d (%s): use none, lz4 or zstd", compression,
                       compression == BATCH_GZIP     ? "gzip"
                       : compression == BATCH_SNAPPY ? "snappy"
                                                     : "unknown");
    }
    if (!from_client) {
        return DMQ_OK;
    }
    if ((header->attributes & (BATCH_CONTROL | BATCH_DELETE_HORIZON)) != 0) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch has attributes 0x%04x: a client may write neither control "
                       "records nor a delete horizon",
                       header->attributes);
    }
    if ((header->attributes & BATCH_LOG_APPEND_TIME) != 0) {
        return err_set(
            msg, DMQ_ERR_INVALID_TIMESTAMP,
            "record batch says that its timestamps are of the log: a client cannot know");
    }
    return DMQ_OK;
}

/* A small batch must not be able to use up offsets by the billion: its records must have room. */
static dmq_err
check_count(const struct batch_header *header, bool from_client, struct err_msg *msg)
{
    size_t room = header->size - BATCH_HEADER_SIZE;
    if (batch_compression(header) != BATCH_NONE) {
        room = decode_limit(&COMPRESS_DEFAULT_LIMITS, room);
    }
    if (header->last_offset_delta < 0 || header->count < 0 ||
        header->count - 1 > header->last_offset_delta ||
        (from_client && header->count - 1 != header->last_offset_delta)) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch has %" PRId32
                       " records, but its last offset is its base offset "
                       "and %" PRId32,
                       header->count, header->last_offset_delta);
    }
    if ((size_t)header->count > room / RECORD_MIN_SIZE) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch of %zu bytes cannot hold %" PRId32 " records", header->size,
                       header->count);
    }
    if (header->count == 0 && room > 0 && batch_compression(header) == BATCH_NONE) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch without records has %zu bytes of them", room);
    }
    return DMQ_OK;
}

/* Only what a log holds has offsets and epochs that mean something. */
static dmq_err
check_place(const struct batch_header *header, struct err_msg *msg)
{
    if (header->base_offset < 0 || header->base_offset > INT64_MAX - header->last_offset_delta ||
        header->leader_epoch < -1) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch has base offset %" PRId64 ", last offset delta %" PRId32
                       " and leader epoch %" PRId32,
                       header->base_offset, header->last_offset_delta, header->leader_epoch);
    }
    return DMQ_OK;
}

/* With a producer id all three are there, but markers of transactions carry no sequence; without
 * one, none is, and there is no transaction. */
static dmq_err
check_producer(const struct batch_header *header, struct err_msg *msg)
{
    bool ok;
    if (header->producer_id == BATCH_NO_PRODUCER_ID) {
        ok = header->producer_epoch == BATCH_NO_PRODUCER_EPOCH &&
             header->base_sequence == BATCH_NO_SEQUENCE &&
             (header->attributes & BATCH_TRANSACTIONAL) == 0;
    } else if ((header->attributes & BATCH_CONTROL) != 0) {
        ok = header->producer_id >= 0 && header->producer_epoch >= 0 &&
             header->base_sequence == BATCH_NO_SEQUENCE;
    } else {
        ok = header->producer_id >= 0 && header->producer_epoch >= 0 && header->base_sequence >= 0;
    }
    if (!ok) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch has producer id %" PRId64 ", epoch %d, base sequence %" PRId32
                       ", attributes 0x%04x: they do not go together",
                       header->producer_id, header->producer_epoch, header->base_sequence,
                       header->attributes);
    }
    return DMQ_OK;
}

static dmq_err
check_timestamps(const struct batch_header *header, bool from_client, struct err_msg *msg)
{
    /* In a log, append time may be lower than the base, which stays the client's. */
    if (header->base_timestamp < BATCH_NO_TIMESTAMP || header->max_timestamp < BATCH_NO_TIMESTAMP ||
        (from_client && header->max_timestamp < header->base_timestamp)) {
        return err_set(msg, DMQ_ERR_INVALID_TIMESTAMP,
                       "record batch has base timestamp %" PRId64 " and max timestamp %" PRId64,
                       header->base_timestamp, header->max_timestamp);
    }
    return DMQ_OK;
}

dmq_err
batch_check(struct bytes batch, const struct batch_limits *limits, struct err_msg *msg,
            struct batch_header *ret_header)
{
    struct batch_header header;
    dmq_err err = check_frame(batch, limits, msg, &header);
    if (err == DMQ_OK) {
        err = check_attributes(&header, limits->from_client, msg);
    }
    if (err == DMQ_OK) {
        err = check_count(&header, limits->from_client, msg);
    }
    if (err == DMQ_OK && !limits->from_client) {
        err = check_place(&header, msg);
    }
    if (err == DMQ_OK) {
        err = check_producer(&header, msg);
    }
    if (err == DMQ_OK) {
        err = check_timestamps(&header, limits->from_client, msg);
    }
    if (err == DMQ_OK && ret_header != NULL) {
        *ret_header = header;
    }
    return err;
}
