/* An outgoing connection to one node, made again and again until peer_free.
 *
 * Where the node is given by name, the name is looked up for each connection (resolve.h): who waits
 * for a name server is this peer alone. Of several addresses the next one is tried after each
 * failure.
 *
 * There is one DEALER per connection, never reused: when the connection ends, the DEALER is closed
 * and each request without answer is reported as failed, maybe done. libzmq's own reconnect is
 * never let happen, for it would deliver old requests late. The first try again comes after 5 ms,
 * then later and later up to 1 s, with chance mixed in.
 *
 * A connection opens with API_VERSIONS. It is up when the answer is there and comes from the node
 * (and, where that is known, the cluster) that was meant.
 *
 * No callbacks and no thread: the owner polls peer_sockets() and peer_fd() for input, together with
 * whatever else it waits for, at the latest until peer_deadline(); then it calls peer_process() and
 * takes the events. Both change with each connection: peer_generation() tells. (zmq_poll and zloop
 * watch them well; their bare file descriptors are edge-triggered.) One thread. */
#ifndef DMQ_NET_PEER_H
#define DMQ_NET_PEER_H

#include "libdmq/base/err.h"
#include "libdmq/net/address.h"
#include "libdmq/net/frames.h"
#include "libdmq/wire/messages.h"

struct peer;

struct peer_config {
    void *zmq_context;
    const char *host; /* name or numeric address; copied */
    int32_t port;
    int32_t node_id;             /* who must answer; -1: anybody */
    struct uuid cluster_id;      /* its cluster, and ours: it is told; zero: any */
    int32_t self_id;             /* who asks: told with the cluster */
    const char *client_id;       /* name for the other's logs; copied */
    int64_t max_frame_bytes;     /* a larger frame ends the connection */
    uint32_t max_in_flight;      /* requests without answer; the other side may allow fewer */
    uint32_t connect_timeout_ms; /* for the name; then from the first SYN to the answer to
                                    API_VERSIONS; 0: 2000 */
    uint32_t max_backoff_ms;     /* longest pause between two tries; 0: 1000 */
    uint64_t seed;               /* of the chance in the backing off */
};

enum peer_event_kind {
    PEER_CONNECTED,      /* it is up: peer_hello() says who is there, or was */
    PEER_CONNECT_FAILED, /* a try failed: err, text; the next one comes by itself */
    PEER_DISCONNECTED, /* it was up and ended: err, text; a PEER_FAILED for each request follows */
    PEER_RESPONSE,     /* the answer to a request: tag, header, msg */
    PEER_FAILED        /* a request without answer: tag, err (NETWORK or TIMEOUT): maybe done */
};

struct peer_event {
    enum peer_event_kind kind;
    uint64_t tag;
    dmq_err err;
    char text[160];
    /* PEER_RESPONSE */
    struct response_header header; /* points into msg */
    struct net_msg msg; /* frames[0] header, frames[1] body (if header.error is 0), attachments */
};

/* Frees what the event owns. */
void peer_event_deinit(struct peer_event *event);

/* NULL if memory is out. It begins to connect in the first peer_process(). */
struct peer *peer_new(const struct peer_config *config);

/* Closes; requests without answer are dropped without events. NULL is a no-op. */
void peer_free(struct peer *peer);

/* From the next connection on another cluster or node is refused. */
void peer_expect_cluster(struct peer *peer, struct uuid cluster_id);

/* Fills 0 to 2 sockets to poll for input. */
#define PEER_MAX_SOCKETS 2
size_t peer_sockets(const struct peer *peer, void *ret_sockets[PEER_MAX_SOCKETS]);

/* A descriptor to poll for input besides, or -1: while the name is looked up. */
int peer_fd(const struct peer *peer);
uint64_t peer_generation(const struct peer *peer);

/* When peer_process() is to be called even without input. */
int64_t peer_deadline(const struct peer *peer);

void peer_process(struct peer *peer, int64_t now_ms);

/* The next event, which the caller must deinit; false if there is none. Take all of them after
 * each peer_process(). */
bool peer_next_event(struct peer *peer, struct peer_event *ret_event);

bool peer_is_up(const struct peer *peer);

/* What the other side said of itself when it was up last; lives until the next peer_process(). It
 * is there at PEER_CONNECTED also where the connection has ended by the time that this event is
 * taken. NULL: it said nothing yet. */
const struct api_versions_response *peer_hello(const struct peer *peer);
uint32_t peer_in_flight(const struct peer *peer);

/* The numeric address of the connection that is, is made, or was last; "" before there was one. */
const char *peer_address(const struct peer *peer);

/* Tries again at once, if it is waiting to. */
void peer_hurry(struct peer *peer);

/* Ends the connection, as if the other side had closed it. */
void peer_disconnect(struct peer *peer, dmq_err err, const char *why, int64_t now_ms);

struct peer_call {
    int16_t api_key;
    int16_t api_version;
    uint64_t tag; /* the caller's; comes back in the event */
    struct buf *body;
    struct buf *const *attachments;
    size_t attachment_count;
    int32_t timeout_ms; /* from now */
    int64_t metadata_version;
    bool one_way; /* nothing answers it: no event follows, and it does not count as in flight */
};

/* Sends a request; its one event is PEER_RESPONSE or PEER_FAILED. Borrows the buffers. What it
 * returns means "surely not sent": DMQ_ERR_UNREACHABLE (not up), DMQ_ERR_THROTTLED (too many in
 * flight, or the socket is full), DMQ_ERR_BATCH_TOO_LARGE (a frame that the other side would not
 * take), DMQ_ERR_UNSUPPORTED_VERSION (a call that it does not know), DMQ_ERR_NOMEM. */
dmq_err peer_send(struct peer *peer, const struct peer_call *call, int64_t now_ms);

#endif
