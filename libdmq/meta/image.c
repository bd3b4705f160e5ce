/* What the image holds. Brokers and topics stand in sorted arrays, for listing and for look-up by
 * id and name; topics also in a hash by id, for partitions refer to them by it. Each entity is one
 * block of memory (msg_clone), replaced as a whole: an undo list just keeps the old block.
 *
 * The digest is the sum of a hash of each row, as it would be stored, so that a change costs what
 * it touches and the order in which rows came does not matter. Invariant: digest_sum is that of
 * the rows which meta_snapshot hands out. */
#include "libdmq/meta/image.h"

#include <stdlib.h>

#include "libdmq/meta/image_internal.h"

/* ---- digest ---------------------------------------------------------------------------------- */

/* The finaliser of splitmix64: every bit of x changes half of the result's. */
static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t
hash_bytes(const uint8_t *data, size_t size)
{
    uint64_t hash = mix(size + 0x9e3779b97f4a7c15u);
    for (; size >= 8; data += 8, size -= 8) {
        hash = mix(hash ^ get_be64(data)) + 0x9e3779b97f4a7c15u;
    }
    uint8_t rest[8] = {0};
    if (size > 0) {
        memcpy(rest, data, size);
    }
    return mix(hash ^ get_be64(rest));
}

/* Of a row; a record names its entity, so the key needs no part in it. */
static uint64_t
row_digest(struct image *image, int type, const void *body)
{
    outbuf_clear(&image->scratch);
    record_encode(type, body, &image->scratch);
    DMQ_ASSERT(!image->scratch.failed);
    return hash_bytes(image->scratch.data, image->scratch.size);
}

/* A row comes in the place of another; either may be NULL. */
static void
replace_digest(struct image *image, int type, const void *old, const void *body)
{
    if (old != NULL) {
        image->digest_sum -= row_digest(image, type, old);
    }
    if (body != NULL) {
        image->digest_sum += row_digest(image, type, body);
    }
}

uint64_t
image_digest(const struct image *image)
{
    uint64_t head[3] = {image->digest_sum, (uint64_t)image->version, (uint64_t)image->term};
    uint64_t hash = 0;
    for (size_t i = 0; i < 3; i++) {
        hash = mix(hash ^ head[i]) + 0x9e3779b97f4a7c15u;
    }
    return hash;
}

/* ---- the image as a whole -------------------------------------------------------------------- */

struct image *
image_new(void)
{
    struct image *image = calloc(1, sizeof(*image));
    DMQ_ASSERT(image != NULL);
    return image;
}

void
image_free(struct image *image)
{
    if (image == NULL) {
        return;
    }
    if (image->undo_active) {
        meta_undo_commit(image);
    }
    HASH_CLEAR(by_id, image->by_id);
    for (uint32_t i = 0; i < image->topic_count; i++) {
        topic_node_free(image->topics[i]);
    }
    for (uint32_t i = 0; i < image->broker_count; i++) {
        free(image->brokers[i]);
    }
    free(image->topics);
    free(image->brokers);
    free(image->loads);
    free(image->spent);
    free(image->undo);
    outbuf_deinit(&image->scratch);
    free(image);
}

/* Memory that is never NULL; count items of size, for one more than there are. */
static void *
grow(void *items, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    uint32_t more = *capacity < 4 ? 4 : *capacity * 2;
    void *grown = realloc(items, more * size);
    DMQ_ASSERT(grown != NULL);
    *capacity = more;
    return grown;
}

int64_t
image_version(const struct image *image)
{
    return image->version;
}

int64_t
image_term(const struct image *image)
{
    return image->term;
}

void
image_set_version(struct image *image, int64_t version, int64_t term)
{
    DMQ_ASSERT(version >= 0 && term >= 0);
    image->version = version;
    image->term = term;
}

struct uuid
image_cluster_id(const struct image *image)
{
    return image->cluster_id;
}

void
image_set_cluster(struct image *image, struct uuid cluster_id)
{
    struct cluster_record old = {image->cluster_id};
    struct cluster_record body = {cluster_id};
    replace_digest(image, RECORD_CLUSTER, uuid_is_zero(old.cluster_id) ? NULL : &old,
                   uuid_is_zero(cluster_id) ? NULL : &body);
    image->cluster_id = cluster_id;
}

int64_t
image_next_producer_id(const struct image *image)
{
    return image->next_producer_id;
}

void
image_set_producer_ids(struct image *image, int64_t next)
{
    struct producer_ids_record old = {-1, -1, image->next_producer_id};
    struct producer_ids_record body = {-1, -1, next};
    replace_digest(image, RECORD_PRODUCER_IDS, old.next_producer_id == 0 ? NULL : &old,
                   next == 0 ? NULL : &body);
    image->next_producer_id = next;
}

/* ---- requests that created what is deleted --------------------------------------------------- */

bool
image_request_spent(const struct image *image, struct uuid request_id)
{
    for (uint32_t i = 0; i < image->spent_count; i++) {
        if (uuid_equal(image->spent[i].request_id, request_id)) {
            return true;
        }
    }
    return false;
}

int64_t
image_next_spent(const struct image *image)
{
    return image->next_spent;
}

uint32_t
image_spent_count(const struct image *image)
{
    return image->spent_count;
}

const struct request_spent_record *
image_spent_at(const struct image *image, uint32_t index)
{
    DMQ_ASSERT(index < image->spent_count);
    return &image->spent[index];
}

struct request_spent_record
image_put_spent(struct image *image, const struct request_spent_record *record)
{
    uint32_t index = (uint32_t)(record->number % META_MAX_SPENT);
    struct request_spent_record old = {.number = -1};
    DMQ_ASSERT(index <= image->spent_count);
    if (index < image->spent_count) {
        old = image->spent[index];
    } else {
        image->spent =
            grow(image->spent, image->spent_count, &image->spent_capacity, sizeof(*image->spent));
        image->spent_count++;
    }
    replace_digest(image, RECORD_REQUEST_SPENT, old.number == -1 ? NULL : &old, record);
    image->spent[index] = *record;
    if (record->number >= image->next_spent) {
        image->next_spent = record->number + 1;
    }
    return old;
}

void
image_take_spent(struct image *image, const struct request_spent_record *old)
{
    uint32_t index = (uint32_t)((image->next_spent - 1) % META_MAX_SPENT);
    DMQ_ASSERT(image->next_spent > 0 && index < image->spent_count);
    replace_digest(image, RECORD_REQUEST_SPENT, &image->spent[index],
                   old->number == -1 ? NULL : old);
    image->next_spent--;
    if (old->number == -1) {
        DMQ_ASSERT(index + 1 == image->spent_count);
        image->spent_count--;
    } else {
        image->spent[index] = *old;
    }
}

/* ---- brokers --------------------------------------------------------------------------------- */

/* Index of the first broker whose id is not below. */
static uint32_t
broker_index(const struct image *image, int32_t broker_id)
{
    uint32_t low = 0;
    uint32_t high = image->broker_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (image->brokers[middle]->broker_id < broker_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct broker_record *
image_broker(const struct image *image, int32_t broker_id)
{
    uint32_t index = broker_index(image, broker_id);
    if (index == image->broker_count || image->brokers[index]->broker_id != broker_id) {
        return NULL;
    }
    return image->brokers[index];
}

uint32_t
image_broker_count(const struct image *image)
{
    return image->broker_count;
}

const struct broker_record *
image_broker_at(const struct image *image, uint32_t index)
{
    DMQ_ASSERT(index < image->broker_count);
    return image->brokers[index];
}

struct image_load
image_load_at(const struct image *image, uint32_t index)
{
    DMQ_ASSERT(index < image->broker_count);
    return image->loads[index];
}

/* Makes a place at index for one more. */
static void
insert_broker(struct image *image, uint32_t index)
{
    size_t behind = image->broker_count - index;
    image->brokers =
        grow(image->brokers, image->broker_count, &image->broker_capacity, sizeof(*image->brokers));
    image->loads =
        grow(image->loads, image->broker_count, &image->load_capacity, sizeof(*image->loads));
    memmove(image->brokers + index + 1, image->brokers + index, behind * sizeof(*image->brokers));
    memmove(image->loads + index + 1, image->loads + index, behind * sizeof(*image->loads));
    image->loads[index] = (struct image_load){0};
    image->broker_count++;
}

/* Partitions name registered brokers only, so one that goes (its coming is undone) has none. */
static void
remove_broker(struct image *image, uint32_t index)
{
    size_t behind = image->broker_count - index - 1;
    DMQ_ASSERT(image->loads[index].replicas == 0);
    memmove(image->brokers + index, image->brokers + index + 1, behind * sizeof(*image->brokers));
    memmove(image->loads + index, image->loads + index + 1, behind * sizeof(*image->loads));
    image->broker_count--;
}

struct broker_record *
image_set_broker(struct image *image, int32_t broker_id, struct broker_record *record)
{
    uint32_t index = broker_index(image, broker_id);
    bool known = index < image->broker_count && image->brokers[index]->broker_id == broker_id;
    struct broker_record *old = known ? image->brokers[index] : NULL;
    DMQ_ASSERT(record == NULL || record->broker_id == broker_id);
    DMQ_ASSERT(record != NULL || old != NULL);
    replace_digest(image, RECORD_BROKER, old, record);
    if (record == NULL) {
        remove_broker(image, index);
        return old;
    }
    if (!known) {
        insert_broker(image, index);
    }
    image->brokers[index] = record;
    return old;
}

/* ---- topics ---------------------------------------------------------------------------------- */

static int
compare_names(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

/* Index of the first topic whose name is not below. */
static uint32_t
topic_index(const struct image *image, struct bytes name)
{
    uint32_t low = 0;
    uint32_t high = image->topic_count;
    DMQ_ASSERT(!image->loading);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_names(image->topics[middle]->topic.record->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct image_topic *
image_topic_by_name(const struct image *image, struct bytes name)
{
    uint32_t index = topic_index(image, name);
    if (index == image->topic_count ||
        !bytes_equal(image->topics[index]->topic.record->name, name)) {
        return NULL;
    }
    return &image->topics[index]->topic;
}

struct topic_node *
image_find_node(const struct image *image, struct uuid topic_id)
{
    struct topic_node *node;
    HASH_FIND(by_id, image->by_id, &topic_id, sizeof(topic_id), node);
    return node;
}

const struct image_topic *
image_topic_by_id(const struct image *image, struct uuid topic_id)
{
    const struct topic_node *node = image_find_node(image, topic_id);
    return node != NULL ? &node->topic : NULL;
}

uint32_t
image_topic_count(const struct image *image)
{
    return image->topic_count;
}

const struct image_topic *
image_topic_at(const struct image *image, uint32_t index)
{
    DMQ_ASSERT(index < image->topic_count && !image->loading);
    return &image->topics[index]->topic;
}

struct topic_node *
topic_node_new(struct topic_record *record)
{
    struct topic_node *node = calloc(1, sizeof(*node));
    DMQ_ASSERT(node != NULL);
    node->id = record->topic_id;
    node->topic.record = record;
    node->topic.config = topic_config_of(record->config, record->config_count);
    return node;
}

void
topic_node_free(struct topic_node *node)
{
    for (uint32_t i = 0; i < node->topic.partition_count; i++) {
        free(node->partitions[i]);
    }
    free(node->partitions);
    free((void *)node->topic.record);
    free(node);
}

/* What the image counts of partitions: one more or one less of this state. */
static void
count_partition(struct image *image, const struct partition_record *p, bool comes)
{
    uint32_t one = comes ? 1 : UINT32_MAX; /* unsigned arithmetic wraps */
    image->partition_total += one;
    image->leaderless_total += p->leader == -1 ? one : 0;
    for (uint32_t i = 0; i < p->replicas_count; i++) {
        uint32_t index = broker_index(image, p->replicas[i]);
        DMQ_ASSERT(index < image->broker_count);
        image->loads[index].replicas += one;
        image->loads[index].preferred += i == 0 ? one : 0;
    }
}

/* A partition's state comes in the place of another; either may be NULL. */
static void
replace_partition(struct image *image, const struct partition_record *old,
                  const struct partition_record *record)
{
    replace_digest(image, RECORD_PARTITION, old, record);
    if (old != NULL) {
        count_partition(image, old, false);
    }
    if (record != NULL) {
        count_partition(image, record, true);
    }
}

/* The rows of a topic and its partitions come or go. */
static void
count_topic(struct image *image, const struct topic_node *node, bool comes)
{
    const struct topic_record *record = node->topic.record;
    replace_digest(image, RECORD_TOPIC, comes ? NULL : record, comes ? record : NULL);
    for (uint32_t i = 0; i < node->topic.partition_count; i++) {
        const struct partition_record *partition = node->partitions[i];
        replace_partition(image, comes ? NULL : partition, comes ? partition : NULL);
    }
}

void
image_link_topic(struct image *image, struct topic_node *node)
{
    uint32_t index =
        image->loading ? image->topic_count : topic_index(image, node->topic.record->name);
    DMQ_ASSERT(image_find_node(image, node->id) == NULL);
    image->topics =
        grow(image->topics, image->topic_count, &image->topic_capacity, sizeof(*image->topics));
    memmove(image->topics + index + 1, image->topics + index,
            (image->topic_count - index) * sizeof(*image->topics));
    image->topics[index] = node;
    image->topic_count++;
    HASH_ADD(by_id, image->by_id, id, sizeof(node->id), node);
    count_topic(image, node, true);
}

void
image_unlink_topic(struct image *image, struct topic_node *node)
{
    uint32_t index = topic_index(image, node->topic.record->name);
    DMQ_ASSERT(index < image->topic_count && image->topics[index] == node);
    image->topic_count--;
    memmove(image->topics + index, image->topics + index + 1,
            (image->topic_count - index) * sizeof(*image->topics));
    HASH_DELETE(by_id, image->by_id, node);
    count_topic(image, node, false);
}

struct topic_record *
image_set_topic(struct image *image, struct topic_node *node, struct topic_record *record)
{
    struct topic_record *old = (struct topic_record *)node->topic.record;
    DMQ_ASSERT(uuid_equal(record->topic_id, node->id) && bytes_equal(record->name, old->name));
    replace_digest(image, RECORD_TOPIC, old, record);
    node->topic.record = record;
    node->topic.config = topic_config_of(record->config, record->config_count);
    return old;
}

static int
compare_nodes(const void *a, const void *b)
{
    const struct topic_node *const *node_a = a;
    const struct topic_node *const *node_b = b;
    return compare_names((*node_a)->topic.record->name, (*node_b)->topic.record->name);
}

void
image_loading_begin(struct image *image)
{
    DMQ_ASSERT(!image->loading && !image->undo_active && image->topic_count == 0);
    image->loading = true;
}

bool
image_loading_end(struct image *image)
{
    DMQ_ASSERT(image->loading);
    image->loading = false;
    if (image->topic_count > 0) {
        qsort(image->topics, image->topic_count, sizeof(*image->topics), compare_nodes);
    }
    for (uint32_t i = 1; i < image->topic_count; i++) {
        if (compare_nodes(&image->topics[i - 1], &image->topics[i]) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- partitions ------------------------------------------------------------------------------ */

const struct partition_record *
image_partition(const struct image *image, struct uuid topic_id, int32_t partition)
{
    const struct image_topic *topic = image_topic_by_id(image, topic_id);
    if (topic == NULL || partition < 0 || (uint32_t)partition >= topic->partition_count) {
        return NULL;
    }
    return topic->partitions[partition];
}

uint32_t
image_partition_total(const struct image *image)
{
    return image->partition_total;
}

uint32_t
image_leaderless_total(const struct image *image)
{
    return image->leaderless_total;
}

/* Partitions come and go at the end of their topic only. */
struct partition_record *
image_set_partition(struct image *image, struct topic_node *node, int32_t partition,
                    struct partition_record *record)
{
    uint32_t index = (uint32_t)partition;
    struct image_topic *topic = &node->topic;
    bool known = index < topic->partition_count;
    struct partition_record *old = known ? node->partitions[index] : NULL;
    DMQ_ASSERT(partition >= 0 && index <= topic->partition_count);
    replace_partition(image, old, record);
    if (record == NULL) {
        DMQ_ASSERT(known && index + 1 == topic->partition_count);
        topic->partition_count--;
        return old;
    }
    if (!known) {
        node->partitions = grow(node->partitions, topic->partition_count, &node->partition_capacity,
                                sizeof(*node->partitions));
        topic->partitions = (const struct partition_record *const *)node->partitions;
        topic->partition_count++;
    }
    node->partitions[index] = record;
    return old;
}
