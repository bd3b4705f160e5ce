/* A fixed table of events by hash: two that share a slot share its limit, which costs a line at
 * worst. A mutex, for lines are rare and each costs a write(2) anyhow. */
#include "libdmq/os/log_limit.h"

#include <pthread.h>

#define SLOTS 256 /* a power of two; the daemons log some 60 events */

struct slot {
    int64_t since_ms;
    uint32_t lines; /* in this window, said or not */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot slots[SLOTS];

/* FNV-1a. */
static uint32_t
hash_of(const char *event, size_t size)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)event[i]) * 16777619U;
    }
    return hash;
}

enum log_limit
log_limit_take(const char *event, size_t size, int64_t now_ms, uint32_t *ret_left_out)
{
    struct slot *slot = &slots[hash_of(event, size) & (SLOTS - 1)];
    *ret_left_out = 0;
    pthread_mutex_lock(&lock);
    int64_t age_ms = now_ms - slot->since_ms;
    if (slot->lines == 0 || age_ms < 0 || age_ms >= LOG_LIMIT_WINDOW_MS) {
        *ret_left_out = slot->lines > LOG_LIMIT_LINES ? slot->lines - LOG_LIMIT_LINES : 0;
        *slot = (struct slot){.since_ms = now_ms};
    }
    slot->lines += slot->lines < UINT32_MAX ? 1 : 0;
    uint32_t lines = slot->lines;
    pthread_mutex_unlock(&lock);
    if (lines > LOG_LIMIT_LINES) {
        return LOG_LIMIT_LEAVE_OUT;
    }
    return lines == LOG_LIMIT_LINES ? LOG_LIMIT_SAY_LAST : LOG_LIMIT_SAY;
}
