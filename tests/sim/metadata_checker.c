/* What must hold of the metadata, on whatever controller or broker it is seen: one image for each
 * version, ids and epochs that are given once. Of partitions: replicas.c. */
#include "broker/core/brk.h"
#include "controller/core/ctl.h"
#include "libdmq/base/map.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>

struct seen_version {
    bool known;
    int64_t term;
    uint64_t digest;
};

struct seen_topic {
    UT_hash_handle hh;
    struct uuid id;
    struct uuid request_id;
    bool gone;
    int64_t version; /* of the image that it was seen in last */
};

struct seen_epoch {
    UT_hash_handle hh;
    struct {
        int64_t broker_id;
        int64_t epoch;
    } key;
    struct uuid incarnation;
};

struct metadata_checker {
    struct seen_version *versions;
    int64_t capacity;
    int64_t newest; /* whose image was looked at */
    struct seen_topic *topics;
    struct seen_epoch *epochs;
};

struct metadata_checker *
metadata_checker_new(void)
{
    struct metadata_checker *checker = calloc(1, sizeof(*checker));
    DMQ_ASSERT(checker != NULL);
    return checker;
}

void
metadata_checker_free(struct metadata_checker *checker)
{
    struct seen_topic *topic;
    struct seen_topic *next_topic;
    HASH_ITER (hh, checker->topics, topic, next_topic) {
        HASH_DEL(checker->topics, topic);
        free(topic);
    }
    struct seen_epoch *epoch;
    struct seen_epoch *next_epoch;
    HASH_ITER (hh, checker->epochs, epoch, next_epoch) {
        HASH_DEL(checker->epochs, epoch);
        free(epoch);
    }
    free(checker->versions);
    free(checker);
}

/* ---- one image for each version -------------------------------------------------------------- */

static struct seen_version *
version_of(struct metadata_checker *checker, int64_t version)
{
    if (version >= checker->capacity) {
        int64_t capacity = 2 * version + 1024;
        checker->versions =
            realloc(checker->versions, (size_t)capacity * sizeof(*checker->versions));
        DMQ_ASSERT(checker->versions != NULL);
        memset(checker->versions + checker->capacity, 0,
               (size_t)(capacity - checker->capacity) * sizeof(*checker->versions));
        checker->capacity = capacity;
    }
    return &checker->versions[version];
}

static void
check_version(struct process *p, int64_t version, int64_t term, uint64_t digest)
{
    char name[24];
    struct world *world = p->world;
    struct seen_version *seen = version_of(world->metadata, version);
    if (!seen->known) {
        *seen = (struct seen_version){.known = true, .term = term, .digest = digest};
        world->counts.versions++;
    } else if (seen->digest != digest || seen->term != term) {
        world_fail(world, "%s has another image at version %" PRId64, process_name(p, name),
                   version);
    }
}

/* ---- ids and epochs are given once ----------------------------------------------------------- */

static void
check_topic(struct world *world, const struct topic_record *record, int64_t version)
{
    struct seen_topic *seen;
    HASH_FIND(hh, world->metadata->topics, &record->topic_id, sizeof(seen->id), seen);
    if (seen == NULL) {
        seen = calloc(1, sizeof(*seen));
        DMQ_ASSERT(seen != NULL);
        seen->id = record->topic_id;
        seen->request_id = record->request_id;
        HASH_ADD(hh, world->metadata->topics, id, sizeof(seen->id), seen);
    }
    if (seen->gone || !uuid_equal(seen->request_id, record->request_id)) {
        world_fail(world, "a topic id is used twice, in version %" PRId64, version);
    }
    seen->version = version;
}

static void
check_epoch(struct world *world, const struct broker_record *broker)
{
    struct seen_epoch *seen;
    struct seen_epoch key = {.key = {broker->broker_id, broker->broker_epoch}};
    HASH_FIND(hh, world->metadata->epochs, &key.key, sizeof(key.key), seen);
    if (seen == NULL) {
        seen = calloc(1, sizeof(*seen));
        DMQ_ASSERT(seen != NULL);
        seen->key.broker_id = broker->broker_id;
        seen->key.epoch = broker->broker_epoch;
        seen->incarnation = broker->incarnation;
        HASH_ADD(hh, world->metadata->epochs, key, sizeof(seen->key), seen);
        world->counts.registrations++;
    } else if (!uuid_equal(seen->incarnation, broker->incarnation)) {
        world_fail(world, "epoch %" PRId64 " of broker %" PRId32 " was given twice",
                   broker->broker_epoch, broker->broker_id);
    }
}

/* ---- an image -------------------------------------------------------------------------------- */

static void
forget_topics(struct metadata_checker *checker, int64_t version)
{
    for (struct seen_topic *topic = checker->topics; topic != NULL; topic = topic->hh.next) {
        topic->gone |= topic->version != version;
    }
}

static void
look_at(struct world *world, const struct image *image)
{
    int64_t version = image_version(image);
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        check_epoch(world, image_broker_at(image, i));
    }
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        check_topic(world, topic->record, version);
    }
    forget_topics(world->metadata, version);
    world->metadata->newest = version;
    replicas_image(world, image);
}

/* Its image and that it is committed; NULL: none now. A leading controller's is ahead while an
 * entry is on its way. */
static const struct image *
committed_image(const struct process *p)
{
    if (p->kind == PROCESS_BROKER) {
        return p->alive ? p->brk->image : NULL;
    }
    bool committed = p->kind == PROCESS_CONTROLLER && p->alive && p->ctl->image != NULL &&
                     image_version(p->ctl->image) == p->ctl->version &&
                     p->ctl->batch.state != BATCH_OPEN;
    return committed ? p->ctl->image : NULL;
}

const struct image *
metadata_newest(struct world *world)
{
    const struct image *newest = NULL;
    for (int i = 0; i < world->process_count; i++) {
        const struct image *image = committed_image(world->processes[i]);
        if (image != NULL && (newest == NULL || image_version(image) > image_version(newest))) {
            newest = image;
        }
    }
    return newest;
}

void
metadata_check(struct process *p)
{
    const struct image *image = committed_image(p);
    if (image == NULL) {
        return;
    }
    int64_t version = image_version(image);
    if (version < p->checked_version) {
        world_fail(p->world, "the version of process %" PRId32 " fell", p->id);
    }
    if (version > p->checked_version) {
        p->checked_version = version;
        check_version(p, version, image_term(image), image_digest(image));
    }
    if (version > p->world->metadata->newest) {
        look_at(p->world, image);
    }
    if (p->kind == PROCESS_BROKER && p->brk->persisted_version > p->told_version) {
        p->told_version = p->brk->persisted_version;
    }
}
