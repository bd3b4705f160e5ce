/* What was found is made so on the disk: what lies behind the end goes, and indexes become what the
 * walk made. Each step is synced, and may be done again. */
#include "broker/log/recovery_internal.h"

#include <stdlib.h>

#include "broker/log/index_file.h"
#include "broker/log/log_files.h"
#include "libdmq/base/assert.h"

#define REWRITE_CHUNK ((size_t)1 << 20)

static dmq_err
sync_folder(struct recovery *rec)
{
    int error = rec->fs->ops->sync_dir(rec->fs, rec->open->dir);
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "syncing", rec->open->dir, error);
}

/* Removes segments from `keep` on, newest first. */
dmq_err
recovery_remove_later(struct recovery *rec, size_t keep)
{
    struct log_recovered *r = rec->r;
    char path[LOG_PATH_SIZE];
    dmq_err err = DMQ_OK;
    if (r->segment_count == keep) {
        return DMQ_OK;
    }
    while (err == DMQ_OK && r->segment_count > keep) {
        int64_t base = r->segments[r->segment_count - 1].base;
        struct fs_file *file = NULL;
        uint64_t size = 0;
        err = log_open_existing(rec->fs, log_path(path, rec->open->dir, base, LOG_SUFFIX), &file,
                                &size, rec->msg);
        if (file != NULL) {
            rec->fs->ops->close(file);
        }
        if (err == DMQ_OK) {
            err = segment_unlink(rec->fs, rec->open->dir, base, rec->msg);
            r->cut_bytes += size;
            r->segment_count--;
        }
    }
    return err == DMQ_OK ? sync_folder(rec) : err;
}

/* Cuts a segment's file where its last sound batch ends. */
static dmq_err
cut(struct recovery *rec, const struct log_walk *walked)
{
    char path[LOG_PATH_SIZE];
    struct fs_file *file = NULL;
    uint64_t torn = 0;
    if (walked->file_size == walked->pos) {
        return DMQ_OK;
    }
    log_path(path, rec->open->dir, walked->builder.base, LOG_SUFFIX);
    dmq_err err = log_walk_torn_end(walked, rec->fs, path, &torn, rec->msg);
    if (err != DMQ_OK) {
        return err;
    }
    rec->r->cut_bytes += torn - walked->pos;
    int error = rec->fs->ops->open(rec->fs, path, FS_READ | FS_WRITE, &file);
    if (error == 0) {
        error = rec->fs->ops->truncate(file, walked->pos);
        error = error == 0 ? rec->fs->ops->datasync(file) : error;
        rec->fs->ops->close(file);
    }
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "cutting", path, error);
}

/* Makes a segment's files what its walk says that they should be. */
dmq_err
recovery_put_right(struct recovery *rec, const struct log_walk *walked)
{
    char path[LOG_PATH_SIZE];
    bool equal = false;
    dmq_err err = cut(rec, walked);
    if (err == DMQ_OK) {
        err = recovery_compare_indexes(rec, walked, &equal);
    }
    if (err != DMQ_OK || equal) {
        return err;
    }
    rec->r->rebuilt_indexes++;
    log_path(path, rec->open->dir, walked->builder.base, INDEX_SUFFIX);
    err = index_file_replace(rec->fs, path, bytes_of(walked->index.data, walked->index.size),
                             rec->msg);
    if (err == DMQ_OK) {
        log_path(path, rec->open->dir, walked->builder.base, TIME_SUFFIX);
        err = index_file_replace(rec->fs, path, bytes_of(walked->times.data, walked->times.size),
                                 rec->msg);
    }
    return err;
}

/* Segments that were found wanting, all but the last. They are walked once more, for their indexes
 * were not kept: a crash seldom leaves more than one behind. */
dmq_err
recovery_put_wanting_right(struct recovery *rec)
{
    dmq_err err = DMQ_OK;
    for (size_t i = 0; err == DMQ_OK && i + 1 < rec->r->segment_count; i++) {
        struct log_walk walked;
        if (!rec->wanting[i]) {
            continue;
        }
        err = recovery_walk(rec, i, false, &walked);
        if (err == DMQ_OK) {
            log_walk_finish(&walked);
            err = recovery_put_right(rec, &walked);
        }
        log_walk_deinit(&walked);
    }
    return err;
}

/* ---- what is above the mark ------------------------------------------------------------------ */

static int
rewrite_range(struct fs *fs, struct fs_file *file, uint64_t pos, uint64_t end, uint8_t *room)
{
    while (pos < end) {
        size_t size = end - pos < REWRITE_CHUNK ? (size_t)(end - pos) : REWRITE_CHUNK;
        size_t got = 0;
        int error = fs->ops->pread(file, room, size, pos, &got);
        const struct bytes part = bytes_of(room, got);
        if (error != 0 || got == 0) {
            return error; /* shorter than its walk found: the next start sees it */
        }
        error = fs->ops->pwritev(file, &part, 1, pos);
        if (error != 0) {
            return error;
        }
        pos += got;
    }
    return 0;
}

static dmq_err
rewrite_segment(struct recovery *rec, const struct log_segment *segment, uint64_t from,
                uint8_t *room)
{
    char path[LOG_PATH_SIZE];
    struct fs_file *file = NULL;
    if (from >= segment->size) {
        return DMQ_OK;
    }
    log_path(path, rec->open->dir, segment->base, LOG_SUFFIX);
    int error = rec->fs->ops->open(rec->fs, path, FS_READ | FS_WRITE, &file);
    if (error == 0) {
        error = rewrite_range(rec->fs, file, from, segment->size, room);
        rec->fs->ops->close(file);
    }
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "writing", path, error);
}

/* A sync of the former process may have failed. The kernel then marks pages clean that never got to
 * the disk, and goes on showing them: the walk found them sound, and a sync now would say that they
 * are durable, though the next loss of power takes them. What is written again is dirty again. It
 * is little: a mark is about a second old at most. */
dmq_err
recovery_rewrite_unsynced(struct recovery *rec)
{
    const struct log_recovered *r = rec->r;
    dmq_err err = DMQ_OK;
    if (rec->open->cuts || r->created) {
        return DMQ_OK; /* no other process wrote here */
    }
    uint8_t *room = malloc(REWRITE_CHUNK);
    DMQ_ASSERT(room != NULL);
    for (size_t i = 0; err == DMQ_OK && i < r->segment_count; i++) {
        const struct log_segment *segment = &r->segments[i];
        if (segment->base >= r->mark.segment) {
            uint64_t from = segment->base == r->mark.segment ? r->mark.pos : 0;
            err = rewrite_segment(rec, segment, from, room);
        }
    }
    free(room);
    return err;
}
