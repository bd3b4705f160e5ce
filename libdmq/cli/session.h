/* The connection of a command to its cluster. */
#ifndef DMQ_CLI_SESSION_H
#define DMQ_CLI_SESSION_H

#include "dmq/dmq.h"
#include "libdmq/cli/command.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    ADMIN_TIMEOUT_MS = 30000 /* creating a topic waits until every broker knows it */
};

/* Opens the client of --url and installs Ctrl-C. Returns CLI_OK, or the exit code after printing
 * why. */
int session_open(const struct cli *cli, dmq_client **ret_client);
void session_close(dmq_client *client);

/* A dmq_error with its size set. */
dmq_error session_error(void);

/* How many partitions a topic has. `partition`, if it is not negative, must be one of them. Returns
 * CLI_OK, or the exit code after printing why. */
int session_partitions(dmq_client *client, const char *topic, int64_t partition,
                       int32_t *ret_count);

#endif
