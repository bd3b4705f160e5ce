/* A partition's log, the half on the core thread: memory only. It assigns offsets, stamps batches,
 * decides where bytes go and says so in operations (disk_op.h); plog_io.c carries them out.
 *
 *   log start <= synced end <= written end <= end
 *
 * end: what was appended; written: what the worker has put into the page cache; synced: what a SYNC
 * covered. Batches between written and end are only in the hot tail, which therefore never drops
 * them. */
#ifndef BROKER_LOG_PLOG_H
#define BROKER_LOG_PLOG_H

#include "broker/log/disk_op.h"
#include "libdmq/wire/batch.h"

struct plog;

struct plog_config {
    uint32_t number; /* the core's number of the log */
    int64_t segment_bytes;
    int32_t index_interval_bytes;
    size_t hot_bytes; /* budget of the hot tail beyond what is not written yet */
};

/* Operations that a call asks for, in order; the caller gives each its id. */
#define PLOG_MAX_OPS 4
struct plog_ops {
    struct disk_op ops[PLOG_MAX_OPS];
    size_t count;
};

/* Takes over what recovery found (consumes recovered). */
struct plog *plog_new(const struct plog_config *config, struct log_recovered *recovered);
void plog_free(struct plog *log);

/* A segment is rolled at another size from now on; the present one at once if it is larger. */
void plog_set_segment_bytes(struct plog *log, int64_t segment_bytes);

int64_t plog_start(const struct plog *log);
int64_t plog_end(const struct plog *log);
int64_t plog_synced_end(const struct plog *log);
uint32_t plog_generation(const struct plog *log);
size_t plog_unwritten_bytes(const struct plog *log);

/* What the producer state says of a batch, before it is appended. */
enum plog_sequence {
    PLOG_NEW,       /* append it (also: no producer id) */
    PLOG_DUPLICATE, /* one of the last five: ret_base and ret_end are those of the first time */
    PLOG_OLD,       /* older than what is remembered: DUPLICATE_SEQUENCE */
    PLOG_GAP,       /* OUT_OF_ORDER_SEQUENCE */
    PLOG_FENCED,    /* INVALID_PRODUCER_EPOCH */
    PLOG_UNKNOWN    /* not sequence 0 and the producer is unknown: UNKNOWN_PRODUCER_ID */
};
enum plog_sequence plog_check_sequence(const struct plog *log, const struct batch_header *header,
                                       int64_t *ret_base, int64_t *ret_end);

/* A checked batch: buf->data[from .. from + header->size). A frame may hold several. */
struct plog_batch {
    struct buf *buf;
    size_t from;
    const struct batch_header *header;
};

/* Appends one batch whose sequence is PLOG_NEW: assigns its offset, stamps it in place (nobody else
 * may look at these bytes yet), keeps it in the hot tail. A reference to buf is taken, unless the
 * batch is small and buf pins much more: then a copy. leader_epoch is not below that of the last
 * batch. now_ms is for producer expiry. Returns the base offset. */
int64_t plog_append(struct plog *log, const struct plog_batch *batch, int32_t leader_epoch,
                    int64_t now_ms, struct plog_ops *out);

/* A read: from the hot tail at once, or an operation for a reader. */
#define PLOG_MAX_PARTS 64
struct plog_read {
    bool hot;
    size_t count; /* hot: parts[0..count) are whole batches in order; 0: nothing below the limit */
    struct {
        struct buf *buf; /* borrowed until the next call on the log */
        size_t from;
        size_t size;
    } parts[PLOG_MAX_PARTS];
    size_t bytes;
    struct disk_op op; /* not hot: ask for this */
};

/* offset in [start, end], limit in [.., end]: batches below limit from the one that holds offset.
 * DMQ_ERR_OFFSET_OUT_OF_RANGE. The first batch comes whatever max_bytes says. */
dmq_err plog_read(struct plog *log, int64_t offset, int64_t limit, uint32_t max_bytes,
                  struct plog_read *ret_read);

/* Whether bytes at or beyond min_bytes are between offset and limit (for long polls): cheap, exact
 * only within the hot tail. */
size_t plog_available(const struct plog *log, int64_t offset, int64_t limit, size_t enough);

/* Asks for the first record at or after timestamp and below limit, among those written; nothing is
 * asked for (out->count 0) if there surely is none. */
void plog_find_time(struct plog *log, int64_t timestamp, int64_t limit, struct plog_ops *out);

/* ---- retention ------------------------------------------------------------------------------- */

struct plog_retention {
    int64_t wall_ms;  /* now, since 1970 */
    int64_t age_ms;   /* segments whose newest record is older go; -1: never */
    int64_t bytes;    /* the oldest go while the others have so many; -1: never */
    int64_t limit;    /* no record at or beyond this offset goes: the high watermark */
    int64_t snapshot; /* offset of the newest producer snapshot in the store; -1: none */
};

/* Where the log may begin: the first offset of a segment, at least plog_start. Everything below is
 * synced, and producers can be recovered without it. To be asked every few seconds: so it is known
 * when a segment was written to, for a client's timestamp may lie in the future (trap 55). */
int64_t plog_retained_from(struct plog *log, const struct plog_retention *retention);

/* Whether the newest segment would go if it were not the newest: then it is time for a roll. */
bool plog_newest_expired(const struct plog *log, const struct plog_retention *retention);
void plog_roll(struct plog *log, struct plog_ops *out);

/* The log begins there from now on; it came from plog_retained_from. The files are still there:
 * removed, by plog_remove, once this is durable in the store (trap 54). */
void plog_raise_start(struct plog *log, int64_t start);
void plog_remove(struct plog *log, struct plog_ops *out);

/* A WRITE came back well. */
void plog_on_written(struct plog *log, const struct disk_done *done);

/* SYNC number `sync` was asked for now: it will cover the log up to its end. */
void plog_sync_asked(struct plog *log, uint64_t sync);

/* It came back well: true if the synced end rose. */
bool plog_on_synced(struct plog *log, uint64_t sync);

/* The log is to be cut at offset `to`, where a batch begins; recovery does that. From now on its
 * mark is not above it. It is not lowered further: what lies below has been synced, and bad bytes
 * there are damage, which must not be cut off like a torn tail. */
void plog_lower_mark(struct plog *log, int64_t to);

/* ---- what is kept in the key-value store ----------------------------------------------------- */

struct log_mark plog_mark(const struct plog *log);     /* of the last SYNC that came back */
struct log_mark plog_end_mark(const struct plog *log); /* of the end: after a clean CLOSE */
struct buf *plog_epochs_row(const struct plog *log);   /* all entries below the mark */

/* The producer snapshot of the newest roll that is synced and was not handed out yet, or NULL; and
 * the offset of the one that would be handed out, or -1. */
struct buf *plog_take_snapshot_row(struct plog *log);
int64_t plog_snapshot_offset(const struct plog *log);
int64_t plog_recovered_snapshot(const struct plog *log); /* of the one that recovery began with */

/* The producer state as of the end: with the clean checkpoint. */
struct buf *plog_end_snapshot_row(const struct plog *log);

/* Largest epoch <= epoch that has records, and the end of its records (KIP-279). -1 if none. */
int32_t plog_end_of_epoch(const struct plog *log, int32_t epoch, int64_t *ret_end);
int32_t plog_last_epoch(const struct plog *log);

/* Everything that must hold between calls; aborts otherwise. */
void plog_check_invariants(const struct plog *log);

#endif
