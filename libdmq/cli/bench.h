/* What the three benchmarks share: their options, the records and the result. */
#ifndef DMQ_CLI_BENCH_H
#define DMQ_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "dmq/dmq.h"
#include "libdmq/cli/command.h"
#include "libdmq/cli/histogram.h"

enum { BENCH_PRODUCER_OPTIONS = 2 };

struct bench {
    const struct cli *cli;
    dmq_client *client;
    const char *topic;
    int32_t partitions;
    int64_t records;    /* how many; 0: all there are */
    int64_t size;       /* of a value */
    int64_t throughput; /* records per second at most; 0: as fast as it goes */
    bool sync;          /* one record at a time, each waited for */
    dmq_option producer_options[BENCH_PRODUCER_OPTIONS];
};

struct bench_result {
    int64_t records;
    int64_t bytes;
    int64_t start_ns;
    int64_t end_ns;
    struct histogram *latency; /* in ns */
};

/* ---- records --------------------------------------------------------------------------------- */

/* Fresh bytes that do not compress: a counter-based generator, 8 bytes in about a nanosecond. */
struct bench_bytes {
    uint64_t state;
};

void bench_fill(struct bench_bytes *bytes, void *data, int64_t size);

/* Reads all of a value, and gives something back that the compiler cannot leave out. */
uint64_t bench_touch(const void *data, size_t size);

/* When record number i is due at `throughput` per second. */
int64_t bench_due_ns(const struct bench *b, int64_t start_ns, int64_t i);

/* ---- frame ----------------------------------------------------------------------------------- */

/* The same for all three, so that one script drives them. */
extern const struct option_spec BENCH_OPTIONS[];

/* Parses the options, connects, runs `body`, prints the result. Returns the exit code; `body` does
 * likewise and prints its own failures. */
int bench_run(const struct cli *cli, struct bench *bench,
              int (*body)(struct bench *b, struct bench_result *result));

/* Assigns all partitions of the topic from `offset` on. CLI_OK, or the exit code (printed). */
int bench_assign(struct bench *b, dmq_consumer *consumer, int64_t offset);

#endif
