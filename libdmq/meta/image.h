/* The metadata image: what the committed records add up to. Controller and brokers run this same
 * code, without input or output, so that at the same version they hold the same image.
 *
 * Rules:
 * - Records change it, through meta_apply, and nothing else does. meta_apply checks a record
 *   against the image first and changes nothing when it refuses one.
 * - The image owns copies of everything. What a query returns is const and lives until the next
 *   change of the image.
 * - Its version is the committed index of the metadata log; it rises by one per entry.
 * - Changes can be undone (meta_undo_*): the controller decides requests against its working image
 *   before they are committed.
 * - Lack of memory ends the process, as everywhere in the daemons. */
#ifndef DMQ_META_IMAGE_H
#define DMQ_META_IMAGE_H

#include "libdmq/meta/topic_config.h"
#include "libdmq/wire/codec.h"

/* So much fits into one snapshot and one answer (limits of messages.def). */
#define META_MAX_BROKERS 10000
#define META_MAX_TOPICS 100000
#define META_MAX_PARTITIONS_PER_TOPIC 100000
#define META_MAX_PARTITIONS 800000 /* of all topics together */
#define META_MAX_REPLICAS 64
#define META_MAX_SPENT 10000 /* requests whose topics were deleted: more than come late */

/* Ids from here on belong to producers that name themselves (REST). */
#define META_PRODUCER_ID_END (INT64_C(1) << 62)

/* A topic. partitions[n] is partition n. */
struct image_topic {
    const struct topic_record *record;
    struct topic_config config; /* record->config with the defaults filled in */
    const struct partition_record *const *partitions;
    uint32_t partition_count;
};

struct image; /* opaque: image_*.c */

struct image *image_new(void);
void image_free(struct image *image);

/* ---- queries --------------------------------------------------------------------------------- */

int64_t image_version(const struct image *image); /* 0: empty */
int64_t image_term(const struct image *image);
struct uuid image_cluster_id(const struct image *image); /* zero: not formed */
int64_t image_next_producer_id(const struct image *image);

/* Equal on every node that is at the same version and term, in practice on no others. Cheap: it is
 * kept up to date with each record. */
uint64_t image_digest(const struct image *image);

/* Whether a topic that this request created was deleted since, as far as that is remembered. */
bool image_request_spent(const struct image *image, struct uuid request_id);
int64_t image_next_spent(const struct image *image); /* number of the next one */

/* Those that are remembered: index in [0, count). */
uint32_t image_spent_count(const struct image *image);
const struct request_spent_record *image_spent_at(const struct image *image, uint32_t index);

/* NULL if unknown. */
const struct broker_record *image_broker(const struct image *image, int32_t broker_id);
const struct image_topic *image_topic_by_name(const struct image *image, struct bytes name);
const struct image_topic *image_topic_by_id(const struct image *image, struct uuid topic_id);
const struct partition_record *image_partition(const struct image *image, struct uuid topic_id,
                                               int32_t partition);

/* Brokers in order of id, topics in order of name: index in [0, count). */
uint32_t image_broker_count(const struct image *image);
const struct broker_record *image_broker_at(const struct image *image, uint32_t index);
uint32_t image_topic_count(const struct image *image);
const struct image_topic *image_topic_at(const struct image *image, uint32_t index);

/* Partitions of all topics together, and those of them without a leader. */
uint32_t image_partition_total(const struct image *image);
uint32_t image_leaderless_total(const struct image *image);

/* What a broker has to do with partitions; index as in image_broker_at. Kept up to date with each
 * record, so that whoever places a topic need not look at all others. */
struct image_load {
    uint32_t replicas;  /* that it stores */
    uint32_t preferred; /* of these, where it is the preferred leader */
};
struct image_load image_load_at(const struct image *image, uint32_t index);

/* ---- changes --------------------------------------------------------------------------------- */

/* Applies one record; the version stays (meta_advance). A record may point into what it replaces,
 * which is gone afterwards unless an undo list is open: encode it first. DMQ_ERR_INVALID_REQUEST,
 * with nothing changed, if it does not fit the image:
 *   cluster         once only
 *   broker          id >= 0; a broker epoch that does not fall
 *   broker_change   a registered broker, its present epoch
 *   topic           a good name; a new id with a name that is free, or a known id with its name
 *   partition       a known topic; the next number or a known one; registered replicas, each once;
 *                   ISR and ELR from the replicas and apart; leader from the ISR or -1; a leader
 *                   epoch that does not fall, a partition epoch that rises by each change
 *   topic_removed   a known topic; its partitions go with it
 *   producer_ids    a next id that does not fall; a registered broker with its epoch, or -1
 *   request_spent   the next number; in a snapshot what is remembered, by number modulo its most */
dmq_err meta_apply(struct image *image, const struct meta_record *record, struct err_msg *err);

/* The same from a record of the table: body is a struct of its type. */
dmq_err meta_apply_body(struct image *image, int type, const void *body, struct err_msg *err);

/* What was applied since the last advance is version, in term. version == image_version + 1. */
void meta_advance(struct image *image, int64_t version, int64_t term);

/* ---- undo ------------------------------------------------------------------------------------ */

/* From here on the image keeps what each record replaced. Not nested. */
void meta_undo_begin(struct image *image);
bool meta_undo_active(const struct image *image);

/* A place to go back to. */
size_t meta_undo_mark(const struct image *image);

/* Undoes what was applied since the mark; the list goes on. */
void meta_undo_rollback_to(struct image *image, size_t mark);

/* Undoes everything since begin, version included, and ends the list. */
void meta_undo_rollback(struct image *image);

/* Keeps everything and ends the list. */
void meta_undo_commit(struct image *image);

#endif
