/* The queue between the background thread, which fetches ahead, and the thread that consumes.
 *
 * The machine stops fetching when too much is queued, and must hear when that changes. It hears at
 * its next turn anyway; a wakeup is spent on it only while it is `starved`, i.e. would fetch more
 * if it knew of room. */
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/consumer.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"

struct dmq_consumer *
consumer_find(struct dmq_client *client, uint64_t id)
{
    struct dmq_consumer *consumer;
    gate_lock(&client->gate);
    DL_FOREACH (client->consumers, consumer) {
        if (consumer->id == id) {
            break;
        }
    }
    gate_unlock(&client->gate);
    DMQ_ASSERT(consumer != NULL);
    return consumer;
}

struct dmq_consumer *
consumer_next(struct dmq_consumer *consumer)
{
    return consumer->next;
}

void
consumer_closed(struct dmq_consumer *consumer)
{
    struct dmq_client *client = consumer->client;
    gate_lock(&client->gate);
    DL_DELETE(client->consumers, consumer);
    consumer->closed = true;
    gate_wake(&client->gate);
    gate_unlock(&client->gate);
}

void
consumer_failed(struct dmq_consumer *consumer, const struct err_msg *failure)
{
    gate_lock(&consumer->gate);
    consumer->failure = *failure;
    /* For good: the failure is there to be taken for as long as the consumer lives. */
    readiness_set(&consumer->client->readiness, &consumer->is_source, true);
    gate_wake(&consumer->gate);
    gate_unlock(&consumer->gate);
}

/* ---- the background thread ------------------------------------------------------------------- */

void
consumer_drain(struct dmq_consumer *consumer)
{
    struct client_event event = {.type = CLIENT_CONSUMED, .id = consumer->id};
    do {
        gate_lock(&consumer->gate);
        event.u.bytes = consumer->consumed_bytes;
        consumer->consumed_bytes = 0;
        gate_unlock(&consumer->gate);
        if (event.u.bytes > 0) {
            loop_step(consumer->client, &event);
        }
        /* Whoever consumes from here on sees whether it must say so; what came between is taken
         * at once. */
        gate_lock(&consumer->gate);
        consumer->starved = client_is_starved(consumer->client->machine, consumer->id);
        event.u.bytes = consumer->starved ? consumer->consumed_bytes : 0;
        gate_unlock(&consumer->gate);
    } while (event.u.bytes > 0);
}

static void
push(struct dmq_consumer *consumer, struct fetched *item)
{
    DL_APPEND(consumer->queue, item);
    readiness_set(&consumer->client->readiness, &consumer->is_source, true);
    gate_wake(&consumer->gate);
}

/* Not from before an assignment or a seek. */
static bool
is_current(const struct dmq_consumer *consumer, const struct client_effect *effect)
{
    uint32_t slot = effect->u.records.slot;
    return slot < consumer->slot_count &&
           consumer->slots[slot].generation == effect->u.records.generation;
}

void
consumer_records(struct dmq_consumer *consumer, const struct client_effect *effect)
{
    struct buf *frame = effect->u.records.frame;
    struct fetched *item = frame == NULL ? NULL : calloc(1, sizeof(*item));
    gate_lock(&consumer->gate);
    bool current = is_current(consumer, effect);
    if (current) {
        consumer->slots[effect->u.records.slot].high_watermark = effect->u.records.high_watermark;
    }
    if (frame != NULL && current && item != NULL) {
        item->slot = effect->u.records.slot;
        item->cursor =
            (struct batch_cursor){.frame = buf_ref(frame), .offset = effect->u.records.offset};
        item->high_watermark = effect->u.records.high_watermark;
        push(consumer, item);
        item = NULL;
    } else if (frame != NULL) {
        consumer->consumed_bytes += (int64_t)frame->size;
        if (current) { /* a hole in what is consumed must not go unnoticed */
            consumer->client->machine->broken = true;
        }
    }
    gate_unlock(&consumer->gate);
    free(item);
}

void
consumer_slot_failed(struct dmq_consumer *consumer, const struct client_effect *effect)
{
    struct fetched *item = calloc(1, sizeof(*item));
    if (item == NULL) {
        consumer->client->machine->broken = true;
        return;
    }
    item->slot = effect->u.records.slot;
    item->error = effect->result;
    gate_lock(&consumer->gate);
    if (is_current(consumer, effect)) {
        push(consumer, item);
        item = NULL;
    }
    gate_unlock(&consumer->gate);
    free(item);
}

/* ---- the application's thread ---------------------------------------------------------------- */

static void
pop(struct dmq_consumer *consumer, struct fetched *item)
{
    DL_DELETE(consumer->queue, item);
    if (item->cursor.frame != NULL) {
        consumer->consumed_bytes += (int64_t)item->cursor.frame->size;
        buf_unref(item->cursor.frame);
    }
    free(item);
    if (consumer->queue == NULL && consumer->failure.code == DMQ_OK) {
        readiness_set(&consumer->client->readiness, &consumer->is_source, false);
    }
}

void
fetched_drop(struct dmq_consumer *consumer, int64_t slot)
{
    struct fetched *item;
    struct fetched *next;
    DL_FOREACH_SAFE (consumer->queue, item, next) {
        if (slot < 0 || item->slot == slot) {
            pop(consumer, item);
        }
    }
}

void
fetched_drop_all(struct dmq_consumer *consumer)
{
    fetched_drop(consumer, -1);
    readiness_set(&consumer->client->readiness, &consumer->is_source, false);
}

/* Tells the machine that a partition stops here; with the gate held. */
static void
stop_slot(struct dmq_consumer *consumer, uint32_t slot)
{
    struct command *command = command_new(CLIENT_SLOT_STOPPED, consumer->id);
    fetched_drop(consumer, slot);
    if (command != NULL) {
        command->event.u.seek.slot = slot;
        command->event.u.seek.generation = consumer->slots[slot].generation;
        gate_unlock(&consumer->gate);
        command_post(consumer->client, command);
        gate_lock(&consumer->gate);
    }
}

/* The first of the queue is read, or its error taken. *ret_batch is NULL if it gave nothing. */
static dmq_err
read_first(struct dmq_consumer *consumer, dmq_batch **ret_batch, struct err_msg *ret_error)
{
    struct fetched *item = consumer->queue;
    struct consumer_slot *slot = &consumer->slots[item->slot];
    if (item->cursor.frame == NULL) {
        *ret_error = item->error;
        pop(consumer, item);
        return ret_error->code;
    }
    struct err_msg msg = {0};
    /* Decoding needs no lock: only this thread takes from the queue. */
    gate_unlock(&consumer->gate);
    dmq_err err =
        batch_read(&item->cursor, &consumer->reader, consumer->check_crcs, ret_batch, &msg);
    gate_lock(&consumer->gate);
    if (err != DMQ_OK) {
        err_set(ret_error, err, "partition %d of '%s' at offset %lld: %s", (int)slot->partition,
                slot->topic, (long long)item->cursor.offset, msg.text);
        stop_slot(consumer, item->slot);
        return err;
    }
    slot->position = item->cursor.offset;
    if (*ret_batch != NULL) {
        memcpy((*ret_batch)->topic, slot->topic, sizeof((*ret_batch)->topic));
        (*ret_batch)->partition = slot->partition;
        (*ret_batch)->high_watermark = item->high_watermark;
    }
    if (*ret_batch == NULL || item->cursor.pos == item->cursor.frame->size) {
        pop(consumer, item);
    }
    return DMQ_OK;
}

/* The machine waits for room, and there is some. */
static void
tell_if_starved(struct dmq_consumer *consumer)
{
    if (consumer->starved && consumer->consumed_bytes > 0) {
        consumer->starved = false;
        wakeup_signal(&consumer->client->wakeup);
    }
}

/* With the gate held. */
static dmq_err
next_batch(struct dmq_consumer *consumer, int64_t timeout_ms, dmq_batch **ret_batch,
           struct err_msg *ret_error)
{
    int64_t deadline_ms = timeout_ms == 0 ? 0 : deadline_of(timeout_ms);
    dmq_err err = DMQ_OK;
    *ret_batch = NULL;
    while (err == DMQ_OK && *ret_batch == NULL) {
        if (consumer->queue != NULL) {
            err = read_first(consumer, ret_batch, ret_error);
        } else if (consumer->failure.code != DMQ_OK) {
            *ret_error = consumer->failure;
            err = ret_error->code;
        } else if (timeout_ms == 0) {
            err = err_set(ret_error, DMQ_ERR_TIMEOUT, "nothing is there to be read");
        } else {
            tell_if_starved(consumer);
            err = gate_wait(&consumer->gate, deadline_ms);
            if (err != DMQ_OK) {
                err_set(ret_error, err, "%s",
                        err == DMQ_ERR_TIMEOUT ? "nothing came to be read" : err_text(err));
            }
        }
    }
    return err;
}

dmq_err
dmq_consumer_fetch(dmq_consumer *consumer, int64_t timeout_ms, dmq_batch **ret_batch,
                   dmq_error *error)
{
    struct err_msg msg;
    dmq_batch *batch;
    if (consumer == NULL || ret_batch == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "%s is NULL",
                         consumer == NULL ? "the consumer" : "ret_batch");
    }
    dmq_err err = client_check(consumer->client, error);
    if (err != DMQ_OK) {
        return err;
    }
    gate_lock(&consumer->gate);
    err = next_batch(consumer, timeout_ms, &batch, &msg);
    tell_if_starved(consumer);
    gate_unlock(&consumer->gate);
    if (err != DMQ_OK) {
        return api_result(error, &msg);
    }
    *ret_batch = batch;
    return DMQ_OK;
}
