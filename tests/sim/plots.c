/* What chance brings about too seldom, in some seeds: faults in an order that a rule of replication
 * was made for. Each is made of faults that happen alone as well, and proves nothing by itself: the
 * watches see what comes of it.
 *
 *   two elections      a leader has what only one follower has; the other one is elected, writes
 *                      what nobody has, and goes: where do the logs part (KIP-279)?
 *   an old answer      a leader's answer stays on its way until it has been deposed, cut its log
 *                      and is the leader again
 *   a lost change      the controllers change an ISR, and the leader that asked does not hear it
 *   a last word        what an emptied broker said before arrives when it is there again */
#include <inttypes.h>
#include <stdio.h>

#include "libdmq/base/assert.h"
#include "tests/sim/world.h"

#define MOST_TRIES 20
#define OVER (-1)

/* By its own draws: seeds without it stay what they were. */
void
plots_draw(struct world *world)
{
    struct world_options *o = &world->options;
    o->plots = o->seed % 4 == 3 && o->replication > 1 && !o->async_topic;
    rng_init(&world->plot.rng, o->seed ^ 0x706c6f7473u);
    if (o->plots) {
        world_at(world, rng_range(&world->plot.rng, SECOND, 3 * SECOND),
                 (struct world_event){.kind = WORLD_PLOT});
    }
}

/* ---- who plays ------------------------------------------------------------------------------- */

static const struct partition_record *
plotted(struct world *world)
{
    const struct image *image = metadata_newest(world);
    const struct plot *plot = &world->plot;
    return image == NULL ? NULL : image_partition(image, plot->topic_id, plot->partition);
}

static bool
is_well(const struct process *p)
{
    return p->alive && p->paused_until_us <= p->world->now_us;
}

static const struct partition_record *
any_partition(struct world *world)
{
    char name[16];
    struct plot *plot = &world->plot;
    const struct image *image = metadata_newest(world);
    snprintf(name, sizeof(name), "t%d", (int)rng_below(&plot->rng, WORLD_MAX_TOPICS));
    const struct image_topic *topic =
        image == NULL ? NULL : image_topic_by_name(image, bytes_str(name));
    if (topic == NULL) {
        return NULL;
    }
    plot->topic_id = topic->record->topic_id;
    plot->partition = (int32_t)rng_below(&plot->rng, WORLD_PARTITIONS);
    return topic->partitions[plot->partition];
}

/* A partition of three that are in sync: its leader, who leads after it, and the third. */
static bool
cast_three(struct world *world)
{
    struct plot *plot = &world->plot;
    const struct partition_record *p = any_partition(world);
    int others = 0;
    if (p == NULL || p->leader < 0 || p->isr_count != 3) {
        return false;
    }
    bool well = true;
    plot->preferred = p->leader == p->replicas[0];
    for (uint32_t i = 0; i < p->isr_count; i++) {
        struct process *broker = world_by_id(world, PROCESS_BROKER, p->isr[i]);
        well = well && is_well(broker);
        if (p->isr[i] == p->leader) {
            plot->leader = broker;
        } else {
            *(others++ == 0 ? &plot->next : &plot->third) = broker;
        }
    }
    return well;
}

static uint64_t
only(const struct process *p)
{
    return UINT64_C(1) << p->number;
}

static void
crash(struct process *p, int64_t from_us, int64_t to_us)
{
    struct world *world = p->world;
    if (p->alive) {
        world->counts.crashes_broker++;
        process_crash(p, process_draw_crash(world));
        process_start_in(p, rng_range(&world->plot.rng, from_us, to_us));
    }
}

/* ---- two elections --------------------------------------------------------------------------- */

static int64_t
two_elections(struct world *world)
{
    struct plot *plot = &world->plot;
    const struct partition_record *p;
    switch (plot->step++) {
    case 0:
        if (!cast_three(world)) {
            return OVER;
        }
        network_separate(world, only(plot->leader), only(plot->next), world->now_us + 2 * SECOND);
        return rng_range(&plot->rng, 100 * MS, 500 * MS);
    case 1:
        network_separate(world, only(plot->next), only(plot->third), world->now_us + 2 * SECOND);
        crash(plot->leader, 3 * SECOND, 6 * SECOND);
        return rng_range(&plot->rng, 300 * MS, 1500 * MS);
    default:
        p = plotted(world);
        if (p != NULL && p->leader == plot->next->id) {
            world->counts.two_elections++;
            crash(plot->next, SECOND, 3 * SECOND);
        }
        return OVER;
    }
}

/* ---- an old answer --------------------------------------------------------------------------- */

static void
elect_preferred(struct world *world)
{
    struct plot *plot = &world->plot;
    struct process *client = world_process(
        world, PROCESS_CLIENT, (int)rng_below(&plot->rng, (uint64_t)world->options.clients));
    const struct elect_leaders_request request = {
        .topic_id = plot->topic_id, .partition = plot->partition, .broker_id = -1};
    if (is_well(client)) {
        admin_elect(client, &request);
    }
}

/* The answer is held up without the connection being given up, as long as that takes. */
static int64_t
old_answer(struct world *world)
{
    struct plot *plot = &world->plot;
    const struct partition_record *p;
    if (plot->step == 0) {
        if (!cast_three(world) || !plot->preferred) {
            return OVER;
        }
        plot->step = 1;
        plot->tries = 0;
        plot->deposed = false;
        network_stall(world, only(plot->leader), only(plot->third), world->now_us + 9 * SECOND);
        network_separate(world, only(plot->next), only(plot->third), world->now_us + 6 * SECOND);
        network_separate(world, only(plot->leader),
                         only(plot->next) | world_all(world, PROCESS_CONTROLLER),
                         world->now_us + 2600 * MS);
        return 2700 * MS;
    }
    p = plotted(world);
    plot->deposed |= p != NULL && p->leader == plot->next->id;
    if (p != NULL && plot->deposed && p->leader == plot->leader->id) {
        world->counts.old_answers++;
        network_stall(world, only(plot->leader), only(plot->third), 0);
        return OVER;
    }
    elect_preferred(world);
    return plot->tries++ < MOST_TRIES ? 200 * MS : OVER;
}

/* ---- words that get lost, or come late ------------------------------------------------------- */

/* Some follower leaves the ISR, and comes back. */
static int64_t
lost_change(struct world *world)
{
    struct plot *plot = &world->plot;
    const struct partition_record *p;
    if (plot->step++ > 0) {
        plot->armed = PLOT_NONE;
        return OVER;
    }
    p = any_partition(world);
    if (p == NULL || p->isr_count < 2) {
        return OVER;
    }
    struct process *broker =
        world_by_id(world, PROCESS_BROKER, p->isr[rng_below(&plot->rng, p->isr_count)]);
    if (broker->id == p->leader) {
        return OVER;
    }
    crash(broker, 0, 300 * MS);
    plot->armed = PLOT_LOST_CHANGE;
    return 3 * SECOND;
}

static int64_t
last_word(struct world *world)
{
    struct plot *plot = &world->plot;
    if (plot->step++ == 0) {
        plot->armed = PLOT_LAST_WORD;
        return SECOND;
    }
    plot->armed = PLOT_NONE;
    return OVER;
}

void
plots_sent(struct process *p, int16_t api_key)
{
    struct world *world = p->world;
    struct plot *plot = &world->plot;
    if (world->healed) {
        return;
    }
    if (plot->armed == PLOT_LOST_CHANGE && api_key == API_ALTER_PARTITION) {
        plot->armed = rng_chance(&plot->rng, 500) ? PLOT_NONE : plot->armed;
        world->counts.lost_changes++;
        network_stall(world, world_all(world, PROCESS_CONTROLLER), only(p),
                      world->now_us + rng_range(&plot->rng, SECOND, 7 * SECOND));
    } else if (plot->armed == PLOT_LAST_WORD && is_well(p) &&
               (api_key == API_FETCH || api_key == API_REPLICA_PROGRESS)) {
        plot->armed = PLOT_NONE;
        plot->speaker = p;
        world_at(world, world->now_us, (struct world_event){.kind = WORLD_PLOT, .number = 1});
    }
}

/* It is emptied before that has arrived, and there again at once. */
static void
fall_silent(struct world *world)
{
    struct plot *plot = &world->plot;
    plot->late = true;
    if (plot->speaker->alive && faults_wipe_broker(plot->speaker)) {
        world->counts.last_words++;
        process_start_in(plot->speaker, rng_range(&plot->rng, 0, 20 * MS));
    }
    plot->late = false;
}

/* ---- one after the other --------------------------------------------------------------------- */

void
plots_happen(struct world *world, bool speaks)
{
    static int64_t (*const acts[])(struct world *world) = {two_elections, old_answer, lost_change,
                                                           last_word};
    struct plot *plot = &world->plot;
    if (world->healed) {
        return;
    }
    if (speaks) {
        fall_silent(world);
        return;
    }
    if (plot->step == 0) {
        plot->act = (int)rng_below(&plot->rng, sizeof(acts) / sizeof(acts[0]));
    }
    int64_t after_us = acts[plot->act](world);
    if (after_us == OVER) {
        plot->step = 0;
        after_us = rng_range(&plot->rng, 200 * MS, 4 * SECOND);
    }
    world_at(world, world->now_us + after_us, (struct world_event){.kind = WORLD_PLOT});
}
