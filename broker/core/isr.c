#include "broker/core/call.h"
#include "broker/core/partition.h"

/* What a leader hears and wants: the progress of its followers, and changes of the ISR, which the
 * leading controller decides. At most one change of a partition is on its way; an answer to a
 * former one is of no interest. */

#define TICK_MS 250 /* who lags is looked for so often */
#define SHARE_MS 20 /* as long as fetch.c lets a follower wait for it */
#define ASK_MS 5000 /* then the fate of a change is unknown */

/* ---- changes of the ISR ---------------------------------------------------------------------- */

void
isr_forget(struct brk *brk, struct partition *p)
{
    if (p->isr_tag != 0) {
        HASH_DELETE(by_isr_tag, brk->altered, p);
        p->isr_tag = 0;
    }
}

static void
conclude(struct brk *brk, struct partition *p, int32_t partition_epoch,
         enum replica_isr_outcome outcome)
{
    struct replica_effects effects;
    struct replica_event event = {.kind = REPLICA_ISR_ANSWERED};
    event.u.isr.partition_epoch = partition_epoch;
    event.u.isr.outcome = outcome;
    partition_step(brk, p, event, &effects);
}

void
isr_ask(struct brk *brk, struct partition *p, const struct replica_isr_change *change)
{
    struct isr_member members[REPLICA_MAX];
    isr_forget(brk, p);
    if (!brk->controller_up) {
        conclude(brk, p, change->partition_epoch, REPLICA_ISR_REFUSED);
        return;
    }
    for (uint32_t i = 0; i < change->count; i++) {
        members[i] = (struct isr_member){.broker_id = change->members[i].broker_id,
                                         .broker_epoch = change->members[i].broker_epoch};
    }
    const struct alter_partition_request request = {.broker_id = brk->config.broker_id,
                                                    .broker_epoch = brk->broker_epoch,
                                                    .topic_id = p->key.topic_id,
                                                    .partition = p->key.partition,
                                                    .leader_epoch = change->leader_epoch,
                                                    .partition_epoch = change->partition_epoch,
                                                    .durability = change->async ? DURABILITY_ASYNC
                                                                                : DURABILITY_SYNC,
                                                    .isr = members,
                                                    .isr_count = change->count};
    p->isr_tag = controller_send(brk, API_ALTER_PARTITION, &request, NULL, 0, ASK_MS);
    p->isr_epoch = change->partition_epoch;
    HASH_ADD(by_isr_tag, brk->altered, isr_tag, sizeof(p->isr_tag), p);
    brk_log(brk, false, "event=isr_change partition=%s epoch=%d members=%u", p->label,
            change->leader_epoch, change->count);
}

/* What an error says of the request: see controller/core/alter_partition.c. */
static enum replica_isr_outcome
outcome_of(dmq_err err)
{
    if (err == DMQ_OK || err == DMQ_ERR_INVALID_UPDATE_VERSION ||
        err == DMQ_ERR_FENCED_LEADER_EPOCH || err == DMQ_ERR_UNKNOWN_TOPIC_ID) {
        return REPLICA_ISR_SETTLED;
    }
    return err_class(err) == DMQ_CLASS_MAYBE_DONE ? REPLICA_ISR_UNKNOWN : REPLICA_ISR_REFUSED;
}

bool
isr_on_reply(struct brk *brk, const struct brk_reply *reply)
{
    struct alter_partition_response response;
    struct err_msg err;
    struct partition *p;
    int64_t version;
    HASH_FIND(by_isr_tag, brk->altered, &reply->tag, sizeof(reply->tag), p);
    if (p == NULL) {
        return false;
    }
    isr_forget(brk, p);
    dmq_err failed =
        controller_answer(reply, desc_alter_partition_response(), &response, &version, &err);
    conclude(brk, p, p->isr_epoch, outcome_of(failed));
    if (reply->count > 0) {
        controllers_heard(brk, failed);
    }
    return true;
}

/* They may have been carried out, or may be yet. */
void
isr_on_controller_down(struct brk *brk)
{
    while (brk->altered != NULL) {
        struct partition *p = brk->altered;
        isr_forget(brk, p);
        conclude(brk, p, p->isr_epoch, REPLICA_ISR_UNKNOWN);
    }
}

void
isr_share_hw(struct brk *brk, struct partition *p)
{
    if (list_empty(&p->end_watches) || list_linked(&p->share_link)) {
        return;
    }
    list_append(&brk->sharing, &p->share_link);
    if (brk->share_ms == INT64_MAX) {
        brk->share_ms = brk->now_ms + SHARE_MS;
    }
}

static void
share(struct brk *brk)
{
    struct list sharing;
    struct list *link;
    brk->share_ms = INT64_MAX;
    list_take(&sharing, &brk->sharing);
    while ((link = list_pop(&sharing)) != NULL) {
        watch_appended(brk, LIST_ENTRY(link, struct partition, share_link));
    }
}

void
isr_tick(struct brk *brk)
{
    if (brk->share_ms <= brk->now_ms) {
        share(brk);
    }
    if (brk->replica_tick_ms > brk->now_ms) {
        return;
    }
    brk->replica_tick_ms = INT64_MAX;
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        struct replica_effects effects;
        if (p->replica.role != REPLICA_LEADER || p->replica.peer_count < 2) {
            continue;
        }
        brk->replica_tick_ms = brk->now_ms + TICK_MS;
        if (replica_deadline(&p->replica) <= brk->now_ms) {
            partition_step(brk, p, (struct replica_event){.kind = REPLICA_TICK}, &effects);
        }
    }
}

/* ---- REPLICA_PROGRESS ------------------------------------------------------------------------ */

/* Nothing answers it: what does not count now comes with the next fetch. */
void
on_replica_progress(struct brk *brk, struct call *call)
{
    const struct replica_progress_request *request = call->request;
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct replica_progress_partition *from = &request->partitions[i];
        struct partition *p = partition_find(brk, from->topic_id, from->partition);
        struct replica_effects effects;
        struct replica_event event = {.kind = REPLICA_PROGRESS};
        event.u.fetched = (struct replica_fetched){.follower = request->replica_id,
                                                   .broker_epoch = request->broker_epoch,
                                                   .leader_epoch = from->leader_epoch,
                                                   .end = from->log_end,
                                                   .synced_end = from->synced_end};
        if (p != NULL && p->state == PARTITION_OPEN) {
            partition_step(brk, p, event, &effects);
        }
    }
    call_drop(brk, call);
}
