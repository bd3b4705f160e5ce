/* Random contents for any struct of the one table, and comparison field by field: what makes the
 * tests of codecs generic over the table. */
#ifndef TESTS_SUPPORT_RANDOM_MSG_H
#define TESTS_SUPPORT_RANDOM_MSG_H

#include "libdmq/base/arena.h"
#include "libdmq/base/rng.h"
#include "libdmq/wire/messages.h"

/* Every struct of the table. */
size_t message_count(void);
const struct struct_desc *message_desc(size_t index);

/* Fills msg; lists, str and bytes come from the arena. Numbers are often at the ends of their
 * range, sizes often 0 or at their limit (lists of structs stay short). */
void random_msg(struct rng *rng, const struct struct_desc *desc, struct arena *arena, void *msg);

/* Equal in the fields of the version? */
bool msg_equal(const struct struct_desc *desc, int version, const void *a, const void *b);

#endif
