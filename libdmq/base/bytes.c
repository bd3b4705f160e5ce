#include "libdmq/base/bytes.h"

char *
uuid_text(struct uuid id, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(id.b); i++) {
        text[2 * i] = digits[id.b[i] >> 4];
        text[2 * i + 1] = digits[id.b[i] & 15];
    }
    text[32] = '\0';
    return text;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool
uuid_parse(const char *text, struct uuid *ret_id)
{
    struct uuid id;
    if (strlen(text) != 32) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        id.b[i] = (uint8_t)(high << 4 | low);
    }
    *ret_id = id;
    return true;
}
