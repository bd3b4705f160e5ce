/* Deciding. One entry is in flight at most. What arrives meanwhile waits; then it is decided, one
 * request after another, against the working image: each one's records are applied at once, so that
 * the next one sees them, and an undo list remembers what they replaced. All of them leave as one
 * entry, which is atomic: it is stored, applied by brokers and undone as a whole.
 *
 *   waiting --decide--> open --+--> writing --committed by Raft--> answered
 *                              +--> reading --this node still leads--> answered
 *
 * Reads take their turn like writes, so that nobody is told what may still be undone; where nothing
 * changed, a read index (Raft thesis §6.4) proves that no other leader has decided meanwhile. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/call.h"
#include "libdmq/meta/entry.h"

/* ---- records --------------------------------------------------------------------------------- */

/* Encoded once, here: the same bytes are stored, pushed to brokers and found again by the next
 * start. Applied at once, so that whatever is decided next rests on it. */
void
ctl_propose(struct ctl *ctl, int type, const void *body)
{
    struct err_msg err;
    struct batch *batch = &ctl->batch;
    DMQ_ASSERT(batch->state == BATCH_OPEN);
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        batch->ends = realloc(batch->ends, batch->capacity * sizeof(*batch->ends));
        DMQ_ASSERT(batch->ends != NULL);
    }
    record_encode(type, body, &batch->bytes);
    DMQ_ASSERT(!batch->bytes.failed);
    batch->ends[batch->count++] = batch->bytes.size;
    dmq_err refused = meta_apply_body(ctl->image, type, body, &err);
    DMQ_ASSERT(refused == DMQ_OK);
}

/* What a decision began with, to go back there. */
struct savepoint {
    size_t undo;
    size_t count;
    size_t size;
};

static struct savepoint
save(const struct ctl *ctl)
{
    return (struct savepoint){meta_undo_mark(ctl->image), ctl->batch.count, ctl->batch.bytes.size};
}

/* A request that fails takes back what it proposed, and only that: those before it in the entry
 * stand. */
static void
go_back(struct ctl *ctl, struct savepoint to)
{
    DMQ_ASSERT(to.count <= ctl->batch.count && to.size <= ctl->batch.bytes.size);
    meta_undo_rollback_to(ctl->image, to.undo);
    ctl->batch.count = to.count;
    ctl->batch.bytes.size = to.size;
}

/* ---- deciding -------------------------------------------------------------------------------- */

/* The answer is made now, from the working image, but leaves only with the entry: until then a
 * crash or a lost term may still undo what it says. */
static void
decide_call(struct ctl *ctl, struct call *call)
{
    struct savepoint before = save(ctl);
    if (ctl->now_ms > call->answer_by_ms) {
        err_set(&call->err, DMQ_ERR_REQUEST_TIMED_OUT,
                "controller %" PRId32 " did not come to it in time: it was not done",
                ctl->config.controller_id);
    } else {
        call->err.code = ctl_call_decide(ctl, call);
    }
    if (call->err.code != DMQ_OK) {
        go_back(ctl, before);
        buf_unref(call->body);
        call->body = NULL;
    }
    list_append(&ctl->batch.calls, &call->link);
    ctl->batch.call_count++;
}

static struct call *
take_waiting(struct ctl *ctl)
{
    struct call *call = LIST_ENTRY(list_pop(&ctl->waiting), struct call, link);
    DMQ_ASSERT(ctl->waiting_count > 0 && ctl->waiting_bytes >= call->bytes);
    ctl->waiting_count--;
    ctl->waiting_bytes -= call->bytes;
    return call;
}

static void
form_cluster(struct ctl *ctl)
{
    struct cluster_record record = {.cluster_id = ctl->cluster_id};
    ctl_propose(ctl, RECORD_CLUSTER, &record);
}

static void
decide_all(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    if (!ctl_formed(ctl)) {
        form_cluster(ctl); /* an entry of its own: nothing exists before the cluster does */
        return;
    }
    session_decide(ctl);
    rebalance_decide(ctl);
    while (!list_empty(&ctl->waiting) && batch->call_count < CTL_MAX_BATCH_CALLS &&
           batch->count < CTL_MAX_BATCH_RECORDS) {
        decide_call(ctl, take_waiting(ctl));
    }
}

static void
finish_calls(struct ctl *ctl)
{
    for (struct list *link; (link = list_pop(&ctl->batch.calls)) != NULL;) {
        ctl->batch.call_count--;
        ctl_call_finish(ctl, LIST_ENTRY(link, struct call, link));
    }
    DMQ_ASSERT(ctl->batch.call_count == 0);
}

/* An entry is a row of the message table like any other: what stands in the store is what a push
 * carries, and can be read with the table alone. */
static struct buf *
encode_entry(const struct batch *batch)
{
    struct metadata_entry entry = {.version = batch->version,
                                   .term = batch->term,
                                   .records = ctl_alloc(batch->count * sizeof(struct bytes)),
                                   .records_count = (uint32_t)batch->count};
    size_t start = 0;
    for (size_t i = 0; i < batch->count; i++) {
        entry.records[i] = bytes_of(batch->bytes.data + start, batch->ends[i] - start);
        start = batch->ends[i];
    }
    struct buf *encoded = msg_encode_buf(desc_metadata_entry(), 0, &entry);
    free(entry.records);
    DMQ_ASSERT(encoded != NULL);
    return encoded;
}

/* From here on the image is the working image: ahead of what is committed, and able to go back. */
static void
open_batch(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    DMQ_ASSERT(batch->state == BATCH_IDLE && batch->call_count == 0);
    meta_undo_begin(ctl->image);
    batch->state = BATCH_OPEN;
    batch->version = ctl->version + 1;
    batch->term = ctl->leading_term;
    batch->count = 0;
    outbuf_clear(&batch->bytes);
}

/* Whether the answers are still true is what a quorum says; it is asked without a write. */
static void
close_reading(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    meta_undo_rollback(ctl->image);
    if (batch->call_count == 0) {
        batch->state = BATCH_IDLE;
        return;
    }
    struct raft_event event = {.kind = RAFT_READ_INDEX};
    batch->state = BATCH_READING;
    event.u.read = ++batch->read;
    uint64_t number = batch->read;
    if (quorum_step(ctl, &event) != RAFT_OK) {
        decide_on_read(ctl, number, false);
    }
}

/* Raft gives the entry the next index, for nothing else is on its way: that is its version. */
static void
close_writing(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    struct raft_event event = {.kind = RAFT_PROPOSE};
    meta_advance(ctl->image, batch->version, batch->term);
    batch->encoded = encode_entry(batch);
    batch->state = BATCH_WRITING;
    event.u.propose = batch->encoded;
    if (quorum_step(ctl, &event) != RAFT_OK) {
        decide_abandon(ctl);
        return;
    }
    DMQ_ASSERT(ctl->raft_out->index == batch->version && ctl->raft_out->term == batch->term);
}

/* Sends the entry on its way, or asks whether what was read is current. */
static void
close_batch(struct ctl *ctl)
{
    if (ctl->batch.count == 0) {
        close_reading(ctl);
    } else {
        close_writing(ctl);
    }
}

static bool
has_work(const struct ctl *ctl)
{
    return !list_empty(&ctl->waiting) || ctl->duties || ctl->rebalance || !ctl_formed(ctl);
}

/* Runs until an entry is in flight or nothing is left to decide. Rounds of a lone voter that change
 * nothing end at once, so that reads cost no disk. */
void
decide(struct ctl *ctl)
{
    while (ctl->leading && !ctl->failed && ctl->batch.state == BATCH_IDLE && quorum_idle(ctl) &&
           has_work(ctl)) {
        open_batch(ctl);
        decide_all(ctl);
        close_batch(ctl);
    }
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

/* The one place where what was proposed becomes true. The order matters: first the state, then
 * those who asked, then the brokers; all of it in one step, so that nobody sees a part of it. */
void
decide_on_committed(struct ctl *ctl)
{
    struct err_msg err;
    const struct metadata_entry *entry;
    struct batch *batch = &ctl->batch;
    DMQ_ASSERT(batch->state == BATCH_WRITING && batch->version == ctl->version + 1);
    meta_undo_commit(ctl->image);
    batch->state = BATCH_IDLE;
    ctl->version = batch->version;
    ctl->digest = image_digest(ctl->image);
    dmq_err code = push_keep(ctl, batch->encoded, batch->version, &entry, &err);
    DMQ_ASSERT(code == DMQ_OK);
    batch->encoded = NULL;
    if (ctl->leading) {
        session_sync_all(ctl);
    }
    finish_calls(ctl);
    push_all(ctl);
}

/* An answer that cannot be given any more: whoever asked must ask the next leader. */
static void
take_back_answers(struct ctl *ctl, dmq_err code, const char *what)
{
    LIST_FOREACH (link, &ctl->batch.calls) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        buf_unref(call->body);
        call->body = NULL;
        err_set(&call->err, code, "controller %" PRId32 " does not lead any more: %s",
                ctl->config.controller_id, what);
    }
    finish_calls(ctl);
}

void
decide_on_read(struct ctl *ctl, uint64_t number, bool ok)
{
    struct batch *batch = &ctl->batch;
    if (batch->state != BATCH_READING || batch->read != number) {
        return; /* abandoned meanwhile */
    }
    batch->state = BATCH_IDLE;
    if (ok) {
        finish_calls(ctl);
    } else {
        take_back_answers(ctl, DMQ_ERR_NOT_CONTROLLER, "nothing was changed, ask again");
    }
}

/* Whether the entry will be committed is not known here: the next leader may have it. If it has, it
 * comes back like any other. */
void
decide_abandon(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    DMQ_ASSERT(batch->state != BATCH_OPEN);
    if (batch->state == BATCH_READING) {
        decide_on_read(ctl, batch->read, false);
    } else if (batch->state == BATCH_WRITING) {
        meta_undo_rollback(ctl->image);
        batch->state = BATCH_IDLE;
        buf_unref(batch->encoded);
        batch->encoded = NULL;
        take_back_answers(ctl, DMQ_ERR_NETWORK, "it may have been done, ask again");
    }
}

void
decide_turn_away(struct ctl *ctl)
{
    while (!list_empty(&ctl->waiting)) {
        struct call *call = take_waiting(ctl);
        quorum_not_leader(ctl, &call->err);
        ctl_call_finish(ctl, call);
    }
}

/* ---- end ------------------------------------------------------------------------------------- */

static void
free_calls(struct list *calls)
{
    for (struct list *link; (link = list_pop(calls)) != NULL;) {
        ctl_call_free(LIST_ENTRY(link, struct call, link));
    }
}

void
decide_free(struct ctl *ctl)
{
    free_calls(&ctl->waiting);
    free_calls(&ctl->batch.calls);
    buf_unref(ctl->batch.encoded);
    outbuf_deinit(&ctl->batch.bytes);
    free(ctl->batch.ends);
}
