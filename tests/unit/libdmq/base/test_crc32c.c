#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/base/rng.h"

enum { BIG = 64 * 1024 };

static uint8_t big[BIG];

static void
setup_big(uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < BIG; i += 8) {
        put_be64(big + i, rng_next(&rng));
    }
}

/* The definition, bit by bit. */
static uint32_t
crc32c_by_bits(uint32_t crc, const uint8_t *p, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

/* RFC 3720 B.4, and the catalogue's check value. */
static void
known_values(void **state)
{
    uint8_t data[32];
    (void)state;
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    memset(data, 0, sizeof(data));
    assert_int_equal(crc32c(0, data, 32), 0x8a9136aau);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(crc32c(0, data, 32), 0x62a8ab43u);
    for (size_t i = 0; i < 32; i++) {
        data[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, data, 32), 0x46dd794eu);
    assert_int_equal(crc32c_portable(0, data, 32), 0x46dd794eu);
}

/* Every size around the blocks of the hardware path, at every alignment. */
static void
hardware_portable_and_definition_agree(void **state)
{
    static const size_t sizes[] = {767,   768,   769,   1535,  1536, 1545,
                                   12287, 12288, 12289, 13063, 24576};
    (void)state;
    setup_big(1);
    for (size_t size = 0; size < 300; size++) {
        for (size_t at = 0; at < 9; at++) {
            uint32_t expected = crc32c_by_bits(0, big + at, size);
            assert_int_equal(crc32c(0, big + at, size), expected);
            assert_int_equal(crc32c_portable(0, big + at, size), expected);
        }
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t expected = crc32c_by_bits(0x12345678, big + 3, sizes[i]);
        assert_int_equal(crc32c(0x12345678, big + 3, sizes[i]), expected);
        assert_int_equal(crc32c_portable(0x12345678, big + 3, sizes[i]), expected);
    }
    assert_int_equal(crc32c(0, big, BIG), crc32c_portable(0, big, BIG));
}

static void
parts_add_up(void **state)
{
    struct rng rng;
    (void)state;
    setup_big(2);
    rng_init(&rng, 3);
    uint32_t whole = crc32c(0, big, BIG);
    for (int i = 0; i < 200; i++) {
        size_t cut = rng_below(&rng, BIG + 1);
        assert_int_equal(crc32c(crc32c(0, big, cut), big + cut, BIG - cut), whole);
        assert_int_equal(crc32c_portable(crc32c(0, big, cut), big + cut, BIG - cut), whole);
    }
}

static void
one_flipped_bit_shows(void **state)
{
    (void)state;
    setup_big(4);
    uint32_t whole = crc32c(0, big, 20000);
    for (size_t bit = 0; bit < 20000 * 8; bit += 997) {
        big[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(crc32c(0, big, 20000), whole);
        big[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

/* On every x86-64 that we are likely to meet the instruction is there: a build that lost it would
 * be slow without anybody noticing. */
static void
x86_uses_the_instruction(void **state)
{
    (void)state;
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(crc32c_is_hardware(), __builtin_cpu_supports("sse4.2") != 0);
#else
    skip();
#endif
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(hardware_portable_and_definition_agree),
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(one_flipped_bit_shows),
        cmocka_unit_test(x86_uses_the_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
