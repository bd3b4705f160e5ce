/* Reads all rows in one walk, in order of keys: entries, the snapshot, its chunks, the state; then
 * checks them against each other. What passes is what raft_init asks for: each of its assertions
 * about the disk has its check here, for on a disk it is no bug. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/store/internal.h"
#include "libdmq/base/crc32c.h"

struct loading {
    struct raft_saved saved;    /* its entries are `entries`, at the end */
    struct raft_entry *entries; /* heap */
    int64_t count;
    int64_t capacity;
    int64_t first; /* index of the first entry that is there */
    bool has_state;
    bool has_snapshot;
    int64_t writes;
    struct row_snapshot_data expected;
    struct outbuf data; /* of the chunks so far */
    int64_t chunks;
    struct err_msg *err;
};

static dmq_err
damaged(struct err_msg *err, const char *what)
{
    return err_set(err, DMQ_ERR_DAMAGED, "the store is damaged: %s", what);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static dmq_err
take_entry(struct loading *loading, int64_t index, struct bytes value)
{
    int64_t expected = loading->first + loading->count;
    if (loading->count == 0) {
        loading->first = index;
    } else if (index != expected) {
        return err_set(loading->err, DMQ_ERR_DAMAGED,
                       "the store is damaged: entry %" PRId64 " is missing, entry %" PRId64
                       " is there",
                       expected, index);
    }
    if (loading->count == loading->capacity) {
        int64_t capacity = loading->capacity == 0 ? 64 : loading->capacity * 2;
        struct raft_entry *grown =
            realloc(loading->entries, (size_t)capacity * sizeof(*loading->entries));
        if (grown == NULL) {
            return DMQ_ERR_NOMEM;
        }
        loading->entries = grown;
        loading->capacity = capacity;
    }
    dmq_err err = row_decode_entry(value, index, &loading->entries[loading->count], loading->err);
    loading->count += err == DMQ_OK;
    return err;
}

/* Believes the size that the snapshot's row states only as far as chunks have come. */
static dmq_err
take_chunk(struct loading *loading, int64_t number, struct bytes value)
{
    int64_t left = loading->expected.size - (int64_t)loading->data.size;
    int64_t size = left < ROW_CHUNK_BYTES ? left : ROW_CHUNK_BYTES;
    if (!loading->has_snapshot || number != loading->chunks || left == 0 ||
        (int64_t)value.size != size) {
        return damaged(loading->err, "a piece of the snapshot is missing or does not fit");
    }
    loading->chunks++;
    outbuf_put(&loading->data, value.data, value.size);
    return loading->data.failed ? DMQ_ERR_NOMEM : DMQ_OK;
}

static dmq_err
take_snapshot(struct loading *loading, struct bytes value)
{
    dmq_err err =
        row_decode_snapshot(value, &loading->saved.snapshot, &loading->expected, loading->err);
    loading->has_snapshot = err == DMQ_OK;
    return err;
}

static dmq_err
take_state(struct loading *loading, struct bytes value)
{
    dmq_err err = row_decode_state(value, &loading->saved, &loading->writes, loading->err);
    loading->has_state = err == DMQ_OK;
    return err;
}

static dmq_err
take_row(void *arg, struct bytes key, struct bytes value)
{
    struct loading *loading = arg;
    int64_t index = row_number(key, ROW_ENTRY, 8);
    if (index > 0) {
        return take_entry(loading, index, value);
    }
    int64_t chunk = row_number(key, ROW_CHUNK, 4);
    if (chunk >= 0) {
        return take_chunk(loading, chunk, value);
    }
    if (bytes_equal_str(key, ROW_SNAPSHOT)) {
        return take_snapshot(loading, value);
    }
    if (bytes_equal_str(key, ROW_STATE)) {
        return take_state(loading, value);
    }
    return err_set(loading->err, DMQ_ERR_UNSUPPORTED_VERSION,
                   "the store holds rows that this version of dmq does not know: use the one that "
                   "wrote them");
}

/* ---- all of them ----------------------------------------------------------------------------- */

static dmq_err
finish_snapshot(struct loading *loading)
{
    struct raft_snapshot *snapshot = &loading->saved.snapshot;
    struct bytes data = bytes_of(loading->data.data, loading->data.size);
    if ((int64_t)data.size != loading->expected.size ||
        crc32c(0, data.data, data.size) != loading->expected.crc) {
        return damaged(loading->err, "the snapshot is not all there, or its checksum is wrong");
    }
    if (snapshot->index > 0) {
        snapshot->data = data.size == 0 ? buf_new(0) : outbuf_take(&loading->data);
        return snapshot->data == NULL ? DMQ_ERR_NOMEM : DMQ_OK;
    }
    return DMQ_OK;
}

/* Terms never fall along a log, and none is above the node's. */
static bool
terms_rise(const struct raft_saved *saved)
{
    int64_t term = saved->prev_term;
    for (int64_t i = 0; i < saved->count; i++) {
        if (saved->entries[i].term < term) {
            return false;
        }
        term = saved->entries[i].term;
    }
    return term <= saved->term;
}

static bool
snapshot_fits(const struct raft_saved *saved)
{
    const struct raft_snapshot *snapshot = &saved->snapshot;
    if (snapshot->index < saved->prev_index || snapshot->index > saved->prev_index + saved->count) {
        return false;
    }
    int64_t there = snapshot->index == saved->prev_index
                        ? saved->prev_term
                        : saved->entries[snapshot->index - saved->prev_index - 1].term;
    return snapshot->term == there;
}

static dmq_err
check(struct loading *loading)
{
    const struct raft_saved *saved = &loading->saved;
    int64_t last = saved->prev_index + saved->count;
    if (!loading->has_state) {
        return damaged(loading->err, "it has no state, though it has a log or a snapshot");
    }
    if ((saved->prev_index == 0) != (saved->prev_term == 0)) {
        return damaged(loading->err, "where the log begins has no term");
    }
    if (saved->count > 0 && loading->first != saved->prev_index + 1) {
        return err_set(loading->err, DMQ_ERR_DAMAGED,
                       "the store is damaged: the log should begin with entry %" PRId64
                       ", not with entry %" PRId64,
                       saved->prev_index + 1, loading->first);
    }
    if (!terms_rise(saved)) {
        return damaged(loading->err, "a term in the log is lower than one before it, or above the "
                                     "node's");
    }
    if (!snapshot_fits(saved)) {
        return damaged(loading->err, "snapshot and log do not meet");
    }
    if (saved->commit > last) {
        return err_set(loading->err, DMQ_ERR_DAMAGED,
                       "the store is damaged: the log ends with entry %" PRId64 ", but entry "
                       "%" PRId64 " was committed",
                       last, saved->commit);
    }
    return DMQ_OK;
}

static bool
is_empty(const struct loading *loading)
{
    return !loading->has_state && !loading->has_snapshot && loading->count == 0;
}

dmq_err
raft_load(struct kv *kv, struct raft_saved *ret_saved, int64_t *ret_writes, struct err_msg *err)
{
    struct loading loading = {.err = err};
    err_set(err, DMQ_OK, "%s", "");
    dmq_err failed = kv->ops->scan(kv, bytes_str(""), take_row, &loading);
    loading.saved.entries = loading.entries;
    loading.saved.count = loading.count;
    if (failed == DMQ_OK && loading.has_snapshot) {
        failed = finish_snapshot(&loading);
    }
    if (failed == DMQ_OK && !is_empty(&loading)) {
        failed = check(&loading);
    }
    outbuf_deinit(&loading.data);
    if (failed != DMQ_OK) {
        raft_saved_free(&loading.saved);
        return err->code != DMQ_OK
                   ? failed
                   : err_set(err, failed, "the store cannot be read: %s", err_text(failed));
    }
    *ret_saved = loading.saved;
    *ret_writes = loading.writes;
    return DMQ_OK;
}
