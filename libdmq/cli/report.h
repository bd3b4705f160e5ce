/* What the tool tells a person on stderr, and the exit code that goes with it. */
#ifndef DMQ_CLI_REPORT_H
#define DMQ_CLI_REPORT_H

#include <stdbool.h>

#include "dmq/dmq.h"

enum {
    CLI_OK = 0,
    CLI_ERROR = 1,       /* refused by the cluster, among others */
    CLI_USAGE = 2,       /* seen without a server: arguments, URL, own settings */
    CLI_UNREACHABLE = 3, /* no broker answers */
    CLI_NOT_FOUND = 4,
    CLI_DENIED = 5,
    CLI_TIMEOUT = 6,
    CLI_PARTIAL = 7, /* some of it was done */
    CLI_UNHEALTHY = 10
};

/* Drops what report_note says. Errors are always printed. */
void report_set_quiet(bool quiet);
bool report_is_quiet(void);

/* "dmq: <text>" on stderr; returns CLI_ERROR. */
__attribute__((format(printf, 1, 2))) int report_failure(const char *format, ...);

/* The same for what is not an error; nothing with --quiet. */
__attribute__((format(printf, 1, 2))) void report_note(const char *format, ...);

/* "dmq: <text>", then where to find help; returns CLI_USAGE. `command` may be NULL. */
__attribute__((format(printf, 2, 3))) int report_usage(const char *command, const char *format,
                                                       ...);

/* "dmq: <what>: <the error's sentence>"; returns report_exit_code of it. */
int report_error(const char *what, const dmq_error *error);

int report_exit_code(dmq_err code);

#endif
