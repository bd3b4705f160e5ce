/* Two files: simfs_node.c holds files and folders and what a crash makes of them; here are the
 * calls of fs.h, faults, and the view from outside. */
#include "tests/sim/simfs.h"

#include <errno.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"
#include "tests/sim/simfs_node.h"

struct fault {
    int error;
    uint64_t after;
    uint64_t times;
};

struct simfs {
    struct fs fs; /* first: a struct fs * is one of these */
    struct sim_node *root;
    struct rng rng;
    struct fault faults[SIMFS_CALLS];
    uint64_t capacity;
    uint64_t die_after;
    int64_t wall_ms;
    uint64_t boots; /* handles of an earlier one are dead */
    struct simfs_counts counts;
};

struct fs_file {
    struct simfs *disk;
    struct sim_node *node;
    uint64_t boot;
    unsigned flags;
};

static struct simfs *
of(struct fs *fs)
{
    return (struct simfs *)fs;
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* An errno value if this call is to fail. */
static int
fails(struct simfs *disk, enum simfs_call call)
{
    struct fault *fault = &disk->faults[call];
    disk->counts.calls[call]++;
    if (disk->die_after == 0) {
        return EIO;
    }
    if (fault->times == 0) {
        return 0;
    }
    if (fault->after > 0) {
        fault->after--;
        return 0;
    }
    fault->times--;
    disk->counts.faults[call]++;
    return fault->error;
}

/* The call is going to change something. */
static void
count_change(struct simfs *disk)
{
    disk->counts.changes++;
    if (disk->die_after != UINT64_MAX) {
        disk->die_after--;
    }
}

static bool
is_stale(const struct fs_file *file)
{
    return file->boot != file->disk->boots;
}

void
simfs_fail(struct simfs *disk, enum simfs_call call, int error, uint64_t after, uint64_t times)
{
    disk->faults[call] = (struct fault){error, after, times};
}

void
simfs_die_after(struct simfs *disk, uint64_t count)
{
    disk->die_after = count;
}

bool
simfs_is_dead(const struct simfs *disk)
{
    return disk->die_after == 0;
}

void
simfs_set_capacity(struct simfs *disk, uint64_t bytes)
{
    disk->capacity = bytes;
}

void
simfs_set_time(struct simfs *disk, int64_t wall_ms)
{
    disk->wall_ms = wall_ms;
}

uint64_t
simfs_used(const struct simfs *disk)
{
    return sim_node_bytes(disk->root);
}

/* How far a file may grow: its size then, at most `end`. */
static uint64_t
growth(struct simfs *disk, const struct sim_node *node, uint64_t end)
{
    uint64_t size = node->now.size;
    if (end <= size || disk->capacity == UINT64_MAX) {
        return end;
    }
    uint64_t used = simfs_used(disk);
    uint64_t room = disk->capacity > used ? disk->capacity - used : 0;
    return end - size <= room ? end : size + room;
}

/* ---- fs.h: files ----------------------------------------------------------------------------- */

static int
sim_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file)
{
    struct simfs *disk = of(fs);
    struct sim_place place;
    int error = fails(disk, SIMFS_OPEN);
    if (error != 0) {
        return error;
    }
    error = sim_find(disk->root, path, &place);
    if (error != 0) {
        return error;
    }
    if (place.node == NULL && (flags & FS_CREATE) == 0) {
        return ENOENT;
    }
    if (place.node != NULL && place.node->folder) {
        return EISDIR;
    }
    if (place.node == NULL) {
        count_change(disk);
        place.node = sim_add_name(place.parent, place.name, sim_node_new(false));
        place.node->modified_ms = disk->wall_ms;
    }
    struct fs_file *file = malloc(sizeof(*file));
    DMQ_ASSERT(file != NULL);
    *file = (struct fs_file){disk, sim_node_ref(place.node), disk->boots, flags};
    *ret_file = file;
    return 0;
}

static void
sim_close(struct fs_file *file)
{
    if (file != NULL) {
        sim_node_unref(file->node);
        free(file);
    }
}

static int
sim_pread(struct fs_file *file, void *data, size_t size, uint64_t pos, size_t *ret_size)
{
    int error = is_stale(file) ? EIO : fails(file->disk, SIMFS_PREAD);
    if (error != 0) {
        return error;
    }
    struct bytes now = sim_contents(file->node);
    size_t rest = pos < now.size ? now.size - (size_t)pos : 0;
    *ret_size = size < rest ? size : rest;
    if (*ret_size > 0) {
        memcpy(data, now.data + pos, *ret_size);
    }
    return 0;
}

/* Writes the parts up to position `end`. */
static void
write_parts(struct simfs *disk, struct sim_node *node, const struct bytes *parts, size_t count,
            struct sim_range range)
{
    uint64_t pos = range.pos;
    node->modified_ms = disk->wall_ms;
    for (size_t i = 0; i < count && pos < range.end; i++) {
        uint64_t room = range.end - pos;
        size_t size = parts[i].size < room ? parts[i].size : (size_t)room;
        sim_write(node, pos, bytes_of(parts[i].data, size));
        disk->counts.bytes_written += size;
        pos += size;
    }
}

static int
sim_pwritev(struct fs_file *file, const struct bytes *parts, size_t count, uint64_t pos)
{
    struct simfs *disk = file->disk;
    struct sim_range range = {pos, pos};
    int error = is_stale(file) ? EIO : fails(disk, SIMFS_PWRITEV);
    bool dead = is_stale(file) || disk->die_after == 0;
    DMQ_ASSERT(count <= 1024);
    for (size_t i = 0; i < count; i++) {
        range.end += parts[i].size;
    }
    if (dead || (file->flags & FS_WRITE) == 0) {
        return dead ? EIO : EBADF;
    }
    count_change(disk);
    if (error != 0) { /* some of it is there */
        range.end = pos + rng_below(&disk->rng, range.end - pos + 1);
    }
    uint64_t most = growth(disk, file->node, range.end);
    if (most < range.end) {
        disk->counts.full++;
        range.end = most;
        error = ENOSPC;
    }
    write_parts(disk, file->node, parts, count, range);
    return error;
}

static int
sim_datasync(struct fs_file *file)
{
    struct simfs *disk = file->disk;
    int error = is_stale(file) ? EIO : fails(disk, SIMFS_DATASYNC);
    if (is_stale(file) || disk->die_after == 0) {
        return EIO;
    }
    count_change(disk);
    if (error != 0) {
        struct sim_tear tear = {.how = SIMFS_TEAR, .rng = &disk->rng, .counts = &disk->counts};
        sim_sync_badly(file->node, &tear);
        return error;
    }
    sim_sync(file->node);
    return 0;
}

static int
sim_size(struct fs_file *file, uint64_t *ret_size)
{
    if (is_stale(file) || file->disk->die_after == 0) {
        return EIO;
    }
    *ret_size = file->node->now.size;
    return 0;
}

static int
sim_truncate(struct fs_file *file, uint64_t size)
{
    struct simfs *disk = file->disk;
    int error = is_stale(file) ? EIO : fails(disk, SIMFS_TRUNCATE);
    if (error != 0) {
        return error;
    }
    if (growth(disk, file->node, size) < size) {
        disk->counts.full++;
        return ENOSPC;
    }
    count_change(disk);
    file->node->modified_ms = disk->wall_ms;
    sim_resize(file->node, size);
    return 0;
}

static int
sim_allocate(struct fs_file *file, uint64_t pos, uint64_t size)
{
    struct simfs *disk = file->disk;
    int error = is_stale(file) ? EIO : fails(disk, SIMFS_ALLOCATE);
    if (error != 0) {
        return error;
    }
    if (pos + size <= file->node->now.size) {
        return 0;
    }
    if (growth(disk, file->node, pos + size) < pos + size) {
        disk->counts.full++;
        return ENOSPC;
    }
    count_change(disk);
    sim_resize(file->node, pos + size);
    return 0;
}

/* ---- fs.h: names ----------------------------------------------------------------------------- */

static int
sim_mkdir(struct fs *fs, const char *path)
{
    struct simfs *disk = of(fs);
    struct sim_place place;
    int error = fails(disk, SIMFS_MKDIR);
    error = error == 0 ? sim_find(disk->root, path, &place) : error;
    if (error != 0) {
        return error;
    }
    if (place.node != NULL) {
        return EEXIST;
    }
    count_change(disk);
    sim_add_name(place.parent, place.name, sim_node_new(true));
    return 0;
}

static int
sim_sync_dir(struct fs *fs, const char *path)
{
    struct simfs *disk = of(fs);
    struct sim_place place;
    int error = fails(disk, SIMFS_SYNC_DIR);
    error = error == 0 ? sim_find(disk->root, path, &place) : error;
    if (error != 0) {
        return error;
    }
    if (place.node == NULL || !place.node->folder) {
        return place.node == NULL ? ENOENT : ENOTDIR;
    }
    count_change(disk);
    sim_sync_names(place.node);
    return 0;
}

/* Begins anywhere: no order is promised. */
static void
sim_sync_many(struct fs *fs, struct fs_sync *syncs, size_t count)
{
    struct simfs *disk = of(fs);
    size_t first = count < 2 ? 0 : (size_t)rng_below(&disk->rng, count);
    for (size_t i = 0; i < count; i++) {
        struct fs_sync *sync = &syncs[(first + i) % count];
        sync->error = sync->file != NULL ? sim_datasync(sync->file) : sim_sync_dir(fs, sync->path);
    }
}

/* Names that cross folders are not needed by anyone, and not modelled. */
static int
sim_rename(struct fs *fs, const char *from, const char *to)
{
    struct simfs *disk = of(fs);
    struct sim_place old;
    struct sim_place new;
    int error = fails(disk, SIMFS_RENAME);
    error = error == 0 ? sim_find(disk->root, from, &old) : error;
    error = error == 0 ? sim_find(disk->root, to, &new) : error;
    if (error != 0) {
        return error;
    }
    if (old.node == NULL) {
        return ENOENT;
    }
    DMQ_ASSERT(old.parent == new.parent);
    if (new.node != NULL && (old.node->folder || new.node->folder)) {
        return ENOTEMPTY; /* POSIX lets a folder take the place of an empty one: nobody needs it */
    }
    count_change(disk);
    sim_rename_name(old.parent, old.name, new.name);
    return 0;
}

static int
remove_name(struct simfs *disk, enum simfs_call call, const char *path)
{
    struct sim_place place;
    bool folder = call == SIMFS_RMDIR;
    int error = fails(disk, call);
    error = error == 0 ? sim_find(disk->root, path, &place) : error;
    if (error != 0) {
        return error;
    }
    if (place.node == NULL) {
        return ENOENT;
    }
    if (place.node->folder != folder) {
        return folder ? ENOTDIR : EISDIR;
    }
    if (folder && place.node->entry_count > 0) {
        return ENOTEMPTY;
    }
    count_change(disk);
    sim_remove_name(place.parent, place.name);
    return 0;
}

static int
sim_unlink(struct fs *fs, const char *path)
{
    return remove_name(of(fs), SIMFS_UNLINK, path);
}

static int
sim_rmdir(struct fs *fs, const char *path)
{
    return remove_name(of(fs), SIMFS_RMDIR, path);
}

static int
sim_space(struct fs *fs, const char *path, struct fs_space *ret_space)
{
    struct simfs *disk = of(fs);
    struct sim_place place;
    int error = fails(disk, SIMFS_SPACE);
    error = error == 0 ? sim_find(disk->root, path, &place) : error;
    if (error != 0) {
        return error;
    }
    uint64_t used = simfs_used(disk);
    *ret_space = (struct fs_space){.free = used < disk->capacity ? disk->capacity - used : 0,
                                   .total = disk->capacity};
    return 0;
}

static int
sim_modified(struct fs *fs, const char *path, int64_t *ret_ms)
{
    struct simfs *disk = of(fs);
    struct sim_place place;
    int error = disk->die_after == 0 ? EIO : sim_find(disk->root, path, &place);
    if (error != 0) {
        return error;
    }
    if (place.node == NULL) {
        return ENOENT;
    }
    *ret_ms = place.node->modified_ms;
    return 0;
}

static int
sim_list(struct fs *fs, const char *path, int (*found)(void *arg, const char *name), void *arg)
{
    struct simfs *disk = of(fs);
    struct sim_place place;
    int error = fails(disk, SIMFS_LIST);
    error = error == 0 ? sim_find(disk->root, path, &place) : error;
    if (error != 0) {
        return error;
    }
    if (place.node == NULL || !place.node->folder) {
        return place.node == NULL ? ENOENT : ENOTDIR;
    }
    /* Folders have no order: begin anywhere. */
    size_t count = place.node->entry_count;
    size_t first = count == 0 ? 0 : (size_t)rng_below(&disk->rng, count);
    for (size_t i = 0; error == 0 && i < count; i++) {
        error = found(arg, place.node->entries[(first + i) % count].name);
    }
    return error;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static const struct fs_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .datasync = sim_datasync,
    .size = sim_size,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .mkdir = sim_mkdir,
    .sync_dir = sim_sync_dir,
    .sync_many = sim_sync_many,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .rmdir = sim_rmdir,
    .space = sim_space,
    .modified = sim_modified,
    .list = sim_list,
};

struct simfs *
simfs_new(uint64_t seed)
{
    struct simfs *disk = calloc(1, sizeof(*disk));
    DMQ_ASSERT(disk != NULL);
    disk->fs.ops = &sim_ops;
    disk->root = sim_node_new(true);
    disk->capacity = UINT64_MAX;
    disk->die_after = UINT64_MAX;
    rng_init(&disk->rng, seed);
    return disk;
}

struct simfs *
simfs_clone(const struct simfs *disk)
{
    struct simfs *clone = malloc(sizeof(*clone));
    DMQ_ASSERT(clone != NULL);
    *clone = *disk;
    clone->root = sim_node_clone(disk->root);
    return clone;
}

void
simfs_free(struct simfs *disk)
{
    if (disk != NULL) {
        sim_node_unref(disk->root);
        free(disk);
    }
}

struct fs *
simfs_fs(struct simfs *disk)
{
    return &disk->fs;
}

void
simfs_kill(struct simfs *disk)
{
    disk->boots++;
    disk->die_after = UINT64_MAX;
}

void
simfs_crash(struct simfs *disk, enum simfs_crash how, uint64_t seed)
{
    struct rng rng;
    struct sim_tear tear = {.how = how, .rng = &rng, .counts = &disk->counts};
    rng_init(&rng, seed);
    tear.keep_per_mille = (unsigned)rng_below(&rng, 1001); /* from nearly nothing to nearly all */
    disk->counts.crashes++;
    simfs_kill(disk);
    sim_crash(disk->root, &tear);
}

const struct simfs_counts *
simfs_counts(const struct simfs *disk)
{
    return &disk->counts;
}

/* ---- from outside ---------------------------------------------------------------------------- */

static struct sim_node *
existing(const struct simfs *disk, const char *path)
{
    struct sim_place place;
    return sim_find(disk->root, path, &place) == 0 ? place.node : NULL;
}

bool
simfs_flip(struct simfs *disk, const char *path, uint64_t pos, unsigned bit)
{
    struct sim_node *node = existing(disk, path);
    if (node == NULL || node->folder || !sim_flip(node, pos, bit)) {
        return false;
    }
    disk->counts.bits_flipped++;
    return true;
}

void
simfs_make_folder(struct simfs *disk, const char *path)
{
    struct sim_place place;
    int error = sim_find(disk->root, path, &place);
    DMQ_ASSERT(error == 0 && place.node == NULL);
    sim_add_name(place.parent, place.name, sim_node_new(true));
    sim_sync_names(place.parent);
}

void
simfs_put_file(struct simfs *disk, const char *path, struct bytes contents)
{
    struct sim_place place;
    int error = sim_find(disk->root, path, &place);
    DMQ_ASSERT(error == 0);
    if (place.node == NULL) {
        place.node = sim_add_name(place.parent, place.name, sim_node_new(false));
    }
    sim_resize(place.node, 0);
    sim_write(place.node, 0, contents);
    sim_sync(place.node);
    sim_sync_names(place.parent);
}

struct bytes
simfs_file(const struct simfs *disk, const char *path)
{
    struct sim_node *node = existing(disk, path);
    if (node == NULL || node->folder) {
        return (struct bytes){NULL, 0};
    }
    return sim_contents(node);
}

bool
simfs_exists(const struct simfs *disk, const char *path)
{
    return existing(disk, path) != NULL;
}

struct bytes
simfs_durable_file(const struct simfs *disk, const char *path)
{
    const struct sim_node *node = sim_find_durable(disk->root, path);
    if (node == NULL || node->folder) {
        return (struct bytes){NULL, 0};
    }
    return bytes_of(node->durable.data, node->durable.size);
}

void
simfs_names(const struct simfs *disk, const char *path, bool durable,
            void (*found)(void *arg, const char *name), void *arg)
{
    const struct sim_node *node =
        durable ? sim_find_durable(disk->root, path) : existing(disk, path);
    if (node == NULL) {
        return;
    }
    const struct sim_entry *entries = durable ? node->durable_entries : node->entries;
    size_t count = durable ? node->durable_entry_count : node->entry_count;
    for (size_t i = 0; i < count; i++) {
        found(arg, entries[i].name);
    }
}

static uint64_t
digest_of(const struct sim_node *node)
{
    if (!node->folder) {
        struct bytes now = sim_contents(node);
        return ((uint64_t)now.size << 32) + crc32c(7, now.data, now.size);
    }
    uint64_t digest = 1;
    for (size_t i = 0; i < node->entry_count; i++) { /* a sum: the order does not count */
        const struct sim_entry *entry = &node->entries[i];
        uint64_t name = crc32c(0, entry->name, strlen(entry->name));
        digest += (digest_of(entry->node) + 1) * (name * UINT64_C(0x9e3779b97f4a7c15) | 1);
    }
    return digest;
}

uint64_t
simfs_digest(const struct simfs *disk)
{
    return digest_of(disk->root);
}

void
simfs_wipe(struct simfs *disk, const char *path)
{
    struct sim_node *node = existing(disk, path);
    DMQ_ASSERT(node != NULL && node->folder);
    while (node->entry_count > 0) {
        sim_remove_name(node, node->entries[0].name);
    }
    sim_sync_names(node);
}
