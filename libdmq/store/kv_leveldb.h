/* The seam to the key-value store (kv.h) over LevelDB. It holds small state, never records.
 *
 * Always with paranoid_checks and verify_checksums: without them one flipped bit drops records
 * silently. Never repaired: leveldb_repair_db has returned wrong values. The first failed write
 * ends the store: everything after it fails alike, for what a failed sync left behind is unknown.
 */
#ifndef DMQ_STORE_KV_LEVELDB_H
#define DMQ_STORE_KV_LEVELDB_H

#include "libdmq/base/err.h"
#include "libdmq/base/kv.h"

/* Opens the store in the folder path; its parent must exist. create: make it if it is missing; say
 * so only for a data folder that is known to be new, for a store whose CURRENT file was lost looks
 * missing. The store is closed by its ops->close. Errors, with a sentence in msg:
 * DMQ_ERR_LOCKED   another process has it open
 * DMQ_ERR_DAMAGED  it is corrupt, or missing without create
 * DMQ_ERR_IO, DMQ_ERR_NOMEM */
dmq_err kv_leveldb_open(const char *path, bool create, struct kv **ret_kv, struct err_msg *msg);

#endif
