#include "broker/log/log_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/base64.h"
#include "libdmq/base/utf8.h"

#define PEOPLE_BYTES 200 /* of a key or value shown to people */
#define PEOPLE_HEX_BYTES 32

void
log_text_init(struct log_text *text, const struct log_sink *sink)
{
    *text = (struct log_text){.sink = sink};
}

void
log_text_deinit(struct log_text *text)
{
    outbuf_deinit(&text->line);
}

static void
put(struct log_text *text, const char *s)
{
    outbuf_put(&text->line, s, strlen(s));
}

/* A string in quotes, as JSON has it: valid for people too. */
static void
put_quoted(struct log_text *text, struct bytes value)
{
    put(text, "\"");
    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            snprintf(escaped, sizeof(escaped), "\\%c", c);
        } else if (c == '\n') {
            snprintf(escaped, sizeof(escaped), "\\n");
        } else if (c == '\t') {
            snprintf(escaped, sizeof(escaped), "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escaped, sizeof(escaped), "\\u%04x", c);
        } else {
            outbuf_put(&text->line, &value.data[i], 1);
            continue;
        }
        put(text, escaped);
    }
    put(text, "\"");
}

static void
put_name(struct log_text *text, const char *name, const char *suffix)
{
    if (text->sink->json) {
        put(text, text->first ? "\"" : ",\"");
        put(text, name);
        put(text, suffix);
        put(text, "\":");
    } else {
        put(text, text->first ? "" : " ");
        put(text, name);
        put(text, "=");
    }
    text->first = false;
}

void
log_text_begin(struct log_text *text, const char *kind)
{
    outbuf_clear(&text->line);
    if (text->sink->json) {
        put(text, "{\"type\":\"");
        put(text, kind);
        put(text, "\"");
    } else {
        put(text, kind);
    }
    text->first = false;
}

void
log_text_end(struct log_text *text)
{
    put(text, text->sink->json ? "}" : "");
    DMQ_ASSERT(!text->line.failed);
    text->sink->line(text->sink->arg, (const char *)text->line.data, text->line.size);
}

void
log_text_i64(struct log_text *text, const char *name, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRId64, value);
    put_name(text, name, "");
    put(text, digits);
}

void
log_text_bool(struct log_text *text, const char *name, bool value)
{
    put_name(text, name, "");
    put(text, value ? "true" : "false");
}

void
log_text_word(struct log_text *text, const char *name, const char *value)
{
    bool quoted = text->sink->json || value[strcspn(value, " \"=")] != '\0';
    put_name(text, name, "");
    if (quoted) {
        put_quoted(text, bytes_str(value));
    } else {
        put(text, value);
    }
}

static void
put_base64(struct log_text *text, struct bytes value)
{
    size_t size = base64_text_size(value.size);
    uint8_t *room = outbuf_reserve(&text->line, size);
    DMQ_ASSERT(room != NULL);
    base64_encode(value, (char *)room);
    text->line.size += size;
}

/* Cut at so many bytes, at the end of a character. */
static struct bytes
shorten(struct bytes value)
{
    if (value.size > PEOPLE_BYTES) {
        value.size = PEOPLE_BYTES;
        while (value.size > 0 && (value.data[value.size] & 0xc0) == 0x80) {
            value.size--;
        }
    }
    return value;
}

static void
put_for_people(struct log_text *text, struct bytes value)
{
    char note[40];
    struct bytes shown = shorten(value);
    if (utf8_valid(value)) {
        put_quoted(text, shown);
    } else {
        shown.size = value.size < PEOPLE_HEX_BYTES ? value.size : PEOPLE_HEX_BYTES;
        put(text, "0x");
        for (size_t i = 0; i < shown.size; i++) {
            snprintf(note, sizeof(note), "%02x", value.data[i]);
            put(text, note);
        }
    }
    if (shown.size < value.size) {
        snprintf(note, sizeof(note), "...(%zu bytes)", value.size);
        put(text, note);
    }
}

void
log_text_bytes(struct log_text *text, const char *name, struct bytes value)
{
    bool plain = value.data == NULL || utf8_valid(value);
    put_name(text, name, text->sink->json && !plain ? "Base64" : "");
    if (value.data == NULL) {
        put(text, "null");
    } else if (!text->sink->json) {
        put_for_people(text, value);
    } else if (plain) {
        put_quoted(text, value);
    } else {
        put(text, "\"");
        put_base64(text, value);
        put(text, "\"");
    }
}

void
log_text_begin_list(struct log_text *text, const char *name)
{
    put_name(text, name, "");
    put(text, "[");
}

void
log_text_begin_item(struct log_text *text, bool first)
{
    put(text, first ? "" : text->sink->json ? "," : ", ");
    put(text, text->sink->json ? "{" : "");
    text->first = true;
}

void
log_text_end_item(struct log_text *text)
{
    put(text, text->sink->json ? "}" : "");
    text->first = false;
}

void
log_text_end_list(struct log_text *text)
{
    put(text, "]");
    text->first = false;
}
