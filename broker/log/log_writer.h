/* The files of one open log, as its lane writes them: the newest segment, and those before it that
 * are not synced yet.
 *
 * Space is made ahead of the batches, in steps that follow the write rate, because an fdatasync
 * that must commit a new file size or new extents costs more than one that overwrites. FORMAT.md
 * has the figures. */
#ifndef BROKER_LOG_LOG_WRITER_H
#define BROKER_LOG_LOG_WRITER_H

#include "broker/log/log_files.h"
#include "broker/log/plog_io.h"
#include "broker/log/recovered.h"

#define WRITER_MAX_PARTS 1000 /* of one write */

struct log_writer {
    struct fs *fs;
    struct plog_io_counts *counts;
    char dir[LOG_DIR_SIZE];
    int64_t segment_bytes;
    struct segment_files files; /* of the newest segment */
    int64_t base;
    uint64_t pos;  /* end of its batches */
    uint64_t made; /* end of its file: zeroes from pos on */
    uint64_t index_pos;
    uint64_t times_pos;
    int64_t max_timestamp; /* of the newest segment; as in struct index_builder */
    int64_t max_timestamp_offset;
    int64_t time_indexed;
    uint64_t since_sync; /* bytes of batches written */
    uint64_t sync_bytes; /* of them between two SYNCs, smoothed */
    bool dirty;          /* the newest segment's .log has bytes that are not synced */
    bool indexes_dirty;  /* and so may its indexes: they are only synced once it is complete */
    bool ended;          /* its files end exactly: nothing more is written */
    bool names_dirty;    /* the folder has names that are not synced */
    bool chain_dirty;    /* the folder's own name may not be synced, nor that of its parent */
    bool failed;         /* the disk was full: nothing is written until that is asked for anew */
    struct segment_files *rolled; /* not synced yet, oldest first */
    size_t rolled_count;
    size_t rolled_capacity;
};

/* Opens the files of what was recovered. */
dmq_err log_writer_open(struct log_writer *writer, struct fs *fs, struct plog_io_counts *counts,
                        const struct log_open *open, const struct log_recovered *recovered,
                        struct err_msg *msg);

/* Closes the files; nothing is written. */
void log_writer_deinit(struct log_writer *writer);

/* Writes batches at the end, in one call. On DMQ_ERR_DISK_FULL none of them is in the file. parts
 * has room for WRITER_MAX_PARTS + WRITER_SPARE_PARTS; count <= WRITER_MAX_PARTS. */
#define WRITER_SPARE_PARTS 8
dmq_err log_writer_append(struct log_writer *writer, struct bytes *parts, size_t count,
                          struct err_msg *msg);

/* Adds entries to the two indexes. A full disk is no error here: indexes may have gaps. */
dmq_err log_writer_index(struct log_writer *writer, struct bytes index, struct bytes times,
                         struct err_msg *msg);

/* The newest segment ends, the next begins at base. */
dmq_err log_writer_roll(struct log_writer *writer, int64_t base, struct err_msg *msg);

bool log_writer_needs_sync(const struct log_writer *writer);

/* Syncs its files and its folder; not the folders above. */
dmq_err log_writer_sync(struct log_writer *writer, struct err_msg *msg);

/* The same in three steps, so that those of many logs are done together: what of the newest segment
 * is to be synced (up to WRITER_MAX_SYNCS; how many), and what came of it. log_writer_sync is still
 * due afterwards: for the segments before. */
#define WRITER_MAX_SYNCS 4
size_t log_writer_list_syncs(const struct log_writer *writer, struct fs_sync *ret_syncs);
dmq_err log_writer_take_syncs(struct log_writer *writer, const struct fs_sync *syncs, size_t count,
                              struct err_msg *msg);

/* Ends the newest segment's files exactly. What is synced from now on are its indexes, too. */
dmq_err log_writer_end(struct log_writer *writer, struct err_msg *msg);

#endif
