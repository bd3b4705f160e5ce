/* Whether something that was handed over is stuck, so that a person hears of it: once when it has
 * been for a second, once when it goes on. */
#ifndef DMQ_CLI_STALL_H
#define DMQ_CLI_STALL_H

#include <stdbool.h>
#include <stdint.h>

enum { STALL_LOOK_MS = 1000 }; /* look at least so often, and stuck is what does not move so long */

enum stall_news {
    STALL_NONE,
    STALL_BEGAN, /* nothing has moved for a second */
    STALL_ENDED  /* it moves again */
};

/* Zero is one that was never looked at. */
struct stall {
    uint64_t done;    /* at the last look */
    int64_t since_ns; /* when it last moved, or nothing was under way */
    bool is_told;
};

/* `done` of `sent` are done with, for better or worse. *ret_ns, if it ended: how long it took. */
enum stall_news stall_look(struct stall *stall, uint64_t sent, uint64_t done, int64_t now_ns,
                           int64_t *ret_ns);

#endif
