/* dmq cluster health: what is wrong with the cluster, a sentence for each thing. What a broker
 * knows (nodes, partitions) is asked for first, then what only the leading controller knows: that
 * it does not answer is itself something wrong. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "libdmq/cli/ask.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"

enum {
    MAX_PROBLEMS = 64,
    PROBLEM_BYTES = 1600,
    NAMES_BYTES = 1500,
    TEXT_BYTES = 256,
    MAX_NAMED = 5,    /* partitions in a sentence */
    QUORUM_MS = 3000, /* longer than an election takes */
    SILENT_MS = 2000  /* a controller that says nothing for so long */
};

struct problems {
    char text[MAX_PROBLEMS][PROBLEM_BYTES];
    size_t count;
    size_t untold; /* beyond MAX_PROBLEMS */
};

__attribute__((format(printf, 2, 3))) static void
add(struct problems *problems, const char *format, ...)
{
    va_list args;
    if (problems->count == MAX_PROBLEMS) {
        problems->untold++;
        return;
    }
    va_start(args, format);
    vsnprintf(problems->text[problems->count++], PROBLEM_BYTES, format, args);
    va_end(args);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void
check_brokers(struct problems *problems, struct json brokers)
{
    struct json cursor = {0};
    for (struct json one; !json_is_none(one = json_next(brokers, &cursor, NULL));) {
        int64_t id = json_to_int(json_member(one, "id"), -1);
        if (!json_to_bool(json_member(one, "registered"))) {
            add(problems, "broker %" PRId64 " stands in services.json, but never came", id);
        } else if (json_to_bool(json_member(one, "shuttingDown"))) {
            add(problems, "broker %" PRId64 " is stopping or has stopped", id);
        } else if (json_to_bool(json_member(one, "fenced"))) {
            add(problems, "broker %" PRId64 " does not serve: it is silent, or has just started",
                id);
        }
    }
}

static bool
has_seat(struct json members, int64_t id)
{
    struct json cursor = {0};
    for (struct json one; !json_is_none(one = json_next(members, &cursor, NULL));) {
        if (json_to_int(json_member(one, "id"), -1) == id) {
            return true;
        }
    }
    return false;
}

/* The members as their leader sees them, and those of services.json that are none. */
static void
check_members(struct problems *problems, struct json members, struct json services)
{
    struct json cursor = {0};
    for (struct json one; !json_is_none(one = json_next(members, &cursor, NULL));) {
        int64_t id = json_to_int(json_member(one, "id"), -1);
        int64_t silent_ms = json_to_int(json_member(one, "silentMs"), 0);
        if (silent_ms > SILENT_MS) {
            add(problems, "controller %" PRId64 " has been silent for %.1f s", id,
                (double)silent_ms / 1000);
        } else if (!json_to_bool(json_member(one, "voter"))) {
            add(problems,
                "controller %" PRId64 " does not vote yet: it lacks %" PRId64 " metadata versions",
                id, json_to_int(json_member(one, "lag"), -1));
        }
    }
    cursor = (struct json){0};
    for (struct json one; !json_is_none(one = json_next(services, &cursor, NULL));) {
        int64_t id = json_to_int(json_member(one, "id"), -1);
        if (!has_seat(members, id)) {
            add(problems,
                "controller %" PRId64 " stands in services.json, but has no seat in the quorum",
                id);
        }
    }
}

static void
check_quorum(struct problems *problems, dmq_client *client, struct json services)
{
    char *answer = NULL;
    dmq_error error = session_error();
    dmq_err code = dmq_admin(client, "describe_quorum", NULL, QUORUM_MS, &answer, &error);
    if (code != DMQ_OK) {
        add(problems, "no controller leads, so that nothing about topics can be changed (%.200s)",
            error.message);
    } else {
        check_members(problems, json_member(json_root(answer), "controllers"), services);
    }
    dmq_free(answer);
}

/* ---- partitions ------------------------------------------------------------------------------ */

enum ailment { LEADERLESS, BELOW_MIN_ISR, UNDER_REPLICATED };

static enum ailment
ailment_of(struct json partition)
{
    if (json_to_int(json_member(partition, "leader"), -1) < 0) {
        return LEADERLESS;
    }
    int64_t in_sync = (int64_t)json_count(json_member(partition, "isr"));
    return in_sync < json_to_int(json_member(partition, "minIsr"), 1) ? BELOW_MIN_ISR
                                                                      : UNDER_REPLICATED;
}

/* "orders-0, orders-3 and 7 more" */
static const char *
name_partitions(struct json ailing, enum ailment which, int64_t count, char to[NAMES_BYTES])
{
    struct json cursor = {0};
    size_t used = 0;
    int64_t named = 0;
    to[0] = '\0';
    for (struct json one; !json_is_none(one = json_next(ailing, &cursor, NULL));) {
        char topic[TEXT_BYTES];
        if (ailment_of(one) != which || named == MAX_NAMED) {
            continue;
        }
        int written =
            snprintf(to + used, NAMES_BYTES - 32 - used, "%s%s-%" PRId64, named > 0 ? ", " : "",
                     json_to_text(json_member(one, "topicName"), topic, sizeof(topic)),
                     json_to_int(json_member(one, "partition"), -1));
        if (written < 0 || (size_t)written >= NAMES_BYTES - 32 - used) {
            to[used] = '\0';
            break;
        }
        used += (size_t)written;
        named++;
    }
    if (count > named) {
        snprintf(to + used, NAMES_BYTES - used, "%s%" PRId64 " more", named > 0 ? " and " : "",
                 count - named);
    }
    return to;
}

static void
check_partitions(struct problems *problems, struct json cluster)
{
    char names[NAMES_BYTES];
    struct json ailing = json_member(cluster, "ailing");
    int64_t leaderless = json_to_int(json_member(cluster, "leaderlessCount"), 0);
    int64_t below = json_to_int(json_member(cluster, "belowMinIsrCount"), 0);
    int64_t under = json_to_int(json_member(cluster, "underReplicatedCount"), 0);
    if (leaderless > 0) {
        add(problems, "partitions without a leader, neither written nor read: %s",
            name_partitions(ailing, LEADERLESS, leaderless, names));
    }
    if (below > 0) {
        add(problems, "partitions below min.insync.replicas, which refuse acks=all: %s",
            name_partitions(ailing, BELOW_MIN_ISR, below, names));
    }
    if (under > leaderless + below) {
        add(problems, "partitions that lack replicas in sync: %s",
            name_partitions(ailing, UNDER_REPLICATED, under - leaderless - below, names));
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

static void
print_problems(const struct problems *problems)
{
    if (problems->count == 0) {
        printf("healthy\n");
    }
    for (size_t i = 0; i < problems->count; i++) {
        printf("%s\n", problems->text[i]);
    }
    if (problems->untold > 0) {
        printf("and %zu more\n", problems->untold);
    }
}

static int
print_problems_json(const struct problems *problems)
{
    struct request answer;
    if (!request_begin(&answer)) {
        return CLI_ERROR;
    }
    json_bool(&answer.json, "healthy", problems->count == 0);
    json_open(&answer.json, "problems", '[');
    for (size_t i = 0; i < problems->count; i++) {
        json_text(&answer.json, NULL, problems->text[i]);
    }
    json_close(&answer.json, ']');
    printf("%s\n", request_text(&answer));
    request_deinit(&answer);
    return CLI_OK;
}

static int
check(const struct cli *cli, dmq_client *client)
{
    static struct problems problems;
    char *answer = NULL;
    dmq_error error = session_error();
    if (dmq_admin(client, "describe_cluster", NULL, CONNECT_TIMEOUT_MS, &answer, &error) !=
        DMQ_OK) {
        return report_error(NULL, &error);
    }
    struct json cluster = json_root(answer);
    int code = CLI_OK;
    check_quorum(&problems, client, json_member(cluster, "controllers"));
    check_brokers(&problems, json_member(cluster, "brokers"));
    check_partitions(&problems, cluster);
    dmq_free(answer);
    if (cli->json) {
        code = print_problems_json(&problems);
    } else {
        print_problems(&problems);
    }
    return code == CLI_OK && problems.count > 0 ? CLI_UNHEALTHY : code;
}

static int
run(const struct cli *cli)
{
    dmq_client *client;
    int code = session_open(cli, &client);
    if (code == CLI_OK) {
        code = check(cli, client);
        session_close(client);
    }
    return code;
}

const struct command COMMAND_CLUSTER_HEALTH = {
    .name = "cluster health",
    .arguments = "",
    .summary = "Say what is wrong with the cluster, a line each; exit 10 if something is",
    .examples = "dmq cluster health\n"
                "dmq cluster health --json\n"
                "dmq cluster health >/dev/null || echo look at it\n",
    .options = NO_OPTIONS,
    .run = run,
};
