#include <errno.h>
#include <time.h>

#include "libdmq/api/api.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/os/clock.h"

void
gate_init(struct gate *gate, struct dmq_client *client)
{
    pthread_condattr_t attr;
    *gate = (struct gate){.client = client};
    pthread_mutex_init(&gate->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_lock(&client->gates_lock);
    DL_APPEND(client->gates, gate);
    pthread_mutex_unlock(&client->gates_lock);
}

void
gate_deinit(struct gate *gate)
{
    struct dmq_client *client = gate->client;
    pthread_mutex_lock(&client->gates_lock);
    DL_DELETE(client->gates, gate);
    pthread_mutex_unlock(&client->gates_lock);
    pthread_cond_destroy(&gate->cond);
    pthread_mutex_destroy(&gate->lock);
}

void
gate_lock(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
}

void
gate_unlock(struct gate *gate)
{
    pthread_mutex_unlock(&gate->lock);
}

static int
sleep_until(struct gate *gate, int64_t deadline_ms)
{
    if (deadline_ms == INT64_MAX) {
        return pthread_cond_wait(&gate->cond, &gate->lock);
    }
    struct timespec at = {.tv_sec = (time_t)(deadline_ms / 1000),
                          .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&gate->cond, &gate->lock, &at);
}

dmq_err
gate_wait(struct gate *gate, int64_t deadline_ms)
{
    /* One that came while nobody waited is for the first who does. */
    if (atomic_exchange(&gate->client->interrupted, false)) {
        return DMQ_ERR_INTERRUPTED;
    }
    uint32_t interrupts = gate->interrupts;
    gate->waiters++;
    int rc = sleep_until(gate, deadline_ms);
    DMQ_ASSERT(gate->waiters > 0 && (rc == 0 || rc == ETIMEDOUT));
    gate->waiters--;
    if (gate->interrupts != interrupts) {
        return DMQ_ERR_INTERRUPTED;
    }
    return rc == ETIMEDOUT ? DMQ_ERR_TIMEOUT : DMQ_OK;
}

void
gate_wait_quietly(struct gate *gate)
{
    gate->waiters++;
    int rc = sleep_until(gate, INT64_MAX);
    DMQ_ASSERT(rc == 0);
    gate->waiters--;
}

void
gate_wake(struct gate *gate)
{
    if (gate->waiters > 0) {
        pthread_cond_broadcast(&gate->cond);
    }
}

void
gates_interrupt(struct dmq_client *client)
{
    struct gate *gate;
    bool found = false;
    if (!atomic_load(&client->interrupted)) {
        return;
    }
    pthread_mutex_lock(&client->gates_lock);
    DL_FOREACH (client->gates, gate) {
        gate_lock(gate);
        if (gate->waiters > 0) {
            gate->interrupts++;
            pthread_cond_broadcast(&gate->cond);
            found = true;
        }
        gate_unlock(gate);
    }
    pthread_mutex_unlock(&client->gates_lock);
    if (found) {
        atomic_store(&client->interrupted, false);
    }
}

int64_t
deadline_of(int64_t timeout_ms)
{
    int64_t now_ms = clock_ms();
    return timeout_ms < 0 || timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + timeout_ms;
}
