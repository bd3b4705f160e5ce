/* A peer against a server in the same thread, a server process that is killed, and servers that
 * speak nonsense. */
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "libdmq/base/arena.h"
#include "libdmq/net/peer.h"
#include "libdmq/net/router.h"
#include "libdmq/os/clock.h"
#include "libdmq/wire/codec.h"

static const struct uuid our_cluster = {{1, 2, 3}};

/* ---- a server: answers API_VERSIONS, and METADATA by the attachments it came with ------------ */

struct server {
    struct router router;
    int32_t node_id;
    bool mute;       /* takes requests, answers only API_VERSIONS */
    bool bad_header; /* answers with nonsense */
    int flood;       /* sends each answer so many times more */
    int hellos;
    int requests;
};

static void
serve_hello(struct server *s, struct router_request *request, int64_t correlation)
{
    struct api_range api = {.api_key = API_METADATA};
    struct api_versions_response body = {.cluster_id = our_cluster,
                                         .node_id = s->node_id,
                                         .max_requests_in_flight = 3,
                                         .max_message_bytes = 100000,
                                         .apis = &api,
                                         .apis_count = 1};
    struct response_header header = {.correlation_id = correlation};
    struct buf *frames[2] = {msg_encode_buf(desc_response_header(), 0, &header),
                             msg_encode_buf(desc_api_versions_response(), 0, &body)};
    router_reply(&s->router, request->routing_id, frames, 2);
    buf_unref(frames[0]);
    buf_unref(frames[1]);
}

static void
serve_echo(struct server *s, struct router_request *request, int64_t correlation)
{
    struct response_header header = {.correlation_id = correlation};
    struct buf *frames[4] = {msg_encode_buf(desc_response_header(), 0, &header), request->body};
    size_t count = 2;
    if (s->bad_header) {
        buf_unref(frames[0]);
        frames[0] = buf_copy(bytes_str("\xc1garbage"));
    }
    for (size_t i = 0; i < request->attachment_count && count < 4; i++) {
        frames[count++] = request->attachments[i];
    }
    for (int i = 0; i == 0 || i < s->flood; i++) {
        router_reply(&s->router, request->routing_id, frames, count);
    }
    buf_unref(frames[0]);
}

static void
serve(struct server *s)
{
    struct router_request request = {0};
    while (router_recv(&s->router, &request) == NET_OK) {
        struct arena arena;
        struct err_msg err;
        struct request_header header;
        arena_init(&arena, 4096);
        assert_null(request.fault);
        assert_int_equal(
            msg_decode(desc_request_header(), 0, buf_bytes(request.header), &arena, &header, &err),
            DMQ_OK);
        arena_deinit(&arena);
        if (header.api_key == API_API_VERSIONS) {
            serve_hello(s, &request, header.correlation_id);
            s->hellos++;
            continue;
        }
        s->requests++;
        if (!s->mute) {
            serve_echo(s, &request, header.correlation_id);
        }
    }
    router_request_deinit(&request);
}

static void
server_open(struct server *s, void *context, int32_t port)
{
    struct err_msg err;
    struct router_options options = {
        .max_frame_bytes = 1 << 20, .send_hwm = 100, .recv_hwm = 100, .linger_ms = 1000};
    s->router.socket = zmq_socket(context, ZMQ_ROUTER);
    assert_int_equal(router_configure(s->router.socket, &options, &err), DMQ_OK);
    assert_int_equal(router_bind(s->router.socket, "127.0.0.1", port, &err), DMQ_OK);
}

static int32_t
port_of(void *socket)
{
    char endpoint[64];
    size_t size = sizeof(endpoint);
    assert_int_equal(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    return (int32_t)strtol(strrchr(endpoint, ':') + 1, NULL, 10);
}

/* ---- the loop of an owner -------------------------------------------------------------------- */

static void *context;

static int
setup(void **state)
{
    (void)state;
    context = zmq_ctx_new();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    return zmq_ctx_term(context); /* would hang if a socket were left open */
}

static struct peer *
new_peer(int32_t port)
{
    struct peer_config config = {.zmq_context = context,
                                 .host = "127.0.0.1",
                                 .port = port,
                                 .node_id = 7,
                                 .client_id = "test",
                                 .max_frame_bytes = 1 << 20,
                                 .max_in_flight = 8,
                                 .connect_timeout_ms = 500,
                                 .seed = 1};
    return peer_new(&config);
}

/* Runs the peer, and the server if there is one, until the next event; fails after 5 s. */
static struct peer_event
next_event(struct peer *peer, struct server *s)
{
    struct peer_event event;
    int64_t give_up = clock_ms() + 5000;
    for (;;) {
        zmq_pollitem_t items[3];
        void *sockets[PEER_MAX_SOCKETS];
        size_t count = peer_sockets(peer, sockets);
        for (size_t i = 0; i < count; i++) {
            items[i] = (zmq_pollitem_t){.socket = sockets[i], .events = ZMQ_POLLIN};
        }
        if (s != NULL) {
            items[count++] = (zmq_pollitem_t){.socket = s->router.socket, .events = ZMQ_POLLIN};
        }
        int64_t wait = peer_deadline(peer) - clock_ms();
        wait = wait > 5000 ? 5000 : wait < 0 ? 0 : wait;
        zmq_poll(items, (int)count, (long)wait);
        if (s != NULL) {
            serve(s);
        }
        peer_process(peer, clock_ms());
        if (peer_next_event(peer, &event)) {
            return event;
        }
        if (clock_ms() > give_up) {
            fail_msg("no event within 5 s");
        }
    }
}

static void
expect(struct peer *peer, struct server *s, enum peer_event_kind kind)
{
    struct peer_event event = next_event(peer, s);
    if (event.kind != kind) {
        fail_msg("event %d instead of %d: %s", (int)event.kind, (int)kind, event.text);
    }
    peer_event_deinit(&event);
}

static dmq_err
call(struct peer *peer, uint64_t tag, size_t size, int32_t timeout_ms)
{
    struct buf *body = buf_new(10), *attachment = buf_new(size);
    memset(body->data, (int)tag, 10);
    memset(attachment->data, (int)tag, size);
    struct peer_call c = {.api_key = API_METADATA,
                          .tag = tag,
                          .body = body,
                          .attachments = &attachment,
                          .attachment_count = 1,
                          .timeout_ms = timeout_ms};
    dmq_err code = peer_send(peer, &c, clock_ms());
    buf_unref(body);
    buf_unref(attachment);
    return code;
}

static void
requests_and_answers(void **state)
{
    (void)state;
    struct server s = {.node_id = 7};
    server_open(&s, context, 0);
    struct peer *peer = new_peer(port_of(s.router.socket));
    assert_int_equal(call(peer, 1, 1, 1000), DMQ_ERR_UNREACHABLE);
    assert_null(peer_hello(peer));
    expect(peer, &s, PEER_CONNECTED);
    assert_true(peer_is_up(peer));
    assert_true(uuid_equal(peer_hello(peer)->cluster_id, our_cluster));
    for (uint64_t tag = 1; tag <= 3; tag++) {
        assert_int_equal(call(peer, tag, tag * 20000, 1000), DMQ_OK);
    }
    assert_int_equal(call(peer, 4, 1, 1000), DMQ_ERR_THROTTLED); /* the server allows three */
    for (uint64_t tag = 1; tag <= 3; tag++) {
        struct peer_event event = next_event(peer, &s);
        assert_int_equal(event.kind, PEER_RESPONSE);
        assert_int_equal(event.tag, tag);
        assert_int_equal(event.header.error, 0);
        assert_int_equal(event.msg.count, 3);
        assert_int_equal(event.msg.frames[2]->size, tag * 20000);
        assert_int_equal(event.msg.frames[2]->data[tag * 20000 - 1], tag);
        peer_event_deinit(&event);
    }
    assert_int_equal(peer_in_flight(peer), 0);
    assert_int_equal(call(peer, 5, 100001, 1000), DMQ_ERR_BATCH_TOO_LARGE);
    peer_free(peer);
    zmq_close(s.router.socket);
}

static void
a_call_that_the_server_lacks_is_not_sent(void **state)
{
    (void)state;
    struct server s = {.node_id = 7};
    server_open(&s, context, 0);
    struct peer *peer = new_peer(port_of(s.router.socket));
    expect(peer, &s, PEER_CONNECTED);
    struct buf *body = buf_new(1);
    struct peer_call c = {.api_key = API_PRODUCE, .body = body, .timeout_ms = 100};
    assert_int_equal(peer_send(peer, &c, clock_ms()), DMQ_ERR_UNSUPPORTED_VERSION);
    c.api_key = API_METADATA;
    c.api_version = 1;
    assert_int_equal(peer_send(peer, &c, clock_ms()), DMQ_ERR_UNSUPPORTED_VERSION);
    buf_unref(body);
    peer_free(peer);
    zmq_close(s.router.socket);
}

static void
time_runs_out_for_one_request_alone(void **state)
{
    (void)state;
    struct server s = {.node_id = 7, .mute = true};
    server_open(&s, context, 0);
    struct peer *peer = new_peer(port_of(s.router.socket));
    expect(peer, &s, PEER_CONNECTED);
    assert_int_equal(call(peer, 1, 1, 4000), DMQ_OK);
    assert_int_equal(call(peer, 2, 1, 20), DMQ_OK);
    struct peer_event event = next_event(peer, &s);
    assert_int_equal(event.kind, PEER_FAILED);
    assert_int_equal(event.tag, 2);
    assert_int_equal(event.err, DMQ_ERR_TIMEOUT);
    assert_true(peer_is_up(peer));
    assert_int_equal(peer_in_flight(peer), 1);
    assert_int_equal(s.requests, 2);
    peer_free(peer);
    zmq_close(s.router.socket);
}

static void
nobody_there(void **state)
{
    (void)state;
    struct server s = {.node_id = 7};
    server_open(&s, context, 0);
    int32_t port = port_of(s.router.socket);
    zmq_close(s.router.socket);
    struct peer *peer = new_peer(port);
    int64_t start = clock_ms();
    for (int i = 0; i < 4; i++) {
        expect(peer, NULL, PEER_CONNECT_FAILED);
    }
    assert_true(clock_ms() - start >= 3 + 7 + 15); /* three waits, each at least 3/4 of 5, 10, 20 */
    assert_true(clock_ms() - start < 1000);
    server_open(&s, context, port);
    expect(peer, &s, PEER_CONNECTED);
    peer_free(peer);
    zmq_close(s.router.socket);
}

static void
another_node_is_refused(void **state)
{
    (void)state;
    struct server s = {.node_id = 8};
    server_open(&s, context, 0);
    struct peer *peer = new_peer(port_of(s.router.socket));
    struct peer_event event = next_event(peer, &s);
    assert_int_equal(event.kind, PEER_CONNECT_FAILED);
    assert_int_equal(event.err, DMQ_ERR_WRONG_NODE);
    assert_string_equal(event.text, "node 8 answers at the address of node 7");
    s.node_id = 7;
    expect(peer, &s, PEER_CONNECTED);
    peer_expect_cluster(peer, (struct uuid){{9}});
    peer_disconnect(peer, DMQ_ERR_CLOSED, "by us", clock_ms());
    expect(peer, &s, PEER_DISCONNECTED);
    event = next_event(peer, &s);
    assert_int_equal(event.kind, PEER_CONNECT_FAILED);
    assert_int_equal(event.err, DMQ_ERR_INCONSISTENT_CLUSTER_ID);
    peer_free(peer);
    zmq_close(s.router.socket);
}

/* Its owner was busy, or stopped, while the server answered and ended. */
static void
a_hello_can_be_read_after_the_connection_has_ended(void **state)
{
    (void)state;
    struct server s = {.node_id = 7};
    struct peer_event event;
    int64_t give_up = clock_ms() + 5000;
    server_open(&s, context, 0);
    struct peer *peer = new_peer(port_of(s.router.socket));
    while (s.hellos == 0 && clock_ms() < give_up) {
        peer_process(peer, clock_ms());
        serve(&s);
    }
    assert_int_equal(s.hellos, 1);
    zmq_close(s.router.socket);
    const struct timespec a_while = {.tv_nsec = 200 * 1000000L};
    nanosleep(&a_while, NULL);
    peer_process(peer, clock_ms());
    assert_true(peer_next_event(peer, &event));
    assert_int_equal(event.kind, PEER_CONNECTED);
    assert_int_equal(peer_hello(peer)->node_id, 7);
    assert_false(peer_is_up(peer));
    assert_true(peer_next_event(peer, &event));
    assert_int_equal(event.kind, PEER_DISCONNECTED);
    peer_free(peer);
}

static void
garbage_in_an_answer_ends_the_connection(void **state)
{
    (void)state;
    struct server s = {.node_id = 7, .bad_header = true};
    server_open(&s, context, 0);
    struct peer *peer = new_peer(port_of(s.router.socket));
    expect(peer, &s, PEER_CONNECTED);
    assert_int_equal(call(peer, 1, 1, 4000), DMQ_OK);
    expect(peer, &s, PEER_DISCONNECTED);
    struct peer_event event = next_event(peer, &s);
    assert_int_equal(event.kind, PEER_FAILED);
    assert_int_equal(event.tag, 1);
    expect(peer, &s, PEER_CONNECTED);
    peer_free(peer);
    zmq_close(s.router.socket);
}

/* ---- other processes ------------------------------------------------------------------------- */

/* A server in a process of its own; writes its port into the pipe first. */
static pid_t
start_server(int32_t port, bool mute, int32_t *ret_port)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct server s = {.node_id = 7, .mute = mute};
        server_open(&s, zmq_ctx_new(), port);
        port = port_of(s.router.socket);
        if (write(ends[1], &port, sizeof(port)) != sizeof(port)) {
            _exit(1);
        }
        for (;;) {
            zmq_pollitem_t item = {.socket = s.router.socket, .events = ZMQ_POLLIN};
            zmq_poll(&item, 1, -1);
            serve(&s);
        }
    }
    assert_int_equal(read(ends[0], ret_port, sizeof(*ret_port)), sizeof(*ret_port));
    close(ends[0]);
    close(ends[1]);
    return child;
}

static void
kill_server(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static void
trap_old_requests_die_with_the_connection(void **state)
{
    (void)state;
    int32_t port;
    pid_t pid = start_server(0, true, &port);
    struct peer *peer = new_peer(port);
    expect(peer, NULL, PEER_CONNECTED);
    assert_int_equal(call(peer, 1, 1, 10000), DMQ_OK);
    assert_int_equal(call(peer, 2, 1, 10000), DMQ_OK);
    kill_server(pid);
    struct peer_event event = next_event(peer, NULL);
    assert_int_equal(event.kind, PEER_DISCONNECTED);
    assert_int_equal(event.err, DMQ_ERR_NETWORK);
    for (uint64_t tag = 1; tag <= 2; tag++) {
        event = next_event(peer, NULL);
        assert_int_equal(event.kind, PEER_FAILED);
        assert_int_equal(event.tag, tag);
        assert_int_equal(event.err, DMQ_ERR_NETWORK);
    }
    assert_int_equal(call(peer, 3, 1, 1000), DMQ_ERR_UNREACHABLE);
    /* Another process at the same address gets the new connection, and no old request. */
    struct server s = {.node_id = 7};
    server_open(&s, context, port);
    do {
        event = next_event(peer, &s);
    } while (event.kind == PEER_CONNECT_FAILED);
    assert_int_equal(event.kind, PEER_CONNECTED);
    assert_int_equal(call(peer, 4, 1, 1000), DMQ_OK);
    event = next_event(peer, &s);
    assert_int_equal(event.kind, PEER_RESPONSE);
    assert_int_equal(event.tag, 4);
    assert_int_equal(s.requests, 1);
    peer_event_deinit(&event);
    peer_free(peer);
    zmq_close(s.router.socket);
}

/* A server that answers each request with many messages, as long as it lives. */
static pid_t
start_flood(int32_t *ret_port)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct server s = {.node_id = 7, .flood = INT_MAX};
        server_open(&s, zmq_ctx_new(), 0);
        int32_t port = port_of(s.router.socket);
        if (write(ends[1], &port, sizeof(port)) != sizeof(port)) {
            _exit(1);
        }
        for (;;) {
            zmq_pollitem_t item = {.socket = s.router.socket, .events = ZMQ_POLLIN};
            zmq_poll(&item, 1, -1);
            serve(&s);
        }
    }
    assert_int_equal(read(ends[0], ret_port, sizeof(*ret_port)), sizeof(*ret_port));
    close(ends[0]);
    close(ends[1]);
    return child;
}

/* libzmq looks at its commands after every 100 frames, be it in the middle of a message. Does it
 * learn there that the connection has ended, it ends the whole process ("!_more", fq.cpp), with
 * IMMEDIATE or without its own reconnect. So neither is used (peer_link.c). */
static void
trap_a_connection_that_ends_under_a_reader_is_survived(void **state)
{
    (void)state;
    int64_t messages = 0;
    for (int round = 0; round < 60; round++) {
        int32_t port;
        pid_t pid = start_flood(&port);
        struct peer *peer = new_peer(port);
        expect(peer, NULL, PEER_CONNECTED);
        assert_int_equal(call(peer, 1, 1, 10000), DMQ_OK);
        int64_t kill_at = clock_ms() + 1 + round % 7;
        bool killed = false;
        while (peer_is_up(peer)) {
            struct peer_event event;
            peer_process(peer, clock_ms()); /* no poll between: one message behind another */
            while (peer_next_event(peer, &event)) {
                messages += event.kind == PEER_RESPONSE;
                peer_event_deinit(&event);
            }
            if (!killed && clock_ms() >= kill_at) {
                kill_server(pid);
                killed = true;
            }
        }
        assert_true(killed);
        peer_free(peer);
    }
    assert_true(messages > 20); /* the first of each flood; the others answer nothing */
}

/* A plain TCP server that sends some bytes (or none) to whoever connects, and then waits. */
static void
against_raw_tcp(const char *greeting, size_t size)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_size = sizeof(at);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &at_size), 0);
    pid_t child = fork();
    if (child == 0) {
        for (;;) {
            int fd = accept(listener, NULL, NULL);
            if (write(fd, greeting, size) != (ssize_t)size) {
                _exit(1);
            }
        }
    }
    struct peer *peer = new_peer(ntohs(at.sin_port));
    for (int i = 0; i < 2; i++) {
        struct peer_event event = next_event(peer, NULL);
        assert_int_equal(event.kind, PEER_CONNECT_FAILED);
        assert_int_equal(event.err, DMQ_ERR_UNREACHABLE);
    }
    peer_free(peer);
    kill_server(child);
    close(listener);
}

static void
servers_of_another_kind(void **state)
{
    (void)state;
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
                               "................................................................";
    against_raw_tcp(http, sizeof(http));
    against_raw_tcp("", 0); /* never says a word */
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(requests_and_answers),
        T(a_call_that_the_server_lacks_is_not_sent),
        T(time_runs_out_for_one_request_alone),
        T(nobody_there),
        T(another_node_is_refused),
        T(a_hello_can_be_read_after_the_connection_has_ended),
        T(garbage_in_an_answer_ends_the_connection),
        T(trap_old_requests_die_with_the_connection),
        T(trap_a_connection_that_ends_under_a_reader_is_survived),
        T(servers_of_another_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
