/* Frames from outside: of every form that Kafka's clients make, damaged, cut, and made to hurt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lz4frame.h>
#include <zstd.h>

#include "libdmq/base/rng.h"
#include "libdmq/wire/batch.h"
#include "libdmq/wire/compress.h"

enum { MIB = 1 << 20 };

static const struct decode_limits defaults = {.max_bytes = (size_t)128 * MIB, .max_ratio = 1000};
static struct compressor *compressor;
static struct buf *plain;
static const char *fault;

static int
setup(void **state)
{
    (void)state;
    compressor = compressor_new();
    plain = NULL;
    fault = NULL;
    return compressor == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
    (void)state;
    buf_unref(plain);
    compressor_free(compressor);
    return 0;
}

static dmq_err
unpack(int type, struct bytes frame, const struct decode_limits *limits)
{
    fault = NULL;
    dmq_err err = compressor_unpack(compressor, type, frame, limits, &plain, &fault);
    assert_int_equal(err == DMQ_ERR_CORRUPT_BATCH, fault != NULL);
    return err;
}

/* size bytes that shrink to about half; zeros if seed is 0. */
static struct buf *
sample(size_t size, uint64_t seed)
{
    struct buf *buf = buf_new(size);
    struct rng rng;
    rng_init(&rng, seed);
    memset(buf->data, 0, size);
    for (size_t i = 0; seed != 0 && i < size; i += 8) {
        uint64_t bits = rng_next(&rng) & UINT64_C(0x0f0f0f0f0f0f0f0f);
        memcpy(buf->data + i, &bits, size - i < 8 ? size - i : 8);
    }
    return buf;
}

static struct buf *
lz4_frame(struct bytes from, const LZ4F_preferences_t *preferences)
{
    struct buf *frame = buf_new(LZ4F_compressFrameBound(from.size, preferences));
    frame->size = LZ4F_compressFrame(frame->data, frame->size, from.data, from.size, preferences);
    assert_false(LZ4F_isError(frame->size));
    return frame;
}

static struct buf *
zstd_frame(struct bytes from, int level, int with_size, int with_checksum)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    struct buf *frame = buf_new(ZSTD_compressBound(from.size));
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, with_checksum);
    frame->size = ZSTD_compress2(context, frame->data, frame->size, from.data, from.size);
    assert_false(ZSTD_isError(frame->size));
    ZSTD_freeCCtx(context);
    return frame;
}

/* Consumes frame, which must unfold to wanted. */
static void
check_unpacks(int type, struct buf *frame, const struct buf *wanted)
{
    assert_int_equal(unpack(type, buf_bytes(frame), &defaults), DMQ_OK);
    assert_int_equal(plain->size, wanted->size);
    assert_memory_equal(plain->data, wanted->data, wanted->size);
    buf_unref(frame);
}

static void
what_is_packed_unpacks(void **state)
{
    static const int types[] = {BATCH_LZ4, BATCH_ZSTD};
    static const size_t sizes[] = {1, 2, 100, 65535, 65536, 65537, 300000, 3 * MIB + 5};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bytes packed;
        struct buf *from = sample(sizes[i / 2], i + 1);
        assert_int_equal(
            compressor_pack(compressor, types[i % 2], buf_bytes(from), SIZE_MAX, &packed), DMQ_OK);
        check_unpacks(types[i % 2], buf_copy(packed), from);
        size_t size = packed.size;
        assert_int_equal(compressor_pack(compressor, types[i % 2], buf_bytes(from), size, &packed),
                         DMQ_OK);
        assert_int_equal(
            compressor_pack(compressor, types[i % 2], buf_bytes(from), size - 1, &packed),
            DMQ_ERR_BUFFER_FULL);
        buf_unref(from);
    }
}

/* KafkaLZ4BlockInputStream refuses dependent blocks; the library's default is dependent. */
static void
our_lz4_blocks_are_independent(void **state)
{
    struct bytes packed;
    struct buf *from = sample(300000, 1);
    (void)state;
    assert_int_equal(compressor_pack(compressor, BATCH_LZ4, buf_bytes(from), SIZE_MAX, &packed),
                     DMQ_OK);
    assert_int_equal(packed.data[4] & 0xe0, 0x60); /* FLG: version 01, independent */
    assert_int_equal(packed.data[5], 0x40);        /* BD: 64 KiB */
    buf_unref(from);
}

static void
frames_of_other_writers_unpack(void **state)
{
    struct buf *from = sample(MIB + 5, 3);
    (void)state;
    for (int i = 0; i < 32; i++) {
        static const LZ4F_blockSizeID_t blocks[] = {LZ4F_max64KB, LZ4F_max256KB, LZ4F_max1MB,
                                                    LZ4F_max4MB};
        const LZ4F_preferences_t preferences = {
            .frameInfo = {.blockSizeID = blocks[i % 4],
                          .blockMode = i & 4 ? LZ4F_blockIndependent : LZ4F_blockLinked,
                          .contentChecksumFlag =
                              i & 8 ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum,
                          .contentSize = i & 16 ? from->size : 0}};
        check_unpacks(BATCH_LZ4, lz4_frame(buf_bytes(from), &preferences), from);
    }
    for (int i = 0; i < 4; i++) {
        check_unpacks(BATCH_ZSTD, zstd_frame(buf_bytes(from), 1 + i * 5, i & 1, i & 2), from);
    }
    buf_unref(from);
}

static void
memory_is_used_again_unless_shared(void **state)
{
    struct buf *from = sample(100000, 4);
    struct buf *small = sample(1000, 5);
    (void)state;
    check_unpacks(BATCH_ZSTD, zstd_frame(buf_bytes(from), 3, 1, 0), from);
    const uint8_t *memory = plain->data;
    check_unpacks(BATCH_ZSTD, zstd_frame(buf_bytes(small), 3, 1, 0), small);
    check_unpacks(BATCH_LZ4, lz4_frame(buf_bytes(small), NULL), small);
    assert_ptr_equal(plain->data, memory);
    struct buf *kept = buf_ref(plain);
    check_unpacks(BATCH_ZSTD, zstd_frame(buf_bytes(from), 3, 1, 0), from);
    assert_ptr_not_equal(plain->data, memory);
    assert_memory_equal(kept->data, small->data, small->size);
    buf_unref(kept);
    buf_unref(from);
    buf_unref(small);
}

/* Each prefix of a frame, at its exact size; and one byte more. */
static void
check_cuts(int type, struct buf *frame)
{
    for (size_t size = 0; size < frame->size; size++) {
        struct buf *cut = buf_copy(bytes_of(frame->data, size));
        assert_int_equal(unpack(type, buf_bytes(cut), &defaults), DMQ_ERR_CORRUPT_BATCH);
        buf_unref(cut);
    }
    struct buf *longer = buf_new(frame->size + 1);
    memcpy(longer->data, frame->data, frame->size);
    longer->data[frame->size] = 0;
    assert_int_equal(unpack(type, buf_bytes(longer), &defaults), DMQ_ERR_CORRUPT_BATCH);
    buf_unref(longer);
    buf_unref(frame);
}

static void
every_cut_and_trailing_bytes_are_refused(void **state)
{
    const LZ4F_preferences_t sized = {.frameInfo = {.contentSize = 500}};
    struct buf *from = sample(500, 6);
    (void)state;
    check_cuts(BATCH_LZ4, lz4_frame(buf_bytes(from), NULL));
    check_cuts(BATCH_LZ4, lz4_frame(buf_bytes(from), &sized));
    check_cuts(BATCH_ZSTD, zstd_frame(buf_bytes(from), 3, 1, 0));
    check_cuts(BATCH_ZSTD, zstd_frame(buf_bytes(from), 3, 0, 1));
    buf_unref(from);
}

/* Whatever the bit, the frame is refused or unfolds within the limit. */
static void
check_flips(int type, struct buf *frame, unsigned *refused)
{
    const struct decode_limits limits = {.max_bytes = 2 * MIB, .max_ratio = 1000};
    for (size_t bit = 0; bit < frame->size * 8; bit++) {
        frame->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        dmq_err err = unpack(type, buf_bytes(frame), &limits);
        if (err == DMQ_OK) {
            assert_true(plain->size <= 2 * MIB);
        } else {
            (*refused)++;
        }
        frame->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    buf_unref(frame);
}

static void
flipped_bits_do_no_harm(void **state)
{
    struct buf *from = sample(400, 7);
    unsigned refused = 0;
    (void)state;
    check_flips(BATCH_LZ4, lz4_frame(buf_bytes(from), NULL), &refused);
    check_flips(BATCH_ZSTD, zstd_frame(buf_bytes(from), 3, 1, 0), &refused);
    check_flips(BATCH_ZSTD, zstd_frame(buf_bytes(from), 3, 0, 1), &refused);
    assert_true(refused > 1000);
    buf_unref(from);
}

static void
only_the_frame_that_was_promised(void **state)
{
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
    static const uint8_t legacy[] = {0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0}; /* zstd 0.7 */
    struct buf *from = sample(500, 8);
    struct buf *lz4 = lz4_frame(buf_bytes(from), NULL);
    struct buf *zstd = zstd_frame(buf_bytes(from), 3, 1, 0);
    (void)state;
    assert_int_equal(unpack(BATCH_ZSTD, buf_bytes(lz4), &defaults), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(unpack(BATCH_LZ4, buf_bytes(zstd), &defaults), DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(unpack(BATCH_LZ4, bytes_of(skippable, sizeof(skippable)), &defaults),
                     DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(unpack(BATCH_ZSTD, bytes_of(skippable, sizeof(skippable)), &defaults),
                     DMQ_ERR_CORRUPT_BATCH);
    assert_int_equal(unpack(BATCH_ZSTD, bytes_of(legacy, sizeof(legacy)), &defaults),
                     DMQ_ERR_CORRUPT_BATCH);
    struct outbuf twice = {0};
    outbuf_put(&twice, zstd->data, zstd->size);
    outbuf_put(&twice, zstd->data, zstd->size);
    assert_int_equal(unpack(BATCH_ZSTD, bytes_of(twice.data, twice.size), &defaults),
                     DMQ_ERR_CORRUPT_BATCH);
    outbuf_deinit(&twice);
    buf_unref(lz4);
    buf_unref(zstd);
    buf_unref(from);
}

static void
the_limit_is_exact(void **state)
{
    struct decode_limits limits = {.max_bytes = 3 * MIB, .max_ratio = 1000};
    const LZ4F_preferences_t sized = {.frameInfo = {.contentSize = 3 * MIB}};
    struct buf *from = sample(3 * MIB, 9);
    (void)state;
    for (int i = 0; i < 4; i++) {
        int type = i < 2 ? BATCH_LZ4 : BATCH_ZSTD;
        struct buf *frame = i < 2 ? lz4_frame(buf_bytes(from), i == 0 ? NULL : &sized)
                                  : zstd_frame(buf_bytes(from), 3, i == 2, 0);
        limits.max_bytes = 3 * MIB;
        assert_int_equal(unpack(type, buf_bytes(frame), &limits), DMQ_OK);
        assert_int_equal(plain->size, 3 * MIB);
        limits.max_bytes--; /* the buf of before is larger: that must not count */
        assert_int_equal(unpack(type, buf_bytes(frame), &limits), DMQ_ERR_BATCH_TOO_LARGE);
        buf_unref(frame);
    }
    buf_unref(from);
}

/* trap: decompression is bounded by bytes and ratio. */
static void
bombs_are_refused(void **state)
{
    const struct decode_limits by_bytes = {.max_bytes = 16 * MIB, .max_ratio = UINT32_MAX};
    const struct decode_limits by_ratio = {.max_bytes = SIZE_MAX, .max_ratio = 100};
    const struct decode_limits none = {.max_bytes = SIZE_MAX, .max_ratio = UINT32_MAX};
    struct buf *zeros = sample(64 * MIB, 0);
    (void)state;
    for (int i = 0; i < 4; i++) {
        int type = i < 2 ? BATCH_LZ4 : BATCH_ZSTD;
        const LZ4F_preferences_t sized = {.frameInfo = {.contentSize = i == 0 ? zeros->size : 0}};
        struct buf *bomb = i < 2 ? lz4_frame(buf_bytes(zeros), &sized)
                                 : zstd_frame(buf_bytes(zeros), 3, i == 2, 0);
        assert_int_equal(unpack(type, buf_bytes(bomb), &by_bytes), DMQ_ERR_BATCH_TOO_LARGE);
        assert_int_equal(unpack(type, buf_bytes(bomb), &by_ratio), DMQ_ERR_BATCH_TOO_LARGE);
        assert_true(plain == NULL || plain->pinned <= 33 * MIB); /* memory by what comes out */
        assert_int_equal(unpack(type, buf_bytes(bomb), &none), DMQ_OK);
        assert_int_equal(plain->size, 64 * MIB);
        buf_unref(plain);
        plain = NULL;
        buf_unref(bomb);
    }
    buf_unref(zeros);
}

/* A frame of a few bytes that declares exabytes takes no memory. */
static void
declared_sizes_are_not_believed(void **state)
{
    const struct decode_limits none = {.max_bytes = SIZE_MAX, .max_ratio = 1000};
    uint8_t huge[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff,
                      0xff, 0xff, 0xff, 0xff, 0x0f, 0x01, 0x00, 0x00}; /* one empty last block */
    (void)state;
    assert_int_equal(unpack(BATCH_ZSTD, bytes_of(huge, sizeof(huge)), &none),
                     DMQ_ERR_BATCH_TOO_LARGE);
    assert_null(plain);
    memset(huge + 5, 0, 8); /* declares 1000 bytes, has none */
    huge[5] = 0xe8;
    huge[6] = 0x03;
    assert_int_equal(unpack(BATCH_ZSTD, bytes_of(huge, sizeof(huge)), &none),
                     DMQ_ERR_CORRUPT_BATCH);
}

/* A zstd frame may ask for a window of 128 MiB and more; that is the frame's own affair. */
static void
a_large_window_takes_no_memory(void **state)
{
    struct buf *from = sample(100, 10);
    struct buf *frame = zstd_frame(buf_bytes(from), 3, 0, 0);
    (void)state;
    assert_int_equal(frame->data[4] & 0x20, 0); /* no single segment: a window byte follows */
    frame->data[5] = 17 << 3;                   /* 2^27 */
    assert_int_equal(unpack(BATCH_ZSTD, buf_bytes(frame), &defaults), DMQ_OK);
    assert_int_equal(plain->size, 100);
    assert_true(plain->pinned < MIB);
    buf_unref(frame);
    buf_unref(from);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_packed_unpacks),
        TEST(our_lz4_blocks_are_independent),
        TEST(frames_of_other_writers_unpack),
        TEST(memory_is_used_again_unless_shared),
        TEST(every_cut_and_trailing_bytes_are_refused),
        TEST(flipped_bits_do_no_harm),
        TEST(only_the_frame_that_was_promised),
        TEST(the_limit_is_exact),
        TEST(bombs_are_refused),
        TEST(declared_sizes_are_not_believed),
        TEST(a_large_window_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
