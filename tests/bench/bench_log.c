/* What a log costs beside its disk: plog, lane and reader in one thread, on a real folder.
 *
 *     bench_log FOLDER
 *
 *   publish  one record of 100 bytes, written and synced, again and again; beside it stands the
 *            disk's own price (bench_disk_append, 200 bytes, zero)
 *   append   batches as a busy producer sends them: time in plog_append alone, and in the lane
 *   read     all of it from the files, 1 MiB at a time */
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/os/fs_posix.h"
#include "tests/support/log_rig.h"
#include "tests/support/timing.h"

static void
start(struct log_rig *rig, const char *folder, const char *name)
{
    char dir[400];
    snprintf(dir, sizeof(dir), "%s/bench_log.tmp/%s", folder, name);
    log_rig_init(rig, fs_posix(), dir);
    rig->segment_bytes = (int64_t)1 << 30;
    rig->index_interval_bytes = 4096;
    rig->hot_bytes = (size_t)1 << 20;
    if (log_rig_open(rig) != DMQ_OK) {
        fprintf(stderr, "%s: %s\n", dir, rig->opened.text);
        exit(1);
    }
}

static void
finish(struct log_rig *rig)
{
    struct disk_done done;
    struct disk_op op = {.kind = DISK_DELETE, .log = rig->number};
    if (rig->failed != DMQ_OK) {
        fprintf(stderr, "failed: %s\n", rig->why);
        exit(1);
    }
    plog_io_exec(rig->lane, &op, 1, &done);
    log_rig_deinit(rig);
}

static void
publish(const char *folder)
{
    static double seconds[4000];
    struct log_rig rig;
    struct rig_batch batch = RIG_BATCH;
    batch.value_size = 100;
    struct buf *buf = rig_batch_encode(&batch);
    start(&rig, folder, "publish");
    for (size_t i = 0; i < 4000; i++) {
        struct buf *frame = buf_copy(buf_bytes(buf));
        double begin = timing_now();
        log_rig_append_buf(&rig, frame, 0);
        log_rig_sync(&rig);
        seconds[i] = timing_now() - begin;
        buf_unref(frame);
    }
    timing_sort(seconds, 4000);
    printf("publish: p50 %.0f us, p99 %.0f us\n", seconds[2000] * 1e6, seconds[3960] * 1e6);
    buf_unref(buf);
    finish(&rig);
}

static void
append(const char *folder, int32_t records, size_t count)
{
    struct log_rig rig;
    struct rig_batch batch = RIG_BATCH;
    double in_plog = 0;
    double in_lane = 0;
    double in_reader = 0;
    batch.count = records;
    batch.value_size = 100;
    struct buf *buf = rig_batch_encode(&batch);
    start(&rig, folder, "append");
    for (size_t i = 0; i < count; i++) {
        struct buf *frame = buf_copy(buf_bytes(buf));
        double begin = timing_now();
        log_rig_append_buf(&rig, frame, 0);
        double middle = timing_now();
        log_rig_run(&rig);
        in_plog += middle - begin;
        in_lane += timing_now() - middle;
        buf_unref(frame);
    }
    double begin = timing_now();
    log_rig_sync(&rig);
    double sync = timing_now() - begin;
    for (int64_t offset = 0; offset < plog_end(rig.log);) { /* it is one segment */
        struct buf *data = NULL;
        begin = timing_now();
        log_rig_read_cold(&rig, 0, offset, plog_end(rig.log), 1 << 20, &data);
        in_reader += timing_now() - begin;
        offset += records * (int64_t)(data->size / buf->size);
        buf_unref(data);
    }
    int64_t end = plog_end(rig.log);
    log_rig_kill(&rig);
    begin = timing_now();
    log_rig_open(&rig);
    double in_recovery = timing_now() - begin;
    if (plog_end(rig.log) != end) {
        fprintf(stderr, "recovery lost records\n");
        exit(1);
    }
    double bytes = (double)(buf->size * count);
    printf(
        "append: %7zu bytes a batch: plog %6.2f us, lane %7.1f us (%.0f MB/s), last sync %.0f ms; "
        "read %.0f MB/s, recover %.0f MB/s\n",
        buf->size, in_plog / (double)count * 1e6, in_lane / (double)count * 1e6,
        bytes / in_lane / 1e6, sync * 1e3, bytes / in_reader / 1e6, bytes / in_recovery / 1e6);
    buf_unref(buf);
    finish(&rig);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench_log FOLDER\n");
        return 2;
    }
    publish(argv[1]);
    append(argv[1], 1, 200000);
    append(argv[1], 100, 20000);
    append(argv[1], 9000, 300);
    return 0;
}
