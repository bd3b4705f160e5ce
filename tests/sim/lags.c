/* When all is healed, in some seeds, one broker and the others hear nothing of each other for a
 * while, but all of them are heard by the controllers: so none is fenced, and it is for the leaders
 * alone to say who lags. Whoever lacks something for longer than replica.lag.time.max.ms is out of
 * the ISR then, or nothing that it is to have would ever be acknowledged again. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/world.h"

#define SETTLE_US (6 * SECOND)
#define MARGIN_US (8 * SECOND) /* until the leader has asked, if need be twice */

/* What a leader had. */
struct seen {
    int32_t leader;
    int32_t leader_epoch;
    int64_t end;
};

static const struct image_topic *
topic_at(struct world *world, int i)
{
    char name[16];
    const struct image *image = metadata_newest(world);
    snprintf(name, sizeof(name), "t%d", i);
    return image == NULL ? NULL : image_topic_by_name(image, bytes_str(name));
}

static bool
view_of(struct world *world, int32_t id, const struct partition_record *p,
        struct brk_partition_view *ret_view)
{
    const struct process *broker = world_by_id(world, PROCESS_BROKER, id);
    return broker != NULL && broker->alive &&
           brk_partition_view(broker->brk, p->topic_id, p->partition, ret_view);
}

static struct seen
look_at(struct world *world, const struct partition_record *p)
{
    struct brk_partition_view view;
    if (p->leader < 0 || !view_of(world, p->leader, p, &view) || !view.leader ||
        view.leader_epoch != p->leader_epoch) {
        return (struct seen){.leader = -1};
    }
    return (struct seen){p->leader, p->leader_epoch, view.end};
}

static bool
is_in_sync(const struct partition_record *p, int32_t id)
{
    for (uint32_t i = 0; i < p->isr_count; i++) {
        if (p->isr[i] == id) {
            return true;
        }
    }
    return false;
}

/* Its leader is the same since, and had more then than the replica has now. */
static void
judge(struct world *world, const struct partition_record *p, const struct seen *seen, int32_t alone)
{
    bool same =
        seen->leader >= 0 && seen->leader == p->leader && seen->leader_epoch == p->leader_epoch;
    for (uint32_t i = 0; same && i < p->replicas_count; i++) {
        const int32_t id = p->replicas[i];
        struct brk_partition_view view;
        bool apart = id != p->leader && (id == alone || p->leader == alone);
        if (!apart || !view_of(world, id, p, &view) || view.end >= seen->end) {
            continue;
        }
        world->counts.laggards++;
        if (is_in_sync(p, id)) {
            char text[UUID_TEXT_SIZE];
            world_fail(world,
                       "broker %" PRId32 " has lagged too long in partition %" PRId32
                       " of topic %.8s, and is in the ISR",
                       id, p->partition, uuid_text(p->topic_id, text));
        }
    }
}

void
lags_draw(struct world *world)
{
    struct world_options *o = &world->options;
    o->lags = o->seed % 4 == 2 && o->replication > 1 && o->replica_lag_ms <= 3000;
}

void
lags_require(struct world *world)
{
    const struct world_options *o = &world->options;
    struct seen seen[WORLD_MAX_TOPICS][WORLD_PARTITIONS];
    if (!o->lags || world_failed(world)) {
        return;
    }
    const struct process *p =
        world_process(world, PROCESS_BROKER, (int)(o->seed / 4 % (uint64_t)o->brokers));
    const int64_t lag_us = o->replica_lag_ms * MS;
    const uint64_t alone = UINT64_C(1) << p->number;
    const uint64_t others = world_all(world, PROCESS_BROKER) & ~alone;
    world_trace(world, "broker %" PRId32 " and the others hear nothing of each other", p->id);
    network_separate(world, alone, others, world->now_us + SETTLE_US + lag_us + 2 * MARGIN_US);
    world_run_until(world, world->now_us + SETTLE_US);
    for (int i = 0; i < WORLD_MAX_TOPICS * WORLD_PARTITIONS; i++) {
        const struct image_topic *topic = topic_at(world, i / WORLD_PARTITIONS);
        const int n = i % WORLD_PARTITIONS;
        seen[i / WORLD_PARTITIONS][n] =
            topic == NULL ? (struct seen){.leader = -1} : look_at(world, topic->partitions[n]);
    }
    world_run_until(world, world->now_us + lag_us + MARGIN_US);
    for (int i = 0; i < WORLD_MAX_TOPICS * WORLD_PARTITIONS; i++) {
        const struct image_topic *topic = topic_at(world, i / WORLD_PARTITIONS);
        const int n = i % WORLD_PARTITIONS;
        if (topic != NULL) {
            judge(world, topic->partitions[n], &seen[i / WORLD_PARTITIONS][n], p->id);
        }
    }
    network_stall(world, alone, others, 0);
    network_stall(world, others, alone, 0);
}
