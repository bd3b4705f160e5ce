#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/core/partition.h"
#include "libdmq/wire/batch.h"
#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct uuid topic;

static int
setup(void **state)
{
    (void)state;
    const struct config_entry config = {bytes_str("segment.bytes"), bytes_str("4096")};
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    assert_true(sim.ready);
    topic = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "t", 1, &config, 1);
    return sim_broker_run(&sim) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    sim_broker_deinit(&sim);
    return 0;
}

/* Batches of three records; the timestamp of batch i is 1000 + 10 i. */
static void
produce(int batches)
{
    char value[200];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < batches; i++) {
        const struct sim_batch batch = {.value = value, .count = 3, .timestamp = 1000 + 10 * i};
        assert_int_equal(sim_produce(&sim, topic, 0, -1, &batch).err, DMQ_OK);
    }
}

static struct sim_fetch
from(int64_t offset)
{
    return (struct sim_fetch){.topic_id = topic, .epoch = -1, .offset = offset};
}

static struct sim_fetched
fetch(struct sim_fetch what)
{
    return sim_fetch(&sim, &what);
}

/* A batch is never cut: a fetch inside one returns it whole. */
static void
a_fetch_inside_a_batch_returns_the_batch(void **state)
{
    (void)state;
    produce(2);
    assert_int_equal(fetch(from(1)).first_offset, 0);
    assert_int_equal(fetch(from(5)).first_offset, 3);
    assert_int_equal(fetch(from(3)).first_offset, 3);
}

/* Through rolls, out of the hot tail and off the disk: every record once, in order. */
static void
everything_is_read_hot_and_cold(void **state)
{
    (void)state;
    produce(60);
    assert_true(sim_broker_segments(&sim, topic, 0) > 5);
    int64_t offset = 0;
    int rounds = 0;
    while (offset < 180) {
        struct sim_fetch what = from(offset);
        what.max_bytes = 2000;
        struct sim_fetched fetched = fetch(what);
        assert_int_equal(fetched.err, DMQ_OK);
        assert_int_equal(fetched.first_offset, offset);
        assert_true(fetched.bytes <= 2000);
        offset = fetched.end;
        rounds++;
    }
    assert_int_equal(offset, 180);
    assert_true(rounds > 20);
    assert_int_equal(fetch(from(180)).batches, 0);
}

static void
the_first_batch_always_fits(void **state)
{
    (void)state;
    produce(3);
    struct sim_fetch what = from(0);
    what.max_bytes = 1;
    struct sim_fetched fetched = fetch(what);
    assert_int_equal(fetched.batches, 1);
    assert_int_equal(fetched.end, 3);
}

/* What is not synced is not there for a consumer. */
static void
nothing_above_the_high_watermark_is_read(void **state)
{
    (void)state;
    produce(1);
    sim_produce_send(&sim, topic, 0, -1, sim_batch_make(&(struct sim_batch){.value = "unsynced"}));
    struct sim_fetch what = from(3);
    int64_t correlation = sim_fetch_send(&sim, &what);
    struct sim_fetched fetched = sim_fetch_answer(&sim, correlation);
    assert_true(fetched.answered);
    assert_int_equal(fetched.batches, 0);
    assert_int_equal(fetched.high_watermark, 3);
    sim_broker_run(&sim);
    assert_int_equal(fetch(from(3)).end, 4);
}

static void
a_long_poll_waits_for_data(void **state)
{
    (void)state;
    struct sim_fetch what = from(0);
    what.min_bytes = 1;
    what.max_wait_ms = 500;
    int64_t correlation = sim_fetch_send(&sim, &what);
    sim_broker_wait(&sim, 300);
    assert_false(sim_fetch_answer(&sim, correlation).answered);
    produce(1);
    assert_int_equal(sim_fetch_answer(&sim, correlation).end, 3);
}

static void
a_long_poll_ends_empty_at_its_time(void **state)
{
    (void)state;
    struct sim_fetch what = from(0);
    what.min_bytes = 1;
    what.max_wait_ms = 500;
    int64_t correlation = sim_fetch_send(&sim, &what);
    sim_broker_wait(&sim, 499);
    assert_false(sim_fetch_answer(&sim, correlation).answered);
    sim_broker_wait(&sim, 1);
    struct sim_fetched fetched = sim_fetch_answer(&sim, correlation);
    assert_true(fetched.answered);
    assert_int_equal(fetched.batches, 0);
}

/* min_bytes holds a poll back through many small appends, without growing. */
static void
a_long_poll_waits_for_enough(void **state)
{
    (void)state;
    struct sim_fetch what = from(0);
    what.min_bytes = 3000;
    what.max_wait_ms = 5000;
    int64_t correlation = sim_fetch_send(&sim, &what);
    produce(3);
    assert_false(sim_fetch_answer(&sim, correlation).answered);
    produce(4);
    struct sim_fetched fetched = sim_fetch_answer(&sim, correlation);
    assert_true(fetched.answered);
    assert_true(fetched.bytes >= 3000);
}

static void
offsets_out_of_range_are_refused(void **state)
{
    (void)state;
    produce(1);
    assert_int_equal(fetch(from(-1)).err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch(from(4)).err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch(from(INT64_MAX)).err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch(from(3)).err, DMQ_OK);
}

/* trap 7: a fetch carries the leader epoch: older is fenced, newer is not known yet. */
static void
trap_07_the_leader_epoch_is_checked(void **state)
{
    (void)state;
    produce(1);
    struct sim_fetch what = from(0);
    what.epoch = 0;
    assert_int_equal(fetch(what).err, DMQ_OK);
    what.epoch = 1;
    assert_int_equal(fetch(what).err, DMQ_ERR_UNKNOWN_LEADER_EPOCH);
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim); /* trap 14a: a new incarnation leads in a new epoch */
    what.epoch = 0;
    assert_int_equal(fetch(what).err, DMQ_ERR_FENCED_LEADER_EPOCH);
}

/* trap 8: a consumer that says what it has read hears where the log parts from that. */
static void
trap_08_a_consumer_hears_of_divergence(void **state)
{
    static const struct {
        int64_t offset;
        int32_t last_epoch;
        int32_t epoch;
        int64_t end;
    } cases[] = {{6, 0, -1, -1}, /* what it has read is there */
                 {3, 0, -1, -1}, {9, 2, -1, -1},
                 {12, 2, 2, 9}, /* more of the last epoch than there is */
                 {8, 0, 0, 6},  /* more of an epoch before */
                 {7, 1, 0, 6},  /* one that the log has nothing of */
                 {9, 7, 2, 9}}; /* an epoch that nobody has heard of */
    (void)state;
    produce(2);
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    produce(1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_fetch what = from(cases[i].offset);
        what.has_read = true;
        what.last_epoch = cases[i].last_epoch;
        struct sim_fetched fetched = fetch(what);
        assert_int_equal(fetched.err, DMQ_OK);
        assert_int_equal(fetched.diverging_epoch, cases[i].epoch);
        assert_int_equal(fetched.diverging_end, cases[i].end);
        assert_int_equal(fetched.batches > 0, cases[i].end < 0 && cases[i].offset < 9);
    }
    struct sim_fetch unknown = from(12); /* who says nothing of it hears that it is out of range */
    assert_int_equal(fetch(unknown).err, DMQ_ERR_OFFSET_OUT_OF_RANGE);
}

/* The only copy, damaged from offset 3 on: what is below is read. For the rest there is no point in
 * waiting, and it is not said that there is no such offset, for then a reader would begin anew. */
static void
beyond_damage_the_last_copy_says_so(void **state)
{
    char path[120];
    char id[UUID_TEXT_SIZE];
    (void)state;
    produce(4);
    assert_true(sim_broker_wait(&sim, 3000)); /* the mark is durable */
    sim_broker_crash(&sim, SIMFS_LOSE);
    snprintf(path, sizeof(path), "/data/%s/0/00000000000000000000.log", uuid_text(topic, id));
    assert_true(simfs_flip(sim.disk, path, 800, 0)); /* in the second batch */
    sim_broker_start(&sim);
    assert_int_equal(fetch(from(0)).end, 3);
    struct sim_fetch what = from(3);
    what.min_bytes = 1;
    what.max_wait_ms = 500;
    assert_int_equal(fetch(what).err, DMQ_ERR_DAMAGED);
    assert_int_equal(fetch(from(7)).err, DMQ_ERR_DAMAGED);
    what = from(12);
    what.has_read = true;
    assert_int_equal(fetch(what).err, DMQ_ERR_DAMAGED);
}

/* A bit of a leader epoch has flipped where nothing is marked as synced yet: the log does not lead
 * with an epoch that nobody gave, and what it holds is read. */
static void
an_epoch_that_nobody_gave_is_damage(void **state)
{
    char path[120];
    char id[UUID_TEXT_SIZE];
    const struct sim_batch batch = {.value = "v", .count = 1};
    (void)state;
    produce(1);
    sim_broker_crash(&sim, SIMFS_LOSE);
    snprintf(path, sizeof(path), "/data/%s/0/00000000000000000000.log", uuid_text(topic, id));
    assert_true(simfs_flip(sim.disk, path, BATCH_POS_LEADER_EPOCH, 3));
    sim_broker_start(&sim);
    assert_int_equal(fetch(from(0)).batches, 1);
    assert_int_equal(sim_produce(&sim, topic, 0, -1, &batch).err, DMQ_ERR_STORAGE);
    assert_int_equal(fetch(from(3)).err, DMQ_ERR_DAMAGED);
}

static dmq_err
list_offsets(int64_t timestamp, int64_t *ret_offset, int64_t *ret_timestamp)
{
    struct list_offsets_partition of = {
        .topic_id = topic, .leader_epoch = -1, .timestamp = timestamp};
    const struct list_offsets_request request = {.partitions = &of, .partitions_count = 1};
    struct list_offsets_response response;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    assert_int_equal(sim_ask(&sim, API_LIST_OFFSETS, &request, &arena, &response), DMQ_OK);
    *ret_offset = response.partitions[0].offset;
    *ret_timestamp = response.partitions[0].timestamp;
    dmq_err err = response.partitions[0].error;
    arena_deinit(&arena);
    return err;
}

static void
offsets_are_found_by_time(void **state)
{
    (void)state;
    int64_t offset;
    int64_t timestamp;
    produce(40);
    assert_int_equal(list_offsets(-2, &offset, &timestamp), DMQ_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(list_offsets(-1, &offset, &timestamp), DMQ_OK);
    assert_int_equal(offset, 120);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(list_offsets(1000 + 10 * i, &offset, &timestamp), DMQ_OK);
        assert_int_equal(offset, 3 * i);
        assert_int_equal(timestamp, 1000 + 10 * i);
        assert_int_equal(list_offsets(1000 + 10 * i - 3, &offset, &timestamp), DMQ_OK);
        assert_int_equal(offset, 3 * i);
    }
    assert_int_equal(list_offsets(5000, &offset, &timestamp), DMQ_OK);
    assert_int_equal(offset, -1);
    assert_int_equal(list_offsets(-7, &offset, &timestamp), DMQ_ERR_INVALID_TIMESTAMP);
}

/* A start that has come so far that the log is open, but its tail not synced: the disk is slow.
 * After how many steps that is depends on the order in which lanes are served. */
static void
start_slowly(void)
{
    struct partition *p = NULL;
    for (uint64_t i = 0; p == NULL || p->log == NULL || plog_synced_end(p->log) == plog_end(p->log);
         i++) {
        assert_true(i < 100);
        sim_broker_crash(&sim, SIMFS_KEEP);
        sim.crash_at = sim.boundaries + 1 + i % 4;
        sim_broker_start(&sim);
        assert_true(sim.crashed);
        p = partition_find(sim.brk, topic, 0);
    }
    sim.crashed = false;
    sim.disk_waits = true;
    sim_broker_wait(&sim, 1000);
    assert_true(sim.ready);
}

/* After a crash the tail is synced once more. Until then the end of the only copy is not known: who
 * reads up to the end would take what was acknowledged for not there. */
static void
no_end_is_told_before_it_is_safe(void **state)
{
    (void)state;
    int64_t offset;
    int64_t timestamp;
    produce(2);
    start_slowly();
    assert_int_equal(list_offsets(-1, &offset, &timestamp), DMQ_ERR_LEADER_NOT_AVAILABLE);
    assert_int_equal(offset, -1);
    sim.disk_waits = false;
    sim_broker_run(&sim);
    assert_int_equal(list_offsets(-1, &offset, &timestamp), DMQ_OK);
    assert_int_equal(offset, 6);
}

/* Another replica can be read, if that one leads: the broker asks to be fenced. */
static void
a_read_that_fails_takes_the_folder_offline(void **state)
{
    (void)state;
    struct brk_stats stats;
    produce(20);
    assert_int_equal(fetch(from(0)).err, DMQ_OK);
    simfs_fail(sim.disk, SIMFS_PREAD, EIO, 0, 1);
    assert_int_equal(fetch(from(0)).err, DMQ_ERR_STORAGE);
    brk_stats(sim.brk, &stats);
    assert_true(stats.folder_offline);
}

/* That is no word about the disk: who asks comes again. */
static void
too_many_open_files_leave_the_folder_online(void **state)
{
    (void)state;
    struct brk_stats stats;
    produce(20);
    simfs_fail(sim.disk, SIMFS_OPEN, EMFILE, 0, 1);
    assert_int_equal(fetch(from(0)).err, DMQ_ERR_THROTTLED);
    brk_stats(sim.brk, &stats);
    assert_false(stats.folder_offline);
    assert_int_equal(fetch(from(0)).err, DMQ_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_fetch_inside_a_batch_returns_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_is_read_hot_and_cold, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_batch_always_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_above_the_high_watermark_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_poll_waits_for_data, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_poll_ends_empty_at_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_poll_waits_for_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_out_of_range_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_07_the_leader_epoch_is_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_08_a_consumer_hears_of_divergence, setup, teardown),
        cmocka_unit_test_setup_teardown(beyond_damage_the_last_copy_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(an_epoch_that_nobody_gave_is_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_are_found_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(no_end_is_told_before_it_is_safe, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_takes_the_folder_offline, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(too_many_open_files_leave_the_folder_online, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
