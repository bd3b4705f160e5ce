#include "tests/sim/sim_client.h"

#include <stdio.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/batch_build.h"

dmq_err
sim_answer(struct sim_broker *sim, int64_t correlation, int api_key, struct arena *arena,
           void *ret_body)
{
    struct sim_reply *reply = sim_broker_reply(sim, correlation);
    if (reply == NULL) {
        return DMQ_ERR_TIMEOUT;
    }
    dmq_err err = sim_reply_decode(reply, api_key, arena, ret_body);
    sim_reply_free(reply);
    return err;
}

dmq_err
sim_ask(struct sim_broker *sim, int api_key, const void *body, struct arena *arena, void *ret_body)
{
    int64_t correlation = sim_broker_request(sim, api_key, body, NULL, 0);
    sim_broker_run(sim);
    return sim_answer(sim, correlation, api_key, arena, ret_body);
}

struct buf *
sim_batch_make(const struct sim_batch *batch)
{
    struct batch_builder builder;
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    struct buf *made;
    batch_builder_init(&builder, 1 << 20);
    for (int32_t i = 0; i < (batch->count == 0 ? 1 : batch->count); i++) {
        dmq_err err =
            batch_builder_append(&builder, batch->timestamp == 0 ? 1000 : batch->timestamp,
                                 (struct bytes){NULL, 0}, bytes_str(batch->value), NULL, 0);
        DMQ_ASSERT(err == DMQ_OK);
    }
    options.attributes = batch->attributes;
    if (batch->producer_id != 0) {
        options.producer_id = batch->producer_id;
        options.producer_epoch = batch->producer_epoch;
        options.base_sequence = batch->sequence;
    }
    dmq_err err = batch_builder_finish(&builder, &options, NULL, &made);
    DMQ_ASSERT(err == DMQ_OK);
    batch_builder_deinit(&builder);
    return made;
}

int64_t
sim_produce_send(struct sim_broker *sim, struct uuid topic_id, int32_t partition, int16_t acks,
                 struct buf *batch)
{
    struct produce_partition to = {
        .topic_id = topic_id, .partition = partition, .leader_epoch = -1};
    const struct produce_request request = {.acks = acks, .partitions = &to, .partitions_count = 1};
    return sim_broker_request(sim, API_PRODUCE, &request, &batch, 1);
}

struct sim_produced
sim_produce_answer(struct sim_broker *sim, int64_t correlation)
{
    struct sim_produced produced = {.correlation = correlation, .base_offset = -1};
    struct sim_reply *reply = sim_broker_reply(sim, correlation);
    if (reply == NULL) {
        return produced;
    }
    struct produce_response response;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    produced.answered = true;
    produced.err = sim_reply_decode(reply, API_PRODUCE, &arena, &response);
    if (produced.err == DMQ_OK) {
        const struct produce_result *result = &response.partitions[0];
        produced.err = result->error;
        produced.base_offset = result->base_offset;
        snprintf(produced.message, sizeof(produced.message), "%.*s", (int)result->message.size,
                 (const char *)result->message.data);
    }
    arena_deinit(&arena);
    sim_reply_free(reply);
    return produced;
}

struct sim_produced
sim_produce(struct sim_broker *sim, struct uuid topic_id, int32_t partition, int16_t acks,
            const struct sim_batch *batch)
{
    int64_t correlation = sim_produce_send(sim, topic_id, partition, acks, sim_batch_make(batch));
    sim_broker_run(sim);
    return sim_produce_answer(sim, correlation);
}

int64_t
sim_fetch_send(struct sim_broker *sim, const struct sim_fetch *fetch)
{
    int32_t max_bytes = fetch->max_bytes == 0 ? 1 << 20 : fetch->max_bytes;
    struct fetch_partition from = {.topic_id = fetch->topic_id,
                                   .partition = fetch->partition,
                                   .leader_epoch = fetch->epoch,
                                   .fetch_offset = fetch->offset,
                                   .max_bytes = max_bytes,
                                   .last_fetched_epoch = fetch->has_read ? fetch->last_epoch : -1,
                                   .log_end = -1,
                                   .synced_end = -1};
    const struct fetch_request request = {.replica_id = -1,
                                          .broker_epoch = -1,
                                          .max_wait_ms = fetch->max_wait_ms,
                                          .min_bytes = fetch->min_bytes,
                                          .max_bytes = max_bytes,
                                          .partitions = &from,
                                          .partitions_count = 1};
    return sim_broker_request(sim, API_FETCH, &request, NULL, 0);
}

static void
walk(struct sim_fetched *fetched, struct bytes rest)
{
    struct bytes batch;
    fetched->bytes = rest.size;
    while (batch_next(&rest, &batch) == DMQ_OK) {
        struct batch_header header;
        dmq_err err = batch_parse(batch, &header);
        DMQ_ASSERT(err == DMQ_OK);
        if (fetched->batches++ == 0) {
            fetched->first_offset = header.base_offset;
        }
        fetched->end = batch_last_offset(&header) + 1;
    }
    DMQ_ASSERT(rest.size == 0);
}

struct sim_fetched
sim_fetch_answer(struct sim_broker *sim, int64_t correlation)
{
    struct sim_fetched fetched = {.first_offset = -1, .end = -1, .diverging_end = -1};
    struct sim_reply *reply = sim_broker_reply(sim, correlation);
    if (reply == NULL) {
        return fetched;
    }
    struct fetch_response response;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    fetched.answered = true;
    fetched.err = sim_reply_decode(reply, API_FETCH, &arena, &response);
    if (fetched.err == DMQ_OK) {
        fetched.err = response.partitions[0].error;
        fetched.high_watermark = response.partitions[0].high_watermark;
        fetched.diverging_epoch = response.partitions[0].diverging_epoch;
        fetched.diverging_end = response.partitions[0].diverging_end;
        walk(&fetched, buf_bytes(reply->frames[2]));
    }
    arena_deinit(&arena);
    sim_reply_free(reply);
    return fetched;
}

struct sim_fetched
sim_fetch(struct sim_broker *sim, const struct sim_fetch *fetch)
{
    int64_t correlation = sim_fetch_send(sim, fetch);
    sim_broker_run(sim);
    return sim_fetch_answer(sim, correlation);
}
