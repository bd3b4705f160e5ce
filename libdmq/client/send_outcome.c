/* What becomes of batches: answers, lost answers, and the end of delivery.timeout.ms.
 *
 * "Surely not stored" is what a broker says with an error of the classes retriable and fatal;
 * "maybe" is a lost answer, or an error of the class maybe-done. Rules when a batch b of a
 * partition is given up, chosen so that no record is stored twice and none is dropped silently:
 *
 *  1 b was surely not stored, nor was what follows it (the broker refuses a gap): if no attempt of
 *    what follows is of unknown fate, it is numbered anew from b's sequence; else in the next
 *    producer epoch, because a copy still on its way could meet the reused numbers.
 *  2 b is of unknown fate: what follows keeps its numbers. If the broker says OUT_OF_ORDER then, b
 *    was not stored, and the partition goes on in the next epoch, which shuts late copies out.
 *    Until its first batch is there, late copies of b and its followers may still be stored: so
 *    followers of unknown fate are given up, too.
 *  3 OUT_OF_ORDER, UNKNOWN_PRODUCER_ID or INVALID_PRODUCER_EPOCH without such a reason: the broker
 *    lost, or never had, what it acknowledged before. The first batch fails with that error, except
 *    where the broker only forgot an idle producer (UNKNOWN_PRODUCER_ID) and no attempt of the
 *    batch is of unknown fate: sending it anew is safe then. What follows it goes on in the next
 *    epoch, but not after a first batch of unknown fate what is so itself: this leader has neither,
 *    but another replica may have both, and lead later.
 *  4 DUPLICATE_SEQUENCE: it is stored, further back than the broker remembers: success without an
 *    offset.
 *
 * Epochs are raised here, without asking anybody (as Kafka's clients do since KIP-360): an id is
 * this producer's alone, and each partition's log keeps its own epoch of it. */
#include "libdmq/client/client.h"

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"
#include "libdmq/wire/codec.h"

static bool
is_sequence_error(dmq_err err)
{
    return err == DMQ_ERR_OUT_OF_ORDER_SEQUENCE || err == DMQ_ERR_UNKNOWN_PRODUCER_ID ||
           err == DMQ_ERR_INVALID_PRODUCER_EPOCH;
}

static struct send_partition *
partition_of(const struct sender *s, const struct send_batch *batch)
{
    struct send_partition *p;
    struct send_partition key = {.key = {batch->topic, batch->partition}};
    HASH_FIND(hh, s->partitions, &key.key, sizeof(key.key), p);
    DMQ_ASSERT(p != NULL);
    return p;
}

static void
detach(struct send_partition *p, struct send_batch *batch)
{
    DMQ_ASSERT(batch->request != NULL && p->in_flight > 0);
    for (uint32_t i = 0; i < batch->request->item_count; i++) {
        if (batch->request->items[i] == batch) {
            batch->request->items[i] = NULL;
        }
    }
    batch->request = NULL;
    p->in_flight--;
}

/* ---- giving up ------------------------------------------------------------------------------- */

static bool
any_maybe_done(const struct send_batch *batch)
{
    for (; batch != NULL; batch = batch->queue_next) {
        if (batch->maybe_done || batch->request != NULL) {
            return true;
        }
    }
    return false;
}

void
send_give_up(struct client *c, struct sender *s, struct send_partition *p, struct send_batch *batch)
{
    DMQ_ASSERT(batch == p->queue && batch->request == NULL);
    DMQ_ASSERT(batch->result.code != DMQ_OK);
    bool numbered = batch->base_sequence != BATCH_NO_SEQUENCE;
    if (numbered && batch->maybe_done) {
        p->gap_known = true;
    } else if (numbered && any_maybe_done(batch->queue_next)) {
        p->restart = p->restart == RESTART_NEW_ID ? RESTART_NEW_ID : RESTART_NEW_EPOCH;
    } else if (numbered && p->restart == RESTART_NONE) {
        p->restart = RESTART_RENUMBER;
        p->next_sequence = batch->base_sequence;
    }
    send_done(c, s, p, batch);
}

void
send_expire(struct client *c, struct sender *s, struct send_partition *p)
{
    while (p->queue != NULL) {
        struct send_batch *batch = p->queue;
        int64_t deadline_ms = batch->created_ms + s->config.delivery_timeout_ms;
        if (c->now_ms < deadline_ms) {
            wake_at(c, deadline_ms);
            return;
        }
        if (batch->request != NULL) {
            batch->maybe_done = true;
            detach(p, batch);
        }
        const struct known_topic *topic = c->topics[batch->topic];
        const char *last = p->last.code == DMQ_OK ? "" : p->last.text;
        err_set(&batch->result, batch->maybe_done ? DMQ_ERR_TIMEOUT : DMQ_ERR_DELIVERY_TIMEOUT,
                "not acknowledged by partition %d of '%s' within delivery.timeout.ms=%lld: it %s "
                "stored%s%s",
                (int)batch->partition, topic->name, (long long)s->config.delivery_timeout_ms,
                batch->maybe_done ? "may have been" : "was not",
                *last == '\0' ? "" : ". Last: ", last);
        send_give_up(c, s, p, batch);
    }
}

/* ---- answers to PRODUCE ---------------------------------------------------------------------- */

/* Stored as acks asks for. With acks=0 the offset is known but was not asked for: the contract says
 * -1, so that nobody comes to rely on it. */
static void
succeed(struct client *c, struct sender *s, struct send_partition *p, struct send_batch *batch,
        int64_t base_offset)
{
    DMQ_ASSERT(batch->request == NULL && batch->data != NULL);
    batch->result.code = DMQ_OK;
    batch->base_offset = s->config.acks == 0 ? -1 : base_offset;
    p->backoff_ms = 0;
    p->last.code = DMQ_OK;
    p->told = DMQ_OK;
    if (batch == p->queue) {
        p->gap_known = false; /* what came before it is in the log as well */
    }
    send_done(c, s, p, batch);
}

static void
tell_why(struct client *c, const struct sender *s, struct send_partition *p)
{
    struct client_effect *effect = emit(c, CLIENT_SEND_WAITS);
    effect->id = s->id;
    effect->result = p->last;
    effect->u.waits.topic = p->key.topic;
    effect->u.waits.partition = p->key.partition;
    p->told = p->last.code;
}

void
send_waits(struct client *c, const struct sender *s, struct send_partition *p,
           const struct err_msg *why)
{
    DMQ_ASSERT(why->code != DMQ_OK && p->queued > 0);
    p->last = *why;
    if (p->told != why->code) {
        tell_why(c, s, p);
    }
}

/* The attempt failed; the batch stays and is sent again. */
static void
send_again(struct client *c, const struct sender *s, struct send_partition *p,
           const struct err_msg *why)
{
    DMQ_ASSERT(why->code != DMQ_OK && p->queued > 0);
    p->draining = true;
    p->last = *why;
    tell_why(c, s, p); /* each time: the shell may have forgotten it */
    if (c->now_ms >= p->retry_at_ms) {
        p->retry_at_ms = back_off(c, &p->backoff_ms);
    }
    if (error_asks_for_metadata(why->code)) {
        metadata_refresh(c);
        p->metadata_number = c->metadata_number + 1;
        p->metadata_until_ms = c->now_ms + METADATA_WAIT_MS;
    }
}

/* Rule 3, and the end of rule 2. */
static void
sequence_error(struct client *c, struct sender *s, struct send_partition *p,
               struct send_batch *batch, const struct err_msg *why)
{
    if (batch != p->queue || p->restart != RESTART_NONE) {
        send_again(c, s, p, why); /* what is before it is to be sent again first */
        return;
    }
    bool explained = p->gap_known || why->code == DMQ_ERR_UNKNOWN_PRODUCER_ID;
    p->restart = why->code == DMQ_ERR_INVALID_PRODUCER_EPOCH ? RESTART_NEW_ID : RESTART_NEW_EPOCH;
    p->unsure = batch->maybe_done || why->code == DMQ_ERR_OUT_OF_ORDER_SEQUENCE;
    p->draining = true;
    if (explained && !batch->maybe_done) {
        return; /* goes out again with new numbers */
    }
    batch->result = *why;
    if (batch->maybe_done) {
        err_set(&batch->result, DMQ_ERR_TIMEOUT,
                "the broker no longer knows the sequence of the producer (%s): the records may or "
                "may not have been stored",
                why->text);
    }
    send_done(c, s, p, batch);
}

/* The end of one attempt of one batch, by an answer or by the lack of one. */
static void
attempt_ended(struct client *c, struct sender *s, struct send_batch *batch,
              const struct err_msg *result, int64_t base_offset)
{
    struct send_partition *p = partition_of(s, batch);
    DMQ_ASSERT(batch->request != NULL && batch->data != NULL && p->queued > 0);
    int32_t cls = err_class(result->code);
    detach(p, batch);
    if (result->code == DMQ_OK || result->code == DMQ_ERR_DUPLICATE_SEQUENCE) {
        succeed(c, s, p, batch, base_offset);
    } else if (is_sequence_error(result->code)) {
        sequence_error(c, s, p, batch, result);
    } else if (cls == DMQ_CLASS_RETRIABLE || cls == DMQ_CLASS_MAYBE_DONE) {
        batch->maybe_done |= cls == DMQ_CLASS_MAYBE_DONE;
        send_again(c, s, p, result);
    } else if (batch != p->queue) {
        send_again(c, s, p, result); /* fails again, and for good, when it is the first */
    } else {
        batch->result = *result;
        send_give_up(c, s, p, batch);
        p->draining = p->queued > 0;
    }
}

/* Every batch of the request meets the same end. */
static void
all_ended(struct client *c, struct sender *s, struct client_request *request,
          const struct err_msg *result)
{
    for (uint32_t i = 0; i < request->item_count; i++) {
        if (request->items[i] != NULL) {
            attempt_ended(c, s, request->items[i], result, -1);
        }
    }
}

void
produce_answered(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct sender *s = request->owner;
    struct produce_response response;
    struct err_msg msg = {0};
    if (s == NULL) {
        return;
    }
    dmq_err err = answer->err;
    if (err != DMQ_OK) {
        err_set(&msg, err, "%s", answer->message);
    } else {
        err = msg_decode(desc_produce_response(), 0, buf_bytes(answer->body), &c->arena, &response,
                         &msg);
    }
    if (err == DMQ_OK && response.partitions_count != request->item_count) {
        err = DMQ_ERR_NETWORK;
    }
    if (err != DMQ_OK && answer->err == DMQ_OK) {
        /* The broker did something, but what cannot be read. */
        err_set(&msg, DMQ_ERR_NETWORK, "the broker sent an answer that cannot be read");
    }
    DMQ_ASSERT(request->item_count > 0 && request->item_count <= CLIENT_MAX_GROUP);
    if (err != DMQ_OK) {
        all_ended(c, s, request, &msg);
        return;
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct produce_result *result = &response.partitions[i];
        struct send_batch *batch = request->items[i];
        if (batch == NULL) {
            continue;
        }
        struct err_msg outcome = {.code = result->error};
        if (result->error != DMQ_OK) {
            err_set(&outcome, result->error, "partition %d of '%s': %.*s", (int)batch->partition,
                    c->topics[batch->topic]->name, (int)result->message.size, result->message.data);
        }
        attempt_ended(c, s, batch, &outcome, result->base_offset);
    }
}

/* This producer will get no id: what cannot leave without one fails now, not when its time is over.
 */
static void
refuse_all(struct client *c, struct sender *s, const struct err_msg *why)
{
    struct send_partition *p;
    struct send_partition *next;
    DL_FOREACH_SAFE (s->active, p, next) {
        bool waits = p->producer_id == BATCH_NO_PRODUCER_ID || p->restart == RESTART_NEW_ID;
        while (waits && p->in_flight == 0 && p->queue != NULL) {
            struct send_batch *batch = p->queue;
            batch->result = *why;
            send_give_up(c, s, p, batch);
        }
    }
}

/* Other errors are retried: deliveries run out of time by themselves, and then say this sentence.
 */
void
producer_id_answered(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct sender *s = request->owner;
    struct init_producer_id_response response;
    struct err_msg msg;
    if (s == NULL) {
        return;
    }
    DMQ_ASSERT(s->id_request == request && s->config.idempotent);
    s->id_request = NULL;
    dmq_err err = answer->err;
    if (err == DMQ_OK) {
        err = msg_decode(desc_init_producer_id_response(), 0, buf_bytes(answer->body), &c->arena,
                         &response, &msg);
    } else {
        err_set(&msg, err, "no producer id yet: %s", answer->message);
    }
    if (err == DMQ_OK) {
        s->producer_id = response.producer_id;
        s->producer_epoch = response.producer_epoch;
        s->id_wanted = false;
        return;
    }
    if (err_class(err) == DMQ_CLASS_FATAL && err != DMQ_ERR_NOMEM) {
        s->id_wanted = false;
        refuse_all(c, s, &msg);
        return;
    }
    int32_t backoff_ms = 50;
    s->id_retry_at_ms = back_off(c, &backoff_ms);
    s->id_wanted = true;
    struct send_partition *p;
    DL_FOREACH (s->active, p) {
        send_waits(c, s, p, &msg); /* and the sentence of a delivery that never was */
    }
}
