/* Memory runs out at every allocation of the library in turn, on the application's thread and on
 * the background one: each call succeeds or says DMQ_ERR_NOMEM, none crashes, none hangs, and
 * everything can be closed. Once only that allocation fails, once all from then on.
 *
 * What libzmq allocates is left alone, for it ends the process then: only calls out of this
 * executable, which holds the library, are made to fail. The broker is another process. */
#include "tests/unit/libdmq/api/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libdmq/os/clock.h"

/* The sanitizer has its own malloc. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#define CALL_MS 2000 /* of one call: what needs all of it hangs */
#define OWNED_MAX 10000
#define LIFE_MAX 3000 /* allocations of one life, far from reached */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void __libc_free(void *memory);
extern char __executable_start;
extern char etext;

static atomic_bool armed;
static atomic_int left; /* allocations that succeed before one fails */
static atomic_int failures;
static bool stays_out; /* all fail from then on */

static bool
fails(void)
{
    if (!atomic_load(&armed)) {
        return false;
    }
    int before = atomic_fetch_sub(&left, 1);
    bool failed = before == 0 || (before < 0 && stays_out);
    if (failed) {
        atomic_fetch_add(&failures, 1);
    }
    return failed;
}

/* What a life has allocated and not freed. */
static pthread_mutex_t owned_lock = PTHREAD_MUTEX_INITIALIZER;
static void *owned[OWNED_MAX];
static int owned_count;

static void *
own(void *memory)
{
    if (memory != NULL && atomic_load(&armed)) {
        pthread_mutex_lock(&owned_lock);
        if (owned_count == OWNED_MAX) {
            abort();
        }
        owned[owned_count++] = memory;
        pthread_mutex_unlock(&owned_lock);
    }
    return memory;
}

/* The newest ones go first, mostly. */
static void
disown(const void *memory)
{
    pthread_mutex_lock(&owned_lock);
    int i = owned_count - 1;
    while (i >= 0 && owned[i] != memory) {
        i--;
    }
    if (i >= 0) {
        owned[i] = owned[--owned_count];
    }
    pthread_mutex_unlock(&owned_lock);
}

static bool
is_ours(const char *caller)
{
    return caller >= &__executable_start && caller < &etext;
}

void
free(void *memory)
{
    disown(memory);
    __libc_free(memory);
}

void *
malloc(size_t size)
{
    if (!is_ours(__builtin_return_address(0))) {
        return __libc_malloc(size);
    }
    return fails() ? NULL : own(__libc_malloc(size));
}

void *
calloc(size_t count, size_t size)
{
    if (!is_ours(__builtin_return_address(0))) {
        return __libc_calloc(count, size);
    }
    return fails() ? NULL : own(__libc_calloc(count, size));
}

void *
realloc(void *memory, size_t size)
{
    if (!is_ours(__builtin_return_address(0))) {
        disown(memory);
        return __libc_realloc(memory, size);
    }
    if (fails()) {
        return NULL;
    }
    disown(memory);
    return own(__libc_realloc(memory, size));
}

/* ---- the broker, in a process of its own ----------------------------------------------------- */

struct broker {
    pid_t pid;
    int stop; /* a byte: it forgets its producers, of which it knows but a few; closed: it ends */
    char url[64];
};

static void
run_broker(int port_fd, int stop_fd)
{
    char end;
    struct fake_broker *fake = fake_broker_start();
    int32_t port = fake_broker_port(fake);
    fake_broker_topic(fake, "t", 2);
    if (write(port_fd, &port, sizeof(port)) == sizeof(port)) {
        while (read(stop_fd, &end, 1) > 0) {
            fake_broker_forget_producers(fake);
        }
    }
    fake_broker_stop(fake);
    _exit(0);
}

static int
start_broker(void **state)
{
    static struct broker broker;
    int port_pipe[2];
    int stop_pipe[2];
    int32_t port;
    assert_int_equal(pipe(port_pipe), 0);
    assert_int_equal(pipe(stop_pipe), 0);
    broker.pid = fork();
    if (broker.pid == 0) {
        close(stop_pipe[1]);
        run_broker(port_pipe[1], stop_pipe[0]);
    }
    close(stop_pipe[0]);
    close(port_pipe[1]);
    assert_int_equal(read(port_pipe[0], &port, sizeof(port)), sizeof(port));
    close(port_pipe[0]);
    broker.stop = stop_pipe[1];
    snprintf(broker.url, sizeof(broker.url), "dmq://127.0.0.1:%d", (int)port);
    *state = &broker;
    return 0;
}

static int
stop_broker(void **state)
{
    const struct broker *broker = *state;
    int status;
    close(broker->stop);
    assert_int_equal(waitpid(broker->pid, &status, 0), broker->pid);
    assert_int_equal(status, 0);
    return 0;
}

/* ---- a life ---------------------------------------------------------------------------------- */

struct life {
    int n; /* the allocation that fails */
    dmq_client *client;
    dmq_producer *producer;
    dmq_consumer *consumer;
    dmq_error error;
    int64_t last_ms;
    int64_t slowest_ms;
    int refused; /* calls that said DMQ_ERR_NOMEM */
};

/* A call came back; how long it took counts from the one before. True if it succeeded. */
static bool
came_back(struct life *life, const char *call, dmq_err err)
{
    int64_t ms = clock_ms() - life->last_ms;
    life->last_ms += ms;
    life->slowest_ms = ms > life->slowest_ms ? ms : life->slowest_ms;
    if (ms >= CALL_MS || (err != DMQ_OK && err != DMQ_ERR_NOMEM)) {
        print_error("life %d: %s: %d after %d ms: %s\n", life->n, call, (int)err, (int)ms,
                    life->error.message);
    }
    assert_true(ms < CALL_MS);
    assert_true(err == DMQ_OK || err == DMQ_ERR_NOMEM);
    if (err == DMQ_ERR_NOMEM) {
        assert_true(atomic_load(&failures) > 0);
        assert_true(life->error.code == DMQ_ERR_NOMEM && life->error.message[0] != '\0');
        life->refused++;
    }
    return err == DMQ_OK;
}

#define TRY(life, call) came_back((life), #call, (call))

static void
send_some(struct life *life)
{
    dmq_header headers[2] = {{{"h", 1}, {"v", 1}}, {{"i", 1}, {NULL, 0}}};
    dmq_record records[3];
    dmq_delivery delivery;
    if (!TRY(life, dmq_producer_open(life->client, NULL, 0, &life->producer, &life->error))) {
        return;
    }
    for (uint32_t i = 0; i < 3; i++) {
        records[i] = record_of(DMQ_PARTITION_AUTO, "value");
        records[i].key = (dmq_bytes){"k", i % 2};
        records[i].headers = headers;
        records[i].header_count = i;
        records[i].opaque = i;
    }
    bool sent =
        TRY(life, dmq_producer_send(life->producer, "t", &records[1], CALL_MS, &life->error));
    TRY(life, dmq_producer_send_many(life->producer, "t", records, sizeof(records[0]), 3, CALL_MS,
                                     NULL, &life->error));
    TRY(life,
        dmq_producer_send_wait(life->producer, "t", &records[0], CALL_MS, &delivery, &life->error));
    TRY(life, dmq_producer_flush(life->producer, CALL_MS, NULL, &life->error));
    /* What was taken is told, unless the client has given up. */
    size_t told = dmq_producer_poll(life->producer, &delivery, sizeof(delivery), 1, 0);
    assert_true(told == 1 || !sent || atomic_load(&failures) > 0);
}

static void
administer(struct life *life)
{
    int32_t partitions;
    int64_t offset;
    char *json;
    TRY(life, dmq_topic_partitions(life->client, "t", CALL_MS, &partitions, &life->error));
    TRY(life, dmq_topic_offset(life->client, "t", 0, DMQ_OFFSET_TIMESTAMP, 1, CALL_MS, &offset,
                               &life->error));
    if (TRY(life, dmq_admin(life->client, "metadata", "{\"allTopics\": true}", CALL_MS, &json,
                            &life->error))) {
        dmq_free(json);
    }
}

static void
consume(struct life *life)
{
    dmq_batch *batch;
    /* Little is fetched, for the log grows with each life. */
    dmq_option options[] = {{"max.partition.fetch.bytes", "100"}, {"queued.max.bytes", "100"}};
    dmq_assignment from = {
        .size = sizeof(from), .topic = "t", .partition = 0, .offset = DMQ_OFFSET_START};
    if (!TRY(life, dmq_consumer_open(life->client, options, 2, &life->consumer, &life->error)) ||
        !TRY(life,
             dmq_consumer_assign(life->consumer, &from, sizeof(from), 1, CALL_MS, &life->error)) ||
        !TRY(life, dmq_consumer_fetch(life->consumer, CALL_MS, &batch, &life->error))) {
        return;
    }
    dmq_batch_unref(batch);
    from.offset = 1;
    if (TRY(life, dmq_consumer_seek(life->consumer, &from, CALL_MS, &life->error)) &&
        TRY(life, dmq_consumer_fetch(life->consumer, CALL_MS, &batch, &life->error))) {
        assert_int_equal(dmq_batch_messages(batch, &(size_t){0})[0].offset, 1);
        dmq_batch_unref(batch);
    }
}

/* Runs with the nth allocation failing. False if there was no nth. */
static bool
live(const struct broker *broker, int n, struct life *life)
{
    *life = (struct life){.n = n, .error = {.size = sizeof(life->error)}, .last_ms = clock_ms()};
    assert_int_equal(write(broker->stop, "", 1), 1);
    atomic_store(&failures, 0);
    atomic_store(&left, n);
    atomic_store(&armed, true);
    if (TRY(life, dmq_client_open(broker->url, NULL, 0, CALL_MS, &life->client, &life->error))) {
        dmq_client_fd(life->client);
        send_some(life);
        administer(life);
        consume(life);
    }
    int64_t began_ms = clock_ms();
    dmq_consumer_close(life->consumer);
    dmq_producer_close(life->producer);
    dmq_client_close(life->client);
    assert_true(clock_ms() - began_ms < CALL_MS);
    atomic_store(&armed, false);
    assert_int_equal(owned_count, 0);
    return atomic_load(&failures) > 0;
}

static void
run_lives(const struct broker *broker)
{
    struct life life;
    int lives = 0;
    int refused = 0;
    int64_t slowest_ms = 0;
    while (live(broker, lives, &life)) {
        refused += life.refused > 0;
        slowest_ms = life.slowest_ms > slowest_ms ? life.slowest_ms : slowest_ms;
        lives++;
        assert_true(lives < LIFE_MAX);
    }
    print_message("%d lives, in %d something was refused; the slowest call took %d ms\n", lives,
                  refused, (int)slowest_ms);
    assert_true(lives > 100 && refused > lives / 2);
    assert_int_equal(life.refused, 0); /* the last one, in which nothing failed */
}

static void
test_each_allocation_may_fail(void **state)
{
    stays_out = false;
    run_lives(*state);
}

static void
test_memory_may_stay_out(void **state)
{
    stays_out = true;
    run_lives(*state);
}

#else

static int
start_broker(void **state)
{
    (void)state;
    return 0;
}

static int
stop_broker(void **state)
{
    (void)state;
    return 0;
}

static void
test_each_allocation_may_fail(void **state)
{
    (void)state;
    skip();
}

static void
test_memory_may_stay_out(void **state)
{
    (void)state;
    skip();
}

#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_allocation_may_fail, start_broker, stop_broker),
        cmocka_unit_test_setup_teardown(test_memory_may_stay_out, start_broker, stop_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
