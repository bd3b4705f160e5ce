/* dmq health: whether a cluster answers; with --ready, whether every partition can be written and
 * read: a controller leads, it answers, and each partition has a leader. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libdmq/cli/command.h"
#include "libdmq/cli/http_get.h"
#include "libdmq/cli/json_out.h"
#include "libdmq/cli/json_read.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"

struct health {
    int64_t controller; /* id of the leading one; -1: none is known */
    size_t brokers;     /* registered */
    size_t live;        /* of them: not fenced */
    bool is_described;  /* the controller answered about the topics */
    size_t partitions;
    size_t leaderless; /* of them: nobody serves it */
};

static void
count_brokers(struct health *h, struct json cluster)
{
    struct json brokers = json_member(cluster, "brokers");
    struct json cursor = {0};
    h->controller = json_to_int(json_member(cluster, "controllerId"), -1);
    for (struct json broker; !json_is_none(broker = json_next(brokers, &cursor, NULL));) {
        char fenced[8];
        json_to_text(json_member(broker, "fenced"), fenced, sizeof(fenced));
        h->brokers++;
        h->live += strcmp(fenced, "true") != 0 ? 1 : 0;
    }
}

static void
count_partitions(struct health *h, struct json topics)
{
    struct json topic_cursor = {0};
    for (struct json topic; !json_is_none(topic = json_next(topics, &topic_cursor, NULL));) {
        struct json partitions = json_member(topic, "partitions");
        struct json cursor = {0};
        for (struct json item; !json_is_none(item = json_next(partitions, &cursor, NULL));) {
            h->partitions++;
            h->leaderless += json_to_int(json_member(item, "leader"), -1) < 0 ? 1 : 0;
        }
    }
}

/* CLI_OK, or the exit code after printing why: the broker that was reached does not answer. */
static int
ask(dmq_client *client, struct health *h)
{
    char *answer = NULL;
    dmq_error error = session_error();
    if (dmq_admin(client, "metadata", NULL, CONNECT_TIMEOUT_MS, &answer, &error) != DMQ_OK) {
        report_error(NULL, &error);
        return CLI_UNHEALTHY;
    }
    count_brokers(h, json_root(answer));
    dmq_free(answer);
    answer = NULL;
    if (dmq_admin(client, "describe_topics", NULL, CONNECT_TIMEOUT_MS, &answer, NULL) == DMQ_OK) {
        h->is_described = true;
        count_partitions(h, json_member(json_root(answer), "topics"));
    }
    dmq_free(answer);
    return CLI_OK;
}

static bool
is_ready(const struct health *h)
{
    return h->controller >= 0 && h->live > 0 && h->is_described && h->leaderless == 0;
}

static void
print_health(const struct health *h)
{
    printf("%s: controller %s, brokers %zu of %zu, partitions %zu of %zu\n",
           is_ready(h) ? "ready" : "not ready",
           h->controller >= 0 && h->is_described ? "answers" : "does not answer", h->live,
           h->brokers, h->partitions - h->leaderless, h->partitions);
}

static int
print_health_json(const struct health *h)
{
    struct out out;
    struct json_out json;
    if (!out_init(&out, STDOUT_FILENO)) {
        return report_failure("out of memory");
    }
    json_out_init(&json, &out);
    json_open(&json, NULL, '{');
    json_bool(&json, "ready", is_ready(h));
    json_int(&json, "controller", h->controller);
    json_int(&json, "brokers", (int64_t)h->brokers);
    json_int(&json, "liveBrokers", (int64_t)h->live);
    json_int(&json, "partitions", (int64_t)h->partitions);
    json_int(&json, "leaderlessPartitions", (int64_t)h->leaderless);
    json_close(&json, '}');
    out_text(&out, "\n");
    bool is_written = out_flush(&out);
    out_deinit(&out);
    return is_written ? CLI_OK : report_failure("cannot write to stdout");
}

/* One node, asked by HTTP: a controller is no door for clients, and can be asked in no other way.
 */
static int
ask_node(const struct cli *cli, const char *address)
{
    char text[HTTP_TEXT_BYTES];
    int status;
    bool is_ready_asked = args_has(cli->args, "ready");
    int code = http_get(address, is_ready_asked ? "/health/ready" : "/health/live", &status, text);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->json) {
        printf("{\"%s\":%s}\n", is_ready_asked ? "ready" : "live",
               status == 200 ? "true" : "false");
    } else {
        printf("%s%s\n", status == 200 ? "" : "not ready: ", text);
    }
    return status == 200 ? CLI_OK : CLI_UNHEALTHY;
}

static int
run(const struct cli *cli)
{
    const char *address = args_value(cli->args, "http");
    if (address != NULL) {
        return ask_node(cli, address);
    }
    struct health h = {.controller = -1};
    dmq_client *client;
    int code = session_open(cli, &client);
    if (code != CLI_OK) {
        return code;
    }
    code = ask(client, &h);
    session_close(client);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->json) {
        code = print_health_json(&h);
    } else {
        print_health(&h);
    }
    if (code == CLI_OK && args_has(cli->args, "ready") && !is_ready(&h)) {
        code = CLI_UNHEALTHY;
    }
    return code;
}

static const struct option_spec OPTIONS[] = {
    {"ready", NULL, "exit 10 unless every partition can be written and read"},
    {"http", "HOST:PORT", "ask this node alone, a controller or a broker, at its httpPort"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_HEALTH = {
    .name = "health",
    .arguments = "",
    .summary = "Tell whether the cluster answers, and whether it is ready",
    .examples = "dmq health\n"
                "dmq health --ready >/dev/null && echo up\n"
                "dmq health --ready --http 127.0.0.1:8080\n",
    .options = OPTIONS,
    .run = run,
};
