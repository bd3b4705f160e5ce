/* The window of the log in memory: the entries after prev_index, in one array, so that a message or
 * a write can point at them. A drop moves what stays; it happens once per snapshot. */
#include "controller/raft/internal.h"

#include <stdlib.h>

int64_t
raft_log_last(const struct raft_log *log)
{
    return log->prev_index + log->count;
}

int64_t
raft_log_term_at(const struct raft_log *log, int64_t index)
{
    if (index == log->prev_index) {
        return log->prev_term;
    }
    if (index < log->prev_index || index > raft_log_last(log)) {
        return -1;
    }
    return raft_log_at(log, index)->term;
}

const struct raft_entry *
raft_log_at(const struct raft_log *log, int64_t index)
{
    DMQ_ASSERT(index > log->prev_index && index <= raft_log_last(log));
    return &log->entries[index - log->prev_index - 1];
}

void
raft_log_init(struct raft_log *log, const struct raft_saved *saved)
{
    DMQ_ASSERT(saved->prev_index >= 0 && saved->count >= 0);
    *log = (struct raft_log){.prev_index = saved->prev_index, .prev_term = saved->prev_term};
    for (int64_t i = 0; i < saved->count; i++) {
        raft_log_append(log, &saved->entries[i]);
    }
}

void
raft_log_deinit(struct raft_log *log)
{
    raft_log_truncate(log, log->prev_index + 1);
    free(log->entries);
    *log = (struct raft_log){0};
}

void
raft_log_append(struct raft_log *log, const struct raft_entry *entry)
{
    /* Terms never fall along a log: a leader appends only entries of its own, highest, term. */
    DMQ_ASSERT(entry->term >= raft_log_term_at(log, raft_log_last(log)));
    DMQ_ASSERT((entry->payload == NULL) == (entry->kind == RAFT_ENTRY_NOOP));
    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 64 : log->capacity * 2;
        log->entries = realloc(log->entries, (size_t)log->capacity * sizeof(*log->entries));
        DMQ_ASSERT(log->entries != NULL);
    }
    log->entries[log->count++] = *entry;
    if (entry->payload != NULL) {
        buf_ref(entry->payload);
    }
}

void
raft_log_truncate(struct raft_log *log, int64_t from)
{
    DMQ_ASSERT(from > log->prev_index && from <= raft_log_last(log) + 1);
    int64_t count = from - log->prev_index - 1;
    for (int64_t i = count; i < log->count; i++) {
        buf_unref(log->entries[i].payload);
    }
    log->count = count;
}

void
raft_log_drop(struct raft_log *log, int64_t upto)
{
    DMQ_ASSERT(upto >= log->prev_index && upto <= raft_log_last(log));
    int64_t gone = upto - log->prev_index;
    int64_t term = raft_log_term_at(log, upto);
    for (int64_t i = 0; i < gone; i++) {
        buf_unref(log->entries[i].payload);
    }
    log->count -= gone;
    if (gone > 0 && log->count > 0) {
        memmove(log->entries, log->entries + gone, (size_t)log->count * sizeof(*log->entries));
    }
    log->prev_index = upto;
    log->prev_term = term;
}

void
raft_log_reset(struct raft_log *log, int64_t prev_index, int64_t prev_term)
{
    DMQ_ASSERT(prev_index > 0 && prev_term > 0);
    raft_log_truncate(log, log->prev_index + 1);
    log->prev_index = prev_index;
    log->prev_term = prev_term;
}

int64_t
raft_log_agreeing(const struct raft_log *log, int64_t upto, int64_t term)
{
    int64_t index = min64(upto, raft_log_last(log));
    while (index > log->prev_index && raft_log_term_at(log, index) > term) {
        index--;
    }
    return index;
}
