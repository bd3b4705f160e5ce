#include "libdmq/os/clock.h"

#include <time.h>

#include "libdmq/base/assert.h"

static int64_t
read_ms(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    DMQ_ASSERT(rc == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
clock_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

int64_t
clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}
