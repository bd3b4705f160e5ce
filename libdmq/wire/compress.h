/* LZ4 and zstd frames as Kafka's clients write and read them in record batches. */
#ifndef DMQ_WIRE_COMPRESS_H
#define DMQ_WIRE_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmq/errors.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/bytes.h"

/* How far a frame from outside may unfold. The ratio is not applied below COMPRESS_FREE_BYTES, for
 * a small batch of equal records honestly shrinks a thousandfold, and a bomb of that size harms
 * nobody. */
struct decode_limits {
    size_t max_bytes;   /* unfolded */
    uint32_t max_ratio; /* unfolded bytes per byte */
};

#define COMPRESS_FREE_BYTES ((size_t)1 << 20)
#define COMPRESS_DEFAULT_LIMITS                                                                    \
    (struct decode_limits){.max_bytes = (size_t)128 << 20, .max_ratio = 1000}

/* The libraries' working memory, made when first needed and used again. One per thread. */
struct compressor;

struct compressor *compressor_new(void); /* NULL if memory is out */
void compressor_free(struct compressor *compressor);

/* The most bytes that packed_size bytes may unfold to. */
size_t decode_limit(const struct decode_limits *limits, size_t packed_size);

/* Compresses plain to one frame of at most max_size bytes, type being BATCH_LZ4 or BATCH_ZSTD. The
 * frame lies in the compressor's memory until its next use. DMQ_ERR_BUFFER_FULL if the frame would
 * be larger, DMQ_ERR_NOMEM. */
dmq_err compressor_pack(struct compressor *compressor, int type, struct bytes plain,
                        size_t max_size, struct bytes *ret_packed);

/* Unfolds exactly one frame into *plain, a buf that is used again if it is large enough and has no
 * other owner, else replaced; it may be NULL before. Its size is then what the frame held; on
 * failure its contents mean nothing. Returns DMQ_ERR_CORRUPT_BATCH with *ret_fault set to a static
 * text, DMQ_ERR_BATCH_TOO_LARGE beyond the limits, DMQ_ERR_NOMEM. */
dmq_err compressor_unpack(struct compressor *compressor, int type, struct bytes packed,
                          const struct decode_limits *limits, struct buf **plain,
                          const char **ret_fault);

#endif
