#include "libdmq/base/queue.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

#define CACHE_LINE 64

/* A slot's turn says whose it is: equal to a position, it waits for the push of that position; one
 * more, for its pop. After the pop it becomes position + capacity: the push one round later. */
struct slot {
    _Atomic size_t turn;
    void *item;
};

struct queue {
    struct slot *slots;
    size_t mask;
    char pad_a[CACHE_LINE]; /* pushers and poppers do not share a cache line */
    _Atomic size_t push_pos;
    char pad_b[CACHE_LINE];
    _Atomic size_t pop_pos;
};

struct queue *
queue_new(size_t capacity)
{
    size_t size = 2;
    while (size < capacity) {
        size *= 2;
    }
    struct queue *queue = malloc(sizeof(*queue));
    struct slot *slots = calloc(size, sizeof(*slots));
    if (queue == NULL || slots == NULL) {
        free(queue);
        free(slots);
        return NULL;
    }
    queue->slots = slots;
    queue->mask = size - 1;
    for (size_t i = 0; i < size; i++) {
        atomic_init(&slots[i].turn, i);
    }
    atomic_init(&queue->push_pos, 0);
    atomic_init(&queue->pop_pos, 0);
    return queue;
}

void
queue_free(struct queue *queue)
{
    if (queue != NULL) {
        free(queue->slots);
        free(queue);
    }
}

/* Claims the slot whose turn is position + lead, and returns it with its position; NULL if the
 * slot at the position has not come that far (full when pushing, empty when popping). */
static struct slot *
claim(struct queue *queue, _Atomic size_t *pos, size_t lead, size_t *ret_at)
{
    size_t at = atomic_load_explicit(pos, memory_order_relaxed);
    for (;;) {
        struct slot *slot = &queue->slots[at & queue->mask];
        size_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
        intptr_t ahead = (intptr_t)(turn - (at + lead));
        if (ahead < 0) {
            return NULL;
        }
        if (ahead > 0) { /* another thread took this position */
            at = atomic_load_explicit(pos, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(pos, &at, at + 1, memory_order_relaxed,
                                                         memory_order_relaxed)) {
            *ret_at = at;
            return slot;
        }
    }
}

bool
queue_push(struct queue *queue, void *item)
{
    size_t at;
    DMQ_ASSERT(item != NULL);
    struct slot *slot = claim(queue, &queue->push_pos, 0, &at);
    if (slot == NULL) {
        return false;
    }
    slot->item = item;
    atomic_store_explicit(&slot->turn, at + 1, memory_order_release);
    return true;
}

void *
queue_pop(struct queue *queue)
{
    size_t at;
    struct slot *slot = claim(queue, &queue->pop_pos, 1, &at);
    if (slot == NULL) {
        return NULL;
    }
    void *item = slot->item;
    atomic_store_explicit(&slot->turn, at + queue->mask + 1, memory_order_release);
    return item;
}
