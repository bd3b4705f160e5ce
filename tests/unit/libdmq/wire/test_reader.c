/* The cursor, type by type, at the edges of each form of msgpack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/buf.h"
#include "libdmq/wire/reader.h"

#define FRAME(literal) bytes_of(literal, sizeof(literal) - 1)
#define VALUE(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

/* Reads an integer that ends the frame. */
static void
good_int(struct bytes frame, int64_t expected)
{
    struct reader reader;
    int64_t value = 0;
    reader_init(&reader, frame);
    assert_true(reader_int(&reader, INT64_MIN, INT64_MAX, &value));
    assert_int_equal(value, expected);
    assert_int_equal(reader_left(&reader), 0);
    /* At the ends of a range that just holds it, and one beyond. */
    reader_init(&reader, frame);
    assert_true(reader_int(&reader, expected, expected, &value));
    reader_init(&reader, frame);
    if (expected < INT64_MAX) {
        assert_false(reader_int(&reader, expected + 1, INT64_MAX, &value));
        assert_string_equal(reader.why, "the number is out of range");
        assert_int_equal(reader_pos(&reader), 0);
    }
}

static void
integers_of_every_width(void **state)
{
    (void)state;
    good_int(FRAME("\x00"), 0);
    good_int(FRAME("\x7f"), 127);
    good_int(FRAME("\xe0"), -32);
    good_int(FRAME("\xff"), -1);
    good_int(FRAME("\xcc\xff"), 255);
    good_int(FRAME("\xcd\xff\xff"), 65535);
    good_int(FRAME("\xce\xff\xff\xff\xff"), UINT32_MAX);
    good_int(FRAME("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX);
    good_int(FRAME("\xd0\x80"), -128);
    good_int(FRAME("\xd1\x80\x00"), -32768);
    good_int(FRAME("\xd2\x80\x00\x00\x00"), INT32_MIN);
    good_int(FRAME("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN);
    /* Wider than needed is as good: encoders of other languages differ. */
    good_int(FRAME("\xcf\x00\x00\x00\x00\x00\x00\x00\x05"), 5);
    good_int(FRAME("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), -1);
}

static void
bad_int(struct bytes frame, const char *why)
{
    struct reader reader;
    int64_t value = 77;
    reader_init(&reader, frame);
    assert_false(reader_int(&reader, INT64_MIN, INT64_MAX, &value));
    assert_string_equal(reader.why, why);
    assert_int_equal(value, 77);
}

static void
what_is_no_integer_is_refused(void **state)
{
    (void)state;
    bad_int(FRAME(""), "the frame ends before it");
    bad_int(FRAME("\xcc"), "the frame ends inside it");
    bad_int(FRAME("\xd3\x80\x00\x00\x00\x00\x00\x00"), "the frame ends inside it");
    bad_int(FRAME("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), "the number is out of range");
    bad_int(FRAME("\xc1"), "0xc1 is not a msgpack type");
    bad_int(FRAME("\xc0"), "it is not an integer");
    bad_int(FRAME("\xcb\x00\x00\x00\x00\x00\x00\x00\x00"), "it is not an integer");
    bad_int(FRAME("\xa1\x31"), "it is not an integer");
}

static void
texts_and_bytes_of_every_form(void **state)
{
    (void)state;
    static const char *const heads[] = {"\xa3", "\xd9\x03", "\xda\x00\x03", "\xdb\x00\x00\x00\x03"};
    static const size_t sizes[] = {1, 2, 3, 5};
    for (size_t i = 0; i < 4; i++) {
        struct outbuf out = {0};
        struct reader reader;
        struct bytes view;
        outbuf_put(&out, heads[i], sizes[i]);
        outbuf_put(&out, "abc", 3);
        reader_init(&reader, bytes_of(out.data, out.size));
        assert_true(reader_str(&reader, &view));
        assert_true(bytes_equal_str(view, "abc"));
        if (i > 0) { /* bin 8, 16, 32 */
            out.data[0] = (uint8_t)(0xc4 + i - 1);
            reader_init(&reader, bytes_of(out.data, out.size));
            assert_false(reader_str(&reader, &view));
            assert_string_equal(reader.why, "it is not a str");
            assert_true(reader_bytes(&reader, &view));
            assert_true(bytes_equal_str(view, "abc"));
        }
        reader_init(&reader, bytes_of(out.data, out.size - 1));
        assert_false(reader_skip(&reader));
        assert_string_equal(reader.why, "it declares more bytes than the frame has left");
        outbuf_deinit(&out);
    }
}

static void
counts_are_compared_with_the_bytes_left(void **state)
{
    (void)state;
    struct reader reader;
    uint32_t count = 0;
    reader_init(&reader, FRAME("\xdc\x00\x02\x01\x02"));
    assert_true(reader_array(&reader, &count));
    assert_int_equal(count, 2);
    reader_init(&reader, FRAME("\xdc\x00\x03\x01\x02"));
    assert_false(reader_array(&reader, &count));
    assert_string_equal(reader.why, "it declares more values than the frame has bytes left");
    reader_init(&reader, FRAME("\xdf\xff\xff\xff\xff"));
    assert_false(reader_skip(&reader));
    reader_init(&reader, FRAME("\x81\x01"));
    assert_false(reader_array(&reader, &count));
    assert_false(reader_skip(&reader));
    reader_init(&reader, FRAME("\xdb\xff\xff\xff\xff"));
    assert_false(reader_skip(&reader));
    reader_init(&reader, FRAME("\xc9\xff\xff\xff\xff\x01"));
    assert_false(reader_skip(&reader));
}

/* Every type byte of msgpack, but for those that hold a number. */
static const struct bytes one_of_each[] = {
    VALUE("\x05"),
    VALUE("\xe5"),
    VALUE("\x80"),
    VALUE("\x81\xa1k\x01"),
    VALUE("\x90"),
    VALUE("\x92\x01\x91\xc0"),
    VALUE("\xa0"),
    VALUE("\xa2xy"),
    VALUE("\xc0"),
    VALUE("\xc2"),
    VALUE("\xc3"),
    VALUE("\xc4\x01x"),
    VALUE("\xc5\x00\x01x"),
    VALUE("\xc6\x00\x00\x00\x01x"),
    VALUE("\xc7\x01\x07x"),
    VALUE("\xc8\x00\x01\x07x"),
    VALUE("\xc9\x00\x00\x00\x01\x07x"),
    VALUE("\xca"
          "1234"),
    VALUE("\xcb"
          "12345678"),
    VALUE("\xcc"
          "1"),
    VALUE("\xcd"
          "12"),
    VALUE("\xce"
          "1234"),
    VALUE("\xcf"
          "\xff"
          "2345678"),
    VALUE("\xd0"
          "1"),
    VALUE("\xd1"
          "12"),
    VALUE("\xd2"
          "1234"),
    VALUE("\xd3"
          "12345678"),
    VALUE("\xd4"
          "\x07"
          "1"),
    VALUE("\xd5"
          "\x07"
          "12"),
    VALUE("\xd6"
          "\x07"
          "1234"),
    VALUE("\xd7"
          "\x07"
          "12345678"),
    VALUE("\xd8"
          "\x07"
          "1234567812345678"),
    VALUE("\xd9\x01x"),
    VALUE("\xda\x00\x01x"),
    VALUE("\xdb\x00\x00\x00\x01x"),
    VALUE("\xdc\x00\x01\x01"),
    VALUE("\xdd\x00\x00\x00\x01\x01"),
    VALUE("\xde\x00\x01\x01\x02"),
    VALUE("\xdf\x00\x00\x00\x01\x01\x02"),
    VALUE("\xff"),
};

static void
every_type_can_be_skipped(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(one_of_each) / sizeof(one_of_each[0]); i++) {
        struct reader reader;
        reader_init(&reader, one_of_each[i]);
        assert_true(reader_skip(&reader));
        assert_int_equal(reader_left(&reader), 0);
        for (size_t size = 0; size < one_of_each[i].size; size++) {
            reader_init(&reader, bytes_of(one_of_each[i].data, size));
            assert_false(reader_skip(&reader));
            assert_non_null(reader.why);
        }
    }
}

static void
the_budget_of_values_holds(void **state)
{
    (void)state;
    struct reader reader;
    reader_init(&reader, FRAME("\x93\x01\x02\x03"));
    reader.nodes_left = 4;
    assert_true(reader_skip(&reader));
    reader_init(&reader, FRAME("\x93\x01\x02\x03"));
    reader.nodes_left = 3;
    assert_false(reader_skip(&reader));
    assert_string_equal(reader.why, "the frame holds too many values");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width),
        cmocka_unit_test(what_is_no_integer_is_refused),
        cmocka_unit_test(texts_and_bytes_of_every_form),
        cmocka_unit_test(counts_are_compared_with_the_bytes_left),
        cmocka_unit_test(every_type_can_be_skipped),
        cmocka_unit_test(the_budget_of_values_holds),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
