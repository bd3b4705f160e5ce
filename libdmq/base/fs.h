/* The seam to the file system. The daemons plug in POSIX (libdmq/os), tests and the simulator a
 * disk that loses, tears and reorders what was not synced (tests/sim).
 *
 * Functions return 0 or an errno value. Paths are absolute or relative to the process; '/'
 * separates. A new, renamed or removed name is durable only after sync_dir of its folder. One
 * handle is used by one thread at a time. */
#ifndef DMQ_BASE_FS_H
#define DMQ_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"

struct fs;
struct fs_file;

enum fs_flags {
    FS_READ = 1,
    FS_WRITE = 2,
    FS_CREATE = 4 /* make the file if it is missing */
};

/* One thing to sync: a file's data, or the names in a folder. */
struct fs_sync {
    struct fs_file *file; /* NULL: the folder */
    const char *path;     /* of the folder */
    int error;            /* what it came to */
};

/* Free is an estimate: others write too, and files are made of blocks. */
struct fs_space {
    uint64_t free; /* bytes that can still be written */
    uint64_t total;
};

struct fs_ops {
    int (*open)(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file);
    void (*close)(struct fs_file *file);
    /* Reads up to size bytes; fewer only at the end of the file. */
    int (*pread)(struct fs_file *file, void *data, size_t size, uint64_t pos, size_t *ret_size);
    /* Writes all parts one after another from pos, or fails. count <= 1024. */
    int (*pwritev)(struct fs_file *file, const struct bytes *parts, size_t count, uint64_t pos);
    int (*datasync)(struct fs_file *file);
    int (*size)(struct fs_file *file, uint64_t *ret_size);
    int (*truncate)(struct fs_file *file, uint64_t size);
    /* Reserves space from pos; the file's size becomes at least pos + size, new bytes read as 0.
     * May do nothing where the file system cannot (returns 0). */
    int (*allocate)(struct fs_file *file, uint64_t pos, uint64_t size);
    int (*mkdir)(struct fs *fs, const char *path); /* EEXIST is an error like others */
    int (*sync_dir)(struct fs *fs, const char *path);
    /* datasync or sync_dir of each, in no order and perhaps several at a time: the disk does many
     * together in little more than the time of one. Each has its own result. */
    void (*sync_many)(struct fs *fs, struct fs_sync *syncs, size_t count);
    int (*rename)(struct fs *fs, const char *from, const char *to);
    int (*unlink)(struct fs *fs, const char *path);
    int (*rmdir)(struct fs *fs, const char *path);
    /* The file system that holds the path. */
    int (*space)(struct fs *fs, const char *path, struct fs_space *ret_space);
    /* When a file's contents last changed, in ms since 1970. */
    int (*modified)(struct fs *fs, const char *path, int64_t *ret_ms);
    /* Calls found for each name in the folder, in no order, without "." and "..". found returns 0
     * or an errno value, which ends the walk and is returned. */
    int (*list)(struct fs *fs, const char *path, int (*found)(void *arg, const char *name),
                void *arg);
};

struct fs {
    const struct fs_ops *ops;
};

#endif
