#include "libdmq/os/wakeup.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libdmq/base/assert.h"

int
wakeup_init(struct wakeup *wakeup)
{
    atomic_init(&wakeup->pending, false);
    wakeup->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wakeup->fd < 0 ? errno : 0;
}

void
wakeup_deinit(struct wakeup *wakeup)
{
    if (wakeup->fd >= 0) {
        close(wakeup->fd);
        wakeup->fd = -1;
    }
}

void
wakeup_signal(struct wakeup *wakeup)
{
    /* Both sides exchange, so that a signaller who finds the flag set is ordered before the clear
     * that takes it away: the sleeper then sees what was pushed before. */
    if (!atomic_exchange_explicit(&wakeup->pending, true, memory_order_acq_rel)) {
        uint64_t one = 1;
        ssize_t rc = write(wakeup->fd, &one, sizeof(one));
        DMQ_ASSERT(rc == sizeof(one) || errno == EAGAIN);
    }
}

void
wakeup_clear(struct wakeup *wakeup)
{
    uint64_t count;
    ssize_t rc = read(wakeup->fd, &count, sizeof(count));
    DMQ_ASSERT(rc == sizeof(count) || errno == EAGAIN);
    atomic_exchange_explicit(&wakeup->pending, false, memory_order_acq_rel);
}

bool
wakeup_wait(struct wakeup *wakeup, int timeout_ms)
{
    struct pollfd item = {.fd = wakeup->fd, .events = POLLIN};
    int rc = poll(&item, 1, timeout_ms);
    if (rc <= 0) {
        DMQ_ASSERT(rc == 0 || errno == EINTR);
        return false;
    }
    wakeup_clear(wakeup);
    return true;
}
