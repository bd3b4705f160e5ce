/* Borrowed views, and small values that everything shares. */
#ifndef DMQ_BASE_BYTES_H
#define DMQ_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed view of bytes: whoever hands it out says how long it lives. data may be NULL only if
 * size is 0. Also used for strings: UTF-8, not terminated. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

struct uuid {
    uint8_t b[16];
};

static inline struct bytes
bytes_of(const void *data, size_t size)
{
    return (struct bytes){(const uint8_t *)data, size};
}

static inline struct bytes
bytes_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s == NULL ? 0 : strlen(s)};
}

static inline bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool
bytes_equal_str(struct bytes a, const char *s)
{
    return bytes_equal(a, bytes_str(s));
}

static inline bool
uuid_equal(struct uuid a, struct uuid b)
{
    return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

static inline bool
uuid_is_zero(struct uuid a)
{
    static const struct uuid zero;
    return uuid_equal(a, zero);
}

#define UUID_TEXT_SIZE 33 /* 32 hex digits and the 0 */

/* Writes 32 lower-case hex digits and a terminator; returns text. */
char *uuid_text(struct uuid id, char text[UUID_TEXT_SIZE]);

/* False if text is not 32 hex digits. */
bool uuid_parse(const char *text, struct uuid *ret_id);

/* Big-endian fields, as Kafka's record batch and our keys use them. */
static inline void
put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void
put_be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void
put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint16_t
get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
get_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t
get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

#endif
