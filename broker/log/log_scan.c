#include "broker/log/log_scan.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/log/log_files.h"
#include "libdmq/base/assert.h"

void
log_scan_init(struct log_scan *scan, struct fs *fs, struct fs_file *file, uint64_t file_size,
              size_t chunk)
{
    *scan = (struct log_scan){.fs = fs, .file = file, .file_size = file_size, .chunk = chunk};
}

void
log_scan_deinit(struct log_scan *scan)
{
    free(scan->data);
    *scan = (struct log_scan){0};
}

static bool
has(const struct log_scan *scan, uint64_t pos, size_t size)
{
    return pos >= scan->data_pos && pos + size <= scan->data_pos + scan->data_size;
}

static bool
make_room(struct log_scan *scan, size_t size)
{
    if (scan->capacity >= size) {
        return true;
    }
    uint8_t *data = realloc(scan->data, size);
    if (data == NULL) {
        return false;
    }
    scan->data = data;
    scan->capacity = size;
    return true;
}

/* Has the size bytes at pos, which are in the file, in memory: keeps what is there of them and
 * reads the rest, at least a chunk. */
static enum scan_result
load(struct log_scan *scan, uint64_t pos, size_t size, struct err_msg *msg)
{
    DMQ_ASSERT(pos + size <= scan->file_size);
    if (has(scan, pos, size)) {
        return SCAN_BATCH;
    }
    uint64_t rest = scan->file_size - pos;
    size_t want = size > scan->chunk ? size : scan->chunk;
    want = want < rest ? want : (size_t)rest;
    if (!make_room(scan, want)) {
        err_set(msg, DMQ_ERR_NOMEM, "out of memory reading a batch of %zu bytes", size);
        return SCAN_FAILED;
    }
    size_t kept = 0;
    if (has(scan, pos, 0)) {
        kept = (size_t)(scan->data_pos + scan->data_size - pos);
        memmove(scan->data, scan->data + (pos - scan->data_pos), kept);
    }
    size_t got = 0;
    char room[LOG_ERRNO_SIZE];
    scan->data_pos = pos;
    scan->data_size = kept;
    int error = scan->fs->ops->pread(scan->file, scan->data + kept, want - kept, pos + kept, &got);
    if (error != 0) {
        err_set(msg, DMQ_ERR_IO, "reading at position %" PRIu64 " failed: %s", pos,
                log_errno(error, room));
        return SCAN_FAILED;
    }
    scan->data_size = kept + got;
    scan->read_bytes += got;
    if (scan->data_size < size) {
        err_set(msg, DMQ_ERR_IO, "the file became shorter while it was read");
        return SCAN_FAILED;
    }
    return SCAN_BATCH;
}

static enum scan_result
load_header(struct log_scan *scan, struct batch_header *ret_header, struct err_msg *msg)
{
    uint64_t rest = scan->file_size - scan->pos;
    if (rest == 0) {
        return SCAN_END;
    }
    if (rest < BATCH_HEADER_SIZE) {
        err_set(msg, DMQ_ERR_CORRUPT_BATCH, "%" PRIu64 " bytes are less than a batch header", rest);
        return SCAN_BAD;
    }
    enum scan_result result = load(scan, scan->pos, BATCH_HEADER_SIZE, msg);
    if (result != SCAN_BATCH) {
        return result;
    }
    const uint8_t *at = scan->data + (scan->pos - scan->data_pos);
    if (batch_parse(bytes_of(at, BATCH_HEADER_SIZE), ret_header) != DMQ_OK) {
        err_set(msg, DMQ_ERR_CORRUPT_BATCH, "no batch header stands there");
        return SCAN_BAD;
    }
    if (ret_header->size > LOG_MAX_BATCH_BYTES || ret_header->size > rest) {
        err_set(msg, DMQ_ERR_CORRUPT_BATCH, "the batch's length of %zu is beyond the file's end",
                ret_header->size);
        return SCAN_BAD;
    }
    return SCAN_BATCH;
}

enum scan_result
log_scan_next(struct log_scan *scan, struct batch_header *ret_header, struct bytes *ret_batch,
              struct err_msg *msg)
{
    static const struct batch_limits limits = {.max_bytes = LOG_MAX_BATCH_BYTES};
    struct batch_header header;
    enum scan_result result = load_header(scan, &header, msg);
    if (result == SCAN_BATCH) {
        result = load(scan, scan->pos, header.size, msg);
    }
    if (result != SCAN_BATCH) {
        return result;
    }
    *ret_batch = bytes_of(scan->data + (scan->pos - scan->data_pos), header.size);
    if (batch_check(*ret_batch, &limits, msg, ret_header) != DMQ_OK) {
        return SCAN_BAD;
    }
    scan->pos += header.size;
    return SCAN_BATCH;
}

enum scan_result
log_scan_next_header(struct log_scan *scan, struct batch_header *ret_header, struct err_msg *msg)
{
    enum scan_result result = load_header(scan, ret_header, msg);
    if (result == SCAN_BATCH) {
        scan->pos += ret_header->size;
    }
    return result;
}

enum scan_result
log_scan_reread(struct log_scan *scan, const struct batch_header *header, struct bytes *ret_batch,
                struct err_msg *msg)
{
    DMQ_ASSERT(scan->pos >= header->size);
    uint64_t pos = scan->pos - header->size;
    enum scan_result result = load(scan, pos, header->size, msg);
    if (result == SCAN_BATCH) {
        *ret_batch = bytes_of(scan->data + (pos - scan->data_pos), header->size);
    }
    return result;
}

enum scan_result
log_scan_last_byte(struct log_scan *scan, uint64_t *ret_pos, struct err_msg *msg)
{
    uint64_t last = scan->pos;
    for (uint64_t pos = scan->pos; pos < scan->file_size;) {
        uint64_t rest = scan->file_size - pos;
        size_t size = rest < scan->chunk ? (size_t)rest : scan->chunk;
        enum scan_result result = load(scan, pos, size, msg);
        if (result != SCAN_BATCH) {
            return result;
        }
        const uint8_t *data = scan->data + (pos - scan->data_pos);
        size_t i = size;
        while (i > 0 && data[i - 1] == 0) {
            i--;
        }
        last = i > 0 ? pos + i : last;
        pos += size;
    }
    *ret_pos = last;
    return SCAN_BATCH;
}
