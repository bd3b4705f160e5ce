/* Connections: when they are made, what is in flight on them, and how they end.
 *
 *   OFF --wanted, retry_at--> CONNECTING --handshake--> GREETING --API_VERSIONS--> READY
 *    ^                            |                         |                        |
 *    +---------- back off --------+-------------------------+------------------------+
 *
 * A connection is used for one address. It is made when somebody needs the broker behind it, or
 * when no broker is connected at all, and it is opened by API_VERSIONS, which tells who is there
 * and its limits. When it ends, everything in flight on it ends as maybe-done (DMQ_ERR_NETWORK);
 * nothing is ever sent twice by the layers below.
 *
 * Invariants: only GREETING and READY have requests in flight; a request ends exactly once, in
 * end_request; correlation ids are never used again in the life of the client, so an answer that
 * comes too late finds nothing. */
#include "libdmq/client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"
#include "libdmq/wire/codec.h"

#define ATTEMPT_MS 1000  /* an attempt that takes longer no longer keeps others from being made */
#define CONNECT_MS 10000 /* and is given up after so long */
#define MAX_SEND_FRAMES (2 + CLIENT_MAX_GROUP)

struct conn *
conn_add(struct client *c, const char *host, int32_t port)
{
    DMQ_ASSERT(host != NULL && c->conn_count <= CLIENT_MAX_CONNS);
    if (c->conn_count == CLIENT_MAX_CONNS) {
        return NULL;
    }
    struct conn **conns = realloc(c->conns, (c->conn_count + 1) * sizeof(*conns));
    if (conns == NULL) {
        c->broken = true;
        return NULL;
    }
    c->conns = conns;
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        c->broken = true;
        return NULL;
    }
    conn->id = c->conn_count;
    snprintf(conn->host, sizeof(conn->host), "%s", host);
    conn->port = port;
    conn->expected_node = -1;
    conn->node_id = -1;
    conn->backoff_ms = BACKOFF_FIRST_MS;
    conns[c->conn_count++] = conn;
    return conn;
}

static void
free_request(struct client_request *request)
{
    free(request->items);
    free(request);
}

void
conn_free(struct conn *conn)
{
    while (conn->requests != NULL) {
        struct client_request *request = conn->requests;
        DL_DELETE(conn->requests, request);
        free_request(request);
    }
    free(conn);
}

static void
set_state(struct client *c, struct conn *conn, enum conn_state state)
{
    switch (state) {
    case CONN_OFF:
        DMQ_ASSERT(conn->state != CONN_OFF);
        break;
    case CONN_CONNECTING:
        DMQ_ASSERT(conn->state == CONN_OFF && conn->request_count == 0);
        break;
    case CONN_GREETING:
        DMQ_ASSERT(conn->state == CONN_CONNECTING && conn->request_count == 0);
        break;
    case CONN_READY:
        DMQ_ASSERT(conn->state == CONN_GREETING && conn->max_requests > 0);
        break;
    }
    conn->state = state;
    conn->since_ms = c->now_ms;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* The limits are the broker's, told in API_VERSIONS: beyond them it would refuse (THROTTLED), or
 * stop to read, so that what matters would queue behind what does not. */
bool
conn_has_room(const struct client *c, const struct conn *conn, size_t bytes)
{
    DMQ_ASSERT(conn->request_count >= 0 && conn->request_bytes >= 0);
    if (conn->state != CONN_READY || c->now_ms < conn->throttled_until_ms) {
        return false;
    }
    if (conn->request_count == 0) {
        return true; /* the broker takes one request of any size that it takes at all */
    }
    return conn->request_count < conn->max_requests &&
           conn->request_bytes + (int64_t)bytes <= conn->max_bytes;
}

static bool
reserve_frames(struct client *c, size_t count)
{
    struct client_effects *out = c->effects;
    if (out->frame_capacity - out->frame_count >= count) {
        return true;
    }
    size_t capacity = out->frame_capacity * 2 + count;
    struct buf **frames = realloc(out->frames, capacity * sizeof(*frames));
    if (frames == NULL) {
        return false;
    }
    out->frames = frames;
    out->frame_capacity = capacity;
    return true;
}

static struct buf *
encode_header(struct client *c, const struct client_request *request, int64_t time_left_ms)
{
    DMQ_ASSERT(time_left_ms > 0 && request->correlation_id > 0);
    struct request_header header = {
        .protocol = WIRE_PROTOCOL,
        .api_key = request->api_key,
        .correlation_id = request->correlation_id,
        .client_id = c->client_id,
        .time_left_ms = (int32_t)(time_left_ms < INT32_MAX ? time_left_ms : INT32_MAX),
        .metadata_version = c->metadata_version,
    };
    return msg_encode_buf(desc_request_header(), 0, &header);
}

static void
emit_send(struct client *c, struct client_request *request, struct buf *header, struct buf *body,
          const struct request_spec *spec)
{
    struct client_effects *out = c->effects;
    DMQ_ASSERT(out->frame_capacity - out->frame_count >= 2 + spec->attachment_count);
    DMQ_ASSERT(header->size > 0 && body->size > 0);
    struct client_effect *effect = emit(c, CLIENT_SEND);
    effect->conn = request->conn->id;
    effect->u.send.first = out->frame_count;
    effect->u.send.count = 2 + spec->attachment_count;
    out->frames[out->frame_count++] = header;
    out->frames[out->frame_count++] = body;
    request->bytes = header->size + body->size;
    for (size_t i = 0; i < spec->attachment_count; i++) {
        out->frames[out->frame_count++] = buf_ref(spec->attachments[i]);
        request->bytes += spec->attachments[i]->size;
    }
}

/* The header says how long the answer is waited for, and the newest metadata version seen: a broker
 * that is behind it waits a moment before it calls a topic unknown. */
struct client_request *
conn_send(struct client *c, struct conn *conn, const struct request_spec *spec)
{
    DMQ_ASSERT(conn->state == CONN_READY || conn->state == CONN_GREETING);
    DMQ_ASSERT((conn->state == CONN_GREETING) == (spec->kind == REQUEST_GREETING));
    DMQ_ASSERT(spec->timeout_ms > 0 && spec->attachment_count <= CLIENT_MAX_GROUP);
    DMQ_ASSERT((spec->body != NULL) != (spec->encoded_body != NULL));
    DMQ_ASSERT(api_find(spec->api_key) != NULL);
    struct client_request *request = calloc(1, sizeof(*request));
    struct buf *header = NULL;
    struct buf *body = NULL;
    if (request == NULL || !reserve_frames(c, MAX_SEND_FRAMES)) {
        goto fail;
    }
    *request = (struct client_request){.conn = conn,
                                       .kind = spec->kind,
                                       .api_key = spec->api_key,
                                       .correlation_id = c->next_correlation_id++,
                                       .deadline_ms = c->now_ms + spec->timeout_ms,
                                       .owner = spec->owner,
                                       .item_count = (uint32_t)spec->item_count};
    request->items = calloc(spec->item_count + 1, sizeof(*request->items));
    header = encode_header(c, request, spec->timeout_ms);
    body = spec->encoded_body != NULL
               ? buf_ref(spec->encoded_body)
               : msg_encode_buf(api_find(spec->api_key)->request(), 0, spec->body);
    if (request->items == NULL || header == NULL || body == NULL) {
        goto fail;
    }
    emit_send(c, request, header, body, spec);
    DL_APPEND(conn->requests, request);
    conn->request_count++;
    conn->request_bytes += (int64_t)request->bytes;
    return request;
fail:
    c->broken = true;
    buf_unref(header);
    buf_unref(body);
    if (request != NULL) {
        free_request(request);
    }
    return NULL;
}

static void greeting_answered(struct client *c, struct conn *conn, const struct answer *answer);

/* The one place where a request ends. */
static void
end_request(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct conn *conn = request->conn;
    DMQ_ASSERT(conn->request_count > 0 && conn->requests != NULL);
    DMQ_ASSERT((answer->err == DMQ_OK) == (answer->body != NULL));
    DL_DELETE(conn->requests, request);
    conn->request_count--;
    conn->request_bytes -= (int64_t)request->bytes;
    DMQ_ASSERT(conn->request_bytes >= 0);
    switch (request->kind) {
    case REQUEST_GREETING:
        greeting_answered(c, conn, answer);
        break;
    case REQUEST_METADATA:
        metadata_answered(c, request, answer);
        break;
    case REQUEST_CALL:
        call_answered(c, request, answer);
        break;
    case REQUEST_LOOKUP:
        lookup_answered(c, request, answer);
        break;
    case REQUEST_PRODUCER_ID:
        producer_id_answered(c, request, answer);
        break;
    case REQUEST_PRODUCE:
        produce_answered(c, request, answer);
        break;
    case REQUEST_FETCH:
        fetch_answered(c, request, answer);
        break;
    }
    free_request(request);
}

/* ---- opening --------------------------------------------------------------------------------- */

void
conn_connected(struct client *c, struct conn *conn)
{
    if (conn->state != CONN_CONNECTING) {
        return;
    }
    set_state(c, conn, CONN_GREETING);
    struct api_versions_request body = {.software = bytes_str("libdmq"),
                                        .software_version = bytes_str(DMQ_VERSION)};
    struct request_spec spec = {.kind = REQUEST_GREETING,
                                .api_key = API_API_VERSIONS,
                                .body = &body,
                                .timeout_ms = METADATA_TIMEOUT_MS};
    conn_send(c, conn, &spec);
}

/* Whether the broker answers every call that this library makes, at the version that it uses. */
static bool
speaks_our_version(const struct api_versions_response *response, const char **ret_missing)
{
    static const int16_t needed[] = {API_METADATA, API_PRODUCE, API_FETCH, API_LIST_OFFSETS,
                                     API_INIT_PRODUCER_ID};
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        bool found = false;
        for (uint32_t j = 0; j < response->apis_count; j++) {
            const struct api_range *range = &response->apis[j];
            found = found || (range->api_key == needed[i] && range->min_version == 0);
        }
        if (!found) {
            *ret_missing = api_find(needed[i])->name;
            return false;
        }
    }
    return true;
}

/* A cluster id that differs from the one known: false where another connection still holds to the
 * former. Otherwise the cluster behind the addresses was replaced, and what is known of the old one
 * means nothing. */
static bool
accept_cluster(struct client *c, struct uuid cluster_id)
{
    if (uuid_is_zero(cluster_id) || uuid_equal(cluster_id, c->cluster_id)) {
        return true;
    }
    if (!uuid_is_zero(c->cluster_id)) {
        for (uint32_t i = 0; i < c->conn_count; i++) {
            if (c->conns[i]->state == CONN_READY) {
                return false;
            }
        }
        metadata_forget(c);
    }
    c->cluster_id = cluster_id;
    return true;
}

/* A connection that was good starts backing off anew. Its first question is METADATA, if nobody has
 * answered that yet: a client is open when it knows the brokers. */
static void
opened(struct client *c, struct conn *conn, const struct api_versions_response *response)
{
    DMQ_ASSERT(conn->request_count == 0);
    conn->node_id = response->node_id;
    conn->max_requests =
        response->max_requests_in_flight > 0 ? response->max_requests_in_flight : 1;
    conn->max_bytes = response->max_bytes_in_flight;
    conn->max_message_bytes = response->max_message_bytes;
    conn->failures = 0;
    conn->backoff_ms = BACKOFF_FIRST_MS;
    conn->last_error.code = DMQ_OK;
    set_state(c, conn, CONN_READY);
    if (!c->ready) {
        metadata_refresh(c);
    }
}

/* Ends a connection from this side: requests in flight end as maybe-done. */
static void end_conn(struct client *c, struct conn *conn, dmq_err err, const char *why);

static void
greeting_answered(struct client *c, struct conn *conn, const struct answer *answer)
{
    struct api_versions_response response;
    struct err_msg msg;
    const char *missing;
    char why[256];
    if (conn->state != CONN_GREETING) {
        return; /* it ended meanwhile */
    }
    if (answer->err != DMQ_OK) {
        end_conn(c, conn, answer->err, answer->message);
        return;
    }
    dmq_err err = msg_decode(desc_api_versions_response(), 0, buf_bytes(answer->body), &c->arena,
                             &response, &msg);
    if (err != DMQ_OK) {
        end_conn(c, conn, DMQ_ERR_NETWORK, msg.text);
        return;
    }
    if (!speaks_our_version(&response, &missing)) {
        snprintf(why, sizeof(why),
                 "the broker (version %.*s) does not speak version 0 of %s: use a libdmq of its "
                 "version",
                 (int)response.software_version.size, response.software_version.data, missing);
        end_conn(c, conn, DMQ_ERR_UNSUPPORTED_VERSION, why);
        return;
    }
    if (conn->expected_node >= 0 && conn->expected_node != response.node_id) {
        snprintf(why, sizeof(why), "broker %d answered where broker %d was expected",
                 (int)response.node_id, (int)conn->expected_node);
        metadata_refresh(c);
        end_conn(c, conn, DMQ_ERR_WRONG_NODE, why);
        return;
    }
    if (!accept_cluster(c, response.cluster_id)) {
        end_conn(c, conn, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                 "the broker belongs to another cluster than those already connected");
        return;
    }
    opened(c, conn, &response);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Answers come nearly always in the order of the requests: the first one fits. */
static struct client_request *
find_request(struct conn *conn, int64_t correlation_id)
{
    struct client_request *request;
    DL_FOREACH (conn->requests, request) {
        if (request->correlation_id == correlation_id) {
            return request;
        }
    }
    return NULL;
}

/* Whatever cannot be read ends the connection: behind one bad frame there is no telling what the
 * others mean. An error in the header is an answer like others. */
void
conn_response(struct client *c, struct conn *conn, struct buf *const *frames, size_t count)
{
    struct response_header header;
    struct err_msg msg = {0};
    char message[sizeof(msg.text)];
    if (conn->state != CONN_READY && conn->state != CONN_GREETING) {
        return; /* it ended from this side */
    }
    arena_reset(&c->arena);
    dmq_err err = count == 0 ? DMQ_ERR_INVALID_REQUEST
                             : msg_decode(desc_response_header(), 0, buf_bytes(frames[0]),
                                          &c->arena, &header, &msg);
    if (err != DMQ_OK || (header.error == DMQ_OK && count < 2)) {
        end_conn(c, conn, DMQ_ERR_NETWORK, "the broker sent an answer that cannot be read");
        return;
    }
    struct client_request *request = find_request(conn, header.correlation_id);
    if (request == NULL) {
        return; /* an answer too late */
    }
    if (header.metadata_version > c->metadata_version) {
        c->metadata_version = header.metadata_version;
    }
    if (header.throttle_ms > 0) {
        conn->throttled_until_ms = c->now_ms + header.throttle_ms;
        wake_at(c, conn->throttled_until_ms);
    }
    snprintf(message, sizeof(message), "%.*s", (int)header.message.size, header.message.data);
    struct answer answer = {.err = header.error,
                            .message = message[0] != '\0' ? message : err_text(header.error),
                            .metadata_version = header.metadata_version};
    if (header.error == DMQ_OK) {
        answer.body = frames[1];
        answer.attachments = frames + 2;
        answer.attachment_count = count - 2;
    }
    end_request(c, request, &answer);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void
fail_requests(struct client *c, struct conn *conn, const struct err_msg *reason)
{
    struct answer answer = {.err = DMQ_ERR_NETWORK, .message = reason->text};
    while (conn->requests != NULL) {
        end_request(c, conn->requests, &answer);
    }
    DMQ_ASSERT(conn->request_count == 0 && conn->request_bytes == 0);
}

/* The common end. The state changes first, so that nothing that the ended requests cause is sent
 * here again. */
static void
became_off(struct client *c, struct conn *conn, const struct err_msg *reason)
{
    DMQ_ASSERT(reason->code != DMQ_OK && conn->state != CONN_OFF);
    bool was_ready = conn->state == CONN_READY;
    set_state(c, conn, CONN_OFF);
    conn->last_error = *reason;
    conn->node_id = -1;
    conn->throttled_until_ms = 0;
    conn->failures += was_ready ? 0 : 1;
    conn->retry_at_ms = back_off(c, &conn->backoff_ms);
    DMQ_ASSERT(conn->retry_at_ms > c->now_ms && conn->retry_at_ms <= c->now_ms + BACKOFF_LAST_MS);
    fail_requests(c, conn, reason);
    if (c->ready) {
        metadata_refresh(c); /* its partitions may have other leaders now, or soon */
    }
}

void
conn_disconnected(struct client *c, struct conn *conn, const struct err_msg *reason)
{
    if (conn->state != CONN_OFF) {
        became_off(c, conn, reason);
    }
}

static void
end_conn(struct client *c, struct conn *conn, dmq_err err, const char *why)
{
    struct err_msg reason;
    DMQ_ASSERT(conn->state != CONN_OFF);
    err_set(&reason, err, "%s:%d: %s", conn->host, (int)conn->port, why);
    emit(c, CLIENT_DISCONNECT)->conn = conn->id;
    became_off(c, conn, &reason);
}

/* ---- routing --------------------------------------------------------------------------------- */

/* Starts to connect, if it is time. */
static void
want_conn(struct client *c, struct conn *conn)
{
    if (conn->state != CONN_OFF) {
        return;
    }
    DMQ_ASSERT(conn->requests == NULL && conn->node_id == -1);
    if (c->now_ms < conn->retry_at_ms) {
        wake_at(c, conn->retry_at_ms);
        return;
    }
    set_state(c, conn, CONN_CONNECTING);
    emit(c, CLIENT_CONNECT)->conn = conn->id;
}

struct conn *
conn_any(struct client *c)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        if (conn_has_room(c, c->conns[i], 0)) {
            return c->conns[i];
        }
    }
    return NULL;
}

/* The connection for a broker's address: one of the URL's, if it has the same, else one of its own,
 * which then insists on that broker. */
static struct conn *
conn_at(struct client *c, const struct known_broker *broker)
{
    struct conn *conn;
    for (uint32_t i = 0; i < c->conn_count; i++) {
        conn = c->conns[i];
        bool usable = conn->bootstrap || conn->expected_node == broker->broker_id;
        if (usable && conn->port == broker->port && strcmp(conn->host, broker->host) == 0) {
            return conn;
        }
    }
    conn = conn_add(c, broker->host, broker->port);
    if (conn != NULL) {
        conn->expected_node = broker->broker_id;
        DMQ_ASSERT(!conn->bootstrap && conn->state == CONN_OFF);
    }
    return conn;
}

struct conn *
conn_of_broker(struct client *c, int32_t broker_id, struct err_msg *reason)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        if (c->conns[i]->state == CONN_READY && c->conns[i]->node_id == broker_id) {
            return c->conns[i];
        }
    }
    for (uint32_t i = 0; i < c->broker_count; i++) {
        if (c->brokers[i].broker_id != broker_id) {
            continue;
        }
        struct conn *conn = conn_at(c, &c->brokers[i]);
        if (conn == NULL) {
            err_set(reason, DMQ_ERR_NOMEM, "out of memory");
            return NULL;
        }
        want_conn(c, conn);
        err_set(reason, DMQ_ERR_UNREACHABLE, "broker %d is not connected: %s", (int)broker_id,
                conn->last_error.code != DMQ_OK ? conn->last_error.text : "connecting");
        if (conn->state == CONN_READY) { /* another node sits at the address */
            err_set(reason, DMQ_ERR_WRONG_NODE, "broker %d answers at the address of broker %d",
                    (int)conn->node_id, (int)broker_id);
            metadata_refresh(c);
        }
        return NULL;
    }
    err_set(reason, DMQ_ERR_UNREACHABLE, "the address of broker %d is not known", (int)broker_id);
    metadata_refresh(c);
    return NULL;
}

/* With no broker connected: the one to try next, unless an attempt is young. */
static void
try_another(struct client *c)
{
    struct conn *next = NULL;
    DMQ_ASSERT(c->conn_count > 0);
    for (uint32_t i = 0; i < c->conn_count; i++) {
        struct conn *conn = c->conns[i];
        if (conn->state == CONN_READY) {
            return;
        }
        if (conn->state != CONN_OFF && c->now_ms < conn->since_ms + ATTEMPT_MS) {
            wake_at(c, conn->since_ms + ATTEMPT_MS);
            return;
        }
        bool sooner = next == NULL || conn->retry_at_ms < next->retry_at_ms ||
                      (conn->retry_at_ms == next->retry_at_ms && conn->failures < next->failures);
        if (conn->state == CONN_OFF && sooner) {
            next = conn;
        }
    }
    if (next != NULL) {
        want_conn(c, next);
    }
}

/* A broker that is stopped keeps its connections: only the clock tells. */
static void
end_if_silent(struct client *c, struct conn *conn)
{
    if (conn->state == CONN_CONNECTING) {
        if (c->now_ms >= conn->since_ms + CONNECT_MS) {
            end_conn(c, conn, DMQ_ERR_TIMEOUT, "no connection was made in time");
        } else {
            wake_at(c, conn->since_ms + CONNECT_MS);
        }
        return;
    }
    struct client_request *request;
    DMQ_ASSERT(conn->state != CONN_OFF || conn->requests == NULL);
    DL_FOREACH (conn->requests, request) {
        DMQ_ASSERT(request->conn == conn);
        if (c->now_ms >= request->deadline_ms) {
            end_conn(c, conn, DMQ_ERR_NETWORK, "the broker did not answer in time");
            return;
        }
        wake_at(c, request->deadline_ms);
    }
}

void
conns_pump(struct client *c)
{
    for (uint32_t i = 0; i < c->conn_count; i++) {
        end_if_silent(c, c->conns[i]);
    }
    try_another(c);
}
