/* The record batch, version 2 of Kafka's message format, byte for byte. A batch is encoded once, by
 * the producer (batch_build.h), then checked, stamped, stored, replicated and fetched as the same
 * bytes, and read in place by the consumer (batch_read.h).
 *
 *   pos size field                  pos size field
 *    0   8   base offset            23   4   last offset delta
 *    8   4   length of what follows 27   8   base timestamp
 *   12   4   leader epoch           35   8   max timestamp
 *   16   1   magic: 2               43   8   producer id
 *   17   4   CRC-32C from 21 on     51   2   producer epoch
 *   21   2   attributes             53   4   base sequence
 *                                   57   4   number of records
 *                                   61       records, compressed together or not at all
 *
 * All big-endian. The CRC leaves the first 21 bytes uncovered: base offset and leader epoch are
 * stamped by the leader, magic and CRC are checked by being used, and of the length a change shows
 * because the CRC then covers other bytes. Who takes batches from a log or a peer checks that
 * offsets continue, and of the epochs what it knows: that they do not fall, or what they are. */
#ifndef DMQ_WIRE_BATCH_H
#define DMQ_WIRE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/err.h"

enum {
    BATCH_POS_BASE_OFFSET = 0,
    BATCH_POS_LENGTH = 8,
    BATCH_POS_LEADER_EPOCH = 12,
    BATCH_POS_MAGIC = 16,
    BATCH_POS_CRC = 17,
    BATCH_POS_ATTRIBUTES = 21, /* the CRC covers from here to the end */
    BATCH_POS_LAST_OFFSET_DELTA = 23,
    BATCH_POS_BASE_TIMESTAMP = 27,
    BATCH_POS_MAX_TIMESTAMP = 35,
    BATCH_POS_PRODUCER_ID = 43,
    BATCH_POS_PRODUCER_EPOCH = 51,
    BATCH_POS_BASE_SEQUENCE = 53,
    BATCH_POS_COUNT = 57,
    BATCH_HEADER_SIZE = 61,
    BATCH_LENGTH_BASE = 12, /* bytes that the length field does not count */
    BATCH_MAGIC = 2
};

/* The attributes. Bits from 7 up have no meaning and must be 0. */
enum {
    BATCH_COMPRESSION_MASK = 0x07,
    BATCH_NONE = 0,
    BATCH_GZIP = 1,   /* refused */
    BATCH_SNAPPY = 2, /* refused */
    BATCH_LZ4 = 3,
    BATCH_ZSTD = 4,
    BATCH_LOG_APPEND_TIME = 0x08, /* max timestamp is that of every record */
    BATCH_TRANSACTIONAL = 0x10,
    BATCH_CONTROL = 0x20,
    BATCH_DELETE_HORIZON = 0x40, /* base timestamp is when compaction may drop tombstones */
    BATCH_KNOWN_ATTRIBUTES = 0x7f
};

#define BATCH_NO_PRODUCER_ID INT64_C(-1)
#define BATCH_NO_PRODUCER_EPOCH ((int16_t)-1)
#define BATCH_NO_SEQUENCE (-1)
#define BATCH_NO_TIMESTAMP INT64_C(-1)

/* A header of a record. key is not null; value is null if its data is NULL. */
struct record_header {
    struct bytes key;
    struct bytes value;
};

/* The header of a batch, parsed. */
struct batch_header {
    int64_t base_offset;
    size_t size; /* of the whole batch, header included */
    int32_t leader_epoch;
    uint32_t crc;
    uint16_t attributes;
    int16_t producer_epoch;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int32_t base_sequence;
    int32_t count; /* records; after compaction fewer than last_offset_delta + 1, maybe 0 */
};

static inline int
batch_compression(const struct batch_header *header)
{
    return header->attributes & BATCH_COMPRESSION_MASK;
}

static inline int64_t
batch_last_offset(const struct batch_header *header)
{
    /* Wraps instead of overflowing, for a header that was parsed but not checked. */
    return (int64_t)((uint64_t)header->base_offset + (uint64_t)header->last_offset_delta);
}

/* sequence + count as Kafka counts: 0 follows INT32_MAX. Both >= 0. */
static inline int32_t
batch_sequence_add(int32_t sequence, int32_t count)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)count) & INT32_MAX);
}

/* The sequence of the last record; BATCH_NO_SEQUENCE without a sequence. */
static inline int32_t
batch_last_sequence(const struct batch_header *header)
{
    if (header->base_sequence < 0) {
        return BATCH_NO_SEQUENCE;
    }
    return batch_sequence_add(header->base_sequence, header->last_offset_delta);
}

/* Parses a header. bytes may end anywhere from its end on: only the header is looked at (recovery
 * reads it before it knows the size). DMQ_ERR_CORRUPT_BATCH if bytes are fewer than a header, the
 * magic is not 2, or the length is less than a header's. Nothing else is checked. */
dmq_err batch_parse(struct bytes bytes, struct batch_header *ret_header);

/* Takes the first of the whole batches that lie back to back in rest: DMQ_ERR_END when rest is
 * empty, DMQ_ERR_CORRUPT_BATCH when what is there is not a whole batch (rest is untouched then). */
dmq_err batch_next(struct bytes *rest, struct bytes *ret_batch);

/* What batch_check holds a batch against. */
struct batch_limits {
    size_t max_bytes; /* of the whole batch, max.message.bytes; 0: no limit */
    /* The batch comes from a client, not from a log or a leader: no control batch, no delete
     * horizon, no log append time, at least one record and none missing. */
    bool from_client;
};

/* What a broker does with a batch before it is appended: size, magic, CRC, then the sense of the
 * header's fields. Never looks at the records. batch must be exactly one batch. Returns, with a
 * sentence in msg: DMQ_ERR_CORRUPT_BATCH, DMQ_ERR_BATCH_TOO_LARGE, DMQ_ERR_UNSUPPORTED_COMPRESSION
 * or DMQ_ERR_INVALID_TIMESTAMP. ret_header may be NULL. */
dmq_err batch_check(struct bytes batch, const struct batch_limits *limits, struct err_msg *msg,
                    struct batch_header *ret_header);

/* The CRC that batch should carry; batch is one whole batch. */
uint32_t batch_crc(struct bytes batch);

/* Stamps what the leader of the partition decides. Both lie outside the CRC. */
static inline void
batch_stamp(uint8_t *batch, int64_t base_offset, int32_t leader_epoch)
{
    put_be64(batch + BATCH_POS_BASE_OFFSET, (uint64_t)base_offset);
    put_be32(batch + BATCH_POS_LEADER_EPOCH, (uint32_t)leader_epoch);
}

#endif
