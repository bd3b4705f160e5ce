#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/client/accum.h"
#include "libdmq/client/client.h"
#include "libdmq/wire/batch_read.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/world.h"

/* A program with one producer and one consumer: the client's step machine and the accumulator that
 * libdmq's producer has, without its threads. It creates the topics of the world, sends numbered
 * values to every partition, and reads all of them from the start. */

#define PRODUCER 1
#define CONSUMER 2
#define FIRST_CALL 100
#define SLOTS (WORLD_MAX_TOPICS * WORLD_PARTITIONS)

struct slot {
    int topic;
    int partition;
    int64_t next;    /* offset of the next record */
    bool from_start; /* the next record is the first since the assignment */
    bool back;       /* the next record is the first since it was told that the log was cut */
    bool told;       /* that the last copy of it is damaged: tries again now and then */
};

struct sim_client {
    struct client *machine;
    struct client_effects effects;
    struct accum accum;
    struct accum_topic *topics[WORLD_MAX_TOPICS];
    int32_t handles[WORLD_MAX_TOPICS]; /* -1: not known yet */
    uint64_t next_call;
    struct slot slots[SLOTS];
    size_t slot_count;
    uint32_t generation;
    struct batch_reader reader;
    bool quiet; /* sends nothing new */
    uint64_t flush_mark;
    int32_t sent_epoch[WORLD_PARTITIONS]; /* to the topic that unclean elections are held of */
};

static void step(struct process *p, struct client_event *event);
static void pump(struct process *p);

static void
topic_name(int topic, char name[16])
{
    snprintf(name, 16, "t%d", topic);
}

/* ---- what the machine asks for --------------------------------------------------------------- */

static void
connect_to(struct process *p, uint32_t conn)
{
    int32_t port = p->client->machine->conns[conn]->port;
    struct process *broker = world_by_id(p->world, PROCESS_BROKER, port - BROKER_CLIENT_PORT(0));
    DMQ_ASSERT(broker != NULL);
    link_dial(p, broker, PORT_CLIENT, conn);
}

static struct link *
link_of(struct process *p, uint32_t conn)
{
    LIST_FOREACH (place, &p->links) {
        struct link *link = LIST_ENTRY(place, struct link, link);
        if (link->conn == conn) {
            return link;
        }
    }
    DMQ_UNREACHABLE();
}

/* The epoch of the leader that a batch is meant for, which refuses it in another one: what it
 * acknowledges was acknowledged in this. */
static void
note_epochs(struct process *p, struct buf **frames)
{
    struct sim_client *c = p->client;
    struct request_header header;
    struct produce_request request;
    struct arena arena;
    struct err_msg msg;
    const int32_t handle = c->handles[WORLD_MAX_TOPICS - 1];
    arena_init(&arena, 1 << 16);
    dmq_err err = msg_decode(desc_request_header(), 0, buf_bytes(frames[0]), &arena, &header, &msg);
    DMQ_ASSERT(err == DMQ_OK);
    if (header.api_key == API_PRODUCE && handle >= 0) {
        err = msg_decode(desc_produce_request(), 0, buf_bytes(frames[1]), &arena, &request, &msg);
        DMQ_ASSERT(err == DMQ_OK);
        for (uint32_t i = 0; i < request.partitions_count; i++) {
            const struct produce_partition *to = &request.partitions[i];
            if (uuid_equal(to->topic_id, client_topic(c->machine, handle)->id)) {
                c->sent_epoch[to->partition] = to->leader_epoch;
            }
        }
    }
    arena_deinit(&arena);
}

static void
send_frames(struct process *p, const struct client_effect *effect)
{
    struct client_effects *effects = &p->client->effects;
    struct buf **frames = malloc(effect->u.send.count * sizeof(*frames));
    DMQ_ASSERT(frames != NULL);
    for (size_t i = 0; i < effect->u.send.count; i++) {
        frames[i] = buf_ref(effects->frames[effect->u.send.first + i]);
    }
    if (p->world->options.unclean && effect->u.send.count > 1) {
        note_epochs(p, frames);
    }
    link_send(link_of(p, effect->conn), 0, frames, effect->u.send.count);
}

static void
note_outcome(struct process *p, const struct send_batch *batch)
{
    struct world *world = p->world;
    for (uint32_t i = 0; i < batch->opaques.count; i++) {
        const struct send_opaque *record = &batch->opaques.items[i];
        struct history_send *send = &world->history.sends[record->u.opaque - 1];
        int32_t cls = err_class(batch->result.code);
        DMQ_ASSERT(send->outcome == HISTORY_INVOKED);
        if (batch->result.code == DMQ_OK) {
            send->outcome = HISTORY_OK;
            send->offset = batch->base_offset < 0 ? -1 : batch->base_offset + record->index;
            send->epoch =
                unclean_is_topic(world, send->topic) ? p->client->sent_epoch[send->partition] : 0;
            world->counts.acked++;
        } else if (cls == DMQ_CLASS_MAYBE_DONE) {
            send->outcome = HISTORY_INFO;
            world->counts.unknown++;
        } else {
            send->outcome = HISTORY_FAIL;
        }
    }
    if (batch->result.code != DMQ_OK) {
        world_trace(world, "client %d: batch of t%d-%d failed: %s", p->id, batch->topic,
                    batch->partition, batch->result.text);
    }
}

static void
note_record(struct process *p, struct slot *slot, const struct batch_record *record, int32_t epoch)
{
    char text[24] = "";
    size_t size = record->value.size < 20 ? record->value.size : 20;
    memcpy(text, record->value.data, size);
    history_poll(&p->world->history, &(struct history_poll){.process = p->id,
                                                            .topic = slot->topic,
                                                            .partition = slot->partition,
                                                            .offset = record->offset,
                                                            .value = strtoull(text, NULL, 10),
                                                            .from_start = slot->from_start,
                                                            .back = slot->back,
                                                            .epoch = epoch});
    slot->from_start = false;
    slot->back = false;
    slot->next = record->offset + 1;
    p->world->counts.polls++;
}

/* Back to an offset below: where a leader was elected uncleanly it was told so.
 */
static void
set_back(struct process *p, struct slot *slot, int64_t offset)
{
    if (!unclean_was_cut(p->world, slot->topic, slot->partition)) {
        world_fail(p->world,
                   "a reader was set back: client %d is at %" PRId64
                   " of t%d-%d, and gets %" PRId64,
                   p->id, slot->next, slot->topic, slot->partition, offset);
    }
    slot->next = offset;
    slot->back = true;
    p->world->counts.readers_told++;
}

static void
take_records(struct process *p, const struct client_effect *effect)
{
    struct sim_client *c = p->client;
    struct bytes batch;
    if (effect->u.records.frame == NULL) {
        return;
    }
    struct bytes rest = buf_bytes(effect->u.records.frame);
    int64_t consumed = (int64_t)rest.size;
    bool current = effect->u.records.generation == c->generation;
    if (current && effect->u.records.offset < c->slots[effect->u.records.slot].next) {
        set_back(p, &c->slots[effect->u.records.slot], effect->u.records.offset);
    }
    while (current && batch_next(&rest, &batch) == DMQ_OK) {
        const struct batch_limits limits = {.max_bytes = 0};
        struct batch_record record;
        struct batch_header header;
        struct err_msg err;
        if (batch_check(batch, &limits, &err, &header) != DMQ_OK ||
            batch_reader_open(&c->reader, batch, &err) != DMQ_OK) {
            world_fail(p->world, "a reader got a batch that is corrupt");
            return;
        }
        while (batch_reader_next(&c->reader, &record)) {
            struct slot *slot = &c->slots[effect->u.records.slot];
            if (record.offset >= effect->u.records.offset && record.offset >= slot->next) {
                note_record(p, slot, &record, header.leader_epoch);
            }
        }
    }
    p->consumed += consumed;
}

static void
topic_news(struct process *p, int32_t handle)
{
    struct sim_client *c = p->client;
    const struct known_topic *known = client_topic(c->machine, handle);
    for (int i = 0; i < WORLD_MAX_TOPICS; i++) {
        char name[16];
        topic_name(i, name);
        if (strcmp(known->name, name) != 0 || known->err != DMQ_OK) {
            continue;
        }
        c->handles[i] = handle;
        bool good = accum_topic_known(c->topics[i], handle, known->partition_count,
                                      known->max_message_bytes);
        DMQ_ASSERT(good);
    }
}

/* It gives up only where the last copy is damaged, which rot.c mends. */
static void
slot_failed(struct process *p, const struct client_effect *effect)
{
    struct world *world = p->world;
    world_trace(world, "client %d: slot failed: %s", p->id, effect->result.text);
    if (effect->result.code != DMQ_ERR_DAMAGED || world->counts.rots_of_last_copies == 0) {
        world_fail(world, "a reader's partition stopped");
    } else if (effect->u.records.generation == p->client->generation) {
        p->client->slots[effect->u.records.slot].told = true;
        world->counts.readers_told_of_damage++;
    }
}

static void
carry_out(struct process *p, struct client_effect *effect)
{
    struct sim_client *c = p->client;
    switch (effect->type) {
    case CLIENT_CONNECT:
        connect_to(p, effect->conn);
        break;
    case CLIENT_DISCONNECT:
        link_hang_up(link_of(p, effect->conn));
        break;
    case CLIENT_SEND:
        send_frames(p, effect);
        break;
    case CLIENT_TOPIC:
        topic_news(p, effect->u.topic);
        break;
    case CLIENT_ANSWERED:
        admin_answered(p, effect->id, effect->result.code, effect->u.body);
        break;
    case CLIENT_OFFSETS:
        break;
    case CLIENT_BATCH_DONE:
        note_outcome(p, effect->u.batch);
        accum_done(&c->accum, effect->u.batch);
        break;
    case CLIENT_SEND_WAITS:
        break;
    case CLIENT_RECORDS:
        take_records(p, effect);
        break;
    case CLIENT_SLOT_FAILED:
        slot_failed(p, effect);
        break;
    }
}

static void
set_tick(struct process *p)
{
    struct sim_client *c = p->client;
    int64_t accum = accum_wake_at(&c->accum);
    process_tick_at(p, c->machine->wake_at_ms < accum ? c->machine->wake_at_ms : accum);
}

/* Effects may bring further events (records that were consumed): those wait until the step is over.
 */
static void
step(struct process *p, struct client_event *event)
{
    struct sim_client *c = p->client;
    event->now_ms = process_now_ms(p);
    client_step(c->machine, event, &c->effects);
    DMQ_ASSERT(!c->machine->broken);
    for (size_t i = 0; i < c->effects.count; i++) {
        carry_out(p, &c->effects.items[i]);
    }
    client_effects_clear(&c->effects);
    while (p->consumed > 0) {
        struct client_event consumed = {.type = CLIENT_CONSUMED, .id = CONSUMER};
        consumed.u.bytes = p->consumed;
        p->consumed = 0;
        step(p, &consumed);
    }
    set_tick(p);
}

/* Hands over what the accumulator lets go. */
static void
pump(struct process *p)
{
    struct sim_client *c = p->client;
    struct send_batch *batch;
    while ((batch = accum_take(&c->accum, process_now_ms(p))) != NULL) {
        struct client_event event = {.type = CLIENT_BATCH_CLOSED, .id = PRODUCER};
        event.u.batch = batch;
        step(p, &event);
    }
    set_tick(p);
}

/* ---- events ---------------------------------------------------------------------------------- */

void
client_tick(struct process *p)
{
    step(p, &(struct client_event){.type = CLIENT_TICK});
    pump(p);
}

void
client_link(struct process *p, struct link *link, bool up)
{
    const struct err_msg reason = {.code = DMQ_ERR_NETWORK, .text = "the connection ended"};
    struct client_event event = {.type = up ? CLIENT_CONNECTED : CLIENT_DISCONNECTED,
                                 .conn = link->conn};
    if (!up) {
        event.u.reason = &reason;
    }
    step(p, &event);
    pump(p);
}

void
client_receive(struct process *p, struct message *message, struct link *link)
{
    struct client_event event = {.type = CLIENT_RESPONSE, .conn = link->conn};
    event.u.response.frames = message->frames;
    event.u.response.count = message->count;
    step(p, &event);
    pump(p);
}

/* ---- what it does ---------------------------------------------------------------------------- */

uint64_t
client_next_call(const struct process *p)
{
    return p->client->next_call;
}

void
client_call_cluster(struct process *p, int16_t api_key, const void *body)
{
    struct client_event event = {.type = CLIENT_CALLED, .id = p->client->next_call++};
    struct buf *frame = msg_encode_buf(api_find(api_key)->request(), 0, body);
    DMQ_ASSERT(frame != NULL);
    event.u.call.api_key = api_key;
    event.u.call.body = frame;
    event.u.call.deadline_ms = process_now_ms(p) + p->world->options.admin_timeout_ms;
    event.u.call.once = client_call_is_once(api_key, body);
    step(p, &event);
    buf_unref(frame);
}

void
client_create(struct process *p, const char *name, struct uuid request_id)
{
    const struct world_options *o = &p->world->options;
    bool shared = strlen(name) == 2; /* written to, and read */
    char segment[24];
    char bytes[24];
    char age[24];
    snprintf(segment, sizeof(segment), "%" PRId64, o->segment_bytes);
    snprintf(bytes, sizeof(bytes), "%" PRId64, o->retention_bytes);
    snprintf(age, sizeof(age), "%" PRId64, o->retention_ms);
    struct config_entry config[] = {
        {bytes_str("segment.bytes"), bytes_str(segment)},
        {bytes_str("durability"), bytes_str(o->async_topic ? "async" : "sync")},
        {bytes_str("retention.bytes"), bytes_str(bytes)},
        {bytes_str("retention.ms"), bytes_str(age)}};
    const struct create_topic_request request = {.topic_name = bytes_str(name),
                                                 .request_id = request_id,
                                                 .partition_count = WORLD_PARTITIONS,
                                                 .replication_factor = (int16_t)o->replication,
                                                 .config = config,
                                                 .config_count = shared ? 4 : 2};
    client_call_cluster(p, API_CREATE_TOPIC, &request);
}

static void
want_topic(struct process *p, int topic)
{
    char name[16];
    struct client_event event = {.type = CLIENT_TOPIC_WANTED};
    topic_name(topic, name);
    event.u.topic = name;
    step(p, &event);
}

static void
assign(struct process *p)
{
    struct sim_client *c = p->client;
    struct client_position positions[SLOTS];
    struct client_event event = {.type = CLIENT_ASSIGNED, .id = CONSUMER};
    c->slot_count = 0;
    for (int topic = 0; topic < WORLD_MAX_TOPICS; topic++) {
        for (int n = 0; c->handles[topic] >= 0 && n < WORLD_PARTITIONS; n++) {
            c->slots[c->slot_count] =
                (struct slot){.topic = topic, .partition = n, .from_start = true};
            positions[c->slot_count++] =
                (struct client_position){.topic = c->handles[topic], .partition = n};
        }
    }
    event.u.positions.positions = positions;
    event.u.positions.count = c->slot_count;
    event.u.positions.generation = ++c->generation;
    step(p, &event);
}

static void
try_again(struct process *p)
{
    struct sim_client *c = p->client;
    for (uint32_t i = 0; i < c->slot_count; i++) {
        struct client_event event = {.type = CLIENT_SOUGHT, .id = CONSUMER};
        event.u.seek.slot = i;
        event.u.seek.generation = c->generation;
        event.u.seek.offset = c->slots[i].next;
        if (c->slots[i].told) {
            c->slots[i].told = false;
            step(p, &event);
        }
    }
}

static void
send_value(struct process *p, int topic)
{
    struct world *world = p->world;
    struct sim_client *c = p->client;
    char value[256];
    int partition = (int)rng_below(&world->rng, WORLD_PARTITIONS);
    int size = snprintf(value, sizeof(value), "%020" PRIu64, world->next_value);
    size_t total = (size_t)size + rng_below(&world->rng, 200);
    memset(value + size, '.', total - (size_t)size);
    struct accum_record record = {.partition = partition,
                                  .value = bytes_of(value, total),
                                  .timestamp = WALL_START_MS + process_now_ms(p),
                                  .opaque = world->history.send_count + 1};
    bool wake;
    if (accum_append(&c->accum, c->topics[topic], &record, process_now_ms(p), &wake) != DMQ_OK) {
        return; /* the buffer is full: nothing was sent */
    }
    history_invoke(&world->history, &(struct history_send){.process = p->id,
                                                           .topic = topic,
                                                           .partition = partition,
                                                           .value = world->next_value++,
                                                           .offset = -1});
    world->counts.sends++;
}

void
client_work(struct process *p)
{
    struct world *world = p->world;
    struct sim_client *c = p->client;
    if (c->quiet) {
        return;
    }
    int topic = (int)rng_below(&world->rng, WORLD_MAX_TOPICS);
    if (c->handles[topic] < 0) {
        admin_create_shared(p, topic); /* every client asks: one topic comes of it */
        want_topic(p, topic);
        assign(p);
    } else {
        for (uint64_t n = rng_below(&world->rng, 12); n > 0; n--) {
            send_value(p, topic);
        }
        pump(p);
    }
    if (rng_chance(&world->rng, 60)) {
        admin_work(p);
    }
    if (world->counts.rots_of_last_copies > 0) {
        try_again(p);
    }
    if (rng_chance(&world->rng, 10)) {
        assign(p); /* begins to read anew, with the topics that are known by now */
    }
    world_at(world, world->now_us + rng_range(&world->rng, 0, 2 * world->options.work_every_us),
             (struct world_event){.kind = WORLD_WORK, .process = p, .life = p->life});
}

void
client_quiesce(struct process *p)
{
    p->client->quiet = true;
    p->client->flush_mark = accum_flush(&p->client->accum);
    pump(p);
}

bool
client_flushed(struct process *p)
{
    return p->client->quiet && accum_flushed(&p->client->accum, p->client->flush_mark);
}

void
client_reread(struct process *p)
{
    for (int topic = 0; topic < WORLD_MAX_TOPICS; topic++) {
        want_topic(p, topic);
    }
    assign(p);
}

/* Up to the end of the log of whoever leads. */
static bool
has_read(const struct process *p, const struct slot *slot)
{
    const struct known_topic *topic =
        client_topic(p->client->machine, p->client->handles[slot->topic]);
    for (int i = 0; i < p->world->options.brokers; i++) {
        const struct brk *brk = world_process(p->world, PROCESS_BROKER, i)->brk;
        struct brk_partition_view view;
        if (brk != NULL && brk_partition_view(brk, topic->id, slot->partition, &view) &&
            view.leader) {
            return slot->next >= view.end || view.start == view.end;
        }
    }
    return false;
}

bool
client_has_read_all(struct process *p)
{
    const struct sim_client *c = p->client;
    for (size_t i = 0; i < c->slot_count; i++) {
        if (!has_read(p, &c->slots[i])) {
            return false;
        }
    }
    return true;
}

/* ---- the process ----------------------------------------------------------------------------- */

void
client_start(struct process *p)
{
    struct world *world = p->world;
    struct sim_client *c = calloc(1, sizeof(*c));
    struct client_address addresses[WORLD_MAX_BROKERS];
    DMQ_ASSERT(c != NULL);
    p->client = c;
    for (int i = 0; i < world->options.brokers; i++) {
        int32_t id = world_process(world, PROCESS_BROKER, i)->id;
        addresses[i] = (struct client_address){.host = "sim", .port = BROKER_CLIENT_PORT(id)};
    }
    c->machine =
        client_new("sim", addresses, (size_t)world->options.brokers, rng_next(&world->rng));
    c->next_call = FIRST_CALL;
    batch_reader_init(&c->reader, &COMPRESS_DEFAULT_LIMITS);
    const struct accum_config accum = {.batch_bytes = (size_t)world->options.batch_bytes,
                                       .buffer_bytes = 1 << 16,
                                       .max_in_flight = 5,
                                       .seed = rng_next(&world->rng)};
    accum_init(&c->accum, &accum);
    for (int i = 0; i < WORLD_MAX_TOPICS; i++) {
        char name[16];
        topic_name(i, name);
        c->topics[i] = accum_topic(&c->accum, name);
        c->handles[i] = -1;
    }
    const struct sender_config producer = {.acks = (int16_t)world->options.acks,
                                           .idempotent = true,
                                           .max_in_flight = 5,
                                           .delivery_timeout_ms =
                                               world->options.delivery_timeout_ms,
                                           .request_timeout_ms = 2000};
    const struct fetcher_config consumer = {.min_bytes = 1,
                                            .max_wait_ms = 200,
                                            .max_bytes = 1 << 14,
                                            .max_partition_bytes = 1 << 12,
                                            .max_queued_bytes = 1 << 15,
                                            .reset = FETCH_RESET_START};
    struct client_event event = {.type = CLIENT_PRODUCER_OPENED, .id = PRODUCER};
    event.u.producer = &producer;
    step(p, &event);
    event = (struct client_event){.type = CLIENT_CONSUMER_OPENED, .id = CONSUMER};
    event.u.consumer = &consumer;
    step(p, &event);
    world_at(world, world->now_us + rng_range(&world->rng, 0, world->options.work_every_us),
             (struct world_event){.kind = WORLD_WORK, .process = p, .life = p->life});
}

void
client_end(struct process *p)
{
    struct sim_client *c = p->client;
    client_stop(c->machine, DMQ_ERR_CLOSED, &c->effects);
    for (size_t i = 0; i < c->effects.count; i++) {
        if (c->effects.items[i].type == CLIENT_BATCH_DONE) {
            accum_done(&c->accum, c->effects.items[i].u.batch);
        }
    }
    client_effects_clear(&c->effects);
    client_effects_deinit(&c->effects);
    accum_deinit(&c->accum);
    client_free(c->machine);
    batch_reader_deinit(&c->reader);
    free(c);
    p->client = NULL;
}
