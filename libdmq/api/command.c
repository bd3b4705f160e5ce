#include <stdlib.h>

#include "libdmq/api/api.h"
#include "libdmq/base/assert.h"

struct command *
command_new(enum client_event_type type, uint64_t id)
{
    struct command *command = calloc(1, sizeof(*command));
    if (command != NULL) {
        command->event.type = type;
        command->event.id = id;
    }
    return command;
}

void
command_free(struct command *command)
{
    if (command != NULL) {
        free(command->positions);
        buf_unref(command->body);
        free(command);
    }
}

void
command_post(struct dmq_client *client, struct command *command)
{
    gate_lock(&client->gate);
    command->next = NULL;
    if (client->first_command == NULL) {
        client->first_command = command;
    } else {
        client->last_command->next = command;
    }
    client->last_command = command;
    gate_unlock(&client->gate);
    wakeup_signal(&client->wakeup);
}
