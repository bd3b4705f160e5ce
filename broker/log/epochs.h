/* The leader epochs that a log holds records of, and where each begins (KIP-101). An epoch has an
 * entry only once a batch of it exists (trap 6: KAFKA-7897). Epochs and offsets both rise. */
#ifndef BROKER_LOG_EPOCHS_H
#define BROKER_LOG_EPOCHS_H

#include <stdbool.h>

#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start; /* offset of its first record */
};

#define EPOCHS_MAX 1000000 /* of one log: what a row can hold */

/* Zero is an empty one. */
struct epochs {
    struct epoch_entry *entries;
    size_t count;
    size_t capacity;
};

void epochs_deinit(struct epochs *epochs);

/* A batch of epoch begins at offset. False, and nothing changed, if the epoch is lower than the
 * last one: epochs never fall within a log. */
bool epochs_note(struct epochs *epochs, int32_t epoch, int64_t offset);

/* Forgets entries that begin at or beyond end. */
void epochs_cut(struct epochs *epochs, int64_t end);

/* The log begins at start now: epochs whose records are all below it are forgotten, but for the
 * last one; the one that holds start begins there. */
void epochs_raise(struct epochs *epochs, int64_t start);

/* -1: none. */
int32_t epochs_last(const struct epochs *epochs);

/* The epoch of the record at offset; -1: none. */
int32_t epochs_at(const struct epochs *epochs, int64_t offset);

/* The same, and where the next epoch begins; INT64_MAX: nowhere. */
int32_t epochs_run(const struct epochs *epochs, int64_t offset, int64_t *ret_next);

/* The largest epoch <= epoch that has records, and the end of its records in a log that ends at
 * log_end (KIP-279); -1, and ret_end untouched, if there is none. */
int32_t epochs_end_of(const struct epochs *epochs, int32_t epoch, int64_t log_end,
                      int64_t *ret_end);

/* The row of all entries that begin below `below`. */
struct buf *epochs_row(const struct epochs *epochs, int64_t below);

/* DMQ_ERR_DAMAGED if the row is malformed or its entries do not rise. */
dmq_err epochs_from_row(struct bytes row, struct epochs *ret_epochs);

#endif
