#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/base/rng.h"
#include "libdmq/wire/batch_build.h"
#include "libdmq/wire/batch_read.h"
#include "tests/unit/libdmq/wire/golden_batches.h"

static const struct bytes null_bytes;
static const struct batch_options no_options = {.producer_epoch = BATCH_NO_PRODUCER_EPOCH,
                                                .base_sequence = BATCH_NO_SEQUENCE,
                                                .producer_id = BATCH_NO_PRODUCER_ID};

static struct buf *
finish(struct batch_builder *builder, const struct batch_options *options,
       struct compressor *compressor)
{
    const struct batch_limits limits = {.max_bytes = builder->max_bytes, .from_client = true};
    struct buf *batch = NULL;
    struct err_msg msg;
    assert_int_equal(batch_builder_finish(builder, options, compressor, &batch), DMQ_OK);
    assert_int_equal(batch_check(buf_bytes(batch), &limits, &msg, NULL), DMQ_OK);
    assert_int_equal(batch_builder_count(builder), 0);
    assert_int_equal(batch_builder_size(builder), BATCH_HEADER_SIZE);
    return batch;
}

static dmq_err
append_value(struct batch_builder *builder, const void *value, size_t size)
{
    return batch_builder_append(builder, 1, null_bytes, bytes_of(value, size), NULL, 0);
}

/* The records of golden_plain. */
static void
append_golden(struct batch_builder *builder)
{
    const struct record_header headers[] = {{bytes_str("h"), bytes_str("v")},
                                            {bytes_str("n"), {NULL, 0}}};
    int64_t now = 1700000000000;
    assert_int_equal(
        batch_builder_append(builder, now, bytes_str("key"), bytes_str("value"), NULL, 0), DMQ_OK);
    assert_int_equal(batch_builder_append(builder, now + 5, null_bytes, bytes_str(""), NULL, 0),
                     DMQ_OK);
    assert_int_equal(batch_builder_append(builder, now - 2, bytes_str(""), null_bytes, headers, 2),
                     DMQ_OK);
}

static void
the_bytes_are_kafkas(void **state)
{
    struct batch_builder builder;
    const struct batch_options options = {
        .producer_id = 4711, .producer_epoch = 2, .base_sequence = 100};
    (void)state;
    batch_builder_init(&builder, 1048588);
    append_golden(&builder);
    assert_int_equal(batch_builder_size(&builder), sizeof(golden_plain));
    assert_int_equal(batch_builder_count(&builder), 3);
    struct buf *batch = finish(&builder, &options, NULL);
    assert_int_equal(batch->size, sizeof(golden_plain));
    assert_memory_equal(batch->data, golden_plain, sizeof(golden_plain));
    buf_unref(batch);
    batch_builder_deinit(&builder);
}

static void
full_is_full_to_the_byte(void **state)
{
    static const uint8_t value[200];
    struct batch_builder builder;
    (void)state;
    batch_builder_init(&builder, 200);
    /* 61 + length 2 + attributes, deltas, key 4 + value's length 2 + value + headers 1 */
    assert_int_equal(append_value(&builder, value, 131), DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(append_value(&builder, value, 100), DMQ_OK);
    assert_int_equal(append_value(&builder, value, 30), DMQ_ERR_BUFFER_FULL);
    assert_int_equal(append_value(&builder, value, 131), DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(append_value(&builder, value, 130), DMQ_ERR_BUFFER_FULL);
    assert_int_equal(batch_builder_count(&builder), 1);
    struct buf *batch = finish(&builder, &no_options, NULL);
    assert_int_equal(batch->size, 170);
    batch_builder_reset(&builder, batch);
    assert_int_equal(append_value(&builder, value, 130), DMQ_OK);
    assert_int_equal(batch_builder_size(&builder), 200);
    assert_int_equal(append_value(&builder, value, 0), DMQ_ERR_BUFFER_FULL);
    batch = finish(&builder, &no_options, NULL);
    assert_int_equal(batch->size, 200);
    buf_unref(batch);
    batch_builder_deinit(&builder);
}

/* trap: lengths are checked before arithmetic. */
static void
absurd_sizes_do_not_overflow(void **state)
{
    static const uint8_t byte;
    struct batch_builder builder;
    struct record_header header = {bytes_of(&byte, SIZE_MAX - 3), null_bytes};
    (void)state;
    batch_builder_init(&builder, INT32_MAX);
    assert_int_equal(append_value(&builder, &byte, SIZE_MAX), DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(append_value(&builder, &byte, INT32_MAX), DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(batch_builder_append(&builder, 0, bytes_of(&byte, (size_t)UINT32_MAX + 2),
                                          null_bytes, NULL, 0),
                     DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(batch_builder_append(&builder, 0, null_bytes, null_bytes, &header, 1),
                     DMQ_ERR_BATCH_TOO_LARGE);
    header = (struct record_header){bytes_str("k"), bytes_of(&byte, (size_t)INT32_MAX + 1)};
    assert_int_equal(batch_builder_append(&builder, 0, null_bytes, null_bytes, &header, 1),
                     DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(batch_builder_append(&builder, 0, null_bytes, null_bytes, &header, SIZE_MAX),
                     DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(batch_builder_count(&builder), 0);
    batch_builder_deinit(&builder);
}

static void
bad_records_change_nothing(void **state)
{
    struct batch_builder builder;
    const struct record_header null_key = {null_bytes, bytes_str("v")};
    (void)state;
    batch_builder_init(&builder, 1000);
    assert_int_equal(batch_builder_append(&builder, -2, null_bytes, null_bytes, NULL, 0),
                     DMQ_ERR_INVALID_TIMESTAMP);
    assert_int_equal(batch_builder_append(&builder, INT64_MIN, null_bytes, null_bytes, NULL, 0),
                     DMQ_ERR_INVALID_TIMESTAMP);
    assert_int_equal(batch_builder_append(&builder, 0, null_bytes, null_bytes, &null_key, 1),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(
        batch_builder_append(&builder, BATCH_NO_TIMESTAMP, null_bytes, null_bytes, NULL, 0),
        DMQ_OK);
    /* INT64_MAX - -1 is no delta. */
    assert_int_equal(batch_builder_append(&builder, INT64_MAX, null_bytes, null_bytes, NULL, 0),
                     DMQ_ERR_INVALID_TIMESTAMP);
    assert_int_equal(batch_builder_append(&builder, INT64_MAX - 1, null_bytes, null_bytes, NULL, 0),
                     DMQ_OK);
    assert_int_equal(batch_builder_count(&builder), 2);
    struct buf *batch = finish(&builder, &no_options, NULL);
    struct batch_header header;
    assert_int_equal(batch_parse(buf_bytes(batch), &header), DMQ_OK);
    assert_true(header.base_timestamp == -1 && header.max_timestamp == INT64_MAX - 1);
    buf_unref(batch);
    batch_builder_deinit(&builder);
}

static void
memory_is_used_again_unless_shared(void **state)
{
    struct batch_builder builder;
    static const uint8_t value[10000];
    (void)state;
    batch_builder_init(&builder, 100000);
    assert_int_equal(append_value(&builder, value, sizeof(value)), DMQ_OK);
    struct buf *first = finish(&builder, &no_options, NULL);
    const uint8_t *memory = first->data;
    size_t pinned = first->pinned;
    batch_builder_reset(&builder, first);
    assert_int_equal(append_value(&builder, value, 10), DMQ_OK);
    struct buf *second = finish(&builder, &no_options, NULL);
    assert_ptr_equal(second->data, memory);
    assert_true(second->size < 100 && second->pinned == pinned); /* budgets see all of it */
    buf_ref(second);
    batch_builder_reset(&builder, second); /* somebody still reads it */
    assert_int_equal(append_value(&builder, value, 10), DMQ_OK);
    struct buf *third = finish(&builder, &no_options, NULL);
    assert_ptr_not_equal(third->data, memory);
    batch_builder_reset(&builder, third);
    batch_builder_reset(&builder, NULL);
    buf_unref(second);
    batch_builder_deinit(&builder);
}

/* Growth keeps what was written: the batch is larger than every step of it. */
static void
a_batch_grows_to_its_limit(void **state)
{
    struct batch_builder builder;
    struct batch_reader reader;
    struct batch_record record;
    struct err_msg msg;
    const struct decode_limits limits = COMPRESS_DEFAULT_LIMITS;
    uint8_t value[100] = {0};
    uint32_t count = 0;
    (void)state;
    batch_builder_init(&builder, 1048588);
    while (append_value(&builder, value, sizeof(value)) == DMQ_OK) {
        put_be32(value, ++count);
    }
    assert_int_equal(count, batch_builder_count(&builder));
    assert_true(batch_builder_size(&builder) > 1048588 - 111);
    struct buf *batch = finish(&builder, &no_options, NULL);
    assert_true(batch->pinned <= 1048588 + sizeof(struct buf));
    batch_reader_init(&reader, &limits);
    assert_int_equal(batch_reader_open(&reader, buf_bytes(batch), &msg), DMQ_OK);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(batch_reader_next(&reader, &record));
        assert_int_equal(get_be32(record.value.data), i);
    }
    assert_false(batch_reader_next(&reader, &record));
    assert_int_equal(batch_reader_result(&reader, &msg), DMQ_OK);
    batch_reader_deinit(&reader);
    buf_unref(batch);
    batch_builder_deinit(&builder);
}

static void
another_producer_is_stamped_in_place_or_on_a_copy(void **state)
{
    struct batch_builder builder;
    struct batch_header header;
    struct batch_options options = {.producer_id = 1, .producer_epoch = 1, .base_sequence = 1};
    const struct batch_limits limits = {.from_client = true};
    struct err_msg msg;
    (void)state;
    batch_builder_init(&builder, 1048588);
    append_golden(&builder);
    struct buf *batch = finish(&builder, &options, NULL);
    uint8_t *memory = batch->data;
    batch = batch_take_with_producer(batch, 4711, 2, 100);
    assert_ptr_equal(batch->data, memory);
    assert_memory_equal(batch->data, golden_plain, sizeof(golden_plain));
    struct buf *on_its_way = buf_ref(batch);
    batch = batch_take_with_producer(batch, 5, 6, 7);
    assert_ptr_not_equal(batch->data, memory);
    assert_memory_equal(on_its_way->data, golden_plain, sizeof(golden_plain));
    assert_int_equal(batch_check(buf_bytes(batch), &limits, &msg, &header), DMQ_OK);
    assert_true(header.producer_id == 5 && header.producer_epoch == 6 && header.base_sequence == 7);
    buf_unref(batch);
    assert_int_equal(buf_reusable(on_its_way) > 0, 1); /* the copy's reference is gone */
    buf_unref(on_its_way);
    batch_builder_deinit(&builder);
}

/* Fills a batch with records of size bytes, random or all the same; returns it compressed. */
static struct buf *
compressed(struct batch_builder *builder, uint16_t type, struct compressor *compressor, bool random)
{
    struct batch_options options = no_options;
    uint8_t value[1000] = {0};
    struct rng rng;
    rng_init(&rng, type);
    for (int i = 0; i < 100; i++) {
        for (size_t at = 0; random && at < sizeof(value); at += 8) {
            put_be64(value + at, rng_next(&rng));
        }
        assert_int_equal(append_value(builder, value, sizeof(value)), DMQ_OK);
    }
    options.attributes = type;
    return finish(builder, &options, compressor);
}

static void
compression_that_gains_nothing_is_left_out(void **state)
{
    struct batch_builder builder;
    struct compressor *compressor = compressor_new();
    struct batch_header header;
    (void)state;
    batch_builder_init(&builder, 1048588);
    static const uint16_t types[] = {BATCH_LZ4, BATCH_ZSTD};
    for (size_t i = 0; i < 2; i++) {
        struct buf *batch = compressed(&builder, types[i], compressor, false);
        assert_int_equal(batch_parse(buf_bytes(batch), &header), DMQ_OK);
        assert_int_equal(header.attributes, types[i]);
        assert_true(batch->size < 10000);
        assert_true(batch->pinned < 10000 + sizeof(struct buf)); /* not the room of before */
        buf_unref(batch);
        batch = compressed(&builder, types[i], compressor, true);
        assert_int_equal(batch_parse(buf_bytes(batch), &header), DMQ_OK);
        assert_int_equal(header.attributes, BATCH_NONE);
        buf_unref(batch);
    }
    batch_builder_deinit(&builder);
    compressor_free(compressor);
}

/* What our own reader would refuse as a bomb is sent as it is. */
static void
no_batch_of_ours_looks_like_a_bomb(void **state)
{
    struct batch_builder builder;
    struct compressor *compressor = compressor_new();
    struct batch_header header;
    struct batch_options options = no_options;
    static const uint8_t value[1 << 20];
    (void)state;
    batch_builder_init(&builder, 64 << 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(append_value(&builder, value, sizeof(value)), DMQ_OK);
    }
    options.attributes = BATCH_ZSTD;
    struct buf *batch = finish(&builder, &options, compressor);
    assert_int_equal(batch_parse(buf_bytes(batch), &header), DMQ_OK);
    assert_int_equal(header.attributes, BATCH_NONE);
    assert_true(batch->size > 20 << 20);
    buf_unref(batch);
    batch_builder_deinit(&builder);
    compressor_free(compressor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_kafkas),
        cmocka_unit_test(full_is_full_to_the_byte),
        cmocka_unit_test(absurd_sizes_do_not_overflow),
        cmocka_unit_test(bad_records_change_nothing),
        cmocka_unit_test(memory_is_used_again_unless_shared),
        cmocka_unit_test(a_batch_grows_to_its_limit),
        cmocka_unit_test(another_producer_is_stamped_in_place_or_on_a_copy),
        cmocka_unit_test(compression_that_gains_nothing_is_left_out),
        cmocka_unit_test(no_batch_of_ours_looks_like_a_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
