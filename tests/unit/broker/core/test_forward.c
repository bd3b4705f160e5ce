/* Requests that the leading controller decides, and what becomes of them when another one leads or
 * none does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct arena arena;

/* All of them name controller 1; the test changes that. */
static int
setup(void **state)
{
    (void)state;
    sim_broker_init(&sim, 1);
    sim.controller_count = 3;
    sim_broker_name_leader(&sim, 1);
    arena_init(&arena, 1 << 20);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    sim_broker_deinit(&sim);
    return 0;
}

static const struct create_topic_request create = {
    .topic_name = {(const uint8_t *)"t", 1}, .request_id = {{7}}, .partition_count = 1};
static const struct create_topic_response created = {.topic = {.partition_count = 1}};

static int64_t
forward(int api_key, const void *body)
{
    int64_t correlation = sim_broker_request(&sim, api_key, body, NULL, 0);
    sim_broker_run(&sim);
    return correlation;
}

static bool
is_answered(int64_t correlation, dmq_err *ret_err, char text[256])
{
    struct sim_reply *reply = sim_broker_reply(&sim, correlation);
    struct response_header header;
    struct err_msg err;
    if (reply == NULL) {
        return false;
    }
    assert_int_equal(
        msg_decode(desc_response_header(), 0, buf_bytes(reply->frames[0]), &arena, &header, &err),
        DMQ_OK);
    *ret_err = header.error;
    snprintf(text, 256, "%.*s", (int)header.message.size, (const char *)header.message.data);
    sim_reply_free(reply);
    return true;
}

static void
expect(int64_t correlation, dmq_err want, const char *word)
{
    dmq_err err = DMQ_OK;
    char text[256];
    assert_true(is_answered(correlation, &err, text));
    assert_int_equal(err, want);
    assert_non_null(strstr(text, word));
}

static void
expect_nothing_yet(int64_t correlation)
{
    dmq_err err;
    char text[256];
    assert_false(is_answered(correlation, &err, text));
}

/* The connection ends, and 2 is the next leader. */
static void
fail_over(void)
{
    sim.controllers[1].refuses = true;
    sim_broker_name_leader(&sim, 2);
    sim_broker_disconnect(&sim);
    sim_broker_run(&sim);
    assert_int_equal(sim.connected, 2);
}

static void
a_create_is_tried_again_with_its_request_id(void **state)
{
    (void)state;
    struct create_topic_request seen;
    sim_broker_start(&sim);
    int64_t call = forward(API_CREATE_TOPIC, &create);
    fail_over();
    expect_nothing_yet(call);
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &created, &arena, &seen));
    assert_true(uuid_equal(seen.request_id, create.request_id));
    expect(call, DMQ_OK, "");
    assert_false(sim_broker_answer_forward(&sim, DMQ_OK, &created, &arena, NULL)); /* once */
}

static void
without_a_request_id_it_is_maybe_done(void **state)
{
    (void)state;
    struct create_topic_request nameless = create;
    nameless.request_id = (struct uuid){{0}};
    sim_broker_start(&sim);
    int64_t call = forward(API_CREATE_TOPIC, &nameless);
    fail_over();
    expect(call, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
    assert_false(sim_broker_answer_forward(&sim, DMQ_OK, &created, &arena, NULL));
    /* refused by one that does not lead, it was surely not done: that is tried again */
    call = forward(API_CREATE_TOPIC, &nameless);
    assert_true(sim_broker_answer_forward(&sim, DMQ_ERR_NOT_CONTROLLER, NULL, &arena, NULL));
    sim_broker_wait(&sim, 20);
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &created, &arena, NULL));
    expect(call, DMQ_OK, "");
}

/* The leader lost the leadership while the entry was on its way: as if its answer had been lost. */
static void
a_leader_that_does_not_know_is_like_a_lost_answer(void **state)
{
    (void)state;
    const struct remove_controller_request remove = {.controller_id = 3};
    sim_broker_start(&sim);
    int64_t call = forward(API_CREATE_TOPIC, &create);
    assert_true(sim_broker_answer_forward(&sim, DMQ_ERR_NETWORK, NULL, &arena, NULL));
    sim_broker_wait(&sim, 20);
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &created, &arena, NULL));
    expect(call, DMQ_OK, "");
    call = forward(API_REMOVE_CONTROLLER, &remove);
    assert_true(sim_broker_answer_forward(&sim, DMQ_ERR_NETWORK, NULL, &arena, NULL));
    expect(call, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
}

static void
what_changes_the_quorum_is_sent_once(void **state)
{
    (void)state;
    const struct remove_controller_request request = {.controller_id = 3};
    sim_broker_start(&sim);
    int64_t call = forward(API_REMOVE_CONTROLLER, &request);
    fail_over();
    expect(call, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
}

/* Trap 24, 25: a retry by name would delete a topic that was made under the same name meanwhile. */
static void
trap_24_a_delete_by_name_goes_by_id(void **state)
{
    (void)state;
    struct delete_topic_request seen;
    const struct delete_topic_request request = {.topic_name = bytes_str("orders")};
    sim_broker_start(&sim);
    struct uuid topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 1, NULL, 0);
    sim_broker_run(&sim);
    int64_t call = forward(API_DELETE_TOPIC, &request);
    fail_over();
    /* the first try did it: the second hears that there is no such topic */
    assert_true(sim_broker_answer_forward(&sim, DMQ_ERR_UNKNOWN_TOPIC_ID, NULL, &arena, &seen));
    assert_true(uuid_equal(seen.topic_id, topic));
    struct delete_topic_response response;
    assert_int_equal(sim_answer(&sim, call, API_DELETE_TOPIC, &arena, &response), DMQ_OK);
    assert_true(uuid_equal(response.topic_id, topic));
}

/* This broker's image may be behind: then the controller knows the name better. */
static void
a_first_try_by_an_id_that_is_gone_is_made_by_name(void **state)
{
    (void)state;
    struct delete_topic_request seen;
    const struct delete_topic_request request = {.topic_name = bytes_str("orders")};
    const struct delete_topic_response response = {.topic_id = {{9}}};
    sim_broker_start(&sim);
    sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 1, NULL, 0);
    sim_broker_run(&sim);
    int64_t call = forward(API_DELETE_TOPIC, &request);
    assert_true(sim_broker_answer_forward(&sim, DMQ_ERR_UNKNOWN_TOPIC_ID, NULL, &arena, NULL));
    expect_nothing_yet(call);
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &response, &arena, &seen));
    assert_true(uuid_is_zero(seen.topic_id));
    assert_true(bytes_equal_str(seen.topic_name, "orders"));
    expect(call, DMQ_OK, "");
    /* but an id that the asker gave is what it means */
    const struct delete_topic_request by_id = {.topic_id = {{8}}};
    call = forward(API_DELETE_TOPIC, &by_id);
    assert_true(sim_broker_answer_forward(&sim, DMQ_ERR_UNKNOWN_TOPIC_ID, NULL, &arena, NULL));
    expect(call, DMQ_ERR_UNKNOWN_TOPIC_ID, "");
}

static void
a_name_that_nobody_knows_is_not_deleted_twice(void **state)
{
    (void)state;
    const struct delete_topic_request request = {.topic_name = bytes_str("elsewhere")};
    sim_broker_start(&sim);
    int64_t call = forward(API_DELETE_TOPIC, &request);
    fail_over();
    expect(call, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
}

static void
partitions_and_settings_are_changed_by_id(void **state)
{
    (void)state;
    struct create_partitions_request partitions;
    struct alter_topic_request settings;
    const struct create_partitions_response grown = {.topic = {.partition_count = 2}};
    const struct alter_topic_response altered = {.topic = {.partition_count = 2}};
    sim_broker_start(&sim);
    struct uuid topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 1, NULL, 0);
    sim_broker_run(&sim);
    const struct create_partitions_request grow = {.topic_name = bytes_str("orders"),
                                                   .partition_count = 2};
    const struct alter_topic_request alter = {.topic_name = bytes_str("orders")};
    int64_t first = forward(API_CREATE_PARTITIONS, &grow);
    int64_t second = forward(API_ALTER_TOPIC, &alter);
    fail_over();
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &grown, &arena, &partitions));
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &altered, &arena, &settings));
    assert_true(uuid_equal(partitions.topic_id, topic) && partitions.partition_count == 2);
    assert_true(uuid_equal(settings.topic_id, topic));
    expect(first, DMQ_OK, "");
    expect(second, DMQ_OK, "");
}

/* A preferred leader is elected once, however often it is asked for. What an unclean election loses
 * is lost by one answer: nobody asks for another one by itself. */
static void
an_unclean_election_is_asked_for_once(void **state)
{
    (void)state;
    struct elect_leaders_request seen;
    const struct elect_leaders_response elected = {.elected_count = 1};
    sim_broker_start(&sim);
    struct uuid topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 1, NULL, 0);
    sim_broker_run(&sim);
    struct elect_leaders_request elect = {
        .topic_name = bytes_str("orders"), .partition = -1, .broker_id = -1};
    int64_t preferred = forward(API_ELECT_LEADERS, &elect);
    elect.unclean = true;
    elect.accept_data_loss = true;
    int64_t unclean = forward(API_ELECT_LEADERS, &elect);
    fail_over();
    expect(unclean, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
    assert_true(sim_broker_answer_forward(&sim, DMQ_OK, &elected, &arena, &seen));
    assert_true(uuid_equal(seen.topic_id, topic) && !seen.unclean);
    expect(preferred, DMQ_OK, "");
    assert_false(sim_broker_answer_forward(&sim, DMQ_OK, &elected, &arena, &seen));
}

/* A majority is lost: what asks for it fails in its time and says why, metadata are read on. */
static void
nobody_leads_until_the_deadline(void **state)
{
    (void)state;
    struct metadata_response metadata;
    const struct metadata_request all = {.all_topics = true};
    sim_broker_start(&sim);
    sim_broker_name_leader(&sim, -1);
    sim.controllers[2].refuses = true;
    sim.controllers[3].refuses = true;
    sim_broker_disconnect(&sim);
    sim.time_left_ms = 1000;
    int64_t call = forward(API_CREATE_TOPIC, &create);
    sim_broker_wait(&sim, 899);
    expect_nothing_yet(call);
    int64_t read = forward(API_METADATA, &all);
    assert_int_equal(sim_answer(&sim, read, API_METADATA, &arena, &metadata), DMQ_OK);
    sim_broker_wait(&sim, 1); /* a tenth before its time: the asker hears it */
    expect(call, DMQ_ERR_NOT_CONTROLLER,
           "no controller leads at the moment: 1 of 3 can be reached, 2 are needed");
    /* one that was sent before is another matter */
    sim_broker_name_leader(&sim, 1);
    sim_broker_wait(&sim, 200);
    call = forward(API_CREATE_TOPIC, &create);
    sim_broker_name_leader(&sim, -1);
    sim_broker_disconnect(&sim);
    sim_broker_wait(&sim, 1000);
    expect(call, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
}

static void
a_leader_that_does_not_answer_in_time(void **state)
{
    (void)state;
    const struct describe_topics_request describe = {0};
    sim_broker_start(&sim);
    sim.time_left_ms = 1000;
    int64_t change = forward(API_CREATE_TOPIC, &create);
    int64_t read = forward(API_DESCRIBE_TOPICS, &describe);
    sim_broker_wait(&sim, 900);
    expect(change, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
    expect(read, DMQ_ERR_REQUEST_TIMED_OUT, "has not answered");
}

/* A client that hears "cancelled" asks another broker, as if nothing had been done. */
static void
a_broker_that_stops_says_what_may_have_been_done(void **state)
{
    (void)state;
    const struct describe_topics_request describe = {0};
    sim_broker_start(&sim);
    int64_t sent = forward(API_CREATE_TOPIC, &create);
    int64_t read = forward(API_DESCRIBE_TOPICS, &describe);
    sim_broker_name_leader(&sim, -1);
    sim_broker_disconnect(&sim);
    int64_t never_sent = forward(API_CREATE_TOPIC, &create);
    for (int id = 1; id <= SIM_CONTROLLERS; id++) {
        sim.controllers[id].refuses = true;
    }
    sim_broker_sigterm(&sim);
    for (int i = 0; i < 100 && !sim.exited; i++) {
        sim_broker_wait(&sim, 10);
    }
    assert_true(sim.exited);
    expect(sent, DMQ_ERR_REQUEST_TIMED_OUT, "may have been done");
    expect(read, DMQ_ERR_CANCELLED, "stops");
    expect(never_sent, DMQ_ERR_CANCELLED, "stops");
}

/* What waits is bounded, so that what needs no controller is served. */
static void
too_many_that_wait_are_refused_at_once(void **state)
{
    (void)state;
    struct brk_stats stats;
    sim_broker_start(&sim);
    sim_broker_name_leader(&sim, -1);
    sim_broker_disconnect(&sim);
    char setting[4096];
    memset(setting, 'x', sizeof(setting));
    struct config_entry large[60];
    for (size_t i = 0; i < 60; i++) {
        large[i] = (struct config_entry){.name = bytes_str("x"),
                                         .value = bytes_of(setting, sizeof(setting))};
    }
    struct create_topic_request request = create;
    request.config = large;
    request.config_count = 60;
    dmq_err err = DMQ_OK;
    char text[256];
    int parked = 0;
    while (!is_answered(forward(API_CREATE_TOPIC, &request), &err, text)) {
        parked++;
        assert_true(parked < 1000);
    }
    assert_int_equal(err, DMQ_ERR_NOT_CONTROLLER);
    assert_non_null(strstr(text, "too many"));
    brk_stats(sim.brk, &stats);
    assert_true(parked > 10 && stats.request_bytes < (1 << 24) * 3 / 4);
    assert_true(brk_accepts_clients(sim.brk));
}

/* -1: not answered yet. */
static int64_t
producer_id(int64_t call)
{
    struct init_producer_id_response response;
    dmq_err err = sim_answer(&sim, call, API_INIT_PRODUCER_ID, &arena, &response);
    assert_true(err == DMQ_OK || err == DMQ_ERR_TIMEOUT);
    return err == DMQ_OK ? response.producer_id : -1;
}

/* The broker has a block from the start on; who comes when it is used up waits. */
static void
producers_start_while_nobody_leads(void **state)
{
    (void)state;
    const struct init_producer_id_request request = {0};
    sim_broker_start(&sim);
    sim_broker_name_leader(&sim, -1);
    sim_broker_disconnect(&sim);
    sim.time_left_ms = 5000;
    int64_t last = 0;
    int64_t call = forward(API_INIT_PRODUCER_ID, &request);
    for (int64_t id = producer_id(call); id >= 0; id = producer_id(call)) {
        assert_true(id > last);
        last = id;
        call = forward(API_INIT_PRODUCER_ID, &request);
    }
    assert_true(last > 0);
    sim_broker_wait(&sim, 2000);
    assert_int_equal(producer_id(call), -1);
    sim_broker_name_leader(&sim, 3);
    sim_broker_wait(&sim, 300);
    assert_true(producer_id(call) > last);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_create_is_tried_again_with_its_request_id),
        CASE(an_unclean_election_is_asked_for_once),
        CASE(without_a_request_id_it_is_maybe_done),
        CASE(a_leader_that_does_not_know_is_like_a_lost_answer),
        CASE(what_changes_the_quorum_is_sent_once),
        CASE(trap_24_a_delete_by_name_goes_by_id),
        CASE(a_first_try_by_an_id_that_is_gone_is_made_by_name),
        CASE(a_name_that_nobody_knows_is_not_deleted_twice),
        CASE(partitions_and_settings_are_changed_by_id),
        CASE(nobody_leads_until_the_deadline),
        CASE(a_leader_that_does_not_answer_in_time),
        CASE(a_broker_that_stops_says_what_may_have_been_done),
        CASE(too_many_that_wait_are_refused_at_once),
        CASE(producers_start_while_nobody_leads),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
