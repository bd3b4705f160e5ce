/* Requests of the application that any broker can answer: topics are created, deleted and described
 * by the leading controller, to which the broker forwards. A call is sent again after an error that
 * says "surely not done" and after a lost answer, with the same body: a CREATE_TOPIC so carries the
 * request id that lets the controller give the first answer again. What must not be done twice ends
 * with a lost answer.
 *
 * What the caller hears at its deadline says what is true: "may have been done" once an attempt was
 * sent and not answered, otherwise why it could not be sent. */
#include "libdmq/client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"

#define LAST_TRY_MS 200 /* a try is not begun with less time left */

static struct client_call *
find_call(struct client *c, uint64_t id)
{
    struct client_call *call;
    DL_FOREACH (c->calls, call) {
        if (call->id == id) {
            return call;
        }
    }
    return NULL;
}

bool
client_call_is_once(int16_t api_key, const void *request)
{
    const struct elect_leaders_request *elect = request;
    switch (api_key) {
    case API_ELECT_LEADERS:
        return elect->unclean; /* the second would be of another leader, and lose what it lacks */
    case API_TRANSFER_LEADER:
    case API_ADD_CONTROLLER:
    case API_REMOVE_CONTROLLER:
        return true; /* the second would be of another quorum than its asker saw */
    default:
        return false;
    }
}

void
call_add(struct client *c, const struct client_event *event)
{
    DMQ_ASSERT(event->id != 0 && event->u.call.body != NULL);
    DMQ_ASSERT(find_call(c, event->id) == NULL && api_find(event->u.call.api_key) != NULL);
    struct client_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        c->broken = true;
        return;
    }
    *call = (struct client_call){.id = event->id,
                                 .api_key = event->u.call.api_key,
                                 .body = buf_ref(event->u.call.body),
                                 .deadline_ms = event->u.call.deadline_ms,
                                 .once = event->u.call.once,
                                 .backoff_ms = BACKOFF_FIRST_MS};
    DL_APPEND(c->calls, call);
}

static void
free_call(struct client *c, struct client_call *call)
{
    if (call->request != NULL) {
        DMQ_ASSERT(call->request->owner == call && call->request->kind == REQUEST_CALL);
        call->request->owner = NULL;
    }
    DL_DELETE(c->calls, call);
    buf_unref(call->body);
    free(call);
}

/* Ends a call; body may be NULL. */
static void
finish(struct client *c, struct client_call *call, const struct err_msg *result, struct buf *body)
{
    DMQ_ASSERT(body == NULL || result->code == DMQ_OK);
    struct client_effect *effect = emit(c, CLIENT_ANSWERED);
    effect->id = call->id;
    effect->result = *result;
    effect->u.body = body == NULL ? NULL : buf_ref(body);
    free_call(c, call);
}

/* Nobody waits any more; an answer that is on its way finds no owner. */
void
call_cancel(struct client *c, uint64_t id)
{
    struct client_call *call = find_call(c, id);
    if (call != NULL) {
        free_call(c, call);
    }
}

/* An answer that the application should have at once: sending again would not change it, or it says
 * something about what was asked. */
static bool
is_final(dmq_err err)
{
    int32_t cls = err_class(err);
    return err == DMQ_OK || err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION ||
           err == DMQ_ERR_UNKNOWN_TOPIC_ID || cls == DMQ_CLASS_FATAL || cls == DMQ_CLASS_ABORT;
}

void
call_answered(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct client_call *call = request->owner;
    struct err_msg result = {0};
    if (call == NULL) {
        return;
    }
    DMQ_ASSERT(call->request == request && call->api_key == request->api_key);
    call->request = NULL;
    /* A topic that is gone when the lost first answer is asked for again: it was deleted. */
    if (call->api_key == API_DELETE_TOPIC && call->maybe_done &&
        answer->err == DMQ_ERR_UNKNOWN_TOPIC_ID) {
        finish(c, call, &result, NULL);
        return;
    }
    if (answer->err != DMQ_OK) {
        err_set(&result, answer->err, "%s", answer->message);
    }
    if (is_final(answer->err)) {
        finish(c, call, &result, answer->body);
        return;
    }
    DMQ_ASSERT(answer->err != DMQ_OK);
    call->maybe_done |= err_class(answer->err) == DMQ_CLASS_MAYBE_DONE;
    if (call->maybe_done && call->once) {
        err_set(&result, answer->err, "%s was sent once and may have been done: %s",
                api_find(call->api_key)->name, answer->message);
        finish(c, call, &result, NULL);
        return;
    }
    if (!call->maybe_done && call->deadline_ms - c->now_ms < LAST_TRY_MS) {
        finish(c, call, &result, NULL); /* clearer than one more try without its answer */
        return;
    }
    call->last = result;
    call->retry_at_ms = back_off(c, &call->backoff_ms);
}

static void
expire(struct client *c, struct client_call *call)
{
    struct err_msg result;
    DMQ_ASSERT(c->now_ms >= call->deadline_ms);
    const char *name = api_find(call->api_key)->name;
    bool sent = call->maybe_done || call->request != NULL;
    if (sent) {
        err_set(&result, DMQ_ERR_TIMEOUT, "%s was not answered in time: it may have been done%s%s",
                name, call->last.code == DMQ_OK ? "" : ". Last: ", call->last.text);
    } else if (call->last.code != DMQ_OK) {
        result = call->last;
    } else if (!client_is_connected(c, &result)) {
        result.code = DMQ_ERR_UNREACHABLE;
    } else {
        err_set(&result, DMQ_ERR_TIMEOUT, "%s could not be sent in time: no broker is connected",
                name);
    }
    finish(c, call, &result, NULL);
}

static void
send_call(struct client *c, struct client_call *call, struct conn *conn)
{
    int64_t left_ms = call->deadline_ms - c->now_ms;
    DMQ_ASSERT(left_ms > 0 && call->request == NULL);
    struct request_spec spec = {.kind = REQUEST_CALL,
                                .api_key = call->api_key,
                                .encoded_body = call->body,
                                .timeout_ms = left_ms < CALL_TIMEOUT_MS ? left_ms : CALL_TIMEOUT_MS,
                                .owner = call};
    call->request = conn_send(c, conn, &spec);
    if (call->request != NULL) {
        /* The call ends by itself; only a longer silence ends the connection. */
        call->request->deadline_ms = c->now_ms + CALL_TIMEOUT_MS;
    }
}

void
calls_pump(struct client *c)
{
    struct client_call *call;
    struct client_call *next;
    DL_FOREACH_SAFE (c->calls, call, next) {
        if (c->now_ms >= call->deadline_ms) {
            expire(c, call);
            continue;
        }
        wake_at(c, call->deadline_ms);
        if (call->request != NULL) {
            continue;
        }
        if (c->now_ms < call->retry_at_ms) {
            wake_at(c, call->retry_at_ms);
            continue;
        }
        struct conn *conn = conn_any(c);
        if (conn != NULL) {
            send_call(c, call, conn);
        }
    }
}

void
calls_stop(struct client *c, dmq_err err)
{
    struct err_msg result;
    err_set(&result, err, "%s", err_text(err));
    while (c->calls != NULL) {
        finish(c, c->calls, &result, NULL);
    }
}
