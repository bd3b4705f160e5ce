#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/base/nearest.h"

static size_t
distance(const char *a, const char *b)
{
    return nearest_distance(bytes_str(a), bytes_str(b));
}

static void
distances(void **state)
{
    (void)state;
    char long_word[NEAREST_MAX_SIZE + 2];
    memset(long_word, 'a', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = 0;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("kitten", "sitting"), 3);
    assert_int_equal(distance("orders", "order"), 1);
    assert_int_equal(distance("prot", "port"), 1);
    assert_int_equal(distance("abcd", "badc"), 2);
    assert_int_equal(distance("ca", "abc"), 3);
    assert_int_equal(distance("flaw", "lawn"), 2);
    assert_true(distance(long_word, "a") == SIZE_MAX);
}

static void
suggests_only_what_is_near(void **state)
{
    (void)state;
    const char *const words[] = {"retention.ms", "retention.bytes", "segment.bytes"};
    assert_string_equal(nearest_of(bytes_str("retention.m"), words, 3), "retention.ms");
    assert_string_equal(nearest_of(bytes_str("segments.bytes"), words, 3), "segment.bytes");
    assert_string_equal(nearest_of(bytes_str("retension.bytes"), words, 3), "retention.bytes");
    assert_null(nearest_of(bytes_str("cleanup.policy"), words, 3));
    assert_null(nearest_of(bytes_str("x"), words, 3));
    assert_null(nearest_of(bytes_str("retention.ms"), words, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(suggests_only_what_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
