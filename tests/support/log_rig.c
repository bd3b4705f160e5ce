#include "tests/support/log_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/rng.h"
#include "libdmq/wire/batch_build.h"

void
log_stored_deinit(struct log_stored *stored)
{
    buf_unref(stored->epochs);
    buf_unref(stored->producers);
    *stored = (struct log_stored){0};
}

void
log_stored_copy(struct log_stored *to, const struct log_stored *from)
{
    struct log_stored copy = *from;
    copy.epochs = copy.epochs == NULL ? NULL : buf_ref(copy.epochs);
    copy.producers = copy.producers == NULL ? NULL : buf_ref(copy.producers);
    log_stored_deinit(to);
    *to = copy;
}

void
log_rig_init(struct log_rig *rig, struct fs *fs, const char *dir)
{
    *rig = (struct log_rig){.fs = fs,
                            .segment_bytes = 4096,
                            .index_interval_bytes = 256,
                            .hot_bytes = 2048,
                            .damaged_from = -1};
    snprintf(rig->dir, sizeof(rig->dir), "%s", dir);
}

void
log_rig_kill(struct log_rig *rig)
{
    for (size_t i = 0; i < rig->queued; i++) {
        disk_op_deinit(&rig->queue[i]);
    }
    rig->queued = 0;
    plog_free(rig->log);
    plog_io_free(rig->lane);
    plog_reader_free(rig->reader);
    rig->log = NULL;
    rig->lane = NULL;
    rig->reader = NULL;
}

void
log_rig_deinit(struct log_rig *rig)
{
    log_rig_kill(rig);
    log_stored_deinit(&rig->stored);
}

static void
note(struct log_rig *rig, const struct disk_done *done)
{
    if (done->err != DMQ_OK && rig->failed == DMQ_OK) {
        rig->failed = done->err;
        memcpy(rig->why, done->text, sizeof(rig->why));
    }
}

static void
finish(struct log_rig *rig, struct disk_done *done)
{
    note(rig, done);
    if (done->err != DMQ_OK) {
        return;
    }
    if (done->kind == DISK_WRITE) {
        plog_on_written(rig->log, done);
    } else if (done->kind == DISK_SYNC) {
        plog_on_synced(rig->log, done->id);
    }
}

void
log_rig_run(struct log_rig *rig)
{
    struct disk_done dones[256];
    size_t count = rig->queued;
    rig->queued = 0;
    plog_io_exec(rig->lane, rig->queue, count, dones);
    for (size_t i = 0; i < count; i++) {
        finish(rig, &dones[i]);
        disk_done_deinit(&dones[i]);
    }
}

static void
queue(struct log_rig *rig, struct disk_op op)
{
    DMQ_ASSERT(rig->queued < 256);
    op.id = ++rig->id;
    rig->rolls += op.kind == DISK_ROLL ? 1 : 0;
    rig->queue[rig->queued++] = op;
}

dmq_err
log_rig_open(struct log_rig *rig)
{
    struct log_open *open = calloc(1, sizeof(*open));
    struct log_stored rows = {0};
    DMQ_ASSERT(open != NULL && rig->log == NULL);
    log_stored_copy(&rows, &rig->stored);
    memcpy(open->dir, rig->dir, sizeof(open->dir));
    snprintf(open->label, sizeof(open->label), "test-0");
    open->segment_bytes = rig->segment_bytes;
    open->index_interval_bytes = rig->index_interval_bytes;
    open->clean = rows.clean;
    open->marked = rows.marked;
    open->start = rows.start;
    open->mark = rows.mark;
    open->epochs = rows.epochs;
    open->producers = rows.producers;
    open->cuts = rig->cuts;
    open->cut = rig->cut;
    rig->cuts = false;
    rig->stored.clean = false; /* the core removes it before it opens a log */
    if (rig->lane == NULL) {
        rig->lane = plog_io_new(rig->fs);
        rig->reader = plog_reader_new(rig->fs);
    }
    rig->failed = DMQ_OK;
    rig->damaged_from = -1;
    struct disk_op op = {.kind = DISK_OPEN, .log = ++rig->number, .generation = rig->number};
    op.u.open = open;
    plog_io_exec(rig->lane, &op, 1, &rig->opened);
    struct log_recovered *r = rig->opened.u.recovered;
    if (r != NULL) {
        struct plog_config config = {rig->number, rig->segment_bytes, rig->index_interval_bytes,
                                     rig->hot_bytes};
        rig->clean = r->clean;
        rig->cut_bytes = r->cut_bytes;
        rig->damaged_from = r->damaged_from;
        rig->rebuilt_indexes = r->rebuilt_indexes;
        rig->log = plog_new(&config, r);
        rig->opened.u.recovered = NULL;
    }
    return rig->opened.err;
}

dmq_err
log_rig_truncate(struct log_rig *rig, int64_t to)
{
    log_rig_run(rig);
    plog_lower_mark(rig->log, to);
    log_rig_checkpoint(rig);
    buf_unref(rig->stored.producers);
    rig->stored.producers = NULL;
    plog_free(rig->log);
    rig->log = NULL;
    rig->number--; /* the same log for the lane */
    rig->cuts = true;
    rig->cut = to;
    return log_rig_open(rig);
}

struct buf *
rig_batch_encode(const struct rig_batch *batch)
{
    struct batch_builder builder;
    struct batch_options options = {(uint16_t)batch->compression, batch->producer_epoch,
                                    batch->base_sequence, batch->producer_id};
    struct compressor *codec = compressor_new();
    struct buf *buf = NULL;
    struct rng rng;
    uint8_t *value = malloc(batch->value_size + 1);
    DMQ_ASSERT(value != NULL && codec != NULL);
    rng_init(&rng, batch->seed);
    batch_builder_init(&builder, (size_t)64 << 20);
    for (int32_t i = 0; i < batch->count; i++) {
        for (size_t k = 0; k < batch->value_size; k++) {
            value[k] = (uint8_t)rng_next(&rng);
        }
        dmq_err err = batch_builder_append(&builder, batch->timestamp + i, (struct bytes){NULL, 0},
                                           bytes_of(value, batch->value_size), NULL, 0);
        DMQ_ASSERT(err == DMQ_OK);
    }
    dmq_err err = batch_builder_finish(&builder, &options, codec, &buf);
    DMQ_ASSERT(err == DMQ_OK);
    batch_builder_deinit(&builder);
    compressor_free(codec);
    free(value);
    return buf;
}

int64_t
log_rig_append_buf(struct log_rig *rig, struct buf *buf, int32_t leader_epoch)
{
    struct plog_ops ops = {.count = 0};
    struct batch_header header;
    struct plog_batch batch = {buf, 0, &header};
    int64_t base;
    int64_t end;
    dmq_err err = batch_parse(buf_bytes(buf), &header);
    DMQ_ASSERT(err == DMQ_OK);
    enum plog_sequence verdict = plog_check_sequence(rig->log, &header, &base, &end);
    if (verdict != PLOG_NEW) {
        return -1 - (int64_t)verdict;
    }
    base = plog_append(rig->log, &batch, leader_epoch, 1000, &ops);
    for (size_t i = 0; i < ops.count; i++) {
        queue(rig, ops.ops[i]);
    }
    return base;
}

int64_t
log_rig_append(struct log_rig *rig, const struct rig_batch *batch)
{
    struct buf *buf = rig_batch_encode(batch);
    int64_t base = log_rig_append_buf(rig, buf, batch->leader_epoch);
    buf_unref(buf);
    return base;
}

void
log_rig_ask_sync(struct log_rig *rig)
{
    queue(rig, (struct disk_op){.kind = DISK_SYNC});
    plog_sync_asked(rig->log, rig->id);
}

void
log_rig_checkpoint(struct log_rig *rig)
{
    struct buf *snapshot = plog_take_snapshot_row(rig->log);
    rig->stored.marked = true;
    rig->stored.mark = plog_mark(rig->log);
    rig->stored.start = plog_start(rig->log);
    buf_unref(rig->stored.epochs);
    rig->stored.epochs = plog_epochs_row(rig->log);
    if (snapshot != NULL) {
        buf_unref(rig->stored.producers);
        rig->stored.producers = snapshot;
    }
}

dmq_err
log_rig_close(struct log_rig *rig)
{
    struct disk_done done;
    log_rig_sync(rig);
    struct disk_op op = {.kind = DISK_CLOSE,
                         .log = rig->number,
                         .generation = plog_generation(rig->log),
                         .id = ++rig->id};
    plog_io_exec(rig->lane, &op, 1, &done);
    note(rig, &done);
    if (done.err == DMQ_OK) {
        log_rig_checkpoint(rig);
        rig->stored.clean = true;
        rig->stored.mark = plog_end_mark(rig->log);
        buf_unref(rig->stored.producers);
        rig->stored.producers = plog_end_snapshot_row(rig->log);
    }
    return done.err;
}

static dmq_err
read_by(struct log_rig *rig, struct disk_op *op, struct buf **ret_data)
{
    struct disk_done done;
    plog_reader_exec(rig->reader, op, &done);
    *ret_data = done.u.data;
    note(rig, &done);
    return done.err;
}

dmq_err
log_rig_read_cold(struct log_rig *rig, int64_t segment, int64_t offset, int64_t limit,
                  uint32_t max_bytes, struct buf **ret_data)
{
    struct disk_op op = {.kind = DISK_READ, .log = rig->number};
    op.u.read.dir = buf_copy(bytes_of(rig->dir, strlen(rig->dir) + 1));
    op.u.read.segment = segment;
    op.u.read.offset = offset;
    op.u.read.limit = limit;
    op.u.read.max_bytes = max_bytes;
    return read_by(rig, &op, ret_data);
}

/* One plog_read; what it gives is added to out. */
static dmq_err
read_once(struct log_rig *rig, int64_t offset, int64_t limit, uint32_t max_bytes,
          struct outbuf *out)
{
    struct plog_read read;
    struct buf *data = NULL;
    dmq_err err = plog_read(rig->log, offset, limit, max_bytes, &read);
    if (err != DMQ_OK) {
        return err;
    }
    for (size_t i = 0; read.hot && i < read.count; i++) {
        outbuf_put(out, read.parts[i].buf->data + read.parts[i].from, read.parts[i].size);
    }
    if (!read.hot) {
        err = read_by(rig, &read.op, &data);
        if (data != NULL) {
            outbuf_put(out, data->data, data->size);
        }
        buf_unref(data);
    }
    return err;
}

dmq_err
log_rig_read(struct log_rig *rig, int64_t offset, int64_t limit, uint32_t max_bytes,
             struct outbuf *out)
{
    while (offset < limit) {
        struct batch_header header;
        size_t before = out->size;
        dmq_err err = read_once(rig, offset, limit, max_bytes, out);
        if (err != DMQ_OK || out->size == before) {
            return err;
        }
        struct bytes rest = bytes_of(out->data + before, out->size - before);
        struct bytes batch;
        while (batch_next(&rest, &batch) == DMQ_OK) {
            err = batch_parse(batch, &header);
            DMQ_ASSERT(err == DMQ_OK);
            offset = batch_last_offset(&header) + 1;
        }
        DMQ_ASSERT(rest.size == 0);
    }
    return DMQ_OK;
}

int64_t
log_rig_find_time(struct log_rig *rig, int64_t timestamp, int64_t limit)
{
    struct plog_ops ops = {.count = 0};
    struct disk_done done;
    plog_find_time(rig->log, timestamp, limit, &ops);
    if (ops.count == 0) {
        return -1;
    }
    plog_reader_exec(rig->reader, &ops.ops[0], &done);
    note(rig, &done);
    return done.err == DMQ_OK ? done.u.found.offset : -2;
}
