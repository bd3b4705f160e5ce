/* Sending, on the application's threads: a record is encoded straight into the open batch of its
 * partition. The background thread is woken only when a batch becomes ready to leave.
 *
 * In the common case a send is: a lock that nobody else wants, one read of the coarse clock, the
 * record's bytes written where they will be sent from. Everything else (an unknown topic, a full
 * buffer, the exact time) is off that path. */
#include "libdmq/api/producer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libdmq/api/options.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/random.h"

_Static_assert(sizeof(struct record_header) == sizeof(dmq_header) &&
                   offsetof(struct record_header, value) == offsetof(dmq_header, value) &&
                   offsetof(struct bytes, size) == offsetof(dmq_bytes, size),
               "headers of the application are encoded where they lie");

/* sizeof(dmq_record) in the first version of the ABI. */
#define RECORD_SIZE_1 (offsetof(dmq_record, opaque) + sizeof(uint64_t))

struct producer_options {
    int64_t acks;
    int64_t idempotent;
    int64_t compression;
    int64_t linger_ms;
    int64_t batch_bytes;
    int64_t buffer_bytes;
    int64_t delivery_timeout_ms;
    int64_t request_timeout_ms;
    int64_t max_in_flight;
};

static const struct option_choice acks_choices[] = {
    {"all", -1}, {"-1", -1}, {"1", 1}, {"0", 0}, {NULL, 0}};
static const struct option_choice compressions[] = {
    {"none", BATCH_NONE}, {"lz4", BATCH_LZ4}, {"zstd", BATCH_ZSTD}, {NULL, 0}};

#define AT(member) offsetof(struct producer_options, member)
static const struct option_spec producer_specs[] = {
    {"acks", OPTION_CHOICE, AT(acks), 0, 0, -1, NULL, acks_choices},
    {"enable.idempotence", OPTION_BOOL, AT(idempotent), 0, 0, 1, NULL, NULL},
    {"compression.type", OPTION_CHOICE, AT(compression), 0, 0, BATCH_NONE, NULL, compressions},
    {"linger.ms", OPTION_INT, AT(linger_ms), 0, 900000, 0, NULL, NULL},
    {"batch.size", OPTION_INT, AT(batch_bytes), 128, 1 << 30, 524288, NULL, NULL},
    {"buffer.memory", OPTION_INT, AT(buffer_bytes), 1024, INT64_C(1) << 40, 67108864, NULL, NULL},
    {"delivery.timeout.ms", OPTION_INT, AT(delivery_timeout_ms), 1, INT32_MAX, 120000, NULL, NULL},
    {"request.timeout.ms", OPTION_INT, AT(request_timeout_ms), 1, 3600000, 30000, NULL, NULL},
    {"max.in.flight", OPTION_INT, AT(max_in_flight), 1, 5, 5, NULL, NULL},
};
#undef AT
static const struct option_table producer_table = {
    "producer", producer_specs, sizeof(producer_specs) / sizeof(producer_specs[0])};

/* ---- opening and closing --------------------------------------------------------------------- */

static void
init_accum(struct dmq_producer *producer, const struct producer_options *options)
{
    struct accum_config config = {
        .batch_bytes = (size_t)options->batch_bytes,
        .buffer_bytes = (size_t)options->buffer_bytes,
        .linger_ms = options->linger_ms,
        /* Without idempotence one, for the order; sender.c says why. */
        .max_in_flight = options->idempotent != 0 ? (uint32_t)options->max_in_flight : 1,
        .seed = random_u64(),
    };
    accum_init(&producer->accum, &config);
}

static struct command *
open_command(uint64_t id, const struct producer_options *options)
{
    struct command *command = command_new(CLIENT_PRODUCER_OPENED, id);
    if (command != NULL) {
        command->producer =
            (struct sender_config){.acks = (int16_t)options->acks,
                                   .idempotent = options->idempotent != 0,
                                   .compression = (uint16_t)options->compression,
                                   .max_in_flight = (uint32_t)options->max_in_flight,
                                   .delivery_timeout_ms = options->delivery_timeout_ms,
                                   .request_timeout_ms = options->request_timeout_ms};
        command->event.u.producer = &command->producer;
    }
    return command;
}

dmq_err
dmq_producer_open(dmq_client *client, const dmq_option *options, size_t option_count,
                  dmq_producer **ret_producer, dmq_error *error)
{
    struct producer_options values;
    dmq_err err = client_check(client, error);
    if (err == DMQ_OK) {
        err = options_read(&producer_table, options, option_count, &values, error);
    }
    if (err != DMQ_OK) {
        return err;
    }
    gate_lock(&client->gate);
    uint64_t id = client->next_id++;
    gate_unlock(&client->gate);
    struct dmq_producer *producer = calloc(1, sizeof(*producer));
    struct command *command = open_command(id, &values);
    struct command *close_command = command_new(CLIENT_PRODUCER_CLOSED, id);
    if (producer == NULL || command == NULL || close_command == NULL) {
        command_free(command);
        command_free(close_command);
        free(producer);
        return api_error(error, DMQ_ERR_NOMEM, "out of memory");
    }
    producer->client = client;
    producer->id = id;
    producer->close_command = close_command;
    gate_init(&producer->gate, client);
    init_accum(producer, &values);
    client_ref(client);
    gate_lock(&client->gate);
    producer->failure = client->failure; /* of a client that has stopped: nobody will tell it */
    DL_PREPEND(client->producers, producer);
    gate_unlock(&client->gate);
    command_post(client, command);
    *ret_producer = producer;
    return DMQ_OK;
}

void
dmq_producer_close(dmq_producer *producer)
{
    if (producer == NULL || client_check(producer->client, NULL) != DMQ_OK) {
        return;
    }
    struct dmq_client *client = producer->client;
    client_end_handle(client, producer->close_command, &producer->closed);
    if (!producer->closed) { /* nobody is left who would */
        gate_lock(&client->gate);
        DL_DELETE(client->producers, producer);
        gate_unlock(&client->gate);
    }
    struct err_msg closed;
    err_set(&closed, DMQ_ERR_CLOSED, "the producer was closed");
    producer_failed(producer, &closed);
    delivery_free(producer);
    accum_deinit(&producer->accum);
    gate_deinit(&producer->gate);
    free(producer);
    client_unref(client);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* The time, exact for the first record of a tick of the coarse clock and at most a tick (4 ms) old
 * for those that follow at once: reading the exact clocks costs as much as encoding a small record.
 */
static const struct send_clock *
read_clock(struct send_clock *clock)
{
    struct timespec tick;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &tick);
    if (tick.tv_nsec != clock->tick.tv_nsec || tick.tv_sec != clock->tick.tv_sec) {
        clock->tick = tick;
        clock->now_ms = clock_ms();
        clock->wall_ms = clock_wall_ms();
    }
    return clock;
}

static struct accum_record
record_of(const dmq_record *record, int64_t wall_ms, void *waiter)
{
    return (struct accum_record){
        .partition = record->partition,
        .key = bytes_of(record->key.data, record->key.size),
        .value = bytes_of(record->value.data, record->value.size),
        .headers = (const struct record_header *)(const void *)record->headers,
        .header_count = record->header_count,
        .timestamp = record->timestamp != 0 ? record->timestamp : wall_ms,
        .opaque = record->opaque,
        .waiter = waiter,
    };
}

static const char *
why_full(const struct dmq_producer *producer)
{
    if (delivery_is_full(producer)) {
        return "deliveries are not taken (dmq_producer_poll)";
    }
    return producer->waits.why.code == DMQ_OK ? "the brokers do not keep up"
                                              : producer->waits.why.text;
}

static dmq_err
append_error(struct dmq_producer *producer, const struct accum_topic *topic,
             const dmq_record *record, dmq_err err, dmq_error *error)
{
    switch (err) {
    case DMQ_ERR_BATCH_TOO_LARGE:
        return api_error(error, err,
                         "a record of %zu bytes is larger than a batch of topic '%s' may be "
                         "(max.message.bytes=%zu)",
                         record->key.size + record->value.size, topic->name,
                         topic->max_message_bytes);
    case DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION:
        return api_error(error, err,
                         "topic '%s' has %d partitions (0 to %d): there is no "
                         "partition %d",
                         topic->name, (int)topic->partition_count, (int)topic->partition_count - 1,
                         (int)record->partition);
    case DMQ_ERR_BUFFER_FULL:
        return api_error(error, err, "the send buffer is full (buffer.memory=%zu): %s",
                         producer->accum.config.buffer_bytes, why_full(producer));
    case DMQ_ERR_INVALID_TIMESTAMP:
        return api_error(error, err, "timestamp %lld is out of range",
                         (long long)record->timestamp);
    case DMQ_ERR_INVALID_ARGUMENT:
        return api_error(error, err, "the key of a header is null");
    default:
        return api_error(error, err, "%s", err_text(err));
    }
}

/* What a send needs while it runs, with the gate held. */
struct send_call {
    struct dmq_producer *producer;
    struct accum_topic *topic;
    int64_t timeout_ms;
    int64_t deadline_ms; /* 0: not computed yet: most sends never wait */
    bool wake;
    dmq_error *error;
};

static int64_t
call_deadline(struct send_call *call)
{
    if (call->deadline_ms == 0) {
        call->deadline_ms = deadline_of(call->timeout_ms);
    }
    return call->deadline_ms;
}

static void
wake_if_ready(struct send_call *call)
{
    if (call->wake) {
        call->wake = false;
        wakeup_signal(&call->producer->client->wakeup);
    }
}

/* Asks for the topic with the gate given up meanwhile. */
static dmq_err
learn_topic(struct send_call *call)
{
    struct dmq_producer *producer = call->producer;
    struct ask ask;
    gate_unlock(&producer->gate);
    dmq_err err = ask_topic(producer->client, call->topic->name, call_deadline(call), &ask);
    gate_lock(&producer->gate);
    if (err == DMQ_OK &&
        !accum_topic_known(call->topic, ask.handle, ask.partition_count, ask.max_message_bytes)) {
        err = err_set(&ask.result, DMQ_ERR_NOMEM, "out of memory");
    }
    if (err == DMQ_ERR_TIMEOUT) { /* of a record that was not taken: surely not done */
        err = err_set(&ask.result, DMQ_ERR_BUFFER_FULL,
                      "what topic '%s' consists of was not learned in time", call->topic->name);
    }
    api_result(call->error, &ask.result);
    ask_deinit(&ask);
    return err;
}

/* The buffer is full: waits until some batch is done with. */
static dmq_err
wait_for_room(struct send_call *call)
{
    struct gate *gate = &call->producer->gate;
    wake_if_ready(call);
    if (call->timeout_ms == 0) {
        return DMQ_ERR_BUFFER_FULL;
    }
    dmq_err err = gate_wait(gate, call_deadline(call));
    return err == DMQ_ERR_TIMEOUT ? DMQ_ERR_BUFFER_FULL : err;
}

static dmq_err
send_one(struct send_call *call, const dmq_record *record, void *waiter)
{
    struct dmq_producer *producer = call->producer;
    if (record->size < RECORD_SIZE_1 || record->partition < DMQ_PARTITION_AUTO) {
        return api_error(call->error, DMQ_ERR_INVALID_ARGUMENT,
                         record->size < RECORD_SIZE_1
                             ? "dmq_record.size is not sizeof(dmq_record)"
                             : "a partition is DMQ_PARTITION_AUTO or a number from 0");
    }
    const struct send_clock *clock = read_clock(&producer->clock);
    struct accum_record item = record_of(record, clock->wall_ms, waiter);
    for (;;) {
        if (producer->failure.code != DMQ_OK) {
            return api_result(call->error, &producer->failure);
        }
        if (!call->topic->known) {
            dmq_err err = learn_topic(call);
            if (err != DMQ_OK) {
                return err;
            }
            continue; /* it may be gone again */
        }
        bool wake = false;
        dmq_err err = DMQ_ERR_BUFFER_FULL;
        if (item.opaque == 0 || !delivery_is_full(producer)) {
            err = accum_append(&producer->accum, call->topic, &item, clock->now_ms, &wake);
        }
        call->wake |= wake;
        if (err == DMQ_OK) {
            return DMQ_OK;
        }
        if (err == DMQ_ERR_BUFFER_FULL) {
            err = wait_for_room(call);
        }
        if (err != DMQ_OK) {
            return append_error(producer, call->topic, record, err, call->error);
        }
    }
}

/* Begins a call: with the gate held on success. */
static dmq_err
begin(struct dmq_producer *producer, const char *topic, struct send_call *call)
{
    if (producer == NULL || topic == NULL) {
        return api_error(call->error, DMQ_ERR_INVALID_ARGUMENT, "%s is NULL",
                         producer == NULL ? "the producer" : "the topic");
    }
    dmq_err err = client_check(producer->client, call->error);
    if (err != DMQ_OK) {
        return err;
    }
    call->producer = producer;
    gate_lock(&producer->gate);
    call->topic = accum_topic(&producer->accum, topic);
    if (call->topic == NULL) {
        gate_unlock(&producer->gate);
        return api_error(call->error, strlen(topic) > 249 ? DMQ_ERR_INVALID_TOPIC : DMQ_ERR_NOMEM,
                         "topic '%.100s...' cannot be: a name has 249 characters at most", topic);
    }
    return DMQ_OK;
}

static void
end(struct send_call *call)
{
    gate_unlock(&call->producer->gate);
    wake_if_ready(call);
}

dmq_err
dmq_producer_send(dmq_producer *producer, const char *topic, const dmq_record *record,
                  int64_t timeout_ms, dmq_error *error)
{
    struct send_call call = {.timeout_ms = timeout_ms, .error = error};
    dmq_err err = begin(producer, topic, &call);
    if (err != DMQ_OK) {
        return err;
    }
    err = send_one(&call, record, NULL);
    end(&call);
    return err;
}

dmq_err
dmq_producer_send_many(dmq_producer *producer, const char *topic, const dmq_record *records,
                       size_t stride, size_t count, int64_t timeout_ms, size_t *ret_sent,
                       dmq_error *error)
{
    struct send_call call = {.timeout_ms = timeout_ms, .error = error};
    size_t sent = 0;
    dmq_err err = begin(producer, topic, &call);
    if (err == DMQ_OK) {
        while (sent < count && err == DMQ_OK) {
            const void *record = (const char *)records + sent * stride;
            err = send_one(&call, record, NULL);
            sent += err == DMQ_OK;
        }
        end(&call);
    }
    if (ret_sent != NULL) {
        *ret_sent = sent;
    }
    return err;
}

dmq_err
dmq_producer_prepare(dmq_producer *producer, const char *topic, int64_t timeout_ms,
                     dmq_error *error)
{
    struct send_call call = {.timeout_ms = timeout_ms, .error = error};
    dmq_err err = begin(producer, topic, &call);
    if (err != DMQ_OK) {
        return err;
    }
    while (!call.topic->known && err == DMQ_OK) {
        err = producer->failure.code;
        if (err != DMQ_OK) {
            api_result(error, &producer->failure);
        } else if (timeout_ms == 0) {
            err = api_error(error, DMQ_ERR_BUFFER_FULL,
                            "what topic '%s' consists of is not known yet", topic);
        } else {
            err = learn_topic(&call);
        }
    }
    end(&call);
    return err;
}

/* ---- sending and waiting --------------------------------------------------------------------- */

/* With the gate held: waits for the outcome; the waiter is this call's afterwards, or abandoned. */
static dmq_err
wait_for_outcome(struct send_call *call, struct send_waiter *waiter)
{
    dmq_err err = DMQ_OK;
    wake_if_ready(call);
    while (!waiter->done && err == DMQ_OK) {
        err = call->producer->failure.code;
        if (err == DMQ_OK) {
            err = gate_wait(&call->producer->gate, call_deadline(call));
        }
    }
    waiter->abandoned = !waiter->done;
    return waiter->done ? DMQ_OK : err;
}

dmq_err
dmq_producer_send_wait(dmq_producer *producer, const char *topic, const dmq_record *record,
                       int64_t timeout_ms, dmq_delivery *ret_delivery, dmq_error *error)
{
    struct send_call call = {.timeout_ms = timeout_ms, .error = error};
    struct send_waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL) {
        return api_error(error, DMQ_ERR_NOMEM, "out of memory");
    }
    dmq_err err = begin(producer, topic, &call);
    if (err != DMQ_OK) {
        free(waiter);
        return err;
    }
    waiter->opaque = record->opaque;
    err = send_one(&call, record, waiter);
    if (err != DMQ_OK) {
        end(&call);
        free(waiter);
        return err;
    }
    err = wait_for_outcome(&call, waiter);
    end(&call);
    if (err != DMQ_OK) { /* the waiter is freed with the batch */
        return api_error(error, err,
                         "the record of topic '%s' was not acknowledged yet (%s): it may be stored",
                         topic, err_text(err));
    }
    if (ret_delivery != NULL) {
        *ret_delivery = waiter->delivery;
    }
    err = api_result(error, &waiter->result);
    free(waiter);
    return err;
}
