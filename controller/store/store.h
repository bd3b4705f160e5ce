/* The controller's store: the log of metadata entries, in LevelDB. FORMAT.md beside this file says
 * what stands where. What an entry holds is the core's business; here it is bytes. */
#ifndef CONTROLLER_STORE_STORE_H
#define CONTROLLER_STORE_STORE_H

#include "libdmq/base/err.h"
#include "libdmq/base/kv.h"

/* Opens <data_dir>/store. create: make it if it is missing; say so only while the folder belongs to
 * no cluster, for an empty store in another has lost what it promised. Errors as kv_leveldb_open.
 */
dmq_err ctl_store_open(const char *data_dir, bool create, struct kv **ret_kv, struct err_msg *err);

/* Adds the entry of a version, one above the last; durable when it returns DMQ_OK. */
dmq_err ctl_store_append(struct kv *kv, int64_t version, struct bytes entry);

/* Hands out all entries in order; an error of found ends it and is returned. DMQ_ERR_DAMAGED (with
 * a sentence) if a key is malformed or an entry is missing between two others or at the beginning.
 */
typedef dmq_err ctl_store_found(void *arg, int64_t version, struct bytes entry);
dmq_err ctl_store_load(struct kv *kv, ctl_store_found *found, void *arg, struct err_msg *err);

#endif
