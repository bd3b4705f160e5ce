#include "libdmq/api/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_MS 50 /* the background thread waits so long at most */

/* 0, an errno value, or EINPROGRESS if there was no word in time. */
static int
try_connect(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int reason = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(reason);
    if (reason == EINPROGRESS && poll(&item, 1, PROBE_MS) == 1) {
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size);
    }
    close(fd);
    return reason;
}

bool
probe(const char *host, const char *address, int32_t port, struct err_msg *ret_reason)
{
    char service[16];
    char text[128];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    snprintf(service, sizeof(service), "%d", (int)port);
    if (getaddrinfo(address, service, &hints, &found) != 0) {
        return false;
    }
    int reason = try_connect(found);
    freeaddrinfo(found);
    if (reason == 0 || reason == EINPROGRESS) {
        return false;
    }
    if (reason == ECONNREFUSED) {
        err_set(ret_reason, DMQ_ERR_UNREACHABLE, "connection refused by %s:%d", host, (int)port);
    } else {
        err_set(ret_reason, DMQ_ERR_UNREACHABLE, "%s:%d: %s", host, (int)port,
                strerror_r(reason, text, sizeof(text)));
    }
    return true;
}
