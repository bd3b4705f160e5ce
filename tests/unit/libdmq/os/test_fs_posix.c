#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/os/fs_posix.h"
#include "tests/support/tempdir.h"

static struct tempdir dir;
static struct fs *fs;

static int
setup(void **state)
{
    (void)state;
    tempdir_make(&dir);
    fs = fs_posix();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tempdir_remove(&dir);
    return 0;
}

static struct fs_file *
open_new(const char *name)
{
    struct fs_file *file = NULL;
    int err = fs->ops->open(fs, tempdir_join(&dir, name), FS_READ | FS_WRITE | FS_CREATE, &file);
    assert_int_equal(err, 0);
    return file;
}

static void
writes_parts_and_reads_them(void **state)
{
    (void)state;
    struct fs_file *file = open_new("a");
    struct bytes parts[] = {bytes_str("one"), {NULL, 0}, bytes_str("two"), bytes_str("three")};
    char data[32];
    size_t size = 99;
    uint64_t end = 0;
    assert_int_equal(fs->ops->pwritev(file, parts, 4, 5), 0);
    assert_int_equal(fs->ops->pread(file, data, sizeof(data), 5, &size), 0);
    assert_int_equal(size, 11);
    assert_memory_equal(data, "onetwothree", 11);
    assert_int_equal(fs->ops->pread(file, data, 5, 0, &size), 0);
    assert_int_equal(size, 5);
    assert_memory_equal(data, "\0\0\0\0\0", 5); /* the gap before */
    assert_int_equal(fs->ops->pread(file, data, 4, 16, &size), 0);
    assert_int_equal(size, 0); /* at the end */
    assert_int_equal(fs->ops->pread(file, data, 4, 1000, &size), 0);
    assert_int_equal(size, 0); /* beyond it */
    assert_int_equal(fs->ops->size(file, &end), 0);
    assert_int_equal(end, 16);
    assert_int_equal(fs->ops->datasync(file), 0);
    assert_int_equal(fs->ops->pwritev(file, parts, 0, 0), 0); /* nothing is nothing */
    fs->ops->close(file);
}

static void
writes_a_thousand_parts_in_one_call(void **state)
{
    (void)state;
    struct fs_file *file = open_new("a");
    struct bytes parts[1024];
    uint8_t data[1024];
    uint8_t back[1024];
    size_t size;
    for (size_t i = 0; i < 1024; i++) {
        data[i] = (uint8_t)(i * 7);
        parts[i] = bytes_of(data + i, 1);
    }
    assert_int_equal(fs->ops->pwritev(file, parts, 1024, 0), 0);
    assert_int_equal(fs->ops->pread(file, back, sizeof(back), 0, &size), 0);
    assert_int_equal(size, sizeof(back));
    assert_memory_equal(data, back, sizeof(back));
    fs->ops->close(file);
}

static void
allocated_space_reads_as_zero_and_is_cut_off(void **state)
{
    (void)state;
    struct fs_file *file = open_new("a");
    struct bytes part = bytes_str("x");
    uint8_t data[8192];
    static const uint8_t zero[8192];
    uint64_t end;
    size_t size;
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 0), 0);
    assert_int_equal(fs->ops->allocate(file, 0, sizeof(data)), 0);
    assert_int_equal(fs->ops->size(file, &end), 0);
    assert_int_equal(end, sizeof(data));
    assert_int_equal(fs->ops->pread(file, data, sizeof(data), 0, &size), 0);
    assert_int_equal(size, sizeof(data));
    assert_int_equal(data[0], 'x');
    assert_memory_equal(data + 1, zero, sizeof(data) - 1);
    assert_int_equal(fs->ops->truncate(file, 1), 0);
    assert_int_equal(fs->ops->size(file, &end), 0);
    assert_int_equal(end, 1);
    fs->ops->close(file);
}

static void
errors_are_errno_values(void **state)
{
    (void)state;
    struct fs_file *file = NULL;
    const char *missing = tempdir_join(&dir, "missing");
    struct bytes part = bytes_str("x");
    assert_int_equal(fs->ops->open(fs, missing, FS_READ, &file), ENOENT);
    assert_int_equal(fs->ops->open(fs, missing, FS_READ | FS_WRITE, &file), ENOENT);
    assert_null(file);
    assert_int_equal(fs->ops->unlink(fs, missing), ENOENT);
    assert_int_equal(fs->ops->rmdir(fs, missing), ENOENT);
    assert_int_equal(fs->ops->rename(fs, missing, missing), ENOENT);
    assert_int_equal(fs->ops->sync_dir(fs, missing), ENOENT);
    assert_int_equal(fs->ops->mkdir(fs, dir.path), EEXIST);
    fs->ops->close(open_new("a"));
    assert_int_equal(fs->ops->open(fs, tempdir_join(&dir, "a"), FS_READ, &file), 0);
    assert_int_equal(fs->ops->pwritev(file, &part, 1, 0), EBADF); /* opened to read */
    fs->ops->close(file);
    fs->ops->close(NULL);
}

static int
count_name(void *arg, const char *name)
{
    int *seen = arg;
    if (name[0] == '.' || name[1] != '\0') {
        return EINVAL;
    }
    seen[(unsigned char)name[0]]++;
    return name[0] == 'z' ? ECANCELED : 0;
}

static void
lists_renames_and_removes_names(void **state)
{
    (void)state;
    int seen[256] = {0};
    fs->ops->close(open_new("a"));
    fs->ops->close(open_new("b"));
    assert_int_equal(fs->ops->mkdir(fs, tempdir_join(&dir, "c")), 0);
    assert_int_equal(fs->ops->rename(fs, tempdir_join(&dir, "b"), tempdir_join(&dir, "d")), 0);
    assert_int_equal(fs->ops->sync_dir(fs, dir.path), 0);
    assert_int_equal(fs->ops->list(fs, dir.path, count_name, seen), 0);
    assert_int_equal(seen['a'], 1);
    assert_int_equal(seen['b'], 0);
    assert_int_equal(seen['c'], 1);
    assert_int_equal(seen['d'], 1);
    assert_int_equal(fs->ops->unlink(fs, tempdir_join(&dir, "a")), 0);
    assert_int_equal(fs->ops->rmdir(fs, tempdir_join(&dir, "c")), 0);
    assert_false(file_exists(tempdir_join(&dir, "a")));
    assert_false(file_exists(tempdir_join(&dir, "c")));
    fs->ops->close(open_new("z"));
    assert_int_equal(fs->ops->list(fs, dir.path, count_name, seen), ECANCELED); /* ends the walk */
    assert_int_equal(fs->ops->list(fs, tempdir_join(&dir, "none"), count_name, seen), ENOENT);
}

static void
space_is_what_a_file_can_grow_by(void **state)
{
    (void)state;
    struct fs_space before = {0, 0};
    struct fs_space after = {0, 0};
    struct fs_file *file = open_new("large");
    assert_int_equal(fs->ops->space(fs, dir.path, &before), 0);
    assert_true(before.free > 0 && before.free <= before.total);
    assert_int_equal(fs->ops->allocate(file, 0, 64 << 20), 0);
    assert_int_equal(fs->ops->space(fs, dir.path, &after), 0);
    assert_true(after.free < before.free + (16 << 20)); /* others use the disk as well */
    fs->ops->close(file);
    assert_int_equal(fs->ops->space(fs, tempdir_join(&dir, "none"), &after), ENOENT);
}

static void
syncs_many_each_with_its_own_result(void **state)
{
    (void)state;
    enum { FILES = 40 };
    struct fs_sync syncs[FILES + 2];
    char missing[sizeof(dir.path) + 8];
    for (size_t i = 0; i < FILES; i++) {
        char name[8] = {'f', (char)('0' + i / 10), (char)('0' + i % 10)};
        struct bytes part = bytes_str(name);
        syncs[i] = (struct fs_sync){.file = open_new(name), .error = -1};
        assert_int_equal(fs->ops->pwritev(syncs[i].file, &part, 1, 0), 0);
    }
    snprintf(missing, sizeof(missing), "%s/none", dir.path);
    syncs[FILES] = (struct fs_sync){.path = missing, .error = -1};
    syncs[FILES + 1] = (struct fs_sync){.path = dir.path, .error = -1};
    fs->ops->sync_many(fs, syncs, FILES + 2);
    for (size_t i = 0; i < FILES + 2; i++) {
        assert_int_equal(syncs[i].error, i == FILES ? ENOENT : 0);
    }
    for (size_t i = 0; i < FILES; i++) {
        fs->ops->close(syncs[i].file);
    }
    fs->ops->sync_many(fs, NULL, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_parts_and_reads_them, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_a_thousand_parts_in_one_call, setup, teardown),
        cmocka_unit_test_setup_teardown(allocated_space_reads_as_zero_and_is_cut_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(errors_are_errno_values, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_renames_and_removes_names, setup, teardown),
        cmocka_unit_test_setup_teardown(space_is_what_a_file_can_grow_by, setup, teardown),
        cmocka_unit_test_setup_teardown(syncs_many_each_with_its_own_result, setup, teardown),
    };
    return cmocka_run_group_tests_name("fs_posix", tests, NULL, NULL);
}
