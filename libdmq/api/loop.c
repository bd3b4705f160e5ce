/* The background thread: commands, batches that may leave, input of connections, time; each goes as
 * an event to the machine, whose effects are carried out before the next one.
 *
 * It sleeps in one place, links_poll, until there is input, a wakeup or the machine's own time. A
 * wakeup is asked for by whoever leaves something here: a command, a batch that became ready, room
 * in a queue that the machine waits for, an interrupt. Everything is looked at in each turn, so a
 * wakeup needs no reason.
 *
 * Handles are taken out of the client's lists by this thread only, so it walks them without a lock.
 */
#include <signal.h>
#include <stdlib.h>

#include "libdmq/api/api.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/os/clock.h"

#define REFUSED_TIMES 7 /* tries, backing off from 5 ms, before a cluster counts as not there */

void
loop_step(struct dmq_client *client, struct client_event *event)
{
    if (client->machine->broken) {
        return; /* it lacks something; what is under way ends with it, in a moment */
    }
    event->now_ms = clock_ms();
    DMQ_ASSERT(client->effects.count == 0);
    client_step(client->machine, event, &client->effects);
    effects_carry_out(client);
}

/* What the application should know of the connections. */
static void
note_state(struct dmq_client *client)
{
    struct err_msg reason = {0};
    bool ready = client_is_connected(client->machine, &reason);
    gate_lock(&client->gate);
    bool news = client->ready != ready || client->trouble.code != reason.code;
    client->ready = ready;
    client->trouble = reason;
    bool refused = client_is_refused(client->machine, REFUSED_TIMES);
    news = news || refused != client->refused;
    client->refused = refused;
    client->unreachable = client_is_refused(client->machine, 1);
    if (client->machine->broken && client->failure.code == DMQ_OK) {
        err_set(&client->failure, DMQ_ERR_NOMEM,
                "the client ran out of memory and has stopped: open a new one");
        news = true;
    }
    if (news) {
        gate_wake(&client->gate);
    }
    gate_unlock(&client->gate);
}

/* Answers to an ask count from when the machine has seen it. */
static void
mark_posted(struct dmq_client *client, uint64_t id)
{
    struct ask *ask;
    gate_lock(&client->gate);
    DL_FOREACH (client->asks, ask) {
        if (ask->id == id) {
            ask->posted = true;
        }
    }
    gate_unlock(&client->gate);
}

static void
after_command(struct dmq_client *client, const struct client_event *event)
{
    if (event->type == CLIENT_PRODUCER_CLOSED) {
        producer_closed(producer_find(client, event->id));
    }
    if (event->type == CLIENT_CONSUMER_CLOSED) {
        consumer_closed(consumer_find(client, event->id));
    }
}

static void
run_commands(struct dmq_client *client)
{
    gate_lock(&client->gate);
    struct command *command = client->first_command;
    client->first_command = NULL;
    gate_unlock(&client->gate);
    while (command != NULL) {
        struct command *next = command->next;
        mark_posted(client, command->event.id);
        loop_step(client, &command->event);
        if (!client->machine->broken) { /* else `exited` tells those who close */
            after_command(client, &command->event);
        }
        command_free(command);
        command = next;
    }
}

/* Returns when producers want to be drained again. */
static int64_t
drain_handles(struct dmq_client *client)
{
    int64_t wake_at_ms = INT64_MAX;
    /* Only commands, which this thread runs, take a handle out of the lists. */
    gate_lock(&client->gate);
    struct dmq_producer *producer = client->producers;
    struct dmq_consumer *consumer = client->consumers;
    gate_unlock(&client->gate);
    for (; producer != NULL; producer = producer_next(producer)) {
        int64_t time_ms = producer_drain(producer);
        wake_at_ms = time_ms < wake_at_ms ? time_ms : wake_at_ms;
    }
    for (; consumer != NULL; consumer = consumer_next(consumer)) {
        consumer_drain(consumer);
    }
    return wake_at_ms;
}

static bool
is_stopping(struct dmq_client *client)
{
    gate_lock(&client->gate);
    bool stopping = client->stopping;
    gate_unlock(&client->gate);
    return stopping;
}

/* Everything that is under way ends. Who closes a handle waits for `exited`, so none is freed while
 * it is told here; who opens one from now on sees the failure himself. */
static void
stop(struct dmq_client *client)
{
    run_commands(client);
    gate_lock(&client->gate);
    if (client->failure.code == DMQ_OK) {
        err_set(&client->failure, DMQ_ERR_CLOSED, "the client was closed");
    }
    struct err_msg failure = client->failure;
    gate_unlock(&client->gate);
    client_stop(client->machine, failure.code, &client->effects);
    effects_carry_out(client);
    links_close(client);
    gate_lock(&client->gate);
    struct dmq_producer *producer = client->producers;
    struct dmq_consumer *consumer = client->consumers;
    gate_unlock(&client->gate);
    for (; producer != NULL; producer = producer_next(producer)) {
        producer_failed(producer, &failure);
    }
    for (; consumer != NULL; consumer = consumer_next(consumer)) {
        consumer_failed(consumer, &failure);
    }
    gate_lock(&client->gate);
    client->exited = true;
    gate_wake(&client->gate);
    gate_unlock(&client->gate);
}

void *
loop_run(void *arg)
{
    struct dmq_client *client = arg;
    while (!is_stopping(client)) {
        gates_interrupt(client);
        run_commands(client);
        if (clock_ms() >= client->machine->wake_at_ms) {
            struct client_event tick = {.type = CLIENT_TICK};
            loop_step(client, &tick);
        }
        int64_t wake_at_ms = drain_handles(client);
        note_state(client);
        if (client->machine->broken) {
            break;
        }
        if (client->machine->wake_at_ms < wake_at_ms) {
            wake_at_ms = client->machine->wake_at_ms;
        }
        int64_t wait_ms = wake_at_ms - clock_ms();
        wait_ms = wait_ms < 0 ? 0 : wait_ms;
        links_poll(client, wake_at_ms == INT64_MAX ? -1 : wait_ms);
    }
    stop(client);
    return NULL;
}
