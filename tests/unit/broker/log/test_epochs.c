#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/log/epochs.h"

static struct epochs epochs;

static int
setup(void **state)
{
    (void)state;
    epochs = (struct epochs){0};
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    epochs_deinit(&epochs);
    return 0;
}

/* Epochs 2 from 0, 5 from 10, 6 from 30. */
static void
fill(void)
{
    assert_true(epochs_note(&epochs, 2, 0));
    assert_true(epochs_note(&epochs, 2, 5));
    assert_true(epochs_note(&epochs, 5, 10));
    assert_true(epochs_note(&epochs, 5, 29));
    assert_true(epochs_note(&epochs, 6, 30));
}

static void
trap_06_an_epoch_exists_with_its_first_batch(void **state)
{
    (void)state;
    int64_t next;
    assert_int_equal(epochs_last(&epochs), -1);
    fill();
    assert_int_equal(epochs.count, 3);
    assert_int_equal(epochs_last(&epochs), 6);
    assert_int_equal(epochs_at(&epochs, 0), 2);
    assert_int_equal(epochs_at(&epochs, 9), 2);
    assert_int_equal(epochs_at(&epochs, 10), 5);
    assert_int_equal(epochs_at(&epochs, 1000), 6);
    assert_int_equal(epochs_at(&epochs, -1), -1);
    assert_int_equal(epochs_run(&epochs, 9, &next), 2);
    assert_int_equal(next, 10);
    assert_int_equal(epochs_run(&epochs, 1000, &next), 6);
    assert_true(next == INT64_MAX);
    assert_int_equal(epochs_run(&epochs, -1, &next), -1);
    assert_int_equal(next, 0);
}

static void
epochs_never_fall(void **state)
{
    (void)state;
    fill();
    assert_false(epochs_note(&epochs, 5, 40));
    assert_int_equal(epochs.count, 3);
    assert_true(epochs_note(&epochs, 6, 40));
}

/* KIP-279: the largest epoch not above the one that is asked for, and where it ends. */
static void
trap_02_the_end_of_an_epoch(void **state)
{
    (void)state;
    int64_t end = -7;
    assert_int_equal(epochs_end_of(&epochs, 3, 0, &end), -1);
    fill();
    assert_int_equal(epochs_end_of(&epochs, 1, 50, &end), -1);
    assert_int_equal(end, -7);
    assert_int_equal(epochs_end_of(&epochs, 2, 50, &end), 2);
    assert_int_equal(end, 10);
    assert_int_equal(epochs_end_of(&epochs, 4, 50, &end), 2);
    assert_int_equal(end, 10);
    assert_int_equal(epochs_end_of(&epochs, 5, 50, &end), 5);
    assert_int_equal(end, 30);
    assert_int_equal(epochs_end_of(&epochs, 9, 50, &end), 6);
    assert_int_equal(end, 50);
}

static void
a_cut_takes_what_begins_beyond(void **state)
{
    (void)state;
    fill();
    epochs_cut(&epochs, 31);
    assert_int_equal(epochs.count, 3);
    epochs_cut(&epochs, 30);
    assert_int_equal(epochs_last(&epochs), 5);
    epochs_cut(&epochs, 0);
    assert_int_equal(epochs.count, 0);
}

static void
a_row_holds_what_begins_below(void **state)
{
    (void)state;
    struct epochs back = {0};
    fill();
    struct buf *row = epochs_row(&epochs, 30);
    assert_int_equal(epochs_from_row(buf_bytes(row), &back), DMQ_OK);
    assert_int_equal(back.count, 2);
    assert_int_equal(epochs_last(&back), 5);
    assert_int_equal(back.entries[1].start, 10);
    epochs_deinit(&back);
    for (size_t size = 0; size < row->size; size++) {
        assert_int_equal(epochs_from_row(bytes_of(row->data, size), &back), DMQ_ERR_DAMAGED);
    }
    row->data[1] = 1; /* a later version of the row */
    assert_int_equal(epochs_from_row(buf_bytes(row), &back), DMQ_ERR_DAMAGED);
    buf_unref(row);

    epochs.entries[1].start = 0; /* offsets that do not rise */
    row = epochs_row(&epochs, 100);
    assert_int_equal(epochs_from_row(buf_bytes(row), &back), DMQ_ERR_DAMAGED);
    buf_unref(row);
    epochs.entries[1] = (struct epoch_entry){2, 10}; /* epochs that do not rise */
    row = epochs_row(&epochs, 100);
    assert_int_equal(epochs_from_row(buf_bytes(row), &back), DMQ_ERR_DAMAGED);
    assert_null(back.entries);
    buf_unref(row);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(trap_06_an_epoch_exists_with_its_first_batch),
        TEST(epochs_never_fall),
        TEST(trap_02_the_end_of_an_epoch),
        TEST(a_cut_takes_what_begins_beyond),
        TEST(a_row_holds_what_begins_below),
    };
    return cmocka_run_group_tests_name("epochs", tests, NULL, NULL);
}
