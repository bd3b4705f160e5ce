#include "broker/core/call.h"
#include "broker/core/partition.h"

/* FETCH: what is there is answered at once, from the hot tail or through a reader; what is not is
 * waited for. A long poll parks on every partition's high watermark and looks again when one
 * moves.
 *
 * Consumers and followers differ in two things only. A consumer reads below the high watermark, and
 * nothing above it, ever: what is not safe yet may be cut off by the next leader, and an offset
 * that was read must not change. A follower reads up to the log's end, at the node port alone, and
 * what it asks for tells what it has.
 *
 * A call goes through survey (what is there?), then either parks or collects, and is looked at from
 * the beginning each time that it wakes: between two looks partitions move, change leaders and
 * vanish, so nothing that points at them is kept. Once a reader was asked, the rest of the answer
 * is fixed and waits for the disk alone. */

/* A batch of the hot tail that is at least so large is sent alone, from the memory in which it
 * came: copying it together with its neighbours would cost more than another fetch. */
#define ALONE_BYTES (128 * 1024)

struct fetch_part {
    struct fetch_result result;
    struct partition *p; /* valid within one step; NULL: an error */
    struct buf *data;    /* the attachment; NULL: none */
    bool reading;        /* a reader was asked */
    bool told;           /* the replica has heard of this follower's fetch: kept over looks */
    int64_t told_hw;     /* high watermark that this follower knows of */
};

/* A follower hears of a high watermark that rose with the next batches, or so much later: it may
 * lead next, and what is safe is to be readable there at once. */
#define TELL_HW_MS 20

/* A consumer reads what is safe; a follower what there is, for its copy makes it safe. */
static int64_t
limit_of(const struct call *call, const struct partition *p)
{
    const struct fetch_request *request = call->request;
    return request->replica_id < 0 ? p->replica.high_watermark : plog_end(p->log);
}

void
fetch_free_parts(struct call *call)
{
    const struct fetch_request *request = call->request;
    for (uint32_t i = 0; call->u.fetch != NULL && i < request->partitions_count; i++) {
        buf_unref(call->u.fetch[i].data);
        call->u.fetch[i].data = NULL;
    }
}

static void
set_error(struct call *call, struct fetch_part *part, dmq_err err, const char *text)
{
    DMQ_ASSERT(err != DMQ_OK);
    part->p = NULL;
    part->result.error = err;
    part->result.message = call_text(call, text);
}

/* Answers with what the parts hold. */
static void
answer(struct brk *brk, struct call *call)
{
    const struct fetch_request *request = call->request;
    uint32_t count = request->partitions_count;
    struct fetch_result *results = arena_alloc(&call->arena, count * sizeof(*results));
    struct buf **attachments = arena_alloc(&call->arena, count * sizeof(*attachments));
    DMQ_ASSERT(results != NULL && attachments != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct fetch_part *part = &call->u.fetch[i];
        results[i] = part->result;
        attachments[i] = part->data != NULL ? part->data : buf_new(0);
        DMQ_ASSERT(attachments[i] != NULL);
        part->data = NULL;
    }
    const struct fetch_response response = {.partitions = results, .partitions_count = count};
    call_answer(brk, call, &response, attachments, count);
}

/* A consumer that lost its place must choose a new one by itself: it is told where it could. */
static void
out_of_range(struct call *call, struct fetch_part *part, const struct partition *p, int64_t offset)
{
    struct err_msg err;
    err_set(&err, DMQ_ERR_OFFSET_OUT_OF_RANGE, "%s has offsets %lld to %lld, not %lld", p->label,
            (long long)plog_start(p->log), (long long)p->replica.high_watermark, (long long)offset);
    part->result.log_start_offset = plog_start(p->log); /* it tells on which side it is */
    set_error(call, part, err.code, err.text);
}

/* What our log says of the epoch of the record before `end`: that with which a follower's log ends,
 * or up to which a consumer has read. Retention takes epochs as well:
 *
 *   a log that holds nothing           has nothing that could be another than ours
 *   one that ends where ours begins    what epoch the record before our first had we may not know
 *                                      any more. All below a log start was safe: it may follow (as
 *                                      in Kafka)
 *   one that ends below                is out of range, and nothing else is said of it */
static struct replica_epoch_end
our_end_of(const struct plog *log, int32_t epoch, int64_t end)
{
    struct replica_epoch_end ours = {-1, plog_start(log)};
    if (epoch < 0) {
        return (struct replica_epoch_end){-1, plog_end(log)};
    }
    ours.epoch = plog_end_of_epoch(log, epoch, &ours.end);
    if (ours.epoch < 0 && end <= ours.end) {
        ours.epoch = epoch;
    }
    return ours;
}

static void
tell_divergence(struct fetch_part *part, struct replica_epoch_end ours)
{
    part->result.diverging_epoch = ours.epoch;
    part->result.diverging_end = ours.end;
    part->p = NULL;
}

/* A consumer that says what it has read last hears whether that is still so (trap 8): where
 * durability is async, or after an unclean election, our log may be another one by now. Not from a
 * damaged log, which has lost its end. */
static bool
consumer_diverges(struct fetch_part *part, const struct fetch_partition *from)
{
    const struct plog *log = part->p->log;
    if (from->last_fetched_epoch < 0 || part->p->state != PARTITION_OPEN) {
        return false;
    }
    struct replica_epoch_end ours = our_end_of(log, from->last_fetched_epoch, from->fetch_offset);
    if (ours.epoch == from->last_fetched_epoch && ours.end >= from->fetch_offset) {
        return false;
    }
    tell_divergence(part, ours);
    return true;
}

/* What is left of a damaged log ends somewhere by chance: that is no end at which more is waited
 * for, and no reason for a consumer that has read more to look for another place. */
static bool
is_beyond_damage(const struct partition *p, int64_t offset)
{
    return p->state == PARTITION_DAMAGED && offset >= plog_end(p->log);
}

/* What is left of a damaged log is no reason for a follower to cut its own: it hears nothing of it.
 *
 * A follower's fetch offset is evidence: the replica hears of it, once, before anything is
 * answered. Not again when the call wakes: its ends were true when it was sent, and the process
 * that sent it may have been replaced since (trap 17). False if there is nothing to send: its log
 * diverges, or it is refused.
 *
 * What our log says of its last epoch goes along (KIP-595): an answer by a request of its own could
 * be of another leader than the batches are (trap 3). */
static bool
tell_replica(struct brk *brk, struct call *call, uint32_t index)
{
    const struct fetch_request *request = call->request;
    const struct fetch_partition *from = &request->partitions[index];
    struct fetch_part *part = &call->u.fetch[index];
    struct replica_effects effects;
    struct replica_event event = {.kind = REPLICA_FETCHED};
    if (part->told) {
        return true;
    }
    part->told = true;
    struct replica_fetched *fetched = &event.u.fetched;
    *fetched = (struct replica_fetched){.follower = request->replica_id,
                                        .broker_epoch = request->broker_epoch,
                                        .leader_epoch = from->leader_epoch,
                                        .last_epoch = from->last_fetched_epoch,
                                        .end = from->log_end,
                                        .synced_end = from->synced_end};
    fetched->ours = our_end_of(part->p->log, from->last_fetched_epoch, from->log_end);
    partition_step(brk, part->p, event, &effects);
    /* A follower without holes asks from its end; any other place would count what it lacks. */
    if (effects.err != DMQ_OK || from->log_end != from->fetch_offset) {
        set_error(call, part, effects.err != DMQ_OK ? effects.err : DMQ_ERR_INVALID_REQUEST,
                  "the follower is not known like that here");
        return false;
    }
    part->told_hw = effects.told_hw;
    if (effects.diverges) {
        tell_divergence(part, effects.theirs);
    }
    return !effects.diverges;
}

/* Looks at one partition; returns how many bytes it has for the asker, at least if `enough`. */
static size_t
survey(struct brk *brk, struct call *call, uint32_t index, size_t enough)
{
    const struct fetch_request *request = call->request;
    const struct fetch_partition *from = &request->partitions[index];
    struct fetch_part *part = &call->u.fetch[index];
    struct err_msg err;
    *part = (struct fetch_part){.told = part->told,
                                .told_hw = part->told_hw,
                                .result = {.topic_id = from->topic_id,
                                           .partition = from->partition,
                                           .high_watermark = -1,
                                           .last_stable_offset = -1,
                                           .log_start_offset = -1,
                                           .leader_epoch = -1,
                                           .diverging_epoch = -1,
                                           .diverging_end = -1}};
    dmq_err failed =
        partition_locate(brk, from->topic_id, from->partition, from->leader_epoch, &part->p, &err);
    if (failed != DMQ_OK) {
        set_error(call, part, failed, err.text);
        return 0;
    }
    if (request->replica_id >= 0 && part->p->state != PARTITION_OPEN) {
        set_error(call, part, DMQ_ERR_DAMAGED, part->p->why);
        return 0;
    }
    if (request->replica_id >= 0 && !tell_replica(brk, call, index)) {
        return enough; /* at once: it must cut its log before anything else (trap 4) */
    }
    const struct partition *p = part->p;
    part->result.high_watermark = p->replica.high_watermark;
    part->result.last_stable_offset = p->replica.high_watermark;
    part->result.log_start_offset = plog_start(p->log);
    part->result.leader_epoch = p->replica.leader_epoch;
    if (is_beyond_damage(p, from->fetch_offset)) {
        set_error(call, part, repair_told_reader(brk, p), p->why);
        return 0;
    }
    bool below = from->fetch_offset < plog_start(p->log);
    if (!below && request->replica_id < 0 && consumer_diverges(part, from)) {
        return enough;
    }
    if (below || from->fetch_offset > plog_end(p->log)) {
        out_of_range(call, part, p, from->fetch_offset);
        return 0;
    }
    return plog_available(p->log, from->fetch_offset, limit_of(call, p), enough);
}

/* The batches of a hot read as one frame: the very buffer of the producer where that is one
 * batch. */
static struct buf *
hot_frame(const struct plog_read *read)
{
    const struct buf *first = read->parts[0].buf;
    if (read->parts[0].size == first->size && (read->count == 1 || first->size >= ALONE_BYTES)) {
        return buf_ref(read->parts[0].buf);
    }
    struct buf *frame = buf_new(read->bytes);
    DMQ_ASSERT(frame != NULL);
    size_t at = 0;
    for (size_t i = 0; i < read->count; i++) {
        memcpy(frame->data + at, read->parts[i].buf->data + read->parts[i].from,
               read->parts[i].size);
        at += read->parts[i].size;
    }
    DMQ_ASSERT(at == read->bytes);
    return frame;
}

/* Reads one partition, or asks a reader to. Returns the bytes that this uses of the answer. */
static size_t
collect(struct brk *brk, struct call *call, uint32_t index, uint32_t budget)
{
    const struct fetch_request *request = call->request;
    const struct fetch_partition *from = &request->partitions[index];
    struct fetch_part *part = &call->u.fetch[index];
    struct plog_read read;
    uint32_t most = from->max_bytes > 0 ? (uint32_t)from->max_bytes : 0;
    most = most < budget ? most : budget;
    dmq_err err = plog_read(part->p->log, from->fetch_offset, limit_of(call, part->p), most, &read);
    DMQ_ASSERT(err == DMQ_OK);
    if (!read.hot) {
        part->reading = true;
        watch_id(brk, call, WATCH_EFFECT, index, brk_disk(brk, read.op));
        return most;
    }
    if (read.count == 0) {
        return 0;
    }
    part->data = hot_frame(&read);
    return part->data->size;
}

/* In the order of the request, which a client rotates: so every partition has its turn, although
 * the budget may be used up before the last. The first that has anything gives a batch whatever the
 * budget says: a batch above max_bytes could never be read otherwise. */
static void
collect_all(struct brk *brk, struct call *call)
{
    const struct fetch_request *request = call->request;
    size_t left = request->max_bytes > 0 ? (size_t)request->max_bytes : 0;
    bool any = false;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct fetch_part *part = &call->u.fetch[i];
        if (part->p == NULL || request->partitions[i].fetch_offset >= limit_of(call, part->p) ||
            (any && left == 0)) {
            continue;
        }
        size_t used = collect(brk, call, i, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
        left -= used < left ? used : left;
        any = true;
    }
    if (call->watch_count == 0) {
        answer(brk, call);
    } else {
        call_park(brk, call, call->answer_by_ms);
    }
}

/* Waits for the high watermark of any of the partitions, or for its end. */
static void
park(struct brk *brk, struct call *call, int64_t until_ms)
{
    const struct fetch_request *request = call->request;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        watch_partition(brk, call, request->replica_id < 0 ? WATCH_DATA : WATCH_END, i,
                        call->u.fetch[i].p, 0);
    }
    call_park(brk, call, until_ms);
}

/* Whether a follower does not know yet what is safe. */
static bool
owes_hw(const struct call *call)
{
    const struct fetch_request *request = call->request;
    for (uint32_t i = 0; request->replica_id >= 0 && i < request->partitions_count; i++) {
        const struct fetch_part *part = &call->u.fetch[i];
        if (part->p != NULL && part->p->replica.high_watermark > part->told_hw) {
            return true;
        }
    }
    return false;
}

/* How long there may be nothing to send. Counted from the arrival, so that looking again does not
 * wait anew. */
static int64_t
poll_deadline(const struct call *call)
{
    const struct fetch_request *request = call->request;
    int64_t wait_ms = request->max_wait_ms > 0 ? request->max_wait_ms : 0;
    wait_ms = owes_hw(call) && wait_ms > TELL_HW_MS ? TELL_HW_MS : wait_ms;
    int64_t until = call->arrived_ms + wait_ms;
    return until < call->answer_by_ms ? until : call->answer_by_ms;
}

/* Answers if there is enough, or an error, or no time left; else waits. An error is worth an answer
 * by itself: whoever waits here for one partition would not hear that another has moved away. */
static void
try_fetch(struct brk *brk, struct call *call)
{
    const struct fetch_request *request = call->request;
    size_t enough = request->min_bytes > 0 ? (size_t)request->min_bytes : 0;
    size_t available = 0;
    bool failed = false;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        available += survey(brk, call, i, enough);
        failed = failed || call->u.fetch[i].result.error != DMQ_OK;
    }
    int64_t until = poll_deadline(call);
    if (failed || available >= enough || until <= brk->now_ms) {
        collect_all(brk, call);
    } else {
        park(brk, call, until);
    }
}

void
on_fetch(struct brk *brk, struct call *call)
{
    const struct fetch_request *request = call->request;
    if (request->replica_id >= 0 && call->listener == LISTENER_CLIENT) {
        call_fail(brk, call, DMQ_ERR_CLUSTER_DENIED, "followers fetch at the node port");
        return;
    }
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct fetch_partition *from = &request->partitions[i];
        struct partition *p;
        struct err_msg err;
        dmq_err failed =
            partition_locate(brk, from->topic_id, from->partition, from->leader_epoch, &p, &err);
        if (partition_may_come(failed) &&
            call_stall(brk, call, failed != DMQ_ERR_LEADER_NOT_AVAILABLE)) {
            return;
        }
    }
    call->u.fetch = arena_alloc(&call->arena, request->partitions_count * sizeof(*call->u.fetch));
    DMQ_ASSERT(call->u.fetch != NULL);
    memset(call->u.fetch, 0, request->partitions_count * sizeof(*call->u.fetch));
    try_fetch(brk, call);
}

/* Something moved, or a partition was lost: look again at all of them. */
void
fetch_on_watch(struct brk *brk, struct call *call)
{
    watch_cancel_all(brk, call);
    try_fetch(brk, call);
}

/* The time is over. Where a reader is at work, its completion would find the call gone, and half an
 * answer looks like the end of the log: so it is an error. */
void
fetch_on_deadline(struct brk *brk, struct call *call)
{
    const struct fetch_request *request = call->request;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        if (call->u.fetch[i].reading) {
            call_fail(brk, call, DMQ_ERR_REQUEST_TIMED_OUT,
                      "the disk did not answer within the time given");
            return;
        }
    }
    watch_cancel_all(brk, call);
    try_fetch(brk, call);
}

/* What a reader could not read; or what retention has removed meanwhile. */
static void
read_failed(struct brk *brk, struct call *call, uint32_t index, const struct disk_done *done)
{
    const struct fetch_request *request = call->request;
    const struct fetch_partition *from = &request->partitions[index];
    struct partition *p = partition_find(brk, from->topic_id, from->partition);
    if (p != NULL && p->log != NULL && from->fetch_offset < plog_start(p->log)) {
        out_of_range(call, &call->u.fetch[index], p, from->fetch_offset);
        return;
    }
    set_error(call, &call->u.fetch[index], repair_found_by_read(brk, p, done), done->text);
}

void
fetch_on_disk(struct brk *brk, struct call *call, uint32_t index, struct disk_done *done)
{
    struct fetch_part *part = &call->u.fetch[index];
    DMQ_ASSERT(part->reading && part->data == NULL);
    part->reading = false;
    if (done->err == DMQ_OK) {
        part->data = done->u.data;
    } else {
        read_failed(brk, call, index, done);
    }
    if (call->watch_count == 0) {
        answer(brk, call);
    }
}
