#include "libdmq/wire/batch_read.h"

#include <inttypes.h>

#include "libdmq/base/assert.h"

void
batch_reader_init(struct batch_reader *reader, const struct decode_limits *limits)
{
    DMQ_ASSERT(limits->max_ratio > 0);
    *reader = (struct batch_reader){.limits = *limits};
}

void
batch_reader_deinit(struct batch_reader *reader)
{
    compressor_free(reader->compressor);
    buf_unref(reader->plain);
    *reader = (struct batch_reader){0};
}

/* Unfolds the records and points the reader at them. */
static dmq_err
unfold(struct batch_reader *reader, struct bytes packed, struct err_msg *msg)
{
    const char *fault = NULL;
    int type = batch_compression(&reader->header);
    if (type != BATCH_LZ4 && type != BATCH_ZSTD) {
        return err_set(msg, DMQ_ERR_UNSUPPORTED_COMPRESSION,
                       "record batch at offset %" PRId64
                       " has compression %d: neither none, lz4 nor "
                       "zstd",
                       reader->header.base_offset, type);
    }
    if (reader->compressor == NULL) {
        reader->compressor = compressor_new();
    }
    dmq_err err = reader->compressor == NULL
                      ? DMQ_ERR_NOMEM
                      : compressor_unpack(reader->compressor, type, packed, &reader->limits,
                                          &reader->plain, &fault);
    if (err == DMQ_ERR_CORRUPT_BATCH) {
        return err_set(msg, err, "record batch at offset %" PRId64 ": %s",
                       reader->header.base_offset, fault);
    }
    if (err == DMQ_ERR_BATCH_TOO_LARGE) {
        return err_set(
            msg, err, "record batch at offset %" PRId64 ": %zu bytes unfold to more than %zu",
            reader->header.base_offset, packed.size, decode_limit(&reader->limits, packed.size));
    }
    if (err != DMQ_OK) {
        return err_set(msg, err, "out of memory while unfolding a record batch");
    }
    reader->pos = reader->plain->data;
    reader->end = reader->pos + reader->plain->size;
    return DMQ_OK;
}

dmq_err
batch_reader_open(struct batch_reader *reader, struct bytes batch, struct err_msg *msg)
{
    struct batch_header *header = &reader->header;
    int64_t last_offset;
    reader->left = 0; /* after a failure next hands out nothing */
    reader->pos = NULL;
    reader->end = NULL;
    reader->fault = NULL;
    if (batch_parse(batch, header) != DMQ_OK || header->size != batch.size) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH, "%zu bytes are not one record batch",
                       batch.size);
    }
    if (header->count < 0 || header->last_offset_delta < 0 ||
        __builtin_add_overflow(header->base_offset, header->last_offset_delta, &last_offset)) {
        return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                       "record batch at offset %" PRId64 " has %" PRId32
                       " records and last offset delta %" PRId32,
                       header->base_offset, header->count, header->last_offset_delta);
    }
    reader->pos = batch.data + BATCH_HEADER_SIZE;
    reader->end = batch.data + batch.size;
    if (batch_compression(header) != BATCH_NONE && header->count > 0) {
        struct bytes packed = {reader->pos, (size_t)(reader->end - reader->pos)};
        dmq_err err = unfold(reader, packed, msg);
        if (err != DMQ_OK) {
            return err;
        }
    }
    reader->base_offset = header->base_offset;
    reader->base_timestamp = header->base_timestamp;
    reader->append_timestamp = header->max_timestamp;
    reader->log_append_time = (header->attributes & BATCH_LOG_APPEND_TIME) != 0;
    reader->last_delta = -1;
    reader->last_offset_delta = header->last_offset_delta;
    reader->left = header->count;
    return DMQ_OK;
}

struct buf *
batch_reader_plain(const struct batch_reader *reader)
{
    if (batch_compression(&reader->header) == BATCH_NONE || reader->plain == NULL) {
        return NULL;
    }
    return buf_ref(reader->plain);
}

void
batch_reader_set_fault(struct batch_reader *reader, const char *fault)
{
    if (reader->fault == NULL) {
        reader->fault = fault;
    }
}

dmq_err
batch_reader_result(const struct batch_reader *reader, struct err_msg *msg)
{
    if (reader->fault == NULL) {
        DMQ_ASSERT(reader->left == 0 && reader->pos == reader->end);
        return DMQ_OK;
    }
    return err_set(msg, DMQ_ERR_CORRUPT_BATCH,
                   "record batch at offset %" PRId64 ", record %" PRId32 " of %" PRId32 ": %s",
                   reader->header.base_offset, reader->header.count - reader->left + 1,
                   reader->header.count, reader->fault);
}

dmq_err
batch_check_records(struct batch_reader *reader, struct bytes batch, struct err_msg *msg)
{
    struct batch_record record;
    dmq_err err = batch_reader_open(reader, batch, msg);
    while (err == DMQ_OK && batch_reader_next(reader, &record)) {
    }
    return err != DMQ_OK ? err : batch_reader_result(reader, msg);
}

/* One header; NULL if it is not whole or its key is null. */
static const uint8_t *
decode_header(const uint8_t *pos, const uint8_t *end, struct record_header *ret_header)
{
    pos = batch_bytes_decode(pos, end, &ret_header->key);
    if (pos == NULL || ret_header->key.data == NULL) {
        return NULL;
    }
    return batch_bytes_decode(pos, end, &ret_header->value);
}

const uint8_t *
batch_headers_skip(const uint8_t *pos, const uint8_t *end, int32_t count)
{
    struct record_header header;
    if (count < 0) {
        return NULL;
    }
    for (int32_t i = 0; i < count && pos != NULL; i++) {
        pos = decode_header(pos, end, &header);
    }
    return pos;
}

bool
batch_headers_next(struct bytes *headers, struct record_header *ret_header)
{
    if (headers->size == 0) {
        return false;
    }
    const uint8_t *end = headers->data + headers->size;
    const uint8_t *pos = decode_header(headers->data, end, ret_header);
    DMQ_ASSERT(pos != NULL); /* batch_reader_next walked them */
    *headers = (struct bytes){pos, (size_t)(end - pos)};
    return true;
}
