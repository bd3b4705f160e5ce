/* The words and options of a command line. Options may stand anywhere, as `--name value` or
 * `--name=value`; `--` ends them; a lone `-` is a word. */
#ifndef DMQ_CLI_ARGS_H
#define DMQ_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct option_spec {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what stands for its value in the help; NULL: it takes none */
    const char *help;
};

/* The table of a command that takes none. */
extern const struct option_spec NO_OPTIONS[];

struct option {
    const struct option_spec *spec;
    const char *value;
};

struct args {
    int argc;
    char **argv;
    int next;            /* index of what comes next in argv */
    bool is_ended;       /* `--` was seen */
    const char *command; /* for messages: "topic create"; NULL before it is known */
    struct option *options;
    size_t option_count;
};

/* False: out of memory. argv is borrowed. */
bool args_init(struct args *args, int argc, char **argv);
void args_deinit(struct args *args);

/* Takes options of the tables (ended by NULL) up to and with the next word. *ret_word NULL: there
 * is none left. Returns CLI_OK, or CLI_USAGE after printing why. */
int args_next(struct args *args, const struct option_spec *const *tables, const char **ret_word);

bool args_has(const struct args *args, const char *name);

/* Value of an option that was given; of the last one if it was given again. NULL: not given. */
const char *args_value(const struct args *args, const char *name);

/* The next value of an option that may be repeated. *cursor starts at 0. NULL: no more. */
const char *args_each(const struct args *args, const char *name, size_t *cursor);

/* A whole number from low to high; *value stays if the option is absent. CLI_OK, or CLI_USAGE after
 * printing why. */
int args_int(const struct args *args, const char *name, int64_t low, int64_t high, int64_t *value);

/* One of "a|b|c"; *value stays if the option is absent. CLI_OK or CLI_USAGE. */
int args_choice(const struct args *args, const char *name, const char *choices, const char **value);

#endif
