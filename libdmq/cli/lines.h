/* Reads a file or a stream line by line. A line is everything between two newlines, whatever bytes
 * it holds; what follows the last newline is a line too if it is not empty. */
#ifndef DMQ_CLI_LINES_H
#define DMQ_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* No record can be that long: the daemons refuse such frames. */
enum { LINES_SIZE_MAX = 64 * 1024 * 1024 };

enum lines_result {
    LINES_ONE,      /* a line */
    LINES_END,      /* no more */
    LINES_WAITING,  /* no input came for wait_ms: ask again */
    LINES_STOPPED,  /* stop_fd became readable while we waited for input */
    LINES_TOO_LONG, /* longer than LINES_SIZE_MAX */
    LINES_FAILED    /* errno */
};

struct lines {
    int fd;
    int stop_fd; /* -1: none */
    int wait_ms; /* -1: for ever, which is where lines_init leaves it */
    bool is_ended;
    char *data;
    size_t start; /* of what was not handed out yet */
    size_t end;
    size_t capacity;
};

/* False: out of memory. fd stays the caller's. */
bool lines_init(struct lines *lines, int fd, int stop_fd);
void lines_deinit(struct lines *lines);

/* Whether the next line is in memory already: lines_next will not wait. */
bool lines_is_ready(const struct lines *lines);

/* *ret_data is valid until the next call. */
enum lines_result lines_next(struct lines *lines, const char **ret_data, size_t *ret_size);

#endif
