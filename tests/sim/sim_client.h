/* Requests to a simulated broker, one line each, for tests. */
#ifndef TESTS_SIM_SIM_CLIENT_H
#define TESTS_SIM_SIM_CLIENT_H

#include "tests/sim/sim_broker.h"

/* The answer to a request, decoded; all of it lives in the arena. The header's error, or that of
 * the body's decoding; DMQ_ERR_TIMEOUT if there is none. */
dmq_err sim_answer(struct sim_broker *sim, int64_t correlation, int api_key, struct arena *arena,
                   void *ret_body);

/* Sends on the client listener, runs until nothing moves, takes the answer. */
dmq_err sim_ask(struct sim_broker *sim, int api_key, const void *body, struct arena *arena,
                void *ret_body);

/* A batch of one or more records with the same value. */
struct sim_batch {
    int64_t producer_id; /* 0: not idempotent */
    int16_t producer_epoch;
    int32_t sequence;
    int32_t count; /* 0: one record */
    const char *value;
    int64_t timestamp; /* 0: 1000 */
    uint16_t attributes;
};
struct buf *sim_batch_make(const struct sim_batch *batch);

/* A PRODUCE that was sent and maybe answered. */
struct sim_produced {
    int64_t correlation;
    bool answered;
    dmq_err err; /* of the request, or of its partition */
    int64_t base_offset;
    char message[256];
};

/* Sends one batch; does not run the broker. epoch -1: not known. */
int64_t sim_produce_send(struct sim_broker *sim, struct uuid topic_id, int32_t partition,
                         int16_t acks, struct buf *batch);
struct sim_produced sim_produce_answer(struct sim_broker *sim, int64_t correlation);

/* Sends, runs until nothing moves, takes the answer. */
struct sim_produced sim_produce(struct sim_broker *sim, struct uuid topic_id, int32_t partition,
                                int16_t acks, const struct sim_batch *batch);

/* A FETCH of one partition that was answered. */
struct sim_fetched {
    bool answered;
    dmq_err err;
    int64_t high_watermark;
    int64_t first_offset; /* of the first batch; -1: none came */
    int64_t end;          /* after the last batch */
    size_t batches;
    size_t bytes;
    int32_t diverging_epoch;
    int64_t diverging_end; /* -1: no divergence */
};
struct sim_fetch {
    struct uuid topic_id;
    int32_t partition;
    int32_t epoch; /* -1: not known */
    int64_t offset;
    int32_t min_bytes;
    int32_t max_wait_ms;
    int32_t max_bytes; /* 0: 1 MiB */
    bool has_read;     /* up to offset, the last of it in last_epoch */
    int32_t last_epoch;
};
int64_t sim_fetch_send(struct sim_broker *sim, const struct sim_fetch *fetch);
struct sim_fetched sim_fetch_answer(struct sim_broker *sim, int64_t correlation);
struct sim_fetched sim_fetch(struct sim_broker *sim, const struct sim_fetch *fetch);

#endif
