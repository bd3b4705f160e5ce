/* Names of a log's files, and what both recovery and the lane do with them. */
#ifndef BROKER_LOG_LOG_FILES_H
#define BROKER_LOG_LOG_FILES_H

#include "broker/log/log_index.h"
#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"

#define LOG_DIR_SIZE 512  /* of a folder's path, terminated */
#define LOG_PATH_SIZE 560 /* of a file's path, terminated */

#define LOG_SUFFIX ".log"
#define INDEX_SUFFIX ".index"
#define TIME_SUFFIX ".timeindex"

/* "<dir>/<base, 20 digits><suffix>"; returns path. */
char *log_path(char path[LOG_PATH_SIZE], const char *dir, int64_t base, const char *suffix);

/* "<dir>/<name>"; returns path. */
char *log_join(char path[LOG_PATH_SIZE], const char *dir, const char *name);

/* The folder that path lies in; returns parent. */
char *log_parent(char parent[LOG_DIR_SIZE], const char *path);

/* True if name is a segment's .log, and its base offset. */
bool log_name_parse(const char *name, int64_t *ret_base);

/* An errno value in words, or "error <number>" in room; returns the words. */
#define LOG_ERRNO_SIZE 24
const char *log_errno(int error, char room[LOG_ERRNO_SIZE]);

/* A failed call: DMQ_ERR_DISK_FULL or DMQ_ERR_IO, with a sentence. */
dmq_err log_failed(struct err_msg *msg, const char *what, const char *path, int error);

/* The files of one segment. Zero is none open. */
struct segment_files {
    struct fs_file *log;
    struct fs_file *index;
    struct fs_file *times;
};

/* Opens all three for writing, making those that are missing. On failure none is open. */
dmq_err segment_open(struct fs *fs, const char *dir, int64_t base, struct segment_files *ret_files,
                     struct err_msg *msg);
void segment_close(struct fs *fs, struct segment_files *files);

/* Closes those that are open and syncs nothing; unlinks all three. */
dmq_err segment_unlink(struct fs *fs, const char *dir, int64_t base, struct err_msg *msg);

/* Unlinks the segments below base, oldest first, and what an earlier try left of such. Their space
 * is free at once, though a reader may still have them open. Nothing is synced: names that come
 * back after a crash are removed by recovery, which knows the log start. */
dmq_err segments_remove_below(struct fs *fs, const char *dir, int64_t base, struct err_msg *msg);

/* Frees a file's space at once, and removes its name. */
int log_unlink(struct fs *fs, const char *path);

/* Opens a file for reading; *ret_file is NULL if it does not exist. */
dmq_err log_open_existing(struct fs *fs, const char *path, struct fs_file **ret_file,
                          uint64_t *ret_size, struct err_msg *msg);

#endif
