/* Drives Raft. Its effects become this machine's: what it wants stored and sent goes out, what it
 * says is committed is applied to the image, in order, on every controller alike. The leader's own
 * entry has been applied already when it was decided; it only becomes true (decide.c).
 *
 * "Leading" here is more than Raft's role: an entry of this term is committed, so that the image
 * holds everything that was ever acknowledged (trap 30). Only then is anything decided, and brokers
 * are spoken to. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/call.h"
#include "libdmq/meta/entry.h"

#define SNAPSHOT_BYTES (8 * 1024 * 1024) /* of log, before the first snapshot */
#define ENTRY_OVERHEAD 64                /* an entry costs at least so much */

/* ---- what is committed ----------------------------------------------------------------------- */

/* The first entry of a term and changes of members hold no records, but each is a version. */
static struct buf *
encode_empty(int64_t version, int64_t term)
{
    struct metadata_entry entry = {.version = version, .term = term};
    struct buf *encoded = msg_encode_buf(desc_metadata_entry(), 0, &entry);
    DMQ_ASSERT(encoded != NULL);
    return encoded;
}

static void
apply_foreign(struct ctl *ctl, int64_t index, const struct raft_entry *from)
{
    struct err_msg err = {.text = ""};
    const struct metadata_entry *entry;
    bool data = from->kind == RAFT_ENTRY_DATA;
    struct buf *encoded = data ? buf_ref(from->payload) : encode_empty(index, from->term);
    DMQ_ASSERT(image_version(ctl->image) == index - 1);
    dmq_err code = push_keep(ctl, encoded, index, &entry, &err);
    if (code == DMQ_OK && entry->term != from->term) {
        code = err_set(&err, DMQ_ERR_DAMAGED, "it says that its term is %" PRId64, entry->term);
    }
    if (code == DMQ_OK) {
        code = meta_apply_entry(ctl->image, entry, NULL, &err);
    }
    if (code != DMQ_OK) {
        ctl_fail(ctl, "entry_refused version=%" PRId64 " error=%s text=\"%s\"", index,
                 err_name(code), err.text);
        return;
    }
    ctl->version = index;
    ctl->digest = image_digest(ctl->image);
}

/* An entry that was proposed here, in this term, is in the image already. Any other that takes its
 * index proves that ours never will be committed. */
static void
apply(struct ctl *ctl, int64_t index)
{
    const struct raft_entry *entry = raft_entry_at(ctl->raft, index);
    struct batch *batch = &ctl->batch;
    DMQ_ASSERT(index == ctl->version + 1);
    ctl->log_bytes += ENTRY_OVERHEAD + (entry->payload != NULL ? (int64_t)entry->payload->size : 0);
    bool ours = batch->state == BATCH_WRITING && entry->term == batch->term;
    if (ours) {
        DMQ_ASSERT(index == batch->version);
        decide_on_committed(ctl);
        return;
    }
    decide_abandon(ctl);
    apply_foreign(ctl, index, entry);
}

static void
on_committed(struct ctl *ctl, int64_t first, int64_t last)
{
    DMQ_ASSERT(first == ctl->version + 1);
    for (int64_t index = first; index <= last && !ctl->failed; index++) {
        apply(ctl, index);
    }
    if (!ctl->failed) {
        ctl->stats.entries += last - first + 1;
        seats_on_committed(ctl, last);
    }
}

static void
on_install(struct ctl *ctl)
{
    struct err_msg err;
    const struct raft_snapshot *snapshot = &ctl->raft->snapshot;
    decide_abandon(ctl);
    dmq_err code = snapshot_install(ctl, snapshot->index, buf_bytes(snapshot->data), &err);
    if (code != DMQ_OK) {
        ctl_fail(ctl, "snapshot_refused version=%" PRId64 " error=%s text=\"%s\"", snapshot->index,
                 err_name(code), err.text);
    }
}

bool
ctl_formed(const struct ctl *ctl)
{
    return !uuid_is_zero(image_cluster_id(ctl->image));
}

/* ---- leading --------------------------------------------------------------------------------- */

static void
begin_to_lead(struct ctl *ctl)
{
    ctl->leading = true;
    ctl->leading_term = ctl->raft->term;
    session_begin_all(ctl);
    rebalance_begin(ctl);
    ctl_log(ctl, false, "leading term=%" PRId64 " version=%" PRId64, ctl->leading_term,
            ctl->version);
}

static void
end_to_lead(struct ctl *ctl)
{
    ctl->leading = false;
    session_end_all(ctl);
    push_end_all(ctl);
    seats_abandon(ctl);
    ctl_log(ctl, false, "not_leading_any_more term=%" PRId64, ctl->leading_term);
}

/* After every step of Raft. */
static void
follow_role(struct ctl *ctl)
{
    const struct raft *raft = ctl->raft;
    bool leads = raft_ready(raft) && !ctl->failed;
    if (ctl->leading && (!leads || raft->term != ctl->leading_term)) {
        decide_abandon(ctl);
        end_to_lead(ctl);
    }
    if (raft->role != RAFT_LEADER) {
        decide_turn_away(ctl);
    }
    if (!ctl->leading && leads) {
        DMQ_ASSERT(ctl->version == raft->commit);
        begin_to_lead(ctl);
    }
}

static void
on_role(struct ctl *ctl, const struct raft_effect *effect)
{
    if (effect->u.role.leader.node != 0) {
        ctl_log(ctl, false, "leader controller=%" PRId32 " term=%" PRId64,
                effect->u.role.leader.node, effect->u.role.term);
    } else {
        ctl_log(ctl, false, "no_leader term=%" PRId64 " role=%s", effect->u.role.term,
                effect->u.role.role == RAFT_FOLLOWER        ? "follower"
                : effect->u.role.role == RAFT_PRE_CANDIDATE ? "pre-candidate"
                                                            : "candidate");
    }
}

/* ---- effects --------------------------------------------------------------------------------- */

static void
on_send(struct ctl *ctl, const struct raft_message *message)
{
    struct ctl_effect *effect = ctl_emit(ctl, CTL_SEND);
    effect->u.send.controller_id = message->to.node;
    effect->u.send.body = raft_wire_encode(message, ctl->cluster_id);
}

static void
carry_out(struct ctl *ctl, const struct raft_effect *effect)
{
    switch (effect->kind) {
    case RAFT_PERSIST:
        ctl_emit(ctl, CTL_PERSIST)->u.persist = raft_persist_copy(&effect->u.persist);
        break;
    case RAFT_SEND:
        on_send(ctl, &effect->u.message);
        break;
    case RAFT_COMMITTED:
        on_committed(ctl, effect->u.committed.first, effect->u.committed.last);
        break;
    case RAFT_INSTALL:
        on_install(ctl);
        break;
    case RAFT_ROLE:
        on_role(ctl, effect);
        break;
    case RAFT_READ_READY:
        decide_on_read(ctl, effect->u.read.id, true);
        break;
    case RAFT_READ_FAILED:
        decide_on_read(ctl, effect->u.read.id, false);
        break;
    case RAFT_CAUGHT_UP:
        ctl_log(ctl, false, "caught_up controller=%" PRId32, effect->u.caught_up.node);
        break;
    case RAFT_FAILED:
        decide_abandon(ctl);
        break;
    }
}

/* What the effects lend lives until Raft's next step, so none may happen meanwhile: whatever
 * follows from them (the next entry, a change of members) is asked for at the end of ctl_step. */
enum raft_result
quorum_step(struct ctl *ctl, struct raft_event *event)
{
    struct raft_event tick = {.kind = RAFT_TICK};
    DMQ_ASSERT(ctl->raft != NULL && !ctl->in_raft);
    event = event == NULL ? &tick : event;
    event->now_ms = ctl->now_ms;
    raft_step(ctl->raft, event, ctl->raft_out);
    ctl->in_raft = true;
    for (uint32_t i = 0; i < ctl->raft_out->count && !ctl->failed; i++) {
        carry_out(ctl, &ctl->raft_out->items[i]);
    }
    ctl->in_raft = false;
    follow_role(ctl);
    return ctl->raft_out->result;
}

/* An fsync that failed once is never retried, for what it left on the disk is unknown: the process
 * ends. A leader tells another to stand before it does. */
void
quorum_on_persisted(struct ctl *ctl, uint64_t seq, dmq_err err)
{
    struct raft_event event = {.kind = err == DMQ_OK ? RAFT_PERSISTED : RAFT_PERSIST_FAILED};
    event.u.persisted = seq;
    quorum_step(ctl, &event);
    if (err != DMQ_OK) {
        ctl_fail(ctl,
                 "store_failed error=%s version=%" PRId64 " text=\"nothing more is decided here: "
                 "see to the disk, then start again\"",
                 err_name(err), ctl->version);
    }
}

/* ---- snapshots ------------------------------------------------------------------------------- */

/* When the log since the last snapshot outweighs the snapshot, so that the work of taking them is
 * in proportion to the changes. */
static bool
is_due(const struct ctl *ctl)
{
    int64_t limit = ctl->config.snapshot_bytes > 0 ? ctl->config.snapshot_bytes : SNAPSHOT_BYTES;
    limit = ctl->snapshot_size > limit ? ctl->snapshot_size : limit;
    return ctl->log_bytes >= limit;
}

void
quorum_compact(struct ctl *ctl)
{
    if (ctl->raft == NULL || ctl->failed || ctl->batch.state == BATCH_WRITING || !is_due(ctl)) {
        return;
    }
    struct raft_event event = {.kind = RAFT_COMPACT};
    event.u.compact.index = ctl->version;
    event.u.compact.data = snapshot_encode(ctl);
    int64_t size = (int64_t)event.u.compact.data->size;
    ctl->log_bytes = 0; /* also where Raft has no use for one now: not all of it again every step */
    if (quorum_step(ctl, &event) == RAFT_OK) {
        ctl->snapshot_size = size;
        ctl->stats.snapshots++;
    }
    buf_unref(event.u.compact.data);
}

/* ---- queries --------------------------------------------------------------------------------- */

int32_t
quorum_leader(const struct ctl *ctl)
{
    return ctl->raft != NULL && ctl->raft->leader.node != 0 ? ctl->raft->leader.node : -1;
}

bool
quorum_idle(const struct ctl *ctl)
{
    return raft_last_index(ctl->raft) == ctl->version && ctl->raft->transfer_to.node == 0;
}

dmq_err
quorum_not_leader(const struct ctl *ctl, struct err_msg *err)
{
    int32_t leader = quorum_leader(ctl);
    if (leader == -1 || leader == ctl->config.controller_id) {
        return err_set(err, DMQ_ERR_NOT_CONTROLLER,
                       "controller %" PRId32 " knows of no leader at the moment: a majority of the "
                       "controllers must run and reach each other",
                       ctl->config.controller_id);
    }
    return err_set(err, DMQ_ERR_NOT_CONTROLLER,
                   "controller %" PRId32 " does not lead: controller %" PRId32 " does",
                   ctl->config.controller_id, leader);
}

/* ---- start and end --------------------------------------------------------------------------- */

void
quorum_start(struct ctl *ctl, const struct raft_saved *saved)
{
    struct raft_config config;
    struct err_msg err;
    DMQ_ASSERT(ctl->raft == NULL && !uuid_is_zero(ctl->cluster_id));
    if (ctl->config.raft != NULL) {
        config = *ctl->config.raft;
    } else {
        raft_config_defaults(&config);
    }
    config.self = (struct raft_id){.node = ctl->config.controller_id, .disk = ctl->config.disk_id};
    config.seed = rng_next(&ctl->rng);
    ctl->seat = SEAT_RAFT;
    ctl->raft = ctl_alloc(sizeof(*ctl->raft));
    ctl->raft_out = ctl_alloc(sizeof(*ctl->raft_out));
    raft_init(ctl->raft, &config, saved, ctl->now_ms);
    if (saved->snapshot.index > 0) {
        dmq_err code =
            snapshot_install(ctl, saved->snapshot.index, buf_bytes(saved->snapshot.data), &err);
        if (code != DMQ_OK) {
            ctl_fail(ctl, "snapshot_refused error=%s text=\"%s\"", err_name(code), err.text);
            return;
        }
    }
    quorum_step(ctl, NULL);
}

void
quorum_free(struct ctl *ctl)
{
    if (ctl->raft != NULL) {
        raft_deinit(ctl->raft);
    }
    free(ctl->raft);
    free(ctl->raft_out);
}
