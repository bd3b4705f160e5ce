#include "libdmq/cli/json_out.h"

#include <string.h>

void
json_out_init(struct json_out *json, struct out *out)
{
    *json = (struct json_out){.out = out};
}

static void
put_string(struct out *out, const unsigned char *data, size_t size)
{
    static const char SHORT[] = "\b\f\n\r\t\"\\";
    static const char LETTERS[] = "bfnrt\"\\";
    out_put(out, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        if (data[i] >= 0x20 && data[i] != '"' && data[i] != '\\') {
            continue;
        }
        out_put(out, data + from, i - from);
        from = i + 1;
        const char *found = data[i] != 0 ? strchr(SHORT, data[i]) : NULL;
        if (found != NULL) {
            out_format(out, "\\%c", LETTERS[found - SHORT]);
        } else {
            out_format(out, "\\u%04x", data[i]);
        }
    }
    out_put(out, data + from, size - from);
    out_put(out, "\"", 1);
}

/* What stands before any value: a comma, and the name. */
static void
put_name(struct json_out *json, const char *name)
{
    uint32_t bit = UINT32_C(1) << json->depth;
    if ((json->filled & bit) != 0) {
        out_put(json->out, ",", 1);
    }
    json->filled |= json->depth > 0 ? bit : 0;
    if (name != NULL) {
        put_string(json->out, (const unsigned char *)name, strlen(name));
        out_put(json->out, ":", 1);
    }
}

void
json_open(struct json_out *json, const char *name, char bracket)
{
    put_name(json, name);
    out_put(json->out, &bracket, 1);
    json->depth++;
    json->filled &= ~(UINT32_C(1) << json->depth);
}

void
json_close(struct json_out *json, char bracket)
{
    json->depth--;
    out_put(json->out, &bracket, 1);
}

void
json_text(struct json_out *json, const char *name, const char *text)
{
    json_utf8(json, name, text, strlen(text));
}

void
json_utf8(struct json_out *json, const char *name, const void *data, size_t size)
{
    put_name(json, name);
    put_string(json->out, data, size);
}

void
json_base64(struct json_out *json, const char *name, const void *data, size_t size)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data;
    put_name(json, name);
    out_put(json->out, "\"", 1);
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)bytes[i + 2] : 0;
        char text[4] = {DIGITS[group >> 18], DIGITS[(group >> 12) & 63],
                        left > 1 ? DIGITS[(group >> 6) & 63] : '=',
                        left > 2 ? DIGITS[group & 63] : '='};
        out_put(json->out, text, 4);
    }
    out_put(json->out, "\"", 1);
}

void
json_int(struct json_out *json, const char *name, int64_t value)
{
    put_name(json, name);
    out_int(json->out, value);
}

void
json_real(struct json_out *json, const char *name, double value, int decimals)
{
    put_name(json, name);
    out_format(json->out, "%.*f", decimals, value);
}

void
json_bool(struct json_out *json, const char *name, bool value)
{
    put_name(json, name);
    out_text(json->out, value ? "true" : "false");
}

void
json_null(struct json_out *json, const char *name)
{
    put_name(json, name);
    out_text(json->out, "null");
}

/* Size of the well-formed sequence at data, 0: there is none. The table is RFC 3629 section 4. */
static size_t
utf8_sequence(const unsigned char *data, size_t size)
{
    unsigned char first = data[0];
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 1) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || length > size) {
        return 0;
    }
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (data[1] < low || data[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool
json_is_utf8(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size;) {
        size_t length = utf8_sequence(bytes + i, size - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}
