/* The eventfd is readable while any handle has something. It is written whenever one gets something
 * after it had nothing, so that who watches for edges hears of each; read when the last one has
 * nothing any more. Those who never ask for it pay nothing. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "libdmq/api/api.h"
#include "libdmq/base/assert.h"

void
readiness_init(struct readiness *readiness)
{
    *readiness = (struct readiness){.fd = -1};
    pthread_mutex_init(&readiness->lock, NULL);
}

void
readiness_deinit(struct readiness *readiness)
{
    if (readiness->fd >= 0) {
        close(readiness->fd);
    }
    pthread_mutex_destroy(&readiness->lock);
}

/* Writing and reading an eventfd of ours that does not block cannot fail but by being so already.
 */
static void
show(const struct readiness *readiness, bool ready)
{
    uint64_t count = 1;
    if (readiness->fd < 0) {
        return;
    }
    ssize_t rc = ready ? write(readiness->fd, &count, sizeof(count))
                       : read(readiness->fd, &count, sizeof(count));
    (void)rc;
}

int
readiness_fd(struct readiness *readiness)
{
    pthread_mutex_lock(&readiness->lock);
    if (readiness->fd < 0) {
        readiness->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (readiness->sources > 0) {
            show(readiness, true);
        }
    }
    int fd = readiness->fd;
    pthread_mutex_unlock(&readiness->lock);
    return fd;
}

void
readiness_set(struct readiness *readiness, bool *is_source, bool has_something)
{
    if (*is_source == has_something) {
        return;
    }
    *is_source = has_something;
    pthread_mutex_lock(&readiness->lock);
    DMQ_ASSERT(has_something || readiness->sources > 0);
    readiness->sources += has_something ? 1 : UINT32_MAX;
    if (has_something || readiness->sources == 0) {
        show(readiness, has_something);
    }
    pthread_mutex_unlock(&readiness->lock);
}
