#include "libdmq/cli/json_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct json NONE = {NULL, NULL};

static const char *
skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* The texts are terminated, and no character below is '\0', so that nothing runs past the end. */
static const char *
skip_string(const char *at)
{
    for (at++; *at != '"'; at++) {
        if (*at == '\0' || (*at == '\\' && *++at == '\0')) {
            return NULL;
        }
    }
    return at + 1;
}

/* Behind the value at `at`; NULL: malformed. Brackets are counted, not matched by kind. */
static const char *
skip_value(const char *at)
{
    int depth = 0;
    do {
        at = skip_blanks(at);
        if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else if (*at == '"') {
            at = skip_string(at);
        } else if (depth > 0 && (*at == ',' || *at == ':')) {
            at++;
        } else {
            size_t size = strcspn(at, ",:{}[]\" \t\r\n");
            at = size > 0 ? at + size : NULL;
        }
    } while (at != NULL && depth > 0 && depth <= JSON_READ_DEPTH_MAX);
    return depth == 0 ? at : NULL;
}

static struct json
value_at(const char *at)
{
    at = skip_blanks(at);
    const char *end = *at != '}' && *at != ']' ? skip_value(at) : NULL;
    return end != NULL ? (struct json){at, end} : NONE;
}

struct json
json_root(const char *text)
{
    return text != NULL ? value_at(text) : NONE;
}

struct json
json_next(struct json container, struct json *cursor, struct json *ret_name)
{
    if (container.at == NULL || (container.at[0] != '{' && container.at[0] != '[')) {
        return NONE;
    }
    const char *at = skip_blanks(cursor->at != NULL ? cursor->end : container.at + 1);
    if (cursor->at != NULL) {
        if (*at != ',') {
            return NONE;
        }
        at++;
    }
    struct json value = value_at(at);
    if (container.at[0] == '{' && value.at != NULL) {
        if (ret_name != NULL) {
            *ret_name = value;
        }
        at = skip_blanks(value.end);
        value = *at == ':' ? value_at(at + 1) : NONE;
    }
    *cursor = value;
    return value;
}

struct json
json_member(struct json object, const char *name)
{
    char text[64];
    struct json cursor = NONE;
    struct json member = NONE;
    for (struct json value; !json_is_none(value = json_next(object, &cursor, &member));) {
        if (object.at[0] == '{' && strcmp(json_to_text(member, text, sizeof(text)), name) == 0) {
            return value;
        }
    }
    return NONE;
}

bool
json_is_none(struct json value)
{
    return value.at == NULL;
}

size_t
json_count(struct json container)
{
    size_t count = 0;
    struct json cursor = NONE;
    while (!json_is_none(json_next(container, &cursor, NULL))) {
        count++;
    }
    return count;
}

int64_t
json_to_int(struct json value, int64_t otherwise)
{
    if (value.at == NULL || value.at[strspn(value.at, "-")] < '0' ||
        value.at[strspn(value.at, "-")] > '9') {
        return otherwise;
    }
    return strtoll(value.at, NULL, 10);
}

bool
json_to_bool(struct json value)
{
    return value.at != NULL && strncmp(value.at, "true", 4) == 0;
}

const char *
json_join(struct json array, char *to, size_t size)
{
    size_t used = 0;
    struct json cursor = NONE;
    to[0] = '\0';
    for (struct json item; !json_is_none(item = json_next(array, &cursor, NULL));) {
        int written = snprintf(to + used, size - used, "%s%.*s", used > 0 ? "," : "",
                               (int)(item.end - item.at), item.at);
        if (written < 0 || (size_t)written >= size - used) {
            break;
        }
        used += (size_t)written;
    }
    return to;
}

static char
unescape(char c)
{
    static const char LETTERS[] = "bfnrt";
    static const char BYTES[] = "\b\f\n\r\t";
    const char *found = strchr(LETTERS, c);
    return found != NULL ? BYTES[found - LETTERS] : c;
}

/* UTF-8 of \uHHHH. Names of topics, hosts and settings are ASCII: halves of surrogate pairs do not
 * occur and come out as they are. */
static size_t
put_code_point(const char *digits, char *to)
{
    char hex[5] = {0};
    memcpy(hex, digits, 4);
    unsigned long code = strtoul(hex, NULL, 16);
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | (code >> 6));
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    to[0] = (char)(0xe0 | (code >> 12));
    to[1] = (char)(0x80 | ((code >> 6) & 0x3f));
    to[2] = (char)(0x80 | (code & 0x3f));
    return 3;
}

const char *
json_to_text(struct json value, char *to, size_t size)
{
    size_t used = 0;
    bool is_string = value.at != NULL && value.at[0] == '"';
    const char *at = is_string ? value.at + 1 : value.at;
    const char *end = is_string ? value.end - 1 : value.end;
    while (at < end && used + 4 <= size) {
        if (!is_string || *at != '\\') {
            to[used++] = *at++;
        } else if (at[1] == 'u' && end - at >= 6) {
            used += put_code_point(at + 2, to + used);
            at += 6;
        } else {
            to[used++] = unescape(at[1]);
            at += 2;
        }
    }
    to[used] = '\0';
    return to;
}
