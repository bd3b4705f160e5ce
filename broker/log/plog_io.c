/* A run of operations is carried out in its order, except that WRITEs wait until something comes
 * that must see them: another kind of operation, or the end of the run. Those of one log that then
 * lie together go to the disk in one call. Of several SYNCs in a run only the last is carried out:
 * all completions come back together, at the end of the run.
 *
 * The first operation on the disk that fails, other than for lack of space, ends the lane. */
#include "broker/log/plog_io.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/log/plog_io_internal.h"
#include "broker/log/quarantine.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/utf8.h"

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

struct open_log *
plog_io_find(struct plog_io_lane *lane, uint32_t number)
{
    struct open_log *log;
    HASH_FIND(hh, lane->logs, &number, sizeof(number), log);
    return log;
}

void
plog_io_note_unsynced(struct plog_io_lane *lane, struct open_log *log)
{
    if (!list_linked(&log->sync_link)) {
        list_append(&lane->unsynced, &log->sync_link);
    }
}

void
plog_io_forget(struct plog_io_lane *lane, struct open_log *log)
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
        plog_io_forget(lane, lane->logs);
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

void
plog_io_set_error(struct disk_done *done, dmq_err err, const char *text)
{
    done->err = err;
    snprintf(done->text, sizeof(done->text), "%.*s", (int)sizeof(done->text) - 1, text);
    utf8_repair(done->text); /* it may have been cut within a character */
}

void
plog_io_conclude(struct plog_io_lane *lane, struct disk_done *done, dmq_err err,
                 const struct err_msg *msg)
{
    if (err == DMQ_OK) {
        return;
    }
    plog_io_set_error(done, err, msg->text);
    if (err == DMQ_ERR_IO && lane->broken.code == DMQ_OK) {
        lane->broken = *msg;
    }
}

void
plog_io_give_back(struct plog_io_lane *lane, size_t i)
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

bool
plog_io_refuse_if_broken(struct plog_io_lane *lane, struct disk_done *done)
{
    if (lane->broken.code == DMQ_OK) {
        return false;
    }
    plog_io_set_error(done, DMQ_ERR_IO, lane->broken.text);
    return true;
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
        plog_io_set_error(&lane->dones[i], DMQ_ERR_IO, text);
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
        plog_io_write(lane, i);
        return;
    }
    if (kind == DISK_SYNC && i < last_sync) {
        return; /* the last one covers it */
    }
    plog_io_flush(lane);
    if (kind != DISK_CLOSE) {
        plog_io_finish_closes(lane);
    }
    if (plog_io_refuse_if_broken(lane, &lane->dones[i])) {
        return;
    }
    switch (kind) {
    case DISK_OPEN:
        plog_io_open(lane, i);
        break;
    case DISK_ROLL:
        plog_io_roll(lane, i);
        break;
    case DISK_SYNC:
        plog_io_sync(lane, i);
        break;
    case DISK_CLOSE:
        plog_io_close(lane, i);
        break;
    case DISK_DELETE:
        plog_io_delete(lane, i);
        break;
    case DISK_QUARANTINE:
        plog_io_quarantine(lane, i);
        break;
    case DISK_REMOVE:
        plog_io_remove(lane, i);
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
    plog_io_flush(lane);
    plog_io_finish_closes(lane);
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == DISK_SYNC && i < last_sync && lane->broken.code != DMQ_OK) {
            plog_io_refuse_if_broken(lane, &dones[i]);
        }
        disk_op_deinit(&ops[i]);
    }
}
