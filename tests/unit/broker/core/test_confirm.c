/* What was answered once is found afterwards, whoever asks, also where a broker's image is behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim_peers.h"

static struct sim_broker sim;
static struct arena arena;

static int
setup(void **state)
{
    (void)state;
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    arena_init(&arena, 1 << 20);
    return sim.ready ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    sim.keeps_sent = false;
    for (size_t i = 0; i < sim.sent_count; i++) {
        brk_effect_deinit(&sim.sent[i]);
    }
    sim.sent_count = 0;
    arena_deinit(&arena);
    sim_broker_deinit(&sim);
    return 0;
}

/* A topic that is committed, and was not pushed yet. */
static void
create(const char *name)
{
    sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, name, 1, NULL, 0);
}

static int64_t
version(void)
{
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    return stats.metadata_version;
}

static int64_t
ask_metadata(const char *name)
{
    struct bytes names[] = {bytes_str(name)};
    const struct metadata_request request = {.names = names, .names_count = 1};
    return sim_broker_request(&sim, API_METADATA, &request, NULL, 0);
}

static dmq_err
metadata(int64_t call)
{
    struct metadata_response response = {0};
    assert_int_equal(sim_answer(&sim, call, API_METADATA, &arena, &response), DMQ_OK);
    assert_int_equal(response.topics_count, 1);
    return response.topics[0].error;
}

static void
expect_nothing_yet(int64_t call)
{
    assert_null(sim_broker_reply(&sim, call));
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
a_topic_that_was_not_pushed_yet_is_waited_for(void **state)
{
    (void)state;
    create("orders");
    int64_t call = ask_metadata("orders");
    expect_nothing_yet(call);
    sim_broker_run(&sim); /* the push */
    assert_int_equal(metadata(call), DMQ_OK);
    /* one that nobody created is unknown at once */
    assert_int_equal(metadata(ask_metadata("ordres")), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

/* The settings of a topic that is known are as new as the change that was answered. */
static void
settings_are_as_new_as_what_was_set(void **state)
{
    (void)state;
    const struct config_entry set = {.name = bytes_str("retention.ms"), .value = bytes_str("77")};
    const struct describe_config_request request = {.topic_name = bytes_str("orders")};
    struct describe_config_response response;
    bool found = false;
    struct uuid id = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 1, NULL, 0);
    sim_broker_run(&sim);
    sim_controller_alter_topic(sim.ctl, id, &set, 1, false);
    int64_t call = sim_broker_request(&sim, API_DESCRIBE_CONFIG, &request, NULL, 0);
    expect_nothing_yet(call);
    sim_broker_run(&sim);
    assert_int_equal(sim_answer(&sim, call, API_DESCRIBE_CONFIG, &arena, &response), DMQ_OK);
    for (uint32_t i = 0; i < response.settings_count; i++) {
        found |= bytes_equal_str(response.settings[i].name, "retention.ms") &&
                 bytes_equal_str(response.settings[i].value, "77");
    }
    assert_true(found);
    /* and of one that is not known */
    create("later");
    const struct describe_config_request later = {.topic_name = bytes_str("later")};
    call = sim_broker_request(&sim, API_DESCRIBE_CONFIG, &later, NULL, 0);
    sim_broker_run(&sim);
    assert_int_equal(sim_answer(&sim, call, API_DESCRIBE_CONFIG, &arena, &response), DMQ_OK);
}

static void
answer(int64_t tag, dmq_err err, int64_t at)
{
    const struct committed_version_response body = {.version = at};
    const struct response_header header = {.error = err, .metadata_version = at};
    struct buf *frames[] = {msg_encode_buf(desc_response_header(), 0, &header),
                            msg_encode_buf(desc_committed_version_response(), 0, &body)};
    struct brk_event event = {.kind = BRK_CONTROLLER_REPLY};
    event.u.reply.tag = tag;
    event.u.reply.frames = frames;
    event.u.reply.count = 2;
    sim_broker_step(&sim, &event);
}

static int64_t
take(void)
{
    struct committed_version_request request;
    return sim_peers_take(&sim, API_COMMITTED_VERSION, &arena, &request);
}

/* A flood of names costs the controller one question at a time; and who asks while one is on its
 * way is not told what may be older than what it knows. */
static void
one_question_at_a_time_and_none_that_is_older(void **state)
{
    (void)state;
    sim.keeps_sent = true;
    int64_t first = ask_metadata("a");
    int64_t question = take();
    assert_int_not_equal(question, 0);
    int64_t second = ask_metadata("b");
    int64_t third = ask_metadata("c");
    assert_int_equal(take(), 0);
    answer(question, DMQ_OK, version());
    assert_int_equal(metadata(first), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    expect_nothing_yet(second);
    question = take();
    assert_int_not_equal(question, 0);
    create("b");
    answer(question, DMQ_OK, version() + 1);
    expect_nothing_yet(second);
    sim_broker_run(&sim);
    assert_int_equal(metadata(second), DMQ_OK);
    assert_int_equal(metadata(third), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(take(), 0);
    /* a controller that does not understand the question: as it was without it */
    first = ask_metadata("d");
    answer(take(), DMQ_ERR_UNSUPPORTED_VERSION, version());
    assert_int_equal(metadata(first), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

/* The next leader is asked; where there is none, half the asker's time and a second is the bound.
 */
static void
without_a_leader_it_says_what_it_knows(void **state)
{
    (void)state;
    sim.keeps_sent = true;
    int64_t call = ask_metadata("a");
    assert_int_not_equal(take(), 0);
    sim_broker_disconnect(&sim);
    expect_nothing_yet(call);
    sim_broker_wait(&sim, 10);
    int64_t question = take();
    assert_int_not_equal(question, 0);
    answer(question, DMQ_OK, version());
    assert_int_equal(metadata(call), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    sim.controllers[1].refuses = true;
    sim_broker_disconnect(&sim);
    call = ask_metadata("a");
    sim.time_left_ms = 600;
    int64_t hasty = ask_metadata("b");
    sim_broker_wait(&sim, 299);
    expect_nothing_yet(hasty);
    sim_broker_wait(&sim, 1);
    assert_int_equal(metadata(hasty), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    sim_broker_wait(&sim, 699);
    expect_nothing_yet(call);
    sim_broker_wait(&sim, 1);
    assert_int_equal(metadata(call), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

/* ---- changing -------------------------------------------------------------------------------- */

static const struct create_topic_response created = {.topic = {.partition_count = 1}};

/* A CREATE_TOPIC that was forwarded, and answered by the controller at that version. */
static int64_t
create_by_client(int64_t at)
{
    const struct create_topic_request request = {
        .topic_name = bytes_str("orders"), .request_id = {{7}}, .partition_count = 1};
    int64_t call = sim_broker_request(&sim, API_CREATE_TOPIC, &request, NULL, 0);
    sim_broker_run(&sim);
    sim.answer_version = at;
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &created, &arena, NULL));
    return call;
}

static void
expect_created(int64_t call)
{
    struct create_topic_response response;
    assert_int_equal(sim_answer(&sim, call, API_CREATE_TOPIC, &arena, &response), DMQ_OK);
    assert_int_equal(response.topic.partition_count, 1);
}

static void
a_change_is_answered_when_the_image_has_it(void **state)
{
    (void)state;
    expect_created(create_by_client(version())); /* nothing to wait for */
    int64_t call = create_by_client(version() + 2);
    expect_nothing_yet(call);
    create("another");
    sim_broker_run(&sim);
    expect_nothing_yet(call); /* that was the version before */
    create("orders");
    sim_broker_run(&sim);
    expect_created(call);
}

static void
but_not_for_ever(void **state)
{
    (void)state;
    int64_t call = create_by_client(version() + 2);
    sim_broker_wait(&sim, 999);
    expect_nothing_yet(call);
    sim_broker_wait(&sim, 1);
    expect_created(call);
    sim.time_left_ms = 500; /* shortly before the asker gives up */
    call = create_by_client(version() + 2);
    sim_broker_wait(&sim, 449);
    expect_nothing_yet(call);
    sim_broker_wait(&sim, 1);
    expect_created(call);
}

/* It was done: a broker that stops does not say that it may have been. */
static void
a_broker_that_stops_gives_it(void **state)
{
    (void)state;
    int64_t call = create_by_client(version() + 2);
    expect_nothing_yet(call);
    sim.controllers[1].refuses = true; /* it does not wait to hand over */
    sim_broker_disconnect(&sim);
    sim_broker_sigterm(&sim);
    sim_broker_wait(&sim, 50);
    assert_true(sim.exited);
    expect_created(call);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_topic_that_was_not_pushed_yet_is_waited_for),
        CASE(settings_are_as_new_as_what_was_set),
        CASE(one_question_at_a_time_and_none_that_is_older),
        CASE(without_a_leader_it_says_what_it_knows),
        CASE(a_change_is_answered_when_the_image_has_it),
        CASE(but_not_for_ever),
        CASE(a_broker_that_stops_gives_it),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
