#include <stdlib.h>
#include <string.h>

#include "broker/log/plog_io_internal.h"
#include "libdmq/base/assert.h"

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

void
plog_io_sync(struct plog_io_lane *lane, size_t i)
{
    struct err_msg msg;
    dmq_err err = sync_all(lane, &msg);
    for (size_t k = 0; k <= i; k++) {
        if (lane->ops[k].kind == DISK_SYNC) {
            plog_io_conclude(lane, &lane->dones[k], err, &msg);
        }
    }
}

/* ---- CLOSE ----------------------------------------------------------------------------------- */

void
plog_io_close(struct plog_io_lane *lane, size_t i)
{
    struct open_log *log = plog_io_find(lane, lane->ops[i].log);
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
        plog_io_conclude(lane, &lane->dones[i], err, &msg);
        plog_io_forget(lane, log);
        return;
    }
    log->close_op = i;
    list_remove(&log->sync_link);
    list_append(&lane->closing, &log->sync_link);
}

/* A log whose sync failed takes none of the others with it that were synced in the same call: each
 * has its own result. */
void
plog_io_finish_closes(struct plog_io_lane *lane)
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
        plog_io_conclude(lane, &lane->dones[log->close_op], err, &msg);
        plog_io_forget(lane, log);
    }
}
