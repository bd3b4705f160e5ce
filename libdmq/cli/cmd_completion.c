/* dmq completion bash|zsh: a script for the shell, written from the same table as the help, so that
 * it never knows another command or option than this very program. */
#include <stdio.h>
#include <string.h>

#include "libdmq/cli/command.h"
#include "libdmq/cli/report.h"

/* `command` is what was typed so far, without options: "topic create". */
static const char HEAD[] =
    "# Completion of dmq. bash: source <(dmq completion bash), in ~/.bashrc to keep it.\n"
    "_dmq_topics() {\n"
    "    dmq topic list --quiet $1 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
    "}\n"
    "_dmq() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} command='' url='' skip='' words='' options='' i word\n"
    "    local -i count=0\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ -n $skip ]]; then\n"
    "            [[ $skip == --url ]] && url=\"--url $word\"\n"
    "            skip=''\n"
    "            continue\n"
    "        fi\n"
    "        case $word in\n";

static const char MIDDLE[] =
    "        -*) ;;\n"
    "        *)\n"
    "            count+=1\n"
    "            ((count <= 2)) && command=${command:+$command }$word\n"
    "            ;;\n"
    "        esac\n"
    "    done\n"
    "    [[ -n $skip ]] && { COMPREPLY=($(compgen -f -- \"$cur\")); return; }\n"
    "    case $command in\n";

static const char TAIL[] = "    esac\n"
                           "    if [[ $cur == -* ]]; then\n"
                           "        words=$options\n"
                           "    elif [[ $words == TOPICS ]]; then\n"
                           "        words=$(_dmq_topics \"$url\")\n"
                           "    fi\n"
                           "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                           "}\n";

/* Whether an option stands in a table before: it is named once. */
static bool
was_named(const struct option_spec *const *tables, size_t table, const char *name)
{
    for (size_t t = 0; t < table; t++) {
        for (const struct option_spec *spec = tables[t]; spec->name != NULL; spec++) {
            if (strcmp(spec->name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* The options that are followed by a value: the word behind them is none of the command's. */
static void
print_valued_options(void)
{
    const struct option_spec *tables[64] = {GLOBAL_OPTIONS};
    size_t count = 1;
    for (size_t i = 0; COMMANDS[i] != NULL && count < 64; i++) {
        if (COMMANDS[i]->options != NULL) {
            tables[count++] = COMMANDS[i]->options;
        }
    }
    const char *bar = "        ";
    for (size_t t = 0; t < count; t++) {
        for (const struct option_spec *spec = tables[t]; spec->name != NULL; spec++) {
            if (spec->value != NULL && !was_named(tables, t, spec->name)) {
                printf("%s--%s", bar, spec->name);
                bar = " | ";
            }
        }
    }
    printf(") skip=$word ;;\n");
}

static void
print_options(const struct option_spec *options)
{
    for (const struct option_spec *spec = options; spec != NULL && spec->name != NULL; spec++) {
        printf("--%s ", spec->name);
    }
}

/* Whether what stands behind the command is a topic that is there. */
static bool
takes_topic(const struct command *command)
{
    bool named = strncmp(command->name, "topic ", 6) == 0 &&
                 strcmp(command->name, "topic create") != 0 && command->min_words > 0;
    return named || strncmp(command->arguments, "TOPIC", 5) == 0;
}

static void
print_command(const struct command *command)
{
    const char *space = strchr(command->name, ' ');
    bool shells = strcmp(command->name, "completion") == 0;
    /* A command of one word has its first argument at the place of the second word. */
    printf("    '%s'%s)\n        options='", command->name, space == NULL ? "*" : "");
    print_options(command->options);
    print_options(GLOBAL_OPTIONS);
    printf("'\n");
    if (shells) {
        printf("        words='bash zsh'\n");
    } else if (takes_topic(command)) {
        printf("        ((count == %d)) && words=TOPICS\n", space == NULL ? 1 : 2);
    }
    printf("        ;;\n");
}

/* The second words of a group, at its first command. */
static void
print_group(size_t first)
{
    const char *name = COMMANDS[first]->name;
    size_t size = strcspn(name, " ");
    bool begins = name[size] == ' ' &&
                  (first == 0 || strncmp(COMMANDS[first - 1]->name, name, size + 1) != 0);
    if (!begins) {
        return;
    }
    printf("    %.*s)\n        options='", (int)size, name);
    print_options(GLOBAL_OPTIONS);
    printf("'\n        words='");
    for (size_t i = first; COMMANDS[i] != NULL; i++) {
        if (strncmp(COMMANDS[i]->name, name, size + 1) == 0) {
            printf("%s ", COMMANDS[i]->name + size + 1);
        }
    }
    printf("'\n        ;;\n");
}

static void
print_first_words(void)
{
    printf("    '')\n        options='");
    print_options(GLOBAL_OPTIONS);
    printf("'\n        words='");
    for (size_t i = 0; COMMANDS[i] != NULL; i++) {
        size_t size = strcspn(COMMANDS[i]->name, " ");
        if (i == 0 || strncmp(COMMANDS[i - 1]->name, COMMANDS[i]->name, size) != 0) {
            printf("%.*s ", (int)size, COMMANDS[i]->name);
        }
    }
    printf("'\n        ;;\n");
}

static int
run(const struct cli *cli)
{
    bool zsh = strcmp(cli->words[0], "zsh") == 0;
    if (!zsh && strcmp(cli->words[0], "bash") != 0) {
        return report_usage("completion", "completion wants bash or zsh, not '%s'", cli->words[0]);
    }
    if (zsh) {
        printf("#compdef dmq\nautoload -U +X bashcompinit && bashcompinit\n");
    }
    fputs(HEAD, stdout);
    print_valued_options();
    fputs(MIDDLE, stdout);
    print_first_words();
    for (size_t i = 0; COMMANDS[i] != NULL; i++) {
        print_group(i);
        print_command(COMMANDS[i]);
    }
    fputs(TAIL, stdout);
    printf("complete %s-F _dmq dmq\n", zsh ? "" : "-o default ");
    return CLI_OK;
}

const struct command COMMAND_COMPLETION = {
    .name = "completion",
    .arguments = "SHELL",
    .summary = "Print a script that completes commands, options and topics: bash or zsh",
    .examples = "source <(dmq completion bash)\n"
                "dmq completion bash > ~/.local/share/bash-completion/completions/dmq\n"
                "dmq completion zsh > ~/.zfunc/_dmq\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
