#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/meta/names.h"

static void
good_names(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "orders", "A.b_c-9", "...", "-", "__group_state"};
    struct err_msg err;
    char longest[TOPIC_NAME_MAX];
    memset(longest, 'x', sizeof(longest));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(topic_name_check(bytes_str(names[i]), &err), DMQ_OK);
    }
    assert_int_equal(topic_name_check(bytes_of(longest, sizeof(longest)), &err), DMQ_OK);
}

static void
refuse(struct bytes name, const char *sentence)
{
    struct err_msg err;
    assert_int_equal(topic_name_check(name, &err), DMQ_ERR_INVALID_TOPIC);
    assert_string_equal(err.text, sentence);
}

static void
bad_names(void **state)
{
    (void)state;
    char longer[TOPIC_NAME_MAX + 1];
    memset(longer, 'x', sizeof(longer));
    refuse(bytes_str(""), "the topic name is empty");
    refuse(bytes_str("."), "a topic cannot be named \".\" or \"..\"");
    refuse(bytes_str(".."), "a topic cannot be named \".\" or \"..\"");
    refuse(bytes_of(longer, sizeof(longer)),
           "the topic name has 250 characters, at most 249 are allowed");
#define ONLY ": only a-z A-Z 0-9 . _ - are allowed"
    refuse(bytes_str("../etc"), "the topic name has the byte 0x2f at position 3" ONLY);
    refuse(bytes_str("a b"), "the topic name has the byte 0x20 at position 2" ONLY);
    refuse(bytes_of("a\0b", 3), "the topic name has the byte 0x00 at position 2" ONLY);
    refuse(bytes_str("ü"), "the topic name has the byte 0xc3 at position 1" ONLY);
}

static void
internal_names(void **state)
{
    (void)state;
    assert_true(topic_name_internal(bytes_str("__group_state")));
    assert_true(topic_name_internal(bytes_str("__")));
    assert_false(topic_name_internal(bytes_str("_")));
    assert_false(topic_name_internal(bytes_str("a__")));
    assert_false(topic_name_internal(bytes_str("")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names),
        cmocka_unit_test(bad_names),
        cmocka_unit_test(internal_names),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
