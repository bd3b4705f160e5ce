/* The server side: a ROUTER whose clients send [header][body][attachment]*.
 *
 * A reply never blocks. One that cannot be sent, because the client went away or does not read, is
 * counted and dropped: the client's connection ends or its request times out, and both mean "maybe
 * done". Routing ids are libzmq's own; what a client claims to be counts for nothing. */
#ifndef DMQ_NET_ROUTER_H
#define DMQ_NET_ROUTER_H

#include "libdmq/base/err.h"
#include "libdmq/net/frames.h"

struct router_options {
    int64_t max_frame_bytes; /* a larger frame ends the connection */
    int send_hwm;            /* replies that may wait for one client: none of them is dropped */
    int recv_hwm;            /* requests that wait from one client */
    int linger_ms; /* how long closing may take to send the last replies; not 0 (sockopt.h) */
};

/* Sets all options of a ROUTER before it is bound. DMQ_ERR_IO. */
dmq_err router_configure(void *socket, const struct router_options *options, struct err_msg *err);

/* Binds it to a host name or address ("*": every interface) and a port. Errors name both and say
 * what to do: DMQ_ERR_INVALID_CONFIG (no such address here), DMQ_ERR_IO (port is taken, ...). */
dmq_err router_bind(void *socket, const char *host, int32_t port, struct err_msg *err);

struct router {
    void *socket;
    struct net_limits limits; /* of one request */
    uint64_t received;        /* requests */
    uint64_t faulty;          /* of them: beyond the limits, or too few frames */
    uint64_t replied;
    uint64_t dropped; /* replies that could not be sent */
};

/* A request. Zero is an empty one; to be used again and again. The frames are borrowed from msg. */
struct router_request {
    struct net_msg msg;
    struct buf *routing_id;
    struct buf *header; /* NULL if it has none: nothing can be answered then */
    struct buf *body;
    struct buf **attachments;
    size_t attachment_count;
    const char *fault; /* why it cannot be carried out (INVALID_REQUEST), or NULL */
};

void router_request_deinit(struct router_request *request);

/* NET_OK, NET_AGAIN or NET_CLOSED. */
enum net_status router_recv(struct router *router, struct router_request *request);

/* Sends [routing id][frame]*. Borrows. True if libzmq took it. */
bool router_reply(struct router *router, struct buf *routing_id, struct buf *const *frames,
                  size_t count);

#endif
