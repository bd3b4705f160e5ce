/* The world of replica_sim, as partition_watch looks at it. */
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

static const struct rsim_node *
node_at(const struct rsim *sim, int place)
{
    int node = place % WATCH_GHOST;
    return node >= 1 && node <= sim->options.nodes ? &sim->nodes[node] : NULL;
}

static bool
read_record(void *arg, int place, enum watch_part part, int64_t offset,
            struct watch_entry *ret_entry)
{
    const struct rsim_node *node = node_at(arg, place);
    if (node == NULL) {
        return false;
    }
    const struct rsim_log *log = place >= WATCH_GHOST ? &node->ghost : &node->log;
    int64_t end = part == WATCH_ALL || place >= WATCH_GHOST ? log->end : log->synced;
    if (offset >= end) {
        return false;
    }
    const struct rsim_record *record = &log->records[offset];
    *ret_entry = (struct watch_entry){offset, offset + 1, record->epoch, record->value};
    return true;
}

static uint64_t
generation(void *arg, int place)
{
    const struct rsim_node *node = node_at(arg, place);
    return node == NULL ? 0 : node->life << 32 | node->cuts;
}

/* An emptied disk is registered before anything else happens. */
static bool
is_other(void *arg, int place)
{
    (void)arg;
    (void)place;
    return false;
}

struct partition_watch *
rsim_watch_new(struct rsim *sim)
{
    const struct watch_disks disks = {sim, read_record, generation, is_other};
    return partition_watch_new(&disks, RSIM_NODES + 1);
}

static void
require(struct rsim *sim, int32_t node)
{
    const char *failure = partition_watch_failure(sim->watch);
    if (failure != NULL) {
        rsim_wrong(sim, node, "%s", failure);
    }
    int64_t committed = partition_watch_committed(sim->watch);
    sim->counts.committed += (uint64_t)(committed - sim->high_watermark);
    sim->high_watermark = committed;
}

static void
look_at_image(struct rsim *sim, const struct rsim_image *image)
{
    struct watch_image seen = {.leader = image->leader,
                               .leader_epoch = image->leader_epoch,
                               .partition_epoch = image->partition_epoch,
                               .min_isr = sim->options.min_isr,
                               .isr = image->isr,
                               .elr = image->elr,
                               .async = image->recorded_async};
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        const struct rsim_broker *broker = &image->brokers[i];
        seen.replicas |= UINT64_C(1) << i;
        seen.live |= (uint64_t)(broker->epoch > 0 && !broker->fenced) << i;
    }
    partition_watch_image(sim->watch, &seen);
}

/* The controllers may have decided something. */
void
rsim_check_images(struct rsim *sim)
{
    while (sim->watched_version < sim->version) {
        sim->watched_version++;
        look_at_image(sim, &sim->images[sim->watched_version]);
    }
    require(sim, 0);
}

/* After a step of its machine. */
void
rsim_check_node(struct rsim *sim, const struct rsim_node *node)
{
    const struct replica *replica = &node->replica;
    const struct watch_replica seen = {.place = node->id,
                                       .life = node->life,
                                       .leads = replica->role == REPLICA_LEADER,
                                       .async = replica->async,
                                       .leader_epoch = replica->leader_epoch,
                                       .end = replica->end,
                                       .synced_end = replica->synced_end,
                                       .high_watermark = replica->high_watermark};
    rsim_check_images(sim);
    partition_watch_replica(sim->watch, &seen);
    require(sim, node->id);
}

/* After an event. Where the last record is right, the others are as a rule: the whole of it now
 * and then. */
void
rsim_check(struct rsim *sim)
{
    rsim_check_images(sim);
    if (sim->steps % 64 == 0) {
        partition_watch_all(sim->watch);
    }
    for (int32_t i = 2; sim->steps % 256 == 0 && i <= sim->options.nodes; i++) {
        partition_watch_match(sim->watch, i, i - 1);
    }
    require(sim, 0);
}
