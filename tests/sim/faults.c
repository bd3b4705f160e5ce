/* What goes wrong. Options are drawn from the seed, some sorts of fault switched off wholly, others
 * frequent. The atlas: at any time fewer disks than min.insync.replicas have lost what they held.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/quorum.h"

int64_t
faults_one_of(struct rng *rng, const int64_t *values, size_t count)
{
    return values[rng_below(rng, count)];
}

/* ---- processes ------------------------------------------------------------------------------- */

static struct process *
any_of(struct world *world, enum process_kind kind)
{
    int count = kind == PROCESS_CONTROLLER ? world->options.controllers
                : kind == PROCESS_BROKER   ? world->options.brokers
                                           : world->options.clients;
    return world_process(world, kind, (int)rng_below(&world->rng, (uint64_t)count));
}

/* A controller or a broker; never a client, which is a program of somebody else. */
struct process *
faults_victim(struct world *world)
{
    return any_of(world, rng_chance(&world->rng, 600) ? PROCESS_BROKER : PROCESS_CONTROLLER);
}

/* At most one broker at a time is without what it held, and every record is on two: fewer disks
 * are lost than min.insync.replicas. */
static bool
can_spare(struct world *world, const struct process *p)
{
    replicas_settle(world);
    bool spare = world->options.replication > 1 && p->alive && unclean_spares(world);
    for (int i = 0; i < world->options.brokers; i++) {
        spare = spare && !world_process(world, PROCESS_BROKER, i)->damaged;
    }
    return spare;
}

static void
mark_damaged(struct process *p)
{
    const struct image *image = metadata_newest(p->world);
    const struct broker_record *record = image == NULL ? NULL : image_broker(image, p->id);
    p->damaged = true;
    p->damaged_epoch = record == NULL ? 0 : record->broker_epoch;
}

/* Where durability is async, a crash takes what was acknowledged. */
static void
crash(struct process *p)
{
    struct world *world = p->world;
    bool loses = p->kind == PROCESS_BROKER && world->options.async_topic;
    if (!p->alive || (loses && !can_spare(world, p))) {
        return;
    }
    if (loses) {
        world->counts.async_crashes++;
        mark_damaged(p);
    }
    world->counts.crashes_broker += p->kind == PROCESS_BROKER;
    world->counts.crashes_controller += p->kind == PROCESS_CONTROLLER;
    process_crash(p, process_draw_crash(world));
    process_start_in(
        p, rng_range(&world->rng, 0, rng_chance(&world->rng, 200) ? 5 * SECOND : 50 * MS));
}

static void
fault_crash(struct world *world)
{
    crash(faults_victim(world));
}

/* The power fails in the whole building. */
static void
fault_crash_all(struct world *world)
{
    if (!rng_chance(&world->rng, 200)) {
        return;
    }
    world->counts.crashes_all++;
    for (int i = 0; i < world->process_count; i++) {
        if (world->processes[i]->kind != PROCESS_CLIENT) {
            crash(world->processes[i]);
        }
    }
}

void
faults_pause(struct process *p, int64_t for_us)
{
    char name[24];
    struct world *world = p->world;
    int64_t before = p->paused_until_us > world->now_us ? p->paused_until_us : world->now_us;
    int64_t until = world->now_us + for_us;
    p->paused_until_us = until > before ? until : before;
    leases_paused(p, p->paused_until_us - before);
    world->counts.pauses++;
    world_trace(world, "%s is paused until %" PRId64 " ms", process_name(p, name),
                p->paused_until_us / MS);
}

static void
fault_pause(struct world *world)
{
    struct process *p =
        rng_chance(&world->rng, 100) ? any_of(world, PROCESS_CLIENT) : faults_victim(world);
    faults_pause(p, rng_range(&world->rng, 10 * MS, 5 * SECOND));
}

/* Of the wall clock: the monotonic one only goes a little fast or slow. */
static void
fault_jump_clock(struct world *world)
{
    any_of(world, PROCESS_BROKER)->wall_skew_ms += rng_range(&world->rng, -100000, 100000);
    world->counts.clock_jumps++;
}

/* Where durability is async, one that is told to stop on a full disk loses what did not fit, and
 * comes back unclean: the others must have it. */
static void
fault_stop(struct world *world)
{
    struct process *broker = any_of(world, PROCESS_BROKER);
    bool loses = world->options.async_topic;
    if (!broker->alive || !rng_chance(&world->rng, 300) || (loses && !can_spare(world, broker))) {
        return;
    }
    if (loses) {
        mark_damaged(broker);
    }
    broker_stop(broker);
}

/* ---- controllers' disks ---------------------------------------------------------------------- */

static void
fault_disk_error(struct world *world)
{
    struct process *p = any_of(world, PROCESS_CONTROLLER);
    if (p->alive && !p->disk_fails) {
        controller_disk_fails(p);
    }
}

/* A controller dies, and what it comes back with is nothing, or not whole. */
static void
fault_lose_disk(struct world *world)
{
    struct process *p = any_of(world, PROCESS_CONTROLLER);
    bool empties = rng_chance(&world->rng, 500);
    if (!p->alive || p->damaged || p->half_written != NULL || p->watched.disk.term == 0 ||
        !quorum_can_spare(world, p)) {
        return;
    }
    process_crash(p, SIMFS_KEEP);
    if (empties) {
        world->counts.wipes++;
        controller_wipe(p);
    } else {
        controller_damage(p);
        world->counts.damages += p->damaged;
    }
    world_trace(world, "controller %" PRId32 " %s", p->id,
                empties      ? "has an empty disk now"
                : p->damaged ? "has a damaged store now"
                             : "lost nothing");
    process_start_in(p, rng_range(&world->rng, 0, 3 * SECOND));
}

bool
faults_wipe_broker(struct process *p)
{
    struct world *world = p->world;
    if (!can_spare(world, p)) {
        return false;
    }
    mark_damaged(p);
    world->counts.wipes_broker++;
    process_crash(p, SIMFS_KEEP);
    broker_wipe(p);
    disk_mend(p);
    world_trace(world, "broker %" PRId32 " has an empty disk now", p->id);
    process_start_in(p, rng_range(&world->rng, 0, 3 * SECOND));
    return true;
}

static void
fault_wipe_broker(struct world *world)
{
    faults_wipe_broker(any_of(world, PROCESS_BROKER));
}

/* ---- one of them ----------------------------------------------------------------------------- */

static void (*const faults[])(struct world *world) = {fault_crash,
                                                      fault_crash_all,
                                                      fault_stop,
                                                      fault_pause,
                                                      fault_jump_clock,
                                                      fault_break,
                                                      fault_cut,
                                                      fault_isolate,
                                                      fault_ring,
                                                      fault_flap,
                                                      fault_slow,
                                                      fault_partition,
                                                      fault_disk_error,
                                                      fault_lose_disk,
                                                      fault_wipe_broker,
                                                      fault_disk_of_broker,
                                                      fault_store_of_broker,
                                                      fault_full_disk};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

static void
draw_raft(struct world *world)
{
    struct rng *rng = &world->rng;
    struct raft_config *config = &world->options.raft;
    raft_config_defaults(config);
    config->max_append_entries = FAULTS_ONE_OF(rng, 1, 3, 64);
    config->max_append_bytes = FAULTS_ONE_OF(rng, 200, 100000);
    config->max_inflight = FAULTS_ONE_OF(rng, 1, 2, RAFT_MAX_INFLIGHT);
    config->chunk_bytes = FAULTS_ONE_OF(rng, 100, 1000, 100000);
    config->keep_entries = FAULTS_ONE_OF(rng, 0, 5, 100);
    world->options.snapshot_bytes = FAULTS_ONE_OF(rng, 500, 4000, 100000);
}

static void
never(struct world_options *o, void (*fault)(struct world *world))
{
    for (size_t i = 0; i < FAULTS; i++) {
        o->weights[i] = faults[i] == fault ? 0 : o->weights[i];
    }
}

/* Where durability is async, disks do not fail, and brokers end one at a time (crash, stop). */
static void
draw_storage(struct world *world)
{
    struct rng *rng = &world->rng;
    struct world_options *o = &world->options;
    o->retention_check_ms = FAULTS_ONE_OF(rng, 0, 0, 300, 2000);
    o->retention_bytes = FAULTS_ONE_OF(rng, -1, 10000, 60000);
    o->retention_ms = FAULTS_ONE_OF(rng, -1, 4000, 20000);
    o->reserve_bytes = FAULTS_ONE_OF(rng, -1, 0, 4096, 65536);
    o->async_topic = o->replication > 1 && rng_chance(rng, 150);
    if (!o->retention) {
        o->retention_check_ms = 0;
    }
    if (o->async_topic) {
        o->die_per_million = 0;
        never(o, fault_disk_of_broker);
        never(o, fault_store_of_broker);
    }
}

void
faults_draw(struct world *world)
{
    struct rng *rng = &world->rng;
    struct world_options *o = &world->options;
    o->controllers = (int)FAULTS_ONE_OF(rng, 1, 2, 3, 3, 3, 4, 5, 5);
    draw_raft(world);
    o->brokers = (int)FAULTS_ONE_OF(rng, 1, 2, 3, 3, 3, 4, 5, WORLD_MAX_BROKERS);
    o->clients = (int)rng_range(rng, 1, WORLD_MAX_CLIENTS);
    o->segment_bytes = FAULTS_ONE_OF(rng, 4096, 4096, 16384, 1 << 20);
    o->batch_bytes = FAULTS_ONE_OF(rng, 256, 1024, 4096);
    o->delay_max_us = FAULTS_ONE_OF(rng, 200, 2 * MS, 30 * MS);
    o->disk_max_us = FAULTS_ONE_OF(rng, 100, 2 * MS, 40 * MS);
    o->stall_per_mille = rng_chance(rng, 300) ? 10 : 0;
    o->die_per_million = (unsigned)FAULTS_ONE_OF(rng, 0, 0, 50, 300);
    o->fault_every_us = FAULTS_ONE_OF(rng, 100 * MS, 400 * MS, 2 * SECOND, INT64_MAX);
    for (size_t i = 0; i < FAULTS; i++) {
        o->weights[i] = (unsigned)FAULTS_ONE_OF(rng, 0, 1, 1, 4);
    }
    o->delivery_timeout_ms = FAULTS_ONE_OF(rng, 1500, 10000, 120000);
    o->admin_timeout_ms = FAULTS_ONE_OF(rng, 1000, 5000, 20000);
    o->work_every_us = FAULTS_ONE_OF(rng, 30 * MS, 100 * MS, 300 * MS);
    o->clock_ppm_max = FAULTS_ONE_OF(rng, 0, 100, 10000);
    o->tears = rng_chance(rng, 700);
    o->topic_churn = rng_chance(rng, 600);
    o->early_wipe = rng_chance(rng, 400);
    o->staggered = rng_chance(rng, 400);
    o->replication = (int)FAULTS_ONE_OF(rng, 1, 2, 3, 3);
    o->replication = o->replication < o->brokers ? o->replication : o->brokers;
    o->replica_lag_ms = FAULTS_ONE_OF(rng, 1000, 3000, 30000);
    /* Not drawn: seeds that found something stay what they were. */
    o->rebalance_ms = o->seed % 3 == 0 ? 300 : 0;
    draw_storage(world);
    /* What one replica has acknowledged goes with it. */
    o->acks = o->replication > 1 || rng_chance(rng, 800) ? -1 : 1;
    unclean_draw(world);
    plots_draw(world);
    lags_draw(world);
}

static size_t
draw(struct world *world)
{
    const unsigned *weights = world->options.weights;
    uint64_t sum = 0;
    size_t i = 0;
    for (size_t k = 0; k < FAULTS; k++) {
        sum += weights[k];
    }
    if (sum == 0) {
        return FAULTS;
    }
    uint64_t at = rng_below(&world->rng, sum);
    while (at >= weights[i]) {
        at -= weights[i++];
    }
    return i;
}

/* One that has written nothing: it is still empty, but another disk. A majority keeps its own. */
void
faults_early(struct world *world)
{
    struct process *p = any_of(world, PROCESS_CONTROLLER);
    const struct raft_disk *disk = &p->watched.disk;
    bool empty = disk->term == 0 && disk->snapshot.members.count == 0 && p->half_written == NULL;
    if (!empty || world->options.controllers < 3 || world->watch->committed > 0) {
        return;
    }
    if (p->alive) {
        process_crash(p, SIMFS_KEEP);
    }
    controller_wipe(p);
    world->counts.early_wipes++;
    world_trace(world, "controller %" PRId32 " has another disk", p->id);
    process_start_in(p, rng_range(&world->rng, 0, 300 * MS));
}

void
faults_happen(struct world *world)
{
    const struct world_options *o = &world->options;
    if (world->healed || o->fault_every_us == INT64_MAX) {
        return;
    }
    size_t which = draw(world);
    if (which < FAULTS) {
        faults[which](world);
    }
    garbage_happens(world);
    rot_happens(world);
    world_at(world, world->now_us + rng_range(&world->rng, 0, 2 * o->fault_every_us),
             (struct world_event){.kind = WORLD_FAULT});
}

/* ---- healing for good ------------------------------------------------------------------------ */

/* All that holds records, and a majority of the controllers that is drawn; the others are down, or
 * cut off, for good. */
static void
leave_out(struct world *world)
{
    char name[24];
    int most = (world->options.controllers - 1) / 2;
    for (int count = (int)rng_range(&world->rng, 0, most); count > 0; count--) {
        struct process *p = any_of(world, PROCESS_CONTROLLER);
        if (!quorum_can_spare(world, p)) {
            continue;
        }
        world_trace(world, "%s stays broken", process_name(p, name));
        p->left_out = true;
        if (p->alive && rng_chance(&world->rng, 500)) {
            process_crash(p, SIMFS_KEEP);
        } else {
            network_leave_out(world, p);
        }
    }
}

void
faults_heal(struct world *world)
{
    world_trace(world, "all heals");
    network_heal(world);
    for (int i = 0; i < world->process_count; i++) {
        struct process *p = world->processes[i];
        leases_woken(p, p->paused_until_us - world->now_us);
        p->paused_until_us = 0;
        if (p->kind == PROCESS_CONTROLLER && p->disk_fails) {
            controller_disk_mend(p);
        }
    }
    leave_out(world);
    for (int i = 0; i < world->options.brokers; i++) {
        struct process *p = world_process(world, PROCESS_BROKER, i);
        if (p->alive && (p->disk_offline || p->store_fails)) {
            disk_operator_comes(p);
        }
        disk_mend(p);
        rot_mend(p);
    }
    for (int i = 0; i < world->process_count; i++) {
        process_start(world->processes[i]);
    }
}
