#include <stdio.h>
#include <stdlib.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* The life of a broker process, one way:
 *
 *   STARTING -> OPENING -> REGISTERING -> FENCED <-> SERVING -> HANDING_OVER -> CLOSING -> ENDED
 *
 * It registers when its logs are recovered, for the registration says what state they are in. It
 * serves when the image says that this very incarnation is not fenced. At the end the logs are
 * synced and closed, and only then are their exact ends checkpointed as clean. */

#define REGISTER_RETRY_MS 100
#define HAND_OVER_MS 5000
#define MAX_DAMAGED 10000 /* logs that a registration names one by one */

enum folder_condition { FOLDER_CLEAN, FOLDER_UNCLEAN, FOLDER_DAMAGED, FOLDER_EMPTY };

/* ---- requests to the controller -------------------------------------------------------------- */

/* Logs that are damaged are named one by one, so that the others of the folder keep their places.
 * A disk that fails says nothing of what it holds: as long as it does the broker asks to be fenced,
 * and its records are as good as before once it is mended. */
static enum folder_condition
folder_condition(const struct brk *brk)
{
    if (repair_list(brk, NULL, 0) > MAX_DAMAGED) {
        return FOLDER_DAMAGED;
    }
    for (const struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        if (p->state == PARTITION_OFFLINE && !brk->folder_offline && !repair_is_damaged(p)) {
            return FOLDER_DAMAGED;
        }
    }
    if (brk->config.new_folder) {
        return FOLDER_EMPTY;
    }
    return brk->unclean ? FOLDER_UNCLEAN : FOLDER_CLEAN;
}

/* The registration names this process (incarnation), its disk and how the folder was found. The
 * controller ends the leaderships of the former incarnation in the same entry, so that this one
 * leads only in epochs of its own. Which registration it replaces: as its own image says at first,
 * then as the controller does, if that is another. */
static void
register_broker(struct brk *brk)
{
    struct endpoint endpoints[] = {{.listener = bytes_str("client"),
                                    .host = bytes_str(brk->config.host),
                                    .port = brk->config.client_port},
                                   {.listener = bytes_str("node"),
                                    .host = bytes_str(brk->config.host),
                                    .port = brk->config.node_port}};
    struct folder_state folder = {.disk_id = brk->config.disk_id,
                                  .state = (int8_t)folder_condition(brk)};
    struct damaged_log *damaged = brk_alloc(MAX_DAMAGED * sizeof(*damaged));
    const struct register_broker_request request = {
        .cluster_id = brk->config.cluster_id,
        .broker_id = brk->config.broker_id,
        .incarnation = brk->config.incarnation,
        .rack = bytes_str(brk->config.rack),
        .advertised_host = bytes_str(brk->config.advertised_host),
        .advertised_port = brk->config.advertised_port,
        .endpoints = endpoints,
        .endpoints_count = 2,
        .folders = &folder,
        .folders_count = 1,
        .replaces = brk->replaces,
        .damaged = damaged,
        .damaged_count =
            folder.state == FOLDER_DAMAGED ? 0 : repair_list(brk, damaged, MAX_DAMAGED),
    };
    brk->register_id = controller_ask(brk, API_REGISTER_BROKER, &request);
    free(damaged);
}

void
lifecycle_status(struct brk *brk, struct broker_status *ret_status)
{
    *ret_status = (struct broker_status){
        .broker_id = brk->config.broker_id,
        .broker_epoch = brk->broker_epoch,
        .incarnation = brk->config.incarnation,
        .applied_version = brk->persisted_version,
        .applied_term = brk->persisted_term,
        .partition_count = (int32_t)HASH_CNT(by_key, brk->partitions),
        .want_fence = brk->folder_offline,
        .want_shutdown = brk->life >= LIFE_HANDING_OVER,
    };
    if (brk->persisted_version == image_version(brk->image)) {
        ret_status->image_digest = (int64_t)image_digest(brk->image);
    }
    if (brk->folder_offline) {
        ret_status->offline_folders = &brk->config.disk_id;
        ret_status->offline_folders_count = 1;
    }
}

static void
heartbeat(struct brk *brk)
{
    struct broker_heartbeat_request request;
    lifecycle_status(brk, &request.status);
    brk->heartbeat_id = controller_ask(brk, API_BROKER_HEARTBEAT, &request);
    brk->heartbeat_due_ms = brk->now_ms + brk->config.heartbeat_ms;
}

/* Says at once what changed: no timer lies between exec and ready, or SIGTERM and exit. */
static void
heartbeat_now(struct brk *brk)
{
    if (brk->controller_up && brk->broker_epoch >= 0) {
        heartbeat(brk);
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static void
open_logs(struct brk *brk)
{
    brk->life = LIFE_OPENING;
    space_ask(brk);
    brk->retention_due_ms = brk->config.retention_check_ms > 0
                                ? brk->now_ms + brk->config.retention_check_ms
                                : INT64_MAX;
    partition_reconcile_all(brk);
    lifecycle_log_settled(brk);
}

void
lifecycle_start(struct brk *brk, struct brk_event *event)
{
    brk->image = event->u.started.image;
    brk->persisted_version = image_version(brk->image);
    brk->persisted_term = image_term(brk->image);
    brk->leader_term = brk->persisted_term;
    brk->life = LIFE_STARTING;
    const struct broker_record *former = image_broker(brk->image, brk->config.broker_id);
    brk->replaces = former != NULL ? former->broker_epoch : -1;
    controllers_start(brk);
    if (rows_load(brk, event->u.started.rows, event->u.started.count) != DMQ_OK) {
        brk_log(brk, true, "event=store_damaged dir=%s text=\"a row of the store is malformed\"",
                brk->config.data_dir);
        brk_exit(brk, 1);
    } else if (!checkpoint_remove_clean(brk)) {
        open_logs(brk);
    }
}

/* ---- stop ------------------------------------------------------------------------------------ */

/* Closes the logs once nothing is unsynced any more, ends once they are closed. */
static void
close_logs(struct brk *brk)
{
    if (brk->sync_id != 0 || (!list_empty(&brk->unsynced) && !brk->folder_offline) ||
        brk->closing > 0 || brk->opening > 0) {
        return;
    }
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        if (p->state == PARTITION_OPEN) {
            p->state = PARTITION_CLOSING;
            brk->closing++;
            brk_disk(brk, (struct disk_op){.kind = DISK_CLOSE, .log = p->number});
        }
    }
    if (brk->closing == 0) {
        brk->stop_deadline_ms = INT64_MAX;
        checkpoint_clean(brk);
    }
}

/* No request is begun any more. Produces that were appended are answered when their last SYNC is
 * back; all others hear that the broker stops. */
static void
begin_closing(struct brk *brk)
{
    brk->life = LIFE_CLOSING;
    brk->heartbeat_due_ms = INT64_MAX;
    struct list *link = brk->calls.next;
    while (link != &brk->calls) {
        struct call *call = LIST_ENTRY(link, struct call, link);
        link = link->next;
        if (call->forward != NULL && forward_settle(brk, call)) {
            continue;
        }
        if (call->api->key != API_PRODUCE && call->api->key != API_PUSH_METADATA) {
            bool maybe_done = call->forward != NULL && forward_maybe_done(call);
            call_fail(brk, call, maybe_done ? DMQ_ERR_REQUEST_TIMED_OUT : DMQ_ERR_CANCELLED,
                      "broker %d stops%s", brk->config.broker_id,
                      maybe_done ? ": it may have been done" : "");
        }
    }
    space_abandon_all(brk);
    if (brk->sync_due_ms != INT64_MAX) {
        brk->sync_due_ms = brk->now_ms; /* async logs do not wait for their second */
    }
    close_logs(brk);
}

void
lifecycle_stop(struct brk *brk)
{
    if (brk->life >= LIFE_HANDING_OVER) {
        return;
    }
    bool registered = brk->life == LIFE_FENCED || brk->life == LIFE_SERVING;
    brk->life = LIFE_HANDING_OVER;
    brk->stop_deadline_ms = brk->now_ms + HAND_OVER_MS;
    if (registered && (brk->controller_up || brk->config.controller_count > 1)) {
        heartbeat_now(brk);
    } else {
        begin_closing(brk);
    }
}

/* Nobody is there to hand over to. */
void
lifecycle_no_controller(struct brk *brk)
{
    if (brk->life == LIFE_HANDING_OVER) {
        begin_closing(brk);
    }
}

/* ---- progress -------------------------------------------------------------------------------- */

void
lifecycle_log_settled(struct brk *brk)
{
    if (brk->life == LIFE_OPENING && brk->opening == 0) {
        removal_resume(brk);
        brk->life = LIFE_REGISTERING;
        if (brk->controller_up) {
            register_broker(brk);
        }
    } else if (brk->life == LIFE_CLOSING) {
        close_logs(brk);
    }
}

void
lifecycle_kv_done(struct brk *brk, enum kv_purpose purpose)
{
    switch (purpose) {
    case KV_STARTED:
        if (brk->life == LIFE_STARTING) {
            open_logs(brk);
        }
        break;
    case KV_CHECKPOINT:
        brk->checkpointing = false;
        break;
    case KV_LOG_STARTS:
        retention_on_stored(brk);
        break;
    case KV_CLOSED:
        brk_exit(brk, 0);
        break;
    case KV_REMOVED:
    case KV_LOWERED:
    case KV_FORGOTTEN:
    case KV_IMAGE:
        break;
    }
}

/* An image from before the start has the epoch of the former process. */
bool
lifecycle_is_registered(const struct brk *brk)
{
    const struct broker_record *self =
        brk->image == NULL ? NULL : image_broker(brk->image, brk->config.broker_id);
    return brk->life >= LIFE_FENCED && brk->life < LIFE_CLOSING && self != NULL &&
           uuid_equal(self->incarnation, brk->config.incarnation) &&
           self->broker_epoch == brk->broker_epoch;
}

bool
lifecycle_serves(const struct brk *brk)
{
    return brk->life == LIFE_SERVING || brk->life == LIFE_HANDING_OVER;
}

/* The image decides whether this very process serves: a record of a former incarnation does not
 * count. */
void
lifecycle_image_changed(struct brk *brk)
{
    const struct broker_record *self = image_broker(brk->image, brk->config.broker_id);
    bool known = self != NULL && uuid_equal(self->incarnation, brk->config.incarnation);
    if (known && brk->life == LIFE_FENCED && !self->fenced) {
        brk->life = LIFE_SERVING;
        producer_ids_prepare(brk);
        if (!brk->stats.ready) {
            brk->stats.ready = true;
            brk_emit(brk, BRK_READY);
        }
    } else if (brk->life == LIFE_SERVING && (!known || self->fenced)) {
        brk->life = LIFE_FENCED;
    }
}

/* Another cluster's controller is no reason to try again. Any other refusal may be over soon: the
 * lease of a former process with another disk, a controller that is not ready. */
static void
on_registered(struct brk *brk, const struct brk_reply *reply)
{
    struct register_broker_response response;
    int64_t version;
    struct err_msg err;
    dmq_err failed =
        controller_answer(reply, desc_register_broker_response(), &response, &version, &err);
    brk->register_id = 0;
    if (reply->count > 0) {
        controllers_heard(brk, failed);
    }
    if (controllers_is_loss(failed)) {
        return; /* the next one is being looked for */
    }
    if (failed == DMQ_ERR_INCONSISTENT_CLUSTER_ID) {
        brk_log(brk, true, "event=refused error=%s text=\"%s\"", err_name(failed), err.text);
        brk_exit(brk, 1);
        return;
    }
    if (failed != DMQ_OK) {
        brk_log(brk, true, "event=registration_failed error=%s text=\"%s\"", err_name(failed),
                err.text);
        brk->heartbeat_due_ms = brk->now_ms + REGISTER_RETRY_MS;
        return;
    }
    if (response.broker_epoch < 0) {
        brk->replaces = response.present;
        register_broker(brk);
        return;
    }
    if (uuid_is_zero(brk->config.cluster_id)) {
        brk->config.cluster_id = response.cluster_id;
        brk_emit(brk, BRK_CLUSTER)->u.cluster_id = response.cluster_id;
    }
    brk->broker_epoch = response.broker_epoch;
    if (brk->life == LIFE_REGISTERING) {
        brk->life = LIFE_FENCED;
        lifecycle_image_changed(brk);
    }
    repair_review(brk);
    heartbeat(brk);
}

/* A former leader that does not know yet that it is one may be behind this very registration: what
 * it says of other processes is no news then. A registration that came later has a higher version.
 */
static bool
is_behind(const struct brk *brk, dmq_err err, int64_t version)
{
    return (err == DMQ_ERR_STALE_BROKER_EPOCH || err == DMQ_ERR_BROKER_ID_NOT_REGISTERED) &&
           version < brk->broker_epoch;
}

static void
on_heartbeat_answer(struct brk *brk, const struct brk_reply *reply)
{
    struct broker_heartbeat_response response;
    int64_t version;
    struct err_msg err;
    dmq_err failed =
        controller_answer(reply, desc_broker_heartbeat_response(), &response, &version, &err);
    brk->heartbeat_id = 0;
    if (reply->count == 0) {
        return;
    }
    controllers_heard(brk, is_behind(brk, failed, version) ? DMQ_ERR_NOT_CONTROLLER : failed);
    if (!brk->controller_up) {
        return; /* it does not lead: nothing else that it said counts */
    }
    if (failed == DMQ_ERR_STALE_BROKER_EPOCH) {
        brk_log(brk, true, "event=replaced error=%s text=\"%s\"", err_name(failed), err.text);
        brk_exit(brk, 1); /* a newer process has this broker's id */
    } else if (failed == DMQ_ERR_BROKER_ID_NOT_REGISTERED && brk->life < LIFE_HANDING_OVER) {
        brk->life = LIFE_REGISTERING;
        register_broker(brk);
    } else if (failed == DMQ_OK && response.may_shut_down && brk->life == LIFE_HANDING_OVER) {
        begin_closing(brk);
    }
}

bool
lifecycle_on_reply(struct brk *brk, const struct brk_reply *reply)
{
    if (reply->tag == 0) {
        return false;
    }
    if (reply->tag == brk->register_id) {
        on_registered(brk, reply);
        return true;
    }
    if (reply->tag == brk->heartbeat_id) {
        on_heartbeat_answer(brk, reply);
        return true;
    }
    return false;
}

void
lifecycle_controller_up(struct brk *brk)
{
    if (brk->life == LIFE_REGISTERING) {
        register_broker(brk);
    } else {
        heartbeat_now(brk);
    }
    forwards_on_controller_up(brk);
    confirm_on_controller_up(brk);
    producer_ids_prepare(brk);
    call_unstall_all(brk);
}

/* Clients are served on: they need no controller until leadership changes. */
void
lifecycle_controller_down(struct brk *brk)
{
    brk->register_id = 0;
    brk->heartbeat_id = 0;
    producer_ids_on_controller_down(brk);
    repair_on_controller_down(brk);
    isr_on_controller_down(brk);
    forwards_on_controller_down(brk);
    confirm_on_controller_down(brk);
}

/* ---- time ------------------------------------------------------------------------------------ */

void
lifecycle_tick(struct brk *brk)
{
    if (brk->heartbeat_due_ms <= brk->now_ms) {
        brk->heartbeat_due_ms = INT64_MAX;
        if (brk->controller_up && brk->life == LIFE_REGISTERING && brk->register_id == 0) {
            register_broker(brk);
        } else if (brk->life >= LIFE_FENCED) {
            brk->heartbeat_due_ms = brk->now_ms + brk->config.heartbeat_ms;
            heartbeat_now(brk);
        }
    }
    if (brk->life == LIFE_HANDING_OVER && brk->stop_deadline_ms <= brk->now_ms) {
        begin_closing(brk);
    }
}

int64_t
lifecycle_deadline(const struct brk *brk)
{
    int64_t stop = brk->life == LIFE_HANDING_OVER ? brk->stop_deadline_ms : INT64_MAX;
    return stop < brk->heartbeat_due_ms ? stop : brk->heartbeat_due_ms;
}
