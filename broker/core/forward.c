#include <stdio.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* Requests that the leading controller decides travel in an ENVELOPE, frames as they came, and the
 * answer's frames go back as they come: a broker adds who asked, and nothing else.
 *
 * While no controller leads a request waits for one, until shortly before its asker gives up. One
 * that was refused because the controller does not lead was surely not done, and goes to the next
 * leader. One whose answer was lost may have been done: it is sent again only where doing it twice
 * is doing it once. That is so for what only reads, for a CREATE_TOPIC with a request id, and for
 * what changes a topic that it names by id (settings are set, partitions are as many as it says,
 * preferred leaders lead); so the id is put where the asker gave a name.
 *
 * The answer to a change is held back until this broker's image has it: whoever hears of it, in
 * whatever process, then finds it here. */

struct forward {
    struct buf *body;     /* sent instead of the asker's: with a topic id; NULL: the asker's */
    struct uuid topic_id; /* that is meant; zero: none, or by name */
    bool names_topic;
    bool id_is_ours; /* the asker gave a name */
    bool repeatable;
    bool reads;
    bool maybe_done; /* an answer was lost */
    int tries;
    struct response_header answer; /* held back, with the frames that it was decoded from; */
    struct buf *answer_frame;      /* NULL: there is none */
    struct buf *answer_body;
};

void
forward_free(struct call *call)
{
    if (call->forward != NULL) {
        buf_unref(call->forward->body);
        buf_unref(call->forward->answer_frame);
        buf_unref(call->forward->answer_body);
    }
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* id and name are fields of the request: the id is filled in, as far as the image knows it. */
static void
name_by_id(struct brk *brk, struct call *call, struct uuid *id, struct bytes name)
{
    struct forward *forward = call->forward;
    forward->names_topic = true;
    if (uuid_is_zero(*id)) {
        const struct image_topic *topic = image_topic_by_name(brk->image, name);
        if (topic == NULL) {
            return;
        }
        *id = topic->record->topic_id;
        forward->id_is_ours = true;
        forward->body =
            msg_encode_buf(call->api->request(), call->header.api_version, call->request);
        DMQ_ASSERT(forward->body != NULL);
    }
    forward->topic_id = *id;
    forward->repeatable = true;
}

/* What is lost is lost by one election: a second one would be of another leader, after the first
 * has failed too, and nobody asked for that. */
static void
prepare_election(struct brk *brk, struct call *call)
{
    struct elect_leaders_request *request = call->request;
    if (!request->all_topics) {
        name_by_id(brk, call, &request->topic_id, request->topic_name);
    }
    call->forward->repeatable = !request->unclean;
}

static void
prepare(struct brk *brk, struct call *call)
{
    call->forward = arena_alloc(&call->arena, sizeof(*call->forward));
    DMQ_ASSERT(call->forward != NULL);
    *call->forward = (struct forward){0};
    if (call->api->operation == OP_DESCRIBE) {
        call->forward->reads = true;
        call->forward->repeatable = true;
    } else if (call->api->key == API_CREATE_TOPIC) {
        const struct create_topic_request *request = call->request;
        call->forward->repeatable = !uuid_is_zero(request->request_id);
    } else if (call->api->key == API_DELETE_TOPIC) {
        struct delete_topic_request *request = call->request;
        name_by_id(brk, call, &request->topic_id, request->topic_name);
    } else if (call->api->key == API_ALTER_TOPIC) {
        struct alter_topic_request *request = call->request;
        name_by_id(brk, call, &request->topic_id, request->topic_name);
    } else if (call->api->key == API_CREATE_PARTITIONS) {
        struct create_partitions_request *request = call->request;
        name_by_id(brk, call, &request->topic_id, request->topic_name);
    } else if (call->api->key == API_ELECT_LEADERS) {
        prepare_election(brk, call);
    }
}

/* The name belonged to another topic than this broker knows: let the controller look it up. */
static void
name_by_name(struct forward *forward)
{
    buf_unref(forward->body);
    forward->body = NULL;
    forward->topic_id = (struct uuid){{0}};
    forward->id_is_ours = false;
    forward->repeatable = false;
}

static void
send_to_leader(struct brk *brk, struct call *call)
{
    struct forward *forward = call->forward;
    char peer[2 * 32 + 1] = "";
    for (size_t i = 0; i < call->peer->size && i < 32; i++) {
        snprintf(peer + 2 * i, 3, "%02x", call->peer->data[i]);
    }
    const struct envelope_request request = {.principal = bytes_str("anonymous"),
                                             .peer = bytes_str(peer)};
    struct buf **inner = arena_alloc(&call->arena, call->frame_count * sizeof(*inner));
    DMQ_ASSERT(inner != NULL);
    for (size_t i = 0; i < call->frame_count; i++) {
        inner[i] = buf_ref(i == 1 && forward->body != NULL ? forward->body : call->frames[i]);
    }
    int64_t left_ms = call_last_moment(call) - brk->now_ms;
    int64_t tag = controller_send(brk, API_ENVELOPE, &request, inner, call->frame_count,
                                  left_ms > 0 ? left_ms : 1);
    forward->tries++;
    watch_id(brk, call, WATCH_PEER, 0, (uint64_t)tag);
    call_park(brk, call, call_last_moment(call));
}

/* What waits may take half of the budget for requests, so that reads are served on. */
static void
wait_for_leader(struct brk *brk, struct call *call)
{
    char why[NO_LEADER_TEXT_SIZE];
    if (brk->stats.request_bytes > brk->config.max_request_bytes / 2) {
        call_fail(brk, call,
                  call->forward->maybe_done ? DMQ_ERR_REQUEST_TIMED_OUT : DMQ_ERR_NOT_CONTROLLER,
                  "%s; too many requests wait for one already%s", controllers_no_leader(brk, why),
                  call->forward->maybe_done ? "; it may have been done" : "");
        return;
    }
    list_append(&brk->forwards, &call->stalled_link);
    call_park(brk, call, call_last_moment(call));
}

void
on_forward(struct brk *brk, struct call *call)
{
    prepare(brk, call);
    bool by_name = call->forward->names_topic && uuid_is_zero(call->forward->topic_id);
    if (by_name && call_stall(brk, call, true)) {
        return; /* the asker has seen newer metadata: it may hold the name */
    }
    call->stall_until_ms = 0;
    if (brk->controller_up) {
        send_to_leader(brk, call);
    } else {
        wait_for_leader(brk, call);
    }
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void
on_lost_answer(struct brk *brk, struct call *call)
{
    call->forward->maybe_done = !call->forward->reads;
    if (call->forward->repeatable) {
        wait_for_leader(brk, call);
    } else {
        call_fail(
            brk, call, DMQ_ERR_REQUEST_TIMED_OUT,
            "the connection to the controller ended before its answer: it may have been done");
    }
}

static void
on_no_answer(struct brk *brk, struct call *call, dmq_err err)
{
    if (err == DMQ_ERR_UNREACHABLE) {
        wait_for_leader(brk, call); /* surely not sent; that the connection has ended follows */
    } else if (err == DMQ_OK || err_class(err) == DMQ_CLASS_MAYBE_DONE) {
        on_lost_answer(brk, call);
    } else {
        call_fail(brk, call, err, "the request could not be sent to the controller: %s",
                  err_text(err));
    }
}

/* The header of the asker's answer, from an envelope or its error. */
static dmq_err
open_envelope(struct call *call, const struct brk_reply *reply, struct response_header *ret_inner,
              struct err_msg *err)
{
    struct envelope_response envelope;
    int64_t version;
    dmq_err failed = controller_answer(reply, desc_envelope_response(), &envelope, &version, err);
    if (failed == DMQ_OK) {
        failed = reply->count < 3
                     ? err_set(err, DMQ_ERR_INVALID_REQUEST, "inner answer is missing")
                     : msg_decode(desc_response_header(), 0, buf_bytes(reply->frames[2]),
                                  &call->arena, ret_inner, err);
    }
    if (failed == DMQ_OK && ret_inner->error == DMQ_OK && reply->count < 4) {
        failed = err_set(err, DMQ_ERR_INVALID_REQUEST, "body of the inner answer is missing");
    }
    return failed;
}

/* "Unknown topic id": true if that is not what the asker is to hear. */
static bool
on_unknown_id(struct brk *brk, struct call *call)
{
    struct forward *forward = call->forward;
    if (uuid_is_zero(forward->topic_id)) {
        return false;
    }
    if (call->api->key == API_DELETE_TOPIC && forward->tries > 1) {
        const struct delete_topic_response response = {.topic_id = forward->topic_id};
        call_answer(brk, call, &response, NULL, 0); /* by a try whose answer was lost */
        return true;
    }
    if (forward->id_is_ours && forward->tries == 1) {
        name_by_name(forward);
        send_to_leader(brk, call);
        return true;
    }
    return false;
}

/* ---- answers that wait for the image --------------------------------------------------------- */

/* As long as stalled calls wait at most, and never beyond what the asker waits. */
static bool
hold_answer(struct brk *brk, struct call *call, const struct response_header *inner,
            const struct brk_reply *reply)
{
    int64_t last = brk->now_ms + CALL_MAX_STALL_MS;
    last = last < call_last_moment(call) ? last : call_last_moment(call);
    if (call->forward->reads || inner->error != DMQ_OK || last <= brk->now_ms ||
        inner->metadata_version <= image_version(brk->image)) {
        return false;
    }
    call->forward->answer = *inner;
    call->forward->answer_frame = buf_ref(reply->frames[2]);
    call->forward->answer_body = buf_ref(reply->frames[3]);
    list_append(&brk->answered, &call->stalled_link);
    call_park(brk, call, last);
    return true;
}

bool
forward_settle(struct brk *brk, struct call *call)
{
    struct buf *body = call->forward->answer_body;
    if (call->forward->answer_frame == NULL) {
        return false;
    }
    call->forward->answer_body = NULL; /* the reply's from here on */
    call_answer_raw(brk, call, &call->forward->answer, body);
    return true;
}

void
forwards_on_image(struct brk *brk)
{
    struct list held;
    struct list *link;
    list_take(&held, &brk->answered);
    while ((link = list_pop(&held)) != NULL) {
        struct call *call = LIST_ENTRY(link, struct call, stalled_link);
        if (call->forward->answer.metadata_version > image_version(brk->image)) {
            list_append(&brk->answered, link);
        } else {
            forward_settle(brk, call);
        }
    }
}

void
forward_on_reply(struct brk *brk, struct call *call, const struct brk_reply *reply)
{
    struct response_header inner = {0};
    struct err_msg err = {0};
    if (reply->count == 0) {
        on_no_answer(brk, call, reply->err);
        return;
    }
    dmq_err failed = open_envelope(call, reply, &inner, &err);
    if (failed == DMQ_ERR_NOT_CONTROLLER || inner.error == DMQ_ERR_NOT_CONTROLLER) {
        wait_for_leader(brk, call);
        controllers_refused(brk);
        return;
    }
    if (failed == DMQ_OK && inner.error == DMQ_ERR_NETWORK) {
        on_lost_answer(brk, call); /* it lost the leadership while the entry was on its way */
        controllers_refused(brk);
        return;
    }
    controllers_heard(brk, DMQ_OK);
    if (failed != DMQ_OK) {
        call_fail(brk, call, failed, "controller: %s", err.text);
    } else if ((inner.error != DMQ_ERR_UNKNOWN_TOPIC_ID || !on_unknown_id(brk, call)) &&
               !hold_answer(brk, call, &inner, reply)) {
        call_answer_raw(brk, call, &inner,
                        inner.error == DMQ_OK ? buf_ref(reply->frames[3]) : NULL);
    }
}

bool
forward_maybe_done(const struct call *call)
{
    return call->forward->maybe_done || (call->watch_count > 0 && !call->forward->reads);
}

/* Says whether it may have been done: by class, and in words. */
void
forward_on_deadline(struct brk *brk, struct call *call)
{
    char why[NO_LEADER_TEXT_SIZE];
    const struct forward *forward = call->forward;
    if (forward_settle(brk, call)) {
        return;
    }
    if (call->watch_count > 0) {
        call_fail(brk, call, DMQ_ERR_REQUEST_TIMED_OUT,
                  "controller %d has not answered within the time given%s", brk->controller_id,
                  forward->reads ? "" : ": it may have been done");
    } else if (forward->maybe_done) {
        call_fail(brk, call, DMQ_ERR_REQUEST_TIMED_OUT,
                  "%s, and one that led before has not answered: it may have been done",
                  controllers_no_leader(brk, why));
    } else {
        call_fail(brk, call, DMQ_ERR_NOT_CONTROLLER, "%s; %s", controllers_no_leader(brk, why),
                  forward->reads ? "try again later" : "nothing was done, try again later");
    }
}

/* ---- leaders come and go --------------------------------------------------------------------- */

void
forwards_on_controller_up(struct brk *brk)
{
    struct list waiting;
    struct list *link;
    list_take(&waiting, &brk->forwards);
    while ((link = list_pop(&waiting)) != NULL) {
        send_to_leader(brk, LIST_ENTRY(link, struct call, stalled_link));
    }
}

void
forwards_on_controller_down(struct brk *brk)
{
    while (brk->peer_watches != NULL) {
        on_lost_answer(brk, watch_take_peer(brk, brk->peer_watches->id));
    }
}
