/* A batch of records on its way out. One struct from the first record until the delivery, so that
 * nothing is copied or allocated when it goes from the application's thread (accum.h builds it) to
 * the background thread (sender.h sends it) and back. */
#ifndef LIBDMQ_CLIENT_SEND_BATCH_H
#define LIBDMQ_CLIENT_SEND_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/wire/batch_build.h"

struct accum_partition;
struct client_request;

/* A record of the batch whose fate the application wants to know. */
struct send_opaque {
    union {
        uint64_t opaque;
        void *waiter; /* of a call that waits for this record */
    } u;
    int64_t timestamp;
    int32_t index; /* in the batch */
    bool has_waiter;
};

/* An array of them that goes with the batch, and on to whoever takes the deliveries. */
struct send_opaques {
    struct send_opaque *items;
    uint32_t count;
    uint32_t capacity;
};

struct send_batch {
    /* ---- of the accumulator; the application's threads, under the producer's lock */
    struct send_batch *prev; /* all that are not done, in order of creation */
    struct send_batch *next;
    struct send_batch *next_closed; /* of its partition, while full and not taken */
    struct accum_partition *home;
    uint64_t number; /* in order of creation */
    size_t charged;  /* bytes of the budget that it holds */
    struct send_opaques opaques;
    struct batch_builder builder;

    /* ---- set when it is taken, then read-only */
    int64_t created_ms; /* of the first record, on the clock of events */
    int32_t topic;      /* the client's handle */
    int32_t partition;
    int32_t count;

    /* ---- of the sender */
    struct send_batch *queue_prev; /* of its partition */
    struct send_batch *queue_next;
    struct client_request *request; /* that it is in flight with, or NULL */
    struct buf *data;               /* the finished batch; NULL until it is numbered */
    int32_t base_sequence;          /* BATCH_NO_SEQUENCE: none yet */
    bool maybe_done;                /* an attempt ended without an answer */

    /* ---- the outcome */
    struct err_msg result;
    int64_t base_offset; /* -1: not known */
};

#endif
