/* Order, sequences and retries of batches: the rules of sender.c and send_outcome.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client_rig.h"

/* A client that is open, with producer 1 and its producer id 1000 once a batch asked for it. */
static void
set_up(struct rig *rig)
{
    rig_init(rig, 1);
    rig_open(rig);
    rig_producer(rig, &rig_sender);
}

/* The same with a first batch of one record stored. */
static void
set_up_running(struct rig *rig)
{
    set_up(rig);
    rig_send(rig, 0, 1);
    rig_answer_producer_id(rig, 1000);
    rig_answer_produce(rig, DMQ_OK, 0);
    assert_int_equal(rig->done_count, 1);
    rig->done_count = 0;
}

static void
assert_epoch(const struct rig_sent *sent, int16_t epoch, int32_t sequence, int32_t count)
{
    struct batch_header header = rig_batch(sent, 0);
    assert_int_equal(header.producer_id, 1000);
    assert_int_equal(header.producer_epoch, epoch);
    assert_int_equal(header.base_sequence, sequence);
    assert_int_equal(header.count, count);
}

static void
assert_numbers(const struct rig_sent *sent, int64_t producer_id, int32_t sequence, int32_t count)
{
    struct batch_header header = rig_batch(sent, 0);
    assert_int_equal(header.producer_id, producer_id);
    assert_int_equal(header.producer_epoch, producer_id < 0 ? -1 : 0);
    assert_int_equal(header.base_sequence, sequence);
    assert_int_equal(header.count, count);
}

static void
assert_done(const struct rig *rig, int i, dmq_err err, int64_t base_offset)
{
    assert_true(rig->done_count > i);
    assert_int_equal(rig->done[i].result.code, err);
    assert_int_equal(rig->done[i].base_offset, base_offset);
}

static void
test_first_batch_waits_for_a_producer_id(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig);
    rig_send(&rig, 0, 3);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 0);
    assert_int_equal(rig_count(&rig, API_INIT_PRODUCER_ID), 1);
    rig_send(&rig, 0, 2);
    assert_int_equal(rig_count(&rig, API_INIT_PRODUCER_ID), 1); /* one is enough */
    rig_answer_producer_id(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 2);
    assert_int_equal(rig_count(&rig, API_INIT_PRODUCER_ID), 0);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 0), 1000, 0, 3);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 1), 1000, 3, 2);
    assert_int_equal(rig_nth(&rig, API_PRODUCE, 0)->u.produce.acks, -1);
    assert_int_equal(rig_nth(&rig, API_PRODUCE, 0)->u.produce.partitions[0].leader_epoch, 3);
    rig_answer_produce(&rig, DMQ_OK, 70);
    rig_answer_produce(&rig, DMQ_OK, 73);
    assert_done(&rig, 0, DMQ_OK, 70);
    assert_done(&rig, 1, DMQ_OK, 73);
    rig_deinit(&rig);
}

static void
test_no_producer_id_is_to_be_had(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig);
    rig_send(&rig, 0, 1);
    rig_answer(&rig, rig_find(&rig, API_INIT_PRODUCER_ID), DMQ_ERR_STORAGE, NULL, NULL);
    assert_int_equal(rig.done_count, 0);
    rig_tick(&rig, 100); /* that was for the moment; this is for good */
    rig_answer(&rig, rig_find(&rig, API_INIT_PRODUCER_ID), DMQ_ERR_CLUSTER_DENIED, NULL, NULL);
    assert_done(&rig, 0, DMQ_ERR_CLUSTER_DENIED, -1);
    rig_send(&rig, 0, 1); /* the next one asks again */
    rig_answer_producer_id(&rig, 1000);
    assert_numbers(rig_find(&rig, API_PRODUCE), 1000, 0, 1);
    rig_deinit(&rig);
}

static void
test_no_more_in_flight_than_allowed(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    for (int i = 0; i < 5; i++) {
        rig_send(&rig, 0, 1);
    }
    assert_int_equal(rig_count(&rig, API_PRODUCE), 5);
    rig_send(&rig, 1, 1); /* another partition is another queue */
    assert_int_equal(rig_count(&rig, API_PRODUCE), 6);
    rig_deinit(&rig);
}

static void
test_without_idempotence_one_in_flight_and_no_numbers(void **state)
{
    struct rig rig;
    struct sender_config config = rig_sender;
    (void)state;
    config.idempotent = false;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig_producer(&rig, &config);
    rig_send(&rig, 0, 1);
    assert_int_equal(rig_count(&rig, API_INIT_PRODUCER_ID), 0);
    assert_numbers(rig_find(&rig, API_PRODUCE), -1, -1, 1);
    assert_int_equal(rig.client->senders->config.max_in_flight, 1);
    rig_answer_produce(&rig, DMQ_OK, 0);
    rig_send(&rig, 0, 1);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 1);
    rig_deinit(&rig);
}

/* One batch is refused for the moment: those behind it are refused for the gap; all go again. */
static void
test_a_retry_keeps_order_and_sequences(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    for (int i = 0; i < 3; i++) {
        rig_send(&rig, 0, 10 + i);
    }
    rig_answer_produce(&rig, DMQ_ERR_NOT_ENOUGH_REPLICAS, 0);
    rig_tick(&rig, 100);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 2); /* it waits for the others' answers */
    rig_answer_produce(&rig, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, 0);
    rig_answer_produce(&rig, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, 0);
    rig_tick(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 3);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 0), 1000, 1, 10);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 1), 1000, 11, 11);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 2), 1000, 22, 12);
    assert_int_equal(rig.done_count, 0);
    for (int i = 0; i < 3; i++) {
        rig_answer_produce(&rig, DMQ_OK, 100 * i);
        assert_done(&rig, i, DMQ_OK, 100 * i);
    }
    rig_deinit(&rig);
}

static void
test_a_new_batch_does_not_overtake_a_retry(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_STORAGE, 0);
    rig_send(&rig, 0, 2);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 0);
    rig_tick(&rig, 100);
    rig_answer_metadata(&rig);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 2);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 0), 1000, 1, 1);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 1), 1000, 2, 2);
    rig_deinit(&rig);
}

static void
test_lost_answers_are_asked_for_again(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_send(&rig, 0, 2);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    assert_int_equal(rig.done_count, 0);
    rig_tick(&rig, 1000);
    rig_open(&rig);
    rig_tick(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 2);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 0), 1000, 1, 1);
    assert_numbers(rig_nth(&rig, API_PRODUCE, 1), 1000, 2, 2);
    rig_answer_produce(&rig, DMQ_OK, 1); /* as the broker answers what it had already */
    rig_answer_produce(&rig, DMQ_ERR_DUPLICATE_SEQUENCE, 0);
    assert_done(&rig, 0, DMQ_OK, 1);
    assert_done(&rig, 1, DMQ_OK, -1); /* stored, too far back to say where */
    rig_deinit(&rig);
}

/* Rule 1, with nothing else under way: the numbers go on from the refused batch. */
static void
test_a_refused_batch_leaves_no_gap(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 5);
    rig_answer_produce(&rig, DMQ_ERR_BATCH_TOO_LARGE, 0);
    assert_done(&rig, 0, DMQ_ERR_BATCH_TOO_LARGE, -1);
    rig_send(&rig, 0, 1);
    assert_numbers(rig_find(&rig, API_PRODUCE), 1000, 1, 1);
    rig_answer_produce(&rig, DMQ_OK, 1);
    assert_done(&rig, 1, DMQ_OK, 1);
    rig_deinit(&rig);
}

/* Rule 1 with others in flight: they may not reuse numbers that are still on their way. */
static void
test_a_refused_batch_with_others_in_flight(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 5);
    rig_send(&rig, 0, 6);
    rig_answer_produce(&rig, DMQ_ERR_BATCH_TOO_LARGE, 0);
    rig_answer_produce(&rig, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, 0);
    assert_int_equal(rig.done_count, 1);
    rig_tick(&rig, 1000);
    assert_epoch(rig_find(&rig, API_PRODUCE), 1, 0, 6);
    rig_answer_produce(&rig, DMQ_OK, 1);
    assert_done(&rig, 1, DMQ_OK, 1);
    rig_deinit(&rig);
}

static void
test_delivery_timeout_of_what_was_never_sent(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_disconnect(&rig, 0, DMQ_ERR_UNREACHABLE);
    rig_send(&rig, 0, 1);
    rig_tick(&rig, 119999);
    assert_int_equal(rig.done_count, 0);
    rig_tick(&rig, 1);
    assert_done(&rig, 0, DMQ_ERR_DELIVERY_TIMEOUT, -1);
    rig_deinit(&rig);
}

/* Rule 2: its fate is unknown, so the next one keeps its number. */
static void
test_delivery_timeout_in_flight(void **state)
{
    struct rig rig;
    struct sender_config config = rig_sender;
    (void)state;
    config.delivery_timeout_ms = 1000;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig_producer(&rig, &config);
    rig_send(&rig, 0, 4);
    rig_answer_producer_id(&rig, 1000);
    rig_tick(&rig, 1000);
    assert_done(&rig, 0, DMQ_ERR_TIMEOUT, -1);
    rig_send(&rig, 0, 1);
    assert_numbers(rig.sent[rig.sent_count - 1], 1000, 4, 1);
    rig_answer_produce(&rig, DMQ_OK, 0); /* of the first: nobody waits for it any more */
    assert_int_equal(rig.done_count, 1);
    rig_answer_produce(&rig, DMQ_OK, 4);
    assert_done(&rig, 1, DMQ_OK, 4);
    rig_deinit(&rig);
}

static void
test_delivery_timeout_of_what_never_arrived(void **state)
{
    struct rig rig;
    struct sender_config config = rig_sender;
    (void)state;
    config.delivery_timeout_ms = 1000;
    rig_init(&rig, 1);
    rig_open(&rig);
    rig_producer(&rig, &config);
    rig_send(&rig, 0, 4);
    rig_answer_producer_id(&rig, 1000);
    rig_tick(&rig, 1000);
    assert_done(&rig, 0, DMQ_ERR_TIMEOUT, -1);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig_tick(&rig, 10);
    rig_open(&rig);
    rig_send(&rig, 0, 1);
    assert_numbers(rig_find(&rig, API_PRODUCE), 1000, 4, 1);
    rig_answer_produce(&rig, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, 0);
    assert_int_equal(rig.done_count, 1); /* the gap is explained: it goes in the next epoch */
    assert_epoch(rig_find(&rig, API_PRODUCE), 1, 0, 1);
    rig_answer_produce(&rig, DMQ_OK, 0);
    assert_done(&rig, 1, DMQ_OK, 0);
    rig_deinit(&rig);
}

/* Rule 3: acknowledged records are gone. The application must hear of it. */
static void
test_loss_at_the_broker_is_told(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_send(&rig, 0, 2);
    rig_answer_produce(&rig, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, 0);
    assert_done(&rig, 0, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, -1);
    rig_answer_produce(&rig, DMQ_ERR_OUT_OF_ORDER_SEQUENCE, 0);
    rig_tick(&rig, 1000);
    assert_epoch(rig_find(&rig, API_PRODUCE), 1, 0, 2);
    rig_deinit(&rig);
}

static void
test_forgotten_idle_producer_goes_on(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_UNKNOWN_PRODUCER_ID, 0);
    assert_int_equal(rig.done_count, 0);
    assert_epoch(rig_find(&rig, API_PRODUCE), 1, 0, 1);
    rig_deinit(&rig);
}

/* The last epoch of an id is used up: another id is asked for. */
static void
test_epochs_end(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig.client->senders->partitions->producer_epoch = INT16_MAX;
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_UNKNOWN_PRODUCER_ID, 0);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 0);
    rig_answer_producer_id(&rig, 2000);
    assert_numbers(rig_find(&rig, API_PRODUCE), 2000, 0, 1);
    rig_deinit(&rig);
}

static void
test_a_newer_instance_is_told(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_INVALID_PRODUCER_EPOCH, 0);
    assert_done(&rig, 0, DMQ_ERR_INVALID_PRODUCER_EPOCH, -1);
    rig_send(&rig, 0, 1);
    rig_answer_producer_id(&rig, 2000);
    assert_numbers(rig_find(&rig, API_PRODUCE), 2000, 0, 1);
    rig_deinit(&rig);
}

static void
test_forgotten_producer_with_a_lost_answer_fails(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig_tick(&rig, 1000);
    rig_open(&rig);
    rig_tick(&rig, 1000);
    rig_answer_produce(&rig, DMQ_ERR_UNKNOWN_PRODUCER_ID, 0);
    assert_done(&rig, 0, DMQ_ERR_TIMEOUT, -1); /* sending it again might write it twice */
    rig_deinit(&rig);
}

/* Its leader knows nothing of the two, but a replica that leads later may have both (dmq-sim, seed
 * 153 with retention). What was never sent is not touched by that. */
static void
test_what_followed_a_batch_of_unknown_fate_is_of_unknown_fate(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_send(&rig, 0, 3);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig_tick(&rig, 1000);
    rig_send(&rig, 0, 2);
    rig_open(&rig);
    rig_tick(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 3);
    for (int i = 0; i < 3; i++) {
        rig_answer_produce(&rig, DMQ_ERR_UNKNOWN_PRODUCER_ID, 0);
    }
    rig_tick(&rig, 1000);
    assert_int_equal(rig.done_count, 2);
    assert_done(&rig, 0, DMQ_ERR_TIMEOUT, -1);
    assert_done(&rig, 1, DMQ_ERR_TIMEOUT, -1);
    assert_epoch(rig_find(&rig, API_PRODUCE), 1, 0, 2);
    rig_deinit(&rig);
}

static void
test_new_leader_gets_the_batches(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_NOT_LEADER, 0);
    rig.leaders[0] = 2;
    rig.leader_epoch = 4;
    rig_tick(&rig, 100);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 0); /* not again to the old one */
    rig_answer_metadata(&rig);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 0);
    assert_true(rig.connecting[1]); /* b2 */
    rig_connect(&rig, 1, 2);
    struct rig_sent *sent = rig_find(&rig, API_PRODUCE);
    assert_int_equal(sent->conn, 1);
    assert_int_equal(sent->u.produce.partitions[0].leader_epoch, 4);
    assert_numbers(sent, 1000, 1, 1);
    rig_answer_produce(&rig, DMQ_OK, 1);
    assert_done(&rig, 0, DMQ_OK, 1);
    rig_deinit(&rig);
}

static void
test_old_metadata_does_not_bring_an_old_leader_back(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_NOT_LEADER, 0);
    rig.leaders[0] = 2;
    rig.leader_epoch = 2; /* below the 3 that is known */
    rig_tick(&rig, 100);
    rig_answer_metadata(&rig);
    rig_tick(&rig, 1000);
    assert_int_equal(rig_find(&rig, API_PRODUCE)->conn, 0);
    rig_deinit(&rig);
}

static void
test_limits_of_the_connection(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig.max_requests = 2;
    rig_open(&rig);
    rig_producer(&rig, &rig_sender);
    for (int i = 0; i < 3; i++) {
        rig_send(&rig, 0, 1);
    }
    rig_answer_producer_id(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 2);
    rig_answer_produce(&rig, DMQ_OK, 0);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 2);
    rig_deinit(&rig);

    rig_init(&rig, 1);
    rig.max_bytes = 400; /* one batch of 10 records has 61 + 170 bytes */
    rig_open(&rig);
    rig_producer(&rig, &rig_sender);
    rig_send(&rig, 0, 10);
    rig_send(&rig, 0, 10);
    rig_answer_producer_id(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 1);
    rig_answer_produce(&rig, DMQ_OK, 0);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 1);
    assert_int_equal(rig.done_count, 1);
    rig_deinit(&rig);
}

static void
test_partitions_share_a_request(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig);
    rig_send(&rig, 0, 1);
    rig_send(&rig, 2, 2);
    rig_send(&rig, 3, 3);
    rig_answer_producer_id(&rig, 1000);
    assert_int_equal(rig_count(&rig, API_PRODUCE), 1);
    const struct produce_request *request = &rig_find(&rig, API_PRODUCE)->u.produce;
    assert_int_equal(request->partitions_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(rig_batch(rig_find(&rig, API_PRODUCE), i).base_sequence, 0);
        assert_int_equal(rig_batch(rig_find(&rig, API_PRODUCE), i).count, i + 1);
    }
    rig_answer_produce(&rig, DMQ_OK, 5);
    assert_int_equal(rig.done_count, 3);
    rig_deinit(&rig);
}

static void
test_deleted_topic_fails_once_metadata_says_so(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_UNKNOWN_TOPIC_ID, 0);
    assert_int_equal(rig.done_count, 0);
    rig.topic_id = (struct uuid){{0}};
    rig_tick(&rig, 100);
    rig_answer_metadata(&rig);
    assert_done(&rig, 0, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, -1);
    rig_deinit(&rig);
}

static void
test_topic_made_again_starts_anew(void **state)
{
    struct rig rig;
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer_produce(&rig, DMQ_ERR_UNKNOWN_TOPIC_ID, 0);
    rig.topic_id = (struct uuid){{10}};
    rig_tick(&rig, 100);
    rig_answer_metadata(&rig);
    rig_tick(&rig, 1000);
    assert_epoch(rig_find(&rig, API_PRODUCE), 1, 0, 1);
    assert_true(
        uuid_equal(rig_find(&rig, API_PRODUCE)->u.produce.partitions[0].topic_id, rig.topic_id));
    rig_deinit(&rig);
}

static void
test_answer_that_cannot_be_read_is_no_answer(void **state)
{
    struct rig rig;
    struct produce_response body = {0}; /* of no partition */
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_answer(&rig, rig_find(&rig, API_PRODUCE), DMQ_OK, desc_produce_response(), &body);
    assert_int_equal(rig.done_count, 0);
    rig_tick(&rig, 1000);
    assert_numbers(rig_find(&rig, API_PRODUCE), 1000, 1, 1);
    rig_deinit(&rig);
}

static void
test_closing_gives_everything_back(void **state)
{
    struct rig rig;
    struct client_event closed = {.type = CLIENT_PRODUCER_CLOSED, .id = 1};
    (void)state;
    set_up_running(&rig);
    rig_send(&rig, 0, 1);
    rig_send(&rig, 1, 1);
    rig_event(&rig, &closed);
    assert_int_equal(rig.done_count, 2);
    assert_int_equal(rig.done[0].result.code, DMQ_ERR_CLOSED);
    rig_answer_produce(&rig, DMQ_OK, 1); /* too late, and harmless */
    rig_deinit(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_batch_waits_for_a_producer_id),
        cmocka_unit_test(test_no_producer_id_is_to_be_had),
        cmocka_unit_test(test_no_more_in_flight_than_allowed),
        cmocka_unit_test(test_without_idempotence_one_in_flight_and_no_numbers),
        cmocka_unit_test(test_a_retry_keeps_order_and_sequences),
        cmocka_unit_test(test_a_new_batch_does_not_overtake_a_retry),
        cmocka_unit_test(test_lost_answers_are_asked_for_again),
        cmocka_unit_test(test_a_refused_batch_leaves_no_gap),
        cmocka_unit_test(test_a_refused_batch_with_others_in_flight),
        cmocka_unit_test(test_delivery_timeout_of_what_was_never_sent),
        cmocka_unit_test(test_delivery_timeout_in_flight),
        cmocka_unit_test(test_delivery_timeout_of_what_never_arrived),
        cmocka_unit_test(test_loss_at_the_broker_is_told),
        cmocka_unit_test(test_forgotten_idle_producer_goes_on),
        cmocka_unit_test(test_epochs_end),
        cmocka_unit_test(test_a_newer_instance_is_told),
        cmocka_unit_test(test_forgotten_producer_with_a_lost_answer_fails),
        cmocka_unit_test(test_what_followed_a_batch_of_unknown_fate_is_of_unknown_fate),
        cmocka_unit_test(test_new_leader_gets_the_batches),
        cmocka_unit_test(test_old_metadata_does_not_bring_an_old_leader_back),
        cmocka_unit_test(test_limits_of_the_connection),
        cmocka_unit_test(test_partitions_share_a_request),
        cmocka_unit_test(test_deleted_topic_fails_once_metadata_says_so),
        cmocka_unit_test(test_topic_made_again_starts_anew),
        cmocka_unit_test(test_answer_that_cannot_be_read_is_no_answer),
        cmocka_unit_test(test_closing_gives_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
