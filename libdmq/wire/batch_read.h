/* Iterates over the records of a batch in place: without compression nothing is copied, otherwise
 * the records are unfolded once into memory of the reader. Every length is checked before it is
 * used.
 *
 *     batch_reader_init(&reader, &COMPRESS_DEFAULT_LIMITS);
 *     err = batch_reader_open(&reader, batch, &msg);
 *     while (err == DMQ_OK && batch_reader_next(&reader, &record)) {
 *         ...
 *     }
 *     err = err == DMQ_OK ? batch_reader_result(&reader, &msg) : err;
 *     batch_reader_deinit(&reader); */
#ifndef DMQ_WIRE_BATCH_READ_H
#define DMQ_WIRE_BATCH_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/buf.h"
#include "libdmq/base/varint.h"
#include "libdmq/wire/batch.h"
#include "libdmq/wire/compress.h"

/* A record. Its views lie in the batch, or in the reader's memory if that was compressed. Null is
 * data == NULL; empty is not. */
struct batch_record {
    int64_t offset;
    int64_t timestamp;
    struct bytes key;
    struct bytes value;
    struct bytes headers; /* encoded, checked: for batch_headers_next */
    int32_t header_count;
};

/* One thread at a time; used for one batch after another. */
struct batch_reader {
    const uint8_t *pos; /* next record */
    const uint8_t *end;
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t append_timestamp;  /* of every record if log_append_time */
    int32_t left;              /* records not yet handed out */
    int32_t last_delta;        /* offset delta of the record before; -1 at the start */
    int32_t last_offset_delta; /* largest that is allowed */
    bool log_append_time;
    const char *fault;          /* what is wrong; static; NULL so far */
    struct batch_header header; /* of the open batch */
    struct decode_limits limits;
    struct compressor *compressor; /* made at the first compressed batch */
    struct buf *plain;             /* unfolded records, or NULL */
};

void batch_reader_init(struct batch_reader *reader, const struct decode_limits *limits);
void batch_reader_deinit(struct batch_reader *reader);

/* Starts on a batch, which must stay as it is while records of it are used: parses the header and
 * unfolds. Does not check the CRC (batch_check does). Errors, with a sentence in msg:
 * DMQ_ERR_CORRUPT_BATCH, DMQ_ERR_UNSUPPORTED_COMPRESSION, DMQ_ERR_BATCH_TOO_LARGE, DMQ_ERR_NOMEM.
 */
dmq_err batch_reader_open(struct batch_reader *reader, struct bytes batch, struct err_msg *msg);

/* The memory that the records of the open batch lie in, one reference for the caller, so that they
 * outlive the next open; NULL if the batch was not compressed (they lie in the batch). */
struct buf *batch_reader_plain(const struct batch_reader *reader);

/* After next returned false: DMQ_OK if all records were handed out and nothing follows them, else
 * DMQ_ERR_CORRUPT_BATCH with a sentence. */
dmq_err batch_reader_result(const struct batch_reader *reader, struct err_msg *msg);

/* What batch_check leaves out: unfolds the records and walks all of them. For consumers, dump,
 * verify and tests; the CRC is not its business. Errors as batch_reader_open. */
dmq_err batch_check_records(struct batch_reader *reader, struct bytes batch, struct err_msg *msg);

/* The slow halves of batch_reader_next. */
const uint8_t *batch_headers_skip(const uint8_t *pos, const uint8_t *end, int32_t count);
void batch_reader_set_fault(struct batch_reader *reader, const char *fault);

/* Ends the iteration. Inline, so that compilers see that next hands out nothing then. */
static inline bool
batch_reader_stop(struct batch_reader *reader, const char *fault)
{
    batch_reader_set_fault(reader, fault);
    return false;
}

/* Reads a length and as many bytes; -1 is null. NULL if that is not there. */
static inline const uint8_t *
batch_bytes_decode(const uint8_t *pos, const uint8_t *end, struct bytes *ret_bytes)
{
    int32_t size;
    pos = varint_decode(pos, end, &size);
    if (pos == NULL || size < -1 || size > end - pos) {
        return NULL;
    }
    if (size < 0) {
        *ret_bytes = (struct bytes){NULL, 0};
        return pos;
    }
    *ret_bytes = (struct bytes){pos, (size_t)size};
    return pos + size;
}

/* The next record in offset order; false at the end and at a fault: batch_reader_result tells. */
static inline bool
batch_reader_next(struct batch_reader *reader, struct batch_record *ret_record)
{
    const uint8_t *pos = reader->pos;
    int32_t size;
    int32_t offset_delta;
    int32_t header_count;
    int64_t timestamp_delta;
    if (reader->left == 0) {
        return batch_reader_stop(reader, pos == reader->end ? NULL : "bytes after the last record");
    }
    pos = varint_decode(pos, reader->end, &size);
    if (pos == NULL || size < 1 || size > reader->end - pos) {
        return batch_reader_stop(reader, "record length is beyond the batch");
    }
    const uint8_t *end = pos + size;
    pos = varlong_decode(pos + 1, end, &timestamp_delta); /* 1: attributes, which have no meaning */
    pos = pos == NULL ? NULL : varint_decode(pos, end, &offset_delta);
    if (pos == NULL) {
        return batch_reader_stop(reader, "record is cut short");
    }
    if (offset_delta <= reader->last_delta || offset_delta > reader->last_offset_delta) {
        return batch_reader_stop(reader, "record offsets do not rise within the batch");
    }
    if (__builtin_add_overflow(reader->base_timestamp, timestamp_delta, &ret_record->timestamp)) {
        return batch_reader_stop(reader, "record timestamp is out of range");
    }
    pos = batch_bytes_decode(pos, end, &ret_record->key);
    pos = pos == NULL ? NULL : batch_bytes_decode(pos, end, &ret_record->value);
    pos = pos == NULL ? NULL : varint_decode(pos, end, &header_count);
    if (pos == NULL) {
        return batch_reader_stop(reader, "key, value or number of headers is beyond the record");
    }
    ret_record->headers = (struct bytes){pos, (size_t)(end - pos)};
    ret_record->header_count = header_count;
    if (header_count != 0) {
        pos = batch_headers_skip(pos, end, header_count);
    }
    if (pos != end) {
        return batch_reader_stop(reader, "headers do not fill the record");
    }
    ret_record->offset = reader->base_offset + offset_delta;
    if (reader->log_append_time) {
        ret_record->timestamp = reader->append_timestamp;
    }
    reader->last_delta = offset_delta;
    reader->left--;
    reader->pos = end;
    return true;
}

/* Takes the first header of *headers (struct batch_record's, checked by batch_reader_next); false
 * when none is left. */
bool batch_headers_next(struct bytes *headers, struct record_header *ret_header);

#endif
