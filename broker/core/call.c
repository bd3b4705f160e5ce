#include "broker/core/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/partition.h"
#include "libdmq/base/utf8.h"

/* A call is charged to two budgets, its connection's and the broker's, from its arrival to its
 * answer. It is answered exactly once, by call_answer, call_answer_raw or call_fail, which are the
 * only places where a reply is made. */

#define REQUEST_ARENA_BYTES (8 * 1024 * 1024) /* what a request may decode to */

/* ---- budgets --------------------------------------------------------------------------------- */

static struct connection *
connection_of(struct brk *brk, struct buf *peer)
{
    struct connection *connection;
    HASH_FIND(hh, brk->connections, peer->data, peer->size, connection);
    if (connection == NULL) {
        connection = brk_alloc(sizeof(*connection));
        connection->peer = buf_ref(peer);
        HASH_ADD_KEYPTR(hh, brk->connections, peer->data, peer->size, connection);
    }
    return connection;
}

/* What counts is what is pinned, not what the frames say they are: a small frame may hold libzmq's
 * whole receive buffer. */
static void
charge(struct brk *brk, struct call *call)
{
    for (size_t i = 0; i < call->frame_count; i++) {
        call->bytes += (int64_t)call->frames[i]->pinned;
    }
    brk->stats.request_bytes += call->bytes;
    if (call->listener == LISTENER_CLIENT) {
        call->connection = connection_of(brk, call->peer);
        call->connection->requests++;
        call->connection->bytes += call->bytes;
    }
}

static void
discharge(struct brk *brk, struct call *call)
{
    brk->stats.request_bytes -= call->bytes;
    struct connection *connection = call->connection;
    if (connection == NULL) {
        return;
    }
    connection->requests--;
    connection->bytes -= call->bytes;
    DMQ_ASSERT(connection->requests >= 0 && connection->bytes >= 0);
    if (connection->requests == 0) {
        HASH_DEL(brk->connections, connection);
        buf_unref(connection->peer);
        free(connection);
    }
}

/* The limits are advertised by API_VERSIONS: a client that keeps to them never sees this. One
 * request is always let through, however large its frames are pinned. */
static bool
over_limit(const struct brk *brk, const struct call *call)
{
    const struct connection *connection = call->connection;
    return connection != NULL && connection->requests > 1 &&
           (connection->requests > brk->config.max_connection_requests ||
            connection->bytes > brk->config.max_connection_bytes);
}

/* ---- the end of a call ----------------------------------------------------------------------- */

/* Whatever it waits for is taken back, whatever it was charged for is given back. */
void
call_drop(struct brk *brk, struct call *call)
{
    watch_cancel_all(brk, call);
    heap_remove(&brk->deadlines, &call->deadline);
    list_remove(&call->stalled_link);
    list_remove(&call->link);
    brk->stats.parked_calls--;
    if (call->api != NULL && call->api->key == API_FETCH) {
        fetch_free_parts(call);
    }
    forward_free(call);
    discharge(brk, call);
    buf_unref(call->peer);
    for (size_t i = 0; i < call->frame_count; i++) {
        buf_unref(call->frames[i]);
    }
    free(call->frames);
    arena_deinit(&call->arena);
    free(call);
}

/* The only way out: [header][body][attachment]*. body NULL: an error. Takes body and
 * attachments. */
static void
reply(struct brk *brk, struct call *call, const struct response_header *header, struct buf *body,
      struct buf **attachments, size_t count)
{
    struct buf **frames = brk_alloc((2 + count) * sizeof(*frames));
    struct response_header own = *header;
    own.correlation_id = call->header.correlation_id;
    frames[0] = msg_encode_buf(desc_response_header(), 0, &own);
    DMQ_ASSERT(frames[0] != NULL);
    size_t used = 1;
    if (body != NULL) {
        frames[used++] = body;
    }
    for (size_t i = 0; i < count; i++) {
        frames[used++] = attachments[i];
    }
    struct brk_effect *effect = brk_emit(brk, BRK_REPLY);
    effect->u.reply.listener = call->listener;
    effect->u.reply.peer = buf_ref(call->peer);
    effect->u.reply.frames = frames;
    effect->u.reply.count = used;
    call_drop(brk, call);
}

void
call_answer(struct brk *brk, struct call *call, const void *body, struct buf **attachments,
            size_t count)
{
    struct response_header header = {.metadata_version = image_version(brk->image)};
    struct buf *frame = msg_encode_buf(call->api->response(), call->header.api_version, body);
    DMQ_ASSERT(frame != NULL);
    reply(brk, call, &header, frame, attachments, count);
}

void
call_answer_raw(struct brk *brk, struct call *call, const struct response_header *inner,
                struct buf *body)
{
    reply(brk, call, inner, body, NULL, 0);
}

void
call_fail(struct brk *brk, struct call *call, dmq_err err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    utf8_repair(text);
    DMQ_ASSERT(err != DMQ_OK);
    struct response_header header = {
        .error = err, .metadata_version = image_version(brk->image), .message = bytes_str(text)};
    reply(brk, call, &header, NULL, NULL, 0);
}

/* ---- its beginning --------------------------------------------------------------------------- */

/* Decodes header and body; false if the call was answered with an error. */
static bool
decode(struct brk *brk, struct call *call)
{
    struct err_msg err = {0};
    arena_init(&call->arena, REQUEST_ARENA_BYTES);
    if (call->frame_count == 0 || msg_decode(desc_request_header(), 0, buf_bytes(call->frames[0]),
                                             &call->arena, &call->header, &err) != DMQ_OK) {
        call->header = (struct request_header){0};
        call_fail(brk, call, DMQ_ERR_INVALID_REQUEST, "request header: %s",
                  call->frame_count == 0 ? "missing" : err.text);
        return false;
    }
    if (call->header.protocol != WIRE_PROTOCOL) {
        call_fail(brk, call, DMQ_ERR_UNSUPPORTED_VERSION,
                  "protocol %d is not supported: this broker speaks %d", call->header.protocol,
                  WIRE_PROTOCOL);
        return false;
    }
    const struct api_desc *api = api_find(call->header.api_key);
    if (api == NULL || (api->listeners & call->listener) == 0) {
        call_fail(brk, call, DMQ_ERR_UNSUPPORTED_VERSION, "api key %d is not served on this port",
                  call->header.api_key);
        return false;
    }
    if (call->header.api_version < api->min_version ||
        call->header.api_version > api->max_version) {
        call_fail(brk, call, DMQ_ERR_UNSUPPORTED_VERSION,
                  "version %d of %s is not supported: this broker speaks %d to %d",
                  call->header.api_version, api->name, api->min_version, api->max_version);
        return false;
    }
    if (over_limit(brk, call)) {
        call_fail(brk, call, DMQ_ERR_THROTTLED,
                  "connection has more than %d requests or %lld bytes in flight",
                  brk->config.max_connection_requests, (long long)brk->config.max_connection_bytes);
        return false;
    }
    const struct struct_desc *desc = api->request();
    call->request = arena_alloc(&call->arena, desc->size);
    dmq_err failed = call->frame_count < 2
                         ? err_set(&err, DMQ_ERR_INVALID_REQUEST, "body frame is missing")
                         : msg_decode(desc, call->header.api_version, buf_bytes(call->frames[1]),
                                      &call->arena, call->request, &err);
    if (failed != DMQ_OK) {
        call_fail(brk, call, failed, "%s: %s", api->name, err.text);
        return false;
    }
    call->api = api;
    call->arena.limit = SIZE_MAX; /* from here on it is ours: results, watches */
    return true;
}

void
call_start(struct brk *brk, enum api_listener listener, struct buf *peer, struct buf **frames,
           size_t count)
{
    struct call *call = brk_alloc(sizeof(*call));
    call->listener = listener;
    call->peer = peer;
    call->frames = brk_alloc(count * sizeof(*frames));
    if (count > 0) {
        memcpy(call->frames, frames, count * sizeof(*frames));
    }
    call->frame_count = count;
    call->arrived_ms = brk->now_ms;
    list_append(&brk->calls, &call->link);
    brk->stats.parked_calls++;
    brk->stats.requests++;
    charge(brk, call);
    if (!decode(brk, call)) {
        return;
    }
    int64_t wait_ms = call->header.time_left_ms;
    if (wait_ms <= 0) {
        wait_ms = CALL_DEFAULT_TIMEOUT_MS;
    }
    call->answer_by_ms =
        brk->now_ms + (wait_ms < CALL_MAX_TIMEOUT_MS ? wait_ms : CALL_MAX_TIMEOUT_MS);
    call_dispatch(brk, call);
}

struct buf *
call_attachment(const struct call *call, size_t i)
{
    DMQ_ASSERT(2 + i < call->frame_count);
    return call->frames[2 + i];
}

size_t
call_attachment_count(const struct call *call)
{
    return call->frame_count - 2;
}

struct bytes
call_text(struct call *call, const char *text)
{
    size_t size = strlen(text);
    char *copy = arena_alloc(&call->arena, size);
    DMQ_ASSERT(copy != NULL);
    memcpy(copy, text, size);
    return bytes_of(copy, size);
}

/* ---- parking --------------------------------------------------------------------------------- */

/* A tenth of the time that the asker gave, and at most that. */
#define EARLY_MS 200

int64_t
call_last_moment(const struct call *call)
{
    int64_t early_ms = (call->answer_by_ms - call->arrived_ms) / 10;
    return call->answer_by_ms - (early_ms < EARLY_MS ? early_ms : EARLY_MS);
}

void
call_park(struct brk *brk, struct call *call, int64_t deadline_ms)
{
    heap_remove(&brk->deadlines, &call->deadline);
    bool pushed = heap_push(&brk->deadlines, &call->deadline, deadline_ms);
    DMQ_ASSERT(pushed);
}

/* Half the time that the asker gave and at most a second: then it hears what this broker knows. */
bool
call_may_stall(struct brk *brk, struct call *call)
{
    if (call->stall_until_ms == 0) {
        int64_t half = call->arrived_ms + (call->answer_by_ms - call->arrived_ms) / 2;
        int64_t most = call->arrived_ms + CALL_MAX_STALL_MS;
        call->stall_until_ms = half < most ? half : most;
    }
    return call->stall_until_ms > brk->now_ms;
}

bool
call_stall(struct brk *brk, struct call *call, bool newer_metadata_only)
{
    if (newer_metadata_only && call->header.metadata_version <= image_version(brk->image)) {
        return false;
    }
    if (!call_may_stall(brk, call)) {
        return false;
    }
    list_append(&brk->stalled, &call->stalled_link);
    call_park(brk, call, call->stall_until_ms);
    return true;
}

/* In order of arrival, and before any request that comes later: what a producer sent first is
 * handled first. One that still cannot be answered stalls again, with the deadline that it had. */
void
call_unstall_all(struct brk *brk)
{
    struct list stalled;
    list_take(&stalled, &brk->stalled);
    struct list *link;
    while ((link = list_pop(&stalled)) != NULL) {
        struct call *call = LIST_ENTRY(link, struct call, stalled_link);
        heap_remove(&brk->deadlines, &call->deadline);
        call_dispatch(brk, call);
    }
}
