/* What a start makes of LevelDB and the second copy.
 *
 * Both count the writes of this store. A write goes to LevelDB, synced, then to the second copy,
 * synced, and only then does it count. So at any crash LevelDB has as many writes as the copy, or
 * one more: with any other difference one of them has lost what was synced. Comparing the log's end
 * alone would not do, for Raft rightly makes a log shorter, or lower in its last term, where it
 * cuts off what was never committed. */
#include "controller/store/raft_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/store/internal.h"
#include "libdmq/store/kv_leveldb.h"

#define MAX_PATH 512

/* ---- life ------------------------------------------------------------------------------------ */

struct raft_store *
raft_store_new(struct kv *kv, struct fs *fs, const char *data_dir, bool create)
{
    struct raft_store *store = calloc(1, sizeof(*store));
    char *dir = malloc(strlen(data_dir) + 1);
    DMQ_ASSERT(store != NULL && dir != NULL);
    memcpy(dir, data_dir, strlen(data_dir) + 1);
    store->kv = kv;
    store->data_dir = dir;
    store->create = create;
    second_copy_init(&store->copy, fs, data_dir);
    return store;
}

/* LevelDB renames its CURRENT and makes its folder without syncing what they stand in. */
static dmq_err
sync_folders(const struct raft_store *store, const char *path, struct err_msg *err)
{
    struct fs *fs = store->copy.fs;
    int error = fs->ops->sync_dir(fs, path);
    if (error == 0) {
        error = fs->ops->sync_dir(fs, store->data_dir);
    }
    return error == 0 ? DMQ_OK
                      : err_set(err, DMQ_ERR_IO, "syncing the folder %s failed with error %d", path,
                                error);
}

dmq_err
raft_store_open(struct fs *fs, const char *data_dir, bool create, struct raft_store **ret_store,
                struct err_msg *err)
{
    char path[MAX_PATH];
    struct kv *kv;
    int size = snprintf(path, sizeof(path), "%s/%s", data_dir, STORE_NAME);
    DMQ_ASSERT(size > 0 && (size_t)size < sizeof(path));
    dmq_err failed = kv_leveldb_open(path, create, &kv, err);
    if (failed != DMQ_OK) {
        return failed;
    }
    struct raft_store *store = raft_store_new(kv, fs, data_dir, create);
    failed = sync_folders(store, path, err);
    if (failed != DMQ_OK) {
        raft_store_close(store);
        return failed;
    }
    *ret_store = store;
    return DMQ_OK;
}

void
raft_store_close(struct raft_store *store)
{
    if (store == NULL) {
        return;
    }
    second_copy_deinit(&store->copy);
    store->kv->ops->close(store->kv);
    free((void *)(uintptr_t)store->data_dir);
    free(store);
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Whether `have`, one write further than the copy, can follow from it: a term never falls, and a
 * vote in it is given once. */
static bool
follows(const struct second_copy_values *have, const struct second_copy_values *copy)
{
    return have->term > copy->term ||
           (have->term == copy->term &&
            (copy->vote.node == 0 || raft_id_equal(have->vote, copy->vote)));
}

static dmq_err
compare(const struct second_copy_values *have, const struct second_copy_values *copy,
        struct err_msg *err)
{
    if (have->writes < copy->writes) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "the store has lost what was synced: it holds %" PRId64 " writes, up to "
                       "entry %" PRId64 ", but the second copy knows of %" PRId64
                       ", up to entry %" PRId64,
                       have->writes, have->last_index, copy->writes, copy->last_index);
    }
    if (have->writes > copy->writes + 1) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "the second copy has lost what was synced: it knows of %" PRId64
                       " writes, the store holds %" PRId64,
                       copy->writes, have->writes);
    }
    bool agree = have->writes == copy->writes ? second_copy_equal(have, copy) : follows(have, copy);
    if (!agree) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "the store and its second copy contradict each other: term %" PRId64
                       " and %" PRId64 ", vote for node %" PRId32 " and %" PRId32
                       ", last entry %" PRId64 " and %" PRId64,
                       have->term, copy->term, have->vote.node, copy->vote.node, have->last_index,
                       copy->last_index);
    }
    return DMQ_OK;
}

/* Nothing was ever written, or the folder is to be made: the only time that no copy is no loss. */
static dmq_err
make_copy(struct raft_store *store, enum second_copy_state state, struct err_msg *err)
{
    if (store->values.writes > 0 || !store->create) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "the second copy %s is %s: what this node has promised cannot be checked",
                       store->copy.path,
                       state == SECOND_COPY_MISSING ? "missing" : "damaged, both slots of it");
    }
    return second_copy_make(&store->copy, &store->values, err);
}

/* The copy is written also where it is equal: after a sync that failed, what reads show of it may
 * not be on the disk. */
static dmq_err
settle_copy(struct raft_store *store, struct err_msg *err)
{
    struct second_copy_values copy;
    struct fs *fs = store->copy.fs;
    enum second_copy_state state;
    dmq_err failed = second_copy_read(&store->copy, &state, &copy, err);
    if (failed == DMQ_OK && state == SECOND_COPY_GOOD) {
        failed = compare(&store->values, &copy, err);
        if (failed == DMQ_OK) {
            failed = second_copy_write(&store->copy, &store->values, err);
        }
    } else if (failed == DMQ_OK) {
        failed = make_copy(store, state, err);
    }
    if (failed != DMQ_OK) {
        return failed;
    }
    int error = fs->ops->sync_dir(fs, store->data_dir);
    return error == 0 ? DMQ_OK
                      : err_set(err, DMQ_ERR_IO, "syncing the folder %s failed with error %d",
                                store->data_dir, error);
}

static int64_t
last_term_of(const struct raft_saved *saved)
{
    return saved->count == 0 ? saved->prev_term : saved->entries[saved->count - 1].term;
}

dmq_err
raft_store_load(struct raft_store *store, struct raft_saved *ret_saved, struct err_msg *err)
{
    struct raft_saved saved;
    int64_t writes;
    DMQ_ASSERT(!store->loaded);
    dmq_err failed = raft_load(store->kv, &saved, &writes, err);
    if (failed != DMQ_OK) {
        return failed;
    }
    store->values = (struct second_copy_values){.writes = writes,
                                                .term = saved.term,
                                                .vote = saved.vote,
                                                .last_index = saved.prev_index + saved.count,
                                                .last_term = last_term_of(&saved)};
    store->prev_index = saved.prev_index;
    const struct buf *data = saved.snapshot.data;
    store->chunks = data == NULL ? 0 : row_chunks((int64_t)data->size);
    failed = settle_copy(store, err);
    if (failed != DMQ_OK) {
        raft_saved_free(&saved);
        return failed;
    }
    store->loaded = true;
    *ret_saved = saved;
    return DMQ_OK;
}
