#include "libdmq/net/sockopt.h"

#include <string.h>
#include <zmq.h>

#define HEARTBEAT_MS 2000
#define HEARTBEAT_TIMEOUT_MS 6000

bool
sockopt_set(void *socket, const struct sockopt *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0) {
            return false;
        }
    }
    return true;
}

bool
sockopt_set_common(void *socket, int64_t max_frame_bytes)
{
    static const struct sockopt options[] = {
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HANDSHAKE_IVL, NET_HANDSHAKE_MS},
    };
    return sockopt_set(socket, options, sizeof(options) / sizeof(options[0])) &&
           zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_frame_bytes, sizeof(max_frame_bytes)) == 0;
}

bool
sockopt_set_ipv6(void *socket, const char *endpoint)
{
    /* Not always: libzmq would turn "localhost" into ::1 alone, where an IPv4 server never is. */
    bool wanted = strchr(endpoint, '[') != NULL || strncmp(endpoint, "tcp://*:", 8) == 0;
    struct sockopt option = {ZMQ_IPV6, wanted};
    return sockopt_set(socket, &option, 1);
}
