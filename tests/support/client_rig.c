#include "tests/support/client_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"

const struct sender_config rig_sender = {.acks = -1,
                                         .idempotent = true,
                                         .max_in_flight = 5,
                                         .delivery_timeout_ms = 120000,
                                         .request_timeout_ms = 30000};

void
rig_init(struct rig *rig, int addresses)
{
    struct client_address list[RIG_MAX];
    struct accum_config config = {.batch_bytes = 1 << 16,
                                  .buffer_bytes = 1 << 20,
                                  .linger_ms = 1000000,
                                  .max_in_flight = RIG_MAX,
                                  .seed = 1};
    *rig = (struct rig){.now_ms = 1000,
                        .leaders = {1, 1, 1, 1},
                        .leader_epoch = 3,
                        .topic_id = {{9}},
                        .cluster_id = {{7}},
                        .metadata_version = 11,
                        .max_requests = 100,
                        .max_bytes = 1 << 30};
    for (int i = 0; i < addresses; i++) {
        snprintf(list[i].host, sizeof(list[i].host), "b%d", i + 1);
        list[i].port = 9501;
    }
    arena_init(&rig->arena, (size_t)64 << 20);
    accum_init(&rig->accum, &config);
    rig->client = client_new("test", list, (size_t)addresses, 1);
    rig_tick(rig, 0);
}

static void
forget(struct rig *rig, struct rig_sent *sent)
{
    for (int i = 0; i < rig->sent_count; i++) {
        if (rig->sent[i] == sent) {
            rig->sent_count--;
            memmove(&rig->sent[i], &rig->sent[i + 1], (size_t)(rig->sent_count - i) * sizeof(sent));
            break;
        }
    }
    for (size_t i = 0; i < sent->frame_count; i++) {
        buf_unref(sent->frames[i]);
    }
    free(sent);
}

/* ---- effects --------------------------------------------------------------------------------- */

static const struct struct_desc *
known_body(int16_t api_key)
{
    switch (api_key) {
    case API_METADATA:
        return desc_metadata_request();
    case API_PRODUCE:
        return desc_produce_request();
    case API_FETCH:
        return desc_fetch_request();
    case API_LIST_OFFSETS:
        return desc_list_offsets_request();
    default:
        return NULL;
    }
}

static void
on_send(struct rig *rig, const struct client_effect *effect)
{
    struct err_msg msg;
    struct rig_sent *sent = calloc(1, sizeof(*sent));
    DMQ_ASSERT(rig->sent_count < RIG_MAX && effect->u.send.count <= RIG_MAX);
    sent->conn = effect->conn;
    sent->frame_count = effect->u.send.count;
    for (size_t i = 0; i < sent->frame_count; i++) {
        /* A copy, as a socket makes one: the sender may change its batch afterwards. */
        sent->frames[i] = buf_copy(buf_bytes(rig->effects.frames[effect->u.send.first + i]));
    }
    DMQ_ASSERT(msg_decode(desc_request_header(), 0, buf_bytes(sent->frames[0]), &rig->arena,
                          &sent->header, &msg) == DMQ_OK);
    const struct struct_desc *desc = known_body(sent->header.api_key);
    DMQ_ASSERT(desc == NULL || msg_decode(desc, 0, buf_bytes(sent->frames[1]), &rig->arena,
                                          &sent->u, &msg) == DMQ_OK);
    rig->sent[rig->sent_count++] = sent;
}

static void
on_batch_done(struct rig *rig, struct send_batch *batch)
{
    DMQ_ASSERT(rig->done_count < RIG_MAX);
    rig->done[rig->done_count].number = (int64_t)batch->number;
    rig->done[rig->done_count].partition = batch->partition;
    rig->done[rig->done_count].count = batch->count;
    rig->done[rig->done_count].result = batch->result;
    rig->done[rig->done_count++].base_offset = batch->base_offset;
    accum_done(&rig->accum, batch);
    accum_check_invariants(&rig->accum);
}

static void
on_other(struct rig *rig, struct client_effect *effect)
{
    DMQ_ASSERT(rig->other_count < RIG_MAX);
    rig->others[rig->other_count++] = *effect;
    if (effect->type == CLIENT_ANSWERED) {
        effect->u.body = NULL;
    } else if (effect->type == CLIENT_OFFSETS) {
        effect->u.offsets.offsets = NULL;
    } else if (effect->type == CLIENT_RECORDS) {
        effect->u.records.frame = NULL;
    }
}

static void
drop_sent_of(struct rig *rig, uint32_t conn)
{
    for (int i = 0; i < rig->sent_count; i++) {
        if (rig->sent[i]->conn == conn) {
            forget(rig, rig->sent[i--]);
        }
    }
}

static void
carry_out(struct rig *rig)
{
    for (size_t i = 0; i < rig->effects.count; i++) {
        struct client_effect *effect = &rig->effects.items[i];
        switch (effect->type) {
        case CLIENT_CONNECT:
            rig->connecting[effect->conn] = true;
            rig->connects++;
            break;
        case CLIENT_DISCONNECT:
            rig->connecting[effect->conn] = false;
            rig->disconnects++;
            drop_sent_of(rig, effect->conn);
            break;
        case CLIENT_SEND:
            on_send(rig, effect);
            break;
        case CLIENT_BATCH_DONE:
            on_batch_done(rig, effect->u.batch);
            break;
        default:
            on_other(rig, effect);
        }
    }
    client_effects_clear(&rig->effects);
    client_check_invariants(rig->client);
}

void
rig_event(struct rig *rig, const struct client_event *event)
{
    struct client_event copy = *event;
    copy.now_ms = rig->now_ms;
    if (rig->arm != NULL) {
        rig->arm(true);
    }
    client_step(rig->client, &copy, &rig->effects);
    if (rig->arm != NULL) {
        rig->arm(false);
    }
    carry_out(rig);
}

void
rig_tick(struct rig *rig, int64_t ms)
{
    struct client_event event = {.type = CLIENT_TICK};
    rig->now_ms += ms;
    rig_event(rig, &event);
}

bool
rig_take(struct rig *rig, enum client_effect_type type, struct client_effect *ret_effect)
{
    for (int i = 0; i < rig->other_count; i++) {
        if (rig->others[i].type == type) {
            *ret_effect = rig->others[i];
            rig->other_count--;
            memmove(&rig->others[i], &rig->others[i + 1],
                    (size_t)(rig->other_count - i) * sizeof(*ret_effect));
            return true;
        }
    }
    return false;
}

void
rig_deinit(struct rig *rig)
{
    client_stop(rig->client, DMQ_ERR_CLOSED, &rig->effects);
    carry_out(rig);
    while (rig->sent_count > 0) {
        forget(rig, rig->sent[0]);
    }
    client_effects_deinit(&rig->effects);
    for (int i = 0; i < rig->other_count; i++) {
        struct client_effect *effect = &rig->others[i];
        if (effect->type == CLIENT_ANSWERED) {
            buf_unref(effect->u.body);
        } else if (effect->type == CLIENT_OFFSETS) {
            free(effect->u.offsets.offsets);
        } else if (effect->type == CLIENT_RECORDS) {
            buf_unref(effect->u.records.frame);
        }
    }
    client_free(rig->client);
    accum_deinit(&rig->accum);
    arena_deinit(&rig->arena);
}

/* ---- requests and answers -------------------------------------------------------------------- */

struct rig_sent *
rig_nth(struct rig *rig, int16_t api_key, int n)
{
    for (int i = 0; i < rig->sent_count; i++) {
        if (rig->sent[i]->header.api_key == api_key && n-- == 0) {
            return rig->sent[i];
        }
    }
    return NULL;
}

struct rig_sent *
rig_find(struct rig *rig, int16_t api_key)
{
    return rig_nth(rig, api_key, 0);
}

int
rig_count(struct rig *rig, int16_t api_key)
{
    int count = 0;
    for (int i = 0; i < rig->sent_count; i++) {
        count += rig->sent[i]->header.api_key == api_key;
    }
    return count;
}

static void
respond(struct rig *rig, struct rig_sent *sent, struct buf **frames, size_t count)
{
    struct client_event event = {.type = CLIENT_RESPONSE, .conn = sent->conn};
    forget(rig, sent);
    event.u.response.frames = frames;
    event.u.response.count = count;
    rig_event(rig, &event);
    buf_unref(frames[0]);
    if (count > 1) {
        buf_unref(frames[1]);
    }
}

static struct buf *
response_header(const struct rig *rig, const struct rig_sent *sent, dmq_err err)
{
    struct response_header header = {.correlation_id = sent->header.correlation_id,
                                     .error = err,
                                     .metadata_version = rig->metadata_version};
    return msg_encode_buf(desc_response_header(), 0, &header);
}

void
rig_answer(struct rig *rig, struct rig_sent *sent, dmq_err err, const struct struct_desc *desc,
           const void *body)
{
    DMQ_ASSERT(sent != NULL);
    struct buf *frames[2] = {response_header(rig, sent, err), NULL};
    if (err == DMQ_OK) {
        frames[1] = msg_encode_buf(desc, 0, body);
    }
    respond(rig, sent, frames, err == DMQ_OK ? 2 : 1);
}

void
rig_answer_with(struct rig *rig, struct rig_sent *sent, const struct struct_desc *desc,
                const void *body, struct buf **attachments)
{
    struct buf *frames[RIG_MAX] = {response_header(rig, sent, DMQ_OK),
                                   msg_encode_buf(desc, 0, body)};
    size_t count = 2;
    for (; attachments[count - 2] != NULL; count++) {
        frames[count] = attachments[count - 2];
    }
    respond(rig, sent, frames, count);
}

static void
answer_api_versions(struct rig *rig, uint32_t conn, int32_t node_id)
{
    struct api_range apis[RIG_MAX] = {0};
    struct api_versions_response body = {.cluster_id = rig->cluster_id,
                                         .node_id = node_id,
                                         .max_requests_in_flight = rig->max_requests,
                                         .max_bytes_in_flight = rig->max_bytes,
                                         .max_message_bytes = 1 << 30,
                                         .apis = apis};
    for (size_t i = 0; i < api_table_count; i++) {
        apis[body.apis_count++].api_key = api_table[i].key;
    }
    struct rig_sent *sent = rig_find(rig, API_API_VERSIONS);
    if (rig->client->broken) {
        return;
    }
    DMQ_ASSERT(sent != NULL && sent->conn == conn);
    rig_answer(rig, sent, DMQ_OK, desc_api_versions_response(), &body);
}

void
rig_connect(struct rig *rig, uint32_t conn, int32_t node_id)
{
    struct client_event event = {.type = CLIENT_CONNECTED, .conn = conn};
    if (rig->client->broken) {
        return;
    }
    DMQ_ASSERT(rig->connecting[conn]);
    rig->connecting[conn] = false;
    rig_event(rig, &event);
    answer_api_versions(rig, conn, node_id);
}

void
rig_disconnect(struct rig *rig, uint32_t conn, dmq_err reason)
{
    struct client_event event = {.type = CLIENT_DISCONNECTED, .conn = conn};
    struct err_msg msg;
    err_set(&msg, reason, "the test ends connection %u", conn);
    event.u.reason = &msg;
    rig->connecting[conn] = false;
    drop_sent_of(rig, conn);
    rig_event(rig, &event);
}

void
rig_answer_metadata(struct rig *rig)
{
    struct rig_sent *sent = rig_find(rig, API_METADATA);
    struct metadata_broker brokers[3];
    struct metadata_partition partitions[RIG_PARTITIONS] = {0};
    struct metadata_topic topics[RIG_MAX] = {0};
    char hosts[3][8];
    struct metadata_response body = {
        .cluster_id = rig->cluster_id, .brokers = brokers, .brokers_count = 3, .topics = topics};
    if (rig->client->broken || (sent == NULL && rig->arm != NULL)) {
        return;
    }
    DMQ_ASSERT(sent != NULL);
    for (int i = 0; i < 3; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), "b%d", i + 1);
        brokers[i] =
            (struct metadata_broker){.broker_id = i + 1, .host = bytes_str(hosts[i]), .port = 9501};
    }
    for (int i = 0; i < RIG_PARTITIONS; i++) {
        partitions[i] = (struct metadata_partition){
            .partition = i, .leader = rig->leaders[i], .leader_epoch = rig->leader_epoch};
    }
    for (uint32_t i = 0; i < sent->u.metadata.names_count; i++) {
        struct metadata_topic *topic = &topics[body.topics_count++];
        topic->name = sent->u.metadata.names[i];
        if (!bytes_equal_str(topic->name, RIG_TOPIC) || uuid_is_zero(rig->topic_id)) {
            topic->error = DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
            continue;
        }
        topic->topic_id = rig->topic_id;
        topic->max_message_bytes = 1 << 20;
        topic->partitions = partitions;
        topic->partitions_count = RIG_PARTITIONS;
    }
    rig_answer(rig, sent, DMQ_OK, desc_metadata_response(), &body);
}

void
rig_open(struct rig *rig)
{
    for (uint32_t conn = 0; conn < RIG_MAX && !rig->client->broken; conn++) {
        if (rig->connecting[conn]) {
            rig_connect(rig, conn, 1);
            rig_answer_metadata(rig);
            return;
        }
    }
    DMQ_ASSERT(rig->client->broken);
}

void
rig_answer_producer_id(struct rig *rig, int64_t producer_id)
{
    struct init_producer_id_response body = {.producer_id = producer_id};
    if (rig->client->broken) {
        return;
    }
    rig_answer(rig, rig_find(rig, API_INIT_PRODUCER_ID), DMQ_OK, desc_init_producer_id_response(),
               &body);
}

void
rig_answer_produce(struct rig *rig, dmq_err err, int64_t base_offset)
{
    struct rig_sent *sent = rig_find(rig, API_PRODUCE);
    struct produce_result results[RIG_MAX] = {0};
    if (rig->client->broken) {
        return;
    }
    DMQ_ASSERT(sent != NULL);
    struct produce_response body = {.partitions = results,
                                    .partitions_count = sent->u.produce.partitions_count};
    for (uint32_t i = 0; i < body.partitions_count; i++) {
        results[i] = (struct produce_result){.topic_id = sent->u.produce.partitions[i].topic_id,
                                             .partition = sent->u.produce.partitions[i].partition,
                                             .error = err,
                                             .base_offset = err == DMQ_OK ? base_offset : -1};
    }
    rig_answer(rig, sent, DMQ_OK, desc_produce_response(), &body);
}

/* ---- a producer ------------------------------------------------------------------------------ */

void
rig_producer(struct rig *rig, const struct sender_config *config)
{
    struct client_effect effect;
    struct client_event opened = {.type = CLIENT_PRODUCER_OPENED, .id = 1};
    struct client_event wanted = {.type = CLIENT_TOPIC_WANTED};
    opened.u.producer = config;
    wanted.u.topic = RIG_TOPIC;
    rig_event(rig, &opened);
    rig_event(rig, &wanted);
    rig_answer_metadata(rig);
    if (!rig_take(rig, CLIENT_TOPIC, &effect)) {
        DMQ_ASSERT(rig->arm != NULL); /* a test that lets allocations fail */
        rig->client->broken = true;
        return;
    }
    rig->topic = accum_topic(&rig->accum, RIG_TOPIC);
    DMQ_ASSERT(accum_topic_known(rig->topic, effect.u.topic, RIG_PARTITIONS, 1 << 20));
}

void
rig_send(struct rig *rig, int32_t partition, int count)
{
    bool wake;
    if (rig->client->broken) {
        return;
    }
    struct accum_record record = {.partition = partition,
                                  .timestamp = (int64_t)rig->accum.next_number};
    record.value = bytes_str("0123456789");
    for (int i = 0; i < count; i++) {
        DMQ_ASSERT(accum_append(&rig->accum, rig->topic, &record, rig->now_ms, &wake) == DMQ_OK);
    }
    accum_flush(&rig->accum);
    struct client_event event = {.type = CLIENT_BATCH_CLOSED, .id = 1};
    event.u.batch = accum_take(&rig->accum, rig->now_ms);
    DMQ_ASSERT(event.u.batch != NULL && event.u.batch->count == count);
    rig_event(rig, &event);
}

struct batch_header
rig_batch(const struct rig_sent *sent, size_t i)
{
    struct batch_header header;
    DMQ_ASSERT(sent != NULL && sent->frame_count > 2 + i);
    DMQ_ASSERT(batch_check(buf_bytes(sent->frames[2 + i]), &(struct batch_limits){0},
                           &(struct err_msg){0}, &header) == DMQ_OK);
    return header;
}
