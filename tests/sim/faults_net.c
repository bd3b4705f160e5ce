/* What goes wrong with the network: paths are blocked, alone or as partitions of every shape; they
 * flap, or are slow; connections break. */
#include <inttypes.h>

#include "tests/sim/world.h"

#define MAX_CUT_US (12 * SECOND)
#define SILENCE_US (6 * SECOND) /* a connection that is silent for so long is given up */

/* ---- paths ----------------------------------------------------------------------------------- */

/* Nothing goes from one to the other for a while. Their connections live on if it is short; often
 * they are found dead before. */
static void
block(struct world *world, int from, int to, int64_t until_us)
{
    struct path *path = &world->paths[from][to];
    if (from == to) {
        return;
    }
    path->blocked_until_us = until_us > path->blocked_until_us ? until_us : path->blocked_until_us;
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = world->links[i];
        bool there = link->from->number == from && link->to->number == to;
        bool back = link->from->number == to && link->to->number == from;
        if (!link->up || (!there && !back)) {
            continue;
        }
        int64_t dies_us = world->now_us + rng_range(&world->rng, 0, 2 * SILENCE_US);
        if (dies_us < until_us || until_us - world->now_us > 2 * SILENCE_US) {
            world_at(world, dies_us,
                     (struct world_event){
                         .kind = WORLD_LINK_DIES, .link = link, .number = link->generation});
        }
    }
}

static int
any_number(struct world *world)
{
    return (int)rng_below(&world->rng, (uint64_t)world->process_count);
}

static int64_t
draw_until(struct world *world)
{
    bool is_long = rng_chance(&world->rng, 200);
    return world->now_us + rng_range(&world->rng, 10 * MS, is_long ? MAX_CUT_US : 4 * SECOND);
}

/* A link that is up, by a fair draw; NULL: none is. */
static struct link *
any_link(struct world *world)
{
    uint64_t count = 0;
    struct link *found = NULL;
    for (size_t i = 0; i < world->link_count; i++) {
        if (world->links[i]->up && rng_below(&world->rng, ++count) == 0) {
            found = world->links[i];
        }
    }
    return found;
}

void
fault_break(struct world *world)
{
    struct link *link = any_link(world);
    if (link != NULL) {
        link_break(link);
    }
}

void
fault_cut(struct world *world)
{
    const struct link *link = any_link(world);
    if (link == NULL) {
        return;
    }
    int64_t until = draw_until(world);
    uint64_t ways = 1 + rng_below(&world->rng, 3);
    world->counts.cuts++;
    world_trace(world, "path %d %s %d is cut until %" PRId64 " ms", link->from->id,
                ways == 1   ? "->"
                : ways == 2 ? "<-"
                            : "<->",
                link->to->id, until / MS);
    if ((ways & 1) != 0) {
        block(world, link->from->number, link->to->number, until);
    }
    if ((ways & 2) != 0) {
        block(world, link->to->number, link->from->number, until);
    }
}

/* ---- partitions ------------------------------------------------------------------------------ */

/* Between the processes of side and the others, or only from the others to side. */
static void
divide(struct world *world, uint64_t side, bool one_way, int64_t until_us)
{
    for (int i = 0; i < world->process_count; i++) {
        for (int k = 0; k < world->process_count; k++) {
            bool in = (side >> i & 1) < (side >> k & 1);
            bool out = (side >> i & 1) > (side >> k & 1);
            if (in || (out && !one_way)) {
                block(world, i, k, until_us);
            }
        }
    }
}

void
fault_isolate(struct world *world)
{
    char name[24];
    const struct process *p = faults_victim(world);
    bool one_way = rng_chance(&world->rng, 300);
    bool deaf = rng_chance(&world->rng, 500);
    uint64_t alone = UINT64_C(1) << p->number;
    int64_t until = draw_until(world);
    world->counts.isolations++;
    world_trace(world, "%s %s until %" PRId64 " ms", process_name(p, name),
                !one_way ? "is cut off"
                : deaf   ? "hears nobody"
                         : "is heard by nobody",
                until / MS);
    divide(world, deaf ? alone : ~alone, one_way, until);
}

void
fault_partition(struct world *world)
{
    uint64_t side = rng_next(&world->rng);
    bool one_way = rng_chance(&world->rng, 300);
    int64_t until = draw_until(world);
    world->counts.partitions++;
    world->counts.partitions_one_way += one_way;
    world_trace(world, "partition %04" PRIx64 "%s until %" PRId64 " ms",
                side & ((UINT64_C(1) << world->process_count) - 1), one_way ? ", one way," : "",
                until / MS);
    divide(world, side, one_way, until);
}

/* Controllers and brokers see only their neighbours. */
void
fault_ring(struct world *world)
{
    int nodes = world->options.controllers + world->options.brokers;
    int64_t until = draw_until(world);
    world->counts.rings++;
    world_trace(world, "a ring until %" PRId64 " ms", until / MS);
    for (int i = 0; i < nodes; i++) {
        for (int k = 0; k < nodes; k++) {
            int apart = (i - k + nodes) % nodes;
            if (apart != 1 && apart != nodes - 1) {
                block(world, i, k, until);
            }
        }
    }
}

/* Nothing arrives one way, and nobody takes the connections for dead. */
void
network_stall(struct world *world, uint64_t from, uint64_t to, int64_t until_us)
{
    for (int i = 0; i < world->process_count; i++) {
        for (int k = 0; k < world->process_count; k++) {
            if (i != k && (from >> i & to >> k & 1) != 0) {
                world->paths[i][k].blocked_until_us = until_us;
            }
        }
    }
    for (size_t i = 0; until_us <= world->now_us && i < world->link_count; i++) {
        link_hasten(world->links[i]);
    }
}

void
network_separate(struct world *world, uint64_t side, uint64_t others, int64_t until_us)
{
    for (int i = 0; i < world->process_count; i++) {
        for (int k = 0; k < world->process_count; k++) {
            if ((side >> i & others >> k & 1) != 0) {
                block(world, i, k, until_us);
                block(world, k, i, until_us);
            }
        }
    }
}

/* ---- flapping and slow ----------------------------------------------------------------------- */

void
fault_flap(struct world *world)
{
    int from = any_number(world);
    int to = any_number(world);
    struct path *path = &world->paths[from][to];
    bool flaps = path->flap_until_us > world->now_us;
    if (from == to || flaps) {
        return;
    }
    path->flap_until_us = draw_until(world);
    path->flap_every_us = rng_range(&world->rng, 5 * MS, 300 * MS);
    world->counts.flaps++;
    world_trace(world, "path %d -> %d flaps every %" PRId64 " ms until %" PRId64 " ms",
                world->processes[from]->id, world->processes[to]->id, path->flap_every_us / MS,
                path->flap_until_us / MS);
    flap_on(world, (uint64_t)(from << 8 | to));
}

void
flap_on(struct world *world, uint64_t number)
{
    int from = (int)(number >> 8);
    int to = (int)(number & 0xff);
    const struct path *path = &world->paths[from][to];
    if (path->flap_until_us <= world->now_us) {
        return;
    }
    block(world, from, to, world->now_us + rng_range(&world->rng, 1, path->flap_every_us));
    world_at(world, world->now_us + path->flap_every_us,
             (struct world_event){.kind = WORLD_FLAP, .number = number});
}

void
fault_slow(struct world *world)
{
    struct path *path = &world->paths[any_number(world)][any_number(world)];
    path->slow_until_us = draw_until(world);
    path->slow_us = rng_range(&world->rng, MS, 800 * MS);
    world->counts.slow_paths++;
}

/* ---- healing --------------------------------------------------------------------------------- */

void
network_heal(struct world *world)
{
    memset(world->paths, 0, sizeof(world->paths));
    for (size_t i = 0; i < world->link_count; i++) {
        link_hasten(world->links[i]);
    }
}

void
network_leave_out(struct world *world, struct process *p)
{
    uint64_t alone = UINT64_C(1) << p->number;
    bool one_way = rng_chance(&world->rng, 400);
    divide(world, rng_chance(&world->rng, 500) ? alone : ~alone, one_way, INT64_MAX);
}
