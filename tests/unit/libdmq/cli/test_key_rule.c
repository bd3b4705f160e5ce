#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/key_rule.h"

static dmq_bytes
text(const char *s)
{
    return (dmq_bytes){s, strlen(s)};
}

/* key NULL: the record has none. */
static void
assert_split(struct key_rule rule, const char *line, const char *key, const char *value)
{
    dmq_bytes got_key;
    dmq_bytes got_value;
    key_rule_apply(&rule, text(line), &got_key, &got_value);
    assert_int_equal(got_value.size, strlen(value));
    assert_memory_equal(got_value.data, value, got_value.size);
    assert_non_null(got_value.data); /* empty, but not null */
    if (key == NULL) {
        assert_null(got_key.data);
        return;
    }
    assert_non_null(got_key.data);
    assert_int_equal(got_key.size, strlen(key));
    assert_memory_equal(got_key.data, key, got_key.size);
}

static void
no_rule(void **state)
{
    (void)state;
    assert_split((struct key_rule){0}, "a,b", NULL, "a,b");
    assert_split((struct key_rule){0}, "", NULL, "");
}

static void
by_delimiter(void **state)
{
    (void)state;
    struct key_rule colon = {.delim = text(":")};
    struct key_rule arrow = {.delim = text("=>")};
    assert_split(colon, "k:v:w", "k", "v:w");
    assert_split(colon, ":v", "", "v");
    assert_split(colon, "k:", "k", "");
    assert_split(colon, "kv", NULL, "kv");
    assert_split(arrow, "a=b=>c", "a=b", "c");
    assert_split(arrow, "a=", NULL, "a=");
}

static void
by_field(void **state)
{
    (void)state;
    struct key_rule second = {.field = 2};
    struct key_rule second_of_tabs = {.field = 2, .delim = text("\t")};
    assert_split(second, "a,b,c", "b", "a,b,c");
    assert_split(second, "a,b", "b", "a,b");
    assert_split(second, "a,", "", "a,");
    assert_split(second, "a", NULL, "a");
    assert_split(second, "", NULL, "");
    assert_split((struct key_rule){.field = 1}, "", "", "");
    assert_split((struct key_rule){.field = 1}, "a", "a", "a");
    assert_split(second_of_tabs, "a,x\tb\tc", "b", "a,x\tb\tc");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rule),
        cmocka_unit_test(by_delimiter),
        cmocka_unit_test(by_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
