/* Reading: positions, headers, errors, what is borrowed. */
#include "tests/unit/libdmq/api/fixture.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

static void
set_up_with(struct fixture *f, int count)
{
    set_up(f);
    open_producer(f, "batch.size", "200");
    send_numbers(f, 0, count);
    assert_int_equal(dmq_producer_flush(f->producer, TIMEOUT_MS, NULL, &f->error), DMQ_OK);
}

static dmq_err
assign_at(struct fixture *f, int64_t offset, int64_t timestamp)
{
    dmq_assignment to = {
        .size = sizeof(to), .topic = "t", .partition = 0, .offset = offset, .timestamp = timestamp};
    return dmq_consumer_assign(f->consumer, &to, sizeof(to), 1, TIMEOUT_MS, &f->error);
}

static dmq_err
seek_to(struct fixture *f, int32_t partition, int64_t offset)
{
    dmq_assignment to = {
        .size = sizeof(to), .topic = "t", .partition = partition, .offset = offset};
    return dmq_consumer_seek(f->consumer, &to, TIMEOUT_MS, &f->error);
}

static int64_t
position(struct fixture *f)
{
    int64_t offset = -1;
    assert_int_equal(dmq_consumer_position(f->consumer, "t", 0, &offset, &f->error), DMQ_OK);
    return offset;
}

static void
test_positions(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    int64_t offset = 0;
    (void)state;
    set_up_with(&f, 100);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(position(&f), 0);
    expect_numbers(&f, 0, 100);
    assert_int_equal(position(&f), 100);
    assert_int_equal(assign_at(&f, 55, 0), DMQ_OK); /* inside a batch */
    expect_numbers(&f, 55, 45);
    assert_int_equal(seek_to(&f, 0, 7), DMQ_OK);
    assert_int_equal(position(&f), 7);
    expect_numbers(&f, 7, 93);
    assert_int_equal(seek_to(&f, 0, DMQ_OFFSET_START), DMQ_OK);
    expect_numbers(&f, 0, 100);
    assert_int_equal(seek_to(&f, 0, DMQ_OFFSET_END), DMQ_OK);
    assert_int_equal(position(&f), 100);
    assert_int_equal(dmq_consumer_fetch(f.consumer, 20, &batch, &f.error), DMQ_ERR_TIMEOUT);
    send_numbers(&f, 100, 1);
    expect_numbers(&f, 100, 1);
    assert_int_equal(dmq_consumer_high_watermark(f.consumer, "t", 0, &offset, &f.error), DMQ_OK);
    assert_int_equal(offset, 101);
    assert_int_equal(seek_to(&f, 1, 0), DMQ_ERR_INVALID_ARGUMENT); /* not assigned */
    assert_int_equal(dmq_consumer_position(f.consumer, "x", 0, &offset, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    tear_down(&f);
}

static void
test_positions_by_time(void **state)
{
    struct fixture f;
    int64_t offset;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    for (int i = 0; i < 3; i++) { /* a batch each */
        dmq_record record = record_of(0, "x");
        record.timestamp = 1000 * (i + 1);
        assert_int_equal(
            dmq_producer_send_wait(f.producer, "t", &record, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    }
    assert_int_equal(dmq_topic_offset(f.client, "t", 0, DMQ_OFFSET_TIMESTAMP, 1500, TIMEOUT_MS,
                                      &offset, &f.error),
                     DMQ_OK);
    assert_int_equal(offset, 1);
    assert_int_equal(dmq_topic_offset(f.client, "t", 0, DMQ_OFFSET_TIMESTAMP, 9000, TIMEOUT_MS,
                                      &offset, &f.error),
                     DMQ_OK);
    assert_int_equal(offset, 3); /* none is so new: the end */
    assert_int_equal(
        dmq_topic_offset(f.client, "t", 0, DMQ_OFFSET_START, 0, TIMEOUT_MS, &offset, &f.error),
        DMQ_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(
        dmq_topic_offset(f.client, "t", 3, DMQ_OFFSET_START, 0, TIMEOUT_MS, &offset, &f.error),
        DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(dmq_topic_offset(f.client, "t", 0, 5, 0, TIMEOUT_MS, &offset, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(assign_at(&f, DMQ_OFFSET_TIMESTAMP, 2500), DMQ_OK);
    assert_int_equal(position(&f), 2);
    tear_down(&f);
}

static void
test_bad_assignment_leaves_the_former(void **state)
{
    struct fixture f;
    dmq_assignment bad[2] = {{.size = sizeof(bad[0]), .topic = "t"},
                             {.size = sizeof(bad[0]), .topic = "T"}};
    (void)state;
    set_up_with(&f, 10);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(dmq_consumer_assign(f.consumer, bad, sizeof(bad[0]), 2, TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_string_equal(f.error.message, "topic 'T' does not exist (did you mean 't'?)");
    bad[1] = (dmq_assignment){.size = sizeof(bad[0]), .topic = "t", .partition = 3};
    assert_int_equal(dmq_consumer_assign(f.consumer, bad, sizeof(bad[0]), 2, TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    bad[1] = (dmq_assignment){.size = sizeof(bad[0]), .topic = "t", .offset = -4};
    assert_int_equal(dmq_consumer_assign(f.consumer, bad, sizeof(bad[0]), 2, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    bad[1].size = 3;
    assert_int_equal(dmq_consumer_assign(f.consumer, bad, sizeof(bad[0]), 2, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    expect_numbers(&f, 0, 10);
    assert_int_equal(dmq_consumer_assign(f.consumer, NULL, 0, 0, TIMEOUT_MS, &f.error), DMQ_OK);
    dmq_batch *batch;
    send_numbers(&f, 10, 1);
    assert_int_equal(dmq_consumer_fetch(f.consumer, 50, &batch, &f.error), DMQ_ERR_TIMEOUT);
    tear_down(&f);
}

static void
test_null_empty_keys_and_headers(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    dmq_header headers[3] = {{{"a", 1}, {"1", 1}}, {{"b", 1}, {NULL, 0}}, {{"", 0}, {"", 0}}};
    dmq_header got[3];
    dmq_record record = {.size = sizeof(record), .headers = headers, .header_count = 3};
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    record = (dmq_record){.size = sizeof(record), .key = {"", 0}, .value = {"", 0}};
    assert_int_equal(dmq_producer_send_wait(f.producer, "t", &record, TIMEOUT_MS, NULL, &f.error),
                     DMQ_OK);
    open_consumer(&f, "fetch.min.bytes", "1");
    assert_int_equal(dmq_consumer_fetch(f.consumer, TIMEOUT_MS, &batch, &f.error), DMQ_OK);
    const dmq_message *messages = dmq_batch_messages(batch, NULL);
    assert_null(messages[0].key.data);
    assert_null(messages[0].value.data);
    assert_int_equal(messages[0].header_count, 3);
    assert_int_equal(dmq_batch_headers(batch, 0, got, sizeof(got[0]), 3), 3);
    assert_memory_equal(got[0].key.data, "a", 1);
    assert_memory_equal(got[0].value.data, "1", 1);
    assert_null(got[1].value.data);
    assert_non_null(got[2].value.data);
    assert_int_equal(got[2].key.size, 0);
    assert_int_equal(dmq_batch_headers(batch, 0, got, sizeof(got[0]), 1), 1);
    assert_int_equal(dmq_batch_headers(batch, 99, got, sizeof(got[0]), 3), 0);
    size_t last = dmq_batch_count(batch) - 1;
    if (last == 0) { /* two batches */
        dmq_batch_unref(batch);
        assert_int_equal(dmq_consumer_fetch(f.consumer, TIMEOUT_MS, &batch, &f.error), DMQ_OK);
        messages = dmq_batch_messages(batch, NULL);
    }
    assert_non_null(messages[last].key.data);
    assert_int_equal(messages[last].key.size, 0);
    assert_non_null(messages[last].value.data);
    assert_int_equal(dmq_batch_headers(batch, (uint32_t)last, got, sizeof(got[0]), 3), 0);
    dmq_batch_unref(batch);
    tear_down(&f);
}

static void
test_batches_outlive_everything(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    (void)state;
    set_up_with(&f, 5);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(dmq_consumer_fetch(f.consumer, TIMEOUT_MS, &batch, &f.error), DMQ_OK);
    assert_ptr_equal(dmq_batch_ref(batch), batch);
    tear_down(&f);
    dmq_batch_unref(batch);
    assert_memory_equal(dmq_batch_messages(batch, NULL)[0].value.data, "0", 1);
    assert_string_equal(dmq_batch_topic(batch), "t");
    dmq_batch_unref(batch);
}

static void
test_damage_stops_the_partition_until_a_seek(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    (void)state;
    set_up_with(&f, 1);
    fake_broker_fault(f.broker,
                      (struct fake_fault){.api_key = API_FETCH, .times = 1, .kind = FAKE_CORRUPT});
    send_numbers(&f, 1, 20);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(dmq_consumer_fetch(f.consumer, TIMEOUT_MS, &batch, &f.error),
                     DMQ_ERR_CORRUPT_BATCH);
    assert_non_null(strstr(f.error.message, "partition 0 of 't' at offset 0"));
    assert_int_equal(dmq_consumer_fetch(f.consumer, 50, &batch, &f.error), DMQ_ERR_TIMEOUT);
    assert_int_equal(seek_to(&f, 0, 0), DMQ_OK);
    expect_numbers(&f, 0, 21);
    tear_down(&f);
}

static void
test_out_of_range(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    (void)state;
    set_up_with(&f, 10);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(assign_at(&f, 11, 0), DMQ_OK);
    assert_int_equal(dmq_consumer_fetch(f.consumer, TIMEOUT_MS, &batch, &f.error),
                     DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(dmq_consumer_fetch(f.consumer, 50, &batch, &f.error), DMQ_ERR_TIMEOUT);
    dmq_consumer_close(f.consumer);
    open_consumer(&f, "auto.offset.reset", "earliest");
    assert_int_equal(assign_at(&f, 11, 0), DMQ_OK);
    expect_numbers(&f, 0, 10);
    tear_down(&f);
}

static void
test_fetch_goes_on_after_trouble(void **state)
{
    const struct fake_fault faults[] = {
        {.api_key = API_FETCH, .times = 2, .kind = FAKE_DISCONNECT},
        {.api_key = API_FETCH, .times = 2, .kind = FAKE_GARBAGE},
        {.api_key = API_FETCH, .times = 2, .kind = FAKE_ERROR, .error = DMQ_ERR_THROTTLED},
        {.api_key = API_FETCH, .times = 1, .kind = FAKE_LATE, .delay_ms = 100},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct fixture f;
        set_up_with(&f, 100);
        fake_broker_fault(f.broker, faults[i]);
        open_consumer(&f, NULL, NULL);
        expect_numbers(&f, 0, 100);
        fake_broker_down(f.broker);
        fake_broker_up(f.broker);
        send_numbers(&f, 100, 10);
        expect_numbers(&f, 100, 10);
        tear_down(&f);
    }
}

static void
test_small_queue_still_gives_everything(void **state)
{
    struct fixture f;
    (void)state;
    set_up_with(&f, 3000);
    open_consumer(&f, "queued.max.bytes", "100"); /* below one batch */
    expect_numbers(&f, 0, 3000);
    tear_down(&f);
}

static void
test_fd_tells_when_to_poll(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    dmq_delivery delivery;
    (void)state;
    set_up_with(&f, 0);
    struct pollfd item = {.fd = dmq_client_fd(f.client), .events = POLLIN};
    assert_true(item.fd >= 0);
    assert_int_equal(dmq_client_fd(f.client), item.fd);
    assert_int_equal(poll(&item, 1, 0), 0);
    open_consumer(&f, NULL, NULL);
    dmq_record record = record_of(0, "x");
    record.opaque = 1;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    assert_int_equal(poll(&item, 1, TIMEOUT_MS), 1);
    assert_int_equal(dmq_consumer_fetch(f.consumer, TIMEOUT_MS, &batch, &f.error), DMQ_OK);
    dmq_batch_unref(batch);
    assert_int_equal(dmq_producer_poll(f.producer, &delivery, sizeof(delivery), 1, TIMEOUT_MS), 1);
    assert_int_equal(poll(&item, 1, 0), 0); /* everything was taken */
    tear_down(&f);
}

/* An application that watches for edges hears of the delivery, although it leaves the consumer
 * alone; and of a client that was closed. */
static void
test_fd_tells_each_handle_apart(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    dmq_delivery delivery;
    (void)state;
    set_up_with(&f, 1);
    int watch = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    assert_int_equal(epoll_ctl(watch, EPOLL_CTL_ADD, dmq_client_fd(f.client), &event), 0);
    open_consumer(&f, NULL, NULL);
    assert_int_equal(epoll_wait(watch, &event, 1, TIMEOUT_MS), 1); /* the first record */
    assert_int_equal(epoll_wait(watch, &event, 1, 0), 0);
    dmq_record record = record_of(1, "x");
    record.opaque = 1;
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, TIMEOUT_MS, &f.error), DMQ_OK);
    assert_int_equal(epoll_wait(watch, &event, 1, TIMEOUT_MS), 1);
    assert_int_equal(dmq_producer_poll(f.producer, &delivery, sizeof(delivery), 1, 0), 1);
    struct pollfd item = {.fd = dmq_client_fd(f.client), .events = POLLIN};
    assert_int_equal(poll(&item, 1, 0), 1); /* the consumer has its own still */
    assert_int_equal(dmq_consumer_fetch(f.consumer, 0, &batch, &f.error), DMQ_OK);
    dmq_batch_unref(batch);
    assert_int_equal(poll(&item, 1, 0), 0);
    dmq_client_close(f.client);
    assert_int_equal(epoll_wait(watch, &event, 1, TIMEOUT_MS), 1);
    assert_int_equal(dmq_consumer_fetch(f.consumer, 0, &batch, &f.error), DMQ_ERR_CLOSED);
    f.client = NULL;
    close(watch);
    tear_down(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_positions_by_time),
        cmocka_unit_test(test_bad_assignment_leaves_the_former),
        cmocka_unit_test(test_null_empty_keys_and_headers),
        cmocka_unit_test(test_batches_outlive_everything),
        cmocka_unit_test(test_damage_stops_the_partition_until_a_seek),
        cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_fetch_goes_on_after_trouble),
        cmocka_unit_test(test_small_queue_still_gives_everything),
        cmocka_unit_test(test_fd_tells_when_to_poll),
        cmocka_unit_test(test_fd_tells_each_handle_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
