/* Writes of Raft as a controller makes them, drawn at random, for tests of what stores them: terms,
 * votes, entries, entries that replace others, snapshots of its own and of a leader. */
#ifndef TESTS_SUPPORT_RAFT_WRITES_H
#define TESTS_SUPPORT_RAFT_WRITES_H

#include "libdmq/base/rng.h"
#include "tests/support/raft_disk.h"

struct raft_writes {
    struct rng rng;
    struct raft_disk disk; /* after all writes that were drawn */
    uint64_t seq;
    size_t max_data; /* bytes of a snapshot */

    /* what there was so far */
    int64_t founded;
    int64_t votes;
    int64_t appended;
    int64_t cut_off;
    int64_t lowered; /* the log's end, in its (term, index) */
    int64_t compacted;
    int64_t installed;
};

void raft_writes_init(struct raft_writes *writes, uint64_t seed, size_t max_data);
void raft_writes_deinit(struct raft_writes *writes);

/* The next one; raft_persist_free it. It is in writes->disk when this returns. */
struct raft_persist *raft_writes_next(struct raft_writes *writes);

/* All of it as text, without a terminator: equal where equal was stored. */
void raft_saved_text(const struct raft_saved *saved, struct outbuf *out);

#endif
