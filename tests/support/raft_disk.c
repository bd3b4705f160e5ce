#include "tests/support/raft_disk.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"

struct raft_id
raft_test_id(int32_t node, int generation)
{
    struct raft_id id = {.node = node};
    if (node != 0) {
        id.disk.b[0] = (uint8_t)generation;
        id.disk.b[1] = (uint8_t)node;
    }
    return id;
}

int
raft_test_generation(struct raft_id id)
{
    return id.disk.b[0];
}

/* ---- entries, with references ---------------------------------------------------------------- */

static struct raft_entry *
copy_entries(const struct raft_entry *entries, int64_t count)
{
    struct raft_entry *copy = calloc((size_t)count + 1, sizeof(*copy));
    DMQ_ASSERT(copy != NULL);
    for (int64_t i = 0; i < count; i++) {
        copy[i] = entries[i];
        if (copy[i].payload != NULL) {
            buf_ref(copy[i].payload);
        }
    }
    return copy;
}

static void
free_entries(const struct raft_entry *entries, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        buf_unref(entries[i].payload);
    }
}

/* ---- the disk -------------------------------------------------------------------------------- */

void
raft_disk_deinit(struct raft_disk *disk)
{
    free_entries(disk->entries, disk->count);
    free(disk->entries);
    buf_unref(disk->snapshot.data);
    *disk = (struct raft_disk){0};
}

static int64_t
last_of(const struct raft_disk *disk)
{
    return disk->prev_index + disk->count;
}

void
raft_disk_append(struct raft_disk *disk, const struct raft_entry *entry)
{
    size_t size = (size_t)(disk->count + 1) * sizeof(*disk->entries);
    disk->entries = realloc(disk->entries, size);
    DMQ_ASSERT(disk->entries != NULL);
    disk->entries[disk->count++] = *entry;
    if (entry->payload != NULL) {
        buf_ref(entry->payload);
    }
}

static void
truncate_disk(struct raft_disk *disk, int64_t from)
{
    while (disk->count > 0 && last_of(disk) >= from) {
        buf_unref(disk->entries[--disk->count].payload);
    }
}

/* Drops entries up to prev; all of them if the log does not reach it. */
static void
drop_prefix(struct raft_disk *disk, int64_t prev_index, int64_t prev_term)
{
    int64_t gone = prev_index - disk->prev_index;
    gone = gone > disk->count ? disk->count : gone;
    DMQ_ASSERT(gone >= 0);
    free_entries(disk->entries, gone);
    disk->count -= gone;
    if (gone > 0) {
        memmove(disk->entries, disk->entries + gone, (size_t)disk->count * sizeof(*disk->entries));
    }
    disk->prev_index = prev_index;
    disk->prev_term = prev_term;
}

void
raft_disk_write(struct raft_disk *disk, const struct raft_persist *write)
{
    disk->term = write->term;
    disk->vote = write->vote;
    disk->commit = write->commit;
    if (write->snapshot != NULL) {
        buf_unref(disk->snapshot.data);
        disk->snapshot = *write->snapshot;
        if (disk->snapshot.data != NULL) {
            buf_ref(disk->snapshot.data);
        }
    }
    truncate_disk(disk, write->from);
    if (write->prev_index > disk->prev_index) {
        drop_prefix(disk, write->prev_index, write->prev_term);
    }
    DMQ_ASSERT(write->from == last_of(disk) + 1);
    for (int64_t i = 0; i < write->count; i++) {
        raft_disk_append(disk, &write->entries[i]);
    }
}

struct raft_saved
raft_disk_saved(const struct raft_disk *disk)
{
    return (struct raft_saved){.term = disk->term,
                               .vote = disk->vote,
                               .commit = disk->commit,
                               .snapshot = disk->snapshot,
                               .prev_index = disk->prev_index,
                               .prev_term = disk->prev_term,
                               .entries = disk->entries,
                               .count = disk->count};
}

int64_t
raft_disk_term_at(const struct raft_disk *disk, int64_t index)
{
    if (index == disk->prev_index) {
        return disk->prev_term;
    }
    if (index < disk->prev_index || index > last_of(disk)) {
        return -1;
    }
    return disk->entries[index - disk->prev_index - 1].term;
}

/* ---- copies ---------------------------------------------------------------------------------- */

struct raft_message *
raft_message_copy(const struct raft_message *message)
{
    struct raft_message *copy = malloc(sizeof(*copy));
    DMQ_ASSERT(copy != NULL);
    *copy = *message;
    copy->entries = copy_entries(message->entries, message->entry_count);
    if (message->members != NULL) {
        struct raft_members *members = malloc(sizeof(*members));
        DMQ_ASSERT(members != NULL);
        *members = *message->members;
        copy->members = members;
    }
    uint8_t *data = malloc(message->data.size + 1);
    DMQ_ASSERT(data != NULL);
    if (message->data.size > 0) {
        memcpy(data, message->data.data, message->data.size);
    }
    copy->data = bytes_of(data, message->data.size);
    return copy;
}

void
raft_message_free(struct raft_message *message)
{
    if (message == NULL) {
        return;
    }
    free_entries(message->entries, message->entry_count);
    free((void *)(uintptr_t)message->entries);
    free((void *)(uintptr_t)message->members);
    free((void *)(uintptr_t)message->data.data);
    free(message);
}
