/* Reading. The background thread fetches ahead and puts frames into the queue; fetch turns them
 * into batches on the application's thread: CRC, decompression and decoding are its work.
 *
 * Assigning has two halves. First a plan: topics are looked up, names and times become offsets; it
 * can fail, and then nothing has changed. Then the switch, which cannot: the new slots replace the
 * old, the queue is emptied, the machine is told. Effects that were on their way for the old slots
 * are known by their generation, and dropped. */
#include "libdmq/api/consumer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/options.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"

/* sizeof(dmq_assignment) in the first version of the ABI. */
#define ASSIGNMENT_SIZE_1 (offsetof(dmq_assignment, timestamp) + sizeof(int64_t))

struct consumer_options {
    int64_t min_bytes;
    int64_t max_wait_ms;
    int64_t max_bytes;
    int64_t max_partition_bytes;
    int64_t max_queued_bytes;
    int64_t check_crcs;
    int64_t reset;
};

static const struct option_choice resets[] = {{"error", FETCH_RESET_ERROR},
                                              {"earliest", FETCH_RESET_START},
                                              {"latest", FETCH_RESET_END},
                                              {NULL, 0}};

#define AT(member) offsetof(struct consumer_options, member)
#define MAX_BYTES (1 << 30)
static const struct option_spec consumer_specs[] = {
    {"fetch.min.bytes", OPTION_INT, AT(min_bytes), 1, MAX_BYTES, 1, NULL, NULL},
    {"fetch.max.wait.ms", OPTION_INT, AT(max_wait_ms), 1, 300000, 500, NULL, NULL},
    {"fetch.max.bytes", OPTION_INT, AT(max_bytes), 1, MAX_BYTES, 33554432, NULL, NULL},
    {"max.partition.fetch.bytes", OPTION_INT, AT(max_partition_bytes), 1, MAX_BYTES, 8388608, NULL,
     NULL},
    {"queued.max.bytes", OPTION_INT, AT(max_queued_bytes), 1, MAX_BYTES, 33554432, NULL, NULL},
    {"check.crcs", OPTION_BOOL, AT(check_crcs), 0, 0, 1, NULL, NULL},
    {"auto.offset.reset", OPTION_CHOICE, AT(reset), 0, 0, FETCH_RESET_ERROR, NULL, resets},
};
#undef AT
static const struct option_table consumer_table = {
    "consumer", consumer_specs, sizeof(consumer_specs) / sizeof(consumer_specs[0])};

/* ---- opening and closing --------------------------------------------------------------------- */

static struct command *
open_command(uint64_t id, const struct consumer_options *options)
{
    struct command *command = command_new(CLIENT_CONSUMER_OPENED, id);
    if (command != NULL) {
        command->consumer =
            (struct fetcher_config){.min_bytes = (int32_t)options->min_bytes,
                                    .max_wait_ms = (int32_t)options->max_wait_ms,
                                    .max_bytes = (int32_t)options->max_bytes,
                                    .max_partition_bytes = (int32_t)options->max_partition_bytes,
                                    .max_queued_bytes = options->max_queued_bytes,
                                    .reset = (int)options->reset};
        command->event.u.consumer = &command->consumer;
    }
    return command;
}

dmq_err
dmq_consumer_open(dmq_client *client, const dmq_option *options, size_t option_count,
                  dmq_consumer **ret_consumer, dmq_error *error)
{
    struct consumer_options values;
    dmq_err err = client_check(client, error);
    if (err == DMQ_OK) {
        err = options_read(&consumer_table, options, option_count, &values, error);
    }
    if (err != DMQ_OK) {
        return err;
    }
    gate_lock(&client->gate);
    uint64_t id = client->next_id++;
    gate_unlock(&client->gate);
    struct dmq_consumer *consumer = calloc(1, sizeof(*consumer));
    struct command *command = open_command(id, &values);
    struct command *close_command = command_new(CLIENT_CONSUMER_CLOSED, id);
    if (consumer == NULL || command == NULL || close_command == NULL) {
        command_free(command);
        command_free(close_command);
        free(consumer);
        return api_error(error, DMQ_ERR_NOMEM, "out of memory");
    }
    consumer->client = client;
    consumer->id = id;
    consumer->close_command = close_command;
    consumer->check_crcs = values.check_crcs != 0;
    batch_reader_init(&consumer->reader, &COMPRESS_DEFAULT_LIMITS);
    gate_init(&consumer->gate, client);
    client_ref(client);
    gate_lock(&client->gate);
    consumer->failure = client->failure; /* of a client that has stopped: nobody will tell it */
    DL_PREPEND(client->consumers, consumer);
    gate_unlock(&client->gate);
    command_post(client, command);
    *ret_consumer = consumer;
    return DMQ_OK;
}

void
dmq_consumer_close(dmq_consumer *consumer)
{
    if (consumer == NULL || client_check(consumer->client, NULL) != DMQ_OK) {
        return;
    }
    struct dmq_client *client = consumer->client;
    client_end_handle(client, consumer->close_command, &consumer->closed);
    if (!consumer->closed) { /* nobody is left who would */
        gate_lock(&client->gate);
        DL_DELETE(client->consumers, consumer);
        gate_unlock(&client->gate);
    }
    fetched_drop_all(consumer);
    batch_reader_deinit(&consumer->reader);
    gate_deinit(&consumer->gate);
    free(consumer->slots);
    free(consumer);
    client_unref(client);
}

/* ---- positions ------------------------------------------------------------------------------- */

static struct consumer_slot *
find_slot(struct dmq_consumer *consumer, const char *topic, int32_t partition)
{
    for (uint32_t i = 0; i < consumer->slot_count; i++) {
        struct consumer_slot *slot = &consumer->slots[i];
        if (slot->partition == partition && strcmp(slot->topic, topic) == 0) {
            return slot;
        }
    }
    return NULL;
}

static dmq_err
check_consumer(dmq_consumer *consumer, dmq_error *error)
{
    if (consumer == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "the consumer is NULL");
    }
    return client_check(consumer->client, error);
}

static dmq_err
not_assigned(const char *topic, int32_t partition, dmq_error *error)
{
    return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                     "partition %d of topic '%s' is not assigned to this consumer", (int)partition,
                     topic);
}

/* Finds a slot: with the gate held on success. */
static dmq_err
enter_slot(dmq_consumer *consumer, const char *topic, int32_t partition, dmq_error *error,
           struct consumer_slot **ret_slot)
{
    dmq_err err = check_consumer(consumer, error);
    if (err != DMQ_OK) {
        return err;
    }
    if (topic == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "the topic is NULL");
    }
    gate_lock(&consumer->gate);
    *ret_slot = find_slot(consumer, topic, partition);
    if (*ret_slot == NULL) {
        gate_unlock(&consumer->gate);
        return not_assigned(topic, partition, error);
    }
    return DMQ_OK;
}

dmq_err
dmq_consumer_position(dmq_consumer *consumer, const char *topic, int32_t partition,
                      int64_t *ret_offset, dmq_error *error)
{
    struct consumer_slot *slot;
    dmq_err err = enter_slot(consumer, topic, partition, error, &slot);
    if (err == DMQ_OK) {
        *ret_offset = slot->position;
        gate_unlock(&consumer->gate);
    }
    return err;
}

dmq_err
dmq_consumer_high_watermark(dmq_consumer *consumer, const char *topic, int32_t partition,
                            int64_t *ret_offset, dmq_error *error)
{
    struct consumer_slot *slot;
    dmq_err err = enter_slot(consumer, topic, partition, error, &slot);
    if (err == DMQ_OK) {
        *ret_offset = slot->high_watermark;
        gate_unlock(&consumer->gate);
    }
    return err;
}

/* ---- assigning ------------------------------------------------------------------------------- */

/* The new slots while their positions are looked up. */
struct plan {
    struct dmq_client *client;
    struct consumer_slot *slots;
    size_t count;
    int64_t deadline_ms;
    dmq_error *error;
};

static dmq_err
check_assignment(const dmq_assignment *assignment, dmq_error *error)
{
    if (assignment->size < ASSIGNMENT_SIZE_1) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         "dmq_assignment.size is not sizeof(dmq_assignment)");
    }
    if (assignment->topic == NULL || assignment->partition < 0) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         "an assignment names a topic and a partition from 0");
    }
    if (assignment->offset < DMQ_OFFSET_TIMESTAMP ||
        (assignment->offset == DMQ_OFFSET_TIMESTAMP && assignment->timestamp < 0)) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         "an offset is a number from 0, or one of DMQ_OFFSET_*, and a timestamp "
                         "is a number from 0");
    }
    return DMQ_OK;
}

/* Topics are asked for once each: assignments of one topic mostly follow one another. */
static dmq_err
plan_topic(struct plan *plan, size_t i, const dmq_assignment *assignment)
{
    struct consumer_slot *slot = &plan->slots[i];
    struct ask ask = {0};
    const struct consumer_slot *before = i == 0 ? NULL : &plan->slots[i - 1];
    if (before != NULL && strcmp(before->topic, assignment->topic) == 0) {
        memcpy(slot->topic, before->topic, sizeof(slot->topic));
        slot->handle = before->handle;
        slot->partition_count = before->partition_count;
    } else {
        dmq_err err = ask_topic(plan->client, assignment->topic, plan->deadline_ms, &ask);
        if (err != DMQ_OK) {
            return api_result(plan->error, &ask.result);
        }
        snprintf(slot->topic, sizeof(slot->topic), "%s", assignment->topic);
        slot->handle = ask.handle;
        slot->partition_count = ask.partition_count;
    }
    if (assignment->partition >= slot->partition_count) {
        return api_error(plan->error, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                         "topic '%s' has %d partitions (0 to %d): there is no partition %d",
                         slot->topic, (int)slot->partition_count, (int)slot->partition_count - 1,
                         (int)assignment->partition);
    }
    slot->partition = assignment->partition;
    slot->position = assignment->offset;
    slot->timestamp =
        assignment->offset == DMQ_OFFSET_TIMESTAMP ? assignment->timestamp : assignment->offset;
    slot->high_watermark = -1;
    return DMQ_OK;
}

/* Positions that are names or times become offsets, in one lookup. */
static dmq_err
plan_positions(struct plan *plan)
{
    struct client_position *positions = calloc(plan->count, sizeof(*positions));
    struct ask ask;
    size_t wanted = 0;
    if (positions == NULL) {
        return api_error(plan->error, DMQ_ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct consumer_slot *slot = &plan->slots[i];
        if (slot->position < 0) {
            positions[wanted++] =
                (struct client_position){slot->handle, slot->partition, slot->timestamp};
        }
    }
    if (wanted == 0) {
        free(positions);
        return DMQ_OK;
    }
    dmq_err err = ask_offsets(plan->client, positions, wanted, plan->deadline_ms, &ask);
    if (err != DMQ_OK) {
        api_result(plan->error, &ask.result);
        ask_deinit(&ask);
        return err;
    }
    size_t found = 0;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->slots[i].position < 0) {
            plan->slots[i].position = ask.offsets[found++];
        }
    }
    ask_deinit(&ask);
    return DMQ_OK;
}

static dmq_err
make_plan(struct plan *plan, const dmq_assignment *assignments, size_t stride)
{
    dmq_err err = DMQ_OK;
    for (size_t i = 0; err == DMQ_OK && i < plan->count; i++) {
        const void *assignment = (const char *)assignments + i * stride;
        err = check_assignment(assignment, plan->error);
        if (err == DMQ_OK) {
            err = plan_topic(plan, i, assignment);
        }
    }
    return err == DMQ_OK && plan->count > 0 ? plan_positions(plan) : err;
}

static struct command *
assign_command(const dmq_consumer *consumer, const struct plan *plan)
{
    struct command *command = command_new(CLIENT_ASSIGNED, consumer->id);
    if (command == NULL) {
        return NULL;
    }
    command->positions = calloc(plan->count + 1, sizeof(*command->positions));
    if (command->positions == NULL) {
        command_free(command);
        return NULL;
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct consumer_slot *slot = &plan->slots[i];
        command->positions[i] =
            (struct client_position){slot->handle, slot->partition, slot->position};
    }
    command->event.u.positions.positions = command->positions;
    command->event.u.positions.count = plan->count;
    return command;
}

dmq_err
dmq_consumer_assign(dmq_consumer *consumer, const dmq_assignment *assignments, size_t stride,
                    size_t count, int64_t timeout_ms, dmq_error *error)
{
    dmq_err err = check_consumer(consumer, error);
    if (err != DMQ_OK) {
        return err;
    }
    struct plan plan = {.client = consumer->client,
                        .slots = calloc(count + 1, sizeof(*plan.slots)),
                        .count = count,
                        .deadline_ms = deadline_of(timeout_ms),
                        .error = error};
    if (plan.slots == NULL) {
        return api_error(error, DMQ_ERR_NOMEM, "out of memory");
    }
    err = make_plan(&plan, assignments, stride);
    struct command *command = err == DMQ_OK ? assign_command(consumer, &plan) : NULL;
    if (command == NULL) {
        free(plan.slots);
        return err != DMQ_OK ? err : api_error(error, DMQ_ERR_NOMEM, "out of memory");
    }
    gate_lock(&consumer->gate);
    fetched_drop(consumer, -1);
    free(consumer->slots);
    consumer->slots = plan.slots;
    consumer->slot_count = (uint32_t)count;
    command->event.u.positions.generation = ++consumer->last_generation;
    for (size_t i = 0; i < count; i++) {
        plan.slots[i].generation = consumer->last_generation;
    }
    gate_unlock(&consumer->gate);
    command_post(consumer->client, command);
    return DMQ_OK;
}

dmq_err
dmq_consumer_seek(dmq_consumer *consumer, const dmq_assignment *to, int64_t timeout_ms,
                  dmq_error *error)
{
    struct consumer_slot *slot;
    struct consumer_slot planned = {0};
    struct plan plan = {
        .slots = &planned, .count = 1, .deadline_ms = deadline_of(timeout_ms), .error = error};
    dmq_err err = enter_slot(consumer, to->topic, to->partition, error, &slot);
    if (err != DMQ_OK) {
        return err;
    }
    gate_unlock(&consumer->gate);
    plan.client = consumer->client;
    err = make_plan(&plan, to, sizeof(*to));
    if (err != DMQ_OK) {
        return err;
    }
    struct command *command = command_new(CLIENT_SOUGHT, consumer->id);
    if (command == NULL) {
        return api_error(error, DMQ_ERR_NOMEM, "out of memory");
    }
    gate_lock(&consumer->gate);
    uint32_t index = (uint32_t)(slot - consumer->slots);
    fetched_drop(consumer, (int64_t)index);
    slot->position = planned.position;
    slot->generation = ++consumer->last_generation;
    command->event.u.seek.slot = index;
    command->event.u.seek.offset = planned.position;
    command->event.u.seek.generation = slot->generation;
    gate_unlock(&consumer->gate);
    command_post(consumer->client, command);
    return DMQ_OK;
}
