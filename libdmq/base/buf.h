/* Owned, reference-counted bytes: how a batch goes from a socket to the disk and to consumers
 * without being copied. Counts are atomic, for the storage worker and libzmq's I/O threads release
 * buffers that the core thread made. The contents are written only while there is one owner. */
#ifndef DMQ_BASE_BUF_H
#define DMQ_BASE_BUF_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t pinned; /* bytes of memory that this buffer really holds: what budgets count */
    _Atomic uint32_t refs;
    void (*release)(struct buf *buf); /* called once, on any thread, by the last buf_unref */
};

/* One reference, size bytes, uninitialised. NULL if memory is out. */
struct buf *buf_new(size_t size);

/* One reference to a copy of bytes. NULL if memory is out. */
struct buf *buf_copy(struct bytes bytes);

/* What a release frees at the end: the struct. */
void buf_free_struct(struct buf *buf);

struct buf *buf_ref(struct buf *buf);

/* Bytes that data has room for, if the caller's reference is the only one and buf_new made the buf,
 * so that it can be written anew; else 0. NULL is 0. */
size_t buf_reusable(const struct buf *buf);

/* Drops one reference. NULL is a no-op. */
void buf_unref(struct buf *buf);

static inline struct bytes
buf_bytes(const struct buf *buf)
{
    return (struct bytes){buf->data, buf->size};
}

/* A growing byte string, for encoders. Zero is an empty one. On lack of memory it becomes failed
 * and stays so: check once, at the end. */
struct outbuf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed;
};

void outbuf_deinit(struct outbuf *out);
void outbuf_clear(struct outbuf *out); /* keeps the memory */
void outbuf_put(struct outbuf *out, const void *data, size_t size);

/* Makes room for size more bytes and returns where they go (the caller then adds to out->size);
 * NULL if memory is out. */
uint8_t *outbuf_reserve(struct outbuf *out, size_t size);

/* Turns the contents into a buf; out is empty afterwards. NULL if memory ran out on the way. */
struct buf *outbuf_take(struct outbuf *out);

#endif
