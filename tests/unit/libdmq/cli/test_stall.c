#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/cli/stall.h"

#define MS INT64_C(1000000)

static void
what_moves_is_not_told_of(void **state)
{
    struct stall stall = {.done = 0};
    int64_t ns = -1;
    (void)state;
    for (int64_t now = 1; now < 10000; now += 900) { /* slowly */
        assert_int_equal(stall_look(&stall, 1000000, (uint64_t)now, now * MS, &ns), STALL_NONE);
    }
    assert_int_equal(ns, -1);
}

static void
nothing_under_way_is_no_stall(void **state)
{
    struct stall stall = {.done = 0};
    int64_t ns;
    (void)state;
    assert_int_equal(stall_look(&stall, 5, 5, 1 * MS, &ns), STALL_NONE);
    assert_int_equal(stall_look(&stall, 5, 5, 60000 * MS, &ns), STALL_NONE);
    /* the minute before does not count for what is sent now */
    assert_int_equal(stall_look(&stall, 6, 5, 60010 * MS, &ns), STALL_NONE);
    assert_int_equal(stall_look(&stall, 6, 5, 61005 * MS, &ns), STALL_BEGAN);
}

static void
beginning_and_end_are_told_once(void **state)
{
    struct stall stall = {.done = 0};
    int64_t ns = -1;
    (void)state;
    assert_int_equal(stall_look(&stall, 9, 3, 1 * MS, &ns), STALL_NONE);
    assert_int_equal(stall_look(&stall, 9, 3, 1000 * MS, &ns), STALL_NONE);
    assert_int_equal(stall_look(&stall, 9, 3, 1001 * MS, &ns), STALL_BEGAN);
    assert_int_equal(stall_look(&stall, 9, 3, 5001 * MS, &ns), STALL_NONE);
    assert_int_equal(stall_look(&stall, 9, 4, 9001 * MS, &ns), STALL_ENDED);
    assert_int_equal(ns, 9000 * MS);
    assert_int_equal(stall_look(&stall, 9, 5, 9002 * MS, &ns), STALL_NONE);
    /* and it may begin anew */
    assert_int_equal(stall_look(&stall, 9, 5, 10002 * MS, &ns), STALL_BEGAN);
    assert_int_equal(stall_look(&stall, 9, 9, 10003 * MS, &ns), STALL_ENDED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_moves_is_not_told_of),
        cmocka_unit_test(nothing_under_way_is_no_stall),
        cmocka_unit_test(beginning_and_end_are_told_once),
    };
    return cmocka_run_group_tests_name("cli/stall", tests, NULL, NULL);
}
