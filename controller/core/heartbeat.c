/* A heartbeat renews the lease when it arrives, and is answered at once from what is committed. One
 * that carries a wish (to be fenced, to stop) is answered when the entry that grants it is
 * committed, so that a broker that stops needs no second one. */
#include "controller/core/call.h"

static void
answer(struct call *call, bool fenced, bool may_shut_down, int64_t version)
{
    struct broker_heartbeat_response response = {
        .version = version, .fenced = fenced, .may_shut_down = may_shut_down};
    ctl_call_set_body(call, &response);
}

dmq_err
ctl_on_heartbeat(struct ctl *ctl, struct call *call, bool *ret_later)
{
    const struct broker_heartbeat_request *request = call->request;
    dmq_err code = session_take_status(ctl, &request->status, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    const struct session *session = session_find(ctl, request->status.broker_id);
    DMQ_ASSERT(session != NULL);
    *ret_later = request->status.want_shutdown || (request->status.want_fence && !session->fenced);
    if (!*ret_later) {
        answer(call, session->fenced, false, ctl->version);
        push_all(ctl); /* what it lacks */
    }
    return DMQ_OK;
}

/* Takes leaderships from a broker that stops, and fences it once nobody could take any more. */
static bool
hand_over(struct ctl *ctl, const struct broker_record *broker)
{
    int32_t broker_id = broker->broker_id;
    if (broker->fenced) {
        return true;
    }
    if (!broker->shutting_down) {
        struct broker_change_record record = {
            .broker_id = broker_id, .broker_epoch = broker->broker_epoch, .shutting_down = true};
        ctl_propose(ctl, RECORD_BROKER_CHANGE, &record);
    }
    if (!change_hand_over(ctl, broker_id)) {
        return false;
    }
    session_fence(ctl, broker_id, true);
    return true;
}

dmq_err
ctl_on_heartbeat_wish(struct ctl *ctl, struct call *call)
{
    const struct broker_status *status =
        &((const struct broker_heartbeat_request *)call->request)->status;
    const struct broker_record *broker = image_broker(ctl->image, status->broker_id);
    /* It may have been registered anew while this waited. */
    if (broker == NULL || broker->broker_epoch != status->broker_epoch) {
        return err_set(&call->err, DMQ_ERR_STALE_BROKER_EPOCH,
                       "broker %d was registered by another process: this one must end",
                       status->broker_id);
    }
    bool done = false;
    if (status->want_shutdown) {
        done = hand_over(ctl, broker);
    } else if (!broker->fenced) {
        session_fence(ctl, status->broker_id, broker->shutting_down);
    }
    bool changed = ctl->batch.count > 0;
    answer(call, image_broker(ctl->image, status->broker_id)->fenced, done,
           changed ? ctl->batch.version : ctl->version);
    return DMQ_OK;
}
