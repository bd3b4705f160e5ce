#include "libdmq/os/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "libdmq/base/assert.h"

int
alarm_init(struct alarm_clock *alarm)
{
    alarm->due_ms = INT64_MAX;
    alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); /* as clock_ms() */
    return alarm->fd < 0 ? errno : 0;
}

void
alarm_deinit(struct alarm_clock *alarm)
{
    if (alarm->fd >= 0) {
        close(alarm->fd);
        alarm->fd = -1;
    }
}

void
alarm_arm(struct alarm_clock *alarm, int64_t due_ms)
{
    if (due_ms >= alarm->due_ms) {
        return;
    }
    int64_t at_ms = due_ms > 0 ? due_ms : 1; /* zero would disarm it */
    const struct itimerspec when = {
        .it_value = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000}};
    int rc = timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &when, NULL);
    DMQ_ASSERT(rc == 0);
    alarm->due_ms = due_ms;
}

void
alarm_clear(struct alarm_clock *alarm)
{
    uint64_t times;
    ssize_t size = read(alarm->fd, &times, sizeof(times));
    DMQ_ASSERT(size == sizeof(times) || errno == EAGAIN);
    alarm->due_ms = INT64_MAX;
}
