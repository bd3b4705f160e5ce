/* The rows of all that can never be lost are `base`; the batches since follow in order. What is
 * seen is `now`: base with all of them. */
#include "tests/sim/simkv.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/base/rng.h"

struct row {
    struct buf *key;
    struct buf *value; /* NULL in a batch: removed */
};

/* Rows; in a table in order of keys, in a batch in order of operations. */
struct rows {
    struct row *items;
    size_t count;
    size_t capacity;
};

struct batch {
    struct rows rows;
    bool synced; /* it, or a later one */
};

struct simkv {
    struct kv kv; /* first: a struct kv * is one of these */
    struct rows base;
    struct rows now;
    struct batch *batches;
    size_t batch_count;
    size_t batch_capacity;
    uint64_t die_after;
    bool open;
    struct simkv_counts counts;
};

/* ---- rows ------------------------------------------------------------------------------------ */

static struct row *
insert_at(struct rows *rows, size_t i)
{
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        rows->items = realloc(rows->items, rows->capacity * sizeof(*rows->items));
        DMQ_ASSERT(rows->items != NULL);
    }
    memmove(rows->items + i + 1, rows->items + i, (rows->count - i) * sizeof(*rows->items));
    rows->count++;
    return &rows->items[i];
}

static void
row_unref(struct row *row)
{
    buf_unref(row->key);
    buf_unref(row->value);
}

static struct row
row_ref(const struct row *row)
{
    return (struct row){buf_ref(row->key), row->value == NULL ? NULL : buf_ref(row->value)};
}

static void
rows_deinit(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        row_unref(&rows->items[i]);
    }
    free(rows->items);
    *rows = (struct rows){NULL, 0, 0};
}

static void
rows_copy(struct rows *to, const struct rows *from)
{
    rows_deinit(to);
    for (size_t i = 0; i < from->count; i++) {
        *insert_at(to, i) = row_ref(&from->items[i]);
    }
}

static int
compare(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* The first row whose key is not below key. */
static size_t
lower_bound(const struct rows *table, struct bytes key)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(buf_bytes(table->items[middle].key), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
apply_row(struct rows *table, const struct row *row)
{
    size_t i = lower_bound(table, buf_bytes(row->key));
    bool there =
        i < table->count && compare(buf_bytes(table->items[i].key), buf_bytes(row->key)) == 0;
    if (there) {
        row_unref(&table->items[i]);
        if (row->value == NULL) {
            table->count--;
            memmove(table->items + i, table->items + i + 1,
                    (table->count - i) * sizeof(*table->items));
            return;
        }
        table->items[i] = row_ref(row);
    } else if (row->value != NULL) {
        *insert_at(table, i) = row_ref(row);
    }
}

static void
apply(struct rows *table, const struct rows *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        apply_row(table, &batch->items[i]);
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

static void
drop_batches_from(struct simkv *store, size_t first)
{
    while (store->batch_count > first) {
        rows_deinit(&store->batches[--store->batch_count].rows);
    }
}

/* Folds the oldest batches into the base, but for those that can still be lost. */
static void
fold(struct simkv *store)
{
    size_t synced = 0;
    while (synced < store->batch_count && store->batches[synced].synced) {
        synced++;
    }
    if (synced < 2 * SIMKV_MEMORY) {
        return;
    }
    size_t count = synced - SIMKV_MEMORY;
    for (size_t i = 0; i < count; i++) {
        apply(&store->base, &store->batches[i].rows);
        rows_deinit(&store->batches[i].rows);
    }
    store->batch_count -= count;
    memmove(store->batches, store->batches + count, store->batch_count * sizeof(struct batch));
}

static void
rebuild(struct simkv *store)
{
    rows_copy(&store->now, &store->base);
    for (size_t i = 0; i < store->batch_count; i++) {
        apply(&store->now, &store->batches[i].rows);
    }
}

static struct batch *
add_batch(struct simkv *store)
{
    if (store->batch_count == store->batch_capacity) {
        store->batch_capacity = store->batch_capacity == 0 ? 32 : store->batch_capacity * 2;
        store->batches = realloc(store->batches, store->batch_capacity * sizeof(struct batch));
        DMQ_ASSERT(store->batches != NULL);
    }
    struct batch *batch = &store->batches[store->batch_count++];
    *batch = (struct batch){.synced = false};
    return batch;
}

/* ---- kv.h ------------------------------------------------------------------------------------ */

static bool
is_dead(struct simkv *store)
{
    if (store->die_after > 0) {
        return false;
    }
    store->counts.failed++;
    return true;
}

static dmq_err
simkv_write(struct kv *kv, const struct kv_op *ops, size_t count, bool sync)
{
    struct simkv *store = (struct simkv *)kv;
    DMQ_ASSERT(store->open);
    if (is_dead(store)) {
        return DMQ_ERR_IO;
    }
    store->die_after -= store->die_after == UINT64_MAX ? 0 : 1;
    store->counts.writes++;
    store->counts.synced_writes += sync ? 1 : 0;
    struct batch *batch = add_batch(store);
    for (size_t i = 0; i < count; i++) {
        struct row row = {buf_copy(ops[i].key), ops[i].remove ? NULL : buf_copy(ops[i].value)};
        DMQ_ASSERT(row.key != NULL && (ops[i].remove || row.value != NULL));
        *insert_at(&batch->rows, i) = row;
    }
    apply(&store->now, &batch->rows);
    for (size_t i = 0; sync && i < store->batch_count; i++) {
        store->batches[i].synced = true;
    }
    fold(store);
    return DMQ_OK;
}

static dmq_err
simkv_scan(struct kv *kv, struct bytes prefix,
           dmq_err (*found)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    struct simkv *store = (struct simkv *)kv;
    DMQ_ASSERT(store->open);
    if (is_dead(store)) {
        return DMQ_ERR_IO;
    }
    store->counts.scans++;
    dmq_err err = DMQ_OK;
    for (size_t i = lower_bound(&store->now, prefix); err == DMQ_OK && i < store->now.count; i++) {
        struct bytes key = buf_bytes(store->now.items[i].key);
        if (key.size < prefix.size || !bytes_equal(prefix, bytes_of(key.data, prefix.size))) {
            break;
        }
        err = found(arg, key, buf_bytes(store->now.items[i].value));
    }
    return err;
}

static void
simkv_close(struct kv *kv)
{
    struct simkv *store = (struct simkv *)kv;
    DMQ_ASSERT(store->open);
    store->open = false;
    store->die_after = UINT64_MAX;
}

/* ---- the store ------------------------------------------------------------------------------- */

struct simkv *
simkv_new(void)
{
    static const struct kv_ops ops = {simkv_write, simkv_scan, simkv_close};
    struct simkv *store = calloc(1, sizeof(*store));
    DMQ_ASSERT(store != NULL);
    store->kv.ops = &ops;
    store->die_after = UINT64_MAX;
    return store;
}

void
simkv_free(struct simkv *store)
{
    if (store == NULL) {
        return;
    }
    drop_batches_from(store, 0);
    free(store->batches);
    rows_deinit(&store->base);
    rows_deinit(&store->now);
    free(store);
}

struct kv *
simkv_open(struct simkv *store)
{
    DMQ_ASSERT(!store->open);
    store->open = true;
    return &store->kv;
}

struct simkv *
simkv_clone(const struct simkv *store)
{
    struct simkv *clone = simkv_new();
    rows_copy(&clone->base, &store->base);
    for (size_t i = 0; i < store->batch_count; i++) {
        struct batch *batch = add_batch(clone);
        batch->synced = store->batches[i].synced;
        rows_copy(&batch->rows, &store->batches[i].rows);
    }
    rebuild(clone);
    clone->counts = store->counts;
    return clone;
}

/* Everything that is left is durable from now on. */
static void
settle(struct simkv *store)
{
    for (size_t i = 0; i < store->batch_count; i++) {
        store->batches[i].synced = true;
    }
    rebuild(store);
    store->open = false;
    store->die_after = UINT64_MAX;
    store->counts.crashes++;
}

void
simkv_crash(struct simkv *store, uint64_t seed)
{
    struct rng rng;
    size_t synced = 0;
    rng_init(&rng, seed);
    while (synced < store->batch_count && store->batches[synced].synced) {
        synced++;
    }
    size_t kept = (size_t)rng_below(&rng, store->batch_count - synced + 1);
    store->counts.batches_kept += kept;
    store->counts.batches_lost += store->batch_count - synced - kept;
    drop_batches_from(store, synced + kept);
    settle(store);
}

void
simkv_drop_tail(struct simkv *store, size_t count)
{
    size_t synced = 0;
    while (synced < store->batch_count && store->batches[synced].synced) {
        synced++;
    }
    count = count < synced ? count : synced;
    store->counts.batches_lost += store->batch_count - synced;
    store->counts.synced_batches_dropped += count;
    drop_batches_from(store, synced - count);
    settle(store);
}

void
simkv_die_after(struct simkv *store, uint64_t count)
{
    store->die_after = count;
}

size_t
simkv_rows(const struct simkv *store)
{
    return store->now.count;
}

uint64_t
simkv_digest(const struct simkv *store)
{
    uint64_t digest = store->now.count;
    for (size_t i = 0; i < store->now.count; i++) {
        const struct row *row = &store->now.items[i];
        digest = (digest ^ crc32c(1, row->key->data, row->key->size)) * UINT64_C(0x100000001b3);
        digest = (digest ^ row->value->size) * UINT64_C(0x100000001b3);
        digest = (digest ^ crc32c(2, row->value->data, row->value->size)) * UINT64_C(0x100000001b3);
    }
    return digest;
}

const struct simkv_counts *
simkv_counts(const struct simkv *store)
{
    return &store->counts;
}
