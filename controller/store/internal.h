/* What the files of this folder share. */
#ifndef CONTROLLER_STORE_INTERNAL_H
#define CONTROLLER_STORE_INTERNAL_H

#include "controller/store/raft_store.h"
#include "controller/store/second_copy.h"
#include "libdmq/base/assert.h"

#define STORE_NAME "store"

struct raft_store {
    struct kv *kv;
    struct second_copy copy;
    const char *data_dir; /* heap */
    bool create;
    bool loaded;
    dmq_err broken; /* of the first failed write; 0: none */

    /* which rows there are, so that a write need not look */
    int64_t prev_index; /* entries prev_index + 1 .. */
    int64_t chunks;     /* of the snapshot, from 0 */
    struct second_copy_values values;
};

/* ---- raft_rows.c: keys and values ------------------------------------------------------------ */

#define ROW_ENTRY "entry/"    /* and the index, 8 bytes, big-endian */
#define ROW_CHUNK "snapshot/" /* and its number, 4 bytes, big-endian */
#define ROW_SNAPSHOT "snapshot"
#define ROW_STATE "state"
#define ROW_CHUNK_BYTES ((int64_t)1 << 20)
#define ROW_MAX_KEY 16

struct row_key {
    uint8_t data[ROW_MAX_KEY];
    size_t size;
};

struct row_key row_key(const char *name);
struct row_key row_key_entry(int64_t index);
struct row_key row_key_chunk(int64_t number);

/* The number behind prefix, in `width` bytes; -1: the key is another one. */
int64_t row_number(struct bytes key, const char *prefix, size_t width);

/* How many chunks size bytes are. */
int64_t row_chunks(int64_t size);

/* One reference each. */
struct buf *row_encode_state(const struct raft_persist *write, int64_t writes);
struct buf *row_encode_entry(const struct raft_entry *entry);
struct buf *row_encode_snapshot(const struct raft_snapshot *snapshot);

/* What a snapshot row says of the data in the chunks. */
struct row_snapshot_data {
    int64_t size;
    uint32_t crc;
};

/* DMQ_ERR_DAMAGED: no row that encode makes; _UNSUPPORTED_VERSION: of a newer version. The entry
 * has a reference to its payload; of saved, what the state says is set. */
dmq_err row_decode_state(struct bytes value, struct raft_saved *saved, int64_t *ret_writes,
                         struct err_msg *err);
dmq_err row_decode_entry(struct bytes value, int64_t index, struct raft_entry *ret_entry,
                         struct err_msg *err);
dmq_err row_decode_snapshot(struct bytes value, struct raft_snapshot *ret_snapshot,
                            struct row_snapshot_data *ret_data, struct err_msg *err);

/* ---- raft_load.c ----------------------------------------------------------------------------- */

/* All rows, checked against each other. *ret_writes is 0 if there are none. */
dmq_err raft_load(struct kv *kv, struct raft_saved *ret_saved, int64_t *ret_writes,
                  struct err_msg *err);

#endif
