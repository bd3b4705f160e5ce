#include "libdmq/os/clock.h"

#include <time.h>

#include "libdmq/base/assert.h"

static struct timespec
read_clock(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    DMQ_ASSERT(rc == 0);
    return now;
}

int64_t
clock_us(void)
{
    struct timespec now = read_clock(CLOCK_MONOTONIC);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t
clock_wall_ms(void)
{
    struct timespec now = read_clock(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
