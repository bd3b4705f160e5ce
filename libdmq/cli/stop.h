/* Ctrl-C and SIGTERM end the work in an orderly way: what was sent is flushed. A second Ctrl-C ends
 * the process at once. */
#ifndef DMQ_CLI_STOP_H
#define DMQ_CLI_STOP_H

#include <stdbool.h>

#include "dmq/dmq.h"

/* From now on a signal sets stop_requested, makes stop_fd readable and interrupts calls that block
 * on the client (NULL: none). */
void stop_install(dmq_client *client);

/* Before the client is closed. */
void stop_forget_client(void);

bool stop_requested(void);
int stop_fd(void); /* -1 before stop_install */

#endif
