/* A peer that sends garbage which is nearly right: requests of the message table with random
 * contents, some with changed bytes or a wrong number of attachments. Every one must be answered,
 * with a header that decodes; but not those that nothing answers unless they are malformed.
 *
 *     hostile ENDPOINT LISTENER SEED COUNT      LISTENER as enum api_listener has it
 *
 * Prints how many answers had each error; exits with 1 at the first request without an answer. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "tests/support/random_msg.h"

#define ANSWER_MS 10000
#define ARENA_BYTES (16u << 20)
#define MOST_ERRORS 2000

union any_msg {
    max_align_t align;
    unsigned char room[1024];
};

struct hostile {
    void *socket;
    struct rng rng;
    unsigned listener;
    struct arena arena;
    unsigned answers[MOST_ERRORS]; /* by error + 1 */
    bool *one_way;                 /* by number: nothing answers it, or says what is wrong */
};

static const struct api_desc *
draw_api(struct hostile *h)
{
    const struct api_desc *api;
    do {
        api = &api_table[rng_below(&h->rng, api_table_count)];
    } while ((api->listeners & h->listener) == 0);
    return api;
}

/* As many as the call has, mostly. */
static size_t
draw_attachments(struct hostile *h, const struct api_desc *api, const union any_msg *msg)
{
    if (rng_chance(&h->rng, 100)) {
        return (size_t)rng_below(&h->rng, 4);
    }
    if (api->key == API_PRODUCE) {
        return ((const struct produce_request *)msg)->partitions_count;
    }
    return api->key == API_ENVELOPE ? 2 : 0;
}

static void
send_attachments(struct hostile *h, size_t count)
{
    uint8_t noise[200];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof(noise); k++) {
            noise[k] = (uint8_t)rng_next(&h->rng);
        }
        zmq_send(h->socket, noise, rng_below(&h->rng, sizeof(noise)),
                 i + 1 < count ? ZMQ_SNDMORE : 0);
    }
}

/* True if it will be answered. */
static bool
send_request(struct hostile *h, int64_t number)
{
    union any_msg msg;
    struct outbuf head = {0};
    struct outbuf body = {0};
    const struct api_desc *api = draw_api(h);
    const struct request_header header = {.protocol = WIRE_PROTOCOL,
                                          .api_key = api->key,
                                          .correlation_id = number,
                                          .client_id = bytes_str("hostile"),
                                          .time_left_ms = 200};
    arena_reset(&h->arena);
    random_msg(&h->rng, api->request(), &h->arena, &msg);
    msg_encode(desc_request_header(), 0, &header, &head);
    msg_encode(api->request(), 0, &msg, &body);
    DMQ_ASSERT(!head.failed && !body.failed);
    for (int changes = rng_chance(&h->rng, 300) ? 3 : 0; changes > 0; changes--) {
        body.data[rng_below(&h->rng, body.size)] = (uint8_t)rng_next(&h->rng);
    }
    size_t attachments = draw_attachments(h, api, &msg);
    zmq_send(h->socket, head.data, head.size, ZMQ_SNDMORE);
    zmq_send(h->socket, body.data, body.size, attachments > 0 ? ZMQ_SNDMORE : 0);
    send_attachments(h, attachments);
    outbuf_deinit(&head);
    outbuf_deinit(&body);
    h->one_way[number] = api->key == API_RAFT || api->key == API_REPLICA_PROGRESS;
    return !h->one_way[number];
}

/* The header of one whole answer; false if none comes, or it is malformed. */
static bool
recv_answer(struct hostile *h, struct response_header *ret_header)
{
    zmq_pollitem_t item = {.socket = h->socket, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, ANSWER_MS) <= 0) {
        fprintf(stderr, "no answer\n");
        return false;
    }
    dmq_err result = DMQ_OK;
    struct err_msg err = {0};
    int more = 1;
    for (int i = 0; more != 0; i++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        zmq_msg_recv(&frame, h->socket, 0);
        more = zmq_msg_more(&frame);
        if (i == 0) {
            struct bytes bytes = bytes_of(zmq_msg_data(&frame), zmq_msg_size(&frame));
            result = msg_decode(desc_response_header(), 0, bytes, &h->arena, ret_header, &err);
            ret_header->message = (struct bytes){0}; /* it lay in the frame */
        }
        zmq_msg_close(&frame);
    }
    if (result != DMQ_OK) {
        fprintf(stderr, "header of an answer: %s\n", err.text);
    }
    return result == DMQ_OK;
}

static bool
ask(struct hostile *h, int64_t number)
{
    struct response_header header;
    if (!send_request(h, number)) {
        return true; /* that the process goes on is what the next one shows */
    }
    do {
        if (!recv_answer(h, &header)) {
            return false;
        }
    } while (header.correlation_id >= 0 && header.correlation_id < number &&
             h->one_way[header.correlation_id]);
    if (header.correlation_id != number || header.error < -1 || header.error >= MOST_ERRORS - 1) {
        fprintf(stderr, "answer %" PRId64 " with error %" PRId32 " to request %" PRId64 "\n",
                header.correlation_id, header.error, number);
        return false;
    }
    h->answers[header.error + 1]++;
    return true;
}

int
main(int argc, char **argv)
{
    static struct hostile h;
    if (argc != 5) {
        fprintf(stderr, "usage: hostile ENDPOINT LISTENER SEED COUNT\n");
        return 2;
    }
    void *context = zmq_ctx_new();
    h.socket = zmq_socket(context, ZMQ_DEALER);
    h.listener = (unsigned)strtoul(argv[2], NULL, 10);
    rng_init(&h.rng, strtoul(argv[3], NULL, 10));
    arena_init(&h.arena, ARENA_BYTES);
    int64_t count = strtoll(argv[4], NULL, 10);
    int64_t asked = 0;
    h.one_way = calloc((size_t)count + 1, sizeof(*h.one_way));
    DMQ_ASSERT(h.one_way != NULL);
    zmq_setsockopt(h.socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    zmq_connect(h.socket, argv[1]);
    while (asked < count && ask(&h, asked)) {
        asked++;
    }
    for (int i = 0; i < MOST_ERRORS; i++) {
        if (h.answers[i] > 0) {
            printf("%s=%u ", err_name(i - 1), h.answers[i]);
        }
    }
    printf("\n");
    arena_deinit(&h.arena);
    free(h.one_way);
    zmq_close(h.socket);
    zmq_ctx_term(context);
    return asked == count ? 0 : 1;
}
