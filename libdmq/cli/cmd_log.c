/* dmq log dump|verify: the broker's program reads its own files; this tool knows no format. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libdmq/cli/command.h"
#include "libdmq/cli/program.h"
#include "libdmq/cli/report.h"

static int
run_broker(const struct cli *cli, const char *option)
{
    char path[PROGRAM_PATH_BYTES];
    if (access(cli->words[0], F_OK) != 0) {
        const int why = errno;
        report_failure("cannot open %s: %s", cli->words[0], strerrordesc_np(why));
        return why == ENOENT || why == ENOTDIR ? CLI_NOT_FOUND : CLI_ERROR;
    }
    if (!program_find("dmq-broker", path)) {
        return CLI_ERROR;
    }
    const char *argv[6] = {path, option, cli->words[0]};
    size_t count = 3;
    if (cli->json) {
        argv[count++] = "--json";
    }
    if (report_is_quiet()) {
        argv[count++] = "--quiet";
    }
    execv(path, (char *const *)argv);
    return report_failure("cannot run %s: %s", path, strerrordesc_np(errno));
}

static int
run_dump(const struct cli *cli)
{
    return run_broker(cli, "--log-dump");
}

static int
run_verify(const struct cli *cli)
{
    return run_broker(cli, "--log-verify");
}

const struct command COMMAND_LOG_DUMP = {
    .name = "log dump",
    .arguments = "FILE",
    .summary = "Print the batches of a log segment (offline)",
    .details =
        "A partition lies in DATA/TOPIC-ID/PARTITION ('dmq topic describe' shows the id); the\n"
        "file 'name' there says what it is called. A segment is named by its first offset.\n",
    .examples = "find dmq-data/broker -name '*.log' -exec dmq log dump {} ';'\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_dump,
};

const struct command COMMAND_LOG_VERIFY = {
    .name = "log verify",
    .arguments = "DIR",
    .summary = "Check every batch of a broker's data folder or of a partition (offline)",
    .examples = "dmq log verify dmq-data/broker\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_verify,
};
