/* A write outlives the step that asked for it: whoever carries it out on another thread, or later,
 * keeps a copy with references of its own. And the way back: what a store loaded, given up. */
#include <stdlib.h>

#include "controller/raft/internal.h"

static struct raft_entry *
copy_entries(const struct raft_entry *entries, int64_t count)
{
    DMQ_ASSERT(count >= 0);
    struct raft_entry *copy = malloc(((size_t)count + 1) * sizeof(*copy));
    DMQ_ASSERT(copy != NULL);
    for (int64_t i = 0; i < count; i++) {
        DMQ_ASSERT((entries[i].payload == NULL) == (entries[i].kind == RAFT_ENTRY_NOOP));
        copy[i] = entries[i];
        if (copy[i].payload != NULL) {
            buf_ref(copy[i].payload);
        }
    }
    return copy;
}

static struct raft_snapshot *
copy_snapshot(const struct raft_snapshot *snapshot)
{
    struct raft_snapshot *copy = malloc(sizeof(*copy));
    DMQ_ASSERT(copy != NULL);
    DMQ_ASSERT(snapshot->index == 0 || snapshot->data != NULL);
    *copy = *snapshot;
    if (copy->data != NULL) {
        buf_ref(copy->data);
    }
    return copy;
}

static void
free_entries(const struct raft_entry *entries, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        buf_unref(entries[i].payload);
    }
    free((void *)(uintptr_t)entries);
}

struct raft_persist *
raft_persist_copy(const struct raft_persist *write)
{
    struct raft_persist *copy = malloc(sizeof(*copy));
    DMQ_ASSERT(copy != NULL);
    *copy = *write;
    copy->entries = copy_entries(write->entries, write->count);
    copy->snapshot = write->snapshot == NULL ? NULL : copy_snapshot(write->snapshot);
    return copy;
}

void
raft_persist_free(struct raft_persist *write)
{
    if (write == NULL) {
        return;
    }
    free_entries(write->entries, write->count);
    if (write->snapshot != NULL) {
        buf_unref(write->snapshot->data);
        free((void *)(uintptr_t)write->snapshot);
    }
    free(write);
}

void
raft_saved_free(struct raft_saved *saved)
{
    free_entries(saved->entries, saved->count);
    buf_unref(saved->snapshot.data);
    *saved = (struct raft_saved){0};
}
