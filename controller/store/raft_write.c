/* A write of Raft as one batch of rows, and then the second copy. Which rows there are is known, so
 * that nothing is looked up: a write costs by what it changes. */
#include <stdlib.h>

#include "controller/store/internal.h"

/* ---- a batch of rows ------------------------------------------------------------------------- */

struct batch {
    struct kv_op *ops;
    struct row_key *keys; /* of the op in the same place */
    struct buf **encoded; /* its value, if it was made for this; else NULL */
    size_t count;
    size_t capacity;
};

static void
open_batch(struct batch *batch, size_t capacity)
{
    *batch = (struct batch){.ops = calloc(capacity, sizeof(*batch->ops)),
                            .keys = calloc(capacity, sizeof(*batch->keys)),
                            .encoded = calloc(capacity, sizeof(struct buf *)),
                            .capacity = capacity};
    DMQ_ASSERT(batch->ops != NULL && batch->keys != NULL && batch->encoded != NULL);
}

static void
close_batch(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        buf_unref(batch->encoded[i]);
    }
    free(batch->ops);
    free(batch->keys);
    free(batch->encoded);
}

static struct kv_op *
add_op(struct batch *batch, struct row_key key)
{
    size_t i = batch->count++;
    DMQ_ASSERT(i < batch->capacity);
    batch->keys[i] = key;
    batch->ops[i].key = bytes_of(batch->keys[i].data, key.size);
    return &batch->ops[i];
}

static void
put_encoded(struct batch *batch, struct row_key key, struct buf *value)
{
    add_op(batch, key)->value = buf_bytes(value);
    batch->encoded[batch->count - 1] = value;
}

static void
remove_row(struct batch *batch, struct row_key key)
{
    add_op(batch, key)->remove = true;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int64_t
min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t
snapshot_size(const struct raft_snapshot *snapshot)
{
    return snapshot->data == NULL ? 0 : (int64_t)snapshot->data->size;
}

/* What follows from a write for the log's end. Raft cuts off only where it appends: in one write,
 * so that no crash lies between (a log that is cut off and not replaced would have forgotten what
 * an older leader may have counted). */
static void
check_write(const struct raft_store *store, const struct raft_persist *write)
{
    int64_t last = store->values.last_index;
    DMQ_ASSERT(write->count >= 0 && write->term >= store->values.term);
    DMQ_ASSERT(write->prev_index >= store->prev_index && write->from > write->prev_index);
    DMQ_ASSERT(write->from <= max64(last, write->prev_index) + 1);
    DMQ_ASSERT(write->count > 0 || write->from > last || write->from == write->prev_index + 1);
}

static struct second_copy_values
values_after(const struct raft_store *store, const struct raft_persist *write)
{
    int64_t last_term = write->count > 0 ? write->entries[write->count - 1].term
                        : write->from == write->prev_index + 1 ? write->prev_term
                                                               : store->values.last_term;
    return (struct second_copy_values){.writes = store->values.writes + 1,
                                       .term = write->term,
                                       .vote = write->vote,
                                       .last_index = write->from + write->count - 1,
                                       .last_term = last_term};
}

static void
remove_entries(struct batch *batch, int64_t from, int64_t to)
{
    for (int64_t index = from; index <= to; index++) {
        remove_row(batch, row_key_entry(index));
    }
}

static void
put_snapshot(struct batch *batch, const struct raft_snapshot *snapshot, int64_t former)
{
    int64_t size = snapshot_size(snapshot);
    int64_t chunks = row_chunks(size);
    put_encoded(batch, row_key(ROW_SNAPSHOT), row_encode_snapshot(snapshot));
    for (int64_t i = 0; i < chunks; i++) {
        int64_t pos = i * ROW_CHUNK_BYTES;
        add_op(batch, row_key_chunk(i))->value =
            bytes_of(snapshot->data->data + pos, (size_t)min64(size - pos, ROW_CHUNK_BYTES));
    }
    for (int64_t i = chunks; i < former; i++) {
        remove_row(batch, row_key_chunk(i));
    }
}

/* The most rows that a write touches. */
static size_t
rows_touched(const struct raft_store *store, const struct raft_persist *write)
{
    int64_t entries = write->count + (store->values.last_index - store->prev_index);
    int64_t chunks = 0;
    if (write->snapshot != NULL) {
        chunks = 1 + max64(row_chunks(snapshot_size(write->snapshot)), store->chunks);
    }
    return (size_t)(1 + entries + chunks);
}

static void
fill_batch(const struct raft_store *store, const struct raft_persist *write, struct batch *batch)
{
    int64_t last = store->values.last_index;
    int64_t end = write->from + write->count;
    remove_entries(batch, store->prev_index + 1, min64(write->prev_index, last));
    for (int64_t i = 0; i < write->count; i++) {
        put_encoded(batch, row_key_entry(write->from + i), row_encode_entry(&write->entries[i]));
    }
    remove_entries(batch, max64(end, store->prev_index + 1), last);
    if (write->snapshot != NULL) {
        put_snapshot(batch, write->snapshot, store->chunks);
    }
    put_encoded(batch, row_key(ROW_STATE), row_encode_state(write, store->values.writes + 1));
}

static dmq_err
write_rows(struct raft_store *store, const struct raft_persist *write)
{
    struct batch batch;
    open_batch(&batch, rows_touched(store, write));
    fill_batch(store, write, &batch);
    dmq_err failed = store->kv->ops->write(store->kv, batch.ops, batch.count, true);
    close_batch(&batch);
    return failed;
}

dmq_err
raft_store_write(struct raft_store *store, const struct raft_persist *write)
{
    struct err_msg err;
    DMQ_ASSERT(store->loaded);
    if (store->broken != DMQ_OK) {
        return store->broken;
    }
    check_write(store, write);
    struct second_copy_values after = values_after(store, write);
    store->broken = write_rows(store, write);
    if (store->broken == DMQ_OK) {
        store->broken = second_copy_write(&store->copy, &after, &err);
    }
    if (store->broken != DMQ_OK) {
        return store->broken;
    }
    store->values = after;
    store->prev_index = write->prev_index;
    if (write->snapshot != NULL) {
        store->chunks = row_chunks(snapshot_size(write->snapshot));
    }
    return DMQ_OK;
}
