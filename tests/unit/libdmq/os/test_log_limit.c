#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/os/log_limit.h"

static uint32_t left_out;

static enum log_limit
take(const char *event, int64_t now_ms)
{
    return log_limit_take(event, strlen(event), now_ms, &left_out);
}

static void
take_many(const char *event, int64_t now_ms, int count, enum log_limit expected)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(take(event, now_ms), expected);
        assert_int_equal(left_out, 0);
    }
}

static void
a_window_has_so_many_lines(void **state)
{
    (void)state;
    take_many("a", 1000, LOG_LIMIT_LINES - 1, LOG_LIMIT_SAY);
    assert_int_equal(take("a", 2000), LOG_LIMIT_SAY_LAST);
    take_many("a", 1000 + LOG_LIMIT_WINDOW_MS - 1, 7, LOG_LIMIT_LEAVE_OUT);
    assert_int_equal(take("b", 2000), LOG_LIMIT_SAY); /* another event is not meant */
    assert_int_equal(take("a", 1000 + LOG_LIMIT_WINDOW_MS), LOG_LIMIT_SAY);
    assert_int_equal(left_out, 7);
    assert_int_equal(take("a", 1000 + LOG_LIMIT_WINDOW_MS), LOG_LIMIT_SAY);
    assert_int_equal(left_out, 0); /* told once */
}

static void
a_clock_that_goes_back_starts_anew(void **state)
{
    (void)state;
    take_many("c", 50000, LOG_LIMIT_LINES - 1, LOG_LIMIT_SAY);
    take_many("c", 10, 5, LOG_LIMIT_SAY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_has_so_many_lines),
        cmocka_unit_test(a_clock_that_goes_back_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
