/* What is fetched ahead: positions, limits, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/wire/batch_build.h"
#include "tests/support/client_rig.h"

static const struct fetcher_config config = {.min_bytes = 1,
                                             .max_wait_ms = 500,
                                             .max_bytes = 1000,
                                             .max_partition_bytes = 400,
                                             .max_queued_bytes = 1000,
                                             .reset = FETCH_RESET_ERROR};

static void
set_up(struct rig *rig, int reset)
{
    struct client_event opened = {.type = CLIENT_CONSUMER_OPENED, .id = 2};
    struct client_event wanted = {.type = CLIENT_TOPIC_WANTED};
    struct fetcher_config mine = config;
    struct client_effect effect;
    rig_init(rig, 1);
    rig_open(rig);
    mine.reset = reset;
    opened.u.consumer = &mine;
    wanted.u.topic = RIG_TOPIC;
    rig_event(rig, &opened);
    rig_event(rig, &wanted);
    rig_answer_metadata(rig);
    assert_true(rig_take(rig, CLIENT_TOPIC, &effect));
}

/* Partitions 0 to count-1 from offset 100 on. */
static void
assign(struct rig *rig, uint32_t count, uint32_t generation)
{
    struct client_event event = {.type = CLIENT_ASSIGNED, .id = 2};
    struct client_position positions[RIG_PARTITIONS];
    for (uint32_t i = 0; i < count; i++) {
        positions[i] = (struct client_position){0, (int32_t)i, 100};
    }
    event.u.positions.positions = positions;
    event.u.positions.count = count;
    event.u.positions.generation = generation;
    rig_event(rig, &event);
}

/* One batch of `count` records from base on, in epoch 3. */
static struct buf *
batch(int64_t base, int count)
{
    struct batch_builder builder;
    struct buf *bytes;
    batch_builder_init(&builder, 1 << 20);
    for (int i = 0; i < count; i++) {
        assert_int_equal(batch_builder_append(&builder, 1, (struct bytes){NULL, 0},
                                              bytes_str("0123456789"), NULL, 0),
                         DMQ_OK);
    }
    assert_int_equal(batch_builder_finish(&builder, &BATCH_DEFAULT_OPTIONS, NULL, &bytes), DMQ_OK);
    batch_stamp(bytes->data, base, 3);
    batch_builder_deinit(&builder);
    return bytes;
}

/* Answers the oldest FETCH: partition i gets results[i] and frames[i]; frames are consumed. */
static void
answer(struct rig *rig, struct fetch_result *results, struct buf **frames, uint32_t count)
{
    struct fetch_response body = {.partitions = results, .partitions_count = count};
    struct buf *attachments[RIG_PARTITIONS + 1] = {NULL};
    for (uint32_t i = 0; i < count; i++) {
        attachments[i] = frames[i] == NULL ? buf_new(0) : frames[i];
        if (results[i].diverging_end == 0) {
            results[i].diverging_epoch = -1;
            results[i].diverging_end = -1;
        }
    }
    rig_answer_with(rig, rig_find(rig, API_FETCH), desc_fetch_response(), &body, attachments);
    for (uint32_t i = 0; i < count; i++) {
        buf_unref(attachments[i]);
    }
}

static void
answer_one(struct rig *rig, dmq_err err, int64_t high_watermark, struct buf *frame)
{
    struct fetch_result result = {.error = err, .high_watermark = high_watermark};
    answer(rig, &result, &frame, 1);
}

static int64_t
offset_asked(struct rig *rig)
{
    struct rig_sent *sent = rig_find(rig, API_FETCH);
    assert_non_null(sent);
    return sent->u.fetch.partitions[0].fetch_offset;
}

static void
consume(struct rig *rig, int64_t bytes)
{
    struct client_event event = {.type = CLIENT_CONSUMED, .id = 2};
    event.u.bytes = bytes;
    rig_event(rig, &event);
}

static void
test_fetches_ahead_from_where_it_is(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 7);
    assert_int_equal(offset_asked(&rig), 100);
    const struct fetch_request *asked = &rig_find(&rig, API_FETCH)->u.fetch;
    assert_int_equal(asked->replica_id, -1);
    assert_int_equal(asked->max_bytes, 1000);
    assert_int_equal(asked->partitions[0].leader_epoch, 3);
    assert_int_equal(asked->partitions[0].last_fetched_epoch, -1);
    answer_one(&rig, DMQ_OK, 110, batch(100, 5));
    assert_true(rig_take(&rig, CLIENT_RECORDS, &effect));
    assert_int_equal(effect.u.records.offset, 100);
    assert_int_equal(effect.u.records.generation, 7);
    assert_int_equal(effect.u.records.high_watermark, 110);
    buf_unref(effect.u.records.frame);
    assert_int_equal(offset_asked(&rig), 105);
    assert_int_equal(rig_find(&rig, API_FETCH)->u.fetch.partitions[0].last_fetched_epoch, 3);
    rig_deinit(&rig);
}

/* A batch that begins before the offset is handed out whole: whoever reads it skips. */
static void
test_fetch_inside_a_batch(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 7);
    answer_one(&rig, DMQ_OK, 105, batch(95, 10));
    assert_true(rig_take(&rig, CLIENT_RECORDS, &effect));
    assert_int_equal(effect.u.records.offset, 100);
    buf_unref(effect.u.records.frame);
    assert_int_equal(offset_asked(&rig), 105);
    rig_deinit(&rig);
}

static void
test_one_fetch_in_flight_for_all_partitions_of_a_broker(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 3, 1);
    assert_int_equal(rig_count(&rig, API_FETCH), 1);
    assert_int_equal(rig_find(&rig, API_FETCH)->u.fetch.partitions_count, 3);
    struct fetch_result results[3] = {
        {.high_watermark = 100}, {.high_watermark = 105}, {.error = DMQ_ERR_NOT_LEADER}};
    struct buf *frames[3] = {NULL, batch(100, 5), NULL};
    answer(&rig, results, frames, 3);
    assert_int_equal(rig_count(&rig, API_FETCH), 1);
    /* The next one begins behind the last one of before, and leaves out the one that failed. */
    const struct fetch_request *next = &rig_find(&rig, API_FETCH)->u.fetch;
    assert_int_equal(next->partitions_count, 2);
    assert_int_equal(next->partitions[1].fetch_offset, 105);
    rig_tick(&rig, 10);
    assert_int_equal(rig_count(&rig, API_METADATA), 1);
    rig_deinit(&rig);
}

static void
test_queue_is_bounded(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    struct buf *frame = batch(100, 50);
    int64_t size = (int64_t)frame->size; /* more than 800 bytes */
    answer_one(&rig, DMQ_OK, 200, frame);
    assert_int_equal(rig_count(&rig, API_FETCH), 0);
    assert_true(client_is_starved(rig.client, 2));
    consume(&rig, size);
    assert_int_equal(rig_count(&rig, API_FETCH), 1);
    assert_false(client_is_starved(rig.client, 2));
    rig_deinit(&rig);
}

static void
test_seek_drops_what_is_in_flight(void **state)
{
    struct rig rig;
    struct client_effect effect;
    struct client_event seek = {.type = CLIENT_SOUGHT, .id = 2};
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    seek.u.seek.offset = 3;
    seek.u.seek.generation = 2;
    rig_event(&rig, &seek);
    assert_int_equal(rig_count(&rig, API_FETCH), 2); /* it does not wait for the old one */
    answer_one(&rig, DMQ_OK, 200, batch(100, 5));
    assert_false(rig_take(&rig, CLIENT_RECORDS, &effect));
    assert_int_equal(offset_asked(&rig), 3);
    rig_deinit(&rig);
}

static void
test_offset_out_of_range_stops(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    answer_one(&rig, DMQ_ERR_OFFSET_OUT_OF_RANGE, -1, NULL);
    assert_true(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    rig_tick(&rig, 10000);
    assert_int_equal(rig_count(&rig, API_FETCH), 0);
    rig_deinit(&rig);
}

static void
test_offset_out_of_range_resets_if_asked_to(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    set_up(&rig, FETCH_RESET_START);
    assign(&rig, 1, 1);
    answer_one(&rig, DMQ_ERR_OFFSET_OUT_OF_RANGE, -1, NULL);
    struct rig_sent *sent = rig_find(&rig, API_LIST_OFFSETS);
    assert_non_null(sent);
    assert_int_equal(sent->u.offsets.partitions[0].timestamp, -2);
    struct list_offsets_result found = {.offset = 42};
    struct list_offsets_response body = {.partitions = &found, .partitions_count = 1};
    rig_answer(&rig, sent, DMQ_OK, desc_list_offsets_response(), &body);
    assert_int_equal(offset_asked(&rig), 42);
    assert_false(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
    rig_deinit(&rig);
}

/* Where the log of one leader begins above what is next, that of another may begin below. */
static void
test_retention_sends_no_reader_back(void **state)
{
    static const struct {
        int64_t log_start;
        int64_t found;
        int64_t then;
    } cases[] = {{175, 67, 100}, {175, 175, 175}, {20, 67, 67}}; /* the last: cut below 100 */
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig rig;
        struct fetch_result result = {.error = DMQ_ERR_OFFSET_OUT_OF_RANGE,
                                      .log_start_offset = cases[i].log_start,
                                      .diverging_epoch = -1};
        struct list_offsets_result found = {.offset = cases[i].found};
        struct list_offsets_response body = {.partitions = &found, .partitions_count = 1};
        struct buf *none = NULL;
        set_up(&rig, FETCH_RESET_START);
        assign(&rig, 1, 1); /* at 100 */
        answer(&rig, &result, &none, 1);
        rig_answer(&rig, rig_find(&rig, API_LIST_OFFSETS), DMQ_OK, desc_list_offsets_response(),
                   &body);
        assert_int_equal(offset_asked(&rig), cases[i].then);
        rig_deinit(&rig);
    }
}

/* Trap 8: the log was cut below what this consumer has read. */
static void
test_trap_08_truncation_is_told(void **state)
{
    struct rig rig;
    struct client_effect effect;
    struct fetch_result result = {.high_watermark = 90, .diverging_epoch = 2, .diverging_end = 90};
    struct buf *none = NULL;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    answer(&rig, &result, &none, 1);
    assert_true(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_non_null(strstr(effect.result.text, "90"));
    rig_deinit(&rig);
}

/* Where to go on is where the logs part, whatever the policy: not at the start or end. */
static void
test_trap_08_goes_on_where_the_logs_part(void **state)
{
    static const struct {
        int32_t epoch;
        int64_t end;
        int64_t then;
    } cases[] = {{3, 103, 103},  /* of the epoch that was read the leader has less */
                 {2, 90, 90},    /* of that nothing, and of the one before not all that was read */
                 {2, 104, 100},  /* nor when it has more of that: this is not what was read */
                 {3, 200, 105}}; /* a leader gone mad */
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig rig;
        struct client_effect effect;
        struct fetch_result result = {.high_watermark = 103,
                                      .diverging_epoch = cases[i].epoch,
                                      .diverging_end = cases[i].end};
        struct buf *none = NULL;
        set_up(&rig, i % 2 == 0 ? FETCH_RESET_START : FETCH_RESET_END);
        assign(&rig, 1, 1);
        answer_one(&rig, DMQ_OK, 105, batch(100, 5));
        assert_int_equal(rig_find(&rig, API_FETCH)->u.fetch.partitions[0].last_fetched_epoch, 3);
        answer(&rig, &result, &none, 1);
        assert_int_equal(rig_count(&rig, API_LIST_OFFSETS), 0);
        assert_int_equal(offset_asked(&rig), cases[i].then);
        assert_int_equal(rig_find(&rig, API_FETCH)->u.fetch.partitions[0].last_fetched_epoch, -1);
        assert_false(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
        rig_deinit(&rig);
    }
}

/* Nothing is left of what was read: the log is another one, and the policy says where to go on. */
static void
test_trap_08_without_an_epoch_in_common(void **state)
{
    struct rig rig;
    struct fetch_result result = {.high_watermark = 90, .diverging_epoch = -1, .diverging_end = 70};
    struct buf *none = NULL;
    (void)state;
    set_up(&rig, FETCH_RESET_END);
    assign(&rig, 1, 1);
    answer(&rig, &result, &none, 1);
    assert_int_equal(rig_find(&rig, API_LIST_OFFSETS)->u.offsets.partitions[0].timestamp, -1);
    rig_deinit(&rig);
}

static void
test_bytes_that_are_no_batches_stop(void **state)
{
    struct rig rig;
    struct client_effect effect;
    struct buf *frame = batch(100, 5);
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    frame->size -= 1;
    answer_one(&rig, DMQ_OK, 200, frame);
    assert_true(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(rig_count(&rig, API_FETCH), 0);
    rig_deinit(&rig);
}

/* The CRC does not cover a batch's offset: it must fit the high watermark, and what is before it.
 */
static void
test_offsets_that_cannot_be_stop(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    for (int i = 0; i < 2; i++) {
        set_up(&rig, FETCH_RESET_ERROR);
        assign(&rig, 1, 1);
        struct outbuf out = {0};
        struct buf *parts[2] = {batch(100, 5), batch(i == 0 ? 196 : 104, 5)};
        for (int j = 0; j < 2; j++) {
            outbuf_put(&out, parts[j]->data, parts[j]->size);
            buf_unref(parts[j]);
        }
        answer_one(&rig, DMQ_OK, 200, outbuf_take(&out));
        assert_true(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
        assert_int_equal(effect.result.code, DMQ_ERR_CORRUPT_BATCH);
        rig_deinit(&rig);
    }
}

static void
test_answer_for_other_partitions_is_no_answer(void **state)
{
    struct rig rig;
    struct client_effect effect;
    struct fetch_result results[2] = {{.high_watermark = 1}, {.high_watermark = 1}};
    struct buf *frames[2] = {NULL, NULL};
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    answer(&rig, results, frames, 2);
    assert_false(rig_take(&rig, CLIENT_RECORDS, &effect));
    rig_tick(&rig, 100);
    assert_int_equal(offset_asked(&rig), 100);
    rig_deinit(&rig);
}

static void
test_lost_connection_is_fetched_again(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    rig_disconnect(&rig, 0, DMQ_ERR_NETWORK);
    rig_tick(&rig, 100);
    rig_open(&rig);
    rig_tick(&rig, 100);
    assert_int_equal(offset_asked(&rig), 100);
    assert_int_equal(rig_count(&rig, API_FETCH), 1);
    rig_deinit(&rig);
}

static void
test_high_watermark_is_told_without_records(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    answer_one(&rig, DMQ_OK, 100, NULL);
    assert_true(rig_take(&rig, CLIENT_RECORDS, &effect));
    assert_null(effect.u.records.frame);
    assert_int_equal(effect.u.records.high_watermark, 100);
    answer_one(&rig, DMQ_OK, 100, NULL);
    assert_false(rig_take(&rig, CLIENT_RECORDS, &effect)); /* no news */
    rig_deinit(&rig);
}

static void
test_partition_that_is_gone_stops(void **state)
{
    struct rig rig;
    struct client_effect effect;
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    assign(&rig, 1, 1);
    rig.topic_id = (struct uuid){{0}};
    answer_one(&rig, DMQ_ERR_UNKNOWN_TOPIC_ID, -1, NULL);
    rig_tick(&rig, 100);
    rig_answer_metadata(&rig);
    answer_one(&rig, DMQ_ERR_UNKNOWN_TOPIC_ID, -1, NULL); /* it had asked once more meanwhile */
    rig_tick(&rig, 1000);
    assert_true(rig_take(&rig, CLIENT_SLOT_FAILED, &effect));
    assert_int_equal(effect.result.code, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    rig_deinit(&rig);
}

/* There is room for one request, and there are two brokers. */
static void
test_every_broker_has_its_turn(void **state)
{
    struct rig rig;
    struct client_event wanted = {.type = CLIENT_TOPIC_WANTED};
    (void)state;
    set_up(&rig, FETCH_RESET_ERROR);
    rig.leaders[1] = 2;
    wanted.u.topic = RIG_TOPIC;
    rig_event(&rig, &wanted);
    rig_answer_metadata(&rig);
    assign(&rig, 2, 1);
    rig_connect(&rig, rig.connecting[1] ? 1 : 2, 2);
    assert_int_equal(rig_count(&rig, API_FETCH), 1);
    for (int i = 0; i < 4; i++) {
        uint32_t conn = rig_find(&rig, API_FETCH)->conn;
        answer_one(&rig, DMQ_OK, 100, NULL);
        assert_int_equal(rig_count(&rig, API_FETCH), 1);
        assert_int_not_equal(rig_find(&rig, API_FETCH)->conn, conn);
    }
    rig_deinit(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetches_ahead_from_where_it_is),
        cmocka_unit_test(test_fetch_inside_a_batch),
        cmocka_unit_test(test_one_fetch_in_flight_for_all_partitions_of_a_broker),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_seek_drops_what_is_in_flight),
        cmocka_unit_test(test_offset_out_of_range_stops),
        cmocka_unit_test(test_offset_out_of_range_resets_if_asked_to),
        cmocka_unit_test(test_retention_sends_no_reader_back),
        cmocka_unit_test(test_trap_08_truncation_is_told),
        cmocka_unit_test(test_trap_08_goes_on_where_the_logs_part),
        cmocka_unit_test(test_trap_08_without_an_epoch_in_common),
        cmocka_unit_test(test_bytes_that_are_no_batches_stop),
        cmocka_unit_test(test_offsets_that_cannot_be_stop),
        cmocka_unit_test(test_answer_for_other_partitions_is_no_answer),
        cmocka_unit_test(test_lost_connection_is_fetched_again),
        cmocka_unit_test(test_high_watermark_is_told_without_records),
        cmocka_unit_test(test_partition_that_is_gone_stops),
        cmocka_unit_test(test_every_broker_has_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
