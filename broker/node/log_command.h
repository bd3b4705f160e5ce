/* `--log-dump FILE` and `--log-verify DIR`, then --json, --quiet or nothing: for `dmq log`, without
 * a broker. */
#ifndef BROKER_NODE_LOG_COMMAND_H
#define BROKER_NODE_LOG_COMMAND_H

#include <stdbool.h>

/* Whether that is what the process is for. */
bool log_command_asked(int argc, char **argv);

/* Its exit code. */
int log_command_run(int argc, char **argv);

#endif
