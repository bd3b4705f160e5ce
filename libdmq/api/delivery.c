/* What becomes of records: batches go to the machine and come back with their outcome, which goes
 * to those who wait for it.
 *
 * A batch whose records want no word costs nothing here but its own end. Otherwise its array of
 * opaques goes along as it is, one queue element per batch; dmq_producer_poll makes the single
 * deliveries from it, on the application's thread. */
#include <stdlib.h>

#include "libdmq/api/producer.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/os/clock.h"

#define MAX_DRAINED 64 /* batches taken under one lock */

struct dmq_producer *
producer_find(struct dmq_client *client, uint64_t id)
{
    struct dmq_producer *producer;
    gate_lock(&client->gate);
    DL_FOREACH (client->producers, producer) {
        if (producer->id == id) {
            break;
        }
    }
    gate_unlock(&client->gate);
    DMQ_ASSERT(producer != NULL);
    return producer;
}

struct dmq_producer *
producer_next(struct dmq_producer *producer)
{
    return producer->next;
}

static void
hand_over(struct dmq_producer *producer, struct send_batch *batch)
{
    struct client_event event = {.type = CLIENT_BATCH_CLOSED, .id = producer->id};
    if (producer->client->machine->broken) {
        err_set(&batch->result, DMQ_ERR_NOMEM, "out of memory");
        producer_batch_done(producer, batch);
        return;
    }
    event.u.batch = batch;
    loop_step(producer->client, &event);
}

int64_t
producer_drain(struct dmq_producer *producer)
{
    struct send_batch *batches[MAX_DRAINED];
    int count;
    int64_t wake_at_ms;
    do {
        count = 0;
        int64_t now_ms = clock_ms();
        gate_lock(&producer->gate);
        while (count < MAX_DRAINED) {
            batches[count] = accum_take(&producer->accum, now_ms);
            if (batches[count] == NULL) {
                break;
            }
            count++;
        }
        wake_at_ms = accum_wake_at(&producer->accum);
        gate_unlock(&producer->gate);
        for (int i = 0; i < count; i++) {
            hand_over(producer, batches[i]);
        }
    } while (count > 0);
    return wake_at_ms;
}

void
producer_topic_changed(struct dmq_producer *producer, const struct known_topic *known)
{
    struct accum_topic *topic;
    gate_lock(&producer->gate);
    for (topic = producer->accum.topics; topic != NULL; topic = topic->next) {
        if (!topic->known || topic->handle != known->handle) {
            continue;
        }
        if (known->err != DMQ_OK) {
            topic->known = false; /* the next send asks again, and fails in its own name */
        } else if (!accum_topic_known(topic, known->handle, known->partition_count,
                                      known->max_message_bytes)) {
            topic->known = false;
        }
    }
    gate_unlock(&producer->gate);
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void
tell_waiter(const struct send_batch *batch, const struct send_opaque *opaque)
{
    struct send_waiter *waiter = opaque->u.waiter;
    if (waiter->abandoned) {
        free(waiter);
        return;
    }
    waiter->result = batch->result;
    waiter->delivery =
        (dmq_delivery){.opaque = waiter->opaque,
                       .code = batch->result.code,
                       .partition = batch->partition,
                       .offset = batch->base_offset < 0 ? -1 : batch->base_offset + opaque->index,
                       .timestamp = opaque->timestamp};
    waiter->done = true;
}

/* Keeps the outcomes of a batch for dmq_producer_poll: its array of opaques goes along. */
static void
keep_delivered(struct dmq_producer *producer, struct send_batch *batch)
{
    struct delivered *delivered = calloc(1, sizeof(*delivered));
    if (delivered == NULL) {
        producer->client->machine->broken = true; /* they would be lost without a word */
        return;
    }
    *delivered = (struct delivered){.opaques = batch->opaques,
                                    .code = batch->result.code,
                                    .partition = batch->partition,
                                    .base_offset = batch->base_offset};
    producer->undelivered += batch->opaques.count;
    batch->opaques = (struct send_opaques){0};
    if (producer->first_delivered == NULL) {
        producer->first_delivered = delivered;
    } else {
        producer->last_delivered->next = delivered;
    }
    producer->last_delivered = delivered;
    readiness_set(&producer->client->readiness, &producer->is_source, true);
}

/* Those that dmq_producer_poll is to give move to the front; returns how many they are. */
static uint32_t
tell_waiters(struct send_batch *batch)
{
    uint32_t kept = 0;
    struct send_opaque *items = batch->opaques.items;
    for (uint32_t i = 0; i < batch->opaques.count; i++) {
        if (items[i].has_waiter) {
            tell_waiter(batch, &items[i]);
        } else {
            items[kept++] = items[i];
        }
    }
    return kept;
}

/* With the gate held. */
static void
take_back(struct dmq_producer *producer, struct send_batch *batch)
{
    if (batch->result.code != DMQ_OK) {
        if (producer->failed == 0) {
            producer->first_failure = batch->result;
        }
        producer->failed += (uint64_t)batch->count;
    } else if (batch->topic == producer->waits.topic &&
               batch->partition == producer->waits.partition) {
        producer->waits.why.code = DMQ_OK;
    }
    batch->opaques.count = tell_waiters(batch);
    if (batch->opaques.count > 0) {
        keep_delivered(producer, batch);
    }
    accum_done(&producer->accum, batch);
}

void
producer_batch_done(struct dmq_producer *producer, struct send_batch *batch)
{
    gate_lock(&producer->gate);
    take_back(producer, batch);
    gate_wake(&producer->gate);
    gate_unlock(&producer->gate);
}

void
producer_waits(struct dmq_producer *producer, const struct client_effect *effect)
{
    gate_lock(&producer->gate);
    producer->waits.topic = effect->u.waits.topic;
    producer->waits.partition = effect->u.waits.partition;
    producer->waits.why = effect->result;
    gate_unlock(&producer->gate);
}

void
producer_closed(struct dmq_producer *producer)
{
    struct dmq_client *client = producer->client;
    gate_lock(&client->gate);
    DL_DELETE(client->producers, producer);
    producer->closed = true;
    gate_wake(&client->gate);
    gate_unlock(&client->gate);
}

/* The client is gone: what was not handed to the machine yet fails, too. */
void
producer_failed(struct dmq_producer *producer, const struct err_msg *failure)
{
    gate_lock(&producer->gate);
    producer->failure = *failure;
    accum_flush(&producer->accum);
    struct send_batch *batch = accum_take(&producer->accum, INT64_MAX);
    while (batch != NULL) {
        batch->result = *failure;
        take_back(producer, batch);
        batch = accum_take(&producer->accum, INT64_MAX);
    }
    gate_wake(&producer->gate);
    gate_unlock(&producer->gate);
}

void
delivery_free(struct dmq_producer *producer)
{
    while (producer->first_delivered != NULL) {
        struct delivered *delivered = producer->first_delivered;
        producer->first_delivered = delivered->next;
        free(delivered->opaques.items);
        free(delivered);
    }
    readiness_set(&producer->client->readiness, &producer->is_source, false);
}

/* ---- dmq.h ----------------------------------------------------------------------------------- */

static size_t
take_delivered(struct dmq_producer *producer, char *to, size_t stride, size_t max)
{
    size_t count = 0;
    while (producer->first_delivered != NULL && count < max) {
        struct delivered *from = producer->first_delivered;
        const struct send_opaque *opaque = &from->opaques.items[from->taken++];
        dmq_delivery delivery = {.opaque = opaque->u.opaque,
                                 .code = from->code,
                                 .partition = from->partition,
                                 .offset =
                                     from->base_offset < 0 ? -1 : from->base_offset + opaque->index,
                                 .timestamp = opaque->timestamp};
        memcpy(to + count * stride, &delivery,
               stride < sizeof(delivery) ? stride : sizeof(delivery));
        count++;
        producer->undelivered--;
        if (from->taken == from->opaques.count) {
            producer->first_delivered = from->next;
            accum_give_opaques(&producer->accum, &from->opaques);
            free(from);
        }
    }
    if (producer->first_delivered == NULL) {
        DMQ_ASSERT(producer->undelivered == 0);
        readiness_set(&producer->client->readiness, &producer->is_source, false);
    }
    if (count > 0) {
        gate_wake(&producer->gate); /* somebody may wait to send more */
    }
    return count;
}

size_t
dmq_producer_poll(dmq_producer *producer, dmq_delivery *deliveries, size_t stride, size_t max,
                  int64_t timeout_ms)
{
    if (producer == NULL || client_check(producer->client, NULL) != DMQ_OK) {
        return 0;
    }
    int64_t deadline_ms = timeout_ms == 0 ? 0 : deadline_of(timeout_ms);
    dmq_err err = DMQ_OK;
    gate_lock(&producer->gate);
    while (producer->first_delivered == NULL && err == DMQ_OK && timeout_ms != 0 &&
           producer->failure.code == DMQ_OK) {
        err = gate_wait(&producer->gate, deadline_ms);
    }
    size_t count = take_delivered(producer, (char *)deliveries, stride, max);
    gate_unlock(&producer->gate);
    return count;
}

/* With the gate held. */
static dmq_err
wait_for_flush(struct dmq_producer *producer, int64_t deadline_ms)
{
    dmq_err err = DMQ_OK;
    uint64_t mark = accum_flush(&producer->accum);
    wakeup_signal(&producer->client->wakeup);
    while (!accum_flushed(&producer->accum, mark) && err == DMQ_OK) {
        err = producer->failure.code;
        if (err == DMQ_OK) {
            err = gate_wait(&producer->gate, deadline_ms);
        }
    }
    return accum_flushed(&producer->accum, mark) ? DMQ_OK : err;
}

dmq_err
dmq_producer_flush(dmq_producer *producer, int64_t timeout_ms, uint64_t *ret_failed,
                   dmq_error *error)
{
    if (producer == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "the producer is NULL");
    }
    dmq_err err = client_check(producer->client, error);
    if (err != DMQ_OK) {
        return err;
    }
    gate_lock(&producer->gate);
    err = wait_for_flush(producer, deadline_of(timeout_ms));
    uint64_t failed = producer->failed;
    struct err_msg failure = producer->first_failure;
    struct err_msg waits = producer->waits.why;
    if (err == DMQ_OK) {
        producer->failed = 0;
    }
    gate_unlock(&producer->gate);
    if (ret_failed != NULL) {
        *ret_failed = failed;
    }
    if (err == DMQ_ERR_TIMEOUT) {
        return api_error(error, err, "not everything was acknowledged within %lld ms%s%s",
                         (long long)timeout_ms, waits.code == DMQ_OK ? "" : ": ",
                         waits.code == DMQ_OK ? "" : waits.text);
    }
    if (err != DMQ_OK) {
        return api_error(error, err, "%s", err_text(err));
    }
    return failed == 0 ? DMQ_OK : api_result(error, &failure);
}
