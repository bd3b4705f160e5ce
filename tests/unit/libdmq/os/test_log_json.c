#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/os/log_json.h"

static void
becomes(const char *message, const char *expected)
{
    char json[LOG_JSON_SIZE];
    assert_int_equal(log_json_members(message, json), strlen(expected));
    assert_string_equal(json, expected);
}

static void
pairs_are_members(void **state)
{
    (void)state;
    becomes("stopping", "\"event\":\"stopping\"");
    becomes("stopping signal=15 forced=no",
            "\"event\":\"stopping\",\"signal\":15,\"forced\":\"no\"");
    becomes("setting log.level=debug from=\"file line 3\"",
            "\"event\":\"setting\",\"log.level\":\"debug\",\"from\":\"file line 3\"");
    becomes("event=stopping signal=15", "\"event\":\"stopping\",\"signal\":15");
    becomes("", "\"event\":\"\"");
}

static void
numbers_are_exact_or_strings(void **state)
{
    (void)state;
    becomes("e n=0", "\"event\":\"e\",\"n\":0");
    becomes("e n=-5", "\"event\":\"e\",\"n\":-5");
    becomes("e n=999999999999999", "\"event\":\"e\",\"n\":999999999999999");
    becomes("e n=9999999999999999", "\"event\":\"e\",\"n\":\"9999999999999999\"");
    becomes("e n=007", "\"event\":\"e\",\"n\":\"007\"");
    becomes("e n=-", "\"event\":\"e\",\"n\":\"-\"");
    becomes("e n=1.5 m= k=1e9", "\"event\":\"e\",\"n\":\"1.5\",\"m\":\"\",\"k\":\"1e9\"");
}

static void
texts_may_hold_anything(void **state)
{
    (void)state;
    becomes("e t=\"said \"no\", a=b\" n=1",
            "\"event\":\"e\",\"t\":\"said \\\"no\\\", a=b\",\"n\":1");
    becomes("e t=\"cut here", "\"event\":\"e\",\"t\":\"cut here\"");
    becomes("e t=\"\"", "\"event\":\"e\",\"t\":\"\"");
    becomes("e a=1 then words b=2", "\"event\":\"e\",\"a\":1,\"text\":\"then words b=2\"");
    becomes("e \"x\"=1", "\"event\":\"e\",\"text\":\"\\\"x\\\"=1\"");
    becomes("e =1", "\"event\":\"e\",\"text\":\"=1\"");
    becomes("e p=\\ c=\x01", "\"event\":\"e\",\"p\":\"\\\\\",\"c\":\"\\u0001\"");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_members),
        cmocka_unit_test(numbers_are_exact_or_strings),
        cmocka_unit_test(texts_may_hold_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
