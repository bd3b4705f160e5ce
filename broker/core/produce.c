#include "broker/core/call.h"
#include "broker/core/partition.h"

/* PRODUCE, straight down: each batch is 1 checked, 2 found to be in sequence, 3 appended, 4 parked
 * until it is as safe as the asker wants, and the asker is 5 told when all of them are.
 *
 * Every error says which of two things is true, for by that a producer decides whether its retry
 * can write twice. Up to the append: surely not written. From there on: maybe written, for what has
 * an offset may be replicated, and so be found by a later leader, whatever becomes of this broker.
 * Nothing is taken back for one that gave up waiting.
 *
 * Partitions of a request have nothing to do with each other: each has its own error, and one that
 * is refused does not keep the others from being written. */

#define ACKS_ALL (-1)

static void
set_error(struct produce_result *result, struct call *call, dmq_err err, const char *text)
{
    DMQ_ASSERT(err != DMQ_OK);
    result->error = err;
    result->base_offset = -1;
    result->log_start_offset = -1;
    result->message = call_text(call, text);
}

static void
answer(struct brk *brk, struct call *call)
{
    const struct produce_request *request = call->request;
    const struct produce_response response = {.partitions = call->u.produce,
                                              .partitions_count = request->partitions_count};
    call_answer(brk, call, &response, NULL, 0);
}

/* Parks index of the call until the log is safe up to end, unless it is already.
 *
 *   acks=all  synced on every member of the ISR that may lead next, at least min ISR of them: that
 *             is what the high watermark means (durability=async: appended)
 *   acks=1    synced here; one that is elected later need not have it
 *   acks=0    appended: the application does not wait, but its client gets its credits back */
static void
await(struct brk *brk, struct call *call, uint32_t index, struct partition *p, int64_t end)
{
    const struct produce_request *request = call->request;
    if (request->acks == ACKS_ALL && p->replica.high_watermark < end) {
        watch_partition(brk, call, WATCH_HW, index, p, end);
    } else if (request->acks == 1 && !p->replica.async && p->replica.synced_end < end) {
        watch_partition(brk, call, WATCH_SYNCED, index, p, end);
    }
}

/* The checksum before anything else is believed, and the limits of the topic as they are now. The
 * records themselves are not looked at: what a client compressed, its consumers decompress. */
static dmq_err
check(const struct brk *brk, const struct partition *p, struct bytes batch,
      struct batch_header *ret_header, struct err_msg *err)
{
    const struct image_topic *topic = image_topic_by_id(brk->image, p->key.topic_id);
    const struct batch_limits limits = {.max_bytes = (size_t)topic->config.max_message_bytes,
                                        .from_client = true};
    if (p->state != PARTITION_OPEN) {
        return err_set(err, DMQ_ERR_STORAGE, "%s takes no writes: %s", p->label, p->why);
    }
    dmq_err failed = batch_check(batch, &limits, err, ret_header);
    if (failed == DMQ_OK && (ret_header->attributes & BATCH_TRANSACTIONAL) != 0) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "transactions are not supported yet");
    }
    return failed;
}

/* None of these wrote anything. An older one than the last five was answered long ago and cannot be
 * told from a new one with a wrong number, so it is no success (trap 32); a gap means that a batch
 * before it was refused or lost, and to write this one would turn their order round. */
static dmq_err
sequence_error(enum plog_sequence sequence, const struct batch_header *header, struct err_msg *err)
{
    switch (sequence) {
    case PLOG_OLD:
        return err_set(err, DMQ_ERR_DUPLICATE_SEQUENCE,
                       "sequence %d of producer %lld is older than the last five batches",
                       header->base_sequence, (long long)header->producer_id);
    case PLOG_GAP:
        return err_set(err, DMQ_ERR_OUT_OF_ORDER_SEQUENCE,
                       "sequence %d of producer %lld does not follow its last batch",
                       header->base_sequence, (long long)header->producer_id);
    case PLOG_FENCED:
        return err_set(err, DMQ_ERR_INVALID_PRODUCER_EPOCH,
                       "epoch %d of producer %lld is older than one seen", header->producer_epoch,
                       (long long)header->producer_id);
    case PLOG_UNKNOWN:
        return err_set(err, DMQ_ERR_UNKNOWN_PRODUCER_ID,
                       "producer %lld begins at sequence %d, but nothing is known of it here",
                       (long long)header->producer_id, header->base_sequence);
    case PLOG_NEW:
    case PLOG_DUPLICATE:
        break;
    }
    DMQ_UNREACHABLE();
}

/* Below min ISR an acknowledgement by all could not come: surely not written, unless it is the
 * repetition of one that is there already. */
static dmq_err
check_min_isr(const struct call *call, const struct partition *p, enum plog_sequence sequence,
              struct err_msg *err)
{
    const struct produce_request *request = call->request;
    if (request->acks != ACKS_ALL || p->replica.role != REPLICA_LEADER ||
        replica_has_min_isr(&p->replica)) {
        return DMQ_OK;
    }
    bool there = sequence == PLOG_DUPLICATE;
    return err_set(err,
                   there ? DMQ_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND : DMQ_ERR_NOT_ENOUGH_REPLICAS,
                   "%s has %d replicas in sync, min.insync.replicas is %d: %s; start the brokers "
                   "that are down (dmq cluster health), or lower min.insync.replicas",
                   p->label, replica_isr_size(&p->replica), p->replica.min_isr,
                   there ? "the batch is stored, but not yet safe" : "nothing was written");
}

/* The order of the questions matters. First whether this is the leader that was meant: an older one
 * must not judge sequences, for batches of its successor are unknown to it. Then whether the batch
 * is there already, before a full disk or too small an ISR refuses new ones: a repetition must not
 * be told that nothing was written. What is refused has changed neither the log nor what is known
 * of its producer. */
static void
produce_one(struct brk *brk, struct call *call, uint32_t index)
{
    const struct produce_request *request = call->request;
    const struct produce_partition *to = &request->partitions[index];
    struct produce_result *result = &call->u.produce[index];
    struct buf *buf = call_attachment(call, index);
    struct partition *p = NULL;
    struct batch_header header;
    struct err_msg err;
    int64_t base;
    int64_t end;

    *result = (struct produce_result){.topic_id = to->topic_id, .partition = to->partition};
    dmq_err failed = partition_locate(brk, to->topic_id, to->partition, to->leader_epoch, &p, &err);
    if (failed == DMQ_OK) {
        failed = check(brk, p, buf_bytes(buf), &header, &err);
    }
    if (failed != DMQ_OK) {
        set_error(result, call, failed, err.text);
        return;
    }
    enum plog_sequence sequence = plog_check_sequence(p->log, &header, &base, &end);
    if (sequence == PLOG_NEW || sequence == PLOG_GAP || sequence == PLOG_UNKNOWN) {
        failed = space_check(brk, p, &err); /* of a gap, too: what is missing was refused for it */
    }
    if (failed == DMQ_OK && (sequence == PLOG_NEW || sequence == PLOG_DUPLICATE)) {
        failed = check_min_isr(call, p, sequence, &err);
    }
    if (failed != DMQ_OK) {
        set_error(result, call, failed, err.text);
    } else if (sequence == PLOG_NEW) {
        base = partition_append(brk, p, buf, &header);
        end = base + header.last_offset_delta + 1;
    } else if (sequence == PLOG_DUPLICATE) {
        brk->stats.duplicates++; /* waits for its end like the first time did */
    } else {
        set_error(result, call, sequence_error(sequence, &header, &err), err.text);
    }
    if (result->error != DMQ_OK) {
        return;
    }
    result->base_offset = base; /* of the first time, where it is a duplicate */
    result->log_start_offset = plog_start(p->log);
    await(brk, call, index, p, end);
}

/* Whether a partition is not known or not ready here, but soon may be: then the whole request
 * waits, before any of it is written, and is handled from the beginning. A topic that was just made
 * or a leader that was just elected is known to the client earlier than to this broker. */
static bool
must_stall(struct brk *brk, struct call *call)
{
    const struct produce_request *request = call->request;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct produce_partition *to = &request->partitions[i];
        struct partition *p;
        struct err_msg err;
        dmq_err failed =
            partition_locate(brk, to->topic_id, to->partition, to->leader_epoch, &p, &err);
        if (partition_may_come(failed)) {
            return call_stall(brk, call, failed != DMQ_ERR_LEADER_NOT_AVAILABLE);
        }
    }
    return false;
}

void
on_produce(struct brk *brk, struct call *call)
{
    const struct produce_request *request = call->request;
    if (call_attachment_count(call) != request->partitions_count) {
        call_fail(brk, call, DMQ_ERR_INVALID_REQUEST, "%u partitions come with %zu attachments",
                  request->partitions_count, call_attachment_count(call));
        return;
    }
    if (request->acks < ACKS_ALL || request->acks > 1) {
        call_fail(brk, call, DMQ_ERR_INVALID_ACKS, "acks is %d: it must be 0, 1 or -1 for all",
                  request->acks);
        return;
    }
    if (request->transactional_id.size > 0) {
        call_fail(brk, call, DMQ_ERR_INVALID_REQUEST, "transactions are not supported yet");
        return;
    }
    if (must_stall(brk, call)) {
        return;
    }
    call->u.produce =
        arena_alloc(&call->arena, request->partitions_count * sizeof(*call->u.produce));
    DMQ_ASSERT(call->u.produce != NULL);
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        produce_one(brk, call, i);
    }
    if (call->watch_count == 0) {
        answer(brk, call);
        return;
    }
    int64_t deadline = call->answer_by_ms;
    if (request->timeout_ms > 0 && brk->now_ms + request->timeout_ms < deadline) {
        deadline = brk->now_ms + request->timeout_ms;
    }
    call_park(brk, call, deadline);
}

/* A batch is safe; or the partition was lost after it was appended, or has too few replicas in sync
 * for that (trap 12). Lost does not mean gone: whoever leads now may have the batch. */
void
produce_on_watch(struct brk *brk, struct call *call, uint32_t index, dmq_err err)
{
    if (err == DMQ_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND) {
        set_error(&call->u.produce[index], call, err,
                  "the batch is stored, but fewer replicas than min.insync.replicas are in sync");
    } else if (err != DMQ_OK) {
        set_error(&call->u.produce[index], call, DMQ_ERR_MAYBE_WRITTEN,
                  "the broker lost the partition after the batch was appended: it may be stored");
    }
    if (call->watch_count == 0) {
        answer(brk, call);
    }
}

/* The batches stay where they are, and most often become safe a moment later; a retry then finds
 * them by their sequence. Those that were safe in time keep their success. */
void
produce_on_deadline(struct brk *brk, struct call *call)
{
    for (const struct watch *watch = call->watches; watch != NULL; watch = watch->other) {
        if (list_linked(&watch->link)) {
            set_error(&call->u.produce[watch->index], call, DMQ_ERR_REQUEST_TIMED_OUT,
                      brk->stuck > 0
                          ? "the disk is full: the batch was appended, but it cannot be "
                            "said whether it will be stored"
                          : "the batch was appended, but not safe within the time given");
        }
    }
    answer(brk, call);
}
