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
