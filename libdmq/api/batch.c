#include "libdmq/api/batch.h"

/* Messages are made for a whole dmq_batch at once: crossing into another language costs once per
 * batch, and the array is small enough to stay in the cache while it is read. Values are never
 * copied: each dmq_batch holds the frame (and unfolded records) that its messages point into. */

#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"

dmq_batch *
dmq_batch_ref(dmq_batch *batch)
{
    atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
    return batch;
}

void
dmq_batch_unref(dmq_batch *batch)
{
    if (batch == NULL || atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < batch->buf_count; i++) {
        buf_unref(batch->bufs[i]);
    }
    free(batch->bufs);
    free(batch->headers);
    free(batch->messages);
    free(batch);
}

const char *
dmq_batch_topic(const dmq_batch *batch)
{
    return batch->topic;
}

int32_t
dmq_batch_partition(const dmq_batch *batch)
{
    return batch->partition;
}

size_t
dmq_batch_count(const dmq_batch *batch)
{
    return batch->count;
}

int64_t
dmq_batch_high_watermark(const dmq_batch *batch)
{
    return batch->high_watermark;
}

const dmq_message *
dmq_batch_messages(const dmq_batch *batch, size_t *ret_stride)
{
    if (ret_stride != NULL) {
        *ret_stride = sizeof(dmq_message);
    }
    return batch->messages;
}

size_t
dmq_batch_headers(const dmq_batch *batch, uint32_t position, dmq_header *headers, size_t stride,
                  size_t max)
{
    struct record_header header;
    size_t count = 0;
    if (position >= batch->count || batch->messages[position].header_count == 0) {
        return 0;
    }
    struct bytes rest = batch->headers[position];
    while (count < max && batch_headers_next(&rest, &header)) {
        dmq_header to = {.key = {header.key.data, header.key.size},
                         .value = {header.value.data, header.value.size}};
        memcpy((char *)headers + count * stride, &to, stride < sizeof(to) ? stride : sizeof(to));
        count++;
    }
    return count;
}

/* ---- building -------------------------------------------------------------------------------- */

/* Room for count more messages. */
static bool
reserve_messages(dmq_batch *batch, size_t count)
{
    if (batch->capacity - batch->count >= count) {
        return true;
    }
    size_t capacity = batch->count + count;
    dmq_message *messages = realloc(batch->messages, capacity * sizeof(*messages));
    if (messages == NULL) {
        return false;
    }
    batch->messages = messages;
    if (batch->headers != NULL) {
        struct bytes *headers = realloc(batch->headers, capacity * sizeof(*headers));
        if (headers == NULL) {
            return false;
        }
        batch->headers = headers;
    }
    batch->capacity = capacity;
    return true;
}

/* Takes over one reference. */
static bool
keep_buf(dmq_batch *batch, struct buf *buf)
{
    struct buf **bufs = realloc(batch->bufs, (batch->buf_count + 1) * sizeof(*bufs));
    if (bufs == NULL) {
        buf_unref(buf);
        return false;
    }
    batch->bufs = bufs;
    bufs[batch->buf_count++] = buf;
    return true;
}

static bool
keep_headers(dmq_batch *batch, const struct batch_record *record)
{
    if (batch->headers == NULL) {
        batch->headers = malloc(batch->capacity * sizeof(*batch->headers));
        if (batch->headers == NULL) {
            return false;
        }
    }
    batch->headers[batch->count] = record->headers;
    return true;
}

/* The records of the open reader, from offset on. */
static dmq_err
add_records(dmq_batch *batch, struct batch_reader *reader, int64_t offset)
{
    struct batch_record record;
    while (batch_reader_next(reader, &record)) {
        if (record.offset < offset) {
            continue;
        }
        if (record.header_count > 0 && !keep_headers(batch, &record)) {
            return DMQ_ERR_NOMEM;
        }
        batch->messages[batch->count] =
            (dmq_message){.offset = record.offset,
                          .timestamp = record.timestamp,
                          .key = {record.key.data, record.key.size},
                          .value = {record.value.data, record.value.size},
                          .header_count = (uint32_t)record.header_count,
                          .position = (uint32_t)batch->count};
        batch->count++;
    }
    return DMQ_OK;
}

/* A record takes 7 bytes at least, so a count that lies cannot reserve much. */
static size_t
most_records(const struct batch_reader *reader)
{
    size_t fit = (size_t)(reader->end - reader->pos) / 7 + 1;
    size_t said = (size_t)reader->header.count;
    return said < fit ? said : fit;
}

/* One record batch. A record may be refused in the middle: what is there of the batch then is cut
 * off by the caller, for a batch counts as a whole or not at all. */
static dmq_err
add_batch(dmq_batch *batch, struct batch_reader *reader, struct bytes bytes, int64_t offset,
          struct err_msg *err)
{
    dmq_err code = batch_reader_open(reader, bytes, err);
    if (code != DMQ_OK) {
        return code;
    }
    struct buf *plain = batch_reader_plain(reader);
    if ((plain != NULL && !keep_buf(batch, plain)) ||
        !reserve_messages(batch, most_records(reader)) ||
        add_records(batch, reader, offset) != DMQ_OK) {
        return err_set(err, DMQ_ERR_NOMEM, "out of memory");
    }
    return batch_reader_result(reader, err);
}

static dmq_err
check_batch(struct bytes bytes, bool check_crcs, struct batch_header *header, struct err_msg *err)
{
    static const struct batch_limits limits = {0};
    if (check_crcs) {
        return batch_check(bytes, &limits, err, header);
    }
    dmq_err code = batch_parse(bytes, header);
    return code == DMQ_OK ? DMQ_OK : err_set(err, code, "%s", err_text(code));
}

/* Reads record batches until there are enough records. */
static dmq_err
fill(dmq_batch *batch, struct batch_cursor *cursor, struct batch_reader *reader, bool check_crcs,
     struct err_msg *err)
{
    struct bytes rest = {cursor->frame->data + cursor->pos, cursor->frame->size - cursor->pos};
    struct bytes bytes;
    struct batch_header header;
    while (batch->count < BATCH_ENOUGH && batch_next(&rest, &bytes) == DMQ_OK) {
        dmq_err code = check_batch(bytes, check_crcs, &header, err);
        bool wanted = code == DMQ_OK && batch_last_offset(&header) >= cursor->offset &&
                      (header.attributes & BATCH_CONTROL) == 0;
        if (wanted) {
            code = add_batch(batch, reader, bytes, cursor->offset, err);
        }
        if (code != DMQ_OK) {
            return code;
        }
        if (batch_last_offset(&header) >= cursor->offset) {
            cursor->offset = batch_last_offset(&header) + 1;
        }
        cursor->pos = (size_t)(rest.data - cursor->frame->data);
    }
    return DMQ_OK;
}

dmq_err
batch_read(struct batch_cursor *cursor, struct batch_reader *reader, bool check_crcs,
           dmq_batch **ret_batch, struct err_msg *err)
{
    dmq_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL) {
        return err_set(err, DMQ_ERR_NOMEM, "out of memory");
    }
    atomic_init(&batch->refs, 1);
    struct batch_cursor before = *cursor;
    dmq_err code = DMQ_OK;
    if (!keep_buf(batch, buf_ref(cursor->frame))) {
        code = err_set(err, DMQ_ERR_NOMEM, "out of memory");
    } else {
        code = fill(batch, cursor, reader, check_crcs, err);
    }
    /* What is good before a bad batch is handed out; the bad one is met again, then first. */
    if (code != DMQ_OK && batch->count > 0 && cursor->pos > before.pos) {
        while (batch->count > 0 && batch->messages[batch->count - 1].offset >= cursor->offset) {
            batch->count--;
        }
        code = batch->count > 0 ? DMQ_OK : code;
    }
    if (code != DMQ_OK || batch->count == 0) {
        dmq_batch_unref(batch);
        batch = NULL;
    }
    *ret_batch = batch;
    return code;
}
