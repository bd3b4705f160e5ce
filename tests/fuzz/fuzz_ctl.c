/* The controller's core under any order of events: requests good, bad and malformed, brokers that
 * come, go and are replaced, pushes lost or answered late, a store that fails, restarts at any
 * entry.
 *
 * Each byte is an event, those behind it its arguments. Three brokers play along: each keeps an
 * image and applies what is pushed to it, as a real one does.
 *
 * What must hold, beside the core's own assertions: every request is answered exactly once, unless
 * the process ended before; a restart has the image that was committed; no broker ever has an image
 * that differs from the controller's at the same version; versions only rise. */
#include <stdlib.h>

#include "controller/core/core.h"
#include "libdmq/base/assert.h"
#include "libdmq/meta/entry.h"
#include "libdmq/wire/codec.h"
#include "tests/support/raft_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BROKERS = 3, MAX_EVENTS = 2000 };

struct broker {
    struct image *image;
    uint8_t incarnation;
    int64_t epoch; /* of the registration that it knows of */
    uint64_t push; /* number of the one that it has not answered; 0: none */
};

static struct world {
    const uint8_t *at;
    const uint8_t *end;
    struct ctl *ctl;
    struct ctl_effects effects;
    int64_t now_ms;
    struct raft_disk disk;
    struct raft_persist *in_flight;
    struct uuid cluster_id;
    int64_t asked;
    int64_t answered;
    int64_t committed; /* as the machine said last */
    uint8_t last_incarnation;
    bool failed;
    struct broker brokers[BROKERS];
} w;

static uint8_t
next_byte(void)
{
    return w.at < w.end ? *w.at++ : 0;
}

/* ---- effects --------------------------------------------------------------------------------- */

/* A broker applies a range that follows what it has, or a snapshot. */
static void
apply_push(struct broker *broker, struct bytes body)
{
    struct arena arena;
    struct err_msg err;
    struct push_metadata_request push;
    arena_init(&arena, SIZE_MAX);
    dmq_err code = msg_decode(desc_push_metadata_request(), 0, body, &arena, &push, &err);
    DMQ_ASSERT(code == DMQ_OK);
    bool follows = push.snapshot || push.prev_version == image_version(broker->image);
    for (uint32_t i = 0; follows && i < push.entries_count; i++) {
        code = push.snapshot ? meta_install(&broker->image, &push.entries[i], NULL, &err)
                             : meta_apply_entry(broker->image, &push.entries[i], NULL, &err);
        DMQ_ASSERT(code == DMQ_OK);
    }
    arena_deinit(&arena);
}

static void
take_effect(struct ctl_effect *effect)
{
    switch (effect->kind) {
    case CTL_PERSIST:
        DMQ_ASSERT(w.in_flight == NULL);
        w.in_flight = effect->u.persist;
        effect->u.persist = NULL;
        break;
    case CTL_CLUSTER:
        w.cluster_id = effect->u.cluster_id;
        break;
    case CTL_REPLY:
        w.answered++;
        break;
    case CTL_PUSH: {
        struct broker *broker = &w.brokers[effect->u.push.broker_id];
        DMQ_ASSERT(broker->push == 0);
        broker->push = effect->u.push.number;
        if ((next_byte() & 7) != 0) { /* else it is lost on its way */
            apply_push(broker, buf_bytes(effect->u.push.body));
        }
        break;
    }
    case CTL_FAIL:
        w.failed = true;
        break;
    case CTL_SEND:
    case CTL_ASK:
    case CTL_PROBE_MATE:
        DMQ_UNREACHABLE(); /* there is no other controller */
    case CTL_DISCONNECT:
        w.brokers[effect->u.peer].push = 0;
        break;
    case CTL_CONNECT:
    case CTL_PROBE:
    case CTL_READY:
    case CTL_LOG:
        break;
    }
    ctl_effect_deinit(effect);
}

/* Right after a start a controller may know less than the brokers: not while it leads. */
static void
check_brokers(void)
{
    const struct image *image = ctl_image(w.ctl);
    for (int i = 0; i < BROKERS; i++) {
        const struct image *theirs = w.brokers[i].image;
        DMQ_ASSERT(image_version(theirs) <= image_version(image));
        DMQ_ASSERT(image_version(theirs) != image_version(image) ||
                   image_digest(theirs) == image_digest(image));
    }
}

static void
step(struct ctl_event *event)
{
    struct ctl_stats stats;
    event->now_ms = w.now_ms;
    ctl_step(w.ctl, event, &w.effects);
    for (size_t i = 0; i < w.effects.count; i++) {
        take_effect(&w.effects.items[i]);
    }
    w.effects.count = 0;
    ctl_stats(w.ctl, &stats);
    DMQ_ASSERT(stats.version >= w.committed);
    w.committed = stats.version;
    if (stats.leading) {
        check_brokers();
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

static void
start(void)
{
    static const int32_t controllers[] = {1};
    const struct ctl_config config = {.controller_id = 1,
                                      .disk_id = {{7}},
                                      .cluster_id = w.cluster_id,
                                      .controllers = controllers,
                                      .controller_count = 1,
                                      .instance_id = {{1}},
                                      .session_timeout_ms = 2000,
                                      .rebalance_ms = 3000,
                                      .max_message_bytes = 1 << 20,
                                      .max_requests = 10,
                                      .snapshot_bytes = 2000,
                                      .seed = (uint64_t)w.disk.prev_index + (uint64_t)w.disk.count};
    struct ctl_event event = {.kind = CTL_STARTED};
    struct raft_saved saved = raft_disk_saved(&w.disk);
    w.ctl = ctl_new(&config);
    w.failed = false;
    w.committed = 0;
    event.u.started = &saved;
    step(&event);
}

static void
end(void)
{
    ctl_free(w.ctl);
    for (int i = 0; i < BROKERS; i++) {
        w.brokers[i].push = 0;
    }
    raft_persist_free(w.in_flight);
    w.in_flight = NULL;
    w.asked = 0;
    w.answered = 0;
}

static void
persisted(dmq_err err)
{
    struct ctl_event event = {.kind = CTL_PERSISTED};
    struct raft_persist *write = w.in_flight;
    if (write == NULL) {
        return;
    }
    w.in_flight = NULL;
    event.u.persisted.seq = write->seq;
    event.u.persisted.err = err;
    if (err == DMQ_OK) {
        raft_disk_write(&w.disk, write);
    }
    raft_persist_free(write);
    step(&event);
}

/* Kill -9: what is in flight may or may not have reached the disk. What was committed is there
 * again once the node leads. */
static void
restart(void)
{
    int64_t committed = w.committed;
    if (w.in_flight != NULL && (next_byte() & 1) != 0) {
        raft_disk_write(&w.disk, w.in_flight);
    }
    end();
    start();
    for (int i = 0; i < 4 && !w.failed && w.committed <= committed; i++) {
        persisted(DMQ_OK);
    }
    DMQ_ASSERT(w.committed >= committed);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
send_frames(struct buf **frames, size_t count)
{
    struct ctl_event event = {.kind = CTL_REQUEST};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str("r"));
    event.u.request.frames = frames;
    event.u.request.count = count;
    event.u.request.peer = "";
    w.asked++;
    step(&event);
}

static void
ask(int16_t key, const void *body)
{
    const struct api_desc *api = api_find(key);
    struct request_header header = {.protocol = WIRE_PROTOCOL, .api_key = API_ENVELOPE};
    struct envelope_request envelope = {0};
    struct buf *frames[4];
    size_t count = 0;
    header.time_left_ms = next_byte() & 1 ? 1 : 5000;
    if ((api->listeners & LISTENER_CONTROLLER) == 0) {
        frames[count++] = msg_encode_buf(desc_request_header(), 0, &header);
        frames[count++] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
    }
    header.api_key = key;
    frames[count++] = msg_encode_buf(desc_request_header(), 0, &header);
    frames[count++] = msg_encode_buf(api->request(), 0, body);
    send_frames(frames, count);
}

static void
ask_raw(void)
{
    struct buf *frames[6];
    size_t count = next_byte() % 6;
    for (size_t i = 0; i < count; i++) {
        size_t size = next_byte() % 32;
        size = size < (size_t)(w.end - w.at) ? size : (size_t)(w.end - w.at);
        frames[i] = buf_copy(bytes_of(w.at, size));
        w.at += size;
    }
    send_frames(frames, count);
}

static void
register_broker(struct broker *broker, int32_t id)
{
    uint8_t how = next_byte();
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("h"), .port = 1},
        {.listener = bytes_str("node"), .host = bytes_str("h"), .port = how & 1 ? 2 : 3}};
    struct folder_state folder = {.disk_id = {{(uint8_t)(id + 1), how >> 1 & 1}},
                                  .state = (int8_t)(how >> 2 & 3)};
    struct register_broker_request request = {.broker_id = id,
                                              .rack = bytes_str(id == 0 ? "a" : "b"),
                                              .endpoints = endpoints,
                                              .endpoints_count = 2,
                                              .folders = &folder,
                                              .folders_count = 1};
    if ((how & 0x10) == 0) {
        broker->incarnation = (uint8_t)(w.last_incarnation++ % 250 + 1); /* else it asks again */
    }
    request.incarnation.b[0] = broker->incarnation;
    const struct broker_record *former = image_broker(ctl_image(w.ctl), id);
    request.replaces = former == NULL ? -1 : former->broker_epoch - (how >> 5 & 1);
    ask(API_REGISTER_BROKER, &request);
    const struct broker_record *known = image_broker(ctl_image(w.ctl), id);
    broker->epoch = known == NULL ? -1 : known->broker_epoch;
}

static struct broker_status
status_of(const struct broker *broker, int32_t id, uint8_t how)
{
    return (struct broker_status){.broker_id = id,
                                  .broker_epoch = broker->epoch - (how >> 2 & 1),
                                  .incarnation = {{broker->incarnation}},
                                  .applied_version = image_version(broker->image),
                                  .image_digest = (int64_t)image_digest(broker->image) + (how & 1),
                                  .want_fence = (how & 0x18) == 0x18,
                                  .want_shutdown = (how & 0x60) == 0x60};
}

static void
heartbeat(const struct broker *broker, int32_t id)
{
    struct broker_heartbeat_request request = {.status = status_of(broker, id, next_byte())};
    ask(API_BROKER_HEARTBEAT, &request);
}

static void
answer_push(struct broker *broker, int32_t id)
{
    struct ctl_event event = {.kind = CTL_PUSHED};
    uint8_t how = next_byte();
    if (broker->push == 0) {
        return;
    }
    struct push_metadata_response response = {.status = status_of(broker, id, how)};
    struct buf *body = how == 255 ? buf_copy(bytes_str("\x91"))
                                  : msg_encode_buf(desc_push_metadata_response(), 0, &response);
    event.u.pushed.broker_id = id;
    event.u.pushed.number = broker->push;
    event.u.pushed.err = (how & 0x80) != 0 && how != 255 ? DMQ_ERR_NETWORK : DMQ_OK;
    event.u.pushed.body = buf_bytes(body);
    broker->push = 0;
    step(&event);
    buf_unref(body);
}

static struct bytes
topic_name(uint8_t which)
{
    static const char *const names[] = {"a", "b", "c", "__x", "a/b", "", "d", "e"};
    return bytes_str(names[which % 8]);
}

static void
create(void)
{
    uint8_t how = next_byte();
    struct config_entry config = {.name = bytes_str("durability"),
                                  .value = bytes_str(how & 2 ? "async" : "never")};
    struct create_topic_request request = {.topic_name = topic_name(how >> 4),
                                           .request_id = {{(uint8_t)(how & 0x11)}},
                                           .partition_count = next_byte() % 8 - 1,
                                           .replication_factor = (int16_t)(next_byte() % 5 - 1),
                                           .config = &config,
                                           .config_count = how >> 3 & 1};
    ask(API_CREATE_TOPIC, &request);
}

static void
alter(void)
{
    static const char *const settings[][2] = {
        {"durability", "async"},      {"durability", "sync"},    {"min.insync.replicas", "1"},
        {"min.insync.replicas", "3"}, {"segment.bytes", "8192"}, {"no.such", "1"}};
    struct config_change changes[3];
    struct alter_topic_request request = {.topic_name = topic_name(next_byte()), .config = changes};
    request.config_count = next_byte() % 4;
    for (uint32_t i = 0; i < request.config_count; i++) {
        uint8_t how = next_byte();
        const char *const *setting = settings[how % 6];
        changes[i] = (struct config_change){.name = bytes_str(setting[0]),
                                            .value = bytes_str(setting[1]),
                                            .remove = (how & 0x80) != 0};
    }
    ask(API_ALTER_TOPIC, &request);
}

static void
other_call(uint8_t which)
{
    struct bytes name = topic_name(next_byte());
    struct delete_topic_request gone = {.topic_name = name};
    struct describe_topics_request describe = {.topic_names = &name,
                                               .topic_names_count = which & 1};
    struct allocate_producer_ids_request ids = {.broker_id = which % BROKERS,
                                                .broker_epoch = w.brokers[which % BROKERS].epoch};
    struct api_versions_request versions = {0};
    struct create_partitions_request more = {.topic_name = name, .partition_count = which >> 5 & 7};
    struct elect_leaders_request elect = {.topic_name = name,
                                          .all_topics = (which & 3) == 3,
                                          .partition = (which >> 5) - 1,
                                          .unclean = which & 1,
                                          .accept_data_loss = (which & 2) != 0,
                                          .broker_id = (which >> 5) - 1};
    switch (which >> 2 & 7) {
    case 0:
        ask(API_DELETE_TOPIC, &gone);
        break;
    case 1:
        ask(API_DESCRIBE_TOPICS, &describe);
        break;
    case 2:
        ask(API_ALLOCATE_PRODUCER_IDS, &ids);
        break;
    case 3:
        ask(API_CREATE_PARTITIONS, &more);
        break;
    case 4:
    case 5:
        alter();
        break;
    case 6:
        ask(API_ELECT_LEADERS, &elect);
        break;
    default:
        ask(API_API_VERSIONS, &versions);
        break;
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void
peer_event(enum ctl_event_kind kind, int32_t id)
{
    struct ctl_event event = {.kind = kind};
    event.u.peer = id;
    step(&event);
}

/* Proofs of an end are of the process that runs, or of the one before it. */
static void
peer_down(const struct broker *broker, int32_t id, uint8_t how)
{
    if (how & 1) {
        peer_event(CTL_PEER_DOWN, id);
        return;
    }
    struct ctl_event event = {.kind = CTL_PEER_GONE};
    event.u.gone.broker_id = id;
    event.u.gone.incarnation.b[0] = (uint8_t)(broker->incarnation - (how >> 1 & 1));
    step(&event);
}

static void
one_event(uint8_t kind)
{
    int32_t id = kind >> 5 & 3;
    struct broker *broker = &w.brokers[id % BROKERS];
    id %= BROKERS;
    switch (kind & 15) {
    case 0:
    case 1:
    case 2:
        persisted(DMQ_OK);
        break;
    case 3:
        register_broker(broker, id);
        break;
    case 4:
    case 5:
        heartbeat(broker, id);
        break;
    case 6:
    case 7:
        answer_push(broker, id);
        break;
    case 8:
        create();
        break;
    case 9:
        other_call(next_byte());
        break;
    case 10:
        peer_event(CTL_PEER_UP, id);
        break;
    case 11:
        peer_down(broker, id, next_byte());
        break;
    case 12:
        w.now_ms += next_byte() * 10;
        step(&(struct ctl_event){.kind = CTL_TICK});
        break;
    case 13:
        ask_raw();
        break;
    case 14:
        restart();
        break;
    default:
        if ((kind & 0xf0) == 0xf0) {
            persisted(DMQ_ERR_IO);
        }
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    w = (struct world){.at = data, .end = data + size, .now_ms = 1000};
    for (int i = 0; i < BROKERS; i++) {
        w.brokers[i] = (struct broker){.image = image_new(), .epoch = -1};
    }
    start();
    for (int i = 0; i < MAX_EVENTS && w.at < w.end; i++) {
        one_event(next_byte());
        if (w.failed) {
            restart();
        }
    }
    while (w.in_flight != NULL) {
        persisted(DMQ_OK);
    }
    DMQ_ASSERT(w.asked == w.answered);
    end();
    ctl_effects_deinit(&w.effects);
    raft_disk_deinit(&w.disk);
    for (int i = 0; i < BROKERS; i++) {
        image_free(w.brokers[i].image);
    }
    return 0;
}
