/* How one thread wakes another that polls: an eventfd that costs a system call only for the first
 * signal since the sleeper last looked. It goes with a queue:
 *
 *   pusher:  queue_push(q, item);  wakeup_signal(w);
 *   sleeper: wait for w's fd;  wakeup_clear(w);  queue_pop(q) until it is empty
 *
 * Clearing before popping loses nothing: a push after the last pop finds the signal cleared. */
#ifndef DMQ_OS_WAKEUP_H
#define DMQ_OS_WAKEUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wakeup {
    int fd;              /* readable while signalled */
    atomic_bool pending; /* signalled since the last clear */
};

/* 0 or an errno value. */
int wakeup_init(struct wakeup *wakeup);
void wakeup_deinit(struct wakeup *wakeup);

/* Any thread. */
void wakeup_signal(struct wakeup *wakeup);

/* The sleeper. */
void wakeup_clear(struct wakeup *wakeup);

/* The sleeper: blocks until signalled (true) or until timeout_ms have passed (false; negative: no
 * limit). Clears. */
bool wakeup_wait(struct wakeup *wakeup, int timeout_ms);

#endif
