/* Operations on one log: opened, rolled, and what takes files or the folder away. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/plog_io_internal.h"
#include "broker/log/quarantine.h"
#include "broker/log/recovery.h"
#include "libdmq/base/assert.h"

void
plog_io_open(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct disk_done *done = &lane->dones[i];
    struct open_log *log = plog_io_find(lane, op->log);
    struct log_recovered *recovered = NULL;
    struct err_msg msg;
    if (log != NULL) {
        plog_io_forget(lane, log);
    }
    dmq_err err = log_recover(lane->fs, op->u.open, &recovered, &msg);
    plog_io_conclude(lane, done, err, &msg);
    done->u.recovered = recovered;
    if (recovered == NULL) {
        if (err == DMQ_ERR_DISK_FULL) {
            plog_io_give_back(lane, i);
        }
        return;
    }
    recovered->generation = op->generation;
    log = calloc(1, sizeof(*log));
    DMQ_ASSERT(log != NULL);
    log->number = op->log;
    log->first_pending = NO_OP;
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
        plog_io_conclude(lane, done, err, &msg);
        return;
    }
    HASH_ADD(hh, lane->logs, number, sizeof(log->number), log);
    if (!log->damaged && log_writer_needs_sync(&log->writer)) {
        plog_io_note_unsynced(lane, log);
    }
}

void
plog_io_roll(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct open_log *log = plog_io_find(lane, op->log);
    struct err_msg msg;
    DMQ_ASSERT(log != NULL);
    if (log->damaged) {
        plog_io_set_error(&lane->dones[i], DMQ_ERR_DAMAGED,
                          "the log is damaged: nothing is written to it");
        return;
    }
    log->writer.failed = log->writer.failed && !op->resume;
    if (log->writer.failed) {
        plog_io_set_error(&lane->dones[i], DMQ_ERR_DISK_FULL,
                          "the disk was full before the log could roll");
        plog_io_give_back(lane, i);
        return;
    }
    DMQ_ASSERT(log->writer.pos == op->u.roll.old_size);
    plog_io_note_unsynced(lane, log);
    dmq_err err = log_writer_roll(&log->writer, op->u.roll.segment, &msg);
    plog_io_conclude(lane, &lane->dones[i], err, &msg);
    if (err == DMQ_ERR_DISK_FULL) {
        plog_io_give_back(lane, i);
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

void
plog_io_delete(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct open_log *log = plog_io_find(lane, op->log);
    char dir[LOG_DIR_SIZE];
    struct err_msg msg;
    DMQ_ASSERT(log != NULL || op->u.open != NULL);
    memcpy(dir, log != NULL ? log->writer.dir : op->u.open->dir, sizeof(dir));
    if (log != NULL) {
        plog_io_forget(lane, log);
    }
    int error = remove_folder(lane->fs, dir);
    if (error != 0) {
        plog_io_conclude(lane, &lane->dones[i], log_failed(&msg, "removing", dir, error), &msg);
    }
}

void
plog_io_quarantine(struct plog_io_lane *lane, size_t i)
{
    const struct log_open *open = lane->ops[i].u.open;
    struct open_log *log = plog_io_find(lane, lane->ops[i].log);
    struct err_msg msg;
    if (log != NULL) {
        plog_io_forget(lane, log);
    }
    plog_io_conclude(lane, &lane->dones[i], quarantine_move(lane->fs, open->dir, open->aside, &msg),
                     &msg);
}

void
plog_io_remove(struct plog_io_lane *lane, size_t i)
{
    const struct disk_op *op = &lane->ops[i];
    struct open_log *log = plog_io_find(lane, op->log);
    struct err_msg msg;
    if (log != NULL && !log->damaged) {
        DMQ_ASSERT(op->u.remove.start <= log->writer.base);
        dmq_err err = segments_remove_below(lane->fs, log->writer.dir, op->u.remove.start, &msg);
        plog_io_conclude(lane, &lane->dones[i], err, &msg);
    }
}
