/* Parsing, walking and checking of batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/buf.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/wire/batch.h"
#include "libdmq/wire/batch_read.h"
#include "tests/unit/libdmq/wire/golden_batches.h"

static const struct batch_limits from_client = {.max_bytes = 1048588, .from_client = true};
static const struct batch_limits from_log = {.max_bytes = 0, .from_client = false};

static struct bytes
plain(void)
{
    return bytes_of(golden_plain, sizeof(golden_plain));
}

static void
a_header_is_parsed(void **state)
{
    struct batch_header header;
    (void)state;
    assert_int_equal(batch_parse(plain(), &header), DMQ_OK);
    assert_true(header.base_offset == 0);
    assert_int_equal(header.size, sizeof(golden_plain));
    assert_int_equal(header.leader_epoch, -1);
    assert_int_equal(header.crc, 0x5b495f51);
    assert_int_equal(header.attributes, 0);
    assert_int_equal(header.last_offset_delta, 2);
    assert_true(header.base_timestamp == 1700000000000);
    assert_true(header.max_timestamp == 1700000000005);
    assert_true(header.producer_id == 4711);
    assert_int_equal(header.producer_epoch, 2);
    assert_int_equal(header.base_sequence, 100);
    assert_int_equal(header.count, 3);
    assert_true(batch_last_offset(&header) == 2);
    assert_int_equal(batch_last_sequence(&header), 102);
    assert_int_equal(batch_crc(plain()), header.crc);
}

static void
a_header_alone_is_enough_but_not_less(void **state)
{
    struct batch_header header = {.count = 77};
    uint8_t copy[BATCH_HEADER_SIZE];
    (void)state;
    for (size_t size = 0; size < BATCH_HEADER_SIZE; size++) {
        assert_int_equal(batch_parse(bytes_of(golden_plain, size), &header), DMQ_ERR_CORRUPT_BATCH);
    }
    assert_int_equal(header.count, 77); /* untouched on failure */
    assert_int_equal(batch_parse(bytes_of(golden_plain, BATCH_HEADER_SIZE), &header), DMQ_OK);
    memcpy(copy, golden_plain, sizeof(copy));
    static const uint8_t magics[] = {0, 1, 3, 255};
    for (size_t i = 0; i < sizeof(magics); i++) {
        copy[BATCH_POS_MAGIC] = magics[i];
        assert_int_equal(batch_parse(bytes_of(copy, sizeof(copy)), &header), DMQ_ERR_CORRUPT_BATCH);
    }
    copy[BATCH_POS_MAGIC] = BATCH_MAGIC;
    static const uint32_t lengths[] = {0, 48, UINT32_MAX, 0x80000000u};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        put_be32(copy + BATCH_POS_LENGTH, lengths[i]);
        assert_int_equal(batch_parse(bytes_of(copy, sizeof(copy)), &header), DMQ_ERR_CORRUPT_BATCH);
    }
    put_be32(copy + BATCH_POS_LENGTH, INT32_MAX);
    assert_int_equal(batch_parse(bytes_of(copy, sizeof(copy)), &header), DMQ_OK);
    assert_true(header.size == (size_t)INT32_MAX + 12);
}

static void
batches_of_a_frame_are_walked(void **state)
{
    struct outbuf frame = {0};
    static const size_t sizes[] = {sizeof(golden_plain), sizeof(golden_marker), sizeof(golden_lz4)};
    (void)state;
    outbuf_put(&frame, golden_plain, sizeof(golden_plain));
    outbuf_put(&frame, golden_marker, sizeof(golden_marker));
    outbuf_put(&frame, golden_lz4, sizeof(golden_lz4));
    for (size_t cut = 0; cut <= frame.size; cut++) {
        struct bytes rest = {frame.data, cut};
        struct bytes batch = {0};
        size_t left = cut;
        size_t i = 0;
        for (; i < 3 && left >= sizes[i]; i++) {
            assert_int_equal(batch_next(&rest, &batch), DMQ_OK);
            assert_int_equal(batch.size, sizes[i]);
            left -= sizes[i];
        }
        assert_int_equal(batch_next(&rest, &batch),
                         left == 0 ? DMQ_ERR_END : DMQ_ERR_CORRUPT_BATCH);
        assert_int_equal(rest.size, left);
    }
    outbuf_deinit(&frame);
}

static void
the_golden_batches_pass(void **state)
{
    struct err_msg msg;
    struct batch_header header = {0};
    (void)state;
    assert_int_equal(batch_check(plain(), &from_client, &msg, &header), DMQ_OK);
    assert_int_equal(header.count, 3);
    assert_int_equal(batch_check(plain(), &from_log, &msg, NULL), DMQ_OK);
    struct bytes lz4 = bytes_of(golden_lz4, sizeof(golden_lz4));
    assert_int_equal(batch_check(lz4, &from_client, &msg, NULL), DMQ_OK);
    struct bytes marker = bytes_of(golden_marker, sizeof(golden_marker));
    assert_int_equal(batch_check(marker, &from_log, &msg, NULL), DMQ_OK);
    assert_int_equal(batch_check(marker, &from_client, &msg, NULL), DMQ_ERR_CORRUPT_BATCH);
    assert_non_null(strstr(msg.text, "client"));
}

static void
every_truncation_and_a_byte_too_many_are_refused(void **state)
{
    struct err_msg msg;
    uint8_t longer[sizeof(golden_plain) + 1] = {0};
    (void)state;
    for (size_t size = 0; size < sizeof(golden_plain); size++) {
        struct buf *cut =
            buf_copy(bytes_of(golden_plain, size)); /* ends where the sanitizer sees */
        assert_int_equal(batch_check(buf_bytes(cut), &from_client, &msg, NULL),
                         DMQ_ERR_CORRUPT_BATCH);
        buf_unref(cut);
    }
    memcpy(longer, golden_plain, sizeof(golden_plain));
    assert_int_equal(batch_check(bytes_of(longer, sizeof(longer)), &from_client, &msg, NULL),
                     DMQ_ERR_CORRUPT_BATCH);
}

/* Of the 21 bytes outside the CRC, only base offset and leader epoch may differ unnoticed: the
 * leader stamps them. Nothing that the producer said may. */
static void
every_flipped_bit_is_refused_or_harmless(void **state)
{
    uint8_t copy[sizeof(golden_plain)];
    struct err_msg msg;
    size_t harmless = 0;
    (void)state;
    memcpy(copy, golden_plain, sizeof(copy));
    for (size_t bit = 0; bit < sizeof(copy) * 8; bit++) {
        size_t pos = bit / 8;
        copy[pos] ^= (uint8_t)(1u << (bit % 8));
        bool stamped =
            pos < BATCH_POS_LENGTH || (pos >= BATCH_POS_LEADER_EPOCH && pos < BATCH_POS_MAGIC);
        dmq_err err = batch_check(bytes_of(copy, sizeof(copy)), &from_client, &msg, NULL);
        assert_int_equal(err, stamped ? DMQ_OK : DMQ_ERR_CORRUPT_BATCH);
        if (stamped) {
            harmless++;
            batch_stamp(copy, 0, -1);
        } else {
            copy[pos] ^= (uint8_t)(1u << (bit % 8));
        }
        assert_memory_equal(copy, golden_plain, sizeof(copy));
    }
    assert_int_equal(harmless, 12 * 8);
}

static void
a_batch_above_the_limit_is_refused(void **state)
{
    struct err_msg msg;
    struct batch_limits limits = {.max_bytes = sizeof(golden_plain), .from_client = true};
    (void)state;
    assert_int_equal(batch_check(plain(), &limits, &msg, NULL), DMQ_OK);
    limits.max_bytes--;
    assert_int_equal(batch_check(plain(), &limits, &msg, NULL), DMQ_ERR_BATCH_TOO_LARGE);
    assert_non_null(strstr(msg.text, "96"));
}

/* A change to golden_plain, its CRC made right again, and what client and log say to it. */
struct change {
    size_t pos;
    size_t size;
    int64_t value;
    dmq_err client;
    dmq_err log;
};

#define BAD DMQ_ERR_CORRUPT_BATCH
#define BAD_TIME DMQ_ERR_INVALID_TIMESTAMP
#define BAD_TYPE DMQ_ERR_UNSUPPORTED_COMPRESSION

static void
put_field(uint8_t *p, size_t size, int64_t value)
{
    for (size_t i = 0; i < size; i++) {
        p[i] = (uint8_t)((uint64_t)value >> (8 * (size - 1 - i)));
    }
}

static void
every_field_must_make_sense(void **state)
{
    static const struct change changes[] = {
        {BATCH_POS_ATTRIBUTES, 2, BATCH_GZIP, BAD_TYPE, BAD_TYPE},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_SNAPPY, BAD_TYPE, BAD_TYPE},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_LZ4, DMQ_OK, DMQ_OK},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_ZSTD, DMQ_OK, DMQ_OK},
        {BATCH_POS_ATTRIBUTES, 2, 5, BAD_TYPE, BAD_TYPE},
        {BATCH_POS_ATTRIBUTES, 2, 7, BAD_TYPE, BAD_TYPE},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_TRANSACTIONAL, DMQ_OK, DMQ_OK},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_LOG_APPEND_TIME, BAD_TIME, DMQ_OK},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_DELETE_HORIZON, BAD, DMQ_OK},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_CONTROL, BAD, BAD}, /* a control batch has no sequence */
        {BATCH_POS_ATTRIBUTES, 2, 0x80, BAD, BAD},
        {BATCH_POS_ATTRIBUTES, 2, 0x8000, BAD, BAD},
        {BATCH_POS_LAST_OFFSET_DELTA, 4, -1, BAD, BAD},
        {BATCH_POS_LAST_OFFSET_DELTA, 4, 1, BAD, BAD},
        {BATCH_POS_LAST_OFFSET_DELTA, 4, 3, BAD, DMQ_OK}, /* compaction took one */
        {BATCH_POS_LAST_OFFSET_DELTA, 4, INT32_MAX, BAD, DMQ_OK},
        {BATCH_POS_COUNT, 4, 0, BAD, BAD}, /* but there are records */
        {BATCH_POS_COUNT, 4, -1, BAD, BAD},
        {BATCH_POS_COUNT, 4, 2, BAD, DMQ_OK},
        {BATCH_POS_COUNT, 4, 4, BAD, BAD},
        {BATCH_POS_COUNT, 4, INT32_MAX, BAD, BAD},
        {BATCH_POS_COUNT, 4, INT32_MIN, BAD, BAD},
        {BATCH_POS_BASE_TIMESTAMP, 8, -1, DMQ_OK, DMQ_OK},
        {BATCH_POS_BASE_TIMESTAMP, 8, -2, BAD_TIME, BAD_TIME},
        {BATCH_POS_BASE_TIMESTAMP, 8, INT64_MAX, BAD_TIME, DMQ_OK}, /* above max */
        {BATCH_POS_MAX_TIMESTAMP, 8, -1, BAD_TIME, DMQ_OK},
        {BATCH_POS_MAX_TIMESTAMP, 8, INT64_MIN, BAD_TIME, BAD_TIME},
        {BATCH_POS_MAX_TIMESTAMP, 8, INT64_MAX, DMQ_OK, DMQ_OK},
        {BATCH_POS_PRODUCER_ID, 8, -1, BAD, BAD},
        {BATCH_POS_PRODUCER_ID, 8, -2, BAD, BAD},
        {BATCH_POS_PRODUCER_ID, 8, INT64_MAX, DMQ_OK, DMQ_OK},
        {BATCH_POS_PRODUCER_EPOCH, 2, -1, BAD, BAD},
        {BATCH_POS_PRODUCER_EPOCH, 2, INT16_MAX, DMQ_OK, DMQ_OK},
        {BATCH_POS_BASE_SEQUENCE, 4, -1, BAD, BAD},
        {BATCH_POS_BASE_SEQUENCE, 4, INT32_MIN, BAD, BAD},
        {BATCH_POS_BASE_SEQUENCE, 4, INT32_MAX, DMQ_OK, DMQ_OK},
        {BATCH_POS_BASE_OFFSET, 8, -1, DMQ_OK, BAD}, /* a client's is not looked at */
        {BATCH_POS_BASE_OFFSET, 8, INT64_MAX - 1, DMQ_OK, BAD},
        {BATCH_POS_BASE_OFFSET, 8, INT64_MAX - 2, DMQ_OK, DMQ_OK},
        {BATCH_POS_LEADER_EPOCH, 4, -2, DMQ_OK, BAD},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const struct change *change = &changes[i];
        uint8_t copy[sizeof(golden_plain)];
        struct err_msg msg = {0};
        memcpy(copy, golden_plain, sizeof(copy));
        put_field(copy + change->pos, change->size, change->value);
        struct bytes batch = bytes_of(copy, sizeof(copy));
        put_be32(copy + BATCH_POS_CRC, batch_crc(batch));
        dmq_err client = batch_check(batch, &from_client, &msg, NULL);
        dmq_err log = batch_check(batch, &from_log, &msg, NULL);
        if (client != change->client || log != change->log) {
            fail_msg("change %zu: client %s, log %s", i, err_name(client), err_name(log));
        }
        assert_true(log == DMQ_OK || msg.text[0] != '\0');
    }
}

/* Without a producer id there is neither epoch nor sequence nor transaction. */
static void
no_producer_means_none_at_all(void **state)
{
    uint8_t copy[sizeof(golden_lz4)];
    struct bytes batch = bytes_of(copy, sizeof(copy));
    struct err_msg msg;
    static const struct change changes[] = {
        {BATCH_POS_PRODUCER_EPOCH, 2, 0, BAD, BAD},
        {BATCH_POS_BASE_SEQUENCE, 4, 0, BAD, BAD},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_LZ4 | BATCH_TRANSACTIONAL, BAD, BAD},
        {BATCH_POS_ATTRIBUTES, 2, BATCH_ZSTD, DMQ_OK, DMQ_OK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(copy, golden_lz4, sizeof(copy));
        put_field(copy + changes[i].pos, changes[i].size, changes[i].value);
        put_be32(copy + BATCH_POS_CRC, batch_crc(batch));
        assert_int_equal(batch_check(batch, &from_client, &msg, NULL), changes[i].client);
        assert_int_equal(batch_check(batch, &from_log, &msg, NULL), changes[i].log);
    }
}

/* A hundred compressed bytes must not take two billion offsets. */
static void
a_small_batch_cannot_claim_billions_of_records(void **state)
{
    uint8_t copy[sizeof(golden_lz4)];
    struct bytes batch = bytes_of(copy, sizeof(copy));
    struct err_msg msg;
    static const int32_t counts[] = {INT32_MAX, 1000000, 149797};
    (void)state;
    memcpy(copy, golden_lz4, sizeof(copy));
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        put_be32(copy + BATCH_POS_COUNT, (uint32_t)counts[i]);
        put_be32(copy + BATCH_POS_LAST_OFFSET_DELTA, (uint32_t)counts[i] - 1);
        put_be32(copy + BATCH_POS_CRC, batch_crc(batch));
        assert_int_equal(batch_check(batch, &from_client, &msg, NULL), DMQ_ERR_CORRUPT_BATCH);
        assert_non_null(strstr(msg.text, "cannot hold"));
    }
    put_be32(copy + BATCH_POS_COUNT, 149796); /* 1 MiB of records of 7 bytes */
    put_be32(copy + BATCH_POS_LAST_OFFSET_DELTA, 149795);
    put_be32(copy + BATCH_POS_CRC, batch_crc(batch));
    assert_int_equal(batch_check(batch, &from_client, &msg, NULL), DMQ_OK);
}

static void
an_empty_batch_stands_in_a_log_only(void **state)
{
    uint8_t copy[BATCH_HEADER_SIZE];
    struct bytes batch = bytes_of(copy, sizeof(copy));
    struct err_msg msg;
    (void)state;
    memcpy(copy, golden_plain, sizeof(copy));
    put_be32(copy + BATCH_POS_LENGTH, BATCH_HEADER_SIZE - BATCH_LENGTH_BASE);
    put_be32(copy + BATCH_POS_COUNT, 0);
    put_be32(copy + BATCH_POS_CRC, batch_crc(batch));
    assert_int_equal(batch_check(batch, &from_log, &msg, NULL), DMQ_OK);
    assert_int_equal(batch_check(batch, &from_client, &msg, NULL), DMQ_ERR_CORRUPT_BATCH);
}

static void
a_stamp_leaves_the_crc_right(void **state)
{
    uint8_t copy[sizeof(golden_plain)];
    struct batch_header header;
    struct err_msg msg;
    (void)state;
    memcpy(copy, golden_plain, sizeof(copy));
    batch_stamp(copy, INT64_C(0x0123456789abcdef), 77);
    assert_int_equal(batch_check(bytes_of(copy, sizeof(copy)), &from_log, &msg, &header), DMQ_OK);
    assert_true(header.base_offset == INT64_C(0x0123456789abcdef));
    assert_int_equal(header.leader_epoch, 77);
    assert_memory_equal(copy + BATCH_POS_MAGIC, golden_plain + BATCH_POS_MAGIC,
                        sizeof(copy) - BATCH_POS_MAGIC);
}

/* As in Kafka's DefaultRecordBatch.incrementSequence. */
static void
sequences_wrap_to_zero(void **state)
{
    struct batch_header header = {.base_sequence = INT32_MAX - 1, .last_offset_delta = 2};
    (void)state;
    assert_int_equal(batch_sequence_add(0, 5), 5);
    assert_int_equal(batch_sequence_add(INT32_MAX, 0), INT32_MAX);
    assert_int_equal(batch_sequence_add(INT32_MAX, 1), 0);
    assert_int_equal(batch_sequence_add(INT32_MAX - 1, 5), 3);
    assert_int_equal(batch_sequence_add(INT32_MAX, INT32_MAX), INT32_MAX - 1);
    assert_int_equal(batch_last_sequence(&header), 0);
    header.base_sequence = BATCH_NO_SEQUENCE;
    assert_int_equal(batch_last_sequence(&header), BATCH_NO_SEQUENCE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_parsed),
        cmocka_unit_test(a_header_alone_is_enough_but_not_less),
        cmocka_unit_test(batches_of_a_frame_are_walked),
        cmocka_unit_test(the_golden_batches_pass),
        cmocka_unit_test(every_truncation_and_a_byte_too_many_are_refused),
        cmocka_unit_test(every_flipped_bit_is_refused_or_harmless),
        cmocka_unit_test(a_batch_above_the_limit_is_refused),
        cmocka_unit_test(every_field_must_make_sense),
        cmocka_unit_test(no_producer_means_none_at_all),
        cmocka_unit_test(a_small_batch_cannot_claim_billions_of_records),
        cmocka_unit_test(an_empty_batch_stands_in_a_log_only),
        cmocka_unit_test(a_stamp_leaves_the_crc_right),
        cmocka_unit_test(sequences_wrap_to_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
