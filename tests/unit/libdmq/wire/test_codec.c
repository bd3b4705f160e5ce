/* Every message of the table: there and back with random contents, and what hostile bytes give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/arena.h"
#include "libdmq/base/buf.h"
#include "libdmq/wire/codec.h"
#include "libdmq/wire/desc.h"
#include "tests/support/random_msg.h"

#define ARENA_LIMIT (8u << 20)

union any_msg {
    max_align_t align;
    unsigned char room[1024];
};

struct fixture {
    struct rng rng;
    struct arena made;    /* what is encoded */
    struct arena decoded; /* what comes out */
    struct outbuf out;
    struct err_msg err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    rng_init(&f->rng, 4711);
    arena_init(&f->made, ARENA_LIMIT);
    arena_init(&f->decoded, ARENA_LIMIT);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    outbuf_deinit(&f->out);
    arena_deinit(&f->made);
    arena_deinit(&f->decoded);
    free(f);
    return 0;
}

/* Encodes random contents into f->out. */
static void
make(struct fixture *f, const struct struct_desc *desc, union any_msg *msg)
{
    assert_true(desc->size <= sizeof(*msg));
    arena_reset(&f->made);
    arena_reset(&f->decoded);
    outbuf_clear(&f->out);
    random_msg(&f->rng, desc, &f->made, msg);
    msg_encode(desc, 0, msg, &f->out);
    assert_false(f->out.failed);
}

static dmq_err
decode(struct fixture *f, const struct struct_desc *desc, const void *data, size_t size,
       union any_msg *msg)
{
    arena_reset(&f->decoded);
    f->err = (struct err_msg){0};
    dmq_err err = msg_decode(desc, 0, bytes_of(data, size), &f->decoded, msg, &f->err);
    assert_int_equal(err, f->err.code);
    assert_true((err == DMQ_OK) == (f->err.text[0] == '\0'));
    return err;
}

static void
every_message_round_trips(void **state)
{
    struct fixture *f = *state;
    union any_msg msg;
    union any_msg back;
    for (size_t i = 0; i < message_count(); i++) {
        const struct struct_desc *desc = message_desc(i);
        for (int k = 0; k < 200; k++) {
            make(f, desc, &msg);
            assert_int_equal(decode(f, desc, f->out.data, f->out.size, &back), DMQ_OK);
            assert_true(msg_equal(desc, 0, &msg, &back));
        }
    }
}

/* The frame is copied to a block of exactly its size, so that the sanitizer sees any overrun. */
static void
a_frame_cut_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    union any_msg msg;
    union any_msg back;
    size_t cuts = 0;
    for (size_t i = 0; i < message_count(); i++) {
        const struct struct_desc *desc = message_desc(i);
        make(f, desc, &msg);
        size_t step = 1 + f->out.size / 2000;
        for (size_t size = 0; size < f->out.size; size += step) {
            void *cut = malloc(size + (size == 0));
            assert_non_null(cut);
            memcpy(cut, f->out.data, size);
            assert_int_equal(decode(f, desc, cut, size, &back), DMQ_ERR_INVALID_REQUEST);
            free(cut);
            cuts++;
        }
    }
    printf("cuts=%zu\n", cuts);
    assert_true(cuts > 1000);
}

static void
bytes_behind_a_message_are_refused(void **state)
{
    struct fixture *f = *state;
    union any_msg msg;
    union any_msg back;
    for (size_t i = 0; i < message_count(); i++) {
        const struct struct_desc *desc = message_desc(i);
        make(f, desc, &msg);
        outbuf_put(&f->out, "\xc0", 1);
        assert_int_equal(decode(f, desc, f->out.data, f->out.size, &back), DMQ_ERR_INVALID_REQUEST);
        assert_non_null(strstr(f->err.text, "1 bytes follow"));
    }
}

/* Whatever one byte is changed to: an error with a sentence, or a message that encodes again. */
static void
a_changed_byte_never_hurts(void **state)
{
    struct fixture *f = *state;
    union any_msg msg;
    union any_msg back;
    size_t refused = 0;
    size_t taken = 0;
    for (size_t i = 0; i < message_count(); i++) {
        const struct struct_desc *desc = message_desc(i);
        make(f, desc, &msg);
        for (int k = 0; k < 2000; k++) {
            size_t at = (size_t)rng_below(&f->rng, f->out.size);
            uint8_t before = f->out.data[at];
            f->out.data[at] = (uint8_t)rng_next(&f->rng);
            if (decode(f, desc, f->out.data, f->out.size, &back) == DMQ_OK) {
                struct outbuf again = {0};
                msg_encode(desc, 0, &back, &again);
                outbuf_deinit(&again);
                taken++;
            } else {
                refused++;
            }
            f->out.data[at] = before;
        }
    }
    printf("refused=%zu taken=%zu\n", refused, taken);
    assert_true(refused > 1000 && taken > 1000);
}

static void
expect(struct fixture *f, const struct struct_desc *desc, const char *data, size_t size,
       dmq_err err, const char *sentence)
{
    union any_msg back;
    assert_int_equal(decode(f, desc, data, size, &back), err);
    assert_string_equal(f->err.text, sentence);
}

#define EXPECT_BAD(f, desc, literal, sentence)                                                     \
    expect(f, desc, literal, sizeof(literal) - 1, DMQ_ERR_INVALID_REQUEST, sentence)

static void
errors_name_struct_and_field_and_why(void **state)
{
    struct fixture *f = *state;
    EXPECT_BAD(f, desc_api_range(), "", "api_range at byte 0: the frame ends before it");
    EXPECT_BAD(f, desc_api_range(), "\x01", "api_range at byte 0: it is not an array");
    EXPECT_BAD(f, desc_api_range(), "\x92\x01\x02",
               "api_range at byte 0: it has 2 fields, 3 are needed: max_version is missing");
    EXPECT_BAD(f, desc_api_range(), "\x93\x01\xcd\x80\x00\x01",
               "api_range.min_version (i16) at byte 2: the number is out of range");
    EXPECT_BAD(f, desc_api_range(), "\x93\x01\xa1x\x01",
               "api_range.min_version (i16) at byte 2: it is not an integer");
    EXPECT_BAD(f, desc_config_entry(), "\x92\xa1\xff\xa0",
               "config_entry.name (str) at byte 1: it is not UTF-8");
    EXPECT_BAD(f, desc_config_entry(), "\x92\xc4\x01x\xa0",
               "config_entry.name (str) at byte 1: it is not a str");
    EXPECT_BAD(f, desc_topic_removed_record(), "\x91\xc4\x01x",
               "topic_removed_record.topic_id (uuid) at byte 1: it is not a bin of 16 bytes");
    EXPECT_BAD(f, desc_broker_heartbeat_response(), "\x93\x01\x01\xc2",
               "broker_heartbeat_response.fenced (boolean) at byte 2: it is not a boolean");
}

static void
a_str_above_its_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    union any_msg back;
    char frame[256] = "\x92\xd9\x80";
    memset(frame + 3, 'x', 128);
    frame[3 + 128] = '\xa0';
    assert_int_equal(decode(f, desc_config_entry(), frame, 3 + 128 + 1, &back), DMQ_OK);
    frame[2] = '\x81';
    memset(frame + 3, 'x', 129);
    frame[3 + 129] = '\xa0';
    expect(f, desc_config_entry(), frame, 3 + 129 + 1, DMQ_ERR_INVALID_REQUEST,
           "config_entry.name (str) at byte 1: it has 129 bytes, at most 128 are allowed");
}

/* Five bytes that promise four billion brokers. */
static void
a_count_beyond_the_frame_allocates_nothing(void **state)
{
    struct fixture *f = *state;
    EXPECT_BAD(f, desc_produce_response(), "\x91\xdd\xff\xff\xff\xff",
               "produce_response.partitions (list of struct) at byte 1: it declares more values "
               "than the frame has bytes left");
    assert_int_equal(f->decoded.used, 0);
    assert_null(f->decoded.chunks);
    /* 20 bytes cannot hold 5 results of at least 25 bytes, though they could hold 5 values. */
    EXPECT_BAD(f, desc_produce_response(), "\x91\x95\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
               "produce_response.partitions (list of struct) at byte 1: it declares more elements "
               "than the frame can hold");
    assert_int_equal(f->decoded.used, 0);
    /* 65 broker ids where 64 are allowed. */
    char frame[128] = "\x95\x00\xff\xdc\x00\x41";
    EXPECT_BAD(f, desc_topic_partition(), frame,
               "topic_partition.replicas (list of i32) at byte 3: it has more elements than are "
               "allowed");
}

static void
memory_stays_below_the_arena_limit(void **state)
{
    struct fixture *f = *state;
    union any_msg back;
    struct outbuf out = {0};
    outbuf_put(&out, "\x95\x00\xdd\x00\x00\x27\x10", 7);
    for (int i = 0; i < 10000; i++) {
        outbuf_put(&out, "\xa1x", 2);
    }
    outbuf_put(&out, "\x90\xa0\x00", 3);
    assert_int_equal(decode(f, desc_metadata_request(), out.data, out.size, &back),
                     DMQ_ERR_INVALID_REQUEST); /* all_topics is not a boolean */
    out.data[1] = 0xc2;
    assert_int_equal(decode(f, desc_metadata_request(), out.data, out.size, &back), DMQ_OK);

    struct arena small;
    arena_init(&small, 10000 * sizeof(struct bytes) - 1);
    assert_int_equal(msg_decode(desc_metadata_request(), 0, bytes_of(out.data, out.size), &small,
                                &back, &f->err),
                     DMQ_ERR_NOMEM);
    assert_non_null(strstr(f->err.text, "metadata_request.names: 10000 elements"));
    assert_int_equal(small.used, 0);
    arena_deinit(&small);
    outbuf_deinit(&out);
}

static void
unknown_fields_at_the_end_are_skipped(void **state)
{
    struct fixture *f = *state;
    union any_msg back;
    /* One of every type: nil, true, array, map, str, bin, float, ext, a huge number. */
    static const char newer[] = "\xdc\x00\x0c\x01\x02\x03"
                                "\xc0\xc3\x92\x01\x91\x02\x81\xa1k\xa1v\xa1x\xc4\x01x"
                                "\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xd4\x01x"
                                "\xcf\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_int_equal(decode(f, desc_api_range(), newer, sizeof(newer) - 1, &back), DMQ_OK);
    const struct api_range *range = (const struct api_range *)&back;
    assert_int_equal(range->max_version, 3);

    char deep[64] = "\x94\x01\x02\x03";
    memset(deep + 4, '\x91', 15);
    deep[19] = '\x01';
    assert_int_equal(decode(f, desc_api_range(), deep, 20, &back), DMQ_OK);
    memset(deep + 4, '\x91', 16);
    deep[20] = '\x01';
    expect(f, desc_api_range(), deep, 21, DMQ_ERR_INVALID_REQUEST,
           "api_range at byte 19: it is nested too deep");
}

static const struct field_desc versioned_fields[] = {
    {"a", "", KIND_i16, false, 0, 0, offsetof(struct api_range, api_key), 0, NULL},
    {"b", "", KIND_i16, false, 1, 0, offsetof(struct api_range, min_version), 0, NULL},
    {"c", "", KIND_i16, false, 2, 0, offsetof(struct api_range, max_version), 0, NULL},
};
static const struct struct_desc versioned = {"versioned", "", sizeof(struct api_range), 3,
                                             versioned_fields};

static void
a_field_of_a_newer_version_is_neither_sent_nor_needed(void **state)
{
    struct fixture *f = *state;
    struct api_range msg = {1, 2, 3};
    for (int version = 0; version <= 2; version++) {
        struct api_range back = {9, 9, 9};
        outbuf_clear(&f->out);
        msg_encode(&versioned, version, &msg, &f->out);
        assert_int_equal(f->out.size, 2 + version);
        struct bytes frame = bytes_of(f->out.data, f->out.size);
        assert_int_equal(msg_decode(&versioned, version, frame, &f->decoded, &back, &f->err),
                         DMQ_OK);
        assert_int_equal(back.api_key, 1);
        assert_int_equal(back.min_version, version >= 1 ? 2 : 0);
        assert_int_equal(back.max_version, version >= 2 ? 3 : 0);
        if (version < 2) {
            assert_int_equal(
                msg_decode(&versioned, version + 1, frame, &f->decoded, &back, &f->err),
                DMQ_ERR_INVALID_REQUEST);
        }
    }
}

static void
records_round_trip(void **state)
{
    struct fixture *f = *state;
    union any_msg msg;
    for (size_t i = 0; i < record_table_count; i++) {
        const struct record_desc *desc = &record_table[i];
        for (int k = 0; k < 100; k++) {
            struct meta_record back;
            make(f, desc->body(), &msg);
            outbuf_clear(&f->out);
            record_encode(desc->type, &msg, &f->out);
            assert_int_equal(
                record_decode(bytes_of(f->out.data, f->out.size), &f->decoded, &back, &f->err),
                DMQ_OK);
            assert_ptr_equal(back.desc, desc);
            assert_true(msg_equal(desc->body(), desc->version, &msg, &back.u));
        }
    }
}

static dmq_err
decode_record(struct fixture *f, const char *data, size_t size)
{
    struct meta_record record = {0};
    dmq_err err = record_decode(bytes_of(data, size), &f->decoded, &record, &f->err);
    assert_true(err == DMQ_OK || record.desc == NULL);
    return err;
}

#define ID16 "0123456789abcdef"

/* What is stored is never skipped over: the reader stops. */
static void
a_record_that_is_not_known_stops_the_reader(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(decode_record(f, "\x93\x06\x00\x91\xc4\x10" ID16, 22), DMQ_OK);
    assert_int_equal(decode_record(f, "\x93\x63\x00\x91\xc4\x10" ID16, 22),
                     DMQ_ERR_UNSUPPORTED_VERSION);
    assert_int_equal(decode_record(f, "\x93\x06\x01\x91\xc4\x10" ID16, 22),
                     DMQ_ERR_UNSUPPORTED_VERSION);
    assert_int_equal(decode_record(f, "\x92\x06\x00\x91\xc4\x10" ID16, 22),
                     DMQ_ERR_INVALID_REQUEST);
    assert_int_equal(decode_record(f, "\x93\x06\xff\x91\xc4\x10" ID16, 22),
                     DMQ_ERR_INVALID_REQUEST);
    assert_int_equal(decode_record(f, "\x93\x06\x00\x92\xc4\x10" ID16 "\xc0", 23),
                     DMQ_ERR_INVALID_REQUEST);
    assert_non_null(strstr(f->err.text, "more fields than its version has"));
    assert_int_equal(decode_record(f, "\x93\x06\x00\x91\xc4\x10" ID16 "\xc0", 23),
                     DMQ_ERR_INVALID_REQUEST);
    for (size_t size = 0; size < 22; size++) {
        assert_int_equal(decode_record(f, "\x93\x06\x00\x91\xc4\x10" ID16, size),
                         DMQ_ERR_INVALID_REQUEST);
    }
}

/* The codec stops at the first field that is too new, so older ones must come first. */
static void
fields_are_in_order_of_their_version(void **state)
{
    (void)state;
    for (size_t i = 0; i < message_count(); i++) {
        const struct struct_desc *desc = message_desc(i);
        for (size_t k = 1; k < desc->field_count; k++) {
            assert_true(desc->fields[k - 1].since <= desc->fields[k].since);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_message_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frame_cut_anywhere_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_behind_a_message_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_byte_never_hurts, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_struct_and_field_and_why, setup, teardown),
        cmocka_unit_test_setup_teardown(a_str_above_its_limit_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_count_beyond_the_frame_allocates_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(memory_stays_below_the_arena_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_fields_at_the_end_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_field_of_a_newer_version_is_neither_sent_nor_needed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(records_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_is_not_known_stops_the_reader, setup,
                                        teardown),
        cmocka_unit_test(fields_are_in_order_of_their_version),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
