/* The controllers' Raft, watched (raft_watch.h): what they send, write and apply goes past here.
 * The mirror is what every write that was carried out adds up to: a start must find exactly that.
 */
#include "tests/sim/quorum.h"

#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/ctl.h"

#define MATCH_EVERY 16 /* events: comparing logs is dear */

static void
on_wrong(void *arg, const struct raft_watched *node, const char *what)
{
    world_fail(arg, "controller %" PRId32 ": %s", node->id.node, what);
}

struct raft_watch *
quorum_watch_new(struct world *world)
{
    struct raft_watch *watch = calloc(1, sizeof(*watch));
    DMQ_ASSERT(watch != NULL);
    watch->wrong = on_wrong;
    watch->arg = world;
    return watch;
}

/* ---- the disk -------------------------------------------------------------------------------- */

void
quorum_new_disk(struct process *p)
{
    raft_disk_deinit(&p->watched.disk);
    raft_persist_free(p->half_written);
    p->half_written = NULL;
    p->watched = (struct raft_watched){.id = {.node = p->id, .disk = p->disk_id}};
}

void
quorum_written(struct process *p, const struct raft_persist *write)
{
    raft_disk_write(&p->watched.disk, write);
    raft_watch_written(p->world->watch, &p->watched);
}

void
quorum_half_written(struct process *p, const struct raft_persist *write)
{
    raft_persist_free(p->half_written);
    p->half_written = raft_persist_copy(write);
}

static uint64_t
mix_members(uint64_t hash, const struct raft_members *members)
{
    for (uint32_t i = 0; i < members->count; i++) {
        hash = raft_watch_mix(hash, &members->at[i].id, sizeof(members->at[i].id));
        hash = raft_watch_mix(hash, &members->at[i].voter, 1);
    }
    return hash;
}

static uint64_t
digest_saved(const struct raft_saved *saved)
{
    const int64_t numbers[] = {saved->term,          saved->commit,     saved->snapshot.index,
                               saved->snapshot.term, saved->prev_index, saved->prev_term,
                               saved->count};
    uint64_t hash = raft_watch_mix(1, numbers, sizeof(numbers));
    hash = raft_watch_mix(hash, &saved->vote, sizeof(saved->vote));
    hash = mix_members(hash, &saved->snapshot.members);
    if (saved->snapshot.data != NULL) {
        hash = raft_watch_mix(hash, saved->snapshot.data->data, saved->snapshot.data->size);
    }
    for (int64_t i = 0; i < saved->count; i++) {
        const struct raft_entry *entry = &saved->entries[i];
        hash = raft_watch_mix(hash, &entry->term, sizeof(entry->term));
        hash = raft_watch_mix(hash, &entry->kind, sizeof(entry->kind));
        if (entry->payload != NULL) {
            hash = raft_watch_mix(hash, entry->payload->data, entry->payload->size);
        }
    }
    return hash;
}

/* The last write counts if it is there although nobody heard that it was done. */
void
quorum_loaded(struct process *p, const struct raft_saved *saved)
{
    struct raft_saved mirror = raft_disk_saved(&p->watched.disk);
    uint64_t found = digest_saved(saved);
    if (digest_saved(&mirror) != found && p->half_written != NULL) {
        quorum_written(p, p->half_written);
        mirror = raft_disk_saved(&p->watched.disk);
    }
    if (digest_saved(&mirror) != found) {
        world_fail(p->world, "controller %" PRId32 " finds something else than it has written",
                   p->id);
    }
    raft_persist_free(p->half_written);
    p->half_written = NULL;
    p->installs = 0;
    p->reads = (struct read_watch){0};
    p->watched.applied = saved->snapshot.index;
    p->watched.digest = 0;
    if (saved->snapshot.index > 0 && saved->snapshot.index < RAFT_WATCH_MAX_INDEX) {
        p->watched.digest = p->world->watch->log[saved->snapshot.index].digest;
    }
}

/* ---- messages and entries -------------------------------------------------------------------- */

void
quorum_sent(struct process *p, struct bytes body)
{
    struct raft_request request;
    struct raft_message message;
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, 1 << 24);
    p->watched.raft = ctl_raft(p->ctl);
    dmq_err failed = msg_decode(desc_raft_request(), 0, body, &arena, &request, &err);
    DMQ_ASSERT(failed == DMQ_OK && p->watched.raft != NULL);
    failed = raft_wire_decode(&request, &arena, &message, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    raft_watch_send(p->world->watch, &p->watched, &message);
    raft_wire_release(&message);
    arena_deinit(&arena);
}

static void
check_log(struct world *world, struct process *p)
{
    struct process *other = world_process(
        world, PROCESS_CONTROLLER,
        (int)(world->counts.events / MATCH_EVERY % (uint64_t)world->options.controllers));
    if (p->watched.raft->role == RAFT_LEADER) {
        raft_watch_one_change(world->watch, &p->watched);
    }
    if (world->counts.events % MATCH_EVERY == 0 && other != p && other->alive &&
        ctl_raft(other->ctl) != NULL) {
        other->watched.raft = ctl_raft(other->ctl);
        raft_watch_matching(world->watch, &p->watched, &other->watched);
    }
}

/* One list of first voters, one cluster, whoever has heard of it. */
static void
check_one_cluster(const struct process *p)
{
    const struct world *world = p->world;
    for (int i = 0; i < world->process_count; i++) {
        const struct process *other = world->processes[i];
        if (!uuid_is_zero(p->cluster_id) && !uuid_is_zero(other->cluster_id) &&
            !uuid_equal(p->cluster_id, other->cluster_id)) {
            world_fail(p->world, "the cluster was formed twice: %" PRId32 " and %" PRId32 " differ",
                       p->id, other->id);
        }
    }
}

/* A read that this leader answered, by itself or with others, although another had already
 * committed more when it was decided. One that is not over yet waits for its end. */
static void
check_reads(struct process *p)
{
    const struct ctl *ctl = p->ctl;
    const struct read_watch *last = &p->reads;
    bool leads = ctl->leading && ctl->leading_term == last->term;
    bool waits = ctl->batch.state == BATCH_READING;
    bool over = last->waits && !(waits && ctl->batch.read == last->number);
    int64_t committed = p->world->watch->committed;
    bool stale = over && leads && last->behind;
    bool at_once = ctl->batch.read > last->number && !waits && ctl->leading;
    if (stale || (at_once && ctl->version < committed)) {
        world_fail(p->world, "controller %" PRId32 " answers a read although another one led",
                   p->id);
    }
    p->world->counts.reads += over && leads;
    if (!waits || ctl->batch.read != last->number || !last->waits) {
        p->reads = (struct read_watch){.number = ctl->batch.read,
                                       .term = ctl->leading_term,
                                       .waits = waits,
                                       .behind = ctl->version < committed};
    }
}

void
quorum_check(struct process *p)
{
    struct world *world = p->world;
    const struct raft *raft = ctl_raft(p->ctl);
    p->watched.raft = raft;
    check_one_cluster(p);
    if (raft == NULL || world_failed(world)) {
        return;
    }
    if (raft->stats.snapshots_installed != p->installs) {
        p->installs = raft->stats.snapshots_installed;
        world->counts.installs++;
        raft_watch_installed(world->watch, &p->watched, 0);
    }
    raft_watch_applied(world->watch, &p->watched, raft->told_commit);
    check_reads(p);
    bool known = raft->term < RAFT_WATCH_MAX_TERM &&
                 raft_id_equal(world->watch->leaders[raft->term], p->watched.id);
    if (raft->role == RAFT_LEADER && !known) {
        raft_watch_leader(world->watch, &p->watched);
        world->counts.leaders++;
    }
    check_log(world, p);
}

/* ---- whether a disk can be spared ------------------------------------------------------------ */

static bool
list_survives(struct world *world, const struct raft_members *members, const struct process *lost)
{
    uint32_t voters = 0, left = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->at[i];
        const struct process *p = world_by_id(world, PROCESS_CONTROLLER, member->id.node);
        bool there =
            p != lost && !p->left_out && !p->damaged && uuid_equal(p->disk_id, member->id.disk);
        voters += member->voter;
        left += member->voter && there;
    }
    return voters == 0 || left > voters / 2;
}

static bool
log_survives(struct world *world, const struct raft_entry *entries, int64_t count,
             const struct process *lost)
{
    struct raft_members members;
    for (int64_t i = 0; i < count; i++) {
        if (entries[i].kind == RAFT_ENTRY_MEMBERS &&
            (!raft_members_decode(buf_bytes(entries[i].payload), &members) ||
             !list_survives(world, &members, lost))) {
            return false;
        }
    }
    return true;
}

/* Every list of voters that some controller goes by, in memory or on its disk, must keep a majority
 * of its disks: else what is lost is not the controllers' fault. */
bool
quorum_can_spare(struct world *world, const struct process *lost)
{
    for (int i = 0; i < world->options.controllers; i++) {
        const struct process *p = world_process(world, PROCESS_CONTROLLER, i);
        const struct raft *raft = p->alive ? ctl_raft(p->ctl) : NULL;
        const struct raft_disk *disk = &p->watched.disk;
        bool good = list_survives(world, &disk->snapshot.members, lost) &&
                    log_survives(world, disk->entries, disk->count, lost);
        if (raft != NULL) {
            good = good && list_survives(world, &raft->members, lost) &&
                   list_survives(world, &raft->snapshot.members, lost) &&
                   log_survives(world, raft->log.entries, raft->log.count, lost);
        }
        if (!good) {
            return false;
        }
    }
    return world->watch->committed > 0; /* the cluster has been formed */
}
