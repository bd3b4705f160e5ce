/* dmq topic config|add-partitions: what can be changed of a topic that is there. */
#include <inttypes.h>
#include <stdio.h>

#include "libdmq/cli/ask.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/value.h"

enum { NAME_BYTES = 256, VALUE_BYTES = 4097, MAX_CHANGES = 64, MOST_PARTITIONS = 100000 };

/* ---- config ---------------------------------------------------------------------------------- */

static void
print_settings(const struct cli *cli, dmq_client *client, struct json answer)
{
    struct json cursor = {0};
    struct json settings = json_member(answer, "settings");
    (void)client;
    if (cli->json) {
        print_json(answer);
        return;
    }
    printf("%-20s %-14s %-8s %-14s %s\n", "NAME", "VALUE", "SET BY", "DEFAULT", "MUST BE");
    for (struct json one; !json_is_none(one = json_next(settings, &cursor, NULL));) {
        char name[NAME_BYTES];
        char value[VALUE_BYTES];
        char standard[VALUE_BYTES];
        char type[NAME_BYTES];
        printf("%-20s %-14s %-8s %-14s %s\n",
               json_to_text(json_member(one, "name"), name, sizeof(name)),
               json_to_text(json_member(one, "value"), value, sizeof(value)),
               json_to_bool(json_member(one, "isDefault")) ? "default" : "topic",
               json_to_text(json_member(one, "defaultValue"), standard, sizeof(standard)),
               json_to_text(json_member(one, "type"), type, sizeof(type)));
    }
}

static void
print_altered(const struct cli *cli, dmq_client *client, struct json topic)
{
    (void)client;
    if (cli->json) {
        print_json(topic);
        return;
    }
    report_note("changed topic %s", cli->words[0]);
}

/* NAME=VALUE sets, NAME= takes away. CLI_OK or CLI_USAGE. */
static int
put_changes(const struct cli *cli, struct request *request)
{
    json_text(&request->json, "topicName", cli->words[0]);
    json_open(&request->json, "config", '{');
    for (size_t i = 1; i < cli->word_count; i++) {
        if (!request_setting(request, cli->words[i], true)) {
            return report_usage("topic config",
                                "topic config wants NAME=VALUE, or NAME= for the default, not '%s'",
                                cli->words[i]);
        }
    }
    json_close(&request->json, '}');
    return CLI_OK;
}

static int
run_config(const struct cli *cli)
{
    struct request request;
    bool changes = cli->word_count > 1;
    int code = CLI_OK;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    if (changes) {
        code = put_changes(cli, &request);
    } else {
        json_text(&request.json, "topicName", cli->words[0]);
    }
    if (code == CLI_OK) {
        code = ask_cluster(cli, changes ? "alter_topic" : "describe_config", request_text(&request),
                           changes ? print_altered : print_settings);
    }
    request_deinit(&request);
    return code;
}

const struct command COMMAND_TOPIC_CONFIG = {
    .name = "topic config",
    .arguments = "NAME [SETTING=VALUE]...",
    .takes_topic = true,
    .summary = "Show the settings of a topic, or change some",
    .details =
        "SETTING=VALUE sets one, SETTING= takes it back to its default; the others stay. All\n"
        "of it is done, or nothing. Changes take effect within moments, without a restart.\n",
    .examples = "dmq topic config orders\n"
                "dmq topic config orders max.message.bytes=4194304 segment.bytes=\n"
                "dmq topic config orders durability=async\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1 + MAX_CHANGES,
    .run = run_config,
};

/* ---- add-partitions -------------------------------------------------------------------------- */

static void
print_grown(const struct cli *cli, dmq_client *client, struct json topic)
{
    (void)client;
    if (cli->json) {
        print_json(topic);
        return;
    }
    report_note("topic %s has %" PRId64 " partitions now", cli->words[0],
                json_to_int(json_member(topic, "partitionCount"), -1));
}

/* How many partitions the topic has, as the cluster has committed. CLI_OK, or the exit code after
 * printing why. */
static int
count_partitions(dmq_client *client, const char *topic, int64_t *ret_count)
{
    struct request request;
    char *answer = NULL;
    dmq_error error = session_error();
    int code = CLI_OK;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    json_open(&request.json, "topicNames", '[');
    json_text(&request.json, NULL, topic);
    json_close(&request.json, ']');
    if (dmq_admin(client, "describe_topics", request_text(&request), ADMIN_TIMEOUT_MS, &answer,
                  &error) == DMQ_OK) {
        struct json cursor = {0};
        struct json topics = json_member(json_root(answer), "topics");
        struct json one = json_next(topics, &cursor, NULL);
        *ret_count = json_to_int(json_member(one, "partitionCount"), 0);
    } else {
        code = report_error(NULL, &error);
    }
    dmq_free(answer);
    request_deinit(&request);
    return code;
}

/* The cluster is asked for a total, so that what is asked for again after a lost answer adds
 * nothing. */
static int
grow(const struct cli *cli, dmq_client *client, int64_t count)
{
    struct request request;
    int64_t have = 0;
    if (!args_has(cli->args, "total")) {
        int code = count_partitions(client, cli->words[0], &have);
        if (code != CLI_OK) {
            return code;
        }
    }
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    json_text(&request.json, "topicName", cli->words[0]);
    json_int(&request.json, "partitionCount", have + count);
    int code = ask_client(cli, client, "create_partitions", request_text(&request), print_grown);
    request_deinit(&request);
    return code;
}

static int
run_add_partitions(const struct cli *cli)
{
    int64_t count;
    dmq_client *client;
    if (!value_int(cli->words[1], &count) || count < 1 || count > MOST_PARTITIONS) {
        return report_usage("topic add-partitions",
                            "add-partitions wants a whole number from 1 to %d, not '%s'",
                            MOST_PARTITIONS, cli->words[1]);
    }
    int code = session_open(cli, &client);
    if (code == CLI_OK) {
        code = grow(cli, client, count);
        session_close(client);
    }
    return code;
}

static const struct option_spec ADD_OPTIONS[] = {
    {"total", NULL, "N is how many there are to be, all in all: may be run twice"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_TOPIC_ADD_PARTITIONS = {
    .name = "topic add-partitions",
    .arguments = "NAME N",
    .takes_topic = true,
    .summary = "Add N partitions to a topic",
    .details =
        "Records stay where they are; from then on a key may lead to another partition than\n"
        "before. A topic never gets fewer partitions.\n",
    .examples = "dmq topic add-partitions orders 3\n"
                "dmq topic add-partitions orders 12 --total\n",
    .options = ADD_OPTIONS,
    .min_words = 2,
    .max_words = 2,
    .run = run_add_partitions,
};
