/* Arbitrary bytes as the files of a log, and a store that says anything about them: OPEN never
 * crashes, and what it accepts holds: it reads back in order with right CRCs, is found sound by
 * `dmq log verify`, comes to the same when it is opened again, and takes more. What it calls
 * damaged it does not touch.
 *
 *   pos size
 *     0   1  flags: see below      6  2  bytes of the first segment
 *     1   1  mark: offset          8  2  bytes of its index
 *     2   2  mark: position       10  1  offset of the producer snapshot
 *     4   1  mark: epoch          11  1  offset where the mark's epoch begins
 *     5   1  base of the second segment, if not 0
 *    12      index, first segment, second segment */
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/epochs.h"
#include "broker/log/log_tool.h"
#include "broker/log/producer_state.h"
#include "libdmq/base/assert.h"
#include "tests/sim/simfs.h"
#include "tests/support/log_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FIX_CRC = 1, /* of every batch that the lengths lead to: no fuzzer guesses one */
    MARKED = 2,
    CLEAN = 4,
    SNAPSHOT = 8,
    EPOCHS = 16,
    HEADER_BYTES = 12
};

#define FOLDER "/data/topic/0"

static void
fix_crcs(struct buf *segment)
{
    struct bytes rest = buf_bytes(segment);
    struct bytes batch;
    while (batch_next(&rest, &batch) == DMQ_OK) {
        size_t at = (size_t)(batch.data - segment->data);
        put_be32(segment->data + at + BATCH_POS_CRC, batch_crc(batch));
    }
}

static void
put_segment(struct simfs *disk, unsigned base, struct bytes bytes, bool fix)
{
    char path[128];
    struct buf *segment = buf_copy(bytes);
    DMQ_ASSERT(segment != NULL);
    if (fix) {
        fix_crcs(segment);
    }
    snprintf(path, sizeof(path), FOLDER "/%020u.log", base);
    simfs_put_file(disk, path, buf_bytes(segment));
    buf_unref(segment);
}

/* The next size bytes of rest, or what there is. */
static struct bytes
take(struct bytes *rest, size_t size)
{
    size = size < rest->size ? size : rest->size;
    struct bytes part = {rest->data, size};
    *rest = bytes_of(rest->data + size, rest->size - size);
    return part;
}

static void
put_files(struct simfs *disk, const uint8_t *header, struct bytes rest)
{
    bool fix = (header[0] & FIX_CRC) != 0;
    struct bytes index = take(&rest, get_be16(header + 8));
    struct bytes first = take(&rest, get_be16(header + 6));
    simfs_make_folder(disk, "/data");
    simfs_make_folder(disk, "/data/topic");
    simfs_make_folder(disk, FOLDER);
    simfs_put_file(disk, FOLDER "/00000000000000000000.index", index);
    simfs_put_file(disk, FOLDER "/00000000000000000000.timeindex", index);
    put_segment(disk, 0, first, fix);
    if (header[5] != 0) {
        put_segment(disk, header[5], rest, fix);
    }
}

static void
put_store(struct log_stored *stored, const uint8_t *header)
{
    struct epochs epochs = {0};
    stored->clean = (header[0] & CLEAN) != 0;
    stored->marked = (header[0] & MARKED) != 0;
    stored->mark.offset = header[1];
    stored->mark.pos = get_be16(header + 2);
    stored->mark.epoch = (int8_t)header[4];
    stored->mark.segment = header[5] != 0 && header[1] >= header[5] ? header[5] : 0;
    if ((header[0] & SNAPSHOT) != 0) {
        struct producers *producers = producers_new();
        stored->producers = producers_row(producers, header[10]);
        producers_free(producers);
    }
    if ((header[0] & EPOCHS) != 0) {
        epochs_note(&epochs, (int8_t)header[4], header[11]);
        stored->epochs = epochs_row(&epochs, INT64_MAX);
        epochs_deinit(&epochs);
    }
}

static void
no_finding(void *arg, const char *text, size_t size)
{
    static const char allowed[] = "records cannot be read"; /* under a right CRC */
    (void)arg;
    bool finding = size > 8 && memcmp(text, "finding ", 8) == 0;
    DMQ_ASSERT(!finding || memmem(text, size, allowed, sizeof(allowed) - 1) != NULL);
}

/* Everything reads, in order. */
static void
check_reads(struct log_rig *rig)
{
    const struct batch_limits limits = {.max_bytes = 0};
    struct outbuf out = {0};
    struct err_msg msg;
    int64_t offset = plog_start(rig->log);
    dmq_err err = log_rig_read(rig, offset, plog_end(rig->log), 500, &out);
    DMQ_ASSERT(err == DMQ_OK);
    struct bytes rest = bytes_of(out.data, out.size);
    struct bytes batch;
    while (batch_next(&rest, &batch) == DMQ_OK) {
        struct batch_header header;
        DMQ_ASSERT(batch_check(batch, &limits, &msg, &header) == DMQ_OK);
        DMQ_ASSERT(header.base_offset == offset);
        offset = batch_last_offset(&header) + 1;
        int64_t found = log_rig_find_time(rig, header.max_timestamp, offset);
        DMQ_ASSERT(found >= -1 && found < offset); /* a header may claim more than records have */
    }
    DMQ_ASSERT(offset == plog_end(rig->log));
    outbuf_deinit(&out);
}

static void
open_again(struct log_rig *rig, int64_t end)
{
    log_rig_kill(rig);
    dmq_err err = log_rig_open(rig);
    DMQ_ASSERT(err == DMQ_OK);
    DMQ_ASSERT(plog_end(rig->log) == end);
}

static void
check_accepted(struct simfs *disk, struct log_rig *rig)
{
    struct log_sink sink = {.line = no_finding};
    struct rig_batch batch = RIG_BATCH;
    int64_t end = plog_end(rig->log);
    uint64_t digest = simfs_digest(disk);
    check_reads(rig);
    log_tool_verify(simfs_fs(disk), FOLDER, &sink);
    open_again(rig, end);
    DMQ_ASSERT(simfs_digest(disk) == digest);

    batch.leader_epoch = plog_last_epoch(rig->log) < 0 ? 0 : plog_last_epoch(rig->log);
    DMQ_ASSERT(log_rig_append(rig, &batch) == end);
    log_rig_sync(rig);
    DMQ_ASSERT(rig->failed == DMQ_OK);
    log_rig_checkpoint(rig);
    open_again(rig, end + 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_rig rig;
    if (size < HEADER_BYTES) {
        return 0;
    }
    struct simfs *disk = simfs_new(1);
    put_files(disk, data, bytes_of(data + HEADER_BYTES, size - HEADER_BYTES));
    log_rig_init(&rig, simfs_fs(disk), FOLDER);
    put_store(&rig.stored, data);
    uint64_t digest = simfs_digest(disk);
    dmq_err err = log_rig_open(&rig);
    DMQ_ASSERT(err == DMQ_OK || err == DMQ_ERR_DAMAGED);
    if (err == DMQ_ERR_DAMAGED) {
        DMQ_ASSERT(simfs_digest(disk) == digest && rig.opened.text[0] != '\0');
    } else if (!rig.clean) { /* else nothing was looked at */
        check_accepted(disk, &rig);
    }
    log_rig_deinit(&rig);
    simfs_free(disk);
    return 0;
}
