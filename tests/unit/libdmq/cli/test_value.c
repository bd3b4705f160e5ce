#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dmq/dmq.h"
#include "libdmq/cli/value.h"

static const int64_t NOW = INT64_C(1700000000000);

static void
whole_numbers(void **state)
{
    (void)state;
    int64_t value = 7;
    assert_true(value_int("0", &value));
    assert_int_equal(value, 0);
    assert_true(value_int("-12", &value));
    assert_int_equal(value, -12);
    assert_true(value_int("9223372036854775807", &value));
    assert_true(value == INT64_MAX);
    const char *const bad[] = {"", " 1", "1 ", "+1", "-", "1.5", "0x10", "9223372036854775808",
                               "a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(value_int(bad[i], &value));
    }
    assert_true(value == INT64_MAX); /* untouched */
}

static void
places_by_name_and_offset(void **state)
{
    (void)state;
    int64_t offset = 0;
    int64_t timestamp = 5;
    assert_true(value_position("start", NOW, &offset, &timestamp));
    assert_int_equal(offset, DMQ_OFFSET_START);
    assert_true(value_position("end", NOW, &offset, &timestamp));
    assert_int_equal(offset, DMQ_OFFSET_END);
    assert_true(value_position("42", NOW, &offset, &timestamp));
    assert_int_equal(offset, 42);
    assert_int_equal(timestamp, 5);
}

static int64_t
time_of(const char *text)
{
    int64_t offset = 0;
    int64_t timestamp = -1;
    if (!value_position(text, NOW, &offset, &timestamp)) {
        return -1;
    }
    assert_int_equal(offset, DMQ_OFFSET_TIMESTAMP);
    return timestamp;
}

static void
places_by_time(void **state)
{
    (void)state;
    assert_int_equal(time_of("-1h"), NOW - 3600000);
    assert_int_equal(time_of("-90s"), NOW - 90000);
    assert_int_equal(time_of("-15m"), NOW - 900000);
    assert_int_equal(time_of("-2d"), NOW - 172800000);
    assert_int_equal(time_of("-500ms"), NOW - 500);
    assert_int_equal(time_of("-9999999999d"), 0); /* before 1970: from the first record on */
    assert_int_equal(time_of("@1357034400000"), INT64_C(1357034400000));
    assert_int_equal(time_of("2013-01-01"), INT64_C(1356998400000));
    assert_int_equal(time_of("2013-01-01T10:00:00Z"), INT64_C(1357034400000));
    assert_int_equal(time_of("2013-01-01 10:00"), INT64_C(1357034400000));
    assert_int_equal(time_of("2013-01-01T10:00:00.25Z"), INT64_C(1357034400250));
    assert_int_equal(time_of("2013-01-01T12:00:00+02:00"), INT64_C(1357034400000));
    assert_int_equal(time_of("2013-01-01T04:30:00-05:30"), INT64_C(1357034400000));
}

static void
refuses_other_places(void **state)
{
    (void)state;
    const char *const bad[] = {"",
                               "-5",
                               "-1w",
                               "-h",
                               "begin",
                               "1h",
                               "@",
                               "@-5",
                               "2013-1-1",
                               "2013-01-01T",
                               "2013-13-01",
                               "2013-01-01T10:00:00X",
                               "-99999999999s",
                               "2013-01-01T10:00:00+2:00",
                               "1960-01-01",
                               "2013-01-01T10:00:00+ab:cd"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t offset = 0;
        int64_t timestamp = 0;
        assert_false(value_position(bad[i], NOW, &offset, &timestamp));
    }
}

static void
escapes(void **state)
{
    (void)state;
    char to[32];
    assert_int_equal(value_unescape("a\\tb\\\\\\x00\\x7F\\0\\n\\r", to), 9);
    assert_memory_equal(to, "a\tb\\\0\x7f\0\n\r", 9);
    assert_int_equal(value_unescape("", to), 0);
    const char *const bad[] = {"\\", "\\q", "\\x", "\\x4", "\\xg0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_true(value_unescape(bad[i], to) == SIZE_MAX);
    }
}

static void
names_of_topics(void **state)
{
    (void)state;
    char name[251];
    memset(name, 'x', sizeof(name));
    name[249] = '\0';
    assert_true(value_is_topic_name(name));
    assert_true(value_is_topic_name("..."));
    assert_true(value_is_topic_name("__group_state"));
    assert_true(value_is_topic_name("a.B-9_"));
    name[249] = 'x';
    name[250] = '\0';
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "\xc3\xa4", "a\n", "a=b", "*"};
    assert_false(value_is_topic_name(name));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(value_is_topic_name(bad[i]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),  cmocka_unit_test(places_by_name_and_offset),
        cmocka_unit_test(places_by_time), cmocka_unit_test(refuses_other_places),
        cmocka_unit_test(escapes),        cmocka_unit_test(names_of_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
