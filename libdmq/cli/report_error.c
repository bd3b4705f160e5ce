/* Apart from report.c, because it needs the library: the texts of its errors. */
#include "libdmq/cli/report.h"

#include <stddef.h>

int
report_error(const char *what, const dmq_error *error)
{
    const char *text = error->message[0] != '\0' ? error->message : dmq_error_text(error->code);
    if (what != NULL) {
        report_failure("%s: %s", what, text);
    } else {
        report_failure("%s", text);
    }
    return report_exit_code(error->code);
}

int
report_exit_code(dmq_err code)
{
    switch (code) {
    case DMQ_OK:
        return CLI_OK;
    case DMQ_ERR_INVALID_ARGUMENT: /* found by the library before it asked anyone */
        return CLI_USAGE;
    case DMQ_ERR_UNREACHABLE:
    case DMQ_ERR_NETWORK:
        return CLI_UNREACHABLE;
    case DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case DMQ_ERR_UNKNOWN_TOPIC_ID:
        return CLI_NOT_FOUND;
    case DMQ_ERR_TOPIC_DENIED:
    case DMQ_ERR_CLUSTER_DENIED:
        return CLI_DENIED;
    case DMQ_ERR_TIMEOUT:
    case DMQ_ERR_REQUEST_TIMED_OUT:
    case DMQ_ERR_DELIVERY_TIMEOUT:
        return CLI_TIMEOUT;
    default:
        return CLI_ERROR;
    }
}
