/* The indexes of a segment: when a batch gets an entry, and how entries look in a file. FORMAT.md
 * has the tables. An index is a hint that every reader checks: each entry carries a checksum, and
 * what it points at must be the batch that it names. */
#ifndef BROKER_LOG_LOG_INDEX_H
#define BROKER_LOG_LOG_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/wire/batch.h"

#define INDEX_ENTRY_SIZE 12          /* of .index */
#define TIME_ENTRY_SIZE 16           /* of .timeindex */
#define INDEX_MAX_ENTRIES 1000000    /* of a segment: then it is rolled */
#define SEGMENT_MAX_BYTES UINT32_MAX /* an entry's position has 32 bits */
#define SEGMENT_MAX_OFFSETS INT32_MAX

/* The newest segment, as far as entries are concerned. */
struct index_builder {
    int64_t base; /* of the segment */
    int32_t interval_bytes;
    uint32_t entries;             /* of the offset index */
    uint64_t bytes;               /* of batches since the last entry */
    int64_t max_timestamp;        /* of the segment so far; -1: none */
    int64_t max_timestamp_offset; /* base offset of the batch that holds it */
    int64_t time_indexed; /* timestamp of the last entry of the time index; INT64_MIN: none */
};

void index_builder_init(struct index_builder *builder, int64_t base, int32_t interval_bytes);

/* Which entries the batch that now goes to the end of the segment gets: (offset, pos) and
 * (max_timestamp, max_timestamp_offset) as they are afterwards. */
struct index_verdict {
    bool indexed;
    bool time_indexed;
};
struct index_verdict index_builder_note(struct index_builder *builder,
                                        const struct batch_header *header);

/* Whether the time index lacks an entry for the largest timestamp so far; takes it as made. When a
 * segment ends it gets one, so that its last entry is the largest timestamp of all. */
bool index_builder_finish(struct index_builder *builder);

struct index_entry {
    int64_t offset; /* base offset of a batch */
    uint64_t pos;   /* its position in the segment */
};

struct time_entry {
    int64_t timestamp; /* largest in the segment up to this entry */
    int64_t offset;    /* base offset of the batch that holds it */
};

void index_entry_put(uint8_t *to, int64_t base, struct index_entry entry);
void time_entry_put(uint8_t *to, int64_t base, struct time_entry entry);

/* False if the entry's checksum is wrong. */
bool index_entry_get(const uint8_t *from, int64_t base, struct index_entry *ret_entry);
bool time_entry_get(const uint8_t *from, int64_t base, struct time_entry *ret_entry);

#endif
