/* Writes over the simulator's disk and store, with the power failing at every boundary of each: the
 * next start has all of the write, or nothing of it if LevelDB had not, and never finds damage; and
 * whatever LevelDB loses of what was synced, it does. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/store/raft_store.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/simfs.h"
#include "tests/sim/simkv.h"
#include "tests/support/mem_kv.h"
#include "tests/support/raft_writes.h"

#define DIR "/data"
#define SEEDS 60
#define WRITES 14
#define TEARS 3

/* A node's disk. */
struct world {
    struct simkv *kv;
    struct simfs *disk;
};

struct counts {
    int lost;      /* crashes that left nothing of the write */
    int kept;      /* that left it, though it was not done */
    int done;      /* after it was */
    int in_load;   /* crashes of the start after the crash */
    int rewritten; /* the copy was behind */
    int dropped;   /* of what was synced, and found */
};

static struct err_msg err;

static void
new_world(struct world *world)
{
    world->kv = simkv_new();
    world->disk = simfs_new(1);
    simfs_make_folder(world->disk, DIR);
}

static void
free_world(struct world *world)
{
    simkv_free(world->kv);
    simfs_free(world->disk);
}

static struct world
clone_world(const struct world *world)
{
    return (struct world){simkv_clone(world->kv), simfs_clone(world->disk)};
}

static dmq_err
start(struct world *world, bool create, struct raft_store **ret_store, struct raft_saved *ret_saved)
{
    *ret_store = raft_store_new(simkv_open(world->kv), simfs_fs(world->disk), DIR, create);
    return raft_store_load(*ret_store, ret_saved, &err);
}

/* Starts what must start. */
static struct raft_store *
start_well(struct world *world)
{
    struct raft_store *store;
    struct raft_saved saved;
    assert_int_equal(start(world, true, &store, &saved), DMQ_OK);
    raft_saved_free(&saved);
    return store;
}

static char *
text_of(const struct raft_saved *saved)
{
    struct outbuf out = {0};
    raft_saved_text(saved, &out);
    outbuf_put(&out, "", 1);
    assert_false(out.failed);
    return (char *)out.data;
}

static char *
text_of_disk(const struct raft_disk *disk)
{
    struct raft_saved saved = raft_disk_saved(disk);
    return text_of(&saved);
}

/* The folder belongs to a cluster: nothing missing would be made. */
static void
assert_starts_with(struct world *world, const char *expected)
{
    struct raft_store *store;
    struct raft_saved saved;
    dmq_err failed = start(world, false, &store, &saved);
    if (failed != DMQ_OK) {
        print_error("%s\n", err.text);
    }
    assert_int_equal(failed, DMQ_OK);
    char *text = text_of(&saved);
    assert_string_equal(text, expected);
    free(text);
    raft_saved_free(&saved);
    raft_store_close(store);
}

static void
crash(struct world *world, int variant)
{
    enum simfs_crash how = variant == 0 ? SIMFS_LOSE : variant == 1 ? SIMFS_KEEP : SIMFS_TEAR;
    simkv_crash(world->kv, (uint64_t)variant);
    simfs_crash(world->disk, how, (uint64_t)variant);
}

/* Every crash of this moment, and then every crash of the start that follows. */
static void
check_crashes(const struct world *world, const char *expected, struct counts *counts)
{
    for (int variant = 0; variant < 2 + TEARS; variant++) {
        struct world after = clone_world(world);
        crash(&after, variant);
        for (uint64_t at = 0, died = 1; died; at++) {
            struct world again = clone_world(&after);
            struct raft_store *store;
            struct raft_saved saved;
            simfs_die_after(again.disk, at);
            dmq_err failed = start(&again, false, &store, &saved);
            died = failed != DMQ_OK;
            assert_true(!died || failed == DMQ_ERR_IO);
            counts->in_load += died ? 1 : 0;
            if (!died) {
                raft_saved_free(&saved);
            }
            raft_store_close(store);
            crash(&again, variant);
            assert_starts_with(&again, expected);
            free_world(&again);
        }
        free_world(&after);
    }
}

/* LevelDB does not get it, then it does and the second copy stops anywhere. */
static void
crash_everywhere(const struct world *world, const struct raft_persist *write, const char *before,
                 const char *after, struct counts *counts)
{
    struct world copy = clone_world(world);
    struct raft_store *store = start_well(&copy);
    simkv_die_after(copy.kv, 0);
    assert_int_equal(raft_store_write(store, write), DMQ_ERR_IO);
    assert_int_equal(raft_store_write(store, write), DMQ_ERR_IO);
    raft_store_close(store);
    check_crashes(&copy, before, counts);
    counts->lost++;
    free_world(&copy);
    bool died = true;
    for (uint64_t at = 0; died; at++) {
        copy = clone_world(world);
        store = start_well(&copy);
        simfs_die_after(copy.disk, at);
        died = raft_store_write(store, write) != DMQ_OK;
        counts->kept += died ? 1 : 0;
        counts->done += died ? 0 : 1;
        raft_store_close(store);
        check_crashes(&copy, after, counts);
        free_world(&copy);
    }
}

/* Rows that nobody needs any more are gone. */
static void
assert_row_count(const struct world *world, const struct raft_disk *disk)
{
    size_t rows = 1 + (size_t)disk->count;
    if (disk->snapshot.members.count > 0) {
        rows += 1; /* the founding list, or a snapshot of one piece */
        rows += disk->snapshot.data != NULL && disk->snapshot.data->size > 0 ? 1 : 0;
    }
    assert_int_equal(simkv_rows(world->kv), rows);
}

/* Whatever the newest writes are that LevelDB has lost. */
static void
check_lost_tails(const struct world *world, int writes, struct counts *counts)
{
    for (int count = 1; count <= writes; count++) {
        struct world copy = clone_world(world);
        struct raft_store *store;
        struct raft_saved saved;
        simkv_drop_tail(copy.kv, (size_t)count);
        assert_int_equal(start(&copy, count % 2 == 0, &store, &saved), DMQ_ERR_DAMAGED);
        assert_non_null(strstr(err.text, "lost what was synced"));
        raft_store_close(store);
        counts->dropped++;
        free_world(&copy);
    }
}

static void
a_crash_anywhere_leaves_all_of_a_write_or_nothing(void **state)
{
    (void)state;
    struct counts counts = {0};
    int64_t cut_off = 0, lowered = 0, compacted = 0, installed = 0, founded = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        struct raft_writes writes;
        new_world(&world);
        raft_writes_init(&writes, seed, 900);
        raft_store_close(start_well(&world));
        for (int i = 0; i < WRITES; i++) {
            char *before = text_of_disk(&writes.disk);
            struct raft_persist *write = raft_writes_next(&writes);
            char *after = text_of_disk(&writes.disk);
            crash_everywhere(&world, write, before, after, &counts);
            struct raft_store *store = start_well(&world);
            assert_int_equal(raft_store_write(store, write), DMQ_OK);
            raft_store_close(store);
            assert_row_count(&world, &writes.disk);
            raft_persist_free(write);
            free(before);
            free(after);
        }
        check_lost_tails(&world, WRITES, &counts);
        cut_off += writes.cut_off;
        lowered += writes.lowered;
        compacted += writes.compacted;
        installed += writes.installed;
        founded += writes.founded;
        raft_writes_deinit(&writes);
        free_world(&world);
    }
    print_message("%d lost, %d kept, %d done, %d in a start, %d dropped; %d cut off, %d lowered, "
                  "%d compacted, %d installed, %d founded\n",
                  counts.lost, counts.kept, counts.done, counts.in_load, counts.dropped,
                  (int)cut_off, (int)lowered, (int)compacted, (int)installed, (int)founded);
    assert_true(counts.lost > 0 && counts.kept > 0 && counts.done > 0 && counts.in_load > 0);
    assert_true(counts.dropped > 0 && cut_off > 0 && lowered > 0 && compacted > 0);
    assert_true(installed > 0 && founded > 0);
}

/* The power fails while the store is made: it is made again. In a folder that belongs to a cluster
 * what is half made is damage: it might be what is left of a whole one. */
static void
a_crash_while_it_is_made_is_made_good(void **state)
{
    (void)state;
    const struct raft_disk nothing = {0};
    char *empty = text_of_disk(&nothing);
    int refused = 0;
    bool died = true;
    for (uint64_t at = 0; died; at++) {
        for (int variant = 0; variant < 2 + TEARS; variant++) {
            struct world world;
            struct raft_store *store;
            struct raft_saved saved;
            new_world(&world);
            simfs_die_after(world.disk, at);
            died = start(&world, true, &store, &saved) != DMQ_OK;
            raft_store_close(store);
            crash(&world, variant);
            struct world other = clone_world(&world);
            refused += start(&other, false, &store, &saved) == DMQ_ERR_DAMAGED;
            raft_store_close(store);
            free_world(&other);
            raft_store_close(start_well(&world));
            assert_starts_with(&world, empty);
            free_world(&world);
        }
    }
    assert_true(refused > 0);
    free(empty);
}

/* ---- a disk that fails without a crash ------------------------------------------------------- */

struct fault {
    enum simfs_call call;
    int error;
};

/* A write that fails, and is there all the same at the next start: LevelDB had it. */
static void
fail_write(struct world *world, struct raft_writes *writes, const struct fault *fault)
{
    struct raft_store *store = start_well(world);
    struct raft_persist *write = raft_writes_next(writes);
    simfs_fail(world->disk, fault->call, fault->error, 0, 1);
    assert_int_equal(raft_store_write(store, write), DMQ_ERR_IO);
    assert_int_equal(raft_store_write(store, write), DMQ_ERR_IO); /* though it would go */
    raft_persist_free(write);
    raft_store_close(store);
}

/* The process ends after a failed sync, the kernel goes on: reads show a slot that is not on the
 * disk. A start that believed them would write the other slot next, and a power failure then would
 * leave none that fits. */
static void
a_failed_write_ends_the_store_until_it_is_opened_again(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {SIMFS_DATASYNC, EIO}, {SIMFS_PWRITEV, EIO}, {SIMFS_PWRITEV, ENOSPC}};
    for (int i = 0; i < 3 * (2 + TEARS); i++) {
        struct world world;
        struct raft_writes writes;
        new_world(&world);
        raft_writes_init(&writes, 11, 900);
        struct raft_store *store = start_well(&world);
        for (int k = 0; k < 4; k++) {
            struct raft_persist *write = raft_writes_next(&writes);
            assert_int_equal(raft_store_write(store, write), DMQ_OK);
            raft_persist_free(write);
        }
        raft_store_close(store);
        fail_write(&world, &writes, &faults[i % 3]);
        char *text = text_of_disk(&writes.disk);
        assert_starts_with(&world, text);
        free(text);
        store = start_well(&world);
        struct raft_persist *write = raft_writes_next(&writes);
        simfs_die_after(world.disk, 1); /* written, not synced */
        assert_int_equal(raft_store_write(store, write), DMQ_ERR_IO);
        raft_persist_free(write);
        raft_store_close(store);
        crash(&world, i / 3);
        text = text_of_disk(&writes.disk);
        assert_starts_with(&world, text);
        free(text);
        raft_writes_deinit(&writes);
        free_world(&world);
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void
assert_row(const struct mem_kv *mem, size_t index, const char *key, const void *value, size_t size)
{
    assert_true(index < mem->count);
    assert_true(bytes_equal_str(bytes_of(mem->rows[index].key, mem->rows[index].key_size), key));
    assert_int_equal(mem->rows[index].value_size, size);
    assert_memory_equal(mem->rows[index].value, value, size);
}

/* What FORMAT.md shows. */
static void
the_rows_of_the_format(void **state)
{
    (void)state;
    uint8_t members[] = {0x96, 0,    0,    0,    0x91, 0x93, 1,    0xc4, 0x10, 0xaa,
                         0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
                         0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xc3, 0,    0};
    uint8_t state_row[] = {0x97, 0, 0, 0x92, 0, 0xc4, 0x10, 0, 0, 0, 0, 0, 0, 0,
                           0,    0, 0, 0,    0, 0,    0,    0, 0, 0, 0, 0, 1};
    struct simfs *disk = simfs_new(1);
    struct mem_kv mem;
    struct raft_saved saved;
    struct raft_snapshot founding = {.members = {1, {{{.node = 1}, true}}}};
    memset(founding.members.at[0].id.disk.b, 0xaa, 16);
    mem_kv_init(&mem);
    simfs_make_folder(disk, DIR);
    struct raft_store *store = raft_store_new(&mem.kv, simfs_fs(disk), DIR, true);
    assert_int_equal(raft_store_load(store, &saved, &err), DMQ_OK);
    const struct raft_persist write = {.from = 1, .snapshot = &founding};
    assert_int_equal(raft_store_write(store, &write), DMQ_OK);
    assert_int_equal(mem.count, 2);
    assert_row(&mem, 0, "snapshot", members, sizeof(members));
    assert_row(&mem, 1, "state", state_row, sizeof(state_row));
    raft_store_close(store);
    mem_kv_deinit(&mem);
    simfs_free(disk);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_anywhere_leaves_all_of_a_write_or_nothing),
        cmocka_unit_test(a_crash_while_it_is_made_is_made_good),
        cmocka_unit_test(a_failed_write_ends_the_store_until_it_is_opened_again),
        cmocka_unit_test(the_rows_of_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
