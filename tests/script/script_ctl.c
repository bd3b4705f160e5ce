/* Scripts for the controller's core. Requests of clients go in an envelope, as brokers forward
 * them.
 *
 *   start | restart                     the machine, from what was persisted
 *   persisted [err=IO]                  the entry on its way is durable, or the store failed; what
 *                                       Raft writes beside entries of ours is durable at once
 *   tick MS | wait MS                   time passes, with or without an event
 *   up ID | down ID | gone ID inc=      the connection to a broker; that process has ended
 *   hello ID cluster= | hello ID ours  opens a connection
 *   register ID inc= [disk= state= cluster= rack= port=] [damaged=N/P,N/P]
 *   damaged ID epoch= [told=] logs=N/P,N/P    logs of broker ID are damaged
 *   heartbeat ID inc= epoch= applied= [digest=right|wrong] [fence] [shutdown]
 *   pushed ID inc= epoch= applied= | pushfailed ID [err=NETWORK]
 *   create NAME [partitions= replicas= request= key=value ...] | delete NAME | delete-id N
 *   alter NAME [key=value | key=]...    sets and removes | partitions NAME N
 *   isr N/P leader= epoch=E/P isr=1:EPOCH,... [broker=EPOCH] [async]    of partition P of id-N
 *   elect [NAME] [partition= all unclean accept broker=]
 *   rebalance MS                        before start: preferred leaders are restored so often
 *   describe [NAME...] | ids ID epoch= | versions
 *   call NAME [version=] | raw WORD...  a call by name with an empty body; frames as they are
 *   burst ID N epoch=                   N blocks of ids, each persisted: N entries, unseen
 *   flood N                             N topics asked for, unseen: answers by kind
 *   state                               the image
 *
 * Ids are written as short_ids.h has it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/core/core.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec_json.h"
#include "tests/script/record_text.h"
#include "tests/script/script.h"
#include "tests/script/short_ids.h"
#include "tests/support/raft_disk.h"

struct world {
    struct ctl *ctl;
    struct ctl_effects effects;
    int64_t now_ms;
    struct raft_disk disk;
    struct raft_persist *in_flight; /* asked for, not carried out yet */
    int64_t rebalance_ms;
    uint64_t pushes[1000]; /* the last one to each broker */
    int64_t correlation;
    struct uuid cluster_id;
    struct short_ids ids;
};

/* ---- printing -------------------------------------------------------------------------------- */

static const struct struct_desc *response_desc(int64_t correlation);

static void
print_reply(struct outbuf *out, const struct ctl_effect *effect)
{
    struct arena arena;
    struct response_header header;
    struct err_msg err;
    char body[4096];
    size_t at = effect->u.reply.count > 2 ? 2 : 0; /* inside its envelope */
    arena_init(&arena, SIZE_MAX);
    if (msg_decode(desc_response_header(), 0, buf_bytes(effect->u.reply.frames[at]), &arena,
                   &header, &err) != DMQ_OK) {
        script_print(out, "reply BAD %s\n", err.text);
        return;
    }
    script_print(out, "reply %lld v%lld %s", (long long)header.correlation_id,
                 (long long)header.metadata_version, err_name(header.error));
    if (header.error != DMQ_OK) {
        script_print(out, ": %.*s\n", (int)header.message.size, (const char *)header.message.data);
    } else {
        const struct struct_desc *desc = response_desc(header.correlation_id);
        if (msg_decode(desc, 0, buf_bytes(effect->u.reply.frames[at + 1]), &arena, body, &err) !=
            DMQ_OK) {
            abort();
        }
        char *text = msg_to_json_text(desc, body);
        script_print(out, " %s\n", text);
        free(text);
    }
    arena_deinit(&arena);
}

static void
print_push(struct world *w, struct outbuf *out, const struct ctl_effect *effect)
{
    struct arena arena;
    struct push_metadata_request push;
    struct err_msg err;
    arena_init(&arena, SIZE_MAX);
    if (msg_decode(desc_push_metadata_request(), 0, buf_bytes(effect->u.push.body), &arena, &push,
                   &err) != DMQ_OK) {
        abort();
    }
    w->pushes[effect->u.push.broker_id] = effect->u.push.number;
    if (push.snapshot) {
        script_print(out, "push %d snapshot %lld of %u records\n", effect->u.push.broker_id,
                     (long long)push.version, push.entries[0].records_count);
    } else {
        script_print(out, "push %d range %lld..%lld of %u entries\n", effect->u.push.broker_id,
                     (long long)push.prev_version, (long long)push.version, push.entries_count);
    }
    arena_deinit(&arena);
}

static bool
holds_data(const struct raft_persist *write)
{
    bool data = false;
    for (int64_t i = 0; i < write->count; i++) {
        data |= write->entries[i].kind == RAFT_ENTRY_DATA;
    }
    return data;
}

static void
print_write(struct outbuf *out, const struct raft_persist *write)
{
    for (int64_t i = 0; i < write->count; i++) {
        if (write->entries[i].kind == RAFT_ENTRY_DATA) {
            script_print(out, "persist %lld\n", (long long)(write->from + i));
            record_text_entry(out, buf_bytes(write->entries[i].payload));
        }
    }
}

static void
print_effect(struct world *w, struct outbuf *out, struct ctl_effect *effect)
{
    switch (effect->kind) {
    case CTL_PERSIST:
        print_write(out, effect->u.persist);
        w->in_flight = effect->u.persist;
        effect->u.persist = NULL;
        break;
    case CTL_SEND:
        script_print(out, "send %d\n", effect->u.send.controller_id);
        break;
    case CTL_ASK:
        script_print(out, "ask %d\n", effect->u.ask.controller_id);
        break;
    case CTL_DISCONNECT:
        script_print(out, "disconnect %d\n", effect->u.peer);
        break;
    case CTL_PROBE_MATE:
        script_print(out, "probe-mate %d\n", effect->u.peer);
        break;
    case CTL_CLUSTER:
        script_print(out, "cluster %s\n", record_text_id(effect->u.cluster_id));
        w->cluster_id = effect->u.cluster_id;
        break;
    case CTL_REPLY:
        print_reply(out, effect);
        break;
    case CTL_CONNECT:
        script_print(out, "connect %d %s:%d\n", effect->u.connect.broker_id, effect->u.connect.host,
                     effect->u.connect.port);
        break;
    case CTL_PUSH:
        print_push(w, out, effect);
        break;
    case CTL_PROBE:
        script_print(out, "probe %d\n", effect->u.peer);
        break;
    case CTL_READY:
        script_print(out, "ready %s\n", record_text_id(effect->u.cluster_id));
        break;
    case CTL_LOG:
        script_print(out, "%s %s\n", effect->u.log.error ? "error" : "log", effect->u.log.line);
        break;
    case CTL_FAIL:
        script_print(out, "fail\n");
        break;
    }
    ctl_effect_deinit(effect);
}

static void
step_once(struct world *w, struct ctl_event *event, struct outbuf *out)
{
    event->now_ms = w->now_ms;
    ctl_step(w->ctl, event, &w->effects);
    for (size_t i = 0; i < w->effects.count; i++) {
        print_effect(w, out, &w->effects.items[i]);
    }
    w->effects.count = 0;
}

/* Carries the write out; the event that says so. */
static struct ctl_event
carry_out(struct world *w, dmq_err err)
{
    struct ctl_event event = {.kind = CTL_PERSISTED};
    struct raft_persist *write = w->in_flight;
    w->in_flight = NULL;
    event.u.persisted.seq = write->seq;
    event.u.persisted.err = err;
    if (err == DMQ_OK) {
        raft_disk_write(&w->disk, write);
    }
    raft_persist_free(write);
    return event;
}

static void
step(struct world *w, struct ctl_event *event, struct outbuf *out)
{
    struct outbuf full = {0};
    step_once(w, event, &full);
    while (w->in_flight != NULL && !holds_data(w->in_flight)) {
        struct ctl_event persisted = carry_out(w, DMQ_OK);
        step_once(w, &persisted, &full);
    }
    outbuf_put(&full, "", 1);
    short_ids_print(&w->ids, out, (const char *)full.data);
    outbuf_deinit(&full);
}

/* ---- requests -------------------------------------------------------------------------------- */

#define MAX_LOGS 8

static int16_t asked[1000]; /* api key by correlation */

static const struct struct_desc *
response_desc(int64_t correlation)
{
    return api_find(asked[correlation % 1000])->response();
}

static struct buf *
header_frame(struct world *w, int16_t key, int16_t version)
{
    struct request_header header = {.protocol = WIRE_PROTOCOL,
                                    .api_key = key,
                                    .api_version = version,
                                    .correlation_id = w->correlation,
                                    .client_id = bytes_str("script"),
                                    .time_left_ms = 5000};
    asked[w->correlation % 1000] = key;
    return msg_encode_buf(desc_request_header(), 0, &header);
}

static void
send_frames(struct world *w, struct buf **frames, size_t count, struct outbuf *out)
{
    struct ctl_event event = {.kind = CTL_REQUEST};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str("router"));
    event.u.request.frames = frames;
    event.u.request.count = count;
    event.u.request.peer = "127.0.0.1";
    step(w, &event, out);
}

static void
ask(struct world *w, int16_t key, int16_t version, const void *body, struct outbuf *out)
{
    const struct api_desc *api = api_find(key);
    struct envelope_request envelope = {.principal = bytes_str("anonymous")};
    struct buf *frames[4];
    size_t count = 0;
    w->correlation++;
    if ((api->listeners & LISTENER_CONTROLLER) == 0) {
        frames[count++] = header_frame(w, API_ENVELOPE, 0);
        frames[count++] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
    }
    frames[count++] = header_frame(w, key, version);
    frames[count++] = msg_encode_buf(api->request(), version, body);
    send_frames(w, frames, count, out);
}

/* Logs of partitions of the topics that are named id-N: N/P,N/P. */
static uint32_t
damaged_logs(const struct world *w, const char *text, int32_t told_epoch,
             struct damaged_log ret_logs[MAX_LOGS])
{
    uint32_t count = 0;
    while (*text != '\0' && count < MAX_LOGS) {
        char *end;
        struct damaged_log *log = &ret_logs[count++];
        size_t n = strtoul(text, &end, 10);
        *log =
            (struct damaged_log){.topic_id = short_ids_find(&w->ids, n), .told_epoch = told_epoch};
        log->partition = (int32_t)strtol(end + 1, &end, 10);
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

static void
run_damaged(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct damaged_log logs[MAX_LOGS];
    int32_t told = (int32_t)script_number(c, "told", -1);
    const struct report_damaged_request request = {
        .broker_id = (int32_t)strtol(c->words[1], NULL, 10),
        .broker_epoch = script_number(c, "epoch", 0),
        .logs_count = damaged_logs(w, script_value(c, "logs", ""), told, logs),
        .logs = logs};
    ask(w, API_REPORT_DAMAGED, 0, &request, out);
}

static void
run_register(struct world *w, const struct script_command *c, struct outbuf *out)
{
    static const char *const states[] = {"clean", "unclean", "damaged", "empty"};
    int32_t id = (int32_t)strtol(c->words[1], NULL, 10);
    struct folder_state folder = {.disk_id = script_id(script_number(c, "disk", id))};
    for (int8_t i = 0; i < 4; i++) {
        folder.state = strcmp(script_value(c, "state", "clean"), states[i]) == 0 ? i : folder.state;
    }
    int32_t port = (int32_t)script_number(c, "port", 10000 + id);
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("b"), .port = 9000 + id},
        {.listener = bytes_str("node"), .host = bytes_str("b"), .port = port}};
    const struct broker_record *present = image_broker(ctl_image(w->ctl), id);
    struct damaged_log logs[MAX_LOGS];
    struct register_broker_request request = {
        .cluster_id = script_id(script_number(c, "cluster", 0)),
        .broker_id = id,
        .incarnation = script_id(script_number(c, "inc", 0)),
        .rack = bytes_str(script_value(c, "rack", "")),
        .endpoints = endpoints,
        .endpoints_count = (uint32_t)script_number(c, "endpoints", 2),
        .folders = &folder,
        .folders_count = (uint32_t)script_number(c, "folders", 1),
        .replaces = script_number(c, "replaces", present != NULL ? present->broker_epoch : -1),
        .damaged = logs,
        .damaged_count = damaged_logs(w, script_value(c, "damaged", ""), 99, logs)};
    ask(w, API_REGISTER_BROKER, 0, &request, out);
}

static struct broker_status
status_of(struct world *w, const struct script_command *c)
{
    const char *digest = script_value(c, "digest", "none");
    uint64_t right = image_digest(ctl_image(w->ctl));
    return (struct broker_status){.broker_id = (int32_t)strtol(c->words[1], NULL, 10),
                                  .broker_epoch = script_number(c, "epoch", -1),
                                  .incarnation = script_id(script_number(c, "inc", 0)),
                                  .applied_version = script_number(c, "applied", 0),
                                  .applied_term = 1,
                                  .image_digest = strcmp(digest, "right") == 0 ? (int64_t)right
                                                  : strcmp(digest, "wrong") == 0
                                                      ? (int64_t)right + 1
                                                      : 0,
                                  .want_fence = script_flag(c, "fence"),
                                  .want_shutdown = script_flag(c, "shutdown")};
}

static void
run_heartbeat(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct broker_heartbeat_request request = {.status = status_of(w, c)};
    ask(w, API_BROKER_HEARTBEAT, 0, &request, out);
}

static void
run_create(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct config_entry config[SCRIPT_MAX_WORDS];
    struct create_topic_request request = {
        .topic_name = bytes_str(c->count > 1 ? c->words[1] : ""),
        .request_id = script_id(script_number(c, "request", 0)),
        .partition_count = (int32_t)script_number(c, "partitions", -1),
        .replication_factor = (int16_t)script_number(c, "replicas", -1),
        .config = config};
    for (size_t i = 2; i < c->count; i++) {
        char *equals = strchr(c->words[i], '=');
        bool ours = strncmp(c->words[i], "request=", 8) == 0 ||
                    strncmp(c->words[i], "partitions=", 11) == 0 ||
                    strncmp(c->words[i], "replicas=", 9) == 0;
        if (equals != NULL && !ours) {
            config[request.config_count++] = (struct config_entry){
                bytes_of(c->words[i], (size_t)(equals - c->words[i])), bytes_str(equals + 1)};
        }
    }
    ask(w, API_CREATE_TOPIC, 0, &request, out);
}

static void
run_alter(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct config_change config[SCRIPT_MAX_WORDS];
    struct alter_topic_request request = {.topic_name = bytes_str(c->words[1]), .config = config};
    for (size_t i = 2; i < c->count; i++) {
        size_t size = strcspn(c->words[i], "=");
        const char *value = c->words[i] + size + 1;
        config[request.config_count++] =
            (struct config_change){bytes_of(c->words[i], size), bytes_str(value), *value == '\0'};
    }
    ask(w, API_ALTER_TOPIC, 0, &request, out);
}

static void
run_partitions(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct create_partitions_request request = {.topic_name = bytes_str(c->words[1]),
                                                .partition_count =
                                                    (int32_t)strtol(c->words[2], NULL, 10)};
    ask(w, API_CREATE_PARTITIONS, 0, &request, out);
}

static void
run_elect(struct world *w, const struct script_command *c, struct outbuf *out)
{
    bool named = c->count > 1 && strchr(c->words[1], '=') == NULL && !script_flag(c, "all");
    struct elect_leaders_request request = {.all_topics = script_flag(c, "all"),
                                            .topic_name = bytes_str(named ? c->words[1] : ""),
                                            .partition = (int32_t)script_number(c, "partition", -1),
                                            .unclean = script_flag(c, "unclean"),
                                            .accept_data_loss = script_flag(c, "accept"),
                                            .broker_id = (int32_t)script_number(c, "broker", -1)};
    ask(w, API_ELECT_LEADERS, 0, &request, out);
}

static void
run_rebalance(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)out;
    w->rebalance_ms = strtol(c->words[1], NULL, 10);
}

static void
run_describe(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct bytes names[SCRIPT_MAX_WORDS];
    struct describe_topics_request request = {.topic_names = names};
    for (size_t i = 1; i < c->count; i++) {
        names[request.topic_names_count++] = bytes_str(c->words[i]);
    }
    ask(w, API_DESCRIBE_TOPICS, 0, &request, out);
}

static void
run_committed(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)c;
    ask(w, API_COMMITTED_VERSION, 0, &(struct committed_version_request){.broker_id = 101}, out);
}

static void
run_delete(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct delete_topic_request request = {0};
    if (strcmp(c->words[0], "delete-id") == 0) {
        request.topic_id = short_ids_find(&w->ids, strtoul(c->words[1], NULL, 10));
    } else {
        request.topic_name = bytes_str(c->words[1]);
    }
    ask(w, API_DELETE_TOPIC, 0, &request, out);
}

static void
run_ids(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct allocate_producer_ids_request request = {.broker_id =
                                                        (int32_t)strtol(c->words[1], NULL, 10),
                                                    .broker_epoch = script_number(c, "epoch", 0)};
    ask(w, API_ALLOCATE_PRODUCER_IDS, 0, &request, out);
}

#define MAX_MEMBERS 8

/* The leader of partition N/P asks for an ISR. */
static void
run_isr(struct world *w, const struct script_command *c, struct outbuf *out)
{
    char *end;
    struct isr_member members[MAX_MEMBERS];
    struct alter_partition_request request = {
        .broker_id = (int32_t)script_number(c, "leader", 0),
        .broker_epoch = script_number(c, "broker", 0),
        .durability = script_flag(c, "async"),
        .isr = members,
    };
    request.topic_id = short_ids_find(&w->ids, strtoul(c->words[1], &end, 10));
    request.partition = (int32_t)strtol(end + 1, NULL, 10);
    request.leader_epoch = (int32_t)strtol(script_value(c, "epoch", "0/0"), &end, 10);
    request.partition_epoch = (int32_t)strtol(end + 1, NULL, 10);
    const char *text = script_value(c, "isr", "");
    while (*text != '\0' && request.isr_count < MAX_MEMBERS) {
        struct isr_member *member = &members[request.isr_count++];
        member->broker_id = (int32_t)strtol(text, &end, 10);
        member->broker_epoch = strtol(end + 1, &end, 10);
        text = *end == ',' ? end + 1 : end;
    }
    ask(w, API_ALTER_PARTITION, 0, &request, out);
}

static void run_persisted(struct world *w, const struct script_command *c, struct outbuf *out);

static void
run_burst(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct outbuf unseen = {0};
    int64_t before = ctl_version(w->ctl);
    for (long i = strtol(c->words[2], NULL, 10); i > 0; i--) {
        run_ids(w, c, &unseen);
        run_persisted(w, c, &unseen);
    }
    script_print(out, "%lld entries\n", (long long)(ctl_version(w->ctl) - before));
    outbuf_deinit(&unseen);
}

static void
run_flood(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct outbuf unseen = {0};
    struct ctl_stats stats;
    long throttled = 0, count = strtol(c->words[1], NULL, 10);
    for (long i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "flood-%ld", i);
        struct create_topic_request request = {
            .topic_name = bytes_str(name), .partition_count = 1, .replication_factor = 1};
        outbuf_clear(&unseen);
        ask(w, API_CREATE_TOPIC, 0, &request, &unseen);
        outbuf_put(&unseen, "", 1);
        throttled += strstr((const char *)unseen.data, "THROTTLED") != NULL;
    }
    ctl_stats(w->ctl, &stats);
    script_print(out, "%ld throttled, %lld waiting\n", throttled, (long long)stats.waiting);
    outbuf_deinit(&unseen);
}

/* A call of the table with nothing in it. */
static void
run_call(struct world *w, const struct script_command *c, struct outbuf *out)
{
    static const char nothing[4096];
    for (size_t i = 0; i < api_table_count; i++) {
        if (strcmp(api_table[i].name, c->words[1]) == 0) {
            ask(w, api_table[i].key, (int16_t)script_number(c, "version", 0), nothing, out);
            return;
        }
    }
    script_wrong(c, "no call %s", c->words[1]);
}

static void
run_raw(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct buf *frames[SCRIPT_MAX_WORDS];
    for (size_t i = 1; i < c->count; i++) {
        frames[i - 1] = buf_copy(bytes_str(c->words[i]));
    }
    send_frames(w, frames, c->count - 1, out);
}

/* An envelope whose inside is wrong. */
static void
run_envelope(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct envelope_request envelope = {0};
    struct buf *frames[4];
    w->correlation++;
    frames[0] = header_frame(w, API_ENVELOPE, 0);
    frames[1] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
    size_t count = 2;
    if (script_flag(c, "heartbeat")) {
        frames[count++] = header_frame(w, API_BROKER_HEARTBEAT, 0);
        frames[count++] = buf_copy(bytes_str("\xc0"));
    } else if (script_flag(c, "bad-body")) {
        frames[count++] = header_frame(w, API_CREATE_TOPIC, 0);
        frames[count++] = buf_copy(bytes_str("\xc0"));
    }
    send_frames(w, frames, count, out);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void
new_machine(struct world *w)
{
    static const int32_t controllers[] = {1};
    struct ctl_config config = {.controller_id = 1,
                                .disk_id = script_id(400),
                                .cluster_id = w->cluster_id,
                                .controllers = controllers,
                                .controller_count = 1,
                                .instance_id = script_id(1000),
                                .session_timeout_ms = 2000,
                                .rebalance_ms = w->rebalance_ms,
                                .max_message_bytes = 1 << 20,
                                .max_requests = 100,
                                .seed = 42};
    ctl_free(w->ctl);
    w->ctl = ctl_new(&config);
}

static void
run_start(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct ctl_event event = {.kind = CTL_STARTED};
    struct raft_saved saved = raft_disk_saved(&w->disk);
    (void)c;
    new_machine(w);
    raft_persist_free(w->in_flight);
    w->in_flight = NULL;
    event.u.started = &saved;
    step(w, &event, out);
}

static void
run_persisted(struct world *w, const struct script_command *c, struct outbuf *out)
{
    if (w->in_flight == NULL) {
        script_print(out, "no entry is on its way\n");
        return;
    }
    struct ctl_event event = carry_out(w, script_error(c, script_value(c, "err", "OK")));
    step(w, &event, out);
}

static void
run_pushed(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct push_metadata_response response = {.status = status_of(w, c)};
    struct buf *body = msg_encode_buf(desc_push_metadata_response(), 0, &response);
    struct ctl_event event = {.kind = CTL_PUSHED};
    int32_t id = response.status.broker_id;
    event.u.pushed.broker_id = id;
    event.u.pushed.number = w->pushes[id];
    event.u.pushed.err = script_error(c, script_value(c, "err", "OK"));
    event.u.pushed.body = buf_bytes(body);
    step(w, &event, out);
    buf_unref(body);
}

static void
run_peer(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct ctl_event event = {.kind = strcmp(c->words[0], "up") == 0 ? CTL_PEER_UP : CTL_PEER_DOWN};
    event.u.peer = (int32_t)strtol(c->words[1], NULL, 10);
    step(w, &event, out);
}

static void
run_gone(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct ctl_event event = {.kind = CTL_PEER_GONE};
    event.u.gone.broker_id = (int32_t)strtol(c->words[1], NULL, 10);
    event.u.gone.incarnation = script_id(script_number(c, "inc", 0));
    step(w, &event, out);
}

static void
run_hello(struct world *w, const struct script_command *c, struct outbuf *out)
{
    const struct api_versions_request request = {
        .cluster_id =
            script_flag(c, "ours") ? w->cluster_id : script_id(script_number(c, "cluster", 0)),
        .node_id = (int32_t)strtol(c->words[1], NULL, 10)};
    struct outbuf answer = {0};
    ask(w, API_API_VERSIONS, 1, &request, &answer);
    outbuf_put(&answer, "", 1); /* the list of calls is cut off */
    script_print(out, "%.*s\n", (int)strcspn((const char *)answer.data, "{"),
                 (const char *)answer.data);
    outbuf_deinit(&answer);
}

static void
run_wait(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)out;
    w->now_ms += strtol(c->words[1], NULL, 10);
}

/* Time passes as it does for the shell: a TICK whenever one is due. */
static void
run_tick(struct world *w, const struct script_command *c, struct outbuf *out)
{
    int64_t until = w->now_ms + strtol(c->words[1], NULL, 10);
    while (ctl_deadline(w->ctl) <= until) {
        w->now_ms = ctl_deadline(w->ctl);
        step(w, &(struct ctl_event){.kind = CTL_TICK}, out);
    }
    w->now_ms = until;
}

static void
run_state(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)c;
    struct outbuf full = {0};
    const struct image *image = ctl_image(w->ctl);
    script_print(&full, "version %lld\n", (long long)image_version(image));
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        record_text_broker(&full, image_broker_at(image, i));
        script_print(&full, "\n");
    }
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        record_text_topic(&full, topic->record);
        script_print(&full, "\n");
        for (uint32_t k = 0; k < topic->partition_count; k++) {
            record_text_partition(&full, topic->partitions[k]);
            script_print(&full, "\n");
        }
    }
    outbuf_put(&full, "", 1);
    short_ids_print(&w->ids, out, (const char *)full.data);
    outbuf_deinit(&full);
}

static const struct script_verb verbs[] = {
    {"start", run_start},
    {"restart", run_start},
    {"persisted", run_persisted},
    {"register", run_register},
    {"damaged", run_damaged},
    {"up", run_peer},
    {"down", run_peer},
    {"hello", run_hello},
    {"gone", run_gone},
    {"create", run_create},
    {"heartbeat", run_heartbeat},
    {"alter", run_alter},
    {"partitions", run_partitions},
    {"elect", run_elect},
    {"rebalance", run_rebalance},
    {"committed", run_committed},
    {"describe", run_describe},
    {"delete", run_delete},
    {"delete-id", run_delete},
    {"ids", run_ids},
    {"isr", run_isr},
    {"tick", run_tick},
    {"pushed", run_pushed},
    {"call", run_call},
    {"burst", run_burst},
    {"flood", run_flood},
    {"raw", run_raw},
    {"envelope", run_envelope},
    {"state", run_state},
    {"wait", run_wait},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    static struct world w = {.now_ms = 1000};
    int code = script_main(argc, argv, verbs, &w);
    ctl_free(w.ctl);
    ctl_effects_deinit(&w.effects);
    raft_persist_free(w.in_flight);
    raft_disk_deinit(&w.disk);
    return code;
}
