/* What goes wrong, drawn from the seed. */
#include <string.h>

#include "tests/sim/replica_cluster.h"

static int64_t
one_of(struct rng *rng, const int64_t *values, size_t count)
{
    return values[rng_below(rng, count)];
}

#define ONE_OF(rng, ...)                                                                           \
    one_of(rng, (const int64_t[]){__VA_ARGS__},                                                    \
           sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- the swarm: every option from the seed --------------------------------------------------- */

void
rsim_draw(struct rsim *sim)
{
    struct rsim_options *options = &sim->options;
    struct rng *rng = &sim->rng;
    options->nodes = (int32_t)ONE_OF(rng, 1, 2, 3, 3, 3, 4, 5);
    options->min_isr = (int32_t)rng_range(rng, 1, (options->nodes + 2) / 2);
    options->async = rng_chance(rng, 150);
    options->delay_us = ONE_OF(rng, 500, 2000, 20000, 100000);
    options->push_us = ONE_OF(rng, 1000, 20000, 200000);
    options->sync_us = ONE_OF(rng, 200, 3000, 30000, 200000);
    options->loss = (unsigned)ONE_OF(rng, 0, 0, 20, 100);
    options->doubled = (unsigned)ONE_OF(rng, 0, 20, 200);
    options->fault_every_us = ONE_OF(rng, 20000, 100000, 400000);
    options->append_every_us = ONE_OF(rng, 3000, 10000, 40000);
    options->lag_ms = ONE_OF(rng, 50, 300, 2000);
    for (size_t i = 0; i < 6; i++) {
        options->faults[i] = (unsigned)ONE_OF(rng, 0, 1, 1, 4);
    }
    sim->counts.async_worlds += options->async;
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* The leader every second time: faults of others are the dull ones. */
static struct rsim_node *
a_victim(struct rsim *sim)
{
    int32_t leader = sim->images[sim->version].leader;
    bool it = leader > 0 && rng_chance(&sim->rng, 400);
    return &sim->nodes[it ? leader
                          : 1 + (int32_t)rng_below(&sim->rng, (uint64_t)sim->options.nodes)];
}

static void
fault_crash(struct rsim *sim)
{
    struct rsim_node *node = a_victim(sim);
    if (!node->up) {
        return;
    }
    rsim_crash(sim, node);
    rsim_start_later(sim, node, rng_range(&sim->rng, 1000, 2000000));
    if (rng_chance(&sim->rng, 500)) {
        rsim_fence(sim, node->id);
    }
}

/* The new process of an emptied disk is registered before anything else happens: otherwise what it
 * held might be counted on, and the loss would not be covered. */
static void
fault_wipe(struct rsim *sim)
{
    struct rsim_node *node = a_victim(sim);
    if (!node->up || !rsim_may_wipe(sim, node->id)) {
        return;
    }
    rsim_crash(sim, node);
    sim->counts.wipes++;
    /* A leader that has not heard of it still counts on what it held. */
    bool async = sim->images[sim->version].recorded_async;
    int64_t held = async ? node->log.end : node->log.synced;
    memcpy(node->ghost.records, node->log.records, (size_t)held * sizeof(struct rsim_record));
    node->ghost.end = held > node->ghost.end ? held : node->ghost.end;
    node->log.end = node->log.synced = 0;
    node->checkpoint = 0;
    node->applied = RSIM_NODES;
    rsim_tell(sim, node->id, "its disk is empty");
    rsim_register(sim, node, true);
    rsim_start_later(sim, node, rng_range(&sim->rng, 1000, 1000000));
}

static void
fault_pause(struct rsim *sim)
{
    struct rsim_node *node = a_victim(sim);
    sim->counts.pauses++;
    node->paused_until_us = sim->now_us + rng_range(&sim->rng, 5000, 3000000);
    rsim_tell(sim, node->id, "paused until %lld", (long long)node->paused_until_us);
}

/* A node, or a link in one direction; 0 is the controller. */
static void
fault_cut(struct rsim *sim)
{
    int32_t one = a_victim(sim)->id;
    int32_t other = (int32_t)rng_below(&sim->rng, (uint64_t)sim->options.nodes + 1);
    bool whole = rng_chance(&sim->rng, 400);
    sim->counts.cut++;
    rsim_tell(sim, one, "cut off from %d", whole ? -1 : other);
    for (int32_t i = 0; i <= sim->options.nodes; i++) {
        bool link = whole || i == other;
        sim->cut[one][i] = sim->cut[one][i] || link;
        sim->cut[i][one] = sim->cut[i][one] || (link && rng_chance(&sim->rng, 700));
    }
}

/* The controller thinks that somebody is gone, rightly or not. */
static void
fault_fence(struct rsim *sim)
{
    rsim_fence(sim, a_victim(sim)->id);
}

void
rsim_heal(struct rsim *sim)
{
    for (int32_t i = 0; i <= RSIM_NODES; i++) {
        for (int32_t k = 0; k <= RSIM_NODES; k++) {
            sim->cut[i][k] = false;
        }
    }
    rsim_tell(sim, 0, "healed");
}

void
rsim_fault(struct rsim *sim)
{
    static void (*const faults[])(struct rsim *sim) = {fault_crash, fault_wipe,  fault_pause,
                                                       fault_cut,   fault_fence, rsim_heal};
    uint64_t sum = 0;
    for (size_t i = 0; i < 6; i++) {
        sum += sim->options.faults[i];
    }
    if (sum == 0) {
        return;
    }
    uint64_t at = rng_below(&sim->rng, sum);
    size_t which = 0;
    while (at >= sim->options.faults[which]) {
        at -= sim->options.faults[which++];
    }
    faults[which](sim);
    if (sim->images[sim->version].async && sim->images[sim->version].leader > 0 &&
        rng_chance(&sim->rng, 50)) {
        rsim_topic_becomes_sync(sim);
    }
}
