/* How the end is found. Below the mark, everything was synced: a bad byte there is damage, and
 * nothing is touched. From the mark on, unsynced bytes came to the disk in any order or not at all:
 * the first bad batch is the end, whatever good batches lie behind it, and later segments go with
 * it.
 *
 *   segments   |---- A ----|---- B ----|---- C ----|---- D --..........
 *                                ^snapshot  ^mark        ^end   ^space made ahead, zeroes
 *   A          its end is checked: last index entry to the end of the file
 *   B C D      walked whole: offsets, epochs, CRCs; producers replayed from the snapshot on
 *
 * A log that is truncated (cuts) is recovered with an end that is given: what lies behind it goes
 * the same way as a torn tail, and its producers are replayed to there.
 *
 * After a clean stop the mark is the exact end, and D is checked as A is. A walk changes nothing;
 * only when the log is known to be sound, later segments are removed, newest first, so that there
 * never is a gap; then the last one is cut, and all this is synced before OPEN comes back:
 * otherwise a batch that is cut here could rise again behind new ones. Indexes are compared with
 * what the walk made, and replaced where they differ. */
#include "broker/log/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/log_files.h"
#include "broker/log/recovery_internal.h"
#include "libdmq/base/assert.h"

#define SEGMENTS_MAX 1000000 /* of a log */

void
log_recovered_free(struct log_recovered *r)
{
    if (r == NULL) {
        return;
    }
    buf_unref(r->dir);
    epochs_deinit(&r->epochs);
    producers_free(r->producers);
    free(r->segments);
    free(r);
}

/* ---- what there is --------------------------------------------------------------------------- */

struct listing {
    struct log_recovered *r;
    size_t capacity;
};

static int
note_name(void *arg, const char *name)
{
    struct listing *listing = arg;
    struct log_recovered *r = listing->r;
    int64_t base;
    if (!log_name_parse(name, &base)) {
        return 0; /* indexes, the name file, and what is not ours */
    }
    if (r->segment_count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 16 : listing->capacity * 2;
        struct log_segment *segments = realloc(r->segments, capacity * sizeof(*segments));
        if (segments == NULL || capacity > SEGMENTS_MAX) {
            r->segments = segments == NULL ? r->segments : segments;
            return ENOMEM;
        }
        r->segments = segments;
        listing->capacity = capacity;
    }
    r->segments[r->segment_count++] =
        (struct log_segment){.base = base, .max_timestamp = -1, .written_ms = -1};
    return 0;
}

static int
compare_segments(const void *a, const void *b)
{
    int64_t x = ((const struct log_segment *)a)->base;
    int64_t y = ((const struct log_segment *)b)->base;
    return (x > y) - (x < y);
}

/* Lists the segments; *ret_exists is false if the folder is missing. */
static dmq_err
list_segments(struct recovery *rec, bool *ret_exists)
{
    struct listing listing = {rec->r, 0};
    int error = rec->fs->ops->list(rec->fs, rec->open->dir, note_name, &listing);
    *ret_exists = error != ENOENT;
    if (error != 0 && error != ENOENT) {
        return log_failed(rec->msg, "listing", rec->open->dir, error);
    }
    if (rec->r->segment_count > 0) {
        qsort(rec->r->segments, rec->r->segment_count, sizeof(struct log_segment),
              compare_segments);
    }
    return DMQ_OK;
}

/* ---- a new log ------------------------------------------------------------------------------- */

static dmq_err
make_folder(struct recovery *rec, const char *path)
{
    int error = rec->fs->ops->mkdir(rec->fs, path);
    return error == 0 || error == EEXIST ? DMQ_OK : log_failed(rec->msg, "making", path, error);
}

/* The name file is for people: it is not synced, and nothing reads it. */
static dmq_err
write_name(struct recovery *rec)
{
    char path[LOG_PATH_SIZE];
    const struct bytes parts[] = {bytes_str(rec->open->label), bytes_str("\n")};
    struct fs_file *file = NULL;
    log_join(path, rec->open->dir, "name");
    int error = rec->fs->ops->open(rec->fs, path, FS_READ | FS_WRITE | FS_CREATE, &file);
    if (error == 0) {
        error = rec->fs->ops->pwritev(file, parts, 2, 0);
        rec->fs->ops->close(file);
    }
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "writing", path, error);
}

/* Makes the folder and its first segment, where the log begins. A crash may have left some of it.
 */
static dmq_err
create(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    struct segment_files files;
    char parent[LOG_DIR_SIZE];
    dmq_err err = make_folder(rec, log_parent(parent, rec->open->dir));
    if (err == DMQ_OK) {
        err = make_folder(rec, rec->open->dir);
    }
    if (err == DMQ_OK) {
        err = write_name(rec);
    }
    if (err == DMQ_OK) {
        err = segment_open(rec->fs, rec->open->dir, rec->open->start, &files, rec->msg);
    }
    if (err != DMQ_OK) {
        return err;
    }
    segment_close(rec->fs, &files);
    struct listing listing = {r, 0};
    char path[LOG_PATH_SIZE];
    log_path(path, rec->open->dir, rec->open->start, LOG_SUFFIX);
    int error = note_name(&listing, path + strlen(rec->open->dir) + 1);
    r->created = true;
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "making", rec->open->dir, error);
}

/* ---- below the log start --------------------------------------------------------------------- */

/* The store says where the log begins: what is older was to be removed, and was not, or not
 * durably. Without the segment that begins there nothing is touched. */
static dmq_err
finish_removal(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    size_t old = 0;
    while (old < r->segment_count && r->segments[old].base < rec->open->start) {
        old++;
    }
    if (old == r->segment_count || r->segments[old].base != rec->open->start) {
        return DMQ_OK;
    }
    r->segment_count -= old;
    memmove(r->segments, r->segments + old, r->segment_count * sizeof(*r->segments));
    return segments_remove_below(rec->fs, rec->open->dir, rec->open->start, rec->msg);
}

/* For retention: a client's timestamps may lie in the future. */
static dmq_err
note_times(struct recovery *rec)
{
    char path[LOG_PATH_SIZE];
    int error = 0;
    for (size_t i = 0; error == 0 && i < rec->r->segment_count; i++) {
        struct log_segment *segment = &rec->r->segments[i];
        log_path(path, rec->open->dir, segment->base, LOG_SUFFIX);
        error = rec->fs->ops->modified(rec->fs, path, &segment->written_ms);
    }
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "looking at", path, error);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* A follower's log that ended before its leader's began: the store says that it begins there and
 * holds nothing, and all that is here is older. This may have been cut short anywhere; once the
 * first segment is there, the log is like any other. */
static bool
was_emptied(const struct recovery *rec)
{
    const struct log_open *open = rec->open;
    const struct log_recovered *r = rec->r;
    bool older = r->segment_count == 0 || r->segments[r->segment_count - 1].base < open->start;
    return open->marked && open->start > 0 && open->mark.offset == open->start &&
           open->mark.segment == open->start && open->mark.pos == 0 && open->mark.epoch == -1 &&
           older;
}

/* Nothing of a log without a mark was ever synced. If its first segment is not there, what is there
 * are names that came to the disk alone. */
static dmq_err
find_segments(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    const struct log_open *open = rec->open;
    bool exists = true;
    dmq_err err = list_segments(rec, &exists);
    if (err == DMQ_OK && !open->marked && r->segment_count > 0 && r->segments[0].base != 0) {
        err = recovery_remove_later(rec, 0);
    }
    if (err == DMQ_OK && was_emptied(rec)) {
        err = recovery_remove_later(rec, 0);
        return err == DMQ_OK ? create(rec) : err;
    }
    if (err != DMQ_OK || r->segment_count > 0) {
        return err;
    }
    if (open->marked && (open->mark.offset > 0 || open->mark.segment > 0)) {
        return recovery_lost(rec,
                             exists ? "all its segments are missing" : "its folder is missing");
    }
    return create(rec);
}

static dmq_err
recover_unclean(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    size_t first = recovery_first_to_walk(rec);
    size_t last = first;
    dmq_err err = recovery_check_old(rec, first);
    if (err == DMQ_OK) {
        err = recovery_find_end(rec, first, &last);
    }
    if (err == DMQ_OK) {
        err = recovery_remove_later(rec, last + 1);
    }
    if (err == DMQ_OK) {
        err = recovery_put_right(rec, &rec->last);
    }
    if (err == DMQ_OK) {
        err = recovery_put_wanting_right(rec);
    }
    if (err == DMQ_OK) {
        err = recovery_rewrite_unsynced(rec);
    }
    if (err == DMQ_OK) {
        r->index = rec->last.builder;
        while (r->first_unsynced < last && r->segments[r->first_unsynced].base < r->mark.segment) {
            r->first_unsynced++;
        }
    }
    return err;
}

static dmq_err
recover(struct recovery *rec)
{
    bool clean = false;
    dmq_err err = find_segments(rec);
    if (err == DMQ_OK) {
        err = finish_removal(rec);
    }
    if (err == DMQ_OK) {
        err = note_times(rec);
    }
    if (err == DMQ_OK) {
        err = recovery_take_rows(rec);
    }
    if (err == DMQ_OK) {
        err = recovery_check_names(rec);
    }
    if (err == DMQ_OK) {
        rec->wanting = calloc(rec->r->segment_count, sizeof(bool));
        DMQ_ASSERT(rec->wanting != NULL);
        err = recovery_check_clean(rec, &clean);
    }
    if (err != DMQ_OK) {
        return err;
    }
    if (!clean) {
        return recover_unclean(rec);
    }
    err = recovery_check_old(rec, rec->r->segment_count - 1);
    return err == DMQ_OK ? recovery_put_wanting_right(rec) : err;
}

dmq_err
log_recover(struct fs *fs, const struct log_open *open, struct log_recovered **ret_recovered,
            struct err_msg *msg)
{
    struct recovery rec = {.fs = fs, .open = open, .msg = msg};
    DMQ_ASSERT(!open->cuts || (open->marked && !open->clean && open->mark.offset <= open->cut));
    *ret_recovered = NULL;
    rec.r = calloc(1, sizeof(*rec.r));
    if (rec.r == NULL) {
        return err_set(msg, DMQ_ERR_NOMEM, "out of memory");
    }
    rec.r->damaged_from = -1;
    rec.r->dir = buf_copy(bytes_of(open->dir, strlen(open->dir) + 1));
    DMQ_ASSERT(rec.r->dir != NULL);
    dmq_err err = recover(&rec);
    free(rec.wanting);
    epochs_deinit(&rec.row);
    log_walk_deinit(&rec.last);
    if (err == DMQ_OK || (err == DMQ_ERR_DAMAGED && rec.r->damaged_from >= 0)) {
        *ret_recovered = rec.r;
    } else {
        log_recovered_free(rec.r);
    }
    return err;
}
