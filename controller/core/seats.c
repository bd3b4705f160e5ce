/* The leader gives seats (Raft thesis §4: one change at a time, a newcomer is a learner first).
 *
 * A controller whose disk was emptied, replaced or damaged comes back as somebody else: same id,
 * other disk. It gets its seat back by itself: it becomes a learner, catches up, then the old disk
 * is taken out and the new one in, as two changes. All of that only once the old disk has been
 * silent for a while, for two processes may have been started with one id; until then it is told
 * no. A controller whose id has no seat at all gets one only by an administrator's word. */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/call.h"

#define SILENT_MS 2000          /* an old disk is given up after so long */
#define LEARNER_SILENT_MS 60000 /* a learner is */
#define WANTS_MS 5000           /* who asked so long ago does not ask any more */

/* A request whose change is on its way. */
struct seat_call {
    struct call *call;
    int64_t index;
};

/* ---- members --------------------------------------------------------------------------------- */

static const struct raft_member *
member_of_disk(const struct ctl *ctl, struct raft_id id)
{
    for (uint32_t i = 0; i < ctl->raft->members.count; i++) {
        if (raft_id_equal(ctl->raft->members.at[i].id, id)) {
            return &ctl->raft->members.at[i];
        }
    }
    return NULL;
}

/* Another disk with the same node id. */
static const struct raft_member *
other_disk(const struct ctl *ctl, struct raft_id id)
{
    for (uint32_t i = 0; i < ctl->raft->members.count; i++) {
        const struct raft_member *member = &ctl->raft->members.at[i];
        if (member->id.node == id.node && !uuid_equal(member->id.disk, id.disk)) {
            return member;
        }
    }
    return NULL;
}

static const struct raft_member *
voter_of_node(const struct ctl *ctl, int32_t node)
{
    for (uint32_t i = 0; i < ctl->raft->members.count; i++) {
        const struct raft_member *member = &ctl->raft->members.at[i];
        if (member->id.node == node && member->voter) {
            return member;
        }
    }
    return NULL;
}

static enum raft_result
change(struct ctl *ctl, struct raft_id id, bool add)
{
    struct raft_event event = {.kind = RAFT_CHANGE_VOTERS};
    event.u.change.peer = id;
    event.u.change.add = add;
    enum raft_result result = quorum_step(ctl, &event);
    if (result == RAFT_OK) {
        ctl_log(ctl, false, "seat_%s controller=%" PRId32, add ? "given" : "taken", id.node);
    }
    return result;
}

static enum raft_result
add_learner(struct ctl *ctl, struct raft_id id)
{
    struct raft_event event = {.kind = RAFT_ADD_LEARNER};
    event.u.peer = id;
    enum raft_result result = quorum_step(ctl, &event);
    if (result == RAFT_OK) {
        ctl_log(ctl, false, "learner controller=%" PRId32, id.node);
    }
    return result;
}

/* ---- by itself ------------------------------------------------------------------------------- */

dmq_err
seats_duplicate(int32_t node, struct err_msg *err)
{
    return err_set(err, DMQ_ERR_DUPLICATE_VOTER,
                   "controller %" PRId32 " was here a moment ago with another disk: if two "
                   "processes use this id, stop one; else this one gets the seat in a few seconds",
                   node);
}

dmq_err
seats_want(struct ctl *ctl, struct raft_id id, struct err_msg *err)
{
    struct mate *mate = mate_find(ctl, id.node);
    DMQ_ASSERT(mate != NULL && ctl->leading);
    mate->wants = id.disk;
    mate->wanted_ms = ctl->now_ms;
    if (member_of_disk(ctl, id) != NULL) {
        return DMQ_OK; /* it has not heard yet */
    }
    const struct raft_member *old = other_disk(ctl, id);
    if (old == NULL) {
        return err_set(err, DMQ_ERR_VOTER_NOT_FOUND,
                       "controller %" PRId32 " has no seat in this cluster: give it one with "
                       "'dmq quorum add %" PRId32 "'",
                       id.node, id.node);
    }
    if (raft_silent_ms(ctl->raft, old->id) < SILENT_MS) {
        return seats_duplicate(id.node, err);
    }
    if (ctl->batch.state != BATCH_OPEN) {
        add_learner(ctl, id); /* if another change is on its way, it asks again */
    }
    return DMQ_OK;
}

static bool
has_caught_up(const struct ctl *ctl, struct raft_id id)
{
    for (uint32_t i = 0; i < ctl->raft->members.count; i++) {
        const struct raft_peer *peer = &ctl->raft->peers[i];
        if (raft_id_equal(peer->id, id)) {
            return peer->caught_up;
        }
    }
    return false;
}

/* One step towards a whole quorum; each waits for the one before it. True if it was taken. */
static bool
care_for_learner(struct ctl *ctl, const struct raft_member *learner)
{
    struct raft_id id = learner->id;
    const struct raft_member *old = other_disk(ctl, id);
    if (raft_silent_ms(ctl->raft, id) > LEARNER_SILENT_MS) {
        return change(ctl, id, false) == RAFT_OK;
    }
    if (!has_caught_up(ctl, id)) {
        return false;
    }
    if (old == NULL) {
        return change(ctl, id, true) == RAFT_OK;
    }
    return raft_silent_ms(ctl->raft, old->id) >= SILENT_MS &&
           change(ctl, old->id, false) == RAFT_OK;
}

/* A learner that cannot have its step yet keeps nobody else waiting: it may be a disk that is gone
 * already. */
void
seats_tick(struct ctl *ctl)
{
    if (!ctl->leading || ctl->raft->members_index > ctl->raft->commit) {
        return;
    }
    for (uint32_t i = 0; i < ctl->raft->members.count; i++) {
        const struct raft_member *member = &ctl->raft->members.at[i];
        if (!member->voter && care_for_learner(ctl, member)) {
            return; /* the list is another one now */
        }
    }
}

/* ---- by request ------------------------------------------------------------------------------ */

static void
finish(struct ctl *ctl, struct call *call, const void *response)
{
    if (call->err.code == DMQ_OK) {
        ctl_call_set_body(call, response);
    }
    ctl_call_finish(ctl, call);
}

static dmq_err
explain(enum raft_result result, struct err_msg *err, const char *what)
{
    switch (result) {
    case RAFT_OK:
        return DMQ_OK;
    case RAFT_BUSY:
        return err_set(err, DMQ_ERR_THROTTLED,
                       "another change of the quorum is on its way: try again in a moment");
    case RAFT_REFUSED:
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "%s", what);
    case RAFT_NOT_LEADER:
    case RAFT_DEAD:
        break;
    }
    return err_set(err, DMQ_ERR_NOT_CONTROLLER, "this controller does not lead any more");
}

static void
wait_for(struct ctl *ctl, struct call *call, enum raft_result result, const char *why)
{
    int64_t index = ctl->raft_out->index;
    if (result == RAFT_OK && ctl->seat_call != NULL) {
        result = RAFT_BUSY; /* cannot be: Raft has one change at a time */
    }
    if (explain(result, &call->err, why) != DMQ_OK) {
        finish(ctl, call, NULL);
        return;
    }
    ctl->seat_call = ctl_alloc(sizeof(*ctl->seat_call));
    *ctl->seat_call = (struct seat_call){.call = call, .index = index};
}

static void
on_add(struct ctl *ctl, struct call *call)
{
    const struct add_controller_request *request = call->request;
    const struct mate *mate = mate_find(ctl, request->controller_id);
    bool wants =
        mate != NULL && !uuid_is_zero(mate->wants) && ctl->now_ms - mate->wanted_ms < WANTS_MS;
    if (voter_of_node(ctl, request->controller_id) != NULL) {
        err_set(&call->err, DMQ_ERR_INVALID_REQUEST, "controller %" PRId32 " has a seat already",
                request->controller_id);
    } else if (!wants) {
        err_set(&call->err, DMQ_ERR_INVALID_REQUEST,
                "controller %" PRId32
                " does not ask for a seat: start it, with a services.json that "
                "all controllers share",
                request->controller_id);
    }
    if (call->err.code != DMQ_OK) {
        finish(ctl, call, NULL);
        return;
    }
    struct raft_id id = {.node = request->controller_id, .disk = mate->wants};
    wait_for(ctl, call, add_learner(ctl, id), "there are as many members as there may be");
}

static void
on_remove(struct ctl *ctl, struct call *call)
{
    const struct remove_controller_request *request = call->request;
    const struct raft_member *member = voter_of_node(ctl, request->controller_id);
    for (uint32_t i = 0; member == NULL && i < ctl->raft->members.count; i++) {
        bool same = ctl->raft->members.at[i].id.node == request->controller_id;
        member = same ? &ctl->raft->members.at[i] : NULL;
    }
    if (member == NULL) {
        err_set(&call->err, DMQ_ERR_VOTER_NOT_FOUND, "controller %" PRId32 " has no seat",
                request->controller_id);
        finish(ctl, call, NULL);
        return;
    }
    wait_for(ctl, call, change(ctl, member->id, false), "the last voter cannot be removed");
}

static void
on_transfer(struct ctl *ctl, struct call *call)
{
    const struct transfer_leader_request *request = call->request;
    const struct transfer_leader_response response = {.leader = ctl->config.controller_id};
    const struct raft_member *member = voter_of_node(ctl, request->controller_id);
    struct raft_event event = {.kind = RAFT_TRANSFER};
    if (member == NULL) {
        err_set(&call->err, DMQ_ERR_VOTER_NOT_FOUND, "controller %" PRId32 " is no voter",
                request->controller_id);
    } else if (request->controller_id != ctl->config.controller_id) {
        event.u.peer = member->id;
        enum raft_result result = quorum_step(ctl, &event);
        explain(result, &call->err, "it cannot take the leadership");
    }
    finish(ctl, call, &response);
}

void
seats_call(struct ctl *ctl, struct call *call)
{
    if (!ctl->leading) {
        quorum_not_leader(ctl, &call->err);
        finish(ctl, call, NULL);
        return;
    }
    switch (call->api->key) {
    case API_ADD_CONTROLLER:
        on_add(ctl, call);
        break;
    case API_REMOVE_CONTROLLER:
        on_remove(ctl, call);
        break;
    default:
        DMQ_ASSERT(call->api->key == API_TRANSFER_LEADER);
        on_transfer(ctl, call);
        break;
    }
}

void
seats_on_committed(struct ctl *ctl, int64_t index)
{
    struct seat_call *waiting = ctl->seat_call;
    if (waiting == NULL || waiting->index > index) {
        return;
    }
    const struct add_controller_response added = {.version = waiting->index};
    const struct remove_controller_response removed = {.version = waiting->index};
    bool add = waiting->call->api->key == API_ADD_CONTROLLER;
    ctl->seat_call = NULL;
    finish(ctl, waiting->call, add ? (const void *)&added : (const void *)&removed);
    free(waiting);
}

void
seats_abandon(struct ctl *ctl)
{
    struct seat_call *waiting = ctl->seat_call;
    if (waiting == NULL) {
        return;
    }
    ctl->seat_call = NULL;
    err_set(&waiting->call->err, DMQ_ERR_NETWORK,
            "controller %" PRId32 " lost the leadership meanwhile: the change may have been made",
            ctl->config.controller_id);
    ctl_call_finish(ctl, waiting->call);
    free(waiting);
}

void
seats_free(struct ctl *ctl)
{
    if (ctl->seat_call != NULL) {
        ctl_call_free(ctl->seat_call->call);
        free(ctl->seat_call);
    }
}
