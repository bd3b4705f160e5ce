/* The pages that every daemon serves: /health/live, /health/ready and /metrics. */
#ifndef DMQ_HTTP_HEALTH_H
#define DMQ_HTTP_HEALTH_H

#include "libdmq/http/http.h"

/* What a daemon says of itself. */
struct http_health {
    const void *daemon; /* for both */

    /* NULL if it serves; else why not, in a few words. */
    const char *(*not_ready)(const void *daemon);

    /* Appends metrics. */
    void (*metrics)(const void *daemon, struct outbuf *out);
};

/* Answers the request: the rest of the paths is not there, other methods than GET and HEAD are not
 * allowed. */
void http_health(const struct http_health *health, const struct http_request *request,
                 struct http_response *response);

#endif
