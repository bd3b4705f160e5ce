#include <stdlib.h>

#include "broker/core/partition.h"

/* Rows of the store that belong to logs:
 *
 *   key    "log/" <topic id, 16 bytes> <partition, 4 bytes, big-endian> <kind, 1 byte>
 *   kind   m mark, below; e leader-epoch entries and p producer snapshot, as plog writes them;
 *          r nothing: the topic was deleted, and the log's folder is to be removed
 *
 *   mark   version 1 byte (2) · flags 1 byte (1: closed cleanly; 2: known to be damaged) ·
 *          segment 8 · position 8 · offset 8 · epoch 4 · high watermark 8 · log start 8,
 *          big-endian; version 1 ends before the log start, which is 0 then */

#define KEY_PREFIX "log/"
#define KEY_PREFIX_SIZE 4
#define KEY_SIZE (KEY_PREFIX_SIZE + 16 + 4 + 1)
#define MARK_SIZE 46
#define MARK_VERSION 2
#define MARK_SIZE_1 38
#define MARK_CLEAN 1
#define MARK_DAMAGED 2

/* ---- keys and values ------------------------------------------------------------------------- */

static void
encode_key(struct partition_key key, enum log_row_kind kind, uint8_t out[KEY_SIZE])
{
    memcpy(out, KEY_PREFIX, KEY_PREFIX_SIZE);
    memcpy(out + 4, key.topic_id.b, 16);
    put_be32(out + 20, (uint32_t)key.partition);
    out[24] = (uint8_t)kind;
}

bool
mark_row_decode(struct bytes value, struct mark_row *ret_row)
{
    const uint8_t *p = value.data;
    bool current = value.size == MARK_SIZE && p[0] == MARK_VERSION;
    if (!current && (value.size != MARK_SIZE_1 || p[0] != 1)) {
        return false;
    }
    *ret_row = (struct mark_row){.clean = (p[1] & MARK_CLEAN) != 0,
                                 .damaged = (p[1] & MARK_DAMAGED) != 0,
                                 .mark = {.segment = (int64_t)get_be64(p + 2),
                                          .pos = get_be64(p + 10),
                                          .offset = (int64_t)get_be64(p + 18),
                                          .epoch = (int32_t)get_be32(p + 26)},
                                 .high_watermark = (int64_t)get_be64(p + 30),
                                 .start = current ? (int64_t)get_be64(p + 38) : 0};
    return true;
}

static void
mark_row_encode(const struct mark_row *row, uint8_t out[MARK_SIZE])
{
    out[0] = MARK_VERSION;
    out[1] = (uint8_t)((row->clean ? MARK_CLEAN : 0) | (row->damaged ? MARK_DAMAGED : 0));
    put_be64(out + 2, (uint64_t)row->mark.segment);
    put_be64(out + 10, row->mark.pos);
    put_be64(out + 18, (uint64_t)row->mark.offset);
    put_be32(out + 26, (uint32_t)row->mark.epoch);
    put_be64(out + 30, (uint64_t)row->high_watermark);
    put_be64(out + 38, (uint64_t)row->start);
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct log_rows *
rows_of(struct brk *brk, struct partition_key key)
{
    struct log_rows *rows;
    HASH_FIND(hh, brk->log_rows, &key, sizeof(key), rows);
    if (rows == NULL) {
        rows = brk_alloc(sizeof(*rows));
        rows->key = key;
        HASH_ADD(hh, brk->log_rows, key, sizeof(rows->key), rows);
    }
    return rows;
}

dmq_err
rows_load(struct brk *brk, const struct brk_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes key = rows[i].key;
        struct mark_row mark;
        if (key.size != KEY_SIZE || memcmp(key.data, KEY_PREFIX, KEY_PREFIX_SIZE) != 0) {
            return DMQ_ERR_DAMAGED;
        }
        struct partition_key log = {.partition = (int32_t)get_be32(key.data + 20)};
        memcpy(log.topic_id.b, key.data + 4, 16);
        struct log_rows *of = rows_of(brk, log);
        if (key.data[24] == LOG_ROW_REMOVED && !of->removed) {
            of->removed = true;
            continue;
        }
        struct buf *value = buf_copy(rows[i].value);
        DMQ_ASSERT(value != NULL);
        struct buf **place = key.data[24] == LOG_ROW_MARK        ? &of->mark
                             : key.data[24] == LOG_ROW_EPOCHS    ? &of->epochs
                             : key.data[24] == LOG_ROW_PRODUCERS ? &of->producers
                                                                 : NULL;
        if (place == NULL || *place != NULL ||
            (place == &of->mark && !mark_row_decode(rows[i].value, &mark))) {
            buf_unref(value);
            return DMQ_ERR_DAMAGED;
        }
        *place = value;
        brk->unclean = brk->unclean || (place == &of->mark && !mark.clean);
    }
    return DMQ_OK;
}

struct log_rows *
rows_take(struct brk *brk, struct partition_key key)
{
    struct log_rows *rows;
    HASH_FIND(hh, brk->log_rows, &key, sizeof(key), rows);
    if (rows != NULL) {
        HASH_DEL(brk->log_rows, rows);
    }
    return rows;
}

void
rows_free(struct log_rows *rows)
{
    buf_unref(rows->mark);
    buf_unref(rows->epochs);
    buf_unref(rows->producers);
    free(rows);
}

void
rows_set_removed(struct brk *brk, struct partition_key key)
{
    rows_of(brk, key)->removed = true;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Notes a position in batch->bytes: it may still move. */
static struct bytes
keep(struct kv_batch *batch, struct bytes bytes)
{
    size_t at = batch->bytes.size;
    outbuf_put(&batch->bytes, bytes.data, bytes.size);
    return (struct bytes){(const uint8_t *)(uintptr_t)at, bytes.size};
}

static struct kv_op *
add(struct kv_batch *batch)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 16 : batch->capacity * 2;
        batch->ops = realloc(batch->ops, batch->capacity * sizeof(*batch->ops));
        DMQ_ASSERT(batch->ops != NULL);
    }
    struct kv_op *op = &batch->ops[batch->count++];
    *op = (struct kv_op){.remove = false};
    return op;
}

void
kv_batch_put(struct kv_batch *batch, struct bytes key, struct bytes value)
{
    struct kv_op *op = add(batch);
    op->key = keep(batch, key);
    op->value = keep(batch, value);
}

void
kv_batch_remove(struct kv_batch *batch, struct bytes key)
{
    struct kv_op *op = add(batch);
    op->key = keep(batch, key);
    op->remove = true;
}

void
kv_batch_log_row(struct kv_batch *batch, struct partition_key key, enum log_row_kind kind,
                 struct bytes value)
{
    uint8_t row_key[KEY_SIZE];
    encode_key(key, kind, row_key);
    kv_batch_put(batch, bytes_of(row_key, sizeof(row_key)), value);
}

void
kv_batch_mark(struct kv_batch *batch, struct partition_key key, const struct mark_row *row)
{
    uint8_t value[MARK_SIZE];
    mark_row_encode(row, value);
    kv_batch_log_row(batch, key, LOG_ROW_MARK, bytes_of(value, sizeof(value)));
}

void
kv_batch_remove_log_row(struct kv_batch *batch, struct partition_key key, enum log_row_kind kind)
{
    uint8_t row_key[KEY_SIZE];
    encode_key(key, kind, row_key);
    kv_batch_remove(batch, bytes_of(row_key, sizeof(row_key)));
}

void
kv_batch_remove_log(struct kv_batch *batch, struct partition_key key)
{
    static const enum log_row_kind kinds[] = {LOG_ROW_MARK, LOG_ROW_EPOCHS, LOG_ROW_PRODUCERS};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        kv_batch_remove_log_row(batch, key, kinds[i]);
    }
}

struct kv_pending *
kv_batch_emit(struct brk *brk, struct kv_batch *batch, enum kv_purpose purpose, bool sync)
{
    DMQ_ASSERT(!batch->bytes.failed);
    for (size_t i = 0; i < batch->count; i++) {
        struct kv_op *op = &batch->ops[i];
        op->key.data = batch->bytes.data + (uintptr_t)op->key.data;
        op->value.data = op->remove ? NULL : batch->bytes.data + (uintptr_t)op->value.data;
    }
    struct kv_pending *pending = brk_alloc(sizeof(*pending));
    pending->id = ++brk->last_effect_id;
    pending->purpose = purpose;
    list_append(&brk->kv_pending, &pending->link);
    struct brk_effect *effect = brk_emit(brk, BRK_KV_WRITE);
    effect->u.kv.id = pending->id;
    effect->u.kv.ops = batch->ops;
    effect->u.kv.count = batch->count;
    effect->u.kv.memory = batch->bytes.data;
    effect->u.kv.sync = sync;
    return pending;
}
