#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/histogram.h"

/* Against HdrHistogram itself: tests/integration/test_histogram.py. */
static struct histogram h;

static void
clear(void)
{
    memset(&h, 0, sizeof(h));
}

static void
nothing_was_recorded(void **state)
{
    (void)state;
    clear();
    assert_int_equal(histogram_percentile(&h, 50), 0);
    assert_int_equal(h.max, 0);
}

static void
small_values_are_exact(void **state)
{
    (void)state;
    clear();
    for (int64_t i = 1; i <= 1000; i++) {
        histogram_record(&h, i);
    }
    assert_int_equal(histogram_percentile(&h, 0), 1);
    assert_int_equal(histogram_percentile(&h, 50), 500);
    assert_int_equal(histogram_percentile(&h, 99), 990);
    assert_int_equal(histogram_percentile(&h, 99.9), 999);
    assert_int_equal(histogram_percentile(&h, 100), 1000);
    assert_int_equal(h.max, 1000);
}

/* Every value comes back as itself or a thousandth more, over the whole range. */
static void
three_digits_everywhere(void **state)
{
    (void)state;
    for (int64_t value = 1; value < INT64_C(1) << HISTOGRAM_VALUE_BITS; value += value / 7 + 1) {
        clear();
        histogram_record(&h, value);
        int64_t got = histogram_percentile(&h, 100);
        assert_true(got >= value);
        assert_true((double)(got - value) <= (double)value / 1000.0);
    }
}

static void
values_outside_the_range_count_at_its_ends(void **state)
{
    (void)state;
    clear();
    histogram_record(&h, -5);
    histogram_record(&h, INT64_MAX);
    assert_int_equal(h.count, 2);
    assert_int_equal(histogram_percentile(&h, 50), 0);
    assert_true(histogram_percentile(&h, 100) == (INT64_C(1) << HISTOGRAM_VALUE_BITS) - 1);
    assert_true(h.max == (INT64_C(1) << HISTOGRAM_VALUE_BITS) - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_was_recorded),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(three_digits_everywhere),
        cmocka_unit_test(values_outside_the_range_count_at_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
