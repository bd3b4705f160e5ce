/* dmq-sim: whole lives of a cluster in one thread, judged. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/checker.h"
#include "tests/sim/world.h"

#define HOUR_S 3600

static const char usage[] =
    "usage: dmq-sim [--seed N | --seeds FROM..TO [--first]] [--seconds S] [--trace]\n"
    "               [--retention] [--history FILE]\n"
    "       dmq-sim --check FILE --drain PROCESS\n"
    "\n"
    "Runs a cluster (controllers, brokers, clients: the real code) on a virtual network, disk\n"
    "and clock, with faults drawn from the seed, and judges what its clients saw. The same\n"
    "seed gives the same trace hash.\n"
    "\n"
    "  --first      stop at the first seed that fails\n"
    "  --seconds S  virtual time with faults (10)\n"
    "  --trace      tell what happens\n"
    "  --retention  logs lose their beginning, by retention.bytes and retention.ms\n"
    "  --history F  write what the clients did and saw, one operation a line\n"
    "  --check F    judge a history that another run, or a test of real processes, wrote\n";

struct arguments {
    uint64_t from;
    uint64_t to;
    int64_t seconds;
    bool trace;
    bool retention;
    bool first;
    const char *history;
    const char *check;
    int drain;
};

static bool
parse(int argc, char **argv, struct arguments *ret_arguments)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'}, {"trace", no_argument, NULL, 'v'},
        {"retention", no_argument, NULL, 'k'},     {"first", no_argument, NULL, 'f'},
        {"history", required_argument, NULL, 'h'}, {"check", required_argument, NULL, 'c'},
        {"drain", required_argument, NULL, 'd'},   {NULL, 0, NULL, 0}};
    struct arguments a = {.from = 1, .to = 1, .seconds = 10};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            a.from = a.to = strtoull(optarg, NULL, 0);
            break;
        case 'r':
            if (sscanf(optarg, "%" SCNu64 "..%" SCNu64, &a.from, &a.to) != 2) {
                return false;
            }
            break;
        case 't':
            a.seconds = strtoll(optarg, NULL, 0);
            break;
        case 'v':
            a.trace = true;
            break;
        case 'k':
            a.retention = true;
            break;
        case 'f':
            a.first = true;
            break;
        case 'h':
            a.history = optarg;
            break;
        case 'c':
            a.check = optarg;
            break;
        case 'd':
            a.drain = (int)strtol(optarg, NULL, 0);
            break;
        default:
            return false;
        }
    }
    *ret_arguments = a;
    return optind == argc && a.seconds > 0 && a.from <= a.to;
}

static int
check_file(const struct arguments *a)
{
    struct history history = {0};
    size_t line;
    FILE *file = fopen(a->check, "r");
    if (file == NULL || !history_read(&history, file, &line)) {
        fprintf(stderr, "dmq-sim: %s: %s\n", a->check,
                file == NULL ? "cannot be read" : "a line is malformed");
        return 2;
    }
    fclose(file);
    struct verdict verdict = history_check(&history, a->drain);
    printf("%zu sends, %zu polls: %s\n", history.send_count, history.poll_count,
           verdict.anomaly == ANOMALY_NONE ? "no anomaly" : verdict.text);
    history_deinit(&history);
    return verdict.anomaly == ANOMALY_NONE ? 0 : 1;
}

static void
add_counts(struct world_counts *sum, const struct world_counts *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
}

/* Whether a count of this name may be zero (world.h says how names tell). From 20 seeds on, few
 * may: what did not happen was not tested. */
static bool
may_be_zero(const char *name, uint64_t seeds, int64_t seconds)
{
    bool rare = name[0] == '[' && seeds * (uint64_t)seconds < HOUR_S;
    return rare || name[0] == '(' || seeds < 20;
}

static int
print_counts(const struct world_counts *c, uint64_t seeds, int64_t seconds)
{
    const struct {
        const char *name;
        uint64_t count;
    } rows[] = {
#define X(name, text) {text, c->name},
        WORLD_COUNTS(X)
#undef X
    };
    int missing = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        printf("  %-64s %12" PRIu64 "\n", rows[i].name, rows[i].count);
        if (rows[i].count == 0 && !may_be_zero(rows[i].name, seeds, seconds)) {
            fprintf(stderr, "dmq-sim: no %s: these seeds do not test it\n", rows[i].name);
            missing = 1;
        }
    }
    return missing;
}

static bool
run_seed(const struct arguments *a, uint64_t seed, struct world_counts *sum)
{
    struct world world;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    fflush(stdout); /* an assertion that fails takes what is buffered with it */
    world_init(&world, seed, a->seconds, a->retention);
    world.trace = a->trace;
    const char *failure = world_run(&world);
    if (a->from == a->to || failure != NULL) {
        printf("seed %" PRIu64 ": trace %016" PRIx64 ", %.1f s virtual, %" PRIu64 " events: %s\n",
               seed, world.trace_hash, (double)world.now_us / 1e6, world.counts.events,
               failure == NULL ? "ok" : failure);
    }
    if (a->history != NULL) {
        FILE *file = fopen(a->history, "w");
        if (file != NULL) {
            history_write(&world.history, file);
            fclose(file);
        }
    }
    add_counts(sum, &world.counts);
    world_deinit(&world);
    return failure == NULL;
}

int
main(int argc, char **argv)
{
    struct arguments arguments;
    struct world_counts sum = {0};
    uint64_t failed = 0;
    if (!parse(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    if (arguments.check != NULL) {
        return check_file(&arguments);
    }
    uint64_t seeds = arguments.to - arguments.from + 1;
    for (uint64_t seed = arguments.from; seed <= arguments.to && !(arguments.first && failed > 0);
         seed++) {
        failed += !run_seed(&arguments, seed, &sum);
    }
    int missing = print_counts(&sum, seeds, arguments.seconds);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", seeds - failed, failed);
    return failed > 0 || missing != 0 ? 1 : 0;
}
