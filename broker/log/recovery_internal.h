/* Shared by the files that recover a log.
 *
 *   recovery.c       the order of things; a new log; what lies below the log start
 *   recovery_find.c  where the log ends, and whether it is damaged: changes nothing
 *   recovery_mend.c  makes it so on the disk */
#ifndef BROKER_LOG_RECOVERY_INTERNAL_H
#define BROKER_LOG_RECOVERY_INTERNAL_H

#include "broker/log/log_walk.h"
#include "broker/log/recovery.h"

struct recovery {
    struct fs *fs;
    const struct log_open *open;
    struct log_recovered *r;
    struct err_msg *msg;
    struct epochs row;    /* leader epochs as the store has them */
    int64_t replay_from;  /* offset of the producer snapshot; INT64_MIN: none */
    int64_t sure_below;   /* records below this were synced */
    bool *wanting;        /* per segment: its indexes or its file's end must be put right */
    struct log_walk last; /* the newest walk: in the end, the one that found the end */
};

/* ---- recovery_find.c ------------------------------------------------------------------------- */

/* Damage that leaves nothing to read. */
dmq_err recovery_lost(struct recovery *rec, const char *what);
dmq_err recovery_take_rows(struct recovery *rec);

/* What can be seen from the names and rows alone. */
dmq_err recovery_check_names(struct recovery *rec);

/* After a clean stop the mark is the end: true if the files agree, so that no walk is needed. */
dmq_err recovery_check_clean(struct recovery *rec, bool *ret_clean);

/* The first `count` segments, which nothing is replayed from. */
dmq_err recovery_check_old(struct recovery *rec, size_t count);

/* First segment that has to be walked. */
size_t recovery_first_to_walk(const struct recovery *rec);

/* Finds the end; afterwards *ret_last is the segment that it is in. */
dmq_err recovery_find_end(struct recovery *rec, size_t first, size_t *ret_last);

/* Walks segment i; replay: into the recovered log, by rec->last. */
dmq_err recovery_walk(struct recovery *rec, size_t i, bool replay, struct log_walk *out);

/* Whether both index files of a segment hold what its walk made. */
dmq_err recovery_compare_indexes(struct recovery *rec, const struct log_walk *walked,
                                 bool *ret_equal);

/* ---- recovery_mend.c ------------------------------------------------------------------------- */

/* Removes segments from `keep` on, newest first. */
dmq_err recovery_remove_later(struct recovery *rec, size_t keep);

/* Makes a segment's files what its walk says that they should be. */
dmq_err recovery_put_right(struct recovery *rec, const struct log_walk *walked);
dmq_err recovery_put_wanting_right(struct recovery *rec);

/* Writes all from the mark to the end once more, as it is read. */
dmq_err recovery_rewrite_unsynced(struct recovery *rec);

#endif
