/* dmq controller|broker: becomes the daemon that lies beside this program, with all arguments that
 * follow. So one program starts every part of DMQ: the entry point of the container's image. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "libdmq/cli/command.h"
#include "libdmq/cli/program.h"
#include "libdmq/cli/report.h"

static int
become(const char *program, char **argv)
{
    char path[PROGRAM_PATH_BYTES];
    if (!program_find(program, path)) {
        return CLI_ERROR;
    }
    argv[0] = path;
    execv(path, argv);
    return report_failure("cannot run %s: %s", path, strerrordesc_np(errno));
}

static int
become_controller(char **argv)
{
    return become("dmq-controller", argv);
}

static int
become_broker(char **argv)
{
    return become("dmq-broker", argv);
}

const struct command COMMAND_CONTROLLER = {
    .name = "controller",
    .arguments = "OPTION...",
    .summary = "Run a controller: the daemon dmq-controller, and its options",
    .options = NO_OPTIONS,
    .become = become_controller,
};

const struct command COMMAND_BROKER = {
    .name = "broker",
    .arguments = "OPTION...",
    .summary = "Run a broker: the daemon dmq-broker, and its options",
    .options = NO_OPTIONS,
    .become = become_broker,
};
