#include "tests/sim/raft_watch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define TEXT_SIZE 200

__attribute__((format(printf, 3, 4))) static void
wrong(struct raft_watch *watch, const struct raft_watched *node, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    watch->wrong(watch->arg, node, text);
}

uint64_t
raft_watch_mix(uint64_t hash, const void *data, size_t size)
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
    uint64_t hash = raft_watch_mix(0xcbf29ce484222325u, &entry->term, sizeof(entry->term));
    hash = raft_watch_mix(hash, &entry->kind, sizeof(entry->kind));
    return entry->payload == NULL
               ? hash
               : raft_watch_mix(hash, entry->payload->data, entry->payload->size);
}

/* ---- nothing is sent before it is synced ----------------------------------------------------- */

static int64_t
disk_last(const struct raft_watched *node)
{
    return node->disk.prev_index + node->disk.count;
}

static void
expect(struct raft_watch *watch, const struct raft_watched *node, bool holds, const char *what)
{
    if (!holds) {
        wrong(watch, node, "%s", what);
    }
}

static void
check_vote_told(struct raft_watch *watch, struct raft_watched *node, int64_t term,
                struct raft_id candidate)
{
    expect(watch, node, node->disk.term == term && raft_id_equal(node->disk.vote, candidate),
           "a vote is told that is not on the disk");
    expect(watch, node,
           term > node->voted_term ||
               (term == node->voted_term && raft_id_equal(node->voted_for, candidate)),
           "two votes in one term");
    if (term < RAFT_WATCH_MAX_TERM) {
        watch->votes[term][node->id.node] = node->id;
        watch->voted[term][node->id.node] = candidate;
    }
    node->voted_term = term;
    node->voted_for = candidate;
}

static bool
on_disk(const struct raft_watched *node, int64_t index)
{
    return index <= node->disk.snapshot.index || index <= node->disk.prev_index ||
           (index <= disk_last(node) &&
            (index <= node->raft->log.prev_index ||
             raft_disk_term_at(&node->disk, index) == raft_entry_at(node->raft, index)->term));
}

static void
note_ack(struct raft_watch *watch, const struct raft_watched *node,
         const struct raft_message *message)
{
    if (message->term >= RAFT_WATCH_MAX_TERM) {
        return;
    }
    struct raft_watch_ack *ack = &watch->acks[message->term][node->id.node];
    if (!raft_id_equal(ack->id, node->id) || message->index > ack->index) {
        *ack = (struct raft_watch_ack){node->id, message->index};
    }
}

static void
note_pre_vote(struct raft_watch *watch, const struct raft_watched *node,
              const struct raft_message *message)
{
    if (message->ok && message->term < RAFT_WATCH_MAX_TERM) {
        watch->pre_votes[message->term][message->to.node] |= (uint8_t)(1u << node->id.node);
    }
}

/* Who stands without having been told to was told by a majority that it would get their votes: so a
 * node that was cut off deposes nobody when it is back (thesis 9.6). */
static void
check_pre_votes(struct raft_watch *watch, const struct raft_watched *node,
                const struct raft_message *message)
{
    const struct raft_members *members = &node->raft->members;
    uint32_t voters = 0, granted = 0;
    if (message->force || message->term >= RAFT_WATCH_MAX_TERM) {
        return;
    }
    uint8_t told = watch->pre_votes[message->term][node->id.node];
    for (uint32_t i = 0; i < members->count; i++) {
        struct raft_id id = members->at[i].id;
        bool would = raft_id_equal(id, node->id) || (told >> id.node & 1) != 0;
        voters += members->at[i].voter;
        granted += members->at[i].voter && would;
    }
    expect(watch, node, granted > voters / 2, "a candidate stands without a majority's pre-votes");
}

void
raft_watch_send(struct raft_watch *watch, struct raft_watched *node,
                const struct raft_message *message)
{
    bool future = message->kind == RAFT_PRE_VOTE || message->kind == RAFT_PRE_VOTE_ANSWER;
    expect(watch, node, future || message->term <= node->disk.term,
           "a term is told that is not on the disk");
    switch (message->kind) {
    case RAFT_VOTE:
        check_pre_votes(watch, node, message);
        check_vote_told(watch, node, message->term, node->id);
        expect(watch, node, message->index == disk_last(node),
               "a candidate names a log that is not on its disk");
        break;
    case RAFT_VOTE_ANSWER:
        if (message->ok) {
            check_vote_told(watch, node, message->term, message->to);
        }
        break;
    case RAFT_APPEND:
        expect(watch, node, on_disk(node, message->index + message->entry_count),
               "entries are sent that are not on the leader's disk");
        break;
    case RAFT_APPEND_ANSWER:
        expect(watch, node, !message->ok || on_disk(node, message->index),
               "entries are acknowledged that are not on the disk");
        if (message->ok) {
            note_ack(watch, node, message);
        }
        break;
    case RAFT_SNAPSHOT:
        expect(watch, node, message->index <= node->disk.snapshot.index,
               "a snapshot is sent that is not on the disk");
        expect(watch, node,
               message->index > watch->committed ||
                   watch->log[message->index].term == message->log_term,
               "a snapshot is sent with a wrong last term");
        break;
    case RAFT_PRE_VOTE_ANSWER:
        note_pre_vote(watch, node, message);
        break;
    case RAFT_PRE_VOTE:
    case RAFT_SNAPSHOT_ANSWER:
    case RAFT_TIMEOUT_NOW:
        break;
    }
}

/* Term, vote and commit on a disk never go back. */
void
raft_watch_written(struct raft_watch *watch, struct raft_watched *node)
{
    expect(watch, node, node->disk.term >= node->disk_term, "the term on the disk went back");
    expect(watch, node, node->disk.commit >= node->disk_commit,
           "the commit index on the disk went back");
    expect(watch, node, node->disk.snapshot.index == 0 || node->disk.snapshot.members.count > 0,
           "a snapshot is written without members");
    node->disk_term = node->disk.term;
    node->disk_commit = node->disk.commit;
}

/* ---- state machine safety -------------------------------------------------------------------- */

/* In memory, or, if the log was compacted in the same step, still on the disk; NULL: neither. */
static const struct raft_entry *
entry_at(const struct raft_watched *node, int64_t index)
{
    if (index > node->raft->log.prev_index && index <= raft_last_index(node->raft)) {
        return raft_entry_at(node->raft, index);
    }
    bool there = index > node->disk.prev_index && index <= disk_last(node);
    return there ? &node->disk.entries[index - node->disk.prev_index - 1] : NULL;
}

static void
apply_one(struct raft_watch *watch, struct raft_watched *node, int64_t index)
{
    const struct raft_entry *entry = entry_at(node, index);
    if (entry == NULL || index >= RAFT_WATCH_MAX_INDEX) {
        wrong(watch, node, "entry %" PRId64 " is applied and is not in the log", index);
        return;
    }
    uint64_t hash = hash_entry(entry);
    struct raft_watch_entry *global = &watch->log[index];
    node->applied = index;
    node->digest = raft_watch_mix(node->digest, &hash, sizeof(hash));
    if (index > watch->committed) {
        *global = (struct raft_watch_entry){entry->term, hash, node->digest, node->raft->term};
        watch->committed = index;
    }
    if (global->hash != hash || global->term != entry->term) {
        wrong(watch, node, "entry %" PRId64 " is committed twice, of term %" PRId64 " and %" PRId64,
              index, global->term, entry->term);
    }
    expect(watch, node, global->digest == node->digest, "two states at one index");
}

/* Whether a majority of the voters has acknowledged the entry in the leader's term. */
static bool
is_acked(const struct raft_watch *watch, const struct raft_watched *node,
         const struct raft_members *members, int64_t index)
{
    uint32_t voters = 0, acked = 0;
    int64_t term = node->raft->term;
    for (uint32_t i = 0; i < members->count && term < RAFT_WATCH_MAX_TERM; i++) {
        struct raft_id id = members->at[i].id;
        const struct raft_watch_ack *ack = &watch->acks[term][id.node];
        bool has = raft_id_equal(ack->id, id) && ack->index >= index;
        bool counts = raft_id_equal(id, node->id) || has;
        voters += members->at[i].voter;
        acked += members->at[i].voter && counts;
    }
    return voters > 0 && acked > voters / 2;
}

/* What a leader commits of its own term, it commits by counting: voters only. It may have begun to
 * go by another list within the same step. */
static void
check_counted(struct raft_watch *watch, const struct raft_watched *node, int64_t last)
{
    const struct raft_entry *newest = entry_at(node, last);
    if (node->raft->role == RAFT_LEADER && newest != NULL && newest->term == node->raft->term) {
        expect(watch, node,
               is_acked(watch, node, &node->raft->members, last) ||
                   is_acked(watch, node, &node->members, last),
               "an entry is committed without a majority of the voters");
    }
}

static void
apply_up_to(struct raft_watch *watch, struct raft_watched *node, int64_t last)
{
    const struct raft_entry *newest = entry_at(node, last);
    check_counted(watch, node, last);
    expect(watch, node, on_disk(node, last), "entries are committed that are not on the disk");
    expect(watch, node,
           node->raft->role != RAFT_LEADER || last <= node->disk_commit || newest == NULL ||
               newest->term == node->raft->term,
           "a leader commits an entry of an older term by counting (Raft figure 8)");
    for (int64_t i = node->applied + 1; i <= last; i++) {
        apply_one(watch, node, i);
    }
}

void
raft_watch_applied(struct raft_watch *watch, struct raft_watched *node, int64_t last)
{
    if (last > node->applied) {
        apply_up_to(watch, node, last);
        expect(watch, node, node->raft->members.count > 0,
               "who has entries does not know who is a member");
    }
    node->members = node->raft->members;
}

void
raft_watch_installed(struct raft_watch *watch, struct raft_watched *node, uint64_t digest)
{
    const struct raft_snapshot *snapshot = &node->raft->snapshot;
    if (snapshot->index > watch->committed || snapshot->index <= node->applied) {
        wrong(watch, node, "a snapshot has what nobody committed, or goes back");
        return;
    }
    const struct raft_watch_entry *global = &watch->log[snapshot->index];
    expect(watch, node, node->disk.snapshot.index >= snapshot->index,
           "a snapshot is installed that is not on the disk");
    node->applied = snapshot->index;
    node->digest = digest == 0 ? global->digest : digest;
    expect(watch, node, node->digest == global->digest,
           "a snapshot holds another state than the log gives");
    expect(watch, node, snapshot->term == global->term, "a snapshot has a wrong last term");
}

/* ---- leaders --------------------------------------------------------------------------------- */

/* A majority of the voters that the leader counts must have told it, from the disks they are listed
 * with. */
static void
check_votes(struct raft_watch *watch, const struct raft_watched *node, int64_t term)
{
    const struct raft_members *members = &node->raft->members;
    uint32_t voters = 0, granted = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        struct raft_id id = members->at[i].id;
        bool self = raft_id_equal(id, node->id);
        bool told = raft_id_equal(watch->votes[term][id.node], id) &&
                    raft_id_equal(watch->voted[term][id.node], node->id);
        voters += members->at[i].voter;
        granted += members->at[i].voter && (self || told);
    }
    expect(watch, node, granted > voters / 2, "a leader without a majority of its voters");
}

/* Leader completeness: what was committed in an earlier term is in its log. */
static void
check_complete(struct raft_watch *watch, const struct raft_watched *node)
{
    const struct raft *raft = node->raft;
    for (int64_t i = raft->log.prev_index + 1; i <= watch->committed; i++) {
        bool later = watch->log[i].commit_term >= raft->term;
        bool has = i <= raft_last_index(raft) && raft_entry_at(raft, i)->term == watch->log[i].term;
        if (!later && !has) {
            wrong(watch, node, "a leader lacks committed entry %" PRId64, i);
        }
    }
}

void
raft_watch_leader(struct raft_watch *watch, struct raft_watched *node)
{
    int64_t term = node->raft->term;
    if (term >= RAFT_WATCH_MAX_TERM) {
        wrong(watch, node, "terms run away");
        return;
    }
    struct raft_id *leader = &watch->leaders[term];
    expect(watch, node, leader->node == 0 || raft_id_equal(*leader, node->id),
           "two leaders in one term");
    if (leader->node == 0) {
        *leader = node->id;
        watch->elected++;
    }
    check_votes(watch, node, term);
    check_complete(watch, node);
}

/* ---- after each event ------------------------------------------------------------------------ */

void
raft_watch_matching(struct raft_watch *watch, struct raft_watched *a, struct raft_watched *b)
{
    int64_t first = a->raft->log.prev_index > b->raft->log.prev_index ? a->raft->log.prev_index
                                                                      : b->raft->log.prev_index;
    int64_t last = raft_last_index(a->raft) < raft_last_index(b->raft) ? raft_last_index(a->raft)
                                                                       : raft_last_index(b->raft);
    bool equal = false;
    for (int64_t i = last; i > first; i--) {
        const struct raft_entry *x = raft_entry_at(a->raft, i), *y = raft_entry_at(b->raft, i);
        equal |= x->term == y->term;
        bool same = x->term == y->term && x->payload == y->payload; /* copies share their bytes */
        if (equal && !same && hash_entry(x) != hash_entry(y)) {
            wrong(watch, a, "log differs from that of node %" PRId32 " at %" PRId64, b->id.node, i);
        }
    }
}

/* A new leader may know less of what is committed than the world does. */
void
raft_watch_one_change(struct raft_watch *watch, struct raft_watched *node)
{
    int changes = 0;
    int64_t known = node->raft->log.prev_index;
    int64_t from = watch->committed > known ? watch->committed : known;
    for (int64_t i = from + 1; i <= raft_last_index(node->raft); i++) {
        changes += raft_entry_at(node->raft, i)->kind == RAFT_ENTRY_MEMBERS;
    }
    expect(watch, node, changes <= 1, "two changes of members are not committed");
}
