/* dmq: the command line of DMQ. It finds the command in the table, parses options of the command
 * and of every command wherever they stand, and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/cli/command.h"
#include "libdmq/cli/help.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/suggest.h"
#include "libdmq/cli/value.h"

const struct option_spec GLOBAL_OPTIONS[] = {
    {"url", "URL", "dmq://host:port[,host:port]...; default $DMQ_URL, else dmq://127.0.0.1:9501"},
    {"json", NULL, "print JSON, one value (or one a line where records stream)"},
    {"quiet", NULL, "no notes, no progress line; errors only"},
    {"help", NULL, "this text (also -h)"},
    {NULL, NULL, NULL},
};

const struct command *const COMMANDS[] = {
    &COMMAND_DEV,
    &COMMAND_TOPIC_CREATE,
    &COMMAND_TOPIC_LIST,
    &COMMAND_TOPIC_DESCRIBE,
    &COMMAND_TOPIC_DELETE,
    &COMMAND_TOPIC_CONFIG,
    &COMMAND_TOPIC_ADD_PARTITIONS,
    &COMMAND_TOPIC_ELECT,
    &COMMAND_PRODUCE,
    &COMMAND_CONSUME,
    &COMMAND_CLUSTER_INFO,
    &COMMAND_CLUSTER_HEALTH,
    &COMMAND_CLUSTER_BROKERS,
    &COMMAND_CLUSTER_CONTROLLERS,
    &COMMAND_QUORUM_STATUS,
    &COMMAND_QUORUM_TRANSFER_LEADER,
    &COMMAND_QUORUM_ADD,
    &COMMAND_QUORUM_REMOVE,
    &COMMAND_BENCH_PRODUCE,
    &COMMAND_BENCH_CONSUME,
    &COMMAND_BENCH_E2E,
    &COMMAND_LOG_DUMP,
    &COMMAND_LOG_VERIFY,
    &COMMAND_HEALTH,
    &COMMAND_CONTROLLER,
    &COMMAND_BROKER,
    &COMMAND_VERSION,
    &COMMAND_COMPLETION,
    NULL,
};

static const struct command *
find_command(const char *name)
{
    for (size_t i = 0; COMMANDS[i] != NULL; i++) {
        if (strcmp(COMMANDS[i]->name, name) == 0) {
            return COMMANDS[i];
        }
    }
    return NULL;
}

/* Whether `word` is the first of two in the name of a command. */
static bool
is_group(const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; COMMANDS[i] != NULL; i++) {
        if (strncmp(COMMANDS[i]->name, word, size) == 0 && COMMANDS[i]->name[size] == ' ') {
            return true;
        }
    }
    return false;
}

/* group NULL: the word is the first. */
static int
unknown_command(const char *group, const char *word)
{
    struct suggest s;
    suggest_init(&s, word);
    size_t group_size = group != NULL ? strlen(group) : 0;
    static char firsts[64][32]; /* the first words, for a suggestion points at one */
    for (size_t i = 0; COMMANDS[i] != NULL && i < 64; i++) {
        const char *name = COMMANDS[i]->name;
        if (group == NULL) {
            snprintf(firsts[i], sizeof(firsts[i]), "%.*s", (int)strcspn(name, " "), name);
            suggest_offer(&s, firsts[i]);
        } else if (strncmp(name, group, group_size) == 0 && name[group_size] == ' ') {
            suggest_offer(&s, name + group_size + 1);
        }
    }
    const char *space = group != NULL ? " " : "";
    group = group != NULL ? group : "";
    if (s.best == NULL) {
        return report_usage(group[0] ? group : NULL, "unknown command '%s%s%s'", group, space,
                            word);
    }
    return report_usage(group[0] ? group : NULL, "unknown command '%s%s%s': did you mean '%s%s%s'?",
                        group, space, word, group, space, s.best);
}

/* Reads the command's name, one word or two. CLI_OK with *ret_command NULL: help was printed. */
static int
take_command(struct args *args, const struct command **ret_command)
{
    const struct option_spec *const tables[] = {GLOBAL_OPTIONS, NULL};
    const char *first = NULL;
    const char *second = NULL;
    int code = args_next(args, tables, &first);
    if (code != CLI_OK) {
        return code;
    }
    if (first == NULL) {
        bool is_asked = args_has(args, "help");
        help_commands(is_asked ? stdout : stderr, NULL);
        return is_asked ? CLI_OK : CLI_USAGE;
    }
    if (!is_group(first)) {
        *ret_command = find_command(first);
        return *ret_command != NULL ? CLI_OK : unknown_command(NULL, first);
    }
    args->command = first;
    code = args_next(args, tables, &second);
    if (code != CLI_OK) {
        return code;
    }
    if (second == NULL) {
        bool is_asked = args_has(args, "help");
        help_commands(is_asked ? stdout : stderr, first);
        return is_asked ? CLI_OK : CLI_USAGE;
    }
    char name[64];
    snprintf(name, sizeof(name), "%.30s %.30s", first, second);
    *ret_command = find_command(name);
    return *ret_command != NULL ? CLI_OK : unknown_command(first, second);
}

static int
check_words(const struct command *command, const struct cli *cli)
{
    if (cli->word_count < command->min_words) {
        return report_usage(command->name, "%s wants %s", command->name, command->arguments);
    }
    if (cli->word_count > command->max_words) {
        return report_usage(command->name, "%s: what is '%s'?", command->name,
                            cli->words[command->max_words]);
    }
    if (cli->word_count > 0 && command->takes_topic && !value_is_topic_name(cli->words[0])) {
        return report_usage(command->name,
                            "'%.60s' cannot be the name of a topic: it has 1 to 249 characters out "
                            "of a-z A-Z 0-9 . _ -",
                            cli->words[0]);
    }
    return CLI_OK;
}

static int
run_command(const struct command *command, struct args *args, const char **words)
{
    const struct option_spec *const tables[] = {command->options, GLOBAL_OPTIONS, NULL};
    struct cli cli = {.args = args, .words = words};
    if (command->become != NULL) {
        return command->become(args->argv + args->next - 1);
    }
    args->command = command->name;
    for (;;) {
        int code = args_next(args, tables, &words[cli.word_count]);
        if (code != CLI_OK) {
            return code;
        }
        if (words[cli.word_count] == NULL) {
            break;
        }
        cli.word_count++;
    }
    if (args_has(args, "help")) {
        help_command(stdout, command);
        return CLI_OK;
    }
    int code = check_words(command, &cli);
    if (code != CLI_OK) {
        return code;
    }
    cli.url = args_value(args, "url");
    cli.json = args_has(args, "json");
    report_set_quiet(args_has(args, "quiet"));
    return command->run(&cli);
}

/* What people try first: `dmq help topic create` is `dmq topic create --help`, `dmq --version` is
 * `dmq version`. */
static void
take_habits(int argc, char **argv)
{
    static char help[] = "--help";
    static char version[] = "version";
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        memmove(&argv[1], &argv[2], (size_t)(argc - 2) * sizeof(argv[0]));
        argv[argc - 1] = help;
    } else if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        argv[1] = version;
    }
}

int
main(int argc, char **argv)
{
    struct args args;
    take_habits(argc, argv);
    const char **words = calloc((size_t)argc + 1, sizeof(words[0]));
    if (words == NULL || !args_init(&args, argc, argv)) {
        free(words);
        return report_failure("out of memory");
    }
    const struct command *command = NULL;
    int code = take_command(&args, &command);
    if (code == CLI_OK && command != NULL) {
        code = run_command(command, &args, words);
    }
    args_deinit(&args);
    free(words);
    if (fflush(stdout) != 0 && code == CLI_OK) {
        code = report_failure("cannot write to stdout");
    }
    return code;
}
