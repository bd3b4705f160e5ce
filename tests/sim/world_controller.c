#include <stdio.h>
#include <stdlib.h>

#include "controller/store/raft_store.h"
#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/world.h"

#define SESSION_MS 2000

static void step(struct process *p, struct ctl_event *event);

/* ---- effects --------------------------------------------------------------------------------- */

static struct link *
broker_link_of(struct process *p)
{
    return link_dial(p, world_process(p->world, PROCESS_BROKER, 0), PORT_NODE, 0);
}

static void
push(struct process *p, struct ctl_effect *effect)
{
    struct link *link = broker_link_of(p);
    const struct request_header header = {.protocol = WIRE_PROTOCOL,
                                          .api_key = API_PUSH_METADATA,
                                          .correlation_id = (int64_t)effect->u.push.number};
    struct buf **frames = malloc(2 * sizeof(*frames));
    DMQ_ASSERT(frames != NULL);
    frames[0] = msg_encode_buf(desc_request_header(), 0, &header);
    frames[1] = buf_ref(effect->u.push.body);
    p->pushes[p->push_count++ % 8] = effect->u.push.number;
    link_send(link, 0, frames, 2);
    if (!link->up) { /* surely not sent: told after this step */
        link->ended = true;
        world_at(p->world, p->world->now_us,
                 (struct world_event){
                     .kind = WORLD_LINK_DOWN, .process = p, .life = p->life, .link = link});
    }
    ctl_effect_deinit(effect);
}

static void
carry_out(struct process *p, struct ctl_effect *effect)
{
    switch (effect->kind) {
    case CTL_PERSIST:
        lane_push(p, LANE_STORE, &(struct effect){.u.ctl = *effect});
        break;
    case CTL_REPLY:
        link_reply(p, buf_bytes(effect->u.reply.to), effect->u.reply.frames, effect->u.reply.count);
        buf_unref(effect->u.reply.to);
        break;
    case CTL_CONNECT:
        broker_link_of(p);
        break;
    case CTL_PUSH:
        push(p, effect);
        break;
    case CTL_SEND:
    case CTL_ASK:
    case CTL_PROBE_MATE:
        DMQ_UNREACHABLE(); /* it is the only one */
    case CTL_DISCONNECT:
        break;
    case CTL_CLUSTER:
        p->cluster_id = effect->u.cluster_id;
        break;
    case CTL_PROBE:
        if (!world_process(p->world, PROCESS_BROKER, 0)->alive) {
            p->probed = true;
        }
        break;
    case CTL_READY:
        world_trace(p->world, "controller %d ready", p->id);
        break;
    case CTL_LOG:
        world_trace(p->world, "controller %d: %s", p->id, effect->u.log.line);
        break;
    case CTL_FAIL:
        world_fail(p->world, "a controller gave up");
        break;
    }
}

static void
step(struct process *p, struct ctl_event *event)
{
    struct ctl_effects effects = {0};
    event->now_ms = process_now_ms(p);
    ctl_step(p->ctl, event, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        carry_out(p, &effects.items[i]);
    }
    effects.count = 0;
    ctl_effects_deinit(&effects);
    process_tick_at(p, ctl_deadline(p->ctl));
    if (p->probed) {
        p->probed = false;
        controller_refused(p, world_process(p->world, PROCESS_BROKER, 0)->id);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

void
controller_tick(struct process *p)
{
    step(p, &(struct ctl_event){.kind = CTL_TICK});
}

void
controller_refused(struct process *p, int32_t broker_id)
{
    step(p, &(struct ctl_event){.kind = CTL_PEER_GONE, .u.peer = broker_id});
}

void
controller_lane(struct process *p)
{
    struct effect *done = LIST_ENTRY(list_pop(&p->lanes[LANE_STORE]), struct effect, link);
    struct ctl_effect *effect = &done->u.ctl;
    struct ctl_event event = {.kind = CTL_PERSISTED};
    event.u.persisted.seq = effect->u.persist->seq;
    event.u.persisted.err = raft_store_write(p->raft_store, effect->u.persist);
    ctl_effect_deinit(effect);
    free(done);
    lane_done(p, LANE_STORE);
    step(p, &event);
}

static void
push_ended(struct process *p, uint64_t number, dmq_err err, struct bytes body)
{
    for (size_t i = 0; i < 8; i++) {
        if (p->pushes[i] == number && number != 0) {
            p->pushes[i] = 0;
            struct ctl_event event = {.kind = CTL_PUSHED};
            event.u.pushed.broker_id = world_process(p->world, PROCESS_BROKER, 0)->id;
            event.u.pushed.number = number;
            event.u.pushed.err = err;
            event.u.pushed.body = body;
            step(p, &event);
            return;
        }
    }
}

/* The end of a connection, and for each push on its way the news that there will be no answer. */
void
controller_link(struct process *p, struct link *link, bool up)
{
    uint64_t open[8];
    memcpy(open, p->pushes, sizeof(open));
    step(p, &(struct ctl_event){.kind = up ? CTL_PEER_UP : CTL_PEER_DOWN, .u.peer = link->to->id});
    for (size_t i = 0; !up && i < 8; i++) {
        push_ended(p, open[i], DMQ_ERR_NETWORK, (struct bytes){NULL, 0});
    }
}

void
controller_receive(struct process *p, struct link *link, int direction, struct message *message)
{
    if (direction == 0) {
        struct ctl_event event = {.kind = CTL_REQUEST};
        event.u.request.listener = LISTENER_CONTROLLER;
        event.u.request.from = message->frames[0];
        event.u.request.frames = message->frames + 1;
        event.u.request.count = message->count - 1;
        event.u.request.peer = "sim";
        message->count = 0;
        step(p, &event);
        return;
    }
    struct response_header header;
    struct arena arena;
    struct err_msg err;
    (void)link;
    arena_init(&arena, 4096);
    dmq_err failed =
        msg_decode(desc_response_header(), 0, buf_bytes(message->frames[0]), &arena, &header, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    push_ended(p, (uint64_t)header.correlation_id, header.error,
               message->count > 1 ? buf_bytes(message->frames[1]) : (struct bytes){NULL, 0});
    arena_deinit(&arena);
}

/* ---- the process ----------------------------------------------------------------------------- */

void
controller_start(struct process *p)
{
    struct world *world = p->world;
    const struct ctl_config config = {.controller_id = p->id,
                                      .disk_id = {{1}},
                                      .cluster_id = p->cluster_id,
                                      .controllers = &p->id,
                                      .controller_count = 1,
                                      .instance_id = rng_uuid(&world->rng),
                                      .session_timeout_ms = SESSION_MS,
                                      .max_message_bytes = 1 << 24,
                                      .max_requests = 1024,
                                      .snapshot_bytes = 4000,
                                      .seed = rng_next(&world->rng)};
    struct err_msg err;
    struct raft_saved saved;
    struct ctl_event event = {.kind = CTL_STARTED};
    bool create = uuid_is_zero(p->cluster_id);
    memset(p->pushes, 0, sizeof(p->pushes));
    p->raft_store = raft_store_new(simkv_open(p->store), simfs_fs(p->disk), "/data", create);
    p->ctl = ctl_new(&config);
    dmq_err failed = raft_store_load(p->raft_store, &saved, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    event.u.started = &saved;
    step(p, &event);
    raft_saved_free(&saved);
}

void
controller_end(struct process *p)
{
    struct list *place;
    while ((place = list_pop(&p->lanes[LANE_STORE])) != NULL) {
        struct effect *effect = LIST_ENTRY(place, struct effect, link);
        ctl_effect_deinit(&effect->u.ctl);
        free(effect);
    }
    ctl_free(p->ctl);
    raft_store_close(p->raft_store);
    p->ctl = NULL;
    p->raft_store = NULL;
}
