/* Zigzag variable-length integers as in Kafka's records: 7 bits a byte, lowest first, the top bit
 * set on all but the last. Inline, for the hot paths of producers and consumers.
 *
 * A decoder returns the first byte after the number, or NULL if the number does not end before end,
 * takes more bytes than its type can need, or does not fit the type. Padding within that size (80
 * 00 for 0) is read, as Kafka's clients do; the encoders never write it. */
#ifndef DMQ_BASE_VARINT_H
#define DMQ_BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define VARINT_MAX_SIZE 5   /* of a 32-bit number */
#define VARLONG_MAX_SIZE 10 /* of a 64-bit number */

/* The rest of a number of more than one byte; p is at its first byte. */
const uint8_t *varint_decode_long(const uint8_t *p, const uint8_t *end, uint32_t *ret_raw);
const uint8_t *varlong_decode_long(const uint8_t *p, const uint8_t *end, uint64_t *ret_raw);

static inline uint32_t
zigzag32(int32_t value)
{
    return ((uint32_t)value << 1) ^ (value < 0 ? UINT32_MAX : 0);
}

static inline uint64_t
zigzag64(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int32_t
unzigzag32(uint32_t raw)
{
    return (int32_t)((raw >> 1) ^ (0u - (raw & 1)));
}

static inline int64_t
unzigzag64(uint64_t raw)
{
    return (int64_t)((raw >> 1) ^ (UINT64_C(0) - (raw & 1)));
}

/* 1 to 10. */
static inline size_t
varlong_size(int64_t value)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(zigzag64(value) | 1);
    return (bits + 6) / 7;
}

/* 1 to 5. */
static inline size_t
varint_size(int32_t value)
{
    return varlong_size(value);
}

/* Writes value, returns the first byte after it. There must be room for VARLONG_MAX_SIZE bytes. */
static inline uint8_t *
varlong_encode(uint8_t *p, int64_t value)
{
    uint64_t raw = zigzag64(value);
    while (raw >= 0x80) {
        *p++ = (uint8_t)(raw | 0x80);
        raw >>= 7;
    }
    *p++ = (uint8_t)raw;
    return p;
}

/* Writes value, returns the first byte after it. There must be room for VARINT_MAX_SIZE bytes. */
static inline uint8_t *
varint_encode(uint8_t *p, int32_t value)
{
    uint32_t raw = zigzag32(value);
    while (raw >= 0x80) {
        *p++ = (uint8_t)(raw | 0x80);
        raw >>= 7;
    }
    *p++ = (uint8_t)raw;
    return p;
}

static inline const uint8_t *
varint_decode(const uint8_t *p, const uint8_t *end, int32_t *ret_value)
{
    uint32_t raw;
    if (p == end) {
        return NULL;
    }
    if (*p < 0x80) { /* most lengths and deltas of small records */
        *ret_value = unzigzag32(*p);
        return p + 1;
    }
    if (end - p >= 2 && p[1] < 0x80) { /* nearly all others */
        *ret_value = unzigzag32((uint32_t)(p[0] & 0x7f) | (uint32_t)p[1] << 7);
        return p + 2;
    }
    p = varint_decode_long(p, end, &raw);
    if (p != NULL) {
        *ret_value = unzigzag32(raw);
    }
    return p;
}

static inline const uint8_t *
varlong_decode(const uint8_t *p, const uint8_t *end, int64_t *ret_value)
{
    uint64_t raw;
    if (p == end) {
        return NULL;
    }
    if (*p < 0x80) {
        *ret_value = unzigzag64(*p);
        return p + 1;
    }
    if (end - p >= 2 && p[1] < 0x80) {
        *ret_value = unzigzag64((uint64_t)(p[0] & 0x7f) | (uint64_t)p[1] << 7);
        return p + 2;
    }
    p = varlong_decode_long(p, end, &raw);
    if (p != NULL) {
        *ret_value = unzigzag64(raw);
    }
    return p;
}

#endif
