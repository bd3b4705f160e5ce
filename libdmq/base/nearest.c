#include "libdmq/base/nearest.h"

#include <stdint.h>

static size_t
min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance, one row of the table at a time. */
size_t
nearest_distance(struct bytes a, struct bytes b)
{
    size_t row[NEAREST_MAX_SIZE + 1];
    if (a.size > NEAREST_MAX_SIZE || b.size > NEAREST_MAX_SIZE) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t replaced = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            row[j] = min3(row[j] + 1, row[j - 1] + 1, replaced);
        }
    }
    return row[b.size];
}

const char *
nearest_of(struct bytes word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t least = word.size / 3 > 1 ? word.size / 3 + 1 : 2;
    for (size_t i = 0; i < count; i++) {
        size_t distance = nearest_distance(word, bytes_str(candidates[i]));
        if (distance < least) {
            least = distance;
            best = candidates[i];
        }
    }
    return best;
}
