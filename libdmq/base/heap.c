#include "libdmq/base/heap.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"

void
heap_deinit(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

static void
put(struct heap *heap, size_t index, struct heap_node *node)
{
    heap->nodes[index] = node;
    node->place = index + 1;
}

static void
sift_up(struct heap *heap, size_t index)
{
    struct heap_node *node = heap->nodes[index];
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (heap->nodes[parent]->key <= node->key) {
            break;
        }
        put(heap, index, heap->nodes[parent]);
        index = parent;
    }
    put(heap, index, node);
}

static void
sift_down(struct heap *heap, size_t index)
{
    struct heap_node *node = heap->nodes[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->nodes[child + 1]->key < heap->nodes[child]->key) {
            child++;
        }
        if (node->key <= heap->nodes[child]->key) {
            break;
        }
        put(heap, index, heap->nodes[child]);
        index = child;
    }
    put(heap, index, node);
}

bool
heap_push(struct heap *heap, struct heap_node *node, int64_t key)
{
    DMQ_ASSERT(node->place == 0);
    if (heap->count == heap->capacity) {
        size_t capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
        struct heap_node **nodes = realloc(heap->nodes, capacity * sizeof(*nodes));
        if (nodes == NULL) {
            return false;
        }
        heap->nodes = nodes;
        heap->capacity = capacity;
    }
    node->key = key;
    put(heap, heap->count++, node);
    sift_up(heap, heap->count - 1);
    return true;
}

struct heap_node *
heap_min(const struct heap *heap)
{
    return heap->count == 0 ? NULL : heap->nodes[0];
}

void
heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0) {
        return;
    }
    size_t index = node->place - 1;
    DMQ_ASSERT(index < heap->count && heap->nodes[index] == node);
    struct heap_node *last = heap->nodes[--heap->count];
    node->place = 0;
    if (last != node) {
        put(heap, index, last);
        sift_up(heap, index);
        sift_down(heap, last->place - 1);
    }
}
