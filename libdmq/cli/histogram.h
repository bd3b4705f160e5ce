/* Latencies, counted in buckets that are at most a thousandth of the value wide (the layout of
 * HdrHistogram at three significant digits), so that a percentile is right to three digits. */
#ifndef DMQ_CLI_HISTOGRAM_H
#define DMQ_CLI_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 11,   /* 2048 sub-buckets: the first power of two of 2 * 10^3 */
    HISTOGRAM_VALUE_BITS = 42, /* larger values count as the largest: 73 minutes in ns */
    HISTOGRAM_SIZE = (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 2) << (HISTOGRAM_SUB_BITS - 1)
};

struct histogram {
    uint64_t count;
    int64_t max;
    uint64_t counts[HISTOGRAM_SIZE];
};

/* Zero it before use. Negative values count as 0. */
void histogram_record(struct histogram *h, int64_t value);

/* The value that `percent` of all values are not above: the upper end of its bucket, as
 * HdrHistogram answers it. 0 if nothing was recorded. */
int64_t histogram_percentile(const struct histogram *h, double percent);

#endif
