/* Frames that anyone may have made are unfolded here, so: exactly one frame of the format that was
 * promised, no skippable or legacy ones (old decoders are not for enemies), memory by what comes
 * out and never by what is declared beyond the limit.
 *
 * zstd unfolds in one call into the final memory: its streaming decoder would allocate the window
 * that the frame asks for, up to 128 MiB. If the size is not declared (Kafka's Java client), the
 * call is repeated with four times the room, which costs a third more than knowing it. */
#include "libdmq/wire/compress.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/batch.h"

#define LZ4_FRAME_MAGIC 0x184d2204u
#define FIRST_GUESS ((size_t)64 << 10) /* least room for a frame of unknown size */

struct compressor {
    LZ4F_dctx *lz4;
    ZSTD_CCtx *zstd_pack;
    ZSTD_DCtx *zstd_unpack;
    uint8_t *frame; /* what compressor_pack returned last */
    size_t frame_capacity;
};

struct compressor *
compressor_new(void)
{
    return calloc(1, sizeof(struct compressor));
}

void
compressor_free(struct compressor *compressor)
{
    if (compressor == NULL) {
        return;
    }
    LZ4F_freeDecompressionContext(compressor->lz4);
    ZSTD_freeCCtx(compressor->zstd_pack);
    ZSTD_freeDCtx(compressor->zstd_unpack);
    free(compressor->frame);
    free(compressor);
}

size_t
decode_limit(const struct decode_limits *limits, size_t packed_size)
{
    size_t limit = SIZE_MAX;
    if (packed_size <= SIZE_MAX / limits->max_ratio) {
        limit = packed_size * limits->max_ratio;
    }
    limit = limit > COMPRESS_FREE_BYTES ? limit : COMPRESS_FREE_BYTES;
    return limit < limits->max_bytes ? limit : limits->max_bytes;
}

/* As Kafka's Java client demands: independent blocks; 64 KiB, as it writes them itself. */
static LZ4F_preferences_t
lz4_preferences(size_t plain_size)
{
    return (LZ4F_preferences_t){.frameInfo = {.blockSizeID = LZ4F_max64KB,
                                              .blockMode = LZ4F_blockIndependent,
                                              .contentSize = plain_size}};
}

static dmq_err
reserve_frame(struct compressor *compressor, size_t size)
{
    if (compressor->frame_capacity < size) {
        free(compressor->frame);
        compressor->frame = malloc(size);
        compressor->frame_capacity = compressor->frame == NULL ? 0 : size;
    }
    return compressor->frame == NULL ? DMQ_ERR_NOMEM : DMQ_OK;
}

static dmq_err
pack_lz4(struct compressor *compressor, struct bytes plain, size_t *ret_size)
{
    LZ4F_preferences_t preferences = lz4_preferences(plain.size);
    if (reserve_frame(compressor, LZ4F_compressFrameBound(plain.size, &preferences)) != DMQ_OK) {
        return DMQ_ERR_NOMEM;
    }
    size_t size = LZ4F_compressFrame(compressor->frame, compressor->frame_capacity, plain.data,
                                     plain.size, &preferences);
    if (LZ4F_isError(size)) {
        return DMQ_ERR_NOMEM; /* the only reason left: there is room */
    }
    *ret_size = size;
    return DMQ_OK;
}

static dmq_err
pack_zstd(struct compressor *compressor, struct bytes plain, size_t *ret_size)
{
    if (compressor->zstd_pack == NULL) {
        compressor->zstd_pack = ZSTD_createCCtx();
    }
    if (compressor->zstd_pack == NULL ||
        reserve_frame(compressor, ZSTD_compressBound(plain.size)) != DMQ_OK) {
        return DMQ_ERR_NOMEM;
    }
    size_t size =
        ZSTD_compressCCtx(compressor->zstd_pack, compressor->frame, compressor->frame_capacity,
                          plain.data, plain.size, ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(size)) {
        return DMQ_ERR_NOMEM;
    }
    *ret_size = size;
    return DMQ_OK;
}

dmq_err
compressor_pack(struct compressor *compressor, int type, struct bytes plain, size_t max_size,
                struct bytes *ret_packed)
{
    size_t size = 0;
    DMQ_ASSERT(type == BATCH_LZ4 || type == BATCH_ZSTD);
    dmq_err err = type == BATCH_LZ4 ? pack_lz4(compressor, plain, &size)
                                    : pack_zstd(compressor, plain, &size);
    if (err != DMQ_OK) {
        return err;
    }
    if (size > max_size) {
        return DMQ_ERR_BUFFER_FULL;
    }
    *ret_packed = (struct bytes){compressor->frame, size};
    return DMQ_OK;
}

/* Where a frame unfolds to: size bytes of *plain are filled, capacity may be. */
struct unfolding {
    struct buf **plain;
    size_t size;
    size_t capacity;
    size_t limit;
};

/* Makes room for at least capacity bytes, but never more than the limit; keeps what is there. */
static dmq_err
grow(struct unfolding *to, size_t capacity)
{
    capacity = capacity < to->limit ? capacity : to->limit;
    size_t have = buf_reusable(*to->plain);
    if (have < capacity || have == 0) {
        struct buf *buf = buf_new(capacity);
        if (buf == NULL) {
            return DMQ_ERR_NOMEM;
        }
        if (to->size > 0) {
            memcpy(buf->data, (*to->plain)->data, to->size);
        }
        buf_unref(*to->plain);
        *to->plain = buf;
        have = capacity;
    }
    to->capacity = have < to->limit ? have : to->limit;
    return DMQ_OK;
}

/* The first room for a frame: what it declares, or a guess. */
static dmq_err
grow_first(struct unfolding *to, unsigned long long declared, size_t packed_size)
{
    if (declared > to->limit) {
        return DMQ_ERR_BATCH_TOO_LARGE;
    }
    if (declared == 0) {
        size_t guess = packed_size < to->limit / 4 ? packed_size * 4 : to->limit;
        return grow(to, guess > FIRST_GUESS ? guess : FIRST_GUESS);
    }
    return grow(to, (size_t)declared);
}

static dmq_err
fault(const char **ret_fault, const char *text)
{
    *ret_fault = text;
    return DMQ_ERR_CORRUPT_BATCH;
}

/* Feeds the decoder until the frame's end. Each turn makes progress, grows the room or is the last.
 */
static dmq_err
run_lz4(LZ4F_dctx *lz4, struct bytes packed, struct unfolding *to, const char **ret_fault)
{
    const LZ4F_decompressOptions_t options = {0};
    while (true) {
        size_t in = packed.size;
        size_t out = to->capacity - to->size;
        size_t hint =
            LZ4F_decompress(lz4, (*to->plain)->data + to->size, &out, packed.data, &in, &options);
        if (LZ4F_isError(hint)) {
            return fault(ret_fault, "lz4 frame is damaged");
        }
        to->size += out;
        packed = (struct bytes){packed.data + in, packed.size - in};
        if (hint == 0) {
            return packed.size == 0 ? DMQ_OK : fault(ret_fault, "bytes after the lz4 frame");
        }
        if (in > 0 || out > 0) {
            continue;
        }
        if (to->size < to->capacity) {
            return fault(ret_fault, "lz4 frame is cut short");
        }
        if (to->capacity == to->limit) {
            return DMQ_ERR_BATCH_TOO_LARGE;
        }
        dmq_err err = grow(to, to->capacity < to->limit / 2 ? to->capacity * 2 : to->limit);
        if (err != DMQ_OK) {
            return err;
        }
    }
}

static dmq_err
unpack_lz4(struct compressor *compressor, struct bytes packed, struct unfolding *to,
           const char **ret_fault)
{
    LZ4F_frameInfo_t info;
    size_t header_size = packed.size;
    static const uint8_t magic[4] = {LZ4_FRAME_MAGIC & 0xff, (LZ4_FRAME_MAGIC >> 8) & 0xff,
                                     (LZ4_FRAME_MAGIC >> 16) & 0xff, LZ4_FRAME_MAGIC >> 24};
    if (packed.size < sizeof(magic) || memcmp(packed.data, magic, sizeof(magic)) != 0) {
        return fault(ret_fault, "records are no lz4 frame");
    }
    if (compressor->lz4 == NULL &&
        LZ4F_isError(LZ4F_createDecompressionContext(&compressor->lz4, LZ4F_VERSION))) {
        compressor->lz4 = NULL;
        return DMQ_ERR_NOMEM;
    }
    LZ4F_resetDecompressionContext(compressor->lz4); /* the last frame may have been cut short */
    if (LZ4F_isError(LZ4F_getFrameInfo(compressor->lz4, &info, packed.data, &header_size))) {
        return fault(ret_fault, "header of the lz4 frame is damaged");
    }
    dmq_err err = grow_first(to, info.contentSize, packed.size);
    if (err != DMQ_OK) {
        return err;
    }
    packed = (struct bytes){packed.data + header_size, packed.size - header_size};
    return run_lz4(compressor->lz4, packed, to, ret_fault);
}

static dmq_err
run_zstd(ZSTD_DCtx *zstd, struct bytes packed, struct unfolding *to, const char **ret_fault)
{
    while (true) {
        size_t size =
            ZSTD_decompressDCtx(zstd, (*to->plain)->data, to->capacity, packed.data, packed.size);
        if (!ZSTD_isError(size)) {
            to->size = size;
            return DMQ_OK;
        }
        if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation) {
            return DMQ_ERR_NOMEM;
        }
        if (ZSTD_getErrorCode(size) != ZSTD_error_dstSize_tooSmall) {
            return fault(ret_fault, "zstd frame is damaged");
        }
        if (to->capacity == to->limit) {
            return DMQ_ERR_BATCH_TOO_LARGE;
        }
        dmq_err err = grow(to, to->capacity < to->limit / 4 ? to->capacity * 4 : to->limit);
        if (err != DMQ_OK) {
            return err;
        }
    }
}

static dmq_err
unpack_zstd(struct compressor *compressor, struct bytes packed, struct unfolding *to,
            const char **ret_fault)
{
    static const uint8_t magic[4] = {ZSTD_MAGICNUMBER & 0xff, (ZSTD_MAGICNUMBER >> 8) & 0xff,
                                     (ZSTD_MAGICNUMBER >> 16) & 0xff, ZSTD_MAGICNUMBER >> 24};
    if (packed.size < sizeof(magic) || memcmp(packed.data, magic, sizeof(magic)) != 0) {
        return fault(ret_fault, "records are no zstd frame");
    }
    if (compressor->zstd_unpack == NULL) {
        compressor->zstd_unpack = ZSTD_createDCtx();
        if (compressor->zstd_unpack == NULL) {
            return DMQ_ERR_NOMEM;
        }
    }
    size_t frame_size = ZSTD_findFrameCompressedSize(packed.data, packed.size);
    if (ZSTD_isError(frame_size)) {
        return fault(ret_fault, "zstd frame is damaged or cut short");
    }
    if (frame_size != packed.size) {
        return fault(ret_fault, "bytes after the zstd frame");
    }
    unsigned long long declared = ZSTD_getFrameContentSize(packed.data, packed.size);
    if (declared == ZSTD_CONTENTSIZE_ERROR) {
        return fault(ret_fault, "header of the zstd frame is damaged");
    }
    if (declared == ZSTD_CONTENTSIZE_UNKNOWN) {
        declared = 0;
    }
    dmq_err err = grow_first(to, declared, packed.size);
    return err != DMQ_OK ? err : run_zstd(compressor->zstd_unpack, packed, to, ret_fault);
}

dmq_err
compressor_unpack(struct compressor *compressor, int type, struct bytes packed,
                  const struct decode_limits *limits, struct buf **plain, const char **ret_fault)
{
    struct unfolding to = {.plain = plain, .limit = decode_limit(limits, packed.size)};
    DMQ_ASSERT(type == BATCH_LZ4 || type == BATCH_ZSTD);
    dmq_err err = type == BATCH_LZ4 ? unpack_lz4(compressor, packed, &to, ret_fault)
                                    : unpack_zstd(compressor, packed, &to, ret_fault);
    if (err == DMQ_OK) {
        DMQ_ASSERT(to.size <= to.capacity);
        (*plain)->size = to.size;
    }
    return err;
}
