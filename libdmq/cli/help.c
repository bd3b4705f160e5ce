#include "libdmq/cli/help.h"

#include <stdint.h>
#include <string.h>

static void
print_synopsis(FILE *to, const struct command *command, int width)
{
    int written = fprintf(to, "  dmq %s%s%s", command->name, command->arguments[0] ? " " : "",
                          command->arguments);
    fprintf(to, "%*s%s\n", written < width ? width - written : 1, "", command->summary);
}

static void
print_options(FILE *to, const struct option_spec *options)
{
    for (const struct option_spec *spec = options; spec->name != NULL; spec++) {
        int written = fprintf(to, "  --%s%s%s", spec->name, spec->value != NULL ? " " : "",
                              spec->value != NULL ? spec->value : "");
        fprintf(to, "%*s%s\n", written < 30 ? 30 - written : 1, "", spec->help);
    }
}

/* Up to `most` lines of a text, indented. */
static void
print_lines(FILE *to, const char *text, size_t most)
{
    for (const char *line = text; *line != '\0' && most > 0; most--) {
        int size = (int)strcspn(line, "\n");
        fprintf(to, "  %.*s\n", size, line);
        line += size + (line[size] == '\n' ? 1 : 0);
    }
}

/* The first example of each command of a group; of the tool as a whole, what one begins with. */
static void
print_first_examples(FILE *to, const char *group)
{
    fputs("\nExamples:\n", to);
    if (group == NULL) {
        print_lines(to,
                    "dmq dev\n"
                    "dmq topic create orders --partitions 3\n"
                    "seq 10 | dmq produce orders\n"
                    "dmq consume orders --exit-at-end\n",
                    SIZE_MAX);
        return;
    }
    size_t size = strlen(group);
    for (size_t i = 0; COMMANDS[i] != NULL; i++) {
        if (strncmp(COMMANDS[i]->name, group, size) == 0 && COMMANDS[i]->name[size] == ' ') {
            print_lines(to, COMMANDS[i]->examples, 1);
        }
    }
}

void
help_commands(FILE *to, const char *group)
{
    size_t size = group != NULL ? strlen(group) : 0;
    fprintf(to, "usage: dmq %s%sCOMMAND [OPTION]...\n\n", group != NULL ? group : "",
            group != NULL ? " " : "");
    for (size_t i = 0; COMMANDS[i] != NULL; i++) {
        const char *name = COMMANDS[i]->name;
        if (group == NULL || (strncmp(name, group, size) == 0 && name[size] == ' ')) {
            print_synopsis(to, COMMANDS[i], 36);
        }
    }
    fputs("\nOptions of every command:\n", to);
    print_options(to, GLOBAL_OPTIONS);
    print_first_examples(to, group);
    fputs("\n'dmq COMMAND --help' explains one. Exit codes: 0 done, 1 refused or failed, 2 wrong "
          "usage,\n3 unreachable, 4 not found, 5 denied, 6 timed out, 7 partly done, "
          "10 unhealthy.\n",
          to);
}

void
help_command(FILE *to, const struct command *command)
{
    fprintf(to, "usage: dmq %s%s%s%s\n\n%s.\n", command->name, command->arguments[0] ? " " : "",
            command->arguments, command->options[0].name != NULL ? " [OPTION]..." : "",
            command->summary);
    if (command->details != NULL) {
        fprintf(to, "\n%s", command->details);
    }
    if (command->options[0].name != NULL) {
        fputs("\nOptions:\n", to);
        print_options(to, command->options);
    }
    fputs("\nOptions of every command:\n", to);
    print_options(to, GLOBAL_OPTIONS);
    fputs("\nExamples:\n", to);
    print_lines(to, command->examples, SIZE_MAX);
}
