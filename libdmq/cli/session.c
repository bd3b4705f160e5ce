#include "libdmq/cli/session.h"

#include <inttypes.h>
#include <string.h>

#include "libdmq/cli/report.h"
#include "libdmq/cli/stop.h"

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

int
session_partitions(dmq_client *client, const char *topic, int64_t partition, int32_t *ret_count)
{
    dmq_error error = session_error();
    int32_t count;
    if (dmq_topic_partitions(client, topic, CONNECT_TIMEOUT_MS, &count, &error) != DMQ_OK) {
        int code = report_error(NULL, &error);
        if (code == CLI_NOT_FOUND && strstr(error.message, "did you mean") == NULL) {
            report_note("'dmq topic create %s' makes it", topic);
        }
        return code;
    }
    if (partition >= count) {
        report_failure("topic '%s' has no partition %" PRId64 ": there are %d, from 0", topic,
                       partition, count);
        return CLI_NOT_FOUND;
    }
    *ret_count = count;
    return CLI_OK;
}
