#include "libdmq/net/peer_link.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "libdmq/net/sockopt.h"

#define MONITORED                                                                                  \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |                        \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |                       \
     ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_MONITOR_STOPPED)

/* Trap: libzmq (4.3.5 too) ends the process ("!_more", fq.cpp) if it learns in the middle of a
 * message, between two zmq_msg_recv(), that the connection has ended and therefore drops what is
 * unread. It looks every 100 frames. With IMMEDIATE it drops always, and with a RECONNECT_IVL of -1
 * (no reconnect) it does too. So IMMEDIATE is off, which costs nothing: nobody sends before the
 * connection is up. And the reconnect stays on, but comes when this DEALER is long closed. */
#define NEVER_MS (24 * 3600 * 1000)

/* Names of monitor sockets must differ within a context. */
static atomic_uint_least64_t next_name;

static bool
configure(void *dealer, const char *endpoint, int64_t max_frame_bytes)
{
    static const struct sockopt options[] = {
        {ZMQ_RECONNECT_IVL, NEVER_MS}, /* its own reconnect would deliver old requests late */
        {ZMQ_SNDHWM, 1024}, /* above what may be in flight: it is never what holds back */
        {ZMQ_RCVHWM, 1024},
    };
    return sockopt_set(dealer, options, sizeof(options) / sizeof(options[0])) &&
           sockopt_set_common(dealer, max_frame_bytes) && sockopt_set_ipv6(dealer, endpoint);
}

static bool
open_monitor(struct peer_link *link, void *context)
{
    char name[48];
    uint64_t number = atomic_fetch_add_explicit(&next_name, 1, memory_order_relaxed);
    snprintf(name, sizeof(name), "inproc://dmq-monitor-%llu", (unsigned long long)number);
    if (zmq_socket_monitor(link->dealer, name, MONITORED) != 0) {
        return false;
    }
    link->monitor = zmq_socket(context, ZMQ_PAIR);
    const struct sockopt linger = {ZMQ_LINGER, 0};
    return link->monitor != NULL && sockopt_set(link->monitor, &linger, 1) &&
           zmq_connect(link->monitor, name) == 0;
}

bool
peer_link_open(struct peer_link *link, void *context, const char *endpoint, int64_t max_frame_bytes)
{
    *link = (struct peer_link){.dealer = zmq_socket(context, ZMQ_DEALER)};
    if (link->dealer != NULL && configure(link->dealer, endpoint, max_frame_bytes) &&
        open_monitor(link, context) && zmq_connect(link->dealer, endpoint) == 0) {
        return true;
    }
    peer_link_close(link, true); /* never connected */
    return false;
}

void
peer_link_close(struct peer_link *link, bool ended)
{
    if (link->dealer != NULL) {
        const struct sockopt linger = {ZMQ_LINGER, ended ? 0 : NET_CLOSE_LINGER_MS};
        sockopt_set(link->dealer, &linger, 1);
        zmq_socket_monitor(link->dealer, NULL, 0);
        zmq_close(link->dealer);
    }
    if (link->monitor != NULL) {
        zmq_close(link->monitor);
    }
    *link = (struct peer_link){0};
}

static const char *
reason_of(int event)
{
    switch (event) {
    case ZMQ_EVENT_CLOSED:
        return "connection refused or not possible";
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return "handshake failed: no ZeroMQ server, or it refused us";
    default:
        return "connection closed by the other side";
    }
}

/* The event's number; -1 if there is none. An event has two frames: number and value, endpoint. */
static int
read_event(void *monitor)
{
    zmq_msg_t frame;
    int event = -1;
    bool more = true;
    for (int i = 0; more; i++) {
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            return -1;
        }
        if (i == 0 && zmq_msg_size(&frame) >= sizeof(uint16_t)) {
            uint16_t number;
            memcpy(&number, zmq_msg_data(&frame), sizeof(number));
            event = number;
        }
        more = zmq_msg_more(&frame) != 0;
        zmq_msg_close(&frame);
    }
    return event;
}

enum link_state
peer_link_poll(struct peer_link *link, const char **ret_reason)
{
    enum link_state state = LINK_QUIET;
    for (int event; (event = read_event(link->monitor)) >= 0;) {
        if (event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            *ret_reason = reason_of(event);
            return LINK_ENDED;
        }
        state = LINK_READY;
    }
    return state;
}
