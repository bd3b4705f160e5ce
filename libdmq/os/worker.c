#include "libdmq/os/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "libdmq/base/assert.h"

#define FULL_PAUSE_NS 200000

struct worker {
    pthread_t thread;
    worker_run *run;
    void *context;
    struct queue *jobs;
    struct wakeup wakeup; /* of this thread */
    struct queue *done;
    struct wakeup *woken; /* of the core thread */
    atomic_bool stopping;
};

static void
pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = FULL_PAUSE_NS};
    nanosleep(&pause, NULL);
}

/* Takes what is there, carries it out, hands it back; returns how many jobs that were. */
static size_t
run_once(struct worker *worker)
{
    void *jobs[WORKER_MAX_RUN];
    size_t count = 0;
    while (count < WORKER_MAX_RUN && (jobs[count] = queue_pop(worker->jobs)) != NULL) {
        count++;
    }
    if (count == 0) {
        return 0;
    }
    worker->run(worker->context, jobs, count);
    for (size_t i = 0; i < count; i++) {
        while (!queue_push(worker->done, jobs[i])) {
            wakeup_signal(worker->woken);
            pause_a_little();
        }
    }
    wakeup_signal(worker->woken);
    return count;
}

static void *
thread_main(void *arg)
{
    struct worker *worker = arg;
    for (;;) {
        bool stopping = atomic_load(&worker->stopping);
        if (run_once(worker) > 0) {
            continue;
        }
        if (stopping) {
            return NULL;
        }
        wakeup_wait(&worker->wakeup, -1);
    }
}

struct worker *
worker_start(const char *name, worker_run *run, void *context, struct queue *done,
             struct wakeup *woken)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    DMQ_ASSERT(worker != NULL);
    worker->run = run;
    worker->context = context;
    worker->done = done;
    worker->woken = woken;
    worker->jobs = queue_new(WORKER_CAPACITY);
    DMQ_ASSERT(worker->jobs != NULL);
    if (wakeup_init(&worker->wakeup) != 0) {
        queue_free(worker->jobs);
        free(worker);
        return NULL;
    }
    if (pthread_create(&worker->thread, NULL, thread_main, worker) != 0) {
        wakeup_deinit(&worker->wakeup);
        queue_free(worker->jobs);
        free(worker);
        return NULL;
    }
    pthread_setname_np(worker->thread, name);
    return worker;
}

void
worker_push(struct worker *worker, void *job)
{
    while (!queue_push(worker->jobs, job)) {
        pause_a_little();
    }
    wakeup_signal(&worker->wakeup);
}

void
worker_stop(struct worker *worker)
{
    if (worker == NULL) {
        return;
    }
    atomic_store(&worker->stopping, true);
    wakeup_signal(&worker->wakeup);
    pthread_join(worker->thread, NULL);
    queue_free(worker->jobs);
    wakeup_deinit(&worker->wakeup);
    free(worker);
}
