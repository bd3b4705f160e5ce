/* The checker finds each anomaly in a history that contains it once, and nothing in a clean one. */
#include "tests/sim/checker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define WRITER 1
#define READER 2
#define DRAIN 3

static struct history history;

static size_t
send(uint64_t value, int64_t offset, enum history_outcome outcome)
{
    return history_invoke(
        &history, &(struct history_send){
                      .process = WRITER, .value = value, .offset = offset, .outcome = outcome});
}

static void
poll(int process, int64_t offset, uint64_t value)
{
    history_poll(&history, &(struct history_poll){.process = process,
                                                  .offset = offset,
                                                  .value = value,
                                                  .from_start = offset == 0});
}

/* Three values, acknowledged, read on the way and by the drain. */
static int
setup(void **state)
{
    (void)state;
    history = (struct history){0};
    for (uint64_t value = 1; value <= 3; value++) {
        send(value, (int64_t)value - 1, HISTORY_OK);
        poll(READER, (int64_t)value - 1, value);
        poll(DRAIN, (int64_t)value - 1, value);
    }
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    history_deinit(&history);
    return 0;
}

static void
assert_found(enum anomaly anomaly)
{
    struct verdict verdict = history_check(&history, DRAIN);
    assert_string_equal(anomaly_name(verdict.anomaly), anomaly_name(anomaly));
}

static void
a_clean_history_is_clean(void **state)
{
    (void)state;
    send(4, -1, HISTORY_INFO); /* unknown, and not there */
    send(5, -1, HISTORY_INFO); /* unknown, and there */
    send(6, -1, HISTORY_FAIL); /* refused */
    send(7, -1, HISTORY_INVOKED);
    poll(DRAIN, 3, 5);
    poll(READER, 0, 1); /* begins anew */
    assert_found(ANOMALY_NONE);
}

static void
a_lost_write(void **state)
{
    (void)state;
    send(4, 3, HISTORY_OK);
    assert_found(ANOMALY_LOST);
}

static void
a_duplicate(void **state)
{
    (void)state;
    poll(DRAIN, 3, 2);
    assert_found(ANOMALY_DUPLICATE);
}

static void
another_value_at_an_offset(void **state)
{
    (void)state;
    send(4, -1, HISTORY_INFO);
    history.polls[2].value = 4; /* the first reader's, at offset 1 */
    assert_found(ANOMALY_INCONSISTENT);
}

static void
elsewhere_than_acknowledged(void **state)
{
    (void)state;
    history.sends[2].offset = 7;
    assert_found(ANOMALY_INCONSISTENT);
}

static void
a_value_that_nobody_sent(void **state)
{
    (void)state;
    poll(DRAIN, 3, 99);
    assert_found(ANOMALY_PHANTOM);
}

static void
a_refused_write_that_is_there(void **state)
{
    (void)state;
    send(4, -1, HISTORY_FAIL);
    poll(DRAIN, 3, 4);
    assert_found(ANOMALY_UNDEAD);
}

static void
sends_out_of_order(void **state)
{
    (void)state;
    send(4, 4, HISTORY_OK);
    send(5, 3, HISTORY_OK);
    poll(DRAIN, 3, 5);
    poll(DRAIN, 4, 4);
    assert_found(ANOMALY_SEND_ORDER);
}

static void
a_reader_that_goes_back(void **state)
{
    (void)state;
    poll(READER, 1, 2);
    assert_found(ANOMALY_POLL_ORDER);
}

static void
a_reader_that_skips(void **state)
{
    (void)state;
    send(4, 3, HISTORY_OK);
    send(5, 4, HISTORY_OK);
    poll(DRAIN, 3, 4);
    poll(DRAIN, 4, 5);
    poll(READER, 4, 5);
    assert_found(ANOMALY_POLL_SKIP);
}

static void
a_write_that_the_drain_did_not_see(void **state)
{
    (void)state;
    send(4, 3, HISTORY_OK);
    poll(READER, 3, 4);
    assert_found(ANOMALY_UNSEEN);
}

/* ---- retention ------------------------------------------------------------------------------- */

static void
begin(int64_t offset)
{
    history_begin(&history, &(struct history_start){.offset = offset});
}

static void
what_retention_took_is_not_lost(void **state)
{
    (void)state;
    send(4, 3, HISTORY_OK);
    send(5, 4, HISTORY_OK);
    send(6, 5, HISTORY_OK);
    begin(5);
    poll(READER, 5, 6); /* goes on where the log begins */
    poll(DRAIN, 5, 6);
    assert_found(ANOMALY_NONE);
}

static void
what_lies_above_the_log_start_is_lost(void **state)
{
    (void)state;
    send(4, 3, HISTORY_OK);
    send(5, 4, HISTORY_OK);
    begin(4);
    assert_found(ANOMALY_LOST);
}

static void
a_reader_that_skips_beyond_the_log_start(void **state)
{
    (void)state;
    send(4, 3, HISTORY_OK);
    send(5, 4, HISTORY_OK);
    begin(3);
    poll(DRAIN, 3, 4);
    poll(DRAIN, 4, 5);
    poll(READER, 4, 5);
    assert_found(ANOMALY_POLL_SKIP);
}

/* ---- a leader was elected uncleanly ---------------------------------------------------------- */

static void
cut(int64_t offset, int32_t epoch)
{
    history_cut(&history, &(struct history_cut){.offset = offset, .epoch = epoch});
}

static void
send_in(int32_t epoch, uint64_t value, int64_t offset)
{
    history.sends[send(value, offset, HISTORY_OK)].epoch = epoch;
}

static void
poll_in(int32_t epoch, int process, int64_t offset, uint64_t value)
{
    poll(process, offset, value);
    history.polls[history.poll_count - 1].epoch = epoch;
}

/* Value 4 is lost, 5 stands at its offset. A reader saw both: it was told, and began anew. */
static void
what_was_given_up_is_forgiven(void **state)
{
    (void)state;
    cut(3, 2);
    send_in(1, 4, 3);
    send_in(2, 5, 3);
    poll_in(1, READER, 3, 4);
    for (uint64_t value = 1; value <= 3; value++) {
        poll(READER, (int64_t)value - 1, value);
    }
    poll_in(2, READER, 3, 5);
    poll_in(2, DRAIN, 3, 5);
    assert_found(ANOMALY_NONE);
}

/* The drain was a reader that saw value 4. In the end retention has taken all, and another value
 * had come in its place. */
static void
what_was_given_up_is_forgiven_where_nothing_is_left(void **state)
{
    (void)state;
    cut(3, 2);
    send_in(1, 4, 3);
    send_in(2, 5, 3);
    poll_in(1, DRAIN, 3, 4);
    poll_in(2, READER, 3, 5);
    begin(4);
    assert_found(ANOMALY_SEND_ORDER);
    history.drain_begins = history.poll_count;
    assert_found(ANOMALY_NONE);
}

static void
what_the_unclean_leader_had_is_kept(void **state)
{
    (void)state;
    cut(4, 2);
    send_in(1, 4, 3);
    assert_found(ANOMALY_LOST);
}

static void
what_the_unclean_leader_acknowledged_is_kept(void **state)
{
    (void)state;
    cut(3, 2);
    send_in(2, 4, 3);
    assert_found(ANOMALY_LOST);
}

static void
another_partition_gave_up_nothing(void **state)
{
    (void)state;
    history_cut(&history, &(struct history_cut){.partition = 1, .offset = 0, .epoch = 2});
    send_in(1, 4, 3);
    assert_found(ANOMALY_LOST);
}

/* It has read 4 at 3, which is lost, and goes on at 4, without 6, which is at 3 now. */
static void
a_reader_that_is_not_told(void **state)
{
    (void)state;
    cut(3, 2);
    send_in(1, 4, 3);
    send_in(2, 6, 3);
    send_in(2, 7, 4);
    poll_in(2, DRAIN, 3, 6);
    poll_in(2, DRAIN, 4, 7);
    poll_in(1, READER, 3, 4);
    poll_in(2, READER, 4, 7);
    assert_found(ANOMALY_POLL_SKIP);
}

/* It is sent back to where the log parts from what it has read; further on is too far. */
static void
a_reader_that_is_sent_back(void **state)
{
    (void)state;
    cut(2, 2);
    send_in(1, 4, 3);
    send_in(1, 5, 4);
    send_in(2, 6, 3);
    send_in(2, 7, 4);
    poll_in(1, READER, 3, 4);
    poll_in(1, READER, 4, 5);
    poll_in(2, DRAIN, 3, 6);
    poll_in(2, DRAIN, 4, 7);
    poll_in(2, READER, 3, 6);
    history.polls[history.poll_count - 1].back = true;
    assert_found(ANOMALY_NONE);
    history.poll_count--;
    poll_in(2, READER, 4, 7);
    history.polls[history.poll_count - 1].back = true;
    assert_found(ANOMALY_POLL_SKIP);
}

/* It was there, was lost, and is there again from a retry: only twice at once is wrong. */
static void
a_lost_value_may_be_written_again(void **state)
{
    (void)state;
    cut(3, 2);
    send(4, -1, HISTORY_INFO);
    poll_in(1, READER, 3, 4);
    poll_in(2, DRAIN, 3, 4);
    assert_found(ANOMALY_NONE);
    poll_in(2, DRAIN, 4, 4);
    assert_found(ANOMALY_DUPLICATE);
}

/* Its first try was written by a leader of epoch 1, which was deposed, and is elected again. */
static void
an_earlier_try_of_a_lost_value_may_be_there(void **state)
{
    (void)state;
    cut(3, 3);
    send_in(2, 4, 5);
    poll_in(2, READER, 3, 9);
    poll_in(1, DRAIN, 3, 4);
    send(9, -1, HISTORY_INFO);
    assert_found(ANOMALY_NONE);
    history.sends[3].epoch = 3;
    assert_found(ANOMALY_INCONSISTENT);
}

static void
a_history_survives_a_file(void **state)
{
    (void)state;
    struct history back = {0};
    size_t line;
    FILE *file = tmpfile();
    begin(2);
    cut(1, 7);
    history.polls[1].epoch = 3;
    history.polls[3].back = true;
    history.drain_begins = 2;
    history_write(&history, file);
    rewind(file);
    assert_true(history_read(&back, file, &line));
    assert_int_equal(back.send_count, history.send_count);
    assert_memory_equal(back.sends, history.sends, back.send_count * sizeof(*back.sends));
    assert_int_equal(back.poll_count, history.poll_count);
    assert_int_equal(back.drain_begins, 2);
    assert_int_equal(back.start_count, 1);
    assert_int_equal(back.starts[0].offset, 2);
    assert_int_equal(back.cut_count, 1);
    assert_int_equal(back.cuts[0].offset, 1);
    assert_int_equal(back.cuts[0].epoch, 7);
    for (size_t i = 0; i < back.poll_count; i++) {
        assert_int_equal(back.polls[i].value, history.polls[i].value);
        assert_int_equal(back.polls[i].from_start, history.polls[i].from_start);
        assert_int_equal(back.polls[i].epoch, history.polls[i].epoch);
        assert_int_equal(back.polls[i].back, history.polls[i].back);
    }
    fputs("{\"op\":\"nonsense\"}\n", file);
    rewind(file);
    history_deinit(&back);
    assert_false(history_read(&back, file, &line));
    assert_int_equal(line, history.send_count + history.poll_count + 4);
    history_deinit(&back);
    fclose(file);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_clean_history_is_clean, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_write, setup, teardown),
        cmocka_unit_test_setup_teardown(a_duplicate, setup, teardown),
        cmocka_unit_test_setup_teardown(another_value_at_an_offset, setup, teardown),
        cmocka_unit_test_setup_teardown(elsewhere_than_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(a_value_that_nobody_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_write_that_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(sends_out_of_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_skips, setup, teardown),
        cmocka_unit_test_setup_teardown(a_write_that_the_drain_did_not_see, setup, teardown),
        cmocka_unit_test_setup_teardown(what_retention_took_is_not_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(what_lies_above_the_log_start_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_skips_beyond_the_log_start, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_given_up_is_forgiven, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_given_up_is_forgiven_where_nothing_is_left, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_unclean_leader_had_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_unclean_leader_acknowledged_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_partition_gave_up_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_is_sent_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_value_may_be_written_again, setup, teardown),
        cmocka_unit_test_setup_teardown(an_earlier_try_of_a_lost_value_may_be_there, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_history_survives_a_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
