/* Peers that send garbage: frames of any bytes, mostly behind a header that is right, arrive at a
 * process as if from a connection that nobody has. It may answer or not; nothing else may follow.
 * The chance is drawn beside the world's own, so that seeds keep their stories. */
#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/world.h"

#define GARBAGE_FRAMES 4
#define GARBAGE_BYTES 60

static struct buf *
noise(struct rng *rng)
{
    struct buf *frame = buf_new(rng_below(rng, GARBAGE_BYTES));
    DMQ_ASSERT(frame != NULL);
    for (size_t i = 0; i < frame->size; i++) {
        frame->data[i] = (uint8_t)rng_next(rng);
    }
    return frame;
}

static struct buf *
header(struct rng *rng)
{
    const struct api_desc *api = &api_table[rng_below(rng, api_table_count)];
    const struct request_header header = {.protocol = WIRE_PROTOCOL,
                                          .api_key = api->key,
                                          .api_version = (int16_t)rng_below(rng, 2),
                                          .correlation_id = (int64_t)rng_below(rng, 1000),
                                          .time_left_ms = 1000};
    struct buf *frame = msg_encode_buf(desc_request_header(), 0, &header);
    DMQ_ASSERT(frame != NULL);
    return frame;
}

static void
send(struct link *link, struct rng *rng)
{
    struct buf *frames[1 + GARBAGE_FRAMES];
    size_t count = 1 + rng_below(rng, GARBAGE_FRAMES);
    struct message message = {.frames = frames};
    frames[message.count++] = link_nobody(link);
    for (size_t i = 0; i < count; i++) {
        bool head = i == 0 && rng_chance(rng, 800);
        frames[message.count++] = head ? header(rng) : noise(rng);
    }
    link->to->world->counts.garbage++;
    if (link->to->kind == PROCESS_BROKER) {
        broker_receive(link->to, link, 0, &message);
    } else {
        controller_garbage(link->to, &message);
    }
}

void
garbage_happens(struct world *world)
{
    struct rng rng;
    rng_init(&rng, world->options.seed ^ ((uint64_t)world->now_us * 31));
    if (world->link_count == 0 || !rng_chance(&rng, 300)) {
        return;
    }
    struct link *link = world->links[rng_below(&rng, world->link_count)];
    struct process *to = link->to;
    bool hears = to->alive && to->paused_until_us <= world->now_us && to->kind != PROCESS_CLIENT;
    if (hears) {
        send(link, &rng);
    }
}
