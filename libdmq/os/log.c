#include "libdmq/os/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/utf8.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/log_json.h"
#include "libdmq/os/log_limit.h"

#define MAX_MESSAGE 960
#define TIME_SIZE 32
#define MAX_LINE (LOG_JSON_SIZE + 256)

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const format_names[] = {"text", "json"};

/* Written once, before other threads start. */
static enum log_level least = LOG_LEVEL_INFO;
static enum log_format form = LOG_FORMAT_TEXT;
static char who_is_it[48] = "dmq";

void
log_init(enum log_level level, enum log_format format, const char *who, int32_t node_id)
{
    least = level;
    form = format;
    snprintf(who_is_it, sizeof(who_is_it), "%s=%d", who, node_id);
}

static bool
find_name(const char *name, const char *const *names, size_t count, size_t *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

bool
log_level_parse(const char *name, enum log_level *ret_level)
{
    size_t index;
    if (!find_name(name, level_names, sizeof(level_names) / sizeof(level_names[0]), &index)) {
        return false;
    }
    *ret_level = (enum log_level)index;
    return true;
}

bool
log_format_parse(const char *name, enum log_format *ret_format)
{
    size_t index;
    if (!find_name(name, format_names, sizeof(format_names) / sizeof(format_names[0]), &index)) {
        return false;
    }
    *ret_format = (enum log_format)index;
    return true;
}

static void
put_time(int64_t now_ms, char text[TIME_SIZE])
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, TIME_SIZE - used, ".%03dZ", (int)(now_ms % 1000));
}

/* One write(2). message has no control characters. */
static void
write_line(enum log_level level, int64_t now_ms, const char *message)
{
    char line[MAX_LINE];
    char time[TIME_SIZE];
    char members[LOG_JSON_SIZE];
    int used;
    put_time(now_ms, time);
    if (form == LOG_FORMAT_JSON) {
        log_json_members(message, members);
        used =
            snprintf(line, sizeof(line), "{\"time\":\"%s\",\"level\":\"%s\",\"node\":\"%s\",%s}\n",
                     time, level_names[level], who_is_it, members);
    } else {
        used = snprintf(line, sizeof(line), "%s %s %s %s\n", time, level_names[level], who_is_it,
                        message);
    }
    DMQ_ASSERT(used > 0 && (size_t)used < sizeof(line));
    ssize_t rc = write(STDERR_FILENO, line, (size_t)used);
    (void)rc; /* nowhere to say that the log is gone */
}

/* Says the message unless its event was said too often, and what the reader misses of it. */
static void
write_limited(enum log_level level, const char *message)
{
    int64_t now_ms = clock_wall_ms();
    char note[160];
    int word = (int)strcspn(message, " ");
    word = word > 100 ? 100 : word;
    uint32_t left_out = 0;
    enum log_limit limit = LOG_LIMIT_SAY;
    if (least > LOG_LEVEL_DEBUG) {
        limit = log_limit_take(message, (size_t)word, now_ms, &left_out);
    }
    if (left_out > 0) {
        snprintf(note, sizeof(note), "log_left_out of=%.*s lines=%u", word, message, left_out);
        write_line(level, now_ms, note);
    }
    if (limit != LOG_LIMIT_LEAVE_OUT) {
        write_line(level, now_ms, message);
    }
    if (limit == LOG_LIMIT_SAY_LAST) {
        snprintf(note, sizeof(note), "log_limited of=%.*s seconds=%d", word, message,
                 LOG_LIMIT_WINDOW_MS / 1000);
        write_line(level, now_ms, note);
    }
}

__attribute__((format(printf, 2, 0))) static void
say(enum log_level level, const char *format, va_list args)
{
    char message[MAX_MESSAGE];
    if (level < least) {
        return;
    }
    vsnprintf(message, sizeof(message), format, args); /* what does not fit is cut */
    for (char *c = message; *c != 0; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = ' ';
        }
    }
    if (form == LOG_FORMAT_JSON) {
        utf8_repair(message);
    }
    write_limited(level, message);
}

#define WRITE_LINE(level, format)                                                                  \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        say(level, format, args);                                                                  \
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
