/* The image as rows of a key-value store, one per entity, so that a change rewrites only what it
 * touched:
 *
 *   meta/broker/<id, 10 digits>               broker record
 *   meta/cluster                              cluster record
 *   meta/ids                                  producer_ids record (broker -1)
 *   meta/image                                image record: version, term, digest of all this
 *   meta/spent/<n, 10 digits>                 request_spent record; n: number modulo the most kept
 *   meta/topic/<topic id>                     topic record
 *   meta/topic/<topic id>/<n, 10 digits>      partition record
 *
 * A value is a record of messages.def, [type, version, fields]. In order of keys each row rests
 * only on rows before it. */
#ifndef DMQ_META_ROWS_H
#define DMQ_META_ROWS_H

#include "libdmq/base/buf.h"
#include "libdmq/base/kv.h"
#include "libdmq/meta/image.h"

#define META_ROW_PREFIX "meta/"
#define META_ROW_KEY_SIZE 64 /* with the terminator */

enum meta_row_kind {
    META_ROW_BROKER,
    META_ROW_CLUSTER,
    META_ROW_IDS,
    META_ROW_IMAGE,
    META_ROW_SPENT,
    META_ROW_TOPIC,
    META_ROW_PARTITION
};

/* Names one entity. */
struct meta_row {
    enum meta_row_kind kind;
    struct uuid topic_id; /* topic, partition */
    int32_t number;       /* broker id, partition, or place of a spent request */
};

/* The key as text; returns its size. */
size_t meta_row_key(struct meta_row row, char key[META_ROW_KEY_SIZE]);

/* The entities that applied records touched, in order, maybe twice. Also tells a broker what to
 * look at after a push. Zero is an empty one. */
struct meta_rows {
    struct meta_row *rows;
    size_t count;
    size_t capacity;
    struct outbuf bytes; /* keys and values of ops */
    struct kv_op *ops;
    size_t op_count;
    size_t op_capacity;
};

void meta_rows_deinit(struct meta_rows *rows);

/* Notes what a record will touch. To be called before it is applied, while a topic that it removes
 * still has its partitions. */
void meta_rows_touch(struct meta_rows *rows, const struct image *image,
                     const struct meta_record *record);

/* Notes every row that the image has. */
void meta_rows_touch_all(struct meta_rows *rows, const struct image *image);

/* Fills rows->ops: the present state of each row noted (a put, or a remove where the entity is
 * gone), and the image row. The views live until rows changes. */
void meta_rows_encode(struct meta_rows *rows, const struct image *image);

/* Builds the image that the store holds; an empty one if there are no rows. DMQ_ERR_DAMAGED if a
 * row is bad or missing (the digest in the image row tells), DMQ_ERR_UNSUPPORTED_VERSION if a newer
 * program wrote it, or what the store returns. */
dmq_err meta_rows_load(struct kv *kv, struct image **ret_image, struct err_msg *err);

#endif
