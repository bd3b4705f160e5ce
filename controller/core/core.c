/* The controller's step: what came in, then what follows from it. An event goes straight to the
 * file that owns its matter (requests: call.c; Raft: quorum.c; forming: form.c; brokers' leases:
 * session.c; pushes: push.c); what has become possible by it is looked for in one place, follow_up,
 * whichever event it was.
 *
 * Nothing here waits. A disk, another controller and a broker all come back as events, so that a
 * step takes microseconds: no heartbeat is late because an entry is being stored, and a broker's
 * lease is renewed when its message arrives and not when there is time for it (trap 28).
 *
 * A controller whose store failed decides nothing more, for what it would rest on may be on no
 * disk. Until the process has ended it still tells those who ask that it does not lead, so that
 * they turn to the next leader at once instead of waiting. */
#include "controller/core/core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/core/call.h"

/* ---- effects --------------------------------------------------------------------------------- */

struct ctl_effect *
ctl_emit(struct ctl *ctl, enum ctl_effect_kind kind)
{
    struct ctl_effects *out = ctl->out;
    if (out->count == out->capacity) {
        out->capacity = out->capacity == 0 ? 16 : out->capacity * 2;
        out->items = realloc(out->items, out->capacity * sizeof(*out->items));
        DMQ_ASSERT(out->items != NULL);
    }
    struct ctl_effect *effect = &out->items[out->count++];
    *effect = (struct ctl_effect){.kind = kind};
    return effect;
}

void
ctl_effect_deinit(struct ctl_effect *effect)
{
    switch (effect->kind) {
    case CTL_PERSIST:
        raft_persist_free(effect->u.persist);
        break;
    case CTL_SEND:
        buf_unref(effect->u.send.body);
        break;
    case CTL_ASK:
        buf_unref(effect->u.ask.body);
        break;
    case CTL_REPLY:
        buf_unref(effect->u.reply.to);
        for (size_t i = 0; i < effect->u.reply.count; i++) {
            buf_unref(effect->u.reply.frames[i]);
        }
        free(effect->u.reply.frames);
        break;
    case CTL_PUSH:
        buf_unref(effect->u.push.body);
        break;
    case CTL_CONNECT:
    case CTL_DISCONNECT:
    case CTL_PROBE:
    case CTL_PROBE_MATE:
    case CTL_CLUSTER:
    case CTL_READY:
    case CTL_LOG:
    case CTL_FAIL:
        break;
    }
}

void
ctl_effects_deinit(struct ctl_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        ctl_effect_deinit(&effects->items[i]);
    }
    free(effects->items);
    *effects = (struct ctl_effects){0};
}

void
ctl_log(struct ctl *ctl, bool error, const char *format, ...)
{
    va_list args;
    struct ctl_effect *effect = ctl_emit(ctl, CTL_LOG);
    effect->u.log.error = error;
    va_start(args, format);
    vsnprintf(effect->u.log.line, sizeof(effect->u.log.line), format, args);
    va_end(args);
}

void
ctl_fail(struct ctl *ctl, const char *format, ...)
{
    va_list args;
    struct ctl_effect *effect = ctl_emit(ctl, CTL_LOG);
    effect->u.log.error = true;
    va_start(args, format);
    vsnprintf(effect->u.log.line, sizeof(effect->u.log.line), format, args);
    va_end(args);
    ctl->failed = true;
    ctl_emit(ctl, CTL_FAIL);
}

void *
ctl_alloc(size_t size)
{
    void *memory = calloc(1, size);
    DMQ_ASSERT(memory != NULL);
    return memory;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct ctl *
ctl_new(const struct ctl_config *config)
{
    struct ctl *ctl = ctl_alloc(sizeof(*ctl));
    size_t ids_size = config->controller_count * sizeof(*config->controllers);
    DMQ_ASSERT(config->session_timeout_ms > 0 && !uuid_is_zero(config->disk_id));
    DMQ_ASSERT(config->controller_count > 0 && config->controller_count <= CTL_MAX_CONTROLLERS);
    ctl->config = *config;
    int32_t *ids = ctl_alloc(ids_size);
    memcpy(ids, config->controllers, ids_size);
    ctl->config.controllers = ids;
    ctl->mates = ctl_alloc(config->controller_count * sizeof(*ctl->mates));
    rng_init(&ctl->rng, config->seed);
    list_init(&ctl->waiting);
    list_init(&ctl->batch.calls);
    ctl->image = image_new();
    ctl->digest = image_digest(ctl->image);
    ctl->recent = ctl_alloc(CTL_MAX_RECENT * sizeof(*ctl->recent));
    return ctl;
}

void
ctl_free(struct ctl *ctl)
{
    if (ctl == NULL) {
        return;
    }
    seats_free(ctl);
    decide_free(ctl);
    quorum_free(ctl);
    push_free(ctl);
    image_free(ctl->image);
    free(ctl->sessions);
    free(ctl->mates);
    free((void *)(uintptr_t)ctl->config.controllers);
    free(ctl);
}

/* ---- the switch ------------------------------------------------------------------------------ */

/* A connection tells of a process only by its end: one that comes up may be to anybody who listens
 * there. */
static void
on_peer(struct ctl *ctl, enum ctl_event_kind kind, int32_t broker_id)
{
    struct session *session = session_find(ctl, broker_id);
    if (session == NULL) {
        return;
    }
    session->peer_up = kind == CTL_PEER_UP;
    if (kind == CTL_PEER_UP) {
        /* A port that answers says nothing about whose process it is: no lease by that. */
        session->push_after_ms = ctl->now_ms;
        push_all(ctl);
    } else if (!session->fenced) {
        /* libzmq does not tell a process that ended from a network that went silent. */
        ctl_emit(ctl, CTL_PROBE)->u.peer = broker_id;
    }
}

/* A port that refuses proves the end of the process that was there and of no other: the proof may
 * have been long on its way, and another process be registered since (trap 26). Where one is
 * connected again it is old news, too. */
static void
on_peer_gone(struct ctl *ctl, int32_t broker_id, struct uuid incarnation)
{
    struct session *session = session_find(ctl, broker_id);
    const struct broker_record *broker = image_broker(ctl->image, broker_id);
    if (session == NULL || session->peer_up || broker == NULL ||
        !uuid_equal(broker->incarnation, incarnation)) {
        return;
    }
    session->gone = true;
    session->lease_until_ms = ctl->now_ms;
    ctl->duties = true;
}

/* The list of the first voters is written while there is no Raft yet that could ask for a write; so
 * there are never two kinds of writes on their way. */
static void
on_persisted(struct ctl *ctl, uint64_t seq, dmq_err err)
{
    if (ctl->seat == SEAT_FOUNDING) {
        form_on_persisted(ctl, err);
    } else {
        quorum_on_persisted(ctl, seq, err);
    }
}

static void
dispatch(struct ctl *ctl, const struct ctl_event *event)
{
    switch (event->kind) {
    case CTL_STARTED:
        ctl->started = true;
        form_start(ctl, event->u.started);
        break;
    case CTL_REQUEST:
        ctl_call_start(ctl, event);
        break;
    case CTL_PERSISTED:
        on_persisted(ctl, event->u.persisted.seq, event->u.persisted.err);
        break;
    case CTL_ANSWERED:
        form_on_answer(ctl, event);
        break;
    case CTL_PUSHED:
        push_on_done(ctl, event);
        break;
    case CTL_PEER_UP:
    case CTL_PEER_DOWN:
        on_peer(ctl, event->kind, event->u.peer);
        break;
    case CTL_PEER_GONE:
        on_peer_gone(ctl, event->u.gone.broker_id, event->u.gone.incarnation);
        break;
    case CTL_MATE_UP:
    case CTL_MATE_DOWN:
    case CTL_MATE_GONE:
        form_on_mate(ctl, event->kind, event->u.peer);
        break;
    case CTL_MATE_FOREIGN:
        form_on_foreign(ctl, event->u.peer);
        break;
    case CTL_TICK:
        session_tick(ctl);
        rebalance_tick(ctl);
        push_all(ctl);
        break;
    }
}

/* The image is what is committed, or one entry ahead of it; and then the way back is known. Were it
 * anything else, a leader that loses its term would keep what was never decided, and would hand it
 * to brokers in a snapshot. */
static void
check_batch(const struct ctl *ctl)
{
    const struct batch *batch = &ctl->batch;
    bool writing = batch->state == BATCH_WRITING;
    DMQ_ASSERT(batch->state != BATCH_OPEN);
    DMQ_ASSERT(batch->state == BATCH_IDLE || ctl->leading);
    DMQ_ASSERT(meta_undo_active(ctl->image) == writing);
    DMQ_ASSERT(image_version(ctl->image) == ctl->version + writing);
    DMQ_ASSERT(writing == (batch->encoded != NULL));
    DMQ_ASSERT(batch->state != BATCH_IDLE || batch->call_count == 0);
    DMQ_DEBUG_ASSERT(writing || image_digest(ctl->image) == ctl->digest);
}

/* The version of the metadata is Raft's committed index, entry by entry: out of step, one version
 * would mean two things on two controllers. What is known of brokers (sessions) counts only while
 * this node leads, for whoever led meanwhile has heard other things of them (trap 27). */
static void
check_quorum(const struct ctl *ctl)
{
    DMQ_ASSERT((ctl->seat == SEAT_RAFT) == (ctl->raft != NULL));
    DMQ_ASSERT(!ctl->leading || (ctl->raft != NULL && raft_ready(ctl->raft)));
    DMQ_ASSERT(ctl->leading || ctl->session_count == 0);
    if (ctl->raft != NULL) {
        DMQ_ASSERT(ctl->version == ctl->raft->told_commit);
        DMQ_ASSERT(!uuid_is_zero(ctl->cluster_id));
    }
    DMQ_ASSERT(!ctl_formed(ctl) || uuid_equal(image_cluster_id(ctl->image), ctl->cluster_id));
}

/* At the end of every step; what costs more than a glance only in debug builds and under the
 * fuzzer. */
static void
check_invariants(const struct ctl *ctl)
{
    DMQ_ASSERT(ctl->waiting_count <= CTL_MAX_WAITING);
    DMQ_ASSERT(ctl->waiting_bytes <= CTL_MAX_WAITING_BYTES);
    DMQ_ASSERT((ctl->waiting_count == 0) == list_empty(&ctl->waiting));
    DMQ_ASSERT(ctl->recent_count <= CTL_MAX_RECENT);
    check_batch(ctl);
    if (!ctl->failed) {
        check_quorum(ctl);
    }
    for (size_t i = 0; i < ctl->session_count; i++) {
        const struct session *session = &ctl->sessions[i];
        DMQ_ASSERT(i == 0 || ctl->sessions[i - 1].broker_id < session->broker_id);
        DMQ_ASSERT(session->acked_version <= ctl->version);
        DMQ_ASSERT(session->push_number <= ctl->last_push);
    }
#ifdef DMQ_DEBUG
    change_check(ctl->image);
#endif
}

/* One that can be asked: a leader itself once it is sure of what is committed. */
static bool
knows_leader(const struct ctl *ctl)
{
    int32_t leader = quorum_leader(ctl);
    return !ctl->failed && ctl_formed(ctl) && leader != -1 &&
           (leader != ctl->config.controller_id || ctl->leading);
}

/* What follows from the event, whatever it was: Raft's time, the next questions, a change of
 * members, a snapshot, the next entry. Each of them may step Raft, whose effects must have been
 * carried out by then: that is why they stand here, and not where their reason came up.
 *
 * Time comes first, for it may end the leadership that the rest needs. A snapshot is taken before
 * the next entry is decided, while the image holds nothing but what is committed. The decision is
 * last, so that every duty that this step has found is in that very entry. */
static void
follow_up(struct ctl *ctl)
{
    if (ctl->raft != NULL && raft_deadline(ctl->raft) <= ctl->now_ms) {
        quorum_step(ctl, NULL);
    }
    form_tick(ctl);
    if (ctl->raft != NULL && !ctl->failed) {
        seats_tick(ctl);
        quorum_compact(ctl);
        decide(ctl);
    }
    bool ready = knows_leader(ctl);
    if (ready && !ctl->ready) { /* once in its life; /health/ready goes on to ask */
        ctl->ready = true;
        ctl_emit(ctl, CTL_READY)->u.cluster_id = ctl->cluster_id;
    }
}

void
ctl_step(struct ctl *ctl, const struct ctl_event *event, struct ctl_effects *out)
{
    ctl->out = out;
    session_advance(ctl, event->now_ms); /* before a lease is looked at or renewed */
    if (ctl->failed && event->kind != CTL_REQUEST) {
        return; /* the process is about to end */
    }
    DMQ_ASSERT(ctl->started == (event->kind != CTL_STARTED));
    dispatch(ctl, event);
    follow_up(ctl);
    check_invariants(ctl);
}

int64_t
ctl_deadline(const struct ctl *ctl)
{
    const int64_t due[] = {session_deadline(ctl), push_deadline(ctl), form_deadline(ctl),
                           rebalance_deadline(ctl),
                           ctl->raft != NULL ? raft_deadline(ctl->raft) : INT64_MAX};
    int64_t first = INT64_MAX;
    for (size_t i = 0; !ctl->failed && i < sizeof(due) / sizeof(due[0]); i++) {
        first = due[i] < first ? due[i] : first;
    }
    return first;
}

/* ---- what others see ------------------------------------------------------------------------- */

void
ctl_stats(const struct ctl *ctl, struct ctl_stats *ret_stats)
{
    *ret_stats = ctl->stats;
    ret_stats->ready = knows_leader(ctl);
    ret_stats->failed = ctl->failed;
    ret_stats->leading = ctl->leading;
    ret_stats->leader = quorum_leader(ctl);
    ret_stats->cluster_id = image_cluster_id(ctl->image);
    ret_stats->version = ctl->version;
    if (ctl->raft != NULL) {
        ret_stats->voter = raft_votes(ctl->raft);
        ret_stats->term = ctl->raft->term;
        ret_stats->elections = ctl->raft->stats.elections;
        ret_stats->messages_refused += ctl->raft->stats.ignored;
        ret_stats->messages_stale = ctl->raft->stats.stale;
    }
    ret_stats->brokers = image_broker_count(ctl->image);
    for (size_t i = 0; i < ctl->session_count; i++) {
        ret_stats->brokers_fenced += ctl->sessions[i].fenced;
    }
    ret_stats->topics = image_topic_count(ctl->image);
    ret_stats->partitions = image_partition_total(ctl->image);
    ret_stats->leaderless = image_leaderless_total(ctl->image);
    ret_stats->waiting = (int64_t)ctl->waiting_count;
}

const struct image *
ctl_image(const struct ctl *ctl)
{
    return ctl->image;
}

int64_t
ctl_version(const struct ctl *ctl)
{
    return ctl->version;
}

const struct raft *
ctl_raft(const struct ctl *ctl)
{
    return ctl->raft;
}
