/* The image as one entry: what Raft keeps instead of a long log, and what a broker gets that is too
 * far behind. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/ctl.h"
#include "libdmq/meta/entry.h"

#define SNAPSHOT_ARENA_BYTES (INT64_C(1) << 31)

struct snapshot {
    struct outbuf bytes;
    size_t *ends; /* where record i ends in bytes */
    size_t count;
    size_t capacity;
};

static dmq_err
add_record(void *arg, struct bytes record)
{
    struct snapshot *s = arg;
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 256 : s->capacity * 2;
        s->ends = realloc(s->ends, s->capacity * sizeof(*s->ends));
        DMQ_ASSERT(s->ends != NULL);
    }
    outbuf_put(&s->bytes, record.data, record.size);
    s->ends[s->count++] = s->bytes.size;
    return DMQ_OK;
}

struct buf *
snapshot_encode(const struct ctl *ctl)
{
    struct snapshot s = {0};
    struct metadata_entry entry = {.version = ctl->version, .term = image_term(ctl->image)};
    DMQ_ASSERT(image_version(ctl->image) == ctl->version);
    dmq_err code = meta_snapshot(ctl->image, add_record, &s);
    DMQ_ASSERT(code == DMQ_OK && !s.bytes.failed);
    entry.records = ctl_alloc((s.count + 1) * sizeof(struct bytes));
    entry.records_count = (uint32_t)s.count;
    size_t start = 0;
    for (size_t i = 0; i < s.count; i++) {
        entry.records[i] = bytes_of(s.bytes.data + start, s.ends[i] - start);
        start = s.ends[i];
    }
    struct buf *encoded = msg_encode_buf(desc_metadata_entry(), 0, &entry);
    DMQ_ASSERT(encoded != NULL);
    free(entry.records);
    free(s.ends);
    outbuf_deinit(&s.bytes);
    return encoded;
}

dmq_err
snapshot_install(struct ctl *ctl, int64_t version, struct bytes data, struct err_msg *err)
{
    struct arena arena;
    struct metadata_entry entry;
    DMQ_ASSERT(ctl->batch.state != BATCH_WRITING && version >= ctl->version);
    arena_init(&arena, SNAPSHOT_ARENA_BYTES);
    dmq_err code = msg_decode(desc_metadata_entry(), 0, data, &arena, &entry, err);
    if (code == DMQ_OK && entry.version != version) {
        code = err_set(err, DMQ_ERR_DAMAGED, "it is one of version %" PRId64, entry.version);
    }
    if (code == DMQ_OK) {
        code = meta_install(&ctl->image, &entry, NULL, err);
    }
    arena_deinit(&arena);
    if (code == DMQ_OK) {
        ctl->version = version;
        ctl->digest = image_digest(ctl->image);
        ctl->log_bytes = 0;
        ctl->snapshot_size = (int64_t)data.size;
        ctl->stats.snapshots++;
        push_forget(ctl);
    }
    return code;
}
