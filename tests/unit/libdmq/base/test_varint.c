#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/rng.h"
#include "libdmq/base/varint.h"

/* From Kafka's ByteUtilsTest. */
static void
known_bytes(void **state)
{
    static const struct {
        int64_t value;
        size_t size;
        uint8_t bytes[VARLONG_MAX_SIZE];
    } known[] = {
        {0, 1, {0x00}},
        {-1, 1, {0x01}},
        {1, 1, {0x02}},
        {63, 1, {0x7e}},
        {-64, 1, {0x7f}},
        {64, 2, {0x80, 0x01}},
        {-65, 2, {0x81, 0x01}},
        {8191, 2, {0xfe, 0x7f}},
        {-8192, 2, {0xff, 0x7f}},
        {8192, 3, {0x80, 0x80, 0x01}},
        {INT32_MAX, 5, {0xfe, 0xff, 0xff, 0xff, 0x0f}},
        {INT32_MIN, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
        {INT64_MAX, 10, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
        {INT64_MIN, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint8_t out[VARLONG_MAX_SIZE];
        assert_int_equal(varlong_size(known[i].value), known[i].size);
        assert_ptr_equal(varlong_encode(out, known[i].value), out + known[i].size);
        assert_memory_equal(out, known[i].bytes, known[i].size);
        if (known[i].value >= INT32_MIN && known[i].value <= INT32_MAX) {
            assert_int_equal(varint_size((int32_t)known[i].value), known[i].size);
            assert_ptr_equal(varint_encode(out, (int32_t)known[i].value), out + known[i].size);
            assert_memory_equal(out, known[i].bytes, known[i].size);
        }
    }
}

/* Encodes value both ways it fits, decodes it, and refuses each of its truncations. */
static void
cross(int64_t value)
{
    uint8_t out[VARLONG_MAX_SIZE];
    int64_t big = 0;
    int32_t small = 0;
    size_t size = varlong_size(value);
    varlong_encode(out, value);
    assert_ptr_equal(varlong_decode(out, out + size, &big), out + size);
    assert_true(big == value);
    for (size_t cut = 0; cut < size; cut++) {
        assert_null(varlong_decode(out, out + cut, &big));
        assert_null(varint_decode(out, out + cut, &small));
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        assert_ptr_equal(varint_decode(out, out + size, &small), out + size);
        assert_int_equal(small, value);
    } else {
        assert_null(varint_decode(out, out + size, &small));
        assert_int_equal(small, 0);
    }
}

static void
round_trips_and_truncations(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 7);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t power = UINT64_C(1) << bit;
        for (uint64_t near = 0; near < 3; near++) {
            cross((int64_t)(power - 1 + near));
            cross((int64_t)(0 - (power - 1 + near)));
        }
    }
    for (int i = 0; i < 100000; i++) {
        cross((int64_t)(rng_next(&rng) >> rng_below(&rng, 64)));
    }
}

static void
too_long_and_too_large_are_refused(void **state)
{
    int32_t small;
    int64_t big;
    static const uint8_t six[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    static const uint8_t bit_32[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    static const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                     0x80, 0x80, 0x80, 0x80, 0x00};
    static const uint8_t bit_64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03};
    static const uint8_t padded[] = {0x80, 0x80, 0x80, 0x80, 0x00};
    (void)state;
    assert_null(varint_decode(six, six + sizeof(six), &small));
    assert_null(varint_decode(bit_32, bit_32 + sizeof(bit_32), &small));
    assert_null(varlong_decode(eleven, eleven + sizeof(eleven), &big));
    assert_null(varlong_decode(bit_64, bit_64 + sizeof(bit_64), &big));
    /* Padding within the type's size is not over-long. */
    assert_ptr_equal(varint_decode(padded, padded + sizeof(padded), &small),
                     padded + sizeof(padded));
    assert_int_equal(small, 0);
    assert_ptr_equal(varlong_decode(six, six + sizeof(six), &big), six + sizeof(six));
    assert_true(big == 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_bytes),
        cmocka_unit_test(round_trips_and_truncations),
        cmocka_unit_test(too_long_and_too_large_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
