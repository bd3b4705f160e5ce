/* What scripts say better is in tests/script/replica; what only many steps find, in sim/replica. */
#include "broker/replica/replica.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct replica replica;
static struct replica_effects effects;

/* Steps the replica; whether the high watermark advanced. */
static bool
step(struct replica_event event)
{
    replica_step(&replica, &event, &effects);
    return effects.hw_advanced;
}

static bool
append(int64_t end)
{
    return step((struct replica_event){.kind = REPLICA_APPENDED, .u.end = end});
}

static bool
sync_to(int64_t end)
{
    return step((struct replica_event){.kind = REPLICA_SYNCED, .u.end = end});
}

/* Broker 1 alone, or with others; it leads if role says so. */
static bool
image(enum replica_role role, int32_t epoch, uint32_t count, bool async)
{
    struct replica_member members[REPLICA_MAX];
    int32_t isr[REPLICA_MAX];
    for (uint32_t i = 0; i < count; i++) {
        isr[i] = (int32_t)i + 1;
        members[i] = (struct replica_member){isr[i], 10, true};
    }
    return step((struct replica_event){.kind = REPLICA_ROLE,
                                       .u.image = {.role = role,
                                                   .leader = role == REPLICA_LEADER ? 1 : 2,
                                                   .leader_epoch = epoch,
                                                   .partition_epoch = epoch,
                                                   .min_isr = 1,
                                                   .async = async,
                                                   .recorded_async = async,
                                                   .member_count = count,
                                                   .members = members,
                                                   .isr_count = count,
                                                   .isr = isr}});
}

static void
open_log(int64_t end, int64_t high_watermark)
{
    replica_init(&replica, &(struct replica_config){1, 1000, 100});
    step((struct replica_event){.kind = REPLICA_OPENED, .u.opened = {end, high_watermark}});
}

static int
close_log(void **state)
{
    (void)state;
    replica_deinit(&replica);
    return 0;
}

static void
the_high_watermark_rests_on_the_synced_end(void **state)
{
    (void)state;
    open_log(0, 0);
    image(REPLICA_LEADER, 1, 1, false);
    assert_false(append(10));
    assert_int_equal(replica.high_watermark, 0);
    assert_true(sync_to(7));
    assert_int_equal(replica.high_watermark, 7);
    assert_false(sync_to(7));
    assert_true(sync_to(10));
    assert_int_equal(replica.high_watermark, 10);
}

static void
an_async_topic_rests_on_the_end(void **state)
{
    (void)state;
    open_log(0, 0);
    image(REPLICA_LEADER, 1, 1, true);
    assert_true(append(3));
    assert_int_equal(replica.high_watermark, 3);
    /* back to sync: it does not fall, and rises again only with the synced end */
    assert_false(image(REPLICA_LEADER, 2, 1, false));
    assert_false(sync_to(2));
    assert_int_equal(replica.high_watermark, 3);
    assert_false(append(5));
    assert_true(sync_to(5));
}

static void
who_does_not_lead_advances_nothing(void **state)
{
    (void)state;
    open_log(5, 0);
    assert_false(sync_to(4));
    image(REPLICA_IDLE, 1, 1, false);
    assert_false(sync_to(5));
    assert_int_equal(replica.high_watermark, 0);
    assert_true(image(REPLICA_LEADER, 2, 1, false));
    assert_int_equal(replica.high_watermark, 5);
}

static bool
fetched(int32_t follower, int64_t end)
{
    return step((struct replica_event){.kind = REPLICA_FETCHED,
                                       .u.fetched = {.follower = follower,
                                                     .broker_epoch = 10,
                                                     .leader_epoch = 1,
                                                     .last_epoch = 1,
                                                     .end = end,
                                                     .synced_end = end,
                                                     .ours = {1, 8}}});
}

/* A set of replicas is a word: its last bit must do what the first does. */
static void
the_last_of_64_replicas_counts(void **state)
{
    (void)state;
    open_log(0, 0);
    image(REPLICA_LEADER, 1, REPLICA_MAX, false);
    append(8);
    sync_to(8);
    for (int32_t follower = 2; follower < REPLICA_MAX; follower++) {
        assert_false(fetched(follower, 8));
    }
    assert_true(fetched(REPLICA_MAX, 5));
    assert_int_equal(replica.high_watermark, 5);
    assert_true(fetched(REPLICA_MAX, 8));
    assert_int_equal(replica.high_watermark, 8);
}

static void
a_follower_knows_the_high_watermark_of_what_it_has(void **state)
{
    (void)state;
    open_log(4, 2);
    image(REPLICA_FOLLOWER, 1, 2, false);
    assert_true(replica_wants_fetch(&replica));
    struct replica_event answered = {
        .kind = REPLICA_ANSWERED,
        .u.answered = {.leader_epoch = 1, .asked_end = 4, .high_watermark = 9}};
    assert_true(step(answered));
    assert_true(effects.append);
    assert_int_equal(replica.high_watermark, 4);
    assert_true(append(9));
    assert_false(append(12));
    assert_int_equal(replica.high_watermark, 9);
    assert_int_equal(replica_deadline(&replica), INT64_MAX);
}

/* What an unclean election lost is said, and the high watermark follows the log. */
static void
a_cut_below_the_high_watermark_is_seen(void **state)
{
    (void)state;
    open_log(10, 8);
    image(REPLICA_FOLLOWER, 1, 2, false);
    sync_to(10);
    step((struct replica_event){.kind = REPLICA_ANSWERED,
                                .u.answered = {.leader_epoch = 1,
                                               .asked_end = 10,
                                               .diverges = true,
                                               .theirs = {0, 6},
                                               .ours = {0, 10}}});
    assert_true(effects.truncate && effects.below_hw);
    assert_int_equal(effects.truncate_to, 6);
    assert_false(replica_wants_fetch(&replica));
    step((struct replica_event){.kind = REPLICA_TRUNCATED, .u.end = 6});
    assert_int_equal(replica.high_watermark, 6);
    assert_int_equal(replica.synced_end, 6);
    assert_true(replica_wants_fetch(&replica));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_high_watermark_rests_on_the_synced_end, close_log),
        cmocka_unit_test_teardown(an_async_topic_rests_on_the_end, close_log),
        cmocka_unit_test_teardown(who_does_not_lead_advances_nothing, close_log),
        cmocka_unit_test_teardown(the_last_of_64_replicas_counts, close_log),
        cmocka_unit_test_teardown(a_follower_knows_the_high_watermark_of_what_it_has, close_log),
        cmocka_unit_test_teardown(a_cut_below_the_high_watermark_is_seen, close_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
