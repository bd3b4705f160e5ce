/* What must hold of all replicas of a partition together: whoever leads holds what was ever
 * committed, and at the end every replica has the same bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/map.h"
#include "libdmq/wire/batch.h"
#include "tests/sim/world.h"

#define PATH_SIZE 128
#define MAX_SEGMENTS 4096

struct partition_watch {
    UT_hash_handle hh;
    struct {
        struct uuid topic_id;
        int64_t partition;
    } key;
    int64_t committed; /* the highest high watermark of a leader */
    int32_t epoch;     /* and the newest leader epoch */
    int32_t leader;
};

struct replicas {
    struct partition_watch *partitions;
};

struct replicas *
replicas_new(void)
{
    struct replicas *replicas = calloc(1, sizeof(*replicas));
    DMQ_ASSERT(replicas != NULL);
    return replicas;
}

void
replicas_free(struct replicas *replicas)
{
    struct partition_watch *watch;
    struct partition_watch *next;
    HASH_ITER (hh, replicas->partitions, watch, next) {
        HASH_DEL(replicas->partitions, watch);
        free(watch);
    }
    free(replicas);
}

static struct partition_watch *
watch_of(struct replicas *replicas, struct uuid topic_id, int32_t partition)
{
    struct partition_watch *watch;
    struct partition_watch key = {.key = {topic_id, partition}};
    HASH_FIND(hh, replicas->partitions, &key.key, sizeof(key.key), watch);
    if (watch == NULL) {
        watch = calloc(1, sizeof(*watch));
        DMQ_ASSERT(watch != NULL);
        watch->key.topic_id = topic_id;
        watch->key.partition = partition;
        watch->leader = -1;
        HASH_ADD(hh, replicas->partitions, key, sizeof(watch->key), watch);
    }
    return watch;
}

/* A deposed leader that has not heard of it yet has an older epoch: it proves nothing. */
void
replicas_seen(struct process *broker, struct uuid topic_id, int32_t partition,
              const struct brk_partition_view *view)
{
    struct world *world = broker->world;
    if (!view->leader) {
        return;
    }
    struct partition_watch *watch = watch_of(world->replicas, topic_id, partition);
    if (view->leader_epoch >= watch->epoch && view->end < watch->committed) {
        world_fail(world,
                   "broker %" PRId32 " leads in epoch %" PRId32 " with end %" PRId64
                   ", but %" PRId64 " is committed",
                   broker->id, view->leader_epoch, view->end, watch->committed);
    }
    if (view->leader_epoch > watch->epoch) {
        world->counts.leaders_moved += watch->leader >= 0 && watch->leader != broker->id;
        watch->epoch = view->leader_epoch;
        watch->leader = broker->id;
    }
    watch->committed =
        view->high_watermark > watch->committed ? view->high_watermark : watch->committed;
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

/* It has a place in every partition that it stores, by the image that a registration of its new
 * disk is in. */
void
replicas_settle(struct world *world)
{
    const struct image *image = metadata_newest(world);
    for (int i = 0; image != NULL && i < world->options.brokers; i++) {
        struct process *p = world_process(world, PROCESS_BROKER, i);
        const struct broker_record *record = image_broker(image, p->id);
        bool known = p->damaged && record != NULL && record->folders_count == 1 &&
                     !record->fenced && uuid_equal(record->folders[0].disk_id, p->disk_id);
        if (known && every_partition(world, has_place, p->id)) {
            p->damaged = false;
            world->counts.restored++;
        }
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

struct segments {
    int64_t bases[MAX_SEGMENTS];
    size_t count;
};

static int
note_segment(void *arg, const char *name)
{
    struct segments *segments = arg;
    size_t size = strlen(name);
    if (size == 24 && strcmp(name + 20, ".log") == 0 && segments->count < MAX_SEGMENTS) {
        segments->bases[segments->count++] = strtoll(name, NULL, 10);
    }
    return 0;
}

static int
compare_bases(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of all batches that a replica has on its disk, from the first to the one before end. */
static uint64_t
hash_replica(const struct process *broker, const struct partition_record *p, int64_t end)
{
    static struct segments segments;
    char id[UUID_TEXT_SIZE], folder[PATH_SIZE / 2], path[PATH_SIZE];
    uint64_t hash = 0xcbf29ce484222325u;
    struct fs *fs = simfs_fs(broker->disk);
    segments.count = 0;
    snprintf(folder, sizeof(folder), "/data/%s/%" PRId32, uuid_text(p->topic_id, id), p->partition);
    fs->ops->list(fs, folder, note_segment, &segments);
    qsort(segments.bases, segments.count, sizeof(segments.bases[0]), compare_bases);
    for (size_t i = 0; i < segments.count; i++) {
        struct batch_header header;
        struct bytes batch;
        snprintf(path, sizeof(path), "%s/%020" PRId64 ".log", folder, segments.bases[i]);
        struct bytes rest = simfs_file(broker->disk, path);
        while (batch_next(&rest, &batch) == DMQ_OK && batch_parse(batch, &header) == DMQ_OK &&
               header.base_offset < end) {
            hash = raft_watch_mix(hash, batch.data, batch.size);
        }
    }
    return hash;
}

static bool
is_equal(struct world *world, const struct partition_record *p, int32_t id)
{
    struct brk_partition_view view;
    uint64_t first = 0;
    (void)id;
    if (!view_of(world, p->leader, p, &view)) {
        return false;
    }
    for (uint32_t i = 0; i < p->replicas_count; i++) {
        const struct process *broker = world_by_id(world, PROCESS_BROKER, p->replicas[i]);
        uint64_t hash = hash_replica(broker, p, view.end);
        if (i > 0 && hash != first) {
            world_fail(world, "replicas %" PRId32 " and %" PRId32 " of one partition differ",
                       p->replicas[0], p->replicas[i]);
            return false;
        }
        first = hash;
        world->counts.replicas_compared += i > 0;
    }
    return true;
}

void
replicas_check_end(struct world *world)
{
    every_partition(world, is_equal, 0);
}
