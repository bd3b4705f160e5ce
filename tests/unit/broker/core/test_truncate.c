/* What a log remembers of producers after it was cut is what a replay of all that is left comes to,
 * wherever it was cut and whatever snapshot it went on from: else a retry would be taken for new on
 * one replica and for old on another (trap 36). Random logs, cut at random batches, by leaders that
 * take turns; then the broker crashes, and must come to the same from its store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "broker/log/producer_state.h"
#include "tests/sim/sim_peers.h"

#define SEEDS 30
#define STEPS 60
#define MOST_BATCHES 4000
#define PRODUCERS 7

static const int32_t ALL[] = {101, 102, 103};

/* The log as it must be. */
struct model {
    struct buf *batches[MOST_BATCHES];
    size_t count;
    int64_t end;
};

static struct sim_broker sim;
static struct rng rng;
static struct uuid topic;
static struct partition *p;
static int32_t leader;
static struct model model;
static struct {
    int cuts;
    int from_newest;
    int from_former;
    int from_start;
    int crashes;
} seen;

/* ---- the leader's side ----------------------------------------------------------------------- */

/* The fetch that is on its way. */
static int64_t
take(struct fetch_request *ret_request)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    int64_t tag = sim_peers_take(&sim, API_FETCH, &arena, ret_request);
    arena_deinit(&arena);
    return tag;
}

static void
answer(int32_t diverging_epoch, int64_t diverging_end, struct buf *frame)
{
    struct fetch_request request;
    struct fetch_result result = {.topic_id = topic,
                                  .high_watermark = 0,
                                  .leader_epoch = p->replica.leader_epoch,
                                  .diverging_epoch = diverging_epoch,
                                  .diverging_end = diverging_end};
    const struct fetch_response response = {.partitions = &result, .partitions_count = 1};
    int64_t tag = take(&request);
    assert_int_not_equal(tag, 0);
    sim_peers_answer(&sim, tag, DMQ_OK, &response, &frame, 1);
}

/* What the sequence of the producer comes to is of no interest here: a log is believed. */
static void
append(void)
{
    char value[400];
    memset(value, 'v', sizeof(value));
    value[rng_below(&rng, sizeof(value) - 1)] = '\0';
    value[sizeof(value) - 1] = '\0';
    const struct sim_batch batch = {.producer_id = 1 + (int64_t)rng_below(&rng, PRODUCERS),
                                    .producer_epoch = (int16_t)rng_below(&rng, 2),
                                    .sequence = (int32_t)rng_below(&rng, 1000),
                                    .count = 1 + (int32_t)rng_below(&rng, 3),
                                    .value = value};
    struct buf *made = sim_batch_make(&batch);
    batch_stamp(made->data, model.end, p->replica.leader_epoch);
    assert_true(model.count < MOST_BATCHES);
    model.batches[model.count++] = buf_ref(made);
    model.end += batch.count;
    answer(-1, -1, made);
    assert_int_equal(plog_end(p->log), model.end);
}

static struct batch_header
header_of(size_t index)
{
    struct batch_header header;
    struct err_msg err;
    const struct batch_limits limits = {.from_client = false};
    assert_int_equal(batch_check(buf_bytes(model.batches[index]), &limits, &err, &header), DMQ_OK);
    return header;
}

/* Another leader, which has the log up to a batch only. */
static void
cut(void)
{
    size_t left = model.count - rng_below(&rng, model.count < 40 ? model.count : 40);
    struct batch_header next = left < model.count ? header_of(left) : (struct batch_header){0};
    int64_t end = left < model.count ? next.base_offset : model.end;
    int32_t epoch = left == 0 ? -1 : header_of(left - 1).leader_epoch;
    struct fetch_request request;
    const struct producer_snapshot before[2] = {p->snapshots[0], p->snapshots[1]};
    take(&request); /* to the former one: it will not be answered */
    leader = leader == 102 ? 103 : 102;
    sim_peers_link(&sim, leader, false); /* what it was asked before is forgotten */
    sim_peers_change(&sim, topic, leader, ALL, 3);
    sim_peers_link(&sim, leader, true);
    if (end == model.end) {
        return;
    }
    while (model.count > left) {
        buf_unref(model.batches[--model.count]);
    }
    model.end = end;
    answer(epoch, end, buf_copy(bytes_of("", 0)));
    assert_int_equal(plog_end(p->log), end);
    assert_int_equal(p->state, PARTITION_OPEN);
    seen.cuts++;
    seen.from_newest += before[0].offset >= 0 && before[0].offset <= end;
    seen.from_former += before[0].offset > end && before[1].offset >= 0 && before[1].offset <= end;
    seen.from_start += plog_recovered_snapshot(p->log) < 0;
    if (before[1].offset >= 0 && before[1].offset <= end) {
        assert_true(plog_recovered_snapshot(p->log) >= before[1].offset);
    }
}

/* ---- what is remembered ---------------------------------------------------------------------- */

static void
check(void)
{
    struct producers *replayed = producers_new();
    for (size_t i = 0; i < model.count; i++) {
        struct batch_header header = header_of(i);
        producers_note(replayed, &header);
    }
    struct buf *expected = producers_row(replayed, model.end);
    struct buf *row = plog_end_snapshot_row(p->log);
    assert_int_equal(plog_end(p->log), model.end);
    assert_true(bytes_equal(buf_bytes(row), buf_bytes(expected)));
    buf_unref(row);
    buf_unref(expected);
    producers_free(replayed);
}

static void
begin(void)
{
    sim_peers_link(&sim, 102, true);
    sim_peers_link(&sim, 103, true);
    p = sim_peers_partition(&sim, topic);
}

/* What is not synced is lost: first all of it is. */
static void
crash(void)
{
    struct fetch_request request;
    assert_true(sim_broker_wait(&sim, 3000));
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    begin();
    while (take(&request) != 0) {
    }
    seen.crashes++;
    leader = leader == 102 ? 103 : 102;
    sim_peers_link(&sim, leader, false);
    sim_peers_change(&sim, topic, leader, ALL, 3);
    sim_peers_link(&sim, leader, true);
}

static void
run(uint64_t seed)
{
    rng_init(&rng, seed);
    sim_broker_init(&sim, seed);
    sim_broker_start(&sim);
    sim_peers_begin(&sim);
    leader = 102;
    topic = sim_peers_topic(&sim, leader, 3);
    begin();
    for (int step = 0; step < STEPS; step++) {
        for (uint64_t i = 1 + rng_below(&rng, 12); i > 0; i--) {
            append();
        }
        assert_true(sim_broker_wait(&sim, (int64_t)rng_below(&rng, 400)));
        if (rng_chance(&rng, 400)) {
            cut();
        }
        if (rng_chance(&rng, 50)) {
            crash();
        }
        check();
    }
    sim_broker_deinit(&sim);
    while (model.count > 0) {
        buf_unref(model.batches[--model.count]);
    }
    model.end = 0;
}

static void
producers_after_a_cut_are_those_of_a_replay(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed);
    }
    print_message("%d cuts: from the newest snapshot %d, the one before %d, the log start %d; %d "
                  "crashes\n",
                  seen.cuts, seen.from_newest, seen.from_former, seen.from_start, seen.crashes);
    assert_true(seen.cuts > 0 && seen.from_newest > 0 && seen.from_former > 0);
    assert_true(seen.from_start > 0 && seen.crashes > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(producers_after_a_cut_are_those_of_a_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
