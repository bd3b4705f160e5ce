/* States of a connection:
 *
 *   WAITING --retry_at--> LOOKING_UP --address--> CONNECTING --handshake--> GREETING --answer--> UP
 *      ^                      |                       |                        |                |
 *      +---- CONNECT_FAILED --+-----------------------+------------------------+  DISCONNECTED -+
 *
 * Invariants: the sockets are open from CONNECTING on; there is a lookup in LOOKING_UP alone, which
 * a numeric host passes by; only UP has requests in flight; each request sent by the owner leaves
 * exactly one RESPONSE or FAILED; a correlation id is never used twice in the life of a peer, so
 * that a late answer finds nothing. */
#include "libdmq/net/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/rng.h"
#include "libdmq/net/peer_link.h"
#include "libdmq/net/resolve.h"
#include "libdmq/net/sockopt.h"
#include "libdmq/wire/codec.h"

#define FIRST_RETRY_MS 5
#define LAST_RETRY_MS 1000
#define STEADY_MS 1000    /* a connection that held so long starts the backing off anew */
#define MAX_RECEIVED 64   /* messages that one peer_process() takes */
#define HELLO_ARENA 65536 /* an answer to API_VERSIONS decodes to less */
#define HEADER_ARENA 1024
#define GREET_AGAIN_MS 1 /* it could not be sent: memory is out for the moment */

enum state { WAITING, LOOKING_UP, CONNECTING, GREETING, UP };

struct in_flight {
    int64_t correlation;
    uint64_t tag;
    int64_t deadline_ms;
};

struct peer {
    struct peer_config config;
    char client_id[64];
    char host[ADDRESS_HOST_SIZE];
    struct rng rng;
    enum state state;
    struct resolve *resolve; /* LOOKING_UP */
    bool is_numeric;         /* addresses is the host itself, for good */
    struct addresses addresses;
    size_t next_address; /* counts on with each failure; of addresses, modulo their count */
    char address[ADDRESS_NUMERIC_SIZE];
    struct peer_link link;
    bool link_ended; /* the connection is gone, the sockets are not yet closed */
    uint64_t generation;

    int64_t retry_at_ms;   /* WAITING */
    int64_t retry_ms;      /* next interval */
    int64_t give_up_at_ms; /* LOOKING_UP; CONNECTING, GREETING */
    int64_t up_since_ms;   /* UP */
    bool greeted;          /* GREETING: API_VERSIONS was sent */
    int64_t greet_at_ms;   /* GREETING, else: when to try */

    struct arena hello_arena;
    struct buf *hello_frame; /* hello points into it */
    struct api_versions_response hello;

    int64_t next_correlation;
    struct in_flight *in_flight; /* in order of sending; max_in_flight places */
    uint32_t in_flight_count;

    struct peer_event *events; /* [events_head, events_count) are to be taken */
    size_t events_head;
    size_t events_count;
    size_t events_capacity;
};

void
peer_event_deinit(struct peer_event *event)
{
    net_msg_deinit(&event->msg);
}

struct peer *
peer_new(const struct peer_config *config)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    DMQ_ASSERT(config->max_in_flight > 0 && config->max_frame_bytes > 0);
    if (peer == NULL) {
        return NULL;
    }
    peer->in_flight = calloc(config->max_in_flight, sizeof(struct in_flight));
    if (peer->in_flight == NULL) {
        free(peer);
        return NULL;
    }
    peer->config = *config;
    snprintf(peer->client_id, sizeof(peer->client_id), "%s", config->client_id);
    peer->config.client_id = peer->client_id;
    snprintf(peer->host, sizeof(peer->host), "%s", config->host);
    peer->config.host = peer->host;
    peer->is_numeric = address_take(peer->host, &peer->addresses);
    if (config->connect_timeout_ms == 0) {
        peer->config.connect_timeout_ms = NET_HANDSHAKE_MS;
    }
    if (config->max_backoff_ms == 0) {
        peer->config.max_backoff_ms = LAST_RETRY_MS;
    }
    rng_init(&peer->rng, config->seed);
    arena_init(&peer->hello_arena, HELLO_ARENA);
    peer->retry_ms = FIRST_RETRY_MS;
    peer->next_correlation = 1;
    return peer;
}

void
peer_free(struct peer *peer)
{
    if (peer == NULL) {
        return;
    }
    resolve_end(peer->resolve);
    peer_link_close(&peer->link, false);
    for (size_t i = peer->events_head; i < peer->events_count; i++) {
        peer_event_deinit(&peer->events[i]);
    }
    buf_unref(peer->hello_frame);
    arena_deinit(&peer->hello_arena);
    free(peer->events);
    free(peer->in_flight);
    free(peer);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* A new event of this kind to be filled in. NULL if memory is out: the event is lost, which the
 * owner's own deadlines must catch. */
static struct peer_event *
add_event(struct peer *peer, enum peer_event_kind kind)
{
    if (peer->events_count == peer->events_capacity) {
        size_t capacity = peer->events_capacity == 0 ? 16 : peer->events_capacity * 2;
        struct peer_event *events = realloc(peer->events, capacity * sizeof(*events));
        if (events == NULL) {
            return NULL;
        }
        peer->events = events;
        peer->events_capacity = capacity;
    }
    struct peer_event *event = &peer->events[peer->events_count++];
    *event = (struct peer_event){.kind = kind};
    return event;
}

static void
add_failure(struct peer *peer, enum peer_event_kind kind, uint64_t tag, dmq_err err,
            const char *text)
{
    struct peer_event *event = add_event(peer, kind);
    if (event != NULL) {
        event->tag = tag;
        event->err = err;
        snprintf(event->text, sizeof(event->text), "%s", text);
    }
}

bool
peer_next_event(struct peer *peer, struct peer_event *ret_event)
{
    if (peer->events_head == peer->events_count) {
        peer->events_head = 0;
        peer->events_count = 0;
        return false;
    }
    *ret_event = peer->events[peer->events_head++];
    return true;
}

/* ---- beginning and end of a connection ------------------------------------------------------- */

static int64_t
next_interval(struct peer *peer)
{
    int64_t interval = peer->retry_ms;
    int64_t longest = peer->config.max_backoff_ms;
    peer->retry_ms = interval * 2 < longest ? interval * 2 : longest;
    /* Many that lost the same node must not come back in step. */
    return rng_range(&peer->rng, interval - interval / 4, interval);
}

static void
end_resolve(struct peer *peer)
{
    resolve_end(peer->resolve);
    peer->resolve = NULL;
}

/* The one way in which a connection ends, whoever ends it: the sockets go, and every request
 * without an answer is told to be maybe done. What libzmq had not sent goes with its socket:
 * nothing of it can arrive on the next connection. */
static void
end_connection(struct peer *peer, dmq_err err, const char *why, int64_t now_ms)
{
    bool was_up = peer->state == UP;
    bool was_connecting = peer->state == CONNECTING || peer->state == GREETING;
    end_resolve(peer);
    peer_link_close(&peer->link, peer->link_ended);
    peer->link_ended = false;
    peer->next_address += was_connecting;
    peer->generation++;
    peer->state = WAITING;
    if (was_up && now_ms - peer->up_since_ms >= STEADY_MS) {
        peer->retry_ms = FIRST_RETRY_MS;
    }
    peer->retry_at_ms = now_ms + next_interval(peer);
    add_failure(peer, was_up ? PEER_DISCONNECTED : PEER_CONNECT_FAILED, 0, err, why);
    for (uint32_t i = 0; i < peer->in_flight_count; i++) {
        add_failure(peer, PEER_FAILED, peer->in_flight[i].tag, DMQ_ERR_NETWORK, why);
    }
    peer->in_flight_count = 0;
}

static void
open_link(struct peer *peer, int64_t now_ms)
{
    char endpoint[ADDRESS_SIZE];
    DMQ_ASSERT(peer->addresses.count > 0 && peer->resolve == NULL);
    snprintf(peer->address, sizeof(peer->address), "%s",
             peer->addresses.numeric[peer->next_address % peer->addresses.count]);
    address_print(peer->address, peer->config.port, endpoint);
    peer->generation++;
    peer->greeted = false;
    if (!peer_link_open(&peer->link, peer->config.zmq_context, endpoint,
                        peer->config.max_frame_bytes)) {
        end_connection(peer, DMQ_ERR_UNREACHABLE, "socket cannot be made", now_ms);
        return;
    }
    peer->state = CONNECTING;
    peer->give_up_at_ms = now_ms + peer->config.connect_timeout_ms;
}

static void
begin_connection(struct peer *peer, int64_t now_ms)
{
    DMQ_ASSERT(peer->state == WAITING && peer->in_flight_count == 0);
    if (peer->is_numeric) {
        open_link(peer, now_ms);
        return;
    }
    peer->generation++;
    peer->resolve = resolve_begin(peer->host);
    if (peer->resolve == NULL) {
        end_connection(peer, DMQ_ERR_UNREACHABLE, "host cannot be looked up: no descriptors left",
                       now_ms);
        return;
    }
    peer->state = LOOKING_UP;
    peer->give_up_at_ms = now_ms + peer->config.connect_timeout_ms;
}

static void
follow_resolve(struct peer *peer, int64_t now_ms)
{
    struct err_msg err;
    const char *why = NULL;
    bool answered = resolve_answered(peer->resolve, &peer->addresses, &why);
    if (answered && why == NULL) {
        end_resolve(peer);
        open_link(peer, now_ms);
    } else if (answered || now_ms >= peer->give_up_at_ms) {
        resolve_error(peer->host, why, &err);
        end_connection(peer, err.code, err.text, now_ms);
    }
}

/* There is a connection, or one is about to be. */
static bool
has_sockets(const struct peer *peer)
{
    return peer->state != WAITING && peer->state != LOOKING_UP;
}

void
peer_expect_cluster(struct peer *peer, struct uuid cluster_id)
{
    peer->config.cluster_id = cluster_id;
}

void
peer_hurry(struct peer *peer)
{
    peer->retry_at_ms = INT64_MIN;
    peer->retry_ms = FIRST_RETRY_MS;
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct buf *
encode_header(const struct peer *peer, const struct peer_call *call, int64_t correlation)
{
    struct request_header header = {
        .protocol = WIRE_PROTOCOL,
        .api_key = call->api_key,
        .api_version = call->api_version,
        .correlation_id = correlation,
        .client_id = bytes_str(peer->client_id),
        .time_left_ms = call->timeout_ms,
        .metadata_version = call->metadata_version,
    };
    return msg_encode_buf(desc_request_header(), 0, &header);
}

static enum net_status
send_frames(struct peer *peer, struct buf *header, const struct peer_call *call)
{
    struct buf *few[16];
    struct buf **all = few;
    size_t count = call->attachment_count + 2;
    if (count > sizeof(few) / sizeof(few[0])) {
        all = malloc(count * sizeof(struct buf *));
        if (all == NULL) {
            return NET_AGAIN;
        }
    }
    all[0] = header;
    all[1] = call->body;
    for (size_t i = 0; i < call->attachment_count; i++) {
        all[i + 2] = call->attachments[i];
    }
    enum net_status status = net_send(peer->link.dealer, all, count);
    if (all != few) {
        free(all);
    }
    return status;
}

/* Why the other side would not take the call, by what it said in its hello. A frame above its limit
 * would end the connection, and with it everybody else's requests; so it is refused here. */
static dmq_err
check_call(const struct peer *peer, const struct peer_call *call)
{
    const struct api_versions_response *hello = &peer->hello;
    uint32_t allowed = peer->config.max_in_flight;
    if (hello->max_requests_in_flight > 0 && (uint32_t)hello->max_requests_in_flight < allowed) {
        allowed = (uint32_t)hello->max_requests_in_flight;
    }
    if (!call->one_way && peer->in_flight_count >= allowed) {
        return DMQ_ERR_THROTTLED;
    }
    uint64_t largest = call->body->size;
    for (size_t i = 0; i < call->attachment_count; i++) {
        uint64_t size = call->attachments[i]->size;
        largest = size > largest ? size : largest;
    }
    if (hello->max_message_bytes > 0 && largest > (uint64_t)hello->max_message_bytes) {
        return DMQ_ERR_BATCH_TOO_LARGE;
    }
    for (uint32_t i = 0; i < hello->apis_count; i++) {
        const struct api_range *api = &hello->apis[i];
        if (api->api_key == call->api_key && api->min_version <= call->api_version &&
            api->max_version >= call->api_version) {
            return DMQ_OK;
        }
    }
    return DMQ_ERR_UNSUPPORTED_VERSION;
}

dmq_err
peer_send(struct peer *peer, const struct peer_call *call, int64_t now_ms)
{
    DMQ_ASSERT(call->body != NULL && call->timeout_ms > 0);
    if (peer->state != UP) {
        return DMQ_ERR_UNREACHABLE;
    }
    dmq_err code = check_call(peer, call);
    if (code != DMQ_OK) {
        return code;
    }
    int64_t correlation = peer->next_correlation++;
    struct buf *header = encode_header(peer, call, correlation);
    if (header == NULL) {
        return DMQ_ERR_NOMEM;
    }
    enum net_status status = send_frames(peer, header, call);
    buf_unref(header);
    if (status != NET_OK) {
        return status == NET_AGAIN ? DMQ_ERR_THROTTLED : DMQ_ERR_UNREACHABLE;
    }
    if (!call->one_way) {
        peer->in_flight[peer->in_flight_count++] =
            (struct in_flight){correlation, call->tag, now_ms + call->timeout_ms};
    }
    return DMQ_OK;
}

static void
forget_in_flight(struct peer *peer, uint32_t index)
{
    DMQ_ASSERT(index < peer->in_flight_count);
    peer->in_flight_count--;
    memmove(&peer->in_flight[index], &peer->in_flight[index + 1],
            (peer->in_flight_count - index) * sizeof(struct in_flight));
}

/* A request that is late does not end the connection: its answer, if it ever comes, finds nobody.
 * Whether the connection itself is alive is what libzmq's heartbeats find out. */
static void
expire(struct peer *peer, int64_t now_ms)
{
    for (uint32_t i = 0; i < peer->in_flight_count;) {
        if (peer->in_flight[i].deadline_ms > now_ms) {
            i++;
            continue;
        }
        add_failure(peer, PEER_FAILED, peer->in_flight[i].tag, DMQ_ERR_TIMEOUT,
                    "no answer within the time given");
        forget_in_flight(peer, i);
    }
}

/* ---- greeting -------------------------------------------------------------------------------- */

static void
greet(struct peer *peer, int64_t now_ms)
{
    struct api_versions_request request = {.software = bytes_str("dmq"),
                                           .software_version = bytes_str(DMQ_VERSION),
                                           .cluster_id = peer->config.cluster_id,
                                           .node_id = peer->config.self_id};
    int16_t version = uuid_is_zero(request.cluster_id) ? 0 : 1;
    struct peer_call call = {.api_key = API_API_VERSIONS,
                             .api_version = version,
                             .timeout_ms = (int32_t)peer->config.connect_timeout_ms};
    struct buf *header = encode_header(peer, &call, peer->next_correlation);
    call.body = msg_encode_buf(desc_api_versions_request(), version, &request);
    if (header != NULL && call.body != NULL && send_frames(peer, header, &call) == NET_OK) {
        peer->greeted = true;
        peer->next_correlation++;
    }
    peer->greet_at_ms = now_ms + GREET_AGAIN_MS;
    buf_unref(header);
    buf_unref(call.body);
}

/* Why the node that answered is not the one that was meant, or DMQ_OK. */
static dmq_err
check_hello(const struct peer *peer, struct err_msg *why)
{
    char have[UUID_TEXT_SIZE], want[UUID_TEXT_SIZE];
    const struct api_versions_response *hello = &peer->hello;
    if (peer->config.node_id >= 0 && hello->node_id != peer->config.node_id) {
        return err_set(why, DMQ_ERR_WRONG_NODE, "node %d answers at the address of node %d",
                       hello->node_id, peer->config.node_id);
    }
    if (!uuid_is_zero(peer->config.cluster_id) && !uuid_is_zero(hello->cluster_id) &&
        !uuid_equal(peer->config.cluster_id, hello->cluster_id)) {
        return err_set(why, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                       "node belongs to cluster %s, not to %s", uuid_text(hello->cluster_id, have),
                       uuid_text(peer->config.cluster_id, want));
    }
    return DMQ_OK;
}

static void
take_hello(struct peer *peer, const struct response_header *header, struct net_msg *msg,
           int64_t now_ms)
{
    struct err_msg why;
    if (header->error != 0 || msg->count < 2) {
        end_connection(peer, header->error != 0 ? header->error : DMQ_ERR_INVALID_REQUEST,
                       "the other side does not answer API_VERSIONS", now_ms);
        return;
    }
    buf_unref(peer->hello_frame);
    peer->hello_frame = net_msg_take(msg, 1);
    arena_reset(&peer->hello_arena);
    dmq_err code = msg_decode(desc_api_versions_response(), 0, buf_bytes(peer->hello_frame),
                              &peer->hello_arena, &peer->hello, &why);
    if (code == DMQ_OK) {
        code = check_hello(peer, &why);
    }
    if (code != DMQ_OK) {
        end_connection(peer, code, why.text, now_ms);
        return;
    }
    peer->state = UP;
    peer->up_since_ms = now_ms;
    add_event(peer, PEER_CONNECTED);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void
take_response(struct peer *peer, const struct response_header *header, struct net_msg *msg)
{
    for (uint32_t i = 0; i < peer->in_flight_count; i++) {
        if (peer->in_flight[i].correlation == header->correlation_id) {
            struct peer_event *event = add_event(peer, PEER_RESPONSE);
            if (event != NULL) {
                event->tag = peer->in_flight[i].tag;
                event->header = *header;
                event->msg = *msg;
                *msg = (struct net_msg){0};
            }
            forget_in_flight(peer, i);
            return;
        }
    }
    /* Nobody waits any more: the request's time was over. */
}

static void
take_message(struct peer *peer, struct net_msg *msg, int64_t now_ms)
{
    struct err_msg why;
    struct arena arena;
    struct response_header header;
    const char *fault = msg->fault;
    arena_init(&arena, HEADER_ARENA); /* a header has no lists: nothing is allocated */
    if (fault == NULL && msg_decode(desc_response_header(), 0, buf_bytes(msg->frames[0]), &arena,
                                    &header, &why) != DMQ_OK) {
        fault = why.text;
    }
    if (fault == NULL && header.error == 0 && msg->count < 2) {
        fault = "response has no body";
    }
    if (fault != NULL) {
        end_connection(peer, DMQ_ERR_INVALID_REQUEST, fault, now_ms);
    } else if (peer->state == UP) {
        take_response(peer, &header, msg);
    } else {
        take_hello(peer, &header, msg, now_ms);
    }
    arena_deinit(&arena);
}

static void
receive(struct peer *peer, size_t most, int64_t now_ms)
{
    static const struct net_limits limits = {0}; /* the socket bounds the frames */
    struct net_msg msg = {0};
    for (size_t i = 0; i < most && has_sockets(peer); i++) {
        if (net_recv(peer->link.dealer, &limits, &msg) != NET_OK) {
            break;
        }
        take_message(peer, &msg, now_ms);
    }
    net_msg_deinit(&msg);
}

/* ---- the owner's loop ------------------------------------------------------------------------ */

/* What libzmq's monitor says of the connection. */
static void
follow_link(struct peer *peer, int64_t now_ms)
{
    const char *why = NULL;
    switch (peer_link_poll(&peer->link, &why)) {
    case LINK_QUIET:
        break;
    case LINK_READY:
        if (peer->state == CONNECTING) {
            peer->state = GREETING;
        }
        break;
    case LINK_ENDED:
        peer->link_ended = true;
        /* Answers that came before the end still count. */
        receive(peer, SIZE_MAX, now_ms);
        if (peer->state != WAITING) {
            end_connection(peer, peer->state == UP ? DMQ_ERR_NETWORK : DMQ_ERR_UNREACHABLE, why,
                           now_ms);
        }
        break;
    }
}

void
peer_process(struct peer *peer, int64_t now_ms)
{
    if (peer->state == WAITING && now_ms >= peer->retry_at_ms) {
        begin_connection(peer, now_ms);
    }
    if (peer->state == LOOKING_UP) {
        follow_resolve(peer, now_ms);
    }
    if (has_sockets(peer)) {
        follow_link(peer, now_ms);
    }
    if (peer->state == GREETING && !peer->greeted) {
        greet(peer, now_ms);
    }
    receive(peer, MAX_RECEIVED, now_ms);
    expire(peer, now_ms);
    bool late = peer->state == CONNECTING || peer->state == GREETING;
    if (late && now_ms >= peer->give_up_at_ms) {
        end_connection(peer, DMQ_ERR_UNREACHABLE, "no answer while connecting", now_ms);
    }
}

void
peer_disconnect(struct peer *peer, dmq_err err, const char *why, int64_t now_ms)
{
    if (peer->state != WAITING) {
        end_connection(peer, err, why, now_ms);
    }
}

size_t
peer_sockets(const struct peer *peer, void *ret_sockets[PEER_MAX_SOCKETS])
{
    if (!has_sockets(peer)) {
        return 0;
    }
    ret_sockets[0] = peer->link.dealer;
    ret_sockets[1] = peer->link.monitor;
    return 2;
}

int
peer_fd(const struct peer *peer)
{
    return peer->resolve != NULL ? resolve_fd(peer->resolve) : -1;
}

uint64_t
peer_generation(const struct peer *peer)
{
    return peer->generation;
}

int64_t
peer_deadline(const struct peer *peer)
{
    int64_t deadline = INT64_MAX;
    if (peer->state == WAITING) {
        return peer->retry_at_ms;
    }
    if (peer->state != UP) {
        bool again = peer->state == GREETING && !peer->greeted;
        deadline = again ? peer->greet_at_ms : peer->give_up_at_ms;
    }
    for (uint32_t i = 0; i < peer->in_flight_count; i++) {
        int64_t at = peer->in_flight[i].deadline_ms;
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

bool
peer_is_up(const struct peer *peer)
{
    return peer->state == UP;
}

const struct api_versions_response *
peer_hello(const struct peer *peer)
{
    return peer->hello_frame != NULL ? &peer->hello : NULL;
}

uint32_t
peer_in_flight(const struct peer *peer)
{
    return peer->in_flight_count;
}

const char *
peer_address(const struct peer *peer)
{
    return peer->address;
}
