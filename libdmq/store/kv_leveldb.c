#include "libdmq/store/kv_leveldb.h"

#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"

struct kv_leveldb {
    struct kv kv; /* first: a struct kv * is one of these */
    char *path;
    leveldb_t *db; /* NULL: the disk was full, it is opened again by the next write */
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_readoptions_t *reads;
    leveldb_writeoptions_t *synced_writes;
    leveldb_writeoptions_t *writes;
    leveldb_writebatch_t *batch; /* empty between writes */
    dmq_err broken;              /* of the first failed write; 0: none */
};

/* State is small: so are its buffers, of which a node has one set per data folder. */
#define WRITE_BUFFER_BYTES ((size_t)1 << 20)
#define CACHE_BYTES ((size_t)1 << 20)
#define MAX_OPEN_FILES 64

static struct kv_leveldb *
of(struct kv *kv)
{
    return (struct kv_leveldb *)kv;
}

/* LevelDB's C API tells what went wrong only in words; they begin with the status. */
static dmq_err
classify(const char *text)
{
    if (strncmp(text, "Corruption", strlen("Corruption")) == 0) {
        return DMQ_ERR_DAMAGED;
    }
    if (strstr(text, "does not exist") != NULL) {
        return DMQ_ERR_DAMAGED;
    }
    if (strstr(text, "No space left on device") != NULL ||
        strstr(text, "Disk quota exceeded") != NULL) {
        return DMQ_ERR_DISK_FULL;
    }
    if (strncmp(text, "IO error: lock ", strlen("IO error: lock ")) == 0) {
        return DMQ_ERR_LOCKED;
    }
    return DMQ_ERR_IO;
}

/* After a write that did not fit LevelDB's log may end within a record: only opening it again, as
 * after a crash, cuts that off. That needs space, too. */
static dmq_err
open_again(struct kv_leveldb *store)
{
    char *text = NULL;
    if (store->db != NULL) {
        return DMQ_OK;
    }
    store->db = leveldb_open(store->options, store->path, &text);
    dmq_err err = text == NULL ? DMQ_OK : classify(text);
    leveldb_free(text);
    return err;
}

static void
close_db(struct kv_leveldb *store)
{
    if (store->db != NULL) {
        leveldb_close(store->db);
        store->db = NULL;
    }
}

static dmq_err
write_batch(struct kv_leveldb *store, bool sync)
{
    char *text = NULL;
    dmq_err err = open_again(store);
    if (err == DMQ_OK) {
        leveldb_write(store->db, sync ? store->synced_writes : store->writes, store->batch, &text);
        err = text == NULL ? DMQ_OK : classify(text);
        leveldb_free(text);
    }
    if (err == DMQ_ERR_DISK_FULL) {
        close_db(store);
    }
    return err;
}

static dmq_err
kv_leveldb_write(struct kv *kv, const struct kv_op *ops, size_t count, bool sync)
{
    struct kv_leveldb *store = of(kv);
    if (store->broken != DMQ_OK) {
        return store->broken;
    }
    for (size_t i = 0; i < count; i++) {
        const char *key = (const char *)ops[i].key.data;
        if (ops[i].remove) {
            leveldb_writebatch_delete(store->batch, key, ops[i].key.size);
        } else {
            leveldb_writebatch_put(store->batch, key, ops[i].key.size,
                                   (const char *)ops[i].value.data, ops[i].value.size);
        }
    }
    dmq_err err = write_batch(store, sync);
    leveldb_writebatch_clear(store->batch);
    store->broken = err == DMQ_ERR_DISK_FULL ? DMQ_OK : err;
    return err;
}

static dmq_err
result_of_walk(leveldb_iterator_t *iterator)
{
    char *text = NULL;
    leveldb_iter_get_error(iterator, &text);
    if (text == NULL) {
        return DMQ_OK;
    }
    dmq_err err = classify(text);
    leveldb_free(text);
    return err;
}

static dmq_err
kv_leveldb_scan(struct kv *kv, struct bytes prefix,
                dmq_err (*found)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    struct kv_leveldb *store = of(kv);
    dmq_err err = open_again(store);
    if (err != DMQ_OK) {
        return err;
    }
    leveldb_iterator_t *iterator = leveldb_create_iterator(store->db, store->reads);
    leveldb_iter_seek(iterator, (const char *)prefix.data, prefix.size);
    while (err == DMQ_OK && leveldb_iter_valid(iterator)) {
        size_t key_size;
        size_t value_size;
        const char *key = leveldb_iter_key(iterator, &key_size);
        if (key_size < prefix.size ||
            (prefix.size > 0 && memcmp(key, prefix.data, prefix.size) != 0)) {
            break;
        }
        const char *value = leveldb_iter_value(iterator, &value_size);
        err = found(arg, bytes_of(key, key_size), bytes_of(value, value_size));
        leveldb_iter_next(iterator);
    }
    if (err == DMQ_OK) {
        err = result_of_walk(iterator); /* an iterator becomes invalid where it meets damage */
    }
    leveldb_iter_destroy(iterator);
    return err;
}

static void
kv_leveldb_close(struct kv *kv)
{
    struct kv_leveldb *store = of(kv);
    close_db(store);
    free(store->path);
    leveldb_options_destroy(store->options);
    leveldb_cache_destroy(store->cache);
    leveldb_readoptions_destroy(store->reads);
    leveldb_writeoptions_destroy(store->synced_writes);
    leveldb_writeoptions_destroy(store->writes);
    leveldb_writebatch_destroy(store->batch);
    free(store);
}

static void
set_options(struct kv_leveldb *store, bool create)
{
    store->options = leveldb_options_create();
    store->cache = leveldb_cache_create_lru(CACHE_BYTES);
    leveldb_options_set_create_if_missing(store->options, create);
    leveldb_options_set_paranoid_checks(store->options, 1);
    leveldb_options_set_write_buffer_size(store->options, WRITE_BUFFER_BYTES);
    leveldb_options_set_max_open_files(store->options, MAX_OPEN_FILES);
    leveldb_options_set_cache(store->options, store->cache);
    leveldb_options_set_compression(store->options, leveldb_no_compression);
    store->reads = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(store->reads, 1);
    store->synced_writes = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(store->synced_writes, 1);
    store->writes = leveldb_writeoptions_create();
    store->batch = leveldb_writebatch_create();
}

dmq_err
kv_leveldb_open(const char *path, bool create, struct kv **ret_kv, struct err_msg *msg)
{
    static const struct kv_ops ops = {kv_leveldb_write, kv_leveldb_scan, kv_leveldb_close};
    char *text = NULL;
    struct kv_leveldb *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return err_set(msg, DMQ_ERR_NOMEM, "out of memory opening the store %s", path);
    }
    store->kv.ops = &ops;
    store->path = strdup(path);
    DMQ_ASSERT(store->path != NULL);
    set_options(store, create);
    store->db = leveldb_open(store->options, path, &text);
    if (text != NULL) {
        dmq_err err = err_set(msg, classify(text), "store %s cannot be opened: %s", path, text);
        leveldb_free(text);
        kv_leveldb_close(&store->kv);
        return err;
    }
    DMQ_ASSERT(store->db != NULL);
    *ret_kv = &store->kv;
    return DMQ_OK;
}
