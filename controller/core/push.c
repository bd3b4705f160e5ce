/* Committed entries go to every broker at once; one push at most is on its way to each. The answer,
 * and each heartbeat, say what a broker has applied: whatever is missing then is the next push, so
 * a lost one repairs itself. A broker whose version is not known gets an empty range, which it
 * answers with its version. One that is behind the entries kept in memory, or whose image differs,
 * gets a snapshot.
 *
 * What a change costs must not grow with the number of brokers more than by what is sent: those
 * that lack the same get the same bytes, encoded once. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/ctl.h"
#include "libdmq/meta/entry.h"

#define PUSH_TIMEOUT_MS 5000
#define PUSH_RETRY_MS 100
#define MAX_PUSH_ENTRIES 1000
#define MAX_PUSH_BYTES (4 * 1024 * 1024) /* of several entries; one goes whatever its size */
#define RECENT_ARENA_BYTES (64 * 1024 * 1024)

static void
drop_shared(struct shared_push *shared)
{
    buf_unref(shared->body);
    *shared = (struct shared_push){0};
}

/* ---- entries that are kept ------------------------------------------------------------------- */

static struct recent *
recent_at(const struct ctl *ctl, size_t index)
{
    DMQ_ASSERT(index < ctl->recent_count);
    return &ctl->recent[(ctl->recent_head + index) % CTL_MAX_RECENT];
}

static void
drop_oldest(struct ctl *ctl)
{
    struct recent *oldest = recent_at(ctl, 0);
    ctl->recent_bytes -= oldest->encoded->size;
    buf_unref(oldest->encoded);
    arena_deinit(&oldest->arena);
    ctl->recent_head = (ctl->recent_head + 1) % CTL_MAX_RECENT;
    ctl->recent_count--;
}

/* The newest entry always fits, whatever its size: a push needs it. */
dmq_err
push_keep(struct ctl *ctl, struct buf *encoded, int64_t version,
          const struct metadata_entry **ret_entry, struct err_msg *err)
{
    while (ctl->recent_count == CTL_MAX_RECENT ||
           (ctl->recent_count > 0 && ctl->recent_bytes + encoded->size > CTL_MAX_RECENT_BYTES)) {
        drop_oldest(ctl);
    }
    ctl->recent_count++;
    ctl->recent_bytes += encoded->size;
    struct recent *newest = recent_at(ctl, ctl->recent_count - 1);
    newest->encoded = encoded;
    arena_init(&newest->arena, RECENT_ARENA_BYTES);
    *ret_entry = &newest->entry;
    dmq_err code = msg_decode(desc_metadata_entry(), 0, buf_bytes(encoded), &newest->arena,
                              &newest->entry, err);
    if (code == DMQ_OK && newest->entry.version != version) {
        code = err_set(err, DMQ_ERR_DAMAGED, "it says that it is entry %" PRId64,
                       newest->entry.version);
    }
    return code;
}

void
push_forget(struct ctl *ctl)
{
    while (ctl->recent_count > 0) {
        drop_oldest(ctl);
    }
}

void
push_end_all(struct ctl *ctl)
{
    drop_shared(&ctl->shared_range);
    drop_shared(&ctl->shared_image);
}

void
push_free(struct ctl *ctl)
{
    push_forget(ctl);
    push_end_all(ctl);
    free(ctl->recent);
}

/* ---- what to push ---------------------------------------------------------------------------- */

static struct buf *
encode(const struct ctl *ctl, struct push_metadata_request *request)
{
    request->cluster_id = image_cluster_id(ctl->image);
    request->controller_id = ctl->config.controller_id;
    request->leader_term = ctl->leading_term;
    struct buf *body = msg_encode_buf(desc_push_metadata_request(), 0, request);
    DMQ_ASSERT(body != NULL);
    return body;
}

/* The entries behind from, as many as one push takes. */
static struct buf *
encode_range(const struct ctl *ctl, int64_t from, int64_t *ret_end)
{
    struct metadata_entry entries[MAX_PUSH_ENTRIES];
    struct push_metadata_request request = {
        .prev_version = from, .version = from, .entries = entries};
    size_t bytes = 0;
    for (size_t i = 0; i < ctl->recent_count; i++) {
        const struct recent *recent = recent_at(ctl, i);
        if (recent->entry.version <= from) {
            continue;
        }
        bytes += recent->encoded->size;
        bool full = request.entries_count == MAX_PUSH_ENTRIES ||
                    (request.entries_count > 0 && bytes > MAX_PUSH_BYTES);
        if (full) {
            break;
        }
        DMQ_ASSERT(recent->entry.version == request.version + 1);
        entries[request.entries_count++] = recent->entry;
        request.version = recent->entry.version;
    }
    *ret_end = request.version;
    return encode(ctl, &request);
}

/* The image as it is. Only while nothing is on its way through Raft: a broker must never see what
 * may be undone. */
static struct buf *
encode_image(const struct ctl *ctl)
{
    struct arena arena;
    struct err_msg err;
    struct metadata_entry entry;
    struct buf *image = snapshot_encode(ctl);
    arena_init(&arena, SIZE_MAX);
    dmq_err code = msg_decode(desc_metadata_entry(), 0, buf_bytes(image), &arena, &entry, &err);
    DMQ_ASSERT(code == DMQ_OK);
    struct push_metadata_request request = {
        .snapshot = true, .version = ctl->version, .entries = &entry, .entries_count = 1};
    struct buf *body = encode(ctl, &request);
    arena_deinit(&arena);
    buf_unref(image);
    return body;
}

/* Another reference to what was made for the same need; NULL: nothing was. */
static struct buf *
find_shared(const struct ctl *ctl, const struct shared_push *shared, int64_t from, int64_t *ret_end)
{
    bool same = shared->body != NULL && shared->from == from && shared->version == ctl->version &&
                shared->term == ctl->leading_term;
    if (!same) {
        return NULL;
    }
    *ret_end = shared->end;
    return buf_ref(shared->body);
}

static void
keep_shared(const struct ctl *ctl, struct shared_push *shared, struct buf *body, int64_t from,
            int64_t end)
{
    drop_shared(shared);
    *shared = (struct shared_push){.body = buf_ref(body),
                                   .from = from,
                                   .end = end,
                                   .version = ctl->version,
                                   .term = ctl->leading_term};
}

static struct buf *
share_range(struct ctl *ctl, int64_t from, int64_t *ret_end)
{
    struct buf *body = find_shared(ctl, &ctl->shared_range, from, ret_end);
    if (body == NULL) {
        body = encode_range(ctl, from, ret_end);
        keep_shared(ctl, &ctl->shared_range, body, from, *ret_end);
    }
    return body;
}

static struct buf *
share_image(struct ctl *ctl, int64_t *ret_end)
{
    struct buf *body = find_shared(ctl, &ctl->shared_image, 0, ret_end);
    if (body == NULL) {
        body = encode_image(ctl);
        keep_shared(ctl, &ctl->shared_image, body, 0, ctl->version);
    }
    return body;
}

/* The next push to a broker; NULL if it lacks nothing, or the snapshot that it needs must wait for
 * the entry in flight, which the image holds already. */
static struct buf *
next_push(struct ctl *ctl, const struct session *session, int64_t *ret_end)
{
    int64_t acked = session->acked_version;
    *ret_end = ctl->version;
    if (acked == -1) {
        return share_range(ctl, ctl->version, ret_end); /* empty: a question */
    }
    if (acked == ctl->version && !session->digest_wrong) {
        return NULL;
    }
    bool kept = ctl->recent_count > 0 && recent_at(ctl, 0)->entry.version <= acked + 1;
    if (kept && !session->digest_wrong) {
        return share_range(ctl, acked, ret_end);
    }
    return ctl->batch.state == BATCH_WRITING ? NULL : share_image(ctl, ret_end);
}

/* One push at a time and broker: its answer decides what comes next, and a slow broker never
 * gathers a queue of them. */
static void
push_one(struct ctl *ctl, struct session *session)
{
    if (!session->peer_up || session->push_number != 0 || session->push_after_ms > ctl->now_ms) {
        return;
    }
    int64_t end;
    struct buf *body = next_push(ctl, session, &end);
    if (body == NULL) {
        return;
    }
    session->push_number = ++ctl->last_push;
    session->push_base = session->acked_version;
    session->push_end = end;
    ctl->stats.pushes++;
    struct ctl_effect *effect = ctl_emit(ctl, CTL_PUSH);
    effect->u.push.broker_id = session->broker_id;
    effect->u.push.number = session->push_number;
    effect->u.push.body = body;
    effect->u.push.timeout_ms = PUSH_TIMEOUT_MS;
}

void
push_all(struct ctl *ctl)
{
    bool any = false;
    for (size_t i = 0; i < ctl->session_count; i++) {
        push_one(ctl, &ctl->sessions[i]);
        any |= ctl->sessions[i].push_number != 0;
    }
    if (!any) {
        push_end_all(ctl);
    }
}

/* ---- what came of it ------------------------------------------------------------------------- */

/* An answer counts as a heartbeat. */
static dmq_err
take_answer(struct ctl *ctl, struct session *session, struct bytes body, struct err_msg *err)
{
    struct arena arena;
    struct push_metadata_response response;
    arena_init(&arena, 65536);
    dmq_err code = msg_decode(desc_push_metadata_response(), 0, body, &arena, &response, err);
    if (code == DMQ_OK && response.status.broker_id != session->broker_id) {
        code = err_set(err, DMQ_ERR_WRONG_NODE, "broker %" PRId32 " answered",
                       response.status.broker_id);
    }
    if (code == DMQ_OK) {
        code = session_take_status(ctl, &response.status, err);
    }
    bool stuck =
        session->acked_version == session->push_base && session->acked_version < session->push_end;
    if (code == DMQ_OK && stuck) {
        session->push_after_ms = ctl->now_ms + PUSH_RETRY_MS; /* not at once again */
    }
    arena_deinit(&arena);
    return code;
}

void
push_on_done(struct ctl *ctl, const struct ctl_event *event)
{
    struct err_msg err = {.text = ""};
    struct session *session = session_find(ctl, event->u.pushed.broker_id);
    if (session == NULL || session->push_number != event->u.pushed.number) {
        return; /* of a former incarnation */
    }
    session->push_number = 0;
    dmq_err code = event->u.pushed.err;
    if (code == DMQ_OK) {
        code = take_answer(ctl, session, event->u.pushed.body, &err);
    }
    if (code == DMQ_ERR_BROKER_ID_NOT_REGISTERED) {
        /* It had not heard yet that it is registered. Its heartbeat follows, or came already, and
         * the push follows that. */
        bool heard = session->acked_version != -1;
        session->push_after_ms = heard ? ctl->now_ms : ctl->now_ms + PUSH_RETRY_MS;
    } else if (code != DMQ_OK) {
        ctl->stats.pushes_failed++;
        session->push_after_ms = ctl->now_ms + PUSH_RETRY_MS;
        ctl_log(ctl, false, "push_failed broker=%" PRId32 " error=%s text=\"%s\"",
                session->broker_id, err_name(code), err.text);
    }
    push_all(ctl);
}

int64_t
push_deadline(const struct ctl *ctl)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < ctl->session_count; i++) {
        const struct session *session = &ctl->sessions[i];
        bool waits = session->peer_up && session->push_number == 0 &&
                     session->push_after_ms > ctl->now_ms &&
                     (session->acked_version != ctl->version || session->digest_wrong);
        if (waits && session->push_after_ms < deadline) {
            deadline = session->push_after_ms;
        }
    }
    return deadline;
}
