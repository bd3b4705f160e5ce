/* Shared by the files that carry a lane's operations out.
 *
 *   plog_io.c        a run of operations; their results
 *   plog_io_write.c  WRITE
 *   plog_io_sync.c   SYNC, and CLOSE, which syncs as well
 *   plog_io_logs.c   OPEN, ROLL, DELETE, QUARANTINE, REMOVE
 *
 * What carries out operation i of the run puts its result into lane->dones[i]. */
#ifndef BROKER_LOG_PLOG_IO_INTERNAL_H
#define BROKER_LOG_PLOG_IO_INTERNAL_H

#include "broker/log/log_writer.h"
#include "libdmq/base/list.h"
#include "libdmq/base/map.h"

#define NO_OP SIZE_MAX /* an index of the run that is none */

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

/* ---- plog_io.c ------------------------------------------------------------------------------- */

/* NULL if there is none of that number. */
struct open_log *plog_io_find(struct plog_io_lane *lane, uint32_t number);

/* Closes a log's files and forgets it. */
void plog_io_forget(struct plog_io_lane *lane, struct open_log *log);

/* The next SYNC covers the log. */
void plog_io_note_unsynced(struct plog_io_lane *lane, struct open_log *log);

/* The operation failed, though nothing is wrong with the disk; text is copied, and cut where it
 * is too long. */
void plog_io_set_error(struct disk_done *done, dmq_err err, const char *text);

/* The result of something done to the disk. A failure that is not for lack of space ends the
 * lane. */
void plog_io_conclude(struct plog_io_lane *lane, struct disk_done *done, dmq_err err,
                      const struct err_msg *msg);

/* The operation, which failed for lack of space, goes back to whoever asked for it, to be asked
 * for anew when there is some. */
void plog_io_give_back(struct plog_io_lane *lane, size_t i);

/* True if the lane has ended: the operation has failed. */
bool plog_io_refuse_if_broken(struct plog_io_lane *lane, struct disk_done *done);

/* ---- plog_io_write.c ------------------------------------------------------------------------- */

/* The WRITE waits for the flush. */
void plog_io_write(struct plog_io_lane *lane, size_t i);

/* Carries out the WRITEs that wait, of all logs. */
void plog_io_flush(struct plog_io_lane *lane);

/* ---- plog_io_sync.c -------------------------------------------------------------------------- */

/* SYNC i, for itself and those before it in the run. */
void plog_io_sync(struct plog_io_lane *lane, size_t i);

/* Ends the log's files; its syncs are done with those of the CLOSEs that follow at once
 * (plog_io_finish_closes), for at the end of the process all logs are closed. */
void plog_io_close(struct plog_io_lane *lane, size_t i);
void plog_io_finish_closes(struct plog_io_lane *lane);

/* ---- plog_io_logs.c -------------------------------------------------------------------------- */

void plog_io_open(struct plog_io_lane *lane, size_t i);
void plog_io_roll(struct plog_io_lane *lane, size_t i);
void plog_io_delete(struct plog_io_lane *lane, size_t i);

/* Nothing in the folder is touched. */
void plog_io_quarantine(struct plog_io_lane *lane, size_t i);

/* A log that is not open is gone, or is going. */
void plog_io_remove(struct plog_io_lane *lane, size_t i);

#endif
