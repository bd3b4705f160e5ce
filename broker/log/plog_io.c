/* A run of operations is carried out in its order, except that WRITEs wait until something comes
 * that must see them: another kind of operation, or the end of the run. Those of one log that then
 * lie together go to the disk in one call. Of several SYNCs in a run only the last is carried out:
 * all completions come back together, at the end of the run.
 *
 * The first operation on the disk that fails, other than for lack of space, ends the lane. */
#include "broker/log/plog_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/log_writer.h"
#include "broker/log/quarantine.h"
#include "broker/log/recovery.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/list.h"
#include "libdmq/base/map.h"
#include "libdmq/base/utf8.h"

#define NONE SIZE_MAX

struct open_log {
    uint32_t number;
    bool damaged; /* nothing is written to it; the writer has only its folder */
    struct log_writer writer;
    size_t first_pending; /* WRITEs of the run that wait: indices, linked by lane->next */
    size_t last_pending;
    struct open_log *touched; /* next log with WRITEs that wait */
    struct list sync_link;    /* in lane->unsynced or lane->closing */
    size_t sync_at;           /* in lane->syncs, while those of many logs are done together */
    size_t sync_count;
    size_t close_op; /* the CLOSE, in lane->closing */
    UT_hash_handle hh;
};

struct plog_io_lane {
    struct fs *fs;
    struct open_log *logs;
    struct list unsynced;  /* logs with something to sync */
    struct err_msg broken; /* why the lane ended; code DMQ_OK: it works */
    struct plog_io_counts counts;

    /* of the run */
    struct disk_op *ops;
    struct disk_done *dones;
    size_t *next;
    size_t next_capacity;
    struct open_log *touched;
    struct outbuf index; /* entries to add, of one write */
    struct outbuf times;
    struct bytes parts[WRITER_MAX_PARTS + WRITER_SPARE_PARTS];
    struct list closing;   /* logs that a CLOSE of the run has ended; their syncs wait */
    struct fs_sync *syncs; /* those that are done together */
    size_t syncs_capacity;
};

struct plog_io_lane *
plog_io_new(struct fs *fs)
{
    struct plog_io_lane *lane = calloc(1, sizeof(*lane));
    DMQ_ASSERT(lane != NULL);
    lane->fs = fs;
    list_init(&lane->unsynced);
    list_init(&lane->closing);
    return lane;
}

static struct open_log *
find(struct plog_io_lane *lane, uint32_t number)
{
    struct open_log *log;
    HASH_FIND(hh, lane->logs, &number, sizeof(number), log);
    return log;
}

static void
note_unsynced(struct plog_io_lane *lane, struct open_log *log)
{
    if (!list_linked(&log->sync_link)) {
        list_append(&lane->unsynced, &log->sync_link);
    }
}

/* Closes a log's files and forgets it. */
static void
forget(struct plog_io_lane *lane, struct open_log *log)
{
    list_remove(&log->sync_link);
    HASH_DEL(lane->logs, log);
    log_writer_deinit(&log->writer);
    free(log);
}

void
plog_io_free(struct plog_io_lane *lane)
{
    if (lane == NULL) {
        return;
    }
    while (lane->logs != NULL) {
        forget(lane, lane->logs);
    }
    outbuf_deinit(&lane->index);
    outbuf_deinit(&lane->times);
    free(lane->next);
    free(lane->syncs);
    free(lane);
}

struct plog_io_counts
plog_io_counts(const struct plog_io_lane *lane)
{
    return lane->counts;
}

/* ---- results --------------------------------------------------------------------------------- */

static void
set_error(struct disk_done *done, dmq_err err, const char *text)
{
    done->err = err;
    snprintf(done->text, sizeof(done->text), "%.*s", (int)sizeof(done->text) - 1, text);
    utf8_repair(done->text); /* it may have been cut within a character */
}

/* The result of something done to the disk. A failure that is not for lack of space ends the
 * lane. */
static void
conclude(struct plog_io_lane *lane, struct disk_done *done, dmq_err err, const struct err_msg *msg)
{
    if (err == DMQ_OK) {
        return;
    }
    set_error(done, err, msg->text);
    if (err == DMQ_ERR_IO && lane->broken.code == DMQ_OK) {
        lane->broken = *msg;
    }
}

/* The operation goes back to whoever asked for it, to be asked for anew when there is space. */
static void
give_back(struct plog_io_lane *lane, size_t i)
{
    struct disk_op *again = malloc(sizeof(*again));
    DMQ_ASSERT(again != NULL && lane->dones[i].err == DMQ_ERR_DISK_FULL);
    *again = lane->ops[i];
    again->resume = false;
    lane->dones[i].again = again;
    if (again->kind == DISK_WRITE) {
        lane->ops[i].u.write.buf = NULL;
    } else if (again->kind == DISK_OPEN) {
        lane->ops[i].u.open = NULL;
    }
}

static bool
refuse_if_broken(struct plog_io_lane *lane, struct disk_done *done)
{
    if (lane->broken.code == DMQ_OK) {
        return false;
    }
    set_error(done, DMQ_ERR_IO, lane->broken.text);
    return true;
}

/* ---- WRITE ----------------------------------------------------------------------------------- */

static void
queue_write(struct plog_io_lane *lane, size_t i)
{
    struct disk_done *done = &lane->dones[i];
    struct open_log *log = find(lane, lane->ops[i].log);
    DMQ_ASSERT(log != NULL);
    if (log->damaged) {
        set_error(done, DMQ_ERR_DAMAGED, "the log is damaged: nothing is written to it");
        return;
    }
    if (lane->ops[i].resume) {
        DMQ_ASSERT(log->first_pending == NONE);
        log->writer.failed = false;
    }
    lane->next[i] = NONE;
    if (log->first_pending == NONE) {
        log->first_pending = i;
        note_unsynced(lane, log);
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
    for (i = first; i != NONE && count < WRITER_MAX_PARTS; i = lane->next[i]) {
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
        conclude(lane, &lane->dones[k], err, &msg);
        if (err == DMQ_ERR_DISK_FULL) {
            give_back(lane, k);
        }
    }
    return i;
}

/* Carries out the WRITEs that wait, of all logs. */
static void
flush(struct plog_io_lane *lane)
{
    while (lane->touched != NULL) {
        struct open_log *log = lane->touched;
        lane->touched = log->touched;
        for (size_t i = log->first_pending; i != NONE;) {
            if (refuse_if_broken(lane, &lane->dones[i])) {
                i = lane->next[i];
            } else {
                i = write_some(lane, log, i);
            }
        }
        log->first_pending = NONE;
    }
}

/* ---- SYNC ------------------------------------------------------------------------------------ */

/* The last folder of each level that was synced by a SYNC: neighbours share them. */
struct synced_folders {
    char topic[LOG_DIR_SIZE];
    char data[LOG_DIR_SIZE];
};

static int
sync_folder_once(struct plog_io_lane *lane, const char *path, char last[LOG_DIR_SIZE])
{
    if (strcmp(path, last) == 0) {
        return 0;
    }
    lane->counts.folder_syncs++;
    int error = lane->fs->ops->sync_dir(lane->fs, path);
    if (error == 0) {
        memcpy(last, path, strlen(path) + 1);
    }
    return error;
}

/* The names of the log's folder in its topic's, and of that in the data folder. */
static dmq_err
sync_chain(struct plog_io_lane *lane, struct log_writer *writer, struct synced_folders *synced,
           struct err_msg *msg)
{
    char topic[LOG_DIR_SIZE];
    char data[LOG_DIR_SIZE];
    log_parent(topic, writer->dir);
    log_parent(data, topic);
    int error = sync_folder_once(lane, topic, synced->topic);
    error = error == 0 ? sync_folder_once(lane, data, synced->data) : error;
    if (error != 0) {
        return log_failed(msg, "syncing the folders above", writer->dir, error);
    }
    writer->chain_dirty = false;
    return DMQ_OK;
}

/* Room for what all these logs can have to sync. */
static void
reserve_syncs(struct plog_io_lane *lane, const struct list *logs)
{
    size_t needed = 0;
    LIST_FOREACH (link, logs) {
        needed += WRITER_MAX_SYNCS;
    }
    if (needed > lane->syncs_capacity) {
        lane->syncs = realloc(lane->syncs, needed * sizeof(*lane->syncs));
        DMQ_ASSERT(lane->syncs != NULL);
        lane->syncs_capacity = needed;
    }
}

/* The newest segments of these logs at once: one after the other would take as many times as long.
 * What came of it waits for sync_log of each. */
static void
sync_newest(struct plog_io_lane *lane, const struct list *logs)
{
    size_t count = 0;
    reserve_syncs(lane, logs);
    LIST_FOREACH (link, logs) {
        struct open_log *log = LIST_ENTRY(link, struct open_log, sync_link);
        log->sync_at = count;
        log->sync_count = log_writer_list_syncs(&log->writer, lane->syncs + count);
        count += log->sync_count;
    }
    lane->fs->ops->sync_many(lane->fs, lane->syncs, count);
}

/* What is left of one log: its segments that ended before, the folders above. */
static dmq_err
sync_log(struct plog_io_lane *lane, struct open_log *log, struct synced_folders *synced,
         struct err_msg *msg)
{
    struct log_writer *writer = &log->writer;
    dmq_err err = log_writer_take_syncs(writer, lane->syncs + log->sync_at, log->sync_count, msg);
    if (err == DMQ_OK && writer->chain_dirty) {
        err = sync_chain(lane, writer, synced, msg);
    }
    err = err == DMQ_OK ? log_writer_sync(writer, msg) : err;
    if (err == DMQ_ERR_DISK_FULL) {
        msg->code = DMQ_ERR_IO; /* a sync that failed is never tried again, whatever it says */
        err = DMQ_ERR_IO;
    }
    return err;
}

static dmq_err
sync_all(struct plog_io_lane *lane, struct err_msg *msg)
{
    struct synced_folders synced = {"", ""};
    dmq_err err = DMQ_OK;
    struct list *link;
    lane->counts.syncs += list_empty(&lane->unsynced) ? 0 : 1;
    sync_newest(lane, &lane->unsynced);
    while (err == DMQ_OK && (link = list_pop(&lane->unsynced)) != NULL) {
        err = sync_log(lane, LIST_ENTRY(link, struct open_log, sync_link), &synced, msg);
    }
    return err;
}

/* SYNC i, for itself and those before it in the run. */
static void
carry_out_sync(struct plog_io_lane *lane, size_t i)
{
    struct err_msg msg;
    dmq_err err = sync_all(lane, &msg);
    for (size_t k = 0; k <= i; k++) {
        if (lane->ops[k].kind == DISK_SYNC) {
            conclude(lane, &lane->dones[k], err, &msg);
        }
    }
}

/* ---- OPEN, ROLL, CLOSE, DELETE --------------------------------------------------------------- */

static void
carry_out_open(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct disk_done *done = &lane->dones[i];
    struct open_log *log = find(lane, op->log);
    struct log_recovered *recovered = NULL;
    struct err_msg msg;
    if (log != NULL) {
        forget(lane, log);
    }
    dmq_err err = log_recover(lane->fs, op->u.open, &recovered, &msg);
    conclude(lane, done, err, &msg);
    done->u.recovered = recovered;
    if (recovered == NULL) {
        if (err == DMQ_ERR_DISK_FULL) {
            give_back(lane, i);
        }
        return;
    }
    recovered->generation = op->generation;
    log = calloc(1, sizeof(*log));
    DMQ_ASSERT(log != NULL);
    log->number = op->log;
    log->first_pending = NONE;
    log->damaged = err == DMQ_ERR_DAMAGED;
    if (log->damaged) {
        log->writer.fs = lane->fs;
        memcpy(log->writer.dir, op->u.open->dir, sizeof(log->writer.dir));
    } else {
        err = log_writer_open(&log->writer, lane->fs, &lane->counts, op->u.open, recovered, &msg);
    }
    if (err != DMQ_OK && err != DMQ_ERR_DAMAGED) {
        free(log);
        log_recovered_free(recovered);
        done->u.recovered = NULL;
        conclude(lane, done, err, &msg);
        return;
    }
    HASH_ADD(hh, lane->logs, number, sizeof(log->number), log);
    if (!log->damaged && log_writer_needs_sync(&log->writer)) {
        note_unsynced(lane, log);
    }
}

static void
carry_out_roll(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct open_log *log = find(lane, op->log);
    struct err_msg msg;
    DMQ_ASSERT(log != NULL);
    if (log->damaged) {
        set_error(&lane->dones[i], DMQ_ERR_DAMAGED, "the log is damaged: nothing is written to it");
        return;
    }
    log->writer.failed = log->writer.failed && !op->resume;
    if (log->writer.failed) {
        set_error(&lane->dones[i], DMQ_ERR_DISK_FULL,
                  "the disk was full before the log could roll");
        give_back(lane, i);
        return;
    }
    DMQ_ASSERT(log->writer.pos == op->u.roll.old_size);
    note_unsynced(lane, log);
    dmq_err err = log_writer_roll(&log->writer, op->u.roll.segment, &msg);
    conclude(lane, &lane->dones[i], err, &msg);
    if (err == DMQ_ERR_DISK_FULL) {
        give_back(lane, i);
    }
}

/* Ends the log's files; its syncs are done with those of the CLOSEs that follow at once
 * (finish_closes), for at the end of the process all logs are closed. */
static void
carry_out_close(struct plog_io_lane *lane, size_t i)
{
    struct open_log *log = find(lane, lane->ops[i].log);
    struct err_msg msg;
    dmq_err err = DMQ_OK;
    if (log == NULL) {
        return; /* it never opened: there is nothing to end */
    }
    DMQ_ASSERT(!log->writer.ended);
    if (log->damaged) {
        err = err_set(&msg, DMQ_ERR_DAMAGED, "the log is damaged: it has no clean end");
    } else if (log->writer.failed) {
        err = err_set(&msg, DMQ_ERR_DISK_FULL, "the disk was full: the log has no clean end");
    } else {
        err = log_writer_end(&log->writer, &msg);
    }
    if (err != DMQ_OK) {
        conclude(lane, &lane->dones[i], err, &msg);
        forget(lane, log);
        return;
    }
    log->close_op = i;
    list_remove(&log->sync_link);
    list_append(&lane->closing, &log->sync_link);
}

/* A log whose sync failed takes none of the others with it that were synced in the same call: each
 * has its own result. */
static void
finish_closes(struct plog_io_lane *lane)
{
    struct synced_folders synced = {"", ""};
    struct err_msg msg;
    if (list_empty(&lane->closing)) {
        return;
    }
    sync_newest(lane, &lane->closing);
    while (!list_empty(&lane->closing)) {
        struct open_log *log = LIST_ENTRY(lane->closing.next, struct open_log, sync_link);
        dmq_err err = sync_log(lane, log, &synced, &msg);
        conclude(lane, &lane->dones[log->close_op], err, &msg);
        forget(lane, log);
    }
}

struct doomed {
    char (*names)[64];
    size_t count;
    size_t capacity;
};

static int
note_doomed(void *arg, const char *name)
{
    struct doomed *doomed = arg;
    if (doomed->count == doomed->capacity) {
        size_t capacity = doomed->capacity == 0 ? 16 : doomed->capacity * 2;
        char(*names)[64] = realloc(doomed->names, capacity * sizeof(*names));
        if (names == NULL) {
            return ENOMEM;
        }
        doomed->names = names;
        doomed->capacity = capacity;
    }
    snprintf(doomed->names[doomed->count++], sizeof(doomed->names[0]), "%s", name);
    return 0;
}

/* Removes a log's folder, and its topic's if that is empty then. What is missing is gone
 * already. */
static int
remove_folder(struct fs *fs, const char *dir)
{
    struct doomed doomed = {NULL, 0, 0};
    char topic[LOG_DIR_SIZE];
    char data[LOG_DIR_SIZE];
    log_parent(topic, dir);
    log_parent(data, topic);
    int error = fs->ops->list(fs, dir, note_doomed, &doomed);
    for (size_t i = 0; error == 0 && i < doomed.count; i++) {
        char path[LOG_PATH_SIZE];
        error = log_unlink(fs, log_join(path, dir, doomed.names[i]));
    }
    free(doomed.names);
    error = error == 0 ? fs->ops->rmdir(fs, dir) : error;
    if (error != 0 && error != ENOENT) {
        return error;
    }
    error = fs->ops->rmdir(fs, topic);
    if (error == ENOTEMPTY || error == EEXIST) { /* other partitions are still there */
        return fs->ops->sync_dir(fs, topic);
    }
    return error == 0 || error == ENOENT ? fs->ops->sync_dir(fs, data) : error;
}

static void
carry_out_delete(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct open_log *log = find(lane, op->log);
    char dir[LOG_DIR_SIZE];
    struct err_msg msg;
    DMQ_ASSERT(log != NULL || op->u.open != NULL);
    memcpy(dir, log != NULL ? log->writer.dir : op->u.open->dir, sizeof(dir));
    if (log != NULL) {
        forget(lane, log);
    }
    int error = remove_folder(lane->fs, dir);
    if (error != 0) {
        conclude(lane, &lane->dones[i], log_failed(&msg, "removing", dir, error), &msg);
    }
}

/* Nothing in the folder is touched. */
static void
carry_out_quarantine(struct plog_io_lane *lane, size_t i)
{
    const struct log_open *open = lane->ops[i].u.open;
    struct open_log *log = find(lane, lane->ops[i].log);
    struct err_msg msg;
    if (log != NULL) {
        forget(lane, log);
    }
    conclude(lane, &lane->dones[i], quarantine_move(lane->fs, open->dir, open->aside, &msg), &msg);
}

/* A log that is not open is gone, or is going. */
static void
carry_out_remove(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct open_log *log = find(lane, op->log);
    struct err_msg msg;
    if (log != NULL && !log->damaged) {
        DMQ_ASSERT(op->u.remove.start <= log->writer.base);
        dmq_err err = segments_remove_below(lane->fs, log->writer.dir, op->u.remove.start, &msg);
        conclude(lane, &lane->dones[i], err, &msg);
    }
}

/* ---- SPACE ----------------------------------------------------------------------------------- */

/* That it cannot be said is no failure of the disk's. */
static void
carry_out_space(struct plog_io_lane *lane, size_t i)
{
    char room[LOG_ERRNO_SIZE];
    char text[sizeof(lane->dones[i].text)];
    const char *dir = (const char *)lane->ops[i].u.space.dir->data;
    int error = lane->fs->ops->space(lane->fs, dir, &lane->dones[i].u.space);
    if (error != 0) {
        snprintf(text, sizeof(text), "the free space cannot be told: %s", log_errno(error, room));
        set_error(&lane->dones[i], DMQ_ERR_IO, text);
    }
    if (lane->ops[i].u.space.counts) {
        lane->dones[i].quarantined = quarantine_count(lane->fs, dir);
    }
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void
carry_out(struct plog_io_lane *lane, size_t i, size_t last_sync)
{
    enum disk_op_kind kind = lane->ops[i].kind;
    if (kind == DISK_WRITE) {
        queue_write(lane, i);
        return;
    }
    if (kind == DISK_SYNC && i < last_sync) {
        return; /* the last one covers it */
    }
    flush(lane);
    if (kind != DISK_CLOSE) {
        finish_closes(lane);
    }
    if (refuse_if_broken(lane, &lane->dones[i])) {
        return;
    }
    switch (kind) {
    case DISK_OPEN:
        carry_out_open(lane, i);
        break;
    case DISK_ROLL:
        carry_out_roll(lane, i);
        break;
    case DISK_SYNC:
        carry_out_sync(lane, i);
        break;
    case DISK_CLOSE:
        carry_out_close(lane, i);
        break;
    case DISK_DELETE:
        carry_out_delete(lane, i);
        break;
    case DISK_QUARANTINE:
        carry_out_quarantine(lane, i);
        break;
    case DISK_REMOVE:
        carry_out_remove(lane, i);
        break;
    case DISK_SPACE:
        carry_out_space(lane, i);
        break;
    case DISK_WRITE:
    case DISK_READ:
    case DISK_FIND_TIME:
        DMQ_UNREACHABLE(); /* written above, or a reader's */
    }
}

static size_t
begin_run(struct plog_io_lane *lane, struct disk_op *ops, size_t count, struct disk_done *dones)
{
    size_t last_sync = 0;
    if (lane->next_capacity < count) {
        free(lane->next);
        lane->next = malloc(count * sizeof(*lane->next));
        DMQ_ASSERT(lane->next != NULL);
        lane->next_capacity = count;
    }
    for (size_t i = 0; i < count; i++) {
        dones[i] = (struct disk_done){.kind = ops[i].kind,
                                      .log = ops[i].log,
                                      .generation = ops[i].generation,
                                      .id = ops[i].id,
                                      .quarantined = -1};
        last_sync = ops[i].kind == DISK_SYNC ? i : last_sync;
    }
    lane->ops = ops;
    lane->dones = dones;
    return last_sync;
}

void
plog_io_exec(struct plog_io_lane *lane, struct disk_op *ops, size_t count, struct disk_done *dones)
{
    size_t last_sync = begin_run(lane, ops, count, dones);
    for (size_t i = 0; i < count; i++) {
        carry_out(lane, i, last_sync);
    }
    flush(lane);
    finish_closes(lane);
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == DISK_SYNC && i < last_sync && lane->broken.code != DMQ_OK) {
            refuse_if_broken(lane, &dones[i]);
        }
        disk_op_deinit(&ops[i]);
    }
}
