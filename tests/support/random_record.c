#include "tests/support/random_record.h"

#include <stdio.h>

#include "libdmq/base/assert.h"

static struct bytes
text(struct arena *arena, const char *word, unsigned number)
{
    char *to = arena_alloc(arena, 32);
    DMQ_ASSERT(to != NULL);
    snprintf(to, 32, "%s%u", word, number);
    return bytes_str(to);
}

static int32_t
random_broker_id(struct rng *rng, const struct image *image)
{
    uint32_t count = image_broker_count(image);
    if (count == 0 || rng_chance(rng, 20)) {
        return (int32_t)rng_range(rng, -1, 12);
    }
    return image_broker_at(image, (uint32_t)rng_below(rng, count))->broker_id;
}

static const struct image_topic *
random_topic(struct rng *rng, const struct image *image)
{
    uint32_t count = image_topic_count(image);
    return count == 0 ? NULL : image_topic_at(image, (uint32_t)rng_below(rng, count));
}

static void
make_broker(struct rng *rng, const struct image *image, struct arena *arena,
            struct broker_record *body)
{
    *body = (struct broker_record){.broker_id = (int32_t)rng_range(rng, 0, 9),
                                   .broker_epoch = image_version(image) + 1,
                                   .incarnation = rng_uuid(rng),
                                   .rack = text(arena, "rack", (unsigned)rng_below(rng, 3)),
                                   .fenced = true};
    body->endpoints_count = 1 + (uint32_t)rng_below(rng, 2);
    body->endpoints = arena_alloc(arena, body->endpoints_count * sizeof(*body->endpoints));
    DMQ_ASSERT(body->endpoints != NULL);
    for (uint32_t i = 0; i < body->endpoints_count; i++) {
        body->endpoints[i] = (struct endpoint){.listener = bytes_str(i == 0 ? "client" : "node"),
                                               .host = bytes_str("127.0.0.1"),
                                               .port = (int32_t)rng_range(rng, 1, 65535)};
    }
}

static void
make_broker_change(struct rng *rng, const struct image *image, struct broker_change_record *body)
{
    int32_t id = random_broker_id(rng, image);
    const struct broker_record *broker = image_broker(image, id);
    int64_t epoch = broker != NULL ? broker->broker_epoch : 1;
    *body = (struct broker_change_record){.broker_id = id,
                                          .broker_epoch = rng_chance(rng, 50) ? epoch - 1 : epoch,
                                          .fenced = rng_chance(rng, 500),
                                          .shutting_down = rng_chance(rng, 100)};
}

static void
make_topic(struct rng *rng, const struct image *image, struct arena *arena,
           struct topic_record *body)
{
    const struct image_topic *known = rng_chance(rng, 300) ? random_topic(rng, image) : NULL;
    *body = (struct topic_record){.name = text(arena, "topic-", (unsigned)rng_below(rng, 40)),
                                  .topic_id = rng_uuid(rng),
                                  .request_id = rng_uuid(rng)};
    if (known != NULL) {
        body->name = known->record->name;
        body->topic_id = known->record->topic_id;
    }
    if (rng_chance(rng, 20)) {
        body->name = bytes_str("no good/name");
    }
    body->config_count = (uint32_t)rng_below(rng, 3);
    body->config = arena_alloc(arena, body->config_count * sizeof(*body->config));
    DMQ_ASSERT(body->config != NULL);
    for (uint32_t i = 0; i < body->config_count; i++) {
        body->config[i] = (struct config_entry){
            bytes_str(i == 0 ? "max.message.bytes" : "durability"),
            i == 0 ? text(arena, "", 1000 + (unsigned)rng_below(rng, 9999)) : bytes_str("async")};
    }
}

/* Up to three different ids. */
static uint32_t
draw_replicas(struct rng *rng, const struct image *image, int32_t *ids)
{
    uint32_t count = 0;
    uint32_t wanted = 1 + (uint32_t)rng_below(rng, 3);
    for (uint32_t tries = 0; tries < 20 && count < wanted; tries++) {
        int32_t id = random_broker_id(rng, image);
        bool fresh = true;
        for (uint32_t i = 0; i < count; i++) {
            fresh = fresh && ids[i] != id;
        }
        if (fresh) {
            ids[count++] = id;
        }
    }
    return count;
}

static void
make_partition(struct rng *rng, const struct image *image, struct arena *arena,
               struct partition_record *body)
{
    const struct image_topic *topic = random_topic(rng, image);
    uint32_t have = topic != NULL ? topic->partition_count : 0;
    uint32_t number = rng_chance(rng, 600) ? have : (uint32_t)rng_below(rng, have + 2);
    int32_t *ids = arena_alloc(arena, 3 * sizeof(*ids));
    DMQ_ASSERT(ids != NULL);
    *body = (struct partition_record){.topic_id =
                                          topic != NULL ? topic->record->topic_id : rng_uuid(rng),
                                      .partition = (int32_t)number,
                                      .leader = -1,
                                      .durability = (int8_t)rng_below(rng, 2),
                                      .min_isr = 1 + (int32_t)rng_below(rng, 2)};
    if (number < have) {
        const struct partition_record *known = topic->partitions[number];
        body->leader_epoch = known->leader_epoch + (int32_t)rng_below(rng, 2);
        body->partition_epoch = known->partition_epoch + (rng_chance(rng, 50) ? 0 : 1);
    }
    body->replicas = ids;
    body->replicas_count = draw_replicas(rng, image, ids);
    body->isr = ids;
    body->isr_count = (uint32_t)rng_below(rng, body->replicas_count + 1);
    body->elr = ids + body->isr_count;
    body->elr_count = body->replicas_count - body->isr_count;
    if (body->isr_count > 0 && rng_chance(rng, 900)) {
        body->leader = ids[rng_below(rng, body->isr_count)];
    }
}

static void
make_producer_ids(struct rng *rng, const struct image *image, struct producer_ids_record *body)
{
    int32_t id = random_broker_id(rng, image);
    const struct broker_record *broker = image_broker(image, id);
    *body = (struct producer_ids_record){.broker_id = id,
                                         .broker_epoch = broker != NULL ? broker->broker_epoch : -1,
                                         .next_producer_id = image_next_producer_id(image) +
                                                             (rng_chance(rng, 50) ? -1 : 1000)};
}

void
random_record(struct rng *rng, const struct image *image, struct arena *arena,
              struct meta_record *ret_record)
{
    static const int types[] = {RECORD_CLUSTER,       RECORD_BROKER,        RECORD_BROKER_CHANGE,
                                RECORD_BROKER_CHANGE, RECORD_TOPIC,         RECORD_TOPIC,
                                RECORD_PARTITION,     RECORD_PARTITION,     RECORD_PARTITION,
                                RECORD_PARTITION,     RECORD_TOPIC_REMOVED, RECORD_PRODUCER_IDS,
                                RECORD_REQUEST_SPENT};
    int type = types[rng_below(rng, sizeof(types) / sizeof(types[0]))];
    struct meta_record record = {.desc = record_find(type)};
    const struct image_topic *topic = random_topic(rng, image);
    switch (type) {
    case RECORD_CLUSTER:
        record.u.cluster.cluster_id = rng_uuid(rng);
        break;
    case RECORD_BROKER:
        make_broker(rng, image, arena, &record.u.broker);
        break;
    case RECORD_BROKER_CHANGE:
        make_broker_change(rng, image, &record.u.broker_change);
        break;
    case RECORD_TOPIC:
        make_topic(rng, image, arena, &record.u.topic);
        break;
    case RECORD_PARTITION:
        make_partition(rng, image, arena, &record.u.partition);
        break;
    case RECORD_TOPIC_REMOVED:
        record.u.topic_removed.topic_id =
            topic != NULL && rng_chance(rng, 600) ? topic->record->topic_id : rng_uuid(rng);
        break;
    case RECORD_REQUEST_SPENT:
        record.u.request_spent.number = image_next_spent(image) + rng_chance(rng, 50);
        record.u.request_spent.request_id = rng_uuid(rng);
        break;
    default:
        make_producer_ids(rng, image, &record.u.producer_ids);
        break;
    }
    *ret_record = record;
}
