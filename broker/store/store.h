/* The broker's small state in LevelDB, one store per data folder: <data>/store. FORMAT.md beside
 * this file says which rows there are. Nothing in it is a record of a topic: all of it can be
 * rebuilt from the logs and the controller, or is checked against them. */
#ifndef BROKER_STORE_STORE_H
#define BROKER_STORE_STORE_H

#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/base/kv.h"

/* Opens the store of a folder; may_be_new: or makes it, for the folder holds no data yet. A folder
 * with data whose store is gone is DMQ_ERR_DAMAGED: what was synced in its logs cannot be told from
 * a torn tail any more. Otherwise the errors of LevelDB. */
dmq_err store_open(const char *data_dir, bool may_be_new, struct kv **ret_kv, struct err_msg *err);

/* All rows with a prefix, in order of keys; freed by store_rows_deinit. */
struct store_row {
    struct bytes key;
    struct bytes value;
};
struct store_rows {
    struct store_row *rows;
    size_t count;
    size_t capacity;
    struct outbuf bytes; /* what they point into, once read */
};
dmq_err store_read(struct kv *kv, struct bytes prefix, struct store_rows *ret_rows);
void store_rows_deinit(struct store_rows *rows);

#endif
