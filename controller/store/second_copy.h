/* The second copy: what of Raft's promises must not be forgotten, beside LevelDB and apart from it,
 * because a damaged log of LevelDB can look merely short. FORMAT.md has the bytes.
 *
 * A file of two slots, each with a checksum, written in turn: the one that is not being written is
 * whole whenever the power fails. Its space is written once and for all when it is made, so that a
 * sync has no size or extent to commit: that makes it cheap. */
#ifndef CONTROLLER_STORE_SECOND_COPY_H
#define CONTROLLER_STORE_SECOND_COPY_H

#include "controller/raft/raft.h"
#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"

#define SECOND_COPY_NAME "quorum"
#define SECOND_COPY_SLOT_BYTES 4096 /* a page: a torn one does not touch the other slot */
#define SECOND_COPY_MAX_PATH 512

/* What a slot says. All zero: that of a store which nothing was written to. */
struct second_copy_values {
    int64_t writes; /* of the store; decides on the slot, and which of two is newer */
    int64_t term;
    struct raft_id vote;
    int64_t last_index;
    int64_t last_term;
};

enum second_copy_state {
    SECOND_COPY_GOOD,    /* at least one slot is whole; the other one may be older, or torn */
    SECOND_COPY_MISSING, /* there is no file */
    SECOND_COPY_BAD      /* no slot is whole */
};

struct second_copy {
    struct fs *fs;
    struct fs_file *file; /* NULL: not open */
    char path[SECOND_COPY_MAX_PATH];
};

/* <data_dir>/quorum; opens nothing yet. */
void second_copy_init(struct second_copy *copy, struct fs *fs, const char *data_dir);
void second_copy_deinit(struct second_copy *copy);

/* Reads the newest whole slot. ret_values is all zero unless the state is GOOD. Errors: DMQ_ERR_IO;
 * DMQ_ERR_UNSUPPORTED_VERSION: a newer version of dmq wrote a slot. */
dmq_err second_copy_read(struct second_copy *copy, enum second_copy_state *ret_state,
                         struct second_copy_values *ret_values, struct err_msg *err);

/* Makes the file anew, both slots, with values; synced when it returns. Its name is not: sync the
 * folder. */
dmq_err second_copy_make(struct second_copy *copy, const struct second_copy_values *values,
                         struct err_msg *err);

/* Writes and syncs the slot whose turn it is; after second_copy_read said GOOD, or _make. A failed
 * one must not be tried again. */
dmq_err second_copy_write(struct second_copy *copy, const struct second_copy_values *values,
                          struct err_msg *err);

bool second_copy_equal(const struct second_copy_values *a, const struct second_copy_values *b);

#endif
