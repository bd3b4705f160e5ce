/* Ids that are drawn, as short names in the order in which they appear. */
#ifndef TESTS_SCRIPT_SHORT_IDS_H
#define TESTS_SCRIPT_SHORT_IDS_H

#include "libdmq/base/buf.h"
#include "libdmq/base/bytes.h"

#define SHORT_IDS_MAX 64

struct short_ids {
    char texts[SHORT_IDS_MAX][UUID_TEXT_SIZE];
    size_t count;
};

/* Prints text; every 32 hex digits become a short name: #1 for a small number, id-1 for others. */
void short_ids_print(struct short_ids *ids, struct outbuf *out, const char *text);

/* The id that is called id-`number`; false if there is none. */
bool short_ids_find(const struct short_ids *ids, size_t number, struct uuid *ret_id);

#endif
