/* A request is decoded once, here, by the descriptors of the message table. Then it is answered at
 * once, or waits in line for the next entry; either way ctl_call_finish() is its end. */
#include "controller/core/call.h"

#include <inttypes.h>
#include <stdlib.h>

#define REQUEST_ARENA_BYTES (8 * 1024 * 1024) /* what a request may decode to */

/* ---- the one switch over calls --------------------------------------------------------------- */

enum route {
    ROUTE_NONE,    /* not a controller's */
    ROUTE_NOW,     /* answered by any controller from what it knows */
    ROUTE_LEADER,  /* answered by the leader from what is committed */
    ROUTE_DECIDED, /* takes its turn at the leader */
    ROUTE_SEATS,   /* changes the quorum, not the image */
    ROUTE_RAFT,    /* never answered */
    ROUTE_WRAPPED  /* holds another request */
};

static enum route
route_of(int key)
{
    switch (key) {
    case API_API_VERSIONS:
    case API_QUORUM_STATE:
        return ROUTE_NOW;
    case API_RAFT:
        return ROUTE_RAFT;
    case API_BROKER_HEARTBEAT:
        return ROUTE_LEADER;
    case API_TRANSFER_LEADER:
    case API_ADD_CONTROLLER:
    case API_REMOVE_CONTROLLER:
        return ROUTE_SEATS;
    case API_DESCRIBE_QUORUM:
    case API_REGISTER_BROKER:
    case API_ALTER_PARTITION:
    case API_REPORT_DAMAGED:
    case API_ALLOCATE_PRODUCER_IDS:
    case API_COMMITTED_VERSION:
    case API_CREATE_TOPIC:
    case API_DELETE_TOPIC:
    case API_ALTER_TOPIC:
    case API_CREATE_PARTITIONS:
    case API_ELECT_LEADERS:
    case API_DESCRIBE_TOPICS:
        return ROUTE_DECIDED;
    case API_ENVELOPE:
        return ROUTE_WRAPPED;
    default:
        return ROUTE_NONE;
    }
}

static dmq_err
answer_now(struct ctl *ctl, struct call *call, bool *ret_later)
{
    *ret_later = false;
    switch (call->api->key) {
    case API_API_VERSIONS:
        return ctl_on_api_versions(ctl, call);
    case API_QUORUM_STATE:
        return ctl_on_quorum_state(ctl, call);
    default:
        DMQ_ASSERT(call->api->key == API_BROKER_HEARTBEAT);
        return ctl->leading ? ctl_on_heartbeat(ctl, call, ret_later)
                            : quorum_not_leader(ctl, &call->err);
    }
}

dmq_err
ctl_call_decide(struct ctl *ctl, struct call *call)
{
    switch (call->api->key) {
    case API_REGISTER_BROKER:
        return ctl_on_register_broker(ctl, call);
    case API_BROKER_HEARTBEAT:
        return ctl_on_heartbeat_wish(ctl, call);
    case API_ALTER_PARTITION:
        return ctl_on_alter_partition(ctl, call);
    case API_REPORT_DAMAGED:
        return ctl_on_report_damaged(ctl, call);
    case API_ALLOCATE_PRODUCER_IDS:
        return ctl_on_allocate_producer_ids(ctl, call);
    case API_CREATE_TOPIC:
        return ctl_on_create_topic(ctl, call);
    case API_DELETE_TOPIC:
        return ctl_on_delete_topic(ctl, call);
    case API_ALTER_TOPIC:
        return ctl_on_alter_topic(ctl, call);
    case API_CREATE_PARTITIONS:
        return ctl_on_create_partitions(ctl, call);
    case API_ELECT_LEADERS:
        return ctl_on_elect_leaders(ctl, call);
    case API_DESCRIBE_QUORUM:
        return ctl_on_describe_quorum(ctl, call);
    case API_COMMITTED_VERSION:
        return ctl_on_committed_version(ctl, call);
    default:
        DMQ_ASSERT(call->api->key == API_DESCRIBE_TOPICS);
        return ctl_on_describe_topics(ctl, call);
    }
}

/* ---- decoding -------------------------------------------------------------------------------- */

static dmq_err
decode_header(struct call *call, size_t index, struct request_header *ret_header,
              struct err_msg *err)
{
    if (index + 1 >= call->frame_count) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "a request has a header frame and a body frame");
    }
    dmq_err code = msg_decode(desc_request_header(), 0, buf_bytes(call->frames[index]),
                              &call->arena, ret_header, err);
    if (code == DMQ_OK && ret_header->protocol != WIRE_PROTOCOL) {
        return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION,
                       "protocol %d is not supported: this controller speaks %d",
                       ret_header->protocol, WIRE_PROTOCOL);
    }
    return code;
}

/* The call that a header asks for, if the listener has it. */
static dmq_err
find_api(const struct request_header *header, enum api_listener listener,
         const struct api_desc **ret_api, struct err_msg *err)
{
    const struct api_desc *api = api_find(header->api_key);
    if (api == NULL || (api->listeners & listener) == 0 || route_of(api->key) == ROUTE_NONE) {
        return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION, "api key %d is not served %s",
                       header->api_key,
                       listener == LISTENER_CLIENT ? "by controllers" : "on this port");
    }
    if (header->api_version < api->min_version || header->api_version > api->max_version) {
        return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION,
                       "version %d of %s is not supported: this controller speaks %d to %d",
                       header->api_version, api->name, api->min_version, api->max_version);
    }
    *ret_api = api;
    return DMQ_OK;
}

static dmq_err
decode_body(struct call *call, const struct api_desc *api, size_t index, void **ret_body,
            struct err_msg *err)
{
    const struct struct_desc *desc = api->request();
    void *body = arena_alloc(&call->arena, desc->size);
    if (body == NULL) {
        return err_set(err, DMQ_ERR_NOMEM, "%s: too large", api->name);
    }
    *ret_body = body;
    return msg_decode(desc, call->header.api_version, buf_bytes(call->frames[index]), &call->arena,
                      body, err);
}

/* Relative, so that clocks of different machines need not agree. */
static int64_t
deadline_of(const struct ctl *ctl, const struct request_header *header)
{
    int64_t left = header->time_left_ms;
    if (left <= 0) {
        left = CALL_DEFAULT_TIMEOUT_MS;
    }
    return ctl->now_ms + (left < CALL_MAX_TIMEOUT_MS ? left : CALL_MAX_TIMEOUT_MS);
}

/* The client's request inside an envelope: from here on the call is that one. */
static dmq_err
unwrap(struct ctl *ctl, struct call *call, struct err_msg *err)
{
    const struct envelope_request *envelope = call->request;
    struct request_header inner;
    dmq_err code = decode_header(call, 2, &inner, err);
    if (code != DMQ_OK) {
        return code;
    }
    call->principal = envelope->principal;
    call->outer = call->header;
    call->header = inner;
    call->enveloped = true; /* what is wrong from here on is answered inside */
    int64_t inner_by_ms = deadline_of(ctl, &inner);
    call->answer_by_ms = inner_by_ms < call->answer_by_ms ? inner_by_ms : call->answer_by_ms;
    code = find_api(&inner, LISTENER_CLIENT, &call->api, err);
    bool forwarded = code == DMQ_OK && (route_of(call->api->key) == ROUTE_DECIDED ||
                                        route_of(call->api->key) == ROUTE_SEATS);
    if (code == DMQ_OK && !forwarded) {
        return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION, "%s is not forwarded to controllers",
                       call->api->name);
    }
    return code == DMQ_OK ? decode_body(call, call->api, 3, &call->request, err) : code;
}

static dmq_err
decode(struct ctl *ctl, struct call *call, enum api_listener listener, struct err_msg *err)
{
    dmq_err code = decode_header(call, 0, &call->header, err);
    if (code != DMQ_OK) {
        return code;
    }
    call->answer_by_ms = deadline_of(ctl, &call->header);
    code = find_api(&call->header, listener, &call->api, err);
    if (code == DMQ_OK) {
        code = decode_body(call, call->api, 1, &call->request, err);
    }
    if (code == DMQ_OK && route_of(call->api->key) == ROUTE_WRAPPED) {
        code = unwrap(ctl, call, err);
    }
    return code;
}

/* ---- the way of a call ----------------------------------------------------------------------- */

void
ctl_call_free(struct call *call)
{
    buf_unref(call->from);
    buf_unref(call->body);
    for (size_t i = 0; i < call->frame_count; i++) {
        buf_unref(call->frames[i]);
    }
    free(call->frames);
    arena_deinit(&call->arena);
    free(call);
}

static struct call *
new_call(const struct ctl_event *event)
{
    struct call *call = ctl_alloc(sizeof(*call));
    call->from = event->u.request.from;
    call->frame_count = event->u.request.count;
    call->frames = ctl_alloc((call->frame_count + 1) * sizeof(struct buf *));
    for (size_t i = 0; i < call->frame_count; i++) {
        call->frames[i] = event->u.request.frames[i];
        call->bytes += call->frames[i]->pinned;
    }
    arena_init(&call->arena, REQUEST_ARENA_BYTES);
    return call;
}

/* The line is bounded by count and by memory: what comes on top is told to come again. */
static void
put_in_line(struct ctl *ctl, struct call *call)
{
    /* Who is elected and not sure yet of what is committed soon will be. */
    bool may_lead = ctl->leading || (ctl->raft != NULL && ctl->raft->role == RAFT_LEADER);
    if (ctl->failed || !may_lead) {
        quorum_not_leader(ctl, &call->err);
        ctl_call_finish(ctl, call);
        return;
    }
    if (ctl->waiting_count == CTL_MAX_WAITING ||
        ctl->waiting_bytes + call->bytes > CTL_MAX_WAITING_BYTES) {
        err_set(&call->err, DMQ_ERR_THROTTLED,
                "controller %" PRId32 " has %zu requests waiting: try again later",
                ctl->config.controller_id, ctl->waiting_count);
        ctl_call_finish(ctl, call);
        return;
    }
    list_append(&ctl->waiting, &call->link);
    ctl->waiting_count++;
    ctl->waiting_bytes += call->bytes;
}

/* A message of Raft. What is wrong with it is counted: there is nobody to answer. */
static void
receive(struct ctl *ctl, struct call *call)
{
    struct err_msg err;
    const struct raft_request *request = call->request;
    struct raft_message message = {0};
    bool foreign = !uuid_equal(request->cluster_id, ctl->cluster_id);
    if (foreign || ctl->failed ||
        raft_wire_decode(request, &call->arena, &message, &err) != DMQ_OK) {
        ctl->stats.messages_refused++;
    } else if (ctl->raft != NULL) {
        struct raft_event event = {.kind = RAFT_RECEIVED};
        event.u.message = &message;
        quorum_step(ctl, &event);
    }
    raft_wire_release(&message);
    ctl_call_free(call);
}

static void
start(struct ctl *ctl, struct call *call)
{
    bool later = true;
    switch (route_of(call->api->key)) {
    case ROUTE_RAFT:
        receive(ctl, call);
        return;
    case ROUTE_SEATS:
        seats_call(ctl, call);
        return;
    case ROUTE_NOW:
    case ROUTE_LEADER:
        call->err.code = answer_now(ctl, call, &later);
        break;
    case ROUTE_DECIDED:
    case ROUTE_WRAPPED:
    case ROUTE_NONE:
        break;
    }
    if (call->err.code != DMQ_OK || !later) {
        ctl_call_finish(ctl, call);
    } else {
        put_in_line(ctl, call);
    }
}

void
ctl_call_start(struct ctl *ctl, const struct ctl_event *event)
{
    struct call *call = new_call(event);
    ctl->stats.requests++;
    call->err.code = decode(ctl, call, event->u.request.listener, &call->err);
    if (call->err.code == DMQ_OK) {
        start(ctl, call);
    } else if (call->header.api_key == API_RAFT) {
        ctl->stats.messages_refused++;
        ctl_call_free(call);
    } else {
        ctl_call_finish(ctl, call);
    }
}
