/* Truncation: a follower's log is cut where the leader's parts from it. Every place of a log of
 * many segments is cut once; epochs, producers and indexes go with the records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/log_setup.h"

#define BATCHES 40

static struct simfs *disk;
static struct log_rig rig;
static struct log_model model;

static int
setup(void **state)
{
    (void)state;
    disk = log_setup(&rig, &model, 1000, 200);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_teardown(disk, &rig, &model);
    return 0;
}

static int64_t
append(int32_t epoch)
{
    return log_append_one(&rig, &model, epoch);
}

static void
make_log(bool synced)
{
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(append(i / 10), i);
    }
    if (synced) {
        log_rig_sync(&rig);
        log_rig_checkpoint(&rig);
    } else {
        log_rig_run(&rig);
    }
}

static void
check_log(void)
{
    assert_int_equal(plog_end(rig.log), log_model_end(&model));
    const char *wrong = log_model_check(&model, &rig);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

/* Cuts, goes on in another epoch, and is found like that by the next process. */
static void
cut_and_go_on(int64_t to, bool synced, enum simfs_crash how)
{
    int64_t end;
    make_log(synced);
    assert_int_equal(log_rig_truncate(&rig, to), DMQ_OK);
    assert_true(log_model_cut(&model, to));
    check_log();
    assert_int_equal(plog_last_epoch(rig.log), to == 0 ? -1 : (int32_t)(to - 1) / 10);
    assert_int_equal(plog_end_of_epoch(rig.log, 9, &end), plog_last_epoch(rig.log));
    assert_int_equal(append(5), to); /* the producer's sequence is that of the cut log */
    log_rig_sync(&rig);
    log_rig_checkpoint(&rig);
    assert_int_equal(plog_synced_end(rig.log), to + 1);
    check_log();
    log_rig_kill(&rig);
    simfs_crash(disk, how, 3);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_log();
    assert_int_equal(append(6), to + 1);
}

static void
every_place_is_cut(void **state)
{
    for (int64_t to = 0; to < BATCHES; to++) {
        cut_and_go_on(to, to % 2 == 0, to % 3 == 0 ? SIMFS_LOSE : SIMFS_KEEP);
        teardown(state);
        setup(state);
    }
}

/* Between the lowered mark and the cut, and right behind the cut: what was not cut is cut again by
 * the next follower's fetch; nothing is damaged, and nothing below the cut is lost. */
static void
a_crash_around_the_cut(void **state)
{
    static const enum simfs_crash hows[] = {SIMFS_LOSE, SIMFS_KEEP, SIMFS_TEAR};
    for (int64_t to = 1; to < BATCHES; to += 6) {
        for (int i = 0; i < 6; i++) {
            make_log(true);
            if (i < 3) {
                plog_lower_mark(rig.log, to);
                log_rig_checkpoint(&rig);
                buf_unref(rig.stored.producers);
                rig.stored.producers = NULL;
            } else {
                assert_int_equal(log_rig_truncate(&rig, to), DMQ_OK);
            }
            log_rig_kill(&rig);
            simfs_crash(disk, hows[i % 3], (uint64_t)to);
            assert_int_equal(log_rig_open(&rig), DMQ_OK);
            assert_int_equal(plog_end(rig.log), i < 3 ? BATCHES : to);
            assert_true(log_model_cut(&model, plog_end(rig.log)));
            check_log();
            teardown(state);
            setup(state);
        }
    }
}

static void
a_mark_that_is_low_enough_stays(void **state)
{
    (void)state;
    make_log(false);
    struct log_mark before = plog_mark(rig.log);
    plog_lower_mark(rig.log, BATCHES);
    assert_int_equal(plog_mark(rig.log).offset, before.offset);
    log_rig_sync(&rig);
    assert_int_equal(plog_mark(rig.log).offset, BATCHES);
    plog_lower_mark(rig.log, BATCHES / 2);
    assert_int_equal(plog_mark(rig.log).offset, BATCHES / 2);
    assert_true(plog_mark(rig.log).segment < BATCHES / 2);
    assert_true(plog_mark(rig.log).pos == LOG_POS_UNKNOWN);
    plog_lower_mark(rig.log, plog_mark(rig.log).segment);
    assert_int_equal(plog_mark(rig.log).offset, plog_mark(rig.log).segment);
    assert_int_equal(plog_mark(rig.log).pos, 0);
}

/* What lies below the cut was synced, also in the segment that is cut: no torn tail, although all
 * behind it goes. Where a process dies before it is cut, the next one finds the same. */
static void
rot_below_the_cut_is_damage(void **state)
{
    static const uint64_t places[] = {BATCH_POS_LEADER_EPOCH + 3, BATCH_POS_CRC,
                                      BATCH_POS_LAST_OFFSET_DELTA, BATCH_HEADER_SIZE + 3};
    for (size_t i = 0; i < 2 * sizeof(places) / sizeof(places[0]); i++) {
        char path[80];
        make_log(true);
        plog_lower_mark(rig.log, 25);
        int64_t base = plog_mark(rig.log).segment;
        assert_in_range(base, 20, 24);
        snprintf(path, sizeof(path), "/data/topic/0/%020lld.log", (long long)base);
        assert_true(simfs_flip(disk, path, places[i / 2], 0));
        if (i % 2 == 0) {
            assert_int_equal(log_rig_truncate(&rig, 25), DMQ_ERR_DAMAGED);
        } else {
            log_rig_checkpoint(&rig);
            log_rig_kill(&rig);
            assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
        }
        assert_int_equal(rig.damaged_from, base);
        teardown(state);
        setup(state);
    }
}

/* What the store says before a log is emptied, for it ends below its leader's log start. */
static void
store_emptied(int64_t start)
{
    log_rig_kill(&rig);
    log_stored_deinit(&rig.stored);
    rig.stored =
        (struct log_stored){.marked = true,
                            .start = start,
                            .mark = {.segment = start, .pos = 0, .offset = start, .epoch = -1}};
}

/* It may be cut short anywhere, and is finished by the next start. */
static void
a_log_is_emptied_and_begins_further_on(void **state)
{
    bool whole = false;
    for (uint64_t changes = 1; !whole; changes++) {
        make_log(true);
        store_emptied(500);
        simfs_die_after(disk, changes);
        whole = log_rig_open(&rig) == DMQ_OK;
        log_rig_kill(&rig);
        simfs_crash(disk, SIMFS_TEAR, changes);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        assert_int_equal(plog_start(rig.log), 500);
        assert_int_equal(plog_end(rig.log), 500);
        assert_int_equal(plog_last_epoch(rig.log), -1);
        assert_false(simfs_exists(disk, "/data/topic/0/00000000000000000000.log"));
        assert_true(simfs_exists(disk, "/data/topic/0/00000000000000000500.log"));
        assert_true(changes < 1000);
        teardown(state);
        setup(state);
    }
}

/* The row may be older than what was synced since: that is found as in any log. */
static void
what_follows_in_an_emptied_log_stays(void **state)
{
    (void)state;
    make_log(true);
    store_emptied(500);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_int_equal(append(7), -1 - PLOG_UNKNOWN); /* of the producer nothing is known any more */
    struct rig_batch batch = RIG_BATCH;
    batch.leader_epoch = 7;
    assert_int_equal(log_rig_append(&rig, &batch), 500);
    log_rig_sync(&rig);
    log_rig_kill(&rig);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_int_equal(plog_start(rig.log), 500);
    assert_int_equal(plog_end(rig.log), 501);
    assert_int_equal(plog_last_epoch(rig.log), 7);
}

/* Segments that lie beyond are no leftovers: something is wrong with the first. */
static void
a_first_segment_that_is_missing_is_damage(void **state)
{
    (void)state;
    make_log(true);
    store_emptied(3);
    uint64_t before = simfs_digest(disk);
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    assert_true(simfs_digest(disk) == before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_place_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_around_the_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mark_that_is_low_enough_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(rot_below_the_cut_is_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_is_emptied_and_begins_further_on, setup, teardown),
        cmocka_unit_test_setup_teardown(what_follows_in_an_emptied_log_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_first_segment_that_is_missing_is_damage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
