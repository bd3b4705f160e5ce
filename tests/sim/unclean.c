/* Unclean elections, in some seeds, of one topic: the others keep what was promised without them.
 * What is needed for one seldom happens by chance. So a plot makes it: a replica falls behind (it
 * is down, or its disk was emptied), those that were in sync go or are seen no more by anybody but
 * their clients, it is back, and an administrator asks for it as the leader. Beside that,
 * administrators ask where there is nothing to elect, and without saying that they accept the
 * loss. */
#include <inttypes.h>
#include <stdio.h>

#include "libdmq/base/assert.h"
#include "tests/sim/world.h"

#define TOPIC (WORLD_MAX_TOPICS - 1)
#define MOST_ASKED 30 /* in one plot */
#define MOST_WAITED 6

bool
unclean_is_topic(const struct world *world, int topic)
{
    return world->options.unclean && topic == TOPIC;
}

/* By its own draws: seeds without it stay what they were. */
void
unclean_draw(struct world *world)
{
    struct world_options *o = &world->options;
    o->unclean = o->seed % 4 == 1 && o->replication > 1 && !o->async_topic;
    rng_init(&world->unclean.rng, o->seed ^ 0x756e636c65616eu);
    if (o->unclean) {
        world_at(world, rng_range(&world->unclean.rng, SECOND, 4 * SECOND),
                 (struct world_event){.kind = WORLD_UNCLEAN});
    }
}

/* ---- what is known of the topic -------------------------------------------------------------- */

static const struct image_topic *
find_topic(struct world *world)
{
    char name[16];
    const struct image *image = metadata_newest(world);
    snprintf(name, sizeof(name), "t%d", TOPIC);
    return image == NULL ? NULL : image_topic_by_name(image, bytes_str(name));
}

bool
unclean_may_lose(const struct world *world, const struct image_topic *topic, int32_t partition)
{
    return partition < WORLD_PARTITIONS && world->unclean.asked[partition] &&
           uuid_equal(topic->record->topic_id, world->unclean.topic_id);
}

void
unclean_elected(struct world *world, const struct partition_record *record,
                const struct watch_cut *cut)
{
    world->counts.unclean_elections++;
    world->counts.given_up += (uint64_t)cut->given_up;
    history_cut(&world->history,
                &(struct history_cut){TOPIC, record->partition, cut->end, cut->epoch});
    world_trace(world,
                "partition %" PRId32 " of t%d: broker %" PRId32
                " is elected uncleanly, in epoch %" PRId32 ": what is above %" PRId64
                " is given up, %" PRId64 " batches",
                record->partition, TOPIC, record->leader, cut->epoch, cut->end, cut->given_up);
}

bool
unclean_was_cut(const struct world *world, int topic, int partition)
{
    for (size_t i = 0; i < world->history.cut_count; i++) {
        const struct history_cut *cut = &world->history.cuts[i];
        if (cut->topic == topic && cut->partition == partition) {
            return true;
        }
    }
    return false;
}

/* Where one replica holds all that counts of a partition, no disk is lost. */
bool
unclean_spares(struct world *world)
{
    const struct image_topic *topic = world->options.unclean ? find_topic(world) : NULL;
    bool spares = world->unclean.stage == UNCLEAN_IDLE;
    for (uint32_t i = 0; topic != NULL && i < topic->partition_count; i++) {
        const struct partition_record *p = topic->partitions[i];
        spares = spares && p->isr_count + p->elr_count > 1;
    }
    return spares;
}

/* Whether a log of the topic has a bit that has flipped: if it were the only one that counts, its
 * readers would have to give up. */
static bool
is_rotten(struct world *world)
{
    char id[UUID_TEXT_SIZE];
    const struct image_topic *topic = find_topic(world);
    for (int i = 0; topic != NULL && i < WORLD_ROTS * world->options.brokers; i++) {
        const struct process *p = world_process(world, PROCESS_BROKER, i / WORLD_ROTS);
        const struct sim_rot *rot = &p->rots[i % WORLD_ROTS];
        if (rot->on && strstr(rot->path, uuid_text(topic->record->topic_id, id)) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static struct process *
any_client(struct world *world)
{
    return world_process(world, PROCESS_CLIENT,
                         (int)rng_below(&world->unclean.rng, (uint64_t)world->options.clients));
}

/* A program that is paused asks nothing. */
static void
ask(struct world *world, int topic, int32_t partition, int32_t broker_id, bool accepts)
{
    struct process *client = any_client(world);
    char name[16];
    snprintf(name, sizeof(name), "t%d", topic);
    const struct elect_leaders_request request = {.topic_name = bytes_str(name),
                                                  .partition = partition,
                                                  .unclean = true,
                                                  .accept_data_loss = accepts,
                                                  .broker_id = broker_id};
    DMQ_ASSERT(!accepts || topic == TOPIC);
    if (!client->alive || client->paused_until_us > world->now_us ||
        (accepts && is_rotten(world))) {
        return;
    }
    for (int i = 0; accepts && i < WORLD_PARTITIONS; i++) {
        world->unclean.asked[i] |= partition == -1 || partition == i;
    }
    admin_elect(client, &request);
}

/* Of a partition that has a leader, mostly; or without saying that the loss is accepted. */
static void
ask_in_vain(struct world *world)
{
    struct rng *rng = &world->unclean.rng;
    bool accepts = rng_chance(rng, 500);
    int topic = accepts ? TOPIC : (int)rng_below(rng, WORLD_MAX_TOPICS);
    ask(world, topic, (int32_t)rng_below(rng, WORLD_PARTITIONS + 1) - 1, -1, accepts);
}

/* ---- the plot -------------------------------------------------------------------------------- */

static bool
is_counted(const struct partition_record *p, int32_t id)
{
    for (uint32_t i = 0; i < p->isr_count; i++) {
        if (p->isr[i] == id) {
            return true;
        }
    }
    for (uint32_t i = 0; i < p->elr_count; i++) {
        if (p->elr[i] == id) {
            return true;
        }
    }
    return false;
}

static const struct partition_record *
plotted(struct world *world)
{
    const struct image_topic *topic = find_topic(world);
    return topic == NULL ? NULL : topic->partitions[world->unclean.partition];
}

/* A follower goes. Where two replicas are all, both always count: it comes back with nothing. */
static int64_t
fall_behind(struct world *world)
{
    struct unclean *plot = &world->unclean;
    plot->partition = (int32_t)rng_below(&plot->rng, WORLD_PARTITIONS);
    const struct partition_record *p = plotted(world);
    if (p == NULL || p->leader < 0 || p->isr_count < 2 || is_rotten(world)) {
        return SECOND;
    }
    plot->topic_id = p->topic_id;
    plot->broker_id = p->isr[rng_below(&plot->rng, p->isr_count)];
    struct process *broker = world_by_id(world, PROCESS_BROKER, plot->broker_id);
    plot->empties = world->options.replication == 2 || rng_chance(&plot->rng, 200);
    if (plot->broker_id == p->leader || !broker->alive ||
        (plot->empties && !faults_wipe_broker(broker))) {
        return SECOND;
    }
    world_trace(world, "broker %" PRId32 " falls behind", plot->broker_id);
    if (plot->empties) { /* it is not to catch up */
        uint64_t side = UINT64_C(1) << broker->number;
        network_separate(world, side, world_all(world, PROCESS_BROKER) & ~side,
                         world->now_us + 5 * SECOND);
    } else {
        world->counts.crashes_broker++;
        process_crash(broker, process_draw_crash(world));
    }
    plot->stage = UNCLEAN_BEHIND;
    plot->asks = 0;
    return rng_range(&plot->rng, SECOND / 2, 2 * SECOND);
}

static uint64_t
counted(const struct world *world, const struct partition_record *p)
{
    uint64_t set = 0;
    for (int i = 0; i < world->process_count; i++) {
        set |= (uint64_t)is_counted(p, world->processes[i]->id) << i;
    }
    return set;
}

/* Those who count go: down, or seen by clients alone. */
static void
remove_all(struct world *world, uint64_t side)
{
    struct unclean *plot = &world->unclean;
    bool hides = rng_chance(&plot->rng, 300);
    for (int i = 0; !hides && i < world->process_count; i++) {
        struct process *broker = world->processes[i];
        if ((side >> i & 1) != 0 && broker->alive) {
            world->counts.crashes_broker++;
            process_crash(broker, process_draw_crash(world));
            process_start_in(broker, rng_range(&plot->rng, 3 * SECOND, 7 * SECOND));
        }
    }
    if (hides) {
        network_separate(world, side,
                         (world_all(world, PROCESS_BROKER) | world_all(world, PROCESS_CONTROLLER)) &
                             ~side,
                         world->now_us + rng_range(&plot->rng, 3 * SECOND, 7 * SECOND));
    }
    world_trace(world, "those in sync with partition %" PRId32 " of t%d %s", plot->partition, TOPIC,
                hides ? "are seen by clients alone" : "are gone");
}

/* One that sleeps through it hears of it when the new log may have grown beyond where it was. */
static void
pause_reader(struct world *world)
{
    struct rng *rng = &world->unclean.rng;
    struct process *client = any_client(world);
    if (client->alive && world->options.clients > 1 && rng_chance(rng, 700)) {
        faults_pause(client, rng_range(rng, 3 * SECOND, 12 * SECOND));
    }
}

static int64_t
be_alone(struct world *world)
{
    struct unclean *plot = &world->unclean;
    const struct partition_record *p = plotted(world);
    struct process *broker = world_by_id(world, PROCESS_BROKER, plot->broker_id);
    if (p != NULL && is_counted(p, plot->broker_id) && plot->asks++ < MOST_WAITED) {
        return SECOND / 2; /* those who decide have not heard of it */
    }
    process_start_in(broker, rng_range(&plot->rng, 0, 200 * MS));
    if (p == NULL || is_counted(p, plot->broker_id)) {
        plot->stage = UNCLEAN_IDLE;
        return SECOND;
    }
    remove_all(world, counted(world, p)); /* the image goes with its process */
    pause_reader(world);
    plot->stage = UNCLEAN_ALONE;
    plot->asks = 0;
    return rng_range(&plot->rng, 100 * MS, SECOND);
}

static int64_t
be_elected(struct world *world)
{
    struct unclean *plot = &world->unclean;
    const struct partition_record *p = plotted(world);
    if ((p != NULL && p->leader == plot->broker_id) || plot->asks++ == MOST_ASKED) {
        plot->stage = UNCLEAN_IDLE;
        return rng_range(&plot->rng, 2 * SECOND, 8 * SECOND);
    }
    ask(world, TOPIC, rng_chance(&plot->rng, 300) ? -1 : plot->partition,
        rng_chance(&plot->rng, 500) ? -1 : plot->broker_id, true);
    return rng_range(&plot->rng, 100 * MS, 400 * MS);
}

/* The one that was elected has lost its disk since, and with it all that there was: nobody is left
 * who may lead by himself. An administrator sees that, and asks once more. */
static void
ask_where_nothing_is_left(struct world *world)
{
    const struct image_topic *topic = find_topic(world);
    for (int32_t i = 0; topic != NULL && i < WORLD_PARTITIONS; i++) {
        const struct partition_record *p = topic->partitions[i];
        if (p->leader == -1 && p->isr_count + p->elr_count == 0 && world->unclean.asked[i]) {
            ask(world, TOPIC, i, -1, true);
        }
    }
}

void
unclean_happens(struct world *world)
{
    struct unclean *plot = &world->unclean;
    int64_t next_us = SECOND;
    if (world->healed) {
        ask_where_nothing_is_left(world);
        world_at(world, world->now_us + next_us, (struct world_event){.kind = WORLD_UNCLEAN});
        return;
    }
    switch (plot->stage) {
    case UNCLEAN_IDLE:
        if (rng_chance(&plot->rng, 300)) {
            ask_in_vain(world);
        } else {
            next_us = fall_behind(world);
        }
        break;
    case UNCLEAN_BEHIND:
        next_us = be_alone(world);
        break;
    case UNCLEAN_ALONE:
        next_us = be_elected(world);
        break;
    }
    world_at(world, world->now_us + next_us, (struct world_event){.kind = WORLD_UNCLEAN});
}
