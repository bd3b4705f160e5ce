/* Where the replicas of a new topic lie. For each partition the leader goes to the live broker with
 * the fewest preferred leaderships, the other replicas to those with the fewest replicas, first on
 * racks that the partition is not yet on. Equals are taken in order of id, so that the same image
 * always gives the same answer. */
#include <stdlib.h>

#include "controller/core/ctl.h"

/* What makes a candidate worse than any load does. */
#define TAKEN (UINT64_C(1) << 63)     /* by the partition that is being placed */
#define SAME_RACK (UINT64_C(1) << 62) /* as one that is taken */

struct candidate {
    int32_t broker_id;
    uint32_t rack; /* number of its rack, from 1; 0: none */
    uint64_t penalty;
    struct image_load load;
};

struct placement {
    struct candidate *all; /* live brokers, in order of id */
    uint32_t count;
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

/* ---- who there is ---------------------------------------------------------------------------- */

/* The number of the first broker's rack that is the same one, so that racks compare quickly. */
static uint32_t
rack_of(const struct image *image, uint32_t index)
{
    struct bytes rack = image_broker_at(image, index)->rack;
    for (uint32_t i = 0; rack.size > 0 && i <= index; i++) {
        if (bytes_equal(image_broker_at(image, i)->rack, rack)) {
            return i + 1;
        }
    }
    return 0;
}

static void
gather(struct placement *place, const struct image *image, uint32_t live)
{
    place->all = ctl_alloc(live * sizeof(*place->all));
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        int32_t broker_id = image_broker_at(image, i)->broker_id;
        if (broker_is_live(image, broker_id)) {
            place->all[place->count++] = (struct candidate){
                .broker_id = broker_id, .rack = rack_of(image, i), .load = image_load_at(image, i)};
        }
    }
    DMQ_ASSERT(place->count == live);
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* One number to compare, for a large topic asks a hundred brokers a hundred thousand times. A
 * leader goes to where the fewest are preferred, then, like any replica, to where the fewest are.
 */
static uint64_t
cost_of(const struct candidate *c, bool leader)
{
    return c->penalty | (leader ? (uint64_t)c->load.preferred << 32 : 0) | c->load.replicas;
}

/* The best broker for the next replica of a partition. Racks come first: losing one must cost a
 * partition one replica at most. */
static struct candidate *
choose(const struct placement *place, bool leader)
{
    struct candidate *best = &place->all[0];
    uint64_t least = cost_of(best, leader);
    for (uint32_t i = 1; i < place->count; i++) {
        uint64_t cost = cost_of(&place->all[i], leader);
        if (cost < least) {
            least = cost;
            best = &place->all[i];
        }
    }
    DMQ_ASSERT((best->penalty & TAKEN) == 0);
    return best;
}

static void
take(struct placement *place, struct candidate *one, bool leader)
{
    for (uint32_t i = 0; one->rack != 0 && i < place->count; i++) {
        if (place->all[i].rack == one->rack) {
            place->all[i].penalty |= SAME_RACK;
        }
    }
    one->penalty |= TAKEN;
    one->load.replicas++;
    one->load.preferred += leader;
}

static void
place_one(struct placement *place, uint32_t factor, int32_t *replicas)
{
    for (uint32_t i = 0; i < place->count; i++) {
        place->all[i].penalty = 0;
    }
    for (uint32_t r = 0; r < factor; r++) {
        struct candidate *c = choose(place, r == 0);
        take(place, c, r == 0);
        replicas[r] = c->broker_id;
    }
}

void
placement_place(const struct image *image, uint32_t partition_count, uint32_t factor,
                int32_t *replicas)
{
    struct placement place = {.count = 0};
    uint32_t live = placement_live(image);
    DMQ_ASSERT(factor > 0 && factor <= live);
    gather(&place, image, live);
    for (uint32_t i = 0; i < partition_count; i++) {
        place_one(&place, factor, &replicas[(size_t)i * factor]);
    }
    free(place.all);
}
