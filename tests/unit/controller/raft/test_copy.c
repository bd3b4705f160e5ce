/* A copy of a write lives on when the step's own is gone, and holds no more than it gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controller/raft/raft.h"

static uint32_t
refs(const struct buf *buf)
{
    return atomic_load(&buf->refs);
}

static void
a_copy_outlives_what_it_was_made_of(void **state)
{
    (void)state;
    struct buf *payload = buf_copy(bytes_str("payload")), *data = buf_copy(bytes_str("data"));
    struct raft_entry entries[] = {{.term = 3, .kind = RAFT_ENTRY_NOOP},
                                   {.term = 4, .kind = RAFT_ENTRY_DATA, .payload = payload}};
    struct raft_snapshot snapshot = {.index = 6, .term = 2, .data = data};
    snapshot.members = (struct raft_members){1, {{{.node = 1}, true}}};
    struct raft_persist write = {.seq = 9,
                                 .term = 4,
                                 .vote = {.node = 2},
                                 .commit = 7,
                                 .from = 8,
                                 .entries = entries,
                                 .count = 2,
                                 .prev_index = 6,
                                 .prev_term = 2,
                                 .snapshot = &snapshot};
    struct raft_persist *copy = raft_persist_copy(&write);
    assert_int_equal(refs(payload), 2);
    assert_int_equal(refs(data), 2);
    entries[0].term = entries[1].term = snapshot.index = 0; /* a step's are used again */
    snapshot.members.count = 0;
    write.entries = NULL;
    write.snapshot = NULL;
    assert_int_equal(copy->seq, 9);
    assert_int_equal(copy->vote.node, 2);
    assert_int_equal(copy->entries[0].term, 3);
    assert_null(copy->entries[0].payload);
    assert_int_equal(copy->entries[1].term, 4);
    assert_ptr_equal(copy->entries[1].payload, payload);
    assert_int_equal(copy->snapshot->index, 6);
    assert_int_equal(copy->snapshot->members.count, 1);
    assert_ptr_equal(copy->snapshot->data, data);
    raft_persist_free(copy);
    assert_int_equal(refs(payload), 1);
    assert_int_equal(refs(data), 1);
    buf_unref(payload);
    buf_unref(data);
}

/* The founding list of voters: a snapshot without data; and a write of the term alone. */
static void
writes_without_entries_or_data_are_copied(void **state)
{
    (void)state;
    struct raft_snapshot founding = {.members = {1, {{{.node = 1}, true}}}};
    struct raft_persist *copy =
        raft_persist_copy(&(struct raft_persist){.from = 1, .snapshot = &founding});
    assert_int_equal(copy->snapshot->members.at[0].id.node, 1);
    assert_null(copy->snapshot->data);
    raft_persist_free(copy);
    copy = raft_persist_copy(&(struct raft_persist){.term = 5, .from = 1});
    assert_int_equal(copy->term, 5);
    assert_null(copy->snapshot);
    raft_persist_free(copy);
    raft_persist_free(NULL);
}

static void
a_saved_gives_back_its_references(void **state)
{
    (void)state;
    struct buf *payload = buf_copy(bytes_str("x")), *data = buf_copy(bytes_str("y"));
    struct raft_entry *entries = calloc(2, sizeof(*entries));
    entries[0] = (struct raft_entry){1, RAFT_ENTRY_NOOP, NULL};
    entries[1] = (struct raft_entry){1, RAFT_ENTRY_DATA, buf_ref(payload)};
    struct raft_saved saved = {.term = 1, .entries = entries, .count = 2};
    saved.snapshot.data = buf_ref(data);
    raft_saved_free(&saved);
    assert_int_equal(refs(payload), 1);
    assert_int_equal(refs(data), 1);
    assert_int_equal(saved.term, 0);
    assert_null(saved.entries);
    raft_saved_free(&saved);
    buf_unref(payload);
    buf_unref(data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_outlives_what_it_was_made_of),
        cmocka_unit_test(writes_without_entries_or_data_are_copied),
        cmocka_unit_test(a_saved_gives_back_its_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
