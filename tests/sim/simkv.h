/* The simulator's key-value store: kv.h in memory, as LevelDB behaves when the power fails. A batch
 * is there whole or not at all; a crash keeps some first part of the batches that were written, in
 * which every synced one is. */
#ifndef TESTS_SIM_SIMKV_H
#define TESTS_SIM_SIMKV_H

#include "libdmq/base/kv.h"

struct simkv;

struct simkv *simkv_new(void);
void simkv_free(struct simkv *store);

/* Opens it; its ops->close ends the use and leaves what is stored. One at a time. */
struct kv *simkv_open(struct simkv *store);

/* Another store with the same contents and history, not open. */
struct simkv *simkv_clone(const struct simkv *store);

/* The power fails; the store may be open (the process is dead: it is closed). */
void simkv_crash(struct simkv *store, uint64_t seed);

/* As simkv_crash, and `count` of the newest synced batches are gone too: a damaged log of LevelDB
 * may look merely short. Of those that were synced, the last SIMKV_MEMORY can be dropped. */
#define SIMKV_MEMORY 64
void simkv_drop_tail(struct simkv *store, size_t count);

/* After count more writes every call fails with DMQ_ERR_IO, and does nothing, until simkv_crash or
 * close. UINT64_MAX: never. */
void simkv_die_after(struct simkv *store, uint64_t count);

/* Number of rows, and a number that differs where rows do. */
size_t simkv_rows(const struct simkv *store);
uint64_t simkv_digest(const struct simkv *store);

struct simkv_counts {
    uint64_t writes;
    uint64_t synced_writes;
    uint64_t scans;
    uint64_t crashes;
    uint64_t batches_kept; /* in crashes: of those not synced */
    uint64_t batches_lost;
    uint64_t synced_batches_dropped;
    uint64_t failed; /* calls after simkv_die_after */
};
const struct simkv_counts *simkv_counts(const struct simkv *store);

#endif
