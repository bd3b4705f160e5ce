#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/log/producer_state.h"
#include "libdmq/base/rng.h"

static struct producers *producers;
static int64_t end;

static int
setup(void **state)
{
    (void)state;
    producers = producers_new();
    end = 0;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    producers_free(producers);
    return 0;
}

static struct batch_header
header_of(int64_t id, int16_t epoch, int32_t sequence, int32_t count)
{
    return (struct batch_header){.producer_id = id,
                                 .producer_epoch = epoch,
                                 .base_sequence = sequence,
                                 .last_offset_delta = count - 1};
}

static enum producer_verdict
check(int64_t id, int16_t epoch, int32_t sequence, int32_t count)
{
    struct batch_header header = header_of(id, epoch, sequence, count);
    int64_t base;
    int64_t after;
    return producers_check(producers, &header, &base, &after);
}

static void
append(int64_t id, int16_t epoch, int32_t sequence, int32_t count)
{
    struct batch_header header = header_of(id, epoch, sequence, count);
    assert_int_equal(check(id, epoch, sequence, count), PRODUCER_NEW);
    header.base_offset = end;
    end += count;
    producers_note(producers, &header);
}

static void
assert_duplicate(int64_t id, int16_t epoch, int32_t sequence, int32_t count, int64_t base)
{
    struct batch_header header = header_of(id, epoch, sequence, count);
    int64_t found_base = -1;
    int64_t found_end = -1;
    assert_int_equal(producers_check(producers, &header, &found_base, &found_end),
                     PRODUCER_DUPLICATE);
    assert_int_equal(found_base, base);
    assert_int_equal(found_end, base + count);
}

static void
without_a_producer_id_everything_is_new(void **state)
{
    (void)state;
    append(-1, -1, -1, 5);
    append(-1, -1, -1, 5);
    assert_int_equal(producers_count(producers), 0);
}

static void
trap_32_the_last_five_batches_are_known_again(void **state)
{
    (void)state;
    for (int32_t i = 0; i < 7; i++) {
        append(1, 0, i * 10, 10);
    }
    for (int32_t i = 2; i < 7; i++) {
        assert_duplicate(1, 0, i * 10, 10, i * 10);
    }
    assert_int_equal(check(1, 0, 10, 10), PRODUCER_OLD); /* the sixth from the end */
    assert_int_equal(check(1, 0, 0, 10), PRODUCER_OLD);
    assert_int_equal(check(1, 0, 60, 9), PRODUCER_OLD);  /* not the same batch */
    assert_int_equal(check(1, 0, 65, 10), PRODUCER_OLD); /* across what is there */
    assert_int_equal(check(1, 0, 71, 1), PRODUCER_GAP);
    assert_int_equal(check(1, 0, 80, 1), PRODUCER_GAP);
    assert_int_equal(check(1, 0, 70, 1), PRODUCER_NEW);
}

static void
producers_do_not_disturb_each_other(void **state)
{
    (void)state;
    append(1, 0, 0, 3);
    append(2, 5, 0, 4);
    append(1, 0, 3, 3);
    assert_duplicate(1, 0, 0, 3, 0);
    assert_duplicate(2, 5, 0, 4, 3);
    assert_duplicate(1, 0, 3, 3, 7);
}

static void
an_unknown_producer_begins_at_zero(void **state)
{
    (void)state;
    assert_int_equal(check(1, 0, 1, 1), PRODUCER_UNKNOWN);
    assert_int_equal(check(1, 3, 0, 1), PRODUCER_NEW);
}

static void
trap_35_a_new_epoch_begins_at_zero(void **state)
{
    (void)state;
    append(1, 2, 0, 10);
    assert_int_equal(check(1, 3, 10, 1), PRODUCER_GAP);
    assert_int_equal(check(1, 3, 0, 10), PRODUCER_NEW); /* not a duplicate of epoch 2's */
    append(1, 3, 0, 10);
    assert_duplicate(1, 3, 0, 10, 10);
}

static void
an_older_epoch_is_fenced(void **state)
{
    (void)state;
    append(1, 2, 0, 1);
    assert_int_equal(check(1, 1, 0, 1), PRODUCER_FENCED);
    assert_int_equal(check(1, 1, 1, 1), PRODUCER_FENCED);
    assert_int_equal(check(1, 1, -1, 1), PRODUCER_FENCED);
}

/* A control batch has a producer id and epoch, and no sequence. */
static void
batches_without_a_sequence_only_raise_the_epoch(void **state)
{
    (void)state;
    append(1, 0, 0, 5);
    append(1, 0, -1, 1);
    assert_int_equal(check(1, 0, 5, 1), PRODUCER_NEW);
    append(1, 1, -1, 1);
    assert_int_equal(check(1, 0, 5, 1), PRODUCER_FENCED);
    assert_int_equal(check(1, 1, 5, 1), PRODUCER_GAP);
    assert_int_equal(check(1, 1, 0, 1), PRODUCER_NEW);
}

static void
sequences_wrap_to_zero(void **state)
{
    (void)state;
    struct batch_header header = header_of(1, 0, INT32_MAX - 4, 3);
    producers_note(producers, &header); /* the log is believed */
    end = 3;
    append(1, 0, INT32_MAX - 1, 4); /* its records have MAX-1, MAX, 0, 1 */
    assert_int_equal(check(1, 0, 3, 1), PRODUCER_GAP);
    append(1, 0, 2, 5);
    assert_duplicate(1, 0, INT32_MAX - 4, 3, 0);
    assert_duplicate(1, 0, INT32_MAX - 1, 4, 3);
    assert_int_equal(check(1, 0, INT32_MAX - 20, 1), PRODUCER_OLD);
    assert_int_equal(check(1, 0, 7, 1), PRODUCER_NEW);
    assert_int_equal(check(1, 0, 8, 1), PRODUCER_GAP);
}

static void
trap_33_time_forgets_producers(void **state)
{
    (void)state;
    producers_expire(producers, 1000);
    append(1, 0, 0, 1);
    producers_expire(producers, 1000 + PRODUCER_EXPIRY_MS / 2);
    append(2, 0, 0, 1);
    producers_expire(producers, 1000 + PRODUCER_EXPIRY_MS - 1);
    assert_int_equal(producers_count(producers), 2);
    producers_expire(producers, 1000 + PRODUCER_EXPIRY_MS);
    assert_int_equal(producers_count(producers), 1);
    assert_int_equal(check(1, 0, 1, 1), PRODUCER_UNKNOWN);
    append(2, 0, 1, 1); /* used again: lives on */
    producers_expire(producers, 1000 + PRODUCER_EXPIRY_MS / 2 + PRODUCER_EXPIRY_MS);
    assert_int_equal(producers_count(producers), 1);
    producers_expire(producers, 0); /* a clock that goes back changes nothing */
    assert_int_equal(producers_count(producers), 1);
    producers_expire(producers, 1000 + 2 * PRODUCER_EXPIRY_MS);
    assert_int_equal(producers_count(producers), 0);
}

static struct producers *
through_row(int64_t offset)
{
    struct producers *back = NULL;
    int64_t back_offset = -1;
    struct buf *row = producers_row(producers, offset);
    assert_int_equal(producers_from_row(buf_bytes(row), &back, &back_offset), DMQ_OK);
    assert_int_equal(back_offset, offset);
    struct buf *again = producers_row(back, offset);
    assert_true(bytes_equal(buf_bytes(row), buf_bytes(again)));
    buf_unref(again);
    buf_unref(row);
    return back;
}

/* What was read from a row counts as used when the clock is first heard of, for rows have no clock.
 */
static void
a_row_keeps_everything_but_times(void **state)
{
    (void)state;
    producers_expire(producers, 50);
    for (int32_t i = 0; i < 9; i++) {
        append(i % 4, 1, i / 4, 1);
    }
    struct producers *back = through_row(end);
    producers_free(producers);
    producers = back;
    assert_int_equal(producers_count(producers), 4);
    assert_duplicate(0, 1, 1, 1, 4);
    producers_expire(producers, 1);
    producers_expire(producers, PRODUCER_EXPIRY_MS);
    assert_int_equal(producers_count(producers), 4);
    producers_expire(producers, PRODUCER_EXPIRY_MS + 1);
    assert_int_equal(producers_count(producers), 0);
}

/* Snapshot and replay are the same as having been there all along, wherever the snapshot was taken.
 */
static void
trap_36_replay_from_a_snapshot_is_the_same(void **state)
{
    (void)state;
    struct batch_header log[200];
    struct rng rng;
    int32_t sequences[5] = {0};
    rng_init(&rng, 3);
    for (size_t i = 0; i < 200; i++) {
        size_t p = (size_t)rng_below(&rng, 5);
        int32_t count = (int32_t)rng_range(&rng, 1, 9);
        log[i] = header_of((int64_t)p, 0, sequences[p], count);
        log[i].base_offset = end;
        sequences[p] += count;
        end += count;
        producers_note(producers, &log[i]);
    }
    struct buf *right = producers_row(producers, end);
    for (size_t cut = 0; cut <= 200; cut += 8) {
        struct producers *first = producers_new();
        struct producers *second = NULL;
        int64_t offset;
        for (size_t i = 0; i < cut; i++) {
            producers_note(first, &log[i]);
        }
        struct buf *row = producers_row(first, cut < 200 ? log[cut].base_offset : end);
        assert_int_equal(producers_from_row(buf_bytes(row), &second, &offset), DMQ_OK);
        for (size_t i = cut; i < 200; i++) {
            producers_note(second, &log[i]);
        }
        struct buf *got = producers_row(second, end);
        assert_true(bytes_equal(buf_bytes(got), buf_bytes(right)));
        buf_unref(row);
        buf_unref(got);
        producers_free(first);
        producers_free(second);
    }
    buf_unref(right);
}

static void
the_least_recently_used_goes_when_there_are_too_many(void **state)
{
    (void)state;
    for (int32_t i = 0; i < PRODUCERS_MAX; i++) {
        append(i, 0, 0, 1);
    }
    append(0, 0, 1, 1);
    append(PRODUCERS_MAX, 0, 0, 1);
    assert_int_equal(producers_count(producers), PRODUCERS_MAX);
    assert_int_equal(check(1, 0, 1, 1), PRODUCER_UNKNOWN);
    assert_int_equal(check(0, 0, 2, 1), PRODUCER_NEW);
    assert_int_equal(check(2, 0, 1, 1), PRODUCER_NEW);
    struct producers *back = through_row(end); /* the largest row fits its own limits */
    assert_int_equal(producers_count(back), PRODUCERS_MAX);
    producers_free(back);
}

static void
a_malformed_row_is_damage(void **state)
{
    (void)state;
    struct producers *back = NULL;
    int64_t offset;
    append(1, 0, 0, 3);
    struct buf *row = producers_row(producers, end);
    for (size_t size = 0; size < row->size; size++) {
        assert_int_equal(producers_from_row(bytes_of(row->data, size), &back, &offset),
                         DMQ_ERR_DAMAGED);
    }
    assert_null(back);
    struct buf *early = producers_row(producers, 2); /* a batch beyond the snapshot's offset */
    assert_int_equal(producers_from_row(buf_bytes(early), &back, &offset), DMQ_ERR_DAMAGED);
    row->data[1] = 1; /* a later version of the row */
    assert_int_equal(producers_from_row(buf_bytes(row), &back, &offset), DMQ_ERR_DAMAGED);
    buf_unref(early);
    buf_unref(row);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(without_a_producer_id_everything_is_new),
        TEST(trap_32_the_last_five_batches_are_known_again),
        TEST(producers_do_not_disturb_each_other),
        TEST(an_unknown_producer_begins_at_zero),
        TEST(trap_35_a_new_epoch_begins_at_zero),
        TEST(an_older_epoch_is_fenced),
        TEST(batches_without_a_sequence_only_raise_the_epoch),
        TEST(sequences_wrap_to_zero),
        TEST(trap_33_time_forgets_producers),
        TEST(a_row_keeps_everything_but_times),
        TEST(trap_36_replay_from_a_snapshot_is_the_same),
        TEST(the_least_recently_used_goes_when_there_are_too_many),
        TEST(a_malformed_row_is_damage),
    };
    return cmocka_run_group_tests_name("producer_state", tests, NULL, NULL);
}
