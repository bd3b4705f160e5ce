/* plog and its lane on a real disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/os/fs_posix.h"
#include "tests/support/log_rig.h"
#include "tests/support/tempdir.h"

static struct tempdir dir;
static struct log_rig rig;
static struct outbuf out;

static int
setup(void **state)
{
    (void)state;
    tempdir_make(&dir);
    log_rig_init(&rig, fs_posix(), tempdir_join(&dir, "topic/0"));
    out = (struct outbuf){0};
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_rig_deinit(&rig);
    outbuf_deinit(&out);
    tempdir_remove(&dir);
    return 0;
}

static void
append_many(int count)
{
    struct rig_batch batch = RIG_BATCH;
    for (int i = 0; i < count; i++) {
        batch.seed = (uint64_t)plog_end(rig.log);
        batch.timestamp = 1000 + plog_end(rig.log);
        batch.count = 1 + i % 3;
        assert_true(log_rig_append(&rig, &batch) >= 0);
        log_rig_sync(&rig);
    }
}

/* Every offset from start to end once, and every batch as it was made. */
static void
check_all(int64_t start)
{
    struct batch_header header;
    struct batch_limits limits = {0};
    struct err_msg msg;
    struct bytes rest;
    struct bytes batch;
    int64_t expected = start;
    outbuf_clear(&out);
    assert_int_equal(log_rig_read(&rig, start, plog_end(rig.log), 700, &out), DMQ_OK);
    rest = bytes_of(out.data, out.size);
    while (batch_next(&rest, &batch) == DMQ_OK) {
        assert_int_equal(batch_check(batch, &limits, &msg, &header), DMQ_OK);
        assert_int_equal(header.base_offset, expected);
        expected = batch_last_offset(&header) + 1;
    }
    assert_int_equal(expected, plog_end(rig.log));
}

static void
appends_are_read_back_hot_and_cold(void **state)
{
    (void)state;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_int_equal(plog_end(rig.log), 0);
    append_many(200);
    assert_int_equal(plog_end(rig.log), 399);
    assert_int_equal(plog_synced_end(rig.log), 399);
    check_all(0);
    assert_int_equal(rig.failed, DMQ_OK);
}

static void
a_clean_stop_needs_no_recovery(void **state)
{
    (void)state;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    append_many(200);
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_true(rig.clean);
    assert_int_equal(plog_end(rig.log), 399);
    assert_int_equal(plog_synced_end(rig.log), 0);
    check_all(0);
    append_many(10);
    check_all(0);
}

static void
a_killed_log_is_recovered(void **state)
{
    (void)state;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    append_many(100);
    log_rig_checkpoint(&rig);
    append_many(100);
    int64_t end = plog_end(rig.log);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_false(rig.clean);
    assert_int_equal(rig.cut_bytes, 0);
    assert_int_equal(plog_end(rig.log), end);
    check_all(0);
    append_many(10);
    check_all(0);
}

static void
timestamps_are_found(void **state)
{
    (void)state;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    append_many(200);
    for (int64_t t = 0; t < 1500; t += 7) {
        int64_t expected = t < 1000 ? 0 : t - 1000;
        assert_int_equal(log_rig_find_time(&rig, t, 399), expected < 399 ? expected : -1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(appends_are_read_back_hot_and_cold, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clean_stop_needs_no_recovery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_log_is_recovered, setup, teardown),
        cmocka_unit_test_setup_teardown(timestamps_are_found, setup, teardown),
    };
    return cmocka_run_group_tests_name("plog_io", tests, NULL, NULL);
}
