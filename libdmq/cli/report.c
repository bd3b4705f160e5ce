#include "libdmq/cli/report.h"

#include <stdarg.h>
#include <stdio.h>

#include "libdmq/cli/progress.h"

static bool is_quiet;

void
report_set_quiet(bool quiet)
{
    is_quiet = quiet;
}

bool
report_is_quiet(void)
{
    return is_quiet;
}

__attribute__((format(printf, 1, 0))) static void
print_line(const char *format, va_list args)
{
    progress_clear();
    fputs("dmq: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int
report_failure(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
    return CLI_ERROR;
}

void
report_note(const char *format, ...)
{
    if (is_quiet) {
        return;
    }
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
}

int
report_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
    fprintf(stderr, "Try 'dmq%s%s --help'.\n", command != NULL ? " " : "",
            command != NULL ? command : "");
    return CLI_USAGE;
}

int
report_error(const char *what, const dmq_error *error)
{
    const char *text = error->message[0] != '\0' ? error->message : dmq_error_text(error->code);
    if (what != NULL) {
        report_failure("%s: %s", what, text);
    } else {
        report_failure("%s", text);
    }
    return report_exit_code(error->code);
}

int
report_exit_code(dmq_err code)
{
    switch (code) {
    case DMQ_OK:
        return CLI_OK;
    case DMQ_ERR_INVALID_ARGUMENT: /* found by the library before it asked anyone */
        return CLI_USAGE;
    case DMQ_ERR_UNREACHABLE:
    case DMQ_ERR_NETWORK:
        return CLI_UNREACHABLE;
    case DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case DMQ_ERR_UNKNOWN_TOPIC_ID:
        return CLI_NOT_FOUND;
    case DMQ_ERR_TOPIC_DENIED:
    case DMQ_ERR_CLUSTER_DENIED:
        return CLI_DENIED;
    case DMQ_ERR_TIMEOUT:
    case DMQ_ERR_REQUEST_TIMED_OUT:
    case DMQ_ERR_DELIVERY_TIMEOUT:
        return CLI_TIMEOUT;
    default:
        return CLI_ERROR;
    }
}
