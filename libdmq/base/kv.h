/* The seam to the key-value store. The daemons plug in LevelDB (libdmq/store), the simulator a
 * model whose crash keeps a prefix of the batches that holds every synced one.
 *
 * Keys are ordered bytewise. A batch is atomic. Functions return DMQ_OK, DMQ_ERR_DAMAGED (the store
 * must not be trusted any more), DMQ_ERR_IO or DMQ_ERR_NOMEM; write also DMQ_ERR_DISK_FULL: the
 * batch is there whole or not at all, and may be written again when there is space. A store is used
 * by one thread at a time. */
#ifndef DMQ_BASE_KV_H
#define DMQ_BASE_KV_H

#include <stdbool.h>

#include "dmq/errors.h"
#include "libdmq/base/bytes.h"

struct kv;

struct kv_op {
    struct bytes key;
    struct bytes value;
    bool remove; /* value is ignored */
};

struct kv_ops {
    /* Durable before it returns if sync. Later operations in the batch win. */
    dmq_err (*write)(struct kv *kv, const struct kv_op *ops, size_t count, bool sync);
    /* Calls found in order of keys for each key with the prefix; the views live until it returns.
     * found returns DMQ_OK or an error, which ends the walk and is returned. */
    dmq_err (*scan)(struct kv *kv, struct bytes prefix,
                    dmq_err (*found)(void *arg, struct bytes key, struct bytes value), void *arg);
    void (*close)(struct kv *kv);
};

struct kv {
    const struct kv_ops *ops;
};

#endif
