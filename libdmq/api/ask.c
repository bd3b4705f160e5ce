/* Requests that a thread of the application waits for. The struct ask is the waiting thread's; it
 * is listed while the background thread may fill it in, and taken off before the thread goes on,
 * whatever the reason: then a late answer finds nobody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/api.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/base/nearest.h"
#include "libdmq/os/clock.h"
#include "libdmq/wire/codec.h"

#define GRACE_MS 200   /* the machine ends a call at its deadline, with a better sentence */
#define SUGGEST_MS 500 /* at most, for "did you mean" */

void
ask_deinit(struct ask *ask)
{
    buf_unref(ask->body);
    free(ask->offsets);
    *ask = (struct ask){0};
}

static void
cancel(struct dmq_client *client, uint64_t id)
{
    struct command *command = command_new(CLIENT_CANCELLED, id);
    if (command != NULL) {
        command_post(client, command); /* else its deadline ends it */
    }
}

static int64_t
later(int64_t deadline_ms, int64_t by_ms)
{
    return deadline_ms > INT64_MAX - by_ms ? INT64_MAX : deadline_ms + by_ms;
}

static dmq_err
wait_for(struct dmq_client *client, struct ask *ask, int64_t deadline_ms)
{
    dmq_err err = DMQ_OK;
    gate_lock(&client->gate);
    while (!ask->done && err == DMQ_OK && client->failure.code == DMQ_OK) {
        err = gate_wait(&client->gate, deadline_ms);
    }
    DL_DELETE(client->asks, ask);
    if (!ask->done && err == DMQ_OK) {
        ask->result = client->failure;
    } else if (!ask->done) {
        bool unreachable = err == DMQ_ERR_TIMEOUT && client->trouble.code != DMQ_OK;
        err_set(&ask->result, unreachable ? DMQ_ERR_UNREACHABLE : err, "%s",
                unreachable ? client->trouble.text : err_text(err));
    }
    gate_unlock(&client->gate);
    if (!ask->done && err != DMQ_OK) {
        cancel(client, ask->id);
    }
    return ask->result.code;
}

/* Lists the ask, posts its command (consumed; NULL: memory is out) and waits. */
static dmq_err
ask_and_wait(struct dmq_client *client, struct ask *ask, struct command *command,
             int64_t deadline_ms)
{
    if (command == NULL) {
        return err_set(&ask->result, DMQ_ERR_NOMEM, "out of memory");
    }
    gate_lock(&client->gate);
    ask->id = client->next_id++;
    DL_APPEND(client->asks, ask);
    gate_unlock(&client->gate);
    command->event.id = ask->id;
    command_post(client, command);
    return wait_for(client, ask, deadline_ms);
}

dmq_err
ask_call(struct dmq_client *client, int16_t api_key, const void *request, int64_t deadline_ms,
         struct ask *ask)
{
    *ask = (struct ask){0};
    struct buf *body = msg_encode_buf(api_find(api_key)->request(), 0, request);
    struct command *command = body == NULL ? NULL : command_new(CLIENT_CALLED, 0);
    if (command == NULL) {
        buf_unref(body);
        return err_set(&ask->result, DMQ_ERR_NOMEM, "out of memory");
    }
    command->body = body;
    command->event.u.call.api_key = api_key;
    command->event.u.call.body = body;
    command->event.u.call.deadline_ms = deadline_ms;
    command->event.u.call.once = client_call_is_once(api_key, request);
    return ask_and_wait(client, ask, command, later(deadline_ms, GRACE_MS));
}

dmq_err
ask_offsets(struct dmq_client *client, struct client_position *positions, size_t count,
            int64_t deadline_ms, struct ask *ask)
{
    *ask = (struct ask){0};
    struct command *command = command_new(CLIENT_LOOKED_UP, 0);
    if (command == NULL) {
        free(positions);
        return err_set(&ask->result, DMQ_ERR_NOMEM, "out of memory");
    }
    command->positions = positions;
    command->event.u.positions.positions = positions;
    command->event.u.positions.count = count;
    command->event.u.positions.deadline_ms = deadline_ms;
    return ask_and_wait(client, ask, command, later(deadline_ms, GRACE_MS));
}

/* ---- topics ---------------------------------------------------------------------------------- */

/* Kafka's rules; said here, because a name that cannot be is not worth a round trip. */
static bool
is_topic_name(const char *name)
{
    size_t size = strlen(name);
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return size > 0 && size < 250 && good == size && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

dmq_err
ask_topic(struct dmq_client *client, const char *topic, int64_t deadline_ms, struct ask *ask)
{
    *ask = (struct ask){0};
    if (topic == NULL || !is_topic_name(topic)) {
        return err_set(&ask->result, DMQ_ERR_INVALID_TOPIC,
                       "'%.100s' cannot be the name of a topic: it has 1 to 249 characters out of "
                       "a-z A-Z 0-9 . _ -",
                       topic == NULL ? "" : topic);
    }
    struct command *command = command_new(CLIENT_TOPIC_WANTED, 0);
    if (command != NULL) {
        snprintf(command->topic, sizeof(command->topic), "%s", topic);
        command->event.u.topic = command->topic;
        ask->topic = topic;
    }
    dmq_err err = ask_and_wait(client, ask, command, deadline_ms);
    if (err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        err_set(&ask->result, err, "topic '%s' does not exist", topic);
        suggest_topic(client, topic, deadline_ms, &ask->result);
    }
    return err;
}

static void
suggest(const struct metadata_response *response, const char *topic, struct err_msg *msg)
{
    char names[2][250];
    size_t distance = SIZE_MAX;
    names[1][0] = '\0';
    for (uint32_t i = 0; i < response->topics_count; i++) {
        struct bytes name = response->topics[i].name;
        snprintf(names[0], sizeof(names[0]), "%.*s", (int)name.size, name.data);
        const char *candidate = names[0];
        size_t d = nearest_distance(bytes_str(topic), name);
        if (d < distance && nearest_of(bytes_str(topic), &candidate, 1) != NULL) {
            distance = d;
            memcpy(names[1], names[0], sizeof(names[1]));
        }
    }
    size_t used = strlen(msg->text);
    if (names[1][0] != '\0') {
        snprintf(msg->text + used, sizeof(msg->text) - used, " (did you mean '%s'?)", names[1]);
    }
}

void
suggest_topic(struct dmq_client *client, const char *topic, int64_t deadline_ms,
              struct err_msg *msg)
{
    struct ask ask;
    struct arena arena;
    struct err_msg ignored;
    struct metadata_response response;
    struct metadata_request request = {.all_topics = true};
    int64_t soon_ms = clock_ms() + SUGGEST_MS;
    dmq_err err = ask_call(client, API_METADATA, &request,
                           deadline_ms < soon_ms ? deadline_ms : soon_ms, &ask);
    arena_init(&arena, (size_t)64 << 20);
    if (err == DMQ_OK) {
        err = msg_decode(desc_metadata_response(), 0, buf_bytes(ask.body), &arena, &response,
                         &ignored);
    }
    if (err == DMQ_OK) {
        suggest(&response, topic, msg);
    }
    arena_deinit(&arena);
    ask_deinit(&ask);
}
