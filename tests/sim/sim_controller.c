#include "tests/sim/sim_controller.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

#define TERM 1
#define ID_BLOCK 10

/* ---- entries --------------------------------------------------------------------------------- */

void
sim_controller_add(struct sim_controller *ctl, int type, const void *body)
{
    int64_t version = image_version(ctl->image);
    struct err_msg err;
    DMQ_ASSERT(version < SIM_MAX_ENTRIES && ctl->entries[version].count < 64);
    size_t before = ctl->entries[version].bytes.size;
    record_encode(type, body, &ctl->entries[version].bytes);
    ctl->entries[version].sizes[ctl->entries[version].count++] =
        ctl->entries[version].bytes.size - before;
    dmq_err failed = meta_apply_body(ctl->image, type, body, &err);
    DMQ_ASSERT(failed == DMQ_OK);
}

void
sim_controller_commit(struct sim_controller *ctl)
{
    meta_advance(ctl->image, image_version(ctl->image) + 1, TERM);
}

struct sim_controller *
sim_controller_new(void)
{
    struct sim_controller *ctl = calloc(1, sizeof(*ctl));
    DMQ_ASSERT(ctl != NULL);
    ctl->id = 1;
    ctl->image = image_new();
    ctl->next_producer_id = 1;
    memset(ctl->cluster_id.b, 0xc1, sizeof(ctl->cluster_id.b));
    sim_controller_add(ctl, RECORD_CLUSTER,
                       &(struct cluster_record){.cluster_id = ctl->cluster_id});
    sim_controller_commit(ctl);
    return ctl;
}

void
sim_controller_free(struct sim_controller *ctl)
{
    if (ctl == NULL) {
        return;
    }
    for (size_t i = 0; i < SIM_MAX_ENTRIES; i++) {
        outbuf_deinit(&ctl->entries[i].bytes);
    }
    image_free(ctl->image);
    free(ctl);
}

/* ---- decisions ------------------------------------------------------------------------------- */

/* A new state of a partition: another leader, the next epochs. */
static void
change_leader(struct sim_controller *ctl, const struct partition_record *now, int32_t leader)
{
    struct partition_record next = *now;
    next.leader = leader;
    next.leader_epoch++;
    next.partition_epoch++;
    sim_controller_add(ctl, RECORD_PARTITION, &next);
}

static void
elect_all(struct sim_controller *ctl, int32_t broker_id, int32_t leader)
{
    for (uint32_t i = 0; i < image_topic_count(ctl->image); i++) {
        struct uuid id = image_topic_at(ctl->image, i)->record->topic_id;
        uint32_t count = image_topic_at(ctl->image, i)->partition_count;
        for (uint32_t n = 0; n < count; n++) {
            const struct partition_record *p = image_partition(ctl->image, id, (int32_t)n);
            if (p->replicas[0] == broker_id && p->leader != leader) {
                change_leader(ctl, p, leader);
            }
        }
    }
}

struct uuid
sim_controller_create_topic(struct sim_controller *ctl, int32_t broker_id, const char *name,
                            int32_t partitions, const struct config_entry *config,
                            uint32_t config_count)
{
    struct uuid id = {.b = {0x70}};
    put_be64(id.b + 8, (uint64_t)image_version(ctl->image) + 1);
    const struct topic_record topic = {.name = bytes_str(name),
                                       .topic_id = id,
                                       .config = (struct config_entry *)(uintptr_t)config,
                                       .config_count = config_count};
    sim_controller_add(ctl, RECORD_TOPIC, &topic);
    const struct broker_record *broker = image_broker(ctl->image, broker_id);
    int64_t durability = image_topic_by_id(ctl->image, id)->config.durability;
    for (int32_t n = 0; n < partitions; n++) {
        struct partition_record p = {.topic_id = id,
                                     .partition = n,
                                     .replicas = &broker_id,
                                     .replicas_count = 1,
                                     .isr = &broker_id,
                                     .isr_count = 1,
                                     .leader = broker->fenced ? -1 : broker_id,
                                     .durability = (int8_t)durability,
                                     .min_isr = 1};
        sim_controller_add(ctl, RECORD_PARTITION, &p);
    }
    sim_controller_commit(ctl);
    return id;
}

void
sim_controller_alter_topic(struct sim_controller *ctl, struct uuid topic_id,
                           const struct config_entry *config, uint32_t config_count, bool new_epoch)
{
    struct topic_record topic = *image_topic_by_id(ctl->image, topic_id)->record;
    topic.config = (struct config_entry *)(uintptr_t)config;
    topic.config_count = config_count;
    sim_controller_add(ctl, RECORD_TOPIC, &topic);
    const struct image_topic *now = image_topic_by_id(ctl->image, topic_id);
    for (uint32_t n = 0; new_epoch && n < now->partition_count; n++) {
        struct partition_record p = *now->partitions[n];
        p.leader_epoch++;
        p.partition_epoch++;
        sim_controller_add(ctl, RECORD_PARTITION, &p);
    }
    sim_controller_commit(ctl);
}

void
sim_controller_delete_topic(struct sim_controller *ctl, struct uuid topic_id)
{
    sim_controller_add(ctl, RECORD_TOPIC_REMOVED,
                       &(struct topic_removed_record){.topic_id = topic_id});
    sim_controller_commit(ctl);
}

/* A registration ends the leaderships of the former incarnation in the same entry. -1: it is to ask
 * again, for it names another registration than there is. */
static int64_t
register_broker(struct sim_controller *ctl, const struct register_broker_request *request)
{
    int64_t epoch = image_version(ctl->image) + 1;
    const struct broker_record *old = image_broker(ctl->image, request->broker_id);
    if (old != NULL && uuid_equal(old->incarnation, request->incarnation)) {
        return old->broker_epoch;
    }
    if (old != NULL && old->broker_epoch != request->replaces) {
        return -1;
    }
    const struct broker_record broker = {.broker_id = request->broker_id,
                                         .broker_epoch = epoch,
                                         .incarnation = request->incarnation,
                                         .fenced = true,
                                         .endpoints = request->endpoints,
                                         .endpoints_count = request->endpoints_count,
                                         .folders = request->folders,
                                         .folders_count = request->folders_count};
    sim_controller_add(ctl, RECORD_BROKER, &broker);
    elect_all(ctl, request->broker_id, -1);
    sim_controller_commit(ctl);
    return epoch;
}

void
sim_controller_applied(struct sim_controller *ctl, int32_t broker_id, int64_t version)
{
    const struct broker_record *broker = image_broker(ctl->image, broker_id);
    if (broker == NULL || !broker->fenced || version < broker->broker_epoch) {
        return;
    }
    const struct broker_change_record change = {.broker_id = broker_id,
                                                .broker_epoch = broker->broker_epoch};
    sim_controller_add(ctl, RECORD_BROKER_CHANGE, &change);
    elect_all(ctl, broker_id, broker_id);
    sim_controller_commit(ctl);
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct buf *
encode(const struct struct_desc *desc, const void *msg)
{
    struct buf *buf = msg_encode_buf(desc, 0, msg);
    DMQ_ASSERT(buf != NULL);
    return buf;
}

/* One broker is all there is: only the durability can be another. */
static struct buf *
alter_partition(struct sim_controller *ctl, const struct alter_partition_request *request)
{
    struct partition_record p = *image_partition(ctl->image, request->topic_id, request->partition);
    DMQ_ASSERT(p.partition_epoch == request->partition_epoch && request->isr_count == 1);
    p.durability = request->durability;
    p.partition_epoch++;
    sim_controller_add(ctl, RECORD_PARTITION, &p);
    sim_controller_commit(ctl);
    const struct alter_partition_response response = {.partition_epoch =
                                                          request->partition_epoch + 1};
    return encode(desc_alter_partition_response(), &response);
}

static struct buf *
answer_body(struct sim_controller *ctl, int api_key, const void *request)
{
    if (api_key == API_REGISTER_BROKER) {
        int64_t epoch = register_broker(ctl, request);
        const struct register_broker_request *asked = request;
        const struct broker_record *present = image_broker(ctl->image, asked->broker_id);
        const struct register_broker_response response = {
            .cluster_id = ctl->cluster_id, .broker_epoch = epoch, .present = present->broker_epoch};
        return encode(desc_register_broker_response(), &response);
    }
    if (api_key == API_BROKER_HEARTBEAT) {
        const struct broker_status *status =
            &((const struct broker_heartbeat_request *)request)->status;
        sim_controller_applied(ctl, status->broker_id, status->applied_version);
        const struct broker_heartbeat_response response = {.version = image_version(ctl->image),
                                                           .may_shut_down = status->want_shutdown};
        return encode(desc_broker_heartbeat_response(), &response);
    }
    if (api_key == API_ALTER_PARTITION) {
        return alter_partition(ctl, request);
    }
    if (api_key == API_COMMITTED_VERSION) {
        const struct committed_version_response response = {.version = image_version(ctl->image)};
        return encode(desc_committed_version_response(), &response);
    }
    DMQ_ASSERT(api_key == API_ALLOCATE_PRODUCER_IDS);
    const struct allocate_producer_ids_response response = {
        .first_producer_id = ctl->next_producer_id, .count = ID_BLOCK};
    ctl->next_producer_id += ID_BLOCK;
    return encode(desc_allocate_producer_ids_response(), &response);
}

void
sim_controller_answer(struct sim_controller *ctl, const struct brk_effect *send,
                      struct buf *ret_frames[2])
{
    const struct api_desc *api = api_find(send->u.send.api_key);
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, 1 << 20);
    void *request = arena_alloc(&arena, api->request()->size);
    dmq_err failed =
        msg_decode(api->request(), 0, buf_bytes(send->u.send.body), &arena, request, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    ret_frames[1] = answer_body(ctl, api->key, request);
    ret_frames[0] =
        encode(desc_response_header(),
               &(struct response_header){.metadata_version = image_version(ctl->image)});
    arena_deinit(&arena);
}

struct buf *
sim_controller_push(struct sim_controller *ctl, int64_t applied)
{
    int64_t last = image_version(ctl->image);
    if (applied >= last) {
        return NULL;
    }
    struct arena arena;
    arena_init(&arena, 1 << 24);
    size_t count = (size_t)(last - applied);
    struct metadata_entry *entries = arena_alloc(&arena, count * sizeof(*entries));
    DMQ_ASSERT(entries != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)applied + i;
        struct bytes *records = arena_alloc(&arena, ctl->entries[at].count * sizeof(*records));
        DMQ_ASSERT(records != NULL);
        const uint8_t *pos = ctl->entries[at].bytes.data;
        for (uint32_t r = 0; r < ctl->entries[at].count; r++) {
            records[r] = bytes_of(pos, ctl->entries[at].sizes[r]);
            pos += ctl->entries[at].sizes[r];
        }
        entries[i] = (struct metadata_entry){.version = (int64_t)at + 1,
                                             .term = TERM,
                                             .records = records,
                                             .records_count = ctl->entries[at].count};
    }
    const struct push_metadata_request push = {.cluster_id = ctl->cluster_id,
                                               .controller_id = ctl->id,
                                               .leader_term = TERM,
                                               .prev_version = applied,
                                               .version = last,
                                               .entries = entries,
                                               .entries_count = (uint32_t)count};
    struct buf *body = encode(desc_push_metadata_request(), &push);
    arena_deinit(&arena);
    return body;
}
