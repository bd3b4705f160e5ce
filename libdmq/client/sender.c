/* From closed batches to PRODUCE requests.
 *
 * A partition's batches leave in order, each with its sequence number, given when it first leaves.
 * Up to max_in_flight of them are under way at once; without idempotence one, for only the broker's
 * check of sequences keeps the order of several when one of them must be sent again.
 *
 * After a failed attempt the partition drains: nothing more is sent until everything in flight has
 * its answer; then what is left of the queue goes out again, in order, with the same sequences. So
 * a batch never overtakes another, and the broker recognises those that it had stored already.
 * What happens when a batch is given up stands in send_outcome.c.
 *
 * Invariants (client_check_invariants): queue, queued and in_flight agree; in flight is a front
 * part of the queue unless it drains; all in flight of a partition is on one connection, for only
 * that keeps their order on the way; a batch has its data exactly when it has its numbers. */
#include "libdmq/client/client.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"
#include "libdmq/wire/compress.h"

#define ANSWER_GRACE_MS 1000 /* beyond request.timeout.ms, for the way there and back */

/* A PRODUCE under construction. */
struct produce_group {
    struct send_batch *batches[CLIENT_MAX_GROUP];
    struct send_partition *partitions[CLIENT_MAX_GROUP];
    struct produce_partition body[CLIENT_MAX_GROUP];
    struct buf *attachments[CLIENT_MAX_GROUP];
    size_t count;
    size_t bytes;
};

struct sender *
sender_find(struct client *c, uint64_t id)
{
    struct sender *s;
    DL_FOREACH (c->senders, s) {
        if (s->id == id) {
            break;
        }
    }
    DMQ_ASSERT(s != NULL);
    return s;
}

void
sender_add(struct client *c, uint64_t id, const struct sender_config *config)
{
    DMQ_ASSERT(id != 0 && config->acks >= -1 && config->acks <= 1);
    DMQ_ASSERT(config->max_in_flight > 0 && config->request_timeout_ms > 0);
    struct sender *s = calloc(1, sizeof(*s));
    struct compressor *compressor = config->compression == BATCH_NONE ? NULL : compressor_new();
    if (s == NULL || (config->compression != BATCH_NONE && compressor == NULL)) {
        c->broken = true;
        compressor_free(compressor);
        free(s);
        return;
    }
    *s = (struct sender){.id = id,
                         .config = *config,
                         .compressor = compressor,
                         .producer_id = BATCH_NO_PRODUCER_ID,
                         .producer_epoch = BATCH_NO_PRODUCER_EPOCH};
    if (!config->idempotent) {
        s->config.max_in_flight = 1;
    }
    DL_APPEND(c->senders, s);
}

static struct send_partition *
partition_of(struct client *c, struct sender *s, int32_t topic, int32_t partition)
{
    struct send_partition *p;
    DMQ_ASSERT(topic >= 0 && topic < c->topic_count && partition >= 0);
    struct send_partition key = {.key = {topic, partition}};
    HASH_FIND(hh, s->partitions, &key.key, sizeof(key.key), p);
    if (p != NULL) {
        return p;
    }
    p = calloc(1, sizeof(*p));
    if (p != NULL) {
        p->key = key.key;
        p->producer_id = BATCH_NO_PRODUCER_ID;
        p->topic_id = c->topics[topic]->id;
        HASH_ADD(hh, s->partitions, key, sizeof(p->key), p);
    }
    if (p == NULL || p->hh.tbl == NULL) {
        c->broken = true;
        free(p);
        return NULL;
    }
    return p;
}

/* The accumulator gives a partition at most max_in_flight batches at a time, so this queue is
 * short.
 */
void
sender_take(struct client *c, struct sender *s, struct send_batch *batch)
{
    DMQ_ASSERT(batch->count > 0 && batch->data == NULL && batch->request == NULL);
    struct send_partition *p = partition_of(c, s, batch->topic, batch->partition);
    if (p == NULL) {
        struct client_effect *effect = emit(c, CLIENT_BATCH_DONE);
        effect->id = s->id;
        effect->u.batch = batch;
        err_set(&batch->result, DMQ_ERR_NOMEM, "out of memory");
        return;
    }
    DMQ_ASSERT(p->queued < s->config.max_in_flight); /* the accumulator gives no more */
    if (p->queued == 0) {
        DMQ_ASSERT(p->in_flight == 0 && p->queue == NULL);
        DL_APPEND(s->active, p);
    }
    DL_APPEND2(p->queue, batch, queue_prev, queue_next);
    p->queued++;
}

void
send_done(struct client *c, struct sender *s, struct send_partition *p, struct send_batch *batch)
{
    DMQ_ASSERT(batch->request == NULL && p->queued > 0);
    DL_DELETE2(p->queue, batch, queue_prev, queue_next);
    p->queued--;
    DMQ_ASSERT(p->in_flight <= p->queued && (p->queue == NULL) == (p->queued == 0));
    if (p->queued == 0) {
        DL_DELETE(s->active, p);
        p->draining = false;
        p->retry_at_ms = 0;
    }
    struct client_effect *effect = emit(c, CLIENT_BATCH_DONE);
    effect->id = s->id;
    effect->u.batch = batch;
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void
forget_requests(struct client *c, const struct sender *s)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        struct client_request *request;
        DL_FOREACH (c->conns[i]->requests, request) {
            if (request->owner == s) {
                request->owner = NULL;
            }
        }
    }
}

/* The producer is closed: every batch goes back, saying whether it may have been stored. */
static void
stop_partition(struct client *c, struct sender *s, struct send_partition *p, dmq_err err)
{
    p->in_flight = 0;
    while (p->queue != NULL) {
        struct send_batch *batch = p->queue;
        bool maybe = batch->request != NULL || batch->maybe_done;
        DMQ_ASSERT(batch->request == NULL || batch->request->owner == NULL);
        batch->request = NULL;
        err_set(&batch->result, err, "%s, and the record %s", err_text(err),
                maybe ? "may or may not have been stored" : "was not sent");
        send_done(c, s, p, batch);
    }
}

static void
stop_sender(struct client *c, struct sender *s, dmq_err err)
{
    forget_requests(c, s);
    while (s->active != NULL) {
        stop_partition(c, s, s->active, err);
    }
}

void
sender_remove(struct client *c, struct sender *s)
{
    stop_sender(c, s, DMQ_ERR_CLOSED);
    while (s->partitions != NULL) {
        struct send_partition *p = s->partitions;
        HASH_DEL(s->partitions, p);
        free(p);
    }
    compressor_free(s->compressor);
    DL_DELETE(c->senders, s);
    free(s);
}

void
senders_stop(struct client *c, dmq_err err)
{
    while (c->senders != NULL) {
        stop_sender(c, c->senders, err);
        sender_remove(c, c->senders);
    }
}

/* ---- numbering ------------------------------------------------------------------------------- */

/* Gives a finished batch other numbers. False if memory is out: the batch is done with. */
static bool
renumber_batch(struct client *c, struct sender *s, struct send_partition *p,
               struct send_batch *batch)
{
    DMQ_ASSERT(batch->data != NULL && batch->request == NULL && p->producer_id >= 0);
    batch->data =
        batch_take_with_producer(batch->data, p->producer_id, p->producer_epoch, p->next_sequence);
    if (batch->data == NULL) {
        err_set(&batch->result, DMQ_ERR_NOMEM, "out of memory");
        send_done(c, s, p, batch);
        return false;
    }
    batch->base_sequence = p->next_sequence;
    batch->maybe_done = false;
    p->next_sequence = batch_sequence_add(p->next_sequence, batch->count);
    return true;
}

/* Goes on from p->next_sequence with all that has left before: allowed only when none of it can be
 * in the log, or on its way there, under these numbers. Where that is not known of a batch, it is
 * given up: that it may have been stored is true, and sending it again might write it twice. */
static void
renumber(struct client *c, struct sender *s, struct send_partition *p)
{
    struct send_batch *batch;
    struct send_batch *next;
    DMQ_ASSERT(p->in_flight == 0 && p->next_sequence >= 0);
    bool unsure = p->unsure;
    p->unsure = false;
    if (p->restart != RESTART_RENUMBER) {
        p->gap_known = false; /* a gap ends with the epoch, not before */
    }
    p->restart = RESTART_NONE;
    DL_FOREACH_SAFE2(p->queue, batch, next, queue_next)
    {
        if (unsure && batch->maybe_done) {
            err_set(
                &batch->result, DMQ_ERR_TIMEOUT,
                "a record before it may or may not have been stored, so that the same holds for "
                "this one");
            send_done(c, s, p, batch);
        } else if (batch->data != NULL && !renumber_batch(c, s, p, batch)) {
            return;
        }
    }
}

/* The topic was deleted and made again: its log knows none of our sequences. */
static void
note_topic_id(struct client *c, struct send_partition *p)
{
    struct uuid id = c->topics[p->key.topic]->id;
    if (!uuid_equal(p->topic_id, id)) {
        p->topic_id = id;
        p->restart = p->restart == RESTART_NEW_ID ? RESTART_NEW_ID : RESTART_NEW_EPOCH;
    }
}

/* Sees to it that p has the numbers that its next batch needs. False: not yet. */
static bool
have_numbers(struct client *c, struct sender *s, struct send_partition *p)
{
    if (!s->config.idempotent) {
        return true;
    }
    note_topic_id(c, p);
    if (p->restart != RESTART_NONE && p->in_flight > 0) {
        return false;
    }
    if (p->restart == RESTART_RENUMBER) {
        renumber(c, s, p);
    }
    if (p->restart == RESTART_NEW_EPOCH && p->producer_id != BATCH_NO_PRODUCER_ID &&
        p->producer_epoch < INT16_MAX) {
        p->producer_epoch++;
        p->next_sequence = 0;
        renumber(c, s, p);
    }
    if (p->producer_id != BATCH_NO_PRODUCER_ID && p->restart == RESTART_NONE) {
        return true;
    }
    if (s->producer_id == BATCH_NO_PRODUCER_ID || s->producer_id == p->producer_id) {
        s->id_wanted = true;
        return false;
    }
    DMQ_ASSERT(p->in_flight == 0 && s->producer_id >= 0);
    p->producer_id = s->producer_id;
    p->producer_epoch = s->producer_epoch;
    p->next_sequence = 0;
    renumber(c, s, p);
    return true;
}

/* Finishes a batch that leaves for the first time: numbers, compression, CRC. On this thread, not
 * the application's, so that sending a record never costs more than copying it, and the numbers are
 * given here anyway. False: it was ended. */
static bool
finish_batch(struct client *c, struct sender *s, struct send_partition *p, struct send_batch *batch)
{
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    if (batch->data != NULL) {
        return true;
    }
    DMQ_ASSERT(batch->base_sequence == BATCH_NO_SEQUENCE && batch->count > 0);
    DMQ_ASSERT(!s->config.idempotent || p->producer_id >= 0);
    options.attributes = s->config.compression;
    if (s->config.idempotent) {
        options.producer_id = p->producer_id;
        options.producer_epoch = p->producer_epoch;
        options.base_sequence = p->next_sequence;
    }
    dmq_err err = batch_builder_finish(&batch->builder, &options, s->compressor, &batch->data);
    if (err != DMQ_OK) {
        err_set(&batch->result, err, "%s", err_text(err));
        send_done(c, s, p, batch);
        return false;
    }
    if (s->config.idempotent) {
        batch->base_sequence = p->next_sequence;
        p->next_sequence = batch_sequence_add(p->next_sequence, batch->count);
    }
    return true;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* An attempt failed in a way that says that the metadata is old, and no fresh one is there yet. */
static bool
awaits_metadata(struct client *c, const struct send_partition *p)
{
    if (c->topics[p->key.topic]->answered >= p->metadata_number ||
        c->now_ms >= p->metadata_until_ms) {
        return false;
    }
    wake_at(c, p->metadata_until_ms);
    return true;
}

/* The batch that may leave now, or NULL. */
static struct send_batch *
next_batch(struct client *c, struct sender *s, struct send_partition *p)
{
    if (p->in_flight >= s->config.max_in_flight || p->in_flight == p->queued) {
        return NULL;
    }
    if (p->draining && p->in_flight > 0) {
        return NULL;
    }
    p->draining = false;
    if (c->now_ms < p->retry_at_ms) {
        wake_at(c, p->retry_at_ms);
        return NULL;
    }
    if (awaits_metadata(c, p) || !have_numbers(c, s, p) || p->queue == NULL) {
        return NULL;
    }
    struct send_batch *batch;
    DL_FOREACH2(p->queue, batch, queue_next)
    {
        if (batch->request == NULL) {
            break;
        }
    }
    DMQ_ASSERT(batch != NULL && p->restart == RESTART_NONE);
    return batch;
}

/* METADATA has said that the topic or partition is gone, or something as final. */
static void
give_up_partition(struct client *c, struct sender *s, struct send_partition *p,
                  const struct err_msg *why)
{
    if (p->in_flight > 0) {
        return; /* their answers come first */
    }
    while (p->queue != NULL) {
        struct send_batch *batch = p->queue;
        batch->result = *why;
        send_give_up(c, s, p, batch);
    }
}

/* Adds the next batch of p to the group if its leader is conn. A partition gives one batch to a
 * request, so that each has its own answer; the next one may follow in the next request at once. */
static void
add_to_group(struct client *c, struct sender *s, struct send_partition *p, struct conn *conn,
             struct produce_group *group)
{
    int32_t epoch = -1;
    struct err_msg msg;
    struct conn *leader = leader_of(c, p->key.topic, p->key.partition, &epoch, &msg);
    if (leader == NULL) {
        send_waits(c, s, p, &msg);
        int32_t cls = err_class(msg.code);
        if (msg.code == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION || cls == DMQ_CLASS_FATAL) {
            give_up_partition(c, s, p, &msg);
        }
        return;
    }
    if (leader != conn || (p->in_flight > 0 && p->conn != conn)) {
        return;
    }
    struct send_batch *batch = next_batch(c, s, p);
    if (batch == NULL || !finish_batch(c, s, p, batch)) {
        return;
    }
    size_t bytes = group->bytes + batch->data->size;
    if (group->count > 0 && (bytes > CLIENT_MAX_GROUP_BYTES || !conn_has_room(c, conn, bytes))) {
        return;
    }
    if (group->count == 0 && !conn_has_room(c, conn, bytes)) {
        return;
    }
    DMQ_ASSERT(group->count < CLIENT_MAX_GROUP && batch->request == NULL);
    size_t i = group->count++;
    group->bytes = bytes;
    group->batches[i] = batch;
    group->partitions[i] = p;
    group->attachments[i] = batch->data;
    group->body[i] = (struct produce_partition){.topic_id = c->topics[p->key.topic]->id,
                                                .partition = p->key.partition,
                                                .leader_epoch = epoch};
}

/* The broker is told request.timeout.ms; the connection is given a little longer. */
static bool
send_group(struct client *c, struct sender *s, struct conn *conn, struct produce_group *group)
{
    DMQ_ASSERT(group->count > 0 && group->bytes > 0);
    struct produce_request body = {.acks = s->config.acks,
                                   .timeout_ms = (int32_t)s->config.request_timeout_ms,
                                   .partitions = group->body,
                                   .partitions_count = (uint32_t)group->count};
    struct request_spec spec = {.kind = REQUEST_PRODUCE,
                                .api_key = API_PRODUCE,
                                .body = &body,
                                .attachments = group->attachments,
                                .attachment_count = group->count,
                                .timeout_ms = s->config.request_timeout_ms + ANSWER_GRACE_MS,
                                .owner = s,
                                .item_count = group->count};
    struct client_request *request = conn_send(c, conn, &spec);
    for (size_t i = 0; request != NULL && i < group->count; i++) {
        struct send_partition *p = group->partitions[i];
        DMQ_ASSERT(p->in_flight == 0 || p->conn == conn);
        DMQ_ASSERT(group->batches[i]->request == NULL);
        request->items[i] = group->batches[i];
        group->batches[i]->request = request;
        p->in_flight++;
        p->conn = conn;
    }
    return request != NULL;
}

/* Sends at most one PRODUCE of s to conn. True if it did. */
static bool
send_to(struct client *c, struct sender *s, struct conn *conn)
{
    struct produce_group group;
    struct send_partition *p;
    struct send_partition *next;
    group.count = 0;
    group.bytes = 0;
    DL_FOREACH_SAFE (s->active, p, next) {
        if (group.count == CLIENT_MAX_GROUP) {
            break;
        }
        add_to_group(c, s, p, conn, &group);
    }
    return group.count > 0 && send_group(c, s, conn, &group);
}

/* One id serves all partitions; another is needed only when its epochs are used up in one, or when
 * the cluster is another. */
static void
ask_producer_id(struct client *c, struct sender *s)
{
    DMQ_ASSERT(s->config.idempotent || !s->id_wanted);
    if (!s->id_wanted || s->id_request != NULL) {
        return;
    }
    if (c->now_ms < s->id_retry_at_ms) {
        wake_at(c, s->id_retry_at_ms);
        return;
    }
    struct conn *conn = conn_any(c);
    if (conn == NULL) {
        return;
    }
    struct init_producer_id_request body = {.transaction_timeout_ms = 0};
    struct request_spec spec = {.kind = REQUEST_PRODUCER_ID,
                                .api_key = API_INIT_PRODUCER_ID,
                                .body = &body,
                                .timeout_ms = CALL_TIMEOUT_MS,
                                .owner = s};
    s->id_request = conn_send(c, conn, &spec);
    s->id_wanted = false;
}

static void
pump(struct client *c, struct sender *s)
{
    struct send_partition *p;
    struct send_partition *next;
    DL_FOREACH_SAFE (s->active, p, next) {
        send_expire(c, s, p);
    }
    if (s->active == NULL) {
        return;
    }
    bool any_ready = false;
    for (uint32_t i = 0; i < c->conn_count; i++) {
        while (conn_has_room(c, c->conns[i], 0) && send_to(c, s, c->conns[i])) {
        }
        any_ready = any_ready || c->conns[i]->state == CONN_READY;
    }
    if (any_ready) {
        ask_producer_id(c, s);
        return;
    }
    DL_FOREACH (s->active, p) { /* connects to those who are needed, and notes why they are not */
        int32_t epoch;
        struct err_msg msg;
        if (leader_of(c, p->key.topic, p->key.partition, &epoch, &msg) == NULL) {
            send_waits(c, s, p, &msg);
        }
    }
}

void
senders_pump(struct client *c)
{
    struct sender *s;
    DL_FOREACH (c->senders, s) {
        pump(c, s);
    }
}
