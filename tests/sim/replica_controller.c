/* The controller, as far as one partition sees it: registrations, fencing, elections and ISR
 * changes by compare-and-set, each a version of the image. The rules are those of
 * controller/core/change.c (KIP-966 for the ELR). */
#include "libdmq/base/assert.h"
#include "tests/sim/replica_cluster.h"

enum rsim_leave { KEEPS, LEAVES_UNLESS_LAST, LEAVES };

static struct rsim_image *
next_version(struct rsim *sim)
{
    if (sim->version + 1 == RSIM_MAX_VERSIONS) {
        rsim_wrong(sim, 0, "too many versions");
    }
    sim->images[sim->version + 1] = sim->images[sim->version];
    sim->version++;
    return &sim->images[sim->version];
}

static unsigned
size_of(unsigned set)
{
    return (unsigned)__builtin_popcount(set);
}

static bool
live(const struct rsim_image *image, int32_t node)
{
    return image->brokers[node].epoch > 0 && !image->brokers[node].fenced;
}

static int32_t
first_live(const struct rsim_image *image, unsigned set)
{
    for (int32_t i = 1; i <= RSIM_NODES; i++) {
        if ((set >> i & 1) != 0 && live(image, i)) {
            return i;
        }
    }
    return -1;
}

/* Ends a change of the partition. */
static void
settle(struct rsim *sim, struct rsim_image *image)
{
    if (size_of(image->isr) >= (unsigned)sim->options.min_isr) {
        image->elr = 0;
    }
    sim->counts.elr_filled += image->elr != 0;
    image->partition_epoch++;
    rsim_tell(sim, 0, "version %lld: leader %d epoch %d/%d isr %02x elr %02x%s",
              (long long)sim->version, image->leader, image->leader_epoch, image->partition_epoch,
              image->isr, image->elr, image->recorded_async ? " async" : "");
}

static void
elect(struct rsim *sim, struct rsim_image *image)
{
    image->leader = first_live(image, image->isr);
    if (image->leader < 0) {
        image->leader = first_live(image, image->elr);
        sim->counts.elected_from_elr += image->leader >= 0;
        if (image->leader >= 0) {
            image->isr = 1U << image->leader;
            image->elr &= ~image->isr;
        }
    }
    sim->counts.elections += image->leader >= 0;
}

/* A broker that is not live is in no ISR; a leadership that ends raises the leader epoch. */
static void
leave(struct rsim *sim, struct rsim_image *image, int32_t node, enum rsim_leave how)
{
    unsigned bit = 1U << node;
    bool last = size_of(image->isr | image->elr) == 1;
    bool keeps = how == KEEPS || (how == LEAVES_UNLESS_LAST && last);
    if ((image->isr & bit) == 0 && ((image->elr & bit) == 0 || keeps)) {
        return;
    }
    image->isr &= ~bit;
    image->elr &= keeps ? ~0U : ~bit;
    if (keeps && size_of(image->isr) < (unsigned)sim->options.min_isr) {
        image->elr |= bit;
    }
    if (image->leader == node) {
        image->leader_epoch++;
        elect(sim, image);
    }
    settle(sim, image);
}

void
rsim_controller_init(struct rsim *sim)
{
    struct rsim_image *image = &sim->images[0];
    *image = (struct rsim_image){
        .leader = 1, .async = sim->options.async, .recorded_async = sim->options.async};
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        image->isr |= 1U << i;
        image->brokers[i] = (struct rsim_broker){.epoch = i, .incarnation = 1};
    }
    sim->version = RSIM_NODES; /* versions are epochs: above those given here */
    sim->images[sim->version] = *image;
}

void
rsim_register(struct rsim *sim, struct rsim_node *node, bool empty)
{
    struct rsim_image *image = next_version(sim);
    image->brokers[node->id] =
        (struct rsim_broker){.epoch = sim->version, .incarnation = node->life, .fenced = true};
    rsim_tell(sim, 0, "version %lld: node %d is registered", (long long)sim->version, node->id);
    leave(sim, image, node->id,
          empty ? LEAVES : (image->recorded_async ? LEAVES_UNLESS_LAST : KEEPS));
}

void
rsim_fence(struct rsim *sim, int32_t node)
{
    if (!live(&sim->images[sim->version], node)) {
        return;
    }
    struct rsim_image *image = next_version(sim);
    image->brokers[node].fenced = true;
    sim->counts.fenced++;
    rsim_tell(sim, 0, "version %lld: node %d is fenced", (long long)sim->version, node);
    leave(sim, image, node, KEEPS);
}

void
rsim_unfence(struct rsim *sim, int32_t node)
{
    struct rsim_image *image = next_version(sim);
    DMQ_ASSERT(image->brokers[node].fenced);
    image->brokers[node].fenced = false;
    rsim_tell(sim, 0, "version %lld: node %d is live", (long long)sim->version, node);
    if (image->leader < 0) {
        elect(sim, image);
        if (image->leader >= 0) {
            image->leader_epoch++;
            settle(sim, image);
        }
    }
}

/* An older partition or leader epoch is not the asker's fault: the image will tell it. */
enum replica_isr_outcome
rsim_alter(struct rsim *sim, int32_t from, const struct replica_isr_change *change)
{
    const struct rsim_image *now = &sim->images[sim->version];
    unsigned isr = 0;
    bool eligible = true;
    if (now->leader != from || now->leader_epoch != change->leader_epoch ||
        now->partition_epoch != change->partition_epoch) {
        sim->counts.isr_overtaken++;
        return REPLICA_ISR_SETTLED;
    }
    for (uint32_t i = 0; i < change->count; i++) {
        int32_t member = change->members[i].broker_id;
        isr |= 1U << member;
        eligible = eligible && live(now, member) &&
                   now->brokers[member].epoch == change->members[i].broker_epoch;
    }
    if (!eligible) {
        sim->counts.isr_refused++;
        return REPLICA_ISR_REFUSED;
    }
    struct rsim_image *image = next_version(sim);
    sim->counts.isr_accepted++;
    sim->counts.isr_grown += (isr & ~now->isr) != 0;
    sim->counts.isr_shrunk += (now->isr & ~isr) != 0;
    sim->counts.became_sync += now->recorded_async && !change->async;
    image->elr = (now->elr | now->isr) & ~isr;
    if (now->recorded_async && !change->async) {
        image->elr = 0;
    }
    image->isr = isr;
    image->recorded_async = change->async;
    settle(sim, image);
    return REPLICA_ISR_SETTLED;
}

/* A new leader epoch starts; the partition is called sync by its leader later. */
void
rsim_topic_becomes_sync(struct rsim *sim)
{
    struct rsim_image *image = next_version(sim);
    image->async = false;
    image->leader_epoch++;
    settle(sim, image);
}

/* The atlas of faults: never the last copy that may lead. */
bool
rsim_may_wipe(const struct rsim *sim, int32_t node)
{
    const struct rsim_image *image = &sim->images[sim->version];
    return ((image->isr | image->elr) & ~(1U << node)) != 0;
}
