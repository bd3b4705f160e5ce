#include "tests/sim/raft_cluster.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "tests/support/raft_text.h"

enum event_kind { EVENT_MESSAGE, EVENT_WRITTEN, EVENT_TICK, EVENT_START, EVENT_FAULT, EVENT_WORK };

struct event {
    struct heap_node place;
    enum event_kind kind;
    int32_t node;
    uint64_t life;
    struct raft_message *message;
};

/* ---- telling --------------------------------------------------------------------------------- */

void
cluster_tell(struct cluster *cluster, const struct cluster_node *node, const char *format, ...)
{
    char line[4200];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    cluster->hash = raft_watch_mix(cluster->hash, &cluster->now_us, sizeof(cluster->now_us));
    cluster->hash = raft_watch_mix(cluster->hash, line, (size_t)size);
    if (cluster->trace) {
        printf("%10.3f  %" PRId32 "  %s\n", (double)cluster->now_us / 1000,
               node == NULL ? 0 : node->w.id.node, line);
    }
}

/* The same with and without --trace: of numbers, not of text. */
static void
hash_effect(struct cluster *cluster, const struct cluster_node *node,
            const struct raft_effect *effect)
{
    const struct raft_message *m = &effect->u.message;
    const int64_t of_message[] = {m->kind,     m->to.node, m->term,  m->index,
                                  m->log_term, m->commit,  m->round, m->entry_count};
    const int64_t of_all[] = {effect->kind, node->w.id.node, node->raft.term, node->raft.commit,
                              raft_last_index(&node->raft)};
    cluster->hash = raft_watch_mix(cluster->hash, of_all, sizeof(of_all));
    if (effect->kind == RAFT_SEND) {
        cluster->hash = raft_watch_mix(cluster->hash, of_message, sizeof(of_message));
    }
    if (cluster->trace) {
        struct raft_text text = {0};
        raft_text_effect(&text, &node->raft, effect);
        printf("%10.3f  %" PRId32 "  %s\n", (double)cluster->now_us / 1000, node->w.id.node,
               text.text);
    }
}

/* ---- what must hold -------------------------------------------------------------------------- */

void
cluster_wrong(const struct cluster *cluster, const struct cluster_node *node, const char *format,
              ...)
{
    va_list args;
    va_start(args, format);
    printf("seed %" PRIu64 ": at %.3f ms, node %" PRId32 ": ", cluster->seed,
           (double)cluster->now_us / 1000, node == NULL ? 0 : node->w.id.node);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
    exit(1);
}

static void
watch_wrong(void *arg, const struct raft_watched *node, const char *what)
{
    const struct cluster *cluster = arg;
    cluster_wrong(cluster, &cluster->nodes[node->id.node], "%s", what);
}

static void
check_read(struct cluster *cluster, const struct cluster_node *node,
           const struct raft_effect *effect)
{
    struct cluster_read *read = &cluster->reads[effect->u.read.id & 0xffff];
    bool sees = effect->kind == RAFT_READ_FAILED ||
                (effect->u.read.index >= read->floor && node->w.applied >= effect->u.read.index);
    if (!read->waits || !sees) {
        cluster_wrong(cluster, node,
                      read->waits ? "a read does not see what was committed before it"
                                  : "a read is answered twice");
    }
    read->waits = false;
}

static void
check_step(struct cluster *cluster, struct cluster_node *node)
{
    if (node->raft.role == RAFT_LEADER) {
        raft_watch_one_change(&cluster->watch, &node->w);
    }
    struct cluster_node *other = &cluster->nodes[1 + cluster->steps / 8 % CLUSTER_NODES];
    if (other != node && other->up && cluster->steps % 8 == 0) {
        raft_watch_matching(&cluster->watch, &node->w, &other->w);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct event *
push(struct cluster *cluster, enum event_kind kind, const struct cluster_node *node, int64_t at_us)
{
    struct event *event = calloc(1, sizeof(*event));
    DMQ_ASSERT(event != NULL);
    event->kind = kind;
    event->node = node == NULL ? 0 : node->w.id.node;
    event->life = node == NULL ? 0 : node->life;
    bool pushed = heap_push(&cluster->events, &event->place, at_us);
    DMQ_ASSERT(pushed);
    return event;
}

static void
free_event(struct event *event)
{
    raft_message_free(event->message);
    free(event);
}

int64_t
cluster_now_ms(const struct cluster *cluster, const struct cluster_node *node)
{
    return cluster->now_us / 1000 + node->clock_ms;
}

void
cluster_later(struct cluster *cluster, struct cluster_node *node, int64_t after_us)
{
    push(cluster, EVENT_START, node, cluster->now_us + after_us);
}

static void
plan_tick(struct cluster *cluster, struct cluster_node *node)
{
    int64_t due = raft_deadline(&node->raft);
    if (due == INT64_MAX) {
        return;
    }
    int64_t at = (due - node->clock_ms) * 1000;
    at = at > cluster->now_us ? at : cluster->now_us + 1000;
    if (node->tick_us == 0 || at < node->tick_us) {
        node->tick_us = at;
        push(cluster, EVENT_TICK, node, at);
    }
}

/* ---- effects --------------------------------------------------------------------------------- */

static void
send_message(struct cluster *cluster, const struct raft_message *message)
{
    const struct cluster_options *options = &cluster->options;
    struct cluster_node *to = &cluster->nodes[message->to.node];
    int copies = 1;
    if (cluster->cut[message->from.node][message->to.node]) {
        cluster->counts.cut++;
        return;
    }
    if (cluster->faults_on && rng_chance(&cluster->rng, options->loss)) {
        cluster->counts.lost++;
        return;
    }
    if (cluster->faults_on && rng_chance(&cluster->rng, options->doubled)) {
        cluster->counts.doubled++;
        copies = 2;
    }
    while (copies-- > 0) {
        int64_t most = cluster->faults_on ? options->delay_us : 2000;
        int64_t at = cluster->now_us + rng_range(&cluster->rng, 50, most);
        push(cluster, EVENT_MESSAGE, to, at)->message = raft_message_copy(message);
    }
}

static void
begin_write(struct cluster *cluster, struct cluster_node *node, const struct raft_persist *write)
{
    const struct cluster_options *options = &cluster->options;
    int64_t takes = rng_range(&cluster->rng, 50, cluster->faults_on ? options->write_us : 2000);
    if (node->writing != NULL) {
        cluster_wrong(cluster, node, "two writes at a time");
    }
    if (cluster->faults_on && rng_chance(&cluster->rng, options->stalls)) {
        cluster->counts.stalls++;
        takes += rng_range(&cluster->rng, 100000, 2000000);
    }
    node->writing = raft_persist_copy(write);
    push(cluster, EVENT_WRITTEN, node, cluster->now_us + takes);
}

static void
carry_out(struct cluster *cluster, struct cluster_node *node, const struct raft_effect *effect)
{
    switch (effect->kind) {
    case RAFT_PERSIST:
        begin_write(cluster, node, &effect->u.persist);
        break;
    case RAFT_SEND:
        raft_watch_send(&cluster->watch, &node->w, &effect->u.message);
        cluster->counts.chunks += effect->u.message.kind == RAFT_SNAPSHOT;
        send_message(cluster, &effect->u.message);
        break;
    case RAFT_COMMITTED:
        if (effect->u.committed.first != node->w.applied + 1) {
            cluster_wrong(cluster, node, "entries are committed twice or not at all");
        }
        raft_watch_applied(&cluster->watch, &node->w, effect->u.committed.last);
        cluster->counts.commits++;
        break;
    case RAFT_INSTALL:
        DMQ_ASSERT(node->raft.snapshot.data->size >= 8);
        raft_watch_installed(&cluster->watch, &node->w, get_be64(node->raft.snapshot.data->data));
        cluster->counts.installs++;
        break;
    case RAFT_ROLE:
        if (effect->u.role.role == RAFT_LEADER) {
            raft_watch_leader(&cluster->watch, &node->w);
        }
        break;
    case RAFT_READ_READY:
        cluster->counts.reads++;
        check_read(cluster, node, effect);
        break;
    case RAFT_READ_FAILED:
        cluster->counts.reads_failed++;
        check_read(cluster, node, effect);
        break;
    case RAFT_CAUGHT_UP:
        break;
    case RAFT_FAILED: /* the process ends and is started again */
        cluster_later(cluster, node, 300000);
        break;
    }
}

void
cluster_step(struct cluster *cluster, struct cluster_node *node, struct raft_event event)
{
    int64_t members_before = node->raft.stats.stepped_down;
    int64_t truncations = node->raft.stats.truncations, elections = node->raft.stats.elections;
    event.now_ms = cluster_now_ms(cluster, node);
    raft_step(&node->raft, &event, &cluster->effects);
    cluster->steps++;
    cluster->counts.stepped_down += (uint64_t)(node->raft.stats.stepped_down - members_before);
    cluster->counts.truncations += (uint64_t)(node->raft.stats.truncations - truncations);
    cluster->counts.elections += (uint64_t)(node->raft.stats.elections - elections);
    uint32_t carried = cluster->effects.count;
    bool dies = cluster->faults_on && carried > 1 && cluster->options.faults[0] > 0 &&
                rng_below(&cluster->rng, 1000) == 0;
    if (dies) {
        carried = (uint32_t)rng_below(&cluster->rng, carried);
    }
    for (uint32_t i = 0; i < carried; i++) {
        const struct raft_effect *effect = &cluster->effects.items[i];
        hash_effect(cluster, node, effect);
        carry_out(cluster, node, effect);
    }
    if (dies) {
        cluster->counts.crashes_mid_step++;
        cluster_crash(cluster, node);
        cluster_later(cluster, node, rng_range(&cluster->rng, 1000, 2000000));
        return;
    }
    check_step(cluster, node);
    plan_tick(cluster, node);
}

/* ---- processes ------------------------------------------------------------------------------- */

/* What was being written is on the disk, or it is not. */
void
cluster_crash(struct cluster *cluster, struct cluster_node *node)
{
    if (!node->up) {
        return;
    }
    cluster_tell(cluster, node, "crash");
    cluster->counts.crashes++;
    if (node->writing != NULL) {
        bool kept = rng_chance(&cluster->rng, 500);
        cluster->counts.writes_kept += kept;
        cluster->counts.writes_lost += !kept;
        if (kept) {
            raft_disk_write(&node->w.disk, node->writing);
            raft_watch_written(&cluster->watch, &node->w);
        }
        raft_persist_free(node->writing);
        node->writing = NULL;
    }
    raft_deinit(&node->raft);
    node->up = false;
    node->life++;
}

void
cluster_start(struct cluster *cluster, struct cluster_node *node)
{
    struct raft_config config = cluster->options.config;
    struct raft_saved saved = raft_disk_saved(&node->w.disk);
    config.self = node->w.id;
    config.seed = rng_next(&cluster->rng);
    node->up = true;
    node->life++;
    node->tick_us = 0;
    node->paused_until_us = 0;
    node->w.applied = node->w.disk.snapshot.index;
    node->w.digest = node->w.applied == 0 ? 0 : get_be64(node->w.disk.snapshot.data->data);
    raft_init(&node->raft, &config, &saved, cluster_now_ms(cluster, node));
    cluster_tell(cluster, node, "start term=%" PRId64 " commit=%" PRId64, node->raft.term,
                 node->raft.commit);
    if (node->raft.commit < node->w.disk_commit || node->raft.term < node->w.disk_term) {
        cluster_wrong(cluster, node, "term or commit index went back at a restart");
    }
    cluster_step(cluster, node, (struct raft_event){.kind = RAFT_TICK});
}

struct cluster_node *
cluster_leader(struct cluster *cluster)
{
    struct cluster_node *best = NULL;
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (node->up && !node->raft.dead && node->raft.role == RAFT_LEADER &&
            (best == NULL || node->raft.term > best->raft.term)) {
            best = node;
        }
    }
    return best;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void
finish_write(struct cluster *cluster, struct cluster_node *node)
{
    struct raft_persist *write = node->writing;
    bool fails =
        cluster->faults_on && cluster->options.faults[1] > 0 && rng_below(&cluster->rng, 500) == 0;
    node->writing = NULL;
    if (!fails || rng_chance(&cluster->rng, 500)) {
        raft_disk_write(&node->w.disk, write);
        raft_watch_written(&cluster->watch, &node->w);
    }
    cluster->counts.disk_failures += fails;
    struct raft_event event = {.kind = fails ? RAFT_PERSIST_FAILED : RAFT_PERSISTED,
                               .u.persisted = write->seq};
    raft_persist_free(write);
    cluster_step(cluster, node, event);
}

static void
run_on_node(struct cluster *cluster, struct cluster_node *node, const struct event *event)
{
    switch (event->kind) {
    case EVENT_MESSAGE:
        cluster_step(cluster, node,
                     (struct raft_event){.kind = RAFT_RECEIVED, .u.message = event->message});
        break;
    case EVENT_WRITTEN:
        finish_write(cluster, node);
        break;
    case EVENT_TICK:
        node->tick_us = 0;
        cluster_step(cluster, node, (struct raft_event){.kind = RAFT_TICK});
        break;
    case EVENT_START:
    case EVENT_FAULT:
    case EVENT_WORK:
        break;
    }
}

static void
run_event(struct cluster *cluster, struct event *event)
{
    struct cluster_node *node = &cluster->nodes[event->node];
    const struct cluster_options *options = &cluster->options;
    if (event->kind == EVENT_FAULT) {
        if (cluster->faults_on) {
            cluster_fault(cluster);
        }
        int64_t gap = rng_range(&cluster->rng, 1000, 2 * options->fault_every_us);
        push(cluster, EVENT_FAULT, NULL, cluster->now_us + gap);
    } else if (event->kind == EVENT_WORK) {
        cluster_work(cluster);
        int64_t gap = rng_range(&cluster->rng, 500, 2 * options->work_every_us);
        push(cluster, EVENT_WORK, NULL, cluster->now_us + gap);
    } else if (event->kind == EVENT_START) {
        if (node->up && node->raft.dead) {
            cluster_crash(cluster, node);
        }
        if (!node->up) {
            cluster->counts.restarts++;
            cluster_start(cluster, node);
        }
    } else if (node->up && (event->kind == EVENT_MESSAGE || event->life == node->life)) {
        run_on_node(cluster, node, event);
    }
}

bool
cluster_run(struct cluster *cluster, int64_t until_us, bool (*done)(struct cluster *cluster))
{
    while (cluster->now_us < until_us) {
        struct heap_node *next = heap_min(&cluster->events);
        struct event *event = (struct event *)(void *)next; /* place is its first member */
        struct cluster_node *node = &cluster->nodes[event->node];
        heap_remove(&cluster->events, next);
        cluster->now_us = next->key > cluster->now_us ? next->key : cluster->now_us;
        bool waits = event->node != 0 && node->up && node->paused_until_us > cluster->now_us &&
                     event->kind != EVENT_START;
        if (waits) { /* a paused process gets everything when it goes on */
            bool pushed = heap_push(&cluster->events, next, node->paused_until_us);
            DMQ_ASSERT(pushed);
            continue;
        }
        run_event(cluster, event);
        free_event(event);
        if (done != NULL && done(cluster)) {
            return true;
        }
    }
    return false;
}

/* ---- life ------------------------------------------------------------------------------------ */

void
cluster_init(struct cluster *cluster, uint64_t seed, bool trace)
{
    struct raft_members members = {0};
    cluster->seed = seed;
    cluster->trace = trace;
    cluster->watch.wrong = watch_wrong;
    cluster->watch.arg = cluster;
    cluster->hash = 0xcbf29ce484222325u;
    cluster->now_us = 1000;
    rng_init(&cluster->rng, seed);
    cluster_draw(cluster);
    cluster->faults_on = true;
    for (int32_t i = 1; i <= cluster->options.voters; i++) {
        members.at[members.count++] = (struct raft_member){raft_test_id(i, 1), true};
    }
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        node->w.raft = &node->raft;
        node->w.id = raft_test_id(i, 1);
        node->clock_ms = rng_range(&cluster->rng, 0, 100000);
        if (i <= cluster->options.voters) {
            node->w.disk.snapshot.members = members;
        }
        cluster_start(cluster, node);
    }
    push(cluster, EVENT_FAULT, NULL, 2000);
    push(cluster, EVENT_WORK, NULL, 2000);
}

void
cluster_deinit(struct cluster *cluster)
{
    for (struct heap_node *next; (next = heap_min(&cluster->events)) != NULL;) {
        heap_remove(&cluster->events, next);
        free_event((struct event *)(void *)next);
    }
    heap_deinit(&cluster->events);
    for (int32_t i = 1; i <= CLUSTER_NODES; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (node->up) {
            raft_deinit(&node->raft);
        }
        raft_persist_free(node->writing);
        raft_disk_deinit(&node->w.disk);
    }
}
