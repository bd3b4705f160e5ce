#include "libdmq/os/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libdmq/os/clock.h"

#define MAX_LINE 1024

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* Written once, before other threads start. */
static enum log_level least = LOG_LEVEL_INFO;
static char who_is_it[48] = "dmq";

void
log_init(enum log_level level, const char *who, int32_t node_id)
{
    least = level;
    snprintf(who_is_it, sizeof(who_is_it), "%s=%d", who, node_id);
}

bool
log_level_parse(const char *name, enum log_level *ret_level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static size_t
put_time(char *line, size_t size)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return used + (size_t)snprintf(line + used, size - used, ".%03dZ", (int)(now_ms % 1000));
}

__attribute__((format(printf, 2, 0))) static void
write_line(enum log_level level, const char *format, va_list args)
{
    char line[MAX_LINE];
    if (level < least) {
        return;
    }
    size_t used = put_time(line, sizeof(line));
    used += (size_t)snprintf(line + used, sizeof(line) - used, " %s %s ", level_names[level],
                             who_is_it);
    int more = vsnprintf(line + used, sizeof(line) - used, format, args);
    used += more < 0 ? 0 : (size_t)more;
    if (used > sizeof(line) - 2) {
        used = sizeof(line) - 2; /* cut: the newline must fit */
    }
    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = ' ';
        }
    }
    line[used++] = '\n';
    ssize_t rc = write(STDERR_FILENO, line, used);
    (void)rc; /* nowhere to say that the log is gone */
}

#define WRITE_LINE(level, format)                                                                  \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        write_line(level, format, args);                                                           \
        va_end(args);                                                                              \
    } while (0)

void
log_debug(const char *format, ...)
{
    WRITE_LINE(LOG_LEVEL_DEBUG, format);
}

void
log_info(const char *format, ...)
{
    WRITE_LINE(LOG_LEVEL_INFO, format);
}

void
log_warn(const char *format, ...)
{
    WRITE_LINE(LOG_LEVEL_WARN, format);
}

void
log_error(const char *format, ...)
{
    WRITE_LINE(LOG_LEVEL_ERROR, format);
}
