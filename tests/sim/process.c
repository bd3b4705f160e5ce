#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/quorum.h"

#define PPM 1000000

struct process *
process_new(struct world *world, enum process_kind kind, int32_t id)
{
    struct process *p = calloc(1, sizeof(*p));
    DMQ_ASSERT(p != NULL);
    p->world = world;
    p->kind = kind;
    p->id = id;
    p->number = world->process_count;
    p->tick_us = INT64_MAX;
    p->clock_ms = rng_range(&world->rng, 1, 100000);
    p->clock_ppm =
        rng_range(&world->rng, -world->options.clock_ppm_max, world->options.clock_ppm_max);
    p->disk_id = rng_uuid(&world->rng);
    list_init(&p->links);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        list_init(&p->lanes[lane]);
    }
    if (kind != PROCESS_CLIENT) {
        p->disk = simfs_new(rng_next(&world->rng));
        p->store = simkv_new();
        simfs_make_folder(p->disk, "/data");
    }
    quorum_new_disk(p);
    return p;
}

void
process_free(struct process *p)
{
    quorum_new_disk(p);
    simfs_free(p->disk);
    simfs_free(p->ghost);
    simkv_free(p->store);
    free(p);
}

const char *
process_name(const struct process *p, char name[24])
{
    static const char *const kinds[] = {"controller", "broker", "client"};
    snprintf(name, 24, "%s %" PRId32, kinds[p->kind], p->id);
    return name;
}

/* ---- clocks ---------------------------------------------------------------------------------- */

int64_t
process_now_ms(const struct process *p)
{
    int64_t now_us = p->world->now_us;
    return p->clock_ms + (now_us + now_us * p->clock_ppm / PPM) / MS;
}

/* The first moment of the world at which the clock of the process shows it. */
void
process_tick_at(struct process *p, int64_t due_ms)
{
    if (due_ms == INT64_MAX) {
        return;
    }
    int64_t away_ms = due_ms - process_now_ms(p);
    int64_t away_us = away_ms <= 0 ? 0 : away_ms * MS - away_ms * p->clock_ppm / (PPM / MS);
    int64_t at_us = p->world->now_us + away_us;
    if (p->tick_us <= at_us) {
        return;
    }
    p->tick_us = at_us;
    world_at(p->world, at_us,
             (struct world_event){.kind = WORLD_TICK, .process = p, .life = p->life});
}

/* ---- starts and crashes ---------------------------------------------------------------------- */

void
process_start(struct process *p)
{
    char name[24];
    if (p->alive || p->left_out) {
        return;
    }
    p->alive = true;
    p->life++;
    p->tick_us = INT64_MAX;
    p->checked_version = 0;
    world_trace(p->world, "%s starts", process_name(p, name));
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
process_start_in(struct process *p, int64_t after_us)
{
    world_at(p->world, p->world->now_us + after_us,
             (struct world_event){.kind = WORLD_START, .process = p});
}

void
process_crash(struct process *p, enum simfs_crash how)
{
    char name[24];
    struct world *world = p->world;
    world_trace(world, "%s dies", process_name(p, name));
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
    if (how == SIMFS_KEEP && rng_chance(&world->rng, 500)) {
        simfs_kill(p->disk); /* the kernel lives on: what was not synced still is not */
        return;
    }
    simfs_crash(p->disk, how, rng_next(&world->rng));
    if (how != SIMFS_KEEP) {
        simkv_crash(p->store, rng_next(&world->rng));
    }
}

enum simfs_crash
process_draw_crash(struct world *world)
{
    if (!world->options.tears) {
        return SIMFS_KEEP;
    }
    return (enum simfs_crash)FAULTS_ONE_OF(&world->rng, SIMFS_TEAR, SIMFS_TEAR, SIMFS_LOSE,
                                           SIMFS_LOSE, SIMFS_KEEP);
}

size_t
process_doom(struct process *p, size_t effects)
{
    struct world *world = p->world;
    unsigned rate = world->options.die_per_million;
    if (rate == 0 || world->healed || effects == 0 || rng_below(&world->rng, PPM) >= rate) {
        return SIZE_MAX;
    }
    return rng_below(&world->rng, effects);
}

bool
process_dies_writing(struct process *p)
{
    struct world *world = p->world;
    uint64_t rate = (uint64_t)world->options.die_per_million * 30; /* writes are fewer than steps */
    return !world->healed && rng_below(&world->rng, PPM) < rate;
}

void
process_dies(struct process *p)
{
    p->world->counts.crashes_mid_step++;
    process_crash(p, process_draw_crash(p->world));
    process_start_in(p, rng_range(&p->world->rng, 0, SECOND));
}
