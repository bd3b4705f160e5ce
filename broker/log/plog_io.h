/* A partition's log, the half of the storage worker: carries out what plog.c decided, through fs.h.
 * A lane is one data folder's order of writes; plog_reader.h is for the threads that read.
 *
 * A SYNC makes durable all that was written before it in its lane, of every log: bytes by
 * fdatasync, new names by syncing their folders up to the data folder. Of a segment that is still
 * written to, the indexes are not synced: they can be rebuilt. */
#ifndef BROKER_LOG_PLOG_IO_H
#define BROKER_LOG_PLOG_IO_H

#include "broker/log/disk_op.h"
#include "libdmq/base/fs.h"

struct plog_io_lane;

struct plog_io_lane *plog_io_new(struct fs *fs);

/* Closes the files of all logs; nothing is written or synced. */
void plog_io_free(struct plog_io_lane *lane);

/* Carries out a run of operations in their order and fills dones[0..count), one for each, in the
 * same order. Takes over what the operations own. The longer the run, the more is done at once:
 * WRITEs of one log become one call, and all SYNCs of a run are one. */
void plog_io_exec(struct plog_io_lane *lane, struct disk_op *ops, size_t count,
                  struct disk_done *dones);

/* What was done so far. */
struct plog_io_counts {
    uint64_t writes; /* calls */
    uint64_t batches;
    uint64_t bytes;        /* of batches */
    uint64_t index_writes; /* calls */
    uint64_t syncs;        /* that did something */
    uint64_t file_syncs;
    uint64_t folder_syncs;
};
struct plog_io_counts plog_io_counts(const struct plog_io_lane *lane);

#endif
