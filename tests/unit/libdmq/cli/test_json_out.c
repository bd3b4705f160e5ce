#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/json_out.h"

struct fixture {
    struct out out;
    struct json_out json;
};

static void
begin(struct fixture *f)
{
    assert_true(out_init(&f->out, -1));
    json_out_init(&f->json, &f->out);
}

static void
assert_is(struct fixture *f, const char *expected)
{
    assert_int_equal(f->out.size, strlen(expected));
    assert_memory_equal(f->out.data, expected, f->out.size);
    out_deinit(&f->out);
}

static void
commas_and_names(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    json_open(&f.json, NULL, '{');
    json_text(&f.json, "a", "x");
    json_open(&f.json, "b", '[');
    json_int(&f.json, NULL, -1);
    json_open(&f.json, NULL, '{');
    json_close(&f.json, '}');
    json_null(&f.json, NULL);
    json_close(&f.json, ']');
    json_bool(&f.json, "c", true);
    json_real(&f.json, "d", 1.25, 1);
    json_close(&f.json, '}');
    assert_is(&f, "{\"a\":\"x\",\"b\":[-1,{},null],\"c\":true,\"d\":1.2}");
}

static void
values_on_lines_of_their_own_have_no_comma(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    for (int i = 0; i < 2; i++) {
        json_open(&f.json, NULL, '{');
        json_int(&f.json, "i", i);
        json_close(&f.json, '}');
        out_text(&f.out, "\n");
    }
    assert_is(&f, "{\"i\":0}\n{\"i\":1}\n");
}

static void
escapes(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    json_utf8(&f.json, NULL, "\"\\\n\0\x1f\xc3\xa4", 7);
    assert_is(&f, "\"\\\"\\\\\\n\\u0000\\u001f\xc3\xa4\"");
}

static void
base64(void **state)
{
    (void)state;
    /* RFC 4648 section 10 */
    const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    const char *const coded[] = {"\"\"",         "\"Zg==\"",     "\"Zm8=\"",    "\"Zm9v\"",
                                 "\"Zm9vYg==\"", "\"Zm9vYmE=\"", "\"Zm9vYmFy\""};
    for (size_t i = 0; i < 7; i++) {
        struct fixture f;
        begin(&f);
        json_base64(&f.json, NULL, plain[i], strlen(plain[i]));
        assert_is(&f, coded[i]);
    }
}

static void
utf8(void **state)
{
    (void)state;
    assert_true(json_is_utf8("", 0));
    assert_true(json_is_utf8("a\0b", 3));
    assert_true(json_is_utf8("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9));
    const char *const bad[] = {"\x80",
                               "\xc3",
                               "\xc0\xaf",
                               "\xe0\x80\x80",
                               "\xed\xa0\x80",
                               "\xf0\x8f\xbf\xbf",
                               "\xf4\x90\x80\x80",
                               "\xff",
                               "a\xe2\x82",
                               "\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(json_is_utf8(bad[i], strlen(bad[i])));
    }
}

static void
output_grows(void **state)
{
    (void)state;
    struct out out;
    char block[1000];
    memset(block, 'x', sizeof(block));
    assert_true(out_init(&out, -1));
    for (int i = 0; i < 1000; i++) {
        out_put(&out, block, sizeof(block));
    }
    assert_int_equal(out.size, 1000000);
    assert_true(out_flush(&out));
    assert_int_equal(out.data[999999], 'x');
    out_deinit(&out);
}

static void
a_failed_write_is_told(void **state)
{
    (void)state;
    struct out out;
    assert_true(out_init(&out, 1000000)); /* not a descriptor */
    out_text(&out, "x");
    assert_false(out_flush(&out));
    assert_int_not_equal(out.error, 0);
    assert_false(out_flush(&out));
    out_deinit(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_names),
        cmocka_unit_test(values_on_lines_of_their_own_have_no_comma),
        cmocka_unit_test(escapes),
        cmocka_unit_test(base64),
        cmocka_unit_test(utf8),
        cmocka_unit_test(output_grows),
        cmocka_unit_test(a_failed_write_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
