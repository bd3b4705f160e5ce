#include "libdmq/http/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *
not_ready(const void *daemon)
{
    return daemon;
}

static void
metrics(const void *daemon, struct outbuf *out)
{
    http_metric(out, "dmq_ready", "gauge", "Ready.", daemon == NULL);
}

/* Asks a daemon that is ready, or is not for this reason. */
static void
check(const char *why, const char *method, const char *path, int status, const char *text)
{
    const struct http_health health = {.daemon = why, .not_ready = not_ready, .metrics = metrics};
    const struct http_request request = {.method = method, .path = path};
    struct http_response response = {.status = 200, .content_type = "text/plain"};
    http_health(&health, &request, &response);
    assert_int_equal(response.status, status);
    assert_int_equal(response.body.size, strlen(text));
    assert_memory_equal(response.body.data == NULL ? (const void *)"" : response.body.data, text,
                        strlen(text));
    outbuf_deinit(&response.body);
}

static void
readiness_is_what_the_daemon_says(void **state)
{
    (void)state;
    check(NULL, "GET", "/health/ready", 200, "ready\n");
    check(NULL, "HEAD", "/health/ready", 200, "ready\n");
    check("stopping", "GET", "/health/ready", 503, "stopping\n");
    check("stopping", "GET", "/health/live", 200, "live\n");
    check("stopping", "GET", "/metrics", 200,
          "# HELP dmq_ready Ready.\n# TYPE dmq_ready gauge\ndmq_ready 0\n");
}

static void
nothing_else_is_there(void **state)
{
    (void)state;
    const char *known = "there are /health/live, /health/ready and /metrics\n";
    check(NULL, "GET", "/", 404, known);
    check(NULL, "GET", "/health", 404, known);
    check(NULL, "GET", "/health/ready/", 404, known);
    check(NULL, "POST", "/health/ready", 405, "");
    check(NULL, "DELETE", "/metrics", 405, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readiness_is_what_the_daemon_says),
        cmocka_unit_test(nothing_else_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
