/* dmq cluster info|brokers|controllers: who is in the cluster, as a broker knows it. */
#include <inttypes.h>
#include <stdio.h>

#include "libdmq/cli/ask.h"
#include "libdmq/cli/report.h"

enum { TEXT_BYTES = 256, LIST_BYTES = 512 };

/* ---- tables ---------------------------------------------------------------------------------- */

/* "127.0.0.1:9501" */
static const char *
address_text(struct json node, char to[TEXT_BYTES])
{
    char host[TEXT_BYTES - 8];
    json_to_text(json_member(node, "host"), host, sizeof(host));
    snprintf(to, TEXT_BYTES, "%s:%" PRId64, host, json_to_int(json_member(node, "port"), 0));
    return to;
}

/* A number, or "-" where there is none (-1). */
static const char *
number_text(struct json value, char to[24])
{
    int64_t number = json_to_int(value, -1);
    snprintf(to, 24, "%" PRId64, number);
    return number < 0 ? "-" : to;
}

static const char *
state_of(struct json broker)
{
    if (!json_to_bool(json_member(broker, "registered"))) {
        return "never came";
    }
    if (json_to_bool(json_member(broker, "shuttingDown"))) {
        return "stopping";
    }
    return json_to_bool(json_member(broker, "fenced")) ? "fenced" : "serving";
}

static void
print_brokers_table(struct json brokers)
{
    struct json cursor = {0};
    printf("%-8s %-22s %-10s %-11s %10s %8s %8s\n", "BROKER", "ADDRESS", "RACK", "STATE",
           "CONTROLLER", "REPLICAS", "LEADS");
    for (struct json one; !json_is_none(one = json_next(brokers, &cursor, NULL));) {
        char address[TEXT_BYTES];
        char rack[TEXT_BYTES];
        char controller[24];
        json_to_text(json_member(one, "rack"), rack, sizeof(rack));
        printf("%-8" PRId64 " %-22s %-10s %-11s %10s %8" PRId64 " %8" PRId64 "\n",
               json_to_int(json_member(one, "id"), -1), address_text(one, address),
               rack[0] != '\0' ? rack : "-", state_of(one),
               number_text(json_member(one, "controller"), controller),
               json_to_int(json_member(one, "replicas"), 0),
               json_to_int(json_member(one, "leaders"), 0));
    }
}

static void
print_controllers_table(struct json controllers)
{
    struct json cursor = {0};
    printf("%-11s %-22s %-6s %s\n", "CONTROLLER", "ADDRESS", "LEADS", "BROKERS THAT ASK IT FIRST");
    for (struct json one; !json_is_none(one = json_next(controllers, &cursor, NULL));) {
        char address[TEXT_BYTES];
        char brokers[LIST_BYTES];
        json_join(json_member(one, "brokers"), brokers, sizeof(brokers));
        printf("%-11" PRId64 " %-22s %-6s %s\n", json_to_int(json_member(one, "id"), -1),
               address_text(one, address), json_to_bool(json_member(one, "leader")) ? "yes" : "no",
               brokers[0] != '\0' ? brokers : "-");
    }
}

/* ---- info ------------------------------------------------------------------------------------ */

static void
print_info(const struct cli *cli, dmq_client *client, struct json cluster)
{
    char text[TEXT_BYTES];
    (void)client;
    if (cli->json) {
        print_json(cluster);
        return;
    }
    printf("%-20s%s\n", "cluster",
           json_to_text(json_member(cluster, "clusterName"), text, sizeof(text)));
    printf("%-20s%s\n", "id", json_to_text(json_member(cluster, "clusterId"), text, sizeof(text)));
    printf("%-20s%" PRId64 "\n", "metadata version",
           json_to_int(json_member(cluster, "version"), -1));
    printf("%-20s%" PRId64 "\n", "topics", json_to_int(json_member(cluster, "topicCount"), -1));
    printf("%-20s%" PRId64 " (%" PRId64 " without a leader, %" PRId64
           " that refuse acks=all, %" PRId64 " that lack replicas in sync)\n\n",
           "partitions", json_to_int(json_member(cluster, "partitionCount"), -1),
           json_to_int(json_member(cluster, "leaderlessCount"), -1),
           json_to_int(json_member(cluster, "belowMinIsrCount"), -1),
           json_to_int(json_member(cluster, "underReplicatedCount"), -1));
    print_controllers_table(json_member(cluster, "controllers"));
    putchar('\n');
    print_brokers_table(json_member(cluster, "brokers"));
}

static int
run_info(const struct cli *cli)
{
    return ask_cluster(cli, "describe_cluster", NULL, print_info);
}

const struct command COMMAND_CLUSTER_INFO = {
    .name = "cluster info",
    .arguments = "",
    .summary = "Show the nodes of the cluster, who asks whom, and how many partitions there are",
    .examples = "dmq cluster info\n"
                "dmq cluster info --json\n",
    .options = NO_OPTIONS,
    .run = run_info,
};

/* ---- brokers, controllers -------------------------------------------------------------------- */

/* One list of the answer, as an object with that name. */
static void
print_list(const char *name, struct json list)
{
    printf("{\"%s\":%.*s}\n", name, (int)(list.end - list.at), list.at);
}

static void
print_brokers(const struct cli *cli, dmq_client *client, struct json cluster)
{
    struct json brokers = json_member(cluster, "brokers");
    (void)client;
    if (cli->json) {
        print_list("brokers", brokers);
    } else {
        print_brokers_table(brokers);
    }
}

static int
run_brokers(const struct cli *cli)
{
    return ask_cluster(cli, "describe_cluster", NULL, print_brokers);
}

const struct command COMMAND_CLUSTER_BROKERS = {
    .name = "cluster brokers",
    .arguments = "",
    .summary = "List the brokers: state, rack, replicas, and which controller each asks first",
    .examples = "dmq cluster brokers\n"
                "dmq cluster brokers --json\n",
    .options = NO_OPTIONS,
    .run = run_brokers,
};

static void
print_controllers(const struct cli *cli, dmq_client *client, struct json cluster)
{
    struct json controllers = json_member(cluster, "controllers");
    (void)client;
    if (cli->json) {
        print_list("controllers", controllers);
    } else {
        print_controllers_table(controllers);
    }
}

static int
run_controllers(const struct cli *cli)
{
    return ask_cluster(cli, "describe_cluster", NULL, print_controllers);
}

const struct command COMMAND_CLUSTER_CONTROLLERS = {
    .name = "cluster controllers",
    .arguments = "",
    .summary = "List the controllers and the brokers that ask each of them first",
    .details = "How far each of them is, and whether it votes, tells 'dmq quorum status'.\n",
    .examples = "dmq cluster controllers\n"
                "dmq cluster controllers --json\n",
    .options = NO_OPTIONS,
    .run = run_controllers,
};
