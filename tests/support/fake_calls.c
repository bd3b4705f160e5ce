#include "tests/support/fake_calls.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/batch.h"

/* ---- topics ---------------------------------------------------------------------------------- */

struct topic *
fake_find_topic(struct fake_broker *b, struct bytes name)
{
    for (int i = 0; i < b->topic_count; i++) {
        if (bytes_equal_str(name, b->topics[i].name)) {
            return &b->topics[i];
        }
    }
    return NULL;
}

static struct partition *
partition_by_id(struct fake_broker *b, struct uuid id, int32_t partition)
{
    for (int i = 0; i < b->topic_count; i++) {
        struct topic *topic = &b->topics[i];
        if (uuid_equal(topic->id, id) && partition >= 0 && partition < topic->partition_count) {
            return &topic->partitions[partition];
        }
    }
    return NULL;
}

static void
drop_log(struct partition *p)
{
    while (p->log != NULL) {
        struct stored *stored = p->log;
        DL_DELETE(p->log, stored);
        buf_unref(stored->bytes);
        free(stored);
    }
}

void
fake_remove_topic(struct fake_broker *b, struct topic *topic)
{
    for (int i = 0; i < topic->partition_count; i++) {
        drop_log(&topic->partitions[i]);
    }
    *topic = b->topics[--b->topic_count];
    b->metadata_version++;
}

void
fake_add_topic(struct fake_broker *b, struct bytes name, int32_t partitions)
{
    DMQ_ASSERT(b->topic_count < MAX_TOPICS && partitions <= MAX_PARTITIONS);
    struct topic *topic = &b->topics[b->topic_count++];
    memset(topic, 0, sizeof(*topic));
    memcpy(topic->name, name.data, name.size);
    b->metadata_version++;
    topic->id.b[0] = 1;
    topic->id.b[15] = (uint8_t)b->metadata_version;
    topic->partition_count = partitions;
}

/* ---- producing ------------------------------------------------------------------------------- */

static struct producer *
producer_of(struct partition *p, const struct batch_header *header)
{
    for (int i = 0; i < p->producer_count; i++) {
        if (p->producers[i].id == header->producer_id) {
            return &p->producers[i];
        }
    }
    if (header->base_sequence != 0) {
        return NULL;
    }
    DMQ_ASSERT(p->producer_count < 8);
    struct producer *producer = &p->producers[p->producer_count++];
    *producer = (struct producer){.id = header->producer_id, .epoch = header->producer_epoch};
    return producer;
}

static void
remember(struct producer *producer, const struct batch_header *header, int64_t base)
{
    if (producer->count == REMEMBERED) {
        memmove(producer->batches, producer->batches + 1,
                (REMEMBERED - 1) * sizeof(producer->batches[0]));
        producer->count--;
    }
    int i = producer->count++;
    producer->batches[i].first = header->base_sequence;
    producer->batches[i].last = batch_last_sequence(header);
    producer->batches[i].base = base;
    producer->next_sequence = batch_sequence_add(header->base_sequence, header->count);
}

/* Trap 32. DMQ_OK with *ret_base >= 0: a duplicate. */
static dmq_err
check_sequence(struct partition *p, const struct batch_header *header, int64_t *ret_base)
{
    *ret_base = -1;
    if (header->producer_id < 0) {
        return DMQ_OK;
    }
    struct producer *producer = producer_of(p, header);
    if (producer == NULL) {
        return DMQ_ERR_UNKNOWN_PRODUCER_ID;
    }
    if (header->producer_epoch < producer->epoch) {
        return DMQ_ERR_INVALID_PRODUCER_EPOCH;
    }
    if (header->producer_epoch > producer->epoch) {
        if (header->base_sequence != 0) {
            return DMQ_ERR_OUT_OF_ORDER_SEQUENCE;
        }
        *producer = (struct producer){.id = header->producer_id, .epoch = header->producer_epoch};
    }
    for (int i = 0; i < producer->count; i++) {
        if (producer->batches[i].first == header->base_sequence &&
            producer->batches[i].last == batch_last_sequence(header)) {
            *ret_base = producer->batches[i].base;
            return DMQ_OK;
        }
    }
    if (header->base_sequence != producer->next_sequence) {
        return DMQ_ERR_OUT_OF_ORDER_SEQUENCE;
    }
    remember(producer, header, p->end);
    return DMQ_OK;
}

static dmq_err
append(struct fake_broker *b, struct partition *p, struct buf *frame, int64_t *ret_base)
{
    struct batch_limits limits = {.max_bytes = 1048588, .from_client = true};
    struct batch_header header;
    struct err_msg msg;
    if (p == NULL) {
        return DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    dmq_err err = batch_check(buf_bytes(frame), &limits, &msg, &header);
    if (err == DMQ_OK) {
        err = check_sequence(p, &header, ret_base);
    }
    if (err != DMQ_OK) {
        return err;
    }
    if (*ret_base >= 0) {
        b->duplicates++;
        return DMQ_OK;
    }
    struct stored *stored = calloc(1, sizeof(*stored));
    stored->bytes = buf_copy(buf_bytes(frame));
    stored->base = p->end;
    stored->end = p->end + header.count;
    stored->max_timestamp = header.max_timestamp;
    batch_stamp(stored->bytes->data, p->end, 1);
    DL_APPEND(p->log, stored);
    *ret_base = p->end;
    p->end = stored->end;
    return DMQ_OK;
}

static void
on_produce(struct fake_broker *b, struct arena *arena, const struct router_request *request,
           struct reply *reply)
{
    struct produce_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_produce_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    DMQ_ASSERT(body.partitions_count == request->attachment_count);
    struct produce_response *response = arena_alloc(arena, sizeof(*response));
    response->partitions_count = body.partitions_count;
    response->partitions =
        arena_alloc(arena, body.partitions_count * sizeof(*response->partitions));
    for (uint32_t i = 0; i < body.partitions_count; i++) {
        struct produce_result *result = &response->partitions[i];
        struct partition *p =
            partition_by_id(b, body.partitions[i].topic_id, body.partitions[i].partition);
        result->topic_id = body.partitions[i].topic_id;
        result->partition = body.partitions[i].partition;
        result->base_offset = -1;
        result->error = append(b, p, request->attachments[i], &result->base_offset);
        result->message = bytes_str(result->error == DMQ_OK ? "" : err_text(result->error));
    }
    reply->desc = desc_produce_response();
    reply->body = response;
}

/* ---- fetching -------------------------------------------------------------------------------- */

static struct buf *
read_log(const struct partition *p, int64_t offset, int32_t max_bytes)
{
    struct outbuf out = {0};
    const struct stored *stored;
    DL_FOREACH (p->log, stored) {
        if (stored->end <= offset) {
            continue;
        }
        if (out.size > 0 && out.size + stored->bytes->size > (size_t)max_bytes) {
            break;
        }
        outbuf_put(&out, stored->bytes->data, stored->bytes->size);
    }
    return outbuf_take(&out);
}

int64_t
fake_fetch(struct fake_broker *b, struct arena *arena, struct buf *request_body,
           struct reply *reply)
{
    struct fetch_request body;
    struct err_msg msg;
    int64_t bytes = 0;
    bool failed = false;
    DMQ_ASSERT(msg_decode(desc_fetch_request(), 0, buf_bytes(request_body), arena, &body, &msg) ==
               DMQ_OK);
    struct fetch_response *response = arena_alloc(arena, sizeof(*response));
    response->partitions_count = body.partitions_count;
    response->partitions =
        arena_alloc(arena, body.partitions_count * sizeof(*response->partitions));
    for (uint32_t i = 0; i < body.partitions_count; i++) {
        const struct fetch_partition *asked = &body.partitions[i];
        struct fetch_result *result = &response->partitions[i];
        struct partition *p = partition_by_id(b, asked->topic_id, asked->partition);
        *result = (struct fetch_result){.topic_id = asked->topic_id,
                                        .partition = asked->partition,
                                        .high_watermark = p == NULL ? -1 : p->end,
                                        .leader_epoch = 1,
                                        .diverging_epoch = -1,
                                        .diverging_end = -1};
        if (p == NULL) {
            result->error = DMQ_ERR_UNKNOWN_TOPIC_ID;
        } else if (asked->fetch_offset < 0 || asked->fetch_offset > p->end) {
            result->error = DMQ_ERR_OFFSET_OUT_OF_RANGE;
        }
        failed = failed || result->error != DMQ_OK;
        reply->attachments[i] = result->error == DMQ_OK
                                    ? read_log(p, asked->fetch_offset, asked->max_bytes)
                                    : buf_new(0);
        bytes += (int64_t)reply->attachments[i]->size;
    }
    reply->attachment_count = body.partitions_count;
    reply->desc = desc_fetch_response();
    reply->body = response;
    return failed ? -1 : bytes;
}

/* ---- the other calls ------------------------------------------------------------------------- */

static void
on_api_versions(struct fake_broker *b, struct arena *arena, struct reply *reply)
{
    struct api_versions_response *response = arena_alloc(arena, sizeof(*response));
    *response = (struct api_versions_response){.cluster_id = b->cluster_id,
                                               .node_id = FAKE_NODE_ID,
                                               .software_version = bytes_str("fake"),
                                               .max_requests_in_flight = 64,
                                               .max_bytes_in_flight = 64 << 20,
                                               .max_message_bytes = 64 << 20};
    response->apis = arena_alloc(arena, api_table_count * sizeof(*response->apis));
    for (size_t i = 0; i < api_table_count; i++) {
        if ((api_table[i].listeners & LISTENER_CLIENT) != 0) {
            response->apis[response->apis_count++] =
                (struct api_range){.api_key = api_table[i].key};
        }
    }
    reply->desc = desc_api_versions_response();
    reply->body = response;
}

static void
describe(struct arena *arena, struct metadata_topic *to, const struct topic *topic)
{
    *to = (struct metadata_topic){.name = bytes_str(topic->name),
                                  .topic_id = topic->id,
                                  .max_message_bytes = 1048588,
                                  .partitions_count = (uint32_t)topic->partition_count};
    to->partitions = arena_alloc(arena, to->partitions_count * sizeof(*to->partitions));
    for (int32_t i = 0; i < topic->partition_count; i++) {
        to->partitions[i] =
            (struct metadata_partition){.partition = i, .leader = FAKE_NODE_ID, .leader_epoch = 1};
    }
}

static void
on_metadata(struct fake_broker *b, struct arena *arena, const struct router_request *request,
            struct reply *reply)
{
    struct metadata_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_metadata_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    struct metadata_response *response = arena_alloc(arena, sizeof(*response));
    *response = (struct metadata_response){.cluster_id = b->cluster_id, .brokers_count = 1};
    response->brokers = arena_alloc(arena, sizeof(*response->brokers));
    response->brokers[0] = (struct metadata_broker){
        .broker_id = FAKE_NODE_ID, .host = bytes_str("127.0.0.1"), .port = b->port};
    uint32_t count = body.all_topics ? (uint32_t)b->topic_count : body.names_count;
    response->topics = arena_alloc(arena, count * sizeof(*response->topics));
    response->topics_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct topic *topic =
            body.all_topics ? &b->topics[i] : fake_find_topic(b, body.names[i]);
        if (topic != NULL) {
            describe(arena, &response->topics[i], topic);
        } else {
            response->topics[i] = (struct metadata_topic){
                .name = body.names[i], .error = DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION};
        }
    }
    reply->desc = desc_metadata_response();
    reply->body = response;
}

static int64_t
find_offset(const struct partition *p, int64_t timestamp)
{
    if (timestamp == -1) {
        return p->end;
    }
    const struct stored *stored;
    DL_FOREACH (p->log, stored) {
        if (timestamp == -2 || stored->max_timestamp >= timestamp) {
            return stored->base;
        }
    }
    return timestamp == -2 ? p->end : -1;
}

static void
on_list_offsets(struct fake_broker *b, struct arena *arena, const struct router_request *request,
                struct reply *reply)
{
    struct list_offsets_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_list_offsets_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    struct list_offsets_response *response = arena_alloc(arena, sizeof(*response));
    response->partitions_count = body.partitions_count;
    response->partitions =
        arena_alloc(arena, body.partitions_count * sizeof(*response->partitions));
    for (uint32_t i = 0; i < body.partitions_count; i++) {
        const struct list_offsets_partition *asked = &body.partitions[i];
        struct partition *p = partition_by_id(b, asked->topic_id, asked->partition);
        response->partitions[i] = (struct list_offsets_result){
            .topic_id = asked->topic_id,
            .partition = asked->partition,
            .error = p == NULL ? DMQ_ERR_UNKNOWN_TOPIC_ID : DMQ_OK,
            .offset = p == NULL ? -1 : find_offset(p, asked->timestamp)};
    }
    reply->desc = desc_list_offsets_response();
    reply->body = response;
}

static void
on_create_topic(struct fake_broker *b, struct arena *arena, const struct router_request *request,
                struct reply *reply)
{
    struct create_topic_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_create_topic_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    DMQ_ASSERT(!uuid_is_zero(body.request_id));
    if (fake_find_topic(b, body.topic_name) != NULL) {
        reply->error = DMQ_ERR_TOPIC_EXISTS;
        return;
    }
    int32_t partitions = body.partition_count < 0 ? 1 : body.partition_count;
    fake_add_topic(b, body.topic_name, partitions);
    struct create_topic_response *response = arena_alloc(arena, sizeof(*response));
    response->topic = (struct topic_description){.topic_name = body.topic_name,
                                                 .topic_id = b->topics[b->topic_count - 1].id,
                                                 .partition_count = partitions,
                                                 .replication_factor = 1};
    reply->desc = desc_create_topic_response();
    reply->body = response;
}

static void
on_delete_topic(struct fake_broker *b, struct arena *arena, const struct router_request *request,
                struct reply *reply)
{
    struct delete_topic_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_delete_topic_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    reply->error = DMQ_ERR_UNKNOWN_TOPIC_ID;
    for (int i = 0; i < b->topic_count; i++) {
        if (uuid_equal(b->topics[i].id, body.topic_id)) {
            fake_remove_topic(b, &b->topics[i]);
            reply->error = DMQ_OK;
            break;
        }
    }
    struct delete_topic_response *response = arena_alloc(arena, sizeof(*response));
    response->topic_id = body.topic_id;
    reply->desc = desc_delete_topic_response();
    reply->body = response;
}

/* The first topic that is named. */
static void
on_describe_topics(struct fake_broker *b, struct arena *arena, const struct router_request *request,
                   struct reply *reply)
{
    struct describe_topics_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_describe_topics_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    const struct topic *topic =
        body.topic_names_count > 0 ? fake_find_topic(b, body.topic_names[0]) : NULL;
    if (topic == NULL) {
        reply->error = DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    struct describe_topics_response *response = arena_alloc(arena, sizeof(*response));
    response->topics = arena_alloc(arena, sizeof(*response->topics));
    response->topics_count = 1;
    response->topics[0] = (struct topic_description){.topic_name = bytes_str(topic->name),
                                                     .topic_id = topic->id,
                                                     .partition_count = topic->partition_count,
                                                     .replication_factor = 1};
    reply->desc = desc_describe_topics_response();
    reply->body = response;
}

/* Answers with what was asked for, and changes nothing. */
static void
on_alter_topic(struct fake_broker *b, struct arena *arena, const struct router_request *request,
               struct reply *reply)
{
    struct alter_topic_request body;
    struct err_msg msg;
    DMQ_ASSERT(msg_decode(desc_alter_topic_request(), 0, buf_bytes(request->body), arena, &body,
                          &msg) == DMQ_OK);
    struct alter_topic_response *response = arena_alloc(arena, sizeof(*response));
    reply->error = DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    for (int i = 0; i < b->topic_count; i++) {
        if (uuid_equal(b->topics[i].id, body.topic_id)) {
            reply->error = DMQ_OK;
            response->topic.topic_name = bytes_str(b->topics[i].name);
        }
    }
    response->topic.config =
        arena_alloc(arena, body.config_count * sizeof(*response->topic.config));
    for (uint32_t i = 0; i < body.config_count; i++) {
        if (!body.config[i].remove) {
            response->topic.config[response->topic.config_count++] =
                (struct config_entry){body.config[i].name, body.config[i].value};
        }
    }
    reply->desc = desc_alter_topic_response();
    reply->body = response;
}

static void
on_init_producer_id(struct fake_broker *b, struct arena *arena, struct reply *reply)
{
    struct init_producer_id_response *response = arena_alloc(arena, sizeof(*response));
    response->producer_id = b->next_producer_id++;
    reply->desc = desc_init_producer_id_response();
    reply->body = response;
}

void
fake_carry_out(struct fake_broker *b, struct arena *arena, const struct router_request *request,
               int16_t api_key, struct reply *reply)
{
    switch (api_key) {
    case API_API_VERSIONS:
        on_api_versions(b, arena, reply);
        break;
    case API_METADATA:
        on_metadata(b, arena, request, reply);
        break;
    case API_PRODUCE:
        on_produce(b, arena, request, reply);
        break;
    case API_LIST_OFFSETS:
        on_list_offsets(b, arena, request, reply);
        break;
    case API_CREATE_TOPIC:
        on_create_topic(b, arena, request, reply);
        break;
    case API_DELETE_TOPIC:
        on_delete_topic(b, arena, request, reply);
        break;
    case API_DESCRIBE_TOPICS:
        on_describe_topics(b, arena, request, reply);
        break;
    case API_ALTER_TOPIC:
        on_alter_topic(b, arena, request, reply);
        break;
    case API_INIT_PRODUCER_ID:
        on_init_producer_id(b, arena, reply);
        break;
    default:
        reply->error = DMQ_ERR_UNSUPPORTED_VERSION;
    }
}
