/* Waiting, and being interrupted.
 *
 * dmq_client_interrupt may be called in a signal handler, so it only sets a flag and wakes the
 * background thread, which knows how to wake all others. Each interrupt is handed out once: to all
 * who wait at that moment, or, if nobody does, to the first who will (an interrupt that comes just
 * before a call must not be lost: Ctrl-C would do nothing). Who waits is counted under
 * interrupt_lock, so that the two cases cannot both happen. */
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

/* Counts the caller among those who wait. False: an interrupt came while nobody waited, and is for
 * the first who does. While somebody waits it is the background thread's to hand out. */
static bool
enter(struct gate *gate, uint32_t *ret_interrupts)
{
    struct dmq_client *client = gate->client;
    pthread_mutex_lock(&client->interrupt_lock);
    bool enters = client->waiting > 0 || !atomic_exchange(&client->interrupted, false);
    if (enters) {
        client->waiting++;
        gate->waiters++;
        *ret_interrupts = gate->interrupts;
    }
    pthread_mutex_unlock(&client->interrupt_lock);
    return enters;
}

/* True if an interrupt was handed out meanwhile. */
static bool
leave(struct gate *gate, uint32_t interrupts)
{
    struct dmq_client *client = gate->client;
    pthread_mutex_lock(&client->interrupt_lock);
    DMQ_ASSERT(client->waiting > 0 && gate->waiters > 0);
    client->waiting--;
    gate->waiters--;
    bool interrupted = gate->interrupts != interrupts;
    pthread_mutex_unlock(&client->interrupt_lock);
    return interrupted;
}

dmq_err
gate_wait(struct gate *gate, int64_t deadline_ms)
{
    uint32_t interrupts;
    if (!enter(gate, &interrupts)) {
        return DMQ_ERR_INTERRUPTED;
    }
    int rc = sleep_until(gate, deadline_ms);
    DMQ_ASSERT(rc == 0 || rc == ETIMEDOUT);
    if (leave(gate, interrupts)) {
        return DMQ_ERR_INTERRUPTED;
    }
    return rc == ETIMEDOUT ? DMQ_ERR_TIMEOUT : DMQ_OK;
}

void
gate_wait_quietly(struct gate *gate)
{
    gate->quiet++;
    int rc = sleep_until(gate, INT64_MAX);
    DMQ_ASSERT(rc == 0);
    gate->quiet--;
}

void
gate_wake(struct gate *gate)
{
    if (gate->waiters > 0 || gate->quiet > 0) {
        pthread_cond_broadcast(&gate->cond);
    }
}

void
gates_interrupt(struct dmq_client *client)
{
    struct gate *gate;
    if (!atomic_load(&client->interrupted)) {
        return;
    }
    pthread_mutex_lock(&client->gates_lock);
    pthread_mutex_lock(&client->interrupt_lock);
    bool found = client->waiting > 0 && atomic_exchange(&client->interrupted, false);
    for (gate = client->gates; found && gate != NULL; gate = gate->next) {
        gate->interrupts += gate->waiters > 0;
    }
    pthread_mutex_unlock(&client->interrupt_lock);
    for (gate = client->gates; found && gate != NULL; gate = gate->next) {
        gate_lock(gate);
        gate_wake(gate);
        gate_unlock(gate);
    }
    pthread_mutex_unlock(&client->gates_lock);
}

int64_t
deadline_of(int64_t timeout_ms)
{
    int64_t now_ms = clock_ms();
    return timeout_ms < 0 || timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + timeout_ms;
}
