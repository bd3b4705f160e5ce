/* Memory runs out at every allocation that the machine makes, one after another: it says so
 * (`broken`), keeps its lists whole, and gives everything back at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/client_rig.h"

/* The sanitizer has its own malloc. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static bool armed;
static int left; /* allocations that succeed before one fails */
static bool failed;

static bool
fails(void)
{
    if (!armed || failed) {
        return false;
    }
    failed = left-- == 0;
    return failed;
}

void *
malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}

static void
arm(bool on)
{
    armed = on;
}

/* ---- a life ---------------------------------------------------------------------------------- */

static void
open_consumer(struct rig *rig)
{
    struct fetcher_config config = {.min_bytes = 1,
                                    .max_wait_ms = 500,
                                    .max_bytes = 1000,
                                    .max_partition_bytes = 400,
                                    .max_queued_bytes = 1000,
                                    .reset = FETCH_RESET_START};
    struct client_event opened = {.type = CLIENT_CONSUMER_OPENED, .id = 2};
    struct client_event assigned = {.type = CLIENT_ASSIGNED, .id = 2};
    struct client_position positions[2] = {{0, 0, 10}, {0, 1, 10}};
    opened.u.consumer = &config;
    rig_event(rig, &opened);
    if (rig->client->broken) {
        return;
    }
    assigned.u.positions.positions = positions;
    assigned.u.positions.count = 2;
    rig_event(rig, &assigned);
}

static void
answer_fetch(struct rig *rig)
{
    struct fetch_result results[2] = {
        {.error = DMQ_ERR_OFFSET_OUT_OF_RANGE},
        {.high_watermark = 10, .diverging_epoch = -1, .diverging_end = -1},
    };
    struct fetch_response body = {.partitions = results, .partitions_count = 2};
    struct buf *attachments[3] = {buf_new(0), buf_new(0), NULL};
    if (!rig->client->broken) {
        rig_answer_with(rig, rig_find(rig, API_FETCH), desc_fetch_response(), &body, attachments);
    }
    buf_unref(attachments[0]);
    buf_unref(attachments[1]);
}

static void
look_up(struct rig *rig)
{
    struct client_event event = {.type = CLIENT_LOOKED_UP, .id = 6};
    struct client_position positions[2] = {{0, 0, 5}, {0, 1, 5}};
    event.u.positions.positions = positions;
    event.u.positions.count = 2;
    event.u.positions.deadline_ms = rig->now_ms + 1000;
    if (!rig->client->broken) {
        rig_event(rig, &event);
    }
}

static void
call(struct rig *rig)
{
    struct client_event event = {.type = CLIENT_CALLED, .id = 5};
    struct buf *body = buf_copy(bytes_str("body"));
    event.u.call.api_key = API_CREATE_TOPIC;
    event.u.call.body = body;
    event.u.call.deadline_ms = rig->now_ms + 1000;
    if (!rig->client->broken) {
        rig_event(rig, &event);
    }
    buf_unref(body);
}

/* Whether the life goes on: a request of that call is there to be answered. An answer that could
 * not be decoded is asked for again later, which ends the life here. */
static bool
asks(struct rig *rig, int16_t api_key)
{
    return !rig->client->broken && rig_find(rig, api_key) != NULL;
}

static void
live_on(struct rig *rig)
{
    rig_open(rig);
    if (rig->client->broken || !rig->client->ready) {
        return;
    }
    rig_producer(rig, &rig_sender);
    rig_send(rig, 0, 3);
    if (!asks(rig, API_INIT_PRODUCER_ID)) {
        return;
    }
    rig_answer_producer_id(rig, 1000);
    rig_send(rig, 1, 2);
    if (!asks(rig, API_PRODUCE)) {
        return;
    }
    rig_answer_produce(rig, DMQ_ERR_NOT_LEADER, 0);
    if (rig->client->broken) {
        return;
    }
    rig_tick(rig, 100);
    if (!asks(rig, API_METADATA)) {
        return;
    }
    rig_answer_metadata(rig);
    if (rig->client->broken) {
        return;
    }
    open_consumer(rig);
    if (!asks(rig, API_FETCH)) {
        return;
    }
    answer_fetch(rig);
    look_up(rig);
    call(rig);
    if (!rig->client->broken) {
        rig_disconnect(rig, rig->client->conns[0]->state == CONN_READY ? 0 : 1, DMQ_ERR_NETWORK);
    }
}

/* Runs with the nth allocation failing; true if there was no nth. */
static bool
live(int n)
{
    struct rig rig;
    rig_init(&rig, 2);
    rig.arm = arm;
    left = n;
    failed = false;
    live_on(&rig);
    rig.arm = NULL;
    rig_deinit(&rig);
    return !failed;
}

static void
test_every_allocation_may_fail(void **state)
{
    int n = 0;
    (void)state;
    while (!live(n)) {
        n++;
        assert_true(n < 10000);
    }
    print_message("%d allocations failed in turn\n", n);
    assert_true(n > 50);
}

#else

static void
test_every_allocation_may_fail(void **state)
{
    (void)state;
    skip();
}

#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
