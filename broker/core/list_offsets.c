#include "broker/core/call.h"
#include "broker/core/partition.h"

/* LIST_OFFSETS: the ends are known; a time is looked up by a reader. */

#define TIMESTAMP_END (-1)
#define TIMESTAMP_START (-2)

static void
set_error(struct call *call, struct list_offsets_result *result, dmq_err err, const char *text)
{
    DMQ_ASSERT(err != DMQ_OK);
    result->error = err;
    result->offset = -1;
    result->message = call_text(call, text);
}

static void
answer(struct brk *brk, struct call *call)
{
    const struct list_offsets_request *request = call->request;
    const struct list_offsets_response response = {.partitions = call->u.list_offsets.results,
                                                   .partitions_count = request->partitions_count};
    call_answer(brk, call, &response, NULL, 0);
}

static void
look_up(struct brk *brk, struct call *call, uint32_t index, struct partition *p)
{
    const struct list_offsets_request *request = call->request;
    struct list_offsets_result *result = &call->u.list_offsets.results[index];
    int64_t timestamp = request->partitions[index].timestamp;
    struct plog_ops ops = {.count = 0};
    struct err_msg err;
    result->leader_epoch = p->replica.leader_epoch;
    if (timestamp == TIMESTAMP_END && p->replica.high_watermark < p->replica.epoch_start) {
        /* As KIP-207; and the only copy, after a crash, until it has synced its tail again. */
        err_set(&err, DMQ_ERR_LEADER_NOT_AVAILABLE,
                "%s has a new leader, which does not know the end that is safe yet", p->label);
        set_error(call, result, err.code, err.text);
    } else if (timestamp == TIMESTAMP_END) {
        result->offset = p->replica.high_watermark;
    } else if (timestamp == TIMESTAMP_START) {
        result->offset = plog_start(p->log);
    } else if (timestamp < 0) {
        err_set(&err, DMQ_ERR_INVALID_TIMESTAMP, "timestamp %lld is not a time",
                (long long)timestamp);
        set_error(call, result, err.code, err.text);
    } else {
        call->u.list_offsets.starts[index] = plog_start(p->log);
        plog_find_time(p->log, timestamp, p->replica.high_watermark, &ops);
        for (size_t i = 0; i < ops.count; i++) {
            watch_id(brk, call, WATCH_EFFECT, index, brk_disk(brk, ops.ops[i]));
        }
    }
}

void
on_list_offsets(struct brk *brk, struct call *call)
{
    const struct list_offsets_request *request = call->request;
    uint32_t count = request->partitions_count;
    struct list_offsets_result *results = arena_alloc(&call->arena, count * sizeof(*results));
    call->u.list_offsets.results = results;
    call->u.list_offsets.starts = arena_alloc(&call->arena, count * sizeof(int64_t));
    DMQ_ASSERT(results != NULL && call->u.list_offsets.starts != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct list_offsets_partition *of = &request->partitions[i];
        struct partition *p;
        struct err_msg err;
        results[i] = (struct list_offsets_result){.topic_id = of->topic_id,
                                                  .partition = of->partition,
                                                  .offset = -1,
                                                  .timestamp = -1,
                                                  .leader_epoch = -1};
        dmq_err failed =
            partition_locate(brk, of->topic_id, of->partition, of->leader_epoch, &p, &err);
        if (call->watch_count == 0 && partition_may_come(failed) &&
            call_stall(brk, call, failed != DMQ_ERR_LEADER_NOT_AVAILABLE)) {
            return;
        }
        if (failed != DMQ_OK) {
            set_error(call, &results[i], failed, err.text);
        } else {
            look_up(brk, call, i, p);
        }
    }
    if (call->watch_count == 0) {
        answer(brk, call);
    } else {
        call_park(brk, call, call->answer_by_ms);
    }
}

void
list_offsets_on_disk(struct brk *brk, struct call *call, uint32_t index, struct disk_done *done)
{
    struct list_offsets_result *result = &call->u.list_offsets.results[index];
    struct partition *p = partition_find(brk, result->topic_id, result->partition);
    if (done->err != DMQ_OK && p != NULL && p->log != NULL &&
        call->u.list_offsets.starts[index] < plog_start(p->log)) {
        look_up(brk, call, index, p); /* the segment went meanwhile */
    } else if (done->err == DMQ_OK) {
        result->offset = done->u.found.offset;
        result->timestamp = done->u.found.timestamp;
    } else {
        set_error(call, result, repair_found_by_read(brk, p, done), done->text);
    }
    if (call->watch_count == 0) {
        answer(brk, call);
    }
}
