/* What is known of each broker from its messages, beside what the image says, and leases.
 *
 * A lease is renewed by every message that carries the present incarnation and broker epoch, at its
 * arrival and before anything else is done with it, so that a slow controller fences nobody (trap
 * 28). For the same reason time during which this process itself did not run does not count. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/core/ctl.h"

/* A step comes at least so often while leases run; a longer gap means that this process stood
 * still. */
#define STEPS_PER_LEASE 8

/* ---- the table ------------------------------------------------------------------------------- */

/* The index of the broker, or where it belongs. */
static size_t
place_of(const struct ctl *ctl, int32_t broker_id)
{
    size_t low = 0, high = ctl->session_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ctl->sessions[middle].broker_id < broker_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct session *
session_find(struct ctl *ctl, int32_t broker_id)
{
    size_t at = place_of(ctl, broker_id);
    bool found = at < ctl->session_count && ctl->sessions[at].broker_id == broker_id;
    return found ? &ctl->sessions[at] : NULL;
}

struct session *
session_of(struct ctl *ctl, int32_t broker_id)
{
    size_t at = place_of(ctl, broker_id);
    if (at < ctl->session_count && ctl->sessions[at].broker_id == broker_id) {
        return &ctl->sessions[at];
    }
    if (ctl->session_count == ctl->session_capacity) {
        ctl->session_capacity = ctl->session_capacity == 0 ? 8 : ctl->session_capacity * 2;
        ctl->sessions = realloc(ctl->sessions, ctl->session_capacity * sizeof(struct session));
        DMQ_ASSERT(ctl->sessions != NULL);
    }
    memmove(&ctl->sessions[at + 1], &ctl->sessions[at],
            (ctl->session_count - at) * sizeof(struct session));
    ctl->session_count++;
    ctl->sessions[at] = (struct session){
        .broker_id = broker_id, .lease_until_ms = INT64_MIN, .fenced = true, .acked_version = -1};
    return &ctl->sessions[at];
}

/* To the endpoint for nodes, which pushes use; the one for clients may be out of budget. */
void
session_connect(struct ctl *ctl, const struct session *session)
{
    const struct broker_record *broker = image_broker(ctl->image, session->broker_id);
    DMQ_ASSERT(broker != NULL);
    for (uint32_t i = 0; i < broker->endpoints_count; i++) {
        const struct endpoint *endpoint = &broker->endpoints[i];
        if (bytes_equal_str(endpoint->listener, "node")) {
            struct ctl_effect *effect = ctl_emit(ctl, CTL_CONNECT);
            effect->u.connect.broker_id = broker->broker_id;
            effect->u.connect.port = endpoint->port;
            snprintf(effect->u.connect.host, sizeof(effect->u.connect.host), "%.*s",
                     (int)endpoint->host.size, (const char *)endpoint->host.data);
            return;
        }
    }
}

/* What answers say must be what is committed; between two commits the image is ahead of it. */
void
session_sync_all(struct ctl *ctl)
{
    for (uint32_t i = 0; i < image_broker_count(ctl->image); i++) {
        const struct broker_record *broker = image_broker_at(ctl->image, i);
        struct session *session = session_of(ctl, broker->broker_id);
        session->fenced = broker->fenced;
    }
    DMQ_ASSERT(ctl->session_count >= image_broker_count(ctl->image));
}

void
session_begin_all(struct ctl *ctl)
{
    DMQ_ASSERT(ctl->session_count == 0);
    session_sync_all(ctl);
    for (size_t i = 0; i < ctl->session_count; i++) {
        session_renew(ctl, &ctl->sessions[i]);
        session_connect(ctl, &ctl->sessions[i]);
    }
    ctl->duties = true;
}

void
session_end_all(struct ctl *ctl)
{
    for (size_t i = 0; i < ctl->session_count; i++) {
        ctl_emit(ctl, CTL_DISCONNECT)->u.peer = ctl->sessions[i].broker_id;
    }
    ctl->session_count = 0;
    ctl->duties = false;
}

/* ---- leases ---------------------------------------------------------------------------------- */

void
session_renew(struct ctl *ctl, struct session *session)
{
    session->lease_until_ms = ctl->now_ms + ctl->config.session_timeout_ms;
    session->gone = false;
}

bool
session_alive(const struct ctl *ctl, const struct session *session)
{
    return session->lease_until_ms > ctl->now_ms;
}

/* How often at least a step comes while leases run: what makes a gap tell of this process and not
 * of a quiet network. */
static int64_t
step_interval(const struct ctl *ctl)
{
    int64_t interval = ctl->config.session_timeout_ms / STEPS_PER_LEASE;
    return interval > 0 ? interval : 1;
}

static bool
holds_lease(const struct ctl *ctl, const struct session *session)
{
    return !session->fenced && session->lease_until_ms > ctl->now_ms;
}

/* Time in which this process did not run (stopped, swapped out, a stalled machine) is given back to
 * every lease: heartbeats may lie unread in its sockets, and a tick must not win against them. */
void
session_advance(struct ctl *ctl, int64_t now_ms)
{
    int64_t gap = now_ms - ctl->now_ms;
    DMQ_ASSERT(gap >= 0);
    if (ctl->leading && gap > 2 * step_interval(ctl)) {
        for (size_t i = 0; i < ctl->session_count; i++) {
            if (holds_lease(ctl, &ctl->sessions[i])) {
                ctl->sessions[i].lease_until_ms += gap;
            }
        }
    }
    ctl->now_ms = now_ms;
}

void
session_tick(struct ctl *ctl)
{
    for (size_t i = 0; i < ctl->session_count; i++) {
        const struct session *session = &ctl->sessions[i];
        ctl->duties |= !session->fenced && !session_alive(ctl, session);
    }
}

int64_t
session_deadline(const struct ctl *ctl)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < ctl->session_count; i++) {
        if (holds_lease(ctl, &ctl->sessions[i])) {
            int64_t at = ctl->sessions[i].lease_until_ms;
            int64_t step = ctl->now_ms + step_interval(ctl);
            at = step < at ? step : at;
            deadline = at < deadline ? at : deadline;
        }
    }
    return deadline;
}

/* ---- what brokers say ------------------------------------------------------------------------ */

/* A broker that is ahead of this node holds what this node has lost: nothing here may decide over
 * it. It stays as it is, and so fenced after its next start, until an operator looks. */
static void
take_version(struct ctl *ctl, struct session *session, const struct broker_status *status)
{
    bool ahead = status->applied_version > ctl->version;
    if (ahead && !session->ahead) {
        ctl_log(ctl, true, "broker_ahead broker=%" PRId32 " applied=%" PRId64 " committed=%" PRId64,
                status->broker_id, status->applied_version, ctl->version);
    }
    session->ahead = ahead;
    if (ahead) {
        return;
    }
    if (status->applied_version < session->acked_version) {
        return; /* sent before the one that is known */
    }
    if (session->acked_version == -1) {
        session->push_after_ms =
            ctl->now_ms; /* the first word of this process: no reason to wait */
    }
    session->acked_version = status->applied_version;
    bool comparable = status->applied_version == ctl->version && status->image_digest != 0;
    session->digest_wrong = comparable && status->image_digest != (int64_t)ctl->digest;
    if (session->digest_wrong) {
        ctl_log(ctl, true, "image_differs broker=%" PRId32 " version=%" PRId64, status->broker_id,
                ctl->version);
    }
}

/* The incarnation says which process speaks, the epoch which registration it knows of: without both
 * a message of a dead process could keep the lease of the living one, or the other way round (traps
 * 22, 26; KIP-380). */
dmq_err
session_take_status(struct ctl *ctl, const struct broker_status *status, struct err_msg *err)
{
    const struct broker_record *broker = image_broker(ctl->image, status->broker_id);
    if (broker == NULL || status->broker_epoch < 0) {
        return err_set(err, DMQ_ERR_BROKER_ID_NOT_REGISTERED,
                       "broker %" PRId32 " is not registered: register first", status->broker_id);
    }
    if (!uuid_equal(broker->incarnation, status->incarnation) ||
        broker->broker_epoch != status->broker_epoch) {
        return err_set(err, DMQ_ERR_STALE_BROKER_EPOCH,
                       "broker %" PRId32 " was registered by another process, with epoch %" PRId64
                       ": this one must end",
                       status->broker_id, broker->broker_epoch);
    }
    struct session *session = session_of(ctl, status->broker_id);
    session_renew(ctl, session);
    session->want_fence = status->want_fence;
    take_version(ctl, session, status);
    ctl->duties |= session->fenced || session->want_fence;
    return DMQ_OK;
}

/* ---- duties ---------------------------------------------------------------------------------- */

static void
propose_state(struct ctl *ctl, const struct broker_record *broker, bool fenced, bool shutting_down)
{
    struct broker_change_record record = {.broker_id = broker->broker_id,
                                          .broker_epoch = broker->broker_epoch,
                                          .fenced = fenced,
                                          .shutting_down = shutting_down};
    ctl_propose(ctl, RECORD_BROKER_CHANGE, &record);
}

/* Fenced first, then taken out of its partitions: an election must not choose it again. */
void
session_fence(struct ctl *ctl, int32_t broker_id, bool shutting_down)
{
    const struct broker_record *broker = image_broker(ctl->image, broker_id);
    DMQ_ASSERT(broker != NULL);
    propose_state(ctl, broker, true, shutting_down);
    change_leave(ctl, broker_id, LEAVE_FENCED);
}

/* It has applied its own registration, so it knows which leaderships it has lost. A process that
 * began to stop never comes back, whatever an answer that was under way says of its wishes. */
static bool
is_ready(const struct ctl *ctl, const struct session *session, const struct broker_record *broker)
{
    return broker->fenced && !broker->shutting_down && session_alive(ctl, session) &&
           !session->want_fence && session->acked_version >= broker->broker_epoch;
}

void
session_decide(struct ctl *ctl)
{
    bool fenced_one = false;
    ctl->duties = false;
    for (size_t i = 0; i < ctl->session_count; i++) {
        const struct session *session = &ctl->sessions[i];
        const struct broker_record *broker = image_broker(ctl->image, session->broker_id);
        if (broker == NULL) {
            continue;
        }
        bool must_fence = !broker->fenced && (!session_alive(ctl, session) || session->want_fence);
        if (must_fence && fenced_one) {
            ctl->duties = true; /* one an entry: each can be a large change (trap 29) */
        } else if (must_fence) {
            fenced_one = true;
            ctl_log(ctl, false, "broker_fenced broker=%" PRId32 " reason=%s", broker->broker_id,
                    session->want_fence ? "wish"
                    : session->gone     ? "gone"
                                        : "silent");
            ctl->stats.fenced_silent += !session->want_fence && !session->gone;
            ctl->stats.fenced_gone += !session->want_fence && session->gone;
            session_fence(ctl, broker->broker_id, broker->shutting_down);
        } else if (is_ready(ctl, session, broker)) {
            ctl_log(ctl, false, "broker_unfenced broker=%" PRId32, broker->broker_id);
            propose_state(ctl, broker, false, false);
            change_join(ctl, session->broker_id);
        }
    }
}
