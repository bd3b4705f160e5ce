#include "libdmq/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(struct bytes bytes, char *text)
{
    for (size_t i = 0; i < bytes.size; i += 3, text += 4) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        text[0] = alphabet[group >> 18];
        text[1] = alphabet[group >> 12 & 63];
        text[2] = left > 1 ? alphabet[group >> 6 & 63] : '=';
        text[3] = left > 2 ? alphabet[group & 63] : '=';
    }
}

/* 0 to 63; -1 for a character that is not in the alphabet. */
static int
digit_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '/') {
        return c == '+' ? 62 : 63;
    }
    return -1;
}

/* Four characters, of which the first `digits` (2 to 4) are not padding. */
static bool
decode_group(const uint8_t *text, size_t digits, uint8_t *data)
{
    uint32_t group = 0;
    for (size_t k = 0; k < 4; k++) {
        int digit = k < digits ? digit_of(text[k]) : 0;
        if (digit < 0) {
            return false;
        }
        group = group << 6 | (uint32_t)digit;
    }
    for (size_t k = 0; k + 1 < digits; k++) {
        data[k] = (uint8_t)(group >> (16 - 8 * k));
    }
    uint32_t unused = digits == 2 ? 0xffff : digits == 3 ? 0xff : 0;
    return (group & unused) == 0;
}

bool
base64_decode(struct bytes text, uint8_t *data, size_t *ret_size)
{
    size_t size = 0;
    if (text.size % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.size; i += 4) {
        const uint8_t *group = text.data + i;
        size_t digits = 4;
        if (i + 4 == text.size && group[3] == '=') {
            digits = group[2] == '=' ? 2 : 3;
        }
        if (!decode_group(group, digits, data + size)) {
            return false;
        }
        size += digits - 1;
    }
    *ret_size = size;
    return true;
}
