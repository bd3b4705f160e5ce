/* Logs as they lie on the simulator's disks, read batch by batch without any code of the broker's
 * log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/crc32c.h"
#include "libdmq/wire/batch.h"
#include "tests/sim/world.h"

#define FOLDER_SIZE 64
#define PATH_SIZE 96

static char *
folder_of(const struct log_place *place, char folder[FOLDER_SIZE])
{
    char id[UUID_TEXT_SIZE];
    snprintf(folder, FOLDER_SIZE, "/data/%s/%" PRId32, uuid_text(place->topic_id, id),
             place->partition);
    return folder;
}

static struct bytes
segment_at(const struct log_place *place, int64_t base)
{
    char folder[FOLDER_SIZE], path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%020" PRId64 ".log", folder_of(place, folder), base);
    return place->durable ? simfs_durable_file(place->disk, path) : simfs_file(place->disk, path);
}

/* The last segment that begins at or below offset, else the first. */
struct search {
    int64_t offset;
    int64_t found; /* -1: none */
};

static void
note_segment(void *arg, const char *name)
{
    struct search *search = arg;
    if (strlen(name) != 24 || strcmp(name + 20, ".log") != 0) {
        return;
    }
    int64_t base = strtoll(name, NULL, 10);
    bool fits = base <= search->offset;
    bool closer = fits ? search->found < base || search->found > search->offset
                       : search->found < 0 || (search->found > base);
    search->found = closer ? base : search->found;
}

static bool
find_segment(const struct log_place *place, int64_t offset, struct log_cursor *cursor)
{
    char folder[FOLDER_SIZE];
    struct search search = {offset, -1};
    folder_of(place, folder);
    simfs_names(place->disk, folder, place->durable, note_segment, &search);
    cursor->segment = search.found;
    cursor->pos = 0;
    cursor->offset = search.found;
    cursor->stands = search.found >= 0;
    return cursor->stands;
}

/* The sound batch at the cursor. */
static bool
batch_here(const struct log_place *place, const struct log_cursor *cursor,
           struct watch_entry *ret_entry, size_t *ret_size)
{
    const struct batch_limits limits = {.max_bytes = 0};
    struct batch_header header;
    struct err_msg err;
    struct bytes batch;
    struct bytes rest = segment_at(place, cursor->segment);
    if (cursor->pos >= rest.size) {
        return false;
    }
    rest = bytes_of(rest.data + cursor->pos, rest.size - cursor->pos);
    if (batch_next(&rest, &batch) != DMQ_OK ||
        batch_check(batch, &limits, &err, &header) != DMQ_OK ||
        header.base_offset != cursor->offset) {
        return false;
    }
    *ret_size = batch.size;
    *ret_entry = (struct watch_entry){.base = header.base_offset,
                                      .end = batch_last_offset(&header) + 1,
                                      .epoch = header.leader_epoch,
                                      .value = (uint64_t)batch.size << 32 |
                                               crc32c(0, batch.data, batch.size)};
    return true;
}

/* Moves on to the segment that begins where this one ends; false if there is none. */
static bool
next_segment(const struct log_place *place, struct log_cursor *cursor)
{
    if (cursor->segment == cursor->offset || segment_at(place, cursor->offset).size == 0) {
        return false;
    }
    cursor->segment = cursor->offset;
    cursor->pos = 0;
    return true;
}

bool
log_entry_at(const struct log_place *place, struct log_cursor *cursor, int64_t offset,
             struct watch_entry *ret_entry)
{
    size_t size = 0;
    if (place->disk == NULL) {
        return false;
    }
    bool goes_on =
        cursor->stands && offset >= cursor->offset && segment_at(place, cursor->segment).size > 0;
    if (!goes_on && !find_segment(place, offset, cursor)) {
        return false;
    }
    for (;;) {
        if (!batch_here(place, cursor, ret_entry, &size)) {
            if (!next_segment(place, cursor)) {
                *ret_entry = (struct watch_entry){.base = cursor->offset, .end = cursor->offset};
                return cursor->offset > offset;
            }
            continue;
        }
        if (ret_entry->end > offset) {
            return true; /* the cursor stays: it is asked for again, or the next one */
        }
        cursor->pos += size;
        cursor->offset = ret_entry->end;
    }
}
