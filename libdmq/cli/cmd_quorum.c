/* dmq quorum status|transfer-leader|add|remove: the controllers as their leader sees them. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "libdmq/cli/ask.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"
#include "libdmq/cli/value.h"

enum { TRANSFER_TIMEOUT_MS = 10000, LOOK_AGAIN_MS = 50 };

/* ---- status ---------------------------------------------------------------------------------- */

static void
print_status(const struct cli *cli, dmq_client *client, struct json quorum)
{
    struct json cursor = {0};
    (void)client;
    if (cli->json) {
        print_json(quorum);
        return;
    }
    printf("%-10s%" PRId64 "\n%-10s%" PRId64 "\n%-10s%" PRId64 "\n\n", "leader",
           json_to_int(json_member(quorum, "leader"), -1), "term",
           json_to_int(json_member(quorum, "term"), -1), "version",
           json_to_int(json_member(quorum, "version"), -1));
    printf("%-11s %-9s %-7s %12s %8s %10s\n", "CONTROLLER", "ROLE", "VOTES", "VERSION", "LAG",
           "SILENT MS");
    struct json controllers = json_member(quorum, "controllers");
    for (struct json one; !json_is_none(one = json_next(controllers, &cursor, NULL));) {
        bool votes = json_to_bool(json_member(one, "voter"));
        const char *role = json_to_bool(json_member(one, "leader")) ? "leader"
                           : votes                                  ? "follower"
                                                                    : "learner";
        printf("%-11" PRId64 " %-9s %-7s %12" PRId64 " %8" PRId64 " %10" PRId64 "\n",
               json_to_int(json_member(one, "id"), -1), role, votes ? "yes" : "no",
               json_to_int(json_member(one, "version"), -1),
               json_to_int(json_member(one, "lag"), -1),
               json_to_int(json_member(one, "silentMs"), -1));
    }
}

static int
run_status(const struct cli *cli)
{
    return ask_cluster(cli, "describe_quorum", NULL, print_status);
}

const struct command COMMAND_QUORUM_STATUS = {
    .name = "quorum status",
    .arguments = "",
    .summary = "Show which controller leads, and how far each of them is",
    .details = "A learner catches up and does not vote yet. LAG is in metadata versions.\n",
    .examples = "dmq quorum status\n"
                "dmq quorum status --json\n",
    .options = NO_OPTIONS,
    .run = run_status,
};

/* ---- changes --------------------------------------------------------------------------------- */

/* Asks for something about one controller, whose id is the command's word. */
static int
ask_about(const struct cli *cli, dmq_client *client, const char *op, int64_t id,
          print_answer *print)
{
    struct request request;
    if (!request_begin(&request)) {
        return CLI_ERROR;
    }
    json_int(&request.json, "controllerId", id);
    int code = ask_client(cli, client, op, request_text(&request), print);
    request_deinit(&request);
    return code;
}

/* Takes the id, opens a session and runs `act` in it. */
static int
with_controller(const struct cli *cli, const char *command,
                int (*act)(const struct cli *cli, dmq_client *client, int64_t id))
{
    int64_t id;
    dmq_client *client;
    if (!value_int(cli->words[0], &id) || id < 0 || id > INT32_MAX) {
        return report_usage(command, "%s wants the id of a controller, not '%s'", command,
                            cli->words[0]);
    }
    int code = session_open(cli, &client);
    if (code == CLI_OK) {
        code = act(cli, client, id);
        session_close(client);
    }
    return code;
}

static void
print_nothing(const struct cli *cli, dmq_client *client, struct json answer)
{
    (void)cli;
    (void)client;
    (void)answer;
}

/* Who leads now; -1: nobody answers for the moment, as it must be between two leaders. */
static int64_t
ask_leader(dmq_client *client)
{
    char *answer = NULL;
    int64_t leader = -1;
    if (dmq_admin(client, "describe_quorum", NULL, TRANSFER_TIMEOUT_MS, &answer, NULL) == DMQ_OK) {
        leader = json_to_int(json_member(json_root(answer), "leader"), -1);
    }
    dmq_free(answer);
    return leader;
}

/* The answer says that the handover has begun: what was asked for is that it is done. */
static int
transfer(const struct cli *cli, dmq_client *client, int64_t id)
{
    static const struct timespec PAUSE = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};
    int64_t give_up_ns = clock_ns() + TRANSFER_TIMEOUT_MS * INT64_C(1000000);
    int code = ask_about(cli, client, "transfer_leader", id, print_nothing);
    while (code == CLI_OK && ask_leader(client) != id) {
        if (clock_ns() > give_up_ns) {
            report_failure("controller %" PRId64 " does not lead after %d s: 'dmq quorum status' "
                           "tells who does",
                           id, TRANSFER_TIMEOUT_MS / 1000);
            return CLI_TIMEOUT;
        }
        nanosleep(&PAUSE, NULL);
    }
    if (code == CLI_OK && cli->json) {
        printf("{\"leader\":%" PRId64 "}\n", id);
    } else if (code == CLI_OK) {
        report_note("controller %" PRId64 " leads now", id);
    }
    return code;
}

static int
run_transfer(const struct cli *cli)
{
    return with_controller(cli, "quorum transfer-leader", transfer);
}

const struct command COMMAND_QUORUM_TRANSFER_LEADER = {
    .name = "quorum transfer-leader",
    .arguments = "ID",
    .summary = "Make another controller lead, and wait until it does",
    .examples = "dmq quorum transfer-leader 2\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_transfer,
};

static void
print_added(const struct cli *cli, dmq_client *client, struct json answer)
{
    (void)client;
    if (cli->json) {
        print_json(answer);
    } else {
        report_note("controller %s has a seat: it votes as soon as it has caught up ('dmq quorum "
                    "status')",
                    cli->words[0]);
    }
}

static int
add(const struct cli *cli, dmq_client *client, int64_t id)
{
    return ask_about(cli, client, "add_controller", id, print_added);
}

static int
run_add(const struct cli *cli)
{
    return with_controller(cli, "quorum add", add);
}

const struct command COMMAND_QUORUM_ADD = {
    .name = "quorum add",
    .arguments = "ID",
    .summary = "Give a controller that runs and has no seat one in the quorum",
    .details =
        "It must stand in services.json and be started with an empty folder. It learns first,\n"
        "and votes when it has caught up. A controller that had a seat and came back with an\n"
        "empty disk needs no command.\n",
    .examples = "dmq quorum add 4\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_add,
};

static void
print_removed(const struct cli *cli, dmq_client *client, struct json answer)
{
    (void)client;
    if (cli->json) {
        print_json(answer);
    } else {
        report_note("controller %s has no seat any more: stop it", cli->words[0]);
    }
}

static int
remove_seat(const struct cli *cli, dmq_client *client, int64_t id)
{
    return ask_about(cli, client, "remove_controller", id, print_removed);
}

static int
run_remove(const struct cli *cli)
{
    return with_controller(cli, "quorum remove", remove_seat);
}

const struct command COMMAND_QUORUM_REMOVE = {
    .name = "quorum remove",
    .arguments = "ID",
    .summary = "Take a controller's seat in the quorum",
    .examples = "dmq quorum remove 3\n",
    .options = NO_OPTIONS,
    .min_words = 1,
    .max_words = 1,
    .run = run_remove,
};
