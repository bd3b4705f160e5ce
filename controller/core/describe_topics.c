#include <stdio.h>

#include "controller/core/call.h"
#include "libdmq/base/nearest.h"
#include "libdmq/meta/names.h"

/* Names are compared with each other only where that is quick. */
#define MAX_COMPARED 2000

/* A topic as clients see it, lists from the arena. */
static void
describe_topic(const struct image_topic *topic, struct arena *arena,
               struct topic_description *ret_description)
{
    struct topic_partition *partitions =
        arena_alloc(arena, topic->partition_count * sizeof(*partitions));
    DMQ_ASSERT(partitions != NULL && topic->partition_count > 0);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_record *p = topic->partitions[i];
        partitions[i] = (struct topic_partition){.partition = p->partition,
                                                 .leader = p->leader,
                                                 .replicas = p->replicas,
                                                 .replicas_count = p->replicas_count,
                                                 .isr = p->isr,
                                                 .isr_count = p->isr_count,
                                                 .leader_epoch = p->leader_epoch};
    }
    *ret_description = (struct topic_description){
        .topic_name = topic->record->name,
        .topic_id = topic->record->topic_id,
        .partition_count = (int32_t)topic->partition_count,
        .replication_factor = (int16_t)topic->partitions[0]->replicas_count,
        .config = topic->record->config,
        .config_count = topic->record->config_count,
        .partitions = partitions,
        .partitions_count = topic->partition_count,
    };
}

/* A topic whose name is near; NULL if there is none. */
static const struct image_topic *
nearest_topic(const struct image *image, struct bytes name)
{
    const struct image_topic *best = NULL;
    size_t least = name.size / 3 + 1;
    uint32_t count = image_topic_count(image);
    for (uint32_t i = 0; i < count && count <= MAX_COMPARED; i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        size_t distance = nearest_distance(name, topic->record->name);
        if (distance < least) {
            least = distance;
            best = topic;
        }
    }
    return best;
}

/* UNKNOWN_TOPIC_OR_PARTITION, and the topic that was probably meant. */
static dmq_err
unknown_topic(const struct image *image, struct bytes name, struct err_msg *err)
{
    const struct image_topic *near = nearest_topic(image, name);
    char hint[128] = "";
    if (near != NULL) {
        snprintf(hint, sizeof(hint), ": did you mean '%.*s'?", (int)near->record->name.size,
                 (const char *)near->record->name.data);
    }
    return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, "there is no topic '%.*s'%s",
                   name.size > 100 ? 100 : (int)name.size, (const char *)name.data, hint);
}

dmq_err
find_topic(const struct image *image, struct uuid topic_id, struct bytes name,
           const struct image_topic **ret_topic, struct err_msg *err)
{
    char id[UUID_TEXT_SIZE];
    bool by_id = !uuid_is_zero(topic_id);
    dmq_err code = by_id ? DMQ_OK : topic_name_check(name, err);
    if (code != DMQ_OK) {
        return code;
    }
    const struct image_topic *topic =
        by_id ? image_topic_by_id(image, topic_id) : image_topic_by_name(image, name);
    if (topic == NULL && by_id) {
        return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_ID, "there is no topic with the id %s",
                       uuid_text(topic_id, id));
    }
    if (topic == NULL) {
        return unknown_topic(image, name, err);
    }
    *ret_topic = topic;
    return DMQ_OK;
}

dmq_err
find_own_topic(const struct image *image, struct uuid topic_id, struct bytes name,
               const struct image_topic **ret_topic, struct err_msg *err)
{
    const struct image_topic *topic;
    dmq_err code = find_topic(image, topic_id, name, &topic, err);
    if (code != DMQ_OK) {
        return code;
    }
    if (topic_name_internal(topic->record->name)) {
        return err_set(err, DMQ_ERR_INVALID_TOPIC,
                       "topic '%.*s' is kept by the cluster for itself: it cannot be changed",
                       (int)topic->record->name.size, (const char *)topic->record->name.data);
    }
    *ret_topic = topic;
    return DMQ_OK;
}

void
ctl_call_set_topic(struct call *call, const struct image_topic *topic)
{
    struct arena arena;
    struct topic_description description;
    arena_init(&arena, SIZE_MAX);
    describe_topic(topic, &arena, &description);
    ctl_call_set_body(call, &description);
    arena_deinit(&arena);
}

dmq_err
ctl_on_describe_topics(struct ctl *ctl, struct call *call)
{
    const struct describe_topics_request *request = call->request;
    bool all = request->topic_names_count == 0;
    uint32_t count = all ? image_topic_count(ctl->image) : request->topic_names_count;
    struct arena arena;
    arena_init(&arena, SIZE_MAX);
    struct topic_description *topics = arena_alloc(&arena, count * sizeof(*topics));
    struct describe_topics_response response = {.topics = topics, .topics_count = count};
    dmq_err code = DMQ_OK;
    DMQ_ASSERT(topics != NULL);
    for (uint32_t i = 0; i < count && code == DMQ_OK; i++) {
        const struct image_topic *topic =
            all ? image_topic_at(ctl->image, i)
                : image_topic_by_name(ctl->image, request->topic_names[i]);
        if (topic == NULL) {
            code = unknown_topic(ctl->image, request->topic_names[i], &call->err);
        } else {
            describe_topic(topic, &arena, &topics[i]);
        }
    }
    if (code == DMQ_OK) {
        ctl_call_set_body(call, &response);
    }
    arena_deinit(&arena);
    return code;
}
