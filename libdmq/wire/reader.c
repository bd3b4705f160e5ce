/* Every value goes through read_token first: it decodes the type byte and what belongs to it (a
 * number, or a size or count), checks that the bytes are there, and leaves it to the typed reads
 * to accept or refuse it. Only they move the cursor.
 *
 * Invariant: next <= end, and nothing at or beyond end is ever read. */
#include "libdmq/wire/reader.h"

#include "libdmq/base/assert.h"
#include "libdmq/base/utf8.h"

enum token_type {
    TOKEN_NIL,
    TOKEN_BOOL,
    TOKEN_INT,  /* a number of int64_t */
    TOKEN_HUGE, /* an unsigned number above INT64_MAX */
    TOKEN_FLOAT,
    TOKEN_STR,
    TOKEN_BIN,
    TOKEN_EXT,
    TOKEN_ARRAY,
    TOKEN_MAP
};

struct token {
    enum token_type type;
    size_t head;      /* bytes of type byte, size and number */
    size_t body;      /* bytes of contents that follow: str, bin, ext */
    uint64_t members; /* values that follow: array, map (keys and values) */
    int64_t number;   /* bool, int */
};

/* The types from 0xc0 to 0xdf: what they are, and how many bytes of number or size follow. Of fixed
 * exts and floats `body` is the size of the contents. 0xc1 is never used. */
static const struct form {
    enum token_type type;
    uint8_t width;
    uint8_t body;
    bool known;
} forms[32] = {
    [0x00] = {TOKEN_NIL, 0, 0, true},   [0x02] = {TOKEN_BOOL, 0, 0, true},
    [0x03] = {TOKEN_BOOL, 0, 0, true},  [0x04] = {TOKEN_BIN, 1, 0, true},
    [0x05] = {TOKEN_BIN, 2, 0, true},   [0x06] = {TOKEN_BIN, 4, 0, true},
    [0x07] = {TOKEN_EXT, 1, 1, true},   [0x08] = {TOKEN_EXT, 2, 1, true},
    [0x09] = {TOKEN_EXT, 4, 1, true},   [0x0a] = {TOKEN_FLOAT, 0, 4, true},
    [0x0b] = {TOKEN_FLOAT, 0, 8, true}, [0x0c] = {TOKEN_INT, 1, 0, true},
    [0x0d] = {TOKEN_INT, 2, 0, true},   [0x0e] = {TOKEN_INT, 4, 0, true},
    [0x0f] = {TOKEN_INT, 8, 0, true},   [0x10] = {TOKEN_INT, 1, 0, true},
    [0x11] = {TOKEN_INT, 2, 0, true},   [0x12] = {TOKEN_INT, 4, 0, true},
    [0x13] = {TOKEN_INT, 8, 0, true},   [0x14] = {TOKEN_EXT, 0, 2, true},
    [0x15] = {TOKEN_EXT, 0, 3, true},   [0x16] = {TOKEN_EXT, 0, 5, true},
    [0x17] = {TOKEN_EXT, 0, 9, true},   [0x18] = {TOKEN_EXT, 0, 17, true},
    [0x19] = {TOKEN_STR, 1, 0, true},   [0x1a] = {TOKEN_STR, 2, 0, true},
    [0x1b] = {TOKEN_STR, 4, 0, true},   [0x1c] = {TOKEN_ARRAY, 2, 0, true},
    [0x1d] = {TOKEN_ARRAY, 4, 0, true}, [0x1e] = {TOKEN_MAP, 2, 0, true},
    [0x1f] = {TOKEN_MAP, 4, 0, true},
};

#define FORM_SIGNED_FIRST 0x10 /* int 8 .. int 64 */
#define FORM_SIGNED_LAST 0x13
#define FORM_TRUE 0x03

void
reader_init(struct reader *reader, struct bytes frame)
{
    static const uint8_t empty[1];
    DMQ_ASSERT(frame.data != NULL || frame.size == 0);
    const uint8_t *begin = frame.data != NULL ? frame.data : empty;
    *reader = (struct reader){
        .begin = begin, .next = begin, .end = begin + frame.size, .nodes_left = READER_MAX_NODES};
}

static bool
refuse(struct reader *reader, const char *why)
{
    reader->why = why;
    return false;
}

/* A big-endian number of width bytes. */
static uint64_t
get_wide(const uint8_t *p, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* Of width bytes, two's complement. */
static int64_t
sign_extend(uint64_t value, size_t width)
{
    unsigned shift = (unsigned)(64 - 8 * width);
    return (int64_t)(value << shift) >> shift;
}

/* The types that hold their number, size or count in the type byte. */
static struct token
fixed_token(uint8_t byte)
{
    if (byte < 0x80) {
        return (struct token){.type = TOKEN_INT, .head = 1, .number = byte};
    }
    if (byte >= 0xe0) {
        return (struct token){.type = TOKEN_INT, .head = 1, .number = (int8_t)byte};
    }
    if (byte < 0x90) {
        return (struct token){.type = TOKEN_MAP, .head = 1, .members = 2u * (byte & 0x0fu)};
    }
    if (byte < 0xa0) {
        return (struct token){.type = TOKEN_ARRAY, .head = 1, .members = byte & 0x0fu};
    }
    DMQ_ASSERT(byte < 0xc0);
    return (struct token){.type = TOKEN_STR, .head = 1, .body = byte & 0x1fu};
}

/* The types from 0xc0 to 0xdf; the width bytes behind the type byte are there. */
static struct token
wide_token(const uint8_t *p)
{
    size_t index = *p & 0x1fu;
    const struct form *form = &forms[index];
    uint64_t wide = get_wide(p + 1, form->width);
    struct token token = {.type = form->type, .head = 1 + (size_t)form->width};
    switch (form->type) {
    case TOKEN_BOOL:
        token.number = index == FORM_TRUE;
        break;
    case TOKEN_INT:
        if (index >= FORM_SIGNED_FIRST && index <= FORM_SIGNED_LAST) {
            token.number = sign_extend(wide, form->width);
        } else if (wide > INT64_MAX) {
            token.type = TOKEN_HUGE;
        } else {
            token.number = (int64_t)wide;
        }
        break;
    case TOKEN_ARRAY:
        token.members = wide;
        break;
    case TOKEN_MAP:
        token.members = 2 * wide;
        break;
    default: /* str, bin, ext, float: at most 2^32 and the type byte of an ext */
        token.body = (size_t)wide + form->body;
        break;
    }
    return token;
}

/* Decodes what is at the cursor without moving it. */
static bool
read_token(struct reader *reader, struct token *ret_token)
{
    size_t left = reader_left(reader);
    if (left == 0) {
        return refuse(reader, "the frame ends before it");
    }
    uint8_t byte = *reader->next;
    bool fixed = byte < 0xc0 || byte >= 0xe0;
    const struct form *form = &forms[byte & 0x1f];
    if (!fixed && !form->known) {
        return refuse(reader, "0xc1 is not a msgpack type");
    }
    if (!fixed && left < 1 + (size_t)form->width) {
        return refuse(reader, "the frame ends inside it");
    }
    struct token token = fixed ? fixed_token(byte) : wide_token(reader->next);
    DMQ_ASSERT(token.head <= left);
    if (token.body > left - token.head) {
        return refuse(reader, "it declares more bytes than the frame has left");
    }
    if (token.members > left - token.head) {
        return refuse(reader, "it declares more values than the frame has bytes left");
    }
    if (reader->nodes_left == 0) {
        return refuse(reader, "the frame holds too many values");
    }
    *ret_token = token;
    return true;
}

static void
accept(struct reader *reader, const struct token *token)
{
    reader->next += token->head + token->body;
    reader->nodes_left--;
    DMQ_ASSERT(reader->next <= reader->end);
}

bool
reader_array(struct reader *reader, uint32_t *ret_count)
{
    struct token token;
    if (!read_token(reader, &token)) {
        return false;
    }
    if (token.type != TOKEN_ARRAY) {
        return refuse(reader, "it is not an array");
    }
    accept(reader, &token);
    *ret_count = (uint32_t)token.members;
    return true;
}

bool
reader_bool(struct reader *reader, bool *ret_value)
{
    struct token token;
    if (!read_token(reader, &token)) {
        return false;
    }
    if (token.type != TOKEN_BOOL) {
        return refuse(reader, "it is not a boolean");
    }
    accept(reader, &token);
    *ret_value = token.number != 0;
    return true;
}

bool
reader_int(struct reader *reader, int64_t min, int64_t max, int64_t *ret_value)
{
    struct token token;
    if (!read_token(reader, &token)) {
        return false;
    }
    if (token.type != TOKEN_INT && token.type != TOKEN_HUGE) {
        return refuse(reader, "it is not an integer");
    }
    if (token.type == TOKEN_HUGE || token.number < min || token.number > max) {
        return refuse(reader, "the number is out of range");
    }
    accept(reader, &token);
    *ret_value = token.number;
    return true;
}

bool
reader_str(struct reader *reader, struct bytes *ret_value)
{
    struct token token;
    if (!read_token(reader, &token)) {
        return false;
    }
    if (token.type != TOKEN_STR) {
        return refuse(reader, "it is not a str");
    }
    struct bytes text = bytes_of(reader->next + token.head, token.body);
    if (!utf8_valid(text)) {
        return refuse(reader, "it is not UTF-8");
    }
    accept(reader, &token);
    *ret_value = text;
    return true;
}

bool
reader_bytes(struct reader *reader, struct bytes *ret_value)
{
    struct token token;
    if (!read_token(reader, &token)) {
        return false;
    }
    if (token.type != TOKEN_BIN) {
        return refuse(reader, "it is not a bin");
    }
    *ret_value = bytes_of(reader->next + token.head, token.body);
    accept(reader, &token);
    return true;
}

bool
reader_uuid(struct reader *reader, struct uuid *ret_value)
{
    struct token token;
    if (!read_token(reader, &token)) {
        return false;
    }
    if (token.type != TOKEN_BIN || token.body != sizeof(ret_value->b)) {
        return refuse(reader, "it is not a bin of 16 bytes");
    }
    memcpy(ret_value->b, reader->next + token.head, sizeof(ret_value->b));
    accept(reader, &token);
    return true;
}

bool
reader_skip(struct reader *reader)
{
    uint64_t left[READER_MAX_DEPTH] = {1}; /* values still to pass, by depth */
    size_t depth = 0;
    for (;;) { /* each turn but the last of a depth passes one value: bounded by nodes_left */
        while (left[depth] == 0) {
            if (depth == 0) {
                return true;
            }
            depth--;
        }
        struct token token;
        if (!read_token(reader, &token)) {
            return false;
        }
        if (token.members > 0 && depth + 1 == READER_MAX_DEPTH) {
            return refuse(reader, "it is nested too deep");
        }
        accept(reader, &token);
        left[depth]--;
        if (token.members > 0) {
            left[++depth] = token.members;
        }
    }
}
