/* The logger of the daemons: one fact a line, key=value, to stderr.
 *
 *   2026-01-31T12:00:00.123Z info controller=1 broker_registered broker=101 epoch=7
 *
 * Any thread; a line goes out in one write. Control characters become spaces, so that nothing from
 * outside can forge a line. libdmq never uses it. */
#ifndef DMQ_OS_LOG_H
#define DMQ_OS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Before other threads start. who is "controller" or "broker". */
void log_init(enum log_level level, const char *who, int32_t node_id);

/* False if name is not debug, info, warn or error. */
bool log_level_parse(const char *name, enum log_level *ret_level);

/* Format: what happened in one word, then key=value; a value with spaces stands in quotes. */
__attribute__((format(printf, 1, 2))) void log_debug(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_info(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_warn(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);

#endif
