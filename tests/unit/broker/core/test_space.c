/* A full disk: refused at the reserve, and what comes back when the reserve was not enough. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

#define RESERVE 1000000

static struct sim_broker sim;
static struct uuid topic;

static int
start(int64_t reserve)
{
    const struct config_entry config = {bytes_str("segment.bytes"), bytes_str("4096")};
    sim_broker_init(&sim, 1);
    sim.reserve_bytes = reserve;
    sim_broker_start(&sim);
    assert_true(sim.ready);
    topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "t", 2, &config, 1);
    return sim_broker_run(&sim) ? 0 : -1;
}

static int
setup(void **state)
{
    (void)state;
    return start(RESERVE);
}

static int
setup_without_reserve(void **state)
{
    (void)state;
    return start(0);
}

static int
teardown(void **state)
{
    (void)state;
    sim_broker_deinit(&sim);
    return 0;
}

static struct sim_produced
produce(int32_t partition, const struct sim_batch *batch)
{
    return sim_produce(&sim, topic, partition, -1, batch);
}

static int64_t
send(int32_t partition, const struct sim_batch *batch)
{
    int64_t correlation = sim_produce_send(&sim, topic, partition, -1, sim_batch_make(batch));
    sim_broker_run(&sim);
    return correlation;
}

/* Reads all of it. */
static int64_t
end_of(int32_t partition)
{
    struct sim_fetch fetch = {.topic_id = topic, .partition = partition, .epoch = -1};
    for (;;) {
        struct sim_fetched fetched = sim_fetch(&sim, &fetch);
        assert_true(fetched.answered);
        assert_int_equal(fetched.err, DMQ_OK);
        if (fetched.batches == 0) {
            assert_int_equal(fetched.high_watermark, fetch.offset);
            return fetch.offset;
        }
        assert_int_equal(fetched.first_offset, fetch.offset);
        fetch.offset = fetched.end;
    }
}

static void
leave_free(uint64_t bytes)
{
    simfs_set_capacity(sim.disk, simfs_used(sim.disk) + bytes);
}

static bool
is_full(void)
{
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    return stats.disk_full;
}

/* ---- the reserve ----------------------------------------------------------------------------- */

static void
produce_is_refused_at_the_reserve_and_goes_on_by_itself(void **state)
{
    (void)state;
    assert_int_equal(produce(0, &(struct sim_batch){.value = "a"}).err, DMQ_OK);
    leave_free(RESERVE - 1);
    sim_broker_wait(&sim, 1100);
    assert_true(is_full());
    uint64_t used = simfs_used(sim.disk);
    struct sim_produced refused = produce(0, &(struct sim_batch){.value = "b"});
    assert_int_equal(refused.err, DMQ_ERR_DISK_FULL);
    assert_non_null(strstr(refused.message, "nothing was written to t-0"));
    assert_non_null(strstr(refused.message, "log.disk.reserve.bytes"));
    assert_int_equal(simfs_used(sim.disk), used);
    assert_int_equal(end_of(0), 1); /* reads go on */

    leave_free(RESERVE); /* enough, but it would flicker */
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "b"}).err, DMQ_ERR_DISK_FULL);
    leave_free(RESERVE + RESERVE / 16);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "b"}).base_offset, 1);
    assert_int_equal(end_of(0), 2);
}

/* Where the setting does not say how much. */
static void
a_small_disk_has_a_small_reserve(void **state)
{
    (void)state;
    start(-1);
    simfs_set_capacity(sim.disk, simfs_used(sim.disk) + 100000);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "a"}).err, DMQ_OK);
    char value[95500];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(produce(0, &(struct sim_batch){.value = value}).err, DMQ_OK);
    sim_broker_wait(&sim, 1100);
    assert_true(is_full());
    simfs_set_capacity(sim.disk, UINT64_MAX); /* 256 MiB are enough there */
    sim_broker_wait(&sim, 1100);
    assert_false(is_full());
}

/* What a delete gives back is found by itself. */
static void
a_delete_makes_room(void **state)
{
    (void)state;
    struct uuid other = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "u", 1, NULL, 0);
    char value[50000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    sim_broker_run(&sim);
    for (int i = 0; i < 4; i++) {
        sim_produce(&sim, other, 0, -1, &(struct sim_batch){.value = value});
    }
    leave_free(RESERVE - 1000);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "b"}).err, DMQ_ERR_DISK_FULL);
    sim_controller_delete_topic(sim.ctl, other);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "b"}).base_offset, 0);
}

/* Many bytes within a second are noticed before the second is over. */
static void
a_fast_writer_is_stopped_before_the_disk_is_full(void **state)
{
    (void)state;
    char value[50000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    leave_free(4 * RESERVE);
    sim_broker_wait(&sim, 1100);
    dmq_err err = DMQ_OK;
    int sent = 0;
    for (; sent < 200 && err == DMQ_OK; sent++) {
        err = produce(sent % 2, &(struct sim_batch){.value = value}).err;
        sim_broker_wait(&sim, 1);
    }
    assert_int_equal(err, DMQ_ERR_DISK_FULL);
    assert_in_range(sent, 30, 80);
    assert_int_equal(simfs_counts(sim.disk)->full, 0); /* no write met a full disk */
}

/* Duplicates are stored already; a gap stands for a batch that was refused itself. */
static void
retries_are_answered_at_the_reserve(void **state)
{
    (void)state;
    struct sim_batch batch = {.producer_id = 9, .value = "a"};
    assert_int_equal(produce(0, &batch).err, DMQ_OK);
    leave_free(100);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &batch).base_offset, 0);
    batch.sequence = 1;
    assert_int_equal(produce(0, &batch).err, DMQ_ERR_DISK_FULL);
    batch.sequence = 2;
    assert_int_equal(produce(0, &batch).err, DMQ_ERR_DISK_FULL);
    batch.producer_id = 10;
    assert_int_equal(produce(0, &batch).err, DMQ_ERR_DISK_FULL);
    leave_free(2 * RESERVE);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &batch).err, DMQ_ERR_UNKNOWN_PRODUCER_ID);
    batch.producer_id = 9;
    assert_int_equal(produce(0, &batch).err, DMQ_ERR_OUT_OF_ORDER_SEQUENCE);
    batch.sequence = 1;
    assert_int_equal(produce(0, &batch).base_offset, 1);
}

/* ---- the disk is really full ----------------------------------------------------------------- */

/* Fills the log's file, so that the next batch finds no space; returns how many records it has. */
static int64_t
fill(int32_t partition, const char *value)
{
    assert_int_equal(produce(partition, &(struct sim_batch){.value = value}).err, DMQ_OK);
    leave_free(0);
    for (int64_t n = 1;; n++) {
        int64_t sent = send(partition, &(struct sim_batch){.value = value});
        struct sim_produced produced = sim_produce_answer(&sim, sent);
        if (!produced.answered || produced.err != DMQ_OK) {
            assert_false(produced.answered);
            return n;
        }
        assert_true(n < 1000);
    }
}

static void
what_does_not_fit_waits_for_space(void **state)
{
    (void)state;
    assert_int_equal(produce(1, &(struct sim_batch){.value = "other"}).err, DMQ_OK);
    int64_t written = fill(0, "x"); /* the last one waits; rolls did not fit either */
    assert_true(is_full());
    assert_true(written > 10);
    int64_t more = send(0, &(struct sim_batch){.value = "y"});
    struct sim_produced refused = sim_produce_answer(&sim, more);
    assert_int_equal(refused.err, DMQ_ERR_DISK_FULL); /* surely not: what waits has its offset */
    assert_int_equal(end_of(0), written);
    assert_int_equal(end_of(1), 1); /* the other log is not offline */

    leave_free(100000);
    sim_broker_wait(&sim, 1100);
    assert_false(is_full());
    assert_int_equal(end_of(0), written + 1); /* it went on, no restart */
    assert_int_equal(produce(0, &(struct sim_batch){.value = "y"}).base_offset, written + 1);
    sim_broker_crash(&sim, SIMFS_LOSE); /* all of it acknowledged, so all of it is there */
    sim_broker_start(&sim);
    assert_int_equal(end_of(0), written + 2);
}

/* Several are on their way when the first does not fit: they come back in order, and stay so. */
static void
a_window_comes_back_in_order(void **state)
{
    (void)state;
    int64_t sent[5];
    char value[1500];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    leave_free(2000);
    for (int32_t i = 0; i < 5; i++) {
        const struct sim_batch batch = {.producer_id = 9, .sequence = i, .value = value};
        sent[i] = sim_produce_send(&sim, topic, 0, -1, sim_batch_make(&batch));
    }
    sim_broker_wait(&sim, 3100); /* tries again, and fails again */
    assert_int_equal(simfs_counts(sim.disk)->crashes, 0);
    assert_true(simfs_counts(sim.disk)->full > 1);
    for (int32_t i = 3; i < 5; i++) { /* a retry of what waits is a duplicate, and waits, too */
        const struct sim_batch batch = {.producer_id = 9, .sequence = i, .value = value};
        assert_false(produce(0, &batch).answered);
    }
    leave_free(100000);
    sim_broker_wait(&sim, 1100);
    for (int i = 0; i < 5; i++) {
        struct sim_produced produced = sim_produce_answer(&sim, sent[i]);
        assert_true(produced.answered);
        assert_int_equal(produced.err, DMQ_OK);
        assert_int_equal(produced.base_offset, i);
    }
    assert_int_equal(end_of(0), 5);
}

static void
who_waits_too_long_hears_maybe(void **state)
{
    (void)state;
    fill(0, "x");
    int64_t duplicate = send(1, &(struct sim_batch){.value = "y"});
    assert_int_equal(sim_produce_answer(&sim, duplicate).err, DMQ_ERR_DISK_FULL);
    sim_broker_wait(&sim, 31000);
    struct sim_reply *reply = LIST_ENTRY(sim.replies.next, struct sim_reply, link);
    struct sim_produced produced = sim_produce_answer(&sim, reply->correlation_id);
    assert_int_equal(produced.err, DMQ_ERR_REQUEST_TIMED_OUT);
    assert_non_null(strstr(produced.message, "the disk is full"));
}

/* SYNCs are not asked for again and again while nothing can be written. */
static void
a_full_disk_keeps_nobody_busy(void **state)
{
    (void)state;
    struct brk_stats before;
    struct brk_stats after;
    fill(0, "x");
    brk_stats(sim.brk, &before);
    sim_broker_wait(&sim, 5000);
    brk_stats(sim.brk, &after);
    assert_in_range(after.syncs - before.syncs, 0, 6);
}

static void
a_stop_ends_while_the_disk_is_full(void **state)
{
    (void)state;
    int64_t written = fill(0, "x");
    assert_int_equal(produce(0, &(struct sim_batch){.value = "y"}).err, DMQ_ERR_DISK_FULL);
    assert_true(sim_broker_stop(&sim));
    leave_free(100000);
    sim_broker_start(&sim);
    assert_int_equal(end_of(0), written);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "y"}).base_offset, written);
}

/* The topic is there once there is space: its log could not be made before. */
static void
a_log_that_cannot_be_made_is_made_later(void **state)
{
    (void)state;
    leave_free(0);
    struct uuid other = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "u", 1, NULL, 0);
    sim_broker_run(&sim);
    struct sim_produced refused =
        sim_produce(&sim, other, 0, -1, &(struct sim_batch){.value = "b"});
    assert_int_equal(refused.err, DMQ_ERR_STORAGE);
    assert_non_null(strstr(refused.message, "full"));
    leave_free(100000);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(sim_produce(&sim, other, 0, -1, &(struct sim_batch){.value = "b"}).base_offset,
                     0);
}

/* Its topic goes while it waits: so does all that it holds. */
static void
a_topic_may_go_while_it_waits(void **state)
{
    (void)state;
    fill(0, "x");
    sim_controller_delete_topic(sim.ctl, topic);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 0);
    topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "t", 1, NULL, 0);
    leave_free(100000);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(produce(0, &(struct sim_batch){.value = "b"}).base_offset, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_FULL(f) cmocka_unit_test_setup_teardown(f, setup_without_reserve, teardown)
    const struct CMUnitTest tests[] = {
        TEST(produce_is_refused_at_the_reserve_and_goes_on_by_itself),
        cmocka_unit_test_teardown(a_small_disk_has_a_small_reserve, teardown),
        TEST(a_delete_makes_room),
        TEST(a_fast_writer_is_stopped_before_the_disk_is_full),
        TEST(retries_are_answered_at_the_reserve),
        TEST_FULL(what_does_not_fit_waits_for_space),
        TEST_FULL(a_window_comes_back_in_order),
        TEST_FULL(who_waits_too_long_hears_maybe),
        TEST_FULL(a_full_disk_keeps_nobody_busy),
        TEST_FULL(a_stop_ends_while_the_disk_is_full),
        TEST_FULL(a_log_that_cannot_be_made_is_made_later),
        TEST_FULL(a_topic_may_go_while_it_waits),
    };
    return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
