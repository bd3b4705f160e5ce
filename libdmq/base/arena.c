#include "libdmq/base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"

#define CHUNK_BYTES 4096
#define ALIGNMENT _Alignof(max_align_t)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t capacity;
    _Alignas(max_align_t) unsigned char data[];
};

void
arena_init(struct arena *arena, size_t limit)
{
    *arena = (struct arena){.limit = limit};
}

void
arena_deinit(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->used = 0;
}

void
arena_reset(struct arena *arena)
{
    while (arena->chunks != NULL && arena->chunks->next != NULL) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    if (arena->chunks != NULL) {
        arena->chunks->used = 0;
    }
    arena->used = 0;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    if (size > arena->limit - arena->used) {
        return NULL;
    }
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < rounded) {
        size_t capacity = rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES;
        chunk = malloc(sizeof(*chunk) + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        *chunk = (struct arena_chunk){.next = arena->chunks, .capacity = capacity};
        arena->chunks = chunk;
    }
    void *memory = chunk->data + chunk->used;
    chunk->used += rounded;
    arena->used += size;
    DMQ_ASSERT(arena->used <= arena->limit);
    memset(memory, 0, rounded);
    return memory;
}
