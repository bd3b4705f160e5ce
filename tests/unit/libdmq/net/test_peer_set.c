/* Connections watched by one descriptor: every answer is seen by it, and nothing else is polled. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "libdmq/net/peer_watch.h"
#include "libdmq/os/clock.h"
#include "tests/support/hello_server.h"

#define PEERS 20
#define QUIET_MS 100

struct owner {
    struct peer_watch watch;
    struct peer *peer;
    int connected;
    int ended;
    int answers;
};

struct rig {
    struct hello_server server;
    struct peer_set *set;
    struct owner owners[PEERS];
};

static struct rig rig;

/* ---- the loop of an owner -------------------------------------------------------------------- */

static void
process(void *arg, int64_t now_ms)
{
    struct owner *owner = arg;
    struct peer_event event;
    peer_process(owner->peer, now_ms);
    peer_watch_update(&owner->watch, owner->peer, now_ms);
    while (peer_next_event(owner->peer, &event)) {
        owner->connected += event.kind == PEER_CONNECTED;
        owner->ended += event.kind == PEER_DISCONNECTED;
        owner->answers += event.kind == PEER_RESPONSE;
        peer_event_deinit(&event);
    }
}

/* Waits for the set's descriptor alone; false if it says nothing for so long. */
static bool
turn(int timeout_ms)
{
    struct pollfd item = {.fd = peer_set_fd(rig.set), .events = POLLIN};
    hello_server_serve(&rig.server);
    if (poll(&item, 1, timeout_ms) == 0) {
        return false;
    }
    peer_set_look(rig.set);
    while (peer_watch_process_next(rig.set, clock_ms())) {
    }
    return true;
}

static int
total(size_t field)
{
    int sum = 0;
    for (int i = 0; i < PEERS; i++) {
        sum += *(int *)(void *)((char *)&rig.owners[i] + field);
    }
    return sum;
}

static void
turn_until(size_t field, int wanted)
{
    for (int64_t end = clock_ms() + 10000; total(field) < wanted && clock_ms() < end;) {
        turn(10);
    }
    assert_int_equal(total(field), wanted);
}

static void
ask(struct owner *owner, int times)
{
    struct buf *body = buf_copy(bytes_str("\x90"));
    for (int i = 0; i < times; i++) {
        struct peer_call call = {.api_key = API_METADATA, .body = body, .timeout_ms = 5000};
        assert_int_equal(peer_watch_send(&owner->watch, owner->peer, &call, clock_ms()), DMQ_OK);
    }
    buf_unref(body);
}

static int
setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof(rig));
    hello_server_open(&rig.server);
    rig.set = peer_set_new();
    assert_non_null(rig.set);
    for (int i = 0; i < PEERS; i++) {
        struct peer_config config = {.zmq_context = rig.server.context,
                                     .host = "127.0.0.1",
                                     .port = rig.server.port,
                                     .node_id = HELLO_NODE_ID,
                                     .client_id = "test",
                                     .max_frame_bytes = 1 << 20,
                                     .max_in_flight = 100,
                                     .seed = (uint64_t)i};
        rig.owners[i].peer = peer_new(&config);
        rig.owners[i].watch =
            (struct peer_watch){.set = rig.set, .owner = &rig.owners[i], .process = process};
        process(&rig.owners[i], clock_ms());
    }
    turn_until(offsetof(struct owner, connected), PEERS);
    return 0;
}

static void
end(struct owner *owner)
{
    peer_watch_end(&owner->watch);
    peer_free(owner->peer);
    owner->peer = NULL;
}

static int
teardown(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++) {
        end(&rig.owners[i]);
    }
    peer_set_free(rig.set);
    hello_server_close(&rig.server);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
nothing_is_said_of_quiet_ones(void **state)
{
    (void)state;
    while (turn(QUIET_MS)) {
        /* what is left of the handshakes */
    }
    ask(&rig.owners[3], 1);
    turn_until(offsetof(struct owner, answers), 1);
    assert_int_equal(rig.owners[3].answers, 1);
    while (turn(QUIET_MS)) {
    }
    peer_set_look(rig.set);
    assert_null(peer_set_next(rig.set));
}

/* More than one peer_process() takes, so that some are left when the news is gone. */
static void
no_answer_is_overlooked(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < PEERS; i++) {
            ask(&rig.owners[i], i == 0 ? 90 : 2);
            hello_server_serve(&rig.server); /* answers come while the next are sent: sending takes
                                                the news of them away */
        }
        turn_until(offsetof(struct owner, answers), (round + 1) * (90 + 2 * (PEERS - 1)));
    }
}

static void
the_end_of_connections_is_seen_and_new_ones_are_watched(void **state)
{
    (void)state;
    struct owner *owner = &rig.owners[0];
    peer_disconnect(owner->peer, DMQ_ERR_NETWORK, "test", clock_ms());
    peer_hurry(owner->peer);
    process(owner, clock_ms());
    turn_until(offsetof(struct owner, connected), PEERS + 1);
    ask(owner, 1);
    turn_until(offsetof(struct owner, answers), 1);

    hello_server_down(&rig.server);
    turn_until(offsetof(struct owner, ended), PEERS + 1);
}

static void
one_that_left_is_not_named_any_more(void **state)
{
    (void)state;
    ask(&rig.owners[5], 3);
    for (int64_t until = clock_ms() + QUIET_MS; clock_ms() < until;) {
        hello_server_serve(&rig.server);
    }
    peer_watch_update(&rig.owners[5].watch, rig.owners[5].peer, clock_ms()); /* is ready */
    end(&rig.owners[5]);
    while (turn(QUIET_MS)) {
    }
    assert_int_equal(total(offsetof(struct owner, answers)), 0);
}

static void
one_without_descriptors_is_ended(void **state)
{
    (void)state;
    struct owner *owner = &rig.owners[0];
    struct rlimit limit, none;
    peer_watch_end(&owner->watch);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    peer_watch_update(&owner->watch, owner->peer, clock_ms());
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_false(peer_is_up(owner->peer));
    while (clock_ms() < peer_deadline(owner->peer)) {
        turn(1);
    }
    process(owner, clock_ms());
    assert_int_equal(owner->ended, 1);
    turn_until(offsetof(struct owner, connected), PEERS + 1); /* and is made anew */
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_is_said_of_quiet_ones),
        T(no_answer_is_overlooked),
        T(the_end_of_connections_is_seen_and_new_ones_are_watched),
        T(one_that_left_is_not_named_any_more),
        T(one_without_descriptors_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
