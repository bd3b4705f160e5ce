/* Who may be fenced: a broker that its controller has not heard of for a whole session since it
 * leads, or that it was told has ended: that very process. A new leader, or one that was paused,
 * fences nobody else (traps 27 and 28). */
#include <inttypes.h>
#include <string.h>

#include "broker/core/brk.h"
#include "controller/core/ctl.h"
#include "tests/sim/quorum.h"

#define SHORT_PAUSE_US (SESSION_MS * (int64_t)MS / 4)
#define TOLERANCE_US (SESSION_MS * MS / 50 + 2 * MS) /* clocks are a little fast or slow */

/* A process that is not registered yet renews nothing. */
void
leases_heard(struct process *controller, const struct process *broker)
{
    const struct broker_record *record = image_broker(controller->ctl->image, broker->id);
    if (!broker->alive || record == NULL || broker->brk->broker_epoch != record->broker_epoch) {
        return;
    }
    controller->leases.heard_us[broker->number] = controller->world->now_us;
}

/* It stood still: that time counts for nobody, unless it was too short to tell from a quiet
 * network. */
static void
give(struct process *controller, int64_t us)
{
    for (int i = 0; i < WORLD_MAX_PROCESSES; i++) {
        controller->leases.heard_us[i] += us;
    }
    controller->leases.led_us += us;
    controller->leases.given_us += us;
}

void
leases_paused(struct process *controller, int64_t us)
{
    bool goes_on = controller->paused_until_us > controller->world->now_us + us;
    controller->leases.given_us = goes_on ? controller->leases.given_us : 0;
    if (us > SHORT_PAUSE_US) {
        give(controller, us);
    }
}

/* It goes on before the end of its pause. */
void
leases_woken(struct process *controller, int64_t early_us)
{
    int64_t given = controller->leases.given_us;
    if (early_us > 0 && given > 0) {
        give(controller, given - early_us > SHORT_PAUSE_US ? -early_us : -given);
    }
}

static const struct session *
session_at(const struct ctl *ctl, int32_t broker_id)
{
    for (size_t i = 0; i < ctl->session_count; i++) {
        if (ctl->sessions[i].broker_id == broker_id) {
            return &ctl->sessions[i];
        }
    }
    return NULL;
}

/* The epoch that a heartbeat names is not the one that the broker is registered with. */
static bool
is_stale(const struct process *controller, int32_t broker_id, struct bytes body)
{
    struct broker_heartbeat_request request;
    struct arena arena;
    struct err_msg err;
    const struct broker_record *record = image_broker(controller->ctl->image, broker_id);
    arena_init(&arena, 1 << 16);
    dmq_err failed = msg_decode(desc_broker_heartbeat_request(), 0, body, &arena, &request, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    bool stale = record != NULL && record->broker_epoch != request.status.broker_epoch;
    arena_deinit(&arena);
    return stale;
}

/* INT64_MAX: it may renew the lease, or there is none. */
int64_t
leases_before(struct process *controller, const struct process *broker, struct bytes body)
{
    const struct session *session = session_at(controller->ctl, broker->id);
    bool stale = session != NULL && is_stale(controller, broker->id, body);
    controller->world->counts.stale_epochs += stale;
    return stale ? session->lease_until_ms : INT64_MAX;
}

/* Trap 22: a message of a former registration keeps nobody alive. */
void
leases_after(struct process *controller, const struct process *broker, int64_t lease_ms)
{
    const struct session *session =
        controller->alive ? session_at(controller->ctl, broker->id) : NULL;
    if (lease_ms == INT64_MAX || session == NULL) {
        return;
    }
    int64_t now_ms = process_now_ms(controller);
    if (session->lease_until_ms == now_ms + SESSION_MS && session->lease_until_ms != lease_ms) {
        world_fail(controller->world,
                   "a message of a former registration renews the lease of broker %" PRId32,
                   broker->id);
    }
}

/* Of a process that is not the registered one it tells nothing that is of use. */
void
leases_refused(struct process *controller, const struct process *broker, struct uuid incarnation)
{
    const struct broker_record *record = image_broker(controller->ctl->image, broker->id);
    if (record != NULL && uuid_equal(record->incarnation, incarnation)) {
        controller->leases.refused[broker->number] = incarnation;
    }
}

static void
check_fenced(struct process *p, const struct process *broker, const struct broker_record *record)
{
    const struct lease_watch *leases = &p->leases;
    int64_t heard = leases->heard_us[broker->number];
    int64_t since = heard > leases->led_us ? heard : leases->led_us;
    bool ended = uuid_equal(leases->refused[broker->number], record->incarnation);
    p->world->counts.fenced++;
    if (!ended && p->world->now_us - since < SESSION_MS * (int64_t)MS - TOLERANCE_US) {
        world_fail(p->world,
                   "controller %" PRId32 " fences broker %" PRId32 ", heard of %" PRId64 " ms ago",
                   p->id, broker->id, (p->world->now_us - since) / MS);
    }
}

/* What the image says of every broker now, an entry that is on its way included. */
static void
look_at_brokers(struct process *p, bool check)
{
    const struct image *image = p->ctl->image;
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        const struct broker_record *record = image_broker_at(image, i);
        const struct process *broker = world_by_id(p->world, PROCESS_BROKER, record->broker_id);
        struct seen_lease *seen = &p->leases.seen[broker->number];
        bool falls = seen->epoch == record->broker_epoch && !seen->fenced && record->fenced;
        bool wishes = broker->wish_epoch == record->broker_epoch;
        if (check && falls && !record->shutting_down && !wishes) {
            check_fenced(p, broker, record);
        }
        seen->epoch = record->broker_epoch;
        seen->fenced = record->fenced;
    }
}

void
leases_check(struct process *p)
{
    const struct ctl *ctl = p->ctl;
    if (!ctl->leading) {
        p->leases.term = 0;
        return;
    }
    bool begins = p->leases.term != ctl->leading_term;
    if (begins) {
        p->leases.term = ctl->leading_term;
        p->leases.led_us = p->world->now_us;
        memset(p->leases.refused, 0, sizeof(p->leases.refused));
    }
    if (begins || p->leases.version != image_version(ctl->image)) {
        p->leases.version = image_version(ctl->image);
        look_at_brokers(p, !begins);
    }
}
