#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/suggest.h"

static const char *
nearest(const char *typed, const char *const *words)
{
    struct suggest s;
    suggest_init(&s, typed);
    for (; *words != NULL; words++) {
        suggest_offer(&s, *words);
    }
    return s.best;
}

static void
counts_slips(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("topic", "topic"), 0);
    assert_int_equal(suggest_distance("topic", "topik"), 1);
    assert_int_equal(suggest_distance("topic", "tpoic"), 1);
    assert_int_equal(suggest_distance("", "ab"), 2);
    assert_int_equal(suggest_distance("consume", "produce"), 5);
}

static void
a_word_that_is_too_long_is_far_from_all(void **state)
{
    (void)state;
    char word[100];
    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    assert_true(suggest_distance(word, word) == SIZE_MAX);
    assert_null(nearest(word, (const char *const[]){"aaa", NULL}));
}

static void
offers_the_nearest_or_none(void **state)
{
    (void)state;
    const char *const words[] = {"topic", "produce", "consume", "dev", "log", NULL};
    assert_string_equal(nearest("topci", words), "topic");
    assert_string_equal(nearest("prodcue", words), "produce");
    assert_string_equal(nearest("de", words), "dev");
    assert_null(nearest("xyzzy", words));
    assert_null(nearest("q", words));
    assert_null(nearest("foo", words)); /* two of three letters are wrong */
    assert_string_equal(nearest("lgo", words), "log");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_slips),
        cmocka_unit_test(a_word_that_is_too_long_is_far_from_all),
        cmocka_unit_test(offers_the_nearest_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
