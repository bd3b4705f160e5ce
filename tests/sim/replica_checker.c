/* What must hold, whatever happened (TESTING.md, "Partition"): looked at from outside, with the
 * eyes of somebody who sees all disks at once. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/replica_cluster.h"

void
rsim_wrong(const struct rsim *sim, int32_t node, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    printf("seed %" PRIu64 ": at %" PRId64 " us, %s, node %" PRId32 ": %s\n", sim->seed,
           sim->now_us, sim->doing, node, text);
    fflush(stdout);
    exit(1);
}

static bool
same(struct rsim_record a, struct rsim_record b)
{
    return a.epoch == b.epoch && a.value == b.value;
}

/* On how many disks a record is, or was until the disk was emptied. */
static int
copies_of(const struct rsim *sim, int64_t offset, bool unsynced_too)
{
    int copies = 0;
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        const struct rsim_node *node = &sim->nodes[i];
        int64_t end = unsynced_too ? node->log.end : node->log.synced;
        bool held = offset < end && same(node->log.records[offset], sim->committed[offset]);
        bool was =
            offset < node->ghost.end && same(node->ghost.records[offset], sim->committed[offset]);
        copies += held || was;
    }
    return copies;
}

/* The high watermark of a replica rose: what is below it can be read there, for good. A leader's is
 * also what producers are told by. */
void
rsim_check_hw(struct rsim *sim, const struct rsim_node *node, int64_t from)
{
    const struct replica *replica = &node->replica;
    for (int64_t i = from; i < replica->high_watermark; i++) {
        if (i < sim->high_watermark) {
            if (!same(node->log.records[i], sim->committed[i])) {
                rsim_wrong(sim, node->id, "offset %" PRId64 " was read otherwise before", i);
            }
            continue;
        }
        if (replica->role != REPLICA_LEADER) {
            rsim_wrong(sim, node->id, "a follower's high watermark is above all leaders'");
        }
        sim->committed[i] = node->log.records[i];
        sim->high_watermark = i + 1;
        sim->counts.committed++;
        if (copies_of(sim, i, replica->async) < sim->options.min_isr) {
            rsim_wrong(sim, node->id, "offset %" PRId64 " is acknowledged and not on min ISR", i);
        }
    }
}

static void
check_prefix(const struct rsim *sim, int32_t node, int64_t end, const char *what)
{
    const struct rsim_log *log = &sim->nodes[node].log;
    if (end < sim->high_watermark) {
        rsim_wrong(sim, node, "%s ends at %" PRId64 ", below the high watermark %" PRId64, what,
                   end, sim->high_watermark);
    }
    /* The whole of it now and then: where the last record is right, the others are as a rule. */
    int64_t from = sim->steps % 64 == 0 ? 0 : sim->high_watermark - 1;
    for (int64_t i = from < 0 ? 0 : from; i < sim->high_watermark; i++) {
        if (!same(log->records[i], sim->committed[i])) {
            rsim_wrong(sim, node, "%s holds another record at %" PRId64, what, i);
        }
    }
}

/* It leads from now on: nothing that was safe is missing. Unless it hears of an election that is
 * long over: then it gathers no ISR. */
void
rsim_check_leader(struct rsim *sim, const struct rsim_node *node)
{
    if (node->replica.leader_epoch == sim->images[sim->version].leader_epoch) {
        check_prefix(sim, node->id, node->log.end, "a new leader");
    }
}

/* Two logs are equal up to the last offset at which they have the same epoch. */
static void
check_matching(const struct rsim *sim, int32_t a, int32_t b)
{
    const struct rsim_log *one = &sim->nodes[a].log;
    const struct rsim_log *two = &sim->nodes[b].log;
    bool equal = false;
    for (int64_t i = (one->end < two->end ? one->end : two->end) - 1; i >= 0; i--) {
        bool same_epoch = one->records[i].epoch == two->records[i].epoch;
        equal = equal || same_epoch;
        if (equal && !same(one->records[i], two->records[i])) {
            rsim_wrong(sim, a,
                       "its log and that of %" PRId32 " part at %" PRId64
                       " and are of one epoch above",
                       b, i);
        }
    }
}

void
rsim_check(struct rsim *sim)
{
    const struct rsim_image *image = &sim->images[sim->version];
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        const struct rsim_node *node = &sim->nodes[i];
        if (((image->isr | image->elr) >> i & 1) != 0) {
            bool in_isr = (image->isr >> i & 1) != 0;
            check_prefix(sim, i, image->recorded_async ? node->log.end : node->log.synced,
                         in_isr ? "a member of the ISR" : "a member of the ELR");
        }
        if (node->up && node->replica.high_watermark > sim->high_watermark) {
            rsim_wrong(sim, i, "its high watermark is above all that was ever safe");
        }
    }
    if (sim->steps % 256 == 0) {
        for (int32_t i = 2; i <= sim->options.nodes; i++) {
            check_matching(sim, i, i - 1);
        }
    }
}
