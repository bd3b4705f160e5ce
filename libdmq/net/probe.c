#include "libdmq/net/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* The outcome of a connect that was begun, as an errno value. */
static int
wait_connected(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    int reason = ETIMEDOUT;
    socklen_t size = sizeof(reason);
    if (poll(&item, 1, timeout_ms) == 1) {
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size);
    }
    return reason;
}

static int
connect_to(const struct addrinfo *to, int timeout_ms)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int reason = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (reason == EINPROGRESS) {
        reason = wait_connected(fd, timeout_ms);
    }
    close(fd);
    return reason;
}

enum probe_result
probe_port(const char *address, int32_t port, int timeout_ms)
{
    char service[16];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(address, service, &hints, &found) != 0) {
        return PROBE_SILENT;
    }
    int reason = connect_to(found, timeout_ms);
    freeaddrinfo(found);
    if (reason == ECONNREFUSED) {
        return PROBE_REFUSED;
    }
    /* Reset: it was accepted by a socket that is being closed. */
    return reason == 0 || reason == ECONNRESET ? PROBE_ACCEPTED : PROBE_SILENT;
}
