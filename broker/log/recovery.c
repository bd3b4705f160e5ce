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
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/index_file.h"
#include "broker/log/log_files.h"
#include "broker/log/log_walk.h"
#include "libdmq/base/assert.h"

#define SEGMENTS_MAX 1000000 /* of a log */

struct recovery {
    struct fs *fs;
    const struct log_open *open;
    struct log_recovered *r;
    struct err_msg *msg;
    struct epochs row;    /* leader epochs as the store has them */
    int64_t replay_from;  /* offset of the producer snapshot; INT64_MIN: none */
    int64_t sure_below;   /* records below this were synced */
    bool *wanting;        /* per segment: its indexes or its file's end must be put right */
    struct log_walk last; /* the newest walk: in the end, the one that found the end */
};

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

/* ---- damage ---------------------------------------------------------------------------------- */

/* Damage that leaves nothing to read. */
static dmq_err
lost(struct recovery *rec, const char *what)
{
    return err_set(rec->msg, DMQ_ERR_DAMAGED, "%s is damaged: %s; its folder is left as it is",
                   rec->open->label, what);
}

/* Leader epochs of the store that begin below an offset. */
static void
take_stored_epochs(struct recovery *rec, int64_t below)
{
    for (size_t i = 0; i < rec->row.count && rec->row.entries[i].start < below; i++) {
        bool rises =
            epochs_note(&rec->r->epochs, rec->row.entries[i].epoch, rec->row.entries[i].start);
        DMQ_ASSERT(rises);
    }
}

/* Segment i is bad from pos on, which is offset `from`: what lies before can be read. */
static dmq_err
damaged(struct recovery *rec, size_t i, uint64_t pos, int64_t from, const char *why)
{
    struct log_recovered *r = rec->r;
    int64_t base = r->segments[i].base;
    r->segments[i].size = pos;
    r->segment_count = i + 1;
    r->first_unsynced = i + 1;
    r->end = from;
    r->damaged_from = from;
    if (r->epochs.count == 0) {
        take_stored_epochs(rec, from); /* no walk has come by yet */
    }
    epochs_cut(&r->epochs, from);
    index_builder_init(&r->index, base, rec->open->index_interval_bytes);
    return err_set(rec->msg, DMQ_ERR_DAMAGED,
                   "%s is damaged from offset %" PRId64 " (%020" PRId64 ".log, position %" PRIu64
                   "): %.80s; see dmq log verify",
                   rec->open->label, from, base, pos, why);
}

/* ---- what the store says --------------------------------------------------------------------- */

static dmq_err
take_rows(struct recovery *rec)
{
    const struct log_open *open = rec->open;
    struct log_recovered *r = rec->r;
    int64_t start = r->segments[0].base;
    r->snapshot_offset = -1;
    r->mark = (struct log_mark){.segment = start, .pos = 0, .offset = start, .epoch = -1};
    if (open->marked) {
        r->mark = open->mark;
    }
    rec->replay_from = INT64_MIN;
    rec->sure_below = r->mark.offset;
    if (open->epochs != NULL && epochs_from_row(buf_bytes(open->epochs), &rec->row) != DMQ_OK) {
        return lost(rec, "its row of leader epochs cannot be read");
    }
    if (open->producers == NULL) {
        r->producers = producers_new();
        return DMQ_OK;
    }
    dmq_err err = producers_from_row(buf_bytes(open->producers), &r->producers, &rec->replay_from);
    if (err != DMQ_OK) {
        return lost(rec, "its producer snapshot cannot be read");
    }
    r->snapshot_offset = rec->replay_from;
    /* A snapshot is stored once the log up to it is synced. */
    if (rec->replay_from > rec->sure_below) {
        rec->sure_below = rec->replay_from;
    }
    return DMQ_OK;
}

/* What can be seen from the names and rows alone. */
static dmq_err
check_names(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    bool found = false;
    for (size_t i = 0; i < r->segment_count; i++) {
        found = found || r->segments[i].base == r->mark.segment;
    }
    if (!found) {
        return lost(rec, "the segment of its synced mark is missing");
    }
    int64_t start = r->segments[0].base;
    if (start != rec->open->start || (rec->row.count > 0 && rec->row.entries[0].start < start)) {
        return lost(rec, "its first segment is missing");
    }
    if (r->mark.offset < start || r->mark.segment > r->mark.offset) {
        return lost(rec, "its synced mark does not fit its segments");
    }
    if (rec->replay_from != INT64_MIN && rec->replay_from < start) {
        return lost(rec, "its producer snapshot is older than its first segment");
    }
    if (epochs_at(&rec->row, r->mark.offset - 1) != r->mark.epoch) {
        return lost(rec, "its row of leader epochs does not reach the synced mark");
    }
    return DMQ_OK;
}

/* ---- walking segments ------------------------------------------------------------------------ */

/* The epoch is outside the CRC. Below the mark it must be the one that the store has. */
static bool
is_stored_epoch(const struct recovery *rec, const struct batch_header *header)
{
    return header->base_offset >= rec->r->mark.offset ||
           header->leader_epoch == epochs_at(&rec->row, header->base_offset);
}

/* From the mark on it must not fall. */
static bool
epoch_fits(const struct recovery *rec, const struct batch_header *header)
{
    return is_stored_epoch(rec, header) && header->leader_epoch >= 0 &&
           header->leader_epoch >= epochs_last(&rec->r->epochs);
}

/* Where the walk has come to the mark's offset, it is at the mark's position. */
static bool
mark_fits(const struct recovery *rec)
{
    const struct log_mark *mark = &rec->r->mark;
    const struct log_walk *at = &rec->last;
    return at->builder.base != mark->segment || at->end != mark->offset || at->pos == mark->pos;
}

static bool
accept_batch(void *arg, const struct batch_header *header, struct bytes batch, struct err_msg *why)
{
    struct recovery *rec = arg;
    struct log_recovered *r = rec->r;
    int64_t mark = r->mark.offset;
    (void)batch;
    if (rec->open->cuts && batch_last_offset(header) >= rec->open->cut) {
        err_set(why, DMQ_ERR_CORRUPT_BATCH, "the log is cut here");
        return false;
    }
    if (!epoch_fits(rec, header)) {
        err_set(why, DMQ_ERR_CORRUPT_BATCH, "leader epoch %" PRId32 " cannot stand here",
                header->leader_epoch);
        return false;
    }
    if ((header->base_offset < mark && batch_last_offset(header) >= mark) || !mark_fits(rec)) {
        err_set(why, DMQ_ERR_CORRUPT_BATCH, "the synced mark is not between two batches here");
        return false;
    }
    if (!epochs_note(&r->epochs, header->leader_epoch, header->base_offset)) {
        err_set(why, DMQ_ERR_CORRUPT_BATCH, "too many leader epochs");
        return false;
    }
    if (header->base_offset >= rec->replay_from) {
        producers_note(r->producers, header);
    }
    return true;
}

/* In a segment that nothing is replayed from. */
static bool
accept_old(void *arg, const struct batch_header *header, struct bytes batch, struct err_msg *why)
{
    const struct recovery *rec = arg;
    (void)batch;
    if (!is_stored_epoch(rec, header)) {
        err_set(why, DMQ_ERR_CORRUPT_BATCH, "leader epoch %" PRId32 " cannot stand here",
                header->leader_epoch);
        return false;
    }
    return true;
}

static const char *
why_ended(const struct log_walk *walked)
{
    return walked->ended ? "the file ends there" : walked->why.text;
}

/* Walks segment i; replay: into the recovered log, by rec->last. */
static dmq_err
walk(struct recovery *rec, size_t i, bool replay, struct log_walk *out)
{
    struct log_recovered *r = rec->r;
    char path[LOG_PATH_SIZE];
    log_walk_init(out, r->segments[i].base, rec->open->index_interval_bytes);
    if (i + 1 < r->segment_count) {
        out->limit = r->segments[i + 1].base;
    }
    out->accept = replay ? accept_batch : accept_old;
    out->arg = rec;
    log_path(path, rec->open->dir, r->segments[i].base, LOG_SUFFIX);
    dmq_err err = log_walk_run(out, rec->fs, path, rec->msg);
    r->read_bytes += out->read_bytes;
    r->segments[i].size = out->pos;
    r->segments[i].max_timestamp = out->builder.max_timestamp;
    return err;
}

/* Whether both index files of a segment hold what its walk made. */
static dmq_err
compare_indexes(struct recovery *rec, const struct log_walk *walked, bool *ret_equal)
{
    char path[LOG_PATH_SIZE];
    bool index = false;
    bool times = false;
    log_path(path, rec->open->dir, walked->builder.base, INDEX_SUFFIX);
    dmq_err err = index_file_equals(rec->fs, path, bytes_of(walked->index.data, walked->index.size),
                                    &index, rec->msg);
    if (err == DMQ_OK) {
        log_path(path, rec->open->dir, walked->builder.base, TIME_SUFFIX);
        err = index_file_equals(rec->fs, path, bytes_of(walked->times.data, walked->times.size),
                                &times, rec->msg);
    }
    *ret_equal = index && times;
    return err;
}

/* ---- segments that need no walk -------------------------------------------------------------- */

/* Looks from the segment's last index entry to the end of its file, which must be offset `end`. */
static dmq_err
check_end(struct recovery *rec, size_t i, int64_t end, struct index_builder *builder,
          bool *ret_good)
{
    struct log_segment *segment = &rec->r->segments[i];
    char path[LOG_PATH_SIZE];
    struct fs_file *file = NULL;
    struct index_resume resume = {.builder = builder};
    struct batch_header header;
    struct bytes batch;
    struct log_scan scan;
    struct err_msg why;
    uint64_t size = 0;
    *ret_good = false;
    log_path(path, rec->open->dir, segment->base, LOG_SUFFIX);
    dmq_err err = log_open_existing(rec->fs, path, &file, &size, rec->msg);
    if (err != DMQ_OK || file == NULL) {
        return err;
    }
    index_builder_init(builder, segment->base, rec->open->index_interval_bytes);
    err = index_files_resume(rec->fs, rec->open->dir, size, &resume, rec->msg);
    if (err == DMQ_OK && resume.good) {
        int64_t expected = resume.last.offset;
        log_scan_init(&scan, rec->fs, file, size, (size_t)64 << 10);
        scan.pos = resume.last.pos;
        enum scan_result result;
        while ((result = log_scan_next(&scan, &header, &batch, &why)) == SCAN_BATCH &&
               header.base_offset == expected && is_stored_epoch(rec, &header)) {
            expected = batch_last_offset(&header) + 1;
        }
        *ret_good = result == SCAN_END && expected == end;
        rec->r->read_bytes += scan.read_bytes;
        log_scan_deinit(&scan);
        segment->size = size;
        segment->max_timestamp = builder->max_timestamp;
    }
    rec->fs->ops->close(file);
    return err;
}

/* A segment below the mark and the snapshot. If its end does not hold up the whole of it is looked
 * at: then it is damaged, or its indexes are. */
static dmq_err
check_old(struct recovery *rec, size_t i)
{
    struct log_recovered *r = rec->r;
    struct index_builder builder;
    struct log_walk walked;
    bool good;
    int64_t end = r->segments[i + 1].base;
    dmq_err err = check_end(rec, i, end, &builder, &good);
    if (err != DMQ_OK || good) {
        return err;
    }
    err = walk(rec, i, false, &walked);
    if (err == DMQ_OK && walked.end != end) {
        err = damaged(rec, i, walked.pos, walked.end, why_ended(&walked));
    }
    rec->wanting[i] = true;
    log_walk_deinit(&walked);
    return err;
}

static dmq_err
check_all_old(struct recovery *rec, size_t count)
{
    dmq_err err = DMQ_OK;
    for (size_t i = 0; err == DMQ_OK && i < count; i++) {
        err = check_old(rec, i);
    }
    return err;
}

/* After a clean stop the mark is the end: true if the files agree, so that no walk is needed. */
static dmq_err
check_clean(struct recovery *rec, bool *ret_clean)
{
    struct log_recovered *r = rec->r;
    size_t last = r->segment_count - 1;
    bool good = false;
    *ret_clean = false;
    if (!rec->open->clean || !rec->open->marked || rec->replay_from != r->mark.offset ||
        r->segments[last].base != r->mark.segment) {
        return DMQ_OK;
    }
    dmq_err err = check_end(rec, last, r->mark.offset, &r->index, &good);
    if (err != DMQ_OK || !good || r->segments[last].size != r->mark.pos) {
        return err;
    }
    r->clean = true;
    r->end = r->mark.offset;
    r->first_unsynced = r->segment_count;
    take_stored_epochs(rec, r->end);
    *ret_clean = true;
    return DMQ_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* First segment that has to be walked: the one that holds the snapshot or the mark, whichever is
 * lower. */
static size_t
first_to_walk(const struct recovery *rec)
{
    const struct log_recovered *r = rec->r;
    int64_t from = rec->replay_from < r->mark.offset ? rec->replay_from : r->mark.offset;
    size_t i = r->segment_count - 1;
    while (i > 0 && (r->segments[i].base > from || r->segments[i].base > r->mark.segment)) {
        i--;
    }
    return i;
}

/* Walks segment i. *ret_more: the next one follows on it. */
static dmq_err
walk_next(struct recovery *rec, size_t i, bool *ret_more)
{
    struct log_recovered *r = rec->r;
    struct log_walk *walked = &rec->last;
    bool equal = false;
    log_walk_deinit(walked);
    dmq_err err = walk(rec, i, true, walked);
    if (err != DMQ_OK) {
        return err;
    }
    r->end = walked->end;
    if (!mark_fits(rec)) {
        return damaged(rec, i, walked->pos, walked->end, "the synced mark is elsewhere");
    }
    *ret_more = i + 1 < r->segment_count && walked->end == r->segments[i + 1].base;
    if (*ret_more) {
        log_walk_finish(walked);
        err = compare_indexes(rec, walked, &equal);
        rec->wanting[i] = !equal || !walked->ended;
        return err;
    }
    if (walked->end < rec->sure_below) {
        return damaged(rec, i, walked->pos, walked->end, why_ended(walked));
    }
    return DMQ_OK;
}

/* Finds the end; afterwards *ret_last is the segment that it is in. */
static dmq_err
find_end(struct recovery *rec, size_t first, size_t *ret_last)
{
    struct log_recovered *r = rec->r;
    bool more = true;
    take_stored_epochs(rec, r->segments[first].base);
    for (size_t i = first; more; i++) {
        dmq_err err = walk_next(rec, i, &more);
        if (err != DMQ_OK) {
            return err;
        }
        *ret_last = i;
    }
    return DMQ_OK;
}

/* ---- making it so ---------------------------------------------------------------------------- */

static dmq_err
sync_folder(struct recovery *rec)
{
    int error = rec->fs->ops->sync_dir(rec->fs, rec->open->dir);
    return error == 0 ? DMQ_OK : log_failed(rec->msg, "syncing", rec->open->dir, error);
}

/* Removes segments from `keep` on, newest first. */
static dmq_err
remove_later(struct recovery *rec, size_t keep)
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
static dmq_err
put_right(struct recovery *rec, const struct log_walk *walked)
{
    char path[LOG_PATH_SIZE];
    bool equal = false;
    dmq_err err = cut(rec, walked);
    if (err == DMQ_OK) {
        err = compare_indexes(rec, walked, &equal);
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
static dmq_err
put_wanting_right(struct recovery *rec)
{
    dmq_err err = DMQ_OK;
    for (size_t i = 0; err == DMQ_OK && i + 1 < rec->r->segment_count; i++) {
        struct log_walk walked;
        if (!rec->wanting[i]) {
            continue;
        }
        err = walk(rec, i, false, &walked);
        if (err == DMQ_OK) {
            log_walk_finish(&walked);
            err = put_right(rec, &walked);
        }
        log_walk_deinit(&walked);
    }
    return err;
}

static dmq_err
recover_unclean(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    size_t first = first_to_walk(rec);
    size_t last = first;
    dmq_err err = check_all_old(rec, first);
    if (err == DMQ_OK) {
        err = find_end(rec, first, &last);
    }
    if (err == DMQ_OK) {
        err = remove_later(rec, last + 1);
    }
    if (err == DMQ_OK) {
        err = put_right(rec, &rec->last);
    }
    if (err == DMQ_OK) {
        err = put_wanting_right(rec);
    }
    if (err == DMQ_OK) {
        r->index = rec->last.builder;
        while (r->first_unsynced < last && r->segments[r->first_unsynced].base < r->mark.segment) {
            r->first_unsynced++;
        }
    }
    return err;
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

/* Makes the folder and its first segment. A crash may have left some of it. */
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
        err = segment_open(rec->fs, rec->open->dir, 0, &files, rec->msg);
    }
    if (err != DMQ_OK) {
        return err;
    }
    segment_close(rec->fs, &files);
    struct listing listing = {r, 0};
    int error = note_name(&listing, "00000000000000000000" LOG_SUFFIX);
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
        err = remove_later(rec, 0);
    }
    if (err != DMQ_OK || r->segment_count > 0) {
        return err;
    }
    if (open->marked && (open->mark.offset > 0 || open->mark.segment > 0)) {
        return lost(rec, exists ? "all its segments are missing" : "its folder is missing");
    }
    return create(rec);
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
        err = take_rows(rec);
    }
    if (err == DMQ_OK) {
        err = check_names(rec);
    }
    if (err == DMQ_OK) {
        rec->wanting = calloc(rec->r->segment_count, sizeof(bool));
        DMQ_ASSERT(rec->wanting != NULL);
        err = check_clean(rec, &clean);
    }
    if (err != DMQ_OK) {
        return err;
    }
    if (!clean) {
        return recover_unclean(rec);
    }
    err = check_all_old(rec, rec->r->segment_count - 1);
    return err == DMQ_OK ? put_wanting_right(rec) : err;
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
