#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/wire/codec_json.h"
#include "libdmq/wire/json_name.h"
#include "tests/support/random_msg.h"

union any_msg {
    max_align_t align;
    unsigned char room[1024];
};

struct fixture {
    struct arena arena;
    struct arena parsed;
    struct err_msg err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    arena_init(&f->arena, 8 << 20);
    arena_init(&f->parsed, 8 << 20);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    arena_deinit(&f->parsed);
    free(f);
    return 0;
}

/* In JSON, settings of the same name fall together. */
static bool
has_settings(const struct struct_desc *desc)
{
    for (size_t i = 0; i < desc->field_count; i++) {
        const struct field_desc *field = &desc->fields[i];
        if (field->sub != NULL &&
            (field->sub == desc_config_entry || field->sub == desc_config_change ||
             has_settings(field->sub()))) {
            return true;
        }
    }
    return false;
}

static void
every_message_round_trips(void **state)
{
    struct fixture *f = *state;
    struct rng rng;
    rng_init(&rng, 12);
    size_t compared = 0;
    for (size_t i = 0; i < 100 * message_count(); i++) {
        const struct struct_desc *desc = message_desc(i % message_count());
        union any_msg msg;
        union any_msg back = {0};
        arena_reset(&f->arena);
        arena_reset(&f->parsed);
        random_msg(&rng, desc, &f->arena, &msg);
        char *text = msg_to_json_text(desc, &msg);
        assert_non_null(text);
        assert_int_equal(msg_from_json_text(desc, bytes_str(text), &f->parsed, &back, &f->err),
                         DMQ_OK);
        char *again = msg_to_json_text(desc, &back);
        assert_string_equal(text, again);
        if (!has_settings(desc)) {
            assert_true(msg_equal(desc, 0, &msg, &back));
            compared++;
        }
        free(text);
        free(again);
    }
    assert_true(compared > 1000);
}

static void
a_topic_looks_like_this(void **state)
{
    struct fixture *f = *state;
    int32_t ids[] = {101, 102};
    struct config_entry config[] = {{bytes_str("durability"), bytes_str("async")}};
    struct topic_partition partition = {0, 101, ids, 2, ids, 1, 7};
    struct topic_description topic = {.topic_name = bytes_str("orders"),
                                      .topic_id = {{0xab, 0xcd}},
                                      .partition_count = 1,
                                      .replication_factor = 2,
                                      .config = config,
                                      .config_count = 1,
                                      .partitions = &partition,
                                      .partitions_count = 1};
    (void)f;
    char *text = msg_to_json_text(desc_topic_description(), &topic);
    assert_string_equal(
        text, "{\"topicName\":\"orders\",\"topicId\":\"abcd0000000000000000000000000000\","
              "\"partitionCount\":1,\"replicationFactor\":2,"
              "\"config\":{\"durability\":\"async\"},\"partitions\":[{\"partition\":0,"
              "\"leader\":101,\"replicas\":[101,102],\"isr\":[101],\"leaderEpoch\":7}]}");
    free(text);
}

static dmq_err
parse(struct fixture *f, const struct struct_desc *desc, const char *text, void *msg)
{
    arena_reset(&f->parsed);
    f->err = (struct err_msg){0};
    return msg_from_json_text(desc, bytes_str(text), &f->parsed, msg, &f->err);
}

static void
absent_keys_keep_what_the_caller_set(void **state)
{
    struct fixture *f = *state;
    struct create_topic_request request = {.partition_count = -1, .replication_factor = -1};
    assert_int_equal(parse(f, desc_create_topic_request(),
                           "{\"topicName\":\"o\",\"partitionCount\":3,"
                           "\"config\":{\"segment.bytes\":8192,\"x\":true,\"y\":\"z\"}}",
                           &request),
                     DMQ_OK);
    assert_true(bytes_equal_str(request.topic_name, "o"));
    assert_int_equal(request.partition_count, 3);
    assert_int_equal(request.replication_factor, -1);
    assert_int_equal(request.config_count, 3);
    assert_true(bytes_equal_str(request.config[0].name, "segment.bytes"));
    assert_true(bytes_equal_str(request.config[0].value, "8192"));
    assert_true(bytes_equal_str(request.config[1].value, "true"));
    assert_true(bytes_equal_str(request.config[2].value, "z"));
}

static void
null_takes_a_setting_away(void **state)
{
    struct fixture *f = *state;
    struct alter_topic_request request = {0};
    assert_int_equal(parse(f, desc_alter_topic_request(),
                           "{\"config\":{\"retention.ms\":5,\"segment.bytes\":null}}", &request),
                     DMQ_OK);
    assert_int_equal(request.config_count, 2);
    assert_true(bytes_equal_str(request.config[0].name, "retention.ms"));
    assert_true(bytes_equal_str(request.config[0].value, "5"));
    assert_false(request.config[0].remove);
    assert_true(bytes_equal_str(request.config[1].name, "segment.bytes"));
    assert_true(request.config[1].remove);
    char *text = msg_to_json_text(desc_alter_topic_request(), &request);
    assert_non_null(strstr(text, "\"config\":{\"retention.ms\":\"5\",\"segment.bytes\":null}"));
    free(text);
}

static void
bad(struct fixture *f, const struct struct_desc *desc, const char *text, const char *sentence)
{
    union any_msg msg = {0};
    assert_int_equal(parse(f, desc, text, &msg), DMQ_ERR_INVALID_REQUEST);
    assert_string_equal(f->err.text, sentence);
}

static void
errors_name_the_key_and_why(void **state)
{
    struct fixture *f = *state;
    const struct struct_desc *desc = desc_create_topic_request();
    bad(f, desc, "[]", "the body must be a JSON object");
    bad(f, desc, "{\"topicNme\":\"o\"}", "unknown key \"topicNme\": did you mean \"topicName\"?");
    bad(f, desc, "{\"zzz\":\"o\"}", "unknown key \"zzz\"");
    bad(f, desc, "{\"topic_name\":\"o\"}",
        "unknown key \"topic_name\": did you mean \"topicName\"?");
    bad(f, desc, "{\"topicName\":3}", "\"topicName\" must be a string");
    bad(f, desc, "{\"topicName\":null}", "\"topicName\" must be a string");
    bad(f, desc, "{\"partitionCount\":\"3\"}",
        "\"partitionCount\" must be a whole number from -2147483648 to 2147483647");
    bad(f, desc, "{\"partitionCount\":2147483648}",
        "\"partitionCount\" must be a whole number from -2147483648 to 2147483647");
    bad(f, desc, "{\"partitionCount\":1.5}",
        "\"partitionCount\" must be a whole number from -2147483648 to 2147483647");
    bad(f, desc, "{\"requestId\":\"12\"}",
        "\"requestId\" must be a string of 32 hexadecimal digits");
    bad(f, desc, "{\"requestId\":\"g0000000000000000000000000000000\"}",
        "\"requestId\" must be a string of 32 hexadecimal digits");
    bad(f, desc, "{\"config\":[]}", "\"config\" must be an object of names and values");
    bad(f, desc, "{\"config\":{\"durability\":null}}", "\"durability\" must be a string");
    bad(f, desc_alter_topic_request(), "{\"config\":{\"a\":[1]}}", "\"a\" must be a string");
    bad(f, desc_metadata_request(), "{\"allTopics\":1}", "\"allTopics\" must be true or false");
    bad(f, desc_metadata_request(), "{\"names\":\"a\"}", "\"names\" must be an array");
    bad(f, desc_metadata_request(), "{\"names\":[\"a\",1]}", "\"names\" must be a string");
    bad(f, desc_produce_request(), "{\"partitions\":[1]}", "\"partitions\" must be an object");
    bad(f, desc_metadata_entry(), "{\"records\":[\"Zg\"]}",
        "\"records\" must be a string of base64");
}

static void
what_is_not_json_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct struct_desc *desc = desc_create_topic_request();
    static const char *const texts[] = {"",
                                        "{",
                                        "{}{}",
                                        "{\"topicName\":\"a\",\"topicName\":\"b\"}",
                                        "{\"topicName\":\"\xff\"}",
                                        "nul",
                                        "{\"a\" 1}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct create_topic_request request = {0};
        assert_int_equal(parse(f, desc, texts[i], &request), DMQ_ERR_INVALID_REQUEST);
        assert_memory_equal(f->err.text, "the body is not JSON: line ", 27);
    }
    struct create_topic_request request = {0};
    assert_int_equal(parse(f, desc, "{\"partitionCount\":9223372036854775808}", &request),
                     DMQ_ERR_INVALID_REQUEST);
    assert_non_null(strstr(f->err.text, "a number that is too large: line 1"));
}

static void
limits_hold(void **state)
{
    struct fixture *f = *state;
    char text[400] = "{\"topicName\":\"";
    size_t at = strlen(text);
    union any_msg msg = {0};
    memset(text + at, 'x', 249);
    memcpy(text + at + 249, "\"}", 3);
    assert_int_equal(parse(f, desc_create_topic_request(), text, &msg), DMQ_OK);
    memset(text + at, 'x', 250);
    memcpy(text + at + 250, "\"}", 3);
    bad(f, desc_create_topic_request(), text,
        "\"topicName\" has 250 bytes, at most 249 are allowed");
    memcpy(text, "{\"isr\":[", 9);
    for (int i = 0; i < 65; i++) {
        memcpy(text + 8 + 2 * i, i < 64 ? "1," : "1]}", 4 - (i < 64));
    }
    bad(f, desc_topic_partition(), text, "\"isr\" has 65 values, at most 64 are allowed");

    struct arena small;
    arena_init(&small, 100);
    assert_int_equal(
        msg_from_json_text(desc_create_topic_request(),
                           bytes_str("{\"config\":{\"a\":\"b\",\"c\":\"d\",\"e\":\"f\","
                                     "\"g\":\"h\"}}"),
                           &small, &msg, &f->err),
        DMQ_ERR_NOMEM);
    arena_deinit(&small);
}

static void
names_are_camel_case(void **state)
{
    (void)state;
    char to[JSON_NAME_MAX];
    assert_string_equal(json_name("leader", to), "leader");
    assert_string_equal(json_name("leader_epoch", to), "leaderEpoch");
    assert_string_equal(json_name("max_bytes_in_flight", to), "maxBytesInFlight");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_message_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_looks_like_this, setup, teardown),
        cmocka_unit_test_setup_teardown(absent_keys_keep_what_the_caller_set, setup, teardown),
        cmocka_unit_test_setup_teardown(null_takes_a_setting_away, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_the_key_and_why, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_json_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_hold, setup, teardown),
        cmocka_unit_test(names_are_camel_case),
    };
    return cmocka_run_group_tests_name("codec_json", tests, NULL, NULL);
}
