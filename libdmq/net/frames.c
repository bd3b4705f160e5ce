#include "libdmq/net/frames.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "libdmq/base/assert.h"

/* ---- receiving ------------------------------------------------------------------------------- */

/* A buffer whose bytes stay in a message of libzmq. */
struct held_msg {
    struct buf buf; /* first: buf_free_struct frees all of it */
    zmq_msg_t msg;
};

static void
release_held(struct buf *buf)
{
    struct held_msg *held = (struct held_msg *)buf;
    zmq_msg_close(&held->msg);
    buf_free_struct(buf);
}

/* Takes the message over; NULL if memory is out. The message is to be closed in any case. */
static struct buf *
hold(zmq_msg_t *msg)
{
    struct held_msg *held = malloc(sizeof(*held));
    if (held == NULL) {
        return NULL;
    }
    size_t size = zmq_msg_size(msg);
    zmq_msg_init(&held->msg);
    zmq_msg_move(&held->msg, msg);
    held->buf = (struct buf){.data = zmq_msg_data(&held->msg),
                             .size = size,
                             .pinned = sizeof(*held) + size,
                             .refs = 1,
                             .release = release_held};
    return &held->buf;
}

static bool
reserve_frame(struct net_msg *msg)
{
    if (msg->count < msg->capacity) {
        return true;
    }
    size_t capacity = msg->capacity == 0 ? 8 : msg->capacity * 2;
    struct buf **frames = realloc(msg->frames, capacity * sizeof(struct buf *));
    if (frames == NULL) {
        return false;
    }
    msg->frames = frames;
    msg->capacity = capacity;
    return true;
}

/* Appends a frame, or says why it cannot. After a fault the rest of the message is dropped. */
static void
keep_frame(struct net_msg *msg, const struct net_limits *limits, zmq_msg_t *frame)
{
    size_t size = zmq_msg_size(frame);
    size_t max_frames = limits->max_frames == 0 ? NET_MAX_FRAMES : limits->max_frames;
    if (msg->count == max_frames) {
        msg->fault = "message has too many frames";
        return;
    }
    if (limits->max_bytes != 0 && size > limits->max_bytes - msg->bytes) {
        msg->fault = "message is too large";
        return;
    }
    struct buf *buf =
        size < NET_PINNING_SIZE ? buf_copy(bytes_of(zmq_msg_data(frame), size)) : hold(frame);
    if (buf == NULL || !reserve_frame(msg)) {
        buf_unref(buf);
        msg->fault = "out of memory";
        return;
    }
    msg->frames[msg->count++] = buf;
    msg->bytes += size;
    msg->pinned += buf->pinned;
}

static void
note_peer(struct net_msg *msg, zmq_msg_t *frame)
{
    const char *peer = zmq_msg_gets(frame, "Peer-Address");
    if (peer != NULL) {
        bool mapped = strncmp(peer, "::ffff:", 7) == 0; /* IPv4 on a socket for both */
        snprintf(msg->peer, sizeof(msg->peer), "%s", peer + (mapped ? 7 : 0));
    }
}

enum net_status
net_recv(void *socket, const struct net_limits *limits, struct net_msg *msg)
{
    zmq_msg_t frame;
    bool more = true;
    net_msg_clear(msg);
    for (bool first = true; more; first = false) {
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
            /* The parts of a message come all at once, so nothing is cut in two here. */
            int reason = zmq_errno();
            zmq_msg_close(&frame);
            if (reason == EINTR) {
                more = true;
                continue;
            }
            return reason == EAGAIN ? NET_AGAIN : NET_CLOSED;
        }
        more = zmq_msg_more(&frame) != 0;
        if (msg->peer[0] == 0 && (first || !more)) {
            note_peer(msg, &frame); /* a ROUTER's own first frame does not have it */
        }
        if (msg->fault == NULL) {
            keep_frame(msg, limits, &frame);
        }
        zmq_msg_close(&frame);
    }
    return NET_OK;
}

void
net_msg_clear(struct net_msg *msg)
{
    for (size_t i = 0; i < msg->count; i++) {
        buf_unref(msg->frames[i]);
    }
    msg->count = 0;
    msg->bytes = 0;
    msg->pinned = 0;
    msg->fault = NULL;
    msg->peer[0] = 0;
}

void
net_msg_deinit(struct net_msg *msg)
{
    net_msg_clear(msg);
    free(msg->frames);
    *msg = (struct net_msg){0};
}

struct buf *
net_msg_take(struct net_msg *msg, size_t index)
{
    DMQ_ASSERT(index < msg->count);
    struct buf *buf = msg->frames[index];
    msg->frames[index] = NULL;
    return buf;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* libzmq calls it on one of its threads when the frame is sent. */
static void
release_sent(void *data, void *hint)
{
    (void)data;
    buf_unref(hint);
}

static bool
make_frame(zmq_msg_t *frame, struct buf *buf)
{
    if (buf->size <= NET_COPY_SIZE) {
        if (zmq_msg_init_size(frame, buf->size) != 0) {
            return false;
        }
        if (buf->size > 0) {
            memcpy(zmq_msg_data(frame), buf->data, buf->size);
        }
        return true;
    }
    if (zmq_msg_init_data(frame, buf->data, buf->size, release_sent, buf) != 0) {
        return false;
    }
    buf_ref(buf);
    return true;
}

static enum net_status
status_of_send(int reason)
{
    switch (reason) {
    case EAGAIN:
    case ENOMEM:
        return NET_AGAIN;
    case EHOSTUNREACH:
        return NET_UNREACHABLE;
    default:
        return NET_CLOSED;
    }
}

static enum net_status
send_frame(void *socket, zmq_msg_t *frame, int flags)
{
    int rc;
    do {
        rc = zmq_msg_send(frame, socket, flags);
    } while (rc < 0 && zmq_errno() == EINTR);
    return rc >= 0 ? NET_OK : status_of_send(zmq_errno());
}

static enum net_status
send_all(void *socket, zmq_msg_t *all, size_t count)
{
    enum net_status status = NET_OK;
    for (size_t i = 0; i < count; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0);
        enum net_status one = send_frame(socket, &all[i], flags);
        if (one != NET_OK && i == 0) {
            return one; /* whether there is room is asked once a message, here */
        }
        if (one != NET_OK) {
            /* The connection ended within the message. libzmq drops what there is of it, but only
             * if it is handed the rest too: otherwise the next message would be taken for that. */
            status = one == NET_CLOSED ? NET_CLOSED : NET_UNREACHABLE;
        }
    }
    return status;
}

enum net_status
net_send(void *socket, struct buf *const *frames, size_t count)
{
    zmq_msg_t few[16];
    zmq_msg_t *all = few;
    size_t made = 0;
    DMQ_ASSERT(count > 0);
    if (count > sizeof(few) / sizeof(few[0])) {
        all = malloc(count * sizeof(zmq_msg_t));
        if (all == NULL) {
            return NET_AGAIN;
        }
    }
    /* All of them before the first is sent: a message that began cannot be taken back. */
    while (made < count && make_frame(&all[made], frames[made])) {
        made++;
    }
    enum net_status status = made == count ? send_all(socket, all, count) : NET_AGAIN;
    for (size_t i = 0; i < made; i++) {
        zmq_msg_close(&all[i]); /* one that was sent is empty */
    }
    if (all != few) {
        free(all);
    }
    return status;
}
