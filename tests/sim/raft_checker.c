/* The invariants of Raft, looked at from outside: by what nodes send, apply and have on their
 * disks. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/raft_cluster.h"
#include "tests/support/raft_text.h"

void
cluster_wrong(const struct cluster *cluster, const struct cluster_node *node, const char *format,
              ...)
{
    va_list args;
    va_start(args, format);
    printf("seed %" PRIu64 ": at %.3f ms, node %" PRId32 ": ", cluster->seed,
           (double)cluster->now_us / 1000, node == NULL ? 0 : node->id.node);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
    exit(1);
}

uint64_t
cluster_mix(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ p[i]) * 0x100000001b3u;
    }
    return hash;
}

static uint64_t
hash_entry(const struct raft_entry *entry)
{
    uint64_t hash = cluster_mix(0xcbf29ce484222325u, &entry->term, sizeof(entry->term));
    hash = cluster_mix(hash, &entry->kind, sizeof(entry->kind));
    return entry->payload == NULL ? hash
                                  : cluster_mix(hash, entry->payload->data, entry->payload->size);
}

/* ---- nothing is sent before it is synced ----------------------------------------------------- */

static int64_t
disk_last(const struct cluster_node *node)
{
    return node->disk.prev_index + node->disk.count;
}

static void
expect(const struct cluster *cluster, const struct cluster_node *node, bool holds, const char *what)
{
    if (!holds) {
        cluster_wrong(cluster, node, "%s", what);
    }
}

static void
check_vote_told(struct cluster *cluster, const struct cluster_node *node, int64_t term,
                struct raft_id candidate)
{
    expect(cluster, node, node->disk.term == term && raft_id_equal(node->disk.vote, candidate),
           "a vote is told that is not on the disk");
    expect(cluster, node,
           term > node->voted_term ||
               (term == node->voted_term && raft_id_equal(node->voted_for, candidate)),
           "two votes in one term");
    if (term < CLUSTER_MAX_TERM) {
        cluster->votes[term][node->id.node] = node->id;
        cluster->voted[term][node->id.node] = candidate;
    }
}

static bool
on_disk(const struct cluster_node *node, int64_t index)
{
    return index <= node->disk.snapshot.index || index <= node->disk.prev_index ||
           (index <= disk_last(node) &&
            (index <= node->raft.log.prev_index ||
             raft_disk_term_at(&node->disk, index) == raft_entry_at(&node->raft, index)->term));
}

void
check_send(struct cluster *cluster, const struct cluster_node *node,
           const struct raft_message *message)
{
    bool future = message->kind == RAFT_PRE_VOTE || message->kind == RAFT_PRE_VOTE_ANSWER;
    expect(cluster, node, future || message->term <= node->disk.term,
           "a term is told that is not on the disk");
    switch (message->kind) {
    case RAFT_VOTE:
        check_vote_told(cluster, node, message->term, node->id);
        expect(cluster, node, message->index == disk_last(node),
               "a candidate names a log that is not on its disk");
        break;
    case RAFT_VOTE_ANSWER:
        if (message->ok) {
            check_vote_told(cluster, node, message->term, message->to);
        }
        break;
    case RAFT_APPEND:
        expect(cluster, node, on_disk(node, message->index + message->entry_count),
               "entries are sent that are not on the leader's disk");
        break;
    case RAFT_APPEND_ANSWER:
        expect(cluster, node, !message->ok || on_disk(node, message->index),
               "entries are acknowledged that are not on the disk");
        break;
    case RAFT_SNAPSHOT:
        expect(cluster, node, message->index <= node->disk.snapshot.index,
               "a snapshot is sent that is not on the disk");
        expect(cluster, node,
               message->index > cluster->committed ||
                   cluster->log[message->index].term == message->log_term,
               "a snapshot is sent with a wrong last term");
        break;
    case RAFT_PRE_VOTE:
    case RAFT_PRE_VOTE_ANSWER:
    case RAFT_SNAPSHOT_ANSWER:
    case RAFT_TIMEOUT_NOW:
        break;
    }
}

/* Term, vote and commit on a disk never go back. */
void
check_written(struct cluster *cluster, struct cluster_node *node)
{
    expect(cluster, node, node->disk.term >= node->disk_term, "the term on the disk went back");
    expect(cluster, node, node->disk.commit >= node->disk_commit,
           "the commit index on the disk went back");
    node->disk_term = node->disk.term;
    node->disk_commit = node->disk.commit;
}

/* ---- state machine safety -------------------------------------------------------------------- */

static void
apply_one(struct cluster *cluster, struct cluster_node *node, int64_t index)
{
    const struct raft_entry *entry = raft_entry_at(&node->raft, index);
    uint64_t hash = hash_entry(entry);
    struct cluster_entry *global = &cluster->log[index];
    expect(cluster, node, index == node->applied + 1, "an entry is applied out of its turn");
    expect(cluster, node, index < CLUSTER_MAX_INDEX, "the log is longer than the checker's");
    node->applied = index;
    node->digest = cluster_mix(node->digest, &hash, sizeof(hash));
    if (index > cluster->committed) {
        *global = (struct cluster_entry){entry->term, hash, node->digest, node->raft.term};
        cluster->committed = index;
    }
    if (global->hash != hash || global->term != entry->term) {
        cluster_wrong(cluster, node,
                      "entry %" PRId64 " is committed twice, of term %" PRId64 " and %" PRId64,
                      index, global->term, entry->term);
    }
    expect(cluster, node, global->digest == node->digest, "two states at one index");
}

void
check_applied(struct cluster *cluster, struct cluster_node *node, const struct raft_effect *effect)
{
    expect(cluster, node, effect->u.committed.first == node->applied + 1,
           "entries are committed twice or not at all");
    expect(cluster, node, on_disk(node, effect->u.committed.last),
           "entries are committed that are not on the disk");
    int64_t last = effect->u.committed.last;
    expect(cluster, node,
           node->raft.role != RAFT_LEADER || last <= node->disk_commit ||
               raft_entry_at(&node->raft, last)->term == node->raft.term,
           "a leader commits an entry of an older term by counting (Raft figure 8)");
    for (int64_t i = effect->u.committed.first; i <= last; i++) {
        apply_one(cluster, node, i);
    }
}

void
check_installed(struct cluster *cluster, struct cluster_node *node)
{
    const struct raft_snapshot *snapshot = &node->raft.snapshot;
    expect(cluster, node, snapshot->index > node->applied, "a snapshot goes back");
    expect(cluster, node, snapshot->index <= cluster->committed,
           "a snapshot has what nobody committed");
    expect(cluster, node, snapshot->data->size >= 8, "a snapshot is too short");
    expect(cluster, node, node->disk.snapshot.index >= snapshot->index,
           "a snapshot is installed that is not on the disk");
    node->applied = snapshot->index;
    node->digest = get_be64(snapshot->data->data);
    expect(cluster, node, node->digest == cluster->log[snapshot->index].digest,
           "a snapshot holds another state than the log gives");
    expect(cluster, node, snapshot->term == cluster->log[snapshot->index].term,
           "a snapshot has a wrong last term");
}

/* ---- leaders --------------------------------------------------------------------------------- */

/* A majority of the voters that the leader counts must have told it, from the disks they are listed
 * with. */
static void
check_votes(struct cluster *cluster, const struct cluster_node *node, int64_t term)
{
    const struct raft_members *members = &node->raft.members;
    uint32_t voters = 0, granted = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        struct raft_id id = members->at[i].id;
        bool self = raft_id_equal(id, node->id);
        bool told = raft_id_equal(cluster->votes[term][id.node], id) &&
                    raft_id_equal(cluster->voted[term][id.node], node->id);
        voters += members->at[i].voter;
        granted += members->at[i].voter && (self || told);
    }
    expect(cluster, node, granted > voters / 2, "a leader without a majority of its voters");
}

/* Leader completeness: what was committed in an earlier term is in its log. */
static void
check_complete(const struct cluster *cluster, const struct cluster_node *node)
{
    const struct raft *raft = &node->raft;
    for (int64_t i = raft->log.prev_index + 1; i <= cluster->committed; i++) {
        bool later = cluster->log[i].commit_term >= raft->term;
        bool has =
            i <= raft_last_index(raft) && raft_entry_at(raft, i)->term == cluster->log[i].term;
        if (!later && !has) {
            cluster_wrong(cluster, node, "a leader lacks committed entry %" PRId64, i);
        }
    }
}

void
check_leader(struct cluster *cluster, const struct cluster_node *node)
{
    int64_t term = node->raft.term;
    if (term >= CLUSTER_MAX_TERM) {
        cluster_wrong(cluster, node, "terms run away");
    }
    struct raft_id *leader = &cluster->leaders[term];
    expect(cluster, node, leader->node == 0 || raft_id_equal(*leader, node->id),
           "two leaders in one term");
    if (leader->node == 0) {
        *leader = node->id;
        cluster->counts.leaders++;
    }
    check_votes(cluster, node, term);
    check_complete(cluster, node);
}

void
check_read(struct cluster *cluster, const struct cluster_node *node,
           const struct raft_effect *effect)
{
    struct cluster_read *read = &cluster->reads[effect->u.read.id & 0xffff];
    expect(cluster, node, read->waits, "a read is answered twice");
    read->waits = false;
    expect(cluster, node,
           effect->kind == RAFT_READ_FAILED ||
               (effect->u.read.index >= read->floor && node->applied >= effect->u.read.index),
           "a read does not see what was committed before it");
}

/* ---- after each event ------------------------------------------------------------------------ */

/* Where two logs have the same term at one index, all before it is equal too. */
static void
check_matching(const struct cluster *cluster, const struct cluster_node *a,
               const struct cluster_node *b)
{
    int64_t first = a->raft.log.prev_index > b->raft.log.prev_index ? a->raft.log.prev_index
                                                                    : b->raft.log.prev_index;
    int64_t last = raft_last_index(&a->raft) < raft_last_index(&b->raft)
                       ? raft_last_index(&a->raft)
                       : raft_last_index(&b->raft);
    bool equal = false;
    for (int64_t i = last; i > first; i--) {
        const struct raft_entry *x = raft_entry_at(&a->raft, i), *y = raft_entry_at(&b->raft, i);
        equal |= x->term == y->term;
        bool same = x->term == y->term && x->payload == y->payload; /* copies share their bytes */
        if (equal && !same && hash_entry(x) != hash_entry(y)) {
            cluster_wrong(cluster, a, "log differs from that of node %" PRId32 " at %" PRId64,
                          b->id.node, i);
        }
    }
}

/* A new leader may know less of what is committed than the world does. */
static void
check_one_change(const struct cluster *cluster, const struct cluster_node *node)
{
    int changes = 0;
    int64_t known = node->raft.log.prev_index;
    int64_t from = cluster->committed > known ? cluster->committed : known;
    for (int64_t i = from + 1; i <= raft_last_index(&node->raft); i++) {
        changes += raft_entry_at(&node->raft, i)->kind == RAFT_ENTRY_MEMBERS;
    }
    expect(cluster, node, changes <= 1, "two changes of members are not committed");
}

void
check_step(struct cluster *cluster, const struct cluster_node *node)
{
    if (node->raft.role == RAFT_LEADER) {
        check_one_change(cluster, node);
    }
    const struct cluster_node *other = &cluster->nodes[1 + cluster->steps / 8 % CLUSTER_NODES];
    if (other != node && other->up && cluster->steps % 8 == 0) {
        check_matching(cluster, node, other);
    }
}
