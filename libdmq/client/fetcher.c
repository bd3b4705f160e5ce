/* What a consumer reads ahead. One FETCH is in flight per consumer and broker, for all partitions
 * that the broker leads and that may be fetched; the next leaves with the step that handles its
 * answer, so that the next batches travel while the application reads these. Bytes that are handed
 * out and not consumed, and those that may still arrive, stay within queued.max.bytes.
 *
 * Batches are not looked into beyond their headers; whoever reads the records checks their CRC.
 *
 * An assignment or a seek gives the slots a new generation and forgets every request in flight: its
 * answer finds no owner, so it can neither move a position nor deliver. The shell drops by the
 * generation what had been handed out before.
 *
 * A partition stops on an error that a retry would not mend, and says so once; a seek starts it
 * again. Others go on. */
#include "libdmq/client/client.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"
#include "libdmq/wire/batch.h"
#include "libdmq/wire/codec.h"

#define ANSWER_GRACE_MS 30000 /* a FETCH is given up so long after its max_wait_ms */

struct fetcher *
fetcher_find(struct client *c, uint64_t id)
{
    struct fetcher *f;
    DL_FOREACH (c->fetchers, f) {
        if (f->id == id) {
            break;
        }
    }
    DMQ_ASSERT(f != NULL);
    return f;
}

void
fetcher_add(struct client *c, uint64_t id, const struct fetcher_config *config)
{
    DMQ_ASSERT(config->max_bytes > 0 && config->max_partition_bytes > 0);
    DMQ_ASSERT(config->max_queued_bytes > 0 && config->max_wait_ms > 0 && id != 0);
    struct fetcher *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        c->broken = true;
        return;
    }
    f->id = id;
    f->config = *config;
    DL_APPEND(c->fetchers, f);
}

/* Requests in flight are of no interest any more: their answers are dropped, new ones may leave. */
static void
orphan_requests(struct client *c, struct fetcher *f)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        struct client_request *request;
        DL_FOREACH (c->conns[i]->requests, request) {
            if (request->kind == REQUEST_FETCH && request->owner == f) {
                request->owner = NULL;
            }
        }
    }
    for (uint32_t i = 0; i < f->slot_count; i++) {
        DMQ_ASSERT(f->slots[i].request == NULL || f->slots[i].request->owner == NULL);
        f->slots[i].request = NULL;
    }
    f->asked_bytes = 0;
    lookup_forget(c, f);
}

void
fetcher_remove(struct client *c, struct fetcher *f)
{
    orphan_requests(c, f);
    DL_DELETE(c->fetchers, f);
    free(f->slots);
    free(f);
}

/* The epoch of the last batch is not known after a jump: nothing was read there. */
static void
start_slot(struct fetch_slot *slot, int64_t offset)
{
    DMQ_ASSERT(offset >= 0 && slot->request == NULL);
    slot->state = FETCH_ACTIVE;
    slot->offset = offset;
    slot->last_epoch = -1;
    slot->epoch_start = offset;
    slot->retry_at_ms = 0;
    slot->backoff_ms = BACKOFF_FIRST_MS;
}

void
fetcher_assign(struct client *c, struct fetcher *f, const struct client_event *event)
{
    size_t count = event->u.positions.count;
    struct fetch_slot *slots = calloc(count + 1, sizeof(*slots));
    if (slots == NULL) {
        c->broken = true;
        return;
    }
    orphan_requests(c, f);
    for (size_t i = 0; i < count; i++) {
        const struct client_position *position = &event->u.positions.positions[i];
        slots[i] = (struct fetch_slot){.topic = position->topic,
                                       .partition = position->partition,
                                       .generation = event->u.positions.generation,
                                       .high_watermark = -1};
        DMQ_ASSERT(position->topic >= 0 && position->topic < c->topic_count);
        start_slot(&slots[i], position->offset);
    }
    free(f->slots);
    f->slots = slots;
    f->slot_count = (uint32_t)count;
    f->first_slot = 0;
}

void
fetcher_seek(struct client *c, struct fetcher *f, const struct client_event *event)
{
    DMQ_ASSERT(event->u.seek.slot < f->slot_count);
    orphan_requests(c, f);
    start_slot(&f->slots[event->u.seek.slot], event->u.seek.offset);
    f->slots[event->u.seek.slot].generation = event->u.seek.generation;
    for (uint32_t i = 0; i < f->slot_count; i++) {
        if (f->slots[i].state == FETCH_LOOKING_UP) { /* forgotten above */
            start_slot(&f->slots[i], f->slots[i].offset);
        }
    }
}

void
fetcher_slot_stopped(struct fetcher *f, const struct client_event *event)
{
    uint32_t slot = event->u.seek.slot;
    if (slot < f->slot_count && f->slots[slot].generation == event->u.seek.generation) {
        f->slots[slot].state = FETCH_STOPPED;
    }
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void
stop_slot(struct client *c, struct fetcher *f, struct fetch_slot *slot, const struct err_msg *why)
{
    DMQ_ASSERT(why->code != DMQ_OK && slot->state != FETCH_STOPPED);
    slot->state = FETCH_STOPPED;
    struct client_effect *effect = emit(c, CLIENT_SLOT_FAILED);
    effect->id = f->id;
    effect->result = *why;
    effect->u.records.slot = (uint32_t)(slot - f->slots);
    effect->u.records.generation = slot->generation;
}

static void
retry_slot(struct client *c, struct fetch_slot *slot, dmq_err err)
{
    slot->retry_at_ms = back_off(c, &slot->backoff_ms);
    if (error_asks_for_metadata(err)) {
        metadata_refresh(c);
    }
}

/* The offset is not in the log: stop, or go on at its start or end; but not below `least`. */
static void
out_of_range(struct client *c, struct fetcher *f, struct fetch_slot *slot, int64_t least,
             const struct err_msg *why)
{
    if (f->config.reset == FETCH_RESET_ERROR) {
        stop_slot(c, f, slot, why);
        return;
    }
    slot->state = FETCH_LOOKING_UP;
    slot->least = least;
    lookup_slot(c, f, slot, f->config.reset == FETCH_RESET_START ? -2 : -1);
}

void
fetcher_looked_up(struct client *c, struct fetcher *f, struct fetch_slot *slot,
                  const struct err_msg *result, int64_t offset)
{
    DMQ_ASSERT(f->slot_count > 0 && slot >= f->slots && slot < f->slots + f->slot_count);
    if (slot->state == FETCH_STOPPED) {
        return; /* the application found earlier records of it damaged */
    }
    DMQ_ASSERT(slot->state == FETCH_LOOKING_UP && slot->request == NULL);
    if (result->code != DMQ_OK) {
        stop_slot(c, f, slot, result);
    } else {
        start_slot(slot, offset > slot->least ? offset : slot->least);
    }
}

/* An error of one partition: to be mended (offset reset), to be told, or to be tried again. */
static void
slot_error(struct client *c, struct fetcher *f, struct fetch_slot *slot,
           const struct fetch_result *result)
{
    struct err_msg msg;
    int32_t cls = err_class(result->error);
    err_set(&msg, result->error, "partition %d of '%s', offset %lld: %.*s", (int)slot->partition,
            c->topics[slot->topic]->name, (long long)slot->offset, (int)result->message.size,
            result->message.data);
    if (result->error == DMQ_ERR_OFFSET_OUT_OF_RANGE) {
        /* Each replica's log begins where its own retention left it: the next leader's may begin
         * below what was read already. */
        bool removed = slot->offset < result->log_start_offset;
        out_of_range(c, f, slot, removed ? slot->offset : 0, &msg);
    } else if (cls == DMQ_CLASS_FATAL || cls == DMQ_CLASS_ABORT) {
        stop_slot(c, f, slot, &msg);
    } else {
        retry_slot(c, slot, result->error);
    }
}

/* How far a reader has come: `offset` is the next one. */
struct reached {
    int64_t offset;
    int32_t epoch; /* of the batch before; -1: not known */
    int64_t epoch_start;
};

/* Goes on behind the last batch of frame. False: these are not whole batches, one behind the other,
 * below the high watermark. Their offsets are looked at here because the CRC does not cover
 * them. */
static bool
pass_over(struct bytes frame, int64_t high_watermark, struct reached *reached)
{
    struct batch_header header;
    struct bytes batch;
    int64_t end = 0;
    dmq_err err = batch_next(&frame, &batch);
    while (err == DMQ_OK && batch_parse(batch, &header) == DMQ_OK) {
        if (header.base_offset < end || header.last_offset_delta < 0 ||
            header.base_offset > high_watermark - 1 - header.last_offset_delta) {
            return false;
        }
        if (header.leader_epoch != reached->epoch) {
            reached->epoch = header.leader_epoch;
            reached->epoch_start = reached->offset;
        }
        end = batch_last_offset(&header) + 1;
        reached->offset = end;
        err = batch_next(&frame, &batch);
    }
    return err == DMQ_ERR_END;
}

/* One frame for the application. It counts as queued until CONSUMED says otherwise. */
static void
hand_out(struct client *c, struct fetcher *f, struct fetch_slot *slot, struct buf *frame,
         int64_t high_watermark)
{
    DMQ_ASSERT(slot->state == FETCH_ACTIVE && slot->request == NULL);
    struct client_effect *effect = emit(c, CLIENT_RECORDS);
    effect->id = f->id;
    effect->u.records.slot = (uint32_t)(slot - f->slots);
    effect->u.records.generation = slot->generation;
    effect->u.records.offset = slot->offset;
    effect->u.records.high_watermark = high_watermark;
    slot->high_watermark = high_watermark;
    if (frame != NULL) {
        effect->u.records.frame = buf_ref(frame);
        f->queued_bytes += (int64_t)frame->size;
    }
}

/* What was read is not in the log any more (trap 8). Whoever lets itself be reset at all goes on
 * where the log parts from what it has read, and not at the start or end (like Kafka's consumer):
 * all before is there still. That is the end of the epoch that both have; but where the leader has
 * nothing of our last epoch, it is not behind where that began for us, whatever the leader has of
 * the epoch before it (KIP-279). With no epoch in common the log is another one. */
static void
slot_diverged(struct client *c, struct fetcher *f, struct fetch_slot *slot,
              const struct fetch_result *result)
{
    struct err_msg msg;
    int64_t to = result->diverging_end;
    DMQ_ASSERT(to >= 0 && slot->state == FETCH_ACTIVE && slot->request == NULL);
    DMQ_ASSERT(slot->epoch_start >= 0 && slot->epoch_start <= slot->offset);
    err_set(&msg, DMQ_ERR_OFFSET_OUT_OF_RANGE,
            "partition %d of '%s' was cut to offset %lld after records up to %lld were read",
            (int)slot->partition, c->topics[slot->topic]->name, (long long)to,
            (long long)slot->offset);
    if (f->config.reset == FETCH_RESET_ERROR || result->diverging_epoch < 0) {
        out_of_range(c, f, slot, 0, &msg);
        return;
    }
    if (result->diverging_epoch < slot->last_epoch && slot->epoch_start < to) {
        to = slot->epoch_start;
    }
    start_slot(slot, to < slot->offset ? to : slot->offset);
    DMQ_ASSERT(slot->last_epoch == -1); /* so that it is not told the same again */
}

static void
slot_records(struct client *c, struct fetcher *f, struct fetch_slot *slot,
             const struct fetch_result *result, struct buf *frame)
{
    struct reached reached = {slot->offset, slot->last_epoch, slot->epoch_start};
    struct err_msg msg;
    const char *name = c->topics[slot->topic]->name;
    if (result->diverging_end >= 0) {
        slot_diverged(c, f, slot, result);
        return;
    }
    if (!pass_over(buf_bytes(frame), result->high_watermark, &reached)) {
        err_set(&msg, DMQ_ERR_CORRUPT_BATCH,
                "partition %d of '%s' at offset %lld: the broker sent bytes that are not the "
                "record batches of a log",
                (int)slot->partition, name, (long long)slot->offset);
        stop_slot(c, f, slot, &msg);
        return;
    }
    slot->backoff_ms = BACKOFF_FIRST_MS;
    if (reached.offset > slot->offset) {
        hand_out(c, f, slot, frame, result->high_watermark);
        DMQ_ASSERT(frame->size > 0);
        slot->offset = reached.offset;
        slot->last_epoch = reached.epoch;
        slot->epoch_start = reached.epoch_start;
    } else if (result->high_watermark != slot->high_watermark) {
        hand_out(c, f, slot, NULL, result->high_watermark);
    }
}

static void
retry_slots(struct client *c, struct client_request *request, dmq_err err)
{
    for (uint32_t i = 0; i < request->item_count; i++) {
        retry_slot(c, request->items[i], err);
    }
}

void
fetch_answered(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct fetcher *f = request->owner;
    struct fetch_response response;
    struct err_msg msg;
    if (f == NULL) {
        return; /* from before an assignment or a seek */
    }
    DMQ_ASSERT(request->item_count > 0 && request->item_count <= CLIENT_MAX_FETCHED);
    DMQ_ASSERT(f->asked_bytes >= request->asked_bytes);
    f->asked_bytes -= request->asked_bytes;
    for (uint32_t i = 0; i < request->item_count; i++) {
        DMQ_ASSERT(((struct fetch_slot *)request->items[i])->request == request);
        ((struct fetch_slot *)request->items[i])->request = NULL;
    }
    dmq_err err = answer->err;
    if (err == DMQ_OK) {
        err = msg_decode(desc_fetch_response(), 0, buf_bytes(answer->body), &c->arena, &response,
                         &msg);
    }
    if (err == DMQ_OK && (response.partitions_count != request->item_count ||
                          answer->attachment_count != request->item_count)) {
        err = DMQ_ERR_NETWORK;
    }
    if (err != DMQ_OK) {
        retry_slots(c, request, err);
        return;
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct fetch_slot *slot = request->items[i];
        const struct fetch_result *result = &response.partitions[i];
        if (slot->state != FETCH_ACTIVE) {
            continue; /* stopped meanwhile */
        }
        if (result->error != DMQ_OK) {
            slot_error(c, f, slot, result);
        } else {
            slot_records(c, f, slot, result, answer->attachments[i]);
        }
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* A FETCH under construction. */
struct fetch_group {
    struct fetch_slot *slots[CLIENT_MAX_FETCHED];
    struct fetch_partition body[CLIENT_MAX_FETCHED];
    uint32_t count;
};

/* The connection to fetch the slot from, if that can be done now. A partition that is gone stops.
 */
static struct conn *
source_of(struct client *c, struct fetcher *f, struct fetch_slot *slot, int32_t *ret_epoch)
{
    struct err_msg msg;
    if (slot->state != FETCH_ACTIVE || slot->request != NULL) {
        return NULL;
    }
    if (c->now_ms < slot->retry_at_ms) {
        wake_at(c, slot->retry_at_ms);
        return NULL;
    }
    struct conn *conn = leader_of(c, slot->topic, slot->partition, ret_epoch, &msg);
    if (conn == NULL && (msg.code == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION ||
                         err_class(msg.code) == DMQ_CLASS_FATAL)) {
        stop_slot(c, f, slot, &msg);
    }
    return conn;
}

/* Begins where the last request ended: with more partitions than fit the answer, all get their
 * turn.
 */
static void
gather(struct client *c, struct fetcher *f, const struct conn *conn, struct fetch_group *group)
{
    int32_t epoch = -1;
    group->count = 0;
    for (uint32_t i = 0; i < f->slot_count && group->count < CLIENT_MAX_FETCHED; i++) {
        struct fetch_slot *slot = &f->slots[(f->first_slot + i) % f->slot_count];
        if (source_of(c, f, slot, &epoch) != conn) {
            continue;
        }
        DMQ_ASSERT(slot->offset >= 0 && slot->request == NULL);
        group->slots[group->count] = slot;
        group->body[group->count++] =
            (struct fetch_partition){.topic_id = c->topics[slot->topic]->id,
                                     .partition = slot->partition,
                                     .leader_epoch = epoch,
                                     .fetch_offset = slot->offset,
                                     .max_bytes = f->config.max_partition_bytes,
                                     .last_fetched_epoch = slot->last_epoch,
                                     .log_end = -1,
                                     .synced_end = -1};
    }
}

static void
send_group(struct client *c, struct fetcher *f, struct conn *conn, struct fetch_group *group,
           int32_t max_bytes)
{
    DMQ_ASSERT(group->count > 0 && max_bytes > 0);
    struct fetch_request body = {.replica_id = -1,
                                 .broker_epoch = -1,
                                 .max_wait_ms = f->config.max_wait_ms,
                                 .min_bytes = f->config.min_bytes,
                                 .max_bytes = max_bytes,
                                 .partitions = group->body,
                                 .partitions_count = group->count};
    struct request_spec spec = {.kind = REQUEST_FETCH,
                                .api_key = API_FETCH,
                                .body = &body,
                                .timeout_ms = f->config.max_wait_ms + ANSWER_GRACE_MS,
                                .owner = f,
                                .item_count = group->count};
    struct client_request *request = conn_send(c, conn, &spec);
    if (request == NULL) {
        return;
    }
    for (uint32_t i = 0; i < group->count; i++) {
        request->items[i] = group->slots[i];
        group->slots[i]->request = request;
    }
    request->asked_bytes = max_bytes;
    f->asked_bytes += max_bytes;
    f->next_conn = conn->id + 1;
    f->first_slot = (uint32_t)(group->slots[group->count - 1] - f->slots + 1) % f->slot_count;
}

/* One FETCH of f is in flight there already. */
static bool
is_fetching(const struct fetcher *f, const struct conn *conn)
{
    const struct client_request *request;
    DL_FOREACH (conn->requests, request) {
        if (request->kind == REQUEST_FETCH && request->owner == f) {
            return true;
        }
    }
    return false;
}

/* Small rests of room are not worth a request, unless nothing is queued: then it must go on. Begins
 * after the connection that was asked last: with less room than connections, all get their turn. */
static void
pump(struct client *c, struct fetcher *f, struct fetch_group *group)
{
    f->starved = false;
    uint32_t first = f->next_conn;
    for (uint32_t i = 0; i < c->conn_count; i++) {
        struct conn *conn = c->conns[(first + i) % c->conn_count];
        if (conn->state == CONN_READY && is_fetching(f, conn)) {
            continue;
        }
        gather(c, f, conn, group); /* also says which connections are wanted */
        if (group->count == 0 || !conn_has_room(c, conn, 0)) {
            continue;
        }
        int64_t room = f->config.max_queued_bytes - f->queued_bytes - f->asked_bytes;
        room = room < f->config.max_bytes ? room : f->config.max_bytes;
        if (room <= 0 || (room < f->config.max_partition_bytes && f->queued_bytes > 0 &&
                          room < f->config.max_queued_bytes / 2)) {
            f->starved = true;
            continue;
        }
        send_group(c, f, conn, group, (int32_t)room);
    }
}

void
fetchers_pump(struct client *c)
{
    if (c->fetchers == NULL) {
        return;
    }
    struct fetch_group *group = malloc(sizeof(*group));
    if (group == NULL) {
        c->broken = true;
        return;
    }
    struct fetcher *f;
    DL_FOREACH (c->fetchers, f) {
        if (f->slot_count > 0) {
            pump(c, f, group);
        }
    }
    free(group);
}
