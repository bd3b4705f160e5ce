/* A topic gets more partitions. The request names how many there are to be, so that a retry adds
 * none. Records that have a key and came before stay where they are: from now on their key may lead
 * elsewhere. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/call.h"

static dmq_err
check(const struct ctl *ctl, const struct image_topic *topic, int32_t asked, struct err_msg *err)
{
    uint32_t have = topic->partition_count;
    uint32_t factor = topic->partitions[0]->replicas_count;
    uint32_t live = placement_live(ctl->image);
    if (asked < 1 || asked > META_MAX_PARTITIONS_PER_TOPIC) {
        return err_set(err, DMQ_ERR_INVALID_PARTITIONS,
                       "%" PRId32 " partitions: give %" PRIu32 " to %d", asked, have,
                       META_MAX_PARTITIONS_PER_TOPIC);
    }
    if ((uint32_t)asked < have) {
        return err_set(err, DMQ_ERR_INVALID_PARTITIONS,
                       "the topic has %" PRIu32 " partitions: they cannot become fewer (%" PRId32
                       " were asked for), for their records would be lost",
                       have, asked);
    }
    if (image_partition_total(ctl->image) + (uint32_t)asked - have > META_MAX_PARTITIONS) {
        return err_set(err, DMQ_ERR_POLICY_VIOLATION,
                       "the cluster has %" PRIu32 " partitions, %d is the most: ask for fewer",
                       image_partition_total(ctl->image), META_MAX_PARTITIONS);
    }
    if ((uint32_t)asked > have && factor > live) {
        return err_set(err, DMQ_ERR_INVALID_REPLICATION_FACTOR,
                       "a partition of this topic lies on %" PRIu32 " brokers, %" PRIu32
                       " %s live: start more, then try again",
                       factor, live, live == 1 ? "is" : "are");
    }
    return DMQ_OK;
}

void
propose_partitions(struct ctl *ctl, struct uuid topic_id, uint32_t partition_count, uint32_t factor)
{
    const struct image_topic *topic = image_topic_by_id(ctl->image, topic_id);
    const struct topic_config config = topic->config;
    uint32_t first = topic->partition_count;
    DMQ_ASSERT(partition_count > first);
    int32_t *replicas = ctl_alloc((size_t)(partition_count - first) * factor * sizeof(int32_t));
    placement_place(ctl->image, partition_count - first, factor, replicas);
    for (uint32_t i = first; i < partition_count; i++) {
        int32_t *mine = &replicas[(size_t)(i - first) * factor];
        struct partition_record record = {
            .topic_id = topic_id,
            .partition = (int32_t)i,
            .replicas = mine,
            .replicas_count = factor,
            .isr = mine, /* all of them are empty, so all are in sync */
            .isr_count = factor,
            .leader = mine[0],
            .durability = (int8_t)config.durability,
            .min_isr = topic_config_min_isr(&config, factor),
        };
        ctl_propose(ctl, RECORD_PARTITION, &record);
    }
    free(replicas);
}

dmq_err
ctl_on_create_partitions(struct ctl *ctl, struct call *call)
{
    const struct create_partitions_request *request = call->request;
    const struct image_topic *topic;
    dmq_err code =
        find_own_topic(ctl->image, request->topic_id, request->topic_name, &topic, &call->err);
    if (code == DMQ_OK) {
        code = check(ctl, topic, request->partition_count, &call->err);
    }
    if (code != DMQ_OK) {
        return code;
    }
    struct uuid topic_id = topic->record->topic_id;
    if ((uint32_t)request->partition_count > topic->partition_count) {
        propose_partitions(ctl, topic_id, (uint32_t)request->partition_count,
                           topic->partitions[0]->replicas_count);
    }
    ctl_call_set_topic(call, image_topic_by_id(ctl->image, topic_id));
    return DMQ_OK;
}
