#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* A log that has lost records to its disk. What is left of it may be the only copy of something, so
 * nothing is thrown away, and nothing begins anew before nobody counts on this replica any more:
 *
 *   found        when it is opened, or by a reader: it stands in brk->damaged, and in the store
 *                with its next mark
 *   told         to the controller: by the registration, or by REPORT_DAMAGED; unless no other
 *                replica may have all that was acknowledged: then it stays what it is
 *   let go       the image has this broker neither in the ISR nor in the ELR, and another leads, in
 *                an epoch in which no leader was told where this log ends: so nobody elects it, and
 *                nobody asks for it in the ISR because of what it once held
 *   QUARANTINE   the folder gets another name, synced
 *   forgotten    the rows of the log leave the store, synced
 *   OPEN         an empty log
 *   EMPTIED      the replica follows from the beginning, and is in sync when it has all
 *
 * Wherever the process dies, the next one goes on: rows without a folder are damage as well, and a
 * folder without rows is a new log. */

#define REVIEW_MS 1000 /* what was asked may be lost, and the last copy not be it any more */
#define ASK_MS 5000
#define MAX_REPORTED 1000

/* ---- who else has it ------------------------------------------------------------------------- */

static bool
is_live(const struct brk *brk, int32_t broker_id)
{
    const struct broker_record *broker = image_broker(brk->image, broker_id);
    return broker != NULL && !broker->fenced && !broker->shutting_down;
}

/* Whether another replica may have all that was acknowledged; live: one that can lead now. */
static bool
another_has_all(const struct brk *brk, const struct partition *p, bool live)
{
    const struct partition_record *record =
        image_partition(brk->image, p->key.topic_id, p->key.partition);
    const int32_t self = brk->config.broker_id;
    bool other = false;
    for (uint32_t i = 0; i < record->isr_count; i++) {
        other = other || (record->isr[i] != self && (!live || is_live(brk, record->isr[i])));
    }
    for (uint32_t i = 0; i < record->elr_count; i++) {
        other = other || (record->elr[i] != self && (!live || is_live(brk, record->elr[i])));
    }
    return other;
}

/* ---- found ----------------------------------------------------------------------------------- */

void
repair_found(struct brk *brk, struct partition *p)
{
    if (list_linked(&p->damaged_link)) {
        return;
    }
    list_append(&brk->damaged, &p->damaged_link);
    brk->repair_due_ms = brk->now_ms;
    if (p->state == PARTITION_OPEN && p->log != NULL) {
        checkpoint_dirty(brk, p);
    }
}

bool
repair_is_damaged(const struct partition *p)
{
    return list_linked(&p->damaged_link);
}

/* What a reader is to do: come again, if the records are or may be elsewhere, also if who has them
 * is not there at the moment; give up where this is the last copy. */
dmq_err
repair_told_reader(const struct brk *brk, const struct partition *p)
{
    return another_has_all(brk, p, false) ? DMQ_ERR_STORAGE : DMQ_ERR_DAMAGED;
}

dmq_err
repair_found_by_read(struct brk *brk, struct partition *p, const struct disk_done *done)
{
    if (done->err != DMQ_ERR_DAMAGED) {
        return done->err == DMQ_ERR_IO ? DMQ_ERR_STORAGE : done->err;
    }
    if (p == NULL) {
        return DMQ_ERR_STORAGE; /* deleted meanwhile */
    }
    if (p->state == PARTITION_OPEN && done->generation == plog_generation(p->log)) {
        if (!repair_is_damaged(p)) {
            brk_log(brk, true, "event=log_damaged partition=%s text=\"%s\"", p->label, done->text);
        }
        repair_found(brk, p);
    }
    return repair_told_reader(brk, p);
}

/* ---- told ------------------------------------------------------------------------------------ */

/* Whether the controller can bring it on: we are counted on and need not be, or a leader knows of
 * this log. Who leads needs somebody to take over. */
static bool
is_to_be_told(const struct brk *brk, const struct partition *p)
{
    const struct partition_record *record =
        image_partition(brk->image, p->key.topic_id, p->key.partition);
    if (record == NULL || p->quarantining) {
        return false;
    }
    return partition_may_lead(brk, p)
               ? another_has_all(brk, p, record->leader == brk->config.broker_id)
               : record->leader >= 0 && p->told_epoch >= record->leader_epoch;
}

static struct damaged_log
describe(const struct partition *p)
{
    return (struct damaged_log){
        .topic_id = p->key.topic_id, .partition = p->key.partition, .told_epoch = p->told_epoch};
}

static void
tell_controller(struct brk *brk)
{
    struct damaged_log logs[MAX_REPORTED];
    struct report_damaged_request request = {
        .broker_id = brk->config.broker_id, .broker_epoch = brk->broker_epoch, .logs = logs};
    if (!brk->controller_up || brk->repair_tag != 0) {
        return;
    }
    LIST_FOREACH (link, &brk->damaged) {
        const struct partition *p = LIST_ENTRY(link, struct partition, damaged_link);
        if (request.logs_count < MAX_REPORTED && is_to_be_told(brk, p)) {
            logs[request.logs_count++] = describe(p);
        }
    }
    if (request.logs_count > 0) {
        brk->repair_tag = controller_send(brk, API_REPORT_DAMAGED, &request, NULL, 0, ASK_MS);
    }
}

uint32_t
repair_list(const struct brk *brk, struct damaged_log *logs, uint32_t most)
{
    uint32_t count = 0;
    LIST_FOREACH (link, &brk->damaged) {
        if (count < most) {
            logs[count] = describe(LIST_ENTRY(link, struct partition, damaged_link));
        }
        count++;
    }
    return count;
}

/* What came of it is in the image, soon or never: it is asked again as long as there is reason. */
bool
repair_on_reply(struct brk *brk, const struct brk_reply *reply)
{
    struct report_damaged_response response;
    int64_t version;
    struct err_msg err;
    if (reply->tag == 0 || reply->tag != brk->repair_tag) {
        return false;
    }
    brk->repair_tag = 0;
    dmq_err failed =
        controller_answer(reply, desc_report_damaged_response(), &response, &version, &err);
    if (reply->count > 0) {
        controllers_heard(brk, failed);
    }
    return true;
}

void
repair_on_controller_down(struct brk *brk)
{
    brk->repair_tag = 0;
}

/* ---- let go, and moved aside ----------------------------------------------------------------- */

static bool
is_let_go(const struct brk *brk, const struct partition *p)
{
    const struct partition_record *record =
        image_partition(brk->image, p->key.topic_id, p->key.partition);
    bool idle = p->state == PARTITION_OPEN || p->state == PARTITION_DAMAGED ||
                p->state == PARTITION_OFFLINE;
    return record != NULL && idle && !p->quarantining && record->leader >= 0 &&
           record->leader != brk->config.broker_id && !partition_may_lead(brk, p) &&
           record->leader_epoch > p->told_epoch;
}

static void
quarantine(struct brk *brk, struct partition *p)
{
    DMQ_ASSERT(p->replica.role != REPLICA_LEADER);
    struct log_open *open = partition_name_log(brk, p);
    snprintf(open->aside, sizeof(open->aside), "%" PRId32 ".damaged-%" PRId64, p->key.partition,
             brk->wall_ms);
    p->quarantining = true;
    p->truncating = false;
    partition_withdraw(brk, p);
    brk->stats.quarantines++;
    brk_log(brk, true,
            "event=log_quarantined partition=%s folder=%s aside=%s text=\"the log was damaged; it "
            "is fetched from its leader anew; remove the folder that was set aside when nobody "
            "needs it\"",
            p->label, open->dir, open->aside);
    brk_disk(brk, (struct disk_op){.kind = DISK_QUARANTINE, .log = p->number, .u.open = open});
}

/* Once a second while there is a damaged log, and whenever the image has changed. */
void
repair_review(struct brk *brk)
{
    if (list_empty(&brk->damaged) || brk->folder_offline || !lifecycle_is_registered(brk) ||
        brk->life >= LIFE_HANDING_OVER) {
        return;
    }
    LIST_FOREACH (link, &brk->damaged) {
        struct partition *p = LIST_ENTRY(link, struct partition, damaged_link);
        if (is_let_go(brk, p)) {
            quarantine(brk, p);
        }
    }
    tell_controller(brk);
}

int64_t
repair_deadline(const struct brk *brk)
{
    return list_empty(&brk->damaged) || brk->life >= LIFE_CLOSING ? INT64_MAX : brk->repair_due_ms;
}

void
repair_tick(struct brk *brk)
{
    if (repair_deadline(brk) <= brk->now_ms) {
        brk->repair_due_ms = brk->now_ms + REVIEW_MS;
        repair_review(brk);
    }
}

/* ---- begun anew ------------------------------------------------------------------------------ */

void
repair_on_moved(struct brk *brk, struct partition *p, const struct disk_done *done)
{
    struct kv_batch batch = {0};
    DMQ_ASSERT(p->quarantining && p->state == PARTITION_OPENING);
    if (done->err == DMQ_OK) {
        kv_batch_remove_log(&batch, p->key);
        kv_batch_emit(brk, &batch, KV_FORGOTTEN, true)->log = p->number;
        return;
    }
    p->quarantining = false; /* it is tried again */
    brk->opening--;
    partition_set_offline(brk, p, done->text);
    if (done->err == DMQ_ERR_IO) {
        folder_failed(brk, done);
    }
    if (p->removed) {
        partition_remove(brk, p);
    }
    lifecycle_log_settled(brk);
}

void
repair_on_forgotten(struct brk *brk, uint32_t log)
{
    struct partition *p = partition_by_number(brk, log);
    DMQ_ASSERT(p != NULL && p->quarantining); /* OPENING: it is not removed */
    struct log_open *open = partition_name_log(brk, p);
    brk_disk(brk, (struct disk_op){.kind = DISK_OPEN,
                                   .log = p->number,
                                   .generation = p->log == NULL ? 1 : plog_generation(p->log) + 1,
                                   .u.open = open});
}

/* Of what this log once was nobody needs to know any more. */
void
repair_on_opened(struct brk *brk, struct partition *p)
{
    struct replica_effects effects;
    p->quarantining = false;
    p->losses++;
    p->told_epoch = -1;
    p->stored_epoch = -1;
    list_remove(&p->damaged_link);
    partition_step(brk, p,
                   (struct replica_event){.kind = REPLICA_EMPTIED, .u.end = plog_end(p->log)},
                   &effects);
}
