/* A small HTTP/1.1 server for the daemons, on libmicrohttpd, without threads of its own: the owner
 * polls its descriptor together with everything else and calls http_process, and the handler runs
 * inside that call, on the same thread, so that it may look at whatever that thread owns. */
#ifndef DMQ_HTTP_HTTP_H
#define DMQ_HTTP_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"

struct http_server;

struct http_request {
    const char *method; /* "GET" */
    const char *path;   /* "/health/live", without the query */
};

struct http_response {
    int status;               /* 200 at first */
    const char *content_type; /* static; "text/plain; charset=utf-8" at first */
    struct outbuf body;       /* empty at first */
};

/* Fills response for every request, whatever its path. Requests have no body: one that brings a
 * body is answered 413 before. */
typedef void http_handler(void *context, const struct http_request *request,
                          struct http_response *response);

#define HTTP_MAX_CONNECTIONS 64
#define HTTP_TIMEOUT_S 10 /* a connection that is silent for so long is closed */

/* Listens on host (a name or address; "*" and "": every interface) and port. Errors name both and
 * say what to do: DMQ_ERR_INVALID_CONFIG (no such address here), DMQ_ERR_IO (the port is taken,
 * ...). */
dmq_err http_start(const char *host, int32_t port, http_handler *handler, void *context,
                   struct http_server **ret_server, struct err_msg *err);

/* NULL is a no-op. */
void http_stop(struct http_server *server);

/* Readable when http_process has something to do. */
int http_fd(const struct http_server *server);

void http_process(struct http_server *server);

/* ---- the text format of Prometheus ----------------------------------------------------------- */

/* Appends one metric with its HELP and TYPE lines; type: "counter" or "gauge". A counter's name
 * ends with _total; units are base units (bytes, seconds). */
void http_metric(struct outbuf *out, const char *name, const char *type, const char *help,
                 int64_t value);

#endif
