/* A follower: what it asks, and what it makes of answers, above all of those that it must not
 * believe. Nothing of them may reach the log, and its high watermark rises by nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/sim/sim_peers.h"

#define LEADER 102
#define OTHER 103
#define RETRY_MS 50
#define RECORDS 4 /* that both logs have at the beginning, in epoch 5 */

static const int32_t ALL[] = {101, 102, 103};

static struct sim_broker sim;
static struct arena arena;
static struct uuid topic;
static struct partition *p;
static struct fetch_request asked;

/* The fetch that is on its way; 0: none. What it asks is in `asked`. */
static int64_t
take(void)
{
    return sim_peers_take(&sim, API_FETCH, &arena, &asked);
}

static struct fetch_result
result(int64_t high_watermark)
{
    return (struct fetch_result){.topic_id = topic,
                                 .high_watermark = high_watermark,
                                 .last_stable_offset = high_watermark,
                                 .leader_epoch = p->replica.leader_epoch,
                                 .diverging_epoch = -1,
                                 .diverging_end = -1};
}

static void
answer_with(int64_t tag, struct fetch_result one, struct buf *frame)
{
    const struct fetch_response response = {.partitions = &one, .partitions_count = 1};
    sim_peers_answer(&sim, tag, DMQ_OK, &response, &frame, 1);
}

static void
answer(int64_t tag, int64_t high_watermark, struct buf *frame)
{
    answer_with(tag, result(high_watermark), frame);
}

static struct buf *
nothing(void)
{
    return buf_copy(bytes_of("", 0));
}

static int
setup(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 24);
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    sim_peers_begin(&sim);
    topic = sim_peers_topic(&sim, LEADER, 3);
    p = sim_peers_partition(&sim, topic);
    sim_peers_link(&sim, LEADER, true);
    answer(take(), 0, sim_peers_batch(0, 5, RECORDS));
    assert_int_equal(plog_end(p->log), RECORDS);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    sim_broker_deinit(&sim);
    arena_deinit(&arena);
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void
it_asks_its_leader_from_its_end_with_its_last_epoch(void **state)
{
    (void)state;
    assert_int_equal(sim.peer_dialled, LEADER);
    assert_int_not_equal(take(), 0);
    assert_int_equal(asked.replica_id, 101);
    assert_int_equal(asked.broker_epoch, sim_peers_epoch(&sim, 101));
    assert_int_equal(asked.partitions_count, 1);
    const struct fetch_partition *one = &asked.partitions[0];
    assert_int_equal(one->fetch_offset, RECORDS);
    assert_int_equal(one->log_end, RECORDS);
    assert_int_equal(one->last_fetched_epoch, 5);
    assert_int_equal(one->leader_epoch, 5);
}

static void
one_fetch_is_on_its_way_at_a_time(void **state)
{
    (void)state;
    int64_t tag = take();
    assert_int_not_equal(tag, 0);
    assert_true(sim_broker_wait(&sim, 3000));
    sim_peers_change(&sim, topic, LEADER, ALL, 2); /* an image does not make it ask again */
    assert_int_equal(take(), 0);
    answer(tag, 0, nothing());
    assert_int_not_equal(take(), 0); /* in the very step of the answer */
    assert_int_equal(take(), 0);
}

/* Its own sync is not waited for: what it means is told while the next fetch is parked. */
static void
a_synced_end_is_told_beside_the_fetch(void **state)
{
    (void)state;
    struct replica_progress_request progress;
    int64_t tag = take();
    while (sim_peers_take(&sim, API_REPLICA_PROGRESS, &arena, &progress) != 0) {
    }
    answer(tag, 0, sim_peers_batch(RECORDS, 5, 1));
    assert_int_not_equal(take(), 0);
    assert_int_equal(asked.partitions[0].log_end, RECORDS + 1);
    assert_int_equal(asked.partitions[0].synced_end, RECORDS);
    assert_int_not_equal(sim_peers_take(&sim, API_REPLICA_PROGRESS, &arena, &progress), 0);
    assert_int_equal(progress.partitions[0].synced_end, RECORDS + 1);
    assert_int_equal(progress.partitions[0].leader_epoch, 5);
    assert_int_equal(progress.broker_epoch, sim_peers_epoch(&sim, 101));
}

static void
nobody_is_asked_where_no_connection_is(void **state)
{
    (void)state;
    assert_int_not_equal(take(), 0);
    sim_peers_link(&sim, LEADER, false);
    assert_true(sim_broker_wait(&sim, 20000));
    assert_int_equal(take(), 0);
    sim_peers_link(&sim, LEADER, true);
    assert_int_not_equal(take(), 0);
}

/* ---- believing ------------------------------------------------------------------------------- */

static void
the_high_watermark_is_the_leaders_up_to_its_own_end(void **state)
{
    (void)state;
    answer(take(), 2, nothing());
    assert_int_equal(p->replica.high_watermark, 2);
    answer(take(), 100, sim_peers_batch(RECORDS, 5, 1));
    assert_int_equal(p->replica.high_watermark, RECORDS + 1);
    answer(take(), 1, nothing()); /* never down */
    assert_int_equal(p->replica.high_watermark, RECORDS + 1);
}

/* Divergence, batches and a high watermark in one answer: it is cut, and nothing else counts. */
static void
it_is_cut_before_anything_rises(void **state)
{
    (void)state;
    assert_int_not_equal(take(), 0);
    sim_peers_change(&sim, topic, OTHER, ALL, 3);
    assert_int_equal(sim.peer_dialled, OTHER);
    sim_peers_link(&sim, OTHER, true);
    int64_t tag = take();
    assert_int_equal(asked.partitions[0].leader_epoch, 6);
    struct fetch_result diverging = result(RECORDS);
    diverging.diverging_epoch = 5;
    diverging.diverging_end = 0;
    answer_with(tag, diverging, sim_peers_batch(RECORDS, 6, 1));
    assert_int_equal(plog_end(p->log), 0);
    assert_int_equal(p->replica.high_watermark, 0);
    assert_int_equal(p->replica.synced_end, 0);
    assert_int_not_equal(take(), 0);
    assert_int_equal(asked.partitions[0].fetch_offset, 0);
    assert_int_equal(asked.partitions[0].last_fetched_epoch, -1);
}

static void
a_divergence_that_cannot_be_cuts_nothing(void **state)
{
    (void)state;
    static const struct {
        int32_t epoch;
        int64_t end;
    } claims[] = {{5, RECORDS}, {5, RECORDS + 1}, {7, RECORDS}, {6, INT64_MAX}};
    assert_int_not_equal(take(), 0);
    sim_peers_change(&sim, topic, OTHER, ALL, 3);
    sim_peers_link(&sim, OTHER, true);
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        struct fetch_result diverging = result(RECORDS);
        diverging.diverging_epoch = claims[i].epoch;
        diverging.diverging_end = claims[i].end;
        int64_t tag = take();
        assert_int_not_equal(tag, 0);
        answer_with(tag, diverging, nothing());
        assert_int_equal(plog_end(p->log), RECORDS);
        assert_int_equal(take(), 0);
        assert_true(sim_broker_wait(&sim, RETRY_MS + 1));
    }
    assert_int_not_equal(take(), 0);
}

/* The leader removed what is below 70; then one is elected uncleanly that has not so much, and has
 * written since: its records below 70 are not ours. */
static void
begins_anew(bool empty)
{
    static const int32_t others[] = {102, 103};
    struct report_damaged_request report;
    struct fetch_result removed = result(80);
    int64_t tag = take();
    sim_peers_change(&sim, topic, LEADER, others, 2);
    removed.error = DMQ_ERR_OFFSET_OUT_OF_RANGE;
    removed.log_start_offset = 70;
    answer_with(tag, removed, nothing());
    assert_int_equal(plog_end(p->log), 70);
    tag = take();
    assert_int_equal(asked.partitions[0].last_fetched_epoch, -1);
    if (!empty) {
        answer(tag, 70, sim_peers_batch(70, 5, 3));
        assert_int_equal(plog_end(p->log), 73);
        assert_int_not_equal(take(), 0);
    }
    sim_peers_change(&sim, topic, OTHER, &others[1], 1);
    sim_peers_link(&sim, OTHER, true);
    struct fetch_result diverging = result(90);
    diverging.diverging_epoch = empty ? -1 : 5;
    diverging.diverging_end = empty ? 0 : 50;
    answer_with(take(), diverging, nothing());
    assert_int_equal(plog_end(p->log), empty ? 70 : 73); /* nothing of it is thrown away */
    assert_true(repair_is_damaged(p));
    assert_true(sim_broker_wait(&sim, 1100));
    assert_int_not_equal(sim_peers_take(&sim, API_REPORT_DAMAGED, &arena, &report), 0);
    assert_int_equal(report.logs[0].told_epoch, p->replica.leader_epoch);
    sim_peers_change(&sim, topic, LEADER, others, 1); /* the controller starts a new epoch */
    assert_true(sim_broker_wait(&sim, 1100));
    assert_false(repair_is_damaged(p));
    assert_int_equal(p->state, PARTITION_OPEN);
    assert_int_equal(plog_end(p->log), 0);
    sim_peers_link(&sim, LEADER, false);
    while (take() != 0) {
    }
    sim_peers_link(&sim, LEADER, true);
    answer(take(), 0, sim_peers_batch(0, 5, 1));
    assert_int_equal(plog_end(p->log), 1);
}

static void
a_log_that_begins_beyond_where_they_part_begins_anew(void **state)
{
    (void)state;
    begins_anew(false);
}

static void
an_empty_log_that_begins_beyond_the_leaders_does_too(void **state)
{
    (void)state;
    begins_anew(true);
}

/* An answer that was under way when the connection ended, or when the epoch did. */
static void
late_answers_are_ignored(void **state)
{
    (void)state;
    int64_t late = take();
    sim_peers_link(&sim, LEADER, false);
    sim_peers_link(&sim, LEADER, true);
    int64_t tag = take();
    assert_true(tag != 0 && tag != late);
    answer(late, RECORDS, sim_peers_batch(RECORDS, 5, 1));
    assert_int_equal(plog_end(p->log), RECORDS);
    assert_int_equal(p->replica.high_watermark, 0);
    assert_int_equal(take(), 0);
    answer(tag, 1, nothing());
    assert_int_equal(p->replica.high_watermark, 1);
}

static void
an_answer_of_an_older_epoch_is_ignored(void **state)
{
    (void)state;
    int64_t old = take();
    sim_peers_change(&sim, topic, OTHER, ALL, 3);
    sim_peers_change(&sim, topic, LEADER, ALL, 3); /* epoch 7, the same leader again */
    assert_int_equal(take(), 0);                   /* that fetch is on its way still */
    answer(old, RECORDS, sim_peers_batch(RECORDS, 5, 1));
    assert_int_equal(plog_end(p->log), RECORDS);
    assert_int_equal(p->replica.high_watermark, 0);
    assert_int_not_equal(take(), 0);
    assert_int_equal(asked.partitions[0].leader_epoch, 7);
}

/* ---- garbage --------------------------------------------------------------------------------- */

/* Nothing was written, and it is asked again from the same place, after a while. */
static void
check_refused(const char *what)
{
    print_message("%s\n", what);
    assert_int_equal(plog_end(p->log), RECORDS);
    assert_int_equal(p->state, PARTITION_OPEN);
    assert_int_equal(take(), 0);
    assert_true(sim_broker_wait(&sim, RETRY_MS - 10));
    assert_int_equal(take(), 0);
    assert_true(sim_broker_wait(&sim, 11));
}

static struct buf *
flipped(size_t at)
{
    struct buf *batch = sim_peers_batch(RECORDS, 5, 1);
    batch->data[at] ^= 1;
    return batch;
}

static struct buf *
cut(size_t left_out)
{
    struct buf *whole = sim_peers_batch(RECORDS, 5, 1);
    struct buf *part = buf_copy(bytes_of(whole->data, whole->size - left_out));
    buf_unref(whole);
    return part;
}

static void
batches_that_are_wrong_are_not_written(void **state)
{
    (void)state;
    const struct {
        const char *what;
        struct buf *frame;
    } wrong[] = {
        {"a bit of the records", flipped(65)},
        {"the checksum", flipped(17)},
        {"the magic", flipped(16)},
        {"the length", flipped(11)},
        {"a gap", sim_peers_batch(RECORDS + 1, 5, 1)},
        {"an overlap", sim_peers_batch(RECORDS - 1, 5, 2)},
        {"a negative offset", sim_peers_batch(-1, 5, 1)},
        {"an epoch that falls", sim_peers_batch(RECORDS, 4, 1)},
        {"an epoch that nobody has", sim_peers_batch(RECORDS, 6, 1)},
        {"no whole batch", cut(1)},
        {"no header", cut(40)},
        {"text", buf_copy(bytes_str("what do you want of me?"))},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int64_t tag = take();
        assert_int_not_equal(tag, 0);
        assert_int_equal(asked.partitions[0].fetch_offset, RECORDS);
        answer(tag, 0, wrong[i].frame);
        check_refused(wrong[i].what);
    }
    answer(take(), 0, sim_peers_batch(RECORDS, 5, 1)); /* and then it goes on */
    assert_int_equal(plog_end(p->log), RECORDS + 1);
}

static void
what_is_good_before_what_is_wrong_is_kept(void **state)
{
    (void)state;
    struct buf *good = sim_peers_batch(RECORDS, 5, 1);
    struct buf *gap = sim_peers_batch(RECORDS + 7, 5, 1);
    uint8_t both[1024];
    memcpy(both, good->data, good->size);
    memcpy(both + good->size, gap->data, gap->size);
    answer(take(), 0, buf_copy(bytes_of(both, good->size + gap->size)));
    buf_unref(good);
    buf_unref(gap);
    assert_int_equal(plog_end(p->log), RECORDS + 1);
    assert_int_equal(take(), 0);
    assert_true(sim_broker_wait(&sim, RETRY_MS + 1));
    assert_int_not_equal(take(), 0);
    assert_int_equal(asked.partitions[0].fetch_offset, RECORDS + 1);
}

static void
answers_that_are_none_are_not_believed(void **state)
{
    (void)state;
    struct fetch_result two[2] = {result(RECORDS), result(RECORDS)};
    const struct fetch_response more = {.partitions = two, .partitions_count = 2};
    struct buf *frames[2] = {sim_peers_batch(RECORDS, 5, 1), nothing()};
    sim_peers_answer(&sim, take(), DMQ_OK, &more, frames, 2);
    check_refused("two answers to one question");
    const struct fetch_response one = {.partitions = two, .partitions_count = 1};
    sim_peers_answer(&sim, take(), DMQ_OK, &one, NULL, 0);
    check_refused("no frame for its batches");
    sim_peers_answer(&sim, take(), DMQ_ERR_INVALID_REQUEST, NULL, NULL, 0);
    check_refused("refused as a whole");
    struct brk_event event = {.kind = BRK_PEER_REPLY};
    struct buf *garbage[3];
    for (size_t i = 0; i < 3; i++) {
        garbage[i] = buf_copy(bytes_str("\xc1\xc1\xc1"));
    }
    event.u.reply.tag = take();
    event.u.reply.frames = garbage;
    event.u.reply.count = 3;
    sim_broker_step(&sim, &event);
    check_refused("no msgpack");
    struct fetch_result failed = result(-1);
    failed.error = DMQ_ERR_FENCED_LEADER_EPOCH;
    answer_with(take(), failed, sim_peers_batch(RECORDS, 5, 1));
    check_refused("refused for this partition");
    assert_int_not_equal(take(), 0);
    assert_int_equal(p->replica.high_watermark, 0);
}

/* Of another partition than was asked for: not even to wait for. */
static void
an_answer_of_another_partition_is_ignored(void **state)
{
    (void)state;
    struct fetch_result other = result(RECORDS);
    other.partition = 1;
    answer_with(take(), other, sim_peers_batch(RECORDS, 5, 1));
    other = result(RECORDS);
    other.topic_id = (struct uuid){{9}};
    answer_with(take(), other, sim_peers_batch(RECORDS, 5, 1));
    assert_int_equal(plog_end(p->log), RECORDS);
    assert_int_equal(p->replica.high_watermark, 0);
}

#define FOLLOW_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FOLLOW_TEST(it_asks_its_leader_from_its_end_with_its_last_epoch),
        FOLLOW_TEST(one_fetch_is_on_its_way_at_a_time),
        FOLLOW_TEST(a_synced_end_is_told_beside_the_fetch),
        FOLLOW_TEST(nobody_is_asked_where_no_connection_is),
        FOLLOW_TEST(the_high_watermark_is_the_leaders_up_to_its_own_end),
        FOLLOW_TEST(it_is_cut_before_anything_rises),
        FOLLOW_TEST(a_divergence_that_cannot_be_cuts_nothing),
        FOLLOW_TEST(a_log_that_begins_beyond_where_they_part_begins_anew),
        FOLLOW_TEST(an_empty_log_that_begins_beyond_the_leaders_does_too),
        FOLLOW_TEST(late_answers_are_ignored),
        FOLLOW_TEST(an_answer_of_an_older_epoch_is_ignored),
        FOLLOW_TEST(batches_that_are_wrong_are_not_written),
        FOLLOW_TEST(what_is_good_before_what_is_wrong_is_kept),
        FOLLOW_TEST(answers_that_are_none_are_not_believed),
        FOLLOW_TEST(an_answer_of_another_partition_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
