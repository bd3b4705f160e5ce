#include "libdmq/http/http.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

struct http_server {
    struct MHD_Daemon *daemon;
    http_handler *handler;
    void *context;
    int fd;
};

/* ---- requests -------------------------------------------------------------------------------- */

static enum MHD_Result
send_response(struct MHD_Connection *connection, struct http_response *response)
{
    struct outbuf *body = &response->body;
    struct MHD_Response *made = MHD_create_response_from_buffer(
        body->size, body->size == 0 ? (void *)(uintptr_t)"" : body->data, MHD_RESPMEM_MUST_COPY);
    if (made == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(made, MHD_HTTP_HEADER_CONTENT_TYPE, response->content_type);
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)response->status, made);
    MHD_destroy_response(made);
    return queued;
}

/* libmicrohttpd calls this once with the headers, then with the body piece by piece, then once more
 * with nothing: then it is time to answer. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
           const char *version, const char *upload, size_t *upload_size, void **state)
{
    static const char headers_seen[] = "headers";
    static const char body_seen[] = "body";
    struct http_server *server = arg;
    const struct http_request request = {.method = method, .path = url};
    struct http_response response = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    (void)version;
    (void)upload;
    if (*state == NULL) {
        *state = (void *)(uintptr_t)headers_seen;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0; /* taken and forgotten */
        *state = (void *)(uintptr_t)body_seen;
        return MHD_YES;
    }
    if (*state == body_seen) {
        response.status = 413;
        outbuf_put(&response.body, "this server takes no bodies\n", 28);
    } else {
        server->handler(server->context, &request, &response);
    }
    enum MHD_Result sent = response.body.failed ? MHD_NO : send_response(connection, &response);
    outbuf_deinit(&response.body);
    return sent;
}

/* ---- listening ------------------------------------------------------------------------------- */

static int
listen_at(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, 64) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static dmq_err
open_socket(const char *host, int32_t port, int *ret_fd, struct err_msg *err)
{
    bool any = host[0] == '\0' || strcmp(host, "*") == 0;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    char service[16];
    snprintf(service, sizeof(service), "%" PRId32, port);
    int failed = getaddrinfo(any ? NULL : host, service, &hints, &found);
    if (failed != 0) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG, "HTTP: %s is no address of this machine: %s",
                       host, gai_strerror(failed));
    }
    *ret_fd = listen_at(found);
    int error = errno;
    freeaddrinfo(found);
    if (*ret_fd >= 0) {
        return DMQ_OK;
    }
    return err_set(err, DMQ_ERR_IO, "HTTP: cannot listen on %s port %" PRId32 ": %s%s", host, port,
                   strerrordesc_np(error),
                   error == EADDRINUSE ? "; end the process that has it, or choose another httpPort"
                                       : "");
}

dmq_err
http_start(const char *host, int32_t port, http_handler *handler, void *context,
           struct http_server **ret_server, struct err_msg *err)
{
    int listen_fd;
    dmq_err failed = open_socket(host, port, &listen_fd, err);
    if (failed != DMQ_OK) {
        return failed;
    }
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        close(listen_fd);
        return err_set(err, DMQ_ERR_NOMEM, "out of memory");
    }
    server->handler = handler;
    server->context = context;
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET,
                         listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_MAX_CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        server->daemon == NULL ? NULL
                               : MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) {
        http_stop(server);
        return err_set(err, DMQ_ERR_IO, "HTTP: the server does not start");
    }
    server->fd = info->epoll_fd;
    *ret_server = server;
    return DMQ_OK;
}

void
http_stop(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
    }
    free(server);
}

int
http_fd(const struct http_server *server)
{
    return server->fd;
}

void
http_process(struct http_server *server)
{
    MHD_run(server->daemon);
}

/* ---- metrics --------------------------------------------------------------------------------- */

void
http_metric(struct outbuf *out, const char *name, const char *type, const char *help, int64_t value)
{
    char text[512];
    int size = snprintf(text, sizeof(text), "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 "\n", name,
                        help, name, type, name, value);
    if (size > 0 && (size_t)size < sizeof(text)) {
        outbuf_put(out, text, (size_t)size);
    }
}
