#include <inttypes.h>

#include "controller/core/call.h"

/* Logs that a broker found damaged while it ran; those that it finds at its start come with its
 * registration. Asked again it changes nothing more: the leader epoch is newer than what the broker
 * has told anybody in. */
dmq_err
ctl_on_report_damaged(struct ctl *ctl, struct call *call)
{
    const struct report_damaged_request *request = call->request;
    struct report_damaged_response response = {.changed = 0};
    const struct broker_record *broker = image_broker(ctl->image, request->broker_id);
    if (broker == NULL || broker->broker_epoch != request->broker_epoch) {
        return err_set(&call->err, DMQ_ERR_STALE_BROKER_EPOCH,
                       "epoch %" PRId64 " of broker %" PRId32 " is not that of its registration",
                       request->broker_epoch, request->broker_id);
    }
    for (uint32_t i = 0; i < request->logs_count; i++) {
        response.changed += change_damaged(ctl, request->broker_id, &request->logs[i]) ? 1 : 0;
    }
    if (response.changed > 0) {
        ctl_log(ctl, false, "logs_damaged broker=%" PRId32 " partitions=%" PRId32,
                request->broker_id, response.changed);
    }
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
