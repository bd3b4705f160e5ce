/* What the machine asked for, done: connections in links.c, outcomes to those who wait. An effect
 * whose receiver is gone (a call that was given up) is dropped with what it holds. */
#include <stdlib.h>

#include "libdmq/api/api.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"

static struct ask *
find_ask(struct dmq_client *client, uint64_t id)
{
    struct ask *ask;
    DL_FOREACH (client->asks, ask) {
        if (ask->id == id) {
            return ask;
        }
    }
    return NULL;
}

static void
answered(struct dmq_client *client, struct client_effect *effect)
{
    gate_lock(&client->gate);
    struct ask *ask = find_ask(client, effect->id);
    if (ask != NULL) {
        ask->result = effect->result;
        ask->body = effect->u.body;
        effect->u.body = NULL;
        ask->done = true;
        gate_wake(&client->gate);
    }
    gate_unlock(&client->gate);
}

static void
offsets_found(struct dmq_client *client, struct client_effect *effect)
{
    gate_lock(&client->gate);
    struct ask *ask = find_ask(client, effect->id);
    if (ask != NULL) {
        ask->result = effect->result;
        ask->offsets = effect->u.offsets.offsets;
        effect->u.offsets.offsets = NULL;
        ask->done = true;
        gate_wake(&client->gate);
    }
    gate_unlock(&client->gate);
}

/* To those who asked, and to producers that know the topic: it may have more partitions, or be
 * gone.
 */
static void
topic_news(struct dmq_client *client, const struct known_topic *topic)
{
    struct ask *ask;
    if (client->machine->broken) {
        return; /* it may not have all of it: those who ask hear that the client stops */
    }
    gate_lock(&client->gate);
    DL_FOREACH (client->asks, ask) {
        if (!ask->posted || ask->topic == NULL || strcmp(ask->topic, topic->name) != 0) {
            continue;
        }
        ask->handle = topic->handle;
        ask->topic_id = topic->id;
        ask->partition_count = topic->partition_count;
        ask->max_message_bytes = topic->max_message_bytes;
        if (topic->err != DMQ_OK) {
            err_set(&ask->result, topic->err, "topic '%s': %s", topic->name, err_text(topic->err));
        }
        ask->done = true;
        gate_wake(&client->gate);
    }
    struct dmq_producer *producer = client->producers;
    gate_unlock(&client->gate);
    for (; producer != NULL; producer = producer_next(producer)) {
        producer_topic_changed(producer, topic);
    }
}

static void
carry_out(struct dmq_client *client, struct client_effect *effect)
{
    switch (effect->type) {
    case CLIENT_CONNECT:
        link_connect(client, effect->conn);
        break;
    case CLIENT_DISCONNECT:
        link_disconnect(client, effect->conn);
        break;
    case CLIENT_SEND:
        link_send(client, effect->conn, client->effects.frames + effect->u.send.first,
                  effect->u.send.count);
        break;
    case CLIENT_TOPIC:
        topic_news(client, client_topic(client->machine, effect->u.topic));
        break;
    case CLIENT_ANSWERED:
        answered(client, effect);
        break;
    case CLIENT_OFFSETS:
        offsets_found(client, effect);
        break;
    case CLIENT_BATCH_DONE:
        producer_batch_done(producer_find(client, effect->id), effect->u.batch);
        break;
    case CLIENT_SEND_WAITS:
        producer_waits(producer_find(client, effect->id), effect);
        break;
    case CLIENT_RECORDS:
        consumer_records(consumer_find(client, effect->id), effect);
        break;
    case CLIENT_SLOT_FAILED:
        consumer_slot_failed(consumer_find(client, effect->id), effect);
        break;
    }
}

void
effects_carry_out(struct dmq_client *client)
{
    for (size_t i = 0; i < client->effects.count; i++) {
        carry_out(client, &client->effects.items[i]);
    }
    client_effects_clear(&client->effects);
}
