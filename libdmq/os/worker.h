/* A thread that carries out jobs one after another, and hands each back to the core thread. Jobs go
 * over and come back through queues of our own: no locks around anything. */
#ifndef DMQ_OS_WORKER_H
#define DMQ_OS_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "libdmq/base/queue.h"
#include "libdmq/os/wakeup.h"

struct worker;

/* Carries out up to count jobs, in order; on the worker's thread. What it finds out it leaves in
 * them. */
typedef void worker_run(void *context, void **jobs, size_t count);

#define WORKER_MAX_RUN 64     /* jobs that one call of run gets */
#define WORKER_CAPACITY 65536 /* jobs that wait */

/* done: where finished jobs go, signalled by woken; both belong to the core thread and outlive the
 * worker. name is for debuggers, at most 15 bytes. NULL if the thread cannot be made. */
struct worker *worker_start(const char *name, worker_run *run, void *context, struct queue *done,
                            struct wakeup *woken);

/* Waits until the queue has room: only if the disk is far behind. */
void worker_push(struct worker *worker, void *job);

/* Carries out what was pushed, then ends the thread. NULL is a no-op. */
void worker_stop(struct worker *worker);

#endif
