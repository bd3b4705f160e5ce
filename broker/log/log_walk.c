#include "broker/log/log_walk.h"

#include <inttypes.h>

#include "broker/log/log_files.h"
#include "libdmq/base/assert.h"

#define WALK_CHUNK ((size_t)256 << 10)

void
log_walk_init(struct log_walk *walk, int64_t base, int32_t interval_bytes)
{
    *walk = (struct log_walk){.limit = INT64_MAX, .end = base, .ended = true};
    index_builder_init(&walk->builder, base, interval_bytes);
}

void
log_walk_deinit(struct log_walk *walk)
{
    outbuf_deinit(&walk->index);
    outbuf_deinit(&walk->times);
}

static void
add_index(struct log_walk *walk, struct index_entry entry)
{
    uint8_t bytes[INDEX_ENTRY_SIZE];
    index_entry_put(bytes, walk->builder.base, entry);
    outbuf_put(&walk->index, bytes, sizeof(bytes));
}

static void
add_time(struct log_walk *walk)
{
    uint8_t bytes[TIME_ENTRY_SIZE];
    time_entry_put(
        bytes, walk->builder.base,
        (struct time_entry){walk->builder.max_timestamp, walk->builder.max_timestamp_offset});
    outbuf_put(&walk->times, bytes, sizeof(bytes));
}

void
log_walk_finish(struct log_walk *walk)
{
    if (walk->pos > 0 && index_builder_finish(&walk->builder)) {
        add_time(walk);
    }
}

/* The CRC does not cover base offset and length, so these are held against what must stand
 * there. */
static bool
follows(struct log_walk *walk, const struct batch_header *header)
{
    if (header->base_offset != walk->end) {
        err_set(&walk->why, DMQ_ERR_CORRUPT_BATCH,
                "a batch of offset %" PRId64 " stands where %" PRId64 " must", header->base_offset,
                walk->end);
        return false;
    }
    if (header->last_offset_delta >= walk->limit - walk->end) {
        err_set(&walk->why, DMQ_ERR_CORRUPT_BATCH,
                "the batch goes beyond %" PRId64 ", where the next segment begins", walk->limit);
        return false;
    }
    if (walk->end - walk->builder.base + header->last_offset_delta > SEGMENT_MAX_OFFSETS ||
        walk->pos > SEGMENT_MAX_BYTES) {
        err_set(&walk->why, DMQ_ERR_CORRUPT_BATCH, "the batch is beyond what a segment holds");
        return false;
    }
    return true;
}

static bool
take(struct log_walk *walk, const struct batch_header *header, struct bytes batch)
{
    if (!follows(walk, header)) {
        return false;
    }
    if (walk->accept != NULL && !walk->accept(walk->arg, header, batch, &walk->why)) {
        return false;
    }
    struct index_verdict verdict = index_builder_note(&walk->builder, header);
    if (verdict.indexed) {
        add_index(walk, (struct index_entry){header->base_offset, walk->pos});
    }
    if (verdict.time_indexed) {
        add_time(walk);
    }
    walk->end += (int64_t)header->last_offset_delta + 1;
    walk->pos += header->size;
    return true;
}

dmq_err
log_walk_run(struct log_walk *walk, struct fs *fs, const char *path, struct err_msg *msg)
{
    struct log_scan scan;
    struct batch_header header;
    struct bytes batch;
    struct fs_file *file = NULL;
    dmq_err err = log_open_existing(fs, path, &file, &walk->file_size, msg);
    if (err != DMQ_OK || file == NULL) {
        return err;
    }
    log_scan_init(&scan, fs, file, walk->file_size, WALK_CHUNK);
    enum scan_result result;
    do {
        result = log_scan_next(&scan, &header, &batch, &walk->why);
    } while (result == SCAN_BATCH && take(walk, &header, batch));
    walk->ended = result == SCAN_END;
    walk->read_bytes = scan.read_bytes;
    log_scan_deinit(&scan);
    fs->ops->close(file);
    if (result == SCAN_FAILED) {
        return err_set(msg, walk->why.code, "%s: %s", path, walk->why.text);
    }
    if (walk->index.failed || walk->times.failed) {
        return err_set(msg, DMQ_ERR_NOMEM, "out of memory for the index of %s", path);
    }
    return DMQ_OK;
}

dmq_err
log_walk_torn_end(const struct log_walk *walk, struct fs *fs, const char *path, uint64_t *ret_pos,
                  struct err_msg *msg)
{
    struct log_scan scan;
    struct fs_file *file = NULL;
    uint64_t size = 0;
    *ret_pos = walk->pos;
    dmq_err err = log_open_existing(fs, path, &file, &size, msg);
    if (err != DMQ_OK || file == NULL) {
        return err;
    }
    log_scan_init(&scan, fs, file, size, WALK_CHUNK);
    scan.pos = walk->pos < size ? walk->pos : size;
    if (log_scan_last_byte(&scan, ret_pos, msg) == SCAN_FAILED) {
        err = msg->code;
    }
    log_scan_deinit(&scan);
    fs->ops->close(file);
    return err;
}
