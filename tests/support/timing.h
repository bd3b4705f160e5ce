/* What programs that measure need: the time, the order of what was measured, and an end where the
 * machine does not play along. */
#ifndef TESTS_SUPPORT_TIMING_H
#define TESTS_SUPPORT_TIMING_H

#include <stdbool.h>
#include <stddef.h>

/* Seconds since some point in the past. */
double timing_now(void);

/* Lowest first. */
void timing_sort(double *seconds, size_t count);

/* Ends the process, with errno's words, unless ok. */
void timing_require(bool ok, const char *what);

#endif
