#include "tests/script/short_ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/script/script.h"

#define NOBODYS 77

static size_t
number_of(struct short_ids *ids, const char *hex)
{
    size_t i = 0;
    while (i < ids->count && strncmp(ids->drawn[i], hex, 32) != 0) {
        i++;
    }
    if (i == ids->count && i < SHORT_IDS_MAX) {
        snprintf(ids->drawn[ids->count++], UUID_TEXT_SIZE, "%.32s", hex);
    }
    return i + 1;
}

void
short_ids_print(struct short_ids *ids, struct outbuf *out, const char *text)
{
    while (*text != 0) {
        size_t hex = strspn(text, "0123456789abcdef");
        if (hex != 32) {
            size_t size = hex == 0 ? 1 : hex;
            outbuf_put(out, text, size);
            text += size;
            continue;
        }
        if (strspn(text, "0") >= 28) {
            script_print(out, "#%ld", strtol(text + 24, NULL, 16) & 0xffff);
        } else {
            script_print(out, "id-%zu", number_of(ids, text));
        }
        text += 32;
    }
}

struct uuid
short_ids_find(const struct short_ids *ids, size_t number)
{
    struct uuid id = script_id(NOBODYS);
    if (number > 0 && number <= ids->count) {
        uuid_parse(ids->drawn[number - 1], &id);
    }
    return id;
}
