/* Where a batch lies is found by the segment's offset index, then by going from header to header.
 * What is found is believed only if its offsets are right: a position that an index gives, or that
 * is remembered from the read before, is a guess. */
#include "broker/log/plog_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/index_file.h"
#include "broker/log/log_files.h"
#include "broker/log/log_scan.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/utf8.h"
#include "libdmq/wire/batch_read.h"

#define CACHED_SEGMENTS 32
#define LOCATE_CHUNK ((size_t)16 << 10)
#define MAX_READ_BYTES ((uint32_t)64 << 20) /* of one READ, but for a larger first batch */

struct cached_segment {
    struct buf *dir; /* a reference, so that the pointer names the log; NULL: a free slot */
    uint32_t generation;
    int64_t base;
    struct fs_file *log;
    struct fs_file *index; /* NULL: missing */
    uint64_t used;
    int64_t next_offset; /* where the last READ ended: the next one often goes on there */
    uint64_t next_pos;
};

struct plog_reader {
    struct fs *fs;
    uint64_t clock;
    struct cached_segment segments[CACHED_SEGMENTS];
    struct batch_reader records;
};

struct plog_reader *
plog_reader_new(struct fs *fs)
{
    struct plog_reader *reader = calloc(1, sizeof(*reader));
    DMQ_ASSERT(reader != NULL);
    reader->fs = fs;
    batch_reader_init(&reader->records, &COMPRESS_DEFAULT_LIMITS);
    return reader;
}

/* ---- the cache of open segments -------------------------------------------------------------- */

static void
drop(struct plog_reader *reader, struct cached_segment *segment)
{
    if (segment->dir == NULL) {
        return;
    }
    reader->fs->ops->close(segment->log);
    if (segment->index != NULL) {
        reader->fs->ops->close(segment->index);
    }
    buf_unref(segment->dir);
    *segment = (struct cached_segment){.dir = NULL};
}

void
plog_reader_free(struct plog_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    for (size_t i = 0; i < CACHED_SEGMENTS; i++) {
        drop(reader, &reader->segments[i]);
    }
    batch_reader_deinit(&reader->records);
    free(reader);
}

/* The slot that holds the segment, or else the one that was not used for longest. */
static struct cached_segment *
slot_for(struct plog_reader *reader, const struct buf *dir, uint32_t generation, int64_t base)
{
    struct cached_segment *oldest = &reader->segments[0];
    for (size_t i = 0; i < CACHED_SEGMENTS; i++) {
        struct cached_segment *segment = &reader->segments[i];
        if (segment->dir == dir && segment->generation == generation && segment->base == base) {
            return segment;
        }
        oldest = segment->used < oldest->used ? segment : oldest;
    }
    drop(reader, oldest);
    return oldest;
}

/* *ret_segment is NULL if there is no such file. */
static dmq_err
open_segment(struct plog_reader *reader, struct buf *dir, uint32_t generation, int64_t base,
             struct cached_segment **ret_segment, struct err_msg *msg)
{
    struct cached_segment *segment = slot_for(reader, dir, generation, base);
    char path[LOG_PATH_SIZE];
    struct fs_file *log = NULL;
    struct fs_file *index = NULL;
    uint64_t size;
    *ret_segment = segment;
    if (segment->dir != NULL) {
        segment->used = ++reader->clock;
        return DMQ_OK;
    }
    *ret_segment = NULL;
    log_path(path, (const char *)dir->data, base, LOG_SUFFIX);
    dmq_err err = log_open_existing(reader->fs, path, &log, &size, msg);
    if (err != DMQ_OK || log == NULL) {
        return err;
    }
    log_path(path, (const char *)dir->data, base, INDEX_SUFFIX);
    err = log_open_existing(reader->fs, path, &index, &size, msg);
    if (err != DMQ_OK) {
        reader->fs->ops->close(log);
        return err;
    }
    *segment = (struct cached_segment){.dir = buf_ref(dir),
                                       .generation = generation,
                                       .base = base,
                                       .log = log,
                                       .index = index,
                                       .used = ++reader->clock,
                                       .next_offset = base};
    *ret_segment = segment;
    return DMQ_OK;
}

static dmq_err
size_of(struct plog_reader *reader, struct cached_segment *segment, uint64_t *ret_size,
        struct err_msg *msg)
{
    int error = reader->fs->ops->size(segment->log, ret_size);
    return error == 0 ? DMQ_OK
                      : log_failed(msg, "looking at", (const char *)segment->dir->data, error);
}

static dmq_err
damaged_at(const struct cached_segment *segment, int64_t offset, uint64_t pos, struct err_msg *msg)
{
    return err_set(msg, DMQ_ERR_DAMAGED,
                   "no sound batch of offset %" PRId64 " at position %" PRIu64 " of %020" PRId64
                   ".log; see dmq log verify",
                   offset, pos, segment->base);
}

/* ---- where a batch is ------------------------------------------------------------------------ */

/* A position where a batch of base offset `offset` begins, or is said to. */
struct place {
    int64_t offset;
    uint64_t pos;
    bool guessed; /* there may be none, without anything being wrong */
};

/* Goes from header to header, from a batch that begins at `from`, to the batch that holds
 * offset. */
static enum scan_result
walk_to(struct log_scan *scan, struct place from, int64_t offset, struct place *ret_place,
        struct err_msg *msg)
{
    struct batch_header header;
    int64_t expected = from.offset;
    scan->pos = from.pos;
    for (;;) {
        uint64_t pos = scan->pos;
        enum scan_result result = log_scan_next_header(scan, &header, msg);
        if (result == SCAN_BATCH &&
            (header.base_offset != expected || header.last_offset_delta < 0)) {
            result = SCAN_BAD;
        }
        if (result != SCAN_BATCH) {
            *ret_place = (struct place){.offset = expected, .pos = pos};
            return result;
        }
        expected = batch_last_offset(&header) + 1;
        if (expected > offset) {
            *ret_place = (struct place){.offset = header.base_offset, .pos = pos};
            return SCAN_BATCH;
        }
    }
}

/* Finds the batch that holds offset, which lies in the segment. */
static dmq_err
locate(struct plog_reader *reader, struct cached_segment *segment, int64_t offset,
       struct place *ret_place, struct err_msg *msg)
{
    const struct place start = {.offset = segment->base, .pos = 0};
    struct index_entry entry;
    struct log_scan scan;
    uint64_t size;
    dmq_err err = size_of(reader, segment, &size, msg);
    if (err == DMQ_OK) {
        err = index_file_find(reader->fs, segment->index, segment->base, offset, &entry, msg);
    }
    if (err != DMQ_OK) {
        return err;
    }
    struct place guess = {.offset = entry.offset, .pos = entry.pos};
    if (guess.pos >= size) {
        guess = start;
    }
    log_scan_init(&scan, reader->fs, segment->log, size, LOCATE_CHUNK);
    enum scan_result result = walk_to(&scan, guess, offset, ret_place, msg);
    if (result == SCAN_BAD && guess.pos != 0) {
        result = walk_to(&scan, start, offset, ret_place, msg);
    }
    log_scan_deinit(&scan);
    if (result == SCAN_FAILED) {
        return msg->code;
    }
    return result == SCAN_BATCH ? DMQ_OK
                                : damaged_at(segment, ret_place->offset, ret_place->pos, msg);
}

/* ---- READ ------------------------------------------------------------------------------------ */

/* What a buffer begins with. */
struct run {
    size_t size;  /* of whole batches in order, none of which ends beyond the limit */
    int64_t end;  /* offset behind them */
    size_t first; /* the size that the first batch gives itself; 0: none of that offset is there */
    bool beyond;  /* the first one is sound, and ends beyond the limit */
};

/* All that is taken has the right CRC, and the leader epoch that the log knows it by: what has
 * rotted is never sent. Nor is a batch believed without that which says that it goes beyond the
 * limit: its last offset delta may be what has rotted, and a reader that gets nothing, and no
 * error, waits there for ever. */
static struct run
whole_batches(struct bytes data, int64_t offset, const struct disk_op *op)
{
    const int64_t limit = op->u.read.limit;
    struct run run = {.end = offset};
    struct batch_header header;
    while (run.end < limit) {
        if (batch_parse(bytes_of(data.data + run.size, data.size - run.size), &header) != DMQ_OK ||
            header.base_offset != run.end) {
            break;
        }
        bool beyond = header.last_offset_delta >= limit - run.end;
        bool first = run.size == 0;
        run.first = first ? header.size : run.first;
        if (header.last_offset_delta < 0 || header.size > data.size - run.size ||
            header.leader_epoch != op->u.read.epoch || (beyond && !first) ||
            batch_crc(bytes_of(data.data + run.size, header.size)) != header.crc) {
            break;
        }
        if (beyond) {
            run.beyond = true;
            break;
        }
        run.size += header.size;
        run.end = batch_last_offset(&header) + 1;
    }
    return run;
}

static dmq_err
read_bytes(struct plog_reader *reader, struct cached_segment *segment, uint64_t pos, size_t size,
           struct buf **ret_buf, struct err_msg *msg)
{
    size_t got = 0;
    struct buf *buf = buf_new(size);
    if (buf == NULL) {
        return err_set(msg, DMQ_ERR_NOMEM, "out of memory for a read of %zu bytes", size);
    }
    int error = reader->fs->ops->pread(segment->log, buf->data, size, pos, &got);
    if (error != 0) {
        buf_unref(buf);
        return log_failed(msg, "reading", (const char *)segment->dir->data, error);
    }
    buf->size = got;
    *ret_buf = buf;
    return DMQ_OK;
}

/* A buffer that holds size bytes of buf and pins not much more; takes buf. */
static struct buf *
fit(struct buf *buf, size_t size)
{
    buf->size = size;
    if (size >= buf->pinned / 2) {
        return buf;
    }
    struct buf *copy = buf_copy(bytes_of(buf->data, size));
    if (copy == NULL) {
        return buf;
    }
    buf_unref(buf);
    return copy;
}

/* Reads whole batches from a place on. Nothing, and no error, where the first one goes beyond the
 * limit, or the place was guessed wrongly. */
static dmq_err
read_batches(struct plog_reader *reader, struct cached_segment *segment, const struct disk_op *op,
             struct place from, struct disk_done *done, struct err_msg *msg)
{
    uint64_t size;
    struct buf *buf = NULL;
    dmq_err err = size_of(reader, segment, &size, msg);
    if (err != DMQ_OK) {
        return err;
    }
    uint64_t rest = size > from.pos ? size - from.pos : 0;
    size_t want = op->u.read.max_bytes < MAX_READ_BYTES ? op->u.read.max_bytes : MAX_READ_BYTES;
    want = want < BATCH_HEADER_SIZE ? BATCH_HEADER_SIZE : want;
    want = want < rest ? want : (size_t)rest;
    err = read_bytes(reader, segment, from.pos, want, &buf, msg);
    if (err != DMQ_OK) {
        return err;
    }
    struct run run = whole_batches(buf_bytes(buf), from.offset, op);
    if (run.first > want && run.first <= rest && run.first <= LOG_MAX_BATCH_BYTES) {
        size_t first = run.first;
        buf_unref(buf); /* the first batch comes, however large */
        err = read_bytes(reader, segment, from.pos, first, &buf, msg);
        if (err != DMQ_OK) {
            return err;
        }
        run = whole_batches(buf_bytes(buf), from.offset, op);
    }
    if (run.size == 0) {
        buf_unref(buf);
        bool missed = run.first == 0 && from.guessed;
        return run.beyond || missed ? DMQ_OK : damaged_at(segment, from.offset, from.pos, msg);
    }
    segment->next_offset = run.end;
    segment->next_pos = from.pos + run.size;
    done->u.data = fit(buf, run.size);
    return DMQ_OK;
}

static dmq_err
read_op(struct plog_reader *reader, const struct disk_op *op, struct disk_done *done,
        struct err_msg *msg)
{
    struct cached_segment *segment;
    struct place place;
    int64_t base = op->u.read.segment;
    done->u.data = NULL;
    if (op->u.read.offset >= op->u.read.limit) {
        return DMQ_OK;
    }
    dmq_err err = open_segment(reader, op->u.read.dir, op->generation, base, &segment, msg);
    if (err == DMQ_OK && segment == NULL) {
        return err_set(msg, DMQ_ERR_DAMAGED, "segment %020" PRId64 ".log is missing", base);
    }
    if (err == DMQ_OK && segment->next_offset == op->u.read.offset) {
        place = (struct place){
            .offset = segment->next_offset, .pos = segment->next_pos, .guessed = true};
        err = read_batches(reader, segment, op, place, done, msg);
    }
    if (err == DMQ_OK && done->u.data == NULL) {
        err = locate(reader, segment, op->u.read.offset, &place, msg);
        err = err == DMQ_OK ? read_batches(reader, segment, op, place, done, msg) : err;
    }
    if (err != DMQ_OK && segment != NULL) {
        drop(reader, segment);
    }
    return err;
}

/* ---- FIND_TIME ------------------------------------------------------------------------------- */

/* The first record of a batch at or after the timestamp and below the limit. */
static bool
find_record(struct plog_reader *reader, struct bytes batch, const struct disk_op *op,
            struct disk_done *done)
{
    struct batch_record record;
    struct err_msg msg;
    if (batch_reader_open(&reader->records, batch, &msg) == DMQ_OK) {
        while (batch_reader_next(&reader->records, &record)) {
            if (record.offset < op->u.find_time.limit &&
                record.timestamp >= op->u.find_time.timestamp) {
                done->u.found.offset = record.offset;
                done->u.found.timestamp = record.timestamp;
                return true;
            }
        }
        if (batch_reader_result(&reader->records, &msg) == DMQ_OK) {
            return false;
        }
    }
    /* A producer may have sent records that nobody can read, under a right CRC. Its header has to
     * do. */
    done->u.found.offset = reader->records.header.base_offset;
    done->u.found.timestamp = reader->records.header.max_timestamp;
    return true;
}

/* Where to begin in a segment: no record before it is at or after the timestamp. */
static dmq_err
time_place(struct plog_reader *reader, struct cached_segment *segment, int64_t timestamp,
           struct place *ret_place, struct err_msg *msg)
{
    char path[LOG_PATH_SIZE];
    struct fs_file *times = NULL;
    struct time_entry time = {-1, segment->base};
    struct index_entry entry;
    uint64_t size;
    log_path(path, (const char *)segment->dir->data, segment->base, TIME_SUFFIX);
    dmq_err err = log_open_existing(reader->fs, path, &times, &size, msg);
    if (err != DMQ_OK) {
        return err;
    }
    err = time_file_find(reader->fs, times, segment->base, timestamp, &time, msg);
    if (times != NULL) {
        reader->fs->ops->close(times);
    }
    if (err == DMQ_OK) {
        err = index_file_find(reader->fs, segment->index, segment->base, time.offset, &entry, msg);
    }
    *ret_place = (struct place){.offset = entry.offset, .pos = entry.pos};
    return err;
}

/* Looks into one segment, at whole batches: a rotten header would say that what is looked for is
 * elsewhere. *ret_end is the offset where it stopped: the segment's end, the limit, or where
 * something is wrong. */
static dmq_err
find_in_segment(struct plog_reader *reader, struct cached_segment *segment,
                const struct disk_op *op, struct disk_done *done, int64_t *ret_end,
                struct err_msg *msg)
{
    struct log_scan scan;
    struct batch_header header;
    struct bytes batch;
    struct place place;
    uint64_t size;
    dmq_err err = time_place(reader, segment, op->u.find_time.timestamp, &place, msg);
    if (err == DMQ_OK) {
        err = size_of(reader, segment, &size, msg);
    }
    if (err != DMQ_OK) {
        return err;
    }
    enum scan_result result = SCAN_BATCH;
    log_scan_init(&scan, reader->fs, segment->log, size, LOCATE_CHUNK);
    scan.pos = place.pos < size ? place.pos : 0;
    int64_t expected = place.pos < size ? place.offset : segment->base;
    while (expected < op->u.find_time.limit && done->u.found.offset < 0) {
        result = log_scan_next(&scan, &header, &batch, msg);
        if (result != SCAN_BATCH || header.base_offset != expected) {
            break;
        }
        expected = batch_last_offset(&header) + 1;
        if (header.max_timestamp >= op->u.find_time.timestamp) {
            find_record(reader, batch, op, done);
        }
    }
    log_scan_deinit(&scan);
    *ret_end = expected;
    return result == SCAN_FAILED ? msg->code : DMQ_OK;
}

/* Segments follow each other without a gap: the end of one is the name of the next. */
static dmq_err
find_time_op(struct plog_reader *reader, const struct disk_op *op, struct disk_done *done,
             struct err_msg *msg)
{
    struct buf *dir = op->u.find_time.dir;
    int64_t base = op->u.find_time.segment;
    done->u.found.offset = -1;
    done->u.found.timestamp = -1;
    while (base < op->u.find_time.limit) {
        struct cached_segment *segment;
        int64_t end = base;
        dmq_err err = open_segment(reader, dir, op->generation, base, &segment, msg);
        if (err == DMQ_OK && segment == NULL) {
            return err_set(msg, DMQ_ERR_DAMAGED, "no sound batch of offset %" PRId64, base);
        }
        if (err == DMQ_OK) {
            err = find_in_segment(reader, segment, op, done, &end, msg);
        }
        if (err != DMQ_OK || done->u.found.offset >= 0) {
            return err;
        }
        if (end == base) {
            return damaged_at(segment, base, 0, msg);
        }
        base = end;
    }
    return DMQ_OK;
}

/*
 * -----------------------------------------------------------------------------------------------
 */

void
plog_reader_exec(struct plog_reader *reader, struct disk_op *op, struct disk_done *ret_done)
{
    struct err_msg msg = {.code = DMQ_OK};
    *ret_done = (struct disk_done){
        .kind = op->kind, .log = op->log, .generation = op->generation, .id = op->id};
    DMQ_ASSERT(op->kind == DISK_READ || op->kind == DISK_FIND_TIME);
    dmq_err err = op->kind == DISK_READ ? read_op(reader, op, ret_done, &msg)
                                        : find_time_op(reader, op, ret_done, &msg);
    if (err != DMQ_OK) {
        ret_done->err = err;
        snprintf(ret_done->text, sizeof(ret_done->text), "%.*s", (int)sizeof(ret_done->text) - 1,
                 msg.text);
        utf8_repair(ret_done->text); /* it may have been cut within a character */
    }
    disk_op_deinit(op);
}
