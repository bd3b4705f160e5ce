/* A batch goes open -> closed -> taken -> done.
 *
 *   open     one per partition: records are encoded into it
 *   closed   full, or flushed, or its linger is over: in the partition's queue
 *   taken    the sender has it; at most max_in_flight of a partition
 *   done     its memory is spare
 *
 * The ready list is what makes this cheap: appending touches one partition, and the background
 * thread looks only at partitions that have something for it.
 *
 * Invariants: a batch is in `batches` from its first record until accum_done; `used` is what those
 * are charged; a partition is in the ready list exactly when sendable() was true at the last look;
 * an open batch holds at least one record. */
#include "libdmq/client/accum.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"

void
accum_init(struct accum *accum, const struct accum_config *config)
{
    DMQ_ASSERT(config->max_in_flight > 0 && config->linger_ms >= 0);
    DMQ_ASSERT(config->batch_bytes > 0 && config->buffer_bytes > 0);
    *accum = (struct accum){.config = *config, .next_number = 1};
    rng_init(&accum->rng, config->seed);
}

static void
free_batch(struct send_batch *batch)
{
    batch_builder_deinit(&batch->builder);
    buf_unref(batch->data);
    free(batch->opaques.items);
    free(batch);
}

static void
free_topic(struct accum_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_capacity; i++) {
        free(topic->partitions[i]);
    }
    free(topic->partitions);
    free(topic);
}

void
accum_deinit(struct accum *accum)
{
    while (accum->batches != NULL) {
        struct send_batch *batch = accum->batches;
        DL_DELETE(accum->batches, batch);
        free_batch(batch);
    }
    while (accum->spare != NULL) {
        struct send_batch *batch = accum->spare;
        accum->spare = batch->next_closed;
        free_batch(batch);
    }
    while (accum->spare_opaques_count > 0) {
        free(accum->spare_opaques[--accum->spare_opaques_count].items);
    }
    while (accum->topics != NULL) {
        struct accum_topic *topic = accum->topics;
        accum->topics = topic->next;
        free_topic(topic);
    }
    *accum = (struct accum){0};
}

/* ---- topics and partitions ------------------------------------------------------------------- */

struct accum_topic *
accum_topic(struct accum *accum, const char *name)
{
    struct accum_topic *topic = accum->last_topic;
    if (topic != NULL && strcmp(topic->name, name) == 0) {
        return topic;
    }
    for (topic = accum->topics; topic != NULL; topic = topic->next) {
        if (strcmp(topic->name, name) == 0) {
            accum->last_topic = topic;
            return topic;
        }
    }
    size_t size = strlen(name);
    if (size >= sizeof(topic->name)) {
        return NULL;
    }
    topic = calloc(1, sizeof(*topic));
    if (topic == NULL) {
        return NULL;
    }
    memcpy(topic->name, name, size);
    topic->name_size = size;
    topic->handle = -1;
    topic->partitioner.sticky = -1;
    topic->next = accum->topics;
    accum->topics = topic;
    accum->last_topic = topic;
    return topic;
}

bool
accum_topic_known(struct accum_topic *topic, int32_t handle, int32_t partition_count,
                  int32_t max_message_bytes)
{
    DMQ_ASSERT(handle >= 0 && partition_count > 0);
    if (max_message_bytes > 0) {
        topic->max_message_bytes = (size_t)max_message_bytes;
    }
    topic->handle = handle;
    if (partition_count <= topic->partition_capacity) {
        topic->partition_count = partition_count;
        topic->known = true;
        return true;
    }
    struct accum_partition **partitions =
        realloc(topic->partitions, (size_t)partition_count * sizeof(*partitions));
    if (partitions == NULL) {
        return false;
    }
    for (int32_t i = topic->partition_capacity; i < partition_count; i++) {
        partitions[i] = NULL;
    }
    topic->partitions = partitions;
    topic->partition_capacity = partition_count;
    topic->partition_count = partition_count;
    topic->known = true;
    return true;
}

static struct accum_partition *
partition_of(struct accum_topic *topic, int32_t index)
{
    DMQ_ASSERT(index >= 0 && index < topic->partition_count);
    struct accum_partition *p = topic->partitions[index];
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        if (p == NULL) {
            return NULL;
        }
        p->topic = topic;
        p->index = index;
        topic->partitions[index] = p;
    }
    return p;
}

/* ---- readiness ------------------------------------------------------------------------------- */

/* The rule of the header: what may leave now. */
static bool
sendable(const struct accum *accum, const struct accum_partition *p)
{
    if (p->taken >= accum->config.max_in_flight) {
        return false;
    }
    if (p->closed_first != NULL) {
        return true;
    }
    /* With linger.ms the end of the linger closes the batch. */
    return p->open != NULL && accum->config.linger_ms == 0 && p->taken == 0;
}

/* Puts p into the ready list if it belongs there and is not. True if so. */
static bool
note_ready(struct accum *accum, struct accum_partition *p)
{
    if (p->ready || !sendable(accum, p)) {
        return false;
    }
    DMQ_ASSERT(p->taken < accum->config.max_in_flight);
    p->ready = true;
    p->next_ready = NULL;
    if (accum->ready_first == NULL) {
        accum->ready_first = p;
    } else {
        accum->ready_last->next_ready = p;
    }
    accum->ready_last = p;
    return true;
}

static void
stop_linger(struct accum *accum, struct accum_partition *p)
{
    if (p->lingering) {
        DMQ_ASSERT(p->open != NULL && accum->lingering != NULL);
        DL_DELETE2(accum->lingering, p, linger_prev, linger_next);
        p->lingering = false;
    }
}

/* True if the list was empty: nobody has set a timer yet. Later ones end later. */
static bool
start_linger(struct accum *accum, struct accum_partition *p)
{
    bool first = accum->lingering == NULL;
    DMQ_ASSERT(!p->lingering);
    DL_APPEND2(accum->lingering, p, linger_prev, linger_next);
    p->lingering = true;
    return first;
}

/* ---- batches --------------------------------------------------------------------------------- */

static struct send_batch *
new_batch(struct accum *accum)
{
    struct send_batch *batch = accum->spare;
    if (batch != NULL) {
        DMQ_ASSERT(accum->spare_count > 0 && batch->home == NULL);
        accum->spare = batch->next_closed;
        accum->spare_count--;
        return batch;
    }
    batch = calloc(1, sizeof(*batch));
    if (batch != NULL) {
        batch_builder_init(&batch->builder, accum->config.batch_bytes);
    }
    return batch;
}

/* Keeps the batch and its memory for the next one, if there are not enough yet. */
static void
recycle(struct accum *accum, struct send_batch *batch)
{
    DMQ_ASSERT(batch->request == NULL && accum->spare_count <= ACCUM_MAX_SPARE);
    if (accum->spare_count == ACCUM_MAX_SPARE) {
        free_batch(batch);
        return;
    }
    struct buf *data = batch->data;
    struct send_opaques opaques = {.items = batch->opaques.items,
                                   .capacity = batch->opaques.capacity};
    struct batch_builder builder = batch->builder;
    *batch = (struct send_batch){.builder = builder, .opaques = opaques};
    batch_builder_reset(&batch->builder, data);
    batch->next_closed = accum->spare;
    accum->spare = batch;
    accum->spare_count++;
}

/* Gives memory back once the load is over. */
static void
trim_spare(struct accum *accum)
{
    while (accum->batches == NULL && accum->spare_count > ACCUM_IDLE_SPARE) {
        struct send_batch *batch = accum->spare;
        accum->spare = batch->next_closed;
        accum->spare_count--;
        free_batch(batch);
    }
}

/* Opens a batch of p for records up to max_bytes. After a full one it will be full, too: it gets
 * all its memory at once instead of growing into it. */
static bool
open_batch(struct accum *accum, struct accum_partition *p, size_t max_bytes, int64_t now_ms)
{
    struct send_batch *batch = new_batch(accum);
    if (batch == NULL) {
        return false;
    }
    DMQ_ASSERT(p->open == NULL && batch->builder.count == 0);
    if (p->closed_first != NULL && batch->builder.capacity < max_bytes) {
        batch_builder_reset(&batch->builder, buf_new(max_bytes));
    }
    batch->builder.max_bytes = max_bytes;
    batch->home = p;
    batch->number = accum->next_number++;
    batch->created_ms = now_ms;
    batch->base_offset = -1;
    batch->base_sequence = BATCH_NO_SEQUENCE;
    DL_APPEND(accum->batches, batch);
    p->open = batch;
    return true;
}

static void
discard_open(struct accum *accum, struct accum_partition *p)
{
    struct send_batch *batch = p->open;
    DMQ_ASSERT(batch->builder.count == 0 && batch->charged == 0);
    p->open = NULL;
    DL_DELETE(accum->batches, batch);
    recycle(accum, batch);
}

static void
close_open(struct accum *accum, struct accum_partition *p)
{
    struct send_batch *batch = p->open;
    DMQ_ASSERT(batch != NULL && batch->builder.count > 0);
    stop_linger(accum, p);
    p->open = NULL;
    batch->next_closed = NULL;
    if (p->closed_first == NULL) {
        p->closed_first = batch;
    } else {
        p->closed_last->next_closed = batch;
    }
    p->closed_last = batch;
    partitioner_batch_left(&p->topic->partitioner, p->index);
}

/* Room for one more opaque, before the record is encoded: that cannot be undone. */
static bool
reserve_opaque(struct accum *accum, struct send_opaques *opaques)
{
    if (opaques->count < opaques->capacity) {
        return true;
    }
    if (opaques->capacity == 0 && accum->spare_opaques_count > 0) {
        *opaques = accum->spare_opaques[--accum->spare_opaques_count];
        return true;
    }
    uint32_t capacity = opaques->capacity == 0 ? 64 : opaques->capacity * 4;
    struct send_opaque *items = realloc(opaques->items, capacity * sizeof(*items));
    if (items == NULL) {
        return false;
    }
    opaques->items = items;
    opaques->capacity = capacity;
    return true;
}

void
accum_give_opaques(struct accum *accum, struct send_opaques *opaques)
{
    if (accum->spare_opaques_count < ACCUM_IDLE_SPARE && opaques->capacity > 0) {
        opaques->count = 0;
        accum->spare_opaques[accum->spare_opaques_count++] = *opaques;
    } else {
        free(opaques->items);
    }
    *opaques = (struct send_opaques){0};
}

static void
add_opaque(struct send_batch *batch, const struct accum_record *record)
{
    DMQ_ASSERT(batch->opaques.count < batch->opaques.capacity);
    struct send_opaque *opaque = &batch->opaques.items[batch->opaques.count++];
    opaque->timestamp = record->timestamp;
    opaque->index = batch_builder_count(&batch->builder) - 1;
    opaque->has_waiter = record->waiter != NULL;
    if (opaque->has_waiter) {
        opaque->u.waiter = record->waiter;
    } else {
        opaque->u.opaque = record->opaque;
    }
}

static dmq_err
encode(struct accum *accum, struct send_batch *batch, const struct accum_record *record)
{
    bool wanted = record->opaque != 0 || record->waiter != NULL;
    if (wanted && !reserve_opaque(accum, &batch->opaques)) {
        return DMQ_ERR_NOMEM;
    }
    size_t before = batch->builder.count == 0 ? 0 : batch_builder_size(&batch->builder);
    dmq_err err = batch_builder_append(&batch->builder, record->timestamp, record->key,
                                       record->value, record->headers, record->header_count);
    if (err != DMQ_OK) {
        return err;
    }
    size_t added = batch_builder_size(&batch->builder) - before;
    batch->charged += added;
    accum->used += added;
    if (wanted) {
        add_opaque(batch, record);
    }
    return DMQ_OK;
}

/* Encodes into a batch opened for it. */
static dmq_err
encode_first(struct accum *accum, struct accum_partition *p, const struct accum_record *record,
             size_t max_bytes, int64_t now_ms)
{
    if (!open_batch(accum, p, max_bytes, now_ms)) {
        return DMQ_ERR_NOMEM;
    }
    dmq_err err = encode(accum, p->open, record);
    if (err != DMQ_OK) {
        discard_open(accum, p);
    }
    return err;
}

/* A record that needs a batch of its own, larger than batch.size. */
static dmq_err
encode_large(struct accum *accum, struct accum_partition *p, const struct accum_record *record,
             int64_t now_ms)
{
    size_t max_bytes = p->topic->max_message_bytes;
    if (max_bytes <= accum->config.batch_bytes) {
        return DMQ_ERR_BATCH_TOO_LARGE;
    }
    if (p->open != NULL) {
        close_open(accum, p);
    }
    dmq_err err = encode_first(accum, p, record, max_bytes, now_ms);
    if (err == DMQ_OK) {
        close_open(accum, p);
    }
    return err;
}

/* Into the open batch, else into a new one, else (a record larger than batch.size) alone. */
static dmq_err
encode_somewhere(struct accum *accum, struct accum_partition *p, const struct accum_record *record,
                 int64_t now_ms)
{
    dmq_err err = DMQ_ERR_BUFFER_FULL;
    if (p->open != NULL) {
        err = encode(accum, p->open, record);
        if (err == DMQ_ERR_BUFFER_FULL) {
            close_open(accum, p);
        }
    }
    if (err == DMQ_ERR_BUFFER_FULL) {
        size_t max_bytes = accum->config.batch_bytes;
        if (p->topic->max_message_bytes > 0 && p->topic->max_message_bytes < max_bytes) {
            max_bytes = p->topic->max_message_bytes;
        }
        err = encode_first(accum, p, record, max_bytes, now_ms);
    }
    if (err == DMQ_ERR_BATCH_TOO_LARGE) {
        err = encode_large(accum, p, record, now_ms);
    }
    return err;
}

dmq_err
accum_append(struct accum *accum, struct accum_topic *topic, const struct accum_record *record,
             int64_t now_ms, bool *ret_wake)
{
    DMQ_ASSERT(topic->known);
    int32_t index = record->partition;
    if (index < 0) {
        index = partitioner_choose(&topic->partitioner, &accum->rng, record->key,
                                   topic->partition_count);
    }
    if (index >= topic->partition_count) {
        return DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (accum->used >= accum->config.buffer_bytes) {
        return DMQ_ERR_BUFFER_FULL;
    }
    struct accum_partition *p = partition_of(topic, index);
    if (p == NULL) {
        return DMQ_ERR_NOMEM;
    }
    dmq_err err = encode_somewhere(accum, p, record, now_ms);
    bool wake = note_ready(accum, p);
    if (accum->config.linger_ms > 0 && p->open != NULL && !p->lingering) {
        wake |= start_linger(accum, p);
    }
    *ret_wake = wake;
    return err;
}

/* ---- taking and returning -------------------------------------------------------------------- */

static void
end_lingers(struct accum *accum, int64_t now_ms)
{
    while (accum->lingering != NULL) {
        struct accum_partition *p = accum->lingering;
        DMQ_ASSERT(p->open != NULL);
        if (now_ms < p->open->created_ms + accum->config.linger_ms) {
            return;
        }
        close_open(accum, p);
        note_ready(accum, p);
    }
}

/* Partitions take turns: one that has more goes to the end of the list. */
struct send_batch *
accum_take(struct accum *accum, int64_t now_ms)
{
    end_lingers(accum, now_ms);
    struct accum_partition *p = accum->ready_first;
    if (p == NULL) {
        return NULL;
    }
    accum->ready_first = p->next_ready;
    p->ready = false;
    DMQ_ASSERT(sendable(accum, p));
    if (p->closed_first == NULL) {
        close_open(accum, p);
    }
    struct send_batch *batch = p->closed_first;
    DMQ_ASSERT(batch->home == p && batch->builder.count > 0 && !p->ready);
    p->closed_first = batch->next_closed;
    p->taken++;
    note_ready(accum, p);
    batch->topic = p->topic->handle;
    batch->partition = p->index;
    batch->count = batch_builder_count(&batch->builder);
    return batch;
}

int64_t
accum_wake_at(const struct accum *accum)
{
    if (accum->ready_first != NULL) {
        return 0;
    }
    if (accum->lingering != NULL) {
        return accum->lingering->open->created_ms + accum->config.linger_ms;
    }
    return INT64_MAX;
}

void
accum_done(struct accum *accum, struct send_batch *batch)
{
    struct accum_partition *p = batch->home;
    DMQ_ASSERT(p->taken > 0 && accum->used >= batch->charged);
    p->taken--;
    accum->used -= batch->charged;
    DMQ_ASSERT(p->taken < accum->config.max_in_flight);
    DL_DELETE(accum->batches, batch);
    recycle(accum, batch);
    trim_spare(accum);
    note_ready(accum, p);
}

/* Batches are numbered in order of creation and listed so: a mark is a number, and it is reached
 * when the oldest batch left is younger. */
uint64_t
accum_flush(struct accum *accum)
{
    struct send_batch *batch;
    DL_FOREACH (accum->batches, batch) {
        struct accum_partition *p = batch->home;
        if (p->open == batch) {
            close_open(accum, p);
            note_ready(accum, p);
        }
    }
    return accum->next_number - 1;
}

bool
accum_flushed(const struct accum *accum, uint64_t mark)
{
    return accum->batches == NULL || accum->batches->number > mark;
}

void
accum_check_invariants(const struct accum *accum)
{
    size_t used = 0;
    uint64_t number = 0;
    const struct send_batch *batch;
    DL_FOREACH (accum->batches, batch) {
        DMQ_ASSERT(batch->number > number);
        number = batch->number;
        used += batch->charged;
        const struct accum_partition *p = batch->home;
        DMQ_ASSERT(p->taken <= accum->config.max_in_flight);
        DMQ_ASSERT(p->open != batch || batch->builder.count > 0);
        DMQ_ASSERT((p->closed_first == NULL) || p->ready ||
                   p->taken == accum->config.max_in_flight);
    }
    DMQ_ASSERT(used == accum->used);
    DMQ_ASSERT(accum->spare_count <= ACCUM_MAX_SPARE);
}
