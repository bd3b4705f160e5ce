#include "tests/support/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double
timing_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

void
timing_sort(double *seconds, size_t count)
{
    qsort(seconds, count, sizeof(*seconds), compare);
}

void
timing_require(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}
