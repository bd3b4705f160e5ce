#include <inttypes.h>

#include "controller/core/call.h"
#include "libdmq/meta/names.h"

#define DEFAULT_PARTITIONS 1
#define DEFAULT_REPLICATION_FACTOR 3

/* What is to be created, defaults filled in. */
struct plan {
    const struct create_topic_request *request;
    struct topic_config config;
    uint32_t partition_count;
    uint32_t factor;
    struct uuid topic_id;
};

/* ---- checks ---------------------------------------------------------------------------------- */

static dmq_err
check_name(const struct create_topic_request *request, struct err_msg *err)
{
    dmq_err code = topic_name_check(request->topic_name, err);
    if (code == DMQ_OK && topic_name_internal(request->topic_name)) {
        return err_set(err, DMQ_ERR_INVALID_TOPIC,
                       "topic names that begin with __ are kept for the cluster: choose another");
    }
    return code;
}

static dmq_err
check_partitions(const struct ctl *ctl, struct plan *plan, struct err_msg *err)
{
    int32_t asked = plan->request->partition_count;
    if (asked != -1 && (asked < 1 || asked > META_MAX_PARTITIONS_PER_TOPIC)) {
        return err_set(err, DMQ_ERR_INVALID_PARTITIONS,
                       "%" PRId32 " partitions: give 1 to %d, or -1 for the default, %d", asked,
                       META_MAX_PARTITIONS_PER_TOPIC, DEFAULT_PARTITIONS);
    }
    plan->partition_count = asked == -1 ? DEFAULT_PARTITIONS : (uint32_t)asked;
    if (image_topic_count(ctl->image) >= META_MAX_TOPICS) {
        return err_set(err, DMQ_ERR_POLICY_VIOLATION,
                       "there are %d topics already: delete some first", META_MAX_TOPICS);
    }
    if (image_partition_total(ctl->image) + plan->partition_count > META_MAX_PARTITIONS) {
        return err_set(err, DMQ_ERR_POLICY_VIOLATION,
                       "the cluster has %" PRIu32 " partitions, %d is the most: ask for fewer",
                       image_partition_total(ctl->image), META_MAX_PARTITIONS);
    }
    return DMQ_OK;
}

/* Only live brokers count: a replica on one that is gone would start out of sync. */
static dmq_err
check_factor(const struct ctl *ctl, struct plan *plan, struct err_msg *err)
{
    int32_t asked = plan->request->replication_factor;
    uint32_t live = placement_live(ctl->image);
    if (asked != -1 && (asked < 1 || asked > META_MAX_REPLICAS)) {
        return err_set(err, DMQ_ERR_INVALID_REPLICATION_FACTOR,
                       "replication factor %" PRId32 ": give 1 to %d, or -1 for the default", asked,
                       META_MAX_REPLICAS);
    }
    if (live == 0) {
        return err_set(err, DMQ_ERR_LEADER_NOT_AVAILABLE,
                       "no broker is live at the moment: try again when one is");
    }
    if (asked == -1) {
        plan->factor = live < DEFAULT_REPLICATION_FACTOR ? live : DEFAULT_REPLICATION_FACTOR;
    } else if ((uint32_t)asked > live) {
        return err_set(err, DMQ_ERR_INVALID_REPLICATION_FACTOR,
                       "replication factor %" PRId32
                       " needs as many live brokers, there %s %" PRIu32
                       ": ask for fewer replicas, or start more brokers",
                       asked, live == 1 ? "is" : "are", live);
    } else {
        plan->factor = (uint32_t)asked;
    }
    return DMQ_OK;
}

dmq_err
check_min_isr(const struct topic_config *config, uint32_t factor, struct err_msg *err)
{
    if (config->min_insync_replicas > (int64_t)factor) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "min.insync.replicas %" PRId64 " is above the replication factor %" PRIu32
                       ": nothing could be written with acks=all",
                       config->min_insync_replicas, factor);
    }
    return DMQ_OK;
}

static dmq_err
check_config(struct plan *plan, struct err_msg *err)
{
    const struct create_topic_request *request = plan->request;
    dmq_err code = topic_config_check_all(request->config, request->config_count, err);
    if (code != DMQ_OK) {
        return code;
    }
    plan->config = topic_config_of(request->config, request->config_count);
    return check_min_isr(&plan->config, plan->factor, err);
}

static dmq_err
check(const struct ctl *ctl, struct plan *plan, struct err_msg *err)
{
    dmq_err code = check_partitions(ctl, plan, err);
    if (code == DMQ_OK) {
        code = check_factor(ctl, plan, err);
    }
    return code == DMQ_OK ? check_config(plan, err) : code;
}

/* ---- records --------------------------------------------------------------------------------- */

/* The controller draws the id, and none is ever used twice: a topic that is deleted and made again
 * is another one to every log, fetch and offset (trap 25). */
static void
propose(struct ctl *ctl, struct plan *plan)
{
    do {
        plan->topic_id = rng_uuid(&ctl->rng);
    } while (image_topic_by_id(ctl->image, plan->topic_id) != NULL);
    struct topic_record record = {.name = plan->request->topic_name,
                                  .topic_id = plan->topic_id,
                                  .request_id = plan->request->request_id,
                                  .config = plan->request->config,
                                  .config_count = plan->request->config_count};
    ctl_propose(ctl, RECORD_TOPIC, &record);
    propose_partitions(ctl, plan->topic_id, plan->partition_count, plan->factor);
}

dmq_err
ctl_on_create_topic(struct ctl *ctl, struct call *call)
{
    struct plan plan = {.request = call->request};
    const struct create_topic_request *request = plan.request;
    dmq_err code = check_name(request, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    const struct image_topic *known = image_topic_by_name(ctl->image, request->topic_name);
    if (known != NULL) {
        bool again = !uuid_is_zero(request->request_id) &&
                     uuid_equal(known->record->request_id, request->request_id);
        if (!again) {
            return err_set(&call->err, DMQ_ERR_TOPIC_EXISTS, "topic '%.*s' exists already",
                           (int)request->topic_name.size, (const char *)request->topic_name.data);
        }
        ctl_call_set_topic(call, known); /* the first answer was lost on its way */
        return DMQ_OK;
    }
    if (image_request_spent(ctl->image, request->request_id)) {
        return err_set(&call->err, DMQ_ERR_TOPIC_EXISTS,
                       "topic '%.*s' was created by this very request and deleted since: give "
                       "another request id to create it again",
                       (int)request->topic_name.size, (const char *)request->topic_name.data);
    }
    code = check(ctl, &plan, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    propose(ctl, &plan);
    ctl_call_set_topic(call, image_topic_by_id(ctl->image, plan.topic_id));
    return DMQ_OK;
}
