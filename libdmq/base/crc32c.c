/* Portable: slicing by 8 (Intel's paper of 2006), one table look-up per byte but eight bytes at a
 * time. Hardware: an x86 or ARMv8 core starts one CRC instruction per cycle, yet each takes three
 * cycles, so three neighbouring blocks are computed side by side and then joined: the CRC of the
 * first is moved on over the zeros of a block's length by four table look-ups (after Mark Adler).
 *
 * All tables are made before main, from the polynomial, in some 20 µs: nothing is locked later. */
#include "libdmq/base/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41, bits reversed */

enum { LONG_BLOCK = 4096, SHORT_BLOCK = 256 };

/* slices[k][b]: the register after byte b and k zero bytes. */
static uint32_t slices[8][256];

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC_TARGET __attribute__((target("sse4.2")))
#define STEP8(crc, byte) ((uint64_t)_mm_crc32_u8((uint32_t)(crc), (byte)))
#define STEP64(crc, word) _mm_crc32_u64((crc), (word))
#elif defined(__ARM_FEATURE_CRC32) && defined(__aarch64__)
#include <arm_acle.h>
#define CRC_TARGET
#define STEP8(crc, byte) ((uint64_t)__crc32cb((uint32_t)(crc), (byte)))
#define STEP64(crc, word) ((uint64_t)__crc32cd((uint32_t)(crc), (word)))
#endif

uint32_t
crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint32_t c = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                            (uint32_t)p[3] << 24);
        c = slices[7][low & 0xff] ^ slices[6][(low >> 8) & 0xff] ^ slices[5][(low >> 16) & 0xff] ^
            slices[4][low >> 24] ^ slices[3][p[4]] ^ slices[2][p[5]] ^ slices[1][p[6]] ^
            slices[0][p[7]];
    }
    for (; size > 0; size--, p++) {
        c = (c >> 8) ^ slices[0][(c ^ *p) & 0xff];
    }
    return ~c;
}

static void
make_slices(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int bit = 0; bit < 8; bit++) {
            c = (c >> 1) ^ (c & 1 ? POLYNOMIAL : 0);
        }
        slices[0][b] = c;
    }
    for (uint32_t b = 0; b < 256; b++) {
        for (int k = 1; k < 8; k++) {
            slices[k][b] = (slices[k - 1][b] >> 8) ^ slices[0][slices[k - 1][b] & 0xff];
        }
    }
}

#ifdef CRC_TARGET

static bool hardware;

/* after[k][b]: what byte k of a register, of value b, becomes over a block of zeros. */
struct join {
    uint32_t after[4][256];
};

static struct join long_join;
static struct join short_join;

static uint64_t
load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static uint64_t
move_on(const struct join *join, uint64_t crc)
{
    return join->after[0][crc & 0xff] ^ join->after[1][(crc >> 8) & 0xff] ^
           join->after[2][(crc >> 16) & 0xff] ^ join->after[3][(crc >> 24) & 0xff];
}

/* Three blocks of block bytes (a multiple of 8), side by side; returns the register after them. */
CRC_TARGET static uint64_t
three_blocks(uint64_t crc, const uint8_t *p, size_t block, const struct join *join)
{
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < block; i += 8) {
        crc = STEP64(crc, load64(p + i));
        second = STEP64(second, load64(p + block + i));
        third = STEP64(third, load64(p + 2 * block + i));
    }
    return move_on(join, move_on(join, crc) ^ second) ^ third;
}

CRC_TARGET static uint32_t
crc32c_hardware(uint32_t start, const uint8_t *p, size_t size)
{
    uint64_t crc = ~start;
    for (; size >= 3 * LONG_BLOCK; size -= 3 * LONG_BLOCK, p += 3 * LONG_BLOCK) {
        crc = three_blocks(crc, p, LONG_BLOCK, &long_join);
    }
    for (; size >= 3 * SHORT_BLOCK; size -= 3 * SHORT_BLOCK, p += 3 * SHORT_BLOCK) {
        crc = three_blocks(crc, p, SHORT_BLOCK, &short_join);
    }
    for (; size >= 8; size -= 8, p += 8) {
        crc = STEP64(crc, load64(p));
    }
    for (; size > 0; size--, p++) {
        crc = STEP8(crc, *p);
    }
    return ~(uint32_t)crc;
}

/* A register after zeros is linear in its bits: each bit is moved by itself, then every value is
 * the sum of its bits. */
CRC_TARGET static void
make_join(struct join *join, size_t block)
{
    for (unsigned bit = 0; bit < 32; bit++) {
        uint64_t crc = UINT64_C(1) << bit;
        for (size_t i = 0; i < block; i += 8) {
            crc = STEP64(crc, 0);
        }
        join->after[bit / 8][1u << (bit % 8)] = (uint32_t)crc;
    }
    for (int k = 0; k < 4; k++) {
        for (uint32_t b = 1; b < 256; b++) {
            join->after[k][b] = join->after[k][b & (b - 1)] ^ join->after[k][b & (~b + 1)];
        }
    }
}

static void
make_hardware(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    hardware = __builtin_cpu_supports("sse4.2");
#else
    hardware = true; /* compiled for it */
#endif
    if (hardware) {
        make_join(&long_join, LONG_BLOCK);
        make_join(&short_join, SHORT_BLOCK);
    }
}

bool
crc32c_is_hardware(void)
{
    return hardware;
}

uint32_t
crc32c(uint32_t crc, const void *data, size_t size)
{
    return hardware ? crc32c_hardware(crc, data, size) : crc32c_portable(crc, data, size);
}

#else

static void
make_hardware(void)
{
}

bool
crc32c_is_hardware(void)
{
    return false;
}

uint32_t
crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_portable(crc, data, size);
}

#endif

__attribute__((constructor)) static void
make_tables(void)
{
    make_slices();
    make_hardware();
}
