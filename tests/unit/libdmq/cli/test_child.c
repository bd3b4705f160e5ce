#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/cli/child.h"

static const int64_t MS = 1000000;

/* A child that started at 0 and ended at ran_ms; returns how long it then waits. */
static int64_t
delay_after(struct child *child, int64_t ran_ms)
{
    child->started_ns = 0;
    child_ended(child, ran_ms * MS);
    assert_int_equal(child->pid, 0);
    assert_int_equal(child->out, -1);
    assert_false(child->is_ready);
    assert_int_equal(child->restart_ns, (ran_ms + child->delay_ms) * MS);
    return child->delay_ms;
}

static void
who_fails_again_soon_waits_longer(void **state)
{
    (void)state;
    struct child child = {.name = "broker", .out = -1};
    const int64_t expected[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(delay_after(&child, 9999), expected[i]);
    }
    assert_int_equal(delay_after(&child, 10000), 100); /* it had run well */
    assert_int_equal(delay_after(&child, 5), 200);
}

/* A child whose stdout holds `text`. */
static struct child
child_that_said(const char *text)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
    close(fds[1]);
    return (struct child){.name = "broker", .out = fds[0]};
}

static void
a_line_that_begins_with_ready(void **state)
{
    (void)state;
    const struct {
        const char *said;
        bool is_ready;
    } cases[] = {{"ready dmq://x\n", true}, {"hello\nready\n", true}, {"ready", false},
                 {"not ready\n", false},    {"rea\ndy\n", false},     {"\n\n", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct child child = child_that_said(cases[i].said);
        child_read(&child);
        assert_int_equal(child.is_ready, cases[i].is_ready);
        assert_int_equal(child.was_ready, cases[i].is_ready);
        child_read(&child);
        assert_int_equal(child.out, -1); /* the end was seen */
    }
}

static void
starts_and_is_read(void **state)
{
    (void)state;
    struct child child = {.name = "echo", .path = "/bin/echo", .argv = {"echo", "ready", NULL}};
    int status = -1;
    assert_true(child_start(&child, 7));
    assert_int_equal(child.started_ns, 7);
    pid_t pid = child.pid;
    child_read(&child);
    assert_true(child.is_ready);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_string_equal(child_status_text(status), "ended with 0");
    child_ended(&child, 8);
    assert_true(child.was_ready && !child.is_ready);
}

static void
status_in_words(void **state)
{
    (void)state;
    assert_string_equal(child_status_text(SIGKILL), "was killed by signal 9");
    assert_string_equal(child_status_text(2 << 8), "ended with 2");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_fails_again_soon_waits_longer),
        cmocka_unit_test(a_line_that_begins_with_ready),
        cmocka_unit_test(starts_and_is_read),
        cmocka_unit_test(status_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
