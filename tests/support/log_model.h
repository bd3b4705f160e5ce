/* What a log should hold: every batch that was appended, as bytes, and what follows from any first
 * part of them. Recovery is held against it. */
#ifndef TESTS_SUPPORT_LOG_MODEL_H
#define TESTS_SUPPORT_LOG_MODEL_H

#include "tests/support/log_rig.h"

struct model_batch {
    struct buf *bytes; /* stamped */
    struct batch_header header;
};

struct log_model {
    struct model_batch *batches;
    size_t count;
    size_t capacity;
    int64_t synced; /* records below were promised */
};

void log_model_deinit(struct log_model *model);

/* The batch was appended at base with this epoch; takes a copy. */
void log_model_add(struct log_model *model, struct buf *batch, int64_t base, int32_t leader_epoch);

int64_t log_model_end(const struct log_model *model);

/* The rest was lost: the log went on from end. False if end is not between two batches. */
bool log_model_cut(struct log_model *model, int64_t end);

/* What is wrong with the log of the rig, in a static text, or NULL: it must hold a first part of
 * the model, of which no promised record is missing, and know the producers and epochs of just that
 * part. Reads everything, hot and cold. */
const char *log_model_check(const struct log_model *model, struct log_rig *rig);

/* The same for the bytes alone, from the log's start to `end`. */
const char *log_model_check_bytes(const struct log_model *model, struct log_rig *rig, int64_t end);

#endif
