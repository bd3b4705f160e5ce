/* Where a log may begin, and what recovery makes of a removal that a crash cut short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/sim/simfs.h"
#include "tests/support/log_rig.h"

#define DIR "/data/topic/0"
#define NOW INT64_C(1000000)

static struct simfs *disk;
static struct log_rig rig;
static struct plog_retention retention;

static void
append(int64_t timestamp, int32_t epoch)
{
    struct rig_batch batch = RIG_BATCH;
    batch.value_size = 1200; /* three in a segment */
    batch.timestamp = timestamp;
    batch.leader_epoch = epoch;
    assert_true(log_rig_append(&rig, &batch) >= 0);
    log_rig_run(&rig);
}

static void
fill(int batches)
{
    for (int i = 0; i < batches; i++) {
        append(NOW - 1000 + plog_end(rig.log), 0);
        log_rig_sync(&rig);
        log_rig_checkpoint(&rig);
    }
    retention.limit = plog_end(rig.log);
    retention.snapshot = plog_end(rig.log);
}

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    simfs_make_folder(disk, "/data");
    simfs_set_time(disk, NOW);
    log_rig_init(&rig, simfs_fs(disk), DIR);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    retention = (struct plog_retention){.wall_ms = NOW, .age_ms = -1, .bytes = -1};
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_rig_deinit(&rig);
    simfs_free(disk);
    return 0;
}

static int64_t
from(void)
{
    return plog_retained_from(rig.log, &retention);
}

/* Segments begin at 0, 3, 6 and 9. */
static void
the_oldest_go_while_the_rest_is_enough(void **state)
{
    (void)state;
    fill(10);
    assert_int_equal(from(), 0); /* no limit */
    retention.bytes = 1 << 20;
    assert_int_equal(from(), 0);
    retention.bytes = 6 * 1300;
    assert_int_equal(from(), 3); /* seven are left: without the next three it would be too little */
    retention.bytes = 4 * 1300;
    assert_int_equal(from(), 3);
    retention.bytes = 4 * 1200;
    assert_int_equal(from(), 6);
    retention.bytes = 0;
    assert_int_equal(from(), 9); /* the newest is written to */
}

static void
segments_go_by_the_age_of_their_newest_record(void **state)
{
    (void)state;
    fill(10); /* timestamps from NOW - 1000 on */
    retention.age_ms = 1000 - 2;
    assert_int_equal(from(), 0);
    retention.age_ms--;
    assert_int_equal(from(), 3);
    retention.age_ms = 1000 - 8;
    assert_int_equal(from(), 6);
    retention.age_ms = 1000 - 9;
    assert_int_equal(from(), 9);
    assert_false(plog_newest_expired(rig.log, &retention));
    retention.age_ms--;
    assert_true(plog_newest_expired(rig.log, &retention));
    retention.age_ms = -1;
    assert_int_equal(from(), 0);
    assert_false(plog_newest_expired(rig.log, &retention));
}

static void
nothing_goes_that_is_above_the_high_watermark_or_needed(void **state)
{
    (void)state;
    fill(10);
    retention.bytes = 0;
    retention.limit = 8;
    assert_int_equal(from(), 6);
    retention.limit = 5;
    assert_int_equal(from(), 3);
    retention.limit = 2;
    assert_int_equal(from(), 0);
    retention.limit = 10;
    retention.snapshot = 3; /* producers are replayed from there */
    assert_int_equal(from(), 3);
    retention.snapshot = -1;
    assert_int_equal(from(), 0);

    retention.snapshot = 10;
    append(NOW, 0);
    append(NOW, 0);
    append(NOW, 0);                      /* rolls at 12 */
    retention.limit = plog_end(rig.log); /* as with durability=async */
    assert_int_equal(plog_end(rig.log), 13);
    assert_int_equal(from(), 9); /* the mark lies in that one, and what follows is not synced */
    log_rig_sync(&rig);
    assert_int_equal(from(), 12); /* its snapshot goes to the store with the log start */
    buf_unref(plog_take_snapshot_row(rig.log));
    assert_int_equal(from(), 9);
    retention.snapshot = 12;
    assert_int_equal(from(), 12);
}

/* Clients say what time they like. A segment goes by the time at which it was written, if its
 * records are said to be still to come; that is known after a restart, too. */
static void
trap_55_a_future_timestamp_does_not_hold_a_segment(void **state)
{
    (void)state;
    int64_t year_9999 = INT64_C(253370764800000);
    fill(1);
    append(year_9999, 0);
    fill(8);
    retention.age_ms = 5000;
    assert_int_equal(from(), 0); /* now it is known when the newest was written */
    retention.wall_ms = NOW + 5000;
    assert_int_equal(from(), 0);
    retention.wall_ms = NOW + 5001;
    assert_int_equal(from(), 9);
    simfs_crash(disk, SIMFS_LOSE, 1);
    log_rig_kill(&rig);
    simfs_set_time(disk, NOW + 3000);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    log_rig_sync(&rig);
    retention.wall_ms = NOW + 5000;
    assert_int_equal(from(), 0);
    retention.wall_ms = NOW + 5001;
    assert_int_equal(from(), 9);
}

/* A segment may be written to for long, and roll between two looks. */
static void
trap_55_a_segment_is_as_old_as_its_last_write(void **state)
{
    (void)state;
    fill(1);
    assert_int_equal(from(), 0);
    retention.wall_ms = NOW + 100000;
    append(INT64_C(253370764800000), 0);
    fill(8);
    retention.age_ms = 5000;
    assert_int_equal(from(), 0); /* of the first segment, but the others are old */
    retention.wall_ms = NOW + 105001;
    assert_int_equal(from(), 9);
}

static bool
exists(int64_t base)
{
    char path[80];
    snprintf(path, sizeof(path), DIR "/%020lld.log", (long long)base);
    return simfs_exists(disk, path);
}

static void
raise_to(int64_t start)
{
    plog_raise_start(rig.log, start);
    log_rig_checkpoint(&rig);
}

static void
remove_old(void)
{
    struct plog_ops ops = {.count = 0};
    struct disk_done done;
    plog_remove(rig.log, &ops);
    assert_int_equal(ops.count, 1);
    plog_io_exec(rig.lane, ops.ops, 1, &done);
    assert_int_equal(done.err, DMQ_OK);
}

static void
check_from(int64_t start, int64_t end)
{
    struct outbuf out = {0};
    assert_int_equal(plog_start(rig.log), start);
    assert_int_equal(plog_end(rig.log), end);
    for (int64_t offset = start; offset < end; offset++) {
        outbuf_clear(&out);
        assert_int_equal(log_rig_read(&rig, offset, end, 1, &out), DMQ_OK);
        assert_true(out.size > 1200);
    }
    if (start > 0) {
        assert_int_equal(log_rig_read(&rig, start - 1, end, 1, &out), DMQ_ERR_OFFSET_OUT_OF_RANGE);
    }
    outbuf_deinit(&out);
}

static void
a_log_goes_on_without_its_oldest_segments(void **state)
{
    (void)state;
    fill(10);
    raise_to(6);
    assert_true(exists(0) && exists(3)); /* not before it is durable */
    remove_old();
    assert_false(exists(0) || exists(3));
    assert_true(exists(6) && exists(9));
    check_from(6, 10);
    fill(5);
    check_from(6, 15);
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_true(rig.clean);
    check_from(6, 15);
}

/* Trap 54, the other half: what was raised and not removed is removed by recovery; whatever names
 * the crash keeps. */
static void
recovery_finishes_a_removal(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        teardown(NULL);
        setup(NULL);
        fill(10);
        raise_to(9);
        if (seed % 3 > 0) {
            remove_old();
        }
        log_rig_kill(&rig);
        simfs_crash(disk, SIMFS_TEAR, seed);
        if (seed % 2 == 1) { /* and dies on the way */
            simfs_die_after(disk, seed % 7);
            log_rig_open(&rig);
            log_rig_kill(&rig);
            simfs_crash(disk, SIMFS_TEAR, seed);
        }
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        assert_false(exists(0) || exists(3) || exists(6));
        assert_false(simfs_exists(disk, DIR "/00000000000000000003.index"));
        check_from(9, 10);
        log_rig_sync(&rig);
        fill(3);
        check_from(9, 13);
    }
}

/* Without a stored start nothing may be missing, and with one nothing at or above it. */
static void
a_missing_segment_is_damage(void **state)
{
    (void)state;
    fill(10);
    raise_to(3);
    remove_old();
    log_rig_kill(&rig);
    struct simfs *before = simfs_clone(disk);
    rig.stored.start = 0;
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(rig.opened.text, "first segment is missing"));
    log_rig_kill(&rig);
    rig.stored.start = 6; /* the epochs say that it begins earlier */
    simfs_wipe(disk, DIR);
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    simfs_free(before);
}

static void
leader_epochs_begin_with_the_log(void **state)
{
    (void)state;
    int64_t end = -1;
    fill(2);
    append(NOW, 3);
    append(NOW, 4);
    append(NOW, 4);
    append(NOW, 7);
    append(NOW, 7); /* segments 0, 3, 6 */
    log_rig_sync(&rig);
    log_rig_checkpoint(&rig);
    raise_to(3);
    assert_int_equal(plog_end_of_epoch(rig.log, 3, &end), -1);
    assert_int_equal(plog_end_of_epoch(rig.log, 4, &end), 4);
    assert_int_equal(end, 5);
    raise_to(6); /* within epoch 7, which began at 5 */
    assert_int_equal(plog_end_of_epoch(rig.log, 6, &end), -1);
    assert_int_equal(plog_end_of_epoch(rig.log, 7, &end), 7);
    log_rig_kill(&rig);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_from(6, 7);
    assert_int_equal(plog_last_epoch(rig.log), 7);
}

/* All records go by age; the offsets go on, whatever epoch comes next. */
static void
a_log_may_become_empty(void **state)
{
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        struct plog_ops ops = {.count = 0};
        teardown(NULL);
        setup(NULL);
        fill(2);
        retention.age_ms = 0;
        retention.wall_ms = NOW + 1;
        assert_true(plog_newest_expired(rig.log, &retention));
        plog_roll(rig.log, &ops);
        assert_int_equal(ops.count, 1);
        struct disk_done done;
        plog_io_exec(rig.lane, ops.ops, 1, &done);
        assert_int_equal(from(), 0); /* the roll is not synced */
        log_rig_sync(&rig);
        assert_int_equal(from(), 2);
        raise_to(2);
        remove_old();
        if (crash == 1) {
            log_rig_kill(&rig);
            simfs_crash(disk, SIMFS_LOSE, 1);
            assert_int_equal(log_rig_open(&rig), DMQ_OK);
        }
        check_from(2, 2);
        assert_false(plog_newest_expired(rig.log, &retention));
        append(NOW, 5);
        log_rig_sync(&rig);
        log_rig_checkpoint(&rig);
        check_from(2, 3);
        assert_int_equal(plog_last_epoch(rig.log), 5);
        log_rig_kill(&rig);
        simfs_crash(disk, SIMFS_LOSE, 1);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        check_from(2, 3);
    }
}

/* A new epoch's first records are not synced when everything before them goes. */
static void
an_epoch_that_is_not_synced_may_follow(void **state)
{
    (void)state;
    fill(3);
    append(NOW, 0); /* rolls at 3 */
    log_rig_sync(&rig);
    struct plog_ops ops = {.count = 0};
    plog_roll(rig.log, &ops);
    struct disk_done done;
    plog_io_exec(rig.lane, ops.ops, 1, &done);
    log_rig_sync(&rig);
    append(NOW, 9);
    retention.bytes = 0;
    retention.limit = 4;
    retention.snapshot = 4;
    assert_int_equal(from(), 4);
    raise_to(4);
    log_rig_kill(&rig);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_from(4, 4);
    assert_int_equal(plog_last_epoch(rig.log), -1); /* trap 6: it has no record */
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_oldest_go_while_the_rest_is_enough),
        TEST(segments_go_by_the_age_of_their_newest_record),
        TEST(nothing_goes_that_is_above_the_high_watermark_or_needed),
        TEST(trap_55_a_future_timestamp_does_not_hold_a_segment),
        TEST(trap_55_a_segment_is_as_old_as_its_last_write),
        TEST(a_log_goes_on_without_its_oldest_segments),
        TEST(recovery_finishes_a_removal),
        TEST(a_missing_segment_is_damage),
        TEST(leader_epochs_begin_with_the_log),
        TEST(a_log_may_become_empty),
        TEST(an_epoch_that_is_not_synced_may_follow),
    };
    return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
