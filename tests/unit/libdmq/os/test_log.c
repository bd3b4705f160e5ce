#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/os/log.h"

static char said[8192];

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
    log_init(LOG_LEVEL_INFO, "controller", 1);
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
levels_have_names(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_DEBUG;
    assert_true(log_level_parse("warn", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_false(log_level_parse("loud", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_fact_a_line),
        cmocka_unit_test(a_long_line_is_cut),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
