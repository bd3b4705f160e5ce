/* A bounds-checked cursor over one msgpack frame. It allocates nothing and believes nothing: a
 * declared count or size is compared with the bytes that remain, numbers with the range asked for,
 * str with UTF-8, and depth and number of values with a budget. msgpack-c's unpacker would reserve
 * gigabytes for a frame of five bytes, so it is used for packing only.
 *
 * Each read returns false on bad input and sets `why`; the cursor then stays at the bad value
 * and must not be used further. Outputs are untouched on failure. */
#ifndef DMQ_WIRE_READER_H
#define DMQ_WIRE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"

/* Deeper nesting than any message has; of values that are skipped. */
#define READER_MAX_DEPTH 16

/* Values in one frame: above what the largest metadata answer holds. */
#define READER_MAX_NODES (16u << 20)

struct reader {
    const uint8_t *begin;
    const uint8_t *next;
    const uint8_t *end;
    uint32_t nodes_left;
    const char *why; /* static; what is wrong with the value at next */
};

void reader_init(struct reader *reader, struct bytes frame);

/* Bytes not read yet. */
static inline size_t
reader_left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->next);
}

/* Byte of the frame at which the next value begins. */
static inline size_t
reader_pos(const struct reader *reader)
{
    return (size_t)(reader->next - reader->begin);
}

/* Enters an array: its values follow. There are at least count bytes left. */
bool reader_array(struct reader *reader, uint32_t *ret_count);

bool reader_bool(struct reader *reader, bool *ret_value);

/* An integer of [min, max], in whatever width it was written. */
bool reader_int(struct reader *reader, int64_t min, int64_t max, int64_t *ret_value);

/* Views into the frame. A str is valid UTF-8. */
bool reader_str(struct reader *reader, struct bytes *ret_value);
bool reader_bytes(struct reader *reader, struct bytes *ret_value);

/* bin of 16 bytes. */
bool reader_uuid(struct reader *reader, struct uuid *ret_value);

/* Passes over one value of any type, with all that it holds. */
bool reader_skip(struct reader *reader);

#endif
