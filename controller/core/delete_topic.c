#include "controller/core/call.h"

/* A copy of the request that created it may still come: it must not make the topic again, under
 * another id. Who gave no request id has asked for nothing of the kind. */
static void
spend(struct ctl *ctl, struct uuid request_id)
{
    const struct request_spent_record record = {.number = image_next_spent(ctl->image),
                                                .request_id = request_id};
    if (!uuid_is_zero(request_id)) {
        ctl_propose(ctl, RECORD_REQUEST_SPENT, &record);
    }
}

dmq_err
ctl_on_delete_topic(struct ctl *ctl, struct call *call)
{
    const struct delete_topic_request *request = call->request;
    const struct image_topic *topic;
    dmq_err code =
        find_own_topic(ctl->image, request->topic_id, request->topic_name, &topic, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    struct uuid request_id = topic->record->request_id;
    struct topic_removed_record record = {.topic_id = topic->record->topic_id};
    struct delete_topic_response response = {.topic_id = topic->record->topic_id};
    ctl_propose(ctl, RECORD_TOPIC_REMOVED, &record);
    spend(ctl, request_id);
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
