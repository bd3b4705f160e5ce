/* What this broker follows. One fetch at a time is on its way to each leader, for all partitions
 * that follow it (Kafka's model); it is parked there until something is appended. The next one
 * leaves in the step that takes the answer: a follower never waits for its own sync. What is synced
 * meanwhile is told by REPLICA_PROGRESS.
 *
 *   role FOLLOWER -> linked to its leader's struct follow -> in each FETCH but while it is cut or
 *   has just failed -> ANSWERED -> its batches are checked and appended, or its log is cut
 *
 * Nothing that a leader sends is believed: batches are checked whole, and must follow our end with
 * epochs that do not fall and are not above the leader's own. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

#define MAX_PARTITIONS 1000 /* of one fetch: an answer has a frame for each */
#define MAX_WAIT_MS 250
#define ANSWER_MS 10000 /* a leader that is alive answers by then */
#define MAX_BYTES (16 << 20)
#define MAX_PARTITION_BYTES (1 << 20)
#define RETRY_MS 50
#define ANSWER_ARENA_BYTES (8 * 1024 * 1024)

/* What was asked of one partition. */
struct asked {
    uint32_t number; /* of its log */
    int32_t leader_epoch;
    int64_t end;
};

struct follow {
    int32_t broker_id;
    char host[256]; /* of its node port, as the image has it */
    int32_t port;
    bool up;
    int64_t tag; /* of the fetch on its way; 0: none */
    struct asked *asked;
    uint32_t asked_count;
    bool owes_progress; /* one of the partitions may owe it */
    struct list partitions;
    UT_hash_handle hh;
};

/* ---- who follows whom ------------------------------------------------------------------------ */

static const struct endpoint *
node_endpoint(const struct brk *brk, int32_t broker_id)
{
    const struct broker_record *broker = image_broker(brk->image, broker_id);
    for (uint32_t i = 0; broker != NULL && i < broker->endpoints_count; i++) {
        if (bytes_equal_str(broker->endpoints[i].listener, "node")) {
            return &broker->endpoints[i];
        }
    }
    return NULL;
}

/* Connects to where the image says that the leader is, if that is news. */
static void
connect_to(struct brk *brk, struct follow *follow)
{
    const struct endpoint *at = node_endpoint(brk, follow->broker_id);
    if (at == NULL || (at->port == follow->port && bytes_equal_str(at->host, follow->host))) {
        return;
    }
    snprintf(follow->host, sizeof(follow->host), "%.*s", (int)at->host.size,
             (const char *)at->host.data);
    follow->port = at->port;
    follow->up = false;
    follow->tag = 0;
    struct brk_effect *effect = brk_emit(brk, BRK_PEER_CONNECT);
    effect->u.connect.broker_id = follow->broker_id;
    memcpy(effect->u.connect.host, follow->host, sizeof(follow->host));
    effect->u.connect.port = follow->port;
}

static struct follow *
follow_of(struct brk *brk, int32_t broker_id)
{
    struct follow *follow;
    HASH_FIND(hh, brk->follows, &broker_id, sizeof(broker_id), follow);
    if (follow == NULL) {
        follow = brk_alloc(sizeof(*follow));
        follow->broker_id = broker_id;
        follow->port = -1;
        follow->asked = brk_alloc(MAX_PARTITIONS * sizeof(*follow->asked));
        list_init(&follow->partitions);
        HASH_ADD(hh, brk->follows, broker_id, sizeof(broker_id), follow);
    }
    connect_to(brk, follow);
    return follow;
}

void
follow_forget(struct partition *p)
{
    list_remove(&p->follow_link);
    p->follow = NULL;
    p->owes_progress = false;
}

void
follow_update(struct brk *brk, struct partition *p)
{
    const struct replica *replica = &p->replica;
    int32_t leader = replica->role == REPLICA_FOLLOWER ? replica->leader : -1;
    if (replica->role == REPLICA_LEADER && replica->peer_count > 1 &&
        brk->replica_tick_ms == INT64_MAX) {
        brk->replica_tick_ms = brk->now_ms;
    }
    if (p->follow != NULL && p->follow->broker_id != leader) {
        follow_forget(p);
    }
    if (p->follow == NULL && leader >= 0) {
        p->follow = follow_of(brk, leader);
        p->follow_due_ms = 0;
        list_append(&p->follow->partitions, &p->follow_link);
    }
}

void
follow_owe_progress(struct partition *p)
{
    p->owes_progress = true;
    if (p->follow != NULL) {
        p->follow->owes_progress = true;
    }
}

void
follow_image_changed(struct brk *brk)
{
    for (struct follow *follow = brk->follows; follow != NULL; follow = follow->hh.next) {
        connect_to(brk, follow);
    }
}

void
follow_free_all(struct brk *brk)
{
    struct follow *follow;
    struct follow *next;
    HASH_ITER (hh, brk->follows, follow, next) {
        HASH_DEL(brk->follows, follow);
        free(follow->asked);
        free(follow);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void
send_to(struct brk *brk, const struct follow *follow, int api_key, const void *body, bool one_way)
{
    const struct api_desc *api = api_find(api_key);
    struct buf *frame = msg_encode_buf(api->request(), api->max_version, body);
    DMQ_ASSERT(frame != NULL && follow->up);
    struct brk_effect *effect = brk_emit(brk, BRK_PEER_SEND);
    effect->u.send.peer = follow->broker_id;
    effect->u.send.one_way = one_way;
    effect->u.send.tag = ++brk->last_tag;
    effect->u.send.api_key = api->key;
    effect->u.send.body = frame;
    effect->u.send.timeout_ms = ANSWER_MS;
    effect->u.send.metadata_version = image_version(brk->image);
}

/* A log that is cut or failed is left out, and one that failed to follow waits a little. One that
 * is damaged goes on with the leader that knows it until that is done with it. */
static bool
may_ask(struct brk *brk, const struct partition *p)
{
    if (p->state != PARTITION_OPEN || !replica_wants_fetch(&p->replica) || p->stuck_count > 0) {
        return false;
    }
    if (repair_is_damaged(p) && p->replica.leader_epoch > p->told_epoch) {
        return false; /* no other leader is to hear of this log */
    }
    if (p->follow_due_ms > brk->now_ms && p->follow_due_ms < brk->follow_retry_ms) {
        brk->follow_retry_ms = p->follow_due_ms;
    }
    return p->follow_due_ms <= brk->now_ms;
}

static struct fetch_partition
question(struct follow *follow, struct partition *p)
{
    const struct replica *replica = &p->replica;
    bool holds_any = plog_end(p->log) > plog_start(p->log); /* else it ends with no epoch */
    follow->asked[follow->asked_count++] =
        (struct asked){p->number, replica->leader_epoch, replica->end};
    p->owes_progress = false;
    p->told_epoch = replica->leader_epoch;
    return (struct fetch_partition){.topic_id = p->key.topic_id,
                                    .partition = p->key.partition,
                                    .leader_epoch = replica->leader_epoch,
                                    .fetch_offset = replica->end,
                                    .max_bytes = MAX_PARTITION_BYTES,
                                    .last_fetched_epoch = holds_any ? plog_last_epoch(p->log) : -1,
                                    .log_end = replica->end,
                                    .synced_end = replica->synced_end};
}

/* Those that were asked for go to the end of the list: if there are too many for one fetch, the
 * others come next, at once. */
static void
ask(struct brk *brk, struct follow *follow)
{
    struct fetch_partition *partitions = brk_alloc(MAX_PARTITIONS * sizeof(*partitions));
    struct list later;
    struct list *link;
    bool more = false;
    list_init(&later);
    follow->asked_count = 0;
    while (!more && (link = list_pop(&follow->partitions)) != NULL) {
        struct partition *p = LIST_ENTRY(link, struct partition, follow_link);
        list_append(&later, link);
        if (may_ask(brk, p)) {
            partitions[follow->asked_count] = question(follow, p);
        }
        more = follow->asked_count == MAX_PARTITIONS;
    }
    more = more && !list_empty(&follow->partitions);
    while ((link = list_pop(&later)) != NULL) {
        list_append(&follow->partitions, link);
    }
    const struct fetch_request request = {.replica_id = brk->config.broker_id,
                                          .broker_epoch = brk->broker_epoch,
                                          .max_wait_ms = more ? 0 : MAX_WAIT_MS,
                                          .min_bytes = 1,
                                          .max_bytes = MAX_BYTES,
                                          .partitions = partitions,
                                          .partitions_count = follow->asked_count};
    if (follow->asked_count > 0) {
        send_to(brk, follow, API_FETCH, &request, false);
        follow->tag = brk->last_tag;
    }
    free(partitions);
}

static void
tell_progress(struct brk *brk, struct follow *follow)
{
    struct replica_progress_partition *told = brk_alloc(MAX_PARTITIONS * sizeof(*told));
    uint32_t count = 0;
    LIST_FOREACH (link, &follow->partitions) {
        struct partition *p = LIST_ENTRY(link, struct partition, follow_link);
        if (!p->owes_progress || p->state != PARTITION_OPEN || count == MAX_PARTITIONS) {
            continue;
        }
        p->owes_progress = false;
        told[count++] = (struct replica_progress_partition){.topic_id = p->key.topic_id,
                                                            .partition = p->key.partition,
                                                            .leader_epoch = p->replica.leader_epoch,
                                                            .log_end = p->replica.end,
                                                            .synced_end = p->replica.synced_end};
    }
    follow->owes_progress = count == MAX_PARTITIONS;
    const struct replica_progress_request request = {.replica_id = brk->config.broker_id,
                                                     .broker_epoch = brk->broker_epoch,
                                                     .partitions = told,
                                                     .partitions_count = count};
    if (count > 0) {
        send_to(brk, follow, API_REPLICA_PROGRESS, &request, true);
    }
    free(told);
}

/* Only what this process is registered for: an image from before the start still has the epoch of
 * the former one. */
static bool
may_follow(const struct brk *brk)
{
    return lifecycle_is_registered(brk) && !brk->folder_offline && !brk->disk_full;
}

void
follow_emit(struct brk *brk)
{
    if (brk->follows == NULL || !may_follow(brk)) {
        return;
    }
    for (struct follow *follow = brk->follows; follow != NULL; follow = follow->hh.next) {
        if (!follow->up || list_empty(&follow->partitions)) {
            continue;
        }
        if (follow->tag == 0) {
            ask(brk, follow);
        } else if (follow->owes_progress) {
            tell_progress(brk, follow);
        }
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
back_off(struct brk *brk, struct partition *p, dmq_err err, const char *text)
{
    p->follow_due_ms = brk->now_ms + RETRY_MS;
    brk_log(brk, false, "event=fetch_failed partition=%s error=%s text=\"%s\"", p->label,
            err_name(err), text);
}

static dmq_err
check_batch(const struct partition *p, struct bytes batch, struct batch_header *ret_header,
            struct err_msg *err)
{
    const struct batch_limits limits = {.max_bytes = 0, .from_client = false};
    dmq_err failed = batch_check(batch, &limits, err, ret_header);
    if (failed != DMQ_OK) {
        return failed;
    }
    if (ret_header->base_offset != plog_end(p->log)) {
        return err_set(err, DMQ_ERR_CORRUPT_BATCH, "offset %lld came where %lld follows",
                       (long long)ret_header->base_offset, (long long)plog_end(p->log));
    }
    if (ret_header->leader_epoch < plog_last_epoch(p->log) ||
        ret_header->leader_epoch > p->replica.leader_epoch) {
        return err_set(err, DMQ_ERR_CORRUPT_BATCH, "epoch %d cannot follow epoch %d",
                       ret_header->leader_epoch, plog_last_epoch(p->log));
    }
    return DMQ_OK;
}

static void
append_all(struct brk *brk, struct partition *p, struct buf *frame)
{
    struct bytes rest = buf_bytes(frame);
    struct bytes batch;
    struct batch_header header;
    struct err_msg err;
    dmq_err failed;
    while ((failed = batch_next(&rest, &batch)) == DMQ_OK) {
        failed = check_batch(p, batch, &header, &err);
        if (failed != DMQ_OK) {
            back_off(brk, p, failed, err.text);
            return;
        }
        const struct plog_batch from = {
            .buf = frame, .from = (size_t)(batch.data - frame->data), .header = &header};
        partition_append_fetched(brk, p, &from);
    }
    if (failed != DMQ_ERR_END) {
        back_off(brk, p, failed, "what the leader sent is not whole batches");
    }
}

static struct replica_answered
answered_of(const struct partition *p, const struct asked *asked, const struct fetch_result *result)
{
    struct replica_answered answered = {.leader_epoch = asked->leader_epoch,
                                        .asked_end = asked->end,
                                        .high_watermark = result->high_watermark,
                                        .diverges = result->diverging_end >= 0,
                                        .theirs = {result->diverging_epoch, result->diverging_end},
                                        .ours = {-1, plog_start(p->log)}};
    if (answered.diverges) {
        answered.ours.epoch =
            plog_end_of_epoch(p->log, result->diverging_epoch, &answered.ours.end);
    }
    return answered;
}

/* Its log ends before the leader's begins. Whoever is in the ISR or the ELR has all that is safe,
 * and the leader removes nothing else: then it is mistaken, or our image is behind. */
static void
take_below_start(struct brk *brk, struct partition *p, const struct asked *asked,
                 const struct fetch_result *result)
{
    struct replica_effects effects = {.err = DMQ_ERR_STALE_METADATA};
    struct replica_event event = {.kind = REPLICA_BELOW_START};
    event.u.below = (struct replica_below_start){.leader_epoch = asked->leader_epoch,
                                                 .asked_end = asked->end,
                                                 .start = result->log_start_offset,
                                                 .high_watermark = result->high_watermark};
    if (!partition_may_lead(brk, p)) {
        partition_step(brk, p, event, &effects);
    }
    if (effects.err != DMQ_OK) {
        back_off(brk, p, effects.err, "the leader's log begins beyond the end of ours");
    }
}

/* Whether the leader's log parts from ours below where ours begins. What was there was safe, and so
 * is with every leader that was in sync: this one was elected uncleanly. Not even an empty log may
 * go on from there, for it would lack what the leader has written since at those offsets. */
static bool
parts_below_start(const struct partition *p, const struct asked *asked,
                  const struct fetch_result *result)
{
    const struct replica *replica = &p->replica;
    bool current = replica_wants_fetch(replica) && !replica->matched &&
                   asked->leader_epoch == replica->leader_epoch && asked->end == replica->end;
    return current && result->diverging_end >= 0 && result->diverging_end < plog_start(p->log);
}

/* Like a damaged log it is set aside and begins anew, once nobody counts on it. */
static void
take_foreign(struct brk *brk, struct partition *p, const struct fetch_result *result)
{
    if (!repair_is_damaged(p)) {
        brk_log(brk, true,
                "event=safe_records_lost partition=%s from=%lld high_watermark=%lld start=%lld "
                "text=\"the leader's log parts from this one below where it begins: the leader was "
                "elected uncleanly, this log is set aside\"",
                p->label, (long long)result->diverging_end, (long long)p->replica.high_watermark,
                (long long)plog_start(p->log));
        repair_found(brk, p);
    }
    back_off(brk, p, DMQ_ERR_CORRUPT_BATCH, "the leader's log is another one");
}

/* One partition of an answer. Anything may have become of it meanwhile. */
static void
take_result(struct brk *brk, struct follow *follow, const struct asked *asked,
            const struct fetch_result *result, struct buf *frame)
{
    struct partition *p = partition_by_number(brk, asked->number);
    struct replica_effects effects;
    if (p == NULL || p->follow != follow || p->state != PARTITION_OPEN ||
        !uuid_equal(p->key.topic_id, result->topic_id) || p->key.partition != result->partition) {
        return;
    }
    if (result->error == DMQ_ERR_OFFSET_OUT_OF_RANGE && result->log_start_offset > asked->end) {
        take_below_start(brk, p, asked, result);
        return;
    }
    if (result->error != DMQ_OK) {
        char text[200];
        snprintf(text, sizeof(text), "%.*s", (int)result->message.size,
                 (const char *)result->message.data);
        back_off(brk, p, result->error, text);
        return;
    }
    if (parts_below_start(p, asked, result)) {
        take_foreign(brk, p, result);
        return;
    }
    partition_step(brk, p,
                   (struct replica_event){.kind = REPLICA_ANSWERED,
                                          .u.answered = answered_of(p, asked, result)},
                   &effects);
    if (effects.append) {
        append_all(brk, p, frame);
    } else if (effects.err != DMQ_OK && effects.err != DMQ_ERR_STALE_METADATA) {
        char text[200];
        snprintf(text, sizeof(text),
                 "the leader's log has epoch %d up to %lld: that is no divergence from ours, which "
                 "ends with epoch %d at %lld",
                 result->diverging_epoch, (long long)result->diverging_end, plog_last_epoch(p->log),
                 (long long)plog_end(p->log));
        back_off(brk, p, effects.err, text);
    }
}

static dmq_err
decode(const struct brk_reply *reply, struct arena *arena, struct fetch_response *ret_response,
       struct err_msg *err)
{
    struct response_header header;
    if (reply->count == 0) {
        return err_set(err, reply->err, "%s", err_text(reply->err));
    }
    dmq_err failed =
        msg_decode(desc_response_header(), 0, buf_bytes(reply->frames[0]), arena, &header, err);
    if (failed == DMQ_OK && header.error != DMQ_OK) {
        return err_set(err, header.error, "%.*s", (int)header.message.size,
                       (const char *)header.message.data);
    }
    if (failed == DMQ_OK && reply->count < 2) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "answer has no body");
    }
    return failed != DMQ_OK ? failed
                            : msg_decode(desc_fetch_response(), 0, buf_bytes(reply->frames[1]),
                                         arena, ret_response, err);
}

static void
take_answer(struct brk *brk, struct follow *follow, const struct brk_reply *reply)
{
    struct fetch_response response;
    struct err_msg err;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_BYTES);
    dmq_err failed = decode(reply, &arena, &response, &err);
    if (failed == DMQ_OK && (response.partitions_count != follow->asked_count ||
                             reply->count != 2 + (size_t)follow->asked_count)) {
        failed = err_set(&err, DMQ_ERR_INVALID_REQUEST, "answers do not fit what was asked");
    }
    for (uint32_t i = 0; i < follow->asked_count; i++) {
        struct partition *p = partition_by_number(brk, follow->asked[i].number);
        if (failed == DMQ_OK) {
            take_result(brk, follow, &follow->asked[i], &response.partitions[i],
                        reply->frames[2 + i]);
        } else if (p != NULL && p->follow == follow) {
            p->follow_due_ms = brk->now_ms + RETRY_MS;
        }
    }
    if (failed != DMQ_OK) {
        brk_log(brk, false, "event=fetch_failed leader=%d error=%s text=\"%s\"", follow->broker_id,
                err_name(failed), err.text);
    }
    arena_deinit(&arena);
}

void
follow_on_reply(struct brk *brk, const struct brk_reply *reply)
{
    struct follow *follow = brk->follows;
    while (follow != NULL && (follow->tag != reply->tag || reply->tag == 0)) {
        follow = follow->hh.next;
    }
    if (follow != NULL) {
        follow->tag = 0;
        if (may_follow(brk)) {
            take_answer(brk, follow, reply);
        }
    }
    for (size_t i = 0; i < reply->count; i++) {
        buf_unref(reply->frames[i]);
    }
}

void
follow_on_link(struct brk *brk, int32_t broker_id, bool up)
{
    struct follow *follow;
    HASH_FIND(hh, brk->follows, &broker_id, sizeof(broker_id), follow);
    if (follow != NULL) {
        follow->up = up;
        follow->tag = 0;
    }
}

/* follow_emit does the rest, at the end of the step. */
void
follow_tick(struct brk *brk)
{
    if (brk->follow_retry_ms <= brk->now_ms) {
        brk->follow_retry_ms = INT64_MAX;
    }
}
