#include "libdmq/cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dmq/dmq.h"

bool
value_int(const char *text, int64_t *ret_value)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!isdigit((unsigned char)digits[0])) { /* strtoll would skip blanks and take a plus */
        return false;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0) {
        return false;
    }
    *ret_value = value;
    return true;
}

/* "90s" as milliseconds. */
static bool
parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } UNITS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 10) { /* ten digits of days do not overflow */
        return false;
    }
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (strcmp(text + digits, UNITS[i].unit) == 0) {
            *ret_ms = strtoll(text, NULL, 10) * UNITS[i].ms;
            return true;
        }
    }
    return false;
}

/* "", "Z", "+02:00": how far the time is ahead of UTC. */
static bool
parse_zone(const char *text, int64_t *ret_ms)
{
    *ret_ms = 0;
    if (text[0] == '\0' || strcmp(text, "Z") == 0) {
        return true;
    }
    if ((text[0] != '+' && text[0] != '-') || strlen(text) != 6 || text[3] != ':') {
        return false;
    }
    for (int i = 1; i < 6; i++) {
        if (i != 3 && !isdigit((unsigned char)text[i])) {
            return false;
        }
    }
    int64_t minutes = strtoll(text + 1, NULL, 10) * 60 + strtoll(text + 4, NULL, 10);
    *ret_ms = (text[0] == '-' ? -minutes : minutes) * 60000;
    return true;
}

/* ".25": up to nine digits; what is below a millisecond is cut. Returns what follows it. */
static const char *
parse_fraction(const char *text, int64_t *ret_ms)
{
    *ret_ms = 0;
    if (text[0] != '.') {
        return text;
    }
    int64_t unit = 100;
    for (text++; isdigit((unsigned char)text[0]); text++) {
        *ret_ms += (text[0] - '0') * unit;
        unit /= 10;
    }
    return text;
}

static bool
parse_time(const char *text, int64_t *ret_ms)
{
    struct tm tm = {0};
    int64_t fraction_ms = 0;
    int64_t zone_ms = 0;
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    if (rest == NULL || rest - text != 10) {
        return false;
    }
    if (rest[0] == 'T' || rest[0] == ' ') {
        const char *minutes = strptime(rest + 1, "%H:%M", &tm);
        if (minutes == NULL) {
            return false;
        }
        const char *seconds = strptime(minutes, ":%S", &tm);
        rest = parse_fraction(seconds != NULL ? seconds : minutes, &fraction_ms);
    }
    if (!parse_zone(rest, &zone_ms)) {
        return false;
    }
    *ret_ms = (int64_t)timegm(&tm) * 1000 + fraction_ms - zone_ms;
    return *ret_ms >= 0;
}

bool
value_position(const char *text, int64_t now_ms, int64_t *ret_offset, int64_t *ret_timestamp)
{
    if (strcmp(text, "start") == 0) {
        *ret_offset = DMQ_OFFSET_START;
        return true;
    }
    if (strcmp(text, "end") == 0) {
        *ret_offset = DMQ_OFFSET_END;
        return true;
    }
    int64_t number;
    if (value_int(text, &number)) {
        *ret_offset = number;
        return number >= 0;
    }
    if (text[0] == '-' && parse_duration(text + 1, &number)) {
        number = number < now_ms ? now_ms - number : 0;
    } else if (!(text[0] == '@' && value_int(text + 1, &number) && number >= 0) &&
               !parse_time(text, &number)) {
        return false;
    }
    *ret_offset = DMQ_OFFSET_TIMESTAMP;
    *ret_timestamp = number;
    return true;
}

static int
hex_digit(char c)
{
    if (isdigit((unsigned char)c)) {
        return c - '0';
    }
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* *text stands behind a backslash. Returns the byte and moves on, or -1. */
static int
unescape_one(const char **text)
{
    static const char NAMES[] = "tnr0\\";
    static const char BYTES[] = "\t\n\r\0\\";
    char c = *(*text)++;
    if (c == 'x') {
        int high = hex_digit((*text)[0]);
        int low = high >= 0 ? hex_digit((*text)[1]) : -1;
        *text += 2;
        return low >= 0 ? high * 16 + low : -1;
    }
    const char *name = c != '\0' ? strchr(NAMES, c) : NULL;
    return name != NULL ? (unsigned char)BYTES[name - NAMES] : -1;
}

size_t
value_unescape(const char *text, char *to)
{
    size_t size = 0;
    while (*text != '\0') {
        if (*text != '\\') {
            to[size++] = *text++;
            continue;
        }
        text++;
        int byte = unescape_one(&text);
        if (byte < 0) {
            return SIZE_MAX;
        }
        to[size++] = (char)byte;
    }
    return size;
}

bool
value_is_topic_name(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strlen(text);
    return size > 0 && size <= 249 && strspn(text, allowed) == size && strcmp(text, ".") != 0 &&
           strcmp(text, "..") != 0;
}
