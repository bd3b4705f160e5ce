#include "tests/script/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tempdir.h"

const char *
script_value(const struct script_command *command, const char *key, const char *standard)
{
    size_t size = strlen(key);
    for (size_t i = 1; i < command->count; i++) {
        if (strncmp(command->words[i], key, size) == 0 && command->words[i][size] == '=') {
            return command->words[i] + size + 1;
        }
    }
    return standard;
}

long long
script_number(const struct script_command *command, const char *key, long long standard)
{
    const char *value = script_value(command, key, NULL);
    return value == NULL ? standard : strtoll(value, NULL, 10);
}

bool
script_flag(const struct script_command *command, const char *word)
{
    for (size_t i = 1; i < command->count; i++) {
        if (strcmp(command->words[i], word) == 0) {
            return true;
        }
    }
    return false;
}

void
script_wrong(const struct script_command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "line %d: ", command->line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(2);
}

void
script_print(struct outbuf *out, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        abort();
    }
    outbuf_put(out, text, (size_t)size);
    free(text);
}

static void
split(char *line, struct script_command *command)
{
    command->count = 0;
    for (char *word = strtok_r(line, " ", &line); word != NULL; word = strtok_r(NULL, " ", &line)) {
        if (command->count == SCRIPT_MAX_WORDS) {
            script_wrong(command, "more than %d words", SCRIPT_MAX_WORDS);
        }
        command->words[command->count++] = word;
    }
}

/* One command, and what stands below it. */
static bool
run_one(const char *at, const char *end, int number, struct outbuf *actual)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    const char *expected = line_end + 1;
    size_t size = (size_t)(end - expected);
    bool same = bytes_equal(bytes_of(actual->data, actual->size), bytes_of(expected, size));
    if (!same) {
        printf("line %d: %.*s\n--- expected\n%.*s--- printed\n%.*s", number, (int)(line_end - at),
               at, (int)size, expected, (int)actual->size, (const char *)actual->data);
    }
    return same;
}

/* Where the block that begins here ends: what a command printed, or comments and blank lines. */
static const char *
block_end(const char *at, const char *end, bool command)
{
    bool first = true;
    while (at < end) {
        bool blank = *at == '\n' || *at == '#';
        if (!first && (*at == '>' || (command && blank))) {
            break;
        }
        const char *next = memchr(at, '\n', (size_t)(end - at));
        at = next == NULL ? end : next + 1;
        first = false;
    }
    return at;
}

static int
count_lines(const char *from, const char *to)
{
    int lines = 1;
    for (; from < to; from++) {
        lines += *from == '\n';
    }
    return lines;
}

static void
dispatch(const struct script_verb *verbs, struct world *w, const struct script_command *command,
         struct outbuf *out)
{
    for (const struct script_verb *verb = verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, command->words[0]) == 0) {
            verb->run(w, command, out);
            return;
        }
    }
    script_wrong(command, "no command %s", command->words[0]);
}

int
script_main(int argc, char **argv, const struct script_verb *verbs, struct world *w)
{
    bool rewrite = argc == 3 && strcmp(argv[1], "--rewrite") == 0;
    if (argc != 2 && !rewrite) {
        fprintf(stderr, "usage: %s [--rewrite] SCRIPT\n", argv[0]);
        return 2;
    }
    size_t size;
    char *text = file_read(argv[argc - 1], &size);
    struct outbuf whole = {0}, out = {0};
    int commands = 0, wrong = 0;
    for (const char *at = text, *end, *last = text + size; at < last; at = end) {
        end = block_end(at, last, *at == '>');
        if (*at != '>') {
            outbuf_put(&whole, at, (size_t)(end - at));
            continue;
        }
        struct script_command command = {.line = count_lines(text, at)};
        size_t line_size = strcspn(at, "\n");
        char *line = strndup(at + 1, line_size - 1);
        split(line, &command);
        outbuf_clear(&out);
        dispatch(verbs, w, &command, &out);
        free(line);
        commands++;
        outbuf_put(&whole, at, line_size + 1);
        outbuf_put(&whole, out.data, out.size);
        wrong += !rewrite && !run_one(at, end, command.line, &out);
    }
    if (rewrite) {
        file_write(argv[argc - 1], whole.data, whole.size);
    }
    printf("%s: %d commands, %d wrong\n", argv[argc - 1], commands, wrong);
    outbuf_deinit(&whole);
    outbuf_deinit(&out);
    free(text);
    return wrong > 0 || commands == 0 ? 1 : 0;
}

struct uuid
script_id(long long number)
{
    struct uuid id = {{0}};
    put_be64(id.b + 8, (uint64_t)number);
    return id;
}

dmq_err
script_error(const struct script_command *command, const char *name)
{
#define X(id, number, cls, text)                                                                   \
    if (strcmp(name, #id) == 0) {                                                                  \
        return number;                                                                             \
    }
    DMQ_ERROR_MAP(X)
#undef X
    script_wrong(command, "no error %s", name);
}
