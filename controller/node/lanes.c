/* Two workers: one stores entries in their order, one probes ports. A job goes over, is carried
 * out, and comes back through one queue. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/node/node.h"
#include "controller/store/store.h"
#include "libdmq/base/assert.h"
#include "libdmq/net/probe.h"
#include "libdmq/os/worker.h"

#define PROBE_TIMEOUT_MS 500
#define DONE_CAPACITY 4096

struct job {
    bool persist; /* else: probe */
    int64_t version;
    struct buf *entry;
    dmq_err err;
    int32_t broker_id;
    char host[256];
    int32_t port;
    enum probe_result found;
};

struct lanes {
    struct kv *kv;
    struct queue *done;
    struct wakeup woken;
    struct worker *store;
    struct worker *prober;
};

/* The core has one entry in flight, so that there is no second one to gather into the same sync. */
static void
run_store(void *context, void **jobs, size_t count)
{
    struct lanes *lanes = context;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        job->err = ctl_store_append(lanes->kv, job->version, buf_bytes(job->entry));
    }
}

static void
run_prober(void *context, void **jobs, size_t count)
{
    (void)context;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        job->found = probe_port(job->host, job->port, PROBE_TIMEOUT_MS);
    }
}

struct lanes *
lanes_start(struct kv *kv)
{
    struct lanes *lanes = calloc(1, sizeof(*lanes));
    DMQ_ASSERT(lanes != NULL);
    lanes->kv = kv;
    lanes->done = queue_new(DONE_CAPACITY);
    DMQ_ASSERT(lanes->done != NULL);
    if (wakeup_init(&lanes->woken) == 0) {
        lanes->store = worker_start("dmq-store", run_store, lanes, lanes->done, &lanes->woken);
        lanes->prober = worker_start("dmq-prober", run_prober, lanes, lanes->done, &lanes->woken);
    }
    if (lanes->store == NULL || lanes->prober == NULL) {
        lanes_stop(lanes);
        return NULL;
    }
    return lanes;
}

static void
free_job(struct job *job)
{
    buf_unref(job->entry);
    free(job);
}

void
lanes_stop(struct lanes *lanes)
{
    if (lanes == NULL) {
        return;
    }
    worker_stop(lanes->prober);
    worker_stop(lanes->store);
    for (struct job *job; (job = queue_pop(lanes->done)) != NULL;) {
        free_job(job);
    }
    lanes->kv->ops->close(lanes->kv);
    wakeup_deinit(&lanes->woken);
    queue_free(lanes->done);
    free(lanes);
}

void
lanes_persist(struct lanes *lanes, int64_t version, struct buf *entry)
{
    struct job *job = calloc(1, sizeof(*job));
    DMQ_ASSERT(job != NULL);
    *job = (struct job){.persist = true, .version = version, .entry = entry};
    worker_push(lanes->store, job);
}

void
lanes_probe(struct lanes *lanes, int32_t broker_id, const char *host, int32_t port)
{
    struct job *job = calloc(1, sizeof(*job));
    DMQ_ASSERT(job != NULL);
    *job = (struct job){.broker_id = broker_id, .port = port};
    snprintf(job->host, sizeof(job->host), "%s", host);
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
        if (job->persist) {
            *ret_event = (struct ctl_event){.kind = CTL_PERSISTED};
            ret_event->u.persisted.version = job->version;
            ret_event->u.persisted.err = job->err;
        } else if (job->found == PROBE_REFUSED) {
            *ret_event = (struct ctl_event){.kind = CTL_PEER_GONE};
            ret_event->u.peer = job->broker_id;
        } else {
            continue;
        }
        free_job(job);
        return true;
    }
    return false;
}
