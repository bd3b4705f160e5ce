/* dmq bench produce: how fast records are stored, and how long each takes to be.
 *
 * The main thread makes fresh bytes and sends each record by one call of the public API. A second
 * thread takes the deliveries, so that a latency is from the call to the moment at which the
 * application can know. A record's opaque is the time at which it was sent. Running flat out, the
 * latency of one record in SAMPLE_EVERY is taken: reading the clock would otherwise be a tenth of
 * what is measured. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "libdmq/cli/bench.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/progress.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/stop.h"

enum {
    SAMPLE_EVERY = 16,
    SAMPLE_ALL_BELOW = 100000, /* records; with fewer each one's latency is taken */
    DELIVERIES_MAX = 1024,
    POLL_MS = 50,
    PROGRESS_EVERY = 4096
};

struct deliveries {
    dmq_producer *producer;
    struct histogram *latency;
    int64_t failed; /* of those sampled */
    atomic_bool is_done;
};

static size_t
take_deliveries(struct deliveries *d, int64_t timeout_ms)
{
    dmq_delivery taken[DELIVERIES_MAX];
    size_t count =
        dmq_producer_poll(d->producer, taken, sizeof(taken[0]), DELIVERIES_MAX, timeout_ms);
    int64_t now = clock_ns();
    for (size_t i = 0; i < count; i++) {
        if (taken[i].code == DMQ_OK) {
            histogram_record(d->latency, now - (int64_t)taken[i].opaque);
        } else {
            d->failed++;
        }
    }
    return count;
}

static void *
poll_deliveries(void *arg)
{
    struct deliveries *d = arg;
    while (!atomic_load(&d->is_done)) {
        take_deliveries(d, POLL_MS);
    }
    while (take_deliveries(d, 0) > 0) {
    }
    return NULL;
}

static dmq_record
make_record(struct bench *b, struct bench_bytes *bytes, void *value)
{
    bench_fill(bytes, value, b->size);
    return (dmq_record){.size = sizeof(dmq_record),
                        .partition = DMQ_PARTITION_AUTO,
                        .value = {value, (size_t)b->size}};
}

/* Sends until all are sent, an error, or Ctrl-C. */
static dmq_err
send_all(struct bench *b, dmq_producer *producer, struct bench_result *r, dmq_error *error)
{
    void *value = malloc((size_t)b->size + 1);
    struct bench_bytes bytes = {.state = (uint64_t)clock_ns()};
    bool is_paced = b->throughput > 0;
    bool is_sampled = !is_paced && b->records > SAMPLE_ALL_BELOW;
    dmq_err err = value != NULL ? DMQ_OK : DMQ_ERR_NOMEM;
    for (int64_t i = 0; i < b->records && err == DMQ_OK && !stop_requested(); i++) {
        if (is_paced) {
            clock_sleep_until(bench_due_ns(b, r->start_ns, i));
        }
        dmq_record record = make_record(b, &bytes, value);
        if (!is_sampled || i % SAMPLE_EVERY == 0) {
            record.opaque = (uint64_t)clock_ns();
        }
        err = dmq_producer_send(producer, b->topic, &record, -1, error);
        if (err == DMQ_OK) {
            r->records++;
        }
        if (i % PROGRESS_EVERY == 0) {
            progress_update((uint64_t)r->records, (uint64_t)(r->records * b->size));
        }
    }
    free(value);
    return err;
}

static dmq_err
flush(dmq_producer *producer, uint64_t *ret_failed, dmq_error *error)
{
    dmq_err err;
    do {
        err = dmq_producer_flush(producer, -1, ret_failed, error);
    } while (err == DMQ_ERR_INTERRUPTED);
    return err;
}

static int
send_and_count(struct bench *b, struct deliveries *d, struct bench_result *r)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, poll_deliveries, d) != 0) {
        return report_failure("cannot start a thread");
    }
    dmq_error error = session_error();
    uint64_t failed = 0;
    r->start_ns = clock_ns();
    dmq_err err = send_all(b, d->producer, r, &error);
    dmq_error flush_error = session_error();
    dmq_err flushed = flush(d->producer, &failed, &flush_error);
    r->end_ns = clock_ns();
    atomic_store(&d->is_done, true);
    pthread_join(thread, NULL);

    r->records -= (int64_t)failed;
    r->bytes = r->records * b->size;
    if (err == DMQ_OK || err == DMQ_ERR_INTERRUPTED) {
        err = flushed;
        error = flush_error;
    }
    if (err != DMQ_OK) {
        int code = report_error("bench", &error);
        return r->records > 0 ? CLI_PARTIAL : code;
    }
    return stop_requested() ? CLI_PARTIAL : CLI_OK;
}

/* --sync: each record is waited for, as a program does that publishes one event at a time. */
static int
publish_all(struct bench *b, dmq_producer *producer, struct bench_result *r)
{
    void *value = malloc((size_t)b->size + 1);
    struct bench_bytes bytes = {.state = (uint64_t)clock_ns()};
    dmq_error error = session_error();
    dmq_err err = value != NULL ? DMQ_OK : DMQ_ERR_NOMEM;
    r->start_ns = clock_ns();
    for (int64_t i = 0; i < b->records && err == DMQ_OK && !stop_requested(); i++) {
        if (b->throughput > 0) {
            clock_sleep_until(bench_due_ns(b, r->start_ns, i));
        }
        dmq_record record = make_record(b, &bytes, value);
        dmq_delivery delivery;
        int64_t sent_ns = clock_ns();
        err = dmq_producer_send_wait(producer, b->topic, &record, -1, &delivery, &error);
        if (err == DMQ_OK) {
            histogram_record(r->latency, clock_ns() - sent_ns);
            r->records++;
            progress_update((uint64_t)r->records, (uint64_t)(r->records * b->size));
        }
    }
    r->end_ns = clock_ns();
    r->bytes = r->records * b->size;
    free(value);
    if (err != DMQ_OK && err != DMQ_ERR_INTERRUPTED) {
        int code = report_error("bench", &error);
        return r->records > 0 ? CLI_PARTIAL : code;
    }
    return stop_requested() ? CLI_PARTIAL : CLI_OK;
}

static int
body(struct bench *b, struct bench_result *r)
{
    dmq_producer *producer;
    dmq_error error = session_error();
    if (dmq_producer_open(b->client, b->producer_options, BENCH_PRODUCER_OPTIONS, &producer,
                          &error) != DMQ_OK) {
        return report_error(NULL, &error);
    }
    progress_start("sent", true);
    int code;
    if (b->sync) {
        code = publish_all(b, producer, r);
    } else {
        struct deliveries d = {.producer = producer, .latency = r->latency};
        code = send_and_count(b, &d, r);
    }
    dmq_producer_close(producer);
    return code;
}

static int
run(const struct cli *cli)
{
    struct bench b = {.records = args_has(cli->args, "sync") ? 10000 : 1000000, .size = 100};
    return bench_run(cli, &b, body);
}

const struct command COMMAND_BENCH_PRODUCE = {
    .name = "bench produce",
    .arguments = "TOPIC",
    .takes_topic = true,
    .summary = "Measure how fast records are stored",
    .details = "Fresh incompressible bytes, one call of the public API for each record.\n",
    .examples = "dmq bench produce load\n"
                "dmq bench produce load --records 5000000 --size 1024 --json\n"
                "dmq bench produce load --sync --records 2000\n",
    .options = BENCH_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
