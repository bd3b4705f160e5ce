#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/os/log.h"
#include "libdmq/os/log_limit.h"

static char said[32768];

/* What write_lines says on stderr. */
static const char *
capture(void (*write_lines)(void))
{
    int ends[2];
    int former = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    write_lines();
    dup2(former, STDERR_FILENO);
    close(former);
    ssize_t size = read(ends[0], said, sizeof(said) - 1);
    close(ends[0]);
    said[size > 0 ? size : 0] = 0;
    return said;
}

static void
say_two(void)
{
    log_debug("hidden a=1");
    log_info("started port=%d", 9510);
    log_error("failed what=\"%s\"", "a\nb\033[31m");
}

static void
one_fact_a_line(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "controller", 1);
    const char *text = capture(say_two);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "Z info controller=1 started port=9510\n"));
    assert_non_null(strstr(text, "Z error controller=1 failed what=\"a b [31m\"\n"));
    assert_int_equal(strspn(text, "0123456789-T:."), 23); /* the time */
}

static void
say_much(void)
{
    char much[3000];
    memset(much, 'x', sizeof(much) - 1);
    much[sizeof(much) - 1] = 0;
    log_warn("%s", much);
}

static void
a_long_line_is_cut(void **state)
{
    (void)state;
    const char *text = capture(say_much);
    assert_true(strlen(text) < 1100);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void
say_bytes(void)
{
    log_warn("refused host=\"%s\" n=%d", "a\\\xff\n\"", -3);
}

static void
json_is_one_object_a_line(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO, LOG_FORMAT_JSON, "broker", 101);
    const char *text = capture(say_bytes);
    assert_int_equal(strncmp(text, "{\"time\":\"2", 10), 0);
    assert_non_null(strstr(text, "\"level\":\"warn\",\"node\":\"broker=101\",\"event\":\"refused\","
                                 "\"host\":\"a\\\\? \\\"\",\"n\":-3}\n"));
    capture(say_much); /* fits */
    assert_string_equal(said + strlen(said) - 3, "\"}\n");
}

static void
say_often(void)
{
    for (int i = 0; i < LOG_LIMIT_LINES + 20; i++) {
        log_info("again i=%d", i);
    }
    log_info("other");
}

static size_t
count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

static void
what_repeats_is_limited(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "broker", 101);
    const char *text = capture(say_often);
    assert_int_equal(count_of(text, " again i="), LOG_LIMIT_LINES);
    assert_int_equal(count_of(text, " log_limited of=again seconds=10\n"), 1);
    assert_int_equal(count_of(text, " other\n"), 1);
    log_init(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, "broker", 101);
    assert_int_equal(count_of(capture(say_often), " again i="), LOG_LIMIT_LINES + 20);
}

static void
levels_have_names(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_DEBUG;
    assert_true(log_level_parse("warn", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_false(log_level_parse("loud", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
    enum log_format format = LOG_FORMAT_TEXT;
    assert_true(log_format_parse("json", &format));
    assert_int_equal(format, LOG_FORMAT_JSON);
    assert_false(log_format_parse("xml", &format));
    assert_int_equal(format, LOG_FORMAT_JSON);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_fact_a_line),           cmocka_unit_test(a_long_line_is_cut),
        cmocka_unit_test(json_is_one_object_a_line), cmocka_unit_test(what_repeats_is_limited),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
