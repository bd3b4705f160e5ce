#include "libdmq/base/varint.h"

const uint8_t *
varint_decode_long(const uint8_t *p, const uint8_t *end, uint32_t *ret_raw)
{
    uint64_t raw;
    const uint8_t *limit = end - p > VARINT_MAX_SIZE ? p + VARINT_MAX_SIZE : end;
    p = varlong_decode_long(p, limit, &raw);
    if (p == NULL || raw > UINT32_MAX) {
        return NULL;
    }
    *ret_raw = (uint32_t)raw;
    return p;
}

const uint8_t *
varlong_decode_long(const uint8_t *p, const uint8_t *end, uint64_t *ret_raw)
{
    uint64_t raw = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7, p++) {
        uint64_t bits = *p & 0x7f;
        if (shift == 63 && bits > 1) { /* the tenth byte has room for one bit */
            return NULL;
        }
        raw |= bits << shift;
        if (*p < 0x80) {
            *ret_raw = raw;
            return p + 1;
        }
    }
    return NULL;
}
