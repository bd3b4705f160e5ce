#include <stdio.h>
#include <stdlib.h>

#include "broker/core/brk.h"
#include "libdmq/base/assert.h"
#include "tests/sim/world.h"

/* Connections as libdmq/net and libzmq present them: messages arrive whole, in order within one
 * connection, or not at all; what was on its way when it ended is lost, before or after it was
 * carried out; the dialler hears of the end, the server never does. A blocked path keeps what was
 * sent until it is open again, as TCP does, unless the silence lasts so long that the connection is
 * given up. */

#define NOTICE_US (20 * MS)     /* until a dialler hears that its connection ended */
#define SILENCE_US (6 * SECOND) /* heartbeats are missed for so long */
#define MAX_REDIAL_US (300 * MS)
#define STRAGGLE_US (2 * SECOND)

/* ---- where they are -------------------------------------------------------------------------- */

struct link *
link_find(const struct process *from, const struct process *to, enum link_port port, uint32_t conn)
{
    LIST_FOREACH (place, &from->links) {
        struct link *link = LIST_ENTRY(place, struct link, link);
        if (link->to == to && link->port == port && link->conn == conn) {
            return link;
        }
    }
    return NULL;
}

static struct link *
link_new(struct process *from, struct process *to, enum link_port port, uint32_t conn)
{
    struct world *world = from->world;
    struct link *link = calloc(1, sizeof(*link));
    DMQ_ASSERT(link != NULL);
    link->from = from;
    link->to = to;
    link->port = port;
    link->conn = conn;
    list_init(&link->queue[0]);
    list_init(&link->queue[1]);
    list_append(&from->links, &link->link);
    if (world->link_count == world->link_capacity) {
        world->link_capacity = world->link_capacity == 0 ? 64 : 2 * world->link_capacity;
        world->links = realloc(world->links, world->link_capacity * sizeof(struct link *));
        DMQ_ASSERT(world->links != NULL);
    }
    world->links[world->link_count++] = link;
    link->number = world->link_count;
    return link;
}

static const struct path *
path_of(const struct link *link, int direction)
{
    const struct process *from = direction == 0 ? link->from : link->to;
    const struct process *to = direction == 0 ? link->to : link->from;
    return &from->world->paths[from->number][to->number];
}

bool
path_is_open(const struct world *world, const struct process *from, const struct process *to)
{
    return world->paths[from->number][to->number].blocked_until_us <= world->now_us;
}

static int64_t
draw_delay(struct link *link, int direction)
{
    struct world *world = link->from->world;
    const struct path *path = path_of(link, direction);
    int64_t slow = path->slow_until_us > world->now_us ? path->slow_us : 0;
    return link->delay_us + rng_range(&world->rng, 0, link->delay_us) + slow;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void
free_frames(struct buf **frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_unref(frames[i]);
    }
    free(frames);
}

void
message_free(struct message *message)
{
    free_frames(message->frames, message->count);
    free(message);
}

/* What the kernel of the dialler has already taken arrives although it has closed, or died: also
 * after what a newer connection brings. */
static void
straggle(struct link *link, struct message *message)
{
    struct world *world = link->from->world;
    int64_t after_us = rng_range(&world->rng, 0, STRAGGLE_US);
    after_us += world->plot.late ? STRAGGLE_US / 4 : 0;
    world->counts.stragglers++;
    world_at(world, world->now_us + after_us,
             (struct world_event){.kind = WORLD_STRAGGLE,
                                  .process = link->to,
                                  .life = link->to->life,
                                  .link = link,
                                  .number = link->generation,
                                  .straggler = message});
}

static void
lose_messages(struct link *link)
{
    struct world *world = link->from->world;
    uint64_t *lost[2] = {&world->counts.requests_lost, &world->counts.answers_lost};
    for (int direction = 0; direction < 2; direction++) {
        struct list *place;
        while ((place = list_pop(&link->queue[direction])) != NULL) {
            struct message *message = LIST_ENTRY(place, struct message, link);
            if (direction == 0 && link->to->alive &&
                (world->plot.late || rng_chance(&world->rng, 300))) {
                straggle(link, message);
            } else {
                (*lost[direction])++;
                message_free(message);
            }
        }
    }
}

static void
post_delivery(struct link *link, int direction, int64_t at_us)
{
    struct process *to = direction == 0 ? link->to : link->from;
    world_at(link->from->world, at_us,
             (struct world_event){.kind = WORLD_DELIVER,
                                  .process = to,
                                  .life = to->life,
                                  .link = link,
                                  .number = link->generation << 1 | (uint64_t)direction});
}

/* direction 0: from the dialler; 1: back to it. Takes frames (a heap array of references). */
void
link_send(struct link *link, int direction, struct buf **frames, size_t count)
{
    struct world *world = link->from->world;
    if (!link->up) {
        free_frames(frames, count);
        world->counts.requests_lost++;
        return;
    }
    struct message *message = calloc(1, sizeof(*message));
    DMQ_ASSERT(message != NULL);
    message->frames = frames;
    message->count = count;
    list_append(&link->queue[direction], &message->link);
    world->counts.messages++;
    post_delivery(link, direction, world->now_us + draw_delay(link, direction));
}

/* The routing id that a server sees: the link and its connection. */
static struct buf *
routing_id(const struct link *link, uint64_t generation)
{
    struct buf *id = buf_new(16);
    DMQ_ASSERT(id != NULL);
    put_be64(id->data, link->number);
    put_be64(id->data + 8, generation);
    return id;
}

struct buf *
link_nobody(const struct link *link)
{
    return routing_id(link, UINT64_MAX);
}

void
link_reply(struct process *from, struct bytes id, struct buf **frames, size_t count)
{
    DMQ_ASSERT(id.size == 16);
    struct link *link = from->world->links[get_be64(id.data) - 1];
    DMQ_ASSERT(link->to == from);
    if (link->up && link->generation == get_be64(id.data + 8)) {
        link_send(link, 1, frames, count);
    } else {
        free_frames(frames, count);
    }
}

/* Each end has its own copy of the bytes, as over TCP; a server sees who asks. */
static void
arrive(struct link *link, int direction, uint64_t generation, struct message *message)
{
    struct buf **frames = malloc((message->count + 1) * sizeof(*frames));
    size_t count = 0;
    DMQ_ASSERT(frames != NULL);
    if (direction == 0) {
        frames[count++] = routing_id(link, generation);
    }
    for (size_t i = 0; i < message->count; i++) {
        frames[count++] = buf_copy(buf_bytes(message->frames[i]));
        DMQ_ASSERT(frames[count - 1] != NULL);
    }
    free_frames(message->frames, message->count);
    message->frames = frames;
    message->count = count;
}

static void
receive(struct link *link, int direction, struct message *message)
{
    struct process *to = direction == 0 ? link->to : link->from;
    switch (to->kind) {
    case PROCESS_CONTROLLER:
        controller_receive(to, link, direction, message);
        break;
    case PROCESS_BROKER:
        broker_receive(to, link, direction, message);
        break;
    case PROCESS_CLIENT:
        client_receive(to, message, link);
        break;
    }
}

void
link_deliver(struct link *link, uint64_t number)
{
    int direction = (int)(number & 1);
    const struct path *path = path_of(link, direction);
    if (number >> 1 != link->generation || list_empty(&link->queue[direction])) {
        return; /* lost with its connection */
    }
    if (path->blocked_until_us > link->from->world->now_us) {
        post_delivery(link, direction, path->blocked_until_us);
        return;
    }
    struct list *place = list_pop(&link->queue[direction]);
    struct message *message = LIST_ENTRY(place, struct message, link);
    arrive(link, direction, link->generation, message);
    receive(link, direction, message);
    message_free(message);
}

void
link_hasten(struct link *link)
{
    for (int direction = 0; direction < 2; direction++) {
        LIST_FOREACH (place, &link->queue[direction]) {
            post_delivery(link, direction, link->from->world->now_us + draw_delay(link, direction));
        }
    }
}

void
link_straggle(struct link *link, uint64_t generation, struct message *message)
{
    arrive(link, 0, generation, message);
    receive(link, 0, message);
    message_free(message);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void
post(struct link *link, enum world_event_kind kind, int64_t at_us, uint64_t number)
{
    world_at(link->from->world, at_us,
             (struct world_event){.kind = kind,
                                  .process = link->from,
                                  .life = link->from->life,
                                  .link = link,
                                  .number = number});
}

struct link *
link_dial(struct process *from, struct process *to, enum link_port port, uint32_t conn)
{
    struct world *world = from->world;
    struct link *link = link_find(from, to, port, conn);
    link = link == NULL ? link_new(from, to, port, conn) : link;
    link->wanted = true;
    if (link->up) {
        return link;
    }
    link->generation++;
    link->delay_us = rng_range(&world->rng, 20, world->options.delay_max_us);
    post(link, WORLD_LINK_UP, world->now_us + 2 * draw_delay(link, 0), link->generation);
    return link;
}

/* A client, and a broker that looks for the leading controller, say whom they dial next. */
static bool
dials_by_itself(const struct link *link)
{
    return link->from->kind == PROCESS_CLIENT ||
           (link->from->kind == PROCESS_BROKER && link->port == PORT_CONTROLLER);
}

static void
redial(struct link *link)
{
    struct world *world = link->from->world;
    if (link->wanted && !dials_by_itself(link)) {
        post(link, WORLD_REDIAL, world->now_us + rng_range(&world->rng, 5 * MS, MAX_REDIAL_US), 0);
    }
}

static void
tell(struct link *link, bool up)
{
    switch (link->from->kind) {
    case PROCESS_CONTROLLER:
        controller_link(link->from, link, up);
        break;
    case PROCESS_BROKER:
        broker_link(link->from, link, up);
        break;
    case PROCESS_CLIENT:
        client_link(link->from, link, up);
        break;
    }
}

void
link_notice(struct link *link)
{
    if (link->ended) {
        link->ended = false;
        tell(link, false);
        requests_end(link);
    }
}

static bool
is_reachable(const struct link *link)
{
    const struct world *world = link->from->world;
    return link->to->alive && link->to->paused_until_us <= world->now_us &&
           path_is_open(world, link->from, link->to) && path_is_open(world, link->to, link->from);
}

void
link_up(struct link *link, uint64_t generation)
{
    struct process *from = link->from;
    uint64_t life = from->life;
    if (generation != link->generation || link->up || !link->wanted) {
        return;
    }
    link_notice(link); /* it hears of the end of one before the next is up */
    if (!from->alive || from->life != life || !link->wanted) {
        return;
    }
    if (!is_reachable(link)) {
        redial(link);
        if (dials_by_itself(link)) {
            tell(link, false);
        }
        return;
    }
    link->up = true;
    if (link->to->kind == PROCESS_BROKER) {
        link->there = link->to->brk->config.incarnation;
    }
    from->world->counts.connections++;
    world_trace(from->world, "link %d -> %d is up", from->id, link->to->id);
    tell(link, true);
}

/* The dialler ends it: it hears nothing of it any more. */
void
link_hang_up(struct link *link)
{
    link->wanted = false;
    link->up = false;
    link->ended = false;
    lose_messages(link);
    link->generation++;
}

/* It ends by itself, and the dialler hears of it a little later, or after its heartbeats were
 * missed where it hears nothing. */
void
link_break(struct link *link)
{
    struct world *world = link->from->world;
    if (!link->up) {
        return;
    }
    link->up = false;
    lose_messages(link);
    link->generation++;
    world->counts.connections_broken++;
    world_trace(world, "link %d -> %d is broken", link->from->id, link->to->id);
    if (link->from->alive) {
        int64_t open_us = path_of(link, 1)->blocked_until_us;
        int64_t latest = world->now_us + SILENCE_US;
        int64_t at = world->now_us + rng_range(&world->rng, 0, NOTICE_US);
        at = at > open_us ? at : open_us < latest ? open_us : latest;
        link->ended = true;
        post(link, WORLD_LINK_DOWN, at, 0);
        redial(link);
    }
}

void
link_dies(struct link *link, uint64_t generation)
{
    if (link->up && link->generation == generation) {
        link->from->world->counts.connections_died++;
        link_break(link);
    }
}

void
links_of_dead(struct process *p)
{
    struct world *world = p->world;
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = world->links[i];
        if (link->from == p) {
            link_hang_up(link);
            link->call_count = 0;
        } else if (link->to == p) {
            link_break(link);
        }
    }
}
