#include "libdmq/base/nearest.h"

#include <stdint.h>

static size_t
min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Optimal string alignment, row by row: cell (i, j) is the distance of the first i bytes of a from
 * the first j of b. A swap of neighbours needs the row before the last. */
size_t
nearest_distance(struct bytes a, struct bytes b)
{
    size_t rows[3][NEAREST_MAX_SIZE + 1];
    if (a.size > NEAREST_MAX_SIZE || b.size > NEAREST_MAX_SIZE) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        const size_t *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        size_t *row = rows[i % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t replaced = last[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            row[j] = min3(last[j] + 1, row[j - 1] + 1, replaced);
            bool swapped =
                i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1];
            if (swapped && before[j - 2] + 1 < row[j]) {
                row[j] = before[j - 2] + 1;
            }
        }
    }
    return rows[a.size % 3][b.size];
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
