#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/net/address.h"
#include "libdmq/net/probe.h"

/* A bound socket on loopback and its port. */
static int
bound(int family, int32_t *ret_port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool is_six = family == AF_INET6;
    struct sockaddr *at = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t size = is_six ? sizeof(six) : sizeof(four);
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, at, size) != 0 || getsockname(fd, at, &size) != 0) {
        return -1;
    }
    *ret_port = ntohs(is_six ? six.sin6_port : four.sin_port);
    return fd;
}

static void
tells_refused_from_accepted(void **state)
{
    (void)state;
    int32_t port;
    int fd = bound(AF_INET, &port);
    assert_true(fd >= 0);
    assert_int_equal(probe_port("127.0.0.1", port, 1000), PROBE_REFUSED); /* nobody listens */
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(probe_port("127.0.0.1", port, 1000), PROBE_ACCEPTED);
    close(fd);
    assert_int_equal(probe_port("127.0.0.1", port, 1000), PROBE_REFUSED);
}

static void
a_name_says_nothing_of_the_process(void **state)
{
    (void)state;
    assert_int_equal(probe_port("localhost", 1, 100), PROBE_SILENT); /* it is not looked up */
    assert_int_equal(probe_port("", 1, 100), PROBE_SILENT);
}

static void
a_full_backlog_is_silence(void **state)
{
    (void)state;
    int32_t port;
    int fd = bound(AF_INET, &port), waiting[8];
    assert_true(fd >= 0 && listen(fd, 0) == 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 8; i++) { /* more than the queue of a listener that never accepts */
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(waiting[i], (struct sockaddr *)&to, sizeof(to));
    }
    assert_int_equal(probe_port("127.0.0.1", port, 50), PROBE_SILENT);
    for (int i = 0; i < 8; i++) {
        close(waiting[i]);
    }
    close(fd);
}

static void
speaks_ipv6(void **state)
{
    (void)state;
    int32_t port;
    int fd = bound(AF_INET6, &port);
    if (fd < 0) {
        skip(); /* the machine has no IPv6 */
    }
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(probe_port("::1", port, 1000), PROBE_ACCEPTED);
    close(fd);
}

static void
addresses_become_endpoints(void **state)
{
    (void)state;
    char text[ADDRESS_SIZE];
    struct err_msg err;
    assert_string_equal(address_print("host.example", 1, text), "tcp://host.example:1");
    assert_string_equal(address_print("::1", 2, text), "tcp://[::1]:2");
    assert_int_equal(address_resolve("localhost", 3, text, &err), DMQ_OK);
    assert_string_equal(text, "tcp://127.0.0.1:3");
    assert_int_equal(address_resolve("", 4, text, &err), DMQ_OK);
    assert_string_equal(text, "tcp://*:4");
    assert_int_equal(address_resolve("no.such.host.invalid", 5, text, &err),
                     DMQ_ERR_INVALID_CONFIG);
    assert_non_null(strstr(err.text, "no.such.host.invalid"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_refused_from_accepted),
        cmocka_unit_test(a_name_says_nothing_of_the_process),
        cmocka_unit_test(a_full_backlog_is_silence),
        cmocka_unit_test(speaks_ipv6),
        cmocka_unit_test(addresses_become_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
