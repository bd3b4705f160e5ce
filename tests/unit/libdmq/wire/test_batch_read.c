/* Reading records back: what we and Kafka wrote, and what nobody should have written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/rng.h"
#include "libdmq/wire/batch_build.h"
#include "libdmq/wire/batch_read.h"
#include "tests/unit/libdmq/wire/golden_batches.h"

static struct batch_reader reader;
static struct batch_record record;
static struct err_msg msg;

static int
setup(void **state)
{
    const struct decode_limits limits = COMPRESS_DEFAULT_LIMITS;
    (void)state;
    batch_reader_init(&reader, &limits);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    batch_reader_deinit(&reader);
    return 0;
}

static void
assert_text(struct bytes bytes, const char *text)
{
    if (text == NULL) {
        assert_null(bytes.data);
        return;
    }
    assert_non_null(bytes.data); /* empty is not null */
    assert_true(bytes_equal_str(bytes, text));
}

static void
next_is(int64_t offset, int64_t timestamp, const char *key, const char *value)
{
    assert_true(batch_reader_next(&reader, &record));
    assert_true(record.offset == offset);
    assert_true(record.timestamp == timestamp);
    assert_text(record.key, key);
    assert_text(record.value, value);
}

static void
end_is_good(void)
{
    assert_false(batch_reader_next(&reader, &record));
    assert_false(batch_reader_next(&reader, &record));
    assert_int_equal(batch_reader_result(&reader, &msg), DMQ_OK);
}

static void
kafkas_records_are_read_in_place(void **state)
{
    struct record_header header;
    struct bytes batch = bytes_of(golden_plain, sizeof(golden_plain));
    int64_t now = 1700000000000;
    (void)state;
    assert_int_equal(batch_reader_open(&reader, batch, &msg), DMQ_OK);
    next_is(0, now, "key", "value");
    assert_ptr_equal(record.key.data, golden_plain + 66);
    assert_int_equal(record.header_count, 0);
    assert_false(batch_headers_next(&record.headers, &header));
    next_is(1, now + 5, NULL, "");
    next_is(2, now - 2, "", NULL);
    assert_int_equal(record.header_count, 2);
    assert_true(batch_headers_next(&record.headers, &header));
    assert_text(header.key, "h");
    assert_text(header.value, "v");
    assert_true(batch_headers_next(&record.headers, &header));
    assert_text(header.key, "n");
    assert_text(header.value, NULL);
    assert_false(batch_headers_next(&record.headers, &header));
    end_is_good();
    assert_null(batch_reader_plain(&reader));
}

static void
kafkas_compressed_records_are_read(void **state)
{
    static const struct bytes batches[] = {{golden_lz4, sizeof(golden_lz4)},
                                           {golden_zstd, sizeof(golden_zstd)}};
    char value[72] = {0};
    (void)state;
    memset(value, 'a', 71);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(batch_reader_open(&reader, batches[i], &msg), DMQ_OK);
        next_is(0, 1700000000000, "k", value);
        next_is(1, 1700000000001, "k", value);
        end_is_good();
    }
}

static void
unfolded_records_outlive_the_next_batch(void **state)
{
    struct bytes zstd = bytes_of(golden_zstd, sizeof(golden_zstd));
    (void)state;
    assert_int_equal(batch_reader_open(&reader, zstd, &msg), DMQ_OK);
    assert_true(batch_reader_next(&reader, &record));
    struct buf *kept = batch_reader_plain(&reader);
    assert_non_null(kept);
    struct bytes value = record.value;
    assert_true(value.data > kept->data && value.data + value.size <= kept->data + kept->size);
    assert_int_equal(batch_reader_open(&reader, zstd, &msg), DMQ_OK);
    memset(reader.plain->data, 0, reader.plain->size);
    assert_int_equal(value.data[0], 'a');
    assert_int_equal(value.data[70], 'a');
    buf_unref(kept);
}

static void
offsets_continue_from_the_stamp_and_append_time_wins(void **state)
{
    uint8_t copy[sizeof(golden_plain)];
    (void)state;
    memcpy(copy, golden_plain, sizeof(copy));
    batch_stamp(copy, 1000000, 5);
    assert_int_equal(batch_reader_open(&reader, bytes_of(copy, sizeof(copy)), &msg), DMQ_OK);
    next_is(1000000, 1700000000000, "key", "value");
    put_be16(copy + BATCH_POS_ATTRIBUTES, BATCH_LOG_APPEND_TIME);
    put_be64(copy + BATCH_POS_MAX_TIMESTAMP, 42);
    assert_int_equal(batch_reader_open(&reader, bytes_of(copy, sizeof(copy)), &msg), DMQ_OK);
    next_is(1000000, 42, "key", "value");
    next_is(1000001, 42, NULL, "");
    next_is(1000002, 42, "", NULL);
    end_is_good();
}

/* ---- random round trips ---------------------------------------------------------------------- */

enum { MAX_RECORDS = 200, MAX_HEADERS = 4, POOL = 4096 };

static uint8_t pool[POOL];

struct drawn {
    int64_t timestamp;
    struct bytes key;
    struct bytes value;
    struct record_header headers[MAX_HEADERS];
    size_t header_count;
};

static struct bytes
draw_bytes(struct rng *rng, bool nullable)
{
    static const size_t most[] = {0, 1, 63, 64, 100, 2000};
    if (nullable && rng_chance(rng, 100)) {
        return (struct bytes){NULL, 0};
    }
    size_t size = rng_below(rng, most[rng_below(rng, 6)] + 1);
    return bytes_of(pool + rng_below(rng, POOL - size), size);
}

static void
draw(struct rng *rng, struct drawn *ret_drawn)
{
    static const int64_t times[] = {-1, 0, 1, 1700000000000, INT64_MAX - 1};
    int64_t time = times[rng_below(rng, 5)];
    ret_drawn->timestamp =
        rng_chance(rng, 500) ? time : 1700000000000 + (int64_t)rng_below(rng, 99);
    ret_drawn->key = draw_bytes(rng, true);
    ret_drawn->value = draw_bytes(rng, true);
    ret_drawn->header_count = rng_chance(rng, 300) ? rng_below(rng, MAX_HEADERS + 1) : 0;
    for (size_t i = 0; i < ret_drawn->header_count; i++) {
        ret_drawn->headers[i] =
            (struct record_header){draw_bytes(rng, false), draw_bytes(rng, true)};
    }
}

static void
assert_same(struct bytes a, struct bytes b)
{
    assert_int_equal(a.data == NULL, b.data == NULL);
    assert_true(bytes_equal(a, b));
}

static void
check_record(const struct drawn *drawn, int64_t offset)
{
    struct record_header header;
    assert_true(batch_reader_next(&reader, &record));
    assert_true(record.offset == offset && record.timestamp == drawn->timestamp);
    assert_same(record.key, drawn->key);
    assert_same(record.value, drawn->value);
    assert_int_equal(record.header_count, drawn->header_count);
    for (size_t i = 0; i < drawn->header_count; i++) {
        assert_true(batch_headers_next(&record.headers, &header));
        assert_same(header.key, drawn->headers[i].key);
        assert_same(header.value, drawn->headers[i].value);
    }
    assert_false(batch_headers_next(&record.headers, &header));
}

static void
random_batches_come_back(void **state)
{
    static const uint16_t types[] = {BATCH_NONE, BATCH_LZ4, BATCH_ZSTD};
    static struct drawn drawn[MAX_RECORDS];
    const struct batch_limits limits = {.max_bytes = 100000, .from_client = true};
    struct compressor *compressor = compressor_new();
    struct batch_builder builder;
    struct buf *batch = NULL;
    struct rng rng;
    size_t stored[8] = {0};
    size_t full = 0;
    (void)state;
    rng_init(&rng, 20);
    for (size_t i = 0; i < POOL; i++) {
        pool[i] = (uint8_t)rng_below(&rng, i < POOL / 2 ? 4 : 256);
    }
    batch_builder_init(&builder, limits.max_bytes);
    for (int i = 0; i < 600; i++) {
        int64_t base = (int64_t)rng_below(&rng, INT64_MAX - MAX_RECORDS);
        size_t wanted = 1 + rng_below(&rng, MAX_RECORDS);
        size_t count = 0;
        dmq_err err = DMQ_OK;
        for (; count < wanted && err == DMQ_OK; count += err == DMQ_OK) {
            draw(&rng, &drawn[count]);
            err = batch_builder_append(&builder, drawn[count].timestamp, drawn[count].key,
                                       drawn[count].value, drawn[count].headers,
                                       drawn[count].header_count);
        }
        full += err == DMQ_ERR_BUFFER_FULL;
        struct batch_options options = BATCH_DEFAULT_OPTIONS;
        options.attributes = types[i % 3];
        assert_int_equal(batch_builder_finish(&builder, &options, compressor, &batch), DMQ_OK);
        batch_stamp(batch->data, base, 3);
        assert_int_equal(batch_check(buf_bytes(batch), &limits, &msg, NULL), DMQ_OK);
        assert_int_equal(batch_reader_open(&reader, buf_bytes(batch), &msg), DMQ_OK);
        for (size_t k = 0; k < count; k++) {
            check_record(&drawn[k], base + (int64_t)k);
        }
        end_is_good();
        stored[batch_compression(&reader.header)]++;
        batch_builder_reset(&builder, batch);
    }
    batch_builder_deinit(&builder);
    compressor_free(compressor);
    printf("round trips: %zu none, %zu lz4, %zu zstd, %zu full\n", stored[BATCH_NONE],
           stored[BATCH_LZ4], stored[BATCH_ZSTD], full);
    assert_true(stored[BATCH_NONE] > 100 && stored[BATCH_LZ4] > 100 && stored[BATCH_ZSTD] > 100);
    assert_true(full > 10);
}

/* ---- records that nobody should have written ------------------------------------------------- */

/* golden_plain's header with other records behind it; the caller releases it. */
static struct buf *
batch_with(const uint8_t *records, size_t size, int32_t count, int32_t last_offset_delta)
{
    struct buf *batch = buf_new(BATCH_HEADER_SIZE + size);
    memcpy(batch->data, golden_plain, BATCH_HEADER_SIZE);
    memcpy(batch->data + BATCH_HEADER_SIZE, records, size);
    put_be32(batch->data + BATCH_POS_LENGTH, (uint32_t)(batch->size - BATCH_LENGTH_BASE));
    put_be32(batch->data + BATCH_POS_COUNT, (uint32_t)count);
    put_be32(batch->data + BATCH_POS_LAST_OFFSET_DELTA, (uint32_t)last_offset_delta);
    put_be32(batch->data + BATCH_POS_CRC, batch_crc(buf_bytes(batch)));
    return batch;
}

static dmq_err
check_with(const uint8_t *records, size_t size, int32_t count, int32_t last_offset_delta)
{
    struct buf *batch = batch_with(records, size, count, last_offset_delta);
    dmq_err err = batch_check_records(&reader, buf_bytes(batch), &msg);
    buf_unref(batch);
    return err;
}

struct bad {
    const char *why; /* part of the sentence */
    size_t size;
    uint8_t bytes[20];
};

static void
malformed_records_are_refused(void **state)
{
    static const struct bad bad[] = {
        {NULL, 7, {12, 0, 0, 0, 1, 1, 0}}, /* good: the smallest record */
        {NULL, 9, {16, 0, 0, 0, 2, 'k', 2, 'v', 0}},
        {NULL, 7, {12, 255, 0, 0, 1, 1, 0}}, /* attributes mean nothing */
        {"length", 1, {0}},
        {"length", 7, {1, 0, 0, 0, 1, 1, 0}}, /* -1 */
        {"length", 7, {14, 0, 0, 0, 1, 1, 0}},
        {"length", 6, {255, 255, 255, 255, 15, 0}}, /* INT32_MIN */
        {"length", 6, {254, 255, 255, 255, 15, 0}}, /* INT32_MAX */
        {"length", 6, {128, 128, 128, 128, 128, 0}},
        {"cut short", 2, {2, 0}},
        {"cut short", 3, {4, 0, 0}},
        {"cut short", 7, {12, 0, 128, 128, 128, 128, 128}},
        {"offsets", 7, {12, 0, 0, 1, 1, 1, 0}}, /* delta -1 */
        {"offsets", 7, {12, 0, 0, 2, 1, 1, 0}}, /* delta 1 of at most 0 */
        {"beyond the record", 4, {6, 0, 0, 0}},
        {"beyond the record", 7, {12, 0, 0, 0, 3, 1, 0}}, /* key of -2 */
        {"beyond the record", 7, {12, 0, 0, 0, 8, 1, 0}}, /* key of 4 */
        {"beyond the record", 7, {12, 0, 0, 0, 1, 4, 0}}, /* value of 2 */
        {"beyond the record", 6, {10, 0, 0, 0, 1, 1}},    /* no number of headers */
        {"headers", 7, {12, 0, 0, 0, 1, 1, 1}},           /* -1 headers */
        {"headers", 7, {12, 0, 0, 0, 1, 1, 2}},           /* 1, but there is none */
        {"headers", 8, {14, 0, 0, 0, 1, 1, 0, 0}},        /* none, but there is a byte */
        {"headers", 9, {16, 0, 0, 0, 1, 1, 2, 1, 1}},     /* a null key */
        {"headers", 9, {16, 0, 0, 0, 1, 1, 2, 0, 2}},     /* a value of 1, not there */
        {"headers", 10, {18, 0, 0, 0, 1, 1, 2, 0, 1, 0}}, /* a byte after the last */
        {"headers", 11, {20, 0, 0, 0, 1, 1, 254, 255, 255, 255, 15}}, /* INT32_MAX */
        {"after the last", 8, {12, 0, 0, 0, 1, 1, 0, 0}},
        {"after the last", 14, {12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0}},
        {"timestamp", 16, {30, 0, 254, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 1, 1, 0}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        dmq_err err = check_with(bad[i].bytes, bad[i].size, 1, 0);
        assert_int_equal(err, bad[i].why == NULL ? DMQ_OK : DMQ_ERR_CORRUPT_BATCH);
        if (bad[i].why != NULL && strstr(msg.text, bad[i].why) == NULL) {
            fail_msg("%zu: '%s' is not in: %s", i, bad[i].why, msg.text);
        }
    }
}

static void
offsets_rise_and_may_have_gaps(void **state)
{
    static const uint8_t gap[] = {12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 10, 1, 1, 0}; /* 2, 5 */
    static const uint8_t same[] = {12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0};
    static const uint8_t fall[] = {12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0};
    (void)state;
    assert_int_equal(check_with(gap, sizeof(gap), 2, 5), DMQ_OK);
    assert_int_equal(check_with(gap, sizeof(gap), 2, 9), DMQ_OK);
    assert_int_equal(check_with(gap, sizeof(gap), 2, 4), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(same, sizeof(same), 2, 1), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(fall, sizeof(fall), 2, 5), DMQ_ERR_CORRUPT_BATCH);
    assert_non_null(strstr(msg.text, "record 2 of 2"));
}

static void
the_count_is_exact(void **state)
{
    static const uint8_t two[] = {12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0};
    (void)state;
    assert_int_equal(check_with(two, sizeof(two), 2, 1), DMQ_OK);
    assert_int_equal(check_with(two, sizeof(two), 1, 1), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(two, sizeof(two), 3, 2), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(two, sizeof(two), INT32_MAX, INT32_MAX), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(two, sizeof(two), -1, 0), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(two, sizeof(two), 0, 0), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(check_with(two, 0, 0, 7), DMQ_OK); /* emptied by compaction */
}

static void
headers_that_make_no_sense_are_not_opened(void **state)
{
    uint8_t copy[sizeof(golden_plain)];
    struct bytes batch = bytes_of(copy, sizeof(copy));
    (void)state;
    memcpy(copy, golden_plain, sizeof(copy));
    batch_stamp(copy, INT64_MAX - 1, 0);
    assert_int_equal(batch_reader_open(&reader, batch, &msg), DMQ_ERR_CORRUPT_BATCH);
    assert_false(batch_reader_next(&reader, &record));
    batch_stamp(copy, 0, 0);
    put_be32(copy + BATCH_POS_LAST_OFFSET_DELTA, UINT32_MAX);
    assert_int_equal(batch_reader_open(&reader, batch, &msg), DMQ_ERR_CORRUPT_BATCH);
    memcpy(copy, golden_plain, sizeof(copy));
    for (uint8_t type = 0; type < 8; type++) {
        copy[BATCH_POS_ATTRIBUTES + 1] = type;
        dmq_err err = batch_reader_open(&reader, batch, &msg);
        bool known = type == BATCH_LZ4 || type == BATCH_ZSTD; /* but these records are not */
        assert_int_equal(err, type == BATCH_NONE ? DMQ_OK
                              : known            ? DMQ_ERR_CORRUPT_BATCH
                                                 : DMQ_ERR_UNSUPPORTED_COMPRESSION);
    }
    assert_int_equal(batch_reader_open(&reader, bytes_of(copy, 50), &msg), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(batch_reader_open(&reader, bytes_of(copy, 96), &msg), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(batch_reader_open(&reader, bytes_of(NULL, 0), &msg), DMQ_ERR_CORRUPT_BATCH);
}

/* Records cut at every byte, in a batch that is otherwise right. */
static void
every_cut_is_refused(void **state)
{
    static const struct bytes batches[] = {{golden_plain, sizeof(golden_plain)},
                                           {golden_lz4, sizeof(golden_lz4)},
                                           {golden_zstd, sizeof(golden_zstd)}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t size = BATCH_HEADER_SIZE; size < batches[i].size; size++) {
            struct buf *cut = buf_copy(bytes_of(batches[i].data, size));
            put_be32(cut->data + BATCH_POS_LENGTH, (uint32_t)(size - BATCH_LENGTH_BASE));
            assert_int_equal(batch_check_records(&reader, buf_bytes(cut), &msg),
                             DMQ_ERR_CORRUPT_BATCH);
            buf_unref(cut);
        }
    }
}

static bool
lies_in(struct bytes part, struct bytes whole)
{
    return part.data == NULL ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

/* Without the CRC's protection: nothing points outside, whatever the bit. */
static void
flipped_bits_in_records_do_no_harm(void **state)
{
    uint8_t copy[sizeof(golden_plain)];
    struct bytes batch = bytes_of(copy, sizeof(copy));
    struct record_header header;
    size_t refused = 0;
    size_t read = 0;
    (void)state;
    memcpy(copy, golden_plain, sizeof(copy));
    for (size_t bit = 0; bit < sizeof(copy) * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        dmq_err err = batch_reader_open(&reader, batch, &msg);
        while (err == DMQ_OK && batch_reader_next(&reader, &record)) {
            assert_true(lies_in(record.key, batch) && lies_in(record.value, batch));
            while (batch_headers_next(&record.headers, &header)) {
                assert_true(lies_in(header.key, batch) && lies_in(header.value, batch));
            }
            read++;
        }
        refused += err != DMQ_OK || batch_reader_result(&reader, &msg) != DMQ_OK;
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_true(refused > 200 && read > 500);
}

/* The limits of the reader hold for a batch whose frame is a bomb. */
static void
a_bomb_is_refused(void **state)
{
    struct batch_builder builder;
    struct compressor *compressor = compressor_new();
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    const struct decode_limits small = {.max_bytes = 2 << 20, .max_ratio = 1000};
    static const uint8_t zeros[3 << 20];
    struct buf *batch = NULL;
    (void)state;
    options.attributes = BATCH_LZ4;
    batch_builder_init(&builder, 4 << 20);
    batch_builder_append(&builder, 0, bytes_of(NULL, 0), bytes_of(zeros, sizeof(zeros)), NULL, 0);
    assert_int_equal(batch_builder_finish(&builder, &options, compressor, &batch), DMQ_OK);
    assert_int_equal(batch_check_records(&reader, buf_bytes(batch), &msg), DMQ_OK);
    batch_reader_deinit(&reader);
    batch_reader_init(&reader, &small);
    assert_int_equal(batch_check_records(&reader, buf_bytes(batch), &msg), DMQ_ERR_BATCH_TOO_LARGE);
    assert_non_null(strstr(msg.text, "2097152"));
    buf_unref(batch);
    batch_builder_deinit(&builder);
    compressor_free(compressor);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(kafkas_records_are_read_in_place),
        TEST(kafkas_compressed_records_are_read),
        TEST(unfolded_records_outlive_the_next_batch),
        TEST(offsets_continue_from_the_stamp_and_append_time_wins),
        TEST(random_batches_come_back),
        TEST(malformed_records_are_refused),
        TEST(offsets_rise_and_may_have_gaps),
        TEST(the_count_is_exact),
        TEST(headers_that_make_no_sense_are_not_opened),
        TEST(every_cut_is_refused),
        TEST(flipped_bits_in_records_do_no_harm),
        TEST(a_bomb_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
