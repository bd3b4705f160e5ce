/* The msgpack cursor. Input: number of reads, so many bytes that say which, then the frame. */
#include "libdmq/base/assert.h"
#include "libdmq/base/utf8.h"
#include "libdmq/wire/reader.h"

#define MOST_READS 64

static bool
read_int(struct reader *reader, uint8_t which)
{
    int64_t min = which & 1 ? INT64_MIN : -128;
    int64_t max = which & 2 ? INT64_MAX : 127;
    int64_t number = 0;
    bool ok = reader_int(reader, min, max, &number);
    DMQ_ASSERT(!ok || (number >= min && number <= max));
    return ok;
}

static bool
read_view(struct reader *reader, bool text)
{
    struct bytes view = {0};
    bool ok = text ? reader_str(reader, &view) : reader_bytes(reader, &view);
    DMQ_ASSERT(!ok || (view.data >= reader->begin && view.data + view.size == reader->next));
    DMQ_ASSERT(!ok || !text || utf8_valid(view));
    return ok;
}

static bool
read_one(struct reader *reader, uint8_t which)
{
    uint32_t count = 0;
    bool truth;
    struct uuid id;
    bool ok;
    switch (which % 7) {
    case 0:
        ok = reader_array(reader, &count);
        DMQ_ASSERT(!ok || count <= reader_left(reader));
        return ok;
    case 1:
        return reader_bool(reader, &truth);
    case 2:
        return read_int(reader, which / 7);
    case 3:
    case 4:
        return read_view(reader, which % 7 == 3);
    case 5:
        return reader_uuid(reader, &id);
    default:
        return reader_skip(reader);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t reads = data[0] % MOST_READS;
    if (1 + reads > size) {
        return 0;
    }
    struct reader reader;
    reader_init(&reader, bytes_of(data + 1 + reads, size - 1 - reads));
    for (size_t i = 0; i < reads; i++) {
        const uint8_t *before = reader.next;
        bool ok = read_one(&reader, data[1 + i]);
        DMQ_ASSERT(reader.next >= before && reader.next <= reader.end);
        DMQ_ASSERT(ok == (reader.why == NULL));
        DMQ_ASSERT(!ok || reader.next > before);
        if (!ok) {
            break;
        }
    }
    return 0;
}
