#include "libdmq/cli/key_rule.h"

#include <string.h>

/* Where delim first stands in text; its size if nowhere. */
static size_t
find(dmq_bytes text, dmq_bytes delim)
{
    const void *found = delim.size == 1 ? memchr(text.data, *(const char *)delim.data, text.size)
                                        : memmem(text.data, text.size, delim.data, delim.size);
    return found != NULL ? (size_t)((const char *)found - (const char *)text.data) : text.size;
}

static dmq_bytes
behind(dmq_bytes text, size_t size)
{
    return (dmq_bytes){(const char *)text.data + size, text.size - size};
}

static dmq_bytes
field_of(dmq_bytes line, dmq_bytes delim, int64_t number)
{
    dmq_bytes rest = line;
    for (int64_t i = 1; i < number; i++) {
        size_t end = find(rest, delim);
        if (end == rest.size) {
            return (dmq_bytes){NULL, 0};
        }
        rest = behind(rest, end + delim.size);
    }
    return (dmq_bytes){rest.data, find(rest, delim)};
}

void
key_rule_apply(const struct key_rule *rule, dmq_bytes line, dmq_bytes *ret_key,
               dmq_bytes *ret_value)
{
    *ret_key = (dmq_bytes){NULL, 0};
    *ret_value = line;
    if (rule->field > 0) {
        dmq_bytes comma = {",", 1};
        *ret_key = field_of(line, rule->delim.data != NULL ? rule->delim : comma, rule->field);
    } else if (rule->delim.data != NULL) {
        size_t end = find(line, rule->delim);
        if (end < line.size) {
            *ret_key = (dmq_bytes){line.data, end};
            *ret_value = behind(line, end + rule->delim.size);
        }
    }
}
