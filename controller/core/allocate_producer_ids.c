#include <inttypes.h>

#include "controller/core/call.h"

/* An id is never given twice: the block is the broker's for good, even if its answer is lost. */
dmq_err
ctl_on_allocate_producer_ids(struct ctl *ctl, struct call *call)
{
    const struct allocate_producer_ids_request *request = call->request;
    const struct broker_record *broker = image_broker(ctl->image, request->broker_id);
    if (broker == NULL) {
        return err_set(&call->err, DMQ_ERR_BROKER_ID_NOT_REGISTERED,
                       "broker %" PRId32 " is not registered: register first", request->broker_id);
    }
    if (broker->broker_epoch != request->broker_epoch) {
        return err_set(&call->err, DMQ_ERR_STALE_BROKER_EPOCH,
                       "broker %" PRId32 " has epoch %" PRId64 ", not %" PRId64, request->broker_id,
                       broker->broker_epoch, request->broker_epoch);
    }
    int64_t first = image_next_producer_id(ctl->image);
    if (first > META_PRODUCER_ID_END - CTL_PRODUCER_ID_BLOCK) {
        return err_set(&call->err, DMQ_ERR_POLICY_VIOLATION, "there are no producer ids left");
    }
    struct producer_ids_record record = {.broker_id = request->broker_id,
                                         .broker_epoch = request->broker_epoch,
                                         .next_producer_id = first + CTL_PRODUCER_ID_BLOCK};
    struct allocate_producer_ids_response response = {.first_producer_id = first,
                                                      .count = CTL_PRODUCER_ID_BLOCK};
    ctl_propose(ctl, RECORD_PRODUCER_IDS, &record);
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
