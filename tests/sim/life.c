/* A life of the world: faults for a while; then a random majority of the controllers, and all that
 * holds records, is healed for good and must serve within bounded time; then everything is read
 * back and judged. */
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/checker.h"
#include "tests/sim/quorum.h"
#include "tests/sim/world.h"

#define SERVE_WITHIN_US (30 * SECOND)
#define REPLICATE_WITHIN_US (120 * SECOND)
#define DRAIN_WITHIN_US (600 * SECOND) /* small fetches over slow links take long */

static void
add_process(struct world *world, enum process_kind kind, int32_t id)
{
    DMQ_ASSERT(world->process_count < WORLD_MAX_PROCESSES);
    world->processes[world->process_count] = process_new(world, kind, id);
    world->process_count++;
}

void
world_init(struct world *world, uint64_t seed, int64_t seconds, bool retention)
{
    *world = (struct world){.trace_hash = 0xcbf29ce484222325u, .next_value = 1};
    rng_init(&world->rng, seed);
    world->options.seed = seed;
    world->options.retention = retention;
    world->options.faults_until_us = seconds * SECOND;
    world->admin = admin_new();
    world->metadata = metadata_checker_new();
    world->watch = quorum_watch_new(world);
    world->replicas = replicas_new(world);
    faults_draw(world);
    for (int i = 0; i < world->options.controllers; i++) {
        add_process(world, PROCESS_CONTROLLER, 1 + i);
    }
    for (int i = 0; i < world->options.brokers; i++) {
        add_process(world, PROCESS_BROKER, 101 + i);
    }
    for (int i = 0; i < world->options.clients; i++) {
        add_process(world, PROCESS_CLIENT, 1001 + i);
    }
}

void
world_deinit(struct world *world)
{
    for (int i = 0; i < world->process_count; i++) {
        if (world->processes[i]->alive) {
            process_crash(world->processes[i], SIMFS_KEEP);
        }
    }
    for (size_t i = 0; i < world->link_count; i++) {
        free(world->links[i]);
    }
    free(world->links);
    struct heap_node *node;
    while ((node = heap_min(&world->heap)) != NULL) {
        heap_remove(&world->heap, node);
        world_event_free(LIST_ENTRY(node, struct world_event, node));
    }
    for (int i = 0; i < world->process_count; i++) {
        process_free(world->processes[i]);
    }
    heap_deinit(&world->heap);
    history_deinit(&world->history);
    admin_free(world->admin);
    metadata_checker_free(world->metadata);
    free(world->watch);
    replicas_free(world->replicas);
}

/* ---- the phases ------------------------------------------------------------------------------ */

static bool
every_client(struct world *world, bool (*holds)(struct process *p))
{
    for (int i = 0; i < world->process_count; i++) {
        struct process *p = world->processes[i];
        if (p->kind == PROCESS_CLIENT && !holds(p)) {
            return false;
        }
    }
    return true;
}

static void
each_client(struct world *world, void (*act)(struct process *p))
{
    for (int i = 0; !world_failed(world) && i < world->process_count; i++) {
        if (world->processes[i]->kind == PROCESS_CLIENT) {
            act(world->processes[i]);
        }
    }
}

/* Lets everything go on until it holds of every client; a failure if that takes too long. */
static void
await(struct world *world, bool (*holds)(struct process *p), int64_t within_us,
      const char *otherwise)
{
    int64_t until = world->now_us + within_us;
    while (!world_failed(world) && !every_client(world, holds)) {
        if (world->now_us >= until) {
            world_fail(world, "%s", otherwise);
        }
        world_run_until(world, world->now_us + 100 * MS);
    }
}

static bool
all_unfenced(struct world *world)
{
    const struct image *image = metadata_newest(world);
    if (image == NULL || image_broker_count(image) < (uint32_t)world->options.brokers) {
        return false;
    }
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        if (image_broker_at(image, i)->fenced) {
            return false;
        }
    }
    return true;
}

static void
require_replicas(struct world *world)
{
    int64_t until = world->now_us + REPLICATE_WITHIN_US;
    while (!world_failed(world) && !replicas_whole(world)) {
        if (world->now_us >= until) {
            replicas_tell_what_lacks(world);
            world_fail(world, "a replica does not come back in sync after everything was healed");
        }
        world_run_until(world, world->now_us + 100 * MS);
    }
    if (!world_failed(world)) {
        replicas_check_end(world);
    }
}

static void
require_brokers(struct world *world)
{
    int64_t until = world->now_us + SERVE_WITHIN_US;
    while (!world_failed(world) && !all_unfenced(world)) {
        if (world->now_us >= until) {
            world_fail(world, "a broker stays fenced after everything was healed");
        }
        world_run_until(world, world->now_us + 100 * MS);
    }
}

/* Within bounded time all that was sent has an outcome, and new readers have read everything from
 * the start. */
static void
drain(struct world *world)
{
    each_client(world, client_quiesce);
    await(world, client_flushed, DRAIN_WITHIN_US,
          "sends have no outcome after everything was healed");
    each_client(world, client_reread);
    world_run_until(world, world->now_us + 2 * SECOND); /* topics are asked for */
    world->history.drain_begins = world->history.poll_count;
    each_client(world, client_reread);
    await(world, client_has_read_all, DRAIN_WITHIN_US,
          "readers do not reach the end after everything was healed");
}

const char *
world_run(struct world *world)
{
    for (int i = 0; i < world->process_count; i++) {
        int64_t after = rng_range(&world->rng, 0, world->options.staggered ? SECOND / 2 : 0);
        process_start_in(world->processes[i], after);
    }
    if (world->options.early_wipe) {
        world_at(world, rng_range(&world->rng, 0, SECOND / 2),
                 (struct world_event){.kind = WORLD_EARLY});
    }
    world_at(world, rng_range(&world->rng, 0, SECOND), (struct world_event){.kind = WORLD_FAULT});
    world_run_until(world, world->options.faults_until_us);
    world->healed = true;
    if (!world_failed(world)) {
        faults_heal(world);
        admin_ask_last(world);
        await(world, admin_is_served, SERVE_WITHIN_US,
              "a create is not acknowledged after a majority was healed");
        require_brokers(world);
        lags_require(world);
        drain(world);
    }
    if (!world_failed(world)) {
        require_replicas(world);
    }
    if (!world_failed(world)) {
        admin_check_end(world);
    }
    for (int i = 0; i < world->options.brokers; i++) {
        disk_count(world_process(world, PROCESS_BROKER, i));
    }
    if (!world_failed(world)) {
        replicas_note_starts(world);
        const struct process *last = world->processes[world->process_count - 1];
        struct verdict verdict = history_check(&world->history, last->id);
        if (verdict.anomaly != ANOMALY_NONE) {
            world_fail(world, "%s", verdict.text);
        }
    }
    return world_failed(world) ? world->failure : NULL;
}
