/* Notes which rows records touch, and writes them as they are afterwards: an entity that was
 * touched and is gone is removed, so several changes of one row, or a change that was undone, cost
 * nothing in correctness. */
#include "libdmq/meta/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

size_t
meta_row_key(struct meta_row row, char key[META_ROW_KEY_SIZE])
{
    char id[UUID_TEXT_SIZE];
    int size = 0;
    switch (row.kind) {
    case META_ROW_BROKER:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "broker/%010" PRId32, row.number);
        break;
    case META_ROW_CLUSTER:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "cluster");
        break;
    case META_ROW_IDS:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "ids");
        break;
    case META_ROW_IMAGE:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "image");
        break;
    case META_ROW_SPENT:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "spent/%010" PRId32, row.number);
        break;
    case META_ROW_TOPIC:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "topic/%s",
                        uuid_text(row.topic_id, id));
        break;
    case META_ROW_PARTITION:
        size = snprintf(key, META_ROW_KEY_SIZE, META_ROW_PREFIX "topic/%s/%010" PRId32,
                        uuid_text(row.topic_id, id), row.number);
        break;
    }
    DMQ_ASSERT(size > 0 && size < META_ROW_KEY_SIZE);
    return (size_t)size;
}

void
meta_rows_deinit(struct meta_rows *rows)
{
    free(rows->rows);
    free(rows->ops);
    outbuf_deinit(&rows->bytes);
    *rows = (struct meta_rows){0};
}

/* ---- what is touched ------------------------------------------------------------------------- */

static void
note(struct meta_rows *rows, enum meta_row_kind kind, struct uuid topic_id, int32_t number)
{
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity < 16 ? 16 : rows->capacity * 2;
        rows->rows = realloc(rows->rows, rows->capacity * sizeof(*rows->rows));
        DMQ_ASSERT(rows->rows != NULL);
    }
    rows->rows[rows->count++] = (struct meta_row){kind, topic_id, number};
}

static void
note_topic(struct meta_rows *rows, const struct image_topic *topic)
{
    struct uuid topic_id = topic->record->topic_id;
    note(rows, META_ROW_TOPIC, topic_id, 0);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        note(rows, META_ROW_PARTITION, topic_id, (int32_t)i);
    }
}

void
meta_rows_touch(struct meta_rows *rows, const struct image *image, const struct meta_record *record)
{
    const struct uuid none = {0};
    const struct image_topic *topic;
    switch ((enum record_type)record->desc->type) {
    case RECORD_CLUSTER:
        note(rows, META_ROW_CLUSTER, none, 0);
        return;
    case RECORD_BROKER:
        note(rows, META_ROW_BROKER, none, record->u.broker.broker_id);
        return;
    case RECORD_BROKER_CHANGE:
        note(rows, META_ROW_BROKER, none, record->u.broker_change.broker_id);
        return;
    case RECORD_TOPIC:
        note(rows, META_ROW_TOPIC, record->u.topic.topic_id, 0);
        return;
    case RECORD_PARTITION:
        note(rows, META_ROW_PARTITION, record->u.partition.topic_id, record->u.partition.partition);
        return;
    case RECORD_TOPIC_REMOVED:
        topic = image_topic_by_id(image, record->u.topic_removed.topic_id);
        if (topic != NULL) {
            note_topic(rows, topic);
        }
        return;
    case RECORD_PRODUCER_IDS:
        note(rows, META_ROW_IDS, none, 0);
        return;
    case RECORD_REQUEST_SPENT:
        note(rows, META_ROW_SPENT, none,
             (int32_t)(record->u.request_spent.number % META_MAX_SPENT));
        return;
    case RECORD_IMAGE: /* meta_apply refuses it */
        return;
    }
    DMQ_UNREACHABLE();
}

void
meta_rows_touch_all(struct meta_rows *rows, const struct image *image)
{
    const struct uuid none = {0};
    note(rows, META_ROW_CLUSTER, none, 0);
    note(rows, META_ROW_IDS, none, 0);
    for (uint32_t i = 0; i < image_spent_count(image); i++) {
        note(rows, META_ROW_SPENT, none, (int32_t)i);
    }
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        note(rows, META_ROW_BROKER, none, image_broker_at(image, i)->broker_id);
    }
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        note_topic(rows, image_topic_at(image, i));
    }
}

/* ---- what is written ------------------------------------------------------------------------- */

static bool
encode_or_gone(struct outbuf *out, int type, const void *body)
{
    if (body == NULL) {
        return false;
    }
    record_encode(type, body, out);
    return true;
}

/* Appends the row's record; false if there is no such entity. */
static bool
encode_row(struct outbuf *out, const struct image *image, struct meta_row row)
{
    const struct cluster_record cluster = {image_cluster_id(image)};
    const struct producer_ids_record ids = {-1, -1, image_next_producer_id(image)};
    const struct image_record whole = {image_version(image), image_term(image),
                                       (int64_t)image_digest(image)};
    const struct image_topic *topic;
    switch (row.kind) {
    case META_ROW_BROKER:
        return encode_or_gone(out, RECORD_BROKER, image_broker(image, row.number));
    case META_ROW_CLUSTER:
        return encode_or_gone(out, RECORD_CLUSTER,
                              uuid_is_zero(cluster.cluster_id) ? NULL : &cluster);
    case META_ROW_IDS:
        return encode_or_gone(out, RECORD_PRODUCER_IDS, ids.next_producer_id == 0 ? NULL : &ids);
    case META_ROW_IMAGE:
        return encode_or_gone(out, RECORD_IMAGE, &whole);
    case META_ROW_SPENT:
        return encode_or_gone(out, RECORD_REQUEST_SPENT,
                              (uint32_t)row.number < image_spent_count(image)
                                  ? image_spent_at(image, (uint32_t)row.number)
                                  : NULL);
    case META_ROW_TOPIC:
        topic = image_topic_by_id(image, row.topic_id);
        return encode_or_gone(out, RECORD_TOPIC, topic != NULL ? topic->record : NULL);
    case META_ROW_PARTITION:
        return encode_or_gone(out, RECORD_PARTITION,
                              image_partition(image, row.topic_id, row.number));
    }
    DMQ_UNREACHABLE();
}

/* Appends key and value, and an op whose views are made when the bytes no longer move. */
static void
add_op(struct meta_rows *rows, const struct image *image, struct meta_row row)
{
    char key[META_ROW_KEY_SIZE];
    size_t key_size = meta_row_key(row, key);
    outbuf_put(&rows->bytes, key, key_size);
    size_t before = rows->bytes.size;
    bool there = encode_row(&rows->bytes, image, row);
    rows->ops[rows->op_count++] = (struct kv_op){
        .key = {NULL, key_size}, .value = {NULL, rows->bytes.size - before}, .remove = !there};
}

void
meta_rows_encode(struct meta_rows *rows, const struct image *image)
{
    size_t most = rows->count + 1;
    if (rows->op_capacity < most) {
        free(rows->ops);
        rows->ops = calloc(most, sizeof(*rows->ops));
        DMQ_ASSERT(rows->ops != NULL);
        rows->op_capacity = most;
    }
    rows->op_count = 0;
    outbuf_clear(&rows->bytes);
    for (size_t i = 0; i < rows->count; i++) {
        add_op(rows, image, rows->rows[i]);
    }
    add_op(rows, image, (struct meta_row){.kind = META_ROW_IMAGE});
    DMQ_ASSERT(rows->op_count == most && !rows->bytes.failed);

    const uint8_t *next = rows->bytes.data;
    for (size_t i = 0; i < rows->op_count; i++) {
        rows->ops[i].key.data = next;
        rows->ops[i].value.data = next + rows->ops[i].key.size;
        next += rows->ops[i].key.size + rows->ops[i].value.size;
    }
    DMQ_ASSERT(next == rows->bytes.data + rows->bytes.size);
}
