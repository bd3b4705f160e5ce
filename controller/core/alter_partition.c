/* A leader's wish for another ISR, by compare-and-set (KIP-497, 841, 903): what it rests on must be
 * what is committed, partition epoch and each member's registration, or nothing happens. The order
 * of the checks tells the leader what to think of its wish:
 *
 *   INVALID_UPDATE_VERSION, FENCED_LEADER_EPOCH   the partition is another: the image will tell
 *   any other error                               it is the same still, and this will never happen
 */
#include <inttypes.h>

#include "controller/core/call.h"

static dmq_err
check_leader(const struct ctl *ctl, const struct alter_partition_request *request,
             struct err_msg *err)
{
    const struct broker_record *leader = image_broker(ctl->image, request->broker_id);
    const struct partition_record *p =
        image_partition(ctl->image, request->topic_id, request->partition);
    if (p == NULL) {
        return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_ID, "there is no such partition: it was deleted");
    }
    if (p->leader != request->broker_id || p->leader_epoch != request->leader_epoch) {
        return err_set(err, DMQ_ERR_FENCED_LEADER_EPOCH,
                       "broker %" PRId32 " leads in epoch %" PRId32 ", not broker %" PRId32
                       " in epoch %" PRId32,
                       p->leader, p->leader_epoch, request->broker_id, request->leader_epoch);
    }
    if (p->partition_epoch != request->partition_epoch) {
        return err_set(err, DMQ_ERR_INVALID_UPDATE_VERSION,
                       "the partition has epoch %" PRId32 ", not %" PRId32, p->partition_epoch,
                       request->partition_epoch);
    }
    if (leader == NULL || leader->broker_epoch != request->broker_epoch) {
        return err_set(err, DMQ_ERR_STALE_BROKER_EPOCH,
                       "epoch %" PRId64 " of broker %" PRId32 " is not that of its registration",
                       request->broker_epoch, request->broker_id);
    }
    return DMQ_OK;
}

static bool
is_replica(const struct partition_record *p, int32_t broker_id)
{
    for (uint32_t i = 0; i < p->replicas_count; i++) {
        if (p->replicas[i] == broker_id) {
            return true;
        }
    }
    return false;
}

/* A leader that is shutting down stays until another can lead; nobody else may who is not live. */
static dmq_err
check_member(const struct ctl *ctl, const struct partition_record *p,
             const struct isr_member *member, struct err_msg *err)
{
    const struct broker_record *broker = image_broker(ctl->image, member->broker_id);
    if (!is_replica(p, member->broker_id) || broker == NULL) {
        return err_set(err, DMQ_ERR_INELIGIBLE_REPLICA, "broker %" PRId32 " holds no replica",
                       member->broker_id);
    }
    if (broker->broker_epoch != member->broker_epoch) {
        return err_set(err, DMQ_ERR_INELIGIBLE_REPLICA,
                       "broker %" PRId32 " has epoch %" PRId64 ", not %" PRId64, member->broker_id,
                       broker->broker_epoch, member->broker_epoch);
    }
    if (member->broker_id != p->leader && !broker_is_live(ctl->image, member->broker_id)) {
        return err_set(err, DMQ_ERR_INELIGIBLE_REPLICA,
                       "broker %" PRId32 " is fenced or shuts down", member->broker_id);
    }
    return DMQ_OK;
}

/* Fills isr from the request. */
static dmq_err
check_members(const struct ctl *ctl, const struct alter_partition_request *request, int32_t *isr,
              struct err_msg *err)
{
    const struct partition_record *p =
        image_partition(ctl->image, request->topic_id, request->partition);
    bool leader = false;
    for (uint32_t i = 0; i < request->isr_count; i++) {
        dmq_err code = check_member(ctl, p, &request->isr[i], err);
        if (code != DMQ_OK) {
            return code;
        }
        isr[i] = request->isr[i].broker_id;
        leader = leader || isr[i] == p->leader;
        for (uint32_t k = 0; k < i; k++) {
            if (isr[k] == isr[i]) {
                return err_set(err, DMQ_ERR_INVALID_REQUEST, "broker %" PRId32 " stands twice",
                               isr[i]);
            }
        }
    }
    if (!leader) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "the leader is not in the ISR that it wants");
    }
    if (request->durability != p->durability && request->durability != DURABILITY_SYNC) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "a leader only makes a partition sync");
    }
    return DMQ_OK;
}

dmq_err
ctl_on_alter_partition(struct ctl *ctl, struct call *call)
{
    const struct alter_partition_request *request = call->request;
    const struct alter_partition_response response = {.partition_epoch =
                                                          request->partition_epoch + 1};
    int32_t isr[META_MAX_REPLICAS];
    dmq_err err = check_leader(ctl, request, &call->err);
    if (err == DMQ_OK) {
        err = check_members(ctl, request, isr, &call->err);
    }
    if (err != DMQ_OK) {
        return err;
    }
    change_isr(ctl, image_partition(ctl->image, request->topic_id, request->partition), isr,
               request->isr_count, request->durability);
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
