/* The one timer of a loop that has many deadlines: it is told whatever is due first, again and
 * again, and fires no later. A descriptor, so that it stands in the loop beside everything else.
 * One thread. */
#ifndef DMQ_OS_ALARM_H
#define DMQ_OS_ALARM_H

#include <stdint.h>

struct alarm_clock {
    int fd;         /* readable when it fired */
    int64_t due_ms; /* when it fires; INT64_MAX: not armed */
};

/* 0 or an errno value. */
int alarm_init(struct alarm_clock *alarm);
void alarm_deinit(struct alarm_clock *alarm);

/* Fires at due_ms of clock_ms() at the latest; INT64_MAX: nothing is due. One that fires earlier
 * stays: the owner then finds nothing due and arms it again, which is rarer than a deadline that
 * is pushed back. */
void alarm_arm(struct alarm_clock *alarm, int64_t due_ms);

/* It fired: it is armed no more. */
void alarm_clear(struct alarm_clock *alarm);

#endif
