/* The second copy alone: at any tear one slot is whole, and no bit of it can change unseen. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/store/second_copy.h"
#include "libdmq/base/crc32c.h"
#include "tests/sim/simfs.h"
#include "tests/support/raft_disk.h"

#define DIR "/data"
#define FILE_NAME DIR "/quorum"
#define SLOT_USED 68

static struct simfs *disk;
static struct second_copy copy;
static struct second_copy_values found;
static struct err_msg err;

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    simfs_make_folder(disk, DIR);
    second_copy_init(&copy, simfs_fs(disk), DIR);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    second_copy_deinit(&copy);
    simfs_free(disk);
    return 0;
}

static struct second_copy_values
values_of(int64_t writes)
{
    return (struct second_copy_values){.writes = writes,
                                       .term = writes * 7,
                                       .vote = raft_test_id((int32_t)writes, 2),
                                       .last_index = writes << 40,
                                       .last_term = writes * 6};
}

static void
write_copy(int64_t writes)
{
    struct second_copy_values values = values_of(writes);
    assert_int_equal(second_copy_write(&copy, &values, &err), DMQ_OK);
}

static enum second_copy_state
read_copy(void)
{
    enum second_copy_state state;
    second_copy_deinit(&copy);
    second_copy_init(&copy, simfs_fs(disk), DIR);
    assert_int_equal(second_copy_read(&copy, &state, &found, &err), DMQ_OK);
    return state;
}

static void
assert_found(int64_t writes)
{
    struct second_copy_values values = values_of(writes);
    assert_int_equal(read_copy(), SECOND_COPY_GOOD);
    assert_true(second_copy_equal(&found, &values));
}

/* The file as it is, on the heap. */
static uint8_t *
contents(void)
{
    struct bytes bytes = simfs_file(disk, FILE_NAME);
    assert_int_equal(bytes.size, 8192);
    uint8_t *file = malloc(bytes.size);
    assert_non_null(file);
    memcpy(file, bytes.data, bytes.size);
    return file;
}

static void
make(int64_t writes)
{
    struct second_copy_values values = values_of(writes);
    assert_int_equal(second_copy_make(&copy, &values, &err), DMQ_OK);
}

static void
the_newest_is_found(void **state)
{
    (void)state;
    assert_int_equal(read_copy(), SECOND_COPY_MISSING);
    make(0);
    assert_found(0);
    for (int64_t i = 1; i < 9; i++) {
        write_copy(i);
        assert_found(i);
    }
    assert_int_equal(simfs_file(disk, FILE_NAME).size, 8192);
    make(3); /* over what was there */
    assert_found(3);
}

/* The one before it stays whole, and what is torn is not taken for either. */
static void
a_torn_slot_leaves_the_other(void **state)
{
    (void)state;
    make(0);
    write_copy(1);
    write_copy(2);
    uint8_t *before = contents();
    write_copy(3);
    uint8_t *after = contents();
    for (size_t size = 0; size <= SLOT_USED; size++) {
        uint8_t file[8192];
        memcpy(file, before, sizeof(file));
        memcpy(file + 4096, after + 4096, size); /* 3 stands in the second slot */
        simfs_put_file(disk, FILE_NAME, bytes_of(file, sizeof(file)));
        assert_found(size < SLOT_USED ? 2 : 3);
        memcpy(file, after, sizeof(file)); /* and torn the other way round */
        memcpy(file + 4096, before + 4096, size);
        simfs_put_file(disk, FILE_NAME, bytes_of(file, sizeof(file)));
        /* the first bytes are the same in both */
        bool same = memcmp(before + 4096, after + 4096, size) == 0;
        assert_found(same ? 3 : 2);
    }
    free(before);
    free(after);
}

static void
a_changed_bit_costs_its_slot(void **state)
{
    (void)state;
    make(0);
    write_copy(1);
    for (uint64_t at = 0; at < SLOT_USED; at++) {
        unsigned bit = (unsigned)(at % 8);
        assert_true(simfs_flip(disk, FILE_NAME, 4096 + at, bit));
        assert_found(0);
        assert_true(simfs_flip(disk, FILE_NAME, at, bit));
        assert_int_equal(read_copy(), SECOND_COPY_BAD);
        assert_int_equal(found.writes, 0);
        assert_true(simfs_flip(disk, FILE_NAME, 4096 + at, bit));
        assert_found(1);
        assert_true(simfs_flip(disk, FILE_NAME, at, bit));
    }
}

static void
slots_in_the_wrong_place_do_not_count(void **state)
{
    (void)state;
    uint8_t swapped[8192];
    make(0);
    write_copy(1);
    uint8_t *file = contents();
    memcpy(swapped, file + 4096, 4096);
    memcpy(swapped + 4096, file, 4096);
    simfs_put_file(disk, FILE_NAME, bytes_of(swapped, sizeof(swapped)));
    assert_int_equal(read_copy(), SECOND_COPY_BAD);
    free(file);
}

static void
a_short_file_has_what_is_in_it(void **state)
{
    (void)state;
    make(0);
    write_copy(1);
    uint8_t *file = contents();
    simfs_put_file(disk, FILE_NAME, bytes_of(file, 4096 + SLOT_USED - 1));
    assert_found(0);
    simfs_put_file(disk, FILE_NAME, bytes_of(file, 0));
    assert_int_equal(read_copy(), SECOND_COPY_BAD);
    free(file);
}

static void
another_version_is_refused(void **state)
{
    (void)state;
    enum second_copy_state found_state;
    make(0);
    write_copy(1);
    uint8_t *file = contents();
    put_be32(file + 8, 1);
    simfs_put_file(disk, FILE_NAME, bytes_of(file, 8192));
    assert_found(1); /* without its checksum it is only a damaged one */
    put_be32(file + 64, crc32c(0, file, 64));
    simfs_put_file(disk, FILE_NAME, bytes_of(file, 8192));
    second_copy_deinit(&copy);
    assert_int_equal(second_copy_read(&copy, &found_state, &found, &err),
                     DMQ_ERR_UNSUPPORTED_VERSION);
    assert_non_null(strstr(err.text, FILE_NAME));
    free(file);
}

static void
errors_of_the_disk_are_errors(void **state)
{
    (void)state;
    enum second_copy_state found_state;
    struct second_copy_values values = values_of(1);
    make(0);
    simfs_fail(disk, SIMFS_PWRITEV, ENOSPC, 0, 1);
    assert_int_equal(second_copy_write(&copy, &values, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "the disk is full"));
    simfs_fail(disk, SIMFS_DATASYNC, EIO, 0, 1);
    assert_int_equal(second_copy_write(&copy, &values, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "the disk failed"));
    second_copy_deinit(&copy);
    simfs_fail(disk, SIMFS_PREAD, EIO, 0, 1);
    assert_int_equal(second_copy_read(&copy, &found_state, &found, &err), DMQ_ERR_IO);
    second_copy_deinit(&copy);
    simfs_fail(disk, SIMFS_OPEN, EACCES, 0, 2);
    assert_int_equal(second_copy_read(&copy, &found_state, &found, &err), DMQ_ERR_IO);
    assert_int_equal(second_copy_make(&copy, &values, &err), DMQ_ERR_IO);
    simfs_fail(disk, SIMFS_TRUNCATE, EIO, 0, 1);
    assert_int_equal(second_copy_make(&copy, &values, &err), DMQ_ERR_IO);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_newest_is_found),
        T(a_torn_slot_leaves_the_other),
        T(a_changed_bit_costs_its_slot),
        T(slots_in_the_wrong_place_do_not_count),
        T(a_short_file_has_what_is_in_it),
        T(another_version_is_refused),
        T(errors_of_the_disk_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
