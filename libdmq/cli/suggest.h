/* The word that a mistyped one was probably meant to be. */
#ifndef DMQ_CLI_SUGGEST_H
#define DMQ_CLI_SUGGEST_H

#include <stddef.h>

struct suggest {
    const char *typed;
    const char *best; /* NULL: none is near enough */
    size_t distance;  /* of best; before the first: how far is still near */
};

void suggest_init(struct suggest *s, const char *typed);

/* Offers a word; the nearest of all that were offered is s->best. It is borrowed. */
void suggest_offer(struct suggest *s, const char *word);

/* Letters to insert, delete, replace or swap with the next to make one word of the other. */
size_t suggest_distance(const char *a, const char *b);

#endif
