/* Index files: search, compare, replace. A missing file is an empty index; an entry whose checksum
 * is wrong is passed over, which costs a longer scan and never a wrong answer. */
#ifndef BROKER_LOG_INDEX_FILE_H
#define BROKER_LOG_INDEX_FILE_H

#include "broker/log/log_index.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"

/* The last entry with offset <= offset; without one (base, 0), where every segment begins. */
dmq_err index_file_find(struct fs *fs, struct fs_file *file, int64_t base, int64_t offset,
                        struct index_entry *ret_entry, struct err_msg *msg);

/* The last entry with timestamp < timestamp; without one (-1, base). */
dmq_err time_file_find(struct fs *fs, struct fs_file *file, int64_t base, int64_t timestamp,
                       struct time_entry *ret_entry, struct err_msg *msg);

/* The state of the builder, made for its base, of a segment of size bytes that was ended, and its
 * last offset entry, from its two files in dir. resume->good is false where an index is missing or
 * its end does not hold up. */
struct index_resume {
    struct index_builder *builder;
    struct index_entry last;
    bool good;
};
dmq_err index_files_resume(struct fs *fs, const char *dir, uint64_t size,
                           struct index_resume *resume, struct err_msg *msg);

/* Whether a file holds exactly these bytes. */
dmq_err index_file_equals(struct fs *fs, const char *path, struct bytes bytes, bool *ret_equal,
                          struct err_msg *msg);

/* Makes the file hold exactly these bytes. It is not synced: it can be rebuilt. */
dmq_err index_file_replace(struct fs *fs, const char *path, struct bytes bytes,
                           struct err_msg *msg);

#endif
