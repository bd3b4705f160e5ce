/* dmq bench consume: how fast stored records are read. Checksums are checked and every byte of
 * every value is read. The latency is that of the calls that fetch a batch. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/cli/bench.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/progress.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/stop.h"

struct reading {
    struct bench *b;
    struct bench_result *r;
    dmq_consumer *consumer;
    int64_t left;          /* records to read */
    volatile uint64_t sum; /* what makes the reading of values necessary */
};

/* How many records the topic holds. CLI_OK, or the exit code (printed). */
static int
count_records(struct bench *b, int64_t *ret_count)
{
    int64_t count = 0;
    for (int32_t i = 0; i < b->partitions; i++) {
        int64_t start;
        int64_t end;
        dmq_error error = session_error();
        if (dmq_topic_offset(b->client, b->topic, i, DMQ_OFFSET_START, 0, ADMIN_TIMEOUT_MS, &start,
                             &error) != DMQ_OK ||
            dmq_topic_offset(b->client, b->topic, i, DMQ_OFFSET_END, 0, ADMIN_TIMEOUT_MS, &end,
                             &error) != DMQ_OK) {
            return report_error(NULL, &error);
        }
        count += end - start;
    }
    *ret_count = count;
    return CLI_OK;
}

static void
read_batch(struct reading *reading, const dmq_batch *batch)
{
    size_t stride;
    const char *at = (const char *)dmq_batch_messages(batch, &stride);
    size_t count = dmq_batch_count(batch);
    uint64_t sum = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++, at += stride) {
        const dmq_message *message = (const dmq_message *)(const void *)at;
        sum += bench_touch(message->value.data, message->value.size);
        bytes += (int64_t)message->value.size;
    }
    reading->sum += sum;
    reading->r->bytes += bytes;
    reading->r->records += (int64_t)count;
    reading->left -= (int64_t)count;
}

static int
read_all(struct reading *reading)
{
    struct bench_result *r = reading->r;
    while (reading->left > 0 && !stop_requested()) {
        dmq_batch *batch;
        dmq_error error = session_error();
        int64_t asked_ns = clock_ns();
        dmq_err err = dmq_consumer_fetch(reading->consumer, -1, &batch, &error);
        if (err == DMQ_ERR_INTERRUPTED || err == DMQ_ERR_TIMEOUT) {
            continue;
        }
        if (err != DMQ_OK) {
            int code = report_error("bench", &error);
            return r->records > 0 ? CLI_PARTIAL : code;
        }
        histogram_record(r->latency, clock_ns() - asked_ns);
        read_batch(reading, batch);
        dmq_batch_unref(batch);
        progress_update((uint64_t)r->records, (uint64_t)r->bytes);
    }
    return stop_requested() ? CLI_PARTIAL : CLI_OK;
}

static int
body(struct bench *b, struct bench_result *r)
{
    int64_t there = 0;
    int code = count_records(b, &there);
    if (code != CLI_OK) {
        return code;
    }
    struct reading reading = {
        .b = b, .r = r, .left = b->records == 0 || b->records > there ? there : b->records};
    const dmq_option options[] = {{"check.crcs", "true"}};
    dmq_error error = session_error();
    if (dmq_consumer_open(b->client, options, 1, &reading.consumer, &error) != DMQ_OK) {
        return report_error(NULL, &error);
    }
    progress_start("read", true);
    r->start_ns = clock_ns();
    code = bench_assign(b, reading.consumer, DMQ_OFFSET_START);
    if (code == CLI_OK) {
        code = read_all(&reading);
    }
    r->end_ns = clock_ns();
    dmq_consumer_close(reading.consumer);
    return code;
}

static int
run(const struct cli *cli)
{
    struct bench b = {0};
    return bench_run(cli, &b, body);
}

const struct command COMMAND_BENCH_CONSUME = {
    .name = "bench consume",
    .arguments = "TOPIC",
    .takes_topic = true,
    .summary = "Measure how fast records are read",
    .details = "From the start of each partition; checksums are checked, every value is read.\n"
               "The latency is that of the calls that fetch a batch. Of the options --records\n"
               "counts (all, and never more than there are); the others have no effect here.\n",
    .examples = "dmq bench consume load\n"
                "dmq bench consume load --records 1000000 --json\n",
    .options = BENCH_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
