/* The replicas of every partition of the world, as partition_watch looks at them: images as they
 * are committed, replicas after each event of their broker, logs on their disks. What is only in
 * memory cannot be seen: of a partition with durability=async the history of its clients is the
 * judge. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/map.h"
#include "tests/sim/world.h"

struct watched_partition {
    UT_hash_handle hh;
    struct {
        struct uuid topic_id;
        int64_t partition;
    } key;
    struct world *world;
    struct partition_watch *watch;
    struct log_cursor cursors[2][WATCH_GHOST + WATCH_PLACES]; /* by part */
    int64_t version; /* of the newest image that it is in; 0: none */
    bool was_async;
    int64_t start; /* the highest of a replica */
    int32_t epoch; /* the newest of a leader */
    int leader;
};

struct replicas {
    struct world *world;
    struct watched_partition *partitions;
    int64_t version;                         /* of the newest image */
    struct uuid disk_ids[WORLD_MAX_BROKERS]; /* as the newest image has them */
};

struct replicas *
replicas_new(struct world *world)
{
    struct replicas *replicas = calloc(1, sizeof(*replicas));
    DMQ_ASSERT(replicas != NULL);
    replicas->world = world;
    return replicas;
}

void
replicas_free(struct replicas *replicas)
{
    struct watched_partition *p;
    struct watched_partition *next;
    HASH_ITER (hh, replicas->partitions, p, next) {
        HASH_DEL(replicas->partitions, p);
        partition_watch_free(p->watch);
        free(p);
    }
    free(replicas);
}

/* ---- logs ------------------------------------------------------------------------------------ */

static struct process *
broker_in(const struct watched_partition *p, int place)
{
    return world_process(p->world, PROCESS_BROKER, place % WATCH_GHOST);
}

static bool
read_log(void *arg, int place, enum watch_part part, int64_t offset, struct watch_entry *ret_entry)
{
    struct watched_partition *p = arg;
    const struct process *broker = broker_in(p, place);
    struct log_cursor *cursor = &p->cursors[part][place];
    if (broker == NULL) {
        return false;
    }
    const struct log_place at = {.disk = place >= WATCH_GHOST ? broker->ghost : broker->disk,
                                 .topic_id = p->key.topic_id,
                                 .partition = (int32_t)p->key.partition,
                                 .durable = part == WATCH_SYNCED || place >= WATCH_GHOST};
    if (cursor->generation != broker->log_generation) {
        *cursor = (struct log_cursor){.generation = broker->log_generation};
    }
    rot_hide(broker);
    bool found = log_entry_at(&at, cursor, offset, ret_entry);
    rot_hide(broker);
    return found;
}

static uint64_t
generation(void *arg, int place)
{
    const struct process *broker = broker_in(arg, place);
    return broker == NULL ? 0 : broker->log_generation;
}

/* Until the new disk is registered. */
static bool
is_other(void *arg, int place)
{
    const struct watched_partition *p = arg;
    return !uuid_equal(p->world->replicas->disk_ids[place], broker_in(p, place)->disk_id);
}

static struct watched_partition *
watched(struct world *world, struct uuid topic_id, int32_t partition)
{
    struct replicas *replicas = world->replicas;
    struct watched_partition *p;
    struct watched_partition key = {.key = {topic_id, partition}};
    HASH_FIND(hh, replicas->partitions, &key.key, sizeof(key.key), p);
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        DMQ_ASSERT(p != NULL);
        const struct watch_disks disks = {p, read_log, generation, is_other};
        p->key.topic_id = topic_id;
        p->key.partition = partition;
        p->world = world;
        p->leader = -1;
        p->watch = partition_watch_new(&disks, world->options.brokers);
        HASH_ADD(hh, replicas->partitions, key, sizeof(p->key), p);
    }
    return p;
}

static void
require(const struct watched_partition *p)
{
    const char *failure = partition_watch_failure(p->watch);
    if (failure != NULL) {
        char id[UUID_TEXT_SIZE];
        world_fail(p->world, "partition %" PRId64 " of topic %.8s: %s", p->key.partition,
                   uuid_text(p->key.topic_id, id), failure);
    }
}

/* ---- after an event of a broker -------------------------------------------------------------- */

static int
place_of(const struct process *broker)
{
    return broker->id - world_process(broker->world, PROCESS_BROKER, 0)->id;
}

/* A leader that is new has the log of its predecessor up to where they part. */
static void
note_leader(struct watched_partition *p, const struct brk_partition_view *view, int place)
{
    if (!view->leader || view->leader_epoch <= p->epoch) {
        return;
    }
    if (p->leader >= 0 && p->leader != place) {
        p->world->counts.leaders_moved++;
        partition_watch_match(p->watch, p->leader, place);
    }
    p->epoch = view->leader_epoch;
    p->leader = place;
}

/* It rises by retention alone, and then on each replica by itself. */
static void
note_start(struct watched_partition *p, const struct brk_partition_view *view)
{
    struct world *world = p->world;
    if (view->start <= p->start) {
        return;
    }
    p->start = view->start;
    world->counts.starts_raised++;
    if (world->options.retention_check_ms == 0 || view->start > view->high_watermark) {
        world_fail(world, "a log begins at %" PRId64 ", which retention did not do", view->start);
    }
}

void
replicas_seen(struct process *broker, struct uuid topic_id, int32_t partition,
              const struct brk_partition_view *view)
{
    struct watched_partition *p = watched(broker->world, topic_id, partition);
    int place = place_of(broker);
    const struct watch_replica seen = {.place = place,
                                       .life = broker->life << 20 | view->losses,
                                       .leads = view->leader,
                                       .leader_epoch = view->leader_epoch,
                                       .start = view->start,
                                       .end = view->end,
                                       .synced_end = view->synced_end,
                                       .high_watermark = view->high_watermark};
    note_start(p, view);
    bool gone = p->version != 0 && p->version < broker->world->replicas->version;
    if (p->was_async || gone || rot_ends_last_copy(broker, topic_id, partition, view->end)) {
        return;
    }
    partition_watch_replica(p->watch, &seen);
    note_leader(p, view, place);
    require(p);
}

/* ---- images ---------------------------------------------------------------------------------- */

static uint64_t
places(struct world *world, const int32_t *ids, uint32_t count)
{
    uint64_t set = 0;
    for (uint32_t i = 0; i < count; i++) {
        set |= UINT64_C(1) << place_of(world_by_id(world, PROCESS_BROKER, ids[i]));
    }
    return set;
}

static uint64_t
live_places(struct world *world, const struct image *image)
{
    uint64_t live = 0;
    for (int i = 0; i < world->options.brokers; i++) {
        const struct process *p = world_process(world, PROCESS_BROKER, i);
        const struct broker_record *record = image_broker(image, p->id);
        live |= (uint64_t)(record != NULL && !record->fenced) << i;
        if (record != NULL && record->folders_count > 0) {
            world->replicas->disk_ids[i] = record->folders[0].disk_id;
        }
    }
    return live;
}

static void
look_at(struct world *world, const struct image_topic *topic, const struct partition_record *record,
        uint64_t live)
{
    struct watched_partition *p = watched(world, record->topic_id, record->partition);
    const struct watch_image seen = {
        .leader =
            record->leader < 0 ? -1 : place_of(world_by_id(world, PROCESS_BROKER, record->leader)),
        .leader_epoch = record->leader_epoch,
        .partition_epoch = record->partition_epoch,
        .min_isr = record->min_isr,
        .replicas = places(world, record->replicas, record->replicas_count),
        .isr = places(world, record->isr, record->isr_count),
        .elr = places(world, record->elr, record->elr_count),
        .live = live,
        .may_lose = unclean_may_lose(world, topic, record->partition)};
    struct watch_cut cut;
    size_t cuts = partition_watch_cuts(p->watch, &cut);
    p->version = world->replicas->version;
    p->was_async |=
        record->durability == DURABILITY_ASYNC || topic->config.durability == DURABILITY_ASYNC;
    partition_watch_image(p->watch, &seen);
    require(p);
    if (partition_watch_cuts(p->watch, &cut) > cuts) {
        unclean_elected(world, record, &cut);
    }
}

void
replicas_image(struct world *world, const struct image *image)
{
    uint64_t live = live_places(world, image);
    world->replicas->version = image_version(image);
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t n = 0; n < topic->partition_count; n++) {
            look_at(world, topic, topic->partitions[n], live);
        }
    }
}

/* ---- whole ----------------------------------------------------------------------------------- */

static bool
is_in(const int32_t *set, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (set[i] == id) {
            return true;
        }
    }
    return false;
}

typedef bool (*partition_test)(struct world *world, const struct partition_record *p, int32_t id);

static bool
every_partition(struct world *world, partition_test test, int32_t id)
{
    const struct image *image = metadata_newest(world);
    for (uint32_t i = 0; image != NULL && i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t n = 0; n < topic->partition_count; n++) {
            if (!test(world, topic->partitions[n], id)) {
                return false;
            }
        }
    }
    return image != NULL;
}

static bool
view_of(struct world *world, int32_t id, const struct partition_record *p,
        struct brk_partition_view *ret_view)
{
    const struct process *broker = world_by_id(world, PROCESS_BROKER, id);
    return broker->alive && brk_partition_view(broker->brk, p->topic_id, p->partition, ret_view);
}

static bool
has_place(struct world *world, const struct partition_record *p, int32_t id)
{
    (void)world;
    return !is_in(p->replicas, p->replicas_count, id) || is_in(p->isr, p->isr_count, id);
}

/* All of the ISR, and all as far as the leader. */
static bool
is_whole(struct world *world, const struct partition_record *p, int32_t id)
{
    struct brk_partition_view leader;
    struct brk_partition_view view;
    (void)id;
    if (p->leader < 0 || p->isr_count < p->replicas_count ||
        !view_of(world, p->leader, p, &leader) || leader.high_watermark < leader.end) {
        return false;
    }
    for (uint32_t i = 0; i < p->replicas_count; i++) {
        if (!view_of(world, p->replicas[i], p, &view) || view.synced_end != leader.end) {
            return false;
        }
    }
    return true;
}

bool
replicas_whole(struct world *world)
{
    return every_partition(world, is_whole, 0);
}

static bool
tell_what_lacks(struct world *world, const struct partition_record *p, int32_t id)
{
    char topic[UUID_TEXT_SIZE];
    (void)id;
    if (is_whole(world, p, 0)) {
        return true;
    }
    world_trace(world,
                "partition %" PRId32 " of topic %s: leader %" PRId32 ", %" PRIu32 " in the ISR",
                p->partition, uuid_text(p->topic_id, topic), p->leader, p->isr_count);
    for (uint32_t i = 0; i < p->replicas_count; i++) {
        struct brk_partition_view view = {.end = -1};
        bool there = view_of(world, p->replicas[i], p, &view);
        world_trace(world,
                    "  broker %" PRId32 "%s: from %" PRId64 " to %" PRId64 ", synced %" PRId64
                    ", high watermark %" PRId64 ", epoch %" PRId32 "%s",
                    p->replicas[i], there ? "" : " has none", view.start, view.end, view.synced_end,
                    view.high_watermark, view.leader_epoch,
                    view.leader     ? ", leads"
                    : view.follower ? ", follows"
                                    : "");
    }
    return true;
}

void
replicas_tell_what_lacks(struct world *world)
{
    every_partition(world, tell_what_lacks, 0);
}

/* It has a place in every partition that it stores, by the image that a later registration of it is
 * in. */
void
replicas_settle(struct world *world)
{
    const struct image *image = metadata_newest(world);
    for (int i = 0; image != NULL && i < world->options.brokers; i++) {
        struct process *p = world_process(world, PROCESS_BROKER, i);
        const struct broker_record *record = image_broker(image, p->id);
        bool known = p->damaged && !rot_is_on(p) && record != NULL && record->folders_count == 1 &&
                     !record->fenced && record->broker_epoch > p->damaged_epoch &&
                     uuid_equal(record->folders[0].disk_id, p->disk_id);
        if (known && every_partition(world, has_place, p->id)) {
            p->damaged = false;
            world->counts.restored++;
        }
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool
is_equal(struct world *world, const struct partition_record *record, int32_t id)
{
    struct watched_partition *p = watched(world, record->topic_id, record->partition);
    struct brk_partition_view view;
    (void)id;
    if (!view_of(world, record->leader, record, &view)) {
        return false;
    }
    memset(p->cursors, 0, sizeof(p->cursors)); /* nothing is taken on trust now */
    if (!p->was_async) {
        partition_watch_all(p->watch);
    }
    for (uint32_t i = 0; i < record->replicas_count; i++) {
        int place = place_of(world_by_id(world, PROCESS_BROKER, record->replicas[i]));
        int first = place_of(world_by_id(world, PROCESS_BROKER, record->replicas[0]));
        partition_watch_match(p->watch, first, place);
        require(p);
        if (!p->was_async && (partition_watch_committed(p->watch) != view.end ||
                              !partition_watch_holds_all(p->watch, place))) {
            world_fail(world, "broker %" PRId32 " does not hold all of a partition at the end",
                       record->replicas[i]);
        }
        world->counts.replicas_compared += i > 0;
    }
    return true;
}

void
replicas_check_end(struct world *world)
{
    every_partition(world, is_equal, 0);
}

void
replicas_note_starts(struct world *world)
{
    const struct image *image = metadata_newest(world);
    for (int i = 0; image != NULL && i < WORLD_MAX_TOPICS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%d", i);
        const struct image_topic *topic = image_topic_by_name(image, bytes_str(name));
        for (uint32_t n = 0; topic != NULL && n < topic->partition_count; n++) {
            int64_t start = watched(world, topic->record->topic_id, (int32_t)n)->start;
            if (start > 0) {
                history_begin(&world->history, &(struct history_start){i, (int)n, start});
            }
        }
    }
}
