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

static void
a_history_survives_a_file(void **state)
{
    (void)state;
    struct history back = {0};
    size_t line;
    FILE *file = tmpfile();
    begin(2);
    history_write(&history, file);
    rewind(file);
    assert_true(history_read(&back, file, &line));
    assert_int_equal(back.send_count, history.send_count);
    assert_memory_equal(back.sends, history.sends, back.send_count * sizeof(*back.sends));
    assert_int_equal(back.poll_count, history.poll_count);
    assert_int_equal(back.start_count, 1);
    assert_int_equal(back.starts[0].offset, 2);
    for (size_t i = 0; i < back.poll_count; i++) {
        assert_int_equal(back.polls[i].value, history.polls[i].value);
        assert_int_equal(back.polls[i].from_start, history.polls[i].from_start);
    }
    fputs("{\"op\":\"nonsense\"}\n", file);
    rewind(file);
    history_deinit(&back);
    assert_false(history_read(&back, file, &line));
    assert_int_equal(line, history.send_count + history.poll_count + 2);
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
        cmocka_unit_test_setup_teardown(a_history_survives_a_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
