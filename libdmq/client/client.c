/* The switch, and what holds the parts together.
 *
 * An arm only notes what happened: an answer frees a place in flight, a command adds to a list.
 * What follows from it is found by the pumps, which run after every event and send whatever can be
 * sent now. So there is one place for each decision, however many events can lead to it, and a
 * forgotten case shows as "not sent", never as "sent twice".
 *
 * Time: a pump that must wait says until when by wake_at; the earliest of them is
 * client.wake_at_ms, and the shell then feeds a TICK. Nothing else makes time pass.
 *
 * Memory: a part that cannot allocate sets `broken`, leaves its own lists whole, and goes on; the
 * shell ends the client when it sees the flag. No part looks at it to decide anything. */
#include "libdmq/client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"

#define ARENA_BYTES ((size_t)256 << 20) /* of one decoded answer */

struct client *
client_new(const char *client_id, const struct client_address *addresses, size_t count,
           uint64_t seed)
{
    DMQ_ASSERT(count > 0);
    struct client *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    arena_init(&c->arena, ARENA_BYTES);
    rng_init(&c->rng, seed);
    c->wake_at_ms = 0;
    c->next_correlation_id = 1;
    c->metadata_backoff_ms = BACKOFF_FIRST_MS;
    c->metadata_due_ms = CLIENT_NEVER;
    size_t id_size = strlen(client_id);
    uint8_t *id = malloc(id_size + 1);
    if (id == NULL) {
        client_free(c);
        return NULL;
    }
    memcpy(id, client_id, id_size);
    c->client_id = (struct bytes){id, id_size};
    size_t first = (size_t)rng_below(&c->rng, count); /* clients spread over the brokers */
    for (size_t i = 0; i < count; i++) {
        const struct client_address *address = &addresses[(first + i) % count];
        struct conn *conn = conn_add(c, address->host, address->port);
        if (conn == NULL) {
            client_free(c);
            return NULL;
        }
        conn->bootstrap = true;
    }
    return c;
}

/* The machine's own; batches, which are the shell's, have gone back by client_stop. */
void
client_free(struct client *c)
{
    if (c == NULL) {
        return;
    }
    DMQ_ASSERT(c->senders == NULL && c->calls == NULL && c->lookups == NULL);
    while (c->fetchers != NULL) {
        fetcher_remove(c, c->fetchers);
    }
    for (uint32_t i = 0; i < c->conn_count; i++) {
        conn_free(c->conns[i]);
    }
    free(c->conns);
    metadata_free(c);
    free((void *)(uintptr_t)c->client_id.data);
    arena_deinit(&c->arena);
    free(c);
}

struct client_effect *
emit(struct client *c, enum client_effect_type type)
{
    static struct client_effect dummy; /* written, never read */
    struct client_effects *out = c->effects;
    DMQ_ASSERT(out != NULL && out->count <= out->capacity);
    if (out->count == out->capacity) {
        size_t capacity = out->capacity * 2 + 16;
        struct client_effect *items = realloc(out->items, capacity * sizeof(*items));
        if (items == NULL) {
            c->broken = true;
            return &dummy;
        }
        out->items = items;
        out->capacity = capacity;
    }
    struct client_effect *effect = &out->items[out->count++];
    *effect = (struct client_effect){.type = type};
    return effect;
}

void
wake_at(struct client *c, int64_t time_ms)
{
    DMQ_ASSERT(time_ms >= 0);
    c->wake_at_ms = time_ms < c->wake_at_ms ? time_ms : c->wake_at_ms;
}

int64_t
back_off(struct client *c, int32_t *backoff_ms)
{
    DMQ_ASSERT(*backoff_ms >= 0 && *backoff_ms <= BACKOFF_LAST_MS);
    int32_t wait = *backoff_ms < BACKOFF_FIRST_MS ? BACKOFF_FIRST_MS : *backoff_ms;
    *backoff_ms = wait * 2 < BACKOFF_LAST_MS ? wait * 2 : BACKOFF_LAST_MS;
    return c->now_ms + rng_range(&c->rng, (wait + 1) / 2, wait);
}

/* ---- the arms: one for each event ------------------------------------------------------------ */

static void
on_disconnected(struct client *c, const struct client_event *event)
{
    conn_disconnected(c, c->conns[event->conn], event->u.reason);
}

static void
on_response(struct client *c, const struct client_event *event)
{
    conn_response(c, c->conns[event->conn], event->u.response.frames, event->u.response.count);
}

static void
on_topic_wanted(struct client *c, const struct client_event *event)
{
    struct known_topic *topic = topic_intern(c, event->u.topic);
    if (topic != NULL) {
        metadata_want(c, topic);
    }
}

/* A call and a lookup never have the same id, so that the caller need not say which it was. */
static void
on_cancelled(struct client *c, const struct client_event *event)
{
    call_cancel(c, event->id);
    lookup_cancel(c, event->id);
}

static void
on_producer_closed(struct client *c, const struct client_event *event)
{
    sender_remove(c, sender_find(c, event->id));
}

static void
on_batch_closed(struct client *c, const struct client_event *event)
{
    sender_take(c, sender_find(c, event->id), event->u.batch);
}

static void
on_consumer_closed(struct client *c, const struct client_event *event)
{
    fetcher_remove(c, fetcher_find(c, event->id));
}

/* The application has taken bytes out of the queue: there may be room to fetch more. */
static void
on_consumed(struct client *c, const struct client_event *event)
{
    struct fetcher *f = fetcher_find(c, event->id);
    DMQ_ASSERT(event->u.bytes > 0);
    DMQ_ASSERT(event->u.bytes <= f->queued_bytes);
    f->queued_bytes -= event->u.bytes;
}

static void
handle(struct client *c, const struct client_event *event)
{
    DMQ_ASSERT(event->conn < c->conn_count);
    switch (event->type) {
    case CLIENT_TICK:
        break;
    case CLIENT_CONNECTED:
        conn_connected(c, c->conns[event->conn]);
        break;
    case CLIENT_DISCONNECTED:
        on_disconnected(c, event);
        break;
    case CLIENT_RESPONSE:
        on_response(c, event);
        break;
    case CLIENT_TOPIC_WANTED:
        on_topic_wanted(c, event);
        break;
    case CLIENT_CALLED:
        call_add(c, event);
        break;
    case CLIENT_LOOKED_UP:
        lookup_add(c, event);
        break;
    case CLIENT_CANCELLED:
        on_cancelled(c, event);
        break;
    case CLIENT_PRODUCER_OPENED:
        sender_add(c, event->id, event->u.producer);
        break;
    case CLIENT_PRODUCER_CLOSED:
        on_producer_closed(c, event);
        break;
    case CLIENT_BATCH_CLOSED:
        on_batch_closed(c, event);
        break;
    case CLIENT_CONSUMER_OPENED:
        fetcher_add(c, event->id, event->u.consumer);
        break;
    case CLIENT_CONSUMER_CLOSED:
        on_consumer_closed(c, event);
        break;
    case CLIENT_ASSIGNED:
        fetcher_assign(c, fetcher_find(c, event->id), event);
        break;
    case CLIENT_SOUGHT:
        fetcher_seek(c, fetcher_find(c, event->id), event);
        break;
    case CLIENT_SLOT_STOPPED:
        fetcher_slot_stopped(fetcher_find(c, event->id), event);
        break;
    case CLIENT_CONSUMED:
        on_consumed(c, event);
        break;
    }
}

void
client_step(struct client *c, const struct client_event *event, struct client_effects *effects)
{
    DMQ_ASSERT(event->now_ms >= c->now_ms && effects->count == 0);
    DMQ_ASSERT(c->effects == NULL && effects->frame_count == 0);
    c->now_ms = event->now_ms;
    c->effects = effects;
    c->wake_at_ms = CLIENT_NEVER;
    handle(c, event);
    /* Metadata and connections last: the others say what they want of them. */
    calls_pump(c);
    lookups_pump(c);
    senders_pump(c);
    fetchers_pump(c);
    metadata_pump(c);
    conns_pump(c);
    if (c->broken) {
        c->wake_at_ms = c->now_ms;
    }
#ifdef DMQ_DEBUG
    client_check_invariants(c);
#endif
    c->effects = NULL;
}

void
client_stop(struct client *c, dmq_err err, struct client_effects *effects)
{
    DMQ_ASSERT(err != DMQ_OK && effects->count == 0);
    c->effects = effects;
    calls_stop(c, err);
    lookups_stop(c, err);
    senders_stop(c, err);
    DMQ_ASSERT(c->calls == NULL && c->lookups == NULL && c->senders == NULL);
    c->effects = NULL;
}

const struct known_topic *
client_topic(const struct client *c, int32_t handle)
{
    DMQ_ASSERT(handle >= 0 && handle < c->topic_count);
    return c->topics[handle];
}

/* One sentence over all addresses: which of them is to blame, a person can tell best. */
bool
client_is_connected(const struct client *c, struct err_msg *ret_reason)
{
    size_t used = 0;
    if (c->ready) {
        return true;
    }
    ret_reason->code = DMQ_ERR_UNREACHABLE;
    ret_reason->text[0] = '\0';
    for (uint32_t i = 0; i < c->conn_count && used < sizeof(ret_reason->text); i++) {
        const struct conn *conn = c->conns[i];
        const char *between = used == 0 ? "" : ", ";
        int size = conn->last_error.code != DMQ_OK
                       ? snprintf(ret_reason->text + used, sizeof(ret_reason->text) - used, "%s%s",
                                  between, conn->last_error.text)
                       : snprintf(ret_reason->text + used, sizeof(ret_reason->text) - used,
                                  "%sno answer from %s:%d", between, conn->host, (int)conn->port);
        used += size > 0 ? (size_t)size : 0;
    }
    return false;
}

/* A cluster that is being started refuses for a moment; `times` tries with growing pauses tell that
 * from one that is not there. */
bool
client_is_refused(const struct client *c, uint32_t times)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        const struct conn *conn = c->conns[i];
        if (conn->failures < times || conn->last_error.code != DMQ_ERR_UNREACHABLE) {
            return false;
        }
    }
    return !c->ready;
}

bool
client_is_starved(const struct client *c, uint64_t consumer)
{
    const struct fetcher *f;
    DL_FOREACH (c->fetchers, f) {
        if (f->id == consumer) {
            return f->starved;
        }
    }
    return false;
}

static void
drop_effect(struct client_effects *effects, struct client_effect *effect)
{
    switch (effect->type) {
    case CLIENT_SEND:
        for (size_t i = 0; i < effect->u.send.count; i++) {
            buf_unref(effects->frames[effect->u.send.first + i]);
        }
        break;
    case CLIENT_ANSWERED:
        buf_unref(effect->u.body);
        break;
    case CLIENT_OFFSETS:
        free(effect->u.offsets.offsets);
        break;
    case CLIENT_RECORDS:
        buf_unref(effect->u.records.frame);
        break;
    case CLIENT_CONNECT:
    case CLIENT_DISCONNECT:
    case CLIENT_TOPIC:
    case CLIENT_BATCH_DONE:
    case CLIENT_SEND_WAITS:
    case CLIENT_SLOT_FAILED:
        break;
    }
}

void
client_effects_clear(struct client_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        drop_effect(effects, &effects->items[i]);
    }
    effects->count = 0;
    effects->frame_count = 0;
}

void
client_effects_deinit(struct client_effects *effects)
{
    client_effects_clear(effects);
    free(effects->items);
    free(effects->frames);
    *effects = (struct client_effects){0};
}

static void
check_conn(const struct client *c, const struct conn *conn)
{
    int32_t count = 0;
    int64_t bytes = 0;
    const struct client_request *request;
    DL_FOREACH (conn->requests, request) {
        DMQ_ASSERT(request->conn == conn);
        DMQ_ASSERT(request->correlation_id < c->next_correlation_id);
        count++;
        bytes += (int64_t)request->bytes;
    }
    DMQ_ASSERT(count == conn->request_count && bytes == conn->request_bytes);
    DMQ_ASSERT(count == 0 || conn->state == CONN_READY || conn->state == CONN_GREETING);
    DMQ_ASSERT(conn->state != CONN_READY || count <= conn->max_requests);
}

/* The rule that keeps the order: what is in flight is a front part of the queue. It may have holes
 * only while the partition drains, for then nothing is sent. */
static void
check_sender(const struct sender *s)
{
    const struct send_partition *p;
    DL_FOREACH (s->active, p) {
        uint32_t queued = 0;
        uint32_t in_flight = 0;
        bool gap = false; /* a batch that is not in flight was seen */
        const struct send_batch *batch;
        DL_FOREACH2(p->queue, batch, queue_next)
        {
            queued++;
            in_flight += batch->request != NULL;
            DMQ_ASSERT(p->draining || batch->request == NULL || !gap);
            gap = gap || batch->request == NULL;
        }
        DMQ_ASSERT(queued == p->queued && queued > 0);
        DMQ_ASSERT(in_flight == p->in_flight && in_flight <= s->config.max_in_flight);
    }
}

static void
check_fetcher(const struct fetcher *f)
{
    DMQ_ASSERT(f->queued_bytes >= 0 && f->asked_bytes >= 0);
    DMQ_ASSERT(f->slot_count == 0 || f->first_slot < f->slot_count);
    for (uint32_t i = 0; i < f->slot_count; i++) {
        const struct fetch_slot *slot = &f->slots[i];
        DMQ_ASSERT(slot->offset >= 0);
        DMQ_ASSERT(slot->request == NULL || slot->request->owner == f);
    }
}

void
client_check_invariants(const struct client *c)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        check_conn(c, c->conns[i]);
    }
    const struct sender *s;
    DL_FOREACH (c->senders, s) {
        check_sender(s);
    }
    const struct fetcher *f;
    DL_FOREACH (c->fetchers, f) {
        check_fetcher(f);
    }
    const struct client_call *call;
    DL_FOREACH (c->calls, call) {
        DMQ_ASSERT(call->body != NULL);
        DMQ_ASSERT(call->request == NULL || call->request->owner == call);
    }
    DMQ_ASSERT(c->metadata_request == NULL || c->metadata_request->kind == REQUEST_METADATA);
    /* Where memory is out, a group whose lookups could not be made waits for client_stop. */
    DMQ_ASSERT(c->lookup_groups == NULL || c->lookups != NULL || c->broken);
}
