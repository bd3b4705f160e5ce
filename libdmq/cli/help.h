/* The texts of --help, made from the command table. */
#ifndef DMQ_CLI_HELP_H
#define DMQ_CLI_HELP_H

#include <stdio.h>

#include "libdmq/cli/command.h"

/* All commands; only those of a group ("topic") if group is not NULL. */
void help_commands(FILE *to, const char *group);

void help_command(FILE *to, const struct command *command);

#endif
