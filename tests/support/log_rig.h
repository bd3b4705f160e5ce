/* One log with its lane and a reader, on any fs: what the broker's core does with plog.h, without
 * the rest of it. Every operation is carried out at once unless it is held back. */
#ifndef TESTS_SUPPORT_LOG_RIG_H
#define TESTS_SUPPORT_LOG_RIG_H

#include "broker/log/plog.h"
#include "broker/log/plog_io.h"
#include "broker/log/plog_reader.h"
#include "broker/log/recovered.h"

/* What the core would keep in the store for the log. */
struct log_stored {
    bool clean;
    bool marked;
    int64_t start;
    struct log_mark mark;
    struct buf *epochs;
    struct buf *producers;
};

void log_stored_deinit(struct log_stored *stored);

/* Copies references. */
void log_stored_copy(struct log_stored *to, const struct log_stored *from);

struct log_rig {
    struct fs *fs;
    char dir[512];
    int64_t segment_bytes;
    int32_t index_interval_bytes;
    size_t hot_bytes;
    struct log_stored stored;

    struct plog_io_lane *lane;
    struct plog_reader *reader;
    struct plog *log;
    struct disk_op queue[256]; /* asked for, not carried out */
    size_t queued;
    uint64_t id;
    bool cuts; /* the next OPEN cuts the log */
    int64_t cut;
    uint32_t number;         /* of the log: a new one at each start */
    struct disk_done opened; /* what OPEN said; its recovered is taken */
    bool clean;              /* OPEN found a clean stop */
    uint64_t cut_bytes;
    int64_t damaged_from;
    uint32_t rebuilt_indexes;
    uint64_t rolls; /* asked for */
    dmq_err failed; /* first completion that was not well */
    char why[200];
};

/* Defaults: segments of 4 KiB, index interval 256 bytes. dir's parent's parent must exist. */
void log_rig_init(struct log_rig *rig, struct fs *fs, const char *dir);

/* Forgets log, lane and reader as a dead process does; what is stored stays. */
void log_rig_kill(struct log_rig *rig);
void log_rig_deinit(struct log_rig *rig);

/* OPEN; the result, rig->log is set if it can be used. */
dmq_err log_rig_open(struct log_rig *rig);

/* Cuts the log at an offset between two batches, as the core does for a follower. */
dmq_err log_rig_truncate(struct log_rig *rig, int64_t to);

/* Appends a batch of count records with values of value_size bytes; its base offset, or -1 -
 * sequence verdict if it was refused. */
struct rig_batch {
    int32_t count;
    size_t value_size;
    int32_t leader_epoch;
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    int64_t timestamp; /* of the first record; each next one is one later */
    uint64_t seed;     /* of the values */
    int compression;
};
#define RIG_BATCH                                                                                  \
    (struct rig_batch){.count = 1,                                                                 \
                       .value_size = 20,                                                           \
                       .producer_id = -1,                                                          \
                       .producer_epoch = -1,                                                       \
                       .base_sequence = -1,                                                        \
                       .timestamp = 1000}
int64_t log_rig_append(struct log_rig *rig, const struct rig_batch *batch);

/* The batch alone, encoded. */
struct buf *rig_batch_encode(const struct rig_batch *batch);

/* Appends encoded bytes (a reference is taken, the batch may be copied). */
int64_t log_rig_append_buf(struct log_rig *rig, struct buf *buf, int32_t leader_epoch);

/* Queues a SYNC; carries out all that is queued. */
void log_rig_ask_sync(struct log_rig *rig);
void log_rig_run(struct log_rig *rig);
static inline void
log_rig_sync(struct log_rig *rig)
{
    log_rig_ask_sync(rig);
    log_rig_run(rig);
}

/* Stores mark, epochs and, if there is one, a snapshot, as the core does now and then. */
void log_rig_checkpoint(struct log_rig *rig);

/* CLOSE and a clean checkpoint. */
dmq_err log_rig_close(struct log_rig *rig);

/* All batches from offset on that lie below limit, hot and cold, back to back in out; the result of
 * the first read that failed. */
dmq_err log_rig_read(struct log_rig *rig, int64_t offset, int64_t limit, uint32_t max_bytes,
                     struct outbuf *out);

/* One READ by the reader, whatever is hot. */
dmq_err log_rig_read_cold(struct log_rig *rig, int64_t segment, int64_t offset, int64_t limit,
                          uint32_t max_bytes, struct buf **ret_data);

/* Offset of the first record at or after a timestamp, -1: none, -2: failed. */
int64_t log_rig_find_time(struct log_rig *rig, int64_t timestamp, int64_t limit);

#endif
