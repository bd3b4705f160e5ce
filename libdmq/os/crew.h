/* Threads that help one thread with many equal things that each wait: syncs of files. They are made
 * when they are first needed and stay, asleep, until the process ends. */
#ifndef LIBDMQ_OS_CREW_H
#define LIBDMQ_OS_CREW_H

#include <pthread.h>
#include <stddef.h>

enum { CREW_THREADS = 15 }; /* at most, besides the one that asks */

struct crew {
    pthread_mutex_t asking; /* held by the one who has the crew */
    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t work;
    pthread_cond_t done;
    int threads;
    void (*run)(void *context, size_t i);
    void *context;
    size_t next; /* the first that nobody has taken */
    size_t left; /* not done yet */
    size_t count;
};

#define CREW_INIT                                                                                  \
    {.asking = PTHREAD_MUTEX_INITIALIZER,                                                          \
     .lock = PTHREAD_MUTEX_INITIALIZER,                                                            \
     .work = PTHREAD_COND_INITIALIZER,                                                             \
     .done = PTHREAD_COND_INITIALIZER}

/* Calls run(context, i) for every i below count, in no order, several at a time, and comes back
 * when all have returned. One caller at a time, others wait. Where no thread can be made, the
 * caller does it all. */
void crew_run(struct crew *crew, void (*run)(void *context, size_t i), void *context, size_t count);

#endif
