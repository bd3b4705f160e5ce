/* dmq version: of the tool and of the library that it found. */
#include <stdio.h>

#include "dmq/dmq.h"
#include "libdmq/cli/command.h"

static int
run(const struct cli *cli)
{
    if (cli->json) {
        printf("{\"version\":\"%s\",\"libdmq\":\"%s\"}\n", DMQ_VERSION, dmq_version());
    } else {
        printf("dmq %s, libdmq %s\n", DMQ_VERSION, dmq_version());
    }
    return 0;
}

const struct command COMMAND_VERSION = {
    .name = "version",
    .arguments = "",
    .summary = "Print the version",
    .examples = "dmq version\n"
                "dmq version --json\n",
    .options = NO_OPTIONS,
    .run = run,
};
