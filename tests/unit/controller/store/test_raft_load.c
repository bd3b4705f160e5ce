/* Rows that cannot be together are found, each with its sentence; no number in a row is believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/store/raft_store.h"
#include "controller/store/second_copy.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/simfs.h"
#include "tests/support/mem_kv.h"
#include "tests/support/raft_disk.h"

#define DIR "/data"
#define MIB ((size_t)1 << 20)

static struct mem_kv mem;
static struct simfs *disk;
static struct err_msg err;

/* A log of entries 4..7 of terms 2 2 3 3 after 3.2, and a snapshot of 4.2 in two pieces. */
static const struct raft_state_row good_state = {
    .term = 3, .vote = {.node = 1}, .commit = 6, .prev_index = 3, .prev_term = 2, .writes = 1};

static int
setup(void **state)
{
    (void)state;
    mem_kv_init(&mem);
    disk = simfs_new(1);
    simfs_make_folder(disk, DIR);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mem_kv_deinit(&mem);
    simfs_free(disk);
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void
put(struct bytes key, struct bytes value)
{
    const struct kv_op op = {.key = key, .value = value};
    assert_int_equal(mem.kv.ops->write(&mem.kv, &op, 1, true), DMQ_OK);
}

static void
drop(struct bytes key)
{
    const struct kv_op op = {.key = key, .remove = true};
    assert_int_equal(mem.kv.ops->write(&mem.kv, &op, 1, true), DMQ_OK);
}

static void
put_row(struct bytes key, const struct struct_desc *desc, const void *row)
{
    struct buf *value = msg_encode_buf(desc, 0, row);
    assert_non_null(value);
    put(key, buf_bytes(value));
    buf_unref(value);
}

/* Static, one at a time. */
static struct bytes
entry_key(int64_t index)
{
    static uint8_t key[14] = "entry/";
    put_be64(key + 6, (uint64_t)index);
    return bytes_of(key, sizeof(key));
}

static struct bytes
chunk_key(uint32_t number)
{
    static uint8_t key[13] = "snapshot/";
    put_be32(key + 9, number);
    return bytes_of(key, sizeof(key));
}

static void
put_state(const struct raft_state_row *row)
{
    put_row(bytes_str("state"), desc_raft_state_row(), row);
}

static void
put_entry(int64_t index, int64_t term, int kind, struct bytes payload)
{
    const struct raft_entry_row row = {.item = {term, (int8_t)kind, payload}};
    put_row(entry_key(index), desc_raft_entry_row(), &row);
}

static struct raft_snapshot_row
good_snapshot(void)
{
    static struct raft_seat seats[2] = {{.node = 1, .voter = true}, {.node = 2, .voter = true}};
    static uint8_t data[MIB + 10];
    return (struct raft_snapshot_row){.index = 4,
                                      .term = 2,
                                      .members = seats,
                                      .members_count = 2,
                                      .size = sizeof(data),
                                      .crc = crc32c(0, data, sizeof(data))};
}

static void
put_snapshot(const struct raft_snapshot_row *row)
{
    put_row(bytes_str("snapshot"), desc_raft_snapshot_row(), row);
}

static void
put_good_rows(void)
{
    static const uint8_t zeroes[MIB];
    const struct raft_snapshot_row snapshot = good_snapshot();
    struct raft_members members = {1, {{raft_test_id(1, 1), true}}};
    struct buf *list = raft_members_encode(&members);
    put_entry(4, 2, RAFT_ENTRY_NOOP, bytes_str(""));
    put_entry(5, 2, RAFT_ENTRY_MEMBERS, buf_bytes(list));
    put_entry(6, 3, RAFT_ENTRY_NOOP, bytes_str(""));
    put_entry(7, 3, RAFT_ENTRY_DATA, bytes_str(""));
    buf_unref(list);
    put_snapshot(&snapshot);
    put(chunk_key(0), bytes_of(zeroes, MIB));
    put(chunk_key(1), bytes_of(zeroes, 10));
    put_state(&good_state);
}

/* ---- loading --------------------------------------------------------------------------------- */

static const struct second_copy_values good_copy = {
    .writes = 1, .term = 3, .vote = {.node = 1}, .last_index = 7, .last_term = 3};

static dmq_err
load_beside(const struct second_copy_values *values, struct raft_saved *ret_saved)
{
    struct second_copy copy;
    second_copy_init(&copy, simfs_fs(disk), DIR);
    assert_int_equal(second_copy_make(&copy, values, &err), DMQ_OK);
    second_copy_deinit(&copy);
    struct raft_store *store = raft_store_new(&mem.kv, simfs_fs(disk), DIR, false);
    dmq_err failed = raft_store_load(store, ret_saved, &err);
    raft_store_close(store);
    return failed;
}

static dmq_err
load(struct raft_saved *ret_saved)
{
    return load_beside(&good_copy, ret_saved);
}

static void
refused_as(dmq_err code, const char *text, int line)
{
    struct raft_saved saved;
    dmq_err failed = load(&saved);
    if (failed != code || strstr(err.text, text) == NULL) {
        fail_msg("line %d: %d %s", line, (int)failed, failed == DMQ_OK ? "" : err.text);
    }
    put_good_rows(); /* over what was changed; what was added, the case takes away */
    assert_int_equal(load(&saved), DMQ_OK);
    raft_saved_free(&saved);
}

#define REFUSED(text) refused_as(DMQ_ERR_DAMAGED, text, __LINE__)

static void
good_rows_are_taken(void **state)
{
    (void)state;
    struct raft_saved saved;
    put_good_rows();
    assert_int_equal(load(&saved), DMQ_OK);
    assert_int_equal(saved.term, 3);
    assert_int_equal(saved.vote.node, 1);
    assert_int_equal(saved.commit, 6);
    assert_int_equal(saved.prev_index, 3);
    assert_int_equal(saved.prev_term, 2);
    assert_int_equal(saved.count, 4);
    assert_int_equal(saved.entries[1].kind, RAFT_ENTRY_MEMBERS);
    assert_null(saved.entries[2].payload);
    assert_non_null(saved.entries[3].payload); /* empty is not none */
    assert_int_equal(saved.snapshot.data->size, MIB + 10);
    assert_int_equal(saved.snapshot.members.count, 2);
    raft_saved_free(&saved);
}

static void
holes_in_the_log_are_damage(void **state)
{
    (void)state;
    put_good_rows();
    drop(entry_key(4));
    REFUSED("should begin with entry 4, not with entry 5");
    drop(entry_key(6));
    REFUSED("entry 6 is missing, entry 7 is there");
    drop(entry_key(6));
    drop(entry_key(7));
    REFUSED("ends with entry 5, but entry 6 was committed");
    drop(entry_key(7)); /* that it was there, only the second copy knows */
    REFUSED("contradict");
}

static void
terms_that_fall_are_damage(void **state)
{
    (void)state;
    struct raft_state_row row = good_state;
    put_good_rows();
    put_entry(6, 1, RAFT_ENTRY_NOOP, bytes_str(""));
    REFUSED("term in the log");
    put_entry(4, 1, RAFT_ENTRY_NOOP, bytes_str("")); /* below that of what was dropped */
    REFUSED("term in the log");
    row.term = 2;
    put_state(&row);
    REFUSED("above the node's");
    put_entry(4, 0, RAFT_ENTRY_NOOP, bytes_str(""));
    REFUSED("entry 4 of the store is damaged");
    put_entry(4, INT64_MAX, RAFT_ENTRY_NOOP, bytes_str(""));
    REFUSED("entry 4 of the store is damaged");
}

static void
payloads_that_do_not_fit_their_kind_are_damage(void **state)
{
    (void)state;
    put_good_rows();
    put_entry(5, 2, RAFT_ENTRY_MEMBERS, bytes_str("xy"));
    REFUSED("does not fit its kind");
    put_entry(5, 2, RAFT_ENTRY_NOOP, bytes_str("x"));
    REFUSED("does not fit its kind");
    put_entry(5, 2, 3, bytes_str(""));
    REFUSED("does not fit its kind");
    put_entry(5, 2, -1, bytes_str(""));
    REFUSED("does not fit its kind");
    put(entry_key(5), bytes_str("\x92"));
    REFUSED("entry 5 of the store is damaged");
    put(entry_key(5), bytes_str(""));
    REFUSED("entry 5 of the store is damaged");
}

static void
states_that_cannot_be_are_damage(void **state)
{
    (void)state;
    put_good_rows();
    drop(bytes_str("state"));
    REFUSED("no state");
    struct raft_state_row row = good_state;
    row.commit = 8;
    put_state(&row);
    REFUSED("entry 8 was committed");
    row = good_state;
    row.commit = -1;
    put_state(&row);
    REFUSED("out of range");
    row = good_state;
    row.term = INT64_MAX;
    put_state(&row);
    REFUSED("out of range");
    row = good_state;
    row.writes = 0;
    put_state(&row);
    REFUSED("out of range");
    row = good_state;
    row.vote.node = 0;
    row.vote.disk.b[0] = 1; /* nobody has no disk */
    put_state(&row);
    REFUSED("out of range");
    row = good_state;
    row.prev_term = 0;
    put_state(&row);
    REFUSED("has no term");
    row = good_state;
    row.prev_index = 2;
    put_state(&row);
    REFUSED("should begin with entry 3");
    put(bytes_str("state"), bytes_str("\xc0"));
    REFUSED("the state of the store is damaged");
}

static void
snapshots_that_are_not_all_there_are_damage(void **state)
{
    (void)state;
    put_good_rows();
    drop(chunk_key(0));
    REFUSED("a piece");
    drop(chunk_key(1));
    REFUSED("not all there");
    put(chunk_key(1), bytes_str("0123456789")); /* zeroes before */
    REFUSED("checksum");
    put(chunk_key(1), bytes_str("012345678"));
    REFUSED("a piece");
    put(chunk_key(1), bytes_str("0123456789a"));
    REFUSED("a piece");
    put(chunk_key(2), bytes_str("x"));
    struct raft_saved saved;
    assert_int_equal(load(&saved), DMQ_ERR_DAMAGED);
    drop(chunk_key(2));
    drop(bytes_str("snapshot"));
    REFUSED("a piece");
}

/* Nothing is reserved for what a row merely states. */
static void
snapshot_rows_that_cannot_be_are_damage(void **state)
{
    (void)state;
    const int64_t sizes[] = {INT64_C(1) << 31, (INT64_C(1) << 31) + 1, INT64_MAX, -1};
    struct raft_snapshot_row row;
    put_good_rows();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        row = good_snapshot();
        row.size = sizes[i];
        put_snapshot(&row);
        REFUSED("");
    }
    row = good_snapshot();
    row.index = 2; /* before the log begins */
    put_snapshot(&row);
    REFUSED("do not meet");
    row.index = 8; /* beyond its end */
    put_snapshot(&row);
    REFUSED("do not meet");
    row = good_snapshot();
    row.term = 1;
    put_snapshot(&row);
    REFUSED("do not meet");
    row.term = 0;
    put_snapshot(&row);
    REFUSED("the snapshot of the store");
    row = good_snapshot();
    row.crc = -1;
    put_snapshot(&row);
    REFUSED("the snapshot of the store");
    drop(chunk_key(0));
    drop(chunk_key(1));
    drop(bytes_str("snapshot"));
    REFUSED("do not meet"); /* a log that begins later rests on one */
}

static void
members_that_cannot_be_are_damage(void **state)
{
    (void)state;
    struct raft_seat seats[13] = {{.node = 1, .voter = true}};
    struct raft_snapshot_row row = good_snapshot();
    row.members = seats;
    put_good_rows();
    row.members_count = 0;
    put_snapshot(&row);
    REFUSED("members");
    row.members_count = 13;
    for (int i = 0; i < 13; i++) {
        seats[i].node = i + 1;
    }
    put_snapshot(&row);
    REFUSED("members");
    row.members_count = 2;
    seats[1] = seats[0]; /* twice */
    put_snapshot(&row);
    REFUSED("members");
    seats[0].node = 0;
    row.members_count = 1;
    put_snapshot(&row);
    REFUSED("members");
    seats[0] = (struct raft_seat){.node = 1}; /* no voter */
    put_snapshot(&row);
    REFUSED("members");
}

/* The list of first voters, and a node that waits to be added. */
static void
a_founding_list_has_no_data(void **state)
{
    (void)state;
    struct raft_seat seat = {.node = 1, .voter = true};
    struct raft_snapshot_row row = {.members = &seat, .members_count = 1};
    struct raft_saved saved;
    put_snapshot(&row);
    assert_int_equal(load(&saved), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(err.text, "no state"));
    put_state(&(struct raft_state_row){.writes = 1});
    assert_int_equal(load(&saved), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(err.text, "contradict")); /* the rest is right */
    row.size = 1;
    put_snapshot(&row);
    assert_int_equal(load(&saved), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(err.text, "the snapshot of the store"));
    row.size = 0;
    row.crc = 1;
    put_snapshot(&row);
    assert_int_equal(load(&saved), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(err.text, "checksum"));
}

/* ---- the second copy ------------------------------------------------------------------------- */

struct beside {
    struct second_copy_values values;
    const char *refused; /* a part of the sentence; NULL: it is taken */
};

/* The store has 5 writes, term 3, a vote for node 1 with disk 0, and ends with 7.3. */
static void
the_second_copy_is_equal_or_one_write_behind(void **state)
{
    (void)state;
    static const struct beside cases[] = {
        {{5, 3, {.node = 1}, 7, 3}, NULL},
        {{5, 2, {.node = 1}, 7, 3}, "contradict"},
        {{5, 3, {.node = 2}, 7, 3}, "contradict"},
        {{5, 3, {1, {{1}}}, 7, 3}, "contradict"},
        {{5, 3, {.node = 0}, 7, 3}, "contradict"},
        {{5, 3, {.node = 1}, 8, 3}, "contradict"},
        {{5, 3, {.node = 1}, 7, 2}, "contradict"},
        {{4, 3, {.node = 1}, 6, 3}, NULL},
        {{4, 3, {.node = 0}, 7, 3}, NULL},         /* it voted */
        {{4, 2, {.node = 2}, 7, 2}, NULL},         /* a new term, and it voted */
        {{4, 3, {.node = 1}, 9, 3}, NULL},         /* entries were replaced by fewer, */
        {{4, 3, {.node = 1}, 9, 4}, NULL},         /* even by ones of an older term */
        {{4, 3, {.node = 2}, 7, 3}, "contradict"}, /* two votes in a term */
        {{4, 3, {1, {{1}}}, 7, 3}, "contradict"},
        {{4, 4, {.node = 1}, 7, 3}, "contradict"}, /* a term that fell */
        {{3, 3, {.node = 1}, 7, 3}, "the second copy has lost"},
        {{0, 0, {.node = 0}, 0, 0}, "the second copy has lost"},
        {{6, 3, {.node = 1}, 7, 3}, "the store has lost"},
        {{7, 3, {.node = 1}, 7, 3}, "the store has lost"},
    };
    struct raft_state_row row = good_state;
    struct raft_saved saved;
    row.writes = 5;
    put_good_rows();
    put_state(&row);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dmq_err failed = load_beside(&cases[i].values, &saved);
        bool right = cases[i].refused == NULL
                         ? failed == DMQ_OK
                         : failed == DMQ_ERR_DAMAGED && strstr(err.text, cases[i].refused) != NULL;
        if (!right) {
            fail_msg("case %zu: %d %s", i, (int)failed, failed == DMQ_OK ? "" : err.text);
        }
        if (failed == DMQ_OK) {
            raft_saved_free(&saved);
        }
    }
}

/* Even in a folder that is being made: rows are there. */
static void
rows_without_a_second_copy_are_damage(void **state)
{
    (void)state;
    struct raft_saved saved;
    put_good_rows();
    for (int i = 0; i < 2; i++) {
        struct raft_store *store = raft_store_new(&mem.kv, simfs_fs(disk), DIR, true);
        assert_int_equal(raft_store_load(store, &saved, &err), DMQ_ERR_DAMAGED);
        assert_non_null(strstr(err.text, i == 0 ? "is missing" : "both slots"));
        raft_store_close(store);
        simfs_put_file(disk, DIR "/quorum", bytes_str("something"));
    }
}

/* ---- other versions -------------------------------------------------------------------------- */

static void
rows_of_a_newer_version_stop_the_reader(void **state)
{
    (void)state;
    put_good_rows();
    put(bytes_str("state"), bytes_of("\x92\x01\xa1x", 4)); /* even where its fields are others */
    refused_as(DMQ_ERR_UNSUPPORTED_VERSION, "the state", __LINE__);
    put(entry_key(5), bytes_of("\x91\x01", 2));
    refused_as(DMQ_ERR_UNSUPPORTED_VERSION, "entry 5", __LINE__);
    put(bytes_str("snapshot"), bytes_of("\x93\x02\xc0\xc0", 4));
    refused_as(DMQ_ERR_UNSUPPORTED_VERSION, "the snapshot", __LINE__);
}

static void
rows_of_unknown_kinds_stop_the_reader(void **state)
{
    (void)state;
    static const char *const keys[] = {"log/12345678", "entry/1234567", "snapshot/", "states", ""};
    struct raft_saved saved;
    put_good_rows();
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        put(bytes_str(keys[i]), bytes_str("x"));
        assert_int_equal(load(&saved), DMQ_ERR_UNSUPPORTED_VERSION);
        assert_non_null(strstr(err.text, "does not know"));
        drop(bytes_str(keys[i]));
    }
    assert_int_equal(load(&saved), DMQ_OK);
    raft_saved_free(&saved);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(good_rows_are_taken),
        T(holes_in_the_log_are_damage),
        T(terms_that_fall_are_damage),
        T(payloads_that_do_not_fit_their_kind_are_damage),
        T(states_that_cannot_be_are_damage),
        T(snapshots_that_are_not_all_there_are_damage),
        T(snapshot_rows_that_cannot_be_are_damage),
        T(members_that_cannot_be_are_damage),
        T(a_founding_list_has_no_data),
        T(the_second_copy_is_equal_or_one_write_behind),
        T(rows_without_a_second_copy_are_damage),
        T(rows_of_a_newer_version_stop_the_reader),
        T(rows_of_unknown_kinds_stop_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
