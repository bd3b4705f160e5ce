#include "libdmq/cli/http_get.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "libdmq/cli/report.h"

enum { TIMEOUT_S = 3 }; /* of each step: connect, send, every read */

/* HOST:PORT or [HOST]:PORT, split in place. */
static bool
split_address(char *text, char **ret_host, char **ret_port)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') {
        return false;
    }
    *colon = '\0';
    *ret_port = colon + 1;
    *ret_host = text;
    if (text[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        *ret_host = text + 1;
    }
    return true;
}

/* A connected socket, or -1 with errno. SO_SNDTIMEO bounds connect as well (socket(7)). */
static int
dial(const struct addrinfo *at)
{
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Of the addresses of a name the first that answers. */
static int
dial_any(const struct addrinfo *first)
{
    int fd = -1;
    for (const struct addrinfo *at = first; at != NULL && fd < 0; at = at->ai_next) {
        fd = dial(at);
    }
    return fd;
}

/* Sends the request and reads until the server closes or `answer` is full. */
static bool
exchange(int fd, const char *host, const char *path, char answer[HTTP_TEXT_BYTES])
{
    char request[1024];
    int size = snprintf(request, sizeof(request),
                        "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
    size_t filled = 0;
    if (size >= (int)sizeof(request) || send(fd, request, (size_t)size, MSG_NOSIGNAL) != size) {
        return false;
    }
    while (filled < HTTP_TEXT_BYTES - 1) {
        ssize_t got = recv(fd, answer + filled, HTTP_TEXT_BYTES - 1 - filled, 0);
        if (got < 0) {
            return false;
        }
        if (got == 0) {
            break;
        }
        filled += (size_t)got;
    }
    answer[filled] = '\0';
    return true;
}

int
http_get(const char *address, const char *path, int *ret_status, char ret_text[HTTP_TEXT_BYTES])
{
    char copy[300];
    char *host;
    char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if ((size_t)snprintf(copy, sizeof(copy), "%s", address) >= sizeof(copy) ||
        !split_address(copy, &host, &port)) {
        return report_usage("health", "--http wants HOST:PORT, not '%.100s'", address);
    }
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        report_failure("cannot look up %s: %s", address, gai_strerror(rc));
        return CLI_UNREACHABLE;
    }
    int fd = dial_any(found);
    freeaddrinfo(found);
    bool is_answered = fd >= 0 && exchange(fd, host, path, ret_text);
    if (!is_answered) {
        report_failure("http://%s%s does not answer: %s", address, path, strerrordesc_np(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    if (!is_answered) {
        return CLI_UNREACHABLE;
    }
    const char *body = strstr(ret_text, "\r\n\r\n");
    if (sscanf(ret_text, "HTTP/1.%*d %d ", ret_status) != 1 || body == NULL) {
        report_failure("%s speaks no HTTP: is it the httpPort of services.json?", address);
        return CLI_UNREACHABLE;
    }
    memmove(ret_text, body + 4, strlen(body + 4) + 1);
    ret_text[strcspn(ret_text, "\r\n")] = '\0';
    return CLI_OK;
}
