/* dmq consume: prints the records of a topic.
 *
 * With --exit-at-end the end is what it was when the command began: it ends even while somebody
 * writes on. A partition is finished when the next record that fetch would give stands at or behind
 * its end; records behind it that come along are not printed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dmq/dmq.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/command.h"
#include "libdmq/cli/format.h"
#include "libdmq/cli/json_out.h"
#include "libdmq/cli/progress.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/stop.h"
#include "libdmq/cli/value.h"

enum { HEADERS_MAX = 256 };

struct consume {
    const struct cli *cli;
    dmq_client *client;
    dmq_consumer *consumer;
    const char *topic;
    int32_t first_partition; /* they are first..first+count-1 */
    int32_t partition_count;
    int64_t *ends; /* per partition, with --exit-at-end: INT64_MIN once it is finished */
    int32_t unfinished;
    bool exit_at_end;
    uint64_t wanted; /* 0: all */
    uint64_t printed;
    uint64_t bytes;
    struct format format;
    dmq_header *headers; /* HEADERS_MAX, reused */
    struct out out;
};

/* ---- one record ------------------------------------------------------------------------------ */

static void
put_headers(struct json_out *json, const struct format_record *record)
{
    json_open(json, "headers", '{');
    for (size_t i = 0; i < record->header_count; i++) {
        const dmq_header *header = &record->headers[i];
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)header->key.size, (const char *)header->key.data);
        if (header->value.data == NULL) {
            json_null(json, name);
        } else {
            json_base64(json, name, header->value.data, header->value.size);
        }
    }
    json_close(json, '}');
}

/* One object a line with the names of the REST interface: values are base64, and keyBase64 stands
 * for key where that is not UTF-8. */
static void
print_json(const struct format_record *record, struct out *out)
{
    const dmq_message *m = record->message;
    struct json_out json;
    json_out_init(&json, out);
    json_open(&json, NULL, '{');
    json_text(&json, "topic", record->topic);
    json_int(&json, "partition", record->partition);
    json_int(&json, "offset", m->offset);
    json_int(&json, "timestamp", m->timestamp);
    if (m->key.data == NULL) {
        json_null(&json, "key");
    } else if (json_is_utf8(m->key.data, m->key.size)) {
        json_utf8(&json, "key", m->key.data, m->key.size);
    } else {
        json_base64(&json, "keyBase64", m->key.data, m->key.size);
    }
    if (m->value.data == NULL) {
        json_null(&json, "value");
    } else {
        json_base64(&json, "value", m->value.data, m->value.size);
    }
    put_headers(&json, record);
    json_close(&json, '}');
    out_text(out, "\n");
}

static void
print_record(struct consume *c, const dmq_batch *batch, const dmq_message *message)
{
    struct format_record record = {.topic = c->topic,
                                   .partition = dmq_batch_partition(batch),
                                   .message = message,
                                   .headers = c->headers};
    if (message->header_count > 0 && c->headers != NULL) {
        record.header_count = dmq_batch_headers(batch, message->position, c->headers,
                                                sizeof(c->headers[0]), HEADERS_MAX);
    }
    if (c->cli->json) {
        print_json(&record, &c->out);
    } else {
        format_write(&c->format, &record, &c->out);
    }
    c->printed++;
    c->bytes += message->value.size;
}

/* ---- batches --------------------------------------------------------------------------------- */

static void
check_end(struct consume *c, int32_t partition)
{
    int64_t *end = &c->ends[partition - c->first_partition];
    int64_t position;
    if (*end != INT64_MIN &&
        dmq_consumer_position(c->consumer, c->topic, partition, &position, NULL) == DMQ_OK &&
        position >= *end) {
        *end = INT64_MIN;
        c->unfinished--;
    }
}

static bool
is_finished(const struct consume *c)
{
    return (c->wanted > 0 && c->printed >= c->wanted) || (c->exit_at_end && c->unfinished == 0);
}

static void
print_batch(struct consume *c, const dmq_batch *batch)
{
    int32_t partition = dmq_batch_partition(batch);
    int64_t end = c->exit_at_end ? c->ends[partition - c->first_partition] : INT64_MAX;
    size_t stride;
    const char *at = (const char *)dmq_batch_messages(batch, &stride);
    size_t count = dmq_batch_count(batch);
    for (size_t i = 0; i < count && (c->wanted == 0 || c->printed < c->wanted); i++) {
        const dmq_message *message = (const dmq_message *)(const void *)(at + i * stride);
        if (message->offset >= end) {
            break;
        }
        print_record(c, batch, message);
    }
    if (c->exit_at_end) {
        check_end(c, partition);
    }
}

static int
write_failed(const struct consume *c)
{
    return report_failure("cannot write to stdout: %s", strerrordesc_np(c->out.error));
}

/* The end of an interrupted run: fine, unless something definite had been asked for. */
static int
interrupted(const struct consume *c)
{
    if (c->wanted == 0 && !c->exit_at_end) {
        return CLI_OK;
    }
    report_failure("interrupted after %" PRIu64 " records", c->printed);
    return CLI_PARTIAL;
}

static int
read_batches(struct consume *c)
{
    progress_start("read", !isatty(STDOUT_FILENO));
    while (!is_finished(c)) {
        if (stop_requested()) {
            return interrupted(c);
        }
        dmq_batch *batch;
        dmq_error error = session_error();
        dmq_err err = dmq_consumer_fetch(c->consumer, -1, &batch, &error);
        if (err == DMQ_ERR_INTERRUPTED || err == DMQ_ERR_TIMEOUT) {
            continue;
        }
        if (err != DMQ_OK) {
            report_error(NULL, &error);
            return c->printed > 0 ? CLI_PARTIAL : report_exit_code(err);
        }
        print_batch(c, batch);
        dmq_batch_unref(batch);
        if (!out_flush(&c->out)) {
            return write_failed(c);
        }
        progress_update(c->printed, c->bytes);
    }
    return CLI_OK;
}

/* ---- where to begin and to end --------------------------------------------------------------- */

static int
look_up_ends(struct consume *c)
{
    c->ends = calloc((size_t)c->partition_count, sizeof(c->ends[0]));
    if (c->ends == NULL) {
        return report_failure("out of memory");
    }
    for (int32_t i = 0; i < c->partition_count; i++) {
        dmq_error error = session_error();
        if (dmq_topic_offset(c->client, c->topic, c->first_partition + i, DMQ_OFFSET_END, 0,
                             ADMIN_TIMEOUT_MS, &c->ends[i], &error) != DMQ_OK) {
            return report_error(NULL, &error);
        }
    }
    c->unfinished = c->partition_count;
    return CLI_OK;
}

static int
assign(struct consume *c, int64_t offset, int64_t timestamp)
{
    size_t count = (size_t)c->partition_count;
    dmq_assignment *assignments = calloc(count, sizeof(assignments[0]));
    if (assignments == NULL) {
        return report_failure("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        assignments[i] = (dmq_assignment){.size = sizeof(assignments[i]),
                                          .partition = c->first_partition + (int32_t)i,
                                          .topic = c->topic,
                                          .offset = offset,
                                          .timestamp = timestamp};
    }
    dmq_error error = session_error();
    dmq_err err = dmq_consumer_assign(c->consumer, assignments, sizeof(assignments[0]), count,
                                      ADMIN_TIMEOUT_MS, &error);
    free(assignments);
    return err == DMQ_OK ? CLI_OK : report_error(NULL, &error);
}

static int
consume_from(struct consume *c, int64_t offset, int64_t timestamp)
{
    int code = c->exit_at_end ? look_up_ends(c) : CLI_OK;
    if (code == CLI_OK) {
        code = assign(c, offset, timestamp);
    }
    if (code != CLI_OK) {
        return code;
    }
    for (int32_t i = 0; i < c->partition_count && c->exit_at_end; i++) {
        check_end(c, c->first_partition + i); /* what is empty is finished */
    }
    return read_batches(c);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int
open_and_consume(struct consume *c, int64_t partition, int64_t offset, int64_t timestamp)
{
    int code = session_partitions(c->client, c->topic, partition, &c->partition_count);
    if (code != CLI_OK) {
        return code;
    }
    if (partition >= 0) {
        c->first_partition = (int32_t)partition;
        c->partition_count = 1;
    }
    dmq_error error = session_error();
    if (dmq_consumer_open(c->client, NULL, 0, &c->consumer, &error) != DMQ_OK) {
        return report_error(NULL, &error);
    }
    code = consume_from(c, offset, timestamp);
    progress_clear();
    dmq_consumer_close(c->consumer);
    return code;
}

/* The options are right; this is where the network begins. */
static int
run_with(struct consume *c, int64_t partition, int64_t offset, int64_t timestamp)
{
    bool wants_headers = c->cli->json || format_wants_headers(&c->format);
    c->headers = wants_headers ? calloc(HEADERS_MAX, sizeof(c->headers[0])) : NULL;
    if (!out_init(&c->out, STDOUT_FILENO) || (wants_headers && c->headers == NULL)) {
        return report_failure("out of memory");
    }
    int code = session_open(c->cli, &c->client);
    if (code == CLI_OK) {
        code = open_and_consume(c, partition, offset, timestamp);
        session_close(c->client);
    }
    free(c->ends);
    free(c->headers);
    out_deinit(&c->out);
    return code;
}

static int
run(const struct cli *cli)
{
    struct consume c = {
        .cli = cli, .topic = cli->words[0], .exit_at_end = args_has(cli->args, "exit-at-end")};
    int64_t partition = -1;
    int64_t count = 0;
    int64_t offset = DMQ_OFFSET_START;
    int64_t timestamp = 0;
    if (args_int(cli->args, "partition", 0, INT32_MAX, &partition) != CLI_OK ||
        args_int(cli->args, "count", 1, INT64_MAX, &count) != CLI_OK) {
        return CLI_USAGE;
    }
    c.wanted = (uint64_t)count;
    const char *from = args_value(cli->args, "from");
    if (from != NULL && !value_position(from, clock_date_ms(), &offset, &timestamp)) {
        return report_usage("consume",
                            "--from wants start, end, an offset, a time ago (-1h, -90s) or a time "
                            "(2013-01-01T10:00:00Z, @<ms since 1970>), not '%s'",
                            from);
    }
    const char *spec = args_value(cli->args, "format");
    const char *reason;
    if (!format_init(&c.format, spec != NULL ? spec : "%s\\n", &reason)) {
        return report_usage("consume", "--format '%s': %s", spec, reason);
    }
    int code = run_with(&c, partition, offset, timestamp);
    format_deinit(&c.format);
    return code;
}

static const struct option_spec OPTIONS[] = {
    {"from", "WHERE", "start (the default), end, OFFSET, -1h, 2013-01-01T10:00:00Z, @MS"},
    {"partition", "N", "this partition only"},
    {"count", "N", "end after so many records"},
    {"exit-at-end", NULL, "end at what is the end when the command begins"},
    {"format", "FORMAT", "how a record is printed ('%s\\n')"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_CONSUME = {
    .name = "consume",
    .arguments = "TOPIC",
    .takes_topic = true,
    .summary = "Print the records of a topic",
    .details =
        "FORMAT: %t topic, %p partition, %o offset, %T timestamp (ms since 1970), %k key,\n"
        "%s value, %h headers, %K and %S sizes of key and value (-1: null), %% percent,\n"
        "\\t \\n \\r \\0 \\\\ \\xHH. With --json a line is an object: topic, partition, offset,\n"
        "timestamp, key (keyBase64 where it is not UTF-8), value and header values in "
        "base64.\n"
        "Runs until Ctrl-C without --count or --exit-at-end. A time without a zone is UTC.\n",
    .examples = "dmq consume orders\n"
                "dmq consume orders --exit-at-end --format '%p %o %k %s\\n'\n"
                "dmq consume orders --from -1h --count 10\n"
                "dmq consume orders --from end --json\n",
    .options = OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
