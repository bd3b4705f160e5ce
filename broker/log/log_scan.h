/* Walks the batches of a segment file from a position on, in chunks: its memory is bounded by the
 * largest batch that the file really holds. */
#ifndef BROKER_LOG_LOG_SCAN_H
#define BROKER_LOG_LOG_SCAN_H

#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"
#include "libdmq/wire/batch.h"

/* No batch is larger: a length beyond it is damage. */
#define LOG_MAX_BATCH_BYTES ((size_t)256 << 20)

enum scan_result {
    SCAN_BATCH,
    SCAN_END,   /* the file ends here */
    SCAN_BAD,   /* what stands here is not a whole, sound batch; msg says why */
    SCAN_FAILED /* the file cannot be read, or memory is out: msg */
};

struct log_scan {
    struct fs *fs;
    struct fs_file *file; /* borrowed */
    uint64_t file_size;
    uint64_t pos;  /* of the next batch */
    size_t chunk;  /* bytes to read at once */
    uint8_t *data; /* owned: file bytes from data_pos on */
    uint64_t data_pos;
    size_t data_size;
    size_t capacity;
    uint64_t read_bytes; /* of the file, so far */
};

void log_scan_init(struct log_scan *scan, struct fs *fs, struct fs_file *file, uint64_t file_size,
                   size_t chunk);
void log_scan_deinit(struct log_scan *scan);

/* The next batch, checked whole (batch_check). ret_batch lives until the next call. After SCAN_BAD
 * and SCAN_END the position is where it was. */
enum scan_result log_scan_next(struct log_scan *scan, struct batch_header *ret_header,
                               struct bytes *ret_batch, struct err_msg *msg);

/* The same by headers alone: CRCs are not looked at and records are skipped. */
enum scan_result log_scan_next_header(struct log_scan *scan, struct batch_header *ret_header,
                                      struct err_msg *msg);

/* The bytes of the batch whose header was just skipped over, from the file. Lives until the next
 * call.
 */
enum scan_result log_scan_reread(struct log_scan *scan, const struct batch_header *header,
                                 struct bytes *ret_batch, struct err_msg *msg);

/* Position after the last byte of the file, from the scan's position on, that is not 0; the scan's
 * position if all are 0. */
enum scan_result log_scan_last_byte(struct log_scan *scan, uint64_t *ret_pos, struct err_msg *msg);

#endif
