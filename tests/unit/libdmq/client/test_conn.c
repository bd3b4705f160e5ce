/* Connections: opening, backing off, limits of silence, whom they may reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client_rig.h"

static void
test_tries_one_address_after_another(void **state)
{
    struct rig rig;
    struct err_msg why;
    (void)state;
    rig_init(&rig, 2);
    assert_int_equal(rig.connects, 1);
    uint32_t first = rig.connecting[0] ? 0 : 1;
    rig_disconnect(&rig, first, DMQ_ERR_UNREACHABLE);
    assert_int_equal(rig.connects, 2); /* at once the other */
    rig_disconnect(&rig, 1 - first, DMQ_ERR_UNREACHABLE);
    assert_int_equal(rig.connects, 2); /* both wait a little */
    assert_false(client_is_connected(rig.client, &why));
    assert_int_equal(why.code, DMQ_ERR_UNREACHABLE);
    assert_non_null(strstr(why.text, "connection 0"));
    assert_non_null(strstr(why.text, "connection 1"));
    rig_tick(&rig, 5);
    assert_int_equal(rig.connects, 3);
    rig_open(&rig);
    assert_true(client_is_connected(rig.client, &why));
    rig_deinit(&rig);
}

static void
test_silent_address_does_not_keep_the_other_waiting(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 2);
    assert_int_equal(rig.connects, 1);
    rig_tick(&rig, 1000);
    assert_int_equal(rig.connects, 2);
    rig_deinit(&rig);
}

static void
test_backs_off_and_counts_refusals(void **state)
{
    struct rig rig;
    int64_t waited = 0;
    (void)state;
    rig_init(&rig, 1);
    for (int i = 0; i < 12; i++) {
        assert_false(client_is_refused(rig.client, (uint32_t)i + 1));
        rig_disconnect(&rig, 0, DMQ_ERR_UNREACHABLE);
        int64_t wait = rig.client->wake_at_ms - rig.now_ms;
        assert_true(wait >= 2 && wait <= 1000);
        waited += wait;
        rig_tick(&rig, wait);
        assert_int_equal(rig.connects, i + 2);
    }
    assert_true(client_is_refused(rig.client, 12));
    assert_true(waited > 3000 && waited < 7000);
    rig_deinit(&rig);
}

static void
test_other_node_than_meant_is_left(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig.leaders[0] = 2;
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 1);
    assert_true(rig.connecting[1]);
    rig_connect(&rig, 1, 3);
    assert_int_equal(rig.disconnects, 1);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 0);
    assert_int_equal(rig.client->conns[1]->last_error.code, DMQ_ERR_WRONG_NODE);
    rig_deinit(&rig);
}

/* While the answer is on its way there is nothing to do: a client that is due at once would spin.
 */
static void
test_metadata_that_are_due_are_asked_for_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig_tick(&rig, CLIENT_METADATA_MS);
    assert_int_equal(rig_count(&rig, API_METADATA), 1);
    assert_true(rig.client->wake_at_ms > rig.now_ms);
    rig_tick(&rig, 10);
    assert_int_equal(rig_count(&rig, API_METADATA), 1);
    rig_answer_metadata(&rig);
    assert_int_equal(rig_count(&rig, API_METADATA), 0);
    rig_deinit(&rig);
}

/* It was killed just after the metadata named it: another leads soon, and somebody must ask. */
static void
test_leader_that_refuses_is_asked_about(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig.leaders[0] = 2;
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 1);
    assert_true(rig.connecting[1]);
    assert_int_equal(rig_count(&rig, API_METADATA), 0);
    rig_disconnect(&rig, 1, DMQ_ERR_UNREACHABLE);
    rig_tick(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_METADATA), 1);
    rig.leaders[0] = 1;
    rig_answer_metadata(&rig);
    rig_answer_producer_id(&rig, 7);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 1);
    rig_deinit(&rig);
}

static void
test_another_cluster_is_refused_while_the_first_is_there(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig.leaders[0] = 2;
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 1);
    rig.cluster_id.b[0]++;
    rig_connect(&rig, 1, 2);
    assert_int_equal(rig.disconnects, 1);
    assert_int_equal(rig.client->conns[1]->last_error.code, DMQ_ERR_INCONSISTENT_CLUSTER_ID);
    rig_deinit(&rig);
}

/* A test cluster that was made anew behind the same address. */
static void
test_another_cluster_resets_what_is_known(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 3);
    assert_int_equal(rig_find(&rig, API_INIT_PRODUCER_ID)->header.metadata_version, 11);
    rig_answer_producer_id(&rig, 1000);
    rig_answer_produce(&rig, DMQ_OK, 0);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig.cluster_id.b[0]++;
    rig.metadata_version = 2;
    rig.topic_id.b[0]++;
    rig_tick(&rig, 100);
    rig_connect(&rig, 0, 1);
    assert_int_equal(rig.client->metadata_version, 0);
    rig_answer_metadata(&rig);
    assert_int_equal(rig.client->metadata_version, 2);
    rig_send(&rig, 0, 1);
    rig_answer_producer_id(&rig, 5);
    assert_int_equal(rig_batch(rig_find(&rig, API_PRODUCE), 0).producer_id, 5);
    assert_int_equal(rig_batch(rig_find(&rig, API_PRODUCE), 0).base_sequence, 0);
    rig_deinit(&rig);
}

static void
test_highest_metadata_version_goes_with_requests(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig.metadata_version = 9; /* a broker that is behind */
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 1);
    assert_int_equal(rig_find(&rig, API_INIT_PRODUCER_ID)->header.metadata_version, 11);
    rig_deinit(&rig);
}

/* Asks for the topic; false: nobody was told of an answer. */
static bool
ask(struct rig *rig, dmq_err *ret_err)
{
    struct client_event wanted = {.type = CLIENT_TOPIC_WANTED};
    struct client_effect effect;
    wanted.u.topic = RIG_TOPIC;
    rig_event(rig, &wanted);
    for (int i = 0; i < 2; i++) { /* the first may have been under way before */
        rig_tick(rig, 1000);
        if (rig_find(rig, API_METADATA) != NULL) {
            rig_answer_metadata(rig);
        }
    }
    *ret_err = client_topic(rig->client, 0)->err;
    return rig_take(rig, CLIENT_TOPIC, &effect);
}

static void
test_broker_that_is_behind_does_not_know_what_is_gone(void **state)
{
    struct rig rig;
    struct uuid known;
    dmq_err err;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    assert_true(ask(&rig, &err));
    assert_int_equal(err, DMQ_OK);
    known = rig.topic_id;
    rig.metadata_version = 9;
    memset(&rig.topic_id, 0, sizeof(rig.topic_id)); /* not yet there */
    assert_false(ask(&rig, &err));
    assert_int_equal(err, DMQ_OK);
    rig.topic_id = (struct uuid){.b = {0xee}}; /* one of that name that was deleted */
    assert_false(ask(&rig, &err));
    assert_true(uuid_equal(client_topic(rig.client, 0)->id, known));
    rig.metadata_version = 12;
    memset(&rig.topic_id, 0, sizeof(rig.topic_id));
    assert_true(ask(&rig, &err));
    assert_int_equal(err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    rig_deinit(&rig);
}

static void
test_silence_ends_a_connection(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 1);
    rig_answer_producer_id(&rig, 1000);
    rig_tick(&rig, 30999);
    assert_int_equal(rig.disconnects, 0);
    rig_tick(&rig, 1);
    assert_int_equal(rig.disconnects, 1);
    assert_int_equal(rig.done_count, 0); /* its fate is unknown: it is asked for again */
    rig_deinit(&rig);
}

static void
test_garbage_ends_a_connection(void **state)
{
    struct rig rig;
    struct client_event event = {.type = CLIENT_RESPONSE};
    (void)state;
    rig_init(&rig, 1);
    rig_open(&rig);
    struct buf *frame = buf_copy(bytes_str("\xff what?"));
    event.u.response.frames = &frame;
    event.u.response.count = 1;
    rig_event(&rig, &event);
    assert_int_equal(rig.disconnects, 1);
    rig_event(&rig, &event); /* what was still on its way is dropped */
    event.u.response.count = 0;
    rig_event(&rig, &event);
    assert_int_equal(rig.disconnects, 1);
    buf_unref(frame);
    rig_deinit(&rig);
}

static void
test_broker_of_another_version_is_named(void **state)
{
    struct rig rig;
    struct client_event event = {.type = CLIENT_CONNECTED};
    struct api_versions_response body = {.software_version = bytes_str("9.9"),
                                         .max_requests_in_flight = 1};
    struct err_msg why;
    (void)state;
    rig_init(&rig, 1);
    rig.connecting[0] = false;
    rig_event(&rig, &event);
    rig_answer(&rig, rig_find(&rig, API_API_VERSIONS), DMQ_OK, desc_api_versions_response(), &body);
    assert_false(client_is_connected(rig.client, &why));
    assert_non_null(strstr(why.text, "version 9.9"));
    assert_int_equal(rig.client->conns[0]->last_error.code, DMQ_ERR_UNSUPPORTED_VERSION);
    rig_deinit(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tries_one_address_after_another),
        cmocka_unit_test(test_silent_address_does_not_keep_the_other_waiting),
        cmocka_unit_test(test_backs_off_and_counts_refusals),
        cmocka_unit_test(test_other_node_than_meant_is_left),
        cmocka_unit_test(test_leader_that_refuses_is_asked_about),
        cmocka_unit_test(test_another_cluster_is_refused_while_the_first_is_there),
        cmocka_unit_test(test_another_cluster_resets_what_is_known),
        cmocka_unit_test(test_highest_metadata_version_goes_with_requests),
        cmocka_unit_test(test_broker_that_is_behind_does_not_know_what_is_gone),
        cmocka_unit_test(test_metadata_that_are_due_are_asked_for_once),
        cmocka_unit_test(test_silence_ends_a_connection),
        cmocka_unit_test(test_garbage_ends_a_connection),
        cmocka_unit_test(test_broker_of_another_version_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
