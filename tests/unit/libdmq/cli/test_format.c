#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/format.h"

static const dmq_header HEADERS[] = {{{"a", 1}, {"1", 1}}, {{"b", 1}, {NULL, 0}}};

static const dmq_message MESSAGE = {.offset = 42,
                                    .timestamp = 1700000000123,
                                    .key = {"k\0y", 3},
                                    .value = {"v\n\xff", 3},
                                    .header_count = 2};

static void
assert_written(const char *spec, const dmq_message *message, const char *expected, size_t size)
{
    struct format format;
    struct out out;
    const char *reason = NULL;
    struct format_record record = {
        .topic = "orders", .partition = 3, .message = message, .headers = HEADERS};
    record.header_count = message->header_count;
    assert_true(format_init(&format, spec, &reason));
    assert_true(out_init(&out, -1));
    format_write(&format, &record, &out);
    assert_int_equal(out.size, size);
    assert_memory_equal(out.data, expected, size);
    out_deinit(&out);
    format_deinit(&format);
}

static void
every_token(void **state)
{
    (void)state;
    assert_written("%t %p %o %T\\n", &MESSAGE, "orders 3 42 1700000000123\n", 26);
    assert_written("%k|%s", &MESSAGE, "k\0y|v\n\xff", 7);
    assert_written("%K %S", &MESSAGE, "3 3", 3);
    assert_written("%h", &MESSAGE, "a=1,b=", 6);
    assert_written("%%%%s\\x25s\\t", &MESSAGE, "%%s%s\t", 6);
    assert_written("", &MESSAGE, "", 0);
}

static void
null_is_nothing_and_minus_one(void **state)
{
    (void)state;
    dmq_message empty = {.key = {NULL, 0}, .value = {"", 0}};
    assert_written("[%k][%s]%K %S %h", &empty, "[][]-1 0 ", 9);
}

static void
headers_are_read_only_where_wanted(void **state)
{
    (void)state;
    struct format format;
    const char *reason;
    assert_true(format_init(&format, "%s%h", &reason));
    assert_true(format_wants_headers(&format));
    format_deinit(&format);
    assert_true(format_init(&format, "%s h", &reason));
    assert_false(format_wants_headers(&format));
    format_deinit(&format);
}

static void
refuses_what_it_does_not_know(void **state)
{
    (void)state;
    const char *const bad[] = {"%", "%z", "a%", "\\q", "abc\\", "%s\\x1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct format format;
        const char *reason = NULL;
        assert_false(format_init(&format, bad[i], &reason));
        assert_non_null(reason);
    }
    char many[2 * FORMAT_STEPS_MAX + 3] = "";
    for (int i = 0; i <= FORMAT_STEPS_MAX; i++) {
        memcpy(many + 2 * i, "%o", 3);
    }
    struct format format;
    const char *reason = NULL;
    assert_false(format_init(&format, many, &reason));
    assert_string_equal(reason, "it has too many parts");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token),
        cmocka_unit_test(null_is_nothing_and_minus_one),
        cmocka_unit_test(headers_are_read_only_where_wanted),
        cmocka_unit_test(refuses_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
