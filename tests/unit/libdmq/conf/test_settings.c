#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/conf/settings.h"

static char path[64];

static const char *
file_with(const char *text)
{
    snprintf(path, sizeof(path), "/var/tmp/dmq-test-settings-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void
later_sources_win(void **state)
{
    (void)state;
    struct settings s;
    struct err_msg err;
    char origin[SETTING_ORIGIN_SIZE];
    char *environment[] = {"PATH=/bin", "DMQ_LOG_SEGMENT_BYTES=2048", "DMQ_LOG_LEVEL=error", NULL};
    settings_init(&s);
    assert_int_equal(setting_number(&s, SETTING_BROKER_SESSION_TIMEOUT_MS), 2000);
    assert_string_equal(setting_origin(&s, SETTING_LOG_LEVEL, origin), "default");
    const char *file = file_with("# ours\n\n log.level = warn \nlog.segment.bytes=4096\n"
                                 "broker.session.timeout.ms = 3000");
    assert_int_equal(settings_read_file(&s, file, &err), DMQ_OK);
    assert_string_equal(setting_text(&s, SETTING_LOG_LEVEL), "warn");
    assert_string_equal(setting_origin(&s, SETTING_LOG_LEVEL, origin), "file line 3");
    assert_int_equal(settings_read_environment(&s, environment, &err), DMQ_OK);
    assert_int_equal(settings_set(&s, "log.level=debug", &err), DMQ_OK);
    assert_string_equal(setting_text(&s, SETTING_LOG_LEVEL), "debug");
    assert_string_equal(setting_origin(&s, SETTING_LOG_LEVEL, origin), "--set");
    assert_int_equal(setting_number(&s, SETTING_LOG_SEGMENT_BYTES), 2048);
    assert_string_equal(setting_origin(&s, SETTING_LOG_SEGMENT_BYTES, origin),
                        "environment DMQ_LOG_SEGMENT_BYTES");
    assert_int_equal(setting_number(&s, SETTING_BROKER_SESSION_TIMEOUT_MS), 3000);
    unlink(file);
}

static void
refused(const char *assignment, const char *said)
{
    struct settings s;
    struct err_msg err;
    settings_init(&s);
    assert_int_equal(settings_set(&s, assignment, &err), DMQ_ERR_INVALID_CONFIG);
    if (strstr(err.text, said) == NULL) {
        fail_msg("'%s' said: %s", assignment, err.text);
    }
}

static void
bad_values_are_refused(void **state)
{
    (void)state;
    refused("log.levle=info", "--set: unknown setting 'log.levle': did you mean 'log.level'?");
    refused("colour=red", "unknown setting 'colour': remove it");
    refused("log.level", "must be key=value");
    refused("log.level=loud", "must be one of debug|info|warn|error");
    refused("log.level=info|warn", "must be one of");
    refused("log.level=", "must be one of");
    refused("broker.session.timeout.ms=", "must be a whole number from 50 to 600000");
    refused("broker.session.timeout.ms=49", "from 50 to 600000");
    refused("broker.session.timeout.ms=600001", "from 50 to 600000");
    refused("broker.session.timeout.ms=2s", "from 50 to 600000");
    refused("broker.session.timeout.ms=99999999999999999999", "from 50 to 600000");
}

static void
files_name_the_line(void **state)
{
    (void)state;
    struct settings s;
    struct err_msg err;
    static const char *const cases[][2] = {
        {"log.level=info\n\nlog.segment.byte=4096\n", ":3: unknown setting"},
        {"log.level=info\nlog.level=warn\n", ":2: log.level was set in line 1 already"},
        {"# x\nnonsense\n", ":2: 'nonsense' must be key=value"},
        {"\n\n\nlog.level=x\n", ":4: log.level = 'x': must be one of"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        settings_init(&s);
        const char *file = file_with(cases[i][0]);
        assert_int_equal(settings_read_file(&s, file, &err), DMQ_ERR_INVALID_CONFIG);
        assert_non_null(strstr(err.text, file));
        assert_non_null(strstr(err.text, cases[i][1]));
        unlink(file);
    }
    assert_int_equal(settings_read_file(&s, "/nonexistent", &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent"));
}

static dmq_err
environment_with(const char *variable, struct settings *s, struct err_msg *err)
{
    char text[200];
    char *environment[] = {text, NULL};
    snprintf(text, sizeof(text), "%s", variable);
    settings_init(s);
    return settings_read_environment(s, environment, err);
}

static void
variables_of_others_are_left_alone(void **state)
{
    (void)state;
    struct settings s;
    struct err_msg err;
    assert_int_equal(environment_with("DMQ_URL=dmq://a:1", &s, &err), DMQ_OK);
    assert_int_equal(environment_with("DMQ_TEST_DIR=/x", &s, &err), DMQ_OK);
    assert_int_equal(environment_with("DMQ_LOG_LEVL=info", &s, &err), DMQ_ERR_INVALID_CONFIG);
    assert_non_null(strstr(err.text, "did you mean DMQ_LOG_LEVEL?"));
    assert_int_equal(environment_with("DMQ_LOG_LEVEL=x", &s, &err), DMQ_ERR_INVALID_CONFIG);
    assert_non_null(strstr(err.text, "DMQ_LOG_LEVEL: log.level = 'x'"));
}

static void
a_value_may_stand_in_a_file(void **state)
{
    (void)state;
    struct settings s;
    struct err_msg err;
    char variable[128];
    snprintf(variable, sizeof(variable), "DMQ_LOG_LEVEL_FILE=%s", file_with("warn\n"));
    assert_int_equal(environment_with(variable, &s, &err), DMQ_OK);
    assert_string_equal(setting_text(&s, SETTING_LOG_LEVEL), "warn");
    char origin[SETTING_ORIGIN_SIZE];
    assert_string_equal(setting_origin(&s, SETTING_LOG_LEVEL, origin),
                        "environment DMQ_LOG_LEVEL_FILE");
    unlink(path);
    assert_int_equal(environment_with(variable, &s, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "DMQ_LOG_LEVEL_FILE"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(files_name_the_line),
        cmocka_unit_test(variables_of_others_are_left_alone),
        cmocka_unit_test(a_value_may_stand_in_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
