/* The store over LevelDB, as the daemon has it: what is written comes back, and what a start finds
 * damaged. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/store/raft_store.h"
#include "libdmq/base/rng.h"
#include "libdmq/os/fs_posix.h"
#include "tests/support/raft_writes.h"
#include "tests/support/tempdir.h"

static struct tempdir dir;
static struct err_msg err;

static int
setup(void **state)
{
    (void)state;
    tempdir_make(&dir);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tempdir_remove(&dir);
    return 0;
}

/* Opens and loads what is in path; *ret_saved only if DMQ_OK, and then the store is open. */
static dmq_err
open_and_load(const char *path, bool create, struct raft_store **ret_store,
              struct raft_saved *ret_saved)
{
    dmq_err failed = raft_store_open(fs_posix(), path, create, ret_store, &err);
    if (failed != DMQ_OK) {
        return failed;
    }
    failed = raft_store_load(*ret_store, ret_saved, &err);
    if (failed != DMQ_OK) {
        raft_store_close(*ret_store);
    }
    return failed;
}

static void
assert_same(const struct raft_saved *saved, const struct raft_disk *disk)
{
    struct outbuf got = {0}, want = {0};
    struct raft_saved model = raft_disk_saved(disk);
    raft_saved_text(saved, &got);
    raft_saved_text(&model, &want);
    outbuf_put(&got, "", 1);
    outbuf_put(&want, "", 1);
    assert_string_equal((const char *)got.data, (const char *)want.data);
    outbuf_deinit(&got);
    outbuf_deinit(&want);
}

/* Opens path, which must hold what disk says, and closes it again. */
static void
assert_holds(const char *path, const struct raft_disk *disk)
{
    struct raft_store *store;
    struct raft_saved saved;
    dmq_err failed = open_and_load(path, false, &store, &saved);
    if (failed != DMQ_OK) {
        print_error("%s\n", err.text);
    }
    assert_int_equal(failed, DMQ_OK);
    assert_same(&saved, disk);
    raft_saved_free(&saved);
    raft_store_close(store);
}

/* A store at path with `count` writes, closed. */
static void
make_store(const char *path, struct raft_writes *writes, int count)
{
    struct raft_store *store;
    struct raft_saved saved;
    assert_int_equal(open_and_load(path, true, &store, &saved), DMQ_OK);
    raft_saved_free(&saved);
    for (int i = 0; i < count; i++) {
        struct raft_persist *write = raft_writes_next(writes);
        assert_int_equal(raft_store_write(store, write), DMQ_OK);
        raft_persist_free(write);
    }
    raft_store_close(store);
}

/* ---- what is written comes back -------------------------------------------------------------- */

static void
a_new_store_is_all_zero(void **state)
{
    (void)state;
    struct raft_store *store;
    struct raft_saved saved;
    const struct raft_disk nothing = {0};
    assert_int_equal(open_and_load(dir.path, true, &store, &saved), DMQ_OK);
    assert_null(saved.entries);
    assert_same(&saved, &nothing);
    raft_store_close(store);
    assert_holds(dir.path, &nothing);
}

static void
writes_come_back_after_every_restart(void **state)
{
    (void)state;
    struct raft_writes writes;
    raft_writes_init(&writes, 7, 3000);
    make_store(dir.path, &writes, 1);
    for (int i = 0; i < 25; i++) {
        make_store(dir.path, &writes, i % 7);
        assert_holds(dir.path, &writes.disk);
    }
    print_message("%d appended, %d cut off, %d compacted, %d installed, %d votes\n",
                  (int)writes.appended, (int)writes.cut_off, (int)writes.compacted,
                  (int)writes.installed, (int)writes.votes);
    assert_true(writes.appended > 0 && writes.cut_off > 0 && writes.compacted > 0);
    assert_true(writes.installed > 0 && writes.votes > 0);
    raft_writes_deinit(&writes);
}

/* Pieces of 1 MiB: none, exactly one, more, and fewer than the one before. */
static void
a_snapshot_of_many_pieces_replaces_a_larger_one(void **state)
{
    (void)state;
    const size_t sizes[] = {3000000, (size_t)1 << 20, ((size_t)2 << 20) + 1, 0, 5};
    struct raft_disk disk = {0};
    struct raft_snapshot snapshot = {.term = 1, .members = {1, {{raft_test_id(1, 1), true}}}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct raft_store *store;
        struct raft_saved saved;
        snapshot.index = (int64_t)i + 1;
        snapshot.data = buf_new(sizes[i]);
        assert_non_null(snapshot.data);
        memset(snapshot.data->data, (int)i + 1, sizes[i]);
        const struct raft_persist write = {.seq = i + 1,
                                           .term = 1,
                                           .from = snapshot.index + 1,
                                           .prev_index = snapshot.index,
                                           .prev_term = 1,
                                           .snapshot = &snapshot};
        assert_int_equal(open_and_load(dir.path, i == 0, &store, &saved), DMQ_OK);
        raft_saved_free(&saved);
        assert_int_equal(raft_store_write(store, &write), DMQ_OK);
        raft_store_close(store);
        raft_disk_write(&disk, &write);
        buf_unref(snapshot.data);
        assert_holds(dir.path, &disk);
    }
    raft_disk_deinit(&disk);
}

/* The bytes that FORMAT.md shows of the second copy. */
static void
the_example_of_the_format(void **state)
{
    (void)state;
    static const uint8_t begins[] = {0x44, 0x4d, 0x51, 0x51, 0x55, 0x4f, 0x52, 0x4d, 0, 0,
                                     0,    0,    0,    0,    0,    0,    0,    0,    0, 1};
    static const uint8_t ends[] = {0xf5, 0x3d, 0x29, 0xa7};
    struct raft_store *store;
    struct raft_saved saved;
    struct raft_snapshot founding = {.members = {1, {{{.node = 1}, true}}}};
    memset(founding.members.at[0].id.disk.b, 0xaa, 16);
    const struct raft_persist write = {.from = 1, .snapshot = &founding};
    assert_int_equal(open_and_load(dir.path, true, &store, &saved), DMQ_OK);
    assert_int_equal(raft_store_write(store, &write), DMQ_OK);
    raft_store_close(store);
    size_t size;
    uint8_t *file = file_read(tempdir_join(&dir, "quorum"), &size);
    assert_int_equal(size, 8192);
    assert_memory_equal(file + 4096, begins, sizeof(begins));
    for (size_t i = 0; i < 44; i++) {
        assert_int_equal(file[4096 + sizeof(begins) + i], 0);
    }
    assert_memory_equal(file + 4096 + 64, ends, sizeof(ends));
    free(file);
    assert_int_equal(open_and_load(dir.path, false, &store, &saved), DMQ_OK);
    assert_int_equal(saved.snapshot.members.count, 1);
    assert_int_equal(saved.snapshot.members.at[0].id.node, 1);
    assert_int_equal(saved.snapshot.index, 0);
    assert_null(saved.snapshot.data);
    raft_saved_free(&saved);
    raft_store_close(store);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void
what_is_missing_is_made_only_on_request(void **state)
{
    (void)state;
    struct raft_store *store;
    struct raft_saved saved;
    assert_int_equal(open_and_load(dir.path, false, &store, &saved), DMQ_ERR_DAMAGED);
    assert_int_equal(open_and_load(dir.path, true, &store, &saved), DMQ_OK);
    raft_store_close(store);
    assert_int_equal(unlink(tempdir_join(&dir, "quorum")), 0);
    assert_int_equal(open_and_load(dir.path, false, &store, &saved), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(err.text, "missing"));
    assert_int_equal(open_and_load(dir.path, true, &store, &saved), DMQ_OK);
    raft_store_close(store);
}

static void
copy_file(const char *from, const char *to)
{
    size_t size;
    void *data = file_read(from, &size);
    file_write(to, data, size);
    free(data);
}

/* A folder's files, and its store's; `to` is made. */
static void
copy_store(const char *from, const char *to)
{
    char a[300], b[300];
    DIR *folder = opendir(from);
    assert_non_null(folder);
    assert_int_equal(mkdir(to, 0700), 0);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        snprintf(a, sizeof(a), "%.60s/%.40s", from, entry->d_name);
        snprintf(b, sizeof(b), "%.60s/%.40s", to, entry->d_name);
        if (strcmp(entry->d_name, "store") == 0) {
            copy_store(a, b);
        } else if (entry->d_name[0] != '.') {
            copy_file(a, b);
        }
    }
    closedir(folder);
}

static void
remove_copy(const char *path)
{
    struct tempdir copy;
    snprintf(copy.path, sizeof(copy.path), "%s", path);
    tempdir_remove(&copy);
}

/* A copy with one thing changed is either refused, or as it was. */
struct outcomes {
    int refused;
    int unharmed;
};

static void
try_copy(const char *path, const struct raft_disk *disk, struct outcomes *outcomes)
{
    struct raft_store *store;
    struct raft_saved saved;
    dmq_err failed = open_and_load(path, false, &store, &saved);
    if (failed == DMQ_OK) {
        assert_same(&saved, disk);
        raft_saved_free(&saved);
        raft_store_close(store);
        outcomes->unharmed++;
    } else {
        assert_true(failed == DMQ_ERR_DAMAGED || failed == DMQ_ERR_IO);
        assert_true(err.text[0] != '\0');
        outcomes->refused++;
    }
    remove_copy(path);
}

static void
change_byte(const char *file, size_t pos, uint8_t mask)
{
    size_t size;
    uint8_t *data = file_read(file, &size);
    assert_true(pos < size);
    data[pos] ^= mask;
    file_write(file, data, size);
    free(data);
}

/* The largest file of LevelDB whose name ends so. */
static size_t
find_file(const char *base, const char *suffix, char ret_name[64])
{
    char path[300];
    size_t largest = 0;
    snprintf(path, sizeof(path), "%s/store", base);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct stat st;
        const char *found = strstr(entry->d_name, suffix);
        snprintf(path, sizeof(path), "%s/store/%.60s", base, entry->d_name);
        if (found != NULL && stat(path, &st) == 0 && (size_t)st.st_size > largest) {
            largest = (size_t)st.st_size;
            snprintf(ret_name, 64, "store/%.50s", entry->d_name);
        }
    }
    closedir(folder);
    return largest;
}

static void
a_flipped_bit_anywhere_is_found(void **state)
{
    (void)state;
    static const char *const kinds[] = {".log", ".ldb", "MANIFEST"};
    char base[80], copy[80], file[200], name[64];
    struct raft_writes writes;
    struct rng rng;
    snprintf(base, sizeof(base), "%s/a", dir.path);
    snprintf(copy, sizeof(copy), "%s/b", dir.path);
    assert_int_equal(mkdir(base, 0700), 0);
    raft_writes_init(&writes, 3, 2000);
    make_store(base, &writes, 30);
    make_store(base, &writes, 30); /* the first ones are in a table now */
    rng_init(&rng, 1);
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        struct outcomes outcomes = {0, 0};
        size_t size = find_file(base, kinds[kind], name);
        assert_true(size > 0);
        for (int i = 0; i < 25; i++) {
            copy_store(base, copy);
            snprintf(file, sizeof(file), "%s/%s", copy, name);
            change_byte(file, (size_t)rng_below(&rng, size), (uint8_t)(1 << rng_below(&rng, 8)));
            try_copy(copy, &writes.disk, &outcomes);
        }
        print_message("%s: %d refused, %d unharmed\n", name, outcomes.refused, outcomes.unharmed);
        assert_true(outcomes.refused > 0);
    }
    raft_writes_deinit(&writes);
}

/* LevelDB takes a log that ends early for one that was torn: only the second copy knows more. */
static void
trap_a_log_that_looks_merely_short_is_damage(void **state)
{
    (void)state;
    char base[80], copy[80], file[200], name[64];
    struct raft_writes writes;
    struct outcomes outcomes = {0, 0};
    snprintf(base, sizeof(base), "%s/a", dir.path);
    snprintf(copy, sizeof(copy), "%s/b", dir.path);
    assert_int_equal(mkdir(base, 0700), 0);
    raft_writes_init(&writes, 4, 2000);
    make_store(base, &writes, 40);
    size_t size = find_file(base, ".log", name);
    assert_true(size > 0);
    for (size_t i = 0; i < 40; i++) {
        copy_store(base, copy);
        snprintf(file, sizeof(file), "%s/%s", copy, name);
        assert_int_equal(truncate(file, (off_t)(size * i / 40)), 0);
        try_copy(copy, &writes.disk, &outcomes);
    }
    assert_int_equal(outcomes.refused, 40);
    raft_writes_deinit(&writes);
}

static void
a_damaged_second_copy_is_found(void **state)
{
    (void)state;
    char base[80], copy[80], file[200];
    struct raft_writes writes;
    struct outcomes one = {0, 0}, both = {0, 0};
    snprintf(base, sizeof(base), "%s/a", dir.path);
    snprintf(copy, sizeof(copy), "%s/b", dir.path);
    snprintf(file, sizeof(file), "%s/b/quorum", dir.path);
    assert_int_equal(mkdir(base, 0700), 0);
    raft_writes_init(&writes, 5, 2000);
    make_store(base, &writes, 11);
    for (size_t at = 0; at < 68; at += 3) {
        for (size_t slot = 0; slot < 2; slot++) { /* one slot: as if the power had failed in it */
            copy_store(base, copy);
            change_byte(file, slot * 4096 + at, 1);
            try_copy(copy, &writes.disk, &one);
        }
        copy_store(base, copy);
        change_byte(file, at, 1);
        change_byte(file, 4096 + at, 1);
        try_copy(copy, &writes.disk, &both);
    }
    assert_int_equal(one.refused, 0);
    assert_int_equal(both.unharmed, 0);
    raft_writes_deinit(&writes);
}

static void
a_lost_or_foreign_second_copy_is_found(void **state)
{
    (void)state;
    char base[80], copy[80], file[200];
    struct raft_writes writes;
    struct outcomes outcomes = {0, 0};
    size_t size;
    snprintf(base, sizeof(base), "%s/a", dir.path);
    snprintf(copy, sizeof(copy), "%s/b", dir.path);
    snprintf(file, sizeof(file), "%s/b/quorum", dir.path);
    assert_int_equal(mkdir(base, 0700), 0);
    raft_writes_init(&writes, 6, 2000);
    make_store(base, &writes, 11);
    copy_store(base, copy);
    assert_int_equal(unlink(file), 0);
    try_copy(copy, &writes.disk, &outcomes);
    copy_store(base, copy);
    assert_int_equal(truncate(file, 0), 0);
    try_copy(copy, &writes.disk, &outcomes);
    copy_store(base, copy); /* the slots in each other's place */
    uint8_t *data = file_read(file, &size);
    uint8_t *swapped = malloc(size);
    memcpy(swapped, data + 4096, 4096);
    memcpy(swapped + 4096, data, 4096);
    file_write(file, swapped, size);
    try_copy(copy, &writes.disk, &outcomes);
    make_store(base, &writes, 2); /* that of two writes ago */
    copy_store(base, copy);
    file_write(file, data, size);
    try_copy(copy, &writes.disk, &outcomes);
    assert_int_equal(outcomes.refused, 4);
    assert_int_equal(outcomes.unharmed, 0);
    free(data);
    free(swapped);
    raft_writes_deinit(&writes);
}

static void
a_lost_store_is_not_made_anew(void **state)
{
    (void)state;
    struct raft_store *store;
    struct raft_saved saved;
    struct raft_writes writes;
    raft_writes_init(&writes, 8, 2000);
    make_store(dir.path, &writes, 5);
    remove_copy(tempdir_join(&dir, "store"));
    assert_int_equal(open_and_load(dir.path, false, &store, &saved), DMQ_ERR_DAMAGED);
    assert_int_equal(open_and_load(dir.path, true, &store, &saved), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(err.text, "0 writes"));
    raft_writes_deinit(&writes);
}

static void
a_store_is_opened_once(void **state)
{
    (void)state;
    struct raft_store *first, *second;
    assert_int_equal(raft_store_open(fs_posix(), dir.path, true, &first, &err), DMQ_OK);
    assert_int_equal(raft_store_open(fs_posix(), dir.path, true, &second, &err), DMQ_ERR_LOCKED);
    raft_store_close(first);
    raft_store_close(NULL);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_new_store_is_all_zero),
        T(writes_come_back_after_every_restart),
        T(a_snapshot_of_many_pieces_replaces_a_larger_one),
        T(the_example_of_the_format),
        T(what_is_missing_is_made_only_on_request),
        T(a_flipped_bit_anywhere_is_found),
        T(trap_a_log_that_looks_merely_short_is_damage),
        T(a_damaged_second_copy_is_found),
        T(a_lost_or_foreign_second_copy_is_found),
        T(a_lost_store_is_not_made_anew),
        T(a_store_is_opened_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
