/* A binary min-heap of nodes that are part of other structs, ordered by a 64-bit key: deadlines of
 * calls, events of the simulator. A node is in at most one heap; equal keys leave in no order. */
#ifndef DMQ_BASE_HEAP_H
#define DMQ_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    size_t place; /* index + 1 in the heap; 0: in none */
};

struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t capacity;
};

void heap_deinit(struct heap *heap);

/* False if memory is out. The node must not be in a heap. */
bool heap_push(struct heap *heap, struct heap_node *node, int64_t key);

/* The node with the smallest key, or NULL. */
struct heap_node *heap_min(const struct heap *heap);

/* Takes a node out; one that is in no heap is left alone. */
void heap_remove(struct heap *heap, struct heap_node *node);

#endif
