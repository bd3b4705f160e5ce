#include "broker/replica/replica.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct replica replica;

/* Steps the replica; whether the high watermark advanced. */
static bool
step(struct replica_event event)
{
    struct replica_effects effects;
    replica_step(&replica, &event, &effects);
    return effects.hw_advanced;
}

static void
open_as_leader(int64_t end, int64_t high_watermark)
{
    replica_init(&replica);
    step((struct replica_event){
        .kind = REPLICA_OPENED, .end = end, .high_watermark = high_watermark});
    step((struct replica_event){.kind = REPLICA_LEADS, .leader_epoch = 1});
}

static void
the_high_watermark_rests_on_the_synced_end(void **state)
{
    (void)state;
    open_as_leader(0, 0);
    assert_false(step((struct replica_event){.kind = REPLICA_APPENDED, .end = 10}));
    assert_int_equal(replica.high_watermark, 0);
    assert_true(step((struct replica_event){.kind = REPLICA_SYNCED, .end = 7}));
    assert_int_equal(replica.high_watermark, 7);
    assert_false(step((struct replica_event){.kind = REPLICA_SYNCED, .end = 7}));
    assert_true(step((struct replica_event){.kind = REPLICA_SYNCED, .end = 10}));
    assert_int_equal(replica.high_watermark, 10);
}

static void
an_async_topic_rests_on_the_end(void **state)
{
    (void)state;
    open_as_leader(0, 0);
    assert_false(step((struct replica_event){.kind = REPLICA_APPENDED, .end = 3}));
    assert_true(step((struct replica_event){.kind = REPLICA_DURABILITY, .async = true}));
    assert_int_equal(replica.high_watermark, 3);
    assert_true(step((struct replica_event){.kind = REPLICA_APPENDED, .end = 5}));
    /* back to sync: it does not fall, and rises again only with the synced end */
    assert_false(step((struct replica_event){.kind = REPLICA_DURABILITY, .async = false}));
    assert_false(step((struct replica_event){.kind = REPLICA_SYNCED, .end = 4}));
    assert_int_equal(replica.high_watermark, 5);
}

/* trap 14: after a restart the high watermark comes from the checkpoint, never from the log end. */
static void
trap_14_a_restart_takes_the_checkpoint(void **state)
{
    (void)state;
    open_as_leader(100, 60);
    assert_int_equal(replica.high_watermark, 60);
    assert_true(step((struct replica_event){.kind = REPLICA_SYNCED, .end = 100}));
    assert_int_equal(replica.high_watermark, 100);
}

/* An async log may have lost records below its checkpoint: they are gone, the offsets are free. */
static void
a_checkpoint_above_the_end_is_cut(void **state)
{
    (void)state;
    open_as_leader(40, 60);
    assert_int_equal(replica.high_watermark, 40);
}

static void
who_does_not_lead_advances_nothing(void **state)
{
    (void)state;
    open_as_leader(0, 0);
    step((struct replica_event){.kind = REPLICA_APPENDED, .end = 5});
    step((struct replica_event){.kind = REPLICA_RESIGNS, .leader_epoch = 2});
    assert_false(step((struct replica_event){.kind = REPLICA_SYNCED, .end = 5}));
    assert_int_equal(replica.high_watermark, 0);
    assert_true(step((struct replica_event){.kind = REPLICA_LEADS, .leader_epoch = 3}));
    assert_int_equal(replica.high_watermark, 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_high_watermark_rests_on_the_synced_end),
        cmocka_unit_test(an_async_topic_rests_on_the_end),
        cmocka_unit_test(trap_14_a_restart_takes_the_checkpoint),
        cmocka_unit_test(a_checkpoint_above_the_end_is_cut),
        cmocka_unit_test(who_does_not_lead_advances_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
