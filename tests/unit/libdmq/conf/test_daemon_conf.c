#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/conf/daemon_conf.h"

#define SERVICES                                                                                   \
    "{\"controllers\":[{\"id\":1,\"host\":\"a\"}],\"brokers\":[{\"id\":101,\"host\":\"b\"}]}"

static char *no_environment[] = {NULL};

static void
options_are_read(void **state)
{
    (void)state;
    struct daemon_conf conf;
    struct err_msg err;
    char *args[] = {"--services",
                    SERVICES,
                    "--id=101",
                    "--set",
                    "log.level=warn",
                    "--data",
                    "/d",
                    "--set=log.segment.bytes=2048",
                    NULL};
    assert_int_equal(daemon_conf_load(PLACE_BROKER, args, no_environment, &conf, &err), DMQ_OK);
    assert_int_equal(conf.node_id, 101);
    assert_string_equal(conf.data_dir, "/d");
    assert_string_equal(conf.role, "broker");
    assert_ptr_equal(conf.broker, &conf.services.brokers[0]);
    assert_null(conf.controller);
    assert_string_equal(setting_text(&conf.settings, SETTING_LOG_LEVEL), "warn");
    assert_int_equal(setting_number(&conf.settings, SETTING_LOG_SEGMENT_BYTES), 2048);
    assert_false(conf.help || conf.version);
    daemon_conf_deinit(&conf);
}

static void
the_environment_stands_in(void **state)
{
    (void)state;
    struct daemon_conf conf;
    struct err_msg err;
    char *args[] = {NULL};
    char *environment[] = {"DMQ_SERVICES=" SERVICES, "DMQ_NODE_ID=1", "DMQ_LOG_LEVEL=debug", NULL};
    assert_int_equal(daemon_conf_load(PLACE_CONTROLLER, args, environment, &conf, &err), DMQ_OK);
    assert_int_equal(conf.controller->id, 1);
    assert_string_equal(conf.data_dir, "/var/lib/dmq");
    assert_string_equal(setting_text(&conf.settings, SETTING_LOG_LEVEL), "debug");
    daemon_conf_deinit(&conf);
}

static void
refused(char *const *args, const char *said)
{
    struct daemon_conf conf;
    struct err_msg err;
    assert_int_not_equal(daemon_conf_load(PLACE_BROKER, args, no_environment, &conf, &err), DMQ_OK);
    if (strstr(err.text, said) == NULL) {
        fail_msg("said: %s", err.text);
    }
}

#define REFUSED(said, ...) refused((char *[]){__VA_ARGS__, NULL}, said)

static void
wrong_usage_is_explained(void **state)
{
    (void)state;
    REFUSED("unknown argument '--serivces': did you mean --services?", "--serivces", SERVICES);
    REFUSED("unknown argument 'x': --help lists them", "x");
    REFUSED("--id needs a value", "--services", SERVICES, "--id");
    REFUSED("--set needs a value", "--set");
    REFUSED("--services FILE (or DMQ_SERVICES) is missing", "--id", "101");
    REFUSED("--id N (or DMQ_NODE_ID) is missing", "--services", SERVICES);
    REFUSED("--id 'x': must be a number", "--services", SERVICES, "--id", "x");
    REFUSED("--id '-1': must be a number", "--services", SERVICES, "--id", "-1");
    REFUSED("no broker has this id in DMQ_SERVICES", "--services", SERVICES, "--id", "1");
    REFUSED("/nonexistent", "--services", "/nonexistent", "--id", "101");
    REFUSED("did you mean 'log.level'?", "--services", SERVICES, "--id", "101", "--set",
            "log.levl=info");
    REFUSED("/none", "--services", SERVICES, "--id", "101", "--config", "/none");
}

static char said[4][SETTING_LINE_SIZE];
static size_t said_count;

static void
say(const char *line)
{
    assert_true(said_count < 4);
    snprintf(said[said_count++], SETTING_LINE_SIZE, "%s", line);
}

static void
what_is_in_force_is_said_with_its_source(void **state)
{
    (void)state;
    struct daemon_conf conf;
    struct err_msg err;
    char *environment[] = {"DMQ_LOG_LEVEL=debug", "DMQ_BROKER_SESSION_TIMEOUT_MS=60", NULL};
    char *args[] = {"--services", SERVICES, "--id", "101", "--set", "log.segment.bytes=8192", NULL};
    assert_int_equal(daemon_conf_load(PLACE_BROKER, args, environment, &conf, &err), DMQ_OK);
    said_count = 0;
    daemon_conf_each_setting(&conf, say);
    assert_int_equal(said_count, 3); /* the session timeout is a controller's */
    assert_string_equal(said[0], "setting log.segment.bytes=8192 from=\"--set\"");
    assert_string_equal(said[1], "setting log.level=debug from=\"environment DMQ_LOG_LEVEL\"");
    assert_memory_equal(said[2], "defaults broker.heartbeat.interval.ms=500 ", 42);
    assert_non_null(strstr(said[2], " log.format=text"));
    assert_null(strstr(said[2], "log.level"));
    assert_null(strstr(said[2], "session"));
    daemon_conf_deinit(&conf);
}

static void
help_needs_nothing_else(void **state)
{
    (void)state;
    struct daemon_conf conf;
    struct err_msg err;
    char *help[] = {"--help", NULL};
    char *version[] = {"--version", NULL};
    assert_int_equal(daemon_conf_load(PLACE_BROKER, help, no_environment, &conf, &err), DMQ_OK);
    assert_true(conf.help);
    assert_int_equal(daemon_conf_load(PLACE_BROKER, version, no_environment, &conf, &err), DMQ_OK);
    assert_true(conf.version);
    daemon_conf_deinit(&conf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(the_environment_stands_in),
        cmocka_unit_test(wrong_usage_is_explained),
        cmocka_unit_test(what_is_in_force_is_said_with_its_source),
        cmocka_unit_test(help_needs_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
