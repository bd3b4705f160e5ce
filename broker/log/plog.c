/* Invariants (plog_check_invariants):
 *   - start <= synced_end <= written_end <= end;
 *   - the segments' bases rise, the first is the start, the last is at or below the end; the last
 *     segment's size is where the next batch goes;
 *   - the hot tail ends at the end, and what is not written is in it;
 *   - leader epochs and their starts rise, and the last one began below the end, unless all records
 *     are gone by age: then it is said to begin at the end, until there is a record again.
 *
 * Marks are taken when a SYNC is asked for and count when it comes back: between the two the log
 * may have gone on, and of that nothing is known yet. */
#include "broker/log/plog.h"

#include <stdlib.h>

#include "broker/log/hot.h"
#include "broker/log/recovered.h"
#include "libdmq/base/assert.h"

/* Below this size a batch is copied out of a buffer that pins much more: a small frame pins
 * libzmq's whole receive buffer (8 KiB and more). */
#define SMALL_BATCH 8192

struct asked_sync {
    uint64_t sync;
    struct log_mark mark; /* the log's end when it was asked for */
};

struct plog {
    struct plog_config config;
    uint32_t generation;
    struct buf *dir;
    struct log_segment *segments;
    size_t segment_count;
    size_t segment_capacity;
    struct index_builder index; /* of the last segment */
    int64_t start;
    int64_t end;
    int64_t written_end;
    int64_t synced_end;
    struct log_mark mark;     /* of the last SYNC that came back */
    struct asked_sync *asked; /* oldest first */
    size_t asked_count;
    size_t asked_capacity;
    size_t unwritten_bytes;
    struct hot hot;
    struct epochs epochs;
    struct producers *producers;
    bool damaged;       /* read only: bad bytes from the end on */
    uint64_t seen_size; /* of the newest segment, when plog_retained_from looked last */
    int64_t recovered_snapshot;
    struct buf *snapshot; /* producers at the newest roll that was not handed out; or NULL */
    int64_t snapshot_offset;
};

struct plog *
plog_new(const struct plog_config *config, struct log_recovered *recovered)
{
    struct plog *log = calloc(1, sizeof(*log));
    DMQ_ASSERT(log != NULL);
    DMQ_ASSERT(recovered->segment_count > 0);
    log->config = *config;
    log->generation = recovered->generation;
    log->dir = recovered->dir;
    log->segments = recovered->segments;
    log->segment_count = recovered->segment_count;
    log->segment_capacity = recovered->segment_count;
    log->index = recovered->index;
    log->start = recovered->segments[0].base;
    log->end = recovered->end;
    log->written_end = recovered->end;
    log->synced_end = log->start; /* nothing counts as synced until a SYNC has run */
    log->mark = recovered->mark;
    log->epochs = recovered->epochs;
    log->producers = recovered->producers;
    log->damaged = recovered->damaged_from >= 0;
    log->recovered_snapshot = recovered->snapshot_offset;
    log->seen_size = recovered->segments[recovered->segment_count - 1].size;
    free(recovered);
    plog_check_invariants(log);
    return log;
}

void
plog_free(struct plog *log)
{
    if (log == NULL) {
        return;
    }
    hot_deinit(&log->hot);
    epochs_deinit(&log->epochs);
    producers_free(log->producers);
    buf_unref(log->snapshot);
    buf_unref(log->dir);
    free(log->segments);
    free(log->asked);
    free(log);
}

void
plog_set_segment_bytes(struct plog *log, int64_t segment_bytes)
{
    DMQ_ASSERT(segment_bytes > 0);
    log->config.segment_bytes = segment_bytes;
}

int64_t
plog_start(const struct plog *log)
{
    return log->start;
}

int64_t
plog_end(const struct plog *log)
{
    return log->end;
}

int64_t
plog_synced_end(const struct plog *log)
{
    return log->synced_end;
}

uint32_t
plog_generation(const struct plog *log)
{
    return log->generation;
}

size_t
plog_unwritten_bytes(const struct plog *log)
{
    return log->unwritten_bytes;
}

/* ---- append ---------------------------------------------------------------------------------- */

enum plog_sequence
plog_check_sequence(const struct plog *log, const struct batch_header *header, int64_t *ret_base,
                    int64_t *ret_end)
{
    switch (producers_check(log->producers, header, ret_base, ret_end)) {
    case PRODUCER_NEW:
        return PLOG_NEW;
    case PRODUCER_DUPLICATE:
        return PLOG_DUPLICATE;
    case PRODUCER_OLD:
        return PLOG_OLD;
    case PRODUCER_GAP:
        return PLOG_GAP;
    case PRODUCER_FENCED:
        return PLOG_FENCED;
    case PRODUCER_UNKNOWN:
        return PLOG_UNKNOWN;
    }
    DMQ_UNREACHABLE();
}

static struct log_segment *
newest(const struct plog *log)
{
    return &log->segments[log->segment_count - 1];
}

static struct disk_op *
ask(struct plog *log, struct plog_ops *out, enum disk_op_kind kind)
{
    DMQ_ASSERT(out->count < PLOG_MAX_OPS);
    struct disk_op *op = &out->ops[out->count++];
    *op = (struct disk_op){.kind = kind, .log = log->config.number, .generation = log->generation};
    return op;
}

static bool
must_roll(const struct plog *log, const struct batch_header *header)
{
    const struct log_segment *segment = newest(log);
    if (segment->size == 0) {
        return false; /* a batch larger than a segment has one for itself */
    }
    return segment->size + header->size > (uint64_t)log->config.segment_bytes ||
           log->end + header->last_offset_delta - segment->base > SEGMENT_MAX_OFFSETS ||
           log->index.entries >= INDEX_MAX_ENTRIES;
}

static void
add_segment(struct plog *log, struct log_segment segment)
{
    if (log->segment_count == log->segment_capacity) {
        size_t capacity = log->segment_capacity * 2;
        struct log_segment *segments = realloc(log->segments, capacity * sizeof(*segments));
        DMQ_ASSERT(segments != NULL);
        log->segments = segments;
        log->segment_capacity = capacity;
    }
    log->segments[log->segment_count++] = segment;
}

/* The newest segment ends here; the next batch begins another. */
static void
roll(struct plog *log, struct plog_ops *out)
{
    struct disk_op *op = ask(log, out, DISK_ROLL);
    if (newest(log)->size != log->seen_size) {
        newest(log)->written_ms = -1; /* since it was looked at */
    }
    log->seen_size = 0;
    op->u.roll.segment = log->end;
    op->u.roll.old_size = newest(log)->size;
    add_segment(log, (struct log_segment){.base = log->end, .max_timestamp = -1, .written_ms = -1});
    index_builder_init(&log->index, log->end, log->config.index_interval_bytes);
    buf_unref(log->snapshot);
    log->snapshot = producers_row(log->producers, log->end);
    log->snapshot_offset = log->end;
}

/* A reference to the batch's bytes that pins not much more than them. */
static struct buf *
take_bytes(const struct plog_batch *batch, size_t *ret_from)
{
    size_t size = batch->header->size;
    if (size < SMALL_BATCH && batch->buf->pinned > 2 * size + sizeof(struct buf)) {
        struct buf *copy = buf_copy(bytes_of(batch->buf->data + batch->from, size));
        DMQ_ASSERT(copy != NULL);
        *ret_from = 0;
        return copy;
    }
    *ret_from = batch->from;
    return buf_ref(batch->buf);
}

static void
ask_write(struct plog *log, const struct hot_batch *batch, const struct batch_header *header,
          struct plog_ops *out)
{
    struct log_segment *segment = newest(log);
    struct index_verdict verdict = index_builder_note(&log->index, header);
    struct disk_op *op = ask(log, out, DISK_WRITE);
    op->u.write.buf = buf_ref(batch->buf);
    op->u.write.from = batch->from;
    op->u.write.size = batch->size;
    op->u.write.pos = segment->size;
    op->u.write.offset = batch->base;
    op->u.write.segment_bytes = log->config.segment_bytes;
    op->u.write.indexed = verdict.indexed;
    op->u.write.time_indexed = verdict.time_indexed;
    op->u.write.max_timestamp = log->index.max_timestamp;
    op->u.write.max_timestamp_offset = log->index.max_timestamp_offset;
    segment->size += batch->size;
    segment->max_timestamp = log->index.max_timestamp;
}

int64_t
plog_append(struct plog *log, const struct plog_batch *batch, int32_t leader_epoch, int64_t now_ms,
            struct plog_ops *out)
{
    struct batch_header header = *batch->header;
    int64_t base = log->end;
    size_t from;
    DMQ_ASSERT(!log->damaged);
    DMQ_ASSERT(batch->from <= batch->buf->size && header.size <= batch->buf->size - batch->from);
    DMQ_ASSERT(header.size >= BATCH_HEADER_SIZE && header.last_offset_delta >= 0);
    DMQ_ASSERT(base <= INT64_MAX - header.last_offset_delta - 1);
    if (must_roll(log, &header)) {
        roll(log, out);
    }
    batch_stamp(batch->buf->data + batch->from, base, leader_epoch);
    header.base_offset = base;
    header.leader_epoch = leader_epoch;
    bool rises = epochs_note(&log->epochs, leader_epoch, base);
    DMQ_ASSERT(rises);
    producers_expire(log->producers, now_ms);
    producers_note(log->producers, &header);

    struct buf *bytes = take_bytes(batch, &from);
    log->end = base + header.last_offset_delta + 1;
    hot_push(&log->hot, bytes, from, header.size, base, log->end);
    ask_write(log, hot_at(&log->hot, log->hot.count - 1), &header, out);
    log->unwritten_bytes += header.size;
    plog_check_invariants(log);
    return base;
}

/* ---- completions ----------------------------------------------------------------------------- */

void
plog_on_written(struct plog *log, const struct disk_done *done)
{
    DMQ_ASSERT(done->kind == DISK_WRITE && done->err == DMQ_OK);
    DMQ_ASSERT(done->log == log->config.number && done->generation == log->generation);
    const struct hot_batch *batch = hot_written(&log->hot); /* a lane keeps the order */
    DMQ_ASSERT(batch->base == log->written_end && log->unwritten_bytes >= batch->size);
    log->written_end = batch->end;
    log->unwritten_bytes -= batch->size;
    hot_trim(&log->hot, log->config.hot_bytes);
    plog_check_invariants(log);
}

struct log_mark
plog_end_mark(const struct plog *log)
{
    return (struct log_mark){.segment = newest(log)->base,
                             .pos = newest(log)->size,
                             .offset = log->end,
                             .epoch = log->end > log->start ? epochs_last(&log->epochs) : -1};
}

/* A mark at the log start has no batch before it, whatever there was when it was taken. */
static void
set_mark(struct plog *log, struct log_mark mark)
{
    log->mark = mark;
    log->mark.epoch = mark.offset > log->start ? mark.epoch : -1;
}

struct log_mark
plog_mark(const struct plog *log)
{
    return log->mark;
}

void
plog_sync_asked(struct plog *log, uint64_t sync)
{
    DMQ_ASSERT(log->asked_count == 0 || log->asked[log->asked_count - 1].sync < sync);
    if (log->asked_count == log->asked_capacity) {
        size_t capacity = log->asked_capacity == 0 ? 4 : log->asked_capacity * 2;
        struct asked_sync *asked = realloc(log->asked, capacity * sizeof(*asked));
        DMQ_ASSERT(asked != NULL);
        log->asked = asked;
        log->asked_capacity = capacity;
    }
    log->asked[log->asked_count++] = (struct asked_sync){sync, plog_end_mark(log)};
}

bool
plog_on_synced(struct plog *log, uint64_t sync)
{
    size_t done = 0;
    struct log_mark mark;
    while (done < log->asked_count && log->asked[done].sync <= sync) {
        mark = log->asked[done].mark;
        done++;
    }
    if (done == 0) {
        return false;
    }
    log->asked_count -= done;
    memmove(log->asked, log->asked + done, log->asked_count * sizeof(*log->asked));
    if (mark.offset > log->written_end) {
        return false; /* a WRITE before it failed: the disk is full */
    }
    if (mark.offset >= log->mark.offset) {
        set_mark(log, mark);
    }
    bool rose = mark.offset > log->synced_end;
    log->synced_end = rose ? mark.offset : log->synced_end;
    plog_check_invariants(log);
    return rose;
}

/* ---- read ------------------------------------------------------------------------------------ */

static void
read_hot(const struct plog *log, size_t from, int64_t limit, uint32_t max_bytes,
         struct plog_read *read)
{
    read->hot = true;
    for (size_t i = from; i < log->hot.count; i++) {
        const struct hot_batch *batch = hot_at(&log->hot, i);
        if (batch->end > limit || (read->bytes > 0 && read->bytes + batch->size > max_bytes)) {
            return;
        }
        size_t last = read->count - 1;
        if (read->count > 0 && read->parts[last].buf == batch->buf &&
            read->parts[last].from + read->parts[last].size == batch->from) {
            read->parts[last].size += batch->size; /* they came in one frame */
        } else if (read->count < PLOG_MAX_PARTS) {
            read->parts[read->count].buf = batch->buf;
            read->parts[read->count].from = batch->from;
            read->parts[read->count++].size = batch->size;
        } else {
            return;
        }
        read->bytes += batch->size;
    }
}

/* Number of the segment that holds offset. */
static size_t
segment_of(const struct plog *log, int64_t offset)
{
    size_t low = 0;
    size_t high = log->segment_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->segments[middle].base <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static int64_t
lower(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A READ is of one leader epoch: so the reader can hold each batch against it. */
dmq_err
plog_read(struct plog *log, int64_t offset, int64_t limit, uint32_t max_bytes,
          struct plog_read *ret_read)
{
    DMQ_ASSERT(limit <= log->end);
    if (offset < log->start || offset > log->end) {
        return DMQ_ERR_OFFSET_OUT_OF_RANGE;
    }
    ret_read->count = 0;
    ret_read->bytes = 0;
    ret_read->hot = true;
    if (offset >= limit) {
        return DMQ_OK;
    }
    size_t first = hot_find(&log->hot, offset);
    if (first < log->hot.count) {
        read_hot(log, first, limit, max_bytes, ret_read);
        return DMQ_OK;
    }
    struct plog_ops ops = {.count = 0};
    int64_t next;
    struct disk_op *op = ask(log, &ops, DISK_READ);
    op->u.read.dir = buf_ref(log->dir);
    op->u.read.segment = log->segments[segment_of(log, offset)].base;
    op->u.read.offset = offset;
    op->u.read.epoch = epochs_run(&log->epochs, offset, &next);
    op->u.read.limit = lower(lower(limit, log->written_end), next);
    op->u.read.max_bytes = max_bytes;
    ret_read->hot = false;
    ret_read->op = *op;
    return DMQ_OK;
}

size_t
plog_available(const struct plog *log, int64_t offset, int64_t limit, size_t enough)
{
    if (offset >= limit) {
        return 0;
    }
    size_t first = hot_find(&log->hot, offset);
    size_t below = hot_below(&log->hot, limit);
    if (first == log->hot.count) {
        return enough; /* on disk only: there is something, and it is old */
    }
    if (below <= first) {
        return 0;
    }
    const struct hot_batch *last = hot_at(&log->hot, below - 1);
    return (size_t)(last->at + last->size - hot_at(&log->hot, first)->at);
}

void
plog_find_time(struct plog *log, int64_t timestamp, int64_t limit, struct plog_ops *out)
{
    for (size_t i = 0; i < log->segment_count && log->segments[i].base < limit; i++) {
        if (log->segments[i].max_timestamp < timestamp) {
            continue;
        }
        struct disk_op *op = ask(log, out, DISK_FIND_TIME);
        op->u.find_time.dir = buf_ref(log->dir);
        op->u.find_time.segment = log->segments[i].base;
        op->u.find_time.timestamp = timestamp;
        op->u.find_time.limit = limit < log->written_end ? limit : log->written_end;
        return;
    }
}

/* ---- retention ------------------------------------------------------------------------------- */

/* What is known to be older than the time it was written at is believed; a timestamp that is still
 * to come says nothing (trap 55). */
static int64_t
newest_time(const struct log_segment *segment, int64_t wall_ms)
{
    return segment->max_timestamp <= wall_ms ? segment->max_timestamp : segment->written_ms;
}

static bool
is_expired(const struct log_segment *segment, const struct plog_retention *retention)
{
    int64_t age = retention->wall_ms - newest_time(segment, retention->wall_ms);
    return retention->age_ms >= 0 && segment->written_ms >= 0 && age > retention->age_ms;
}

static void
note_written(struct plog *log, int64_t wall_ms)
{
    for (size_t i = log->segment_count; i > 0 && log->segments[i - 1].written_ms < 0; i--) {
        log->segments[i - 1].written_ms = wall_ms;
    }
    if (newest(log)->size != log->seen_size) {
        newest(log)->written_ms = wall_ms;
    }
    log->seen_size = newest(log)->size;
}

int64_t
plog_retained_from(struct plog *log, const struct plog_retention *retention)
{
    int64_t snapshot = plog_snapshot_offset(log);
    int64_t limit = retention->limit < log->synced_end ? retention->limit : log->synced_end;
    uint64_t size = 0;
    size_t i = 0;
    note_written(log, retention->wall_ms);
    snapshot = snapshot > retention->snapshot ? snapshot : retention->snapshot;
    limit = limit < log->mark.segment ? limit : log->mark.segment;
    limit = limit < snapshot ? limit : snapshot;
    for (size_t k = 0; k < log->segment_count; k++) {
        size += log->segments[k].size;
    }
    for (; i + 1 < log->segment_count && log->segments[i + 1].base <= limit; i++) {
        uint64_t rest = size - log->segments[i].size;
        bool too_much = retention->bytes >= 0 && rest >= (uint64_t)retention->bytes;
        if (!too_much && !is_expired(&log->segments[i], retention)) {
            break;
        }
        size = rest;
    }
    return log->segments[i].base;
}

bool
plog_newest_expired(const struct plog *log, const struct plog_retention *retention)
{
    const struct log_segment *segment = newest(log);
    return !log->damaged && segment->size > 0 && log->end <= retention->limit &&
           log->end == log->synced_end && is_expired(segment, retention);
}

void
plog_roll(struct plog *log, struct plog_ops *out)
{
    DMQ_ASSERT(!log->damaged && newest(log)->size > 0);
    roll(log, out);
    plog_check_invariants(log);
}

void
plog_raise_start(struct plog *log, int64_t start)
{
    size_t gone = segment_of(log, start);
    DMQ_ASSERT(!log->damaged && start > log->start && log->segments[gone].base == start);
    DMQ_ASSERT(start <= log->synced_end && start <= log->mark.segment);
    log->segment_count -= gone;
    memmove(log->segments, log->segments + gone, log->segment_count * sizeof(*log->segments));
    log->start = start;
    epochs_raise(&log->epochs, start);
    set_mark(log, log->mark);
    plog_check_invariants(log);
}

void
plog_remove(struct plog *log, struct plog_ops *out)
{
    ask(log, out, DISK_REMOVE)->u.remove.start = log->start;
}

/* ---- truncation ------------------------------------------------------------------------------ */

void
plog_lower_mark(struct plog *log, int64_t to)
{
    DMQ_ASSERT(to >= log->start && to <= log->end);
    int64_t base = log->segments[segment_of(log, to)].base;
    if (log->mark.offset > to) {
        set_mark(log, (struct log_mark){.segment = base,
                                        .pos = to == base ? 0 : LOG_POS_UNKNOWN,
                                        .offset = to,
                                        .epoch = epochs_at(&log->epochs, to - 1)});
    }
}

/* ---- what is kept in the key-value store ----------------------------------------------------- */

struct buf *
plog_epochs_row(const struct plog *log)
{
    return epochs_row(&log->epochs, log->mark.offset);
}

int64_t
plog_snapshot_offset(const struct plog *log)
{
    return log->snapshot == NULL || log->snapshot_offset > log->synced_end ? -1
                                                                           : log->snapshot_offset;
}

int64_t
plog_recovered_snapshot(const struct plog *log)
{
    return log->recovered_snapshot;
}

struct buf *
plog_take_snapshot_row(struct plog *log)
{
    if (plog_snapshot_offset(log) < 0) {
        return NULL;
    }
    struct buf *row = log->snapshot;
    log->snapshot = NULL;
    return row;
}

struct buf *
plog_end_snapshot_row(const struct plog *log)
{
    return producers_row(log->producers, log->end);
}

int32_t
plog_end_of_epoch(const struct plog *log, int32_t epoch, int64_t *ret_end)
{
    return epochs_end_of(&log->epochs, epoch, log->end, ret_end);
}

int32_t
plog_last_epoch(const struct plog *log)
{
    return epochs_last(&log->epochs);
}

/* ---- invariants ------------------------------------------------------------------------------ */

#ifdef DMQ_DEBUG
static void
check_all(const struct plog *log)
{
    for (size_t i = 1; i < log->segment_count; i++) {
        DMQ_ASSERT(log->segments[i - 1].base < log->segments[i].base);
        DMQ_ASSERT(log->segments[i - 1].size > 0);
    }
    for (size_t i = 1; i < log->epochs.count; i++) {
        DMQ_ASSERT(log->epochs.entries[i - 1].epoch < log->epochs.entries[i].epoch);
        DMQ_ASSERT(log->epochs.entries[i - 1].start < log->epochs.entries[i].start);
    }
    size_t unwritten = 0;
    for (size_t i = log->hot.count - log->hot.unwritten; i < log->hot.count; i++) {
        unwritten += hot_at(&log->hot, i)->size;
    }
    DMQ_ASSERT(unwritten == log->unwritten_bytes);
}
#endif

void
plog_check_invariants(const struct plog *log)
{
    DMQ_ASSERT(log->start == log->segments[0].base);
    DMQ_ASSERT(log->start <= log->synced_end);
    DMQ_ASSERT(log->synced_end <= log->written_end);
    DMQ_ASSERT(log->written_end <= log->end);
    DMQ_ASSERT(newest(log)->base <= log->end);
    DMQ_ASSERT(newest(log)->base == log->index.base);
    DMQ_ASSERT(log->damaged || log->mark.offset <= log->written_end);
    DMQ_ASSERT(log->hot.count > 0 || log->written_end == log->end);
    if (log->hot.count > 0) {
        DMQ_ASSERT(hot_at(&log->hot, log->hot.count - 1)->end == log->end);
        DMQ_ASSERT(hot_at(&log->hot, 0)->base <= log->written_end);
    }
    if (log->epochs.count > 0) {
        int64_t last = log->epochs.entries[log->epochs.count - 1].start;
        DMQ_ASSERT(last < log->end || (last == log->end && log->start == log->end));
    }
#ifdef DMQ_DEBUG
    check_all(log);
#endif
}
