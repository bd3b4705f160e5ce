/* Scripts for several controllers together: the real cores with disks and a network that do what
 * they are told. Nothing takes time but what waits for a clock; nothing is lost unless it is cut.
 *
 *   start ID...                  new processes; the disk is what it was
 *   kill ID | wipe ID            the process ends; its disk is emptied (it must have ended)
 *   lose ID | foreign ID         its store is gone, its folder is not; is another cluster's
 *   compact BYTES                of the log before a snapshot takes its place; before start
 *   hold ID | release ID         its writes do not complete any more; they do again
 *   fail ID                      its next write fails
 *   cut ID... | join             the network between these and the others; whole again
 *   run MS                       everything happens that does in this time
 *   register ID BROKER [inc=N]   asks controller ID; the answer is printed when it comes
 *   ids ID BROKER epoch=N | describe ID | quorum ID
 *   transfer ID TO | add ID WHO | remove ID WHO
 *   state                        where everybody is */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/core/core.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/list.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec_json.h"
#include "tests/script/script.h"
#include "tests/support/raft_disk.h"

enum { NODES = 5 };

struct node {
    struct world *w;
    int32_t id;
    int disk_number; /* which disk: drawn anew when it is emptied */
    struct uuid cluster_id;
    struct raft_disk disk;
    struct ctl *ctl; /* NULL: not running */
    struct raft_persist *write;
    bool held;
    bool fails;
    bool cut;
};

enum job_kind { JOB_PERSISTED, JOB_RAFT, JOB_ASK, JOB_ANSWER, JOB_UP, JOB_DOWN, JOB_GONE };

struct job {
    struct list link;
    enum job_kind kind;
    struct node *from;
    struct node *to;
    uint64_t number; /* of a question */
    struct buf *body;
    dmq_err err;
};

struct world {
    struct node nodes[NODES];
    struct list jobs;
    int64_t now_ms;
    int64_t snapshot_bytes;
    int16_t asked[1000]; /* api key by correlation */
    int64_t correlation;
    struct outbuf *out; /* of the command that runs */
    char clusters[4][UUID_TEXT_SIZE];
    size_t cluster_count;
};

static void step(struct node *node, struct ctl_event *event);

/* ---- the network ----------------------------------------------------------------------------- */

static struct node *
node_of(struct world *w, int32_t id)
{
    DMQ_ASSERT(id >= 1 && id <= NODES);
    return &w->nodes[id - 1];
}

static bool
connected(const struct node *a, const struct node *b)
{
    return a->ctl != NULL && b->ctl != NULL && a->cut == b->cut;
}

static struct job *
push_job(enum job_kind kind, struct node *from, struct node *to)
{
    struct job *job = calloc(1, sizeof(*job));
    DMQ_ASSERT(job != NULL);
    *job = (struct job){.kind = kind, .from = from, .to = to};
    list_append(&to->w->jobs, &job->link);
    return job;
}

static void
answer_job(struct node *asker, struct node *asked, uint64_t number, dmq_err err, struct buf *body)
{
    struct job *job = push_job(JOB_ANSWER, asked, asker);
    job->number = number;
    job->err = err;
    job->body = body;
}

/* Frames of a question; its correlation says whose it is and which one. */
static struct buf *
frame(int16_t key, int64_t correlation)
{
    struct request_header header = {.protocol = WIRE_PROTOCOL,
                                    .api_key = key,
                                    .correlation_id = correlation,
                                    .client_id = bytes_str("script")};
    return msg_encode_buf(desc_request_header(), 0, &header);
}

static void
request(struct node *node, const char *from, struct buf **frames, size_t count)
{
    struct ctl_event event = {.kind = CTL_REQUEST};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str(from));
    event.u.request.frames = frames;
    event.u.request.count = count;
    event.u.request.peer = "script";
    step(node, &event);
}

static void
deliver(struct job *job, int16_t key)
{
    char from[16];
    if (!connected(job->from, job->to)) {
        if (key == API_QUORUM_STATE && job->from->ctl != NULL) {
            answer_job(job->from, job->to, job->number, DMQ_ERR_NETWORK, NULL);
        }
        return;
    }
    struct buf *frames[] = {frame(key, (int64_t)job->number), buf_ref(job->body)};
    snprintf(from, sizeof(from), "%d", job->from->id);
    request(job->to, from, frames, 2);
}

/* ---- printing -------------------------------------------------------------------------------- */

static const char *
cluster_name(struct world *w, struct uuid id)
{
    static char name[16];
    char text[UUID_TEXT_SIZE];
    size_t i = 0;
    uuid_text(id, text);
    while (i < w->cluster_count && strcmp(w->clusters[i], text) != 0) {
        i++;
    }
    if (i == w->cluster_count && i < 4) {
        memcpy(w->clusters[w->cluster_count++], text, sizeof(text));
    }
    snprintf(name, sizeof(name), "cluster-%zu", i + 1);
    return name;
}

/* The answer to a request of the script's. */
static void
print_reply(const struct node *node, const struct ctl_effect *effect)
{
    struct arena arena;
    struct response_header header;
    struct err_msg err;
    char body[65536];
    size_t at = effect->u.reply.count > 2 ? 2 : 0; /* inside its envelope */
    arena_init(&arena, SIZE_MAX);
    dmq_err code = msg_decode(desc_response_header(), 0, buf_bytes(effect->u.reply.frames[at]),
                              &arena, &header, &err);
    DMQ_ASSERT(code == DMQ_OK);
    script_print(node->w->out, "%d| reply %s", node->id, err_name(header.error));
    if (header.error != DMQ_OK) {
        script_print(node->w->out, ": %.*s\n", (int)header.message.size,
                     (const char *)header.message.data);
    } else {
        const struct struct_desc *desc =
            api_find(node->w->asked[header.correlation_id % 1000])->response();
        code = msg_decode(desc, 0, buf_bytes(effect->u.reply.frames[at + 1]), &arena, body, &err);
        DMQ_ASSERT(code == DMQ_OK);
        char *text = msg_to_json_text(desc, body);
        script_print(node->w->out, " %s\n", text);
        free(text);
    }
    arena_deinit(&arena);
}

/* To a mate: the answer to its question. */
static void
reply(struct node *node, const struct ctl_effect *effect)
{
    struct arena arena;
    struct response_header header;
    struct err_msg err;
    const struct buf *to = effect->u.reply.to;
    if (to->size == 0 || to->data[0] < '0' || to->data[0] > '9') {
        print_reply(node, effect);
        return;
    }
    arena_init(&arena, SIZE_MAX);
    dmq_err code = msg_decode(desc_response_header(), 0, buf_bytes(effect->u.reply.frames[0]),
                              &arena, &header, &err);
    DMQ_ASSERT(code == DMQ_OK);
    answer_job(
        node_of(node->w, to->data[0] - '0'), node, (uint64_t)header.correlation_id, header.error,
        effect->u.reply.count > 1 ? buf_ref(effect->u.reply.frames[1]) : buf_copy(header.message));
    arena_deinit(&arena);
}

static void
print_log(const struct node *node, const struct ctl_effect *effect)
{
    const char *line = effect->u.log.line;
    if (strncmp(line, "cluster id=", 11) != 0) { /* CTL_CLUSTER says it with a shorter name */
        script_print(node->w->out, "%d| %s%s\n", node->id, effect->u.log.error ? "error " : "",
                     line);
    }
}

/* ---- effects --------------------------------------------------------------------------------- */

static void
take(struct node *node, struct ctl_effect *effect)
{
    struct job *job;
    switch (effect->kind) {
    case CTL_PERSIST:
        DMQ_ASSERT(node->write == NULL);
        node->write = effect->u.persist;
        effect->u.persist = NULL;
        push_job(JOB_PERSISTED, NULL, node);
        break;
    case CTL_REPLY:
        reply(node, effect);
        break;
    case CTL_SEND:
        job = push_job(JOB_RAFT, node, node_of(node->w, effect->u.send.controller_id));
        job->body = buf_ref(effect->u.send.body);
        break;
    case CTL_ASK:
        job = push_job(JOB_ASK, node, node_of(node->w, effect->u.ask.controller_id));
        job->number = effect->u.ask.number;
        job->body = buf_ref(effect->u.ask.body);
        break;
    case CTL_CLUSTER:
        node->cluster_id = effect->u.cluster_id;
        script_print(node->w->out, "%d| belongs to %s\n", node->id,
                     cluster_name(node->w, node->cluster_id));
        break;
    case CTL_READY:
        script_print(node->w->out, "%d| ready\n", node->id);
        break;
    case CTL_PROBE_MATE:
        if (node_of(node->w, effect->u.peer)->ctl == NULL) {
            push_job(JOB_GONE, node_of(node->w, effect->u.peer), node);
        }
        break;
    case CTL_LOG:
        print_log(node, effect);
        break;
    case CTL_FAIL:
        script_print(node->w->out, "%d| fail\n", node->id);
        break;
    case CTL_CONNECT:
    case CTL_DISCONNECT:
    case CTL_PUSH:
    case CTL_PROBE:
        break;
    }
    ctl_effect_deinit(effect);
}

static void
step(struct node *node, struct ctl_event *event)
{
    struct ctl_effects effects = {0};
    event->now_ms = node->w->now_ms;
    ctl_step(node->ctl, event, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        take(node, &effects.items[i]);
    }
    effects.count = 0;
    ctl_effects_deinit(&effects);
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void
persisted(struct node *node)
{
    struct ctl_event event = {.kind = CTL_PERSISTED};
    struct raft_persist *write = node->write;
    if (write == NULL || node->held) {
        return;
    }
    node->write = NULL;
    event.u.persisted.seq = write->seq;
    event.u.persisted.err = node->fails ? DMQ_ERR_IO : DMQ_OK;
    if (!node->fails) {
        raft_disk_write(&node->disk, write);
    }
    node->fails = false;
    raft_persist_free(write);
    step(node, &event);
}

static void
answered(const struct job *job)
{
    struct ctl_event event = {.kind = CTL_ANSWERED};
    event.u.answered.controller_id = job->from->id;
    event.u.answered.number = job->number;
    event.u.answered.err = job->err;
    event.u.answered.body = job->body != NULL ? buf_bytes(job->body) : bytes_str("");
    step(job->to, &event);
}

static void
happen(struct job *job)
{
    struct ctl_event event = {.kind = CTL_MATE_UP};
    if (job->kind == JOB_RAFT || job->kind == JOB_ASK) {
        deliver(job, job->kind == JOB_RAFT ? API_RAFT : API_QUORUM_STATE);
    } else if (job->to->ctl == NULL) {
        return;
    } else if (job->kind == JOB_PERSISTED) {
        persisted(job->to);
    } else if (job->kind == JOB_ANSWER) {
        answered(job);
    } else {
        event.kind = job->kind == JOB_UP     ? CTL_MATE_UP
                     : job->kind == JOB_DOWN ? CTL_MATE_DOWN
                                             : CTL_MATE_GONE;
        event.u.peer = job->from->id;
        step(job->to, &event);
    }
}

static void
drain(struct world *w)
{
    for (struct list *link; (link = list_pop(&w->jobs)) != NULL;) {
        struct job *job = LIST_ENTRY(link, struct job, link);
        happen(job);
        buf_unref(job->body);
        free(job);
    }
}

static struct node *
next_due(struct world *w, int64_t *ret_at)
{
    struct node *first = NULL;
    *ret_at = INT64_MAX;
    for (int i = 0; i < NODES; i++) {
        struct node *node = &w->nodes[i];
        if (node->ctl != NULL && ctl_deadline(node->ctl) < *ret_at) {
            *ret_at = ctl_deadline(node->ctl);
            first = node;
        }
    }
    return first;
}

static void
run_run(struct world *w, const struct script_command *c, struct outbuf *out)
{
    w->out = out;
    int64_t at, until = w->now_ms + strtol(c->words[1], NULL, 10);
    drain(w);
    for (struct node *node; (node = next_due(w, &at)) != NULL && at <= until;) {
        w->now_ms = at > w->now_ms ? at : w->now_ms;
        step(node, &(struct ctl_event){.kind = CTL_TICK});
        drain(w);
    }
    w->now_ms = until;
}

/* ---- processes ------------------------------------------------------------------------------- */

static void
tell_others(struct node *node, enum job_kind kind)
{
    for (int i = 0; i < NODES; i++) {
        struct node *other = &node->w->nodes[i];
        if (other != node && other->ctl != NULL && other->cut == node->cut) {
            push_job(kind, node, other);
            if (kind == JOB_UP) {
                push_job(kind, other, node);
            }
        }
    }
}

static void
start(struct node *node, const int32_t *ids, size_t count)
{
    struct ctl_event event = {.kind = CTL_STARTED};
    struct raft_saved saved = raft_disk_saved(&node->disk);
    const struct ctl_config config = {.controller_id = node->id,
                                      .disk_id = script_id(node->id * 10 + node->disk_number),
                                      .cluster_id = node->cluster_id,
                                      .controllers = ids,
                                      .controller_count = count,
                                      .instance_id = script_id(1000),
                                      .session_timeout_ms = 2000,
                                      .max_message_bytes = 1 << 20,
                                      .max_requests = 100,
                                      .snapshot_bytes = node->w->snapshot_bytes,
                                      .seed = (uint64_t)node->id};
    DMQ_ASSERT(node->ctl == NULL);
    node->ctl = ctl_new(&config);
    event.u.started = &saved;
    step(node, &event);
    tell_others(node, JOB_UP);
}

static void
run_start(struct world *w, const struct script_command *c, struct outbuf *out)
{
    w->out = out;
    static const int32_t all[] = {1, 2, 3};
    static const int32_t four[] = {1, 2, 3, 4};
    bool more = script_flag(c, "of-four");
    for (size_t i = 1; i < c->count; i++) {
        if (c->words[i][0] >= '0' && c->words[i][0] <= '9') {
            start(node_of(w, (int32_t)strtol(c->words[i], NULL, 10)), more ? four : all,
                  more ? 4 : 3);
        }
    }
}

static void
run_compact(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)out;
    w->snapshot_bytes = strtol(c->words[1], NULL, 10);
}

static void
end(struct node *node)
{
    ctl_free(node->ctl);
    node->ctl = NULL;
    raft_persist_free(node->write);
    node->write = NULL;
    node->held = false;
}

static void
run_kill(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)out;
    for (size_t i = 1; i < c->count; i++) {
        struct node *node = node_of(w, (int32_t)strtol(c->words[i], NULL, 10));
        end(node);
        tell_others(node, JOB_DOWN);
    }
}

static void
run_disk(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)out;
    struct node *node = node_of(w, (int32_t)strtol(c->words[1], NULL, 10));
    if (strcmp(c->words[0], "hold") == 0) {
        node->held = true;
    } else if (strcmp(c->words[0], "release") == 0) {
        node->held = false;
        push_job(JOB_PERSISTED, NULL, node);
    } else if (strcmp(c->words[0], "fail") == 0) {
        node->fails = true;
    } else {
        DMQ_ASSERT(node->ctl == NULL);
        raft_disk_deinit(&node->disk);
        node->disk = (struct raft_disk){0};
        node->disk_number++;
        if (strcmp(c->words[0], "wipe") == 0) {
            node->cluster_id = (struct uuid){{0}};
        } else if (strcmp(c->words[0], "foreign") == 0) {
            node->cluster_id = script_id(777);
        }
    }
}

static void
run_cut(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)out;
    for (int i = 0; i < NODES; i++) {
        w->nodes[i].cut = false;
    }
    for (size_t i = 1; i < c->count; i++) {
        node_of(w, (int32_t)strtol(c->words[i], NULL, 10))->cut = true;
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
ask(struct node *node, int16_t key, const void *body)
{
    struct world *w = node->w;
    const struct api_desc *api = api_find(key);
    struct envelope_request envelope = {.principal = bytes_str("anonymous")};
    struct buf *frames[4];
    size_t count = 0;
    w->asked[++w->correlation % 1000] = key;
    if ((api->listeners & LISTENER_CONTROLLER) == 0) {
        frames[count++] = frame(API_ENVELOPE, w->correlation);
        frames[count++] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
    }
    frames[count++] = frame(key, w->correlation);
    frames[count++] = msg_encode_buf(api->request(), 0, body);
    request(node, "script", frames, count);
    drain(w);
}

static void
run_register(struct node *node, const struct script_command *c, int32_t id)
{
    struct folder_state folder = {.disk_id = script_id(id)};
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("b"), .port = 9000 + id},
        {.listener = bytes_str("node"), .host = bytes_str("b"), .port = 10000 + id}};
    struct register_broker_request body = {.broker_id = id,
                                           .incarnation = script_id(script_number(c, "inc", 1)),
                                           .endpoints = endpoints,
                                           .endpoints_count = 2,
                                           .folders = &folder,
                                           .folders_count = 1,
                                           .replaces = script_number(c, "replaces", -1)};
    ask(node, API_REGISTER_BROKER, &body);
}

static void
run_ask(struct world *w, const struct script_command *c, struct outbuf *out)
{
    w->out = out;
    const char *what = c->words[0];
    struct node *node = node_of(w, (int32_t)strtol(c->words[1], NULL, 10));
    int32_t id = c->count > 2 ? (int32_t)strtol(c->words[2], NULL, 10) : 0;
    if (strcmp(what, "register") == 0) {
        run_register(node, c, id);
    } else if (strcmp(what, "ids") == 0) {
        const struct allocate_producer_ids_request body = {
            .broker_id = id, .broker_epoch = script_number(c, "epoch", 0)};
        ask(node, API_ALLOCATE_PRODUCER_IDS, &body);
    } else if (strcmp(what, "describe") == 0) {
        ask(node, API_DESCRIBE_TOPICS, &(struct describe_topics_request){0});
    } else if (strcmp(what, "committed") == 0) {
        ask(node, API_COMMITTED_VERSION, &(struct committed_version_request){.broker_id = 101});
    } else if (strcmp(what, "quorum") == 0) {
        ask(node, API_DESCRIBE_QUORUM, &(struct describe_quorum_request){0});
    } else if (strcmp(what, "transfer") == 0) {
        ask(node, API_TRANSFER_LEADER, &(struct transfer_leader_request){.controller_id = id});
    } else if (strcmp(what, "add") == 0) {
        ask(node, API_ADD_CONTROLLER, &(struct add_controller_request){.controller_id = id});
    } else {
        ask(node, API_REMOVE_CONTROLLER, &(struct remove_controller_request){.controller_id = id});
    }
}

static void
run_state(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)c;
    for (int i = 0; i < NODES; i++) {
        const struct node *node = &w->nodes[i];
        struct ctl_stats stats;
        if (node->ctl == NULL) {
            continue;
        }
        ctl_stats(node->ctl, &stats);
        script_print(out, "%d| %s%s leader=%d term=%lld version=%lld\n", node->id,
                     stats.voter ? "voter" : "no vote", stats.leading ? ", leads," : "",
                     stats.leader, (long long)stats.term, (long long)stats.version);
    }
}

/* ---- the script ------------------------------------------------------------------------------ */

static const struct script_verb verbs[] = {
    {"start", run_start},     {"kill", run_kill},    {"wipe", run_disk},    {"lose", run_disk},
    {"foreign", run_disk},    {"hold", run_disk},    {"release", run_disk}, {"fail", run_disk},
    {"cut", run_cut},         {"join", run_cut},     {"run", run_run},      {"register", run_ask},
    {"ids", run_ask},         {"describe", run_ask}, {"quorum", run_ask},   {"committed", run_ask},
    {"transfer", run_ask},    {"add", run_ask},      {"remove", run_ask},   {"state", run_state},
    {"compact", run_compact}, {NULL, NULL},
};

int
main(int argc, char **argv)
{
    static struct world w = {.now_ms = 1000};
    list_init(&w.jobs);
    for (int32_t i = 0; i < NODES; i++) {
        w.nodes[i].w = &w;
        w.nodes[i].id = i + 1;
    }
    int code = script_main(argc, argv, verbs, &w);
    for (int i = 0; i < NODES; i++) {
        end(&w.nodes[i]);
        raft_disk_deinit(&w.nodes[i].disk);
    }
    for (struct list *link; (link = list_pop(&w.jobs)) != NULL;) {
        struct job *job = LIST_ENTRY(link, struct job, link);
        buf_unref(job->body);
        free(job);
    }
    return code;
}
