/* What the files of this folder share; nobody else includes it.
 *
 *   image.c        what is held, and the primitive changes of it
 *   image_apply.c  records, checked
 *   image_undo.c   what was replaced, and how it comes back */
#ifndef DMQ_META_IMAGE_INTERNAL_H
#define DMQ_META_IMAGE_INTERNAL_H

#include "libdmq/base/assert.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/map.h"
#include "libdmq/meta/image.h"

/* A topic with its partitions; in undo lists also without an image. */
struct topic_node {
    struct image_topic topic; /* what queries return: first */
    struct uuid id;           /* the hash's key; the record may be replaced */
    struct partition_record **partitions;
    uint32_t partition_capacity;
    UT_hash_handle by_id;
};

enum undo_kind {
    UNDO_CLUSTER,       /* uuid */
    UNDO_PRODUCER_IDS,  /* next_producer_id */
    UNDO_BROKER,        /* number, old */
    UNDO_TOPIC_ADDED,   /* node */
    UNDO_TOPIC_CHANGED, /* node, old */
    UNDO_TOPIC_REMOVED, /* node, owned by the list */
    UNDO_PARTITION,     /* node, number, old */
    UNDO_SPENT,         /* spent */
    UNDO_VERSION        /* version, term */
};

/* How to take back one change. */
struct undo {
    enum undo_kind kind;
    struct topic_node *node;
    int32_t number; /* broker id, or partition */
    void *old;      /* the record that was replaced, owned by the list; NULL: there was none */
    struct uuid cluster_id;
    int64_t next_producer_id;
    struct request_spent_record spent; /* in whose place it came; number -1: in nobody's */
    int64_t version;
    int64_t term;
};

struct image {
    int64_t version;
    int64_t term;
    struct uuid cluster_id;
    int64_t next_producer_id;
    struct broker_record **brokers; /* in order of id */
    struct image_load *loads;       /* of the broker at the same index */
    uint32_t broker_count;
    uint32_t broker_capacity;
    uint32_t load_capacity;
    struct topic_node **topics; /* in order of name, but while loading */
    uint32_t topic_count;
    uint32_t topic_capacity;
    struct topic_node *by_id; /* the same topics */
    uint32_t partition_total;
    uint32_t leaderless_total;
    struct request_spent_record *spent; /* number n at index n % META_MAX_SPENT */
    uint32_t spent_count;
    uint32_t spent_capacity;
    int64_t next_spent;
    bool loading;          /* topics come in any order and are sorted at the end */
    uint64_t digest_sum;   /* of the rows' digests, modulo 2^64: independent of their order */
    struct outbuf scratch; /* one record, encoded, for its digest */
    struct undo *undo;     /* oldest first */
    size_t undo_count;
    size_t undo_capacity;
    bool undo_active;
};

/* ---- primitive changes: they keep order, counts and digest right, and check nothing ---------- */

void image_set_version(struct image *image, int64_t version, int64_t term);
void image_set_cluster(struct image *image, struct uuid cluster_id);
void image_set_producer_ids(struct image *image, int64_t next);

/* Its index must be known, or the next. Returns what was there; number -1: nothing. */
struct request_spent_record image_put_spent(struct image *image,
                                            const struct request_spent_record *record);
/* Takes the newest back: `old` stands in its place again. */
void image_take_spent(struct image *image, const struct request_spent_record *old);

/* Puts the record, or takes it away if NULL. Returns what was there, now the caller's. */
struct broker_record *image_set_broker(struct image *image, int32_t broker_id,
                                       struct broker_record *record);
struct partition_record *image_set_partition(struct image *image, struct topic_node *node,
                                             int32_t partition, struct partition_record *record);
struct topic_record *image_set_topic(struct image *image, struct topic_node *node,
                                     struct topic_record *record);

struct topic_node *topic_node_new(struct topic_record *record); /* takes it */
void topic_node_free(struct topic_node *node);
void image_link_topic(struct image *image, struct topic_node *node);
void image_unlink_topic(struct image *image, struct topic_node *node);
struct topic_node *image_find_node(const struct image *image, struct uuid topic_id);

/* Topics may be linked in any order and without looking at their names, until the end sorts them:
 * so 100,000 of them in order of id do not cost a shift each. False if a name stands twice. */
void image_loading_begin(struct image *image);
bool image_loading_end(struct image *image);

/* ---- undo ------------------------------------------------------------------------------------ */

/* Keeps it while an undo list is open, else frees what it owns. */
void image_note_undo(struct image *image, struct undo undo);

#endif
