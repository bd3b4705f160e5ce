#include "tests/sim/replica_cluster.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"

#define FETCH_TIMEOUT_US 300000
#define FETCH_RETRY_US 15000
#define PARK_US 30000
#define CONTROL_EVERY_US 25000

enum event_kind {
    EVENT_MESSAGE,
    EVENT_SYNCED,
    EVENT_TRUNCATED,
    EVENT_FETCH,
    EVENT_TICK,
    EVENT_START,
    EVENT_PUSH,
    EVENT_APPEND,
    EVENT_CONTROL,
    EVENT_FAULT
};

enum message_kind { FETCH, FETCH_ANSWER, PROGRESS, ALTER, ALTER_ANSWER };

struct message {
    enum message_kind kind;
    int32_t from; /* 0: the controller */
    int32_t to;
    int64_t asked_us; /* FETCH, FETCH_ANSWER: which of the follower's */
    union {
        struct replica_fetched fetched;
        struct {
            dmq_err err;
            struct replica_answered answered;
            int32_t count;
            struct rsim_record records[RSIM_MAX_BATCH];
        } answer;
        struct replica_isr_change change;
        struct {
            int32_t leader_epoch;
            int32_t partition_epoch;
            enum replica_isr_outcome outcome;
        } altered;
    } u;
};

struct event {
    struct heap_node place;
    enum event_kind kind;
    int32_t node;
    uint64_t life; /* events of an earlier life are dropped; 0: of any */
    int64_t value; /* SYNCED: the end; FETCH: when it was sent */
    struct message message;
};

static void drive(struct rsim *sim, struct rsim_node *node);

/* ---- telling --------------------------------------------------------------------------------- */

static void
mix(struct rsim *sim, uint64_t value)
{
    sim->hash = (sim->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    sim->hash ^= sim->hash >> 29;
}

void
rsim_tell(struct rsim *sim, int32_t node, const char *format, ...)
{
    if (sim->trace) {
        char line[300];
        va_list args;
        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        printf("%10.3f  %" PRId32 "  %s\n", (double)sim->now_us / 1000, node, line);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct event *
push(struct rsim *sim, enum event_kind kind, const struct rsim_node *node, int64_t at_us)
{
    struct event *event = calloc(1, sizeof(*event));
    DMQ_ASSERT(event != NULL);
    event->kind = kind;
    event->node = node == NULL ? 0 : node->id;
    event->life = node == NULL ? 0 : node->life;
    bool pushed = heap_push(&sim->events, &event->place, at_us);
    DMQ_ASSERT(pushed);
    return event;
}

void
rsim_start_later(struct rsim *sim, const struct rsim_node *node, int64_t after_us)
{
    push(sim, EVENT_START, node, sim->now_us + after_us);
}

static int64_t
drawn(struct rsim *sim, int64_t most)
{
    return rng_range(&sim->rng, 50, sim->faults_on ? most : 2000);
}

/* Late is late: an answer to a process that is gone, or a question of one, is on its way still. */
static void
send(struct rsim *sim, const struct message *message, int64_t after_us)
{
    int copies = 1;
    if (sim->cut[message->from][message->to] ||
        (sim->faults_on && rng_chance(&sim->rng, sim->options.loss))) {
        sim->counts.lost++;
        return;
    }
    bool once = message->kind == ALTER; /* at most once is what a connection gives */
    if (!once && sim->faults_on && rng_chance(&sim->rng, sim->options.doubled)) {
        sim->counts.doubled++;
        copies = 2;
    }
    while (copies-- > 0) {
        int64_t at = sim->now_us + after_us + drawn(sim, sim->options.delay_us);
        struct event *event =
            push(sim, EVENT_MESSAGE, message->to == 0 ? NULL : &sim->nodes[message->to], at);
        event->message = *message;
    }
}

/* ---- one step of one machine ----------------------------------------------------------------- */

static struct replica_epoch_end
epoch_end(const struct rsim_log *log, int32_t epoch)
{
    int64_t end = log->end;
    while (end > 0 && log->records[end - 1].epoch > epoch) {
        end--;
    }
    return (struct replica_epoch_end){end > 0 ? log->records[end - 1].epoch : -1, end};
}

static int32_t
last_epoch(const struct rsim_log *log)
{
    return log->end == 0 ? -1 : log->records[log->end - 1].epoch;
}

static int64_t
broker_epoch(const struct rsim *sim, const struct rsim_node *node)
{
    const struct rsim_broker *self = &sim->images[node->applied].brokers[node->id];
    return self->incarnation == node->life ? self->epoch : -1;
}

/* What is asked of the controller may arrive late, twice, never; the answer too. */
static void
ask_isr(struct rsim *sim, struct rsim_node *node, const struct replica_isr_change *change)
{
    struct message message = {.kind = ALTER, .from = node->id, .u.change = *change};
    unsigned isr = 0;
    for (uint32_t i = 0; i < change->count; i++) {
        isr |= 1U << change->members[i].broker_id;
    }
    rsim_tell(sim, node->id, "asks for isr %02x at %d/%d", isr, change->leader_epoch,
              change->partition_epoch);
    sim->counts.isr_asked++;
    bool slow = sim->faults_on && rng_chance(&sim->rng, 300);
    send(sim, &message, slow ? rng_range(&sim->rng, 0, 3000000) : 0);
    /* Its own patience: then the fate is unknown. */
    int64_t at = sim->now_us + 2 * drawn(sim, sim->options.delay_us) + 5000;
    struct event *event = push(sim, EVENT_MESSAGE, node, at);
    event->message.kind = ALTER_ANSWER;
    event->message.to = node->id;
    event->message.u.altered.leader_epoch = change->leader_epoch;
    event->message.u.altered.partition_epoch = change->partition_epoch;
    event->message.u.altered.outcome = REPLICA_ISR_UNKNOWN;
}

static void
tell_progress(struct rsim *sim, struct rsim_node *node)
{
    const struct replica *replica = &node->replica;
    if (node->fetch_sent_us < 0 || broker_epoch(sim, node) < 0) {
        return;
    }
    struct message message = {.kind = PROGRESS, .from = node->id, .to = replica->leader};
    message.u.fetched = (struct replica_fetched){.follower = node->id,
                                                 .broker_epoch = broker_epoch(sim, node),
                                                 .leader_epoch = replica->leader_epoch,
                                                 .end = replica->end,
                                                 .synced_end = replica->synced_end};
    send(sim, &message, 0);
}

static void
begin_truncation(struct rsim *sim, struct rsim_node *node)
{
    int64_t at = sim->now_us + drawn(sim, sim->options.sync_us);
    sim->counts.truncations++;
    sim->counts.truncated_records += (uint64_t)(node->log.end - node->replica.truncate_to);
    rsim_tell(sim, node->id, "cuts its log from %" PRId64 " to %" PRId64, node->log.end,
              node->replica.truncate_to);
    node->truncating = true;
    push(sim, EVENT_TRUNCATED, node, at);
}

static void
step(struct rsim *sim, struct rsim_node *node, struct replica_event event,
     struct replica_effects *ret_effects)
{
    struct replica_effects *out = ret_effects;
    int32_t epoch = node->replica.leader_epoch;
    event.now_ms = sim->now_us / 1000;
    replica_step(&node->replica, &event, out);
    mix(sim, (uint64_t)event.kind << 8 | (uint64_t)node->id);
    mix(sim, (uint64_t)node->replica.high_watermark << 32 | (uint64_t)node->replica.end);
    if (node->replica.role == REPLICA_LEADER && node->replica.leader_epoch > epoch) {
        rsim_tell(sim, node->id, "leads in epoch %d from %" PRId64, node->replica.leader_epoch,
                  node->replica.end);
    }
    rsim_check_node(sim, node);
    if (rng_chance(&sim->rng, 100)) {
        node->checkpoint = node->replica.high_watermark;
    }
    if (out->below_hw) {
        rsim_wrong(sim, node->id, "it is to cut what was safe");
    }
    if (out->truncate) {
        begin_truncation(sim, node);
    }
    if (out->isr_change) {
        ask_isr(sim, node, &out->change);
    }
    if (out->progress) {
        tell_progress(sim, node);
    }
}

/* ---- the image ------------------------------------------------------------------------------- */

static void
apply_image(struct rsim *sim, struct rsim_node *node)
{
    const struct rsim_image *image = &sim->images[node->applied];
    struct replica_member members[RSIM_NODES];
    int32_t isr[RSIM_NODES];
    uint32_t isr_count = 0;
    if (node->truncating) {
        return; /* it is looked at again when that is done */
    }
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        members[i - 1] =
            (struct replica_member){i, image->brokers[i].epoch, !image->brokers[i].fenced};
        if ((image->isr >> i & 1) != 0) {
            isr[isr_count++] = i;
        }
    }
    bool new_epoch = image->leader_epoch > node->replica.leader_epoch;
    bool ours = image->leader == node->id;
    enum replica_role role = image->leader < 0 ? REPLICA_IDLE : REPLICA_FOLLOWER;
    if (ours) {
        role = image->brokers[node->id].incarnation == node->life ? REPLICA_LEADER : REPLICA_IDLE;
    }
    struct replica_event event = {.kind = REPLICA_ROLE,
                                  .u.image = {.role = new_epoch ? role : node->replica.role,
                                              .leader = image->leader,
                                              .leader_epoch = image->leader_epoch,
                                              .partition_epoch = image->partition_epoch,
                                              .min_isr = sim->options.min_isr,
                                              .async = image->async,
                                              .recorded_async = image->recorded_async,
                                              .member_count = (uint32_t)sim->options.nodes,
                                              .members = members,
                                              .isr_count = isr_count,
                                              .isr = isr}};
    struct replica_effects effects;
    step(sim, node, event, &effects);
}

static void
on_push(struct rsim *sim, struct rsim_node *node)
{
    push(sim, EVENT_PUSH, node, sim->now_us + drawn(sim, sim->options.push_us))->life = 0;
    if (!node->up || sim->cut[0][node->id] || node->applied == sim->version) {
        return;
    }
    node->applied = rng_range(&sim->rng, node->applied + 1, sim->version);
    apply_image(sim, node);
}

/* ---- the life of a process ------------------------------------------------------------------- */

void
rsim_start(struct rsim *sim, struct rsim_node *node)
{
    struct replica_effects effects;
    if (node->up) {
        return;
    }
    rsim_tell(sim, node->id, "starts with %" PRId64 " records", node->log.end);
    node->up = true;
    node->truncating = false;
    node->syncing_end = -1;
    node->fetch_sent_us = -1;
    node->tick_us = 0;
    node->paused_until_us = 0;
    replica_init(&node->replica, &(struct replica_config){node->id, sim->options.lag_ms, 20});
    step(sim, node,
         (struct replica_event){.kind = REPLICA_OPENED,
                                .u.opened = {node->log.end, node->checkpoint}},
         &effects);
    apply_image(sim, node);
}

/* What was not synced is lost from some point on; an async world loses nothing, for there only the
 * process dies. A cut that was under way is done or is not. */
void
rsim_crash(struct rsim *sim, struct rsim_node *node)
{
    struct rsim_log *log = &node->log;
    int64_t kept = rng_range(&sim->rng, log->synced, log->end);
    if (sim->images[sim->version].recorded_async || sim->images[node->applied].recorded_async) {
        kept = log->end;
    }
    sim->counts.crashes++;
    sim->counts.records_lost += (uint64_t)(log->end - kept);
    sim->counts.crashes_while_truncating += node->truncating;
    log->end = kept;
    if (node->truncating && rng_chance(&sim->rng, 500) && node->replica.truncate_to < log->end) {
        log->end = node->replica.truncate_to;
    }
    log->synced = log->synced < log->end ? log->synced : log->end;
    rsim_tell(sim, node->id, "crashes, keeps %" PRId64, log->end);
    replica_deinit(&node->replica);
    node->up = false;
    node->life++;
}

/* ---- disk ------------------------------------------------------------------------------------ */

static void
on_synced(struct rsim *sim, struct rsim_node *node, int64_t end)
{
    struct replica_effects effects;
    node->syncing_end = -1;
    node->log.synced = end > node->log.synced ? end : node->log.synced;
    if (end > node->replica.synced_end) {
        step(sim, node, (struct replica_event){.kind = REPLICA_SYNCED, .u.end = end}, &effects);
    }
}

static void
on_truncated(struct rsim *sim, struct rsim_node *node)
{
    struct replica_effects effects;
    int64_t end = node->replica.truncate_to;
    if (node->syncing_end >= 0) { /* a lane keeps the order */
        push(sim, EVENT_TRUNCATED, node, sim->now_us + 50);
        return;
    }
    node->log.end = end;
    node->cuts++;
    node->log.synced = node->log.synced < end ? node->log.synced : end;
    node->truncating = false;
    step(sim, node, (struct replica_event){.kind = REPLICA_TRUNCATED, .u.end = end}, &effects);
    apply_image(sim, node);
}

static void
append(struct rsim *sim, struct rsim_node *node, const struct rsim_record *records, int32_t count)
{
    struct replica_effects effects;
    if (count == 0 || node->log.end + count > RSIM_MAX_END) {
        return;
    }
    memcpy(node->log.records + node->log.end, records, (size_t)count * sizeof(*records));
    node->log.end += count;
    step(sim, node, (struct replica_event){.kind = REPLICA_APPENDED, .u.end = node->log.end},
         &effects);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* The order of a real leader: it hears, then it answers from what it then has. */
static void
on_fetch(struct rsim *sim, struct rsim_node *node, const struct message *in)
{
    struct replica_effects effects;
    struct replica_event event = {.kind = REPLICA_FETCHED, .u.fetched = in->u.fetched};
    const struct replica_fetched *fetched = &in->u.fetched;
    event.u.fetched.ours = epoch_end(&node->log, fetched->last_epoch);
    step(sim, node, event, &effects);
    struct message out = {
        .kind = FETCH_ANSWER, .from = node->id, .to = in->from, .asked_us = in->asked_us};
    sim->counts.fetches_fenced += effects.err == DMQ_ERR_FENCED_LEADER_EPOCH;
    sim->counts.fetches_too_new += effects.err == DMQ_ERR_UNKNOWN_LEADER_EPOCH;
    sim->counts.fetches_of_former_process += effects.err == DMQ_ERR_STALE_BROKER_EPOCH;
    sim->counts.diverged += effects.diverges;
    out.u.answer.err = effects.err;
    out.u.answer.answered =
        (struct replica_answered){.leader_epoch = fetched->leader_epoch,
                                  .asked_end = fetched->end,
                                  .high_watermark = node->replica.high_watermark,
                                  .diverges = effects.diverges,
                                  .theirs = effects.theirs};
    if (effects.err == DMQ_OK && !effects.diverges) {
        int64_t most = rng_range(&sim->rng, 1, RSIM_MAX_BATCH);
        int64_t count = node->log.end - fetched->end;
        count = count < most ? count : most;
        memcpy(out.u.answer.records, node->log.records + fetched->end,
               (size_t)count * sizeof(struct rsim_record));
        out.u.answer.count = (int32_t)count;
    }
    bool parks = effects.err == DMQ_OK && !effects.diverges && out.u.answer.count == 0;
    send(sim, &out, parks ? rng_range(&sim->rng, 0, PARK_US) : 0);
}

static void
on_fetch_answer(struct rsim *sim, struct rsim_node *node, const struct message *in)
{
    struct replica_effects effects;
    if (in->u.answer.err != DMQ_OK) {
        push(sim, EVENT_FETCH, node, sim->now_us + FETCH_RETRY_US)->value = in->asked_us;
        return;
    }
    struct replica_event event = {.kind = REPLICA_ANSWERED, .u.answered = in->u.answer.answered};
    if (event.u.answered.diverges) {
        event.u.answered.ours = epoch_end(&node->log, event.u.answered.theirs.epoch);
    }
    rsim_tell(sim, node->id,
              "answer from %d in epoch %d: asked %" PRId64 "%s %d/%" PRId64 ", ours %d/%" PRId64
              ", %d records, hw %" PRId64 "; end %" PRId64 " hw %" PRId64,
              in->from, event.u.answered.leader_epoch, event.u.answered.asked_end,
              event.u.answered.diverges ? ", diverges" : "", event.u.answered.theirs.epoch,
              event.u.answered.theirs.end, event.u.answered.ours.epoch, event.u.answered.ours.end,
              in->u.answer.count, event.u.answered.high_watermark, node->log.end,
              node->replica.high_watermark);
    node->fetch_sent_us = node->fetch_sent_us == in->asked_us ? -1 : node->fetch_sent_us;
    step(sim, node, event, &effects);
    sim->counts.stale_answers += effects.err == DMQ_ERR_STALE_METADATA;
    if (effects.err != DMQ_OK && effects.err != DMQ_ERR_STALE_METADATA) {
        rsim_wrong(sim, node->id, "the leader's divergence is none");
    }
    if (effects.append) {
        append(sim, node, in->u.answer.records, in->u.answer.count);
    }
}

static void
on_progress(struct rsim *sim, struct rsim_node *node, const struct message *in)
{
    struct replica_effects effects;
    step(sim, node, (struct replica_event){.kind = REPLICA_PROGRESS, .u.fetched = in->u.fetched},
         &effects);
    sim->counts.progress_counted += effects.err == DMQ_OK;
    sim->counts.progress_refused += effects.err != DMQ_OK;
}

static void
on_alter(struct rsim *sim, const struct message *in)
{
    struct message out = {.kind = ALTER_ANSWER, .to = in->from};
    out.u.altered.leader_epoch = in->u.change.leader_epoch;
    out.u.altered.partition_epoch = in->u.change.partition_epoch;
    out.u.altered.outcome = rsim_alter(sim, in->from, &in->u.change);
    send(sim, &out, 0);
}

/* The shell knows its own questions: each has one answer, and none is of another leader epoch. */
static void
on_altered(struct rsim *sim, struct rsim_node *node, const struct message *in)
{
    struct replica_effects effects;
    struct replica_event event = {.kind = REPLICA_ISR_ANSWERED};
    if (in->u.altered.leader_epoch != node->replica.leader_epoch || !node->replica.asking) {
        sim->counts.isr_late++;
        return;
    }
    sim->counts.isr_lost += in->u.altered.outcome == REPLICA_ISR_UNKNOWN;
    event.u.isr.partition_epoch = in->u.altered.partition_epoch;
    event.u.isr.outcome = in->u.altered.outcome;
    step(sim, node, event, &effects);
}

static void
on_message(struct rsim *sim, struct rsim_node *node, const struct message *in)
{
    switch (in->kind) {
    case FETCH:
        on_fetch(sim, node, in);
        break;
    case FETCH_ANSWER:
        on_fetch_answer(sim, node, in);
        break;
    case PROGRESS:
        on_progress(sim, node, in);
        break;
    case ALTER:
        on_alter(sim, in);
        break;
    case ALTER_ANSWER:
        on_altered(sim, node, in);
        break;
    }
}

/* ---- what a node does by itself -------------------------------------------------------------- */

static void
fetch(struct rsim *sim, struct rsim_node *node)
{
    const struct replica *replica = &node->replica;
    struct message message = {.kind = FETCH, .from = node->id, .to = replica->leader};
    message.u.fetched = (struct replica_fetched){.follower = node->id,
                                                 .broker_epoch = broker_epoch(sim, node),
                                                 .leader_epoch = replica->leader_epoch,
                                                 .last_epoch = last_epoch(&node->log),
                                                 .end = replica->end,
                                                 .synced_end = replica->synced_end};
    node->fetch_sent_us = sim->now_us;
    message.asked_us = sim->now_us;
    send(sim, &message, 0);
    push(sim, EVENT_FETCH, node, sim->now_us + FETCH_TIMEOUT_US)->value = sim->now_us;
}

static void
drive(struct rsim *sim, struct rsim_node *node)
{
    if (!node->up) {
        return;
    }
    if (node->syncing_end < 0 && !node->truncating && !node->stuck &&
        node->replica.synced_end < node->replica.end) {
        node->syncing_end = node->replica.end;
        node->sync_done_us = sim->now_us + drawn(sim, sim->options.sync_us);
        push(sim, EVENT_SYNCED, node, node->sync_done_us)->value = node->syncing_end;
    }
    if (node->fetch_sent_us < 0 && replica_wants_fetch(&node->replica) &&
        broker_epoch(sim, node) > 0) {
        fetch(sim, node);
    }
    int64_t due = replica_deadline(&node->replica);
    if (due != INT64_MAX) {
        int64_t at = due * 1000 > sim->now_us ? due * 1000 : sim->now_us + 1000;
        if (node->tick_us == 0 || at < node->tick_us) {
            node->tick_us = at;
            push(sim, EVENT_TICK, node, at);
        }
    }
}

static void
on_tick(struct rsim *sim, struct rsim_node *node)
{
    struct replica_effects effects;
    node->tick_us = 0;
    step(sim, node, (struct replica_event){.kind = REPLICA_TICK}, &effects);
}

/* ---- the workload and the controller's housekeeping ------------------------------------------ */

/* A producer finds somebody who thinks that it leads: also one that is wrong. */
static void
on_append(struct rsim *sim)
{
    struct rsim_record records[4];
    push(sim, EVENT_APPEND, NULL, sim->now_us + drawn(sim, 2 * sim->options.append_every_us));
    struct rsim_node *node = &sim->nodes[1 + rng_below(&sim->rng, (uint64_t)sim->options.nodes)];
    if (!node->up || node->paused_until_us > sim->now_us || node->replica.role != REPLICA_LEADER ||
        sim->high_watermark + 200 > RSIM_MAX_END) {
        return;
    }
    if (!replica_has_min_isr(&node->replica) && rng_chance(&sim->rng, 800)) {
        sim->counts.refused_below_min_isr++; /* acks=1 goes on */
        return;
    }
    int32_t count = (int32_t)rng_range(&sim->rng, 1, 4);
    for (int32_t i = 0; i < count; i++) {
        records[i] = (struct rsim_record){node->replica.leader_epoch, ++sim->next_value};
    }
    sim->counts.appends++;
    append(sim, node, records, count);
    drive(sim, node);
}

static void
look_after(struct rsim *sim, struct rsim_node *node)
{
    const struct rsim_broker *broker = &sim->images[sim->version].brokers[node->id];
    bool reached = node->up && node->paused_until_us <= sim->now_us && !sim->cut[node->id][0] &&
                   !sim->cut[0][node->id];
    if (reached && broker->incarnation != node->life) {
        rsim_register(sim, node, false);
    } else if (reached && broker->fenced && node->applied >= broker->epoch) {
        rsim_unfence(sim, node->id);
    } else if (!reached && rng_chance(&sim->rng, 60)) {
        rsim_fence(sim, node->id);
    }
}

static void
on_control(struct rsim *sim)
{
    push(sim, EVENT_CONTROL, NULL, sim->now_us + CONTROL_EVERY_US);
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        look_after(sim, &sim->nodes[i]);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void
on_world_event(struct rsim *sim, const struct event *event)
{
    struct rsim_node *node = &sim->nodes[event->node];
    switch (event->kind) {
    case EVENT_START:
        sim->doing = "a start";
        rsim_start(sim, node);
        break;
    case EVENT_PUSH:
        sim->doing = "a push";
        on_push(sim, node);
        break;
    case EVENT_APPEND:
        sim->doing = "an append";
        on_append(sim);
        break;
    case EVENT_CONTROL:
        sim->doing = "the controller";
        on_control(sim);
        break;
    case EVENT_FAULT:
        sim->doing = "a fault";
        push(sim, EVENT_FAULT, NULL, sim->now_us + drawn(sim, 2 * sim->options.fault_every_us));
        if (sim->faults_on) {
            rsim_fault(sim);
        }
        break;
    default:
        sim->doing = "a message to the controller";
        on_message(sim, NULL, &event->message);
    }
}

static void
on_node_event(struct rsim *sim, struct rsim_node *node, const struct event *event)
{
    switch (event->kind) {
    case EVENT_MESSAGE:
        sim->doing = "a message";
        on_message(sim, node, &event->message);
        break;
    case EVENT_SYNCED:
        sim->doing = "a sync";
        on_synced(sim, node, event->value);
        break;
    case EVENT_TRUNCATED:
        sim->doing = "a truncation";
        on_truncated(sim, node);
        break;
    case EVENT_FETCH:
        node->fetch_sent_us = node->fetch_sent_us == event->value ? -1 : node->fetch_sent_us;
        break;
    default:
        sim->doing = "a tick";
        on_tick(sim, node);
    }
}

/* A question of a process that is gone still reaches the other side; an answer to it does not. */
static bool
dropped(const struct rsim_node *node, const struct event *event)
{
    bool question = event->kind == EVENT_MESSAGE &&
                    (event->message.kind == FETCH || event->message.kind == PROGRESS);
    return !node->up || (!question && event->life != node->life);
}

static void
handle(struct rsim *sim, struct event *event)
{
    struct rsim_node *node = &sim->nodes[event->node];
    bool of_world = event->node == 0 || event->kind == EVENT_START || event->kind == EVENT_PUSH;
    bool paused = event->node != 0 && event->kind != EVENT_START &&
                  node->paused_until_us > sim->now_us && node->up;
    if (paused) {
        bool pushed = heap_push(&sim->events, &event->place, node->paused_until_us);
        DMQ_ASSERT(pushed);
        return;
    }
    if (of_world) {
        on_world_event(sim, event);
    } else if (!dropped(node, event)) {
        on_node_event(sim, node, event);
    }
    if (event->node != 0) {
        drive(sim, node);
    }
    sim->steps++;
    rsim_check(sim);
    free(event);
}

bool
rsim_run(struct rsim *sim, int64_t until_us, bool (*done)(struct rsim *sim))
{
    for (;;) {
        struct heap_node *first = heap_min(&sim->events);
        if (done != NULL && done(sim)) {
            return true;
        }
        if (first == NULL || first->key > until_us) {
            sim->now_us = until_us;
            return false;
        }
        heap_remove(&sim->events, first);
        struct event *event =
            (struct event *)(void *)((char *)first - offsetof(struct event, place));
        sim->now_us = first->key;
        handle(sim, event);
    }
}

void
rsim_init(struct rsim *sim, uint64_t seed, bool trace)
{
    sim->seed = seed;
    sim->trace = trace;
    sim->faults_on = true;
    sim->doing = "the beginning";
    rng_init(&sim->rng, seed);
    rsim_draw(sim);
    rsim_controller_init(sim);
    sim->watch = rsim_watch_new(sim);
    sim->watched_version = sim->version - 1;
    for (int32_t i = 1; i <= sim->options.nodes; i++) {
        struct rsim_node *node = &sim->nodes[i];
        node->id = i;
        node->life = 1;
        node->applied = sim->version;
        rsim_start(sim, node);
        push(sim, EVENT_PUSH, node, rng_range(&sim->rng, 1, 1000));
        drive(sim, node);
    }
    push(sim, EVENT_APPEND, NULL, 1000);
    push(sim, EVENT_CONTROL, NULL, 2000);
    push(sim, EVENT_FAULT, NULL, 100000);
}

void
rsim_deinit(struct rsim *sim)
{
    struct heap_node *first;
    while ((first = heap_min(&sim->events)) != NULL) {
        heap_remove(&sim->events, first);
        free((char *)first - offsetof(struct event, place));
    }
    heap_deinit(&sim->events);
    partition_watch_free(sim->watch);
    for (int32_t i = 1; i <= RSIM_NODES; i++) {
        if (sim->nodes[i].up) {
            replica_deinit(&sim->nodes[i].replica);
        }
    }
}
