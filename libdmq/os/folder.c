/* The identity file is written whole to identity.tmp, synced, renamed, and its folder is synced:
 * after a crash there is the old one, the new one or (first use) none, with nothing else beside. A
 * folder that holds other files but no identity is therefore not ours, or has lost it: refused,
 * for an empty one would be taken for a new disk. */
#include "libdmq/os/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/os/random.h"

#define MAX_IDENTITY 512

/* What the user can do about an errno; written to `text` where it is not constant. "": unknown. */
static const char *
advice(int code, char *text, size_t size)
{
    switch (code) {
    case EROFS:
        return ": mount it so that it can be written, or give another --data";
    case EACCES:
    case EPERM:
        snprintf(text, size, ": give the folder to user %u, or give another --data",
                 (unsigned)geteuid());
        return text;
    case ENOSPC:
    case EDQUOT:
        return ": make room there, or give another --data";
    default:
        return "";
    }
}

/* errno as text, in an error about a file of the folder. */
static dmq_err
fail_io(struct err_msg *err, const char *what, const char *path)
{
    char text[64], hint[80];
    int code = errno;
    return err_set(err, DMQ_ERR_IO, "%s %s: %s%s", what, path, strerror_r(code, text, sizeof(text)),
                   advice(code, hint, sizeof(hint)));
}

static void
file_path(const struct folder *folder, const char *name, char ret_path[FOLDER_MAX_PATH + 16])
{
    snprintf(ret_path, FOLDER_MAX_PATH + 16, "%s/%s", folder->path, name);
}

/* Leaves errno as it was. */
static bool
is_folder(const char *path)
{
    struct stat st;
    int saved = errno;
    bool is_one = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    errno = saved;
    return is_one;
}

/* The folder and its parents. Names that exist are left as they are. */
static dmq_err
make_folders(const char *path, struct err_msg *err)
{
    char part[FOLDER_MAX_PATH];
    size_t size = strlen(path);
    for (size_t i = 1; i <= size; i++) {
        if (path[i] != '/' && path[i] != 0) {
            continue;
        }
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0750) != 0 && !is_folder(part)) {
            return fail_io(err, "cannot make the data folder", part);
        }
    }
    return DMQ_OK;
}

static dmq_err
sync_folder(const char *path, struct err_msg *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        dmq_err code = fail_io(err, "cannot sync the folder", path);
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    close(fd);
    return DMQ_OK;
}

static dmq_err
lock_folder(struct folder *folder, struct err_msg *err)
{
    char path[FOLDER_MAX_PATH + 16], pid[24];
    file_path(folder, "lock", path);
    folder->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (folder->lock_fd < 0) {
        return fail_io(err, "cannot open", path);
    }
    if (flock(folder->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            return fail_io(err, "cannot lock", path);
        }
        ssize_t got = pread(folder->lock_fd, pid, sizeof(pid) - 1, 0);
        pid[got > 0 ? got : 0] = 0;
        pid[strcspn(pid, "\n")] = 0;
        return err_set(err, DMQ_ERR_LOCKED,
                       "data folder %s is in use by process %s: stop it, or give another --data",
                       folder->path, pid[0] == 0 ? "?" : pid);
    }
    int size = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(folder->lock_fd, 0) != 0 ||
        pwrite(folder->lock_fd, pid, (size_t)size, 0) != size) {
        return fail_io(err, "cannot write", path);
    }
    return DMQ_OK;
}

/* ---- the identity file ----------------------------------------------------------------------- */

/* Text without its last line, the checksum of what stands before it. */
static int
print_identity(const struct folder_identity *id, char text[MAX_IDENTITY])
{
    char disk[UUID_TEXT_SIZE], cluster[UUID_TEXT_SIZE];
    return snprintf(text, MAX_IDENTITY,
                    "format = %d\nrole = %s\nnode = %" PRId32 "\ndisk = %s\ncluster = %s\n",
                    FOLDER_FORMAT, id->role, id->node_id, uuid_text(id->disk_id, disk),
                    uuid_text(id->cluster_id, cluster));
}

static dmq_err
write_file(const char *path, const char *text, size_t size, struct err_msg *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return fail_io(err, "cannot make", path);
    }
    bool written = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    dmq_err code = written ? DMQ_OK : fail_io(err, "cannot write", path);
    close(fd);
    return code;
}

static dmq_err
write_identity(const struct folder *folder, const struct folder_identity *id, struct err_msg *err)
{
    char text[MAX_IDENTITY], from[FOLDER_MAX_PATH + 16], to[FOLDER_MAX_PATH + 16];
    int size = print_identity(id, text);
    uint32_t check = crc32c(0, text, (size_t)size);
    size += snprintf(text + size, sizeof(text) - (size_t)size, "check = %08" PRIx32 "\n", check);
    DMQ_ASSERT(size < MAX_IDENTITY);
    file_path(folder, "identity.tmp", from);
    file_path(folder, "identity", to);
    dmq_err code = write_file(from, text, (size_t)size, err);
    if (code != DMQ_OK) {
        return code;
    }
    if (rename(from, to) != 0) {
        return fail_io(err, "cannot make", to);
    }
    return sync_folder(folder->path, err);
}

/* The value of a line of text, which must be "key = value\n"; advances *at behind it. */
static bool
take_line(char **at, const char *key, char **ret_value)
{
    char *line = *at;
    size_t size = strlen(key);
    char *end = strchr(line, '\n');
    if (end == NULL || strncmp(line, key, size) != 0 || strncmp(line + size, " = ", 3) != 0) {
        return false;
    }
    *end = 0;
    *at = end + 1;
    *ret_value = line + size + 3;
    return true;
}

static bool
checksum_holds(const char *text)
{
    const char *check = strstr(text, "check = ");
    uint32_t stated;
    return check != NULL && sscanf(check, "check = %8" SCNx32, &stated) == 1 &&
           stated == crc32c(0, text, (size_t)(check - text));
}

static bool
parse_identity(char *text, int *ret_format, struct folder_identity *ret_id)
{
    char *role, *format, *node, *disk, *cluster, *at = text;
    if (!checksum_holds(text) || !take_line(&at, "format", &format) ||
        !take_line(&at, "role", &role) || !take_line(&at, "node", &node) ||
        !take_line(&at, "disk", &disk) || !take_line(&at, "cluster", &cluster)) {
        return false;
    }
    *ret_format = (int)strtol(format, NULL, 10);
    ret_id->node_id = (int32_t)strtol(node, NULL, 10);
    snprintf(ret_id->role, sizeof(ret_id->role), "%s", role);
    return uuid_parse(disk, &ret_id->disk_id) && uuid_parse(cluster, &ret_id->cluster_id);
}

/* DMQ_ERR_END: there is none. */
static dmq_err
read_identity(struct folder *folder, struct err_msg *err)
{
    char path[FOLDER_MAX_PATH + 16], text[MAX_IDENTITY];
    int format;
    file_path(folder, "identity", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? DMQ_ERR_END : fail_io(err, "cannot open", path);
    }
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size < 0) {
        return fail_io(err, "cannot read", path);
    }
    text[size] = 0;
    if (!parse_identity(text, &format, &folder->identity)) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "%s is damaged: restore it from a copy, or empty the folder to join as new",
                       path);
    }
    if (format > FOLDER_FORMAT) {
        return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION,
                       "%s has format %d, this program knows %d: use a newer version of dmq", path,
                       format, FOLDER_FORMAT);
    }
    return DMQ_OK;
}

/* Files that a crash during the first use may leave, and those that file systems bring along. */
static bool
is_harmless(const char *name)
{
    static const char *const names[] = {".", "..", "lock", "identity.tmp", "lost+found"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static dmq_err
check_empty(const struct folder *folder, struct err_msg *err)
{
    DIR *dir = opendir(folder->path);
    if (dir == NULL) {
        return fail_io(err, "cannot list", folder->path);
    }
    dmq_err code = DMQ_OK;
    struct dirent *entry;
    while (code == DMQ_OK && (entry = readdir(dir)) != NULL) {
        if (!is_harmless(entry->d_name)) {
            code = err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                           "%s holds '%.60s' but no identity file, so it is no data folder: give "
                           "an empty one as --data",
                           folder->path, entry->d_name);
        }
    }
    closedir(dir);
    return code;
}

static dmq_err
identify(struct folder *folder, const char *role, int32_t node_id, struct err_msg *err)
{
    dmq_err code = read_identity(folder, err);
    if (code == DMQ_ERR_END) {
        code = check_empty(folder, err);
        if (code != DMQ_OK) {
            return code;
        }
        folder->fresh = true;
        folder->identity = (struct folder_identity){.node_id = node_id, .disk_id = random_uuid()};
        snprintf(folder->identity.role, sizeof(folder->identity.role), "%s", role);
        return write_identity(folder, &folder->identity, err);
    }
    const struct folder_identity *id = &folder->identity;
    if (code == DMQ_OK && (strcmp(id->role, role) != 0 || id->node_id != node_id)) {
        code = err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                       "data folder %s belongs to %s %" PRId32 ", not to %s %" PRId32
                       ": give that --id, or another --data",
                       folder->path, id->role, id->node_id, role, node_id);
    }
    return code;
}

dmq_err
folder_open(const char *path, const char *role, int32_t node_id, struct folder *ret_folder,
            struct err_msg *err)
{
    struct folder folder = {.lock_fd = -1};
    if (path[0] == 0 || strlen(path) >= sizeof(folder.path)) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "data folder: 1 to %d bytes of path",
                       FOLDER_MAX_PATH - 1);
    }
    snprintf(folder.path, sizeof(folder.path), "%s", path);
    dmq_err code = make_folders(path, err);
    if (code == DMQ_OK) {
        code = lock_folder(&folder, err);
    }
    if (code == DMQ_OK) {
        code = identify(&folder, role, node_id, err);
    }
    if (code != DMQ_OK) {
        folder_close(&folder);
        return code;
    }
    *ret_folder = folder;
    return DMQ_OK;
}

void
folder_close(struct folder *folder)
{
    if (folder->lock_fd >= 0) {
        close(folder->lock_fd);
        folder->lock_fd = -1;
    }
}

static dmq_err
change_identity(struct folder *folder, const struct folder_identity *changed, struct err_msg *err)
{
    dmq_err code = write_identity(folder, changed, err);
    if (code == DMQ_OK) {
        folder->identity = *changed;
    }
    return code;
}

dmq_err
folder_set_cluster(struct folder *folder, struct uuid cluster_id, struct err_msg *err)
{
    char have[UUID_TEXT_SIZE], want[UUID_TEXT_SIZE];
    struct folder_identity changed = folder->identity;
    DMQ_ASSERT(!uuid_is_zero(cluster_id));
    if (uuid_equal(changed.cluster_id, cluster_id)) {
        return DMQ_OK;
    }
    if (!uuid_is_zero(changed.cluster_id)) {
        return err_set(err, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                       "data folder %s belongs to cluster %s, but the node reached cluster %s: "
                       "check --services, or give another --data",
                       folder->path, uuid_text(changed.cluster_id, have),
                       uuid_text(cluster_id, want));
    }
    changed.cluster_id = cluster_id;
    return change_identity(folder, &changed, err);
}

dmq_err
folder_renew_disk(struct folder *folder, struct err_msg *err)
{
    struct folder_identity changed = folder->identity;
    changed.disk_id = random_uuid();
    return change_identity(folder, &changed, err);
}
