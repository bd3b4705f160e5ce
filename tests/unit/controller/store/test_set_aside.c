/* A damaged store is set aside, and the node begins as an emptied one; a crash on the way is damage
 * again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/store/raft_store.h"
#include "libdmq/os/folder.h"
#include "libdmq/os/fs_posix.h"
#include "tests/sim/simfs.h"
#include "tests/support/raft_writes.h"
#include "tests/support/tempdir.h"

#define DIR "/data"

static struct err_msg err;

static dmq_err
open_and_load(const char *path, bool create, struct raft_saved *ret_saved)
{
    struct raft_store *store;
    dmq_err failed = raft_store_open(fs_posix(), path, create, &store, &err);
    if (failed == DMQ_OK) {
        failed = raft_store_load(store, ret_saved, &err);
        raft_store_close(store);
    }
    return failed;
}

static void
write_some(const char *path, uint64_t seed)
{
    struct raft_writes writes;
    struct raft_store *store;
    struct raft_saved saved;
    raft_writes_init(&writes, seed, 100);
    assert_int_equal(raft_store_open(fs_posix(), path, true, &store, &err), DMQ_OK);
    assert_int_equal(raft_store_load(store, &saved, &err), DMQ_OK);
    raft_saved_free(&saved);
    for (int i = 0; i < 5; i++) {
        struct raft_persist *write = raft_writes_next(&writes);
        assert_int_equal(raft_store_write(store, write), DMQ_OK);
        raft_persist_free(write);
    }
    raft_store_close(store);
    raft_writes_deinit(&writes);
}

/* All that a daemon does with a damaged folder, twice. */
static void
a_damaged_node_begins_anew_beside_what_it_held(void **state)
{
    (void)state;
    struct tempdir dir;
    struct folder folder;
    struct raft_saved saved;
    char name[RAFT_STORE_MAX_NAME], expected[RAFT_STORE_MAX_NAME];
    tempdir_make(&dir);
    assert_int_equal(folder_open(dir.path, "controller", 1, &folder, &err), DMQ_OK);
    for (int i = 1; i <= 2; i++) {
        struct uuid former = folder.identity.disk_id;
        write_some(dir.path, 1);
        assert_int_equal(unlink(tempdir_join(&dir, "quorum")), 0);
        assert_int_equal(open_and_load(dir.path, false, &saved), DMQ_ERR_DAMAGED);
        assert_int_equal(raft_store_set_aside(fs_posix(), dir.path, name, &err), DMQ_OK);
        snprintf(expected, sizeof(expected), "damaged-%d", i);
        assert_string_equal(name, expected);
        assert_int_equal(open_and_load(dir.path, false, &saved), DMQ_ERR_DAMAGED);
        assert_int_equal(folder_renew_disk(&folder, &err), DMQ_OK);
        assert_false(uuid_equal(former, folder.identity.disk_id));
        assert_int_equal(open_and_load(dir.path, true, &saved), DMQ_OK);
        assert_int_equal(saved.term, 0);
        assert_int_equal(saved.count, 0);
        raft_saved_free(&saved);
    }
    assert_true(file_exists(tempdir_join(&dir, "damaged-2-store/CURRENT")));
    assert_false(file_exists(tempdir_join(&dir, "damaged-2-quorum")));
    folder_close(&folder);
    tempdir_remove(&dir);
}

static void
nothing_to_set_aside_is_no_error(void **state)
{
    (void)state;
    struct simfs *disk = simfs_new(1);
    char name[RAFT_STORE_MAX_NAME];
    simfs_make_folder(disk, DIR);
    assert_int_equal(raft_store_set_aside(simfs_fs(disk), DIR, name, &err), DMQ_OK);
    assert_string_equal(name, "damaged-1");
    simfs_put_file(disk, DIR "/damaged-7-quorum", bytes_str("x"));
    simfs_put_file(disk, DIR "/damaged-x", bytes_str("x"));
    assert_int_equal(raft_store_set_aside(simfs_fs(disk), DIR, name, &err), DMQ_OK);
    assert_string_equal(name, "damaged-8");
    simfs_free(disk);
}

/* The store's folder is there or not; what LevelDB would say of it is the kv's part. After a crash
 * anywhere: never a store without its copy's word, both there or the copy alone or neither. */
static void
a_crash_between_leaves_no_store_without_its_copy(void **state)
{
    (void)state;
    int both = 0, copy_alone = 0, neither = 0;
    bool died = true;
    for (uint64_t at = 0; died; at++) {
        for (int variant = 0; variant < 12; variant++) {
            struct simfs *disk = simfs_new(1);
            char name[RAFT_STORE_MAX_NAME];
            simfs_make_folder(disk, DIR);
            simfs_make_folder(disk, DIR "/store");
            simfs_put_file(disk, DIR "/quorum", bytes_str("x"));
            simfs_die_after(disk, at);
            died = raft_store_set_aside(simfs_fs(disk), DIR, name, &err) != DMQ_OK;
            simfs_crash(disk, variant == 0 ? SIMFS_LOSE : SIMFS_TEAR, (uint64_t)variant);
            bool store = simfs_exists(disk, DIR "/store");
            bool copy = simfs_exists(disk, DIR "/quorum");
            assert_true(copy || !store);
            assert_true(store || simfs_exists(disk, DIR "/damaged-1-store"));
            assert_true(copy || simfs_exists(disk, DIR "/damaged-1-quorum"));
            both += store && copy;
            copy_alone += copy && !store;
            neither += !copy && !store;
            assert_true(died || neither > 0);
            assert_int_equal(raft_store_set_aside(simfs_fs(disk), DIR, name, &err), DMQ_OK);
            assert_false(simfs_exists(disk, DIR "/quorum"));
            simfs_free(disk);
        }
    }
    assert_true(both > 0 && copy_alone > 0 && neither > 0);
}

static void
errors_of_the_disk_are_errors(void **state)
{
    (void)state;
    struct simfs *disk = simfs_new(1);
    char name[RAFT_STORE_MAX_NAME] = "untouched";
    simfs_make_folder(disk, DIR);
    simfs_put_file(disk, DIR "/quorum", bytes_str("x"));
    simfs_fail(disk, SIMFS_LIST, EIO, 0, 1);
    assert_int_equal(raft_store_set_aside(simfs_fs(disk), DIR, name, &err), DMQ_ERR_IO);
    simfs_fail(disk, SIMFS_RENAME, EACCES, 1, 1);
    assert_int_equal(raft_store_set_aside(simfs_fs(disk), DIR, name, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, DIR));
    simfs_fail(disk, SIMFS_SYNC_DIR, EIO, 0, 1);
    assert_int_equal(raft_store_set_aside(simfs_fs(disk), DIR, name, &err), DMQ_ERR_IO);
    assert_string_equal(name, "untouched");
    simfs_free(disk);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_node_begins_anew_beside_what_it_held),
        cmocka_unit_test(nothing_to_set_aside_is_no_error),
        cmocka_unit_test(a_crash_between_leaves_no_store_without_its_copy),
        cmocka_unit_test(errors_of_the_disk_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
