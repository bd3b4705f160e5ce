#include "broker/log/log_index.h"

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"

void
index_builder_init(struct index_builder *builder, int64_t base, int32_t interval_bytes)
{
    *builder = (struct index_builder){.base = base,
                                      .interval_bytes = interval_bytes,
                                      .max_timestamp = -1,
                                      .max_timestamp_offset = base,
                                      .time_indexed = INT64_MIN};
}

struct index_verdict
index_builder_note(struct index_builder *builder, const struct batch_header *header)
{
    struct index_verdict verdict = {false, false};
    if (header->max_timestamp > builder->max_timestamp) {
        builder->max_timestamp = header->max_timestamp;
        builder->max_timestamp_offset = header->base_offset;
    }
    if (builder->bytes > (uint64_t)builder->interval_bytes) {
        verdict.indexed = true;
        builder->entries++;
        builder->bytes = 0;
        verdict.time_indexed = index_builder_finish(builder);
    }
    builder->bytes += header->size;
    return verdict;
}

bool
index_builder_finish(struct index_builder *builder)
{
    if (builder->max_timestamp <= builder->time_indexed) {
        return false;
    }
    builder->time_indexed = builder->max_timestamp;
    return true;
}

/* The checksum covers the base offset too, so that an entry of another segment is none of this. */
static uint32_t
entry_check(const uint8_t *entry, size_t size, int64_t base)
{
    uint8_t base_bytes[8];
    put_be64(base_bytes, (uint64_t)base);
    return crc32c(crc32c(0, base_bytes, sizeof(base_bytes)), entry, size);
}

void
index_entry_put(uint8_t *to, int64_t base, struct index_entry entry)
{
    DMQ_ASSERT(entry.offset >= base && entry.offset - base <= SEGMENT_MAX_OFFSETS);
    DMQ_ASSERT(entry.pos <= SEGMENT_MAX_BYTES);
    put_be32(to, (uint32_t)(entry.offset - base));
    put_be32(to + 4, (uint32_t)entry.pos);
    put_be32(to + 8, entry_check(to, 8, base));
}

void
time_entry_put(uint8_t *to, int64_t base, struct time_entry entry)
{
    DMQ_ASSERT(entry.offset >= base && entry.offset - base <= SEGMENT_MAX_OFFSETS);
    put_be64(to, (uint64_t)entry.timestamp);
    put_be32(to + 8, (uint32_t)(entry.offset - base));
    put_be32(to + 12, entry_check(to, 12, base));
}

bool
index_entry_get(const uint8_t *from, int64_t base, struct index_entry *ret_entry)
{
    if (get_be32(from + 8) != entry_check(from, 8, base)) {
        return false;
    }
    *ret_entry = (struct index_entry){base + get_be32(from), get_be32(from + 4)};
    return true;
}

bool
time_entry_get(const uint8_t *from, int64_t base, struct time_entry *ret_entry)
{
    if (get_be32(from + 12) != entry_check(from, 12, base)) {
        return false;
    }
    *ret_entry = (struct time_entry){(int64_t)get_be64(from), base + get_be32(from + 8)};
    return true;
}
