#include "libdmq/wire/json_name.h"

#include <stddef.h>

#include "libdmq/base/assert.h"

const char *
json_name(const char *name, char to[JSON_NAME_MAX])
{
    size_t size = 0;
    for (const char *from = name; *from != '\0'; from++) {
        DMQ_ASSERT(size + 1 < JSON_NAME_MAX);
        if (*from == '_' && from[1] >= 'a' && from[1] <= 'z') {
            from++;
            to[size++] = (char)(*from - 'a' + 'A');
        } else {
            to[size++] = *from;
        }
    }
    to[size] = '\0';
    return to;
}
