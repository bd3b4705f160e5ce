#include "tests/support/hello_server.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "libdmq/base/arena.h"
#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"

void
hello_server_up(struct hello_server *server, const char *host)
{
    struct router_options options = {
        .max_frame_bytes = 1 << 20, .send_hwm = 1000, .recv_hwm = 1000, .linger_ms = 1000};
    struct err_msg err;
    server->router.socket = zmq_socket(server->context, ZMQ_ROUTER);
    DMQ_ASSERT(router_configure(server->router.socket, &options, &err) == DMQ_OK);
    DMQ_ASSERT(router_bind(server->router.socket, host, server->port, &err) == DMQ_OK);
}

void
hello_server_down(struct hello_server *server)
{
    zmq_close(server->router.socket);
    server->router.socket = NULL;
}

void
hello_server_open(struct hello_server *server)
{
    char endpoint[64];
    size_t size = sizeof(endpoint);
    *server = (struct hello_server){.context = zmq_ctx_new()};
    hello_server_up(server, "127.0.0.1");
    DMQ_ASSERT(zmq_getsockopt(server->router.socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    server->port = (int32_t)strtol(strrchr(endpoint, ':') + 1, NULL, 10);
}

static void
answer(struct hello_server *server, const struct router_request *request)
{
    struct api_range api = {.api_key = API_METADATA};
    struct api_versions_response hello = {.node_id = HELLO_NODE_ID, .apis = &api, .apis_count = 1};
    struct request_header asked;
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, 4096);
    DMQ_ASSERT(msg_decode(desc_request_header(), 0, buf_bytes(request->header), &arena, &asked,
                          &err) == DMQ_OK);
    struct response_header header = {.correlation_id = asked.correlation_id};
    arena_deinit(&arena);
    struct buf *frames[2] = {msg_encode_buf(desc_response_header(), 0, &header),
                             msg_encode_buf(desc_api_versions_response(), 0, &hello)};
    router_reply(&server->router, request->routing_id, frames, 2);
    buf_unref(frames[0]);
    buf_unref(frames[1]);
}

void
hello_server_serve(struct hello_server *server)
{
    struct router_request request = {0};
    while (server->router.socket != NULL && router_recv(&server->router, &request) == NET_OK) {
        answer(server, &request);
    }
    router_request_deinit(&request);
}

void
hello_server_close(struct hello_server *server)
{
    if (server->router.socket != NULL) {
        hello_server_down(server);
    }
    zmq_ctx_term(server->context);
}
