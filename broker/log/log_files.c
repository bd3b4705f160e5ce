#include "broker/log/log_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

#define BASE_DIGITS 20

char *
log_path(char path[LOG_PATH_SIZE], const char *dir, int64_t base, const char *suffix)
{
    int size = snprintf(path, LOG_PATH_SIZE, "%s/%020" PRId64 "%s", dir, base, suffix);
    DMQ_ASSERT(size > 0 && size < LOG_PATH_SIZE && base >= 0);
    return path;
}

char *
log_join(char path[LOG_PATH_SIZE], const char *dir, const char *name)
{
    int size = snprintf(path, LOG_PATH_SIZE, "%s/%s", dir, name);
    DMQ_ASSERT(size > 0 && size < LOG_PATH_SIZE);
    return path;
}

char *
log_parent(char parent[LOG_DIR_SIZE], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);
    DMQ_ASSERT(size < LOG_DIR_SIZE);
    if (size == 0) { /* "name" lies in ".", "/name" in "/" */
        snprintf(parent, LOG_DIR_SIZE, "%s", slash == NULL ? "." : "/");
        return parent;
    }
    memcpy(parent, path, size);
    parent[size] = '\0';
    return parent;
}

/* The base offset that a file's name begins with. */
static bool
parse_base(const char *name, int64_t *ret_base)
{
    int64_t base = 0;
    for (size_t i = 0; i < BASE_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(base, 10, &base) ||
            __builtin_add_overflow(base, name[i] - '0', &base)) {
            return false;
        }
    }
    *ret_base = base;
    return true;
}

bool
log_name_parse(const char *name, int64_t *ret_base)
{
    int64_t base;
    if (!parse_base(name, &base) || strcmp(name + BASE_DIGITS, LOG_SUFFIX) != 0) {
        return false;
    }
    *ret_base = base;
    return true;
}

const char *
log_errno(int error, char room[LOG_ERRNO_SIZE])
{
    switch (error) {
    case ENOENT:
        return "it does not exist";
    case EACCES:
    case EPERM:
        return "permission is denied";
    case ENOTDIR:
        return "it is not a folder";
    case EISDIR:
        return "it is a folder";
    case EIO:
        return "the disk failed";
    case EMFILE:
    case ENFILE:
        return "too many files are open";
    case EROFS:
        return "the file system is read-only";
    default:
        snprintf(room, LOG_ERRNO_SIZE, "error %d", error);
        return room;
    }
}

dmq_err
log_failed(struct err_msg *msg, const char *what, const char *path, int error)
{
    char room[LOG_ERRNO_SIZE];
    if (error == ENOSPC || error == EDQUOT) {
        return err_set(msg, DMQ_ERR_DISK_FULL, "disk is full: %s %s", what, path);
    }
    return err_set(msg, DMQ_ERR_IO, "%s %s failed: %s", what, path, log_errno(error, room));
}

dmq_err
segment_open(struct fs *fs, const char *dir, int64_t base, struct segment_files *ret_files,
             struct err_msg *msg)
{
    static const char *const suffixes[] = {LOG_SUFFIX, INDEX_SUFFIX, TIME_SUFFIX};
    struct segment_files files = {NULL, NULL, NULL};
    struct fs_file **const slots[] = {&files.log, &files.index, &files.times};
    char path[LOG_PATH_SIZE];
    for (size_t i = 0; i < 3; i++) {
        log_path(path, dir, base, suffixes[i]);
        int error = fs->ops->open(fs, path, FS_READ | FS_WRITE | FS_CREATE, slots[i]);
        if (error != 0) {
            segment_close(fs, &files);
            return log_failed(msg, "opening", path, error);
        }
    }
    *ret_files = files;
    return DMQ_OK;
}

void
segment_close(struct fs *fs, struct segment_files *files)
{
    struct fs_file *const slots[] = {files->log, files->index, files->times};
    for (size_t i = 0; i < 3; i++) {
        if (slots[i] != NULL) {
            fs->ops->close(slots[i]);
        }
    }
    *files = (struct segment_files){NULL, NULL, NULL};
}

dmq_err
segment_unlink(struct fs *fs, const char *dir, int64_t base, struct err_msg *msg)
{
    static const char *const suffixes[] = {INDEX_SUFFIX, TIME_SUFFIX, LOG_SUFFIX};
    char path[LOG_PATH_SIZE];
    for (size_t i = 0; i < 3; i++) {
        int error = fs->ops->unlink(fs, log_path(path, dir, base, suffixes[i]));
        if (error != 0 && error != ENOENT) {
            return log_failed(msg, "removing", path, error);
        }
    }
    return DMQ_OK;
}

int
log_unlink(struct fs *fs, const char *path)
{
    struct fs_file *file = NULL;
    if (fs->ops->open(fs, path, FS_READ | FS_WRITE, &file) == 0) {
        fs->ops->truncate(file, 0);
        fs->ops->close(file);
    }
    return fs->ops->unlink(fs, path);
}

struct old_files {
    int64_t below;
    int64_t *bases; /* of files, in no order, some twice */
    size_t count;
    size_t capacity;
};

static int
note_old(void *arg, const char *name)
{
    struct old_files *old = arg;
    int64_t base;
    if (!parse_base(name, &base) || base >= old->below) {
        return 0; /* the name file, and what stays */
    }
    if (old->count == old->capacity) {
        old->capacity = old->capacity == 0 ? 16 : old->capacity * 2;
        old->bases = realloc(old->bases, old->capacity * sizeof(*old->bases));
        DMQ_ASSERT(old->bases != NULL);
    }
    old->bases[old->count++] = base;
    return 0;
}

static int
compare_bases(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

dmq_err
segments_remove_below(struct fs *fs, const char *dir, int64_t base, struct err_msg *msg)
{
    static const char *const suffixes[] = {INDEX_SUFFIX, TIME_SUFFIX, LOG_SUFFIX};
    struct old_files old = {.below = base};
    char path[LOG_PATH_SIZE];
    int error = fs->ops->list(fs, dir, note_old, &old);
    dmq_err err = error == 0 ? DMQ_OK : log_failed(msg, "listing", dir, error);
    if (old.count > 0) {
        qsort(old.bases, old.count, sizeof(*old.bases), compare_bases);
    }
    for (size_t i = 0; err == DMQ_OK && i < old.count * 3; i++) {
        error = log_unlink(fs, log_path(path, dir, old.bases[i / 3], suffixes[i % 3]));
        if (error != 0 && error != ENOENT) {
            err = log_failed(msg, "removing", path, error);
        }
    }
    free(old.bases);
    return err;
}

dmq_err
log_open_existing(struct fs *fs, const char *path, struct fs_file **ret_file, uint64_t *ret_size,
                  struct err_msg *msg)
{
    struct fs_file *file = NULL;
    int error = fs->ops->open(fs, path, FS_READ, &file);
    if (error == ENOENT) {
        *ret_file = NULL;
        *ret_size = 0;
        return DMQ_OK;
    }
    if (error == 0) {
        error = fs->ops->size(file, ret_size);
    }
    if (error != 0) {
        if (file != NULL) {
            fs->ops->close(file);
        }
        if (error == EMFILE || error == ENFILE) { /* says nothing of the disk, and passes */
            return err_set(msg, DMQ_ERR_THROTTLED, "opening %s failed: too many files are open",
                           path);
        }
        return log_failed(msg, "opening", path, error);
    }
    *ret_file = file;
    return DMQ_OK;
}
