#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/conf/json_line.h"
#include "libdmq/conf/services.h"

static const char good[] =
    "{ \"cluster\": \"prod\",\n"
    "  \"controllers\": [ {\"id\": 1, \"host\": \"10.0.0.1\", \"port\": 9510, \"httpPort\": "
    "8080},\n"
    "                   {\"id\": 2, \"host\": \"10.0.0.2\", \"listenHost\": \"0.0.0.0\"} ],\n"
    "  \"brokers\": [ {\"id\": 101, \"host\": \"b1\", \"port\": 9501, \"peerPort\": 10501,\n"
    "                \"httpPort\": 8082, \"rack\": \"r1\", \"controller\": 2,\n"
    "                \"advertisedHost\": \"pub\", \"advertisedPort\": 443},\n"
    "               {\"id\": 102, \"host\": \"b2\"} ] }\n";

static void
reads_every_field(void **state)
{
    (void)state;
    struct services s;
    struct err_msg err;
    assert_int_equal(services_load(good, &s, &err), DMQ_OK);
    assert_string_equal(s.cluster, "prod");
    assert_int_equal(s.controller_count, 2);
    assert_int_equal(s.broker_count, 2);
    const struct service_controller *c = services_controller(&s, 1);
    assert_string_equal(c->host, "10.0.0.1");
    assert_string_equal(c->listen_host, "10.0.0.1");
    assert_int_equal(c->http_port, 8080);
    assert_string_equal(services_controller(&s, 2)->listen_host, "0.0.0.0");
    const struct service_broker *b = services_broker(&s, 101);
    assert_int_equal(b->peer_port, 10501);
    assert_int_equal(b->http_port, 8082);
    assert_int_equal(b->controller, 2);
    assert_int_equal(b->advertised_port, 443);
    assert_string_equal(b->rack, "r1");
    assert_string_equal(b->advertised_host, "pub");
    assert_null(services_broker(&s, 1));
    assert_null(services_controller(&s, 101));
    services_deinit(&s);
}

static void
fills_in_defaults(void **state)
{
    (void)state;
    struct services s;
    struct err_msg err;
    assert_int_equal(services_load(good, &s, &err), DMQ_OK);
    const struct service_broker *b = services_broker(&s, 102);
    assert_int_equal(services_controller(&s, 2)->port, 9510);
    assert_int_equal(services_controller(&s, 2)->http_port, 0);
    assert_int_equal(b->port, 9501);
    assert_int_equal(b->peer_port, 10501);
    assert_int_equal(b->advertised_port, 9501);
    assert_int_equal(b->http_port, 0);
    assert_int_equal(b->controller, 2); /* number 1 of 2 */
    assert_string_equal(b->listen_host, "b2");
    assert_string_equal(b->advertised_host, "");
    services_deinit(&s);
}

static void
reads_a_file_and_names_it(void **state)
{
    (void)state;
    struct services s;
    struct err_msg err;
    char path[] = "/var/tmp/dmq-test-services-XXXXXX";
    int fd = mkstemp(path);
    assert_true(write(fd, good, sizeof(good) - 1) == sizeof(good) - 1);
    assert_int_equal(services_load(path, &s, &err), DMQ_OK);
    services_deinit(&s);
    assert_int_equal(ftruncate(fd, 40), 0);
    assert_int_equal(services_load(path, &s, &err), DMQ_ERR_INVALID_CONFIG);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, ":2: no valid JSON"));
    close(fd);
    unlink(path);
    assert_int_equal(services_load(path, &s, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, path));
}

#define CONTROLLERS "{\n\"controllers\": [{\"id\": 1, \"host\": \"a\"}],\n"

static const struct {
    const char *text;
    const char *said;
} bad[] = {
    {"{}", "controllers: must be an array"},
    {"{\"controllers\": [], \"brokers\": []}", ":1: controllers: is empty"},
    {CONTROLLERS "\n\"broker\": []}", ":4: broker: unknown field"},
    {CONTROLLERS "\"cluster\": 5, \"brokers\": []}", ":3: cluster: must be a string"},
    {CONTROLLERS "\"brokers\": [7]}", ":3: brokers[0]: must be an object"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1}]}", ":3: brokers[0]: 'host' is missing"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\",\n\"prot\": 3}]}",
     ":4: brokers[0].prot: unknown field: did you mean 'port'?"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\", \"zone\": 3}]}",
     "brokers[0].zone: unknown field: remove it"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\"},\n\n{\"id\": 2, \"host\": \"c\",\n"
                 "\"port\": 65536}]}",
     ":6: brokers[1].port: must be a port: 1 to 65535"},
    {CONTROLLERS "\"brokers\": [{\"id\": \"1\", \"host\": \"b\"}]}",
     "brokers[0].id: must be a whole number without quotes"},
    {CONTROLLERS "\"brokers\": [{\"id\": -1, \"host\": \"b\"}]}", "brokers[0].id: must be 0 to"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"\"}]}", "brokers[0].host: must have 1 to"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\\u0000c\"}]}", "no valid JSON: \\u0000"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\", \"port\": 65000}]}",
     "port + 1000 is no port: give 'peerPort'"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\", \"controller\": 9}]}",
     "brokers[0].controller: no controller has the id 9"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"b\"}, {\"id\": 1, \"host\": \"c\"}]}",
     "brokers[1].id: 1 is given twice"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"host\": \"a\", \"peerPort\": 9510}]}",
     "brokers[0].peerPort: a:9510 is taken by controllers[0].port"},
    {CONTROLLERS "\"brokers\": [{\"id\": 1, \"id\": 2, \"host\": \"a\"}]}", "duplicate"},
};

static void
errors_name_line_field_and_remedy(void **state)
{
    (void)state;
    struct services s;
    struct err_msg err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(services_load(bad[i].text, &s, &err), DMQ_ERR_INVALID_CONFIG);
        if (strstr(err.text, bad[i].said) == NULL) {
            fail_msg("case %zu said: %s", i, err.text);
        }
    }
}

static void
finds_lines_in_json(void **state)
{
    (void)state;
    const char text[] = "{\"a\": {\"b\": 1},\n\"s\": \"\\\"b\\\": {\",\n"
                        "\"b\": [{\"x\": {\"y\": 1}},\n{\"y\": 2,\n\"z\": \"y\"}]}";
    assert_int_equal(json_line_of(text, NULL, 0, "a"), 1);
    assert_int_equal(json_line_of(text, NULL, 0, "b"), 3);
    assert_int_equal(json_line_of(text, "b", 0, "y"), 3); /* not in it: where it begins */
    assert_int_equal(json_line_of(text, "b", 1, NULL), 4);
    assert_int_equal(json_line_of(text, "b", 1, "y"), 4);
    assert_int_equal(json_line_of(text, "b", 1, "z"), 5);
    assert_int_equal(json_line_of(text, "b", 2, "z"), 0);
    assert_int_equal(json_line_of(text, NULL, 0, "x"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(fills_in_defaults),
        cmocka_unit_test(reads_a_file_and_names_it),
        cmocka_unit_test(errors_name_line_field_and_remedy),
        cmocka_unit_test(finds_lines_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
