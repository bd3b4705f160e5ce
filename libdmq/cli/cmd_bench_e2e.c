/* dmq bench e2e: how long a record takes from the call that sends it to the application that reads
 * it.
 *
 * A thread with a client of its own reads from the end of the topic while the main thread sends. A
 * value begins with the time at which it was sent and a number drawn for this run, by which records
 * of others are passed over. */
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/cli/bench.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/progress.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/stop.h"

enum {
    FETCH_MS = 100,
    LATE_MS = 10000 /* how long the last records may take after all are stored */
};

struct stamp {
    int64_t sent_ns;
    uint64_t run;
};

struct receiver {
    struct bench *b;
    struct bench_result *r;
    dmq_consumer *consumer;
    uint64_t run;
    sem_t received; /* posted for each record, for --sync */
    atomic_int_least64_t count;
    atomic_bool is_done;
    volatile uint64_t sum;
    int code;
};

/* ---- the reading side ------------------------------------------------------------------------ */

static void
receive_batch(struct receiver *receiver, const dmq_batch *batch)
{
    size_t stride;
    const char *at = (const char *)dmq_batch_messages(batch, &stride);
    size_t count = dmq_batch_count(batch);
    for (size_t i = 0; i < count; i++, at += stride) {
        const dmq_message *message = (const dmq_message *)(const void *)at;
        struct stamp stamp;
        receiver->sum += bench_touch(message->value.data, message->value.size);
        if (message->value.size < sizeof(stamp)) {
            continue;
        }
        memcpy(&stamp, message->value.data, sizeof(stamp));
        if (stamp.run == receiver->run) {
            receiver->r->end_ns = clock_ns();
            histogram_record(receiver->r->latency, receiver->r->end_ns - stamp.sent_ns);
            atomic_fetch_add(&receiver->count, 1);
            sem_post(&receiver->received);
        }
    }
}

static void *
receive(void *arg)
{
    struct receiver *receiver = arg;
    while (!atomic_load(&receiver->is_done) && receiver->code == CLI_OK) {
        dmq_batch *batch;
        dmq_error error = session_error();
        dmq_err err = dmq_consumer_fetch(receiver->consumer, FETCH_MS, &batch, &error);
        if (err == DMQ_OK) {
            receive_batch(receiver, batch);
            dmq_batch_unref(batch);
        } else if (err != DMQ_ERR_TIMEOUT && err != DMQ_ERR_INTERRUPTED) {
            receiver->code = report_error("bench", &error);
        }
    }
    return NULL;
}

/* ---- the sending side ------------------------------------------------------------------------ */

static int
send_all(struct receiver *receiver, dmq_producer *producer, char *value)
{
    struct bench *b = receiver->b;
    struct bench_bytes bytes = {.state = receiver->run};
    receiver->r->start_ns = clock_ns();
    for (int64_t i = 0; i < b->records && !stop_requested(); i++) {
        clock_sleep_until(bench_due_ns(b, receiver->r->start_ns, i));
        bench_fill(&bytes, value, b->size);
        struct stamp stamp = {.sent_ns = clock_ns(), .run = receiver->run};
        memcpy(value, &stamp, sizeof(stamp));
        dmq_record record = {.size = sizeof(record),
                             .partition = DMQ_PARTITION_AUTO,
                             .value = {value, (size_t)b->size}};
        dmq_error error = session_error();
        dmq_err err = dmq_producer_send(producer, b->topic, &record, -1, &error);
        if (err != DMQ_OK && err != DMQ_ERR_INTERRUPTED) {
            return report_error("bench", &error);
        }
        while (b->sync && sem_wait(&receiver->received) != 0 && !stop_requested()) {
        }
        receiver->r->records++;
        progress_update((uint64_t)receiver->r->records, (uint64_t)(receiver->r->records * b->size));
    }
    return CLI_OK;
}

static int
flush(dmq_producer *producer)
{
    dmq_error error = session_error();
    dmq_err err;
    do {
        err = dmq_producer_flush(producer, -1, NULL, &error);
    } while (err == DMQ_ERR_INTERRUPTED);
    return err == DMQ_OK ? CLI_OK : report_error("bench", &error);
}

/* Everything was stored: it must also arrive. */
static int
await_arrival(struct receiver *receiver)
{
    int64_t deadline_ns = clock_ns() + LATE_MS * INT64_C(1000000);
    while (atomic_load(&receiver->count) < receiver->r->records && !stop_requested()) {
        if (clock_ns() > deadline_ns) {
            report_failure("%" PRId64 " of %" PRId64 " records have not arrived",
                           receiver->r->records - (int64_t)atomic_load(&receiver->count),
                           receiver->r->records);
            return CLI_TIMEOUT;
        }
        clock_sleep_until(clock_ns() + 1000000);
    }
    return stop_requested() ? CLI_PARTIAL : CLI_OK;
}

static int
send_and_await(struct receiver *receiver, dmq_producer *producer)
{
    char *value = malloc((size_t)receiver->b->size);
    if (value == NULL) {
        return report_failure("out of memory");
    }
    int code = send_all(receiver, producer, value);
    int flushed = flush(producer);
    free(value);
    code = code != CLI_OK ? code : flushed;
    return code != CLI_OK ? code : await_arrival(receiver);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int
run_both(struct receiver *receiver)
{
    struct bench *b = receiver->b;
    dmq_producer *producer;
    dmq_error error = session_error();
    if (dmq_producer_open(b->client, b->producer_options, BENCH_PRODUCER_OPTIONS, &producer,
                          &error) != DMQ_OK) {
        return report_error(NULL, &error);
    }
    pthread_t thread;
    int code = CLI_OK;
    if (pthread_create(&thread, NULL, receive, receiver) != 0) {
        code = report_failure("cannot start a thread");
    } else {
        code = send_and_await(receiver, producer);
        atomic_store(&receiver->is_done, true);
        pthread_join(thread, NULL);
        code = receiver->code != CLI_OK ? receiver->code : code;
    }
    dmq_producer_close(producer);
    receiver->r->records = (int64_t)atomic_load(&receiver->count);
    receiver->r->bytes = receiver->r->records * b->size;
    return code;
}

static int
body(struct bench *b, struct bench_result *r)
{
    struct receiver receiver = {
        .b = b, .r = r, .run = (uint64_t)clock_ns() ^ (uint64_t)clock_date_ms()};
    dmq_error error = session_error();
    dmq_client *client;
    if (dmq_client_open(b->cli->url, NULL, 0, CONNECT_TIMEOUT_MS, &client, &error) != DMQ_OK) {
        return report_error(NULL, &error);
    }
    int code;
    if (dmq_consumer_open(client, NULL, 0, &receiver.consumer, &error) != DMQ_OK) {
        code = report_error(NULL, &error);
    } else {
        sem_init(&receiver.received, 0, 0);
        progress_start("sent", true);
        code = bench_assign(b, receiver.consumer, DMQ_OFFSET_END);
        code = code == CLI_OK ? run_both(&receiver) : code;
        sem_destroy(&receiver.received);
        dmq_consumer_close(receiver.consumer);
    }
    dmq_client_close(client);
    return code;
}

static int
run(const struct cli *cli)
{
    struct bench b = {.records = 10000, .size = 100, .throughput = 1000};
    int64_t size = b.size;
    if (args_int(cli->args, "size", sizeof(struct stamp), INT64_C(1) << 30, &size) != CLI_OK) {
        return CLI_USAGE;
    }
    return bench_run(cli, &b, body);
}

const struct command COMMAND_BENCH_E2E = {
    .name = "bench e2e",
    .arguments = "TOPIC",
    .takes_topic = true,
    .summary = "Measure how long a record takes from sender to reader",
    .details = "Sends at a steady rate and reads with a client of its own from the end of the\n"
               "topic; the latency is from the call that sends to the fetch that gives it back.\n"
               "A value has at least 16 bytes.\n",
    .examples = "dmq bench e2e load\n"
                "dmq bench e2e load --throughput 10000 --records 50000 --json\n"
                "dmq bench e2e load --sync\n",
    .options = BENCH_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
