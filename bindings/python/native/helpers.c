/* See helpers.h. Futures do not exist here, only their slots. */
#include "native/helpers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    DELIVERIES_MAX = 256, /* taken at a time, on the stack */
    RECORDS_MAX = 256,    /* packed into one send_many, on the stack */
    POLL_EVERY = 256      /* sends between two looks at what was delivered */
};

struct dmqpy_poller {
    dmq_producer *producer;
    uint32_t users; /* calls that are inside; atomic, as is_closing: sends take no lock */
    bool is_closing;
    bool is_async;
    uint32_t forks; /* of the process that made it */
    uint32_t sends;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool is_polled; /* a thread is in dmq_producer_poll */
};

const char *
dmqpy_programs(void)
{
    return DMQPY_PROGRAMS;
}

/* How often the process has been forked off another: a child's threads are gone, and so whatever
 * they were to give back, such as a lock. */
static uint32_t fork_count;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void
count_fork(void)
{
    fork_count++;
}

static void
watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

/* ---- futures --------------------------------------------------------------------------------- */

dmqpy_poller *
dmqpy_poller_new(dmq_producer *producer, int is_async)
{
    dmqpy_poller *poller = calloc(1, sizeof(*poller));
    if (poller == NULL) {
        return NULL;
    }
    pthread_once(&fork_once, watch_forks);
    poller->forks = fork_count;
    poller->producer = producer;
    poller->is_async = is_async != 0;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&poller->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&poller->mutex, NULL);
    return poller;
}

/* Whether the producer may be used until `leave`. Sequentially consistent on both sides: either the
 * closer sees the user, or the user sees the closing. */
static bool
enter(dmqpy_poller *poller)
{
    if (poller->forks != fork_count) {
        return false;
    }
    __atomic_fetch_add(&poller->users, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&poller->is_closing, __ATOMIC_SEQ_CST)) {
        return true;
    }
    __atomic_fetch_sub(&poller->users, 1, __ATOMIC_SEQ_CST);
    return false;
}

/* Why `enter` did not let in. */
static dmq_err
refusal(const dmqpy_poller *poller)
{
    return poller->forks != fork_count ? DMQ_ERR_FORKED : DMQ_ERR_CLOSED;
}

static void
leave(dmqpy_poller *poller)
{
    __atomic_fetch_sub(&poller->users, 1, __ATOMIC_SEQ_CST);
}

void
dmqpy_poller_close(dmqpy_poller *poller)
{
    __atomic_store_n(&poller->is_closing, true, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&poller->users, __ATOMIC_SEQ_CST) > 0) {
        struct timespec moment = {.tv_nsec = 200000}; /* calls wait in slices of 100 ms at most */
        nanosleep(&moment, NULL);
    }
    dmq_producer_close(poller->producer);
    poller->producer = NULL;
}

void
dmqpy_poller_free(dmqpy_poller *poller)
{
    if (poller != NULL && poller->forks == fork_count) { /* destroying waits for the waiters */
        pthread_cond_destroy(&poller->cond);
        pthread_mutex_destroy(&poller->mutex);
        free(poller);
    }
}

int
dmqpy_is_done(const dmqpy_slot *slot)
{
    return __atomic_load_n(&slot->pending, __ATOMIC_ACQUIRE) == 0;
}

void
dmqpy_reserve(dmqpy_slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        slots[i] = (dmqpy_slot){.pending = 1, .offset = -1};
    }
}

int
dmqpy_has_pending(const dmqpy_slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!dmqpy_is_done(&slots[i])) {
            return 1;
        }
    }
    return 0;
}

/* One thread at a time delivers, but dmqpy_abandon may count beside it, and whoever waits reads as
 * soon as `pending` is 0: that comes last. */
static void
deliver(const dmq_delivery *delivery)
{
    dmqpy_slot *slot = (dmqpy_slot *)(uintptr_t)delivery->opaque;
    if (delivery->code == DMQ_OK) {
        slot->partition = delivery->partition;
        slot->offset = delivery->offset;
        slot->timestamp = delivery->timestamp;
    } else if (__atomic_fetch_add(&slot->failed, 1, __ATOMIC_RELAXED) == 0) {
        slot->code = delivery->code;
    }
    __atomic_fetch_sub(&slot->pending, 1, __ATOMIC_RELEASE);
}

static size_t
take(dmqpy_poller *poller, int64_t timeout_ms)
{
    dmq_delivery deliveries[DELIVERIES_MAX];
    size_t total = 0;
    size_t count;
    do {
        count = dmq_producer_poll(poller->producer, deliveries, sizeof(deliveries[0]),
                                  DELIVERIES_MAX, total == 0 ? timeout_ms : 0);
        for (size_t i = 0; i < count; i++) {
            deliver(&deliveries[i]);
        }
        total += count;
    } while (count == DELIVERIES_MAX);
    return total;
}

static struct timespec
after_ms(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static int64_t
ms_until(struct timespec deadline)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns =
        (int64_t)(deadline.tv_sec - now.tv_sec) * 1000000000 + deadline.tv_nsec - now.tv_nsec;
    return ns > 0 ? (ns + 999999) / 1000000 : 0;
}

/* As the one thread that polls; the mutex is let go of meanwhile. Returns how many came. */
static size_t
poll_for_all(dmqpy_poller *poller, int64_t timeout_ms)
{
    poller->is_polled = true;
    pthread_mutex_unlock(&poller->mutex);
    size_t count = take(poller, timeout_ms);
    pthread_mutex_lock(&poller->mutex);
    poller->is_polled = false;
    pthread_cond_broadcast(&poller->cond); /* the next may poll, also if nothing came */
    return count;
}

size_t
dmqpy_poll(dmqpy_poller *poller)
{
    size_t count = 0;
    if (poller->is_async || !enter(poller)) {
        return 0;
    }
    pthread_mutex_lock(&poller->mutex);
    if (!poller->is_polled) { /* two that poll would take each other's, and one would sleep on */
        count = poll_for_all(poller, 0);
    }
    pthread_mutex_unlock(&poller->mutex);
    leave(poller);
    return count;
}

int
dmqpy_wait(dmqpy_poller *poller, const dmqpy_slot *slot, int64_t timeout_ms)
{
    struct timespec deadline = after_ms(timeout_ms);
    bool is_late = false;
    if (!enter(poller)) {
        return dmqpy_is_done(slot);
    }
    pthread_mutex_lock(&poller->mutex);
    while (!dmqpy_is_done(slot) && !is_late) {
        if (poller->is_polled) {
            is_late = pthread_cond_timedwait(&poller->cond, &poller->mutex, &deadline) == ETIMEDOUT;
        } else {
            int64_t left_ms = ms_until(deadline);
            is_late = left_ms == 0;
            poll_for_all(poller, left_ms);
        }
    }
    pthread_mutex_unlock(&poller->mutex);
    leave(poller);
    return dmqpy_is_done(slot);
}

/* ---- sending --------------------------------------------------------------------------------- */

dmq_err
dmqpy_send_record(const dmqpy_route *route, uintptr_t slot, dmq_record *record, int64_t timeout_ms,
                  dmq_error *error)
{
    dmqpy_poller *poller = route->poller;
    record->size = sizeof(*record);
    record->opaque = slot;
    dmq_err err = refusal(poller);
    if (enter(poller)) {
        err = dmq_producer_send(poller->producer, route->topic, record, timeout_ms, error);
        leave(poller);
    }
    if (err != DMQ_OK) {
        return err;
    }
    if (__atomic_fetch_add(&poller->sends, 1, __ATOMIC_RELAXED) % POLL_EVERY == POLL_EVERY - 1) {
        dmqpy_poll(poller);
    }
    return DMQ_OK;
}

static dmq_bytes
bytes_of(const char *data, int64_t size)
{
    return size < 0 ? (dmq_bytes){NULL, 0} : (dmq_bytes){data, (size_t)size};
}

dmq_err
dmqpy_send(const dmqpy_route *route, uintptr_t slot, const char *key, int64_t key_size,
           const char *value, int64_t value_size)
{
    dmq_record record = {.partition = DMQ_PARTITION_AUTO,
                         .key = bytes_of(key, key_size),
                         .value = bytes_of(value, value_size)};
    return dmqpy_send_record(route, slot, &record, 0, NULL);
}

/* One of the items that lie back to back in data; *pos moves behind it. */
static dmq_bytes
next_item(const char *data, const int32_t *sizes, size_t index, size_t *pos)
{
    if (sizes == NULL || sizes[index] < 0) {
        return (dmq_bytes){NULL, 0};
    }
    dmq_bytes item = {data + *pos, (size_t)sizes[index]};
    *pos += item.size;
    return item;
}

/* Fills at most `max` records from where packed stands, and moves it on. */
static size_t
unpack(dmqpy_packed *packed, const dmqpy_slot *slot, dmq_record *records, size_t max)
{
    size_t count = packed->count - packed->sent;
    count = count < max ? count : max;
    for (size_t i = 0; i < count; i++) {
        size_t at = packed->sent + i;
        records[i] = (dmq_record){
            .size = sizeof(records[i]),
            .partition = packed->partition,
            .key = next_item(packed->keys, packed->key_sizes, at, &packed->key_pos),
            .value = next_item(packed->values, packed->value_sizes, at, &packed->value_pos),
            .opaque = (uint64_t)(uintptr_t)slot};
    }
    packed->sent += count;
    return count;
}

dmq_err
dmqpy_send_packed(const dmqpy_route *route, dmqpy_slot *slot, dmqpy_packed *packed,
                  int64_t timeout_ms, dmq_error *error)
{
    dmqpy_poller *poller = route->poller;
    dmq_record records[RECORDS_MAX];
    struct timespec deadline = after_ms(timeout_ms);
    dmq_err err = DMQ_OK;
    while (packed->sent < packed->count && err == DMQ_OK) {
        if (!enter(poller)) {
            return refusal(poller);
        }
        dmqpy_packed before = *packed;
        size_t count = unpack(packed, slot, records, RECORDS_MAX);
        size_t sent = 0;
        err = dmq_producer_send_many(poller->producer, route->topic, records, sizeof(records[0]),
                                     count, ms_until(deadline), &sent, error);
        leave(poller);
        dmqpy_poll(poller);
        if (err != DMQ_OK) { /* only `sent` of them went: stand behind those */
            *packed = before;
            unpack(packed, slot, records, sent);
        }
    }
    return err;
}

/* ---- sending without blocking ---------------------------------------------------------------- */

dmq_err
dmqpy_post_record(const dmqpy_route *route, uint64_t number, dmq_record *record, dmq_error *error)
{
    dmqpy_poller *poller = route->poller;
    record->size = sizeof(*record);
    record->opaque = number;
    dmq_err err = refusal(poller);
    if (enter(poller)) {
        err = dmq_producer_send(poller->producer, route->topic, record, 0, error);
        leave(poller);
    }
    return err;
}

dmq_err
dmqpy_post(const dmqpy_route *route, uint64_t number, const char *key, int64_t key_size,
           const char *value, int64_t value_size)
{
    dmq_record record = {.partition = DMQ_PARTITION_AUTO,
                         .key = bytes_of(key, key_size),
                         .value = bytes_of(value, value_size)};
    return dmqpy_post_record(route, number, &record, NULL);
}

/* Whether it is to be told: a single record, or the last one of a slot, whose outcome it becomes.
 */
static bool
settle(dmq_delivery *delivery)
{
    if (delivery->opaque % 2 == 1) {
        return true;
    }
    dmqpy_slot *slot = (dmqpy_slot *)(uintptr_t)delivery->opaque;
    deliver(delivery);
    if (!dmqpy_is_done(slot)) {
        return false;
    }
    delivery->code = slot->code;
    delivery->partition = slot->partition;
    delivery->offset = slot->offset;
    delivery->timestamp = slot->timestamp;
    return true;
}

size_t
dmqpy_take(dmqpy_poller *poller, dmq_delivery *ret_done, size_t max)
{
    size_t done = 0;
    size_t count = 1;
    if (!enter(poller)) {
        return 0;
    }
    while (count > 0 && done < max) {
        dmq_delivery *at = ret_done + done;
        count = dmq_producer_poll(poller->producer, at, sizeof(*at), max - done, 0);
        for (size_t i = 0; i < count; i++) {
            dmq_delivery delivery = at[i];
            if (settle(&delivery)) {
                ret_done[done++] = delivery;
            }
        }
    }
    leave(poller);
    return done;
}

dmq_err
dmqpy_prepare(const dmqpy_route *route, int64_t timeout_ms, dmq_error *error)
{
    dmqpy_poller *poller = route->poller;
    if (!enter(poller)) {
        return refusal(poller);
    }
    dmq_err err = dmq_producer_prepare(poller->producer, route->topic, timeout_ms, error);
    leave(poller);
    return err;
}

dmq_err
dmqpy_flush(dmqpy_poller *poller, int64_t timeout_ms, uint64_t *ret_failed, dmq_error *error)
{
    if (!enter(poller)) {
        return refusal(poller);
    }
    dmq_err err = dmq_producer_flush(poller->producer, timeout_ms, ret_failed, error);
    leave(poller);
    dmqpy_poll(poller);
    return err;
}

void
dmqpy_abandon(dmqpy_slot *slot, int64_t count, dmq_err code)
{
    if (__atomic_fetch_add(&slot->failed, count, __ATOMIC_RELAXED) == 0) {
        slot->code = code;
    }
    __atomic_fetch_sub(&slot->pending, count, __ATOMIC_RELEASE);
}

/* ---- reading --------------------------------------------------------------------------------- */

const dmq_message *
dmqpy_message(const dmq_batch *batch, size_t index)
{
    size_t stride;
    const char *messages = (const char *)dmq_batch_messages(batch, &stride);
    return (const dmq_message *)(const void *)(messages + index * stride);
}

/* Steps through messages without asking for the array each time. */
struct walk {
    const char *at;
    size_t stride;
};

static struct walk
walk_of(const dmqpy_part *part)
{
    struct walk walk;
    walk.at = (const char *)dmq_batch_messages(part->batch, &walk.stride);
    walk.at += part->from * walk.stride;
    return walk;
}

static const dmq_message *
walk_next(struct walk *walk)
{
    const dmq_message *message = (const dmq_message *)(const void *)walk->at;
    walk->at += walk->stride;
    return message;
}

size_t
dmqpy_bytes_size(const dmqpy_part *part, int is_key, int64_t *ret_each)
{
    struct walk walk = walk_of(part);
    size_t size = 0;
    size_t first = 0;
    bool is_even = true;
    for (size_t i = 0; i < part->count; i++) {
        const dmq_message *message = walk_next(&walk);
        dmq_bytes bytes = is_key ? message->key : message->value;
        first = i == 0 ? bytes.size : first;
        is_even = is_even && bytes.size == first && bytes.data != NULL;
        size += bytes.size;
    }
    *ret_each = is_even ? (int64_t)first : -1;
    return size;
}

size_t
dmqpy_bytes_copy(const dmqpy_part *part, int is_key, char *ret_data, int32_t *ret_ends)
{
    struct walk walk = walk_of(part);
    size_t pos = 0;
    size_t nulls = 0;
    for (size_t i = 0; i < part->count; i++) {
        const dmq_message *message = walk_next(&walk);
        dmq_bytes bytes = is_key ? message->key : message->value;
        if (bytes.size > 0) {
            memcpy(ret_data + pos, bytes.data, bytes.size);
        }
        pos += bytes.size;
        nulls += bytes.data == NULL ? 1 : 0;
        ret_ends[i] = bytes.data != NULL ? (int32_t)pos : -1 - (int32_t)pos;
    }
    return nulls;
}

void
dmqpy_offsets(const dmqpy_part *part, int64_t *ret_offsets)
{
    struct walk walk = walk_of(part);
    for (size_t i = 0; i < part->count; i++) {
        ret_offsets[i] = walk_next(&walk)->offset;
    }
}

void
dmqpy_timestamps(const dmqpy_part *part, int64_t *ret_timestamps)
{
    struct walk walk = walk_of(part);
    for (size_t i = 0; i < part->count; i++) {
        ret_timestamps[i] = walk_next(&walk)->timestamp;
    }
}
