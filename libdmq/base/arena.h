/* A bump allocator for what one message decodes to: freed at once, and never larger than its limit.
 */
#ifndef DMQ_BASE_ARENA_H
#define DMQ_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used;                /* bytes handed out */
    size_t limit;               /* largest sum of bytes handed out */
};

void arena_init(struct arena *arena, size_t limit);
void arena_deinit(struct arena *arena);

/* Zeroed, aligned for anything; NULL beyond the limit or if memory is out. size 0 is allowed. */
void *arena_alloc(struct arena *arena, size_t size);

/* Forgets everything but keeps one chunk for the next message. */
void arena_reset(struct arena *arena);

#endif
