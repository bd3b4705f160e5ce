#include "broker/log/epochs.h"

#include <stdlib.h>

#include "libdmq/base/arena.h"
#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"

#define ROW_VERSION 0
#define ROW_MEMORY ((size_t)64 << 20) /* EPOCHS_MAX entries, decoded */

void
epochs_deinit(struct epochs *epochs)
{
    free(epochs->entries);
    *epochs = (struct epochs){0};
}

static void
add(struct epochs *epochs, int32_t epoch, int64_t start)
{
    if (epochs->count == epochs->capacity) {
        size_t capacity = epochs->capacity == 0 ? 4 : epochs->capacity * 2;
        struct epoch_entry *entries = realloc(epochs->entries, capacity * sizeof(*entries));
        DMQ_ASSERT(entries != NULL);
        epochs->entries = entries;
        epochs->capacity = capacity;
    }
    epochs->entries[epochs->count++] = (struct epoch_entry){epoch, start};
}

bool
epochs_note(struct epochs *epochs, int32_t epoch, int64_t offset)
{
    int32_t last = epochs_last(epochs);
    if (epoch < last || epochs->count == EPOCHS_MAX) {
        return false;
    }
    if (epoch > last) {
        if (epochs->count > 0 && epochs->entries[epochs->count - 1].start == offset) {
            epochs->count--; /* none of its records is left */
        }
        DMQ_ASSERT(epochs->count == 0 || offset > epochs->entries[epochs->count - 1].start);
        add(epochs, epoch, offset);
    }
    return true;
}

void
epochs_cut(struct epochs *epochs, int64_t end)
{
    while (epochs->count > 0 && epochs->entries[epochs->count - 1].start >= end) {
        epochs->count--;
    }
}

void
epochs_raise(struct epochs *epochs, int64_t start)
{
    size_t gone = 0;
    while (gone + 1 < epochs->count && epochs->entries[gone + 1].start <= start) {
        gone++;
    }
    if (gone > 0) {
        epochs->count -= gone;
        memmove(epochs->entries, epochs->entries + gone, epochs->count * sizeof(*epochs->entries));
    }
    if (epochs->count > 0 && epochs->entries[0].start < start) {
        epochs->entries[0].start = start;
    }
}

int32_t
epochs_last(const struct epochs *epochs)
{
    return epochs->count == 0 ? -1 : epochs->entries[epochs->count - 1].epoch;
}

int32_t
epochs_run(const struct epochs *epochs, int64_t offset, int64_t *ret_next)
{
    *ret_next = INT64_MAX;
    for (size_t i = epochs->count; i > 0; i--) {
        if (epochs->entries[i - 1].start <= offset) {
            return epochs->entries[i - 1].epoch;
        }
        *ret_next = epochs->entries[i - 1].start;
    }
    return -1;
}

int32_t
epochs_at(const struct epochs *epochs, int64_t offset)
{
    int64_t next;
    return epochs_run(epochs, offset, &next);
}

int32_t
epochs_end_of(const struct epochs *epochs, int32_t epoch, int64_t log_end, int64_t *ret_end)
{
    int64_t end = log_end;
    for (size_t i = epochs->count; i > 0; i--) {
        if (epochs->entries[i - 1].epoch <= epoch) {
            *ret_end = end;
            return epochs->entries[i - 1].epoch;
        }
        end = epochs->entries[i - 1].start;
    }
    return -1;
}

struct buf *
epochs_row(const struct epochs *epochs, int64_t below)
{
    struct log_epochs_row row = {.version = ROW_VERSION};
    row.epochs = calloc(epochs->count + 1, sizeof(*row.epochs));
    DMQ_ASSERT(row.epochs != NULL);
    for (size_t i = 0; i < epochs->count && epochs->entries[i].start < below; i++) {
        row.epochs[i] = (struct log_epoch){epochs->entries[i].epoch, epochs->entries[i].start};
        row.epochs_count++;
    }
    struct buf *buf = msg_encode_buf(desc_log_epochs_row(), ROW_VERSION, &row);
    DMQ_ASSERT(buf != NULL);
    free(row.epochs);
    return buf;
}

static dmq_err
take_row(const struct log_epochs_row *row, struct epochs *epochs)
{
    int64_t last_start = -1;
    int32_t last_epoch = -1;
    if (row->version != ROW_VERSION) {
        return DMQ_ERR_DAMAGED;
    }
    for (uint32_t i = 0; i < row->epochs_count; i++) {
        const struct log_epoch *entry = &row->epochs[i];
        if (entry->epoch <= last_epoch || entry->start_offset <= last_start) {
            return DMQ_ERR_DAMAGED;
        }
        last_epoch = entry->epoch;
        last_start = entry->start_offset;
        add(epochs, entry->epoch, entry->start_offset);
    }
    return DMQ_OK;
}

dmq_err
epochs_from_row(struct bytes bytes, struct epochs *ret_epochs)
{
    struct log_epochs_row row;
    struct epochs epochs = {0};
    struct arena arena;
    struct err_msg msg;
    arena_init(&arena, ROW_MEMORY);
    dmq_err err = DMQ_ERR_DAMAGED;
    if (msg_decode(desc_log_epochs_row(), ROW_VERSION, bytes, &arena, &row, &msg) == DMQ_OK) {
        err = take_row(&row, &epochs);
    }
    arena_deinit(&arena);
    if (err == DMQ_OK) {
        *ret_epochs = epochs;
    } else {
        epochs_deinit(&epochs);
    }
    return err;
}
