#include "tests/support/image_dump.h"

#include <stdlib.h>

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

struct counts {
    uint32_t total;
    uint32_t leaderless;
    struct image_load *loads;
};

static void
count(const struct image *image, const struct partition_record *p, struct counts *counts)
{
    counts->total++;
    counts->leaderless += p->leader == -1;
    for (uint32_t b = 0; b < image_broker_count(image); b++) {
        int32_t id = image_broker_at(image, b)->broker_id;
        counts->loads[b].preferred += p->replicas[0] == id;
        for (uint32_t r = 0; r < p->replicas_count; r++) {
            counts->loads[b].replicas += p->replicas[r] == id;
        }
    }
}

/* Whether what the image counts as it goes is what a walk over all of it finds. */
static void
check_counts(const struct image *image)
{
    uint32_t brokers = image_broker_count(image);
    struct counts counts = {.loads = calloc(brokers + 1, sizeof(*counts.loads))};
    DMQ_ASSERT(counts.loads != NULL);
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t k = 0; k < topic->partition_count; k++) {
            count(image, topic->partitions[k], &counts);
        }
    }
    DMQ_ASSERT(counts.total == image_partition_total(image));
    DMQ_ASSERT(counts.leaderless == image_leaderless_total(image));
    for (uint32_t b = 0; b < brokers; b++) {
        DMQ_ASSERT(counts.loads[b].replicas == image_load_at(image, b).replicas);
        DMQ_ASSERT(counts.loads[b].preferred == image_load_at(image, b).preferred);
    }
    free(counts.loads);
}

void
image_dump(const struct image *image, struct outbuf *out)
{
    check_counts(image);
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
