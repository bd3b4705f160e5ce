/* What a controller must not forget of Raft: term, vote, log and snapshot in LevelDB, and the
 * second copy beside it. FORMAT.md says what stands where, and what a start does.
 *
 * A store is used by one thread at a time: open (or new), load once, then writes. A write is
 * durable in both places when it returns DMQ_OK; the first one that fails ends the store, for what
 * a failed sync left behind is unknown: everything after it fails alike, until it is opened again.
 *
 * Damage is found by load and never repaired: the log of a damaged disk may look merely short, and
 * a vote that is forgotten may be given twice. The node then begins again as another member:
 * raft_store_set_aside, then a new disk id (folder_renew_disk), then a store that is made anew. */
#ifndef CONTROLLER_STORE_RAFT_STORE_H
#define CONTROLLER_STORE_RAFT_STORE_H

#include "controller/raft/raft.h"
#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"
#include "libdmq/base/kv.h"

struct raft_store;

/* Opens <data_dir>/store, in LevelDB; the second copy is <data_dir>/quorum. create: make both if
 * they are missing; say so only while the folder belongs to no cluster, or has just been set aside:
 * an empty store in another has lost what it promised. Errors as kv_leveldb_open, DMQ_ERR_DAMAGED
 * among them. */
dmq_err raft_store_open(struct fs *fs, const char *data_dir, bool create,
                        struct raft_store **ret_store, struct err_msg *err);

/* The same over any kv, which is closed with the store. */
struct raft_store *raft_store_new(struct kv *kv, struct fs *fs, const char *data_dir, bool create);

/* NULL is a no-op. */
void raft_store_close(struct raft_store *store);

/* Hands out what was written last: all zero if nothing was; raft_saved_free gives it up. Compares
 * it with the second copy, which is then brought up to date, synced. Errors, with a sentence:
 * DMQ_ERR_DAMAGED              rows or the second copy are damaged, missing, or contradict
 * DMQ_ERR_UNSUPPORTED_VERSION  another version of dmq wrote them
 * DMQ_ERR_IO, DMQ_ERR_NOMEM */
dmq_err raft_store_load(struct raft_store *store, struct raft_saved *ret_saved,
                        struct err_msg *err);

/* Carries a write of Raft out: one synced batch, then the second copy. The one with seq 0, whose
 * snapshot has index 0, is the list of first voters. Entries must follow what is stored; what a
 * write cuts off it replaces. DMQ_ERR_IO, DMQ_ERR_DAMAGED. */
dmq_err raft_store_write(struct raft_store *store, const struct raft_persist *write);

/* Renames store and second copy of a store that is not open to "damaged-<n>-store" and
 * "damaged-<n>-quorum" in the same folder, synced, and names them "damaged-<n>"; those that are
 * missing are left out. Whatever moment the power fails at, the folder's next start finds damage
 * or all set aside. */
#define RAFT_STORE_MAX_NAME 32
dmq_err raft_store_set_aside(struct fs *fs, const char *data_dir,
                             char ret_name[RAFT_STORE_MAX_NAME], struct err_msg *err);

#endif
