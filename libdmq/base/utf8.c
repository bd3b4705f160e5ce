#include "libdmq/base/utf8.h"

/* The leading bytes of each length, and what the second byte may be: RFC 3629, section 4. The
 * second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what lies above
 * U+10FFFF (F4); all later bytes are 80..BF. */
static const struct {
    uint8_t first_low, first_high;
    uint8_t second_low, second_high;
    uint8_t size;
} forms[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Bytes of the valid character at p that is not ASCII; 0 if there is none before the end. */
static size_t
character_size(const uint8_t *p, size_t left)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (p[0] < forms[i].first_low || p[0] > forms[i].first_high) {
            continue;
        }
        size_t size = forms[i].size;
        if (left < size || p[1] < forms[i].second_low || p[1] > forms[i].second_high) {
            return 0;
        }
        for (size_t k = 2; k < size; k++) {
            if ((p[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return size;
    }
    return 0;
}

/* Bytes of the valid character at p; 0 if there is none. */
static size_t
valid_size(const uint8_t *p, size_t left)
{
    return *p < 0x80 ? 1 : character_size(p, left);
}

bool
utf8_valid(struct bytes text)
{
    for (size_t i = 0; i < text.size;) {
        size_t size = valid_size(text.data + i, text.size - i);
        if (size == 0) {
            return false;
        }
        i += size;
    }
    return true;
}

void
utf8_repair(char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t size = valid_size((const uint8_t *)text, left);
        if (size == 0) {
            *text = '?';
            size = 1;
        }
        text += size;
        left -= size;
    }
}
