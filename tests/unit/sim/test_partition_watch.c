/* The watch finds each thing that must not be, and nothing where all is well. Three replicas, whose
 * logs are rows of records that the test writes. */
#include "tests/sim/partition_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PLACES 3
#define MAX_END 16

struct log {
    struct watch_entry records[MAX_END];
    int64_t end;
    int64_t synced;
    uint64_t generation;
};

static struct log logs[PLACES];
static struct partition_watch *watch;
static struct watch_image image;

static bool
read_record(void *arg, int place, enum watch_part part, int64_t offset,
            struct watch_entry *ret_entry)
{
    (void)arg;
    if (place >= PLACES || offset >= (part == WATCH_ALL ? logs[place].end : logs[place].synced)) {
        return false;
    }
    *ret_entry = logs[place].records[offset];
    return true;
}

static uint64_t
generation(void *arg, int place)
{
    (void)arg;
    return place < PLACES ? logs[place].generation : 0;
}

static bool
is_other(void *arg, int place)
{
    (void)arg;
    (void)place;
    return false;
}

static void
append(int place, int32_t epoch, uint64_t value)
{
    struct log *log = &logs[place];
    assert_true(log->end < MAX_END);
    log->records[log->end] = (struct watch_entry){log->end, log->end + 1, epoch, value};
    log->end++;
}

static void
append_everywhere(int32_t epoch, uint64_t value)
{
    for (int i = 0; i < PLACES; i++) {
        append(i, epoch, value);
        logs[i].synced = logs[i].end;
    }
}

static struct watch_replica
replica(int place, int64_t high_watermark)
{
    return (struct watch_replica){.place = place,
                                  .life = 1,
                                  .leads = place == 0,
                                  .leader_epoch = 1,
                                  .end = logs[place].end,
                                  .synced_end = logs[place].synced,
                                  .high_watermark = high_watermark};
}

static void
see(struct watch_replica seen)
{
    partition_watch_replica(watch, &seen);
}

/* All three in sync, the first leads, two records are safe. */
static int
setup(void **state)
{
    (void)state;
    const struct watch_disks disks = {NULL, read_record, generation, is_other};
    memset(logs, 0, sizeof(logs));
    watch = partition_watch_new(&disks, PLACES);
    image = (struct watch_image){.leader = 0,
                                 .leader_epoch = 1,
                                 .partition_epoch = 1,
                                 .min_isr = 2,
                                 .replicas = 7,
                                 .isr = 7,
                                 .live = 7};
    partition_watch_image(watch, &image);
    append_everywhere(1, 10);
    append_everywhere(1, 11);
    for (int i = 0; i < PLACES; i++) {
        see(replica(i, 0));
    }
    see(replica(0, 2));
    see(replica(1, 2));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    partition_watch_free(watch);
    return 0;
}

static void
assert_found(const char *part)
{
    const char *failure = partition_watch_failure(watch);
    assert_non_null(failure);
    if (strstr(failure, part) == NULL) {
        assert_string_equal(failure, part);
    }
}

static void
nothing_where_all_is_well(void **state)
{
    (void)state;
    append(0, 1, 12);
    see(replica(0, 2));
    image.isr = 3;
    image.partition_epoch = 2;
    partition_watch_image(watch, &image);
    image.leader = 1;
    image.leader_epoch = 2;
    image.partition_epoch = 3;
    image.isr = 2;
    image.elr = 1;
    image.live = 6;
    partition_watch_image(watch, &image);
    struct watch_replica next = replica(1, 2);
    next.leads = true;
    next.leader_epoch = 2;
    see(next);
    logs[0].end = 2; /* what was never safe goes */
    logs[0].generation++;
    see(replica(0, 2));
    partition_watch_match(watch, 0, 1);
    partition_watch_all(watch);
    assert_null(partition_watch_failure(watch));
    assert_int_equal(partition_watch_committed(watch), 2);
    assert_true(partition_watch_holds_all(watch, 2));
}

static void
two_leaders_of_an_epoch(void **state)
{
    (void)state;
    struct watch_replica other = replica(1, 2);
    other.leads = true;
    see(other);
    assert_found("lead in epoch 1");
}

static void
another_incarnation_in_the_same_epoch(void **state)
{
    (void)state;
    struct watch_replica again = replica(0, 2);
    again.life = 2;
    see(again);
    assert_found("lead in epoch 1");
}

static void
a_leader_that_lacks_what_is_safe(void **state)
{
    (void)state;
    struct watch_replica next = replica(2, 1);
    next.leads = true;
    next.leader_epoch = 2;
    next.end = 1;
    see(next);
    assert_found("but 2 is committed");
}

static void
sets_that_cannot_be(void **state)
{
    static const struct {
        struct watch_image image;
        const char *said;
    } cases[] = {
        {{.leader = 2, .replicas = 7, .isr = 3, .live = 7}, "the leader is not in the ISR"},
        {{.leader = 0, .replicas = 3, .isr = 7, .live = 7}, "is no replica"},
        {{.leader = 0, .replicas = 3, .isr = 1, .elr = 4, .live = 7}, "is no replica"},
        {{.leader = 0, .replicas = 7, .isr = 3, .elr = 2, .live = 7}, "in the ISR and in the ELR"},
        {{.leader = 0, .replicas = 7, .isr = 3, .live = 5}, "fenced"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct watch_image next = cases[i].image;
        next.leader_epoch = 2;
        next.partition_epoch = 2;
        partition_watch_image(watch, &next);
        assert_found(cases[i].said);
        teardown(state);
        setup(state);
    }
}

static void
epochs_that_fall_or_stay(void **state)
{
    image.leader_epoch = 0;
    image.partition_epoch = 2;
    partition_watch_image(watch, &image);
    assert_found("epoch fell");
    teardown(state);
    setup(state);
    image.partition_epoch = 0;
    partition_watch_image(watch, &image);
    assert_found("epoch fell");
    teardown(state);
    setup(state);
    image.leader = 1;
    image.partition_epoch = 2;
    partition_watch_image(watch, &image);
    assert_found("no other leader epoch");
    teardown(state);
    setup(state);
    image.isr = 3;
    partition_watch_image(watch, &image);
    assert_found("no other partition epoch");
}

static void
a_member_that_has_lost_what_is_safe(void **state)
{
    (void)state;
    logs[2].synced = 1;
    logs[2].generation++;
    image.isr = 3;
    image.partition_epoch = 2;
    partition_watch_image(watch, &image); /* it is none any more */
    assert_null(partition_watch_failure(watch));
    image.isr = 7;
    image.partition_epoch = 3;
    partition_watch_image(watch, &image);
    assert_found("replica 2 is in the ISR");
}

static void
a_member_of_the_elr_with_another_record(void **state)
{
    (void)state;
    logs[2].records[1].value = 99;
    logs[2].generation++;
    image.isr = 1;
    image.elr = 4;
    image.partition_epoch = 2;
    partition_watch_image(watch, &image);
    assert_found("replica 2 is in the ELR");
}

static void
acknowledged_on_too_few_disks(void **state)
{
    (void)state;
    append(0, 1, 12);
    logs[0].synced = 3;
    append(1, 1, 12); /* not synced */
    see(replica(0, 3));
    assert_found("not on min ISR disks");
}

static void
a_high_watermark_on_what_is_not_synced(void **state)
{
    (void)state;
    append(0, 1, 12);
    see(replica(0, 3));
    assert_found("above its synced end");
}

static void
a_high_watermark_that_falls(void **state)
{
    (void)state;
    see(replica(1, 1));
    assert_found("fell from 2 to 1");
}

static void
a_follower_ahead_of_all_leaders(void **state)
{
    (void)state;
    append_everywhere(1, 12);
    see(replica(1, 3));
    assert_found("above all leaders'");
}

static void
a_record_that_was_another_one_before(void **state)
{
    (void)state;
    logs[2].records[1].value = 99;
    struct watch_replica seen = replica(2, 2);
    see(seen);
    assert_found("shows offset 1, which was another one before");
}

static void
a_log_that_begins_above_what_is_safe(void **state)
{
    (void)state;
    struct watch_replica seen = replica(1, 2);
    seen.start = 3;
    see(seen);
    assert_found("begins above its high watermark");
}

static void
logs_of_one_epoch_that_part(void **state)
{
    (void)state;
    append(0, 1, 12);
    append(1, 1, 13);
    partition_watch_match(watch, 0, 1);
    assert_found("part at 2");
}

static void
logs_of_other_epochs_may_part(void **state)
{
    (void)state;
    append(0, 1, 12);
    append(1, 2, 13);
    append(0, 1, 14);
    append(1, 2, 14);
    partition_watch_match(watch, 0, 1);
    assert_null(partition_watch_failure(watch));
    append(0, 3, 15);
    append(1, 3, 15);
    partition_watch_match(watch, 0, 1);
    assert_found("of one epoch at 4");
}

/* ---- unclean elections ----------------------------------------------------------------------- */

/* The third replica leaves the ISR, the others go on to three records, and go. */
static void
leave_the_third_behind(void)
{
    image.isr = 3;
    image.partition_epoch = 2;
    partition_watch_image(watch, &image);
    for (int i = 0; i < 2; i++) {
        append(i, 1, 12);
        logs[i].synced = 3;
    }
    see(replica(0, 3));
    image.leader = -1;
    image.leader_epoch = 2;
    image.partition_epoch = 3;
    image.isr = 0;
    image.elr = 3;
    image.live = 4;
    partition_watch_image(watch, &image);
    assert_null(partition_watch_failure(watch));
    assert_int_equal(partition_watch_committed(watch), 3);
}

static void
elect_the_third(bool may_lose)
{
    image.may_lose = may_lose;
    image.leader = 2;
    image.leader_epoch = 3;
    image.partition_epoch = 4;
    image.isr = 4;
    image.elr = 0;
    partition_watch_image(watch, &image);
}

static struct watch_replica
third(int64_t high_watermark)
{
    struct watch_replica seen = replica(2, high_watermark);
    seen.leads = true;
    seen.leader_epoch = 3;
    return seen;
}

static void
nobody_asked_for_an_unclean_leader(void **state)
{
    (void)state;
    leave_the_third_behind();
    elect_the_third(false);
    assert_found("replica 2 is in the ISR and holds what is committed up to 2, not 3");
}

/* Who believes in the former history is nobody's judge, until it joins with what the new one is. */
static void
an_unclean_leader_begins_a_history(void **state)
{
    (void)state;
    struct watch_cut cut;
    leave_the_third_behind();
    elect_the_third(true);
    assert_int_equal(partition_watch_cuts(watch, &cut), 1);
    assert_int_equal(cut.end, 2);
    assert_int_equal(cut.epoch, 3);
    assert_int_equal(cut.given_up, 1);
    assert_int_equal(partition_watch_committed(watch), 2);
    see(replica(0, 3));
    see(third(2));
    append(2, 3, 20);
    logs[2].synced = 3;
    logs[0].records[2] = logs[2].records[2]; /* it was cut, and follows */
    logs[0].generation++;
    image.isr = 5;
    image.live = 5;
    image.partition_epoch = 5;
    partition_watch_image(watch, &image);
    see(third(2));
    see(third(3));
    struct watch_replica joined = replica(0, 2);
    joined.leads = false;
    joined.leader_epoch = 3;
    see(joined);
    assert_null(partition_watch_failure(watch));
    assert_int_equal(partition_watch_committed(watch), 3);
}

static void
the_new_history_is_as_strict(void **state)
{
    (void)state;
    leave_the_third_behind();
    elect_the_third(true);
    see(third(2));
    for (int i = 0; i < 2; i++) {
        append(2, 3, 20 + (uint64_t)i);
    }
    logs[2].synced = 4;
    image.isr = 5; /* the first holds the former history still */
    image.live = 5;
    image.partition_epoch = 5;
    partition_watch_image(watch, &image);
    see(third(2));
    assert_null(partition_watch_failure(watch));
    see(third(4));
    assert_found("is acknowledged and not on min ISR disks");
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_where_all_is_well),
        TEST(two_leaders_of_an_epoch),
        TEST(another_incarnation_in_the_same_epoch),
        TEST(a_leader_that_lacks_what_is_safe),
        TEST(sets_that_cannot_be),
        TEST(epochs_that_fall_or_stay),
        TEST(a_member_that_has_lost_what_is_safe),
        TEST(a_member_of_the_elr_with_another_record),
        TEST(acknowledged_on_too_few_disks),
        TEST(a_high_watermark_on_what_is_not_synced),
        TEST(a_high_watermark_that_falls),
        TEST(a_follower_ahead_of_all_leaders),
        TEST(a_record_that_was_another_one_before),
        TEST(a_log_that_begins_above_what_is_safe),
        TEST(logs_of_one_epoch_that_part),
        TEST(logs_of_other_epochs_may_part),
        TEST(nobody_asked_for_an_unclean_leader),
        TEST(an_unclean_leader_begins_a_history),
        TEST(the_new_history_is_as_strict),
    };
    return cmocka_run_group_tests_name("partition_watch", tests, NULL, NULL);
}
