/* A consumer's struct, for consumer.c (what is consumed) and fetched.c (what was fetched). */
#ifndef LIBDMQ_API_CONSUMER_H
#define LIBDMQ_API_CONSUMER_H

#include "libdmq/api/api.h"
#include "libdmq/api/batch.h"

/* A partition that is assigned. */
struct consumer_slot {
    char topic[250];
    int32_t handle;
    int32_t partition;
    int32_t partition_count; /* of the topic, when it was assigned */
    uint32_t generation;     /* of the assignment or seek; older fetches are dropped */
    int64_t position;        /* next record that fetch gives; < 0 only while it is looked up */
    int64_t timestamp;       /* what to look up then */
    int64_t high_watermark;
};

/* A frame that was fetched, or an error of a partition. */
struct fetched {
    struct fetched *prev;
    struct fetched *next;
    uint32_t slot;
    struct batch_cursor cursor; /* frame NULL: the error */
    int64_t high_watermark;
    struct err_msg error;
};

struct dmq_consumer {
    struct gate gate;
    struct dmq_client *client;
    struct dmq_consumer *next; /* of the client's; changed by the background thread only */
    struct dmq_consumer *prev;
    uint64_t id;
    struct command *close_command;
    bool closed; /* under the client's gate */
    bool check_crcs;
    struct batch_reader reader; /* of the application's thread */

    /* ---- under the gate */
    struct consumer_slot *slots;
    uint32_t slot_count;
    uint32_t last_generation;
    struct fetched *queue;
    bool is_source;         /* of the client's readiness */
    int64_t consumed_bytes; /* that the machine does not know of yet */
    bool starved;           /* the machine would fetch more at once if it knew */
    struct err_msg failure; /* the client is gone */
};

/* With the gate held: drops what was fetched of a slot; -1: of all. */
void fetched_drop(struct dmq_consumer *consumer, int64_t slot);

/* Without the gate, when no other thread knows the consumer any more. */
void fetched_drop_all(struct dmq_consumer *consumer);

#endif
