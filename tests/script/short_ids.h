/* Ids as a script shows them: small ones as #1, drawn ones as id-1, id-2 in the order in which they
 * appear, so that it does not matter what was drawn. */
#ifndef TESTS_SCRIPT_SHORT_IDS_H
#define TESTS_SCRIPT_SHORT_IDS_H

#include "libdmq/base/buf.h"
#include "libdmq/base/bytes.h"

#define SHORT_IDS_MAX 64

/* Zero is one that has seen none. */
struct short_ids {
    char drawn[SHORT_IDS_MAX][UUID_TEXT_SIZE];
    size_t count;
};

/* Prints text with every 32 hex digits in their short form. */
void short_ids_print(struct short_ids *ids, struct outbuf *out, const char *text);

/* The id that is shown as id-`number`; one that nobody has if there is none. */
struct uuid short_ids_find(const struct short_ids *ids, size_t number);

#endif
