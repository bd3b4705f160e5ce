/* The records of one producer that are not delivered yet: open batches, which records are encoded
 * into directly, closed ones that wait for their turn, and those that the sender has taken.
 *
 * It is memory only and takes no lock: libdmq/api calls it under the producer's mutex, from the
 * application's threads (append) and the background thread (take, done). Nothing is allocated per
 * record; batches and their memory are used again.
 *
 * When does a batch leave? linger.ms = 0: the open batch leaves at once when nothing of its
 * partition is in flight, and grows meanwhile; so batches are as large as the load asks for and a
 * lone record never waits. linger.ms > 0: when it is that old. Full batches leave as soon as fewer
 * than max_in_flight of the partition are taken. */
#ifndef LIBDMQ_CLIENT_ACCUM_H
#define LIBDMQ_CLIENT_ACCUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/rng.h"
#include "libdmq/client/partitioner.h"
#include "libdmq/client/send_batch.h"

/* Batches kept for the next records, memory included: fresh pages cost more than filling them. */
#define ACCUM_MAX_SPARE 128
#define ACCUM_IDLE_SPARE 8 /* when nothing is under way */

struct accum_config {
    size_t batch_bytes;  /* a batch is closed before it grows beyond; one record may be larger */
    size_t buffer_bytes; /* of all batches that are not done */
    int64_t linger_ms;
    uint32_t max_in_flight; /* batches of a partition that are taken and not done */
    uint64_t seed;
};

struct accum_topic;

struct accum_partition {
    struct accum_partition *next_ready;
    struct accum_partition *linger_prev; /* list of those whose open batch waits for linger_ms */
    struct accum_partition *linger_next;
    struct accum_topic *topic;
    struct send_batch *open;
    struct send_batch *closed_first;
    struct send_batch *closed_last;
    int32_t index;
    uint32_t taken;
    bool ready;     /* in the ready list */
    bool lingering; /* in the linger list */
};

struct accum_topic {
    struct accum_topic *next; /* of all */
    char name[250];
    size_t name_size;
    int32_t handle;                      /* the client's; -1: not known yet */
    bool known;                          /* records may be appended */
    int32_t partition_count;             /* that records are spread over */
    int32_t partition_capacity;          /* of partitions */
    size_t max_message_bytes;            /* largest batch that the topic takes */
    struct accum_partition **partitions; /* each made at its first record */
    struct partitioner partitioner;
};

struct accum {
    struct accum_config config;
    struct accum_topic *topics;
    struct accum_topic *last_topic; /* asked for last: nearly always asked for next */
    struct accum_partition *ready_first;
    struct accum_partition *ready_last;
    struct accum_partition *lingering;
    struct send_batch *batches; /* all that are not done, oldest first */
    struct send_batch *spare;   /* next_closed links them */
    uint32_t spare_count;
    struct send_opaques spare_opaques[ACCUM_IDLE_SPARE]; /* empty ones, for batches without */
    uint32_t spare_opaques_count;
    size_t used; /* bytes of buffer_bytes */
    uint64_t next_number;
    struct rng rng;
};

/* A record to append; views are borrowed during the call. */
struct accum_record {
    int32_t partition; /* -1: the partitioner chooses */
    struct bytes key;
    struct bytes value;
    const struct record_header *headers;
    size_t header_count;
    int64_t timestamp;
    uint64_t opaque; /* 0: none */
    void *waiter;    /* of a call that waits for this record, or NULL; instead of opaque */
};

void accum_init(struct accum *accum, const struct accum_config *config);

/* Frees everything; batches that are taken must have come back. */
void accum_deinit(struct accum *accum);

/* The topic of that name, made if it is new; NULL if memory is out or the name is longer than a
 * topic's may be. */
struct accum_topic *accum_topic(struct accum *accum, const char *name);

/* What METADATA says of the topic now. False if memory is out. */
bool accum_topic_known(struct accum_topic *topic, int32_t handle, int32_t partition_count,
                       int32_t max_message_bytes);

/* Encodes a record into the open batch of its partition. topic is known. *ret_wake: something
 * became ready that was not, or a linger began: the background thread must look.
 * DMQ_ERR_BUFFER_FULL (the budget), DMQ_ERR_BATCH_TOO_LARGE,
 * DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION (no such partition), DMQ_ERR_INVALID_TIMESTAMP,
 * DMQ_ERR_INVALID_ARGUMENT, DMQ_ERR_NOMEM: nothing was appended. */
dmq_err accum_append(struct accum *accum, struct accum_topic *topic,
                     const struct accum_record *record, int64_t now_ms, bool *ret_wake);

/* The next batch that may leave, or NULL. It is the sender's until accum_done. */
struct send_batch *accum_take(struct accum *accum, int64_t now_ms);

/* When accum_take must be asked again if nothing else happens; INT64_MAX: never. */
int64_t accum_wake_at(const struct accum *accum);

/* Takes an array of opaques back that was taken from a batch, to be used again. */
void accum_give_opaques(struct accum *accum, struct send_opaques *opaques);

/* A taken batch is done with: its memory is used again, its partition may have become ready. */
void accum_done(struct accum *accum, struct send_batch *batch);

/* Closes all open batches, so that they leave without waiting. Returns a mark: everything that was
 * appended before is done when accum_flushed(mark) is true. */
uint64_t accum_flush(struct accum *accum);
bool accum_flushed(const struct accum *accum, uint64_t mark);

void accum_check_invariants(const struct accum *accum);

#endif
