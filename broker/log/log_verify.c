/* Each segment is walked once (log_walk.h), its records unfolded, its two indexes held in memory
 * and followed along: an entry must name a batch where it says, and a time entry the first batch
 * with the largest timestamp so far. A finding does not end the work: the next segment is looked at
 * for itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/log_files.h"
#include "broker/log/log_text.h"
#include "broker/log/log_walk.h"
#include "libdmq/base/assert.h"
#include "libdmq/wire/batch_read.h"

#define NAME_SIZE 64

/* An index file, followed along. */
struct follow {
    const char *suffix;
    size_t entry_size;
    uint8_t *data;
    size_t size;
    size_t at; /* the next entry */
};

struct verify {
    struct fs *fs;
    struct log_text text;
    struct batch_reader reader;
    int64_t partitions;
    int64_t segments;
    int64_t batches;
    int64_t records;
    int64_t bytes;
    int64_t findings;

    /* of the partition */
    const char *dir;
    int32_t epoch; /* of the last batch */

    /* of the segment */
    const char *path;
    struct log_walk walk;
    struct follow index;
    struct follow times;
    int64_t max_timestamp; /* before the batch that is looked at */
};

__attribute__((format(printf, 5, 6))) static void
find(struct verify *v, const char *path, uint64_t pos, int64_t offset, const char *format, ...)
{
    char problem[256];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof(problem), format, args);
    va_end(args);
    v->findings++;
    log_text_begin(&v->text, "finding");
    log_text_bytes(&v->text, "file", bytes_str(path));
    log_text_i64(&v->text, "position", (int64_t)pos);
    log_text_i64(&v->text, "offset", offset);
    log_text_word(&v->text, "problem", problem);
    log_text_end(&v->text);
}

/* ---- indexes --------------------------------------------------------------------------------- */

static void
find_in_index(struct verify *v, const struct follow *follow, int64_t offset, const char *problem)
{
    char path[LOG_PATH_SIZE];
    log_path(path, v->dir, v->walk.builder.base, follow->suffix);
    find(v, path, follow->at, offset, "%s", problem);
}

/* Reads an index whole; at most some 16 MB, for a segment has at most INDEX_MAX_ENTRIES. */
static void
load_index(struct verify *v, struct follow *follow)
{
    char path[LOG_PATH_SIZE];
    struct fs_file *file = NULL;
    struct err_msg msg;
    char room[LOG_ERRNO_SIZE];
    uint64_t size = 0;
    follow->at = 0;
    follow->size = 0;
    log_path(path, v->dir, v->walk.builder.base, follow->suffix);
    dmq_err err = log_open_existing(v->fs, path, &file, &size, &msg);
    if (err != DMQ_OK || file == NULL) {
        find(v, path, 0, v->walk.builder.base, "%s",
             err != DMQ_OK ? msg.text : "the index is missing: the next start makes it again");
        return;
    }
    uint64_t most = (uint64_t)INDEX_MAX_ENTRIES * TIME_ENTRY_SIZE;
    free(follow->data);
    follow->data = malloc(size < most ? (size_t)size + 1 : (size_t)most);
    DMQ_ASSERT(follow->data != NULL);
    int error = v->fs->ops->pread(file, follow->data, size < most ? (size_t)size : (size_t)most, 0,
                                  &follow->size);
    v->fs->ops->close(file);
    if (error != 0) {
        follow->size = 0;
        find(v, path, 0, v->walk.builder.base, "the index cannot be read: %s",
             log_errno(error, room));
    }
}

/* Entries up to the batch that is looked at. */
static void
follow_index(struct verify *v, const struct batch_header *header)
{
    struct follow *follow = &v->index;
    struct index_entry entry;
    while (follow->at + follow->entry_size <= follow->size) {
        if (!index_entry_get(follow->data + follow->at, v->walk.builder.base, &entry)) {
            find_in_index(v, follow, header->base_offset, "the entry's checksum is wrong");
        } else if (entry.offset > header->base_offset) {
            return;
        } else if (entry.offset < header->base_offset || entry.pos != v->walk.pos) {
            find_in_index(v, follow, entry.offset, "no batch of this offset is where it says");
        }
        follow->at += follow->entry_size;
    }
}

static void
follow_times(struct verify *v, const struct batch_header *header)
{
    struct follow *follow = &v->times;
    struct time_entry entry;
    while (follow->at + follow->entry_size <= follow->size) {
        if (!time_entry_get(follow->data + follow->at, v->walk.builder.base, &entry)) {
            find_in_index(v, follow, header->base_offset, "the entry's checksum is wrong");
        } else if (entry.offset > header->base_offset) {
            return;
        } else if (entry.offset < header->base_offset ||
                   (entry.timestamp != header->max_timestamp && entry.timestamp != -1) ||
                   entry.timestamp < v->max_timestamp) {
            find_in_index(v, follow, entry.offset,
                          "the batch does not hold the largest timestamp so far");
        }
        follow->at += follow->entry_size;
    }
}

static void
end_index(struct verify *v, const struct follow *follow)
{
    if (follow->at + follow->entry_size <= follow->size) {
        find_in_index(v, follow, v->walk.end, "entries go on beyond the last batch");
    } else if (follow->at < follow->size) {
        find_in_index(v, follow, v->walk.end, "the last entry is cut short");
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

static bool
look_at_batch(void *arg, const struct batch_header *header, struct bytes batch, struct err_msg *why)
{
    struct verify *v = arg;
    struct err_msg msg;
    if (header->leader_epoch < v->epoch) {
        err_set(why, DMQ_ERR_CORRUPT_BATCH, "leader epoch %" PRId32 " comes after %" PRId32,
                header->leader_epoch, v->epoch);
        return false;
    }
    if (batch_check_records(&v->reader, batch, &msg) != DMQ_OK) {
        find(v, v->path, v->walk.pos, header->base_offset, "records cannot be read: %s", msg.text);
    }
    follow_index(v, header);
    follow_times(v, header);
    if (header->max_timestamp > v->max_timestamp) {
        v->max_timestamp = header->max_timestamp;
    }
    v->epoch = header->leader_epoch;
    v->batches++;
    v->records += header->count;
    v->bytes += (int64_t)header->size;
    if (v->text.sink->progress != NULL) {
        v->text.sink->progress(v->text.sink->arg, v->batches, v->bytes);
    }
    return true;
}

/* Where the walk ended: at the next segment's first offset, or at the log's end. */
static void
look_at_end(struct verify *v, int64_t next)
{
    struct err_msg msg;
    uint64_t torn = v->walk.pos;
    if (log_walk_torn_end(&v->walk, v->fs, v->path, &torn, &msg) != DMQ_OK) {
        find(v, v->path, v->walk.pos, v->walk.end, "%s", msg.text);
    } else if (torn > v->walk.pos) {
        find(v, v->path, v->walk.pos, v->walk.end,
             "%s; %" PRIu64 " bytes from here on are damaged, or the torn tail of a crash, which "
             "the next start cuts if they were never synced",
             v->walk.why.text, torn - v->walk.pos);
    } else if (next != INT64_MAX && v->walk.end != next) {
        find(v, v->path, v->walk.pos, v->walk.end,
             "the segment ends here, and the next one begins at offset %" PRId64, next);
    }
    if (torn == v->walk.pos) {
        end_index(v, &v->index);
        end_index(v, &v->times);
    }
}

static void
verify_segment(struct verify *v, int64_t base, int64_t next)
{
    char path[LOG_PATH_SIZE];
    struct err_msg msg;
    v->path = log_path(path, v->dir, base, LOG_SUFFIX);
    v->max_timestamp = -1;
    v->segments++;
    log_walk_init(&v->walk, base, INT32_MAX);
    v->walk.limit = next;
    v->walk.accept = look_at_batch;
    v->walk.arg = v;
    load_index(v, &v->index);
    load_index(v, &v->times);
    if (log_walk_run(&v->walk, v->fs, path, &msg) == DMQ_OK) {
        look_at_end(v, next);
    } else {
        find(v, path, 0, base, "%s", msg.text);
    }
    log_walk_deinit(&v->walk);
}

/* ---- folders --------------------------------------------------------------------------------- */

struct names {
    char (*items)[NAME_SIZE];
    size_t count;
    size_t capacity;
};

static int
note_name(void *arg, const char *name)
{
    struct names *names = arg;
    if (strlen(name) >= NAME_SIZE) {
        return 0; /* none of ours is so long */
    }
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 32 : names->capacity * 2;
        char(*items)[NAME_SIZE] = realloc(names->items, capacity * sizeof(*items));
        if (items == NULL) {
            return ENOMEM;
        }
        names->items = items;
        names->capacity = capacity;
    }
    memcpy(names->items[names->count++], name, strlen(name) + 1);
    return 0;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The names in a folder, sorted; the caller frees items. */
static int
list_names(struct verify *v, const char *dir, struct names *names)
{
    *names = (struct names){NULL, 0, 0};
    int error = v->fs->ops->list(v->fs, dir, note_name, names);
    if (error == 0 && names->count > 0) {
        qsort(names->items, names->count, NAME_SIZE, compare_names);
    }
    return error;
}

/* The base offset of the next segment from name i on; INT64_MAX: none. */
static int64_t
segment_from(const struct names *names, size_t i)
{
    int64_t base = INT64_MAX;
    while (i < names->count && !log_name_parse(names->items[i], &base)) {
        i++;
    }
    return i < names->count ? base : INT64_MAX;
}

static bool
is_partition(const struct names *names)
{
    return segment_from(names, 0) != INT64_MAX;
}

static void
verify_partition(struct verify *v, const char *dir, const struct names *names)
{
    v->dir = dir;
    v->epoch = -1;
    v->partitions++;
    for (size_t i = 0; i < names->count; i++) {
        int64_t base;
        if (log_name_parse(names->items[i], &base)) {
            verify_segment(v, base, segment_from(names, i + 1));
        }
    }
}

/* A folder: a partition's, or one that holds such, at most `depth` below. */
static void
verify_folder(struct verify *v, const char *dir, int depth)
{
    struct names names;
    char room[LOG_ERRNO_SIZE];
    int error = list_names(v, dir, &names);
    if (error != 0 && error != ENOTDIR) {
        find(v, dir, 0, -1, "the folder cannot be read: %s", log_errno(error, room));
    } else if (error == 0 && is_partition(&names)) {
        verify_partition(v, dir, &names);
    } else if (error == 0 && depth > 0) {
        for (size_t i = 0; i < names.count; i++) {
            char path[LOG_PATH_SIZE];
            log_join(path, dir, names.items[i]);
            verify_folder(v, path, depth - 1);
        }
    }
    free(names.items);
}

int
log_tool_verify(struct fs *fs, const char *dir, const struct log_sink *sink)
{
    struct verify v = {.fs = fs,
                       .index = {.suffix = INDEX_SUFFIX, .entry_size = INDEX_ENTRY_SIZE},
                       .times = {.suffix = TIME_SUFFIX, .entry_size = TIME_ENTRY_SIZE}};
    char top[LOG_DIR_SIZE];
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/') {
        size--;
    }
    log_text_init(&v.text, sink);
    batch_reader_init(&v.reader, &COMPRESS_DEFAULT_LIMITS);
    if (size >= sizeof(top) - 64) {
        find(&v, dir, 0, -1, "the path is too long");
    } else {
        memcpy(top, dir, size);
        top[size] = '\0';
        verify_folder(&v, top, 3); /* <folder>/<data>/<topic>/<partition> */
        if (v.partitions == 0 && v.findings == 0) {
            find(&v, dir, 0, -1, "there is no log in this folder");
        }
    }
    log_text_begin(&v.text, "checked");
    log_text_i64(&v.text, "partitions", v.partitions);
    log_text_i64(&v.text, "segments", v.segments);
    log_text_i64(&v.text, "batches", v.batches);
    log_text_i64(&v.text, "records", v.records);
    log_text_i64(&v.text, "bytes", v.bytes);
    log_text_i64(&v.text, "findings", v.findings);
    log_text_end(&v.text);
    free(v.index.data);
    free(v.times.data);
    batch_reader_deinit(&v.reader);
    log_text_deinit(&v.text);
    return v.findings > 0 ? 1 : 0;
}
