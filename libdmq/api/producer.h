/* A producer's struct, for producer.c (the application's side) and delivery.c (the other). */
#ifndef LIBDMQ_API_PRODUCER_H
#define LIBDMQ_API_PRODUCER_H

#include <time.h>

#include "libdmq/api/api.h"
#include "libdmq/client/accum.h"

/* A call that waits for one record; freed by whichever of the two comes last. */
struct send_waiter {
    bool done;
    bool abandoned; /* the call has given up */
    uint64_t opaque;
    struct err_msg result;
    dmq_delivery delivery;
};

/* Outcomes of one batch, for dmq_producer_poll. */
struct delivered {
    struct delivered *next;
    struct send_opaques opaques;
    uint32_t taken;
    dmq_err code;
    int32_t partition;
    int64_t base_offset; /* -1: not known */
};

/* What the time was at a tick of the coarse clock. */
struct send_clock {
    struct timespec tick;
    int64_t now_ms;
    int64_t wall_ms;
};

struct dmq_producer {
    struct gate gate;
    struct dmq_client *client;
    struct dmq_producer *next; /* of the client's; changed by the background thread only */
    struct dmq_producer *prev;
    uint64_t id;
    struct command *close_command;
    bool closed; /* under the client's gate */

    /* ---- under the gate */
    struct send_clock clock;
    struct accum accum;
    struct delivered *first_delivered;
    struct delivered *last_delivered;
    uint64_t undelivered; /* deliveries that dmq_producer_poll has not given yet */
    bool is_source;       /* of the client's readiness */
    uint64_t failed;      /* records since the last flush */
    struct err_msg first_failure;
    struct {
        int32_t topic;
        int32_t partition;
        struct err_msg why;
    } waits;                /* the partition that failed last, until it goes on; DMQ_OK: none */
    struct err_msg failure; /* the client is gone */
};

/* Whether no more deliveries are kept: what they take is bounded by buffer.memory, too. */
static inline bool
delivery_is_full(const struct dmq_producer *producer)
{
    return producer->undelivered >=
           producer->accum.config.buffer_bytes / sizeof(struct send_opaque) + 1;
}

void delivery_free(struct dmq_producer *producer);

#endif
