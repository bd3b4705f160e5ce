/* Sending through everything that can happen to a connection. */
#include "tests/unit/libdmq/api/fixture.h"

#include <pthread.h>

static void
test_deliveries_come_from_the_queue(void **state)
{
    struct fixture f;
    dmq_delivery deliveries[10];
    size_t got = 0;
    (void)state;
    set_up(&f);
    open_producer(&f, "linger.ms", "20");
    for (uint64_t i = 0; i < 10; i++) {
        dmq_record record = record_of(1, "x");
        record.opaque = i % 2 == 0 ? 0 : 100 + i; /* only the odd ones are asked for */
        record.timestamp = (int64_t)(5000 + i);
        assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    }
    while (got < 5) {
        size_t n =
            dmq_producer_poll(f.producer, deliveries + got, sizeof(deliveries[0]), 3, TIMEOUT_MS);
        assert_true(n > 0 && n <= 3);
        got += n;
    }
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(deliveries[i].opaque, 101 + 2 * i);
        assert_int_equal(deliveries[i].code, DMQ_OK);
        assert_int_equal(deliveries[i].partition, 1);
        assert_int_equal(deliveries[i].offset, 1 + 2 * i);
        assert_int_equal(deliveries[i].timestamp, 5001 + 2 * i);
    }
    assert_int_equal(dmq_producer_poll(f.producer, deliveries, sizeof(deliveries[0]), 3, 0), 0);
    tear_down(&f);
}

static void
test_many_at_once_and_flush(void **state)
{
    struct fixture f;
    struct {
        dmq_record record;
        int more; /* a caller's own struct around it */
    } records[500];
    size_t sent = 0;
    uint64_t failed = 7;
    (void)state;
    set_up(&f);
    open_producer(&f, "batch.size", "1000");
    for (int i = 0; i < 500; i++) {
        records[i].record = record_of(0, "0123456789");
    }
    assert_int_equal(dmq_producer_send_many(f.producer, "t", &records[0].record, sizeof(records[0]),
                                            500, TIMEOUT_MS, &sent, &f.error),
                     DMQ_OK);
    assert_int_equal(sent, 500);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, &failed, &f.error), DMQ_OK);
    assert_int_equal(failed, 0);
    assert_int_equal(fake_broker_end(f.broker, "t", 0), 500);
    records[3].record.size = 1;
    assert_int_equal(dmq_producer_send_many(f.producer, "t", &records[0].record, sizeof(records[0]),
                                            500, TIMEOUT_MS, &sent, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(sent, 3);
    tear_down(&f);
}

/* Each fault in the middle of a stream: afterwards every record is there once, in order. */
static void
stream_through(struct fake_fault fault)
{
    struct fixture f;
    set_up(&f);
    open_producer(&f, "batch.size", "300");
    send_numbers(&f, 0, 1000);
    fake_broker_fault(f.broker, fault);
    send_numbers(&f, 1000, 2000);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    assert_int_equal(fake_broker_end(f.broker, "t", 0), 3000);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 3000);
    tear_down(&f);
}

static void
test_stream_through_retriable_errors(void **state)
{
    (void)state;
    stream_through((struct fake_fault){.api_key = API_PRODUCE,
                                       .times = 5,
                                       .skip = 2,
                                       .kind = FAKE_ERROR,
                                       .error = DMQ_ERR_THROTTLED});
}

static void
test_stream_through_broken_connections(void **state)
{
    (void)state;
    stream_through((struct fake_fault){
        .api_key = API_PRODUCE, .times = 4, .skip = 3, .kind = FAKE_DISCONNECT});
}

static void
test_stream_through_lost_answers(void **state)
{
    (void)state;
    stream_through((struct fake_fault){
        .api_key = API_PRODUCE, .times = 4, .skip = 3, .kind = FAKE_DONE_DISCONNECT});
}

static void
test_stream_through_late_answers(void **state)
{
    (void)state;
    stream_through((struct fake_fault){
        .api_key = API_PRODUCE, .times = 5, .skip = 1, .kind = FAKE_LATE, .delay_ms = 100});
}

static void
test_stream_through_garbage(void **state)
{
    (void)state;
    stream_through(
        (struct fake_fault){.api_key = API_PRODUCE, .times = 3, .skip = 1, .kind = FAKE_GARBAGE});
}

/* The answer is lost after the record was stored: it is there once all the same. */
static void
test_answer_lost_after_the_sync_is_one_record(void **state)
{
    struct fixture f;
    dmq_delivery delivery;
    dmq_record record = record_of(0, "once");
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    fake_broker_fault(
        f.broker,
        (struct fake_fault){.api_key = API_PRODUCE, .times = 1, .kind = FAKE_DONE_DISCONNECT});
    assert_int_equal(
        dmq_producer_send_wait(f.producer, "t", &record, TIMEOUT_MS, &delivery, &f.error), DMQ_OK);
    assert_int_equal(delivery.offset, 0);
    assert_int_equal(fake_broker_end(f.broker, "t", 0), 1);
    assert_int_equal(fake_broker_duplicates(f.broker), 1);
    tear_down(&f);
}

static void
test_silent_broker_is_left_and_asked_again(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    open_producer(&f, "request.timeout.ms", "100"); /* plus a second for the way */
    fake_broker_fault(f.broker,
                      (struct fake_fault){.api_key = API_PRODUCE, .times = 1, .kind = FAKE_MUTE});
    send_numbers(&f, 0, 10);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    assert_int_equal(fake_broker_end(f.broker, "t", 0), 10);
    assert_int_equal(fake_broker_duplicates(f.broker), 1);
    tear_down(&f);
}

static void
test_broker_that_comes_back(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    send_numbers(&f, 0, 10);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    fake_broker_down(f.broker);
    send_numbers(&f, 10, 10);
    assert_int_equal(dmq_producer_flush(f.producer, 50, NULL, &f.error), DMQ_ERR_TIMEOUT);
    fake_broker_up(f.broker);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 20);
    tear_down(&f);
}

static void
test_refused_records_are_told(void **state)
{
    struct fixture f;
    dmq_delivery delivery;
    uint64_t failed = 0;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    send_numbers(&f, 0, 1);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    fake_broker_fault(f.broker, (struct fake_fault){.api_key = API_PRODUCE,
                                                    .times = 1,
                                                    .kind = FAKE_ERROR,
                                                    .error = DMQ_ERR_TOPIC_DENIED});
    dmq_record record = record_of(0, "x");
    record.opaque = 5;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, &failed, &f.error),
                     DMQ_ERR_TOPIC_DENIED);
    assert_int_equal(failed, 1);
    assert_int_equal(f.error.code, DMQ_ERR_TOPIC_DENIED);
    assert_int_equal(f.error.cls, DMQ_CLASS_FATAL);
    assert_int_equal(dmq_producer_poll(f.producer, &delivery, sizeof(delivery), 1, 0), 1);
    assert_int_equal(delivery.opaque, 5);
    assert_int_equal(delivery.code, DMQ_ERR_TOPIC_DENIED);
    assert_int_equal(delivery.offset, -1);
    send_numbers(&f, 1, 5); /* and it goes on */
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, &failed, &f.error), DMQ_OK);
    assert_int_equal(failed, 0);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 6);
    tear_down(&f);
}

static void
test_delivery_timeout(void **state)
{
    struct fixture f;
    dmq_record record = record_of(0, "x");
    (void)state;
    set_up(&f);
    open_producer(&f, "delivery.timeout.ms", "200");
    send_numbers(&f, 0, 1);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    fake_broker_down(f.broker);
    dmq_err err = dmq_producer_send_wait(f.producer, "t", &record, TIMEOUT_MS, NULL, &f.error);
    /* Maybe done, if it left before the end of the connection was noticed. */
    assert_true(err == DMQ_ERR_DELIVERY_TIMEOUT || err == DMQ_ERR_TIMEOUT);
    assert_non_null(strstr(f.error.message, "delivery.timeout.ms=200"));
    assert_non_null(strstr(f.error.message, "connection refused by 127.0.0.1"));
    tear_down(&f);
}

/* Whoever waits with a timeout hears why; and no longer, once it was stored. */
static void
test_a_flush_that_waits_says_why(void **state)
{
    struct fixture f;
    dmq_err err = DMQ_ERR_TIMEOUT;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    fake_broker_fault(f.broker, (struct fake_fault){.api_key = API_PRODUCE,
                                                    .times = 3,
                                                    .kind = FAKE_ERROR,
                                                    .error = DMQ_ERR_DISK_FULL});
    fake_broker_fault(
        f.broker,
        (struct fake_fault){
            .api_key = API_PRODUCE, .times = 1, .skip = 3, .kind = FAKE_LATE, .delay_ms = 2000});
    send_numbers(&f, 0, 1);
    while (err == DMQ_ERR_TIMEOUT && strstr(f.error.message, "ms: ") == NULL) {
        err = dmq_producer_flush(f.producer, 10, NULL, &f.error);
    }
    assert_int_equal(err, DMQ_ERR_TIMEOUT);
    assert_non_null(strstr(f.error.message, dmq_error_text(DMQ_ERR_DISK_FULL)));
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    fake_broker_fault(f.broker,
                      (struct fake_fault){
                          .api_key = API_PRODUCE, .times = 1, .kind = FAKE_LATE, .delay_ms = 300});
    send_numbers(&f, 1, 2);
    assert_int_equal(dmq_producer_flush(f.producer, 10, NULL, &f.error), DMQ_ERR_TIMEOUT);
    assert_null(strstr(f.error.message, dmq_error_text(DMQ_ERR_DISK_FULL)));
    tear_down(&f);
}

static void
test_full_buffer_blocks_and_then_says_so(void **state)
{
    struct fixture f;
    dmq_option options[] = {{"buffer.memory", "2000"}, {"batch.size", "500"}};
    dmq_record record = record_of(0, "0123456789012345678901234567890123456789");
    (void)state;
    set_up(&f);
    assert_int_equal(dmq_producer_open(f.client, options, 2, &f.producer, &f.error), DMQ_OK);
    assert_int_equal(dmq_producer_send_wait(f.producer, "t", &record, TIMEOUT_MS, NULL, &f.error),
                     DMQ_OK);
    fake_broker_down(f.broker);
    dmq_err err = DMQ_OK;
    int taken = 0;
    for (; err == DMQ_OK; taken++) {
        err = dmq_producer_send(f.producer, "t", &record, 50, &f.error);
    }
    assert_int_equal(err, DMQ_ERR_BUFFER_FULL);
    assert_int_equal(f.error.cls, DMQ_CLASS_RETRIABLE);
    assert_true(taken > 20 && taken < 60);
    fake_broker_up(f.broker);
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    tear_down(&f);
}

static void
test_deliveries_that_nobody_takes_fill_the_buffer(void **state)
{
    struct fixture f;
    dmq_delivery deliveries[100];
    dmq_record record = record_of(0, "x");
    dmq_err err = DMQ_OK;
    int taken = 0;
    (void)state;
    set_up(&f);
    open_producer(&f, "buffer.memory", "2000");
    record.opaque = 1;
    for (int i = 0; i < 1000 && err == DMQ_OK; i++) {
        err = dmq_producer_send(f.producer, "t", &record, 20, &f.error);
        taken += err == DMQ_OK;
        assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, NULL), DMQ_OK);
    }
    assert_int_equal(err, DMQ_ERR_BUFFER_FULL);
    assert_non_null(strstr(f.error.message, "dmq_producer_poll"));
    assert_true(taken > 50 && taken < 100);
    record.opaque = 0; /* of which there is nothing to take */
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, 20, &f.error), DMQ_OK);
    assert_int_equal(
        dmq_producer_poll(f.producer, deliveries, sizeof(deliveries[0]), 100, TIMEOUT_MS), taken);
    record.opaque = 1;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, 20, &f.error), DMQ_OK);
    tear_down(&f);
}

static void
test_bad_records(void **state)
{
    struct fixture f;
    static char large[1048576];
    dmq_header header = {{NULL, 0}, {"x", 1}};
    dmq_record record = record_of(0, "x");
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    record.partition = 3;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_string_equal(f.error.message,
                        "topic 't' has 3 partitions (0 to 2): there is no partition 3");
    record.partition = -2;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    record.partition = 0;
    record.timestamp = -5;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_TIMESTAMP);
    record.timestamp = 0;
    record.headers = &header;
    record.header_count = 1;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    record.header_count = 0;
    record.value = (dmq_bytes){large, sizeof(large)};
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_BATCH_TOO_LARGE);
    assert_non_null(strstr(f.error.message, "max.message.bytes=1048588"));
    record.value.size = sizeof(large) - 100;
    assert_int_equal(dmq_producer_send_wait(f.producer, "t", &record, TIMEOUT_MS, NULL, &f.error),
                     DMQ_OK); /* larger than batch.size, not than the topic's limit */
    record = record_of(DMQ_PARTITION_AUTO, "x");
    assert_int_equal(dmq_producer_send(f.producer, "no/such", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_TOPIC);
    assert_int_equal(dmq_producer_send(NULL, "t", &record, 0, &f.error), DMQ_ERR_INVALID_ARGUMENT);
    tear_down(&f);
}

static void
test_unknown_topic_has_a_hint(void **state)
{
    struct fixture f;
    dmq_record record = record_of(DMQ_PARTITION_AUTO, "x");
    (void)state;
    set_up(&f);
    fake_broker_topic(f.broker, "orders", 1);
    open_producer(&f, NULL, NULL);
    assert_int_equal(dmq_producer_send(f.producer, "ordrs", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_string_equal(f.error.message, "topic 'ordrs' does not exist (did you mean 'orders'?)");
    assert_int_equal(dmq_producer_send(f.producer, "zzzzz", &record, TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_string_equal(f.error.message, "topic 'zzzzz' does not exist");
    fake_broker_topic(f.broker, "zzzzz", 1); /* it is not remembered as missing */
    assert_int_equal(dmq_producer_send(f.producer, "zzzzz", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    tear_down(&f);
}

static void
test_topic_deleted_and_made_again(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    send_numbers(&f, 0, 5);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    assert_int_equal(dmq_topic_delete(f.client, "t", TIMEOUT_MS, &f.error), DMQ_OK);
    assert_int_equal(send_value(&f, 0, "x"), DMQ_OK); /* not known yet to be gone */
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(send_value(&f, 0, "x"), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    fake_broker_topic(f.broker, "t", 1);
    send_numbers(&f, 0, 5);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 5);
    tear_down(&f);
}

static void
test_forgotten_producer_goes_on(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    send_numbers(&f, 0, 5);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    fake_broker_forget_producers(f.broker);
    send_numbers(&f, 5, 5);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 10);
    tear_down(&f);
}

static void
with_option(const char *name, const char *value)
{
    struct fixture f;
    set_up(&f);
    open_producer(&f, name, value);
    send_numbers(&f, 0, 5000);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 5000);
    tear_down(&f);
}

static void
test_options_that_change_the_way(void **state)
{
    (void)state;
    with_option("compression.type", "lz4");
    with_option("compression.type", "zstd");
    with_option("acks", "1");
    with_option("acks", "0");
    with_option("enable.idempotence", "false");
    with_option("linger.ms", "5");
    with_option("max.in.flight", "1");
}

/* Several threads: each one's records are in its order. */
struct sending {
    struct fixture *f;
    int32_t partition;
};

static void *
send_from_thread(void *arg)
{
    struct sending *sending = arg;
    char value[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(value, sizeof(value), "%d", i);
        dmq_record record = record_of(sending->partition, value);
        assert_int_equal(dmq_producer_send(sending->f->producer, "t", &record, TIMEOUT_MS, NULL),
                         DMQ_OK);
    }
    return NULL;
}

static void
test_threads_share_a_producer(void **state)
{
    struct fixture f;
    pthread_t threads[3];
    struct sending sendings[3];
    (void)state;
    set_up(&f);
    open_producer(&f, "batch.size", "2000");
    for (int i = 0; i < 3; i++) {
        sendings[i] = (struct sending){&f, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_from_thread, &sendings[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    open_consumer(&f, NULL, NULL);
    expect_numbers(&f, 0, 5000);
    assert_int_equal(fake_broker_end(f.broker, "t", 1), 5000);
    assert_int_equal(fake_broker_end(f.broker, "t", 2), 5000);
    tear_down(&f);
}

static void
test_closing_without_flush_ends(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    fake_broker_fault(
        f.broker, (struct fake_fault){.api_key = API_PRODUCE, .times = 100, .kind = FAKE_SWALLOW});
    send_numbers(&f, 0, 100);
    tear_down(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deliveries_come_from_the_queue),
        cmocka_unit_test(test_many_at_once_and_flush),
        cmocka_unit_test(test_stream_through_retriable_errors),
        cmocka_unit_test(test_stream_through_broken_connections),
        cmocka_unit_test(test_stream_through_lost_answers),
        cmocka_unit_test(test_stream_through_late_answers),
        cmocka_unit_test(test_stream_through_garbage),
        cmocka_unit_test(test_answer_lost_after_the_sync_is_one_record),
        cmocka_unit_test(test_silent_broker_is_left_and_asked_again),
        cmocka_unit_test(test_broker_that_comes_back),
        cmocka_unit_test(test_refused_records_are_told),
        cmocka_unit_test(test_delivery_timeout),
        cmocka_unit_test(test_a_flush_that_waits_says_why),
        cmocka_unit_test(test_full_buffer_blocks_and_then_says_so),
        cmocka_unit_test(test_deliveries_that_nobody_takes_fill_the_buffer),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_unknown_topic_has_a_hint),
        cmocka_unit_test(test_topic_deleted_and_made_again),
        cmocka_unit_test(test_forgotten_producer_goes_on),
        cmocka_unit_test(test_options_that_change_the_way),
        cmocka_unit_test(test_threads_share_a_producer),
        cmocka_unit_test(test_closing_without_flush_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
