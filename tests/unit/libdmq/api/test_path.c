/* The whole way through the library against a broker that behaves: create, send, read, delete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dmq/dmq.h"
#include "tests/support/fake_broker.h"

#define TIMEOUT_MS 5000

struct fixture {
    struct fake_broker *broker;
    dmq_client *client;
    dmq_error error;
};

static void
set_up(struct fixture *f)
{
    char url[64];
    f->broker = fake_broker_start();
    f->error = (dmq_error){.size = sizeof(f->error)};
    snprintf(url, sizeof(url), "dmq://127.0.0.1:%d", (int)fake_broker_port(f->broker));
    assert_int_equal(dmq_client_open(url, NULL, 0, TIMEOUT_MS, &f->client, &f->error), DMQ_OK);
}

static void
tear_down(struct fixture *f)
{
    dmq_client_close(f->client);
    fake_broker_stop(f->broker);
}

static dmq_record
record(const char *key, const char *value)
{
    return (dmq_record){.size = sizeof(dmq_record),
                        .partition = DMQ_PARTITION_AUTO,
                        .key = {key, key == NULL ? 0 : strlen(key)},
                        .value = {value, value == NULL ? 0 : strlen(value)}};
}

static void
test_create_send_wait_fetch_delete(void **state)
{
    struct fixture f;
    dmq_producer *producer;
    dmq_consumer *consumer;
    dmq_delivery delivery;
    dmq_batch *batch;
    int32_t partitions = 0;
    (void)state;
    set_up(&f);
    assert_int_equal(dmq_topic_create(f.client, "orders", 3, 1, NULL, 0, TIMEOUT_MS, &f.error),
                     DMQ_OK);
    assert_int_equal(dmq_topic_create(f.client, "orders", 3, 1, NULL, 0, TIMEOUT_MS, &f.error),
                     DMQ_ERR_TOPIC_EXISTS);
    assert_int_equal(dmq_topic_partitions(f.client, "orders", TIMEOUT_MS, &partitions, &f.error),
                     DMQ_OK);
    assert_int_equal(partitions, 3);
    assert_int_equal(dmq_producer_open(f.client, NULL, 0, &producer, &f.error), DMQ_OK);
    dmq_record r = record("21", "hello");
    r.opaque = 99;
    r.timestamp = 1234567;
    assert_int_equal(
        dmq_producer_send_wait(producer, "orders", &r, TIMEOUT_MS, &delivery, &f.error), DMQ_OK);
    assert_int_equal(delivery.opaque, 99);
    assert_int_equal(delivery.offset, 0);
    assert_int_equal(delivery.timestamp, 1234567);
    /* murmur2("21") is -973932308, so & 0x7fffffff, % 3 */
    assert_int_equal(delivery.partition, (-973932308 & 0x7fffffff) % 3);
    assert_int_equal(dmq_consumer_open(f.client, NULL, 0, &consumer, &f.error), DMQ_OK);
    dmq_assignment from = {.size = sizeof(from),
                           .partition = delivery.partition,
                           .topic = "orders",
                           .offset = DMQ_OFFSET_START};
    assert_int_equal(dmq_consumer_assign(consumer, &from, sizeof(from), 1, TIMEOUT_MS, &f.error),
                     DMQ_OK);
    assert_int_equal(dmq_consumer_fetch(consumer, TIMEOUT_MS, &batch, &f.error), DMQ_OK);
    assert_int_equal(dmq_batch_count(batch), 1);
    size_t stride;
    const dmq_message *messages = dmq_batch_messages(batch, &stride);
    assert_int_equal(stride, sizeof(dmq_message));
    assert_int_equal(messages[0].offset, 0);
    assert_int_equal(messages[0].timestamp, 1234567);
    assert_int_equal(messages[0].key.size, 2);
    assert_memory_equal(messages[0].value.data, "hello", 5);
    assert_string_equal(dmq_batch_topic(batch), "orders");
    assert_int_equal(dmq_batch_partition(batch), delivery.partition);
    assert_int_equal(dmq_batch_high_watermark(batch), 1);
    dmq_batch_unref(batch);
    assert_int_equal(dmq_consumer_fetch(consumer, 0, &batch, &f.error), DMQ_ERR_TIMEOUT);
    assert_int_equal(dmq_topic_delete(f.client, "orders", TIMEOUT_MS, &f.error), DMQ_OK);
    assert_int_equal(dmq_topic_delete(f.client, "orders", TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    dmq_consumer_close(consumer);
    dmq_producer_close(producer);
    tear_down(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_send_wait_fetch_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
