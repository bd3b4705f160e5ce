/* Record batches from outside: the way of a produced frame through the broker, and of a fetched one
 * through the consumer.
 *
 * The first byte says what the rest is. 0: a frame of batches as it comes; each is checked twice,
 * as it is and with its CRC made right, for no fuzzer guesses a CRC. 1, 2, 3: the records part of a
 * batch without compression, of lz4 or of zstd, behind a header made here; the second byte is its
 * count.
 *
 * What must hold: no view points outside the batch or the unfolded memory, and what reads well is
 * written again by our builder and reads the same. */
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/batch_build.h"
#include "libdmq/wire/batch_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_HEADERS = 256, MAX_PLAIN = 1 << 20 };

static struct compressor *compressor;
static struct batch_reader reader;
static struct batch_reader reader_again;
static struct batch_builder builder;

static void
setup(void)
{
    const struct decode_limits limits = {.max_bytes = MAX_PLAIN, .max_ratio = 1000};
    if (compressor == NULL) {
        compressor = compressor_new();
        DMQ_ASSERT(compressor != NULL);
        batch_reader_init(&reader, &limits);
        batch_reader_init(&reader_again, &COMPRESS_DEFAULT_LIMITS);
        batch_builder_init(&builder, 16 * MAX_PLAIN);
    }
}

/* The records end where the reader ends; sanitizers see what lies before their start. */
static void
check_view(struct bytes part)
{
    DMQ_ASSERT(part.data != NULL || part.size == 0);
    DMQ_ASSERT(part.data == NULL || part.data + part.size <= reader.end);
}

/* Reads the headers into an array; false if there are more than that. */
static bool
collect_headers(const struct batch_record *record, struct record_header headers[MAX_HEADERS])
{
    struct bytes rest = record->headers;
    int32_t count = 0;
    if (record->header_count > MAX_HEADERS) {
        return false;
    }
    while (batch_headers_next(&rest, &headers[count])) {
        check_view(headers[count].key);
        check_view(headers[count].value);
        DMQ_ASSERT(headers[count].key.data != NULL);
        count++;
    }
    DMQ_ASSERT(count == record->header_count);
    return true;
}

/* Reads every record; *ret_again is whether all of them could be added to the builder. */
static dmq_err
read_all(struct bytes batch, bool *ret_again)
{
    static struct record_header headers[MAX_HEADERS];
    struct batch_record record;
    struct err_msg msg;
    bool again = true;
    dmq_err err = batch_reader_open(&reader, batch, &msg);
    while (err == DMQ_OK && batch_reader_next(&reader, &record)) {
        check_view(record.key);
        check_view(record.value);
        again = again && collect_headers(&record, headers);
        /* A timestamp below -1 reads, but is not ours to write. */
        again = again && batch_builder_append(&builder, record.timestamp, record.key, record.value,
                                              headers, (size_t)record.header_count) == DMQ_OK;
    }
    *ret_again = again;
    return err != DMQ_OK ? err : batch_reader_result(&reader, &msg);
}

static void
check_same_bytes(struct bytes a, struct bytes b)
{
    DMQ_ASSERT((a.data == NULL) == (b.data == NULL));
    DMQ_ASSERT(bytes_equal(a, b));
}

static void
check_same_headers(struct bytes a, struct bytes b)
{
    struct record_header first;
    struct record_header second;
    while (batch_headers_next(&a, &first)) {
        DMQ_ASSERT(batch_headers_next(&b, &second));
        check_same_bytes(first.key, second.key);
        check_same_bytes(first.value, second.value);
    }
    DMQ_ASSERT(b.size == 0);
}

/* batch read well; again is what the builder made of its records. */
static void
check_same_records(struct bytes batch, struct bytes again)
{
    const struct batch_limits limits = {.from_client = true};
    struct batch_record first;
    struct batch_record second;
    struct err_msg msg;
    int32_t index = 0;
    DMQ_ASSERT(batch_check(again, &limits, &msg, NULL) == DMQ_OK);
    DMQ_ASSERT(batch_reader_open(&reader, batch, &msg) == DMQ_OK);
    DMQ_ASSERT(batch_reader_open(&reader_again, again, &msg) == DMQ_OK);
    for (; batch_reader_next(&reader, &first); index++) {
        DMQ_ASSERT(batch_reader_next(&reader_again, &second));
        DMQ_ASSERT(second.offset == index);
        DMQ_ASSERT(first.timestamp == second.timestamp);
        check_same_bytes(first.key, second.key);
        check_same_bytes(first.value, second.value);
        check_same_headers(first.headers, second.headers);
    }
    DMQ_ASSERT(!batch_reader_next(&reader_again, &second));
    DMQ_ASSERT(batch_reader_result(&reader, &msg) == DMQ_OK);
    DMQ_ASSERT(batch_reader_result(&reader_again, &msg) == DMQ_OK);
}

static void
read_and_write_again(struct bytes batch)
{
    bool again = false;
    struct buf *copy = NULL;
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    batch_builder_reset(&builder, NULL);
    if (read_all(batch, &again) == DMQ_OK && again && batch_builder_count(&builder) > 0) {
        options.attributes = (uint16_t)batch_compression(&reader.header);
        DMQ_ASSERT(batch_builder_finish(&builder, &options, compressor, &copy) == DMQ_OK);
        check_same_records(batch, buf_bytes(copy));
    }
    batch_builder_reset(&builder, copy);
}

/* What a client may send, the leader's stamp makes fit for a log. */
static void
check_both_ways(struct buf *batch)
{
    const struct batch_limits client = {.max_bytes = 1048588, .from_client = true};
    const struct batch_limits log = {.from_client = false};
    struct err_msg msg = {0};
    dmq_err as_log = batch_check(buf_bytes(batch), &log, &msg, NULL);
    DMQ_ASSERT(as_log == DMQ_OK || (msg.code == as_log && msg.text[0] != '\0'));
    if (batch_check(buf_bytes(batch), &client, &msg, NULL) == DMQ_OK) {
        batch_stamp(batch->data, 1, 1);
        DMQ_ASSERT(batch_check(buf_bytes(batch), &log, &msg, NULL) == DMQ_OK);
    }
}

static void
try_batch(struct bytes bytes)
{
    struct buf *batch = buf_copy(bytes);
    DMQ_ASSERT(batch != NULL);
    check_both_ways(batch);
    put_be32(batch->data + BATCH_POS_CRC, batch_crc(buf_bytes(batch)));
    check_both_ways(batch);
    read_and_write_again(buf_bytes(batch));
    buf_unref(batch);
}

static void
try_records(uint16_t type, uint8_t count, struct bytes records)
{
    struct buf *batch = buf_new(BATCH_HEADER_SIZE + records.size);
    DMQ_ASSERT(batch != NULL);
    uint8_t *p = batch->data;
    memset(p, 0, BATCH_HEADER_SIZE);
    put_be32(p + BATCH_POS_LENGTH, (uint32_t)(batch->size - BATCH_LENGTH_BASE));
    p[BATCH_POS_MAGIC] = BATCH_MAGIC;
    put_be16(p + BATCH_POS_ATTRIBUTES, type);
    put_be32(p + BATCH_POS_LAST_OFFSET_DELTA, count);
    put_be32(p + BATCH_POS_COUNT, count);
    if (records.size > 0) {
        memcpy(p + BATCH_HEADER_SIZE, records.data, records.size);
    }
    try_batch(buf_bytes(batch));
    buf_unref(batch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t types[] = {BATCH_NONE, BATCH_LZ4, BATCH_ZSTD};
    setup();
    if (size >= 2 && data[0] >= 1 && data[0] <= 3) {
        try_records(types[data[0] - 1], data[1], bytes_of(data + 2, size - 2));
    } else if (size >= 1 && data[0] == 0) {
        struct bytes rest = {data + 1, size - 1};
        struct bytes batch;
        while (batch_next(&rest, &batch) == DMQ_OK) {
            try_batch(batch);
        }
    }
    return 0;
}
