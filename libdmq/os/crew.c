#include "libdmq/os/crew.h"

#include <stdbool.h>

/* Takes things and does them until there is none left to take; the lock is held. */
static void
help(struct crew *crew)
{
    while (crew->next < crew->count) {
        size_t i = crew->next++;
        pthread_mutex_unlock(&crew->lock);
        crew->run(crew->context, i);
        pthread_mutex_lock(&crew->lock);
        if (--crew->left == 0) {
            pthread_cond_signal(&crew->done);
        }
    }
}

static void *
thread_main(void *arg)
{
    struct crew *crew = arg;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        help(crew);
        pthread_cond_wait(&crew->work, &crew->lock);
    }
    return NULL;
}

/* One more, as long as there are things for it to do; false if it cannot be made. */
static bool
add_thread(struct crew *crew)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_main, crew) != 0) {
        return false;
    }
    pthread_detach(thread);
    crew->threads++;
    return true;
}

void
crew_run(struct crew *crew, void (*run)(void *context, size_t i), void *context, size_t count)
{
    pthread_mutex_lock(&crew->asking);
    pthread_mutex_lock(&crew->lock);
    crew->run = run;
    crew->context = context;
    crew->next = 0;
    crew->count = count;
    crew->left = count;
    size_t wanted = count > 0 ? count - 1 : 0;
    while (crew->threads < CREW_THREADS && (size_t)crew->threads < wanted && add_thread(crew)) {
    }
    for (size_t i = 0; i < wanted && i < (size_t)crew->threads; i++) {
        pthread_cond_signal(&crew->work);
    }
    help(crew);
    while (crew->left > 0) {
        pthread_cond_wait(&crew->done, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    pthread_mutex_unlock(&crew->asking);
}
