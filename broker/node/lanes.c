#include "broker/node/lanes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "broker/log/plog_io.h"
#include "broker/log/plog_reader.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/worker.h"

#define DONE_CAPACITY 65536

struct job {
    struct brk_effect effect;
    struct disk_done disk_done;
    dmq_err kv_err;
};

struct lanes {
    struct kv *kv;
    struct plog_io_lane *lane;
    struct plog_reader *reader;
    atomic_int_least64_t fsyncs; /* written by the storage worker, read by the core thread */
    atomic_bool ending;          /* set by the core thread */
    struct queue *done;
    struct wakeup woken;
    struct worker *disk_worker;
    struct worker *read_worker;
    struct worker *kv_worker;
};

/* ---- on the workers' threads ----------------------------------------------------------------- */

static void
run_disk(void *context, void **jobs, size_t count)
{
    struct lanes *lanes = context;
    struct disk_op ops[WORKER_MAX_RUN];
    struct disk_done dones[WORKER_MAX_RUN];
    for (size_t i = 0; i < count; i++) {
        ops[i] = ((struct job *)jobs[i])->effect.u.disk;
    }
    plog_io_exec(lanes->lane, ops, count, dones);
    struct plog_io_counts counts = plog_io_counts(lanes->lane);
    atomic_store_explicit(&lanes->fsyncs, (int64_t)(counts.file_syncs + counts.folder_syncs),
                          memory_order_relaxed);
    for (size_t i = 0; i < count; i++) {
        ((struct job *)jobs[i])->disk_done = dones[i];
    }
}

static void
run_read(void *context, void **jobs, size_t count)
{
    struct lanes *lanes = context;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        plog_reader_exec(lanes->reader, &job->effect.u.disk, &job->disk_done);
    }
}

/* On a full disk the store takes nothing, and nothing that rests on it may go on. */
static dmq_err
write_store(struct lanes *lanes, const struct brk_effect *effect)
{
    static const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    struct kv *kv = lanes->kv;
    for (;;) {
        bool ending = atomic_load(&lanes->ending);
        dmq_err err = kv->ops->write(kv, effect->u.kv.ops, effect->u.kv.count, effect->u.kv.sync);
        if (err != DMQ_ERR_DISK_FULL || ending) {
            return err;
        }
        nanosleep(&pause, NULL);
    }
}

static void
run_kv(void *context, void **jobs, size_t count)
{
    struct lanes *lanes = context;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        job->kv_err = write_store(lanes, &job->effect);
        brk_effect_deinit(&job->effect);
    }
}

/* ---- on the core thread ---------------------------------------------------------------------- */

struct lanes *
lanes_start(struct fs *fs, struct kv *kv)
{
    struct lanes *lanes = calloc(1, sizeof(*lanes));
    DMQ_ASSERT(lanes != NULL);
    lanes->kv = kv;
    lanes->lane = plog_io_new(fs);
    lanes->reader = plog_reader_new(fs);
    lanes->done = queue_new(DONE_CAPACITY);
    DMQ_ASSERT(lanes->lane != NULL && lanes->reader != NULL && lanes->done != NULL);
    if (wakeup_init(&lanes->woken) == 0) {
        lanes->disk_worker = worker_start("dmq-disk", run_disk, lanes, lanes->done, &lanes->woken);
        lanes->read_worker = worker_start("dmq-read", run_read, lanes, lanes->done, &lanes->woken);
        lanes->kv_worker = worker_start("dmq-store", run_kv, lanes, lanes->done, &lanes->woken);
    }
    if (lanes->disk_worker == NULL || lanes->read_worker == NULL || lanes->kv_worker == NULL) {
        lanes_stop(lanes);
        return NULL;
    }
    return lanes;
}

void
lanes_stop(struct lanes *lanes)
{
    struct brk_event event;
    if (lanes == NULL) {
        return;
    }
    lanes_end(lanes);
    worker_stop(lanes->disk_worker);
    worker_stop(lanes->read_worker);
    worker_stop(lanes->kv_worker);
    while (lanes_next(lanes, &event)) {
        if (event.kind == BRK_DISK_DONE) {
            disk_done_deinit(&event.u.disk_done);
        }
    }
    plog_io_free(lanes->lane);
    plog_reader_free(lanes->reader);
    queue_free(lanes->done);
    wakeup_deinit(&lanes->woken);
    lanes->kv->ops->close(lanes->kv);
    free(lanes);
}

void
lanes_push(struct lanes *lanes, struct brk_effect *effect)
{
    struct job *job = malloc(sizeof(*job));
    DMQ_ASSERT(job != NULL);
    job->effect = *effect;
    if (effect->kind == BRK_KV_WRITE) {
        worker_push(lanes->kv_worker, job);
    } else if (effect->u.disk.kind == DISK_READ || effect->u.disk.kind == DISK_FIND_TIME) {
        worker_push(lanes->read_worker, job);
    } else {
        worker_push(lanes->disk_worker, job);
    }
}

void
lanes_end(struct lanes *lanes)
{
    atomic_store(&lanes->ending, true);
}

int
lanes_fd(const struct lanes *lanes)
{
    return lanes->woken.fd;
}

int64_t
lanes_fsyncs(const struct lanes *lanes)
{
    return (int64_t)atomic_load_explicit(&lanes->fsyncs, memory_order_relaxed);
}

void
lanes_clear(struct lanes *lanes)
{
    wakeup_clear(&lanes->woken);
}

bool
lanes_next(struct lanes *lanes, struct brk_event *ret_event)
{
    struct job *job = queue_pop(lanes->done);
    if (job == NULL) {
        return false;
    }
    if (job->effect.kind == BRK_KV_WRITE) {
        *ret_event = (struct brk_event){.kind = BRK_KV_DONE};
        ret_event->u.kv_done.id = job->effect.u.kv.id;
        ret_event->u.kv_done.err = job->kv_err;
    } else {
        *ret_event = (struct brk_event){.kind = BRK_DISK_DONE};
        ret_event->u.disk_done = job->disk_done;
    }
    free(job);
    return true;
}
