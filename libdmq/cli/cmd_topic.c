/* dmq topic create|list|describe|delete. Answers come as the JSON of the REST interface: --json
 * prints them as they are (describe adds the ends of partitions), a person gets a table. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libdmq/cli/ask.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"

enum { NAME_BYTES = 256, VALUE_BYTES = 4097 };

/* ---- create ---------------------------------------------------------------------------------- */

/* `--config k=v`... as a member. CLI_OK or CLI_USAGE. */
static int
put_config(const struct cli *cli, struct request *request)
{
    size_t cursor = 0;
    json_open(&request->json, "config", '{');
    for (const char *pair; (pair = args_each(cli->args, "config", &cursor)) != NULL;) {
        if (!request_setting(request, pair, false)) {
            return report_usage("topic create", "--config wants NAME=VALUE, not '%s'", pair);
        }
    }
    json_close(&request->json, '}');
    return CLI_OK;
}

/* What is asked for. CLI_OK or CLI_USAGE. */
static int
put_topic(const struct cli *cli, struct request *request)
{
    int64_t partitions = -1;
    int64_t factor = -1;
    if (args_int(cli->args, "partitions", 1, 100000, &partitions) != CLI_OK ||
        args_int(cli->args, "replication-factor", 1, 64, &factor) != CLI_OK) {
        return CLI_USAGE;
    }
    json_text(&request->json, "topicName", cli->words[0]);
    json_int(&request->json, "partitionCount", partitions);
    json_int(&request->json, "replicationFactor", factor);
    return put_config(cli, request);
}

static void
print_created(const struct cli *cli, dmq_client *client, struct json topic)
{
    (void)client;
    if (cli->json) {
        print_json(topic);
        return;
    }
    report_note("created topic %s: partitions %" PRId64 ", replication factor %" PRId64,
                cli->words[0], json_to_int(json_member(topic, "partitionCount"), -1),
                json_to_int(json_member(topic, "replicationFactor"), -1));
}

static int
run_create(const struct cli *cli)
{
    struct request request;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    int code = put_topic(cli, &request);
    if (code == CLI_OK) {
        code = ask_cluster(cli, "create_topic", request_text(&request), print_created);
    }
    request_deinit(&request);
    return code;
}

static const struct option_spec CREATE_OPTIONS[] = {
    {"partitions", "N", "how many (1)"},
    {"replication-factor", "R", "replicas of each (3, or as many brokers as live)"},
    {"config", "NAME=VALUE", "a setting of the topic; may be repeated"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_TOPIC_CREATE = {
    .name = "topic create",
    .arguments = "NAME",
    .takes_topic = true,
    .summary = "Create a topic",
    .details = "Settings have Kafka's names (max.message.bytes, segment.bytes, ...), besides\n"
               "durability=sync (the default: fsynced before it is acknowledged) or async.\n",
    .examples = "dmq topic create orders\n"
                "dmq topic create orders --partitions 3 --config max.message.bytes=4194304\n"
                "dmq topic create metrics --config durability=async\n",
    .options = CREATE_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_create,
};

/* ---- list ------------------------------------------------------------------------------------ */

static void
print_list(const struct cli *cli, dmq_client *client, struct json answer)
{
    (void)client;
    if (cli->json) {
        print_json(answer);
        return;
    }
    struct json topics = json_member(answer, "topics");
    struct json cursor = {0};
    printf("%-32s %10s %8s\n", "NAME", "PARTITIONS", "REPLICAS");
    for (struct json topic; !json_is_none(topic = json_next(topics, &cursor, NULL));) {
        char name[NAME_BYTES];
        printf("%-32s %10" PRId64 " %8" PRId64 "\n",
               json_to_text(json_member(topic, "topicName"), name, sizeof(name)),
               json_to_int(json_member(topic, "partitionCount"), -1),
               json_to_int(json_member(topic, "replicationFactor"), -1));
    }
}

static int
run_list(const struct cli *cli)
{
    return ask_cluster(cli, "describe_topics", NULL, print_list);
}

const struct command COMMAND_TOPIC_LIST = {
    .name = "topic list",
    .arguments = "",
    .summary = "List the topics",
    .examples = "dmq topic list\n"
                "dmq topic list --json\n",
    .options = NO_OPTIONS,
    .run = run_list,
};

/* ---- describe -------------------------------------------------------------------------------- */

/* An offset as text; "?" if the partition's leader did not tell. */
static const char *
offset_text(dmq_client *client, const char *topic, int32_t partition, int64_t which, char to[24])
{
    int64_t offset;
    if (dmq_topic_offset(client, topic, partition, which, 0, CONNECT_TIMEOUT_MS, &offset, NULL) !=
        DMQ_OK) {
        return "?";
    }
    snprintf(to, 24, "%" PRId64, offset);
    return to;
}

static void
print_partitions(dmq_client *client, const char *topic, struct json partitions)
{
    printf("%-10s %6s %6s %10s %10s %12s %12s\n", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR",
           "START", "END");
    struct json cursor = {0};
    for (struct json item; !json_is_none(item = json_next(partitions, &cursor, NULL));) {
        char replicas[64];
        char isr[64];
        char start[24];
        char end[24];
        int32_t partition = (int32_t)json_to_int(json_member(item, "partition"), -1);
        printf("%-10d %6" PRId64 " %6" PRId64 " %10s %10s %12s %12s\n", partition,
               json_to_int(json_member(item, "leader"), -1),
               json_to_int(json_member(item, "leaderEpoch"), -1),
               json_join(json_member(item, "replicas"), replicas, sizeof(replicas)),
               json_join(json_member(item, "isr"), isr, sizeof(isr)),
               offset_text(client, topic, partition, DMQ_OFFSET_START, start),
               offset_text(client, topic, partition, DMQ_OFFSET_END, end));
    }
}

static void
print_topic(dmq_client *client, struct json topic)
{
    char name[NAME_BYTES];
    char text[VALUE_BYTES];
    printf("%-20s%s\n", "name", json_to_text(json_member(topic, "topicName"), name, sizeof(name)));
    printf("%-20s%s\n", "id", json_to_text(json_member(topic, "topicId"), text, sizeof(text)));
    printf("%-20s%" PRId64 "\n", "partitions",
           json_to_int(json_member(topic, "partitionCount"), -1));
    printf("%-20s%" PRId64 "\n", "replication factor",
           json_to_int(json_member(topic, "replicationFactor"), -1));
    struct json cursor = {0};
    struct json setting = {0};
    struct json config = json_member(topic, "config");
    for (struct json value; !json_is_none(value = json_next(config, &cursor, &setting));) {
        char setting_name[NAME_BYTES];
        printf("%-20s%s=%s\n", "config", json_to_text(setting, setting_name, sizeof(setting_name)),
               json_to_text(value, text, sizeof(text)));
    }
    putchar('\n');
    print_partitions(client, name, json_member(topic, "partitions"));
}

/* null if the partition's leader did not tell. */
static void
print_offset_json(dmq_client *client, const char *topic, int32_t partition, int64_t which,
                  const char *name)
{
    char text[24];
    const char *offset = offset_text(client, topic, partition, which, text);
    printf(",\"%s\":%s", name, strcmp(offset, "?") == 0 ? "null" : offset);
}

/* As the cluster described it, and each partition's ends, which only its leader knows. */
static void
print_topic_json(dmq_client *client, struct json topic)
{
    char name[NAME_BYTES];
    struct json cursor = {0};
    struct json partitions = json_member(topic, "partitions");
    bool first = true;
    if (json_is_none(partitions)) {
        print_json(topic);
        return;
    }
    json_to_text(json_member(topic, "topicName"), name, sizeof(name));
    printf("%.*s[", (int)(partitions.at - topic.at), topic.at);
    for (struct json item; !json_is_none(item = json_next(partitions, &cursor, NULL));) {
        int32_t partition = (int32_t)json_to_int(json_member(item, "partition"), -1);
        printf("%s%.*s", first ? "" : ",", (int)(item.end - item.at - 1), item.at);
        print_offset_json(client, name, partition, DMQ_OFFSET_START, "logStartOffset");
        print_offset_json(client, name, partition, DMQ_OFFSET_END, "highWatermark");
        putchar('}');
        first = false;
    }
    printf("]%.*s\n", (int)(topic.end - partitions.end), partitions.end);
}

static void
print_described(const struct cli *cli, dmq_client *client, struct json answer)
{
    struct json cursor = {0};
    struct json topic = json_next(json_member(answer, "topics"), &cursor, NULL);
    if (cli->json) {
        print_topic_json(client, topic);
    } else {
        print_topic(client, topic);
    }
}

static int
run_describe(const struct cli *cli)
{
    struct request request;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    json_open(&request.json, "topicNames", '[');
    json_text(&request.json, NULL, cli->words[0]);
    json_close(&request.json, ']');
    int code = ask_cluster(cli, "describe_topics", request_text(&request), print_described);
    request_deinit(&request);
    return code;
}

const struct command COMMAND_TOPIC_DESCRIBE = {
    .name = "topic describe",
    .arguments = "NAME",
    .takes_topic = true,
    .summary = "Show a topic, its settings and its partitions",
    .examples = "dmq topic describe orders\n"
                "dmq topic describe orders --json\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_describe,
};

/* ---- delete ---------------------------------------------------------------------------------- */

static void
print_deleted(const struct cli *cli, dmq_client *client, struct json answer)
{
    (void)client;
    if (cli->json) {
        print_json(answer);
        return;
    }
    report_note("deleted topic %s", cli->words[0]);
}

static int
run_delete(const struct cli *cli)
{
    struct request request;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    json_text(&request.json, "topicName", cli->words[0]);
    int code = ask_cluster(cli, "delete_topic", request_text(&request), print_deleted);
    request_deinit(&request);
    return code;
}

const struct command COMMAND_TOPIC_DELETE = {
    .name = "topic delete",
    .arguments = "NAME",
    .takes_topic = true,
    .summary = "Delete a topic and its records",
    .examples = "dmq topic delete orders\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_delete,
};
