#include "tests/script/short_ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/script/script.h"

static const char *
name_of(struct short_ids *ids, const char *hex, char text[UUID_TEXT_SIZE])
{
    size_t i = 0;
    while (i < ids->count && strncmp(ids->texts[i], hex, 32) != 0) {
        i++;
    }
    if (i == ids->count && i < SHORT_IDS_MAX) {
        snprintf(ids->texts[ids->count++], UUID_TEXT_SIZE, "%.32s", hex);
    }
    snprintf(text, UUID_TEXT_SIZE, "id-%zu", i + 1);
    return text;
}

void
short_ids_print(struct short_ids *ids, struct outbuf *out, const char *text)
{
    char name[UUID_TEXT_SIZE];
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
            script_print(out, "%s", name_of(ids, text, name));
        }
        text += 32;
    }
}

bool
short_ids_find(const struct short_ids *ids, size_t number, struct uuid *ret_id)
{
    return number > 0 && number <= ids->count && uuid_parse(ids->texts[number - 1], ret_id);
}
