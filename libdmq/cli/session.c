#include "libdmq/cli/session.h"

#include <inttypes.h>
#include <string.h>

#include "libdmq/cli/json_read.h"
#include "libdmq/cli/report.h"
#include "libdmq/cli/stop.h"
#include "libdmq/cli/suggest.h"

enum { NAME_BYTES = 256, NAMES_SEARCHED_MAX = 1000 };

dmq_error
session_error(void)
{
    return (dmq_error){.size = sizeof(dmq_error)};
}

int
session_open(const struct cli *cli, dmq_client **ret_client)
{
    dmq_error error = session_error();
    if (dmq_client_open(cli->url, NULL, 0, CONNECT_TIMEOUT_MS, ret_client, &error) != DMQ_OK) {
        int code = report_error(NULL, &error);
        /* Nobody answered: for whoever types it that is "unreachable", however it was noticed. */
        return code == CLI_TIMEOUT ? CLI_UNREACHABLE : code;
    }
    stop_install(*ret_client);
    return CLI_OK;
}

void
session_close(dmq_client *client)
{
    stop_forget_client();
    dmq_client_close(client);
}

/* The name of an existing topic that is nearest to `topic`, in `nearest`; "" if none is near. */
static void
find_nearest_topic(dmq_client *client, const char *topic, char nearest[NAME_BYTES])
{
    nearest[0] = '\0';
    char *json = NULL;
    if (dmq_admin(client, "describe_topics", NULL, CONNECT_TIMEOUT_MS, &json, NULL) != DMQ_OK) {
        return;
    }
    struct json topics = json_member(json_root(json), "topics");
    struct json cursor = {0};
    size_t distance = strlen(topic) / 3 + 2;
    for (int i = 0; i < NAMES_SEARCHED_MAX; i++) {
        struct json item = json_next(topics, &cursor, NULL);
        if (json_is_none(item)) {
            break;
        }
        char name[NAME_BYTES];
        json_to_text(json_member(item, "topicName"), name, sizeof(name));
        struct suggest s = {.typed = topic, .distance = distance};
        suggest_offer(&s, name);
        if (s.best != NULL) {
            distance = s.distance;
            memcpy(nearest, name, sizeof(name));
        }
    }
    dmq_free(json);
}

int
session_topic_failed(dmq_client *client, const char *topic, const dmq_error *error)
{
    int code = report_error(NULL, error);
    if (code == CLI_NOT_FOUND) {
        char nearest[NAME_BYTES];
        find_nearest_topic(client, topic, nearest);
        if (nearest[0] != '\0') {
            report_note("did you mean '%s'?", nearest);
        }
    }
    return code;
}

int
session_partitions(dmq_client *client, const char *topic, int64_t partition, int32_t *ret_count)
{
    dmq_error error = session_error();
    int32_t count;
    if (dmq_topic_partitions(client, topic, CONNECT_TIMEOUT_MS, &count, &error) != DMQ_OK) {
        return session_topic_failed(client, topic, &error);
    }
    if (partition >= count) {
        report_failure("topic '%s' has no partition %" PRId64 ": there are %d, from 0", topic,
                       partition, count);
        return CLI_NOT_FOUND;
    }
    *ret_count = count;
    return CLI_OK;
}
