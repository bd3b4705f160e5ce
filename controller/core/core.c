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
        buf_unref(effect->u.persist.entry);
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
    case CTL_PROBE:
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
    DMQ_ASSERT(config->session_timeout_ms > 0 && !uuid_is_zero(config->new_cluster_id));
    ctl->config = *config;
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
    decide_free(ctl);
    push_free(ctl);
    image_free(ctl->image);
    free(ctl->sessions);
    free(ctl);
}

/* ---- the switch ------------------------------------------------------------------------------ */

/* Leases are seeded with now: nobody could renew them while there was no controller (trap 27). */
static void
on_started(struct ctl *ctl)
{
    DMQ_ASSERT(!ctl->started && !ctl->failed);
    ctl->started = true;
    ctl->ready = !uuid_is_zero(image_cluster_id(ctl->image));
    session_sync_all(ctl);
    for (size_t i = 0; i < ctl->session_count; i++) {
        session_renew(ctl, &ctl->sessions[i]);
        session_connect(ctl, &ctl->sessions[i]);
    }
    if (ctl->ready) {
        ctl_emit(ctl, CTL_READY)->u.cluster_id = image_cluster_id(ctl->image);
    }
}

/* A connection tells of a process only by its end: one that comes up may be to anybody who listens
 * there. */
static void
on_peer(struct ctl *ctl, enum ctl_event_kind kind, int32_t broker_id)
{
    struct session *session = session_find(ctl, broker_id);
    if (session == NULL) {
        return;
    }
    bool was_up = session->peer_up;
    session->peer_up = kind == CTL_PEER_UP || (was_up && kind == CTL_PEER_GONE);
    if (kind == CTL_PEER_UP) {
        /* A port that answers says nothing about whose process it is: no lease by that. */
        session->push_after_ms = ctl->now_ms;
        push_all(ctl);
    } else if (kind == CTL_PEER_DOWN && !session->fenced) {
        /* libzmq does not tell a process that ended from a network that went silent. */
        ctl_emit(ctl, CTL_PROBE)->u.probe = broker_id;
    } else if (kind == CTL_PEER_GONE && !was_up) { /* else it is old news */
        session->gone = true;
        session->lease_until_ms = ctl->now_ms;
        ctl->duties = true;
    }
}

static void
dispatch(struct ctl *ctl, const struct ctl_event *event)
{
    switch (event->kind) {
    case CTL_LOADED:
        decide_load(ctl, event->u.loaded.version, event->u.loaded.entry);
        break;
    case CTL_STARTED:
        on_started(ctl);
        break;
    case CTL_REQUEST:
        ctl_call_start(ctl, event);
        break;
    case CTL_PERSISTED:
        decide_on_persisted(ctl, event->u.persisted.version, event->u.persisted.err);
        break;
    case CTL_PUSHED:
        push_on_done(ctl, event);
        break;
    case CTL_PEER_UP:
    case CTL_PEER_DOWN:
    case CTL_PEER_GONE:
        on_peer(ctl, event->kind, event->u.peer);
        break;
    case CTL_TICK:
        session_tick(ctl);
        push_all(ctl);
        break;
    }
}

/* At the end of every step; what costs more than a glance only in debug builds and under the
 * fuzzer. */
static void
check_invariants(const struct ctl *ctl)
{
    const struct batch *batch = &ctl->batch;
    DMQ_ASSERT(!batch->open);
    DMQ_ASSERT(meta_undo_active(ctl->image) == batch->in_flight);
    DMQ_ASSERT(image_version(ctl->image) == ctl->version + batch->in_flight);
    DMQ_ASSERT(batch->in_flight == (batch->encoded != NULL));
    DMQ_ASSERT(batch->in_flight || batch->call_count == 0);
    DMQ_ASSERT(ctl->waiting_count <= CTL_MAX_WAITING);
    DMQ_ASSERT(ctl->waiting_bytes <= CTL_MAX_WAITING_BYTES);
    DMQ_ASSERT((ctl->waiting_count == 0) == list_empty(&ctl->waiting));
    /* Whoever waits is waited for: an entry is in flight, or nothing will ever be decided. */
    DMQ_ASSERT(ctl->waiting_count == 0 || batch->in_flight || ctl->failed || !ctl->started);
    DMQ_ASSERT(ctl->recent_count <= CTL_MAX_RECENT);
    DMQ_ASSERT(!ctl->ready || !uuid_is_zero(image_cluster_id(ctl->image)));
    DMQ_DEBUG_ASSERT(batch->in_flight || image_digest(ctl->image) == ctl->digest);
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

void
ctl_step(struct ctl *ctl, const struct ctl_event *event, struct ctl_effects *out)
{
    ctl->out = out;
    session_advance(ctl, event->now_ms);
    if (ctl->failed && event->kind != CTL_REQUEST) {
        return; /* the process is about to end */
    }
    DMQ_ASSERT(ctl->started || event->kind == CTL_LOADED || event->kind == CTL_STARTED);
    dispatch(ctl, event);
    decide(ctl);
    check_invariants(ctl);
}

int64_t
ctl_deadline(const struct ctl *ctl)
{
    int64_t lease = session_deadline(ctl);
    int64_t push = push_deadline(ctl);
    return lease < push ? lease : push;
}

/* ---- what others see ------------------------------------------------------------------------- */

static int64_t
count_leaderless(const struct image *image)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t k = 0; k < topic->partition_count; k++) {
            count += topic->partitions[k]->leader == -1;
        }
    }
    return count;
}

void
ctl_stats(const struct ctl *ctl, struct ctl_stats *ret_stats)
{
    *ret_stats = ctl->stats;
    ret_stats->ready = ctl->ready && !ctl->failed;
    ret_stats->failed = ctl->failed;
    ret_stats->cluster_id = image_cluster_id(ctl->image);
    ret_stats->version = ctl->version;
    ret_stats->term = CTL_TERM;
    ret_stats->brokers = image_broker_count(ctl->image);
    for (size_t i = 0; i < ctl->session_count; i++) {
        ret_stats->brokers_fenced += ctl->sessions[i].fenced;
    }
    ret_stats->topics = image_topic_count(ctl->image);
    ret_stats->partitions = image_partition_total(ctl->image);
    ret_stats->leaderless = count_leaderless(ctl->image);
    ret_stats->waiting = (int64_t)ctl->waiting_count;
}

const struct image *
ctl_image(const struct ctl *ctl)
{
    return ctl->image;
}
