/* Pushes, registration, metadata for clients, waiting for newer metadata, bad requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct uuid topic;
static struct arena arena;

static int
setup(void **state)
{
    (void)state;
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    assert_true(sim.ready);
    topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 2, NULL, 0);
    arena_init(&arena, 1 << 20);
    return sim_broker_run(&sim) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    sim_broker_deinit(&sim);
    return 0;
}

static int64_t
version(void)
{
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    return stats.metadata_version;
}

/* ---- pushes ---------------------------------------------------------------------------------- */

static struct push_metadata_request
push_of(int64_t prev, int64_t last, struct metadata_entry *entries, uint32_t count)
{
    return (struct push_metadata_request){.cluster_id = sim.ctl->cluster_id,
                                          .controller_id = 1,
                                          .leader_term = 1,
                                          .prev_version = prev,
                                          .version = last,
                                          .entries = entries,
                                          .entries_count = count};
}

/* Pushes, and returns what the broker answers; *ret_status lives as long as the test. */
static dmq_err
push(const struct push_metadata_request *request, struct broker_status *ret_status)
{
    struct push_metadata_response response;
    int64_t correlation = sim_broker_node_request(&sim, API_PUSH_METADATA, request);
    sim_broker_run(&sim);
    dmq_err err = sim_answer(&sim, correlation, API_PUSH_METADATA, &arena, &response);
    if (err == DMQ_OK) {
        *ret_status = response.status;
    }
    return err;
}

static struct metadata_entry
entry_of(int64_t at, struct outbuf *bytes, struct bytes *record)
{
    record_encode(RECORD_TOPIC_REMOVED, &(struct topic_removed_record){.topic_id = topic}, bytes);
    *record = bytes_of(bytes->data, bytes->size);
    return (struct metadata_entry){.version = at, .term = 1, .records = record, .records_count = 1};
}

static void
only_a_contiguous_range_is_applied(void **state)
{
    (void)state;
    struct outbuf bytes = {0};
    struct bytes record;
    struct broker_status status;
    int64_t here = version();
    struct metadata_entry entry = entry_of(here + 2, &bytes, &record);
    /* a gap: answered with the version that is here */
    struct push_metadata_request request = push_of(here + 1, here + 2, &entry, 1);
    assert_int_equal(push(&request, &status), DMQ_OK);
    assert_int_equal(status.applied_version, here);
    /* an old one: acknowledged */
    entry.version = here;
    request = push_of(here - 1, here, &entry, 1);
    assert_int_equal(push(&request, &status), DMQ_OK);
    assert_int_equal(status.applied_version, here);
    assert_int_equal(version(), here);
    /* the next one: applied */
    entry.version = here + 1;
    request = push_of(here, here + 1, &entry, 1);
    assert_int_equal(push(&request, &status), DMQ_OK);
    assert_int_equal(status.applied_version, here + 1);
    outbuf_deinit(&bytes);
}

static void
stale_terms_and_other_clusters_are_refused(void **state)
{
    (void)state;
    struct broker_status status;
    int64_t here = version();
    struct push_metadata_request request = push_of(here, here, NULL, 0);
    request.leader_term = 5;
    assert_int_equal(push(&request, &status), DMQ_OK);
    request.leader_term = 4;
    assert_int_equal(push(&request, &status), DMQ_ERR_NOT_CONTROLLER);
    request.leader_term = 5;
    request.cluster_id.b[0] ^= 1;
    assert_int_equal(push(&request, &status), DMQ_ERR_INCONSISTENT_CLUSTER_ID);
}

/* What does not fit the image changes nothing. */
static void
a_bad_entry_is_refused_whole(void **state)
{
    (void)state;
    struct broker_status status;
    struct bytes garbage = bytes_str("\xc1");
    int64_t here = version();
    struct metadata_entry entry = {
        .version = here + 1, .term = 1, .records = &garbage, .records_count = 1};
    struct push_metadata_request request = push_of(here, here + 1, &entry, 1);
    assert_int_not_equal(push(&request, &status), DMQ_OK);
    assert_int_equal(version(), here);
    assert_int_equal(sim_produce(&sim, topic, 0, -1, &(struct sim_batch){.value = "x"}).err,
                     DMQ_OK);
}

/* The image survives a restart by itself: it is served before a new push comes. */
static void
the_image_is_durable_before_the_push_is_acknowledged(void **state)
{
    (void)state;
    int64_t here = version();
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    assert_true(version() > here); /* its own registration */
    assert_int_equal(sim_produce(&sim, topic, 1, -1, &(struct sim_batch){.value = "x"}).err,
                     DMQ_OK);
}

/* ---- a topic goes ---------------------------------------------------------------------------- */

static void
a_deleted_topic_is_gone_with_its_files(void **state)
{
    (void)state;
    struct sim_fetch poll = {.topic_id = topic, .epoch = -1, .min_bytes = 1, .max_wait_ms = 10000};
    assert_int_equal(sim_produce(&sim, topic, 0, -1, &(struct sim_batch){.value = "x"}).err,
                     DMQ_OK);
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 1);
    poll.offset = 1;
    int64_t parked = sim_fetch_send(&sim, &poll);
    sim_controller_delete_topic(sim.ctl, topic);
    sim_broker_wait(&sim, 300);
    assert_int_equal(sim_fetch_answer(&sim, parked).err, DMQ_ERR_UNKNOWN_TOPIC_ID);
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 0);
    assert_int_equal(sim_produce(&sim, topic, 0, -1, &(struct sim_batch){.value = "x"}).err,
                     DMQ_ERR_UNKNOWN_TOPIC_ID);
    /* trap 25: one of the same name is another topic */
    struct uuid again = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 1, NULL, 0);
    sim_broker_run(&sim);
    assert_int_equal(sim_produce(&sim, again, 0, -1, &(struct sim_batch){.value = "x"}).base_offset,
                     0);
}

/* ---- METADATA -------------------------------------------------------------------------------- */

static dmq_err
metadata(const struct metadata_request *request, struct metadata_response *ret_response)
{
    return sim_ask(&sim, API_METADATA, request, &arena, ret_response);
}

static void
metadata_names_topics_and_leaders(void **state)
{
    (void)state;
    struct metadata_response response;
    struct bytes names[] = {bytes_str("orders"), bytes_str("ordrs"), bytes_str("a/b")};
    const struct metadata_request request = {.names = names, .names_count = 3};
    assert_int_equal(metadata(&request, &response), DMQ_OK);
    assert_int_equal(response.topics_count, 3);
    assert_int_equal(response.topics[0].error, DMQ_OK);
    assert_int_equal(response.topics[0].partitions_count, 2);
    assert_int_equal(response.topics[0].partitions[1].leader, SIM_BROKER_ID);
    assert_int_equal(response.topics[1].error, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(response.topics[2].error, DMQ_ERR_INVALID_TOPIC);
    assert_int_equal(response.brokers_count, 1);
}

/* A short request must not cost any amount of memory. */
static void
a_topic_named_often_is_refused(void **state)
{
    (void)state;
    struct metadata_response response;
    struct bytes names[10000];
    for (size_t i = 0; i < 10000; i++) {
        names[i] = bytes_str("orders");
    }
    const struct metadata_request request = {.names = names, .names_count = 10000};
    assert_int_equal(metadata(&request, &response), DMQ_ERR_INVALID_REQUEST);
}

/* Who dialled the listed host is told host and port; who dialled another is told that one. */
static void
addresses_are_reachable_as_dialled(void **state)
{
    (void)state;
    struct metadata_response response;
    struct metadata_request request = {.dialled_host = bytes_str("sim"), .dialled_port = 9501};
    assert_int_equal(metadata(&request, &response), DMQ_OK);
    assert_true(bytes_equal_str(response.brokers[0].host, "sim"));
    request.dialled_host = bytes_str("published.example");
    assert_int_equal(metadata(&request, &response), DMQ_OK);
    assert_true(bytes_equal_str(response.brokers[0].host, "published.example"));
    assert_int_equal(response.brokers[0].port, 9501);
}

/* A client that has seen newer metadata is not told "unknown": the broker waits for the push. */
static void
a_broker_behind_its_client_waits(void **state)
{
    (void)state;
    struct bytes name = bytes_str("soon");
    const struct metadata_request request = {.names = &name, .names_count = 1};
    sim.metadata_version = version() + 1;
    int64_t correlation = sim_broker_request(&sim, API_METADATA, &request, NULL, 0);
    assert_null(sim_broker_reply(&sim, correlation));
    sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "soon", 1, NULL, 0);
    sim_broker_run(&sim);
    struct metadata_response response;
    assert_int_equal(sim_answer(&sim, correlation, API_METADATA, &arena, &response), DMQ_OK);
    assert_int_equal(response.topics[0].error, DMQ_OK);
}

/* But at most a second: then it says what it knows. */
static void
it_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct uuid nobody = {.b = {9}};
    sim.metadata_version = version() + 1;
    int64_t correlation =
        sim_produce_send(&sim, nobody, 0, -1, sim_batch_make(&(struct sim_batch){.value = "x"}));
    sim_broker_wait(&sim, 999);
    assert_false(sim_produce_answer(&sim, correlation).answered);
    sim_broker_wait(&sim, 1);
    assert_int_equal(sim_produce_answer(&sim, correlation).err, DMQ_ERR_UNKNOWN_TOPIC_ID);
}

/* ---- producer ids ---------------------------------------------------------------------------- */

static int64_t
init_producer_id(void)
{
    const struct init_producer_id_request request = {.transaction_timeout_ms = 0};
    struct init_producer_id_response response;
    assert_int_equal(sim_ask(&sim, API_INIT_PRODUCER_ID, &request, &arena, &response), DMQ_OK);
    return response.producer_id;
}

static void
producer_ids_are_never_given_twice(void **state)
{
    (void)state;
    int64_t last = 0;
    for (int i = 0; i < 60; i++) {
        int64_t id = init_producer_id();
        assert_true(id > last);
        last = id;
        if (i % 20 == 19) {
            sim_broker_crash(&sim, SIMFS_LOSE);
            sim_broker_start(&sim);
        }
    }
}

/* Whoever waits for an id while nobody leads hears so shortly before its own time is over. */
static void
a_producer_that_gets_no_id_hears_why(void **state)
{
    (void)state;
    const struct init_producer_id_request request = {.transaction_timeout_ms = 0};
    struct init_producer_id_response response;
    int64_t call;
    sim.controllers[1].refuses = true;
    sim_broker_disconnect(&sim);
    sim.time_left_ms = 1000;
    do { /* what is left of the block */
        call = sim_broker_request(&sim, API_INIT_PRODUCER_ID, &request, NULL, 0);
        sim_broker_run(&sim);
    } while (sim_answer(&sim, call, API_INIT_PRODUCER_ID, &arena, &response) == DMQ_OK);
    sim_broker_wait(&sim, 850);
    assert_int_equal(sim_answer(&sim, call, API_INIT_PRODUCER_ID, &arena, &response),
                     DMQ_ERR_TIMEOUT);
    sim_broker_wait(&sim, 150);
    assert_int_equal(sim_answer(&sim, call, API_INIT_PRODUCER_ID, &arena, &response),
                     DMQ_ERR_NOT_CONTROLLER);
}

static void
transactions_are_refused(void **state)
{
    (void)state;
    const struct init_producer_id_request request = {.transactional_id = bytes_str("etl")};
    struct init_producer_id_response response;
    assert_int_equal(sim_ask(&sim, API_INIT_PRODUCER_ID, &request, &arena, &response),
                     DMQ_ERR_INVALID_REQUEST);
}

/* ---- bad requests ---------------------------------------------------------------------------- */

static dmq_err
raw_request(struct buf **frames, size_t count)
{
    int64_t correlation = sim_broker_raw_request(&sim, frames, count);
    struct sim_reply *reply = sim_broker_reply(&sim, correlation);
    assert_non_null(reply);
    struct response_header header;
    struct err_msg err;
    assert_int_equal(
        msg_decode(desc_response_header(), 0, buf_bytes(reply->frames[0]), &arena, &header, &err),
        DMQ_OK);
    assert_true(header.message.size > 0);
    sim_reply_free(reply);
    return header.error;
}

static struct buf *
header_frame(int16_t protocol, int16_t api_key, int16_t api_version)
{
    const struct request_header header = {
        .protocol = protocol, .api_key = api_key, .api_version = api_version};
    return msg_encode_buf(desc_request_header(), 0, &header);
}

static void
bad_requests_are_answered_with_a_sentence(void **state)
{
    (void)state;
    struct buf *frames[2] = {buf_copy(bytes_str("garbage")), NULL};
    assert_int_equal(raw_request(frames, 1), DMQ_ERR_INVALID_REQUEST);
    frames[0] = header_frame(2, API_METADATA, 0);
    assert_int_equal(raw_request(frames, 1), DMQ_ERR_UNSUPPORTED_VERSION);
    frames[0] = header_frame(WIRE_PROTOCOL, 999, 0);
    assert_int_equal(raw_request(frames, 1), DMQ_ERR_UNSUPPORTED_VERSION);
    frames[0] = header_frame(WIRE_PROTOCOL, API_METADATA, 9);
    assert_int_equal(raw_request(frames, 1), DMQ_ERR_UNSUPPORTED_VERSION);
    frames[0] = header_frame(WIRE_PROTOCOL, API_METADATA, 0);
    assert_int_equal(raw_request(frames, 1), DMQ_ERR_INVALID_REQUEST);
    frames[0] = header_frame(WIRE_PROTOCOL, API_METADATA, 0);
    frames[1] = buf_copy(bytes_str("\xdd\xff\xff\xff\xff")); /* 4 billion elements, it says */
    assert_int_equal(raw_request(frames, 2), DMQ_ERR_INVALID_REQUEST);
    /* a node's call on the client port */
    frames[0] = header_frame(WIRE_PROTOCOL, API_PUSH_METADATA, 0);
    frames[1] = buf_copy(bytes_str("\x90"));
    assert_int_equal(raw_request(frames, 2), DMQ_ERR_UNSUPPORTED_VERSION);
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    assert_int_equal(stats.request_bytes, 0);
    assert_int_equal(stats.parked_calls, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_a_contiguous_range_is_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(stale_terms_and_other_clusters_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_bad_entry_is_refused_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(the_image_is_durable_before_the_push_is_acknowledged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_deleted_topic_is_gone_with_its_files, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata_names_topics_and_leaders, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_named_often_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_are_reachable_as_dialled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broker_behind_its_client_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(it_does_not_wait_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(producer_ids_are_never_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_producer_that_gets_no_id_hears_why, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests_are_answered_with_a_sentence, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
