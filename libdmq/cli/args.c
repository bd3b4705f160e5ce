#include "libdmq/cli/args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/cli/report.h"
#include "libdmq/cli/suggest.h"
#include "libdmq/cli/value.h"

const struct option_spec NO_OPTIONS[] = {{NULL, NULL, NULL}};

bool
args_init(struct args *args, int argc, char **argv)
{
    *args = (struct args){.argc = argc, .argv = argv, .next = 1};
    args->options = calloc((size_t)argc + 1, sizeof(args->options[0]));
    return args->options != NULL;
}

void
args_deinit(struct args *args)
{
    free(args->options);
}

static const struct option_spec *
find_spec(const struct option_spec *const *tables, const char *name, size_t size)
{
    for (; *tables != NULL; tables++) {
        for (const struct option_spec *spec = *tables; spec->name != NULL; spec++) {
            if (strlen(spec->name) == size && memcmp(spec->name, name, size) == 0) {
                return spec;
            }
        }
    }
    return NULL;
}

static int
unknown_option(const struct args *args, const struct option_spec *const *tables, const char *typed,
               size_t size)
{
    char name[64];
    size_t dashes = strspn(typed, "-");
    size_t name_size = size - dashes < sizeof(name) ? size - dashes : sizeof(name) - 1;
    memcpy(name, typed + dashes, name_size);
    name[name_size] = '\0';

    struct suggest s;
    suggest_init(&s, name);
    for (; *tables != NULL; tables++) {
        for (const struct option_spec *spec = *tables; spec->name != NULL; spec++) {
            suggest_offer(&s, spec->name);
        }
    }
    if (s.best == NULL) {
        return report_usage(args->command, "unknown option '%.*s'", (int)size, typed);
    }
    return report_usage(args->command, "unknown option '%.*s': did you mean '--%s'?", (int)size,
                        typed, s.best);
}

/* argv[next] begins with a dash. */
static int
take_option(struct args *args, const struct option_spec *const *tables)
{
    const char *typed = args->argv[args->next++];
    const char *equals = strchr(typed, '=');
    size_t size = equals != NULL ? (size_t)(equals - typed) : strlen(typed);
    const struct option_spec *spec = NULL;
    if (strcmp(typed, "-h") == 0) {
        spec = find_spec(tables, "help", 4);
    } else if (typed[1] == '-') {
        spec = find_spec(tables, typed + 2, size - 2);
    }
    if (spec == NULL) {
        return unknown_option(args, tables, typed, size);
    }
    struct option *option = &args->options[args->option_count];
    *option = (struct option){.spec = spec};
    if (spec->value == NULL && equals != NULL) {
        return report_usage(args->command, "--%s takes no value", spec->name);
    }
    if (spec->value != NULL) {
        option->value = equals != NULL ? equals + 1 : args->argv[args->next];
        if (option->value == NULL) {
            return report_usage(args->command, "--%s wants a value: --%s %s", spec->name,
                                spec->name, spec->value);
        }
        args->next += equals == NULL ? 1 : 0;
    }
    args->option_count++;
    return CLI_OK;
}

int
args_next(struct args *args, const struct option_spec *const *tables, const char **ret_word)
{
    while (args->next < args->argc) {
        const char *arg = args->argv[args->next];
        if (!args->is_ended && strcmp(arg, "--") == 0) {
            args->is_ended = true;
            args->next++;
        } else if (args->is_ended || arg[0] != '-' || arg[1] == '\0') {
            args->next++;
            *ret_word = arg;
            return CLI_OK;
        } else if (take_option(args, tables) != CLI_OK) {
            return CLI_USAGE;
        }
    }
    *ret_word = NULL;
    return CLI_OK;
}

bool
args_has(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->option_count; i++) {
        if (strcmp(args->options[i].spec->name, name) == 0) {
            return true;
        }
    }
    return false;
}

const char *
args_value(const struct args *args, const char *name)
{
    const char *last = NULL;
    size_t cursor = 0;
    for (const char *value; (value = args_each(args, name, &cursor)) != NULL;) {
        last = value;
    }
    return last;
}

const char *
args_each(const struct args *args, const char *name, size_t *cursor)
{
    while (*cursor < args->option_count) {
        const struct option *option = &args->options[(*cursor)++];
        if (strcmp(option->spec->name, name) == 0) {
            return option->value;
        }
    }
    return NULL;
}

int
args_int(const struct args *args, const char *name, int64_t low, int64_t high, int64_t *value)
{
    const char *text = args_value(args, name);
    if (text == NULL) {
        return CLI_OK;
    }
    int64_t number;
    if (!value_int(text, &number) || number < low || number > high) {
        return report_usage(args->command,
                            "--%s wants a whole number from %" PRId64 " to %" PRId64 ", not '%s'",
                            name, low, high, text);
    }
    *value = number;
    return CLI_OK;
}

int
args_choice(const struct args *args, const char *name, const char *choices, const char **value)
{
    const char *text = args_value(args, name);
    if (text == NULL) {
        return CLI_OK;
    }
    size_t size = strlen(text);
    const char *at = choices;
    while (at != NULL && size > 0) {
        if (strncmp(at, text, size) == 0 && (at[size] == '|' || at[size] == '\0')) {
            *value = text;
            return CLI_OK;
        }
        at = strchr(at, '|');
        at = at != NULL ? at + 1 : NULL;
    }
    return report_usage(args->command, "--%s wants %s, not '%s'", name, choices, text);
}
