/* A client of a fake broker, for the tests of this folder. */
#ifndef TESTS_UNIT_LIBDMQ_API_FIXTURE_H
#define TESTS_UNIT_LIBDMQ_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dmq/dmq.h"
#include "libdmq/wire/messages.h"
#include "tests/support/fake_broker.h"

#define TIMEOUT_MS 10000

struct fixture {
    struct fake_broker *broker;
    dmq_client *client;
    dmq_producer *producer;
    dmq_consumer *consumer;
    dmq_error error;
    char url[64];
};

/* Topic "t" with 3 partitions; no producer and no consumer yet. */
static inline void
set_up(struct fixture *f)
{
    *f = (struct fixture){.broker = fake_broker_start(), .error = {.size = sizeof(f->error)}};
    fake_broker_topic(f->broker, "t", 3);
    snprintf(f->url, sizeof(f->url), "dmq://127.0.0.1:%d", (int)fake_broker_port(f->broker));
    assert_int_equal(dmq_client_open(f->url, NULL, 0, TIMEOUT_MS, &f->client, &f->error), DMQ_OK);
}

static inline void
open_producer(struct fixture *f, const char *name, const char *value)
{
    dmq_option option = {name, value};
    assert_int_equal(
        dmq_producer_open(f->client, &option, name == NULL ? 0 : 1, &f->producer, &f->error),
        DMQ_OK);
}

/* A consumer of partition 0 from the start. */
static inline void
open_consumer(struct fixture *f, const char *name, const char *value)
{
    dmq_option option = {name, value};
    dmq_assignment from = {
        .size = sizeof(from), .topic = "t", .partition = 0, .offset = DMQ_OFFSET_START};
    assert_int_equal(
        dmq_consumer_open(f->client, &option, name == NULL ? 0 : 1, &f->consumer, &f->error),
        DMQ_OK);
    assert_int_equal(
        dmq_consumer_assign(f->consumer, &from, sizeof(from), 1, TIMEOUT_MS, &f->error), DMQ_OK);
}

static inline void
tear_down(struct fixture *f)
{
    dmq_consumer_close(f->consumer);
    dmq_producer_close(f->producer);
    dmq_client_close(f->client);
    fake_broker_stop(f->broker);
}

static inline dmq_record
record_of(int32_t partition, const char *value)
{
    return (dmq_record){
        .size = sizeof(dmq_record), .partition = partition, .value = {value, strlen(value)}};
}

static inline dmq_err
send_value(struct fixture *f, int32_t partition, const char *value)
{
    dmq_record record = record_of(partition, value);
    return dmq_producer_send(f->producer, "t", &record, TIMEOUT_MS, &f->error);
}

/* Sends the numbers first to first+count-1 to partition 0. */
static inline void
send_numbers(struct fixture *f, int first, int count)
{
    char value[32];
    for (int i = first; i < first + count; i++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(send_value(f, 0, value), DMQ_OK);
    }
}

/* Reads partition 0 and finds exactly the numbers first to first+count-1, at these offsets. */
static inline void
expect_numbers(struct fixture *f, int first, int count)
{
    char value[32];
    int next = first;
    while (next < first + count) {
        dmq_batch *batch;
        size_t stride;
        assert_int_equal(dmq_consumer_fetch(f->consumer, TIMEOUT_MS, &batch, &f->error), DMQ_OK);
        const dmq_message *messages = dmq_batch_messages(batch, &stride);
        for (size_t i = 0; i < dmq_batch_count(batch); i++, next++) {
            int size = snprintf(value, sizeof(value), "%d", next);
            assert_int_equal(messages[i].offset, next);
            assert_int_equal(messages[i].position, i);
            assert_int_equal(messages[i].value.size, size);
            assert_memory_equal(messages[i].value.data, value, (size_t)size);
        }
        dmq_batch_unref(batch);
    }
    assert_int_equal(next, first + count);
}

#endif
