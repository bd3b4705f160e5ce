#include "libdmq/cli/clock.h"

#include <time.h>

static int64_t
read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
clock_date_ms(void)
{
    return read_clock(CLOCK_REALTIME) / 1000000;
}

void
clock_sleep_until(int64_t until_ns)
{
    struct timespec t = {.tv_sec = (time_t)(until_ns / 1000000000),
                         .tv_nsec = (long)(until_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}
