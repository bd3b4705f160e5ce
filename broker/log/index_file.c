#include "broker/log/index_file.h"

#include <stdlib.h>

#include "broker/log/log_files.h"
#include "libdmq/base/assert.h"

#define BLOCK_ENTRIES 256 /* read at once where the search has come near */
#define PROBE_ENTRIES 8   /* read at once before: if the first is not sound, the next will do */
#define MAX_ENTRY_SIZE TIME_ENTRY_SIZE

/* ---- search ---------------------------------------------------------------------------------- */

enum side { ENTRY_BEFORE, ENTRY_BEHIND, ENTRY_BAD };

/* One of the two kinds of index, as a search sees it. */
struct search {
    struct fs *fs;
    struct fs_file *file;
    size_t entry_size;
    int64_t base;
    int64_t key;
    /* On which side of the key the entry lies; one before it is the answer so far. */
    enum side (*judge)(struct search *search, const uint8_t *entry);
    struct index_entry index_answer;
    struct time_entry time_answer;
    uint8_t block[BLOCK_ENTRIES * MAX_ENTRY_SIZE];
};

static enum side
judge_index(struct search *search, const uint8_t *from)
{
    struct index_entry entry;
    if (!index_entry_get(from, search->base, &entry)) {
        return ENTRY_BAD;
    }
    if (entry.offset > search->key) {
        return ENTRY_BEHIND;
    }
    search->index_answer = entry;
    return ENTRY_BEFORE;
}

static enum side
judge_time(struct search *search, const uint8_t *from)
{
    struct time_entry entry;
    if (!time_entry_get(from, search->base, &entry)) {
        return ENTRY_BAD;
    }
    if (entry.timestamp >= search->key) {
        return ENTRY_BEHIND;
    }
    search->time_answer = entry;
    return ENTRY_BEFORE;
}

/* Reads so many entries into the block; *ret_count is how many there are. */
static int
read_entries(struct search *search, uint64_t first, uint64_t count, size_t *ret_count)
{
    size_t got = 0;
    int error =
        search->fs->ops->pread(search->file, search->block, (size_t)count * search->entry_size,
                               first * search->entry_size, &got);
    *ret_count = got / search->entry_size;
    return error;
}

/* Narrows *low .. *high at its middle, by the first sound entry there; if there is none, the answer
 * is looked for before: it then lies further ahead of the key than it must, and is an answer all
 * the same. */
static int
narrow(struct search *search, uint64_t *low, uint64_t *high)
{
    size_t count;
    uint64_t middle = *low + (*high - *low) / 2;
    int error = read_entries(search, middle, PROBE_ENTRIES, &count);
    for (size_t i = 0; error == 0 && i < count; i++) {
        enum side side = search->judge(search, search->block + i * search->entry_size);
        if (side == ENTRY_BEFORE) {
            *low = middle + i + 1;
            return 0;
        }
        if (side == ENTRY_BEHIND) {
            break;
        }
    }
    *high = middle;
    return error;
}

static int
run_search(struct search *search)
{
    uint64_t size = 0;
    size_t count = 0;
    if (search->file == NULL) {
        return 0;
    }
    int error = search->fs->ops->size(search->file, &size);
    uint64_t low = 0;
    uint64_t high = size / search->entry_size;
    while (error == 0 && high - low > BLOCK_ENTRIES) {
        error = narrow(search, &low, &high);
    }
    if (error == 0) {
        error = read_entries(search, low, high - low, &count);
    }
    enum side side = ENTRY_BEFORE;
    for (size_t i = 0; error == 0 && i < count && side != ENTRY_BEHIND; i++) {
        side = search->judge(search, search->block + i * search->entry_size);
    }
    return error;
}

dmq_err
index_file_find(struct fs *fs, struct fs_file *file, int64_t base, int64_t offset,
                struct index_entry *ret_entry, struct err_msg *msg)
{
    struct search search = {.fs = fs,
                            .file = file,
                            .entry_size = INDEX_ENTRY_SIZE,
                            .base = base,
                            .key = offset,
                            .judge = judge_index,
                            .index_answer = {base, 0}};
    int error = run_search(&search);
    if (error != 0) {
        return log_failed(msg, "reading", "an offset index", error);
    }
    *ret_entry = search.index_answer;
    return DMQ_OK;
}

dmq_err
time_file_find(struct fs *fs, struct fs_file *file, int64_t base, int64_t timestamp,
               struct time_entry *ret_entry, struct err_msg *msg)
{
    struct search search = {.fs = fs,
                            .file = file,
                            .entry_size = TIME_ENTRY_SIZE,
                            .base = base,
                            .key = timestamp,
                            .judge = judge_time,
                            .time_answer = {-1, base}};
    int error = run_search(&search);
    if (error != 0) {
        return log_failed(msg, "reading", "a time index", error);
    }
    *ret_entry = search.time_answer;
    return DMQ_OK;
}

/* ---- the end of an index --------------------------------------------------------------------- */

/* The last entry of a file, and how many it has; ret_count 0 if it has none, is missing or has a
 * part of one. */
static dmq_err
last_entry(struct fs *fs, const char *path, size_t entry_size, uint8_t *entry, uint64_t *ret_count,
           struct err_msg *msg)
{
    struct fs_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    int error = 0;
    *ret_count = 0;
    dmq_err err = log_open_existing(fs, path, &file, &size, msg);
    if (err != DMQ_OK || file == NULL) {
        return err;
    }
    if (size >= entry_size && size % entry_size == 0) {
        error = fs->ops->pread(file, entry, entry_size, size - entry_size, &got);
        *ret_count = error == 0 && got == entry_size ? size / entry_size : 0;
    }
    fs->ops->close(file);
    return error == 0 ? DMQ_OK : log_failed(msg, "reading", path, error);
}

dmq_err
index_files_resume(struct fs *fs, const char *dir, uint64_t size, struct index_resume *resume,
                   struct err_msg *msg)
{
    struct index_builder *builder = resume->builder;
    char path[LOG_PATH_SIZE];
    uint8_t entry[MAX_ENTRY_SIZE];
    struct index_entry last = {builder->base, 0};
    struct time_entry last_time = {-1, builder->base};
    uint64_t count = 0;
    bool good = size <= (uint64_t)builder->interval_bytes; /* needs no entry */

    log_path(path, dir, builder->base, INDEX_SUFFIX);
    dmq_err err = last_entry(fs, path, INDEX_ENTRY_SIZE, entry, &count, msg);
    if (err != DMQ_OK) {
        return err;
    }
    if (count > 0) {
        good = index_entry_get(entry, builder->base, &last) && last.pos < size;
    }
    builder->entries = (uint32_t)count;

    log_path(path, dir, builder->base, TIME_SUFFIX);
    err = last_entry(fs, path, TIME_ENTRY_SIZE, entry, &count, msg);
    if (err != DMQ_OK) {
        return err;
    }
    if (size > 0) { /* whoever ends a segment gives it a last entry */
        good = good && count > 0 && time_entry_get(entry, builder->base, &last_time);
        builder->time_indexed = last_time.timestamp;
    }
    builder->bytes = size - (good ? last.pos : 0);
    builder->max_timestamp = last_time.timestamp;
    builder->max_timestamp_offset = last_time.offset;
    resume->last = last;
    resume->good = good;
    return DMQ_OK;
}

/* ---- whole files ----------------------------------------------------------------------------- */

dmq_err
index_file_equals(struct fs *fs, const char *path, struct bytes bytes, bool *ret_equal,
                  struct err_msg *msg)
{
    struct fs_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    int error = 0;
    *ret_equal = false;
    dmq_err err = log_open_existing(fs, path, &file, &size, msg);
    if (err != DMQ_OK || file == NULL) {
        return err;
    }
    uint8_t *data = size == bytes.size ? malloc(bytes.size + 1) : NULL;
    if (data != NULL) {
        error = fs->ops->pread(file, data, bytes.size, 0, &got);
        *ret_equal = error == 0 && bytes_equal(bytes_of(data, got), bytes);
    }
    free(data);
    fs->ops->close(file);
    return error == 0 ? DMQ_OK : log_failed(msg, "reading", path, error);
}

dmq_err
index_file_replace(struct fs *fs, const char *path, struct bytes bytes, struct err_msg *msg)
{
    struct fs_file *file = NULL;
    int error = fs->ops->open(fs, path, FS_READ | FS_WRITE | FS_CREATE, &file);
    if (error != 0) {
        return log_failed(msg, "opening", path, error);
    }
    error = fs->ops->truncate(file, 0);
    if (error == 0 && bytes.size > 0) {
        error = fs->ops->pwritev(file, &bytes, 1, 0);
    }
    fs->ops->close(file);
    return error == 0 ? DMQ_OK : log_failed(msg, "writing", path, error);
}
