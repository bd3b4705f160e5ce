/* Goes through one segment batch by batch, checks that each follows the one before, and makes the
 * indexes that the segment should have. For recovery and for `dmq log verify`. */
#ifndef BROKER_LOG_LOG_WALK_H
#define BROKER_LOG_LOG_WALK_H

#include "broker/log/log_index.h"
#include "broker/log/log_scan.h"
#include "libdmq/base/buf.h"

struct log_walk {
    /* what is wanted */
    int64_t limit; /* no batch may end beyond: the next segment's base; INT64_MAX: none */
    /* Told each sound batch before it counts; refuses it with a sentence. */
    bool (*accept)(void *arg, const struct batch_header *header, struct bytes batch,
                   struct err_msg *msg);
    void *arg;

    /* what was found */
    uint64_t pos; /* after the last sound batch */
    int64_t end;  /* offset after it */
    uint64_t file_size;
    uint64_t read_bytes;
    bool ended; /* the file ends there too; else why says what stands there */
    struct err_msg why;
    struct index_builder builder;
    struct outbuf index; /* what the files should hold */
    struct outbuf times;
};

void log_walk_init(struct log_walk *walk, int64_t base, int32_t interval_bytes);
void log_walk_deinit(struct log_walk *walk);

/* Walks a file that begins with offset base; missing counts as empty. DMQ_OK however it ends; an
 * error if it cannot be read. */
dmq_err log_walk_run(struct log_walk *walk, struct fs *fs, const char *path, struct err_msg *msg);

/* The segment ends here: its time index gets the last entry. */
void log_walk_finish(struct log_walk *walk);

/* Position after the last byte of the file that is not 0, from the walk's end on: what lies between
 * the two is a torn tail, the rest is space made ahead. */
dmq_err log_walk_torn_end(const struct log_walk *walk, struct fs *fs, const char *path,
                          uint64_t *ret_pos, struct err_msg *msg);

#endif
