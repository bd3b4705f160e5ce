#include <stdio.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* Requests that the leading controller decides travel in an ENVELOPE, frames as they came, and the
 * answer's frames go back as they come: a broker adds who asked, and nothing else. */

void
on_forward(struct brk *brk, struct call *call)
{
    if (!brk->controller_up) {
        if (!call_stall(brk, call, false)) {
            call_fail(brk, call, DMQ_ERR_NOT_CONTROLLER,
                      "the controller cannot be reached at the moment");
        }
        return;
    }
    char peer[2 * 32 + 1] = "";
    for (size_t i = 0; i < call->peer->size && i < 32; i++) {
        snprintf(peer + 2 * i, 3, "%02x", call->peer->data[i]);
    }
    const struct envelope_request request = {.principal = bytes_str("anonymous"),
                                             .peer = bytes_str(peer)};
    struct buf **inner = arena_alloc(&call->arena, call->frame_count * sizeof(*inner));
    DMQ_ASSERT(inner != NULL);
    for (size_t i = 0; i < call->frame_count; i++) {
        inner[i] = buf_ref(call->frames[i]);
    }
    int64_t tag = controller_send(brk, API_ENVELOPE, &request, inner, call->frame_count);
    watch_id(brk, call, WATCH_PEER, 0, (uint64_t)tag);
    call_park(brk, call, call->answer_by_ms);
}

/* frames are borrowed; count 0: the connection ended before the answer. */
void
forward_on_reply(struct brk *brk, struct call *call, struct buf **frames, size_t count)
{
    struct envelope_response envelope;
    struct response_header inner;
    struct err_msg err = {0};
    if (count == 0) {
        call_fail(
            brk, call, DMQ_ERR_REQUEST_TIMED_OUT,
            "the connection to the controller ended before its answer: it may have been done");
        return;
    }
    dmq_err failed = controller_answer(frames, count, desc_envelope_response(), &envelope, &err);
    if (failed == DMQ_OK) {
        failed = count < 3 ? err_set(&err, DMQ_ERR_INVALID_REQUEST, "inner answer is missing")
                           : msg_decode(desc_response_header(), 0, buf_bytes(frames[2]),
                                        &call->arena, &inner, &err);
    }
    if (failed == DMQ_OK && inner.error == DMQ_OK && count < 4) {
        failed = err_set(&err, DMQ_ERR_INVALID_REQUEST, "body of the inner answer is missing");
    }
    if (failed != DMQ_OK) {
        call_fail(brk, call, failed, "controller: %s", err.text);
        return;
    }
    call_answer_raw(brk, call, &inner, inner.error == DMQ_OK ? buf_ref(frames[3]) : NULL);
}
