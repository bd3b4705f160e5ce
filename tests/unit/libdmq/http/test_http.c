#include "libdmq/http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct http_server *server;
static int32_t port;

static void
answer(void *context, const struct http_request *request, struct http_response *response)
{
    int *calls = context;
    ++*calls;
    if (strcmp(request->path, "/known") == 0) {
        http_metric(&response->body, "dmq_things_total", "counter", "Things.", 7);
    } else {
        response->status = 404;
    }
}

static int calls;

static int
setup(void **state)
{
    (void)state;
    struct err_msg err;
    calls = 0;
    for (port = 23100; port < 23200; port++) {
        if (http_start("127.0.0.1", port, answer, &calls, &server, &err) == DMQ_OK) {
            return 0;
        }
    }
    return -1;
}

static int
teardown(void **state)
{
    (void)state;
    http_stop(server);
    return 0;
}

static int
dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Sends text on a connection of its own and serves until the answer is whole; the caller frees it.
 */
static char *
ask(const char *text)
{
    char *got = calloc(1, 4096);
    size_t size = 0;
    int fd = dial();
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    for (int i = 0; i < 200; i++) {
        struct pollfd fds[] = {{.fd = http_fd(server), .events = POLLIN},
                               {.fd = fd, .events = POLLIN}};
        poll(fds, 2, 20);
        http_process(server);
        if ((fds[1].revents & POLLIN) != 0) {
            ssize_t n = read(fd, got + size, 4095 - size);
            if (n <= 0) {
                break;
            }
            size += (size_t)n;
        }
    }
    close(fd);
    return got;
}

static void
a_path_is_answered(void **state)
{
    (void)state;
    char *got = ask("GET /known?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(got, "200 OK"));
    assert_non_null(strstr(got, "# TYPE dmq_things_total counter\ndmq_things_total 7\n"));
    free(got);
    got = ask("GET /other HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(got, "404"));
    free(got);
    assert_int_equal(calls, 2);
}

static void
a_body_and_garbage_do_no_harm(void **state)
{
    (void)state;
    char *got = ask("POST /known HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: "
                    "3\r\n\r\nabc");
    assert_non_null(strstr(got, "413"));
    free(got);
    free(ask("\x01\x02 garbage\r\n\r\n"));
    assert_int_equal(calls, 0);
    got = ask("GET /known HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(got, "200 OK"));
    free(got);
}

static void
a_taken_port_is_named(void **state)
{
    (void)state;
    struct http_server *second;
    struct err_msg err;
    assert_int_equal(http_start("127.0.0.1", port, answer, NULL, &second, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "httpPort"));
    assert_int_equal(http_start("no.such.host.invalid", port, answer, NULL, &second, &err),
                     DMQ_ERR_INVALID_CONFIG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_path_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_and_garbage_do_no_harm, setup, teardown),
        cmocka_unit_test_setup_teardown(a_taken_port_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
