/* What OPEN found in a log's folder: made by recovery.c on the storage worker, taken over by
 * plog.c. */
#ifndef BROKER_LOG_RECOVERED_H
#define BROKER_LOG_RECOVERED_H

#include "broker/log/disk_op.h"
#include "broker/log/epochs.h"
#include "broker/log/log_index.h"
#include "broker/log/producer_state.h"

struct log_segment {
    int64_t base;          /* offset of its first record */
    uint64_t size;         /* bytes of batches */
    int64_t max_timestamp; /* -1: none */
    int64_t written_ms;    /* when it was last written to, since 1970; -1: not known yet */
};

struct log_recovered {
    uint32_t generation;          /* of the operation */
    struct buf *dir;              /* path of the log's folder, terminated */
    struct log_segment *segments; /* by base; the last one is written to */
    size_t segment_count;         /* >= 1 */
    size_t first_unsynced; /* this segment and those after it may hold bytes that are not durable */
    int64_t end;
    int64_t
        damaged_from; /* records from here on cannot be read, nothing may be written; -1: sound */
    struct log_mark mark;       /* as it was handed in; without one: the log start */
    struct index_builder index; /* of the last segment */
    struct epochs epochs;
    struct producers *producers; /* as of end */
    int64_t snapshot_offset;     /* of the producer snapshot that was handed in; -1: none */

    /* What was found and done, for people. */
    bool created;
    bool clean;          /* nothing had to be looked at */
    uint64_t cut_bytes;  /* of a torn tail, removed */
    uint64_t read_bytes; /* of segments */
    uint32_t rebuilt_indexes;
};

void log_recovered_free(struct log_recovered *recovered);

#endif
