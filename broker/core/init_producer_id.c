#include "broker/core/call.h"
#include "broker/core/partition.h"

/* INIT_PRODUCER_ID: one id from the broker's block; the next block is asked for when it is used up.
 * No id is ever given twice: what is left of a block at a restart is lost. */

static void
hand_out(struct brk *brk, struct call *call)
{
    DMQ_ASSERT(brk->producer_ids_left > 0);
    brk->producer_ids_left--;
    const struct init_producer_id_response response = {.producer_id = brk->next_producer_id++,
                                                       .producer_epoch = 0};
    call_answer(brk, call, &response, NULL, 0);
}

static void
ask_for_block(struct brk *brk)
{
    const struct allocate_producer_ids_request request = {.broker_id = brk->config.broker_id,
                                                          .broker_epoch = brk->broker_epoch};
    brk->producer_ids_request = controller_send(brk, API_ALLOCATE_PRODUCER_IDS, &request, NULL, 0);
}

static void
fail_all(struct brk *brk, const char *why)
{
    struct list *link;
    while ((link = list_pop(&brk->producer_id_calls)) != NULL) {
        call_fail(brk, LIST_ENTRY(link, struct call, stalled_link), DMQ_ERR_NOT_CONTROLLER,
                  "no producer id: %s", why);
    }
}

void
on_init_producer_id(struct brk *brk, struct call *call)
{
    const struct init_producer_id_request *request = call->request;
    if (request->transactional_id.size > 0) {
        call_fail(brk, call, DMQ_ERR_INVALID_REQUEST, "transactions are not supported yet");
        return;
    }
    if (brk->producer_ids_left > 0) {
        hand_out(brk, call);
        return;
    }
    if (!brk->controller_up || !lifecycle_serves(brk)) {
        if (!call_stall(brk, call, false)) {
            call_fail(brk, call, DMQ_ERR_NOT_CONTROLLER,
                      "no producer id: the controller cannot be reached at the moment");
        }
        return;
    }
    call->stall_until_ms = 0;
    list_append(&brk->producer_id_calls, &call->stalled_link);
    call_park(brk, call, call->answer_by_ms);
    if (brk->producer_ids_request == 0) {
        ask_for_block(brk);
    }
}

bool
producer_ids_on_reply(struct brk *brk, int64_t tag, struct buf **frames, size_t count)
{
    if (tag == 0 || tag != brk->producer_ids_request) {
        return false;
    }
    struct allocate_producer_ids_response response;
    struct err_msg err;
    brk->producer_ids_request = 0;
    dmq_err failed =
        controller_answer(frames, count, desc_allocate_producer_ids_response(), &response, &err);
    if (failed == DMQ_OK && (response.count <= 0 || response.first_producer_id < 0 ||
                             response.first_producer_id > META_PRODUCER_ID_END - response.count)) {
        failed = err_set(&err, DMQ_ERR_INVALID_REQUEST, "the controller gave an impossible block");
    }
    if (failed != DMQ_OK) {
        fail_all(brk, err.text);
        return true;
    }
    brk->next_producer_id = response.first_producer_id;
    brk->producer_ids_left = response.count;
    while (brk->producer_ids_left > 0 && !list_empty(&brk->producer_id_calls)) {
        struct list *link = list_pop(&brk->producer_id_calls);
        hand_out(brk, LIST_ENTRY(link, struct call, stalled_link));
    }
    if (!list_empty(&brk->producer_id_calls)) {
        ask_for_block(brk);
    }
    return true;
}

void
producer_ids_on_controller_down(struct brk *brk)
{
    brk->producer_ids_request = 0; /* a block that was given is lost with the answer */
    fail_all(brk, "the connection to the controller ended");
}
