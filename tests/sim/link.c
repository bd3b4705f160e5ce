#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/sim/world.h"

/* Connections as libdmq/net and libzmq present them: messages arrive whole, in order within one
 * connection, or not at all; what was on its way when it ended is lost, before or after it was
 * carried out; the dialler hears of the end, the server never does. */

#define MS 1000
#define REFUSED_US (1 * MS)
#define NOTICE_US (20 * MS) /* until a dialler hears that its connection ended */
#define MAX_REDIAL_US (300 * MS)

static struct link *
find_link(struct process *from, struct process *to, enum link_port port, uint32_t conn)
{
    struct world *world = from->world;
    LIST_FOREACH (place, &world->links) {
        struct link *link = LIST_ENTRY(place, struct link, link);
        if (link->from == from && link->to == to && link->port == port && link->conn == conn) {
            return link;
        }
    }
    struct link *link = calloc(1, sizeof(*link));
    DMQ_ASSERT(link != NULL);
    link->from = from;
    link->to = to;
    link->port = port;
    link->conn = conn;
    link->number = ++world->link_count;
    list_init(&link->queue[0]);
    list_init(&link->queue[1]);
    list_append(&world->links, &link->link);
    return link;
}

static struct link *
link_by_number(struct world *world, uint64_t number)
{
    LIST_FOREACH (place, &world->links) {
        struct link *link = LIST_ENTRY(place, struct link, link);
        if (link->number == number) {
            return link;
        }
    }
    DMQ_UNREACHABLE();
}

void
message_free(struct message *message)
{
    for (size_t i = 0; i < message->count; i++) {
        buf_unref(message->frames[i]);
    }
    free(message->frames);
    free(message);
}

static void
lose_messages(struct link *link)
{
    for (int direction = 0; direction < 2; direction++) {
        struct list *place;
        while ((place = list_pop(&link->queue[direction])) != NULL) {
            link->from->world->counts.messages_lost++;
            message_free(LIST_ENTRY(place, struct message, link));
        }
    }
}

struct link *
link_dial(struct process *from, struct process *to, enum link_port port, uint32_t conn)
{
    struct world *world = from->world;
    struct link *link = find_link(from, to, port, conn);
    link->wanted = true;
    if (link->up) {
        return link;
    }
    link->generation++;
    link->delay_us = rng_range(&world->rng, 20, world->options.delay_max_us);
    world_at(world, world->now_us + 2 * link->delay_us,
             (struct world_event){.kind = WORLD_LINK_UP,
                                  .process = from,
                                  .life = from->life,
                                  .link = link,
                                  .number = link->generation});
    return link;
}

static bool
is_cut(const struct link *link)
{
    int64_t now = link->from->world->now_us;
    return link->cut_until_us[0] > now || link->cut_until_us[1] > now;
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
        world_at(world, world->now_us + rng_range(&world->rng, 5 * MS, MAX_REDIAL_US),
                 (struct world_event){.kind = WORLD_REDIAL,
                                      .process = link->from,
                                      .life = link->from->life,
                                      .link = link});
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
    }
}

void
link_up(struct link *link, uint64_t generation)
{
    struct world *world = link->from->world;
    if (generation != link->generation || link->up || !link->wanted) {
        return;
    }
    if (!link->to->alive || is_cut(link)) {
        if (!link->to->alive && link->from->kind == PROCESS_CONTROLLER) {
            controller_refused(link->from, link->to->id);
        }
        if (dials_by_itself(link)) {
            tell(link, false);
        }
        redial(link);
        return;
    }
    link_notice(link); /* it hears of the end of one before the next is up */
    link->up = true;
    world->counts.connections++;
    world_trace(world, "link %d -> %d is up", link->from->id, link->to->id);
    tell(link, true);
}

/* The dialler ends it: it hears nothing of it any more. */
void
link_hang_up(struct link *link)
{
    link->wanted = false;
    link->up = false;
    link->ended = false;
    link->generation++;
    lose_messages(link);
}

/* It ends by itself, and the dialler hears of it a little later. */
void
link_break(struct world *world, struct link *link)
{
    if (!link->up) {
        return;
    }
    link->up = false;
    link->generation++;
    lose_messages(link);
    world->counts.connections_broken++;
    world_trace(world, "link %d -> %d is broken", link->from->id, link->to->id);
    if (link->from->alive) {
        link->ended = true;
        world_at(world, world->now_us + rng_range(&world->rng, 0, NOTICE_US),
                 (struct world_event){.kind = WORLD_LINK_DOWN,
                                      .process = link->from,
                                      .life = link->from->life,
                                      .link = link});
        redial(link);
    }
}

void
links_of_dead(struct process *p)
{
    LIST_FOREACH (place, &p->world->links) {
        struct link *link = LIST_ENTRY(place, struct link, link);
        if (link->from == p) {
            link_hang_up(link);
        } else if (link->to == p) {
            link_break(p->world, link);
        }
    }
}

/* direction 0: from the dialler; 1: back to it. Takes frames (a heap array of references). */
void
link_send(struct link *link, int direction, struct buf **frames, size_t count)
{
    struct world *world = link->from->world;
    struct message *message = calloc(1, sizeof(*message));
    DMQ_ASSERT(message != NULL);
    message->frames = frames;
    message->count = count;
    if (!link->up) {
        message_free(message);
        world->counts.messages_lost++;
        return;
    }
    list_append(&link->queue[direction], &message->link);
    world->counts.messages++;
    int64_t at = world->now_us + link->delay_us + rng_range(&world->rng, 0, link->delay_us);
    at = at > link->cut_until_us[direction] ? at : link->cut_until_us[direction];
    struct process *to = direction == 0 ? link->to : link->from;
    world_at(world, at,
             (struct world_event){.kind = WORLD_DELIVER,
                                  .process = to,
                                  .life = to->life,
                                  .link = link,
                                  .number = (uint64_t)direction});
}

/* The routing id that a server sees: the link and its connection. */
static struct buf *
routing_id(const struct link *link)
{
    struct buf *id = buf_new(16);
    DMQ_ASSERT(id != NULL);
    put_be64(id->data, link->number);
    put_be64(id->data + 8, link->generation);
    return id;
}

void
link_reply(struct process *from, struct bytes id, struct buf **frames, size_t count)
{
    DMQ_ASSERT(id.size == 16);
    struct link *link = link_by_number(from->world, get_be64(id.data));
    DMQ_ASSERT(link->to == from);
    if (link->up && link->generation == get_be64(id.data + 8)) {
        link_send(link, 1, frames, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        buf_unref(frames[i]);
    }
    free(frames);
}

/* Each end has its own copy of the bytes, as over TCP. */
static void
copy_frames(struct message *message)
{
    for (size_t i = 0; i < message->count; i++) {
        struct buf *copy = buf_copy(buf_bytes(message->frames[i]));
        DMQ_ASSERT(copy != NULL);
        buf_unref(message->frames[i]);
        message->frames[i] = copy;
    }
}

void
link_deliver(struct link *link, int direction)
{
    struct list *place = list_pop(&link->queue[direction]);
    if (place == NULL) {
        return; /* lost with its connection */
    }
    struct message *message = LIST_ENTRY(place, struct message, link);
    struct process *to = direction == 0 ? link->to : link->from;
    copy_frames(message);
    if (direction == 0) {
        struct buf *id = routing_id(link);
        struct buf **frames = malloc((message->count + 1) * sizeof(*frames));
        DMQ_ASSERT(frames != NULL);
        frames[0] = id;
        memcpy(frames + 1, message->frames, message->count * sizeof(*frames));
        free(message->frames);
        message->frames = frames;
        message->count++;
    }
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
    message_free(message);
}
