/* A controller process: ctl_step with Raft inside, on the store that the daemon has, over the
 * simulator's disk. What it does at its start with a store that is damaged or gone is what
 * controller/node does. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/store/raft_store.h"
#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/quorum.h"

#define DATA_DIR "/data"

static void step(struct process *p, struct ctl_event *event);

/* ---- effects --------------------------------------------------------------------------------- */

static struct link *
link_to(struct process *p, enum process_kind kind, int32_t id)
{
    struct process *to = world_by_id(p->world, kind, id);
    DMQ_ASSERT(to != NULL);
    return link_find(p, to, kind == PROCESS_BROKER ? PORT_NODE : PORT_CONTROLLER, 0);
}

static void
push(struct process *p, struct ctl_effect *effect)
{
    const struct request_out request = {.tag = effect->u.push.number,
                                        .api_key = API_PUSH_METADATA,
                                        .client_id = "controller",
                                        .body = effect->u.push.body,
                                        .timeout_ms = effect->u.push.timeout_ms};
    request_send(link_to(p, PROCESS_BROKER, effect->u.push.broker_id), &request);
    ctl_effect_deinit(effect);
}

static void
ask(struct process *p, struct ctl_effect *effect)
{
    const struct request_out request = {.tag = effect->u.ask.number,
                                        .api_key = API_QUORUM_STATE,
                                        .client_id = "controller",
                                        .body = effect->u.ask.body,
                                        .timeout_ms = effect->u.ask.timeout_ms};
    request_send(link_to(p, PROCESS_CONTROLLER, effect->u.ask.controller_id), &request);
    ctl_effect_deinit(effect);
}

static void
send_raft(struct process *p, struct ctl_effect *effect)
{
    const struct request_out request = {.api_key = API_RAFT,
                                        .client_id = "controller",
                                        .body = effect->u.send.body,
                                        .timeout_ms = 1000,
                                        .one_way = true};
    quorum_sent(p, buf_bytes(effect->u.send.body));
    request_send(link_to(p, PROCESS_CONTROLLER, effect->u.send.controller_id), &request);
    ctl_effect_deinit(effect);
}

static void
disconnect(struct process *p, int32_t broker_id)
{
    struct link *link = link_to(p, PROCESS_BROKER, broker_id);
    if (link != NULL) {
        link_hang_up(link);
        link->call_count = 0;
    }
}

/* A plain connect, by a thread of its own: the answer comes a little later, or much later where it
 * looks at another port that is silent as well. It may be old news. */
static int64_t
draw_probe_us(struct rng *rng)
{
    int64_t us = rng_range(rng, 0, 20 * MS);
    return us < 18 * MS ? us : us + (us - 18 * MS) * 300;
}

static void
probe(struct process *p, const struct link *link)
{
    struct world *world = p->world;
    const struct process *who = link->to;
    if (!who->alive && path_is_open(world, p, who) && path_is_open(world, who, p)) {
        world->counts.probes_refused++;
        world_at(world, world->now_us + draw_probe_us(&world->rng),
                 (struct world_event){.kind = WORLD_PROBED,
                                      .process = p,
                                      .life = p->life,
                                      .number = (uint64_t)who->number,
                                      .incarnation = link->there});
    }
}

static void
carry_out(struct process *p, struct ctl_effect *effect)
{
    struct world *world = p->world;
    switch (effect->kind) {
    case CTL_PERSIST:
        lane_push(p, LANE_STORE, &(struct effect){.u.ctl = *effect});
        break;
    case CTL_REPLY:
        link_reply(p, buf_bytes(effect->u.reply.to), effect->u.reply.frames, effect->u.reply.count);
        buf_unref(effect->u.reply.to);
        break;
    case CTL_SEND:
        send_raft(p, effect);
        break;
    case CTL_ASK:
        ask(p, effect);
        break;
    case CTL_CONNECT:
        link_dial(p, world_by_id(world, PROCESS_BROKER, effect->u.connect.broker_id), PORT_NODE, 0);
        break;
    case CTL_DISCONNECT:
        disconnect(p, effect->u.peer);
        break;
    case CTL_PUSH:
        push(p, effect);
        break;
    case CTL_PROBE:
        probe(p, link_to(p, PROCESS_BROKER, effect->u.peer));
        break;
    case CTL_PROBE_MATE:
        probe(p, link_to(p, PROCESS_CONTROLLER, effect->u.peer));
        break;
    case CTL_CLUSTER:
        if (!uuid_is_zero(p->cluster_id) && !uuid_equal(p->cluster_id, effect->u.cluster_id)) {
            world_fail(world, "controller %" PRId32 " goes to another cluster", p->id);
        }
        p->cluster_id = effect->u.cluster_id;
        break;
    case CTL_READY:
        world_trace(world, "controller %" PRId32 " ready", p->id);
        break;
    case CTL_LOG:
        world->counts.seats += strncmp(effect->u.log.line, "seat_given", 10) == 0;
        world_trace(world, "controller %" PRId32 ": %s", p->id, effect->u.log.line);
        break;
    case CTL_FAIL:
        p->stopping = true;
        break;
    }
}

/* Only for a disk that failed. */
static void
end_by_itself(struct process *p)
{
    struct world *world = p->world;
    if (!p->disk_fails) {
        world_fail(world, "controller %" PRId32 " gave up", p->id);
    }
    world->counts.gave_up++;
    process_crash(p, process_draw_crash(world));
    process_start_in(p, rng_range(&world->rng, 10 * MS, SECOND));
}

static void
step(struct process *p, struct ctl_event *event)
{
    struct ctl_effects effects = {0};
    event->now_ms = process_now_ms(p);
    ctl_step(p->ctl, event, &effects);
    size_t doom = process_doom(p, effects.count);
    for (size_t i = 0; i < effects.count; i++) {
        if (i >= doom) {
            ctl_effect_deinit(&effects.items[i]);
        } else {
            carry_out(p, &effects.items[i]);
        }
    }
    size_t count = effects.count;
    effects.count = 0;
    ctl_effects_deinit(&effects);
    if (doom < count) {
        process_dies(p);
    } else if (p->stopping) {
        end_by_itself(p);
    } else {
        process_tick_at(p, ctl_deadline(p->ctl));
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

void
controller_tick(struct process *p)
{
    step(p, &(struct ctl_event){.kind = CTL_TICK});
}

void
controller_refused(struct process *p, const struct process *gone, struct uuid incarnation)
{
    struct ctl_event event = {.kind = CTL_MATE_GONE, .u.peer = gone->id};
    if (gone->kind == PROCESS_BROKER) {
        leases_refused(p, gone, incarnation);
        event = (struct ctl_event){.kind = CTL_PEER_GONE};
        event.u.gone.broker_id = gone->id;
        event.u.gone.incarnation = incarnation;
    }
    step(p, &event);
}

/* The process may die in the middle of it: between LevelDB and the second copy, too. */
void
controller_lane(struct process *p)
{
    struct world *world = p->world;
    struct effect *done = lane_pop(p, LANE_STORE);
    struct raft_persist *write = done->u.ctl.u.persist;
    struct ctl_event event = {.kind = CTL_PERSISTED};
    bool dies = process_dies_writing(p);
    if (dies) {
        simfs_die_after(p->disk, rng_below(&world->rng, 4));
    }
    event.u.persisted.seq = write->seq;
    event.u.persisted.err = raft_store_write(p->raft_store, write);
    if (event.u.persisted.err == DMQ_OK) {
        quorum_written(p, write);
    } else {
        quorum_half_written(p, write);
    }
    ctl_effect_deinit(&done->u.ctl);
    free(done);
    if (dies) {
        world->counts.crashes_mid_write++;
        process_dies(p);
        return;
    }
    world->counts.writes_failed += event.u.persisted.err != DMQ_OK;
    lane_done(p, LANE_STORE);
    step(p, &event);
}

static void
call_ended(struct process *p, const struct link *link, uint64_t number, dmq_err err,
           struct bytes body)
{
    struct ctl_event event = {.kind = CTL_PUSHED};
    if (link->to->kind == PROCESS_BROKER) {
        event.u.pushed.broker_id = link->to->id;
        event.u.pushed.number = number;
        event.u.pushed.err = err;
        event.u.pushed.body = body;
    } else {
        event.kind = CTL_ANSWERED;
        event.u.answered.controller_id = link->to->id;
        event.u.answered.number = number;
        event.u.answered.err = err;
        event.u.answered.body = body;
    }
    step(p, &event);
}

void
controller_unanswered(struct process *p, struct link *link, uint64_t tag, dmq_err err)
{
    call_ended(p, link, tag, err, (struct bytes){NULL, 0});
}

void
controller_link(struct process *p, struct link *link, bool up)
{
    bool broker = link->to->kind == PROCESS_BROKER;
    enum ctl_event_kind kind =
        broker ? (up ? CTL_PEER_UP : CTL_PEER_DOWN) : (up ? CTL_MATE_UP : CTL_MATE_DOWN);
    step(p, &(struct ctl_event){.kind = kind, .u.peer = link->to->id});
}

static bool
is_heartbeat(const struct link *link, const struct message *message)
{
    struct request_header header;
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, 4096);
    dmq_err failed =
        msg_decode(desc_request_header(), 0, buf_bytes(message->frames[1]), &arena, &header, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    arena_deinit(&arena);
    return link->from->kind == PROCESS_BROKER && header.api_key == API_BROKER_HEARTBEAT;
}

/* One over a connection that has ended may be of a process that is dead. */
static void
receive_request(struct process *p, struct link *link, struct message *message)
{
    int64_t lease_ms = INT64_MAX;
    struct ctl_event event = {.kind = CTL_REQUEST};
    bool current = link->up && link->generation == get_be64(message->frames[0]->data + 8);
    if (is_heartbeat(link, message)) {
        lease_ms = leases_before(p, link->from, buf_bytes(message->frames[2]));
        if (current) {
            leases_heard(p, link->from);
        }
    }
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = message->frames[0];
    event.u.request.frames = message->frames + 1;
    event.u.request.count = message->count - 1;
    event.u.request.peer = "sim";
    message->count = 0;
    step(p, &event);
    leases_after(p, link->from, lease_ms);
}

void
controller_garbage(struct process *p, struct message *message)
{
    struct ctl_event event = {.kind = CTL_REQUEST};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = message->frames[0];
    event.u.request.frames = message->frames + 1;
    event.u.request.count = message->count - 1;
    event.u.request.peer = "garbage";
    step(p, &event);
}

void
controller_receive(struct process *p, struct link *link, int direction, struct message *message)
{
    uint64_t tag;
    dmq_err err;
    if (direction == 0) {
        receive_request(p, link, message);
    } else if (request_answered(link, message, &tag, &err)) {
        if (link->to->kind == PROCESS_BROKER && err == DMQ_OK) {
            leases_heard(p, link->to);
        }
        call_ended(p, link, tag, err,
                   message->count > 1 ? buf_bytes(message->frames[1]) : (struct bytes){NULL, 0});
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

static dmq_err
read_store(struct process *p, bool create, struct raft_saved *ret_saved, struct err_msg *err)
{
    p->raft_store = raft_store_new(simkv_open(p->store), simfs_fs(p->disk), DATA_DIR, create);
    dmq_err code = raft_store_load(p->raft_store, ret_saved, err);
    if (code != DMQ_OK) {
        raft_store_close(p->raft_store);
        p->raft_store = NULL;
    }
    return code;
}

/* As controller/node: what is damaged goes aside, and the process begins again as another member.
 */
static void
begin_anew(struct process *p, struct raft_saved *ret_saved, const struct err_msg *why)
{
    struct world *world = p->world;
    char name[RAFT_STORE_MAX_NAME];
    struct err_msg err;
    world_trace(world, "controller %" PRId32 " finds damage: %s", p->id, why->text);
    const struct raft_disk *disk = &p->watched.disk;
    bool wrote = disk->term > 0 || disk->count > 0 || disk->snapshot.members.count > 0;
    if (!p->damaged && wrote) {
        world_fail(world, "controller %" PRId32 " takes its store for damaged: %s", p->id,
                   why->text);
    }
    dmq_err failed = raft_store_set_aside(simfs_fs(p->disk), DATA_DIR, name, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    simkv_free(p->store);
    p->store = simkv_new();
    p->disk_id = rng_uuid(&world->rng);
    p->damaged = false;
    world->counts.set_aside++;
    quorum_new_disk(p);
    failed = read_store(p, true, ret_saved, &err);
    DMQ_ASSERT(failed == DMQ_OK);
}

static void
dial_mates(struct process *p)
{
    for (int i = 0; i < p->world->options.controllers; i++) {
        struct process *mate = world_process(p->world, PROCESS_CONTROLLER, i);
        if (mate != p) {
            link_dial(p, mate, PORT_CONTROLLER, 0);
        }
    }
}

static void
make_core(struct process *p)
{
    struct world *world = p->world;
    int32_t ids[WORLD_MAX_CONTROLLERS];
    for (int i = 0; i < world->options.controllers; i++) {
        ids[i] = world_process(world, PROCESS_CONTROLLER, i)->id;
    }
    const struct ctl_config config = {.controller_id = p->id,
                                      .disk_id = p->disk_id,
                                      .cluster_id = p->cluster_id,
                                      .controllers = ids,
                                      .controller_count = (size_t)world->options.controllers,
                                      .instance_id = rng_uuid(&world->rng),
                                      .session_timeout_ms = SESSION_MS,
                                      .rebalance_ms = world->options.rebalance_ms,
                                      .max_message_bytes = 1 << 24,
                                      .max_requests = 1024,
                                      .snapshot_bytes = world->options.snapshot_bytes,
                                      .seed = rng_next(&world->rng),
                                      .raft = &world->options.raft};
    p->ctl = ctl_new(&config);
}

void
controller_start(struct process *p)
{
    struct err_msg err;
    struct raft_saved saved;
    struct ctl_event event = {.kind = CTL_STARTED};
    dmq_err failed = read_store(p, uuid_is_zero(p->cluster_id), &saved, &err);
    if (failed != DMQ_OK) {
        begin_anew(p, &saved, &err);
    } else if (p->damaged) {
        world_fail(p->world, "controller %" PRId32 " does not see that its store is damaged",
                   p->id);
    }
    quorum_loaded(p, &saved);
    memset(&p->leases, 0, sizeof(p->leases));
    make_core(p);
    dial_mates(p);
    event.u.started = &saved;
    step(p, &event);
    raft_saved_free(&saved);
    if (p->alive) {
        quorum_check(p); /* what it applied from its disk, before the next write drops that */
    }
}

/* ---- what goes wrong with its disk ----------------------------------------------------------- */

/* The next write, or the one after, is not carried out, in one of the two places. */
void
controller_disk_fails(struct process *p)
{
    struct rng *rng = &p->world->rng;
    p->disk_fails = true;
    if (rng_chance(rng, 500)) {
        simkv_die_after(p->store, rng_below(rng, 2));
    } else {
        bool sync = rng_chance(rng, 500);
        int error = sync || (p->world->now_us & 1) == 0 ? EIO : ENOSPC;
        simfs_fail(p->disk, sync ? SIMFS_DATASYNC : SIMFS_PWRITEV, error, rng_below(rng, 2), 1);
    }
}

/* What was going to fail does not. */
void
controller_disk_mend(struct process *p)
{
    simkv_die_after(p->store, UINT64_MAX);
    simfs_fail(p->disk, SIMFS_DATASYNC, 0, 0, 0);
    simfs_fail(p->disk, SIMFS_PWRITEV, 0, 0, 0);
    p->disk_fails = false;
}

/* Of a process that does not run: everything in its folder is gone. */
void
controller_wipe(struct process *p)
{
    simfs_wipe(p->disk, DATA_DIR);
    simkv_free(p->store);
    p->store = simkv_new();
    p->cluster_id = (struct uuid){.b = {0}};
    p->disk_id = rng_uuid(&p->world->rng);
    p->damaged = false;
    quorum_new_disk(p);
}

/* Of a process that does not run: its log has lost what was synced, or the second copy is bad. */
void
controller_damage(struct process *p)
{
    struct rng *rng = &p->world->rng;
    uint64_t dropped = simkv_counts(p->store)->synced_batches_dropped;
    if (rng_chance(rng, 300)) {
        simfs_put_file(p->disk, DATA_DIR "/quorum", bytes_str("neither slot is one"));
        p->damaged = true;
        return;
    }
    simkv_drop_tail(p->store, 1 + rng_below(rng, 8));
    p->damaged = simkv_counts(p->store)->synced_batches_dropped > dropped;
}

void
controller_end(struct process *p)
{
    struct effect *effect;
    struct ctl_stats stats;
    ctl_stats(p->ctl, &stats);
    p->world->counts.elections += (uint64_t)stats.elections;
    p->world->counts.snapshots += (uint64_t)stats.snapshots;
    p->world->counts.preferred += (uint64_t)stats.leaders_restored;
    while ((effect = lane_pop(p, LANE_STORE)) != NULL) {
        ctl_effect_deinit(&effect->u.ctl);
        free(effect);
    }
    ctl_free(p->ctl);
    raft_store_close(p->raft_store);
    controller_disk_mend(p);
    p->ctl = NULL;
    p->raft_store = NULL;
}
