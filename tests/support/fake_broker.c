#include "tests/support/fake_broker.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>
#include <zmq.h>

#include "libdmq/base/assert.h"
#include "tests/support/fake_calls.h"

#define POLL_MS 1

static int64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void
free_parked(struct fake_broker *b, struct parked *parked)
{
    DL_DELETE(b->parked, parked);
    for (size_t i = 0; i < parked->frame_count; i++) {
        buf_unref(parked->frames[i]);
    }
    buf_unref(parked->routing_id);
    buf_unref(parked->request_body);
    free(parked);
}

static struct parked *
park(struct fake_broker *b, struct buf *routing_id, int64_t correlation_id, int delay_ms)
{
    struct parked *parked = calloc(1, sizeof(*parked));
    parked->routing_id = buf_ref(routing_id);
    parked->correlation_id = correlation_id;
    parked->due_ms = now_ms() + delay_ms;
    DL_APPEND(b->parked, parked);
    return parked;
}

/* Takes over the attachments. */
static void
make_frames(const struct fake_broker *b, struct parked *parked, const struct reply *reply)
{
    struct response_header header = {
        .correlation_id = parked->correlation_id,
        .error = reply->error,
        .metadata_version = b->metadata_version,
        .message = bytes_str(reply->error == DMQ_OK ? "" : err_text(reply->error))};
    parked->frames[parked->frame_count++] = msg_encode_buf(desc_response_header(), 0, &header);
    if (reply->error != DMQ_OK) {
        return;
    }
    parked->frames[parked->frame_count++] = msg_encode_buf(reply->desc, 0, reply->body);
    for (size_t i = 0; i < reply->attachment_count; i++) {
        parked->frames[parked->frame_count++] = reply->attachments[i];
    }
}

static void
corrupt(struct parked *parked)
{
    for (size_t i = 2; i < parked->frame_count; i++) {
        if (parked->frames[i]->size > 65) {
            parked->frames[i]->data[65] ^= 1;
        }
    }
}

/* A parked FETCH gets its records when there are some, or when its time is over. */
static void
look_at_fetch(struct fake_broker *b, struct parked *parked)
{
    struct arena arena;
    struct reply reply = {0};
    arena_init(&arena, (size_t)16 << 20);
    if (fake_fetch(b, &arena, parked->request_body, &reply) != 0 || now_ms() >= parked->due_ms) {
        make_frames(b, parked, &reply);
        buf_unref(parked->request_body);
        parked->request_body = NULL;
        parked->due_ms = 0;
        if (parked->corrupt) {
            corrupt(parked);
        }
    } else {
        for (size_t i = 0; i < reply.attachment_count; i++) {
            buf_unref(reply.attachments[i]);
        }
    }
    arena_deinit(&arena);
}

static void
send_parked(struct fake_broker *b)
{
    struct parked *parked;
    struct parked *next;
    DL_FOREACH_SAFE (b->parked, parked, next) {
        if (parked->request_body != NULL) {
            look_at_fetch(b, parked);
        }
        if (parked->request_body == NULL && now_ms() >= parked->due_ms) {
            router_reply(&b->router, parked->routing_id, parked->frames, parked->frame_count);
            free_parked(b, parked);
        }
    }
}

static struct fake_fault
fault_of(struct fake_broker *b, int16_t api_key)
{
    for (int i = 0; i < MAX_FAULTS; i++) {
        struct fake_fault *fault = &b->faults[i];
        if (fault->times == 0 || fault->api_key != api_key) {
            continue;
        }
        if (fault->skip > 0) {
            fault->skip--;
            continue;
        }
        fault->times--;
        return *fault;
    }
    return (struct fake_fault){0};
}

static void
answer(struct fake_broker *b, const struct router_request *request, struct arena *arena,
       const struct request_header *header)
{
    struct fake_fault fault = fault_of(b, header->api_key);
    struct reply reply = {0};
    bool does = fault.kind != FAKE_ERROR && fault.kind != FAKE_SWALLOW &&
                fault.kind != FAKE_DISCONNECT && fault.kind != FAKE_GARBAGE;
    bool answers = fault.kind == FAKE_NONE || fault.kind == FAKE_ERROR || fault.kind == FAKE_LATE ||
                   fault.kind == FAKE_CORRUPT;
    b->break_connections |= fault.kind == FAKE_DISCONNECT || fault.kind == FAKE_DONE_DISCONNECT;
    if (fault.kind == FAKE_GARBAGE) {
        struct parked *parked = park(b, request->routing_id, 0, 0);
        parked->frames[parked->frame_count++] = buf_copy(bytes_str("\xc1 what is this?"));
        parked->frames[parked->frame_count++] = buf_copy(bytes_str("?"));
        return;
    }
    reply.error = fault.error;
    if (does && header->api_key == API_FETCH) {
        struct fetch_request body;
        struct err_msg msg;
        DMQ_ASSERT(msg_decode(desc_fetch_request(), 0, buf_bytes(request->body), arena, &body,
                              &msg) == DMQ_OK);
        struct parked *parked =
            park(b, request->routing_id, header->correlation_id, body.max_wait_ms);
        parked->request_body = buf_ref(request->body);
        parked->corrupt = fault.kind == FAKE_CORRUPT;
        return;
    }
    if (does) {
        fake_carry_out(b, arena, request, header->api_key, &reply);
    }
    if (answers) {
        make_frames(b, park(b, request->routing_id, header->correlation_id, fault.delay_ms),
                    &reply);
    }
}

static void
receive(struct fake_broker *b, struct router_request *request)
{
    struct request_header header;
    struct err_msg msg;
    struct arena arena;
    while (!b->break_connections && router_recv(&b->router, request) == NET_OK) {
        if (request->fault != NULL || request->header == NULL) {
            continue;
        }
        arena_init(&arena, (size_t)16 << 20);
        DMQ_ASSERT(msg_decode(desc_request_header(), 0, buf_bytes(request->header), &arena, &header,
                              &msg) == DMQ_OK);
        if (header.api_key >= 0 && header.api_key < 128) {
            b->requests[header.api_key]++;
        }
        answer(b, request, &arena, &header);
        arena_deinit(&arena);
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void
open_router(struct fake_broker *b)
{
    struct router_options options = {
        .max_frame_bytes = 64 << 20, .send_hwm = 1000, .recv_hwm = 1000, .linger_ms = 1};
    struct err_msg msg = {0};
    char endpoint[128];
    size_t size = sizeof(endpoint);
    b->router = (struct router){.socket = zmq_socket(b->context, ZMQ_ROUTER)};
    DMQ_ASSERT(router_configure(b->router.socket, &options, &msg) == DMQ_OK);
    if (b->port == 0) {
        DMQ_ASSERT(zmq_bind(b->router.socket, "tcp://127.0.0.1:*") == 0);
        zmq_getsockopt(b->router.socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
        b->port = (int32_t)strtol(strrchr(endpoint, ':') + 1, NULL, 10);
        return;
    }
    /* The port may not be free again at once. */
    for (int i = 0; i < 2000; i++) {
        if (router_bind(b->router.socket, "127.0.0.1", b->port, &msg) == DMQ_OK) {
            return;
        }
        poll(NULL, 0, 1);
    }
    dmq_assert_failed(msg.text, __FILE__, __LINE__);
}

static void
close_router(struct fake_broker *b)
{
    while (b->parked != NULL) {
        free_parked(b, b->parked);
    }
    zmq_close(b->router.socket);
    b->router.socket = NULL;
}

static void
look_at_wishes(struct fake_broker *b)
{
    if (b->break_connections) {
        close_router(b);
        open_router(b);
        b->break_connections = false;
    }
    if (b->want_down && !b->is_down) {
        close_router(b);
        b->is_down = true;
    }
    if (!b->want_down && b->is_down) {
        open_router(b);
        b->is_down = false;
    }
}

static void *
run(void *arg)
{
    struct fake_broker *b = arg;
    struct router_request request = {0};
    for (;;) {
        pthread_mutex_lock(&b->lock);
        if (b->stopping) {
            break;
        }
        look_at_wishes(b);
        void *socket = b->router.socket;
        if (socket != NULL) {
            receive(b, &request);
            send_parked(b);
        }
        pthread_mutex_unlock(&b->lock);
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        zmq_poll(&item, socket == NULL ? 0 : 1, POLL_MS);
    }
    if (b->router.socket != NULL) {
        close_router(b);
    }
    pthread_mutex_unlock(&b->lock);
    router_request_deinit(&request);
    return NULL;
}

struct fake_broker *
fake_broker_start(void)
{
    struct fake_broker *b = calloc(1, sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
    b->context = zmq_ctx_new();
    b->cluster_id.b[0] = 7;
    b->metadata_version = 1;
    b->next_producer_id = 1000;
    open_router(b);
    DMQ_ASSERT(pthread_create(&b->thread, NULL, run, b) == 0);
    return b;
}

void
fake_broker_stop(struct fake_broker *b)
{
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    while (b->topic_count > 0) {
        fake_remove_topic(b, &b->topics[0]);
    }
    zmq_ctx_term(b->context);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int32_t
fake_broker_port(const struct fake_broker *b)
{
    return b->port;
}

void
fake_broker_fault(struct fake_broker *b, struct fake_fault fault)
{
    pthread_mutex_lock(&b->lock);
    int i = 0;
    while (b->faults[i].times > 0) {
        i++;
        DMQ_ASSERT(i < MAX_FAULTS);
    }
    b->faults[i] = fault;
    pthread_mutex_unlock(&b->lock);
}

void
fake_broker_topic(struct fake_broker *b, const char *name, int32_t partitions)
{
    pthread_mutex_lock(&b->lock);
    fake_add_topic(b, bytes_str(name), partitions);
    pthread_mutex_unlock(&b->lock);
}

static void
set_down(struct fake_broker *b, bool down)
{
    pthread_mutex_lock(&b->lock);
    b->want_down = down;
    while (b->is_down != down) {
        pthread_mutex_unlock(&b->lock);
        poll(NULL, 0, 1);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

void
fake_broker_down(struct fake_broker *b)
{
    set_down(b, true);
}

void
fake_broker_up(struct fake_broker *b)
{
    set_down(b, false);
}

void
fake_broker_forget_producers(struct fake_broker *b)
{
    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < b->topic_count; i++) {
        for (int32_t j = 0; j < b->topics[i].partition_count; j++) {
            b->topics[i].partitions[j].producer_count = 0;
        }
    }
    pthread_mutex_unlock(&b->lock);
}

int64_t
fake_broker_end(struct fake_broker *b, const char *topic, int32_t partition)
{
    pthread_mutex_lock(&b->lock);
    int64_t end = fake_find_topic(b, bytes_str(topic))->partitions[partition].end;
    pthread_mutex_unlock(&b->lock);
    return end;
}

int
fake_broker_requests(struct fake_broker *b, int16_t api_key)
{
    pthread_mutex_lock(&b->lock);
    int count = b->requests[api_key];
    pthread_mutex_unlock(&b->lock);
    return count;
}

int
fake_broker_duplicates(struct fake_broker *b)
{
    pthread_mutex_lock(&b->lock);
    int count = b->duplicates;
    pthread_mutex_unlock(&b->lock);
    return count;
}
