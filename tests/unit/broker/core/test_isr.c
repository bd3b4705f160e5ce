/* A leader and its followers: whom it believes, whom it asks the controller to let into the ISR or
 * take out of it, and what it makes of the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/sim/sim_peers.h"

#define RETRY_MS 500
#define RECORDS 3 /* in the log before anybody fetches */
#define LAG_MS 30000

static const int32_t ALL[] = {101, 102, 103};

static struct sim_broker sim;
static struct arena arena;
static struct uuid topic;
static struct partition *p;
static struct alter_partition_request wanted;

static void
begin(uint32_t in_sync)
{
    arena_init(&arena, 1 << 24);
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    sim_peers_begin(&sim);
    topic = sim_peers_topic(&sim, 101, in_sync);
    p = sim_peers_partition(&sim, topic);
    assert_int_equal(p->replica.role, REPLICA_LEADER);
    sim_produce(&sim, topic, 0, 1, &(struct sim_batch){.value = "v", .count = RECORDS});
    assert_int_equal(plog_synced_end(p->log), RECORDS);
}

static int
setup_alone(void **state)
{
    (void)state;
    begin(1);
    return 0;
}

static int
setup_all(void **state)
{
    (void)state;
    begin(3);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    sim_broker_deinit(&sim);
    arena_deinit(&arena);
    return 0;
}

/* ---- what followers say ---------------------------------------------------------------------- */

struct says {
    int32_t follower;
    int32_t leader_epoch; /* 0: the right one */
    int64_t broker_epoch; /* 0: the right one */
    int32_t last_epoch;   /* 0: the right one */
    int64_t end;
    int64_t synced_end;
};

/* Fetches; the partition's error. */
static dmq_err
fetched(struct says says, struct fetch_result *ret_result)
{
    struct fetch_response response;
    struct fetch_partition one = {.topic_id = topic,
                                  .leader_epoch = says.leader_epoch != 0 ? says.leader_epoch
                                                                         : p->replica.leader_epoch,
                                  .fetch_offset = says.end,
                                  .max_bytes = 1 << 20,
                                  .last_fetched_epoch = says.last_epoch != 0 ? says.last_epoch : 5,
                                  .log_end = says.end,
                                  .synced_end = says.synced_end};
    const struct fetch_request request = {.replica_id = says.follower,
                                          .broker_epoch =
                                              says.broker_epoch != 0 || says.follower > 103
                                                  ? says.broker_epoch
                                                  : sim_peers_epoch(&sim, says.follower),
                                          .max_bytes = 1 << 20,
                                          .partitions = &one,
                                          .partitions_count = 1};
    one.last_fetched_epoch = says.end == 0 ? -1 : one.last_fetched_epoch;
    int64_t correlation = sim_broker_node_request(&sim, API_FETCH, &request);
    assert_true(sim_broker_run(&sim));
    assert_int_equal(sim_answer(&sim, correlation, API_FETCH, &arena, &response), DMQ_OK);
    assert_int_equal(response.partitions_count, 1);
    *ret_result = response.partitions[0];
    return ret_result->error;
}

static void
caught_up(int32_t follower)
{
    struct fetch_result result;
    const struct says says = {
        .follower = follower, .end = plog_end(p->log), .synced_end = plog_end(p->log)};
    assert_int_equal(fetched(says, &result), DMQ_OK);
}

static void
progress(struct says says)
{
    struct replica_progress_partition one = {
        .topic_id = topic,
        .leader_epoch = says.leader_epoch != 0 ? says.leader_epoch : p->replica.leader_epoch,
        .log_end = says.end,
        .synced_end = says.synced_end};
    const struct replica_progress_request request = {
        .replica_id = says.follower,
        .broker_epoch =
            says.broker_epoch != 0 ? says.broker_epoch : sim_peers_epoch(&sim, says.follower),
        .partitions = &one,
        .partitions_count = 1};
    sim_broker_node_request(&sim, API_REPLICA_PROGRESS, &request);
    assert_true(sim_broker_run(&sim));
}

/* The change that the leader asks for; 0: none. */
static int64_t
take(void)
{
    return sim_peers_take(&sim, API_ALTER_PARTITION, &arena, &wanted);
}

static void
check_wanted(const int32_t *ids, uint32_t count)
{
    assert_int_equal(wanted.isr_count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(wanted.isr[i].broker_id, ids[i]);
        assert_int_equal(wanted.isr[i].broker_epoch, sim_peers_epoch(&sim, ids[i]));
    }
    const struct partition_record *record = image_partition(sim.ctl->image, topic, 0);
    assert_int_equal(wanted.broker_id, 101);
    assert_int_equal(wanted.broker_epoch, sim_peers_epoch(&sim, 101));
    assert_int_equal(wanted.leader_epoch, record->leader_epoch);
    assert_int_equal(wanted.partition_epoch, record->partition_epoch);
}

/* It leads anew: who joins must have what it has now. */
static void
begin_with_records(void)
{
    sim_peers_change(&sim, topic, 102, ALL, 3);
    sim_peers_change(&sim, topic, 101, ALL, 1);
    assert_int_equal(p->replica.epoch_start, RECORDS);
    assert_int_equal(p->replica.high_watermark, 0);
}

/* ---- whom it believes ------------------------------------------------------------------------ */

static void
followers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct fetch_result result;
    const struct {
        const char *what;
        struct says says;
        dmq_err err;
    } cases[] = {
        {"an older leader epoch", {102, 4, 0, 0, 3, 3}, DMQ_ERR_FENCED_LEADER_EPOCH},
        {"a newer leader epoch", {102, 6, 0, 0, 3, 3}, DMQ_ERR_UNKNOWN_LEADER_EPOCH},
        {"a former process of the broker", {102, 0, 1, 0, 3, 3}, DMQ_ERR_STALE_BROKER_EPOCH},
        {"a broker without a replica", {104, 0, 9, 0, 3, 3}, DMQ_ERR_INVALID_REQUEST},
        {"the leader itself", {101, 0, 0, 0, 3, 3}, DMQ_ERR_INVALID_REQUEST},
        {"more synced than there is", {102, 0, 0, 0, 3, 4}, DMQ_ERR_INVALID_REQUEST},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%s\n", cases[i].what);
        assert_int_equal(fetched(cases[i].says, &result), cases[i].err);
        assert_int_equal(take(), 0);
    }
    assert_int_equal(p->replica.high_watermark, 0);
}

/* It is told where the logs part, and counts for nothing until it was cut (trap 5). */
static void
a_fetch_from_beyond_the_end_diverges(void **state)
{
    (void)state;
    struct fetch_result result;
    assert_int_equal(fetched((struct says){.follower = 102, .end = 9, .synced_end = 9}, &result),
                     DMQ_OK);
    assert_int_equal(result.diverging_epoch, 5);
    assert_int_equal(result.diverging_end, RECORDS);
    assert_int_equal(result.high_watermark, -1); /* it must be cut before it hears of one, trap 4 */
    assert_int_equal(take(), 0);
    /* in an epoch that this log does not have */
    const struct says foreign = {.follower = 102, .last_epoch = 7, .end = 2, .synced_end = 2};
    assert_int_equal(fetched(foreign, &result), DMQ_OK);
    assert_int_equal(result.diverging_epoch, 5);
    assert_int_equal(result.diverging_end, RECORDS);
    assert_int_equal(take(), 0);
    assert_int_equal(p->replica.high_watermark, 0);
}

static void
progress_counts_only_after_a_fetch_of_this_epoch(void **state)
{
    (void)state;
    struct fetch_result result;
    const struct says all = {.follower = 102, .end = RECORDS, .synced_end = RECORDS};
    begin_with_records();
    progress(all);
    assert_int_equal(take(), 0);
    fetched((struct says){.follower = 102, .end = RECORDS, .synced_end = 0}, &result);
    assert_int_equal(take(), 0); /* it has all, and has synced nothing */
    struct says stale = all;
    stale.leader_epoch = 4;
    progress(stale);
    stale = all;
    stale.broker_epoch = 1;
    progress(stale);
    assert_int_equal(take(), 0);
    progress(all);
    assert_int_not_equal(take(), 0);
}

/* ---- growth ---------------------------------------------------------------------------------- */

static void
who_has_all_that_is_safe_is_asked_in(void **state)
{
    (void)state;
    struct fetch_result result;
    const struct says behind = {.follower = 102, .end = RECORDS - 1, .synced_end = RECORDS - 1};
    /* The high watermark is 0, but the leader began at 0 too: 102 may join. Let it be 3 first. */
    caught_up(103);
    assert_int_not_equal(take(), 0);
    check_wanted((const int32_t[]){101, 103}, 2);
    sim_peers_change(&sim, topic, 101, (const int32_t[]){101, 103}, 2);
    assert_int_equal(p->replica.high_watermark, RECORDS);
    assert_int_equal(fetched(behind, &result), DMQ_OK);
    assert_int_equal(take(), 0);
    assert_true(sim_broker_wait(&sim, 2 * RETRY_MS));
    assert_int_equal(take(), 0);
    caught_up(102);
    assert_int_not_equal(take(), 0);
    check_wanted(ALL, 3);
}

/* A new leader does not know how much its predecessor called safe: not more than it has itself. */
static void
who_lacks_what_the_leader_began_with_is_not_asked_in(void **state)
{
    (void)state;
    struct fetch_result result;
    begin_with_records();
    fetched((struct says){.follower = 102, .end = RECORDS - 1, .synced_end = RECORDS - 1}, &result);
    assert_int_equal(take(), 0);
    caught_up(102);
    assert_int_not_equal(take(), 0);
    check_wanted((const int32_t[]){101, 102}, 2);
}

static void
one_change_is_on_its_way_at_a_time(void **state)
{
    (void)state;
    caught_up(102);
    int64_t tag = take();
    assert_int_not_equal(tag, 0);
    caught_up(103);
    caught_up(102);
    assert_true(sim_broker_wait(&sim, RETRY_MS / 2));
    assert_int_equal(take(), 0);
    sim_peers_decide(&sim, tag, DMQ_OK);
    assert_int_equal(take(), 0); /* the image is to come first */
    sim_peers_change(&sim, topic, 101, (const int32_t[]){101, 102}, 2);
    caught_up(103);
    assert_int_not_equal(take(), 0);
    check_wanted(ALL, 3);
}

/* The answer tells that it will be so; in force it is when the image says so (trap 13). */
static void
the_image_puts_it_in_force_not_the_answer(void **state)
{
    (void)state;
    caught_up(102);
    sim_peers_decide(&sim, take(), DMQ_OK);
    assert_int_equal(replica_isr_size(&p->replica), 1);
    assert_false(replica_has_min_isr(&p->replica));
    assert_int_equal(p->replica.high_watermark, 0);
    sim_peers_change(&sim, topic, 101, (const int32_t[]){101, 102}, 2);
    assert_int_equal(replica_isr_size(&p->replica), 2);
    assert_int_equal(p->replica.high_watermark, RECORDS);
}

static void
a_refused_change_is_asked_for_again_later(void **state)
{
    (void)state;
    caught_up(102);
    sim_peers_decide(&sim, take(), DMQ_ERR_INELIGIBLE_REPLICA);
    assert_int_equal(take(), 0);
    caught_up(102);
    assert_int_equal(take(), 0);
    assert_true(sim_broker_wait(&sim, RETRY_MS + 300));
    caught_up(102);
    assert_int_not_equal(take(), 0);
    check_wanted((const int32_t[]){101, 102}, 2);
}

/* Another change came first: what was asked is void, and the image will say what is so. */
static void
an_overtaken_change_waits_for_the_image(void **state)
{
    (void)state;
    const dmq_err overtaken[] = {DMQ_ERR_INVALID_UPDATE_VERSION, DMQ_ERR_FENCED_LEADER_EPOCH};
    for (size_t i = 0; i < 2; i++) {
        caught_up(102);
        int64_t tag = take();
        assert_int_not_equal(tag, 0);
        sim_peers_decide(&sim, tag, overtaken[i]);
        assert_true(sim_broker_wait(&sim, 3 * RETRY_MS));
        caught_up(102);
        assert_int_equal(take(), 0);
        sim_peers_change(&sim, topic, 101, ALL, 1);
    }
}

/* What was asked in an older partition epoch was settled by the image; a late answer to it says
 * nothing of what is asked now. */
static void
an_answer_of_an_older_partition_epoch_is_ignored(void **state)
{
    (void)state;
    caught_up(102);
    int64_t old = take();
    sim_peers_change(&sim, topic, 101, ALL, 1);
    caught_up(102);
    int64_t tag = take();
    assert_int_not_equal(tag, 0);
    sim_peers_decide(&sim, old, DMQ_ERR_INELIGIBLE_REPLICA);
    caught_up(102);
    assert_int_equal(take(), 0);
    assert_int_not_equal(p->replica.asked, 0); /* it still counts for the high watermark */
    assert_true(p->replica.asking);
    sim_peers_decide(&sim, tag, DMQ_OK);
    assert_false(p->replica.asking);
}

/* It may have been carried out, so whoever was asked in counts, and it is asked anew. */
static void
the_fate_of_a_change_may_be_unknown(void **state)
{
    (void)state;
    caught_up(102);
    assert_int_not_equal(take(), 0);
    sim_broker_disconnect(&sim);
    assert_int_not_equal(p->replica.asked, 0);
    assert_true(p->replica.unknown);
    assert_true(sim_broker_wait(&sim, 2 * RETRY_MS)); /* it connects again */
    caught_up(102);
    assert_int_not_equal(take(), 0);
    check_wanted((const int32_t[]){101, 102}, 2);
}

/* A new process of the follower's broker holds what it holds: what the former said is void. */
static void
a_follower_that_restarted_must_fetch_anew(void **state)
{
    (void)state;
    caught_up(102);
    assert_int_not_equal(take(), 0);
    sim_peers_restart(&sim, 102);
    sim_peers_change(&sim, topic, 101, ALL, 1);
    assert_int_equal(take(), 0);
    caught_up(102);
    assert_int_not_equal(take(), 0);
    check_wanted((const int32_t[]){101, 102}, 2);
}

/* ---- shrinking ------------------------------------------------------------------------------- */

static void
who_lags_for_too_long_is_asked_out(void **state)
{
    (void)state;
    caught_up(102);
    assert_int_equal(p->replica.high_watermark, 0); /* 103 is in sync by the image, and lacks all */
    for (int64_t ms = 0; ms < LAG_MS - 2000; ms += 1000) {
        assert_true(sim_broker_wait(&sim, 1000));
        caught_up(102);
        assert_int_equal(take(), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(sim_broker_wait(&sim, 1000));
        caught_up(102);
    }
    int64_t tag = take();
    assert_int_not_equal(tag, 0);
    check_wanted((const int32_t[]){101, 102}, 2);
    sim_peers_decide(&sim, tag, DMQ_OK);
    assert_int_equal(p->replica.high_watermark, 0); /* it may still lead */
    sim_peers_change(&sim, topic, 101, (const int32_t[]){101, 102}, 2);
    assert_int_equal(p->replica.high_watermark, RECORDS);
}

static void
who_has_all_does_not_lag_however_silent(void **state)
{
    (void)state;
    caught_up(102);
    caught_up(103);
    assert_true(sim_broker_wait(&sim, 3 * LAG_MS));
    assert_int_equal(take(), 0);
    assert_int_equal(p->replica.high_watermark, RECORDS);
}

/* ---- what it tells of its end ---------------------------------------------------------------- */

static dmq_err
offset_of(int64_t timestamp, int64_t *ret_offset)
{
    struct list_offsets_partition of = {
        .topic_id = topic, .leader_epoch = -1, .timestamp = timestamp};
    const struct list_offsets_request request = {.partitions = &of, .partitions_count = 1};
    struct list_offsets_response response;
    assert_int_equal(sim_ask(&sim, API_LIST_OFFSETS, &request, &arena, &response), DMQ_OK);
    *ret_offset = response.partitions[0].offset;
    return response.partitions[0].error;
}

/* A new leader must not tell an end below that of its predecessor: a consumer would go back. */
static void
a_new_leader_tells_no_end_before_it_knows_what_is_safe(void **state)
{
    (void)state;
    int64_t offset;
    sim_peers_change(&sim, topic, 102, ALL, 3);
    sim_peers_change(&sim, topic, 101, ALL, 3);
    assert_int_equal(p->replica.high_watermark, 0);
    assert_int_equal(offset_of(-1, &offset), DMQ_ERR_LEADER_NOT_AVAILABLE);
    assert_int_equal(offset, -1);
    assert_int_equal(offset_of(-2, &offset), DMQ_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(offset_of(-3, &offset), DMQ_ERR_INVALID_TIMESTAMP);
    caught_up(102);
    caught_up(103);
    assert_int_equal(offset_of(-1, &offset), DMQ_OK);
    assert_int_equal(offset, RECORDS);
}

#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup_alone, teardown)
#define IN_SYNC(name) cmocka_unit_test_setup_teardown(name, setup_all, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(followers_that_cannot_be_are_refused),
        ALONE(a_fetch_from_beyond_the_end_diverges),
        ALONE(progress_counts_only_after_a_fetch_of_this_epoch),
        ALONE(who_has_all_that_is_safe_is_asked_in),
        ALONE(who_lacks_what_the_leader_began_with_is_not_asked_in),
        ALONE(one_change_is_on_its_way_at_a_time),
        ALONE(the_image_puts_it_in_force_not_the_answer),
        ALONE(a_refused_change_is_asked_for_again_later),
        ALONE(an_overtaken_change_waits_for_the_image),
        ALONE(an_answer_of_an_older_partition_epoch_is_ignored),
        ALONE(the_fate_of_a_change_may_be_unknown),
        ALONE(a_follower_that_restarted_must_fetch_anew),
        IN_SYNC(who_lags_for_too_long_is_asked_out),
        IN_SYNC(who_has_all_does_not_lag_however_silent),
        IN_SYNC(a_new_leader_tells_no_end_before_it_knows_what_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
