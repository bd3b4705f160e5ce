#include "tests/sim/log_setup.h"

struct simfs *
log_setup(struct log_rig *rig, struct log_model *model, int64_t segment_bytes,
          int32_t index_interval_bytes)
{
    struct simfs *disk = simfs_new(1);
    simfs_make_folder(disk, "/data");
    log_rig_init(rig, simfs_fs(disk), "/data/topic/0");
    rig->segment_bytes = segment_bytes;
    rig->index_interval_bytes = index_interval_bytes;
    rig->hot_bytes = 0;
    *model = (struct log_model){0};
    return disk;
}

void
log_teardown(struct simfs *disk, struct log_rig *rig, struct log_model *model)
{
    log_rig_deinit(rig);
    log_model_deinit(model);
    simfs_free(disk);
}

int64_t
log_append_one(struct log_rig *rig, struct log_model *model, int32_t epoch)
{
    struct rig_batch batch = RIG_BATCH;
    int64_t base = plog_end(rig->log);
    batch.seed = (uint64_t)base * 100 + (uint64_t)epoch;
    batch.value_size = 60;
    batch.producer_id = 7;
    batch.producer_epoch = 0;
    batch.base_sequence = (int32_t)base;
    batch.timestamp = 1000 + 10 * base;
    struct buf *buf = rig_batch_encode(&batch);
    int64_t got = log_rig_append_buf(rig, buf, epoch);
    if (got >= 0) {
        log_model_add(model, buf, base, epoch);
    }
    buf_unref(buf);
    return got;
}
