#include "controller/core/call.h"

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
    struct topic_removed_record record = {.topic_id = topic->record->topic_id};
    struct delete_topic_response response = {.topic_id = topic->record->topic_id};
    ctl_propose(ctl, RECORD_TOPIC_REMOVED, &record);
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
