/* What people write as the value of an option, as numbers and bytes. Pure. */
#ifndef DMQ_CLI_VALUE_H
#define DMQ_CLI_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decimal whole number, nothing before or after it. */
bool value_int(const char *text, int64_t *ret_value);

/* A place in a partition: start, end, an offset, a time ago (-90s, -15m, -1h, -2d, -500ms), or a
 * time (2013-01-01, 2013-01-01T10:00:00Z, with +02:00; UTC without a zone; @<ms since 1970>).
 * *ret_offset is as in dmq_assignment; *ret_timestamp is set with DMQ_OFFSET_TIMESTAMP. */
bool value_position(const char *text, int64_t now_ms, int64_t *ret_offset, int64_t *ret_timestamp);

/* Whether a topic can be called that; so it is known without a server. */
bool value_is_topic_name(const char *text);

/* Copies text without its escapes (\t \n \r \0 \\ \xHH) into `to`, which holds strlen(text) bytes.
 * Returns the size; SIZE_MAX: an escape is not known. */
size_t value_unescape(const char *text, char *to);

#endif
