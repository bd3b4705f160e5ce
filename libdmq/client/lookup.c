/* Offsets by time or name. Each partition is a lookup of its own, retried until its deadline; those
 * that go to one broker at the same moment share a LIST_OFFSETS. A group is what the application
 * asked for in one call: it is done when its last lookup is, or at the first error.
 *
 * A lookup belongs either to a group or to a slot of a fetcher whose position is gone (its offset
 * was out of range and auto.offset.reset says where to go on). The latter has no deadline: the
 * consumer waits for its records, however long that takes.
 *
 * Ending one lookup of a group may end the others, which may be items of the very request that is
 * being worked off: items that are gone are NULL there. */
#include "libdmq/client/client.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"
#include "libdmq/wire/codec.h"

static void
free_lookup(struct client *c, struct lookup *lookup)
{
    DMQ_ASSERT((lookup->group == NULL) != (lookup->slot == NULL));
    for (uint32_t i = 0; lookup->request != NULL && i < lookup->request->item_count; i++) {
        if (lookup->request->items[i] == lookup) {
            lookup->request->items[i] = NULL;
        }
    }
    DL_DELETE(c->lookups, lookup);
    free(lookup);
}

static struct lookup *
add_lookup(struct client *c, const struct client_position *position, int64_t deadline_ms)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        c->broken = true;
        return NULL;
    }
    *lookup = (struct lookup){.topic = position->topic,
                              .partition = position->partition,
                              .timestamp = position->offset,
                              .deadline_ms = deadline_ms,
                              .backoff_ms = BACKOFF_FIRST_MS};
    DL_APPEND(c->lookups, lookup);
    return lookup;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void
drop_lookups_of(struct client *c, const struct lookup_group *group)
{
    struct lookup *lookup;
    struct lookup *next;
    DL_FOREACH_SAFE (c->lookups, lookup, next) {
        if (lookup->group == group) {
            free_lookup(c, lookup);
        }
    }
}

static void
finish_group(struct client *c, struct lookup_group *group)
{
    DMQ_ASSERT(group->pending == 0 || group->result.code != DMQ_OK);
    struct client_effect *effect = emit(c, CLIENT_OFFSETS);
    effect->id = group->id;
    effect->result = group->result;
    effect->u.offsets.count = group->count;
    effect->u.offsets.offsets = malloc(group->count * sizeof(int64_t) + 1);
    if (effect->u.offsets.offsets == NULL) {
        err_set(&effect->result, DMQ_ERR_NOMEM, "out of memory");
    } else if (group->count > 0) {
        memcpy(effect->u.offsets.offsets, group->offsets, group->count * sizeof(int64_t));
    }
    drop_lookups_of(c, group);
    DL_DELETE(c->lookup_groups, group);
    free(group);
}

void
lookup_add(struct client *c, const struct client_event *event)
{
    size_t count = event->u.positions.count;
    DMQ_ASSERT(event->id != 0 && count > 0 && count <= UINT32_MAX);
    struct lookup_group *group = calloc(1, sizeof(*group) + count * sizeof(int64_t));
    if (group == NULL) {
        c->broken = true;
        return;
    }
    group->id = event->id;
    group->count = (uint32_t)count;
    group->pending = (uint32_t)count;
    DL_APPEND(c->lookup_groups, group);
    for (uint32_t i = 0; i < count; i++) {
        struct lookup *lookup =
            add_lookup(c, &event->u.positions.positions[i], event->u.positions.deadline_ms);
        if (lookup != NULL) {
            lookup->group = group;
            lookup->index = i;
        }
    }
}

void
lookup_cancel(struct client *c, uint64_t id)
{
    struct lookup_group *group;
    struct lookup_group *next;
    DL_FOREACH_SAFE (c->lookup_groups, group, next) {
        if (group->id == id) {
            drop_lookups_of(c, group);
            DL_DELETE(c->lookup_groups, group);
            free(group);
        }
    }
}

void
lookup_slot(struct client *c, struct fetcher *fetcher, struct fetch_slot *slot, int64_t timestamp)
{
    DMQ_ASSERT(slot->state == FETCH_LOOKING_UP && slot->request == NULL);
    DMQ_ASSERT(timestamp == -1 || timestamp == -2);
    struct client_position position = {slot->topic, slot->partition, timestamp};
    struct lookup *lookup = add_lookup(c, &position, CLIENT_NEVER);
    if (lookup != NULL) {
        lookup->slot = slot;
        lookup->fetcher = fetcher;
    }
}

void
lookup_forget(struct client *c, const struct fetcher *fetcher)
{
    struct lookup *lookup;
    struct lookup *next;
    DL_FOREACH_SAFE (c->lookups, lookup, next) {
        if (lookup->fetcher == fetcher) {
            free_lookup(c, lookup);
        }
    }
}

/* Ends one lookup, which is gone afterwards, and maybe others of its group with it. */
static void
finish(struct client *c, struct lookup *lookup, const struct err_msg *result, int64_t offset)
{
    struct lookup_group *group = lookup->group;
    if (group == NULL) {
        fetcher_looked_up(c, lookup->fetcher, lookup->slot, result, offset);
        free_lookup(c, lookup);
        return;
    }
    DMQ_ASSERT(group->pending > 0 && lookup->index < group->count);
    group->offsets[lookup->index] = offset;
    group->pending--;
    free_lookup(c, lookup);
    if (result->code != DMQ_OK) {
        group->result = *result;
    }
    if (result->code != DMQ_OK || group->pending == 0) {
        finish_group(c, group);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool
is_final(dmq_err err)
{
    int32_t cls = err_class(err);
    return err == DMQ_OK || cls == DMQ_CLASS_FATAL || cls == DMQ_CLASS_ABORT;
}

static void
retry(struct client *c, struct lookup *lookup, dmq_err err, const char *message)
{
    DMQ_ASSERT(err != DMQ_OK && lookup->request == NULL);
    err_set(&lookup->last, err, "%s", message);
    lookup->retry_at_ms = back_off(c, &lookup->backoff_ms);
    if (error_asks_for_metadata(err)) {
        metadata_refresh(c);
    }
}

/* The answer for one partition. A time after the last record stands for the end, which then is
 * asked for: -1 alone would not say where that is. */
static void
take_result(struct client *c, struct lookup *lookup, const struct list_offsets_result *result)
{
    struct err_msg msg = {.code = result->error};
    if (!is_final(result->error)) {
        retry(c, lookup, result->error, err_text(result->error));
        return;
    }
    if (result->error != DMQ_OK) {
        err_set(&msg, result->error, "offset of partition %d of '%s': %.*s", (int)lookup->partition,
                c->topics[lookup->topic]->name, (int)result->message.size, result->message.data);
    } else if (result->offset < 0 && lookup->timestamp >= 0) {
        /* No record is that new: where the next one will be. */
        lookup->timestamp = -1;
        lookup->retry_at_ms = c->now_ms;
        return;
    }
    finish(c, lookup, &msg, result->offset);
}

/* Items become NULL as groups end. */
static void
retry_all(struct client *c, struct client_request *request, dmq_err err, const char *message)
{
    for (uint32_t i = 0; i < request->item_count; i++) {
        if (request->items[i] != NULL) {
            retry(c, request->items[i], err, message);
        }
    }
}

void
lookup_answered(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct list_offsets_response response = {0};
    struct err_msg msg = {0};
    DMQ_ASSERT(request->item_count > 0 && request->item_count <= CLIENT_MAX_LOOKUPS);
    for (uint32_t i = 0; i < request->item_count; i++) {
        if (request->items[i] != NULL) {
            DMQ_ASSERT(((struct lookup *)request->items[i])->request == request);
            ((struct lookup *)request->items[i])->request = NULL;
        }
    }
    dmq_err err = answer->err;
    const char *message = answer->message;
    if (err == DMQ_OK) {
        err = msg_decode(desc_list_offsets_response(), 0, buf_bytes(answer->body), &c->arena,
                         &response, &msg);
        message = msg.text;
    }
    if (err == DMQ_OK && response.partitions_count != request->item_count) {
        err = DMQ_ERR_INVALID_REQUEST;
        message = "the broker answered for other partitions than were asked";
    }
    if (err != DMQ_OK) {
        retry_all(c, request, err, message);
        return;
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct lookup *lookup = request->items[i];
        if (lookup != NULL) {
            /* finish() may free others of the group that are items of this request: as long as
             * they name it, it lets them be forgotten. */
            lookup->request = request;
        }
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct lookup *lookup = request->items[i];
        if (lookup != NULL) {
            request->items[i] = NULL;
            lookup->request = NULL;
            take_result(c, lookup, &response.partitions[i]);
        }
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

/* A LIST_OFFSETS under construction. */
struct batch_of_lookups {
    struct lookup *items[CLIENT_MAX_LOOKUPS];
    struct list_offsets_partition partitions[CLIENT_MAX_LOOKUPS];
    uint32_t count;
};

static void
expire(struct client *c, struct lookup *lookup)
{
    DMQ_ASSERT(c->now_ms >= lookup->deadline_ms);
    struct err_msg result = lookup->last;
    const char *name = c->topics[lookup->topic]->name;
    err_set(&result, DMQ_ERR_TIMEOUT, "offset of partition %d of '%s' was not found in time%s%s",
            (int)lookup->partition, name, lookup->last.code == DMQ_OK ? "" : ": ",
            lookup->last.text);
    finish(c, lookup, &result, -1);
}

/* True if the lookup was ended. */
static bool
check_lookup(struct client *c, struct lookup *lookup)
{
    int32_t epoch;
    struct err_msg msg;
    if (c->now_ms >= lookup->deadline_ms) {
        expire(c, lookup);
        return true;
    }
    wake_at(c, lookup->deadline_ms);
    if (lookup->request != NULL) {
        return false;
    }
    if (leader_of(c, lookup->topic, lookup->partition, &epoch, &msg) != NULL) {
        return false;
    }
    lookup->last = msg;
    /* METADATA has said that there is no such topic, or not so many partitions. */
    if (msg.code == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION || is_final(msg.code)) {
        finish(c, lookup, &msg, -1);
        return true;
    }
    return false;
}

static void
gather(struct client *c, const struct conn *conn, struct batch_of_lookups *batch)
{
    int32_t epoch = -1;
    struct err_msg msg;
    struct lookup *lookup;
    batch->count = 0;
    DL_FOREACH (c->lookups, lookup) {
        if (lookup->request != NULL || batch->count == CLIENT_MAX_LOOKUPS) {
            continue;
        }
        if (c->now_ms < lookup->retry_at_ms) {
            wake_at(c, lookup->retry_at_ms);
            continue;
        }
        if (leader_of(c, lookup->topic, lookup->partition, &epoch, &msg) != conn) {
            continue;
        }
        DMQ_ASSERT(lookup->partition >= 0 && lookup->timestamp >= -2);
        batch->items[batch->count] = lookup;
        batch->partitions[batch->count++] =
            (struct list_offsets_partition){.topic_id = c->topics[lookup->topic]->id,
                                            .partition = lookup->partition,
                                            .leader_epoch = epoch,
                                            .timestamp = lookup->timestamp};
    }
}

static void
send_lookups(struct client *c, struct conn *conn, struct batch_of_lookups *batch)
{
    DMQ_ASSERT(batch->count > 0 && batch->count <= CLIENT_MAX_LOOKUPS);
    struct list_offsets_request body = {.partitions = batch->partitions,
                                        .partitions_count = batch->count};
    struct request_spec spec = {.kind = REQUEST_LOOKUP,
                                .api_key = API_LIST_OFFSETS,
                                .body = &body,
                                .timeout_ms = CALL_TIMEOUT_MS,
                                .item_count = batch->count};
    struct client_request *request = conn_send(c, conn, &spec);
    for (uint32_t i = 0; request != NULL && i < batch->count; i++) {
        request->items[i] = batch->items[i];
        batch->items[i]->request = request;
    }
}

/* The first that is over; ending it may end others, so the list is walked anew. */
static bool
end_one(struct client *c)
{
    struct lookup *lookup;
    DL_FOREACH (c->lookups, lookup) {
        if (check_lookup(c, lookup)) {
            return true;
        }
    }
    return false;
}

void
lookups_pump(struct client *c)
{
    while (end_one(c)) {
    }
    if (c->lookups == NULL) {
        return;
    }
    struct batch_of_lookups *batch = malloc(sizeof(*batch));
    if (batch == NULL) {
        c->broken = true;
        return;
    }
    for (uint32_t i = 0; i < c->conn_count; i++) {
        struct conn *conn = c->conns[i];
        if (!conn_has_room(c, conn, 0)) {
            continue;
        }
        gather(c, conn, batch);
        if (batch->count > 0) {
            send_lookups(c, conn, batch);
        }
    }
    free(batch);
}

void
lookups_stop(struct client *c, dmq_err err)
{
    while (c->lookup_groups != NULL) {
        err_set(&c->lookup_groups->result, err, "%s", err_text(err));
        finish_group(c, c->lookup_groups);
    }
    while (c->lookups != NULL) {
        free_lookup(c, c->lookups);
    }
}
