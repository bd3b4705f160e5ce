#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/checker.h"

#define MS 1000
#define SECOND (1000 * MS)
#define HEAL_WITHIN_US (120 * (int64_t)SECOND)
#define MAX_EVENTS 20000000

/* ---- events ---------------------------------------------------------------------------------- */

void
world_at(struct world *world, int64_t at_us, struct world_event event)
{
    struct world_event *kept = malloc(sizeof(*kept));
    DMQ_ASSERT(kept != NULL);
    *kept = event;
    kept->node = (struct heap_node){0};
    bool pushed =
        heap_push(&world->heap, &kept->node, at_us > world->now_us ? at_us : world->now_us);
    DMQ_ASSERT(pushed);
}

static void
hash(struct world *world, uint64_t value)
{
    world->trace_hash = (world->trace_hash ^ value) * 0x100000001b3u;
}

void
world_fail(struct world *world, const char *what)
{
    if (world->failure == NULL) {
        world->failure = what;
        world_trace(world, "FAILED: %s", what);
    }
}

void
world_trace(struct world *world, const char *format, ...)
{
    if (!world->trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%10.3f ms  ", (double)world->now_us / MS);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

int64_t
process_now_ms(const struct process *p)
{
    return p->world->now_us / MS + 1;
}

struct process *
world_process(struct world *world, enum process_kind kind, int index)
{
    for (size_t i = 0; i < world->process_count; i++) {
        if (world->processes[i]->kind == kind && index-- == 0) {
            return world->processes[i];
        }
    }
    return NULL;
}

void
process_tick_at(struct process *p, int64_t due_ms)
{
    if (due_ms == INT64_MAX) {
        return;
    }
    int64_t at_us = (due_ms - 1) * MS;
    at_us = at_us > p->world->now_us ? at_us : p->world->now_us;
    if (p->tick_us <= at_us) {
        return;
    }
    p->tick_us = at_us;
    world_at(p->world, at_us,
             (struct world_event){.kind = WORLD_TICK, .process = p, .life = p->life});
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static void
lane_next(struct process *p, enum lane lane)
{
    struct world *world = p->world;
    if (p->lane_busy[lane] || list_empty(&p->lanes[lane])) {
        return;
    }
    int64_t takes = rng_range(&world->rng, 20, world->options.disk_max_us);
    if (!world->healed && rng_chance(&world->rng, world->options.stall_per_mille)) {
        takes = rng_range(&world->rng, 10 * MS, 2 * SECOND);
        world->counts.stalls++;
    }
    p->lane_busy[lane] = true;
    world_at(
        world, world->now_us + takes,
        (struct world_event){.kind = WORLD_LANE, .process = p, .life = p->life, .number = lane});
}

void
lane_push(struct process *p, enum lane lane, const struct effect *effect)
{
    struct effect *kept = malloc(sizeof(*kept));
    DMQ_ASSERT(kept != NULL);
    *kept = *effect;
    kept->link = (struct list){0};
    list_append(&p->lanes[lane], &kept->link);
    lane_next(p, lane);
}

void
lane_done(struct process *p, enum lane lane)
{
    p->lane_busy[lane] = false;
    lane_next(p, lane);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void
tick(struct process *p)
{
    p->tick_us = INT64_MAX;
    switch (p->kind) {
    case PROCESS_CONTROLLER:
        controller_tick(p);
        break;
    case PROCESS_BROKER:
        broker_tick(p);
        break;
    case PROCESS_CLIENT:
        client_tick(p);
        break;
    }
}

static void
run_lane(struct process *p, enum lane lane)
{
    if (p->kind == PROCESS_BROKER) {
        broker_lane(p, lane);
    } else {
        controller_lane(p);
    }
}

static void
handle(struct world *world, struct world_event *event)
{
    struct process *p = event->process;
    switch (event->kind) {
    case WORLD_TICK:
        if (p->tick_us <= world->now_us) {
            tick(p);
        }
        break;
    case WORLD_LANE:
        run_lane(p, (enum lane)event->number);
        break;
    case WORLD_DELIVER:
        link_deliver(event->link, (int)event->number);
        break;
    case WORLD_LINK_UP:
        link_up(event->link, event->number);
        break;
    case WORLD_LINK_DOWN:
        link_notice(event->link);
        break;
    case WORLD_REDIAL:
        link_dial(event->link->from, event->link->to, event->link->port, event->link->conn);
        break;
    case WORLD_START:
        process_start(p);
        break;
    case WORLD_WORK:
        client_work(p);
        break;
    case WORLD_FAULT:
        faults_happen(world);
        break;
    }
}

/* An event of a life that is over is dropped; one of a paused process waits. */
static bool
takes_place(struct world *world, struct world_event *event)
{
    struct process *p = event->process;
    if (p == NULL) {
        return true;
    }
    if (event->life != 0 && (event->life != p->life || !p->alive)) {
        return false;
    }
    if (p->paused_until_us > world->now_us) {
        world_at(world, p->paused_until_us, *event);
        return false;
    }
    return true;
}

static bool
run_one(struct world *world)
{
    struct heap_node *node = heap_min(&world->heap);
    if (node == NULL || world->failure != NULL) {
        return false;
    }
    heap_remove(&world->heap, node);
    struct world_event *event = LIST_ENTRY(node, struct world_event, node);
    world->now_us = node->key;
    if (takes_place(world, event)) {
        hash(world, (uint64_t)world->now_us);
        hash(world, (uint64_t)event->kind << 32 | event->number);
        world->counts.events++;
        handle(world, event);
        if (event->process != NULL && event->process->kind == PROCESS_BROKER) {
            broker_check(event->process);
        }
    }
    free(event);
    if (world->counts.events > MAX_EVENTS) {
        world_fail(world, "events without end");
    }
    return world->failure == NULL;
}

static void
run_until(struct world *world, int64_t until_us)
{
    while (heap_min(&world->heap) != NULL && heap_min(&world->heap)->key <= until_us) {
        if (!run_one(world)) {
            return;
        }
    }
    world->now_us = until_us > world->now_us ? until_us : world->now_us;
}

/* ---- a life ---------------------------------------------------------------------------------- */

static struct process *
add_process(struct world *world, enum process_kind kind, int32_t id)
{
    struct process *p = calloc(1, sizeof(*p));
    DMQ_ASSERT(p != NULL && world->process_count < WORLD_MAX_PROCESSES);
    p->world = world;
    p->kind = kind;
    p->id = id;
    p->tick_us = INT64_MAX;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        list_init(&p->lanes[lane]);
    }
    if (kind != PROCESS_CLIENT) {
        p->disk = simfs_new(rng_next(&world->rng));
        p->store = simkv_new();
        simfs_make_folder(p->disk, "/data");
    }
    world->processes[world->process_count++] = p;
    return p;
}

void
world_init(struct world *world, uint64_t seed, int64_t seconds)
{
    *world = (struct world){.trace_hash = 0xcbf29ce484222325u, .next_value = 1};
    rng_init(&world->rng, seed);
    list_init(&world->links);
    world->options.seed = seed;
    world->options.faults_until_us = seconds * SECOND;
    faults_draw(world);
    add_process(world, PROCESS_CONTROLLER, 1);
    add_process(world, PROCESS_BROKER, 101);
    for (int i = 0; i < world->options.clients; i++) {
        add_process(world, PROCESS_CLIENT, 1000 + i);
    }
}

void
world_deinit(struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++) {
        struct process *p = world->processes[i];
        if (p->alive) {
            process_crash(p, SIMFS_KEEP);
        }
        if (p->kind != PROCESS_CLIENT) {
            simfs_free(p->disk);
            simkv_free(p->store);
        }
    }
    struct list *link;
    while ((link = list_pop(&world->links)) != NULL) {
        free(LIST_ENTRY(link, struct link, link));
    }
    struct heap_node *node;
    while ((node = heap_min(&world->heap)) != NULL) {
        heap_remove(&world->heap, node);
        free(LIST_ENTRY(node, struct world_event, node));
    }
    for (size_t i = 0; i < world->process_count; i++) {
        free(world->processes[i]);
    }
    heap_deinit(&world->heap);
    history_deinit(&world->history);
}

static bool
every_client(const struct world *world, bool (*holds)(const struct process *p))
{
    for (size_t i = 0; i < world->process_count; i++) {
        const struct process *p = world->processes[i];
        if (p->kind == PROCESS_CLIENT && !holds(p)) {
            return false;
        }
    }
    return true;
}

/* Lets everything go on until it holds of every client; a failure if that takes too long. */
static void
await(struct world *world, bool (*holds)(const struct process *p), const char *otherwise)
{
    int64_t until = world->now_us + HEAL_WITHIN_US;
    while (world->failure == NULL && !every_client(world, holds)) {
        if (world->now_us >= until) {
            world_fail(world, otherwise);
        }
        run_until(world, world->now_us + 100 * MS);
    }
}

/* Everything is healed for good: within bounded time all that was sent has an outcome, and new
 * readers have read everything from the start. */
static void
drain(struct world *world)
{
    world->healed = true;
    faults_heal(world);
    for (size_t i = 0; i < world->process_count; i++) {
        if (world->processes[i]->kind == PROCESS_CLIENT) {
            client_quiesce(world->processes[i]);
        }
    }
    await(world, client_flushed, "sends have no outcome after everything was healed");
    for (size_t i = 0; world->failure == NULL && i < world->process_count; i++) {
        if (world->processes[i]->kind == PROCESS_CLIENT) {
            client_reread(world->processes[i]);
        }
    }
    run_until(world, world->now_us + 2 * SECOND); /* topics are asked for */
    for (size_t i = 0; world->failure == NULL && i < world->process_count; i++) {
        if (world->processes[i]->kind == PROCESS_CLIENT) {
            client_reread(world->processes[i]);
        }
    }
    await(world, client_has_read_all, "readers do not reach the end after everything was healed");
}

const char *
world_run(struct world *world)
{
    static char text[256];
    for (size_t i = 0; i < world->process_count; i++) {
        process_start(world->processes[i]);
    }
    world_at(world, rng_range(&world->rng, 0, SECOND), (struct world_event){.kind = WORLD_FAULT});
    run_until(world, world->options.faults_until_us);
    if (world->failure == NULL) {
        drain(world);
    }
    if (world->failure != NULL) {
        return world->failure;
    }
    struct process *last = world->processes[world->process_count - 1];
    struct verdict verdict = history_check(&world->history, last->id);
    if (verdict.anomaly == ANOMALY_NONE) {
        return NULL;
    }
    snprintf(text, sizeof(text), "%s", verdict.text);
    return text;
}
