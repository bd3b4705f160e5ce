#include "tests/support/image_dump.h"

#include "libdmq/base/assert.h"
#include "libdmq/meta/entry.h"

static void
put_number(struct outbuf *out, uint64_t number)
{
    uint8_t wide[8];
    put_be64(wide, number);
    outbuf_put(out, wide, sizeof(wide));
}

static dmq_err
put_record(void *arg, struct bytes record)
{
    struct outbuf *out = arg;
    put_number(out, record.size);
    outbuf_put(out, record.data, record.size);
    return DMQ_OK;
}

void
image_dump(const struct image *image, struct outbuf *out)
{
    outbuf_clear(out);
    dmq_err err = meta_snapshot(image, put_record, out);
    DMQ_ASSERT(err == DMQ_OK);
    put_number(out, (uint64_t)image_version(image));
    put_number(out, (uint64_t)image_term(image));
    put_number(out, image_digest(image));
    DMQ_ASSERT(!out->failed);
}

bool
image_same(const struct image *a, const struct image *b)
{
    struct outbuf dump_a = {0};
    struct outbuf dump_b = {0};
    image_dump(a, &dump_a);
    image_dump(b, &dump_b);
    bool same = bytes_equal(bytes_of(dump_a.data, dump_a.size), bytes_of(dump_b.data, dump_b.size));
    outbuf_deinit(&dump_a);
    outbuf_deinit(&dump_b);
    return same;
}
