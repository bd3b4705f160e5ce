#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/world.h"

/* What goes wrong. Options are drawn from the seed, some sorts of fault switched off wholly, others
 * frequent. The atlas: there is one replica, so no fault takes what was synced. */

#define MS 1000
#define SECOND (1000 * MS)

static int64_t
pick(struct rng *rng, const int64_t *choices, size_t count)
{
    return choices[rng_below(rng, count)];
}

void
faults_draw(struct world *world)
{
    static const int64_t segments[] = {4096, 4096, 16384, 1 << 20};
    static const int64_t batches[] = {256, 1024, 4096};
    static const int64_t delays[] = {200, 2 * MS, 30 * MS};
    static const int64_t disks[] = {100, 2 * MS, 40 * MS};
    static const int64_t every[] = {100 * MS, 400 * MS, 2 * SECOND, INT64_MAX};
    static const int64_t timeouts[] = {1500, 10000, 120000};
    struct rng *rng = &world->rng;
    struct world_options *o = &world->options;
    o->clients = (int)rng_range(rng, 1, 3);
    o->segment_bytes = pick(rng, segments, 4);
    o->batch_bytes = pick(rng, batches, 3);
    o->delay_max_us = pick(rng, delays, 3);
    o->disk_max_us = pick(rng, disks, 3);
    o->stall_per_mille = rng_chance(rng, 300) ? 10 : 0;
    o->fault_every_us = pick(rng, every, 4);
    o->delivery_timeout_ms = pick(rng, timeouts, 3);
    o->crashes = rng_chance(rng, 700);
    o->tears = rng_chance(rng, 700);
    o->breaks = rng_chance(rng, 700);
    o->cuts = rng_chance(rng, 500);
    o->pauses = rng_chance(rng, 400);
    o->clock_jumps = rng_chance(rng, 300);
    o->clean_restarts = rng_chance(rng, 500);
    o->topic_churn = rng_chance(rng, 500);
    o->acks = rng_chance(rng, 800) ? -1 : 1;
}

/* ---- processes ------------------------------------------------------------------------------- */

void
process_start(struct process *p)
{
    if (p->alive) {
        return;
    }
    p->alive = true;
    p->life++;
    p->tick_us = INT64_MAX;
    world_trace(p->world, "process %d starts", p->id);
    switch (p->kind) {
    case PROCESS_CONTROLLER:
        controller_start(p);
        break;
    case PROCESS_BROKER:
        broker_start(p);
        break;
    case PROCESS_CLIENT:
        client_start(p);
        break;
    }
}

void
process_crash(struct process *p, enum simfs_crash how)
{
    struct world *world = p->world;
    world_trace(world, "process %d dies", p->id);
    p->alive = false;
    p->stopping = false;
    p->paused_until_us = 0;
    links_of_dead(p);
    switch (p->kind) {
    case PROCESS_CONTROLLER:
        controller_end(p);
        break;
    case PROCESS_BROKER:
        broker_end(p);
        break;
    case PROCESS_CLIENT:
        client_end(p);
        return;
    }
    memset(p->lane_busy, 0, sizeof(p->lane_busy));
    memset(p->seen, 0, sizeof(p->seen));
    simfs_crash(p->disk, how, rng_next(&world->rng));
    if (how != SIMFS_KEEP) {
        simkv_crash(p->store, rng_next(&world->rng));
    }
}

static void
crash_one(struct world *world)
{
    struct process *p = rng_chance(&world->rng, 700) ? world_process(world, PROCESS_BROKER, 0)
                                                     : world_process(world, PROCESS_CONTROLLER, 0);
    if (!p->alive) {
        return;
    }
    enum simfs_crash how = SIMFS_KEEP;
    if (world->options.tears) {
        how = rng_chance(&world->rng, 500) ? SIMFS_TEAR : SIMFS_LOSE;
    }
    world->counts.crashes_broker += p->kind == PROCESS_BROKER;
    world->counts.crashes_controller += p->kind == PROCESS_CONTROLLER;
    process_crash(p, how);
    world_at(world,
             world->now_us +
                 rng_range(&world->rng, 0, rng_chance(&world->rng, 200) ? 5 * SECOND : 50 * MS),
             (struct world_event){.kind = WORLD_START, .process = p});
}

/* ---- the network ----------------------------------------------------------------------------- */

static struct link *
any_link(struct world *world)
{
    uint64_t count = 0;
    struct link *found = NULL;
    LIST_FOREACH (place, &world->links) {
        if (rng_below(&world->rng, ++count) == 0) {
            found = LIST_ENTRY(place, struct link, link);
        }
    }
    return found;
}

/* Nothing goes one way, or both, for a while; then the connection is found broken, or goes on late.
 */
static void
cut_one(struct world *world)
{
    struct link *link = any_link(world);
    if (link == NULL) {
        return;
    }
    int64_t until = world->now_us + rng_range(&world->rng, 10 * MS, 4 * SECOND);
    uint64_t ways = rng_range(&world->rng, 1, 3) & 3;
    for (int direction = 0; direction < 2; direction++) {
        if ((ways >> direction & 1) != 0) {
            link->cut_until_us[direction] = until;
        }
    }
    world->counts.cuts++;
    if (rng_chance(&world->rng, 500)) {
        link_break(world, link);
    }
}

static void
pause_one(struct world *world)
{
    struct process *p = world->processes[rng_below(&world->rng, world->process_count)];
    p->paused_until_us = world->now_us + rng_range(&world->rng, 10 * MS, 5 * SECOND);
    world->counts.pauses++;
    world_trace(world, "process %d is paused", p->id);
}

static void
jump_clock(struct world *world)
{
    struct process *p = world_process(world, PROCESS_BROKER, 0);
    p->wall_skew_ms += rng_range(&world->rng, -100000, 100000);
    world->counts.clock_jumps++;
}

void
faults_happen(struct world *world)
{
    const struct world_options *o = &world->options;
    if (world->healed || o->fault_every_us == INT64_MAX) {
        return;
    }
    struct process *broker = world_process(world, PROCESS_BROKER, 0);
    switch (rng_below(&world->rng, 6)) {
    case 0:
        if (o->crashes) {
            crash_one(world);
        }
        break;
    case 1:
        if (o->breaks && any_link(world) != NULL) {
            link_break(world, any_link(world));
        }
        break;
    case 2:
        if (o->cuts) {
            cut_one(world);
        }
        break;
    case 3:
        if (o->pauses) {
            pause_one(world);
        }
        break;
    case 4:
        if (o->clock_jumps) {
            jump_clock(world);
        }
        break;
    default:
        if (o->clean_restarts && broker->alive && rng_chance(&world->rng, 300)) {
            broker_stop(broker);
        }
        break;
    }
    world_at(world, world->now_us + rng_range(&world->rng, 0, 2 * o->fault_every_us),
             (struct world_event){.kind = WORLD_FAULT});
}

void
faults_heal(struct world *world)
{
    LIST_FOREACH (place, &world->links) {
        struct link *link = LIST_ENTRY(place, struct link, link);
        link->cut_until_us[0] = 0;
        link->cut_until_us[1] = 0;
    }
    for (size_t i = 0; i < world->process_count; i++) {
        world->processes[i]->paused_until_us = 0;
        if (!world->processes[i]->alive) {
            process_start(world->processes[i]);
        }
    }
}
