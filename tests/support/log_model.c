#include "tests/support/log_model.h"

#include <stdlib.h>

#include "broker/log/epochs.h"
#include "broker/log/producer_state.h"
#include "libdmq/base/assert.h"

void
log_model_deinit(struct log_model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        buf_unref(model->batches[i].bytes);
    }
    free(model->batches);
    *model = (struct log_model){0};
}

void
log_model_add(struct log_model *model, struct buf *batch, int64_t base, int32_t leader_epoch)
{
    struct model_batch copy = {.bytes = buf_copy(buf_bytes(batch))};
    batch_stamp(copy.bytes->data, base, leader_epoch);
    dmq_err err = batch_parse(buf_bytes(copy.bytes), &copy.header);
    DMQ_ASSERT(err == DMQ_OK && base == log_model_end(model));
    if (model->count == model->capacity) {
        model->capacity = model->capacity == 0 ? 64 : model->capacity * 2;
        model->batches = realloc(model->batches, model->capacity * sizeof(*model->batches));
        DMQ_ASSERT(model->batches != NULL);
    }
    model->batches[model->count++] = copy;
}

int64_t
log_model_end(const struct log_model *model)
{
    return model->count == 0 ? 0 : batch_last_offset(&model->batches[model->count - 1].header) + 1;
}

bool
log_model_cut(struct log_model *model, int64_t end)
{
    while (model->count > 0 && model->batches[model->count - 1].header.base_offset >= end) {
        buf_unref(model->batches[--model->count].bytes);
    }
    return log_model_end(model) == end;
}

const char *
log_model_check_bytes(const struct log_model *model, struct log_rig *rig, int64_t end)
{
    struct outbuf out = {0};
    size_t at = 0;
    const char *fault = NULL;
    if (log_rig_read(rig, plog_start(rig->log), end, 900, &out) != DMQ_OK) {
        fault = "a read failed";
    }
    for (size_t i = 0; fault == NULL && i < model->count; i++) {
        struct bytes batch = buf_bytes(model->batches[i].bytes);
        if (model->batches[i].header.base_offset >= end) {
            break;
        }
        if (out.size - at < batch.size) {
            fault = "a batch is missing";
        } else if (!bytes_equal(batch, bytes_of(out.data + at, batch.size))) {
            fault = "a batch differs";
        }
        at += batch.size;
    }
    if (fault == NULL && at != out.size) {
        fault = "there is more than was appended";
    }
    outbuf_deinit(&out);
    return fault;
}

/* Producers and epochs, rebuilt from the model's batches below end. */
static const char *
check_state(const struct log_model *model, struct log_rig *rig, int64_t end)
{
    struct producers *producers = producers_new();
    struct epochs epochs = {0};
    const char *fault = NULL;
    for (size_t i = 0; i < model->count && model->batches[i].header.base_offset < end; i++) {
        producers_note(producers, &model->batches[i].header);
        epochs_note(&epochs, model->batches[i].header.leader_epoch,
                    model->batches[i].header.base_offset);
    }
    struct buf *right = producers_row(producers, end);
    struct buf *row = plog_end_snapshot_row(rig->log);
    if (!bytes_equal(buf_bytes(right), buf_bytes(row))) {
        fault = "the producer state is not that of the batches";
    }
    for (int32_t epoch = 0; epoch <= epochs_last(&epochs) + 1; epoch++) {
        int64_t end_one = -1;
        int64_t end_two = -1;
        if (epochs_end_of(&epochs, epoch, end, &end_one) !=
                plog_end_of_epoch(rig->log, epoch, &end_two) ||
            end_one != end_two) {
            fault = "the leader epochs are not those of the batches";
        }
    }
    buf_unref(right);
    buf_unref(row);
    producers_free(producers);
    epochs_deinit(&epochs);
    return fault;
}

static bool
is_boundary(const struct log_model *model, int64_t end)
{
    for (size_t i = 0; i < model->count; i++) {
        if (model->batches[i].header.base_offset == end) {
            return true;
        }
    }
    return end == log_model_end(model);
}

const char *
log_model_check(const struct log_model *model, struct log_rig *rig)
{
    int64_t end = plog_end(rig->log);
    if (end < model->synced) {
        return "a synced record is lost";
    }
    if (end > log_model_end(model)) {
        return "the log is longer than what was appended";
    }
    if (!is_boundary(model, end)) {
        return "the log ends within a batch";
    }
    const char *fault = log_model_check_bytes(model, rig, end);
    return fault == NULL ? check_state(model, rig, end) : fault;
}
