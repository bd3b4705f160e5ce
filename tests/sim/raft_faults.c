/* What goes wrong, and what is asked of the cluster. The atlas of faults keeps the damage within
 * what Raft covers: a disk is emptied only while every list of members that a node goes by keeps a
 * majority of its voters' disks. */
#include <inttypes.h>
#include <stdio.h>

#include "libdmq/base/assert.h"
#include "tests/sim/raft_cluster.h"

/* ---- the swarm: every option from the seed --------------------------------------------------- */

static int64_t
one_of(struct rng *rng, const int64_t *values, size_t count)
{
    return values[rng_below(rng, count)];
}

#define ONE_OF(rng, ...)                                                                           \
    one_of(rng, (const int64_t[]){__VA_ARGS__},                                                    \
           sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void
draw_weights(struct rng *rng, unsigned *weights, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weights[i] = (unsigned)ONE_OF(rng, 0, 1, 1, 5);
    }
}

void
cluster_draw(struct cluster *cluster)
{
    struct cluster_options *options = &cluster->options;
    struct rng *rng = &cluster->rng;
    options->voters = (int32_t)ONE_OF(rng, 1, 3, 3, 3, 5);
    options->delay_us = ONE_OF(rng, 1000, 5000, 50000, 200000);
    options->loss = (unsigned)ONE_OF(rng, 0, 0, 20, 150);
    options->doubled = (unsigned)ONE_OF(rng, 0, 20, 100);
    options->write_us = ONE_OF(rng, 500, 5000, 50000);
    options->stalls = (unsigned)ONE_OF(rng, 0, 0, 2, 20);
    options->fault_every_us = ONE_OF(rng, 50000, 200000, 600000);
    options->work_every_us = ONE_OF(rng, 10000, 30000, 100000);
    draw_weights(rng, options->faults, 10);
    draw_weights(rng, options->work, 8);
    options->work[0] += 4;
    cluster->counts.lone_clusters += options->voters == 1;
    struct raft_config *config = &options->config;
    raft_config_defaults(config);
    config->max_append_entries = ONE_OF(rng, 1, 3, 64);
    config->max_append_bytes = ONE_OF(rng, 20, 1000);
    config->max_inflight = ONE_OF(rng, 1, 2, 8, RAFT_MAX_INFLIGHT);
    config->max_uncommitted = ONE_OF(rng, 2, 16, 256);
    config->chunk_bytes = ONE_OF(rng, 7, 64, 1000);
    config->keep_entries = ONE_OF(rng, 0, 5, 100);
    config->caught_up_entries = ONE_OF(rng, 0, 5);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static struct cluster_node *
any_node(struct cluster *cluster)
{
    return &cluster->nodes[1 + rng_below(&cluster->rng, CLUSTER_NODES)];
}

/* The leader every second time: faults of others are the dull ones. */
static struct cluster_node *
a_victim(struct cluster *cluster)
{
    struct cluster_node *leader = cluster_leader(cluster);
    return leader != NULL && rng_chance(&cluster->rng, 400) ? leader : any_node(cluster);
}

static void
tell_gone(struct cluster *cluster, int32_t gone)
{
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        bool hears = node->up && !cluster->cut[gone][i] && node->paused_until_us <= cluster->now_us;
        if (hears && rng_chance(&cluster->rng, 700)) {
            cluster->counts.gone++;
            cluster_step(cluster, node,
                         (struct raft_event){.kind = RAFT_PEER_GONE, .u.gone = gone});
        }
    }
}

static void
fault_crash(struct cluster *cluster)
{
    struct cluster_node *node = a_victim(cluster);
    if (!node->up) {
        return;
    }
    cluster_crash(cluster, node);
    cluster_later(cluster, node, rng_range(&cluster->rng, 1000, 3000000));
    if (rng_chance(&cluster->rng, 500)) {
        tell_gone(cluster, node->w.id.node);
    }
}

static bool
exists(const struct cluster *cluster, struct raft_id id, int32_t but)
{
    return id.node != but && raft_id_equal(cluster->nodes[id.node].w.id, id);
}

static bool
survives(const struct cluster *cluster, const struct raft_members *members, int32_t but)
{
    uint32_t voters = 0, left = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        voters += members->at[i].voter;
        left += members->at[i].voter && exists(cluster, members->at[i].id, but);
    }
    return voters == 0 || left > voters / 2;
}

static bool
disk_survives(const struct cluster *cluster, const struct raft_disk *disk, int32_t but)
{
    struct raft_members members;
    for (int64_t i = 0; i < disk->count; i++) {
        const struct raft_entry *entry = &disk->entries[i];
        if (entry->kind == RAFT_ENTRY_MEMBERS &&
            (!raft_members_decode(buf_bytes(entry->payload), &members) ||
             !survives(cluster, &members, but))) {
            return false;
        }
    }
    return survives(cluster, &disk->snapshot.members, but);
}

static void
fault_wipe(struct cluster *cluster)
{
    struct cluster_node *node = a_victim(cluster);
    int generation = raft_test_generation(node->w.id);
    bool allowed = generation < 200;
    for (int32_t i = 1; i <= CLUSTER_NODES && allowed; i++) {
        const struct cluster_node *other = &cluster->nodes[i];
        allowed = disk_survives(cluster, &other->w.disk, node->w.id.node) &&
                  (!other->up || survives(cluster, &other->raft.members, node->w.id.node));
    }
    if (!allowed) {
        return;
    }
    cluster_crash(cluster, node);
    cluster->counts.wipes++;
    raft_disk_deinit(&node->w.disk);
    node->w.id = raft_test_id(node->w.id.node, generation + 1);
    node->w.voted_term = node->w.disk_commit = node->w.disk_term = 0;
    cluster_tell(cluster, node, "its disk is empty");
    cluster_later(cluster, node, rng_range(&cluster->rng, 1000, 1000000));
}

static void
fault_pause(struct cluster *cluster)
{
    struct cluster_node *node = a_victim(cluster);
    cluster->counts.pauses++;
    node->paused_until_us = cluster->now_us + rng_range(&cluster->rng, 10000, 3000000);
    cluster_tell(cluster, node, "paused until %" PRId64, node->paused_until_us);
}

static void
fault_jump(struct cluster *cluster)
{
    struct cluster_node *node = any_node(cluster);
    int64_t by = rng_range(&cluster->rng, -300, 2000);
    cluster->counts.jumps++;
    node->clock_ms += by;
    cluster_tell(cluster, node, "clock jumps by %" PRId64 " ms", by);
}

/* Halves of every shape; one way only; one node alone. */
static void
fault_partition(struct cluster *cluster)
{
    uint64_t side = rng_next(&cluster->rng);
    bool one_way = rng_chance(&cluster->rng, 300);
    if (rng_chance(&cluster->rng, 400)) {
        side = UINT64_C(1) << a_victim(cluster)->w.id.node;
    }
    cluster->counts.partitions++;
    cluster->counts.one_way += one_way;
    cluster_tell(cluster, NULL, "partition %02x%s", (unsigned)(side & 0xfe),
                 one_way ? " one way" : "");
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        for (int32_t k = 1; k <= CLUSTER_NODES; k++) {
            bool out = (side >> i & 1) > (side >> k & 1), in = (side >> i & 1) < (side >> k & 1);
            cluster->cut[i][k] = out || (in && !one_way);
        }
    }
}

static void
fault_link(struct cluster *cluster)
{
    int32_t from = any_node(cluster)->w.id.node, to = any_node(cluster)->w.id.node;
    cluster->cut[from][to] = !cluster->cut[from][to];
    cluster_tell(cluster, NULL, "link %" PRId32 ">%" PRId32 " %s", from, to,
                 cluster->cut[from][to] ? "cut" : "open");
}

void
cluster_heal(struct cluster *cluster)
{
    memset(cluster->cut, 0, sizeof(cluster->cut));
    cluster->counts.heals++;
    cluster_tell(cluster, NULL, "healed");
}

static size_t
draw(struct rng *rng, const unsigned *weights, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += weights[i];
    }
    if (sum == 0) {
        return count;
    }
    uint64_t at = rng_below(rng, sum);
    size_t i = 0;
    while (at >= weights[i]) {
        at -= weights[i++];
    }
    return i;
}

void
cluster_fault(struct cluster *cluster)
{
    static void (*const faults[])(struct cluster *cluster) = {
        fault_crash, fault_crash,     fault_wipe,      fault_pause,  fault_jump,
        fault_link,  fault_partition, fault_partition, cluster_heal, cluster_heal};
    size_t which = draw(&cluster->rng, cluster->options.faults, 10);
    if (which < 10) {
        faults[which](cluster);
    }
}

/* ---- work ------------------------------------------------------------------------------------ */

/* Whoever thinks that it leads: also one that is wrong. */
static struct cluster_node *
some_leader(struct cluster *cluster)
{
    uint64_t start = rng_below(&cluster->rng, CLUSTER_NODES);
    for (uint64_t i = 0; i < CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[1 + (start + i) % CLUSTER_NODES];
        bool runs = node->up && node->paused_until_us <= cluster->now_us;
        if (runs && !node->raft.dead && node->raft.role == RAFT_LEADER) {
            return node;
        }
    }
    return NULL;
}

static void
work_propose(struct cluster *cluster, struct cluster_node *leader)
{
    char text[32];
    uint64_t count = 1 + rng_below(&cluster->rng, 4);
    for (uint64_t i = 0; i < count && leader->up; i++) {
        snprintf(text, sizeof(text), "p%" PRIu64, ++cluster->next_payload);
        struct buf *payload = buf_copy(bytes_str(text));
        DMQ_ASSERT(payload != NULL);
        cluster_step(cluster, leader,
                     (struct raft_event){.kind = RAFT_PROPOSE, .u.propose = payload});
        bool taken = cluster->effects.result == RAFT_OK;
        cluster->counts.proposals += taken;
        cluster->counts.refused_proposals += !taken;
        buf_unref(payload);
    }
}

static void
work_read(struct cluster *cluster, struct cluster_node *leader)
{
    uint64_t id = cluster->next_read++;
    struct cluster_read *read = &cluster->reads[id & 0xffff];
    *read = (struct cluster_read){true, cluster->watch.committed};
    cluster_step(cluster, leader, (struct raft_event){.kind = RAFT_READ_INDEX, .u.read = id});
}

static void
work_compact(struct cluster *cluster, struct cluster_node *leader)
{
    struct cluster_node *node = any_node(cluster);
    (void)leader;
    if (!node->up || node->raft.dead || node->paused_until_us > cluster->now_us ||
        node->w.applied == 0) {
        return;
    }
    struct buf *data = buf_new(8 + rng_below(&cluster->rng, 60));
    DMQ_ASSERT(data != NULL);
    memset(data->data, 0, data->size);
    put_be64(data->data, node->w.digest);
    cluster_step(cluster, node,
                 (struct raft_event){.kind = RAFT_COMPACT, .u.compact = {node->w.applied, data}});
    cluster->counts.compactions += cluster->effects.result == RAFT_OK;
    buf_unref(data);
}

static bool
change(struct cluster *cluster, struct cluster_node *leader, struct raft_id id, bool add)
{
    struct raft_event event = {.kind = RAFT_CHANGE_VOTERS, .u.change = {id, add}};
    cluster_step(cluster, leader, event);
    return cluster->effects.result == RAFT_OK;
}

static void
work_learner(struct cluster *cluster, struct cluster_node *leader)
{
    struct raft_event event = {.kind = RAFT_ADD_LEARNER, .u.peer = any_node(cluster)->w.id};
    cluster_step(cluster, leader, event);
    cluster->counts.learners += cluster->effects.result == RAFT_OK;
}

static void
work_promote(struct cluster *cluster, struct cluster_node *leader)
{
    cluster->counts.promotions += change(cluster, leader, any_node(cluster)->w.id, true);
}

static uint32_t
count_voters(const struct raft_members *members)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        voters += members->at[i].voter;
    }
    return voters;
}

/* Never so few voters, or so many lost ones among the rest, that nothing could go on. */
static void
work_remove(struct cluster *cluster, struct cluster_node *leader)
{
    struct raft_members after = leader->raft.members;
    if (after.count == 0) {
        return;
    }
    uint32_t place = (uint32_t)rng_below(&cluster->rng, after.count);
    struct raft_id id = after.at[place].id;
    bool voter = after.at[place].voter;
    after.at[place] = after.at[--after.count];
    if (count_voters(&after) < 2 || !survives(cluster, &after, 0)) {
        return;
    }
    bool self = raft_id_equal(id, leader->w.id);
    bool done = change(cluster, leader, id, false);
    cluster->counts.removals += done && voter;
    cluster->counts.leaders_removed += done && self;
}

static void
work_transfer(struct cluster *cluster, struct cluster_node *leader)
{
    struct raft_event event = {.kind = RAFT_TRANSFER, .u.peer = any_node(cluster)->w.id};
    cluster_step(cluster, leader, event);
    cluster->counts.transfers += cluster->effects.result == RAFT_OK;
}

/* What the controller does by itself: a voter whose disk was emptied comes back as a learner; then
 * the old disk is removed and the new one becomes a voter. One thing at a time. */
static void
work_repair(struct cluster *cluster, struct cluster_node *leader)
{
    for (uint32_t i = 0; i < leader->raft.members.count; i++) {
        struct raft_member member = leader->raft.members.at[i];
        struct cluster_node *node = &cluster->nodes[member.id.node];
        if (!member.voter || raft_id_equal(node->w.id, member.id)) {
            continue;
        }
        uint32_t k = 0;
        while (k < leader->raft.members.count &&
               !raft_id_equal(leader->raft.members.at[k].id, node->w.id)) {
            k++;
        }
        if (k == leader->raft.members.count) {
            struct raft_event event = {.kind = RAFT_ADD_LEARNER, .u.peer = node->w.id};
            cluster_step(cluster, leader, event);
        } else if (leader->raft.peers[k].caught_up && count_voters(&leader->raft.members) > 1) {
            cluster->counts.repaired += change(cluster, leader, member.id, false);
        }
        return;
    }
}

void
cluster_work(struct cluster *cluster)
{
    static void (*const work[])(struct cluster *cluster, struct cluster_node *leader) = {
        work_propose, work_read,   work_compact,  work_learner,
        work_promote, work_remove, work_transfer, work_repair};
    struct cluster_node *leader = some_leader(cluster);
    size_t which = draw(&cluster->rng, cluster->options.work, 8);
    if (leader != NULL && which < 8) {
        work[which](cluster, leader);
    }
}

/* ---- healing for good ------------------------------------------------------------------------ */

/* Whether every list that a node goes by has a majority without those left out. */
static bool
can_work(struct cluster *cluster, const bool *out)
{
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        uint32_t voters = count_voters(&node->raft.members), left = 0;
        for (uint32_t k = 0; k < node->raft.members.count; k++) {
            const struct raft_member *member = &node->raft.members.at[k];
            left += member->voter && exists(cluster, member->id, 0) && !out[member->id.node];
        }
        if (voters > 0 && left <= voters / 2) {
            return false;
        }
    }
    return true;
}

void
cluster_heal_quorum(struct cluster *cluster)
{
    bool out[CLUSTER_NODES + 1] = {false};
    cluster->faults_on = false;
    cluster_heal(cluster);
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        node->paused_until_us = 0;
        if (node->up && node->raft.dead) {
            cluster_crash(cluster, node);
        }
        if (!node->up) {
            cluster_start(cluster, node);
        }
    }
    for (int tries = 0; tries < 4; tries++) {
        int32_t node = any_node(cluster)->w.id.node;
        out[node] = true;
        out[node] = can_work(cluster, out);
    }
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        for (int32_t k = 1; k <= CLUSTER_NODES; k++) {
            cluster->cut[i][k] = out[i] != out[k];
        }
        if (out[i]) {
            cluster_tell(cluster, &cluster->nodes[i], "stays cut off");
        }
    }
}
