/* retention.ms and retention.bytes, from the outside: what clients see, and what is on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct uuid topic;
static char value[1250]; /* three in a segment of 4096 */

static void
start(const char *name, const char *setting)
{
    const struct config_entry config[] = {{bytes_str("segment.bytes"), bytes_str("4096")},
                                          {bytes_str(name), bytes_str(setting)}};
    sim_broker_init(&sim, 1);
    sim.retention_check_ms = 1000;
    sim_broker_start(&sim);
    assert_true(sim.ready);
    topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "t", 1, config, 2);
    assert_true(sim_broker_run(&sim));
    memset(value, 'x', sizeof(value) - 1);
}

static int
teardown(void **state)
{
    (void)state;
    sim_broker_deinit(&sim);
    return 0;
}

static void
produce(int count, int64_t timestamp)
{
    for (int i = 0; i < count; i++) {
        const struct sim_batch batch = {
            .value = value,
            .timestamp = timestamp == 0 ? SIM_BROKER_WALL_MS + sim.now_ms : timestamp};
        assert_int_equal(sim_produce(&sim, topic, 0, -1, &batch).err, DMQ_OK);
    }
}

static struct sim_fetched
fetch(int64_t offset)
{
    return sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1, .offset = offset});
}

static struct brk_partition_view
view(void)
{
    struct brk_partition_view seen = {0};
    assert_true(brk_partition_view(sim.brk, topic, 0, &seen));
    return seen;
}

static void
retention_bytes_takes_the_oldest_segments(void **state)
{
    (void)state;
    start("retention.bytes", "4000");
    produce(13, 0); /* segments at 0, 3, 6, 9, 12 */
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 5);
    assert_int_equal(fetch(0).end, 3);
    sim_broker_wait(&sim, 1100);
    assert_int_equal(view().start, 9); /* 9 to 12 are more than 4000 bytes, 12 is not */
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 2);
    assert_int_equal(fetch(8).err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch(9).first_offset, 9);
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    assert_int_equal(view().start, 9);
    produce(1, 0);
    assert_int_equal(view().end, 14);
    assert_true(sim_broker_stop(&sim));
    sim_broker_start(&sim);
    assert_int_equal(view().start, 9);
    assert_int_equal(fetch(13).end, 14);
}

/* Trap 54: the log start is durable before the first segment goes. */
static void
trap_54_the_log_start_is_raised_first(void **state)
{
    (void)state;
    int moments[2] = {0, 0};
    bool crashed = true;
    for (uint64_t n = 1; crashed; n++) {
        start("retention.bytes", "0");
        produce(7, 0);
        sim.crash_at = sim.boundaries + n;
        crashed = !sim_broker_wait(&sim, 1100);
        if (crashed) {
            sim_broker_crash(&sim, SIMFS_LOSE);
            sim.crash_at = 0;
            sim.retention_check_ms = 0; /* only what recovery finishes */
            sim_broker_start(&sim);
            assert_true(sim.ready);
            assert_true(view().start == 0 || view().start == 6);
            moments[view().start == 6]++;
        }
        assert_int_equal(view().end, 7);
        assert_int_equal(fetch(view().start).first_offset, view().start);
        assert_int_equal(sim_broker_segments(&sim, topic, 0), view().start == 6 ? 1 : 3);
        if (crashed) {
            sim_broker_deinit(&sim);
        }
    }
    assert_true(moments[0] > 0 && moments[1] > 0);
}

static void
retention_ms_takes_all_in_the_end(void **state)
{
    (void)state;
    start("retention.ms", "5000");
    produce(4, 0); /* segments at 0 and 3 */
    sim_broker_wait(&sim, 4000);
    assert_int_equal(view().start, 0);
    produce(1, 0);
    sim_broker_wait(&sim, 2500);
    assert_int_equal(view().start, 3); /* the newest record of that segment is younger */
    sim_broker_wait(&sim, 6000);       /* it is rolled, and goes as well */
    assert_int_equal(view().start, 5);
    assert_int_equal(view().end, 5);
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 1);
    assert_int_equal(fetch(4).err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    produce(1, 0);
    assert_int_equal(fetch(5).end, 6);
    sim_broker_wait(&sim, 20000);
    assert_int_equal(view().start, 6);
    assert_int_equal(view().end, 6);
}

static void
trap_55_a_future_timestamp_is_not_kept_for_ever(void **state)
{
    (void)state;
    start("retention.ms", "5000");
    produce(1, INT64_C(253370764800000)); /* the year 9999 */
    sim_broker_wait(&sim, 4000);
    assert_int_equal(view().start, 0);
    sim_broker_wait(&sim, 5000);
    assert_int_equal(view().start, 1);
}

/* A reader that comes late reads nothing wrong: its segment is gone. */
static void
a_read_on_its_way_hears_that_it_is_too_late(void **state)
{
    (void)state;
    static const int64_t offsets[] = {0, 4, 7};
    start("retention.bytes", "4000");
    produce(13, 0);
    int refused = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        int64_t sent[3];
        rng_init(&sim.rng, seed);
        produce(6, 0);
        int64_t start_offset = view().start;
        for (int i = 0; i < 3; i++) {
            sent[i] = sim_fetch_send(
                &sim, &(struct sim_fetch){
                          .topic_id = topic, .epoch = -1, .offset = start_offset + offsets[i]});
        }
        sim_broker_skip(&sim, 1000);
        sim_broker_run(&sim);
        for (int i = 0; i < 3; i++) {
            struct sim_fetched fetched = sim_fetch_answer(&sim, sent[i]);
            assert_true(fetched.answered);
            refused += fetched.err == DMQ_ERR_OFFSET_OUT_OF_RANGE;
            if (fetched.err == DMQ_OK) {
                assert_int_equal(fetched.first_offset, start_offset + offsets[i]);
            } else {
                assert_int_equal(fetched.err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
            }
        }
    }
    assert_true(refused > 10);
}

/* Producers are known by their last batches, wherever the segments with those are. */
static void
trap_33_a_retry_is_recognised_after_its_segment_went(void **state)
{
    (void)state;
    start("retention.bytes", "0");
    struct sim_batch batch = {.producer_id = 9, .value = value, .timestamp = SIM_BROKER_WALL_MS};
    assert_int_equal(sim_produce(&sim, topic, 0, -1, &batch).base_offset, 0);
    produce(6, 0);
    sim_broker_wait(&sim, 2200);
    assert_int_equal(view().start, 6);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sim_produce(&sim, topic, 0, -1, &batch).base_offset, 0);
        sim_broker_crash(&sim, SIMFS_LOSE);
        sim_broker_start(&sim);
    }
    assert_int_equal(view().end, 7);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        TEST(retention_bytes_takes_the_oldest_segments),
        TEST(trap_54_the_log_start_is_raised_first),
        TEST(retention_ms_takes_all_in_the_end),
        TEST(trap_55_a_future_timestamp_is_not_kept_for_ever),
        TEST(a_read_on_its_way_hears_that_it_is_too_late),
        TEST(trap_33_a_retry_is_recognised_after_its_segment_went),
    };
    return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
