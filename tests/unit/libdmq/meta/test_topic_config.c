#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/meta/topic_config.h"

static void
good(const char *name, const char *value)
{
    struct err_msg err;
    assert_int_equal(topic_config_check(bytes_str(name), bytes_str(value), &err), DMQ_OK);
}

static void
bad(const char *name, const char *value, const char *sentence)
{
    struct err_msg err;
    assert_int_equal(topic_config_check(bytes_str(name), bytes_str(value), &err),
                     DMQ_ERR_INVALID_CONFIG);
    assert_string_equal(err.text, sentence);
}

static void
numbers_are_checked_against_their_range(void **state)
{
    (void)state;
    good("max.message.bytes", "1048588");
    good("max.message.bytes", "61");
    good("retention.ms", "-1");
    good("retention.ms", "9223372036854775807");
    bad("max.message.bytes", "60", "max.message.bytes is 60: it must be from 61 to 1073741824");
    bad("retention.ms", "-2", "retention.ms is -2: it must be from -1 to 9223372036854775807");
    bad("retention.ms", "9223372036854775808",
        "retention.ms is \"9223372036854775808\": it must be a whole number");
    bad("segment.bytes", "", "segment.bytes is \"\": it must be a whole number");
    bad("segment.bytes", "-", "segment.bytes is \"-\": it must be a whole number");
    bad("segment.bytes", "1e6", "segment.bytes is \"1e6\": it must be a whole number");
    bad("segment.bytes", " 5", "segment.bytes is \" 5\": it must be a whole number");
    bad("min.insync.replicas", "0", "min.insync.replicas is 0: it must be from 1 to 64");
}

static void
words_are_checked_against_the_choices(void **state)
{
    (void)state;
    good("durability", "sync");
    good("durability", "async");
    good("cleanup.policy", "delete");
    bad("durability", "Sync", "durability is \"Sync\": it must be sync or async");
    bad("durability", "", "durability is \"\": it must be sync or async");
}

static void
an_unknown_setting_suggests_the_nearest(void **state)
{
    (void)state;
    bad("retention.m", "1",
        "there is no topic setting \"retention.m\": did you mean retention.ms?");
    bad("durabilty", "1", "there is no topic setting \"durabilty\": did you mean durability?");
    bad("colour", "red", "there is no topic setting \"colour\"");
    bad("", "", "there is no topic setting \"\"");
}

static void
a_setting_stands_once(void **state)
{
    (void)state;
    struct err_msg err;
    const struct config_entry entries[] = {{bytes_str("durability"), bytes_str("sync")},
                                           {bytes_str("segment.bytes"), bytes_str("8192")},
                                           {bytes_str("durability"), bytes_str("sync")}};
    assert_int_equal(topic_config_check_all(entries, 2, &err), DMQ_OK);
    assert_int_equal(topic_config_check_all(entries, 3, &err), DMQ_ERR_INVALID_CONFIG);
    assert_string_equal(err.text, "the setting durability stands twice");
}

static void
defaults_are_filled_in(void **state)
{
    (void)state;
    const struct config_entry entries[] = {{bytes_str("segment.bytes"), bytes_str("8192")},
                                           {bytes_str("of.the.future"), bytes_str("1")},
                                           {bytes_str("durability"), bytes_str("neither")}};
    struct topic_config config = topic_config_of(entries, 3);
    assert_int_equal(config.segment_bytes, 8192);
    assert_int_equal(config.durability, DURABILITY_SYNC);
    assert_int_equal(config.max_message_bytes, 1048588);
    assert_int_equal(config.retention_ms, INT64_C(604800000));
    assert_int_equal(config.retention_bytes, -1);
    assert_int_equal(topic_config_of(NULL, 0).segment_bytes, INT64_C(1) << 30);
}

static void
min_isr_follows_the_replication_factor(void **state)
{
    (void)state;
    struct topic_config config = topic_config_of(NULL, 0);
    assert_int_equal(topic_config_min_isr(&config, 1), 1);
    assert_int_equal(topic_config_min_isr(&config, 2), 2);
    assert_int_equal(topic_config_min_isr(&config, 3), 2);
    config.min_insync_replicas = 3;
    assert_int_equal(topic_config_min_isr(&config, 3), 3);
}

static void
a_type_is_told_to_people(void **state)
{
    (void)state;
    char type[128];
    for (size_t i = 0; i < topic_setting_count; i++) {
        topic_setting_type(&topic_settings[i], type, sizeof(type));
        if (strcmp(topic_settings[i].name, "durability") == 0) {
            assert_string_equal(type, "sync or async");
        } else if (strcmp(topic_settings[i].name, "min.insync.replicas") == 0) {
            assert_string_equal(type, "a whole number from 1 to 64");
        }
    }
    struct err_msg err;
    assert_int_equal(topic_config_check_name(bytes_str("durability"), &err), DMQ_OK);
    assert_int_equal(topic_config_check_name(bytes_str("durabilty"), &err), DMQ_ERR_INVALID_CONFIG);
    assert_non_null(strstr(err.text, "did you mean durability?"));
}

/* Every row can be set to its own default, but min.insync.replicas, whose default depends. */
static void
defaults_are_within_their_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < topic_setting_count; i++) {
        const struct topic_setting *setting = &topic_settings[i];
        char text[32];
        snprintf(text, sizeof(text), "%lld", (long long)setting->standard);
        const char *value = setting->choices != NULL ? setting->choices[setting->standard] : text;
        if (strcmp(setting->name, "min.insync.replicas") != 0) {
            good(setting->name, value);
        }
        assert_true(i == 0 || strcmp(topic_settings[i - 1].name, setting->name) < 0);
        assert_true(strlen(setting->help) > 10);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_checked_against_their_range),
        cmocka_unit_test(words_are_checked_against_the_choices),
        cmocka_unit_test(an_unknown_setting_suggests_the_nearest),
        cmocka_unit_test(a_setting_stands_once),
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(min_isr_follows_the_replication_factor),
        cmocka_unit_test(a_type_is_told_to_people),
        cmocka_unit_test(defaults_are_within_their_range),
    };
    return cmocka_run_group_tests_name("topic_config", tests, NULL, NULL);
}
