#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/quorum.h"

#define MAX_EVENTS 40000000

/* ---- telling --------------------------------------------------------------------------------- */

static void
hash(struct world *world, uint64_t value)
{
    world->trace_hash = (world->trace_hash ^ value) * 0x100000001b3u;
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

void
world_fail(struct world *world, const char *format, ...)
{
    if (world_failed(world)) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(world->failure, sizeof(world->failure), format, args);
    va_end(args);
    world_trace(world, "FAILED: %s", world->failure);
}

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

struct process *
world_process(struct world *world, enum process_kind kind, int index)
{
    for (int i = 0; i < world->process_count; i++) {
        if (world->processes[i]->kind == kind && index-- == 0) {
            return world->processes[i];
        }
    }
    return NULL;
}

uint64_t
world_all(const struct world *world, enum process_kind kind)
{
    uint64_t all = 0;
    for (int i = 0; i < world->process_count; i++) {
        all |= (uint64_t)(world->processes[i]->kind == kind) << i;
    }
    return all;
}

struct process *
world_by_id(struct world *world, enum process_kind kind, int32_t id)
{
    for (int i = 0; i < world->process_count; i++) {
        struct process *p = world->processes[i];
        if (p->kind == kind && p->id == id) {
            return p;
        }
    }
    return NULL;
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

struct effect *
lane_pop(struct process *p, enum lane lane)
{
    struct list *place = list_pop(&p->lanes[lane]);
    return place == NULL ? NULL : LIST_ENTRY(place, struct effect, link);
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
    if (p->tick_us > p->world->now_us) {
        return; /* it was put off */
    }
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
handle_link(struct link *link, const struct world_event *event)
{
    switch (event->kind) {
    case WORLD_DELIVER:
        link_deliver(link, event->number);
        break;
    case WORLD_STRAGGLE:
        link_straggle(link, event->number, event->straggler);
        break;
    case WORLD_LINK_UP:
        link_up(link, event->number);
        break;
    case WORLD_LINK_DOWN:
        link_notice(link);
        break;
    case WORLD_LINK_DIES:
        link_dies(link, event->number);
        break;
    case WORLD_TIMEOUT:
        request_timed_out(link, event->number);
        break;
    default: /* WORLD_REDIAL */
        if (link->wanted) {
            link_dial(link->from, link->to, link->port, link->conn);
        }
        break;
    }
}

static void
handle(struct world *world, const struct world_event *event)
{
    struct process *p = event->process;
    if (event->link != NULL) {
        handle_link(event->link, event);
        return;
    }
    switch (event->kind) {
    case WORLD_TICK:
        tick(p);
        break;
    case WORLD_LANE:
        run_lane(p, (enum lane)event->number);
        break;
    case WORLD_PROBED:
        controller_refused(p, world->processes[event->number], event->incarnation);
        break;
    case WORLD_START:
        process_start(p);
        break;
    case WORLD_WORK:
        client_work(p);
        break;
    case WORLD_FLAP:
        flap_on(world, event->number);
        break;
    case WORLD_EARLY:
        faults_early(world);
        break;
    case WORLD_SPACE:
        disk_has_space(world->processes[event->number]);
        break;
    case WORLD_OPERATOR:
        disk_operator_comes(p);
        break;
    case WORLD_PLOT:
        plots_happen(world, event->number == 1);
        break;
    case WORLD_UNCLEAN:
        unclean_happens(world);
        break;
    case WORLD_FAULT:
        faults_happen(world);
        break;
    default:
        DMQ_UNREACHABLE();
    }
}

/* An event of a life that is over is dropped; one of a paused process waits. */
static bool
takes_place(const struct world_event *event)
{
    const struct process *p = event->process;
    if (p == NULL) {
        return true;
    }
    return event->life == 0 || (event->life == p->life && p->alive);
}

static bool
waits(const struct world *world, const struct world_event *event)
{
    const struct process *p = event->process;
    return p != NULL && p->paused_until_us > world->now_us && event->kind != WORLD_START;
}

static void
check(struct process *p)
{
    if (p == NULL || !p->alive) {
        return;
    }
    if (p->kind != PROCESS_CLIENT) {
        metadata_check(p); /* first: what replicas do rests on it */
    }
    if (p->kind == PROCESS_BROKER) {
        broker_check(p);
        disk_check(p);
    } else if (p->kind == PROCESS_CONTROLLER) {
        quorum_check(p);
        leases_check(p);
    }
}

void
world_event_free(struct world_event *event)
{
    if (event->straggler != NULL) {
        message_free(event->straggler);
    }
    free(event);
}

static void
take_place(struct world *world, const struct world_event *event)
{
    hash(world, (uint64_t)world->now_us);
    hash(world, (uint64_t)event->kind << 32 | event->number);
    hash(world, event->process == NULL ? 0 : (uint64_t)event->process->id);
    world->counts.events++;
    handle(world, event);
    check(event->process);
}

static void
run_one(struct world *world)
{
    struct heap_node *node = heap_min(&world->heap);
    struct world_event *event = LIST_ENTRY(node, struct world_event, node);
    heap_remove(&world->heap, node);
    world->now_us = node->key;
    if (takes_place(event) && waits(world, event)) {
        world_at(world, event->process->paused_until_us, *event);
        event->straggler = NULL;
    } else if (takes_place(event)) {
        take_place(world, event);
        event->straggler = NULL;
    }
    world_event_free(event);
    if (world->counts.events > MAX_EVENTS) {
        world_fail(world, "events without end");
    }
}

void
world_run_until(struct world *world, int64_t until_us)
{
    while (!world_failed(world) && heap_min(&world->heap) != NULL &&
           heap_min(&world->heap)->key <= until_us) {
        run_one(world);
    }
    if (!world_failed(world)) {
        world->now_us = until_us > world->now_us ? until_us : world->now_us;
    }
}
