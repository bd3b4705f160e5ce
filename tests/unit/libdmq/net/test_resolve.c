/* Lookups with a name server of the test: getaddrinfo() is this file's own. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/net/peer_set.h"
#include "libdmq/net/resolve.h"
#include "libdmq/os/clock.h"
#include "tests/support/hello_server.h"

/* ---- the name server: "silent..." does not answer while silent ------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool silent;
    int waiting;
    int most; /* of them at a time */
    int asked;
} dns = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void
set_silent(bool silent)
{
    pthread_mutex_lock(&dns.lock);
    dns.silent = silent;
    dns.most = 0;
    dns.asked = 0;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
}

static int
read_dns(const int *field)
{
    pthread_mutex_lock(&dns.lock);
    int value = *field;
    pthread_mutex_unlock(&dns.lock);
    return value;
}

static void
wait_dns(const int *field, int wanted)
{
    for (int64_t end = clock_ms() + 10000; read_dns(field) != wanted && clock_ms() < end;) {
        usleep(1000);
    }
    assert_int_equal(read_dns(field), wanted);
}

static struct addrinfo *
new_address(int family, const char *numeric, struct addrinfo *next)
{
    struct addrinfo *info = calloc(1, sizeof(*info) + sizeof(struct sockaddr_storage));
    struct sockaddr_in *v4 = (void *)(info + 1);
    struct sockaddr_in6 *v6 = (void *)(info + 1);
    info->ai_family = family;
    info->ai_addr = (void *)(info + 1);
    info->ai_addrlen = family == AF_INET ? sizeof(*v4) : sizeof(*v6);
    info->ai_addr->sa_family = (sa_family_t)family;
    info->ai_next = next;
    bool numeric_is_good =
        inet_pton(family, numeric,
                  family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr) == 1;
    if (!numeric_is_good) {
        free(info);
        return NULL;
    }
    return info;
}

static void
answer_name(const char *name)
{
    pthread_mutex_lock(&dns.lock);
    dns.asked++;
    dns.waiting++;
    dns.most = dns.waiting > dns.most ? dns.waiting : dns.most;
    while (dns.silent && strncmp(name, "silent", 6) == 0) {
        pthread_cond_wait(&dns.changed, &dns.lock);
    }
    dns.waiting--;
    pthread_mutex_unlock(&dns.lock);
}

/* Also what libzmq.so calls. */
__attribute__((visibility("default"))) int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
            struct addrinfo **ret_found)
{
    struct addrinfo *found = new_address(AF_INET, name, NULL);
    (void)service;
    if (found == NULL) {
        found = new_address(AF_INET6, name, NULL);
    }
    if (found != NULL) {
        *ret_found = found;
        return 0;
    }
    if ((hints->ai_flags & AI_NUMERICHOST) != 0 || strcmp(name, "unknown") == 0) {
        return EAI_NONAME;
    }
    answer_name(name);
    found = new_address(AF_INET, "127.0.0.1", new_address(AF_INET, "127.0.0.2", NULL));
    *ret_found = new_address(AF_INET6, "::1", found);
    return 0;
}

__attribute__((visibility("default"))) void
freeaddrinfo(struct addrinfo *info)
{
    for (struct addrinfo *next; info != NULL; info = next) {
        next = info->ai_next;
        free(info);
    }
}

static int
setup(void **state)
{
    (void)state;
    set_silent(true);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    set_silent(false);
    wait_dns(&dns.waiting, 0);
    return 0;
}

/* ---- one who waits --------------------------------------------------------------------------- */

static bool
waits(struct resolve *resolve, int timeout_ms)
{
    struct pollfd item = {.fd = resolve_fd(resolve), .events = POLLIN};
    return poll(&item, 1, timeout_ms) == 0;
}

static void
expect_address(struct resolve *resolve, const char *first)
{
    struct addresses found;
    const char *why;
    assert_false(waits(resolve, 10000));
    assert_true(resolve_answered(resolve, &found, &why));
    assert_null(why);
    assert_string_equal(found.numeric[0], first);
    resolve_end(resolve);
}

static void
expect_found(const char *host)
{
    struct resolve *resolve = resolve_begin(host);
    assert_non_null(resolve);
    expect_address(resolve, "127.0.0.1");
}

static void
all_addresses_ipv4_first(void **state)
{
    (void)state;
    struct addresses found;
    const char *why;
    struct resolve *resolve = resolve_begin("quick");
    assert_false(waits(resolve, 10000));
    assert_true(resolve_answered(resolve, &found, &why));
    assert_int_equal(found.count, 3);
    assert_string_equal(found.numeric[0], "127.0.0.1");
    assert_string_equal(found.numeric[1], "127.0.0.2");
    assert_string_equal(found.numeric[2], "::1");
    resolve_end(resolve);
    resolve_end(NULL);
}

static void
each_lookup_asks_anew(void **state)
{
    (void)state;
    for (int i = 1; i <= 3; i++) {
        expect_found("quick");
        assert_int_equal(read_dns(&dns.asked), i);
    }
}

static void
a_host_that_is_unknown_says_why(void **state)
{
    (void)state;
    struct addresses found;
    struct err_msg err;
    const char *why;
    struct resolve *resolve = resolve_begin("unknown");
    assert_false(waits(resolve, 10000));
    assert_true(resolve_answered(resolve, &found, &why));
    assert_int_equal(resolve_error("unknown", why, &err), DMQ_ERR_UNREACHABLE);
    assert_string_equal(err.text, "host 'unknown' cannot be looked up: Name or service not known");
    resolve_end(resolve);
    resolve_error("unknown", NULL, &err);
    assert_string_equal(err.text,
                        "host 'unknown' cannot be looked up: the name server does not answer");
}

/* ---- a name server that is silent ------------------------------------------------------------ */

#define MANY (RESOLVE_MAX_THREADS + 8)

static void
begin_silent(struct resolve **lookups, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "silent-%d", i);
        lookups[i] = resolve_begin(name);
        assert_non_null(lookups[i]);
    }
}

static void
silence_holds_up_nobody_else(void **state)
{
    (void)state;
    struct addresses found;
    const char *why;
    struct resolve *lookups[RESOLVE_MAX_THREADS / 2];
    begin_silent(lookups, RESOLVE_MAX_THREADS / 2);
    int64_t begun = clock_ms();
    expect_found("quick");
    assert_in_range(clock_ms() - begun, 0, 1000);
    assert_true(waits(lookups[0], 0));
    assert_false(resolve_answered(lookups[0], &found, &why));
    set_silent(false);
    for (int i = 0; i < RESOLVE_MAX_THREADS / 2; i++) {
        expect_address(lookups[i], "127.0.0.1");
    }
}

static void
questions_are_bounded_and_the_rest_waits(void **state)
{
    (void)state;
    struct resolve *lookups[MANY];
    begin_silent(lookups, MANY);
    wait_dns(&dns.waiting, RESOLVE_MAX_THREADS);
    usleep(20000);
    assert_int_equal(read_dns(&dns.most), RESOLVE_MAX_THREADS);
    set_silent(false);
    for (int i = 0; i < MANY; i++) {
        expect_address(lookups[i], "127.0.0.1");
    }
    wait_dns(&dns.waiting, 0);
    assert_in_range(read_dns(&dns.most), 0, RESOLVE_MAX_THREADS);
}

static void
hosts_are_bounded(void **state)
{
    (void)state;
    static struct resolve *lookups[RESOLVE_MAX_HOSTS];
    begin_silent(lookups, RESOLVE_MAX_HOSTS);
    assert_null(resolve_begin("silent-and-one-more"));
    set_silent(false);
    for (int i = 0; i < RESOLVE_MAX_HOSTS; i++) {
        expect_address(lookups[i], "127.0.0.1");
    }
    expect_found("quick");
}

/* A container has come up since the question was put; the old one is still out. */
static void
an_old_question_is_put_again(void **state)
{
    (void)state;
    struct resolve *first = resolve_begin("silent-old");
    struct resolve *second = resolve_begin("silent-old");
    wait_dns(&dns.waiting, 1); /* one question for both */
    resolve_end(second);
    usleep(2050000);
    second = resolve_begin("silent-old");
    wait_dns(&dns.waiting, 2);
    set_silent(false);
    expect_address(first, "127.0.0.1");
    expect_address(second, "127.0.0.1");
}

/* A name server that takes longer than anybody waits is of use all the same. */
static void
a_late_answer_is_for_the_next(void **state)
{
    (void)state;
    struct resolve *resolve = resolve_begin("silent-late");
    wait_dns(&dns.waiting, 1);
    resolve_end(resolve);
    set_silent(false);
    wait_dns(&dns.waiting, 0);
    usleep(20000);
    expect_found("silent-late");
    assert_int_equal(read_dns(&dns.asked), 0); /* since then */
    expect_found("silent-late");
    assert_int_equal(read_dns(&dns.asked), 1);
}

static void
a_child_looks_up_for_itself(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* it follows no thread of a child */
#endif
    struct resolve *lookups[MANY];
    int status;
    begin_silent(lookups, MANY);
    wait_dns(&dns.waiting, RESOLVE_MAX_THREADS);
    pid_t child = fork();
    if (child == 0) {
        struct addresses found;
        const char *why;
        struct resolve *own = resolve_begin("quick");
        bool good = own != NULL && !waits(own, 5000) && resolve_answered(own, &found, &why);
        for (int i = 0; i < MANY; i++) {
            resolve_end(lookups[i]); /* its copies */
        }
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    set_silent(false);
    for (int i = 0; i < MANY; i++) {
        expect_address(lookups[i], "127.0.0.1");
    }
}

/* ---- many threads ---------------------------------------------------------------------------- */

#define CALLERS 8
#define CALLS 200

static void *
call_often(void *arg)
{
    static const char *const names[] = {"quick", "silent", "quiet", "unknown"};
    uintptr_t found = 0;
    for (uintptr_t i = 0; i < CALLS; i++) {
        struct addresses addresses;
        const char *why;
        struct resolve *resolve = resolve_begin(names[(i + (uintptr_t)arg) % 4]);
        if (resolve != NULL && i % 5 != 0 && !waits(resolve, 5000)) {
            found += resolve_answered(resolve, &addresses, &why);
        }
        resolve_end(resolve);
    }
    return (void *)found; /* NOLINT */
}

static void
any_thread_may_ask(void **state)
{
    (void)state;
    pthread_t callers[CALLERS];
    set_silent(false);
    for (uintptr_t i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&callers[i], NULL, call_often, (void *)i), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        void *found;
        pthread_join(callers[i], &found);
        assert_int_equal((uintptr_t)found, CALLS - CALLS / 5);
    }
}

/* ---- peers ----------------------------------------------------------------------------------- */

struct owner {
    struct peer_place place; /* first */
    struct peer *peer;
    int connected;
    int failed;
    int answers;
    char text[160];
};

static struct {
    struct hello_server server;
    struct peer_set *set;
} rig;

static void
process(struct owner *owner)
{
    struct peer_event event;
    peer_process(owner->peer, clock_ms());
    assert_true(peer_set_update(rig.set, &owner->place, owner->peer));
    while (peer_next_event(owner->peer, &event)) {
        owner->connected += event.kind == PEER_CONNECTED;
        owner->answers += event.kind == PEER_RESPONSE;
        if (event.kind == PEER_CONNECT_FAILED) {
            owner->failed++;
            memcpy(owner->text, event.text, sizeof(owner->text));
        }
        peer_event_deinit(&event);
    }
}

/* Waits for the set's descriptor, and for nothing else. */
static void
turn(void)
{
    struct pollfd item = {.fd = peer_set_fd(rig.set), .events = POLLIN};
    struct peer_place *place;
    hello_server_serve(&rig.server);
    poll(&item, 1, 5);
    peer_set_look(rig.set);
    while ((place = peer_set_next(rig.set)) != NULL) {
        process((struct owner *)(void *)place);
    }
}

static void
turn_until(const int *field, int wanted)
{
    for (int64_t end = clock_ms() + 5000; *field < wanted && clock_ms() < end;) {
        turn();
    }
    assert_int_equal(*field, wanted);
}

static int
setup_peers(void **state)
{
    setup(state);
    hello_server_open(&rig.server);
    rig.set = peer_set_new();
    return 0;
}

static int
teardown_peers(void **state)
{
    peer_set_free(rig.set);
    hello_server_close(&rig.server);
    return teardown(state);
}

static void
owner_open(struct owner *owner, const char *host)
{
    struct peer_config config = {.zmq_context = rig.server.context,
                                 .host = host,
                                 .port = rig.server.port,
                                 .node_id = HELLO_NODE_ID,
                                 .client_id = "test",
                                 .max_frame_bytes = 1 << 20,
                                 .max_in_flight = 8,
                                 .connect_timeout_ms = 300,
                                 .seed = 1};
    *owner = (struct owner){.peer = peer_new(&config)};
    assert_non_null(owner->peer);
    assert_string_equal(peer_address(owner->peer), "");
    process(owner);
}

static void
owner_close(struct owner *owner)
{
    peer_set_leave(rig.set, &owner->place);
    peer_free(owner->peer);
}

static void
ask(struct owner *owner)
{
    struct buf *body = buf_copy(bytes_str("\x90"));
    struct peer_call call = {.api_key = API_METADATA, .body = body, .timeout_ms = 5000};
    assert_int_equal(peer_send(owner->peer, &call, clock_ms()), DMQ_OK);
    assert_true(peer_set_update(rig.set, &owner->place, owner->peer));
    buf_unref(body);
}

static void
a_peer_is_connected_by_name(void **state)
{
    (void)state;
    struct owner owner;
    owner_open(&owner, "by-name");
    turn_until(&owner.connected, 1);
    assert_string_equal(peer_address(owner.peer), "127.0.0.1");
    assert_int_equal(peer_fd(owner.peer), -1);
    peer_disconnect(owner.peer, DMQ_ERR_CLOSED, "by us", clock_ms());
    usleep(10000);
    process(&owner);
    turn_until(&owner.connected, 2);
    assert_int_equal(read_dns(&dns.asked), 2); /* anew */
    owner_close(&owner);
}

static void
a_peer_of_unknown_name_says_why(void **state)
{
    (void)state;
    struct owner owner;
    owner_open(&owner, "unknown");
    turn_until(&owner.failed, 1);
    assert_string_equal(owner.text,
                        "host 'unknown' cannot be looked up: Name or service not known");
    owner_close(&owner);
}

/* What this file is about: one peer waits for a name server that is silent, the other's requests
 * are answered meanwhile, at once. */
static void
silence_holds_up_no_other_peer(void **state)
{
    (void)state;
    struct owner good, bad;
    owner_open(&good, "127.0.0.1");
    turn_until(&good.connected, 1);
    owner_open(&bad, "silent-peer");
    wait_dns(&dns.waiting, 1);
    int64_t begun = clock_ms();
    for (int i = 1; i <= 20; i++) {
        ask(&good);
        turn_until(&good.answers, i);
    }
    assert_in_range(clock_ms() - begun, 0, 1000);
    assert_int_equal(bad.connected, 0);
    usleep(300000);
    process(&bad);
    assert_int_equal(bad.failed, 1);
    assert_string_equal(bad.text,
                        "host 'silent-peer' cannot be looked up: the name server does not answer");
    set_silent(false);
    usleep(10000);
    process(&bad);
    turn_until(&bad.connected, 1);
    owner_close(&good);
    owner_close(&bad);
}

/* The second address of a name, after the first failed. */
static void
the_next_address_is_tried(void **state)
{
    (void)state;
    struct owner owner;
    owner_open(&owner, "two-addresses");
    hello_server_down(&rig.server);
    hello_server_up(&rig.server, "127.0.0.2");
    turn_until(&owner.failed, 1);
    usleep(10000);
    process(&owner);
    turn_until(&owner.connected, 1);
    assert_string_equal(peer_address(owner.peer), "127.0.0.2");
    owner_close(&owner);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define P(name) cmocka_unit_test_setup_teardown(name, setup_peers, teardown_peers)
    const struct CMUnitTest tests[] = {
        T(all_addresses_ipv4_first),
        T(each_lookup_asks_anew),
        T(a_host_that_is_unknown_says_why),
        T(silence_holds_up_nobody_else),
        T(questions_are_bounded_and_the_rest_waits),
        T(hosts_are_bounded),
        T(an_old_question_is_put_again),
        T(a_late_answer_is_for_the_next),
        T(a_child_looks_up_for_itself),
        T(any_thread_may_ask),
        P(a_peer_is_connected_by_name),
        P(a_peer_of_unknown_name_says_why),
        P(silence_holds_up_no_other_peer),
        P(the_next_address_is_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
