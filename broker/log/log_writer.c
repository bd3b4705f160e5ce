#include "broker/log/log_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

#define STEP_MIN ((uint64_t)64 << 10)
#define STEP_MAX ((uint64_t)64 << 20)
#define STEP_SYNCS 16 /* a step lasts for about so many syncs */
#define STEP_SHARE 64 /* and takes at most this part of the space that is left on the disk */

/* Up to this many bytes a sync, space is made by writing zeroes, in steps of at most ZERO_STEP_MAX;
 * beyond, writing everything twice costs more than it saves, and space is reserved. */
#define ZERO_RATE_MAX ((uint64_t)64 << 10)
#define ZERO_STEP_MAX ((uint64_t)256 << 10)
#define ZERO_PART ((size_t)64 << 10)
#define PAGE 4096

_Static_assert(ZERO_STEP_MAX / ZERO_PART + 1 < WRITER_SPARE_PARTS, "zeroes need parts");

/* A name of the newest segment, for sentences. */
static const char *
name_of(const struct log_writer *writer, char path[LOG_PATH_SIZE])
{
    return log_path(path, writer->dir, writer->base, LOG_SUFFIX);
}

static dmq_err
failed(struct log_writer *writer, const char *what, int error, struct err_msg *msg)
{
    char path[LOG_PATH_SIZE];
    return error == 0 ? DMQ_OK : log_failed(msg, what, name_of(writer, path), error);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void
keep_rolled(struct log_writer *writer, struct segment_files files)
{
    if (writer->rolled_count == writer->rolled_capacity) {
        size_t capacity = writer->rolled_capacity == 0 ? 4 : writer->rolled_capacity * 2;
        struct segment_files *rolled = realloc(writer->rolled, capacity * sizeof(*rolled));
        DMQ_ASSERT(rolled != NULL);
        writer->rolled = rolled;
        writer->rolled_capacity = capacity;
    }
    writer->rolled[writer->rolled_count++] = files;
}

/* Positions at the end of the newest segment's files. */
static dmq_err
find_ends(struct log_writer *writer, struct err_msg *msg)
{
    const struct fs_ops *ops = writer->fs->ops;
    int error = ops->size(writer->files.log, &writer->made);
    error = error == 0 ? ops->size(writer->files.index, &writer->index_pos) : error;
    error = error == 0 ? ops->size(writer->files.times, &writer->times_pos) : error;
    writer->index_pos -= writer->index_pos % INDEX_ENTRY_SIZE;
    writer->times_pos -= writer->times_pos % TIME_ENTRY_SIZE;
    return failed(writer, "opening", error, msg);
}

static dmq_err
open_files(struct log_writer *writer, const struct log_recovered *recovered, struct err_msg *msg)
{
    size_t last = recovered->segment_count - 1;
    dmq_err err = DMQ_OK;
    for (size_t i = recovered->first_unsynced; err == DMQ_OK && i < last; i++) {
        struct segment_files files;
        err = segment_open(writer->fs, writer->dir, recovered->segments[i].base, &files, msg);
        if (err == DMQ_OK) {
            keep_rolled(writer, files);
        }
    }
    if (err == DMQ_OK) {
        err = segment_open(writer->fs, writer->dir, writer->base, &writer->files, msg);
    }
    return err == DMQ_OK ? find_ends(writer, msg) : err;
}

dmq_err
log_writer_open(struct log_writer *writer, struct fs *fs, struct plog_io_counts *counts,
                const struct log_open *open, const struct log_recovered *recovered,
                struct err_msg *msg)
{
    const struct log_segment *last = &recovered->segments[recovered->segment_count - 1];
    *writer = (struct log_writer){.fs = fs,
                                  .counts = counts,
                                  .segment_bytes = open->segment_bytes,
                                  .base = last->base,
                                  .pos = last->size,
                                  .max_timestamp = recovered->index.max_timestamp,
                                  .max_timestamp_offset = recovered->index.max_timestamp_offset,
                                  .time_indexed = recovered->index.time_indexed};
    snprintf(writer->dir, sizeof(writer->dir), "%s", open->dir);
    writer->dirty = !recovered->clean;
    writer->indexes_dirty = !recovered->clean;
    writer->names_dirty = !recovered->clean;
    writer->chain_dirty = !recovered->clean;
    dmq_err err = open_files(writer, recovered, msg);
    if (err != DMQ_OK) {
        log_writer_deinit(writer);
        return err;
    }
    DMQ_ASSERT(writer->made == writer->pos); /* recovery has cut the rest */
    return DMQ_OK;
}

void
log_writer_deinit(struct log_writer *writer)
{
    for (size_t i = 0; i < writer->rolled_count; i++) {
        segment_close(writer->fs, &writer->rolled[i]);
    }
    free(writer->rolled);
    writer->rolled = NULL;
    writer->rolled_count = 0;
    segment_close(writer->fs, &writer->files);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Bytes between two syncs: lately, or already now with a write that ends at end. */
static uint64_t
rate_of(const struct log_writer *writer, uint64_t end)
{
    uint64_t now = writer->since_sync + (end - writer->pos);
    return writer->sync_bytes > now ? writer->sync_bytes : now;
}

/* Where little space is left, one log must not take it from the others. */
static uint64_t
step_for(const struct log_writer *writer, uint64_t rate)
{
    uint64_t most = rate <= ZERO_RATE_MAX ? ZERO_STEP_MAX : STEP_MAX;
    uint64_t step = STEP_MIN;
    struct fs_space space;
    if (writer->fs->ops->space(writer->fs, writer->dir, &space) == 0 &&
        space.free / STEP_SHARE < most) {
        most = space.free / STEP_SHARE;
    }
    while (step < most && step < rate * STEP_SYNCS) {
        step *= 2;
    }
    return step < most ? step : most;
}

/* Makes space for what ends at end, if it lacks, and a step beyond. At a low rate that is for the
 * write itself to do: *ret_zeroes bytes behind what it writes. */
static int
make_space(struct log_writer *writer, uint64_t end, uint64_t *ret_zeroes)
{
    *ret_zeroes = 0;
    if (end <= writer->made) {
        return 0;
    }
    uint64_t rate = rate_of(writer, end);
    uint64_t target = (end + step_for(writer, rate) + PAGE - 1) / PAGE * PAGE;
    uint64_t most = (uint64_t)writer->segment_bytes;
    if (target > most) {
        target = end > most ? end : most;
    }
    if (rate <= ZERO_RATE_MAX) {
        *ret_zeroes = target - end;
        return 0;
    }
    int error = writer->fs->ops->allocate(writer->files.log, writer->made, target - writer->made);
    if (error == 0) {
        writer->made = target;
    }
    return error == ENOSPC ? 0 : error; /* perhaps what is asked for fits all the same */
}

static size_t
add_zeroes(struct bytes *parts, size_t count, uint64_t size)
{
    static const uint8_t zeroes[ZERO_PART];
    while (size > 0) {
        size_t part = size < sizeof(zeroes) ? (size_t)size : sizeof(zeroes);
        parts[count++] = bytes_of(zeroes, part);
        size -= part;
    }
    DMQ_ASSERT(count <= WRITER_MAX_PARTS + WRITER_SPARE_PARTS);
    return count;
}

static int
write_all(struct log_writer *writer, const struct bytes *parts, size_t count, uint64_t pos)
{
    writer->counts->writes++;
    writer->dirty = true;
    return writer->fs->ops->pwritev(writer->files.log, parts, count, pos);
}

/* The disk is full: what may have been written of the batches goes, durably, so that none of them
 * can come back behind others that will stand in their place. */
static dmq_err
give_up(struct log_writer *writer, struct err_msg *msg)
{
    char path[LOG_PATH_SIZE];
    char room[LOG_ERRNO_SIZE];
    writer->failed = true;
    int error = writer->fs->ops->truncate(writer->files.log, writer->pos);
    error = error == 0 ? writer->fs->ops->datasync(writer->files.log) : error;
    if (error != 0) {
        return err_set(msg, DMQ_ERR_IO, "cutting %s failed: %s", name_of(writer, path),
                       log_errno(error, room));
    }
    writer->made = writer->pos;
    return log_failed(msg, "writing", name_of(writer, path), ENOSPC);
}

dmq_err
log_writer_append(struct log_writer *writer, struct bytes *parts, size_t count, struct err_msg *msg)
{
    uint64_t size = 0;
    uint64_t zeroes = 0;
    DMQ_ASSERT(!writer->failed && !writer->ended && count <= WRITER_MAX_PARTS);
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    uint64_t end = writer->pos + size;
    int error = make_space(writer, end, &zeroes);
    if (error == 0) {
        error = write_all(writer, parts, add_zeroes(parts, count, zeroes), writer->pos);
    }
    if (error == ENOSPC && zeroes > 0) { /* some of the zeroes may be there: made covers them */
        error = write_all(writer, parts, count, writer->pos);
    }
    if (error == ENOSPC || error == EDQUOT) {
        return give_up(writer, msg);
    }
    if (error != 0) {
        return failed(writer, "writing", error, msg);
    }
    writer->pos = end;
    writer->made = end + zeroes > writer->made ? end + zeroes : writer->made;
    writer->since_sync += size;
    writer->counts->bytes += size;
    writer->counts->batches += count;
    return DMQ_OK;
}

static int
append_index(struct log_writer *writer, struct fs_file *file, struct bytes entries, uint64_t *pos)
{
    if (entries.size == 0) {
        return 0;
    }
    writer->counts->index_writes++;
    writer->indexes_dirty = true;
    int error = writer->fs->ops->pwritev(file, &entries, 1, *pos);
    if (error == 0) {
        *pos += entries.size;
    }
    return error == ENOSPC || error == EDQUOT ? 0 : error;
}

dmq_err
log_writer_index(struct log_writer *writer, struct bytes index, struct bytes times,
                 struct err_msg *msg)
{
    int error = append_index(writer, writer->files.index, index, &writer->index_pos);
    if (error == 0) {
        error = append_index(writer, writer->files.times, times, &writer->times_pos);
    }
    return failed(writer, "writing an index of", error, msg);
}

/* ---- ending a segment ------------------------------------------------------------------------ */

static int
write_last_time(struct log_writer *writer)
{
    uint8_t entry[TIME_ENTRY_SIZE];
    if (writer->pos == 0 || writer->max_timestamp <= writer->time_indexed) {
        return 0;
    }
    time_entry_put(entry, writer->base,
                   (struct time_entry){writer->max_timestamp, writer->max_timestamp_offset});
    writer->time_indexed = writer->max_timestamp;
    return append_index(writer, writer->files.times, bytes_of(entry, sizeof(entry)),
                        &writer->times_pos);
}

/* Ends the newest segment's files exactly where its batches end. */
static int
trim(struct log_writer *writer)
{
    int error = write_last_time(writer);
    if (error == 0 && writer->made != writer->pos) {
        error = writer->fs->ops->truncate(writer->files.log, writer->pos);
        writer->made = writer->pos;
        writer->dirty = true;
    }
    return error;
}

/* A new segment's files are empty: what an earlier run may have left of its indexes goes. */
static int
empty_files(struct fs *fs, const struct segment_files *new)
{
    struct fs_file *const files[] = {new->log, new->index, new->times};
    int error = 0;
    for (size_t i = 0; error == 0 && i < 3; i++) {
        uint64_t size = 0;
        error = fs->ops->size(files[i], &size);
        if (error == 0 && size > 0) {
            error = fs->ops->truncate(files[i], 0);
        }
    }
    return error;
}

/* Where there is no room for a new segment the newest one stays as it is, complete. */
static dmq_err
begin_segment(struct log_writer *writer, int64_t base, struct segment_files *ret_files,
              struct err_msg *msg)
{
    dmq_err err = failed(writer, "ending", trim(writer), msg);
    if (err == DMQ_OK) {
        err = segment_open(writer->fs, writer->dir, base, ret_files, msg);
    }
    if (err == DMQ_OK) {
        err = failed(writer, "beginning", empty_files(writer->fs, ret_files), msg);
        if (err != DMQ_OK) {
            segment_close(writer->fs, ret_files);
        }
    }
    writer->failed = err == DMQ_ERR_DISK_FULL;
    return err;
}

dmq_err
log_writer_roll(struct log_writer *writer, int64_t base, struct err_msg *msg)
{
    struct segment_files files;
    dmq_err err = begin_segment(writer, base, &files, msg);
    if (err != DMQ_OK) {
        return err;
    }
    keep_rolled(writer, writer->files);
    writer->files = files;
    writer->base = base;
    writer->pos = 0;
    writer->made = 0;
    writer->index_pos = 0;
    writer->times_pos = 0;
    writer->max_timestamp = -1;
    writer->max_timestamp_offset = base;
    writer->time_indexed = INT64_MIN;
    writer->names_dirty = true;
    writer->dirty = true;
    writer->indexes_dirty = true;
    return DMQ_OK;
}

/* ---- syncing --------------------------------------------------------------------------------- */

static int
sync_file(struct log_writer *writer, struct fs_file *file)
{
    writer->counts->file_syncs++;
    return writer->fs->ops->datasync(file);
}

static int
sync_segment(struct log_writer *writer, const struct segment_files *files)
{
    int error = sync_file(writer, files->log);
    error = error == 0 ? sync_file(writer, files->index) : error;
    return error == 0 ? sync_file(writer, files->times) : error;
}

/* Segments that were rolled: with their indexes, which are complete now and never written again. */
static int
sync_rolled(struct log_writer *writer)
{
    int error = 0;
    for (size_t i = 0; error == 0 && i < writer->rolled_count; i++) {
        error = sync_segment(writer, &writer->rolled[i]);
    }
    for (size_t i = 0; error == 0 && i < writer->rolled_count; i++) {
        segment_close(writer->fs, &writer->rolled[i]);
    }
    writer->rolled_count = error == 0 ? 0 : writer->rolled_count;
    return error;
}

bool
log_writer_needs_sync(const struct log_writer *writer)
{
    return writer->dirty || writer->names_dirty || writer->rolled_count > 0;
}

size_t
log_writer_list_syncs(const struct log_writer *writer, struct fs_sync *ret_syncs)
{
    size_t count = 0;
    if (writer->dirty) {
        ret_syncs[count++] = (struct fs_sync){.file = writer->files.log};
    }
    if (writer->ended && writer->indexes_dirty) {
        ret_syncs[count++] = (struct fs_sync){.file = writer->files.index};
        ret_syncs[count++] = (struct fs_sync){.file = writer->files.times};
    }
    if (writer->names_dirty) {
        ret_syncs[count++] = (struct fs_sync){.path = writer->dir};
    }
    DMQ_ASSERT(count <= WRITER_MAX_SYNCS);
    return count;
}

dmq_err
log_writer_take_syncs(struct log_writer *writer, const struct fs_sync *syncs, size_t count,
                      struct err_msg *msg)
{
    for (size_t i = 0; i < count; i++) {
        bool is_file = syncs[i].file != NULL;
        writer->counts->file_syncs += is_file ? 1 : 0;
        writer->counts->folder_syncs += is_file ? 0 : 1;
        if (syncs[i].error != 0) {
            return failed(writer, "syncing", syncs[i].error, msg);
        }
    }
    if (count > 0) { /* all that was dirty was listed */
        writer->dirty = false;
        writer->names_dirty = false;
        writer->indexes_dirty = writer->indexes_dirty && !writer->ended;
    }
    return DMQ_OK;
}

dmq_err
log_writer_sync(struct log_writer *writer, struct err_msg *msg)
{
    int error = sync_rolled(writer);
    if (error == 0 && writer->dirty) {
        error = sync_file(writer, writer->files.log);
    }
    if (error == 0 && writer->names_dirty) {
        writer->counts->folder_syncs++;
        error = writer->fs->ops->sync_dir(writer->fs, writer->dir);
    }
    if (error != 0) {
        return failed(writer, "syncing", error, msg);
    }
    writer->dirty = false;
    writer->names_dirty = false;
    writer->sync_bytes = (writer->sync_bytes + writer->since_sync) / 2;
    writer->since_sync = 0;
    return DMQ_OK;
}

dmq_err
log_writer_end(struct log_writer *writer, struct err_msg *msg)
{
    writer->ended = true;
    return failed(writer, "ending", trim(writer), msg);
}
