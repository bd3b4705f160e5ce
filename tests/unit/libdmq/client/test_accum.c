/* When batches close and leave, and what they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/client/accum.h"
#include "libdmq/wire/murmur2.h"

static const struct accum_config defaults = {
    .batch_bytes = 1000, .buffer_bytes = 3000, .linger_ms = 0, .max_in_flight = 2, .seed = 1};

static struct accum_topic *
set_up(struct accum *accum, const struct accum_config *config)
{
    accum_init(accum, config);
    struct accum_topic *topic = accum_topic(accum, "orders");
    assert_false(topic->known);
    assert_true(accum_topic_known(topic, 0, 4, 2000));
    return topic;
}

/* Appends a record with a value of `size` bytes. */
static dmq_err
append(struct accum *accum, struct accum_topic *topic, int32_t partition, size_t size,
       bool *ret_wake)
{
    static const uint8_t bytes[4096];
    struct accum_record record = {.partition = partition, .timestamp = 5};
    record.value = (struct bytes){bytes, size};
    dmq_err err = accum_append(accum, topic, &record, 100, ret_wake);
    accum_check_invariants(accum);
    return err;
}

static void
test_a_lone_record_leaves_at_once_and_others_gather(void **state)
{
    struct accum accum;
    bool wake = false;
    struct accum_topic *topic = set_up(&accum, &defaults);
    (void)state;
    assert_int_equal(append(&accum, topic, 1, 10, &wake), DMQ_OK);
    assert_true(wake);
    struct send_batch *first = accum_take(&accum, 100);
    assert_int_equal(first->count, 1);
    assert_int_equal(first->partition, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(&accum, topic, 1, 10, &wake), DMQ_OK);
        assert_false(wake); /* something of the partition is in flight */
    }
    assert_null(accum_take(&accum, 100));
    assert_int_equal(append(&accum, topic, 2, 10, &wake), DMQ_OK);
    assert_true(wake); /* another partition is another matter */
    struct send_batch *other = accum_take(&accum, 100);
    accum_done(&accum, first);
    struct send_batch *second = accum_take(&accum, 100);
    assert_int_equal(second->count, 3);
    accum_done(&accum, second);
    accum_done(&accum, other);
    assert_int_equal(accum.used, 0);
    accum_deinit(&accum);
}

static void
test_full_batches_leave_up_to_the_limit(void **state)
{
    struct accum accum;
    bool wake;
    struct accum_topic *topic = set_up(&accum, &defaults);
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(append(&accum, topic, 0, 600, &wake), DMQ_OK);
    }
    struct send_batch *one = accum_take(&accum, 100);
    struct send_batch *two = accum_take(&accum, 100);
    assert_non_null(two);
    assert_null(accum_take(&accum, 100)); /* two are taken */
    accum_done(&accum, one);
    struct send_batch *three = accum_take(&accum, 100);
    assert_non_null(three);
    assert_null(accum_take(&accum, 100)); /* the open one waits for those in flight */
    accum_done(&accum, two);
    accum_done(&accum, three);
    struct send_batch *four = accum_take(&accum, 100);
    assert_non_null(four);
    accum_done(&accum, four);
    accum_deinit(&accum);
}

static void
test_buffer_is_bounded(void **state)
{
    struct accum accum;
    bool wake;
    struct accum_topic *topic = set_up(&accum, &defaults);
    int taken = 0;
    (void)state;
    while (append(&accum, topic, 0, 500, &wake) == DMQ_OK) {
        taken++;
    }
    assert_int_equal(taken, 6);
    assert_int_equal(append(&accum, topic, 1, 1, &wake), DMQ_ERR_BUFFER_FULL);
    accum_done(&accum, accum_take(&accum, 100));
    assert_int_equal(append(&accum, topic, 1, 1, &wake), DMQ_OK);
    accum_deinit(&accum);
}

static void
test_linger(void **state)
{
    struct accum accum;
    bool wake;
    struct accum_config config = defaults;
    config.linger_ms = 50;
    struct accum_topic *topic = set_up(&accum, &config);
    (void)state;
    assert_int_equal(accum_wake_at(&accum), INT64_MAX);
    assert_int_equal(append(&accum, topic, 0, 10, &wake), DMQ_OK);
    assert_true(wake); /* for the timer */
    assert_int_equal(append(&accum, topic, 0, 10, &wake), DMQ_OK);
    assert_false(wake);
    assert_int_equal(accum_wake_at(&accum), 150);
    assert_null(accum_take(&accum, 149));
    struct send_batch *batch = accum_take(&accum, 150);
    assert_int_equal(batch->count, 2);
    assert_int_equal(accum_wake_at(&accum), INT64_MAX);
    accum_done(&accum, batch);
    accum_deinit(&accum);
}

static void
test_record_larger_than_a_batch_goes_alone(void **state)
{
    struct accum accum;
    bool wake;
    struct accum_topic *topic = set_up(&accum, &defaults);
    (void)state;
    assert_int_equal(append(&accum, topic, 0, 10, &wake), DMQ_OK);
    assert_int_equal(append(&accum, topic, 0, 1500, &wake), DMQ_OK);
    assert_int_equal(append(&accum, topic, 0, 10, &wake), DMQ_OK);
    assert_int_equal(append(&accum, topic, 0, 1990, &wake), DMQ_ERR_BATCH_TOO_LARGE);
    for (int i = 0; i < 3; i++) {
        struct send_batch *batch = accum_take(&accum, 100);
        assert_int_equal(batch->count, 1);
        assert_true((batch->builder.size > 1500) == (i == 1));
        accum_done(&accum, batch);
    }
    assert_null(accum.batches); /* the one that was refused left nothing */
    accum_deinit(&accum);
}

static void
test_flush_closes_and_waits_for_what_was_before(void **state)
{
    struct accum accum;
    bool wake;
    struct accum_config config = defaults;
    config.linger_ms = 1000000;
    struct accum_topic *topic = set_up(&accum, &config);
    (void)state;
    assert_true(accum_flushed(&accum, accum_flush(&accum)));
    append(&accum, topic, 0, 10, &wake);
    append(&accum, topic, 1, 10, &wake);
    uint64_t mark = accum_flush(&accum);
    struct send_batch *one = accum_take(&accum, 100);
    struct send_batch *two = accum_take(&accum, 100);
    append(&accum, topic, 0, 10, &wake); /* after the flush: not its business */
    assert_null(accum_take(&accum, 100));
    accum_done(&accum, two);
    assert_false(accum_flushed(&accum, mark));
    accum_done(&accum, one);
    assert_true(accum_flushed(&accum, mark));
    accum_deinit(&accum);
}

static void
test_partitions_are_chosen(void **state)
{
    struct accum accum;
    bool wake;
    bool seen[4] = {false};
    struct accum_topic *topic = set_up(&accum, &defaults);
    struct accum_record record = {.partition = -1, .timestamp = 5, .key = bytes_str("foobar")};
    (void)state;
    assert_int_equal(accum_append(&accum, topic, &record, 100, &wake), DMQ_OK);
    struct send_batch *keyed = accum_take(&accum, 100);
    assert_int_equal(keyed->partition, (-790332482 & INT32_MAX) % 4); /* as Kafka's */
    accum_done(&accum, keyed);
    record.key = (struct bytes){NULL, 0};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(accum_append(&accum, topic, &record, 100, &wake), DMQ_OK);
        assert_int_equal(accum_append(&accum, topic, &record, 100, &wake), DMQ_OK);
        struct send_batch *batch = accum_take(&accum, 100);
        assert_int_equal(batch->count, 2); /* sticky until the batch leaves */
        seen[batch->partition] = true;
        accum_done(&accum, batch);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    assert_int_equal(append(&accum, topic, 4, 1, &wake), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    accum_deinit(&accum);
}

static void
test_memory_is_used_again(void **state)
{
    struct accum accum;
    bool wake;
    struct accum_topic *topic = set_up(&accum, &defaults);
    const struct buf *memory = NULL;
    (void)state;
    for (int i = 0; i < 5; i++) {
        append(&accum, topic, 0, 900, &wake);
        struct send_batch *batch = accum_take(&accum, 100);
        struct batch_options options = BATCH_DEFAULT_OPTIONS;
        assert_int_equal(batch_builder_finish(&batch->builder, &options, NULL, &batch->data),
                         DMQ_OK);
        assert_true(memory == NULL || batch->data == memory);
        memory = batch->data;
        accum_done(&accum, batch);
    }
    accum_deinit(&accum);
}

static void
test_topic_names_have_a_limit(void **state)
{
    struct accum accum;
    char name[251];
    (void)state;
    accum_init(&accum, &defaults);
    memset(name, 'a', sizeof(name) - 1);
    name[250] = '\0';
    assert_null(accum_topic(&accum, name));
    name[249] = '\0';
    assert_non_null(accum_topic(&accum, name));
    accum_deinit(&accum);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lone_record_leaves_at_once_and_others_gather),
        cmocka_unit_test(test_full_batches_leave_up_to_the_limit),
        cmocka_unit_test(test_buffer_is_bounded),
        cmocka_unit_test(test_linger),
        cmocka_unit_test(test_record_larger_than_a_batch_goes_alone),
        cmocka_unit_test(test_flush_closes_and_waits_for_what_was_before),
        cmocka_unit_test(test_partitions_are_chosen),
        cmocka_unit_test(test_memory_is_used_again),
        cmocka_unit_test(test_topic_names_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
