#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/dev_folder.h"
#include "libdmq/cli/json_read.h"

static const char TOPICS[] =
    "{\"topics\" : [ {\"topicName\":\"a\\\"b\\u00e4\", \"partitionCount\": 3,"
    "\"config\":{\"x.y\":\"1\", \"z\":\"}\"}}, {\"topicName\":\"c\"} ],"
    "\"n\":-7,\"f\":1.5,\"t\":true,\"e\":[],\"o\":{}}";

static void
members_and_elements(void **state)
{
    (void)state;
    char text[32];
    struct json root = json_root(TOPICS);
    struct json topics = json_member(root, "topics");
    assert_int_equal(json_count(topics), 2);
    struct json cursor = {0};
    struct json first = json_next(topics, &cursor, NULL);
    assert_string_equal(json_to_text(json_member(first, "topicName"), text, sizeof(text)),
                        "a\"b\xc3\xa4");
    assert_int_equal(json_to_int(json_member(first, "partitionCount"), -1), 3);
    struct json second = json_next(topics, &cursor, NULL);
    assert_string_equal(json_to_text(json_member(second, "topicName"), text, sizeof(text)), "c");
    assert_true(json_is_none(json_next(topics, &cursor, NULL)));

    struct json config = json_member(first, "config");
    struct json name;
    cursor = (struct json){0};
    struct json value = json_next(config, &cursor, &name);
    assert_string_equal(json_to_text(name, text, sizeof(text)), "x.y");
    assert_string_equal(json_to_text(value, text, sizeof(text)), "1");
    value = json_next(config, &cursor, &name);
    assert_string_equal(json_to_text(name, text, sizeof(text)), "z");
    assert_string_equal(json_to_text(value, text, sizeof(text)), "}");
}

static void
plain_values(void **state)
{
    (void)state;
    char text[32];
    struct json root = json_root(TOPICS);
    assert_int_equal(json_to_int(json_member(root, "n"), 0), -7);
    assert_int_equal(json_to_int(json_member(root, "t"), 9), 9);
    assert_int_equal(json_to_int(json_member(root, "none"), 9), 9);
    assert_string_equal(json_to_text(json_member(root, "t"), text, sizeof(text)), "true");
    assert_string_equal(json_to_text(json_member(root, "none"), text, sizeof(text)), "");
    assert_int_equal(json_count(json_member(root, "e")), 0);
    assert_int_equal(json_count(json_member(root, "o")), 0);
    assert_int_equal(json_count(json_member(root, "n")), 0);
}

static void
text_is_cut_to_fit(void **state)
{
    (void)state;
    char text[8];
    json_to_text(json_root("\"abcdefghijklmnop\""), text, sizeof(text));
    assert_true(strlen(text) < sizeof(text));
    assert_memory_equal(text, "abcd", 4);
}

/* Every piece of a text, cut anywhere: never read beyond it (the sanitizers watch). */
static void
a_cut_text_reads_as_none(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof(TOPICS) - 1; size++) {
        char *cut = malloc(size + 1);
        assert_non_null(cut);
        memcpy(cut, TOPICS, size);
        cut[size] = '\0';
        assert_true(json_is_none(json_root(cut)));
        free(cut);
    }
}

static void
malformed_text_reads_as_none(void **state)
{
    (void)state;
    const char *const bad[] = {"",   "   ",  "}", "]",      ",",      ":",
                               "\"", "\"\\", "[", "{\"a\"", "{\"a\":"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_true(json_is_none(json_root(bad[i])));
    }
    assert_true(json_is_none(json_root(NULL)));
    assert_true(json_is_none(json_member(json_root("[\"a\",1]"), "a")));
    char deep[200];
    memset(deep, '[', 99);
    memset(deep + 99, ']', 99);
    deep[198] = '\0';
    assert_true(json_is_none(json_root(deep)));
}

static void
truths_and_lists(void **state)
{
    (void)state;
    char text[16];
    assert_true(json_to_bool(json_root("true")));
    assert_false(json_to_bool(json_root("false")));
    assert_false(json_to_bool(json_root("\"true\"")));
    assert_false(json_to_bool(json_root(NULL)));
    assert_string_equal(json_join(json_root("[101, 102,103]"), text, sizeof(text)), "101,102,103");
    assert_string_equal(json_join(json_root("[1000000,2000000,3000000]"), text, sizeof(text)),
                        "1000000,2000000");
    assert_string_equal(json_join(json_root("[]"), text, sizeof(text)), "");
    assert_string_equal(json_join(json_root(NULL), text, sizeof(text)), "");
}

static void
ports_of_the_last_run(void **state)
{
    (void)state;
    struct dev_ports ports = dev_ports_parse(
        "{\"cluster\":\"dev\",\"controllers\":[{\"id\":1,\"port\":1111}],"
        "\"brokers\":[{\"id\":101,\"port\":2222,\"peerPort\":3333,\"httpPort\":4444}]}");
    assert_int_equal(ports.controller, 1111);
    assert_int_equal(ports.client, 2222);
    assert_int_equal(ports.peer, 3333);
    assert_int_equal(ports.http, 4444);
    ports = dev_ports_parse("garbage");
    assert_int_equal(ports.controller + ports.client + ports.peer, 0);
    ports = dev_ports_parse("");
    assert_int_equal(ports.controller + ports.client + ports.peer, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_elements),  cmocka_unit_test(plain_values),
        cmocka_unit_test(text_is_cut_to_fit),    cmocka_unit_test(a_cut_text_reads_as_none),
        cmocka_unit_test(truths_and_lists),      cmocka_unit_test(malformed_text_reads_as_none),
        cmocka_unit_test(ports_of_the_last_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
