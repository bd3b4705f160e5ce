/* The logger of the daemons: one fact a line, key=value, to stderr.
 *
 *   2026-01-31T12:00:00.123Z info controller=1 broker_registered broker=101 epoch=7
 *
 * or the same as JSON:
 *
 *   {"time":"2026-01-31T12:00:00.123Z","level":"info","node":"controller=1",
 *    "event":"broker_registered","broker":101,"epoch":7}                        (in one line)
 *
 * The same event is said LOG_LIMIT_LINES times in 10 s at most; what was left out is counted
 * (log_limited, log_left_out). At the level debug there is no limit. Any thread; a line goes out in
 * one write. Control characters become spaces, so that nothing from outside can forge a line.
 * libdmq never uses it. */
#ifndef DMQ_OS_LOG_H
#define DMQ_OS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Before other threads start. who is "controller" or "broker". */
void log_init(enum log_level level, enum log_format format, const char *who, int32_t node_id);

/* False if name is not debug, info, warn or error. */
bool log_level_parse(const char *name, enum log_level *ret_level);

/* False if name is not text or json. */
bool log_format_parse(const char *name, enum log_format *ret_format);

/* Format: what happened in one word, then key=value; a value with spaces stands in quotes. */
__attribute__((format(printf, 1, 2))) void log_debug(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_info(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_warn(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);

#endif
