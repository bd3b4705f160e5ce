/* Folders of damaged logs are set aside whole, wherever that is cut short, and counted. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/log/quarantine.h"
#include "tests/sim/simfs.h"

#define TOPIC "/data/00000000000000000000000000000077"
#define LOG_DIR TOPIC "/3"
#define ASIDE "3.damaged-1700000000000"

static struct simfs *disk;
static struct err_msg msg;

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    simfs_make_folder(disk, "/data");
    simfs_make_folder(disk, "/data/store");
    simfs_make_folder(disk, TOPIC);
    simfs_make_folder(disk, LOG_DIR);
    simfs_put_file(disk, LOG_DIR "/00000000000000000000.log", bytes_str("what is left"));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    simfs_free(disk);
    return 0;
}

static void
a_folder_is_set_aside_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(quarantine_count(simfs_fs(disk), "/data"), 0);
    assert_int_equal(quarantine_move(simfs_fs(disk), LOG_DIR, ASIDE, &msg), DMQ_OK);
    assert_false(simfs_exists(disk, LOG_DIR));
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_false(simfs_exists(disk, LOG_DIR));
    struct bytes kept = simfs_file(disk, TOPIC "/" ASIDE "/00000000000000000000.log");
    assert_true(bytes_equal_str(kept, "what is left"));
    assert_int_equal(quarantine_count(simfs_fs(disk), "/data"), 1);
}

/* Again after it was cut short, or with nothing there at all: that is done, then. */
static void
it_may_be_done_again(void **state)
{
    bool whole = false;
    for (uint64_t changes = 1; !whole; changes++) {
        simfs_die_after(disk, changes);
        whole = quarantine_move(simfs_fs(disk), LOG_DIR, ASIDE, &msg) == DMQ_OK;
        simfs_crash(disk, SIMFS_TEAR, changes);
        assert_int_equal(quarantine_move(simfs_fs(disk), LOG_DIR, ASIDE, &msg), DMQ_OK);
        simfs_crash(disk, SIMFS_LOSE, changes);
        assert_false(simfs_exists(disk, LOG_DIR));
        assert_true(simfs_exists(disk, TOPIC "/" ASIDE));
        assert_true(changes < 100);
        teardown(state);
        setup(state);
    }
    assert_int_equal(quarantine_move(simfs_fs(disk), "/data/none/0", "0.damaged-1", &msg), DMQ_OK);
}

static void
nothing_is_set_aside_over_something(void **state)
{
    (void)state;
    simfs_make_folder(disk, TOPIC "/" ASIDE);
    assert_int_not_equal(quarantine_move(simfs_fs(disk), LOG_DIR, ASIDE, &msg), DMQ_OK);
    assert_true(simfs_exists(disk, LOG_DIR));
}

static void
what_cannot_be_counted_is_not_none(void **state)
{
    (void)state;
    simfs_fail(disk, SIMFS_LIST, EIO, 1, 1);
    assert_int_equal(quarantine_count(simfs_fs(disk), "/data"), -1);
    assert_int_equal(quarantine_count(simfs_fs(disk), "/data"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_folder_is_set_aside_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(it_may_be_done_again, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_set_aside_over_something, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_counted_is_not_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
