/* The simulator's disk: like a real one while nothing fails, and as bad as it says when something
 * does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/rng.h"
#include "libdmq/os/fs_posix.h"
#include "tests/sim/simfs.h"
#include "tests/support/tempdir.h"

static struct simfs *disk;
static struct fs *fs;

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    fs = simfs_fs(disk);
    simfs_make_folder(disk, "/d");
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    simfs_free(disk);
    return 0;
}

static struct fs_file *
open_file(const char *path)
{
    struct fs_file *file = NULL;
    assert_int_equal(fs->ops->open(fs, path, FS_READ | FS_WRITE | FS_CREATE, &file), 0);
    return file;
}

static void
write_str(struct fs_file *file, uint64_t pos, const char *text)
{
    struct bytes part = bytes_str(text);
    assert_int_equal(fs->ops->pwritev(file, &part, 1, pos), 0);
}

static bool
file_is(const char *path, const char *text)
{
    return simfs_exists(disk, path) && bytes_equal_str(simfs_file(disk, path), text);
}

/* ---- the same as a real disk ----------------------------------------------------------------- */

#define FILES 6
#define FILE_BYTES 3000

struct script {
    struct fs *fs;
    char root[64];
    struct fs_file *open[FILES];
    struct rng rng;
    uint64_t digest; /* of every result */
};

static void
note(struct script *script, uint64_t value)
{
    script->digest = (script->digest ^ value) * UINT64_C(0x100000001b3);
}

static int
count_names(void *arg, const char *name)
{
    *(uint64_t *)arg += strlen(name) + (unsigned char)name[strlen(name) - 1];
    return 0;
}

static void
use_names(struct script *script, uint64_t kind, const char *path)
{
    const struct fs_ops *ops = script->fs->ops;
    char other[128];
    uint64_t names = 0;
    snprintf(other, sizeof(other), "%s/f%d", script->root, (int)rng_below(&script->rng, FILES));
    switch (kind) {
    case 0:
        note(script, (uint64_t)ops->unlink(script->fs, path));
        break;
    case 1:
        note(script, (uint64_t)ops->rename(script->fs, path, other));
        break;
    case 2:
        note(script, (uint64_t)ops->list(script->fs, script->root, count_names, &names));
        note(script, names);
        break;
    case 3:
        snprintf(other, sizeof(other), "%s/d%d", script->root, (int)rng_below(&script->rng, 3));
        note(script, (uint64_t)ops->mkdir(script->fs, other));
        break;
    case 4:
        snprintf(other, sizeof(other), "%s/d%d", script->root, (int)rng_below(&script->rng, 3));
        note(script, (uint64_t)ops->rmdir(script->fs, other));
        break;
    default:
        note(script, (uint64_t)ops->sync_dir(script->fs, script->root));
        break;
    }
}

static void
use_file(struct script *script, uint64_t kind, struct fs_file *file)
{
    const struct fs_ops *ops = script->fs->ops;
    uint8_t data[FILE_BYTES];
    uint64_t pos = rng_below(&script->rng, FILE_BYTES);
    size_t size = (size_t)rng_below(&script->rng, FILE_BYTES);
    size_t got = 0;
    uint64_t end = 0;
    memset(data, (int)rng_below(&script->rng, 256), sizeof(data));
    struct bytes parts[2] = {bytes_of(data, size / 2), bytes_of(data, size - size / 2)};
    switch (kind) {
    case 0:
        note(script, (uint64_t)ops->truncate(file, pos));
        break;
    case 1:
        note(script, (uint64_t)ops->allocate(file, pos, size + 1));
        break;
    case 2:
        note(script, (uint64_t)ops->datasync(file));
        break;
    case 3:
        note(script, (uint64_t)ops->pwritev(file, parts, 2, pos));
        break;
    default:
        note(script, (uint64_t)ops->pread(file, data, size, pos, &got));
        note(script, got);
        for (size_t i = 0; i < got; i++) {
            note(script, data[i]);
        }
        break;
    }
    note(script, (uint64_t)ops->size(file, &end));
    note(script, end);
}

static uint64_t
run_script(struct fs *on, const char *root, uint64_t seed)
{
    struct script script = {.fs = on, .digest = 1};
    snprintf(script.root, sizeof(script.root), "%s", root);
    rng_init(&script.rng, seed);
    for (int i = 0; i < 300; i++) {
        char path[128];
        size_t f = (size_t)rng_below(&script.rng, FILES);
        uint64_t kind = rng_below(&script.rng, 12);
        snprintf(path, sizeof(path), "%s/f%d", root, (int)f);
        if (kind < 6) {
            use_names(&script, kind, path);
        } else if (script.open[f] == NULL) {
            unsigned flags = FS_READ | FS_WRITE | (kind % 2 == 0 ? FS_CREATE : 0);
            note(&script, (uint64_t)on->ops->open(on, path, flags, &script.open[f]));
        } else if (kind == 11 && rng_chance(&script.rng, 200)) {
            on->ops->close(script.open[f]);
            script.open[f] = NULL;
        } else {
            use_file(&script, kind - 6, script.open[f]);
        }
    }
    for (size_t f = 0; f < FILES; f++) {
        on->ops->close(script.open[f]);
    }
    return script.digest;
}

static void
does_what_a_real_disk_does(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct tempdir dir;
        struct simfs *other = simfs_new(seed);
        tempdir_make(&dir);
        simfs_make_folder(other, "/d");
        assert_int_equal(run_script(simfs_fs(other), "/d", seed),
                         run_script(fs_posix(), dir.path, seed));
        simfs_free(other);
        tempdir_remove(&dir);
    }
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void
what_is_not_synced_is_lost(void **state)
{
    (void)state;
    struct fs_file *file = open_file("/d/a");
    write_str(file, 0, "one");
    assert_int_equal(fs->ops->datasync(file), 0);
    assert_int_equal(fs->ops->sync_dir(fs, "/d"), 0);
    write_str(file, 3, "two");
    fs->ops->close(open_file("/d/b")); /* its name is not synced */
    assert_true(file_is("/d/a", "onetwo"));
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(file_is("/d/a", "one"));
    assert_false(simfs_exists(disk, "/d/b"));
    /* The dead process may only close. */
    struct bytes part = bytes_str("x");
    uint64_t size;
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 0), EIO);
    assert_int_equal(fs->ops->datasync(file), EIO);
    assert_int_equal(fs->ops->size(file, &size), EIO);
    fs->ops->close(file);
    assert_true(file_is("/d/a", "one"));
}

static void
a_synced_file_without_a_name_is_lost(void **state)
{
    (void)state;
    struct fs_file *file = open_file("/d/a");
    write_str(file, 0, "one");
    assert_int_equal(fs->ops->datasync(file), 0);
    fs->ops->close(file);
    struct simfs *kept = simfs_clone(disk);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_false(simfs_exists(disk, "/d/a"));
    assert_int_equal(simfs_fs(kept)->ops->sync_dir(simfs_fs(kept), "/d"), 0);
    simfs_crash(kept, SIMFS_LOSE, 1);
    assert_true(bytes_equal_str(simfs_file(kept, "/d/a"), "one"));
    simfs_free(kept);
}

static void
names_come_back_and_go(void **state)
{
    (void)state;
    simfs_put_file(disk, "/d/a", bytes_str("a"));
    simfs_put_file(disk, "/d/b", bytes_str("b"));
    assert_int_equal(fs->ops->unlink(fs, "/d/a"), 0);
    assert_int_equal(fs->ops->rename(fs, "/d/b", "/d/c"), 0);
    struct simfs *kept = simfs_clone(disk);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(file_is("/d/a", "a") && file_is("/d/b", "b") && !simfs_exists(disk, "/d/c"));
    simfs_crash(kept, SIMFS_KEEP, 1);
    assert_false(simfs_exists(kept, "/d/a") || simfs_exists(kept, "/d/b"));
    assert_true(bytes_equal_str(simfs_file(kept, "/d/c"), "b"));
    simfs_free(kept);
}

static void
a_folder_takes_its_files_along(void **state)
{
    (void)state;
    simfs_make_folder(disk, "/d/a");
    simfs_make_folder(disk, "/d/b");
    simfs_put_file(disk, "/d/a/x", bytes_str("x"));
    assert_int_equal(fs->ops->rename(fs, "/d/a", "/d/b"), ENOTEMPTY);
    assert_int_equal(fs->ops->rename(fs, "/d/a", "/d/c"), 0);
    assert_true(file_is("/d/c/x", "x") && !simfs_exists(disk, "/d/a"));
    struct simfs *lost = simfs_clone(disk);
    simfs_crash(lost, SIMFS_LOSE, 1);
    assert_true(bytes_equal_str(simfs_file(lost, "/d/a/x"), "x"));
    assert_false(simfs_exists(lost, "/d/c"));
    simfs_free(lost);
    assert_int_equal(fs->ops->sync_dir(fs, "/d"), 0);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(file_is("/d/c/x", "x") && !simfs_exists(disk, "/d/a"));
}

/* Over many seeds every outcome is seen: each piece kept and lost, in every combination. */
static void
a_write_tears_in_pieces_of_512_bytes(void **state)
{
    (void)state;
    uint8_t data[2048];
    bool seen[16] = {false};
    memset(data, 'x', sizeof(data));
    simfs_put_file(disk, "/d/a", bytes_of(data, 0));
    struct fs_file *file = open_file("/d/a");
    struct bytes part = bytes_of(data, sizeof(data));
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 0), 0);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct simfs *copy = simfs_clone(disk);
        unsigned mask = 0;
        simfs_crash(copy, SIMFS_TEAR, seed);
        struct bytes now = simfs_file(copy, "/d/a");
        for (size_t i = 0; i < now.size; i++) {
            mask |= now.data[i] == 'x' ? 1u << (i / 512) : 0;
            assert_int_equal(now.data[i], now.data[i / 512 * 512]); /* never within a piece */
        }
        seen[mask] = true;
        simfs_free(copy);
    }
    for (size_t i = 0; i < 16; i++) {
        assert_true(seen[i]);
    }
    fs->ops->close(file);
}

static void
a_kill_loses_nothing_and_syncs_nothing(void **state)
{
    (void)state;
    simfs_put_file(disk, "/d/a", bytes_str("a"));
    struct fs_file *file = open_file("/d/a");
    write_str(file, 0, "b");
    simfs_kill(disk);
    fs->ops->close(file);
    assert_true(file_is("/d/a", "b"));
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(file_is("/d/a", "a"));
}

static void
it_dies_after_so_many_changes(void **state)
{
    (void)state;
    struct fs_file *file = open_file("/d/a");
    struct bytes part = bytes_str("x");
    size_t size;
    char data[4];
    simfs_die_after(disk, 2);
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 0), 0);
    assert_int_equal(fs->ops->pread(file, data, 1, 0, &size), 0); /* changes nothing */
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 1), 0);
    assert_true(simfs_is_dead(disk));
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 2), EIO);
    assert_int_equal(fs->ops->pread(file, data, 1, 0, &size), EIO);
    assert_int_equal(fs->ops->unlink(fs, "/d/a"), EIO);
    assert_true(file_is("/d/a", "xx"));
    simfs_kill(disk);
    assert_false(simfs_is_dead(disk));
    fs->ops->close(file);
    fs->ops->close(open_file("/d/a"));
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void
calls_fail_when_asked(void **state)
{
    (void)state;
    struct fs_file *file = open_file("/d/a");
    size_t size;
    char data[4];
    simfs_fail(disk, SIMFS_PREAD, EIO, 1, 2);
    assert_int_equal(fs->ops->pread(file, data, 1, 0, &size), 0);
    assert_int_equal(fs->ops->pread(file, data, 1, 0, &size), EIO);
    assert_int_equal(fs->ops->pread(file, data, 1, 0, &size), EIO);
    assert_int_equal(fs->ops->pread(file, data, 1, 0, &size), 0);
    assert_int_equal(simfs_counts(disk)->faults[SIMFS_PREAD], 2);
    fs->ops->close(file);
}

static void
space_is_what_the_capacity_leaves(void **state)
{
    (void)state;
    struct fs_space space = {0, 0};
    simfs_set_capacity(disk, simfs_used(disk) + 100);
    assert_int_equal(fs->ops->space(fs, "/d", &space), 0);
    assert_int_equal(space.free, 100);
    assert_int_equal(space.total, simfs_used(disk) + 100);
    simfs_set_capacity(disk, 0);
    assert_int_equal(fs->ops->space(fs, "/d", &space), 0);
    assert_int_equal(space.free, 0);
    simfs_fail(disk, SIMFS_SPACE, EIO, 0, 1);
    assert_int_equal(fs->ops->space(fs, "/d", &space), EIO);
}

/* Whichever it begins with, one fails and the others are synced. */
static void
many_syncs_have_a_result_each(void **state)
{
    (void)state;
    struct fs_sync syncs[] = {
        {.file = open_file("/d/a")}, {.file = open_file("/d/b")}, {.path = "/d"}};
    write_str(syncs[0].file, 0, "one");
    write_str(syncs[1].file, 0, "two");
    simfs_fail(disk, SIMFS_DATASYNC, EIO, 1, 1);
    fs->ops->sync_many(fs, syncs, 3);
    assert_int_equal(syncs[2].error, 0);
    assert_int_equal(syncs[0].error + syncs[1].error, EIO);
    bool first_failed = syncs[0].error != 0;
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(first_failed ? file_is("/d/b", "two") : file_is("/d/a", "one"));
    fs->ops->close(syncs[0].file);
    fs->ops->close(syncs[1].file);
}

/* What a failed sync did not write is gone, although reads show it and the next sync goes well. */
static void
trap_a_failed_sync_is_not_made_good_by_the_next(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct simfs *copy = simfs_new(seed);
        struct fs *on = simfs_fs(copy);
        struct fs_file *file = NULL;
        struct bytes part = bytes_str("x");
        simfs_put_file(copy, "/a", bytes_str("a"));
        assert_int_equal(on->ops->open(on, "/a", FS_READ | FS_WRITE, &file), 0);
        assert_int_equal(on->ops->pwritev(file, &part, 1, 0), 0);
        simfs_fail(copy, SIMFS_DATASYNC, EIO, 0, 1);
        assert_int_equal(on->ops->datasync(file), EIO);
        assert_int_equal(on->ops->datasync(file), 0);
        assert_true(bytes_equal_str(simfs_file(copy, "/a"), "x"));
        simfs_crash(copy, SIMFS_KEEP, 1);
        lost += bytes_equal_str(simfs_file(copy, "/a"), "a") ? 1 : 0;
        on->ops->close(file);
        simfs_free(copy);
    }
    assert_true(lost > 0 && lost < 50);
}

static void
a_full_disk_takes_the_first_part(void **state)
{
    (void)state;
    struct fs_file *file = open_file("/d/a");
    struct bytes part = bytes_str("0123456789");
    simfs_set_capacity(disk, 14);
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 0), 0);
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 10), ENOSPC);
    assert_true(file_is("/d/a", "01234567890123"));
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 2), 0); /* overwriting needs no room */
    assert_int_equal(fs->ops->allocate(file, 0, 15), ENOSPC);
    assert_int_equal(fs->ops->truncate(file, 5), 0);
    assert_int_equal(simfs_used(disk), 5);
    assert_int_equal(fs->ops->allocate(file, 0, 14), 0);
    fs->ops->close(file);
}

static void
bits_rot_durably(void **state)
{
    (void)state;
    simfs_put_file(disk, "/d/a", bytes_str("aaa"));
    uint64_t before = simfs_digest(disk);
    assert_true(simfs_flip(disk, "/d/a", 1, 1));
    assert_true(file_is("/d/a", "aca"));
    assert_true(simfs_digest(disk) != before);
    assert_false(simfs_flip(disk, "/d/a", 3, 0));
    assert_false(simfs_flip(disk, "/d/b", 0, 0));
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(file_is("/d/a", "aca"));
    simfs_wipe(disk, "/d");
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_false(simfs_exists(disk, "/d/a"));
    assert_true(simfs_exists(disk, "/d"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_what_a_real_disk_does),
        cmocka_unit_test_setup_teardown(what_is_not_synced_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(a_synced_file_without_a_name_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(names_come_back_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_takes_its_files_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_write_tears_in_pieces_of_512_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_loses_nothing_and_syncs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(it_dies_after_so_many_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_fail_when_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(space_is_what_the_capacity_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(many_syncs_have_a_result_each, setup, teardown),
        cmocka_unit_test(trap_a_failed_sync_is_not_made_good_by_the_next),
        cmocka_unit_test_setup_teardown(a_full_disk_takes_the_first_part, setup, teardown),
        cmocka_unit_test_setup_teardown(bits_rot_durably, setup, teardown),
    };
    return cmocka_run_group_tests_name("simfs", tests, NULL, NULL);
}
