#include "libdmq/conf/json_line.h"

#include <stdbool.h>
#include <string.h>

/* Walks the text once. The text was parsed before, so that brackets match and strings end. */
struct walk {
    const char *at;
    int line;
    int depth; /* of brackets around at */
};

/* Steps over one character, or over a whole string. True if it was a string, which then lies
 * between *ret_start and at - 1. */
static bool
step(struct walk *w, const char **ret_start)
{
    char c = *w->at++;
    if (c == '\n') {
        w->line++;
    } else if (c == '{' || c == '[') {
        w->depth++;
    } else if (c == '}' || c == ']') {
        w->depth--;
    } else if (c == '"') {
        *ret_start = w->at;
        while (*w->at != '"') {
            w->at += *w->at == '\\' ? 2 : 1;
        }
        w->at++;
        return true;
    }
    return false;
}

static bool
is_key(const struct walk *w, const char *start, const char *key)
{
    size_t size = strlen(key);
    const char *after = w->at + strspn(w->at, " \t\r\n");
    return *after == ':' && (size_t)(w->at - 1 - start) == size && memcmp(start, key, size) == 0;
}

/* Goes behind the key that stands at this depth, before the depth falls below it. */
static bool
find_key(struct walk *w, int depth, const char *key)
{
    const char *start;
    while (*w->at != 0 && w->depth >= depth) {
        if (step(w, &start) && w->depth == depth && is_key(w, start, key)) {
            return true;
        }
    }
    return false;
}

/* Goes behind the opening bracket of object number index of the array that follows. */
static bool
find_object(struct walk *w, size_t index)
{
    const char *start;
    int depth = w->depth;
    size_t seen = 0;
    while (*w->at != 0 && w->depth >= depth) {
        step(w, &start);
        bool opened = w->at[-1] == '{' && w->depth == depth + 2;
        if (opened && seen++ == index) {
            return true;
        }
    }
    return false;
}

int
json_line_of(const char *text, const char *list, size_t index, const char *key)
{
    struct walk w = {.at = text, .line = 1};
    const char *start;
    while (*w.at != 0 && w.depth == 0) {
        step(&w, &start);
    }
    if (list == NULL) {
        return key != NULL && find_key(&w, 1, key) ? w.line : 0;
    }
    if (!find_key(&w, 1, list) || !find_object(&w, index)) {
        return 0;
    }
    int line = w.line;
    return key != NULL && find_key(&w, 3, key) ? w.line : line;
}
