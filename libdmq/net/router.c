#include "libdmq/net/router.h"

#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

#include "libdmq/base/assert.h"
#include "libdmq/net/address.h"
#include "libdmq/net/sockopt.h"

dmq_err
router_configure(void *socket, const struct router_options *options, struct err_msg *err)
{
    const struct sockopt wanted[] = {
        /* Without it a reply to nobody vanishes without a trace; with it a blocking send might
         * never return, so that every send here is DONTWAIT. */
        {ZMQ_ROUTER_MANDATORY, 1},
        /* Nobody takes over the routing id of another connection. */
        {ZMQ_ROUTER_HANDOVER, 0},
        /* Twice: libzmq tells the sender what was taken only after each half of its mark, so that
         * as many as half of them may count although nothing waits. */
        {ZMQ_SNDHWM, 2 * options->send_hwm},
        {ZMQ_RCVHWM, options->recv_hwm},
        {ZMQ_LINGER, options->linger_ms},
        {ZMQ_BACKLOG, 1024},
    };
    DMQ_ASSERT(options->max_frame_bytes > 0 && options->linger_ms > 0);
    if (!sockopt_set(socket, wanted, sizeof(wanted) / sizeof(wanted[0])) ||
        !sockopt_set_common(socket, options->max_frame_bytes)) {
        return err_set(err, DMQ_ERR_IO, "cannot set the options of a socket: %s",
                       zmq_strerror(zmq_errno()));
    }
    return DMQ_OK;
}

dmq_err
router_bind(void *socket, const char *host, int32_t port, struct err_msg *err)
{
    char endpoint[ADDRESS_SIZE];
    dmq_err code = address_resolve(host, port, endpoint, err);
    if (code != DMQ_OK) {
        return code;
    }
    if (sockopt_set_ipv6(socket, endpoint) && zmq_bind(socket, endpoint) == 0) {
        return DMQ_OK;
    }
    int reason = zmq_errno();
    if (reason == EADDRINUSE) {
        return err_set(err, DMQ_ERR_IO,
                       "port %d of %.100s is in use by another process: stop it, or give another "
                       "port in services.json",
                       port, host);
    }
    if (reason == EADDRNOTAVAIL || reason == ENODEV) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "%.100s is no address of this machine: give listenHost in services.json",
                       host);
    }
    return err_set(err, DMQ_ERR_IO, "cannot listen on %.100s:%d: %s", host, port,
                   zmq_strerror(reason));
}

void
router_request_deinit(struct router_request *request)
{
    net_msg_deinit(&request->msg);
    *request = (struct router_request){0};
}

enum net_status
router_recv(struct router *router, struct router_request *request)
{
    struct net_msg *msg = &request->msg;
    enum net_status status = net_recv(router->socket, &router->limits, msg);
    if (status != NET_OK) {
        return status;
    }
    DMQ_ASSERT(msg->count > 0); /* a ROUTER always puts the routing id first */
    request->routing_id = msg->frames[0];
    request->header = msg->count > 1 ? msg->frames[1] : NULL;
    request->body = msg->count > 2 ? msg->frames[2] : NULL;
    request->attachments = msg->frames + (msg->count > 3 ? 3 : msg->count);
    request->attachment_count = msg->count > 3 ? msg->count - 3 : 0;
    request->fault = msg->fault;
    if (request->fault == NULL && request->body == NULL) {
        request->fault = "a request has a header frame and a body frame";
    }
    router->received++;
    router->faulty += request->fault != NULL;
    return NET_OK;
}

bool
router_reply(struct router *router, struct buf *routing_id, struct buf *const *frames, size_t count)
{
    struct buf *few[16];
    struct buf **all = few;
    if (count + 1 > sizeof(few) / sizeof(few[0])) {
        all = malloc((count + 1) * sizeof(struct buf *));
    }
    if (all == NULL) {
        router->dropped++;
        return false;
    }
    all[0] = routing_id;
    memcpy(all + 1, frames, count * sizeof(struct buf *));
    enum net_status status = net_send(router->socket, all, count + 1);
    if (all != few) {
        free(all);
    }
    router->replied += status == NET_OK;
    router->dropped += status != NET_OK;
    return status == NET_OK;
}
