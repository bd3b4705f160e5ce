/* What a step of the controller costs when there is much metadata:
 *
 *     bench_metadata [TOPICS [PARTITIONS_OF_EACH [BROKERS]]]     default: 1000 100 100
 *
 * A lone voter with a disk in memory and brokers that are played, so that nothing but the core is
 * measured, in processor time of the process. Prints one line of JSON: microseconds of one step
 * where it ends in _us, milliseconds in _ms, bytes in _bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/core/ctl.h"
#include "libdmq/base/assert.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec.h"
#include "tests/support/raft_disk.h"

#define FIRST_BROKER 101
#define REPLICAS 3
#define HEARTBEATS 20 /* of each broker */
#define CREATIONS 200 /* of topics with one partition, at full size */
#define SESSION_MS 2000
#define LARGE_TOPIC 100000   /* partitions */
#define ONLY_A_SNAPSHOT 4096 /* bytes: no other push in answer to an empty broker is so large */

struct bench {
    struct ctl *ctl;
    struct raft_disk disk;
    struct uuid cluster_id;
    int64_t now_ms;
    int64_t snapshot_bytes; /* as in ctl_config */
    double longest_ms;      /* of the steps since it was set to 0 */
    int64_t pushed_bytes;
    int64_t largest_push; /* bytes */
    int64_t requests;
    int32_t brokers;
    int32_t silent;  /* this one answers no push; 0: none */
    int32_t empty;   /* this broker says that it has applied nothing, until it gets a snapshot */
    int64_t *epochs; /* of each broker */
};

static double
processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static struct uuid
id_of(int kind, int64_t number)
{
    struct uuid id = {{(uint8_t)kind}};
    put_be64(id.b + 8, (uint64_t)number);
    return id;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void carry_out(struct bench *b, struct ctl_effect *effect);

static void
step(struct bench *b, struct ctl_event *event)
{
    struct ctl_effects effects = {0}; /* of its own: what is carried out may step again */
    event->now_ms = b->now_ms;
    double begin = processor_ms();
    ctl_step(b->ctl, event, &effects);
    double took = processor_ms() - begin;
    b->longest_ms = took > b->longest_ms ? took : b->longest_ms;
    for (size_t i = 0; i < effects.count; i++) {
        carry_out(b, &effects.items[i]);
    }
    free(effects.items);
}

static struct broker_status
status_of(const struct bench *b, int32_t broker_id)
{
    return (struct broker_status){.broker_id = broker_id,
                                  .broker_epoch = b->epochs[broker_id - FIRST_BROKER],
                                  .incarnation = id_of(1, broker_id),
                                  .applied_version =
                                      broker_id == b->empty ? 0 : ctl_version(b->ctl),
                                  .applied_term = 1};
}

static void
answer_push(struct bench *b, int32_t broker_id, uint64_t number)
{
    struct push_metadata_response response = {.status = status_of(b, broker_id)};
    struct buf *body = msg_encode_buf(desc_push_metadata_response(), 0, &response);
    struct ctl_event event = {.kind = CTL_PUSHED};
    event.u.pushed.broker_id = broker_id;
    event.u.pushed.number = number;
    event.u.pushed.err = broker_id == b->silent ? DMQ_ERR_TIMEOUT : DMQ_OK;
    event.u.pushed.body = buf_bytes(body);
    step(b, &event);
    buf_unref(body);
}

static void
take_push(struct bench *b, const struct ctl_effect *effect)
{
    int64_t size = (int64_t)effect->u.push.body->size;
    int32_t broker_id = effect->u.push.broker_id;
    b->pushed_bytes += size;
    b->largest_push = size > b->largest_push ? size : b->largest_push;
    if (broker_id == b->empty && size > ONLY_A_SNAPSHOT) {
        b->empty = 0;
    }
    answer_push(b, broker_id, effect->u.push.number);
}

/* Nothing that is asked here is to fail. */
static void
check_reply(const struct ctl_effect *effect)
{
    struct arena arena;
    struct response_header header;
    struct err_msg err;
    size_t last = effect->u.reply.count > 2 ? 2 : 0; /* wrapped */
    arena_init(&arena, 65536);
    dmq_err code = msg_decode(desc_response_header(), 0, buf_bytes(effect->u.reply.frames[last]),
                              &arena, &header, &err);
    DMQ_ASSERT(code == DMQ_OK && header.error == DMQ_OK);
    arena_deinit(&arena);
}

static void
carry_out(struct bench *b, struct ctl_effect *effect)
{
    struct ctl_event event = {.kind = CTL_PERSISTED};
    struct raft_persist *write;
    switch (effect->kind) {
    case CTL_PERSIST:
        write = effect->u.persist;
        raft_disk_write(&b->disk, write);
        event.u.persisted.seq = write->seq;
        raft_persist_free(write);
        step(b, &event);
        return;
    case CTL_CONNECT:
        event.kind = CTL_PEER_UP;
        event.u.peer = effect->u.connect.broker_id;
        step(b, &event);
        return;
    case CTL_PUSH:
        take_push(b, effect);
        break;
    case CTL_REPLY:
        check_reply(effect);
        break;
    case CTL_CLUSTER:
        b->cluster_id = effect->u.cluster_id;
        break;
    case CTL_LOG:
        if (effect->u.log.error) {
            fprintf(stderr, "%s\n", effect->u.log.line);
        }
        break;
    case CTL_FAIL:
        exit(1); /* its line says why */
    default:
        break;
    }
    ctl_effect_deinit(effect);
}

/* Sends a request of a broker, or of a client through one. */
static void
request(struct bench *b, int key, const void *body, bool wrapped)
{
    struct ctl_event event = {.kind = CTL_REQUEST};
    struct request_header header = {.protocol = WIRE_PROTOCOL,
                                    .api_key = (int16_t)key,
                                    .correlation_id = 1,
                                    .time_left_ms = 60000};
    struct request_header outer = header;
    struct envelope_request envelope = {.principal = bytes_str("bench")};
    struct buf *frames[4];
    size_t count = 0;
    if (wrapped) {
        outer.api_key = API_ENVELOPE;
        frames[count++] = msg_encode_buf(desc_request_header(), 0, &outer);
        frames[count++] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
    }
    frames[count++] = msg_encode_buf(desc_request_header(), 0, &header);
    frames[count++] = msg_encode_buf(api_find(key)->request(), 0, body);
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str("bench"));
    event.u.request.frames = frames;
    event.u.request.count = count;
    event.u.request.peer = "bench";
    step(b, &event);
}

static void
heartbeat(struct bench *b, int32_t broker_id)
{
    struct broker_heartbeat_request body = {.status = status_of(b, broker_id)};
    request(b, API_BROKER_HEARTBEAT, &body, false);
}

static void
add_broker(struct bench *b, int32_t broker_id)
{
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("127.0.0.1"), .port = 9501},
        {.listener = bytes_str("node"), .host = bytes_str("127.0.0.1"), .port = 10501}};
    struct folder_state folder = {.disk_id = id_of(2, broker_id), .state = 3};
    struct register_broker_request body = {.broker_id = broker_id,
                                           .incarnation = id_of(1, broker_id),
                                           .endpoints = endpoints,
                                           .endpoints_count = 2,
                                           .folders = &folder,
                                           .folders_count = 1};
    request(b, API_REGISTER_BROKER, &body, false);
    b->epochs[broker_id - FIRST_BROKER] = image_broker(ctl_image(b->ctl), broker_id)->broker_epoch;
    heartbeat(b, broker_id); /* unfences it */
}

static void
all_heartbeats(struct bench *b)
{
    for (int32_t i = 0; i < b->brokers; i++) {
        heartbeat(b, FIRST_BROKER + i);
    }
}

static void
create_topic(struct bench *b, const char *kind, int64_t number, int32_t partitions)
{
    char name[64];
    snprintf(name, sizeof(name), "%s-%06lld", kind, (long long)number);
    struct create_topic_request body = {.topic_name = bytes_str(name),
                                        .request_id = id_of(3, ++b->requests),
                                        .partition_count = partitions,
                                        .replication_factor = REPLICAS};
    request(b, API_CREATE_TOPIC, &body, true);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void
print(const char *name, double value)
{
    static bool begun;
    printf("%s\"%s\": %.3f", begun ? ", " : "{", name, value);
    begun = true;
}

static bool
is_leading(const struct bench *b)
{
    struct ctl_stats stats;
    ctl_stats(b->ctl, &stats);
    return stats.leading;
}

static void
start(struct bench *b)
{
    static const int32_t controllers[] = {1};
    struct ctl_config config = {.controller_id = 1,
                                .disk_id = id_of(4, 1),
                                .cluster_id = b->cluster_id,
                                .controllers = controllers,
                                .controller_count = 1,
                                .instance_id = id_of(5, 1),
                                .session_timeout_ms = SESSION_MS,
                                .max_message_bytes = 80 << 20,
                                .max_requests = 1000,
                                .snapshot_bytes = b->snapshot_bytes,
                                .seed = 1};
    struct raft_saved saved = raft_disk_saved(&b->disk);
    struct ctl_event event = {.kind = CTL_STARTED};
    event.u.started = &saved;
    b->ctl = ctl_new(&config);
    step(b, &event);
    while (!is_leading(b)) {
        b->now_ms = ctl_deadline(b->ctl);
        step(b, &(struct ctl_event){.kind = CTL_TICK});
    }
}

static void
measure_heartbeats(struct bench *b, const char *name)
{
    double begin = processor_ms();
    for (int round = 0; round < HEARTBEATS; round++) {
        all_heartbeats(b);
        b->now_ms += SESSION_MS / 4;
    }
    print(name, (processor_ms() - begin) * 1e3 / (HEARTBEATS * b->brokers));
}

static void
fill(struct bench *b, int32_t topics, int32_t partitions)
{
    double begin = processor_ms();
    for (int32_t i = 0; i < topics; i++) {
        create_topic(b, "topic", i, partitions);
    }
    print("fill_ms", processor_ms() - begin);
    print("fill_longest_step_ms", b->longest_ms);
}

static void
measure_creations(struct bench *b)
{
    int64_t bytes = b->pushed_bytes;
    double begin = processor_ms();
    for (int64_t i = 0; i < CREATIONS; i++) {
        create_topic(b, "small", i, 1);
    }
    print("create_us", (processor_ms() - begin) * 1e3 / CREATIONS);
    print("push_bytes", (double)(b->pushed_bytes - bytes) / CREATIONS / b->brokers);
}

/* Every broker but one goes on; it is fenced, and comes back. */
static void
measure_fence(struct bench *b)
{
    b->longest_ms = 0;
    b->silent = FIRST_BROKER;
    for (int64_t end = b->now_ms + SESSION_MS; b->now_ms < end;) {
        b->now_ms += SESSION_MS / 8;
        for (int32_t i = 1; i < b->brokers; i++) {
            heartbeat(b, FIRST_BROKER + i);
        }
    }
    step(b, &(struct ctl_event){.kind = CTL_TICK});
    DMQ_ASSERT(image_broker(ctl_image(b->ctl), FIRST_BROKER)->fenced);
    b->silent = 0;
    heartbeat(b, FIRST_BROKER);
    DMQ_ASSERT(!image_broker(ctl_image(b->ctl), FIRST_BROKER)->fenced);
    print("fence_longest_step_ms", b->longest_ms);
}

/* One that comes with nothing gets all of it. */
static void
measure_snapshots(struct bench *b)
{
    double begin = processor_ms();
    struct buf *encoded = snapshot_encode(b->ctl);
    print("snapshot_ms", processor_ms() - begin);
    print("snapshot_bytes", (double)encoded->size);
    buf_unref(encoded);

    b->longest_ms = 0;
    b->largest_push = 0;
    b->empty = FIRST_BROKER + b->brokers;
    add_broker(b, b->empty);
    DMQ_ASSERT(b->empty == 0);
    b->brokers++;
    print("push_snapshot_longest_step_ms", b->longest_ms);
    print("push_snapshot_bytes", (double)b->largest_push);
}

/* From what the disk holds until it leads: by the log alone, then from a snapshot. */
static void
measure_start(struct bench *b)
{
    int64_t version = ctl_version(b->ctl);
    ctl_free(b->ctl);
    double begin = processor_ms();
    start(b);
    print("start_from_log_ms", processor_ms() - begin);
    DMQ_ASSERT(ctl_version(b->ctl) > version);

    ctl_free(b->ctl);
    b->snapshot_bytes = 1; /* one is due at once */
    b->longest_ms = 0;
    start(b);
    print("compact_longest_step_ms", b->longest_ms);
    DMQ_ASSERT(b->disk.snapshot.index > 0);
    ctl_free(b->ctl);
    begin = processor_ms();
    start(b);
    print("start_from_snapshot_ms", processor_ms() - begin);
    b->snapshot_bytes = 0;
}

/* One topic that is as large as a topic may be: one entry. */
static void
measure_large_topic(struct bench *b)
{
    b->longest_ms = 0;
    b->largest_push = 0;
    create_topic(b, "large", 0, LARGE_TOPIC);
    print("large_topic_longest_step_ms", b->longest_ms);
    print("large_topic_push_bytes", (double)b->largest_push);
}

int
main(int argc, char **argv)
{
    struct bench b = {.now_ms = 1};
    int32_t topics = argc > 1 ? (int32_t)strtol(argv[1], NULL, 10) : 1000;
    int32_t partitions = argc > 2 ? (int32_t)strtol(argv[2], NULL, 10) : 100;
    b.brokers = argc > 3 ? (int32_t)strtol(argv[3], NULL, 10) : 100;
    if (topics < 1 || partitions < 1 || b.brokers < REPLICAS) {
        fprintf(stderr, "usage: bench_metadata [TOPICS [PARTITIONS_OF_EACH [BROKERS]]]\n");
        return 2;
    }
    b.epochs = calloc((size_t)b.brokers + 1, sizeof(*b.epochs));
    start(&b);
    for (int32_t i = 0; i < b.brokers; i++) {
        add_broker(&b, FIRST_BROKER + i);
    }
    measure_heartbeats(&b, "heartbeat_empty_us");
    fill(&b, topics, partitions);
    measure_heartbeats(&b, "heartbeat_us");
    measure_creations(&b);
    measure_fence(&b);
    measure_snapshots(&b);
    measure_start(&b);
    measure_large_topic(&b);
    printf("}\n");
    ctl_free(b.ctl);
    raft_disk_deinit(&b.disk);
    free(b.epochs);
    return 0;
}
