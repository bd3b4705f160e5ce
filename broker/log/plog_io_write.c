#include "broker/log/plog_io_internal.h"
#include "libdmq/base/assert.h"

void
plog_io_write(struct plog_io_lane *lane, size_t i)
{
    struct disk_done *done = &lane->dones[i];
    struct open_log *log = plog_io_find(lane, lane->ops[i].log);
    DMQ_ASSERT(log != NULL);
    if (log->damaged) {
        plog_io_set_error(done, DMQ_ERR_DAMAGED, "the log is damaged: nothing is written to it");
        return;
    }
    if (lane->ops[i].resume) {
        DMQ_ASSERT(log->first_pending == NO_OP);
        log->writer.failed = false;
    }
    lane->next[i] = NO_OP;
    if (log->first_pending == NO_OP) {
        log->first_pending = i;
        plog_io_note_unsynced(lane, log);
        log->touched = lane->touched;
        lane->touched = log;
    } else {
        lane->next[log->last_pending] = i;
    }
    log->last_pending = i;
}

static void
gather_indexes(struct plog_io_lane *lane, struct log_writer *writer, const struct disk_op *op)
{
    uint8_t entry[TIME_ENTRY_SIZE];
    int64_t max = op->u.write.max_timestamp;
    int64_t max_offset = op->u.write.max_timestamp_offset;
    if (op->u.write.indexed) {
        index_entry_put(entry, writer->base,
                        (struct index_entry){op->u.write.offset, op->u.write.pos});
        outbuf_put(&lane->index, entry, INDEX_ENTRY_SIZE);
    }
    if (op->u.write.time_indexed) {
        time_entry_put(entry, writer->base, (struct time_entry){max, max_offset});
        outbuf_put(&lane->times, entry, TIME_ENTRY_SIZE);
        writer->time_indexed = max;
    }
    writer->max_timestamp = max;
    writer->max_timestamp_offset = max_offset;
}

/* Writes up to WRITER_MAX_PARTS of the WRITEs that wait, from `first` on; the first that was
 * left. */
static size_t
write_some(struct plog_io_lane *lane, struct open_log *log, size_t first)
{
    struct log_writer *writer = &log->writer;
    struct err_msg msg;
    uint64_t pos = writer->pos;
    size_t count = 0;
    size_t i;
    outbuf_clear(&lane->index);
    outbuf_clear(&lane->times);
    for (i = first; i != NO_OP && count < WRITER_MAX_PARTS; i = lane->next[i]) {
        const struct disk_op *op = &lane->ops[i];
        DMQ_ASSERT(op->u.write.pos == pos || writer->failed);
        lane->parts[count++] = bytes_of(op->u.write.buf->data + op->u.write.from, op->u.write.size);
        writer->segment_bytes = op->u.write.segment_bytes;
        gather_indexes(lane, writer, op);
        pos += op->u.write.size;
    }
    dmq_err err;
    if (writer->failed) {
        err = err_set(&msg, DMQ_ERR_DISK_FULL,
                      "the disk was full before this could be written to %s", writer->dir);
    } else {
        err = log_writer_append(writer, lane->parts, count, &msg);
    }
    if (err == DMQ_OK) {
        DMQ_ASSERT(!lane->index.failed && !lane->times.failed);
        err = log_writer_index(writer, bytes_of(lane->index.data, lane->index.size),
                               bytes_of(lane->times.data, lane->times.size), &msg);
    }
    for (size_t k = first; k != i; k = lane->next[k]) {
        plog_io_conclude(lane, &lane->dones[k], err, &msg);
        if (err == DMQ_ERR_DISK_FULL) {
            plog_io_give_back(lane, k);
        }
    }
    return i;
}

void
plog_io_flush(struct plog_io_lane *lane)
{
    while (lane->touched != NULL) {
        struct open_log *log = lane->touched;
        lane->touched = log->touched;
        for (size_t i = log->first_pending; i != NO_OP;) {
            if (plog_io_refuse_if_broken(lane, &lane->dones[i])) {
                i = lane->next[i];
            } else {
                i = write_some(lane, log, i);
            }
        }
        log->first_pending = NO_OP;
    }
}
