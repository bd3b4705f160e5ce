#include <stdlib.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"
#include "libdmq/meta/entry.h"

/* Metadata comes in by pushes of the leading controller. Only a contiguous range is applied; an old
 * one is acknowledged, a gap answered with the version that is here, a stale term refused. The
 * answer leaves when the image is durable, for the controller counts on what was acknowledged. */

static void
acknowledge(struct brk *brk, struct call *call)
{
    struct push_metadata_response response = {0};
    lifecycle_status(brk, &response.status);
    call_answer(brk, call, &response, NULL, 0);
}

static dmq_err
check(const struct brk *brk, const struct push_metadata_request *push, struct err_msg *err)
{
    if (brk->life >= LIFE_CLOSING) {
        return err_set(err, DMQ_ERR_CANCELLED, "broker %d stops", brk->config.broker_id);
    }
    if (!uuid_is_zero(brk->config.cluster_id) &&
        !uuid_equal(push->cluster_id, brk->config.cluster_id)) {
        return err_set(err, DMQ_ERR_INCONSISTENT_CLUSTER_ID, "broker %d belongs to another cluster",
                       brk->config.broker_id);
    }
    if (push->leader_term < brk->leader_term) {
        return err_set(err, DMQ_ERR_NOT_CONTROLLER, "term %lld is older than %lld",
                       (long long)push->leader_term, (long long)brk->leader_term);
    }
    if (push->snapshot && push->entries_count != 1) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "a snapshot is one entry, not %u",
                       push->entries_count);
    }
    return DMQ_OK;
}

/* Applies all entries or as many as are good: each is one version, atomic by itself. */
static dmq_err
apply(struct brk *brk, const struct push_metadata_request *push, struct meta_rows *rows,
      struct err_msg *err)
{
    dmq_err failed = DMQ_OK;
    for (uint32_t i = 0; i < push->entries_count && failed == DMQ_OK; i++) {
        failed = push->snapshot ? meta_install(&brk->image, &push->entries[i], rows, err)
                                : meta_apply_entry(brk->image, &push->entries[i], rows, err);
    }
    return failed;
}

/* Acts on what changed, once for each entity, after all of the range: its records belong together,
 * a topic and its partitions, a registration and the epochs that it ends. */
static void
react(struct brk *brk, const struct meta_rows *rows)
{
    bool brokers = false;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->rows[i].kind == META_ROW_PARTITION) {
            partition_reconcile(brk, rows->rows[i].topic_id, rows->rows[i].number);
        } else if (rows->rows[i].kind == META_ROW_TOPIC) {
            partition_reconcile_settings(brk, rows->rows[i].topic_id);
        }
        brokers |= rows->rows[i].kind == META_ROW_BROKER;
    }
    if (brokers) {
        partition_reconcile_all(brk); /* leaders go by their members' epochs */
    }
    follow_image_changed(brk);
    lifecycle_image_changed(brk);
    repair_review(brk);
    forwards_on_image(brk);
    call_unstall_all(brk);
}

/* One synced batch: the rows that were touched and the version, together or not at all. */
static void
persist(struct brk *brk, struct meta_rows *rows, struct call *call)
{
    struct kv_batch batch = {0};
    meta_rows_encode(rows, brk->image);
    for (size_t i = 0; i < rows->op_count; i++) {
        if (rows->ops[i].remove) {
            kv_batch_remove(&batch, rows->ops[i].key);
        } else {
            kv_batch_put(&batch, rows->ops[i].key, rows->ops[i].value);
        }
    }
    removal_note(brk, rows, &batch);
    struct kv_pending *pending = kv_batch_emit(brk, &batch, KV_IMAGE, true);
    pending->version = image_version(brk->image);
    pending->term = image_term(brk->image);
    pending->call = call;
}

void
on_push_metadata(struct brk *brk, struct call *call)
{
    const struct push_metadata_request *push = call->request;
    struct err_msg err;
    dmq_err refused = check(brk, push, &err);
    if (refused != DMQ_OK) {
        call_fail(brk, call, refused, "%s", err.text);
        return;
    }
    bool newer = push->leader_term > brk->leader_term;
    brk->leader_term = push->leader_term;
    controllers_named(brk, push->controller_id, newer);
    int64_t applied = image_version(brk->image);
    if (push->version <= applied || (!push->snapshot && push->prev_version != applied)) {
        acknowledge(brk, call);
        return;
    }
    struct meta_rows rows = {0};
    dmq_err failed = apply(brk, push, &rows, &err);
    if (failed != DMQ_OK) {
        brk_log(brk, true, "event=push_refused version=%lld error=%s text=\"%s\"",
                (long long)push->version, err_name(failed), err.text);
    }
    if (image_version(brk->image) == applied) {
        call_fail(brk, call, failed, "%s", err.text);
    } else {
        persist(brk, &rows, call);
        react(brk, &rows);
    }
    meta_rows_deinit(&rows);
}

void
push_on_persisted(struct brk *brk, const struct kv_pending *pending)
{
    DMQ_ASSERT(pending->version > brk->persisted_version);
    brk->persisted_version = pending->version;
    brk->persisted_term = pending->term;
    removal_go_on(brk);
    if (pending->call != NULL) {
        acknowledge(brk, pending->call);
    }
}
