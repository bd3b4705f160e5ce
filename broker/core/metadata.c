#include "broker/core/address.h"
#include "broker/core/call.h"
#include "broker/core/partition.h"
#include "libdmq/meta/names.h"

/* METADATA: the image as this broker has it, with addresses that the asker can reach. */

/* ---- brokers --------------------------------------------------------------------------------- */

static struct metadata_broker *
describe_brokers(struct brk *brk, struct call *call, uint32_t *ret_count)
{
    const struct metadata_request *request = call->request;
    uint32_t count = image_broker_count(brk->image);
    struct metadata_broker *brokers = arena_alloc(&call->arena, count * sizeof(*brokers));
    DMQ_ASSERT(brokers != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct broker_record *broker = image_broker_at(brk->image, i);
        brokers[i] = (struct metadata_broker){
            .broker_id = broker->broker_id, .rack = broker->rack, .fenced = broker->fenced};
        const struct address at = address_for(brk->image, request->dialled_host, broker);
        brokers[i].host = at.host;
        brokers[i].port = at.port;
    }
    *ret_count = count;
    return brokers;
}

/* ---- topics ---------------------------------------------------------------------------------- */

static void
describe_topic(struct call *call, const struct image_topic *topic, struct metadata_topic *to)
{
    uint32_t count = topic->partition_count;
    struct metadata_partition *partitions = arena_alloc(&call->arena, count * sizeof(*partitions));
    DMQ_ASSERT(partitions != NULL);
    for (uint32_t n = 0; n < count; n++) {
        const struct partition_record *record = topic->partitions[n];
        partitions[n] = (struct metadata_partition){
            .error = record->leader < 0 ? DMQ_ERR_LEADER_NOT_AVAILABLE : DMQ_OK,
            .partition = record->partition,
            .leader = record->leader,
            .leader_epoch = record->leader_epoch,
            .replicas = record->replicas,
            .replicas_count = record->replicas_count,
            .isr = record->isr,
            .isr_count = record->isr_count,
        };
    }
    *to = (struct metadata_topic){.name = topic->record->name,
                                  .topic_id = topic->record->topic_id,
                                  .internal = topic_name_internal(topic->record->name),
                                  .max_message_bytes = (int32_t)topic->config.max_message_bytes,
                                  .partitions = partitions,
                                  .partitions_count = count};
}

static void
describe_name(struct brk *brk, struct call *call, struct bytes name, struct metadata_topic *to)
{
    struct err_msg err;
    const struct image_topic *topic = image_topic_by_name(brk->image, name);
    if (topic != NULL) {
        describe_topic(call, topic, to);
        return;
    }
    dmq_err bad = topic_name_check(name, &err);
    /* A name that is too long for an answer is not repeated in it. */
    *to =
        (struct metadata_topic){.name = name.size <= TOPIC_NAME_MAX ? name : bytes_str(""),
                                .error = bad != DMQ_OK ? bad : DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION};
}

static void
describe_id(struct brk *brk, struct call *call, struct uuid id, struct metadata_topic *to)
{
    const struct image_topic *topic = image_topic_by_id(brk->image, id);
    if (topic != NULL) {
        describe_topic(call, topic, to);
    } else {
        *to = (struct metadata_topic){.topic_id = id, .error = DMQ_ERR_UNKNOWN_TOPIC_ID};
    }
}

static struct metadata_topic *
describe_topics(struct brk *brk, struct call *call, uint32_t *ret_count)
{
    const struct metadata_request *request = call->request;
    uint32_t count = request->all_topics ? image_topic_count(brk->image)
                                         : request->names_count + request->topic_ids_count;
    struct metadata_topic *topics = arena_alloc(&call->arena, count * sizeof(*topics));
    DMQ_ASSERT(topics != NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (request->all_topics) {
            describe_topic(call, image_topic_at(brk->image, i), &topics[i]);
        } else if (i < request->names_count) {
            describe_name(brk, call, request->names[i], &topics[i]);
        } else {
            describe_id(brk, call, request->topic_ids[i - request->names_count], &topics[i]);
        }
    }
    *ret_count = count;
    return topics;
}

static uint32_t
partitions_of(const struct image_topic *topic)
{
    return topic == NULL ? 0 : topic->partition_count;
}

/* Whether the answer would describe more partitions than there are: topics are named twice, and a
 * short request would cost any amount of memory. */
static bool
names_twice(const struct image *image, const struct metadata_request *request)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < request->names_count; i++) {
        total += partitions_of(image_topic_by_name(image, request->names[i]));
    }
    for (uint32_t i = 0; i < request->topic_ids_count; i++) {
        total += partitions_of(image_topic_by_id(image, request->topic_ids[i]));
    }
    return !request->all_topics && total > image_partition_total(image);
}

/* A name that is malformed is no topic's, however new the image. */
static bool
names_unknown(const struct image *image, const struct metadata_request *request)
{
    struct err_msg err;
    bool unknown = false;
    for (uint32_t i = 0; i < request->names_count; i++) {
        unknown |= image_topic_by_name(image, request->names[i]) == NULL &&
                   topic_name_check(request->names[i], &err) == DMQ_OK;
    }
    for (uint32_t i = 0; i < request->topic_ids_count; i++) {
        unknown |= image_topic_by_id(image, request->topic_ids[i]) == NULL;
    }
    return !request->all_topics && unknown;
}

void
on_metadata(struct brk *brk, struct call *call)
{
    if (call_stall(brk, call, true) ||
        (names_unknown(brk->image, call->request) && call_confirm(brk, call))) {
        return;
    }
    if (names_twice(brk->image, call->request)) {
        call_fail(brk, call, DMQ_ERR_INVALID_REQUEST, "METADATA names a topic more than once");
        return;
    }
    struct metadata_response response = {.cluster_id = brk->config.cluster_id,
                                         .cluster_name = bytes_str(brk->config.cluster_name),
                                         .controller_id = brk->controller_id};
    response.brokers = describe_brokers(brk, call, &response.brokers_count);
    response.topics = describe_topics(brk, call, &response.topics_count);
    call_answer(brk, call, &response, NULL, 0);
}
