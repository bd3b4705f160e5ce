/* A bounded queue of pointers between threads, without locks: any number of threads push and pop
 * (Vyukov's bounded queue). It neither blocks nor wakes: a wakeup (libdmq/os) goes with it.
 *
 * Order: two items pushed by one thread come out in that order to one popping thread. */
#ifndef DMQ_BASE_QUEUE_H
#define DMQ_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue;

/* capacity is rounded up to a power of two; 2 at least. NULL if memory is out. */
struct queue *queue_new(size_t capacity);

/* What is still inside is not freed: drain it first. NULL is a no-op. */
void queue_free(struct queue *queue);

/* False if it is full; item is not NULL. */
bool queue_push(struct queue *queue, void *item);

/* NULL if nothing is ready. An item whose push is under way may hide those behind it: its pusher
 * signals after the push, so nobody sleeps on it. */
void *queue_pop(struct queue *queue);

#endif
