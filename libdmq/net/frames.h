/* Multipart messages of ZeroMQ as reference-counted buffers, in and out without copying large ones.
 *
 * Works on plain libzmq sockets; the daemons hand in zsock_resolve() of theirs. Nothing here
 * blocks. A socket is used by one thread. */
#ifndef DMQ_NET_FRAMES_H
#define DMQ_NET_FRAMES_H

#include "libdmq/base/buf.h"

/* A received frame below this size is copied: it may lie in libzmq's receive buffer, which it would
 * pin whole. Larger ones stay where libzmq put them. */
#define NET_PINNING_SIZE 8192

/* A sent frame up to this size is copied: cheaper than the bookkeeping of a shared one. */
#define NET_COPY_SIZE 2048

/* Frames that one message may have: a routing id, header, body, and one attachment a partition. */
#define NET_MAX_FRAMES 10003

enum net_status {
    NET_OK,
    NET_AGAIN,       /* nothing there; or the queue to the peer is full */
    NET_UNREACHABLE, /* a ROUTER no longer knows the peer */
    NET_CLOSED       /* the socket or its context was closed */
};

struct net_limits {
    size_t max_frames; /* 0: NET_MAX_FRAMES */
    size_t max_bytes;  /* of all frames of a message; 0: no limit but that of the socket's frames */
};

/* A received message. Zero is an empty one; it can be used again and again. */
struct net_msg {
    struct buf **frames; /* one reference each */
    size_t count;
    size_t capacity;
    size_t bytes;      /* of the frames kept */
    size_t pinned;     /* memory that they hold */
    const char *fault; /* why it is beyond the limits (its last frames were dropped), or NULL */
    char peer[64];     /* IP address of the sender; empty if unknown */
};

void net_msg_deinit(struct net_msg *msg);
void net_msg_clear(struct net_msg *msg); /* drops the frames, keeps the memory for them */

/* Takes a frame out of the message: the caller's reference. */
struct buf *net_msg_take(struct net_msg *msg, size_t index);

/* Receives one whole message into msg, whose former frames are dropped. NET_OK, NET_AGAIN or
 * NET_CLOSED. Lack of memory shows as msg->fault. */
enum net_status net_recv(void *socket, const struct net_limits *limits, struct net_msg *msg);

/* Sends the frames as one message, whole or not at all. Borrows the references; large frames are
 * kept alive until libzmq has sent them. count is at least 1. */
enum net_status net_send(void *socket, struct buf *const *frames, size_t count);

#endif
