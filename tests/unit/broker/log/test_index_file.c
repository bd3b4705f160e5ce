/* Entries of indexes, and searching them when they are whole, and when they are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/log/index_file.h"
#include "libdmq/base/rng.h"
#include "tests/sim/simfs.h"

#define BASE 1000
#define ENTRIES 2000 /* more than one block of a search */

static struct simfs *disk;
static struct fs *fs;
static struct fs_file *file;
static struct err_msg msg;

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    fs = simfs_fs(disk);
    file = NULL;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    if (file != NULL) {
        fs->ops->close(file);
    }
    simfs_free(disk);
    return 0;
}

/* Entry i: offset BASE + 10 (i + 1) at 100 (i + 1). */
static void
make_index(size_t count)
{
    uint8_t *data = malloc(count * INDEX_ENTRY_SIZE + 1);
    for (size_t i = 0; i < count; i++) {
        index_entry_put(data + i * INDEX_ENTRY_SIZE, BASE,
                        (struct index_entry){BASE + 10 * (int64_t)(i + 1), 100 * (i + 1)});
    }
    simfs_put_file(disk, "/i", bytes_of(data, count * INDEX_ENTRY_SIZE));
    free(data);
    assert_int_equal(fs->ops->open(fs, "/i", FS_READ, &file), 0);
}

static void
make_times(size_t count)
{
    uint8_t *data = malloc(count * TIME_ENTRY_SIZE + 1);
    for (size_t i = 0; i < count; i++) {
        time_entry_put(data + i * TIME_ENTRY_SIZE, BASE,
                       (struct time_entry){50 + 7 * (int64_t)i, BASE + (int64_t)i});
    }
    simfs_put_file(disk, "/i", bytes_of(data, count * TIME_ENTRY_SIZE));
    free(data);
    assert_int_equal(fs->ops->open(fs, "/i", FS_READ, &file), 0);
}

static struct index_entry
find(int64_t offset)
{
    struct index_entry entry = {-1, 0};
    assert_int_equal(index_file_find(fs, file, BASE, offset, &entry, &msg), DMQ_OK);
    return entry;
}

static void
entries_carry_a_check(void **state)
{
    (void)state;
    uint8_t bytes[TIME_ENTRY_SIZE];
    struct index_entry index;
    struct time_entry time;
    index_entry_put(bytes, BASE, (struct index_entry){BASE + 5, 77});
    assert_true(index_entry_get(bytes, BASE, &index));
    assert_int_equal(index.offset, BASE + 5);
    assert_int_equal(index.pos, 77);
    assert_false(index_entry_get(bytes, BASE + 1, &index)); /* another segment's */
    for (unsigned bit = 0; bit < INDEX_ENTRY_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(index_entry_get(bytes, BASE, &index));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    time_entry_put(bytes, BASE, (struct time_entry){-1, BASE});
    assert_true(time_entry_get(bytes, BASE, &time));
    assert_int_equal(time.timestamp, -1);
    for (unsigned bit = 0; bit < TIME_ENTRY_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(time_entry_get(bytes, BASE, &time));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    memset(bytes, 0, sizeof(bytes)); /* what a file's lost page reads as */
    assert_false(index_entry_get(bytes, 0, &index));
    assert_false(time_entry_get(bytes, 0, &time));
}

static void
the_entry_at_or_before_an_offset_is_found(void **state)
{
    (void)state;
    make_index(ENTRIES);
    assert_int_equal(find(BASE).pos, 0);
    assert_int_equal(find(BASE + 9).pos, 0);
    for (int64_t offset = BASE + 10; offset < BASE + 10 * ENTRIES + 50; offset += 3) {
        int64_t i = (offset - BASE) / 10;
        i = i < ENTRIES ? i : ENTRIES;
        assert_int_equal(find(offset).offset, BASE + 10 * i);
        assert_int_equal(find(offset).pos, 100 * i);
    }
}

static void
the_entry_before_a_timestamp_is_found(void **state)
{
    (void)state;
    struct time_entry entry;
    make_times(ENTRIES);
    for (int64_t t = 0; t < 50 + 7 * ENTRIES + 20; t++) {
        assert_int_equal(time_file_find(fs, file, BASE, t, &entry, &msg), DMQ_OK);
        int64_t i = t <= 50 ? -1 : (t - 50 - 1) / 7;
        i = i < ENTRIES ? i : ENTRIES - 1;
        assert_int_equal(entry.timestamp, i < 0 ? -1 : 50 + 7 * i);
        assert_int_equal(entry.offset, i < 0 ? BASE : BASE + i);
    }
}

static void
a_missing_or_short_index_has_no_answer(void **state)
{
    (void)state;
    struct index_entry entry;
    assert_int_equal(index_file_find(fs, NULL, BASE, BASE + 500, &entry, &msg), DMQ_OK);
    assert_true(entry.offset == BASE && entry.pos == 0);
    simfs_put_file(disk, "/i", bytes_str("too short"));
    assert_int_equal(fs->ops->open(fs, "/i", FS_READ, &file), 0);
    assert_true(find(BASE + 500).pos == 0);
    simfs_fail(disk, SIMFS_PREAD, 5, 0, 1);
    assert_int_equal(index_file_find(fs, file, BASE, BASE, &entry, &msg), DMQ_ERR_IO);
}

/* An answer may lie further ahead than it must, never behind what is looked for, and is a true
 * entry. */
static void
rotten_entries_cost_only_time(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    make_index(ENTRIES);
    size_t exact = 0;
    size_t far = 0;
    for (int round = 0; round < 300; round++) {
        uint64_t pos = rng_below(&rng, ENTRIES * INDEX_ENTRY_SIZE);
        assert_true(simfs_flip(disk, "/i", pos, 0));
        for (int i = 0; i < 20; i++) {
            int64_t offset = BASE + (int64_t)rng_below(&rng, 10 * ENTRIES);
            struct index_entry entry = find(offset);
            assert_true(entry.offset <= offset);
            assert_int_equal(entry.pos, 10 * (entry.offset - BASE));
            exact += offset - entry.offset < 10 ? 1 : 0;
            far += offset - entry.offset > 200 ? 1 : 0;
        }
    }
    assert_true(exact > 4000); /* of 6000 */
    assert_int_equal(far, 0);  /* the sound neighbour of a bad entry does */
}

static void
a_builder_gives_entries_by_bytes(void **state)
{
    (void)state;
    struct index_builder builder;
    struct batch_header header = {.size = 60, .base_offset = 0, .max_timestamp = 5};
    index_builder_init(&builder, 0, 100);
    static const bool expected[] = {false, false, true, false, true};
    for (int64_t i = 0; i < 5; i++) {
        header.base_offset = i;
        header.max_timestamp = i < 3 ? 5 : 4; /* no new largest one: no time entry */
        struct index_verdict verdict = index_builder_note(&builder, &header);
        assert_int_equal(verdict.indexed, expected[i]);
        assert_int_equal(verdict.time_indexed, i == 2);
    }
    assert_int_equal(builder.entries, 2);
    assert_int_equal(builder.max_timestamp, 5);
    assert_int_equal(builder.max_timestamp_offset, 0); /* the first that has it */
    assert_false(index_builder_finish(&builder));
    header.max_timestamp = 9;
    header.base_offset = 5;
    index_builder_note(&builder, &header);
    assert_true(index_builder_finish(&builder));
    assert_false(index_builder_finish(&builder));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(entries_carry_a_check),
        TEST(the_entry_at_or_before_an_offset_is_found),
        TEST(the_entry_before_a_timestamp_is_found),
        TEST(a_missing_or_short_index_has_no_answer),
        TEST(rotten_entries_cost_only_time),
        TEST(a_builder_gives_entries_by_bytes),
    };
    return cmocka_run_group_tests_name("index_file", tests, NULL, NULL);
}
