#include "libdmq/cli/suggest.h"

#include <stdint.h>
#include <string.h>

enum { WORD_MAX = 40 }; /* no command, option or setting is longer */

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: three rows of the table are enough, because a swap looks back two. */
size_t
suggest_distance(const char *a, const char *b)
{
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    if (a_size > WORD_MAX || b_size > WORD_MAX) {
        return SIZE_MAX;
    }
    size_t rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1,
                           above[j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[a_size % 3][b_size];
}

void
suggest_init(struct suggest *s, const char *typed)
{
    s->typed = typed;
    s->best = NULL;
    /* One slip in three letters is a typo, more is another word. One is always allowed. */
    size_t slips = strlen(typed) / 3;
    s->distance = slips < 1 ? 2 : slips + 1;
}

void
suggest_offer(struct suggest *s, const char *word)
{
    size_t distance = suggest_distance(s->typed, word);
    if (distance < s->distance && distance < strlen(word)) {
        s->best = word;
        s->distance = distance;
    }
}
