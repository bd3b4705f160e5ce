/* Two workers: one stores entries in their order, one probes ports. A job goes over, is carried
 * out, and comes back through one queue. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "controller/node/node.h"
#include "controller/store/raft_store.h"
#include "libdmq/base/assert.h"
#include "libdmq/net/address.h"
#include "libdmq/net/probe.h"
#include "libdmq/os/worker.h"

#define PROBE_TIMEOUT_MS 500
#define DONE_CAPACITY 4096

struct job {
    struct raft_persist *write; /* NULL: a probe */
    dmq_err err;
    struct ctl_event gone; /* what follows where the port refuses */
    char address[ADDRESS_NUMERIC_SIZE];
    int32_t port;
    enum probe_result found;
};

struct lanes {
    struct raft_store *store;
    struct queue *done;
    struct wakeup woken;
    struct worker *writer;
    struct worker *prober;
};

/* Raft has one write on its way, so that there is no second one to gather into the same sync. */
static void
run_writer(void *context, void **jobs, size_t count)
{
    struct lanes *lanes = context;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        job->err = raft_store_write(lanes->store, job->write);
    }
}

/* A connection that ended is probed at once, and a process that is killed closes its connections
 * before the socket that it listens on: a port that still takes us is asked again, all of them
 * together, soon and then later. */
static void
run_prober(void *context, void **jobs, size_t count)
{
    static const int pauses_ms[] = {0, 1, 3, 10, 30};
    (void)context;
    for (size_t round = 0; round < sizeof(pauses_ms) / sizeof(pauses_ms[0]); round++) {
        bool again = false;
        const struct timespec pause = {.tv_nsec = pauses_ms[round] * 1000000L};
        nanosleep(&pause, NULL);
        for (size_t i = 0; i < count; i++) {
            struct job *job = jobs[i];
            if (round == 0 || job->found == PROBE_ACCEPTED) {
                job->found = probe_port(job->address, job->port, PROBE_TIMEOUT_MS);
                again |= job->found == PROBE_ACCEPTED;
            }
        }
        if (!again) {
            break;
        }
    }
}

struct lanes *
lanes_start(struct raft_store *store)
{
    struct lanes *lanes = calloc(1, sizeof(*lanes));
    DMQ_ASSERT(lanes != NULL);
    lanes->store = store;
    lanes->done = queue_new(DONE_CAPACITY);
    DMQ_ASSERT(lanes->done != NULL);
    if (wakeup_init(&lanes->woken) == 0) {
        lanes->writer = worker_start("dmq-store", run_writer, lanes, lanes->done, &lanes->woken);
        lanes->prober = worker_start("dmq-prober", run_prober, lanes, lanes->done, &lanes->woken);
    }
    if (lanes->writer == NULL || lanes->prober == NULL) {
        lanes_stop(lanes);
        return NULL;
    }
    return lanes;
}

static void
free_job(struct job *job)
{
    raft_persist_free(job->write);
    free(job);
}

void
lanes_stop(struct lanes *lanes)
{
    if (lanes == NULL) {
        return;
    }
    worker_stop(lanes->prober);
    worker_stop(lanes->writer);
    for (struct job *job; (job = queue_pop(lanes->done)) != NULL;) {
        free_job(job);
    }
    raft_store_close(lanes->store);
    wakeup_deinit(&lanes->woken);
    queue_free(lanes->done);
    free(lanes);
}

void
lanes_persist(struct lanes *lanes, struct raft_persist *write)
{
    struct job *job = calloc(1, sizeof(*job));
    DMQ_ASSERT(job != NULL);
    *job = (struct job){.write = write};
    worker_push(lanes->writer, job);
}

void
lanes_probe(struct lanes *lanes, const struct ctl_event *gone, const char *address, int32_t port)
{
    struct job *job = calloc(1, sizeof(*job));
    DMQ_ASSERT(job != NULL);
    *job = (struct job){.gone = *gone, .port = port};
    snprintf(job->address, sizeof(job->address), "%s", address);
    worker_push(lanes->prober, job);
}

int
lanes_fd(const struct lanes *lanes)
{
    return lanes->woken.fd;
}

void
lanes_clear(struct lanes *lanes)
{
    wakeup_clear(&lanes->woken);
}

bool
lanes_next(struct lanes *lanes, struct ctl_event *ret_event)
{
    for (struct job *job; (job = queue_pop(lanes->done)) != NULL; free_job(job)) {
        if (job->write != NULL) {
            *ret_event = (struct ctl_event){.kind = CTL_PERSISTED};
            ret_event->u.persisted.seq = job->write->seq;
            ret_event->u.persisted.err = job->err;
        } else if (job->found == PROBE_REFUSED) {
            *ret_event = job->gone;
        } else {
            continue;
        }
        free_job(job);
        return true;
    }
    return false;
}
