#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct uuid topic;

static int
setup(void **state)
{
    (void)state;
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    assert_true(sim.ready);
    topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "t", 2, NULL, 0);
    return sim_broker_run(&sim) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    sim_broker_deinit(&sim);
    return 0;
}

static int64_t
syncs(void)
{
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    return stats.syncs;
}

static struct sim_produced
produce(int16_t acks, const struct sim_batch *batch)
{
    return sim_produce(&sim, topic, 0, acks, batch);
}

static void
offsets_follow_each_other(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct sim_produced produced = produce(-1, &(struct sim_batch){.value = "x", .count = 3});
        assert_true(produced.answered);
        assert_int_equal(produced.err, DMQ_OK);
        assert_int_equal(produced.base_offset, 3 * i);
    }
}

/* acks=all and acks=1 are answered after the SYNC came back, acks=0 at the append. */
static void
answers_rest_on_the_sync(void **state)
{
    (void)state;
    for (int16_t acks = -1; acks <= 1; acks++) {
        int64_t correlation = sim_produce_send(&sim, topic, 0, acks,
                                               sim_batch_make(&(struct sim_batch){.value = "x"}));
        assert_int_equal(sim_produce_answer(&sim, correlation).answered, acks == 0);
        sim_broker_run(&sim);
        assert_int_equal(sim_produce_answer(&sim, correlation).answered, acks != 0);
    }
}

/* While a sync runs the next batches gather: a window of many costs two syncs. */
static void
many_batches_share_a_sync(void **state)
{
    (void)state;
    int64_t before = syncs();
    int64_t correlations[50];
    for (int i = 0; i < 50; i++) {
        correlations[i] = sim_produce_send(&sim, topic, i % 2, -1,
                                           sim_batch_make(&(struct sim_batch){.value = "x"}));
    }
    sim_broker_run(&sim);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(sim_produce_answer(&sim, correlations[i]).base_offset, i / 2);
    }
    assert_int_equal(syncs() - before, 2);
}

/* trap 32: the last five batches are remembered; a duplicate gets the first offset; a gap is an
 * error. */
static void
trap_32_a_retry_is_recognised(void **state)
{
    (void)state;
    for (int32_t i = 0; i < 7; i++) {
        assert_int_equal(
            produce(-1, &(struct sim_batch){.producer_id = 9, .sequence = i, .value = "x"}).err,
            DMQ_OK);
    }
    for (int32_t i = 2; i < 7; i++) {
        struct sim_produced again =
            produce(-1, &(struct sim_batch){.producer_id = 9, .sequence = i, .value = "x"});
        assert_int_equal(again.err, DMQ_OK);
        assert_int_equal(again.base_offset, i);
    }
    assert_int_equal(
        produce(-1, &(struct sim_batch){.producer_id = 9, .sequence = 1, .value = "x"}).err,
        DMQ_ERR_DUPLICATE_SEQUENCE);
    assert_int_equal(
        produce(-1, &(struct sim_batch){.producer_id = 9, .sequence = 8, .value = "x"}).err,
        DMQ_ERR_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(
        produce(-1, &(struct sim_batch){.producer_id = 77, .sequence = 3, .value = "x"}).err,
        DMQ_ERR_UNKNOWN_PRODUCER_ID);
    assert_int_equal(sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1}).end, 7);
}

/* A duplicate that comes while the first try is not synced yet waits like that did. */
static void
trap_32_a_duplicate_waits_for_its_end(void **state)
{
    (void)state;
    const struct sim_batch batch = {.producer_id = 9, .value = "x"};
    int64_t first = sim_produce_send(&sim, topic, 0, -1, sim_batch_make(&batch));
    int64_t second = sim_produce_send(&sim, topic, 0, -1, sim_batch_make(&batch));
    assert_false(sim_produce_answer(&sim, second).answered);
    sim_broker_run(&sim);
    assert_int_equal(sim_produce_answer(&sim, first).base_offset, 0);
    struct sim_produced again = sim_produce_answer(&sim, second);
    assert_int_equal(again.err, DMQ_OK);
    assert_int_equal(again.base_offset, 0);
}

static void
trap_35_a_new_epoch_starts_at_sequence_0_and_fences(void **state)
{
    (void)state;
    assert_int_equal(produce(-1, &(struct sim_batch){.producer_id = 9, .value = "x"}).err, DMQ_OK);
    assert_int_equal(
        produce(
            -1,
            &(struct sim_batch){.producer_id = 9, .producer_epoch = 1, .sequence = 1, .value = "x"})
            .err,
        DMQ_ERR_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(
        produce(-1, &(struct sim_batch){.producer_id = 9, .producer_epoch = 1, .value = "x"}).err,
        DMQ_OK);
    assert_int_equal(
        produce(-1, &(struct sim_batch){.producer_id = 9, .sequence = 1, .value = "x"}).err,
        DMQ_ERR_INVALID_PRODUCER_EPOCH);
}

/* The answer is lost after the sync, the broker is killed, starts again, and the producer retries:
 * one record. */
static void
a_retry_after_a_crash_writes_once(void **state)
{
    (void)state;
    const struct sim_batch batch = {.producer_id = 9, .value = "once"};
    sim.drop_replies = true;
    assert_false(produce(-1, &batch).answered);
    assert_int_equal(sim.replies_dropped, 1);
    sim.drop_replies = false;
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    struct sim_produced again = produce(-1, &batch);
    assert_int_equal(again.err, DMQ_OK);
    assert_int_equal(again.base_offset, 0);
    struct sim_fetched fetched =
        sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1});
    assert_int_equal(fetched.batches, 1);
    assert_int_equal(fetched.end, 1);
}

static void
bad_batches_are_refused_and_nobody_else_disturbed(void **state)
{
    (void)state;
    struct buf *torn = sim_batch_make(&(struct sim_batch){.value = "x"});
    torn->data[torn->size - 2] ^= 1;
    int64_t correlation = sim_produce_send(&sim, topic, 0, -1, torn);
    struct sim_produced answer = sim_produce_answer(&sim, correlation);
    assert_int_equal(answer.err, DMQ_ERR_CORRUPT_BATCH);
    assert_true(answer.message[0] != '\0');
    struct buf *cut = sim_batch_make(&(struct sim_batch){.value = "x"});
    cut->size--;
    correlation = sim_produce_send(&sim, topic, 0, -1, cut);
    assert_int_equal(sim_produce_answer(&sim, correlation).err, DMQ_ERR_CORRUPT_BATCH);
    correlation = sim_produce_send(&sim, topic, 0, -1, buf_new(0));
    assert_int_equal(sim_produce_answer(&sim, correlation).err, DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(produce(2, &(struct sim_batch){.value = "x"}).err, DMQ_ERR_INVALID_ACKS);
    assert_int_equal(produce(-1, &(struct sim_batch){.value = "x"}).base_offset, 0);
}

static void
unknown_partitions_are_named(void **state)
{
    (void)state;
    struct uuid nobody = {.b = {1}};
    struct sim_produced answer =
        sim_produce(&sim, nobody, 0, -1, &(struct sim_batch){.value = "x"});
    assert_int_equal(answer.err, DMQ_ERR_UNKNOWN_TOPIC_ID);
    answer = sim_produce(&sim, topic, 2, -1, &(struct sim_batch){.value = "x"});
    assert_int_equal(answer.err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_string_equal(answer.message, "topic 't' has 2 partitions: there is no partition 2");
}

/* A sync that fails is never retried: what waits hears "maybe", and nothing is taken any more. */
static void
a_failed_sync_takes_the_folder_offline(void **state)
{
    (void)state;
    struct brk_stats stats;
    assert_int_equal(produce(-1, &(struct sim_batch){.value = "safe"}).err, DMQ_OK);
    simfs_fail(sim.disk, SIMFS_DATASYNC, EIO, 0, 1);
    assert_int_equal(produce(-1, &(struct sim_batch){.value = "lost"}).err, DMQ_ERR_MAYBE_WRITTEN);
    assert_int_equal(produce(-1, &(struct sim_batch){.value = "late"}).err, DMQ_ERR_STORAGE);
    brk_stats(sim.brk, &stats);
    assert_true(stats.folder_offline);
}

/* A disk that fails while a log is opened says nothing of what it holds: it is no damage, and the
 * broker asks to be fenced until somebody has looked at it. */
static void
a_disk_that_fails_at_the_start_is_no_damage(void **state)
{
    (void)state;
    struct brk_stats stats;
    assert_int_equal(produce(-1, &(struct sim_batch){.value = "safe"}).err, DMQ_OK);
    sim_broker_crash(&sim, SIMFS_KEEP);
    simfs_fail(sim.disk, SIMFS_LIST, EIO, 0, UINT64_MAX);
    sim_broker_start(&sim);
    brk_stats(sim.brk, &stats);
    assert_true(stats.folder_offline);
    const struct broker_record *record = image_broker(sim.ctl->image, SIM_BROKER_ID);
    assert_int_equal(record->folders[0].state, 1); /* unclean */
    sim_broker_crash(&sim, SIMFS_KEEP);
    simfs_fail(sim.disk, SIMFS_LIST, 0, 0, 0);
    sim_broker_start(&sim);
    assert_int_equal(sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1}).end, 1);
}

/* Whatever the disk says at the end: the process ends, and calls no log clean that was not closed.
 */
static void
a_stop_ends_although_the_disk_fails(void **state)
{
    (void)state;
    assert_int_equal(produce(-1, &(struct sim_batch){.value = "safe"}).err, DMQ_OK);
    simfs_fail(sim.disk, SIMFS_DATASYNC, EIO, 0, UINT64_MAX);
    assert_true(sim_broker_stop(&sim));
    simfs_fail(sim.disk, SIMFS_DATASYNC, EIO, 0, 0);
    sim_broker_start(&sim);
    assert_int_equal(sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1}).end, 1);
}

/* Over budget the broker receives nothing more from clients; answers give the bytes back. */
static void
budgets_count_what_is_in_flight(void **state)
{
    (void)state;
    struct brk_stats stats;
    char value[20000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    int sent = 0;
    while (brk_accepts_clients(sim.brk) && sent < 5000) {
        sim_produce_send(&sim, topic, 0, -1, sim_batch_make(&(struct sim_batch){.value = value}));
        sent++;
    }
    assert_true(sent > 100 && sent < 5000);
    brk_stats(sim.brk, &stats);
    assert_true(stats.request_bytes >= 1 << 24);
    sim_broker_run(&sim);
    assert_true(brk_accepts_clients(sim.brk));
    brk_stats(sim.brk, &stats);
    assert_int_equal(stats.request_bytes, 0);
    assert_int_equal(stats.parked_calls, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(offsets_follow_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_rest_on_the_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(many_batches_share_a_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_32_a_retry_is_recognised, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_32_a_duplicate_waits_for_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_35_a_new_epoch_starts_at_sequence_0_and_fences, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_retry_after_a_crash_writes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_batches_are_refused_and_nobody_else_disturbed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unknown_partitions_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_sync_takes_the_folder_offline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_fails_at_the_start_is_no_damage, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stop_ends_although_the_disk_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(budgets_count_what_is_in_flight, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
