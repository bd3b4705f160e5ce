/* How often the same thing may be logged: what repeats must not fill the disk, nor hide the rest.
 */
#ifndef DMQ_OS_LOG_LIMIT_H
#define DMQ_OS_LOG_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#define LOG_LIMIT_LINES 50
#define LOG_LIMIT_WINDOW_MS 10000

enum log_limit { LOG_LIMIT_SAY, LOG_LIMIT_SAY_LAST, LOG_LIMIT_LEAVE_OUT };

/* One line of this event (its first word, of that size) is to be said: up to LOG_LIMIT_LINES within
 * LOG_LIMIT_WINDOW_MS are; the last of them is told apart, so that the reader learns of what
 * follows. ret_left_out: lines of this event that were left out in the window before, told once.
 * Any thread. */
enum log_limit log_limit_take(const char *event, size_t size, int64_t now_ms,
                              uint32_t *ret_left_out);

#endif
