#include "controller/core/call.h"
#include "libdmq/meta/names.h"

/* By id where one is given: a name may belong to another topic by now (traps 24 and 25). */
static dmq_err
find(const struct ctl *ctl, const struct delete_topic_request *request,
     const struct image_topic **ret_topic, struct err_msg *err)
{
    char id[UUID_TEXT_SIZE];
    if (!uuid_is_zero(request->topic_id)) {
        *ret_topic = image_topic_by_id(ctl->image, request->topic_id);
        if (*ret_topic == NULL) {
            return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_ID, "there is no topic with the id %s",
                           uuid_text(request->topic_id, id));
        }
        return DMQ_OK;
    }
    dmq_err code = topic_name_check(request->topic_name, err);
    if (code != DMQ_OK) {
        return code;
    }
    *ret_topic = image_topic_by_name(ctl->image, request->topic_name);
    return *ret_topic == NULL ? unknown_topic(ctl->image, request->topic_name, err) : DMQ_OK;
}

dmq_err
ctl_on_delete_topic(struct ctl *ctl, struct call *call)
{
    const struct image_topic *topic;
    dmq_err code = find(ctl, call->request, &topic, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    if (topic_name_internal(topic->record->name)) {
        return err_set(&call->err, DMQ_ERR_INVALID_TOPIC,
                       "topic '%.*s' is kept by the cluster for itself: it cannot be deleted",
                       (int)topic->record->name.size, (const char *)topic->record->name.data);
    }
    struct topic_removed_record record = {.topic_id = topic->record->topic_id};
    struct delete_topic_response response = {.topic_id = topic->record->topic_id};
    ctl_propose(ctl, RECORD_TOPIC_REMOVED, &record);
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
