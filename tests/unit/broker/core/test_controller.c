/* The search for the leading controller. What becomes of forwarded requests when it changes is in
 * test_forward.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct arena arena;

/* All of them name controller 1; the test changes that. */
static int
setup(void **state)
{
    (void)state;
    sim_broker_init(&sim, 1);
    sim.controller_count = 3;
    sim_broker_name_leader(&sim, 1);
    arena_init(&arena, 1 << 20);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    sim_broker_deinit(&sim);
    return 0;
}

/* The last dials, oldest first, as digits. */
static int
dials(size_t count)
{
    int digits = 0;
    assert_true(sim.dial_count >= count);
    for (size_t i = sim.dial_count - count; i < sim.dial_count; i++) {
        digits = digits * 10 + (int)sim.dials[i];
    }
    return digits;
}

static void
forget_dials(void)
{
    sim.dial_count = 0;
}

/* ---- the search ------------------------------------------------------------------------------ */

static void
the_paired_one_says_who_leads(void **state)
{
    (void)state;
    sim_broker_name_leader(&sim, 3);
    sim_broker_start(&sim);
    assert_true(sim.ready);
    assert_int_equal(sim.dial_count, 2);
    assert_int_equal(dials(2), 13);
}

static void
one_that_does_not_know_is_left_for_the_next(void **state)
{
    (void)state;
    sim.controllers[1].leader = -1;
    sim.controllers[2].leader = 2;
    sim_broker_start(&sim);
    assert_true(sim.ready);
    assert_int_equal(dials(2), 12);
}

static void
all_are(bool strange)
{
    for (int id = 1; id <= SIM_CONTROLLERS; id++) {
        sim.controllers[id].refuses = true;
        sim.controllers[id].strange = strange;
    }
}

/* The folder, or services.json, is the wrong one: waiting does not help. */
static void
controllers_of_another_cluster_end_it(void **state)
{
    (void)state;
    all_are(true);
    sim_broker_start(&sim);
    assert_true(sim.exited);
    assert_int_equal(sim.exit_code, 1);
    assert_int_equal(dials(3), 123);
}

/* One that is not of another cluster may come back, and one that served goes on. */
static void
some_of_another_cluster_do_not(void **state)
{
    (void)state;
    all_are(true);
    sim.controllers[2].strange = false;
    sim_broker_start(&sim);
    assert_false(sim.exited);
    sim.controllers[2] = (struct sim_node){.leader = 2};
    sim_broker_wait(&sim, 1000);
    assert_true(sim.ready);
    all_are(true);
    sim_broker_disconnect(&sim);
    sim_broker_wait(&sim, 3000);
    assert_false(sim.exited);
}

/* A hello that names a dead leader leads nowhere, and names it once a round only. */
static void
a_round_dials_each_once_and_then_pauses(void **state)
{
    (void)state;
    sim.controllers[1].refuses = true;
    sim_broker_start(&sim);
    assert_false(sim.ready);
    forget_dials();
    sim.now_ms += 10000; /* the pause is at its longest by now */
    sim_broker_wait(&sim, 0);
    assert_int_equal(sim.dial_count, 3);
    assert_int_equal(dials(3), 123);
    sim_broker_wait(&sim, 199);
    assert_int_equal(sim.dial_count, 3);
    sim_broker_wait(&sim, 1);
    assert_int_equal(sim.dial_count, 6);
    /* a new leader is found with the next round */
    sim.controllers[2].leader = 2;
    sim_broker_wait(&sim, 200);
    assert_int_equal(sim.connected, 2);
    sim_broker_wait(&sim, 600);
    assert_true(sim.ready);
}

static void
the_first_pause_is_short(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    assert_true(sim.ready);
    sim_broker_name_leader(&sim, -1);
    forget_dials();
    sim_broker_disconnect(&sim);
    sim_broker_run(&sim);
    assert_int_equal(sim.dial_count, 2); /* 1 has just ended its connection */
    assert_int_equal(dials(2), 23);
    sim_broker_name_leader(&sim, 2);
    sim_broker_wait(&sim, 5);
    assert_int_equal(sim.connected, 2);
}

static void
one_that_leads_by_its_word_only_is_not_dialled_in_a_loop(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim.controllers[1].leader = 1;
    sim.refuse_requests = true;
    forget_dials();
    sim_broker_wait(&sim, 2000);
    assert_true(sim.dial_count > 3 && sim.dial_count < 50);
    sim.refuse_requests = false;
    sim_broker_wait(&sim, 300);
    assert_int_equal(sim.connected, 1);
}

/* ---- a leader that was followed by another --------------------------------------------------- */

static struct push_metadata_request
push_of(int32_t controller_id, int64_t term)
{
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    return (struct push_metadata_request){.cluster_id = sim.ctl->cluster_id,
                                          .controller_id = controller_id,
                                          .leader_term = term,
                                          .prev_version = stats.metadata_version,
                                          .version = stats.metadata_version};
}

static void
push(int32_t controller_id, int64_t term)
{
    const struct push_metadata_request request = push_of(controller_id, term);
    int64_t correlation = sim_broker_node_request(&sim, API_PUSH_METADATA, &request);
    sim_broker_run(&sim);
    struct sim_reply *reply = sim_broker_reply(&sim, correlation);
    assert_non_null(reply);
    sim_reply_free(reply);
}

static void
a_push_of_a_newer_term_moves_it_at_once(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    assert_int_equal(sim.connected, 1);
    sim_broker_name_leader(&sim, 2);
    push(2, 7);
    assert_int_equal(sim.connected, 2);
    /* one of the same term comes from the same controller: no reason to leave one that answers */
    push(3, 7);
    assert_int_equal(sim.connected, 2);
    /* an older one is refused and moves nothing */
    push(1, 6);
    assert_int_equal(sim.connected, 2);
    /* who is in no services.json cannot be dialled */
    push(9, 8);
    assert_int_equal(sim.connected, 2);
}

static void
a_push_ends_the_pause(void **state)
{
    (void)state;
    sim_broker_name_leader(&sim, -1);
    sim_broker_start(&sim);
    assert_false(sim.ready);
    sim_broker_name_leader(&sim, 3);
    forget_dials();
    push(3, 1);
    assert_int_equal(dials(1), 3);
    assert_int_equal(sim.connected, 3);
    sim_broker_wait(&sim, 600);
    assert_true(sim.ready);
}

/* It stopped without closing its connection: libzmq does not say so for seconds. */
static void
a_silent_leader_is_given_up(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim.controllers[1].mute = true;
    sim.controllers[2].leader = 2;
    sim_broker_wait(&sim, 1400);
    assert_int_equal(sim.connected, 1);
    sim_broker_wait(&sim, 700); /* three heartbeats after the first without an answer */
    assert_int_equal(sim.connected, 2);
}

/* Trap 22: what a former leader does not know yet is no proof that this process was replaced. */
static void
trap_22_one_that_is_behind_does_not_end_the_broker(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim.heartbeat_error = DMQ_ERR_STALE_BROKER_EPOCH;
    sim.answer_version = 1; /* below this registration */
    sim.controllers[2].leader = 2;
    sim_broker_wait(&sim, 500);
    assert_false(sim.exited);
    assert_true(sim.dial_count > 1);
    /* nor does it take the registration away */
    sim.heartbeat_error = DMQ_ERR_BROKER_ID_NOT_REGISTERED;
    sim_broker_wait(&sim, 500);
    assert_false(sim.exited);
    assert_true(sim.ready);
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    assert_false(stats.fenced);
}

/* Trap 26: the leader says that another process has this id. */
static void
trap_26_the_leader_ends_a_replaced_broker(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim.heartbeat_error = DMQ_ERR_STALE_BROKER_EPOCH;
    sim_broker_wait(&sim, 500);
    assert_true(sim.exited);
    assert_int_equal(sim.exit_code, 1);
}

static void
the_same_from_one_that_does_not_lead_ends_nothing(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim.heartbeat_error = DMQ_ERR_NOT_CONTROLLER;
    sim_broker_wait(&sim, 600);
    assert_false(sim.exited);
}

/* It knows of no registration, is told which one there is, and asks again. */
static void
trap_26_an_emptied_folder_replaces_what_there_is(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    assert_true(sim.ready);
    sim_broker_crash(&sim, SIMFS_LOSE);
    simkv_free(sim.store);
    sim.store = simkv_new();
    sim.used_before = false;
    sim.ready = false;
    sim_broker_start(&sim);
    assert_true(sim.ready);
    assert_false(sim.exited);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void
a_broker_that_stops_hands_over_to_the_next_leader(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim_broker_name_leader(&sim, -1);
    sim.controllers[1].refuses = true;
    sim_broker_disconnect(&sim);
    sim_broker_sigterm(&sim);
    sim_broker_wait(&sim, 1000);
    assert_false(sim.exited); /* an election is on: it waits for whom to hand over to */
    sim_broker_name_leader(&sim, 3);
    sim_broker_wait(&sim, 300);
    assert_true(sim.exited);
    assert_int_equal(sim.exit_code, 0);
}

/* The one that led is still there, without a majority: it may lead again. */
static void
it_waits_for_one_that_does_not_lead_at_the_moment(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    sim_broker_name_leader(&sim, -1);
    sim.controllers[2].refuses = true;
    sim.controllers[3].refuses = true;
    sim_broker_sigterm(&sim); /* "I do not lead" */
    sim_broker_wait(&sim, 4999);
    assert_false(sim.exited);
    sim_broker_wait(&sim, 100);
    assert_true(sim.exited);
    assert_int_equal(sim.exit_code, 0);
}

static void
it_does_not_wait_where_all_are_gone(void **state)
{
    (void)state;
    sim_broker_start(&sim);
    for (int id = 1; id <= SIM_CONTROLLERS; id++) {
        sim.controllers[id].refuses = true;
    }
    sim_broker_disconnect(&sim);
    sim_broker_sigterm(&sim);
    sim_broker_wait(&sim, 50);
    assert_true(sim.exited);
    assert_int_equal(sim.exit_code, 0);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_paired_one_says_who_leads),
        CASE(one_that_does_not_know_is_left_for_the_next),
        CASE(controllers_of_another_cluster_end_it),
        CASE(some_of_another_cluster_do_not),
        CASE(a_round_dials_each_once_and_then_pauses),
        CASE(the_first_pause_is_short),
        CASE(one_that_leads_by_its_word_only_is_not_dialled_in_a_loop),
        CASE(a_push_of_a_newer_term_moves_it_at_once),
        CASE(a_push_ends_the_pause),
        CASE(a_silent_leader_is_given_up),
        CASE(trap_22_one_that_is_behind_does_not_end_the_broker),
        CASE(trap_26_the_leader_ends_a_replaced_broker),
        CASE(trap_26_an_emptied_folder_replaces_what_there_is),
        CASE(the_same_from_one_that_does_not_lead_ends_nothing),
        CASE(a_broker_that_stops_hands_over_to_the_next_leader),
        CASE(it_waits_for_one_that_does_not_lead_at_the_moment),
        CASE(it_does_not_wait_where_all_are_gone),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
