#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "libdmq/cli/lines.h"

/* A pipe that holds some bytes and is closed behind them. */
static int
pipe_with(const void *data, size_t size)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], data, size), size);
    close(fds[1]);
    return fds[0];
}

static void
assert_line(struct lines *lines, const void *expected, size_t size)
{
    const char *data;
    size_t got;
    assert_int_equal(lines_next(lines, &data, &got), LINES_ONE);
    assert_int_equal(got, size);
    assert_memory_equal(data, expected, size);
}

static void
assert_ends(struct lines *lines)
{
    const char *data;
    size_t size;
    assert_int_equal(lines_next(lines, &data, &size), LINES_END);
    close(lines->fd);
    lines_deinit(lines);
}

static void
any_bytes(void **state)
{
    (void)state;
    struct lines lines;
    assert_true(lines_init(&lines, pipe_with("a\r\n\n\0\xff\nlast", 11), -1));
    assert_line(&lines, "a\r", 2);
    assert_true(lines_is_ready(&lines));
    assert_line(&lines, "", 0);
    assert_line(&lines, "\0\xff", 2);
    assert_false(lines_is_ready(&lines));
    assert_line(&lines, "last", 4);
    assert_ends(&lines);
}

static void
a_last_newline_adds_no_line(void **state)
{
    (void)state;
    struct lines lines;
    assert_true(lines_init(&lines, pipe_with("a\n", 2), -1));
    assert_line(&lines, "a", 1);
    assert_ends(&lines);
    assert_true(lines_init(&lines, pipe_with("", 0), -1));
    assert_ends(&lines);
    assert_true(lines_init(&lines, pipe_with("\n", 1), -1));
    assert_line(&lines, "", 0);
    assert_ends(&lines);
}

static FILE *
file_of(const char *data, size_t size)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fflush(file);
    lseek(fileno(file), 0, SEEK_SET);
    return file;
}

static void
lines_longer_than_the_buffer(void **state)
{
    (void)state;
    const size_t SIZE = 1000000;
    char *data = malloc(2 * SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < 2 * SIZE; i++) {
        data[i] = (char)('a' + i % 26);
    }
    data[SIZE] = '\n';
    FILE *file = file_of(data, 2 * SIZE);
    struct lines lines;
    assert_true(lines_init(&lines, fileno(file), -1));
    assert_line(&lines, data, SIZE);
    assert_line(&lines, data + SIZE + 1, SIZE - 1);
    lines_deinit(&lines);
    fclose(file);
    free(data);
}

static void
a_line_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    const char *data;
    size_t size;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), LINES_SIZE_MAX + 1), 0); /* of NULs */
    struct lines lines;
    assert_true(lines_init(&lines, fileno(file), -1));
    assert_int_equal(lines_next(&lines, &data, &size), LINES_TOO_LONG);
    lines_deinit(&lines);
    assert_int_equal(ftruncate(fileno(file), LINES_SIZE_MAX), 0);
    lseek(fileno(file), 0, SEEK_SET);
    assert_true(lines_init(&lines, fileno(file), -1));
    assert_int_equal(lines_next(&lines, &data, &size), LINES_ONE);
    assert_int_equal(size, LINES_SIZE_MAX);
    lines_deinit(&lines);
    fclose(file);
}

static void
stops_while_it_waits(void **state)
{
    (void)state;
    const char *data;
    size_t size;
    int stop = pipe_with("x", 1);
    int input[2];
    assert_int_equal(pipe(input), 0);
    struct lines lines;
    assert_true(lines_init(&lines, input[0], stop));
    assert_int_equal(lines_next(&lines, &data, &size), LINES_STOPPED);
    lines_deinit(&lines);
    close(input[0]);
    close(input[1]);
    close(stop);
}

/* Whoever must look at something else meanwhile gets a word now and then; no byte is lost. */
static void
comes_back_while_nothing_comes(void **state)
{
    (void)state;
    const char *data;
    size_t size;
    int input[2];
    struct lines lines;
    assert_int_equal(pipe(input), 0);
    assert_true(lines_init(&lines, input[0], -1));
    lines.wait_ms = 1;
    assert_int_equal(lines_next(&lines, &data, &size), LINES_WAITING);
    assert_int_equal(write(input[1], "ab", 2), 2);
    assert_int_equal(lines_next(&lines, &data, &size), LINES_WAITING);
    assert_int_equal(write(input[1], "c\n", 2), 2);
    assert_line(&lines, "abc", 3);
    close(input[1]);
    assert_ends(&lines);
}

static void
a_failed_read_is_told(void **state)
{
    (void)state;
    const char *data;
    size_t size;
    int folder = fileno(tmpfile());
    close(folder);
    struct lines lines;
    assert_true(lines_init(&lines, folder, -1));
    assert_int_equal(lines_next(&lines, &data, &size), LINES_FAILED);
    lines_deinit(&lines);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(a_last_newline_adds_no_line),
        cmocka_unit_test(lines_longer_than_the_buffer),
        cmocka_unit_test(a_line_beyond_the_limit_is_refused),
        cmocka_unit_test(stops_while_it_waits),
        cmocka_unit_test(comes_back_while_nothing_comes),
        cmocka_unit_test(a_failed_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
