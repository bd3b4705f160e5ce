/* Calls to any broker, and lookups of offsets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/wire/codec.h"
#include "tests/support/client_rig.h"

static void
call_with(struct rig *rig, uint64_t id, int16_t api_key, int64_t timeout_ms, bool once)
{
    struct client_event event = {.type = CLIENT_CALLED, .id = id};
    struct buf *body = buf_copy(bytes_str("the body"));
    event.u.call.once = once;
    event.u.call.api_key = api_key;
    event.u.call.body = body;
    event.u.call.deadline_ms = rig->now_ms + timeout_ms;
    rig_event(rig, &event);
    buf_unref(body);
}

static void
call(struct rig *rig, uint64_t id, int16_t api_key, int64_t timeout_ms)
{
    call_with(rig, id, api_key, timeout_ms, false);
}

static dmq_err
outcome(struct rig *rig)
{
    struct client_effect effect;
    assert_true(rig_take(rig, CLIENT_ANSWERED, &effect));
    assert_int_equal(effect.id, 5);
    buf_unref(effect.u.body);
    return effect.result.code;
}

static bool
is_waiting(struct rig *rig)
{
    struct client_effect effect;
    return !rig_take(rig, CLIENT_ANSWERED, &effect);
}

static void
answer(struct rig *rig, int16_t api_key, dmq_err err)
{
    struct delete_topic_response body = {0};
    rig_answer(rig, rig_find(rig, api_key), err, desc_delete_topic_response(), &body);
}

static void
test_lost_answer_is_asked_for_with_the_same_body(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call(&rig, 5, API_CREATE_TOPIC, 10000);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig_tick(&rig, 100);
    rig_open(&rig);
    rig_tick(&rig, 100);
    struct rig_sent *sent = rig_find(&rig, API_CREATE_TOPIC);
    assert_non_null(sent);
    assert_true(bytes_equal_str(buf_bytes(sent->frames[1]), "the body"));
    assert_true(is_waiting(&rig));
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_TOPIC_EXISTS);
    assert_int_equal(outcome(&rig), DMQ_ERR_TOPIC_EXISTS);
    rig_deinit(&rig);
}

/* After what says "surely not done" it is sent again, after a lost answer never. */
static void
test_what_must_not_be_done_twice_is_sent_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call_with(&rig, 5, API_ELECT_LEADERS, 10000, true);
    answer(&rig, API_ELECT_LEADERS, DMQ_ERR_NOT_CONTROLLER);
    rig_tick(&rig, 20);
    assert_int_equal(rig_count(&rig, API_ELECT_LEADERS), 1);
    answer(&rig, API_ELECT_LEADERS, DMQ_ERR_REQUEST_TIMED_OUT);
    assert_int_equal(outcome(&rig), DMQ_ERR_REQUEST_TIMED_OUT);
    call_with(&rig, 5, API_ELECT_LEADERS, 10000, true);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    assert_int_equal(outcome(&rig), DMQ_ERR_NETWORK);
    rig_tick(&rig, 100);
    rig_open(&rig);
    assert_int_equal(rig_count(&rig, API_ELECT_LEADERS), 0);
    rig_deinit(&rig);
}

static void
test_which_requests_are_sent_once(void **state)
{
    (void)state;
    const struct elect_leaders_request preferred = {.all_topics = true};
    const struct elect_leaders_request unclean = {.unclean = true};
    const struct add_controller_request add = {.controller_id = 4};
    const struct create_topic_request create = {0};
    assert_false(client_call_is_once(API_ELECT_LEADERS, &preferred));
    assert_true(client_call_is_once(API_ELECT_LEADERS, &unclean));
    assert_true(client_call_is_once(API_ADD_CONTROLLER, &add));
    assert_false(client_call_is_once(API_CREATE_TOPIC, &create));
}

static void
test_topic_deleted_by_a_lost_attempt_is_deleted(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call(&rig, 5, API_DELETE_TOPIC, 10000);
    answer(&rig, API_DELETE_TOPIC, DMQ_ERR_UNKNOWN_TOPIC_ID); /* at the first attempt it is not */
    assert_int_equal(outcome(&rig), DMQ_ERR_UNKNOWN_TOPIC_ID);
    call(&rig, 5, API_DELETE_TOPIC, 10000);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig_tick(&rig, 100);
    rig_open(&rig);
    rig_tick(&rig, 100);
    answer(&rig, API_DELETE_TOPIC, DMQ_ERR_UNKNOWN_TOPIC_ID);
    assert_int_equal(outcome(&rig), DMQ_OK);
    rig_deinit(&rig);
}

static void
test_retriable_errors_are_retried_until_the_deadline(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call(&rig, 5, API_CREATE_TOPIC, 1000);
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_NOT_CONTROLLER);
    assert_true(is_waiting(&rig));
    assert_int_equal(rig_count(&rig, API_CREATE_TOPIC), 0); /* not at once */
    rig_tick(&rig, 20);
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_NOT_CONTROLLER);
    rig_tick(&rig, 980);
    assert_int_equal(outcome(&rig), DMQ_ERR_NOT_CONTROLLER); /* surely not done */
    rig_deinit(&rig);
}

/* The broker waited for a controller as long as it could: what it says is what the caller hears. */
static void
test_a_refusal_shortly_before_the_deadline_is_handed_on(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call(&rig, 5, API_CREATE_TOPIC, 30000);
    rig_tick(&rig, 29790);
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_NOT_CONTROLLER);
    assert_true(is_waiting(&rig));
    rig_tick(&rig, 20);
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_NOT_CONTROLLER);
    assert_int_equal(outcome(&rig), DMQ_ERR_NOT_CONTROLLER);
    /* but not if an earlier try may have been carried out */
    call(&rig, 5, API_CREATE_TOPIC, 1000);
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_REQUEST_TIMED_OUT);
    rig_tick(&rig, 900);
    answer(&rig, API_CREATE_TOPIC, DMQ_ERR_NOT_CONTROLLER);
    assert_true(is_waiting(&rig));
    rig_tick(&rig, 100);
    assert_int_equal(outcome(&rig), DMQ_ERR_TIMEOUT);
    rig_deinit(&rig);
}

static void
test_deadline_in_flight_is_a_timeout(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call(&rig, 5, API_CREATE_TOPIC, 1000);
    rig_tick(&rig, 999);
    assert_true(is_waiting(&rig));
    rig_tick(&rig, 1);
    assert_int_equal(outcome(&rig), DMQ_ERR_TIMEOUT); /* maybe done */
    answer(&rig, API_CREATE_TOPIC, DMQ_OK);           /* too late */
    assert_true(is_waiting(&rig));
    assert_int_equal(rig.disconnects, 0);
    rig_deinit(&rig);
}

static void
test_nobody_there(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    call(&rig, 5, API_CREATE_TOPIC, 1000);
    rig_disconnect(&rig, 0, DMQ_ERR_UNREACHABLE);
    rig_tick(&rig, 1000);
    assert_int_equal(outcome(&rig), DMQ_ERR_UNREACHABLE);
    rig_deinit(&rig);
}

static void
test_cancelled_call_leaves_nothing(void **state)
{
    struct rig rig;
    struct client_event cancel = {.type = CLIENT_CANCELLED, .id = 5};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    call(&rig, 5, API_CREATE_TOPIC, 1000);
    rig_event(&rig, &cancel);
    answer(&rig, API_CREATE_TOPIC, DMQ_OK);
    assert_true(is_waiting(&rig));
    rig_deinit(&rig);
}

/* ---- lookups --------------------------------------------------------------------------------- */

static void
look_up(struct rig *rig, const int32_t *partitions, size_t count)
{
    struct client_event wanted = {.type = CLIENT_TOPIC_WANTED};
    struct client_event event = {.type = CLIENT_LOOKED_UP, .id = 6};
    struct client_position positions[RIG_PARTITIONS];
    struct client_effect effect;
    wanted.u.topic = RIG_TOPIC;
    rig_event(rig, &wanted);
    rig_answer_metadata(rig);
    assert_true(rig_take(rig, CLIENT_TOPIC, &effect));
    for (size_t i = 0; i < count; i++) {
        positions[i] = (struct client_position){0, partitions[i], 5000};
    }
    event.u.positions.positions = positions;
    event.u.positions.count = count;
    event.u.positions.deadline_ms = rig->now_ms + 1000;
    rig_event(rig, &event);
}

static void
answer_lookup(struct rig *rig, struct list_offsets_result *results, uint32_t count)
{
    struct list_offsets_response body = {.partitions = results, .partitions_count = count};
    rig_answer(rig, rig_find(rig, API_LIST_OFFSETS), DMQ_OK, desc_list_offsets_response(), &body);
}

static void
test_offsets_of_several_brokers_come_together(void **state)
{
    struct rig rig;
    struct client_effect effect;
    const int32_t partitions[] = {0, 1, 2};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig.leaders[1] = 2;
    look_up(&rig, partitions, 3);
    assert_int_equal(rig_count(&rig, API_LIST_OFFSETS), 1);
    assert_int_equal(rig_find(&rig, API_LIST_OFFSETS)->u.offsets.partitions_count, 2);
    struct list_offsets_result results[2] = {{.offset = 10}, {.offset = 30}};
    answer_lookup(&rig, results, 2);
    assert_false(rig_take(&rig, CLIENT_OFFSETS, &effect));
    rig_connect(&rig, 1, 2);
    results[0].offset = 20;
    answer_lookup(&rig, results, 1);
    assert_true(rig_take(&rig, CLIENT_OFFSETS, &effect));
    assert_int_equal(effect.result.code, DMQ_OK);
    assert_int_equal(effect.u.offsets.offsets[0], 10);
    assert_int_equal(effect.u.offsets.offsets[1], 20);
    assert_int_equal(effect.u.offsets.offsets[2], 30);
    free(effect.u.offsets.offsets);
    rig_deinit(&rig);
}

static void
test_time_after_the_last_record_is_the_end(void **state)
{
    struct rig rig;
    struct client_effect effect;
    const int32_t partitions[] = {0};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    look_up(&rig, partitions, 1);
    struct list_offsets_result result = {.offset = -1};
    answer_lookup(&rig, &result, 1);
    struct rig_sent *sent = rig_find(&rig, API_LIST_OFFSETS);
    assert_int_equal(sent->u.offsets.partitions[0].timestamp, -1);
    result.offset = 77;
    answer_lookup(&rig, &result, 1);
    assert_true(rig_take(&rig, CLIENT_OFFSETS, &effect));
    assert_int_equal(effect.u.offsets.offsets[0], 77);
    free(effect.u.offsets.offsets);
    rig_deinit(&rig);
}

static void
test_one_failure_fails_the_group(void **state)
{
    struct rig rig;
    struct client_effect effect;
    const int32_t partitions[] = {0, 1, 2};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    look_up(&rig, partitions, 3);
    struct list_offsets_result results[3] = {
        {.offset = 1}, {.error = DMQ_ERR_TOPIC_DENIED}, {.offset = 2}};
    answer_lookup(&rig, results, 3);
    assert_true(rig_take(&rig, CLIENT_OFFSETS, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_TOPIC_DENIED);
    free(effect.u.offsets.offsets);
    rig_deinit(&rig);
}

static void
test_lookups_are_retried_and_time_out(void **state)
{
    struct rig rig;
    struct client_effect effect;
    const int32_t partitions[] = {0};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    look_up(&rig, partitions, 1);
    struct list_offsets_result result = {.error = DMQ_ERR_NOT_LEADER};
    answer_lookup(&rig, &result, 1);
    rig_tick(&rig, 50);
    assert_int_equal(rig_count(&rig, API_LIST_OFFSETS), 1);
    rig_tick(&rig, 950);
    assert_true(rig_take(&rig, CLIENT_OFFSETS, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_TIMEOUT);
    free(effect.u.offsets.offsets);
    rig_deinit(&rig);
}

static void
test_partition_that_does_not_exist(void **state)
{
    struct rig rig;
    struct client_effect effect;
    const int32_t partitions[] = {9};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    look_up(&rig, partitions, 1);
    assert_true(rig_take(&rig, CLIENT_OFFSETS, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_non_null(strstr(effect.result.text, "(0 to 3)"));
    free(effect.u.offsets.offsets);
    rig_deinit(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_answer_is_asked_for_with_the_same_body),
        cmocka_unit_test(test_what_must_not_be_done_twice_is_sent_once),
        cmocka_unit_test(test_which_requests_are_sent_once),
        cmocka_unit_test(test_topic_deleted_by_a_lost_attempt_is_deleted),
        cmocka_unit_test(test_retriable_errors_are_retried_until_the_deadline),
        cmocka_unit_test(test_a_refusal_shortly_before_the_deadline_is_handed_on),
        cmocka_unit_test(test_deadline_in_flight_is_a_timeout),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_cancelled_call_leaves_nothing),
        cmocka_unit_test(test_offsets_of_several_brokers_come_together),
        cmocka_unit_test(test_time_after_the_last_record_is_the_end),
        cmocka_unit_test(test_one_failure_fails_the_group),
        cmocka_unit_test(test_lookups_are_retried_and_time_out),
        cmocka_unit_test(test_partition_that_does_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
