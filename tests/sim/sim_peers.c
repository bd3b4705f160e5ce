#include "tests/sim/sim_peers.h"

#include <string.h>

#define FIRST_LEADER_EPOCH 5

/* ---- what the controller has committed ------------------------------------------------------- */

static void
put_broker(struct sim_broker *sim, int32_t broker_id)
{
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("b"), .port = 9000 + broker_id},
        {.listener = bytes_str("node"), .host = bytes_str("b"), .port = 10000 + broker_id}};
    const struct broker_record record = {.broker_id = broker_id,
                                         .broker_epoch = image_version(sim->ctl->image) + 1,
                                         .endpoints = endpoints,
                                         .endpoints_count = 2};
    sim_controller_add(sim->ctl, RECORD_BROKER, &record);
}

/* The broker applies what was committed. */
static void
commit(struct sim_broker *sim)
{
    sim_controller_commit(sim->ctl);
    bool lives = sim_broker_run(sim);
    DMQ_ASSERT(lives);
}

void
sim_peers_begin(struct sim_broker *sim)
{
    sim->keeps_sent = true;
    put_broker(sim, 102);
    put_broker(sim, 103);
    commit(sim);
}

int64_t
sim_peers_epoch(struct sim_broker *sim, int32_t broker_id)
{
    return image_broker(sim->ctl->image, broker_id)->broker_epoch;
}

void
sim_peers_restart(struct sim_broker *sim, int32_t broker_id)
{
    put_broker(sim, broker_id);
    commit(sim);
}

struct uuid
sim_peers_topic(struct sim_broker *sim, int32_t leader, uint32_t in_sync)
{
    int32_t replicas[] = {101, 102, 103};
    struct config_entry small = {bytes_str("segment.bytes"), bytes_str("8192")};
    const struct topic_record topic = {.name = bytes_str("orders"),
                                       .topic_id = {.b = {0x77}},
                                       .config = &small,
                                       .config_count = 1};
    const struct partition_record p = {.topic_id = topic.topic_id,
                                       .replicas = replicas,
                                       .replicas_count = 3,
                                       .isr = replicas,
                                       .isr_count = in_sync,
                                       .leader = leader,
                                       .leader_epoch = FIRST_LEADER_EPOCH,
                                       .min_isr = 2};
    sim_controller_add(sim->ctl, RECORD_TOPIC, &topic);
    sim_controller_add(sim->ctl, RECORD_PARTITION, &p);
    commit(sim);
    return topic.topic_id;
}

void
sim_peers_change(struct sim_broker *sim, struct uuid topic_id, int32_t leader, const int32_t *isr,
                 uint32_t isr_count)
{
    struct partition_record p = *image_partition(sim->ctl->image, topic_id, 0);
    p.leader_epoch += leader != p.leader;
    p.partition_epoch++;
    p.leader = leader;
    p.isr = (int32_t *)(uintptr_t)isr;
    p.isr_count = isr_count;
    sim_controller_add(sim->ctl, RECORD_PARTITION, &p);
    commit(sim);
}

/* ---- what others say ------------------------------------------------------------------------- */

void
sim_peers_link(struct sim_broker *sim, int32_t broker_id, bool up)
{
    struct brk_event event = {.kind = up ? BRK_PEER_UP : BRK_PEER_DOWN};
    event.u.peer = broker_id;
    sim_broker_step(sim, &event);
    sim_broker_run(sim);
}

int64_t
sim_peers_take(struct sim_broker *sim, int api_key, struct arena *arena, void *ret_request)
{
    size_t i = 0;
    while (i < sim->sent_count && sim->sent[i].u.send.api_key != api_key) {
        i++;
    }
    if (i == sim->sent_count) {
        return 0;
    }
    struct err_msg err;
    struct brk_effect effect = sim->sent[i];
    struct bytes body = buf_bytes(effect.u.send.body);
    uint8_t *copy = arena_alloc(arena, body.size); /* outlives the frame */
    memmove(&sim->sent[i], &sim->sent[i + 1], (--sim->sent_count - i) * sizeof(effect));
    memcpy(copy, body.data, body.size);
    dmq_err failed = msg_decode(api_find((int16_t)api_key)->request(), 0, bytes_of(copy, body.size),
                                arena, ret_request, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    int64_t tag = effect.u.send.tag;
    brk_effect_deinit(&effect);
    return tag;
}

static void
reply(struct sim_broker *sim, enum brk_event_kind kind, int64_t tag, struct buf **frames,
      size_t count)
{
    struct brk_event event = {.kind = kind};
    event.u.reply.tag = tag;
    event.u.reply.frames = frames;
    event.u.reply.count = count;
    sim_broker_step(sim, &event);
    sim_broker_run(sim);
}

void
sim_peers_answer(struct sim_broker *sim, int64_t tag, dmq_err err,
                 const struct fetch_response *body, struct buf **attachments, size_t count)
{
    const struct response_header header = {.error = err};
    struct buf *frames[8] = {msg_encode_buf(desc_response_header(), 0, &header)};
    size_t used = 1;
    if (err == DMQ_OK) {
        frames[used++] = msg_encode_buf(desc_fetch_response(), 0, body);
    }
    for (size_t i = 0; i < count; i++) {
        frames[used++] = attachments[i];
    }
    reply(sim, BRK_PEER_REPLY, tag, frames, used);
}

void
sim_peers_decide(struct sim_broker *sim, int64_t tag, dmq_err err)
{
    const struct response_header header = {.error = err};
    const struct alter_partition_response body = {.partition_epoch = 0};
    struct buf *frames[2] = {msg_encode_buf(desc_response_header(), 0, &header),
                             msg_encode_buf(desc_alter_partition_response(), 0, &body)};
    if (err != DMQ_OK) {
        buf_unref(frames[1]);
    }
    reply(sim, BRK_CONTROLLER_REPLY, tag, frames, err == DMQ_OK ? 2 : 1);
}

struct buf *
sim_peers_batch(int64_t base_offset, int32_t leader_epoch, int32_t count)
{
    struct buf *batch = sim_batch_make(&(struct sim_batch){.value = "v", .count = count});
    batch_stamp(batch->data, base_offset, leader_epoch);
    return batch;
}

struct partition *
sim_peers_partition(struct sim_broker *sim, struct uuid topic_id)
{
    struct partition *p = partition_find(sim->brk, topic_id, 0);
    DMQ_ASSERT(p != NULL);
    return p;
}
