#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/wire/murmur2.h"

/* From Kafka's UtilsTest.testMurmur2: every length modulo 4 is there. */
static void
known_values(void **state)
{
    (void)state;
    assert_int_equal(murmur2(bytes_str("21")), -973932308);
    assert_int_equal(murmur2(bytes_str("foobar")), -790332482);
    assert_int_equal(murmur2(bytes_str("a-little-bit-long-string")), -985981536);
    assert_int_equal(murmur2(bytes_str("a-little-bit-longer-string")), -1486304829);
    assert_int_equal(murmur2(bytes_str("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")),
                     -58897971);
    assert_int_equal(murmur2(bytes_str("abc")), 479470107);
    assert_int_equal(murmur2(bytes_of("", 0)), 275646681);
}

static void
bytes_above_127_are_unsigned(void **state)
{
    static const uint8_t key[] = {0xff, 0xfe, 0x80, 0xc3, 0xa9};
    (void)state;
    for (size_t size = 1; size <= sizeof(key); size++) {
        uint8_t masked[sizeof(key)];
        for (size_t i = 0; i < size; i++) {
            masked[i] = key[i] & 0x7f;
        }
        assert_int_not_equal(murmur2(bytes_of(key, size)), murmur2(bytes_of(masked, size)));
    }
}

static void
partitions_are_in_range(void **state)
{
    uint8_t key[4];
    uint32_t hits[7] = {0};
    (void)state;
    assert_int_equal(partition_for_key(bytes_str("21"), 3), (-973932308 & INT32_MAX) % 3);
    for (uint32_t i = 0; i < 7000; i++) {
        put_be32(key, i);
        int32_t partition = partition_for_key(bytes_of(key, 4), 7);
        assert_in_range(partition, 0, 6);
        assert_int_equal(partition, (murmur2(bytes_of(key, 4)) & INT32_MAX) % 7);
        assert_int_equal(partition_for_key(bytes_of(key, 4), 1), 0);
        hits[partition]++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(hits[i], 800, 1200);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(bytes_above_127_are_unsigned),
        cmocka_unit_test(partitions_are_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
