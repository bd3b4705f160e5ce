/* The lines are written with printf formats all over the daemons, as key=value. Here they are taken
 * apart again, so that a caller has one way to say a thing, whatever the format of the log. */
#include "libdmq/os/log_json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "libdmq/base/assert.h"

struct json_text {
    char *data;
    size_t size;
};

static void
put(struct json_text *out, const char *data, size_t size)
{
    DMQ_ASSERT(out->size + size < LOG_JSON_SIZE);
    memcpy(out->data + out->size, data, size);
    out->size += size;
}

static void
put_string(struct json_text *out, const char *data, size_t size)
{
    put(out, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)data[i];
        char escaped[8];
        if (byte == '"' || byte == '\\') {
            put(out, "\\", 1);
            put(out, &data[i], 1);
        } else if (byte < ' ') {
            put(out, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", byte));
        } else {
            put(out, &data[i], 1);
        }
    }
    put(out, "\"", 1);
}

/* Whole numbers only, and none that a reader would round. */
static bool
is_number(const char *data, size_t size)
{
    size_t sign = size > 0 && data[0] == '-' ? 1 : 0;
    size_t digits = size - sign;
    bool is_plain = digits > 0 && digits <= 15 && (data[sign] != '0' || size == 1);
    return is_plain && strspn(data + sign, "0123456789") >= digits;
}

static void
put_member(struct json_text *out, const char *key, size_t key_size)
{
    if (out->size > 0) {
        put(out, ",", 1);
    }
    put_string(out, key, key_size);
    put(out, ":", 1);
}

/* The end of a value in quotes: texts hold quotes of their own, so only one before a space or the
 * end counts. data is behind the first quote. */
static size_t
quoted_size(const char *data)
{
    for (const char *quote = strchr(data, '"'); quote != NULL; quote = strchr(quote + 1, '"')) {
        if (quote[1] == ' ' || quote[1] == 0) {
            return (size_t)(quote - data);
        }
    }
    return strlen(data);
}

/* Writes the pair at the start of data, and returns its size. */
static size_t
put_pair(struct json_text *out, const char *data, size_t key_size)
{
    const char *value = data + key_size + 1;
    put_member(out, data, key_size);
    if (*value == '"') {
        size_t size = quoted_size(value + 1);
        put_string(out, value + 1, size);
        return key_size + 2 + size + (value[1 + size] == '"' ? 1 : 0);
    }
    size_t size = strcspn(value, " ");
    if (is_number(value, size)) {
        put(out, value, size);
    } else {
        put_string(out, value, size);
    }
    return key_size + 1 + size;
}

size_t
log_json_members(const char *message, char ret_json[LOG_JSON_SIZE])
{
    struct json_text out = {ret_json, 0};
    message += strncmp(message, "event=", 6) == 0 ? 6 : 0;
    size_t word = strcspn(message, " ");
    put_member(&out, "event", 5);
    put_string(&out, message, word);
    const char *next = message + word;
    while (*(next += strspn(next, " ")) != 0) {
        size_t key_size = strcspn(next, " =\"");
        if (key_size == 0 || next[key_size] != '=') { /* no pair: all the rest is for people */
            put_member(&out, "text", 4);
            put_string(&out, next, strlen(next));
            break;
        }
        next += put_pair(&out, next, key_size);
    }
    ret_json[out.size] = 0;
    return out.size;
}
