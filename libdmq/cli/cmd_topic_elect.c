/* dmq topic elect: leaders by command. */
#include <inttypes.h>
#include <stdio.h>

#include "libdmq/cli/ask.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"

enum { NAME_BYTES = 256, TEXT_BYTES = 513 };

/* What the answer comes to; print_answer returns nothing. */
static int outcome;

/* ---- the answer ------------------------------------------------------------------------------ */

static void
print_partition(struct json row)
{
    char topic[NAME_BYTES];
    char text[TEXT_BYTES];
    char leader[24];
    bool failed = json_to_int(json_member(row, "error"), 0) != 0;
    int64_t id = json_to_int(json_member(row, "leader"), -1);
    snprintf(leader, sizeof(leader), "%" PRId64, id);
    printf("%-32s %10" PRId64 " %8s %8" PRId64 "  %s\n",
           json_to_text(json_member(row, "topicName"), topic, sizeof(topic)),
           json_to_int(json_member(row, "partition"), -1), id < 0 ? "none" : leader,
           json_to_int(json_member(row, "leaderEpoch"), -1),
           failed                                      ? "failed"
           : json_to_bool(json_member(row, "unclean")) ? "elected, records may be lost"
                                                       : "elected");
    json_to_text(json_member(row, "message"), text, sizeof(text));
    if (text[0] != '\0') {
        report_failure("%s-%" PRId64 ": %s", topic, json_to_int(json_member(row, "partition"), -1),
                       text);
    }
}

static void
print_elected(const struct cli *cli, dmq_client *client, struct json answer)
{
    struct json cursor = {0};
    struct json rows = json_member(answer, "partitions");
    int64_t elected = json_to_int(json_member(answer, "electedCount"), 0);
    int64_t failed = json_to_int(json_member(answer, "failedCount"), 0);
    int64_t left = json_to_int(json_member(answer, "leftCount"), 0);
    (void)client;
    outcome = failed == 0 && left == 0 ? CLI_OK : elected > 0 ? CLI_PARTIAL : CLI_ERROR;
    if (cli->json) {
        print_json(answer);
        return;
    }
    if (json_count(rows) > 0) {
        printf("%-32s %10s %8s %8s  %s\n", "TOPIC", "PARTITION", "LEADER", "EPOCH", "OUTCOME");
    }
    for (struct json row; !json_is_none(row = json_next(rows, &cursor, NULL));) {
        print_partition(row);
    }
    report_note("%" PRId64 " elected, %" PRId64 " had their leader already, %" PRId64 " failed",
                elected, json_to_int(json_member(answer, "notNeededCount"), 0), failed);
    if (left > 0) {
        report_note("%" PRId64 " partitions are left: run it again", left);
    }
}

/* ---- the question ---------------------------------------------------------------------------- */

static const char COMMAND[] = "topic elect";

static int
check_unclean(const struct cli *cli)
{
    bool unclean = args_has(cli->args, "unclean");
    if (unclean && args_has(cli->args, "all")) {
        return report_usage(COMMAND, "--unclean wants one topic, for it loses records");
    }
    if (unclean && !args_has(cli->args, "yes-lose-data")) {
        return report_usage(
            COMMAND, "--unclean loses acknowledged records for good: those that only replicas hold "
                     "which are gone now, also if they come back. If starting these is no way out "
                     "any more, add --yes-lose-data");
    }
    if (!unclean && (args_has(cli->args, "yes-lose-data") || args_has(cli->args, "broker"))) {
        return report_usage(COMMAND, "--yes-lose-data and --broker belong to --unclean");
    }
    return CLI_OK;
}

static int
put_election(const struct cli *cli, struct json_out *json)
{
    int64_t partition = -1;
    int64_t broker = -1;
    bool all = args_has(cli->args, "all");
    if (all == (cli->word_count > 0)) {
        return report_usage(COMMAND, "topic elect wants the name of a topic, or --all");
    }
    if (all && args_has(cli->args, "partition")) {
        return report_usage(COMMAND, "--partition wants the name of a topic");
    }
    int code = check_unclean(cli);
    if (code == CLI_OK) {
        code = args_int(cli->args, "partition", 0, INT32_MAX, &partition);
    }
    if (code == CLI_OK) {
        code = args_int(cli->args, "broker", 0, INT32_MAX, &broker);
    }
    if (code != CLI_OK) {
        return code;
    }
    if (all) {
        json_bool(json, "allTopics", true);
    } else {
        json_text(json, "topicName", cli->words[0]);
    }
    json_int(json, "partition", partition);
    if (args_has(cli->args, "unclean")) {
        json_bool(json, "unclean", true);
        json_bool(json, "acceptDataLoss", true);
        json_int(json, "brokerId", broker);
    }
    return CLI_OK;
}

static int
run_elect(const struct cli *cli)
{
    struct request request;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    outcome = CLI_OK;
    int code = put_election(cli, &request.json);
    if (code == CLI_OK) {
        code = ask_cluster(cli, "elect_leaders", request_text(&request), print_elected);
    }
    request_deinit(&request);
    return code == CLI_OK ? outcome : code;
}

static const struct option_spec OPTIONS[] = {
    {"partition", "N", "this one only"},
    {"all", NULL, "every partition of every topic"},
    {"unclean", NULL, "give what has no leader one that was not in sync: LOSES RECORDS"},
    {"yes-lose-data", NULL, "with --unclean: that is accepted"},
    {"broker", "ID", "with --unclean: the replica that is to lead (the first that is live)"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_TOPIC_ELECT = {
    .name = "topic elect",
    .arguments = "NAME | --all",
    .takes_topic = true,
    .summary = "Give partitions the leader that they prefer, or any leader at all",
    .details =
        "Without --unclean: the first of its replicas leads each partition, if it is in sync.\n"
        "Nothing is lost. The controllers do so by themselves every few minutes\n"
        "(auto.leader.rebalance.enable).\n"
        "\n"
        "With --unclean: a partition without a leader, because all replicas that were in sync are\n"
        "gone, is led by one that was not. Acknowledged records that it lacks are lost for good:\n"
        "replicas that come back later are cut to what it has. Prefer to start one of the brokers\n"
        "that were in sync last ('dmq cluster health' names the partition).\n",
    .examples = "dmq topic elect orders\n"
                "dmq topic elect orders --partition 0\n"
                "dmq topic elect --all\n"
                "dmq topic elect orders --partition 0 --unclean --yes-lose-data\n"
                "dmq topic elect orders --unclean --yes-lose-data --broker 103\n",
    .options = OPTIONS,
    .max_words = 1,
    .run = run_elect,
};
