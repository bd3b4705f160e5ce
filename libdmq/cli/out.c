#include "libdmq/cli/out.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 * 1024 };

bool
out_init(struct out *out, int fd)
{
    *out = (struct out){.fd = fd, .capacity = BUFFER_BYTES};
    out->data = malloc(BUFFER_BYTES);
    return out->data != NULL;
}

void
out_deinit(struct out *out)
{
    free(out->data);
}

static void
write_all(struct out *out, const char *data, size_t size)
{
    while (size > 0 && out->error == 0) {
        ssize_t done = write(out->fd, data, size);
        if (done < 0 && errno != EINTR) {
            out->error = errno;
        } else if (done > 0) {
            data += done;
            size -= (size_t)done;
        }
    }
}

bool
out_flush(struct out *out)
{
    if (out->fd >= 0) {
        write_all(out, out->data, out->size);
        out->size = 0;
    }
    return out->error == 0;
}

/* Output into memory has no other way than to grow. */
static bool
grow(struct out *out, size_t size)
{
    size_t capacity = (out->size + size) * 2;
    char *data = realloc(out->data, capacity);
    if (data == NULL) {
        out->error = ENOMEM;
        return false;
    }
    out->data = data;
    out->capacity = capacity;
    return true;
}

void
out_put(struct out *out, const void *data, size_t size)
{
    if (size > out->capacity - out->size) {
        if (out->fd < 0) {
            if (!grow(out, size)) {
                return;
            }
        } else {
            out_flush(out);
            if (size > out->capacity) {
                write_all(out, data, size);
                return;
            }
        }
    }
    if (size > 0) {
        memcpy(out->data + out->size, data, size);
        out->size += size;
    }
}

void
out_text(struct out *out, const char *text)
{
    out_put(out, text, strlen(text));
}

void
out_int(struct out *out, int64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRId64, value);
    out_put(out, text, (size_t)size);
}

void
out_format(struct out *out, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (size > 0) {
        out_put(out, text, (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1);
    }
}
