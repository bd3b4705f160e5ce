/* Where the replicas of a new topic lie. For each partition the leader goes to the live broker with
 * the fewest preferred leaderships, the other replicas to those with the fewest replicas, first on
 * racks that the partition is not yet on. Equals are taken in order of id, so that the same image
 * always gives the same answer. */
#include <stdlib.h>

#include "controller/core/ctl.h"

struct candidate {
    int32_t broker_id;
    uint32_t rack; /* number of its rack, from 1; 0: none */
    struct image_load load;
};

struct placement {
    struct candidate *all; /* live brokers, in order of id */
    uint32_t count;
    struct candidate *taken[META_MAX_REPLICAS]; /* by the partition that is being placed */
    uint32_t taken_count;
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

static bool
is_taken(const struct placement *place, const struct candidate *one)
{
    for (uint32_t i = 0; i < place->taken_count; i++) {
        if (place->taken[i] == one) {
            return true;
        }
    }
    return false;
}

static bool
rack_taken(const struct placement *place, const struct candidate *one)
{
    for (uint32_t i = 0; one->rack != 0 && i < place->taken_count; i++) {
        if (place->taken[i]->rack == one->rack) {
            return true;
        }
    }
    return false;
}

static bool
has_less(const struct candidate *one, const struct candidate *other, bool leader)
{
    if (leader && one->load.preferred != other->load.preferred) {
        return one->load.preferred < other->load.preferred;
    }
    return one->load.replicas < other->load.replicas;
}

/* The best broker for the next replica of a partition. Racks come first: losing one must cost a
 * partition one replica at most. */
static struct candidate *
choose(const struct placement *place, bool leader)
{
    struct candidate *best = NULL;
    bool best_rack = false;
    for (uint32_t i = 0; i < place->count; i++) {
        struct candidate *c = &place->all[i];
        if (is_taken(place, c)) {
            continue;
        }
        bool rack = rack_taken(place, c);
        bool better =
            best == NULL || rack < best_rack || (rack == best_rack && has_less(c, best, leader));
        if (better) {
            best = c;
            best_rack = rack;
        }
    }
    DMQ_ASSERT(best != NULL);
    return best;
}

static void
place_one(struct placement *place, uint32_t factor, int32_t *replicas)
{
    place->taken_count = 0;
    for (uint32_t r = 0; r < factor; r++) {
        struct candidate *c = choose(place, r == 0);
        place->taken[place->taken_count++] = c;
        c->load.replicas++;
        c->load.preferred += r == 0;
        replicas[r] = c->broker_id;
    }
}

void
placement_place(const struct image *image, uint32_t partition_count, uint32_t factor,
                int32_t *replicas)
{
    struct placement place = {.count = 0};
    uint32_t live = placement_live(image);
    DMQ_ASSERT(factor > 0 && factor <= live && factor <= META_MAX_REPLICAS);
    gather(&place, image, live);
    for (uint32_t i = 0; i < partition_count; i++) {
        place_one(&place, factor, &replicas[(size_t)i * factor]);
    }
    free(place.all);
}
