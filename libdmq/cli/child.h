/* A daemon that `dmq dev` runs: its process, whether it is ready, and when to start it again. */
#ifndef DMQ_CLI_CHILD_H
#define DMQ_CLI_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libdmq/cli/program.h"

enum { CHILD_ARGS_MAX = 10 };

struct child {
    const char *name; /* "broker" */
    char path[PROGRAM_PATH_BYTES];
    const char *argv[CHILD_ARGS_MAX]; /* borrowed; ended by NULL */
    pid_t pid;                        /* 0: does not run */
    int out;                          /* its stdout; -1: closed */
    bool is_ready;                    /* it said so, and runs */
    bool was_ready;                   /* once, in this or an earlier process */
    int64_t started_ns;
    int64_t restart_ns; /* when to start it again; 0: not waiting */
    int64_t delay_ms;   /* how long it waited the last time */
    char line[64];      /* the beginning of the line that it is writing to stdout */
    size_t line_size;
};

/* False: printed. It is killed with this process. */
bool child_start(struct child *child, int64_t now_ns);

/* Its stdout is readable. */
void child_read(struct child *child);

/* Its process ended: plans the next start, the later the sooner it failed again. */
void child_ended(struct child *child, int64_t now_ns);

/* "was killed by signal 9", "ended with 1"; static. */
const char *child_status_text(int status);

#endif
