/* What a log remembers of idempotent producers: for each its epoch and its last five batches, so
 * that a retry is recognised (trap 32). It is a function of the batches in the log alone, in their
 * order, and so the same on every replica and after every recovery (trap 36): a snapshot at a roll,
 * and replay from there.
 *
 * Sequences count records, from 0 in each producer epoch (trap 35), and wrap from 2^31 - 1 to 0. */
#ifndef BROKER_LOG_PRODUCER_STATE_H
#define BROKER_LOG_PRODUCER_STATE_H

#include "libdmq/base/buf.h"
#include "libdmq/wire/batch.h"

#define PRODUCER_WINDOW 5
#define PRODUCERS_MAX 65536                        /* of a log: then the least recently used goes */
#define PRODUCER_EXPIRY_MS (INT64_C(24) * 3600000) /* unused for so long: forgotten */

struct producers;

struct producers *producers_new(void);
void producers_free(struct producers *producers);

enum producer_verdict {
    PRODUCER_NEW,       /* append it (also: no producer id) */
    PRODUCER_DUPLICATE, /* one of the last five */
    PRODUCER_OLD,       /* behind what is remembered */
    PRODUCER_GAP,       /* ahead of what comes next */
    PRODUCER_FENCED,    /* of an older producer epoch */
    PRODUCER_UNKNOWN    /* not sequence 0, and the producer is not known */
};

/* ret_base and ret_end are set for PRODUCER_DUPLICATE: the offsets of the first time. */
enum producer_verdict producers_check(const struct producers *producers,
                                      const struct batch_header *header, int64_t *ret_base,
                                      int64_t *ret_end);

/* The batch was appended at header->base_offset. The log is believed: nothing is refused. */
void producers_note(struct producers *producers, const struct batch_header *header);

/* Forgets producers that nothing was heard of for PRODUCER_EXPIRY_MS; what was noted since the last
 * call counts as used now. Those from a row count from the first call on. */
void producers_expire(struct producers *producers, int64_t now_ms);

size_t producers_count(const struct producers *producers);

/* The state as of `offset`, the end of the log now. */
struct buf *producers_row(const struct producers *producers, int64_t offset);

/* DMQ_ERR_DAMAGED if the row is malformed. */
dmq_err producers_from_row(struct bytes row, struct producers **ret_producers, int64_t *ret_offset);

#endif
