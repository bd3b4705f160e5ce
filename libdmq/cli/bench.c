#include "libdmq/cli/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libdmq/cli/json_out.h"
#include "libdmq/cli/progress.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"

const struct option_spec BENCH_OPTIONS[] = {
    {"records", "N", "how many (1000000; 10000 with --sync and end to end)"},
    {"size", "B", "bytes of a value (100)"},
    {"acks", "0|1|all", "stored how safely before it counts (all)"},
    {"compression", "none|lz4|zstd", "of the batches (none; the bytes do not compress)"},
    {"throughput", "R", "records a second at most (as fast as it goes; 1000 end to end)"},
    {"sync", NULL, "one record at a time: the next is sent when the last is done"},
    {NULL, NULL, NULL},
};

void
bench_fill(struct bench_bytes *bytes, void *data, int64_t size)
{
    unsigned char *at = data;
    uint64_t state = bytes->state;
    for (; size > 0; size -= 8, at += 8) { /* splitmix64 */
        uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        memcpy(at, &z, size < 8 ? (size_t)size : 8);
    }
    bytes->state = state;
}

uint64_t
bench_touch(const void *data, size_t size)
{
    const unsigned char *at = data;
    uint64_t sum = 0;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        sum += word;
    }
    for (; size > 0; size--, at++) {
        sum += *at;
    }
    return sum;
}

int64_t
bench_due_ns(const struct bench *b, int64_t start_ns, int64_t i)
{
    return start_ns + (int64_t)((double)i * 1e9 / (double)b->throughput);
}

int
bench_assign(struct bench *b, dmq_consumer *consumer, int64_t offset)
{
    size_t count = (size_t)b->partitions;
    dmq_assignment *assignments = calloc(count, sizeof(assignments[0]));
    if (assignments == NULL) {
        return report_failure("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        assignments[i] = (dmq_assignment){.size = sizeof(assignments[i]),
                                          .partition = (int32_t)i,
                                          .topic = b->topic,
                                          .offset = offset};
    }
    dmq_error error = session_error();
    dmq_err err = dmq_consumer_assign(consumer, assignments, sizeof(assignments[0]), count,
                                      ADMIN_TIMEOUT_MS, &error);
    free(assignments);
    return err == DMQ_OK ? CLI_OK : report_error(NULL, &error);
}

/* ---- result ---------------------------------------------------------------------------------- */

/* A bucket's end may lie beyond the largest value, which nobody would understand. */
static double
percentile_us(const struct bench_result *r, double percent)
{
    int64_t value = histogram_percentile(r->latency, percent);
    return (double)(value < r->latency->max ? value : r->latency->max) / 1e3;
}

static void
print_json(const struct bench_result *r, double seconds, struct out *out)
{
    struct json_out json;
    json_out_init(&json, out);
    json_open(&json, NULL, '{');
    json_int(&json, "records", r->records);
    json_int(&json, "bytes", r->bytes);
    json_real(&json, "seconds", seconds, 6);
    json_real(&json, "records_per_s", (double)r->records / seconds, 1);
    json_real(&json, "mb_per_s", (double)r->bytes / 1e6 / seconds, 3);
    json_open(&json, "latency_us", '{');
    json_real(&json, "p50", percentile_us(r, 50), 1);
    json_real(&json, "p99", percentile_us(r, 99), 1);
    json_real(&json, "p999", percentile_us(r, 99.9), 1);
    json_real(&json, "max", (double)r->latency->max / 1e3, 1);
    json_close(&json, '}');
    json_close(&json, '}');
    out_text(out, "\n");
}

static void
print_text(const struct bench_result *r, double seconds, struct out *out)
{
    out_format(out, "%" PRId64 " records, %.1f MB in %.3f s: %.0f records/s, %.1f MB/s\n",
               r->records, (double)r->bytes / 1e6, seconds, (double)r->records / seconds,
               (double)r->bytes / 1e6 / seconds);
    out_format(out, "latency us: p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n", percentile_us(r, 50),
               percentile_us(r, 99), percentile_us(r, 99.9), (double)r->latency->max / 1e3);
}

static int
print_result(const struct bench *b, const struct bench_result *r)
{
    struct out out;
    if (!out_init(&out, STDOUT_FILENO)) {
        return report_failure("out of memory");
    }
    int64_t ns = r->end_ns > r->start_ns ? r->end_ns - r->start_ns : 1;
    if (b->cli->json) {
        print_json(r, (double)ns / 1e9, &out);
    } else {
        print_text(r, (double)ns / 1e9, &out);
    }
    bool is_written = out_flush(&out);
    out_deinit(&out);
    return is_written ? CLI_OK : report_failure("cannot write to stdout");
}

/* ---- frame ----------------------------------------------------------------------------------- */

static int
parse_options(const struct cli *cli, struct bench *b)
{
    b->cli = cli;
    b->topic = cli->words[0];
    b->sync = args_has(cli->args, "sync");
    b->producer_options[0] = (dmq_option){"acks", "all"};
    b->producer_options[1] = (dmq_option){"compression.type", "none"};
    if (args_int(cli->args, "records", 1, INT64_C(1) << 40, &b->records) != CLI_OK ||
        args_int(cli->args, "size", 0, INT64_C(1) << 30, &b->size) != CLI_OK ||
        args_int(cli->args, "throughput", 1, INT64_C(1) << 40, &b->throughput) != CLI_OK ||
        args_choice(cli->args, "acks", "0|1|all", &b->producer_options[0].value) != CLI_OK ||
        args_choice(cli->args, "compression", "none|lz4|zstd", &b->producer_options[1].value) !=
            CLI_OK) {
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int
run_connected(struct bench *b, int (*body)(struct bench *b, struct bench_result *result))
{
    int code = session_partitions(b->client, b->topic, -1, &b->partitions);
    if (code != CLI_OK) {
        return code;
    }
    struct bench_result result = {.latency = calloc(1, sizeof(*result.latency))};
    if (result.latency == NULL) {
        return report_failure("out of memory");
    }
    code = body(b, &result);
    progress_clear();
    if (code == CLI_OK || code == CLI_PARTIAL) {
        int printed = print_result(b, &result);
        code = code == CLI_OK ? printed : code;
    }
    free(result.latency);
    return code;
}

int
bench_run(const struct cli *cli, struct bench *bench,
          int (*body)(struct bench *b, struct bench_result *result))
{
    int code = parse_options(cli, bench);
    if (code != CLI_OK) {
        return code;
    }
    code = session_open(cli, &bench->client);
    if (code == CLI_OK) {
        code = run_connected(bench, body);
        session_close(bench->client);
    }
    return code;
}
