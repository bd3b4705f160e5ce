/* Deciding. One entry is in flight at most. What arrives meanwhile waits; then it is decided, one
 * request after another, against the working image: each one's records are applied at once, so that
 * the next one sees them, and an undo list remembers what they replaced. All of them leave as one
 * entry, which is atomic: it is stored, applied by brokers and undone as a whole.
 *
 *   waiting --decide--> batch (open) --close--> in flight --persisted--> committed --> answered
 *
 * "Persisted" is "committed" while there is one voter: committed() is the one place that the quorum
 * changes. Reads take their turn like writes, so that nobody is told what may still be undone. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/call.h"
#include "libdmq/meta/entry.h"

#define ENTRY_ARENA_BYTES (64 * 1024 * 1024)

/* ---- records --------------------------------------------------------------------------------- */

/* Encoded once, here: the same bytes are stored, pushed to brokers and found again by the next
 * start. Applied at once, so that whatever is decided next rests on it. */
void
ctl_propose(struct ctl *ctl, int type, const void *body)
{
    struct err_msg err;
    struct batch *batch = &ctl->batch;
    DMQ_ASSERT(batch->open && !batch->in_flight);
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
    struct cluster_record record = {.cluster_id = ctl->config.new_cluster_id};
    ctl_propose(ctl, RECORD_CLUSTER, &record);
}

static void
decide_all(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    if (uuid_is_zero(image_cluster_id(ctl->image))) {
        form_cluster(ctl); /* an entry of its own: nothing exists before the cluster does */
        return;
    }
    session_decide(ctl);
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
                                   .term = CTL_TERM,
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
    DMQ_ASSERT(!batch->open && !batch->in_flight && batch->call_count == 0);
    meta_undo_begin(ctl->image);
    batch->open = true;
    batch->version = ctl->version + 1;
    batch->count = 0;
    outbuf_clear(&batch->bytes);
}

/* Sends the entry on its way, or answers at once where nothing changed. */
static void
close_batch(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    batch->open = false;
    if (batch->count == 0) {
        meta_undo_rollback(ctl->image);
        finish_calls(ctl);
        return;
    }
    meta_advance(ctl->image, batch->version, CTL_TERM);
    batch->encoded = encode_entry(batch);
    batch->in_flight = true;
    struct ctl_effect *effect = ctl_emit(ctl, CTL_PERSIST);
    effect->u.persist.version = batch->version;
    effect->u.persist.entry = buf_ref(batch->encoded);
}

/* Runs until an entry is in flight or nothing is left to decide. Rounds without records end at
 * once, so that reads on an idle controller cost no disk. */
void
decide(struct ctl *ctl)
{
    while (ctl->started && !ctl->failed && !ctl->batch.in_flight &&
           (!list_empty(&ctl->waiting) || ctl->duties || !ctl->ready)) {
        open_batch(ctl);
        decide_all(ctl);
        close_batch(ctl);
    }
}

/* ---- committing ------------------------------------------------------------------------------ */

/* The one place where what was proposed becomes true. The order matters: first the state, then
 * those who asked, then the brokers; all of it in one step, so that nobody sees a part of it. */
static void
committed(struct ctl *ctl)
{
    struct batch *batch = &ctl->batch;
    meta_undo_commit(ctl->image);
    batch->in_flight = false;
    ctl->version = batch->version;
    ctl->digest = image_digest(ctl->image);
    ctl->stats.entries++;
    push_keep(ctl, batch->encoded);
    batch->encoded = NULL;
    session_sync_all(ctl);
    if (!ctl->ready) {
        ctl->ready = true;
        ctl_emit(ctl, CTL_READY)->u.cluster_id = image_cluster_id(ctl->image);
    }
    finish_calls(ctl);
    push_all(ctl);
}

/* The store failed. Nothing that rests on this entry may be said, and nothing may follow it: an
 * fsync that failed once is never retried, for what it left on the disk is unknown. */
static void
abandon(struct ctl *ctl, dmq_err err)
{
    meta_undo_rollback(ctl->image);
    ctl->batch.in_flight = false;
    buf_unref(ctl->batch.encoded);
    ctl->batch.encoded = NULL;
    LIST_FOREACH (link, &ctl->batch.calls) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        buf_unref(call->body);
        call->body = NULL;
        /* Whether the entry reached the disk is unknown: the next start may find it. */
        err_set(&call->err, DMQ_ERR_UNKNOWN, "the store of controller %" PRId32 " failed: %s",
                ctl->config.controller_id, err_text(err));
    }
    finish_calls(ctl);
    while (!list_empty(&ctl->waiting)) {
        ctl_call_cancel(ctl, take_waiting(ctl));
    }
    ctl_fail(ctl, "store_failed error=%s version=%" PRId64, err_name(err), ctl->batch.version);
}

void
decide_on_persisted(struct ctl *ctl, int64_t version, dmq_err err)
{
    DMQ_ASSERT(ctl->batch.in_flight && version == ctl->batch.version);
    if (err != DMQ_OK) {
        abandon(ctl, err);
        return;
    }
    committed(ctl);
}

/* ---- start and end --------------------------------------------------------------------------- */

void
decide_load(struct ctl *ctl, int64_t version, struct bytes encoded)
{
    struct arena arena;
    struct metadata_entry entry;
    struct err_msg err;
    arena_init(&arena, ENTRY_ARENA_BYTES);
    DMQ_ASSERT(!ctl->started);
    dmq_err code = msg_decode(desc_metadata_entry(), 0, encoded, &arena, &entry, &err);
    if (code == DMQ_OK && entry.version != version) {
        code = err_set(&err, DMQ_ERR_DAMAGED, "it says that it is entry %" PRId64, entry.version);
    }
    if (code == DMQ_OK) {
        code = meta_apply_entry(ctl->image, &entry, NULL, &err);
    }
    arena_deinit(&arena);
    if (code != DMQ_OK) {
        ctl_fail(ctl, "entry_refused version=%" PRId64 " error=%s text=\"%s\"", version,
                 err_name(code), err.text);
        return;
    }
    ctl->version = version;
    ctl->digest = image_digest(ctl->image);
    struct buf *copy = buf_copy(encoded);
    DMQ_ASSERT(copy != NULL);
    push_keep(ctl, copy);
}

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
