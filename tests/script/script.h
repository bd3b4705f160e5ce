/* Scripts: a text file of commands, each followed by what it must print.
 *
 *     # a comment
 *     > command with words
 *     line that it prints
 *     another one
 *
 * A blank line or the next command ends what is expected. `--rewrite FILE` puts what was really
 * printed into the file: look at the difference, and commit it only if you can explain it. */
#ifndef TESTS_SCRIPT_SCRIPT_H
#define TESTS_SCRIPT_SCRIPT_H

#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"

#define SCRIPT_MAX_WORDS 32

struct script_command {
    char *words[SCRIPT_MAX_WORDS]; /* words[0] is the command */
    size_t count;
    int line;
};

/* The value of a word "key=value"; standard if there is none. */
const char *script_value(const struct script_command *command, const char *key,
                         const char *standard);
long long script_number(const struct script_command *command, const char *key, long long standard);

/* True if the word stands alone. */
bool script_flag(const struct script_command *command, const char *word);

/* Ends the test: the script itself is wrong. */
__attribute__((format(printf, 2, 3))) _Noreturn void
script_wrong(const struct script_command *command, const char *format, ...);

__attribute__((format(printf, 2, 3))) void script_print(struct outbuf *out, const char *format,
                                                        ...);

/* What a script is about; each program has its own. */
struct world;

/* A command: prints to out what it did. */
struct script_verb {
    const char *name; /* NULL behind the last one */
    void (*run)(struct world *w, const struct script_command *c, struct outbuf *out);
};

/* Runs the script that the arguments name. Returns the exit code of the test. */
int script_main(int argc, char **argv, const struct script_verb *verbs, struct world *w);

/* A small id that is easy to read: number in the last bytes. */
struct uuid script_id(long long number);

/* The error of that name; ends the program if there is none. */
dmq_err script_error(const struct script_command *command, const char *name);

#endif
