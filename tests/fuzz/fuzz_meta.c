/* A metadata log from outside. Input: records, each with a size of two bytes before it; every third
 * ends an entry. Whatever is applied, image, rows and snapshot must tell the same; a refused entry
 * must leave no trace. */
#include "libdmq/base/assert.h"
#include "libdmq/meta/entry.h"
#include "tests/support/image_dump.h"
#include "tests/support/mem_kv.h"

#define PER_ENTRY 3
#define MOST_RECORDS 4096

struct log {
    struct outbuf bytes;
    size_t ends[MOST_RECORDS];
    uint32_t count;
};

static void
apply(struct image *image, struct bytes *records, uint32_t count, struct meta_rows *rows)
{
    struct err_msg err = {0};
    uint64_t before = image_digest(image);
    struct metadata_entry entry = {image_version(image) + 1, 1, records, count};
    if (meta_apply_entry(image, &entry, rows, &err) != DMQ_OK) {
        DMQ_ASSERT(err.text[0] != '\0');
        DMQ_ASSERT(image_digest(image) == before);
    }
}

static void
check_rows(const struct image *image, struct meta_rows *rows)
{
    struct mem_kv store;
    struct err_msg err;
    struct image *loaded = NULL;
    mem_kv_init(&store);
    meta_rows_encode(rows, image);
    dmq_err result = store.kv.ops->write(&store.kv, rows->ops, rows->op_count, true);
    DMQ_ASSERT(result == DMQ_OK);
    result = meta_rows_load(&store.kv, &loaded, &err);
    DMQ_ASSERT(result == DMQ_OK && image_same(image, loaded));
    image_free(loaded);
    mem_kv_deinit(&store);
}

static dmq_err
keep(void *arg, struct bytes record)
{
    struct log *log = arg;
    if (log->count == MOST_RECORDS) {
        return DMQ_ERR_NOMEM;
    }
    outbuf_put(&log->bytes, record.data, record.size);
    log->ends[log->count++] = log->bytes.size;
    return DMQ_OK;
}

static void
check_snapshot(const struct image *image)
{
    static struct bytes views[MOST_RECORDS];
    struct log log = {0};
    struct err_msg err;
    if (meta_snapshot(image, keep, &log) == DMQ_OK) {
        struct image *built = image_new();
        for (uint32_t i = 0; i < log.count; i++) {
            size_t begin = i > 0 ? log.ends[i - 1] : 0;
            views[i] = bytes_of(log.bytes.data + begin, log.ends[i] - begin);
        }
        struct metadata_entry entry = {image_version(image), image_term(image), views, log.count};
        dmq_err result = meta_install(&built, &entry, NULL, &err);
        DMQ_ASSERT(result == DMQ_OK && image_same(image, built));
        image_free(built);
    }
    outbuf_deinit(&log.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image *image = image_new();
    struct meta_rows rows = {0};
    struct bytes records[PER_ENTRY];
    uint32_t count = 0;
    for (size_t pos = 0; pos + 2 <= size;) {
        size_t record_size = get_be16(data + pos);
        pos += 2;
        record_size = record_size < size - pos ? record_size : size - pos;
        records[count++] = bytes_of(data + pos, record_size);
        pos += record_size;
        if (count == PER_ENTRY) {
            apply(image, records, count, &rows);
            count = 0;
        }
    }
    apply(image, records, count, &rows);
    check_rows(image, &rows);
    check_snapshot(image);
    meta_rows_deinit(&rows);
    image_free(image);
    return 0;
}
