/* dmq produce: each line of the files (or stdin) is a record.
 *
 * Records are handed to the producer as fast as it takes them; what became of each comes back later
 * under its ordinal, the number of the line counted over all files, so that a failure names the
 * line. The first failure ends the reading: what was stored is then the beginning of the input, as
 * far as the partitions allow, and nothing of what follows. Exit 0 means that every record was
 * acknowledged as --acks asks for.
 *
 * A record that cannot be stored is tried again for two minutes (delivery.timeout.ms): the disk may
 * get space, the broker may come back. Whoever waits is told why after a second, and when it goes
 * on. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dmq/dmq.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/command.h"
#include "libdmq/cli/json_out.h"
#include "libdmq/cli/key_rule.h"
#include "libdmq/cli/lines.h"
#include "libdmq/cli/progress.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/stall.h"
#include "libdmq/cli/stop.h"
#include "libdmq/cli/value.h"

enum {
    POLL_EVERY = 512,     /* lines between two looks at what was delivered */
    DELIVERIES_MAX = 512, /* taken at a time */
    FAILURES_SHOWN_MAX = 5
};

struct source {
    const char *name;
    uint64_t first; /* ordinal of its first line */
};

struct produce {
    const struct cli *cli;
    const char *topic;
    dmq_producer *producer;
    dmq_record record; /* reused for each line */
    struct key_rule rule;
    struct source *sources;
    size_t source_count;
    uint64_t sent;     /* records that the producer took; the ordinal of the last */
    uint64_t bytes;    /* of their values */
    uint64_t stored;   /* acknowledged */
    uint64_t failures; /* records refused or not acknowledged */
    int code;          /* exit code of the first failure */
    struct stall stall;
};

/* ---- failures -------------------------------------------------------------------------------- */

/* Names the line that an ordinal stands for. */
static void
fail_line(struct produce *p, uint64_t ordinal, const char *text, int code)
{
    p->failures++;
    p->code = p->code == CLI_OK ? code : p->code;
    if (p->failures > FAILURES_SHOWN_MAX) {
        return;
    }
    size_t i = p->source_count - 1;
    while (p->sources[i].first > ordinal) {
        i--;
    }
    report_failure("%s:%" PRIu64 ": %s", p->sources[i].name, ordinal - p->sources[i].first + 1,
                   text);
}

static void
take_deliveries(struct produce *p)
{
    dmq_delivery deliveries[DELIVERIES_MAX];
    size_t count;
    do {
        count =
            dmq_producer_poll(p->producer, deliveries, sizeof(deliveries[0]), DELIVERIES_MAX, 0);
        for (size_t i = 0; i < count; i++) {
            const dmq_delivery *d = &deliveries[i];
            if (d->code == DMQ_OK) {
                p->stored++;
            } else {
                fail_line(p, d->opaque, dmq_error_text(d->code), report_exit_code(d->code));
            }
        }
    } while (count == DELIVERIES_MAX);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* The library knows why a partition tries again, if one does: else a broker has it and is slow. */
static void
tell_why(const struct produce *p)
{
    dmq_error error = session_error();
    if (dmq_producer_flush(p->producer, 0, NULL, &error) != DMQ_ERR_TIMEOUT) {
        return; /* it went on just now; what failed says so itself */
    }
    const char *why = strstr(error.message, ": ");
    report_note("waiting: %" PRIu64 " records are not stored yet: %s (it is tried again and again; "
                "Ctrl-C twice gives up)",
                p->sent - p->stored - p->failures,
                why != NULL ? why + 2 : "a broker has not answered yet (see dmq cluster health)");
}

/* Takes what was delivered, and tells whether anything is. */
static void
look(struct produce *p)
{
    int64_t ns;
    take_deliveries(p);
    switch (stall_look(&p->stall, p->sent, p->stored + p->failures, clock_ns(), &ns)) {
    case STALL_NONE:
        break;
    case STALL_BEGAN:
        tell_why(p);
        break;
    case STALL_ENDED:
        if (p->failures == 0) {
            report_note("it goes on, after %.1f s", (double)ns / 1e9);
        }
        break;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
send_line(struct produce *p, const char *data, size_t size)
{
    key_rule_apply(&p->rule, (dmq_bytes){data, size}, &p->record.key, &p->record.value);
    p->record.opaque = p->sent + 1;
    dmq_error error = session_error();
    dmq_err err;
    do { /* a full buffer waits; delivery.timeout.ms bounds that */
        err = dmq_producer_send(p->producer, p->topic, &p->record, STALL_LOOK_MS, &error);
        if (err == DMQ_ERR_BUFFER_FULL) {
            look(p);
        }
    } while ((err == DMQ_ERR_BUFFER_FULL && p->failures == 0 && !stop_requested()) ||
             (err == DMQ_ERR_INTERRUPTED && !stop_requested()));
    if (err == DMQ_OK) {
        p->sent++;
        p->bytes += p->record.value.size;
    } else if (err != DMQ_ERR_INTERRUPTED && err != DMQ_ERR_BUFFER_FULL) {
        fail_line(p, p->sent + 1, error.message, report_exit_code(err));
    }
}

/* False: reading ends here. */
static bool
read_line(struct produce *p, struct lines *lines)
{
    const char *data;
    size_t size;
    switch (lines_next(lines, &data, &size)) {
    case LINES_ONE:
        send_line(p, data, size);
        return !stop_requested() && p->failures == 0;
    case LINES_TOO_LONG:
        fail_line(p, p->sent + 1, "the line is longer than 64 MiB: no record can be", CLI_ERROR);
        return false;
    case LINES_FAILED:
        fail_line(p, p->sent + 1, strerrordesc_np(errno), CLI_ERROR);
        return false;
    case LINES_WAITING:
        return true;
    case LINES_END:
    case LINES_STOPPED:
        return false;
    }
    return false;
}

static void
read_lines(struct produce *p, struct lines *lines)
{
    while (read_line(p, lines)) {
        bool is_waiting = !lines_is_ready(lines);
        if (is_waiting || p->sent % POLL_EVERY == 0) {
            look(p);
            progress_update(p->sent, p->bytes);
        }
        if (p->failures > 0) {
            return;
        }
    }
}

static void
read_source(struct produce *p, const char *name)
{
    bool is_stdin = strcmp(name, "-") == 0;
    p->sources[p->source_count++] =
        (struct source){.name = is_stdin ? "stdin" : name, .first = p->sent + 1};
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        p->failures++;
        p->code = report_failure("cannot open %s: %s", name, strerrordesc_np(errno));
        return;
    }
    struct lines lines;
    if (lines_init(&lines, fd, stop_fd())) {
        lines.wait_ms = STALL_LOOK_MS;
        read_lines(p, &lines);
        lines_deinit(&lines);
    } else {
        p->failures++;
        p->code = report_failure("out of memory");
    }
    if (!is_stdin) {
        close(fd);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Waits for everything in flight, after Ctrl-C too: a second Ctrl-C ends the process. */
static void
flush(struct produce *p)
{
    dmq_error error = session_error();
    dmq_err err;
    do {
        err = dmq_producer_flush(p->producer, STALL_LOOK_MS, NULL, &error);
        look(p);
    } while (err == DMQ_ERR_INTERRUPTED || err == DMQ_ERR_TIMEOUT);
    if (err != DMQ_OK && p->failures == 0) {
        p->failures++;
        p->code = report_error("flush", &error);
    }
}

static void
print_summary(const struct produce *p, int64_t start_ns)
{
    struct out out;
    struct json_out json;
    if (!out_init(&out, STDOUT_FILENO)) {
        return;
    }
    json_out_init(&json, &out);
    json_open(&json, NULL, '{');
    json_text(&json, "topic", p->topic);
    json_int(&json, "records", (int64_t)p->stored);
    json_int(&json, "failed", (int64_t)(p->failures));
    json_int(&json, "bytes", (int64_t)p->bytes);
    json_real(&json, "seconds", (double)(clock_ns() - start_ns) / 1e9, 3);
    json_close(&json, '}');
    out_text(&out, "\n");
    out_flush(&out);
    out_deinit(&out);
}

/* A person who types lines ends them by Ctrl-C or Ctrl-D alike; any other input was cut short. */
static int
exit_code(const struct produce *p)
{
    bool is_typed = p->source_count > 0 && isatty(STDIN_FILENO) &&
                    strcmp(p->sources[p->source_count - 1].name, "stdin") == 0;
    if (p->failures > FAILURES_SHOWN_MAX) {
        report_failure("%" PRIu64 " records failed", p->failures);
    }
    if (p->failures > 0) {
        if (p->stored > 0) {
            report_failure("stored %" PRIu64 " records before that", p->stored);
        }
        return p->stored > 0 ? CLI_PARTIAL : p->code;
    }
    if (stop_requested() && !is_typed) {
        report_failure("interrupted: %" PRIu64 " records are stored, the rest was not read",
                       p->stored);
        return CLI_PARTIAL;
    }
    return CLI_OK;
}

static int
produce_all(struct produce *p)
{
    int64_t start_ns = clock_ns();
    progress_start("sent", true);
    const char *const stdin_only[] = {"-"};
    bool has_files = p->cli->word_count > 1;
    const char *const *names = has_files ? p->cli->words + 1 : stdin_only;
    size_t count = has_files ? p->cli->word_count - 1 : 1;
    for (size_t i = 0; i < count && p->failures == 0 && !stop_requested(); i++) {
        read_source(p, names[i]);
    }
    flush(p);
    progress_clear();
    if (p->cli->json) {
        print_summary(p, start_ns);
    }
    return exit_code(p);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* `text` holds the delimiter without its escapes and lives as long as the rule. */
static int
parse_key_rule(const struct cli *cli, struct key_rule *rule, char *text)
{
    const char *delim = args_value(cli->args, "key-delim");
    if (args_int(cli->args, "key-field", 1, 1000000, &rule->field) != CLI_OK) {
        return CLI_USAGE;
    }
    if (delim == NULL) {
        return CLI_OK;
    }
    size_t size = value_unescape(delim, text);
    if (size == 0 || size == SIZE_MAX) {
        return report_usage("produce", "--key-delim wants some characters (\\t is a tab), not '%s'",
                            delim);
    }
    rule->delim = (dmq_bytes){text, size};
    return CLI_OK;
}

static int
open_and_produce(struct produce *p, dmq_client *client, const dmq_option *options)
{
    int32_t partitions;
    int code = session_partitions(client, p->topic, p->record.partition, &partitions);
    if (code != CLI_OK) {
        return code;
    }
    dmq_error error = session_error();
    if (dmq_producer_open(client, options, 2, &p->producer, &error) != DMQ_OK) {
        return report_error(NULL, &error);
    }
    code = produce_all(p);
    dmq_producer_close(p->producer);
    return code;
}

static int
run_with(struct produce *p, char *delim)
{
    const struct cli *cli = p->cli;
    int64_t partition = DMQ_PARTITION_AUTO;
    dmq_option options[] = {{"acks", "all"}, {"compression.type", "none"}};
    if (parse_key_rule(cli, &p->rule, delim) != CLI_OK ||
        args_int(cli->args, "partition", 0, INT32_MAX, &partition) != CLI_OK ||
        args_choice(cli->args, "acks", "0|1|all", &options[0].value) != CLI_OK ||
        args_choice(cli->args, "compression", "none|lz4|zstd", &options[1].value) != CLI_OK) {
        return CLI_USAGE;
    }
    p->record.partition = (int32_t)partition;
    dmq_client *client;
    int code = session_open(cli, &client);
    if (code == CLI_OK) {
        code = open_and_produce(p, client, options);
        session_close(client);
    }
    return code;
}

static int
run(const struct cli *cli)
{
    const char *delim = args_value(cli->args, "key-delim");
    struct produce p = {.cli = cli, .topic = cli->words[0], .record = {.size = sizeof(dmq_record)}};
    p.sources = calloc(cli->word_count, sizeof(p.sources[0]));
    char *text = malloc(delim != NULL ? strlen(delim) + 1 : 1);
    int code =
        p.sources != NULL && text != NULL ? run_with(&p, text) : report_failure("out of memory");
    free(text);
    free(p.sources);
    return code;
}

static const struct option_spec OPTIONS[] = {
    {"key-delim", "C", "the key stands before the first C in the line, the value behind it"},
    {"key-field", "N", "the key is field N of the line (from 1; separated by C, else by commas)"},
    {"partition", "N", "to this partition (else by key; without a key wherever there is room)"},
    {"acks", "0|1|all", "stored how safely before it counts (all: fsynced where it must be)"},
    {"compression", "none|lz4|zstd", "of the batches (none)"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_PRODUCE = {
    .name = "produce",
    .arguments = "TOPIC [FILE]...",
    .takes_topic = true,
    .summary = "Send the lines of files or of stdin, one record a line",
    .details = "A line may hold any bytes but a newline; an empty line is an empty record. With\n"
               "--key-field the value is the whole line; quotes have no meaning; a line without\n"
               "that field (or, with --key-delim, without the delimiter) has no key.\n"
               "Exits with 0 only when every record was acknowledged. At the first failure it\n"
               "stops reading and names the line; 7: what came before is stored. What cannot be\n"
               "stored at the moment is tried again for two minutes; after a second stderr says\n"
               "why (not with --quiet).\n",
    .examples = "echo hello | dmq produce orders\n"
                "dmq produce orders --key-delim : keyed.txt\n"
                "dmq produce flights --key-field 10 --compression lz4 flights.csv\n"
                "tail -f app.log | dmq produce logs --acks 1\n",
    .options = OPTIONS,
    .min_words = 1,
    .max_words = SIZE_MAX,
    .run = run,
};
