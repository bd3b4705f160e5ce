#include "libdmq/cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { START_BYTES = 256 * 1024 };

bool
lines_init(struct lines *lines, int fd, int stop_fd)
{
    *lines = (struct lines){.fd = fd, .stop_fd = stop_fd, .wait_ms = -1, .capacity = START_BYTES};
    lines->data = malloc(START_BYTES);
    return lines->data != NULL;
}

void
lines_deinit(struct lines *lines)
{
    free(lines->data);
}

/* Room behind `end`: move the rest of the last line to the front, then double. */
static bool
make_room(struct lines *lines)
{
    if (lines->start > 0) {
        memmove(lines->data, lines->data + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->start = 0;
    }
    if (lines->end < lines->capacity) {
        return true;
    }
    char *data = realloc(lines->data, lines->capacity * 2);
    if (data == NULL) {
        return false;
    }
    lines->data = data;
    lines->capacity *= 2;
    return true;
}

/* A signal may come just before a read that would block: its handler makes stop_fd readable, which
 * poll sees whenever that was. */
static enum lines_result
wait_for_input(const struct lines *lines)
{
    struct pollfd fds[2] = {{.fd = lines->fd, .events = POLLIN},
                            {.fd = lines->stop_fd, .events = POLLIN}};
    int ready;
    while ((ready = poll(fds, 2, lines->wait_ms)) < 0) {
        if (errno != EINTR) {
            return LINES_FAILED;
        }
    }
    if (ready == 0) {
        return LINES_WAITING;
    }
    return fds[1].revents != 0 ? LINES_STOPPED : LINES_ONE;
}

static enum lines_result
fill(struct lines *lines)
{
    if (!make_room(lines)) {
        errno = ENOMEM;
        return LINES_FAILED;
    }
    enum lines_result result = wait_for_input(lines);
    if (result != LINES_ONE) {
        return result;
    }
    ssize_t size = read(lines->fd, lines->data + lines->end, lines->capacity - lines->end);
    if (size < 0) {
        return errno == EINTR ? LINES_ONE : LINES_FAILED;
    }
    lines->is_ended = size == 0;
    lines->end += (size_t)size;
    return LINES_ONE;
}

bool
lines_is_ready(const struct lines *lines)
{
    return memchr(lines->data + lines->start, '\n', lines->end - lines->start) != NULL;
}

static enum lines_result
hand_out(struct lines *lines, size_t size, size_t newline, const char **ret_data, size_t *ret_size)
{
    if (size > LINES_SIZE_MAX) {
        return LINES_TOO_LONG;
    }
    *ret_data = lines->data + lines->start;
    *ret_size = size;
    lines->start += size + newline;
    return LINES_ONE;
}

enum lines_result
lines_next(struct lines *lines, const char **ret_data, size_t *ret_size)
{
    size_t searched = 0; /* a long line is not searched again after each read */
    for (;;) {
        const char *from = lines->data + lines->start;
        size_t size = lines->end - lines->start;
        const char *newline = memchr(from + searched, '\n', size - searched);
        if (newline != NULL) {
            return hand_out(lines, (size_t)(newline - from), 1, ret_data, ret_size);
        }
        if (lines->is_ended) {
            return size > 0 ? hand_out(lines, size, 0, ret_data, ret_size) : LINES_END;
        }
        if (size > LINES_SIZE_MAX) {
            return LINES_TOO_LONG;
        }
        searched = size;
        enum lines_result result = fill(lines);
        if (result != LINES_ONE) {
            return result;
        }
    }
}
