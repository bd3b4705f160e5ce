/* Where the replicas of a new topic lie. For each partition the leader goes to the live broker with
 * the fewest preferred leaderships, the other replicas to those with the fewest replicas, first on
 * racks that the partition is not yet on. Equals are taken in order of id, so that the same image
 * always gives the same answer. */
#include <stdlib.h>

#include "controller/core/ctl.h"

struct candidate {
    const struct broker_record *broker;
    uint64_t leaders;
    uint64_t replicas;
    bool taken; /* by the partition that is being placed */
};

uint32_t
placement_live(const struct image *image)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        live += broker_is_live(image, image_broker_at(image, i)->broker_id);
    }
    return live;
}

static struct candidate *
find(struct candidate *all, uint32_t count, int32_t broker_id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].broker->broker_id == broker_id) {
            return &all[i];
        }
    }
    return NULL;
}

static void
count_replicas(const struct partition_record *p, struct candidate *all, uint32_t count)
{
    for (uint32_t r = 0; r < p->replicas_count; r++) {
        struct candidate *c = find(all, count, p->replicas[r]);
        if (c != NULL) {
            c->replicas++;
            c->leaders += r == 0;
        }
    }
}

static void
count_present(const struct image *image, struct candidate *all, uint32_t count)
{
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t k = 0; k < topic->partition_count; k++) {
            count_replicas(topic->partitions[k], all, count);
        }
    }
}

static bool
rack_taken(const struct candidate *all, uint32_t count, const struct candidate *one)
{
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].taken && one->broker->rack.size > 0 &&
            bytes_equal(all[i].broker->rack, one->broker->rack)) {
            return true;
        }
    }
    return false;
}

/* The best broker for the next replica of a partition. Racks come first: losing one must cost a
 * partition one replica at most. */
static struct candidate *
choose(struct candidate *all, uint32_t count, bool leader)
{
    struct candidate *best = NULL;
    bool best_rack = false;
    for (uint32_t i = 0; i < count; i++) {
        struct candidate *c = &all[i];
        if (c->taken) {
            continue;
        }
        bool rack = rack_taken(all, count, c);
        bool better = best == NULL || rack < best_rack;
        if (!better && rack == best_rack) {
            bool fewer_leaders = leader && c->leaders != best->leaders;
            better = fewer_leaders ? c->leaders < best->leaders : c->replicas < best->replicas;
        }
        if (better) {
            best = c;
            best_rack = rack;
        }
    }
    DMQ_ASSERT(best != NULL);
    return best;
}

static void
place_one(struct candidate *all, uint32_t count, uint32_t factor, int32_t *replicas)
{
    for (uint32_t i = 0; i < count; i++) {
        all[i].taken = false;
    }
    for (uint32_t r = 0; r < factor; r++) {
        struct candidate *c = choose(all, count, r == 0);
        c->taken = true;
        c->replicas++;
        c->leaders += r == 0;
        replicas[r] = c->broker->broker_id;
    }
}

void
placement_place(const struct image *image, uint32_t partition_count, uint32_t factor,
                int32_t *replicas)
{
    uint32_t live = placement_live(image), count = 0;
    DMQ_ASSERT(factor > 0 && factor <= live);
    struct candidate *all = ctl_alloc(live * sizeof(*all));
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        const struct broker_record *broker = image_broker_at(image, i);
        if (broker_is_live(image, broker->broker_id)) {
            all[count++].broker = broker;
        }
    }
    DMQ_ASSERT(count == live);
    count_present(image, all, count);
    for (uint32_t i = 0; i < partition_count; i++) {
        place_one(all, count, factor, &replicas[(size_t)i * factor]);
    }
    free(all);
}
