/* What carries out disk and store effects: the data folder's write lane, a reader, the store's
 * lane. Each is a thread; what they finish comes back as events of the core thread, in the order of
 * its lane. */
#ifndef BROKER_NODE_LANES_H
#define BROKER_NODE_LANES_H

#include "broker/core/core.h"
#include "libdmq/base/fs.h"

struct lanes;

/* kv is used by the store's lane alone from here on, and closed by lanes_stop. NULL if a thread
 * cannot be made. */
struct lanes *lanes_start(struct fs *fs, struct kv *kv);

/* Carries out everything that was asked for, then ends the threads. Completions are dropped. */
void lanes_stop(struct lanes *lanes);

/* Carries out BRK_DISK or BRK_KV_WRITE; takes what the effect owns. */
void lanes_push(struct lanes *lanes, struct brk_effect *effect);

/* The process is to end: what does not fit on the disk fails now. Before, the store's lane waits
 * until there is space, and what comes after it waits as well. */
void lanes_end(struct lanes *lanes);

/* How many files and folders were synced so far; the count follows its run of operations. */
int64_t lanes_fsyncs(const struct lanes *lanes);

/* Readable when lanes_next may have something. */
int lanes_fd(const struct lanes *lanes);
void lanes_clear(struct lanes *lanes);

/* The next completion as an event (kind and u only); false if there is none. */
bool lanes_next(struct lanes *lanes, struct brk_event *ret_event);

#endif
