/* Records, one function each: check against the image, then change it. On a controller a record
 * that does not fit is our own bug, which the caller asserts; to a broker it came from outside. */
#include <inttypes.h>

#include "libdmq/meta/image_internal.h"
#include "libdmq/meta/names.h"
#include "libdmq/wire/clone.h"

#define REFUSE(err, ...) err_set(err, DMQ_ERR_INVALID_REQUEST, __VA_ARGS__)

static void *
copy_of(int type, const void *body)
{
    void *copy = msg_clone(record_find(type)->body(), body);
    DMQ_ASSERT(copy != NULL);
    return copy;
}

/* ---- cluster and producer ids ---------------------------------------------------------------- */

static dmq_err
on_cluster(struct image *image, const struct cluster_record *body, struct err_msg *err)
{
    if (uuid_is_zero(body->cluster_id)) {
        return REFUSE(err, "cluster record: the cluster id is zero");
    }
    if (!uuid_is_zero(image->cluster_id)) {
        return REFUSE(err, "cluster record: the cluster was formed already");
    }
    image_note_undo(image, (struct undo){.kind = UNDO_CLUSTER, .cluster_id = image->cluster_id});
    image_set_cluster(image, body->cluster_id);
    return DMQ_OK;
}

static dmq_err
on_producer_ids(struct image *image, const struct producer_ids_record *body, struct err_msg *err)
{
    const struct broker_record *broker = image_broker(image, body->broker_id);
    if (body->broker_id != -1 && (broker == NULL || broker->broker_epoch != body->broker_epoch)) {
        return REFUSE(
            err, "producer_ids record: broker %" PRId32 " with epoch %" PRId64 " is not registered",
            body->broker_id, body->broker_epoch);
    }
    if (body->next_producer_id < image->next_producer_id ||
        body->next_producer_id > META_PRODUCER_ID_END) {
        return REFUSE(
            err, "producer_ids record: the next id %" PRId64 " is not from %" PRId64 " to 2^62",
            body->next_producer_id, image->next_producer_id);
    }
    image_note_undo(image, (struct undo){.kind = UNDO_PRODUCER_IDS,
                                         .next_producer_id = image->next_producer_id});
    image_set_producer_ids(image, body->next_producer_id);
    return DMQ_OK;
}

/* While loading they come in order of their place, whichever is the oldest. */
static dmq_err
on_request_spent(struct image *image, const struct request_spent_record *body, struct err_msg *err)
{
    uint32_t place = (uint32_t)(body->number % META_MAX_SPENT);
    bool follows = image->loading
                       ? place == image->spent_count
                       : body->number == image->next_spent && place <= image->spent_count;
    if (body->number < 0 || body->number == INT64_MAX || !follows) {
        return REFUSE(err, "request_spent record: number %" PRId64 " does not follow",
                      body->number);
    }
    if (uuid_is_zero(body->request_id)) {
        return REFUSE(err, "request_spent record: the request id is zero");
    }
    struct request_spent_record old = image_put_spent(image, body);
    image_note_undo(image, (struct undo){.kind = UNDO_SPENT, .spent = old});
    return DMQ_OK;
}

/* ---- brokers --------------------------------------------------------------------------------- */

static void
put_broker(struct image *image, const struct broker_record *body)
{
    struct broker_record *copy = copy_of(RECORD_BROKER, body);
    struct broker_record *old = image_set_broker(image, body->broker_id, copy);
    image_note_undo(image,
                    (struct undo){.kind = UNDO_BROKER, .number = body->broker_id, .old = old});
}

static dmq_err
on_broker(struct image *image, const struct broker_record *body, struct err_msg *err)
{
    const struct broker_record *known = image_broker(image, body->broker_id);
    if (body->broker_id < 0 || body->broker_epoch < 0) {
        return REFUSE(err, "broker record: broker id %" PRId32 " or epoch %" PRId64 " is negative",
                      body->broker_id, body->broker_epoch);
    }
    if (known != NULL && body->broker_epoch < known->broker_epoch) {
        return REFUSE(err,
                      "broker record: epoch %" PRId64 " of broker %" PRId32
                      " is below the present one, %" PRId64,
                      body->broker_epoch, body->broker_id, known->broker_epoch);
    }
    if (known == NULL && image->broker_count == META_MAX_BROKERS) {
        return REFUSE(err, "broker record: there are %d brokers already", META_MAX_BROKERS);
    }
    put_broker(image, body);
    return DMQ_OK;
}

static dmq_err
on_broker_change(struct image *image, const struct broker_change_record *body, struct err_msg *err)
{
    const struct broker_record *known = image_broker(image, body->broker_id);
    if (known == NULL || known->broker_epoch != body->broker_epoch) {
        return REFUSE(err,
                      "broker_change record: broker %" PRId32 " with epoch %" PRId64
                      " is not registered",
                      body->broker_id, body->broker_epoch);
    }
    struct broker_record changed = *known;
    changed.fenced = body->fenced;
    changed.shutting_down = body->shutting_down;
    put_broker(image, &changed);
    return DMQ_OK;
}

/* ---- topics ---------------------------------------------------------------------------------- */

static dmq_err
add_topic(struct image *image, const struct topic_record *body, struct err_msg *err)
{
    /* While loading, names are compared at the end. */
    if (!image->loading && image_topic_by_name(image, body->name) != NULL) {
        return REFUSE(err, "topic record: another topic has the name %.*s", (int)body->name.size,
                      (const char *)body->name.data);
    }
    if (image->topic_count == META_MAX_TOPICS) {
        return REFUSE(err, "topic record: there are %d topics already", META_MAX_TOPICS);
    }
    struct topic_node *node = topic_node_new(copy_of(RECORD_TOPIC, body));
    image_link_topic(image, node);
    image_note_undo(image, (struct undo){.kind = UNDO_TOPIC_ADDED, .node = node});
    return DMQ_OK;
}

static dmq_err
on_topic(struct image *image, const struct topic_record *body, struct err_msg *err)
{
    struct err_msg reason;
    if (topic_name_check(body->name, &reason) != DMQ_OK) {
        return REFUSE(err, "topic record: %s", reason.text);
    }
    if (uuid_is_zero(body->topic_id)) {
        return REFUSE(err, "topic record: the topic id is zero");
    }
    struct topic_node *node = image_find_node(image, body->topic_id);
    if (node == NULL) {
        return add_topic(image, body, err);
    }
    if (!bytes_equal(node->topic.record->name, body->name)) {
        return REFUSE(err, "topic record: the topic has another name, %.*s",
                      (int)node->topic.record->name.size,
                      (const char *)node->topic.record->name.data);
    }
    struct topic_record *old = image_set_topic(image, node, copy_of(RECORD_TOPIC, body));
    image_note_undo(image, (struct undo){.kind = UNDO_TOPIC_CHANGED, .node = node, .old = old});
    return DMQ_OK;
}

static dmq_err
on_topic_removed(struct image *image, const struct topic_removed_record *body, struct err_msg *err)
{
    char id[UUID_TEXT_SIZE];
    struct topic_node *node = image_find_node(image, body->topic_id);
    if (image->loading) {
        return REFUSE(err, "topic_removed record: a snapshot has none");
    }
    if (node == NULL) {
        return REFUSE(err, "topic_removed record: topic %s is unknown",
                      uuid_text(body->topic_id, id));
    }
    image_unlink_topic(image, node);
    image_note_undo(image, (struct undo){.kind = UNDO_TOPIC_REMOVED, .node = node});
    return DMQ_OK;
}

/* ---- partitions ------------------------------------------------------------------------------ */

static bool
contains(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* What is wrong with the replica lists by themselves; NULL if nothing. */
static const char *
wrong_with_replicas(const struct image *image, const struct partition_record *body)
{
    if (body->replicas_count == 0 || body->replicas_count > META_MAX_REPLICAS) {
        return "it must have 1 to 64 replicas";
    }
    for (uint32_t i = 0; i < body->replicas_count; i++) {
        if (contains(body->replicas, i, body->replicas[i])) {
            return "a replica stands twice";
        }
        if (image_broker(image, body->replicas[i]) == NULL) {
            return "a replica is on a broker that is not registered";
        }
    }
    for (uint32_t i = 0; i < body->isr_count; i++) {
        if (contains(body->isr, i, body->isr[i]) ||
            !contains(body->replicas, body->replicas_count, body->isr[i])) {
            return "a member of the ISR stands twice or is not a replica";
        }
    }
    for (uint32_t i = 0; i < body->elr_count; i++) {
        if (contains(body->elr, i, body->elr[i]) ||
            contains(body->isr, body->isr_count, body->elr[i]) ||
            !contains(body->replicas, body->replicas_count, body->elr[i])) {
            return "a member of the ELR stands twice, or in the ISR, or is not a replica";
        }
    }
    return NULL;
}

static const char *
wrong_with_state(const struct partition_record *body)
{
    if (body->leader != -1 && !contains(body->isr, body->isr_count, body->leader)) {
        return "the leader is not in the ISR";
    }
    if (body->leader_epoch < 0 || body->partition_epoch < 0) {
        return "an epoch is negative";
    }
    if (body->durability != DURABILITY_SYNC && body->durability != DURABILITY_ASYNC) {
        return "its durability is neither sync nor async";
    }
    if (body->min_isr < 1 || body->min_isr > META_MAX_REPLICAS) {
        return "its min ISR is not from 1 to 64";
    }
    return NULL;
}

/* What is wrong with it beside what the image has. */
static const char *
wrong_with_place(const struct image *image, const struct image_topic *topic,
                 const struct partition_record *body)
{
    if (topic == NULL) {
        return "its topic is unknown";
    }
    if (body->partition < 0 || (uint32_t)body->partition > topic->partition_count) {
        return "it does not follow the partitions that the topic has";
    }
    if ((uint32_t)body->partition < topic->partition_count) {
        const struct partition_record *known = topic->partitions[body->partition];
        /* The compare-and-set of DESIGN §7 rests on this. */
        if (body->partition_epoch <= known->partition_epoch) {
            return "its partition epoch is not above the present one";
        }
        return body->leader_epoch < known->leader_epoch
                   ? "its leader epoch is below the present one"
                   : NULL;
    }
    if (topic->partition_count == META_MAX_PARTITIONS_PER_TOPIC ||
        image->partition_total == META_MAX_PARTITIONS) {
        return "there are too many partitions already";
    }
    return NULL;
}

static dmq_err
on_partition(struct image *image, const struct partition_record *body, struct err_msg *err)
{
    char id[UUID_TEXT_SIZE];
    struct topic_node *node = image_find_node(image, body->topic_id);
    const char *wrong = wrong_with_place(image, node != NULL ? &node->topic : NULL, body);
    if (wrong == NULL) {
        wrong = wrong_with_replicas(image, body);
    }
    if (wrong == NULL) {
        wrong = wrong_with_state(body);
    }
    if (wrong != NULL) {
        return REFUSE(err, "partition record: %s/%" PRId32 ": %s", uuid_text(body->topic_id, id),
                      body->partition, wrong);
    }
    struct partition_record *copy = copy_of(RECORD_PARTITION, body);
    struct partition_record *old = image_set_partition(image, node, body->partition, copy);
    image_note_undo(
        image,
        (struct undo){.kind = UNDO_PARTITION, .node = node, .number = body->partition, .old = old});
    return DMQ_OK;
}

/* ---- the one switch -------------------------------------------------------------------------- */

dmq_err
meta_apply_body(struct image *image, int type, const void *body, struct err_msg *err)
{
    switch ((enum record_type)type) {
    case RECORD_CLUSTER:
        return on_cluster(image, body, err);
    case RECORD_BROKER:
        return on_broker(image, body, err);
    case RECORD_BROKER_CHANGE:
        return on_broker_change(image, body, err);
    case RECORD_TOPIC:
        return on_topic(image, body, err);
    case RECORD_PARTITION:
        return on_partition(image, body, err);
    case RECORD_TOPIC_REMOVED:
        return on_topic_removed(image, body, err);
    case RECORD_PRODUCER_IDS:
        return on_producer_ids(image, body, err);
    case RECORD_REQUEST_SPENT:
        return on_request_spent(image, body, err);
    case RECORD_IMAGE:
        return REFUSE(err, "image record: it is only a row of a store");
    }
    return REFUSE(err, "record type %d is unknown", type);
}

dmq_err
meta_apply(struct image *image, const struct meta_record *record, struct err_msg *err)
{
    return meta_apply_body(image, record->desc->type, &record->u, err);
}

void
meta_advance(struct image *image, int64_t version, int64_t term)
{
    DMQ_ASSERT(version == image->version + 1 && term >= image->term);
    image_note_undo(
        image, (struct undo){.kind = UNDO_VERSION, .version = image->version, .term = image->term});
    image_set_version(image, version, term);
}
