/* Where the log ends: what the store says of it, what its files say, and whether that fits. Looks
 * only, and changes nothing. */
#include "broker/log/recovery_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/log/index_file.h"
#include "broker/log/log_files.h"
#include "libdmq/base/assert.h"

/* ---- damage ---------------------------------------------------------------------------------- */

/* Damage that leaves nothing to read. */
dmq_err
recovery_lost(struct recovery *rec, const char *what)
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

dmq_err
recovery_take_rows(struct recovery *rec)
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
        return recovery_lost(rec, "its row of leader epochs cannot be read");
    }
    if (open->producers == NULL) {
        r->producers = producers_new();
        return DMQ_OK;
    }
    dmq_err err = producers_from_row(buf_bytes(open->producers), &r->producers, &rec->replay_from);
    if (err != DMQ_OK) {
        return recovery_lost(rec, "its producer snapshot cannot be read");
    }
    r->snapshot_offset = rec->replay_from;
    /* A snapshot is stored once the log up to it is synced. */
    if (rec->replay_from > rec->sure_below) {
        rec->sure_below = rec->replay_from;
    }
    return DMQ_OK;
}

/* What can be seen from the names and rows alone. */
dmq_err
recovery_check_names(struct recovery *rec)
{
    struct log_recovered *r = rec->r;
    bool found = false;
    for (size_t i = 0; i < r->segment_count; i++) {
        found = found || r->segments[i].base == r->mark.segment;
    }
    if (!found) {
        return recovery_lost(rec, "the segment of its synced mark is missing");
    }
    int64_t start = r->segments[0].base;
    if (start != rec->open->start || (rec->row.count > 0 && rec->row.entries[0].start < start)) {
        return recovery_lost(rec, "its first segment is missing");
    }
    if (r->mark.offset < start || r->mark.segment > r->mark.offset) {
        return recovery_lost(rec, "its synced mark does not fit its segments");
    }
    if (rec->replay_from != INT64_MIN && rec->replay_from < start) {
        return recovery_lost(rec, "its producer snapshot is older than its first segment");
    }
    if (epochs_at(&rec->row, r->mark.offset - 1) != r->mark.epoch) {
        return recovery_lost(rec, "its row of leader epochs does not reach the synced mark");
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

/* Where the walk has come to the mark's offset, it is at the mark's position; or finds it. */
static bool
mark_fits(struct recovery *rec)
{
    struct log_mark *mark = &rec->r->mark;
    const struct log_walk *at = &rec->last;
    if (at->builder.base != mark->segment || at->end != mark->offset) {
        return true;
    }
    if (mark->pos == LOG_POS_UNKNOWN) {
        mark->pos = at->pos;
    }
    return at->pos == mark->pos;
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
dmq_err
recovery_walk(struct recovery *rec, size_t i, bool replay, struct log_walk *out)
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
dmq_err
recovery_compare_indexes(struct recovery *rec, const struct log_walk *walked, bool *ret_equal)
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
    err = recovery_walk(rec, i, false, &walked);
    if (err == DMQ_OK && walked.end != end) {
        err = damaged(rec, i, walked.pos, walked.end, why_ended(&walked));
    }
    rec->wanting[i] = true;
    log_walk_deinit(&walked);
    return err;
}

dmq_err
recovery_check_old(struct recovery *rec, size_t count)
{
    dmq_err err = DMQ_OK;
    for (size_t i = 0; err == DMQ_OK && i < count; i++) {
        err = check_old(rec, i);
    }
    return err;
}

/* After a clean stop the mark is the end: true if the files agree, so that no walk is needed. */
dmq_err
recovery_check_clean(struct recovery *rec, bool *ret_clean)
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
size_t
recovery_first_to_walk(const struct recovery *rec)
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
    dmq_err err = recovery_walk(rec, i, true, walked);
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
        err = recovery_compare_indexes(rec, walked, &equal);
        rec->wanting[i] = !equal || !walked->ended;
        return err;
    }
    if (walked->end < rec->sure_below) {
        return damaged(rec, i, walked->pos, walked->end, why_ended(walked));
    }
    return DMQ_OK;
}

/* Finds the end; afterwards *ret_last is the segment that it is in. */
dmq_err
recovery_find_end(struct recovery *rec, size_t first, size_t *ret_last)
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
