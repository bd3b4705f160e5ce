/* What the broker's core asks of a data folder, and what comes back: the only things that plog.c
 * (core thread, memory only) and plog_io.c (storage worker, readers) share.
 *
 * Order holds inside a lane. OPEN, WRITE, ROLL, SYNC, CLOSE, DELETE, QUARANTINE, REMOVE and SPACE
 * go down the folder's one write lane, executed by its storage worker in the order in which they
 * were asked for. READ and FIND_TIME go to reader threads and may overtake anything. Every
 * operation comes back exactly once, as a struct disk_done with the same id, log and generation.
 * Ownership of what an operation points to goes with it, and that of what its completion points to
 * comes back. */
#ifndef BROKER_LOG_DISK_OP_H
#define BROKER_LOG_DISK_OP_H

#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"

#define DISK_DIR_SIZE 512 /* of a log's folder, terminated */

enum disk_op_kind {
    DISK_OPEN, /* recover the log of a partition, or create it; its first operation. Again, of a log
                  that is open: cut it off */
    DISK_WRITE, /* one batch at a position of the newest segment */
    DISK_ROLL,  /* trim the newest segment to its size and begin one more */
    DISK_SYNC,  /* everything before it in the lane, of all logs, is durable when it comes back */
    DISK_READ,  /* whole batches from an offset */
    DISK_FIND_TIME,  /* the first record at or after a timestamp */
    DISK_CLOSE,      /* trim and sync: clean stop */
    DISK_DELETE,     /* remove the log's folder */
    DISK_QUARANTINE, /* rename the log's folder, durably; one that is missing was renamed before */
    DISK_REMOVE,     /* remove segments that lie below the log start */
    DISK_SPACE       /* how much can still be written, once all before it in the lane is */
};

/* Where a log stood at the end of a SYNC. Below it bad bytes are damage, at or above it a torn
 * tail. */
#define LOG_POS_UNKNOWN UINT64_MAX /* it was lowered to an offset: a walk finds where that is */
struct log_mark {
    int64_t segment; /* base offset */
    uint64_t pos;    /* in that segment; or LOG_POS_UNKNOWN */
    int64_t offset;  /* log end */
    int32_t epoch;   /* of the last batch; -1: none */
};

/* What the core knows of a log from the key-value store, and where it lies. */
struct log_open {
    char dir[DISK_DIR_SIZE]; /* <data>/<topic id>/<partition> */
    char label[320];         /* "orders-0": for people and for the name file */
    char aside[64];          /* QUARANTINE: the folder's new name, beside the old one */
    int64_t segment_bytes;
    int32_t index_interval_bytes;
    bool cuts;     /* truncation: batches from `cut` on are removed, as if they were a torn tail */
    int64_t cut;   /* not below the mark */
    bool clean;    /* mark is the exact end, checkpointed by a clean stop */
    bool marked;   /* mark is valid */
    int64_t start; /* log start: segments below it are removed, if that was not finished */
    struct log_mark mark;
    struct buf *epochs;    /* row of leader-epoch entries; NULL: none */
    struct buf *producers; /* row of the newest producer snapshot; NULL: none */
};

struct log_recovered; /* recovered.h */

struct disk_op {
    enum disk_op_kind kind;
    uint32_t log;        /* the core's number of the log; 0 for SYNC */
    uint32_t generation; /* of the log's content: a completion of an older one is dropped */
    uint64_t id;
    bool resume; /* WRITE, ROLL: the first of those that came back because the disk was full */
    union {
        /* OPEN, QUARANTINE; heap, owned. DELETE of a log that is not open: only dir counts; else
         * NULL. */
        struct log_open *open;
        struct {
            struct buf *buf; /* owned reference; the batch is buf->data[from .. from+size) */
            size_t from;
            size_t size;
            uint64_t pos;          /* in the newest segment */
            int64_t offset;        /* of the first record */
            int64_t segment_bytes; /* at which the log rolls: no space is made beyond it */
            bool indexed;          /* add (offset, pos) to the offset index */
            bool time_indexed;     /* add (max_timestamp, max_timestamp_offset) to the time index */
            int64_t max_timestamp;
            int64_t max_timestamp_offset; /* base offset of the batch that holds it */
        } write;
        struct {
            int64_t segment; /* base offset of the new one */
            uint64_t old_size;
        } roll;
        struct {
            struct buf *dir; /* owned reference: path of the log's folder, terminated */
            int64_t segment; /* segment that holds offset */
            int64_t offset;
            int64_t limit; /* no batch that ends beyond this offset */
            int32_t epoch; /* all batches below it have this one: their CRC does not cover it */
            uint32_t max_bytes; /* the first batch comes whatever it says */
        } read;
        struct {
            struct buf *dir; /* owned reference: path of the log's folder, terminated */
            int64_t segment; /* oldest segment that may hold it */
            int64_t timestamp;
            int64_t limit; /* a record at or beyond this offset does not count */
        } find_time;
        struct {
            int64_t start; /* base offset of the first segment that stays */
        } remove;
        struct {
            struct buf *dir; /* owned reference: path of the data folder, terminated */
            bool counts;     /* count also the folders that were set aside */
        } space;
    } u;
};

struct disk_done {
    enum disk_op_kind kind;
    uint32_t log;
    uint32_t generation;
    uint64_t id;

    /* DMQ_OK, or:
     * DMQ_ERR_DISK_FULL  WRITE, ROLL, OPEN: it was not done, and nothing of it is there; the
     *                    operation comes back in `again`. The log takes no WRITE and no ROLL more
     *                    until the first that came back is asked for anew, with resume.
     * DMQ_ERR_IO         the lane failed: all after it in the lane fails alike, the folder is
     *                    offline. READ, FIND_TIME: only this read failed.
     * DMQ_ERR_DAMAGED    OPEN: bad bytes below the mark, and nothing was changed; recovered is set
     *                    where reads below the damage can go on. READ, FIND_TIME: found on the way.
     * DMQ_ERR_NOMEM      READ, FIND_TIME */
    dmq_err err;
    char text[200];        /* a sentence where err is not 0 */
    int64_t quarantined;   /* SPACE: folders that were set aside; -1: not counted */
    struct disk_op *again; /* DMQ_ERR_DISK_FULL: the operation itself, owned; else NULL */
    union {
        struct log_recovered *recovered; /* OPEN, owned; NULL: the log cannot be used at all */
        struct buf *data;                /* READ, owned: whole batches back to back; NULL: none */
        struct {
            int64_t offset; /* -1: none below the limit */
            int64_t timestamp;
        } found;               /* FIND_TIME */
        struct fs_space space; /* SPACE */
    } u;
};

/* Frees what an operation or a completion owns and was not taken over. */
void disk_op_deinit(struct disk_op *op);
void disk_done_deinit(struct disk_done *done);

#endif
