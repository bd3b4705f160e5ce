/* Time, for measuring and waiting, and the date. */
#ifndef DMQ_CLI_CLOCK_H
#define DMQ_CLI_CLOCK_H

#include <stdint.h>

/* Nanoseconds of a clock that does not jump. */
int64_t clock_ns(void);

/* Milliseconds since 1970. */
int64_t clock_date_ms(void);

/* Sleeps until clock_ns reaches until_ns or a signal comes. */
void clock_sleep_until(int64_t until_ns);

#endif
