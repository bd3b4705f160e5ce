#include "libdmq/os/alarm.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/os/clock.h"

static struct alarm_clock alarm_clock;

static int
setup(void **state)
{
    (void)state;
    return alarm_init(&alarm_clock);
}

static int
teardown(void **state)
{
    (void)state;
    alarm_deinit(&alarm_clock);
    return alarm_clock.fd == -1 ? 0 : -1;
}

static bool
fires_within(int timeout_ms)
{
    struct pollfd item = {.fd = alarm_clock.fd, .events = POLLIN};
    return poll(&item, 1, timeout_ms) == 1;
}

static void
it_fires_when_it_is_due_and_not_before(void **state)
{
    (void)state;
    int64_t due = clock_ms() + 30;
    assert_false(fires_within(10)); /* not armed */
    alarm_arm(&alarm_clock, due);
    assert_true(fires_within(5000));
    assert_true(clock_ms() >= due);
    alarm_clear(&alarm_clock);
    assert_false(fires_within(10)); /* once */
}

static void
what_is_due_first_counts(void **state)
{
    (void)state;
    int64_t now = clock_ms();
    alarm_arm(&alarm_clock, now + 3600 * 1000);
    assert_false(fires_within(0));
    alarm_arm(&alarm_clock, now + 10);
    alarm_arm(&alarm_clock, now + 1800 * 1000);
    alarm_arm(&alarm_clock, INT64_MAX);
    assert_true(fires_within(5000));
    alarm_clear(&alarm_clock);
    alarm_arm(&alarm_clock, now + 3600 * 1000);
    assert_false(fires_within(10));
}

static void
what_is_overdue_fires_at_once(void **state)
{
    (void)state;
    static const int64_t past[] = {-5, 0, 1};
    for (size_t i = 0; i < sizeof(past) / sizeof(past[0]); i++) {
        alarm_arm(&alarm_clock, past[i]);
        assert_true(fires_within(5000));
        alarm_clear(&alarm_clock);
    }
    alarm_clear(&alarm_clock); /* one that did not fire */
    assert_false(fires_within(0));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(it_fires_when_it_is_due_and_not_before),
        T(what_is_due_first_counts),
        T(what_is_overdue_fires_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
