#include "libdmq/http/health.h"

#include <string.h>

static void
put_line(struct http_response *response, const char *text)
{
    outbuf_put(&response->body, text, strlen(text));
    outbuf_put(&response->body, "\n", 1);
}

static void
ready(const struct http_health *health, struct http_response *response)
{
    const char *why = health->not_ready(health->daemon);
    response->status = why == NULL ? 200 : 503;
    put_line(response, why == NULL ? "ready" : why);
}

void
http_health(const struct http_health *health, const struct http_request *request,
            struct http_response *response)
{
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        response->status = 405;
    } else if (strcmp(request->path, "/health/live") == 0) {
        put_line(response, "live");
    } else if (strcmp(request->path, "/health/ready") == 0) {
        ready(health, response);
    } else if (strcmp(request->path, "/metrics") == 0) {
        response->content_type = "text/plain; version=0.0.4; charset=utf-8";
        health->metrics(health->daemon, &response->body);
    } else {
        response->status = 404;
        put_line(response, "there are /health/live, /health/ready and /metrics");
    }
}
