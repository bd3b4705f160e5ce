#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/err.h"
#include "libdmq/base/utf8.h"

static void
utf8_as_the_rfc_has_it(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "abc",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xc3\xbcz"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xc2\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xe1\x80",
                                      "\xe1\x80\x41",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x90\x80",
                                      "\xf1\x80\x80\x41",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xfe",
                                      "\xff"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(utf8_valid(bytes_str(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(utf8_valid(bytes_str(bad[i])));
    }
    assert_true(utf8_valid(bytes_of("a\0b", 3)));
}

static void
repaired(const char *text, const char *expected)
{
    char copy[32];
    assert_true(strlen(text) < sizeof(copy));
    memcpy(copy, text, strlen(text) + 1);
    utf8_repair(copy);
    assert_string_equal(copy, expected);
}

static void
what_is_not_utf8_becomes_a_question_mark(void **state)
{
    (void)state;
    repaired("", "");
    repaired("a\xc3\xbcz", "a\xc3\xbcz");
    repaired("a\xc3", "a?");
    repaired("\xe2\x82", "??");
    repaired("\xe2\x82\xac\xe2\x82", "\xe2\x82\xac??");
    repaired("\xff\xc3\xbc\x80", "?\xc3\xbc?");
}

/* A sentence quotes what came from outside, and may be cut anywhere. */
static void
sentences_of_errors_are_utf8(void **state)
{
    (void)state;
    struct err_msg err;
    char word[512];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(word, 'x', sizeof(word));
        for (size_t i = shift; i + 4 < sizeof(word); i += 3) {
            memcpy(word + i, "\xe2\x82\xac", 3);
        }
        word[sizeof(word) - 1] = '\0';
        err_set(&err, DMQ_ERR_INVALID_CONFIG, "the setting %s", word);
        assert_true(utf8_valid(bytes_str(err.text)));
        assert_true(strlen(err.text) == sizeof(err.text) - 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_as_the_rfc_has_it),
        cmocka_unit_test(what_is_not_utf8_becomes_a_question_mark),
        cmocka_unit_test(sentences_of_errors_are_utf8),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
