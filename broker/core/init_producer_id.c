#include "broker/core/call.h"
#include "broker/core/partition.h"

/* INIT_PRODUCER_ID: one id from the broker's block. The first block is asked for when the broker
 * begins to serve, the next when one is used up, so that producers can start while no controller
 * leads. No id is ever given twice: what is left of a block at a restart is lost. */

void
producer_ids_prepare(struct brk *brk)
{
    if (!brk->controller_up || !lifecycle_serves(brk) || brk->producer_ids_left > 0 ||
        brk->producer_ids_request != 0) {
        return;
    }
    const struct allocate_producer_ids_request request = {.broker_id = brk->config.broker_id,
                                                          .broker_epoch = brk->broker_epoch};
    brk->producer_ids_request =
        controller_send(brk, API_ALLOCATE_PRODUCER_IDS, &request, NULL, 0, CALL_DEFAULT_TIMEOUT_MS);
}

static void
hand_out(struct brk *brk, struct call *call)
{
    DMQ_ASSERT(brk->producer_ids_left > 0);
    brk->producer_ids_left--;
    const struct init_producer_id_response response = {.producer_id = brk->next_producer_id++,
                                                       .producer_epoch = 0};
    call_answer(brk, call, &response, NULL, 0);
    producer_ids_prepare(brk);
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
    if (!lifecycle_serves(brk)) {
        if (!call_stall(brk, call, false)) {
            call_fail(brk, call, DMQ_ERR_NOT_CONTROLLER, "no producer id: broker %d is fenced",
                      brk->config.broker_id);
        }
        return;
    }
    call->stall_until_ms = 0;
    list_append(&brk->producer_id_calls, &call->stalled_link);
    call_park(brk, call, call_last_moment(call));
    producer_ids_prepare(brk);
}

void
producer_ids_on_deadline(struct brk *brk, struct call *call)
{
    char why[NO_LEADER_TEXT_SIZE];
    call_fail(brk, call, DMQ_ERR_NOT_CONTROLLER, "no producer id: %s",
              brk->controller_up ? "the controller has not answered within the time given"
                                 : controllers_no_leader(brk, why));
}

bool
producer_ids_on_reply(struct brk *brk, const struct brk_reply *reply)
{
    if (reply->tag == 0 || reply->tag != brk->producer_ids_request) {
        return false;
    }
    struct allocate_producer_ids_response response;
    int64_t version;
    struct err_msg err;
    brk->producer_ids_request = 0;
    dmq_err failed =
        controller_answer(reply, desc_allocate_producer_ids_response(), &response, &version, &err);
    if (failed == DMQ_ERR_UNREACHABLE) {
        return true; /* not sent: the end of the connection follows, and another leader */
    }
    if (reply->count > 0) {
        controllers_heard(brk, failed);
    }
    if (controllers_is_loss(failed)) {
        return true; /* a block that was given all the same is lost: there are enough */
    }
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
    return true;
}

/* A block that was given is lost with the answer; the next leader gives another. */
void
producer_ids_on_controller_down(struct brk *brk)
{
    brk->producer_ids_request = 0;
}
