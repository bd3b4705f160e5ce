#include "libdmq/base/buf.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"

static void
release_inline(struct buf *buf)
{
    buf_free_struct(buf);
}

static void
release_heap(struct buf *buf)
{
    free(buf->data);
    buf_free_struct(buf);
}

struct buf *
buf_new(size_t size)
{
    struct buf *buf = malloc(sizeof(*buf) + size);
    if (buf == NULL) {
        return NULL;
    }
    *buf = (struct buf){.data = (uint8_t *)(buf + 1),
                        .size = size,
                        .pinned = sizeof(*buf) + size,
                        .refs = 1,
                        .release = release_inline};
    return buf;
}

struct buf *
buf_copy(struct bytes bytes)
{
    struct buf *buf = buf_new(bytes.size);
    if (buf != NULL && bytes.size > 0) {
        memcpy(buf->data, bytes.data, bytes.size);
    }
    return buf;
}

void
buf_free_struct(struct buf *buf)
{
    free(buf);
}

struct buf *
buf_ref(struct buf *buf)
{
    uint32_t before = atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    DMQ_ASSERT(before > 0 && before < UINT32_MAX);
    return buf;
}

size_t
buf_reusable(const struct buf *buf)
{
    if (buf == NULL || buf->release != release_inline ||
        atomic_load_explicit(&buf->refs, memory_order_acquire) != 1) {
        return 0;
    }
    return buf->pinned - sizeof(*buf); /* size may have been lowered */
}

void
buf_unref(struct buf *buf)
{
    if (buf == NULL) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel);
    DMQ_ASSERT(before > 0);
    if (before == 1) {
        buf->release(buf);
    }
}

void
outbuf_deinit(struct outbuf *out)
{
    free(out->data);
    *out = (struct outbuf){0};
}

void
outbuf_clear(struct outbuf *out)
{
    out->size = 0;
    out->failed = false;
}

uint8_t *
outbuf_reserve(struct outbuf *out, size_t size)
{
    if (out->failed) {
        return NULL;
    }
    if (out->capacity - out->size < size) {
        size_t capacity = out->capacity < 128 ? 256 : out->capacity * 2;
        while (capacity - out->size < size) {
            capacity *= 2;
        }
        uint8_t *data = realloc(out->data, capacity);
        if (data == NULL) {
            out->failed = true;
            return NULL;
        }
        out->data = data;
        out->capacity = capacity;
    }
    return out->data + out->size;
}

void
outbuf_put(struct outbuf *out, const void *data, size_t size)
{
    uint8_t *to = outbuf_reserve(out, size);
    if (to != NULL && size > 0) {
        memcpy(to, data, size);
        out->size += size;
    }
}

struct buf *
outbuf_take(struct outbuf *out)
{
    struct buf *buf = out->failed ? NULL : malloc(sizeof(*buf));
    if (buf == NULL) {
        outbuf_deinit(out);
        return NULL;
    }
    *buf = (struct buf){.data = out->data,
                        .size = out->size,
                        .pinned = sizeof(*buf) + out->capacity,
                        .refs = 1,
                        .release = release_heap};
    *out = (struct outbuf){0};
    return buf;
}
