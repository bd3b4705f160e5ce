#include "libdmq/api/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
test_good_urls(void **state)
{
    struct client_address addresses[URL_MAX_ADDRESSES];
    struct err_msg err;
    size_t count = 0;
    (void)state;
    assert_int_equal(url_parse("dmq://h", addresses, &count, &err), DMQ_OK);
    assert_int_equal(count, 1);
    assert_string_equal(addresses[0].host, "h");
    assert_int_equal(addresses[0].port, 9501);
    assert_int_equal(
        url_parse("dmq://h:1,10.0.0.1:65535,h:1,[::1]:7,[fe80::1%eth0]", addresses, &count, &err),
        DMQ_OK);
    assert_int_equal(count, 4); /* h:1 stands twice */
    assert_string_equal(addresses[1].host, "10.0.0.1");
    assert_int_equal(addresses[1].port, 65535);
    assert_string_equal(addresses[2].host, "::1");
    assert_int_equal(addresses[2].port, 7);
    assert_string_equal(addresses[3].host, "fe80::1%eth0");
    assert_int_equal(addresses[3].port, 9501);
}

static void
refuse(const char *url, const char *sentence)
{
    struct client_address addresses[URL_MAX_ADDRESSES];
    struct err_msg err;
    size_t count = 7;
    assert_int_equal(url_parse(url, addresses, &count, &err), DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(count, 7);
    if (strstr(err.text, sentence) == NULL) {
        fail_msg("'%s' is not in '%s'", sentence, err.text);
    }
}

static void
test_bad_urls(void **state)
{
    char many[4096] = "dmq://";
    char host[300];
    (void)state;
    refuse("", "is not a URL of DMQ");
    refuse("localhost:9501", "it should look like dmq://host:9501");
    refuse("http://localhost", "is not a URL of DMQ");
    refuse("dmq://", "a host is empty");
    refuse("dmq://:9501", "a host is empty");
    refuse("dmq://a,,b", "a host is empty");
    refuse("dmq://a,", "a host is empty");
    refuse("dmq://a:", "port '' is not a number from 1 to 65535");
    refuse("dmq://a:0", "port '0'");
    refuse("dmq://a:65536", "port '65536'");
    refuse("dmq://a:999999999999", "port '999999999999'");
    refuse("dmq://a:-1", "port '-1'");
    refuse("dmq://a:9x", "port '9x'");
    refuse("dmq://a b", "' ' cannot stand");
    refuse("dmq://a/topic", "'/' cannot stand");
    refuse("dmq://[::1", "']' is missing");
    refuse("dmq://[::1]9", "':' and a port should follow");
    refuse("dmq://[[]", "around an IPv6 address");
    refuse("dmq://[[::1]]", "around an IPv6 address");
    refuse("dmq://[host]:9501", "around an IPv6 address");
    refuse("dmq://a[b]", "around an IPv6 address");
    refuse("dmq://a]", "around an IPv6 address");
    memset(host, 'a', sizeof(host));
    host[299] = '\0';
    memcpy(host, "dmq://", 6);
    refuse(host, "too long");
    for (int i = 0; i < 65; i++) {
        size_t used = strlen(many);
        snprintf(many + used, sizeof(many) - used, "%sh%d", i == 0 ? "" : ",", i);
    }
    refuse(many, "more than 64 addresses");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_urls),
        cmocka_unit_test(test_bad_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
