/* "Did you mean ...?" */
#ifndef DMQ_BASE_NEAREST_H
#define DMQ_BASE_NEAREST_H

#include <stddef.h>

#include "libdmq/base/bytes.h"

#define NEAREST_MAX_SIZE 128 /* longer words are not compared */

/* Edits (insert, remove, replace a byte, swap two neighbours) that lead from a to b; larger than
 * any word where one of them is too long to compare. */
size_t nearest_distance(struct bytes a, struct bytes b);

/* The candidate that word was probably meant to be: the one with the fewest edits, at most a third
 * of the word's length (and at least one); NULL if none is that near. */
const char *nearest_of(struct bytes word, const char *const *candidates, size_t count);

#endif
