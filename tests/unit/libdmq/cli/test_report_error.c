#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/cli/report.h"

static void
exit_codes(void **state)
{
    (void)state;
    assert_int_equal(report_exit_code(DMQ_OK), 0);
    assert_int_equal(report_exit_code(DMQ_ERR_TOPIC_EXISTS), 1);
    assert_int_equal(report_exit_code(DMQ_ERR_INVALID_TOPIC), 1);
    assert_int_equal(report_exit_code(DMQ_ERR_INVALID_ARGUMENT), 2);
    assert_int_equal(report_exit_code(DMQ_ERR_UNREACHABLE), 3);
    assert_int_equal(report_exit_code(DMQ_ERR_NETWORK), 3);
    assert_int_equal(report_exit_code(DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION), 4);
    assert_int_equal(report_exit_code(DMQ_ERR_UNKNOWN_TOPIC_ID), 4);
    assert_int_equal(report_exit_code(DMQ_ERR_TOPIC_DENIED), 5);
    assert_int_equal(report_exit_code(DMQ_ERR_CLUSTER_DENIED), 5);
    assert_int_equal(report_exit_code(DMQ_ERR_TIMEOUT), 6);
    assert_int_equal(report_exit_code(DMQ_ERR_REQUEST_TIMED_OUT), 6);
    assert_int_equal(report_exit_code(DMQ_ERR_DELIVERY_TIMEOUT), 6);
    assert_int_equal(report_exit_code(31999), 1); /* from the future */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
