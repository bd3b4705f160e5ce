/* Every call is repeated after EINTR and after a short transfer, so that its caller sees all of it
 * or an error. A failed fdatasync is never repeated: the kernel has marked the pages clean, and a
 * second call would lie. */
#include "libdmq/os/fs_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libdmq/base/assert.h"
#include "libdmq/os/crew.h"

struct fs_file {
    int fd;
};

#define MAX_PARTS 1024 /* of one pwritev: IOV_MAX on Linux, and what fs.h promises */

/* In one call so much at most: Linux transfers no more than this, and a size must fit ssize_t. */
#define MAX_TRANSFER ((size_t)0x7ffff000)

static int
open_retry(const char *path, int flags)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, 0640);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static int
posix_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file)
{
    (void)fs;
    int access = (flags & FS_WRITE) == 0 ? O_RDONLY : O_RDWR;
    int fd = open_retry(path, access | ((flags & FS_CREATE) != 0 ? O_CREAT : 0));
    if (fd < 0) {
        return errno;
    }
    struct fs_file *file = malloc(sizeof(*file));
    if (file == NULL) {
        close(fd);
        return ENOMEM;
    }
    file->fd = fd;
    *ret_file = file;
    return 0;
}

static void
posix_close(struct fs_file *file)
{
    if (file != NULL) {
        close(file->fd); /* nothing rests on its result: what must be durable was synced */
        free(file);
    }
}

static int
posix_pread(struct fs_file *file, void *data, size_t size, uint64_t pos, size_t *ret_size)
{
    size_t done = 0;
    while (done < size) {
        size_t part = size - done < MAX_TRANSFER ? size - done : MAX_TRANSFER;
        ssize_t n = pread(file->fd, (uint8_t *)data + done, part, (off_t)(pos + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            break; /* the end of the file */
        }
        done += (size_t)n;
    }
    *ret_size = done;
    return 0;
}

/* Takes size bytes off the front; returns how many vectors are used up. */
static size_t
advance(struct iovec *vectors, size_t count, size_t size)
{
    size_t i = 0;
    while (i < count && size >= vectors[i].iov_len) {
        size -= vectors[i].iov_len;
        i++;
    }
    if (i < count) {
        vectors[i].iov_base = (uint8_t *)vectors[i].iov_base + size;
        vectors[i].iov_len -= size;
    }
    return i;
}

static int
posix_pwritev(struct fs_file *file, const struct bytes *parts, size_t count, uint64_t pos)
{
    struct iovec vectors[MAX_PARTS];
    size_t used = 0;
    DMQ_ASSERT(count <= MAX_PARTS);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > 0) {
            vectors[used++] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].size};
        }
    }
    size_t first = 0;
    while (first < used) {
        ssize_t n = pwritev(file->fd, vectors + first, (int)(used - first), (off_t)pos);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            return EIO; /* POSIX leaves it open; going round for ever is no answer */
        }
        pos += (uint64_t)n;
        first += advance(vectors + first, used - first, (size_t)n);
    }
    return 0;
}

static int
posix_datasync(struct fs_file *file)
{
    return fdatasync(file->fd) == 0 ? 0 : errno;
}

static int
posix_size(struct fs_file *file, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        return errno;
    }
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int
posix_truncate(struct fs_file *file, uint64_t size)
{
    int rc;
    do {
        rc = ftruncate(file->fd, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : errno;
}

static int
posix_allocate(struct fs_file *file, uint64_t pos, uint64_t size)
{
    int rc;
    do {
        rc = fallocate(file->fd, 0, (off_t)pos, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS) {
        return 0;
    }
    return errno;
}

static int
posix_mkdir(struct fs *fs, const char *path)
{
    (void)fs;
    return mkdir(path, 0750) == 0 ? 0 : errno;
}

static int
posix_sync_dir(struct fs *fs, const char *path)
{
    (void)fs;
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return errno;
    }
    int err = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return err;
}

static void
sync_one(void *context, size_t i)
{
    struct fs_sync *sync = (struct fs_sync *)context + i;
    sync->error =
        sync->file != NULL ? posix_datasync(sync->file) : posix_sync_dir(NULL, sync->path);
}

/* Each waits for the disk, and those that wait together share its journal's commit and its flush:
 * measured, 1000 files in 50 ms where one after the other took 2000. */
static void
posix_sync_many(struct fs *fs, struct fs_sync *syncs, size_t count)
{
    static struct crew crew = CREW_INIT;
    (void)fs;
    crew_run(&crew, sync_one, syncs, count);
}

static int
posix_rename(struct fs *fs, const char *from, const char *to)
{
    (void)fs;
    return rename(from, to) == 0 ? 0 : errno;
}

static int
posix_unlink(struct fs *fs, const char *path)
{
    (void)fs;
    return unlink(path) == 0 ? 0 : errno;
}

static int
posix_rmdir(struct fs *fs, const char *path)
{
    (void)fs;
    return rmdir(path) == 0 ? 0 : errno;
}

static int
posix_space(struct fs *fs, const char *path, struct fs_space *ret_space)
{
    struct statvfs st;
    int rc;
    (void)fs;
    do {
        rc = statvfs(path, &st);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        return errno;
    }
    *ret_space = (struct fs_space){.free = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize,
                                   .total = (uint64_t)st.f_blocks * (uint64_t)st.f_frsize};
    return 0;
}

static int
posix_modified(struct fs *fs, const char *path, int64_t *ret_ms)
{
    struct stat st;
    (void)fs;
    if (stat(path, &st) != 0) {
        return errno;
    }
    *ret_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

static int
posix_list(struct fs *fs, const char *path, int (*found)(void *arg, const char *name), void *arg)
{
    (void)fs;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno;
    }
    int err = 0;
    while (err == 0) {
        errno = 0; /* readdir tells an error from the end only by errno */
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            err = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            err = found(arg, entry->d_name);
        }
    }
    closedir(dir);
    return err;
}

struct fs *
fs_posix(void)
{
    static const struct fs_ops ops = {
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwritev = posix_pwritev,
        .datasync = posix_datasync,
        .size = posix_size,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .sync_many = posix_sync_many,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .rmdir = posix_rmdir,
        .space = posix_space,
        .modified = posix_modified,
        .list = posix_list,
    };
    static struct fs fs = {&ops};
    return &fs;
}
