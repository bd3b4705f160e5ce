/* Raft's messages as rows of the message table, one API for all kinds. Whether a message makes
 * sense is Raft's business (controller/raft/check.c); here it is only known to be well-formed. */
#include <stdlib.h>

#include "controller/core/ctl.h"

_Static_assert(RAFT_PRE_VOTE == 0 && RAFT_TIMEOUT_NOW == 8, "the table documents these numbers");
_Static_assert(RAFT_ENTRY_NOOP == 0 && RAFT_ENTRY_MEMBERS == 2, "and these");

struct raft_node
raft_wire_node(struct raft_id id)
{
    return (struct raft_node){.node = id.node, .disk = id.disk};
}

struct raft_id
raft_wire_id(struct raft_node node)
{
    return (struct raft_id){.node = node.node, .disk = node.disk};
}

/* ---- members --------------------------------------------------------------------------------- */

uint32_t
raft_wire_seats(const struct raft_members *members, struct raft_seat *seats)
{
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->at[i];
        seats[i] = (struct raft_seat){
            .node = member->id.node, .disk = member->id.disk, .voter = member->voter};
    }
    return members->count;
}

/* Raft's own encoding knows what a list must be; it is asked, so that there is one rule. */
bool
raft_wire_members(const struct raft_seat *seats, uint32_t count, struct raft_members *ret_members)
{
    if (count > RAFT_MAX_MEMBERS) {
        return false;
    }
    struct raft_members members = {.count = count};
    for (uint32_t i = 0; i < count; i++) {
        members.at[i] = (struct raft_member){.id = {.node = seats[i].node, .disk = seats[i].disk},
                                             .voter = seats[i].voter};
    }
    struct buf *encoded = raft_members_encode(&members);
    bool valid = raft_members_decode(buf_bytes(encoded), ret_members);
    buf_unref(encoded);
    return valid;
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct raft_item *
items_of(const struct raft_message *message)
{
    struct raft_item *items = ctl_alloc((message->entry_count + 1) * sizeof(*items));
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        items[i].term = entry->term;
        items[i].kind = (int8_t)entry->kind;
        items[i].payload = entry->payload != NULL ? buf_bytes(entry->payload) : bytes_str("");
    }
    return items;
}

struct buf *
raft_wire_encode(const struct raft_message *message, struct uuid cluster_id)
{
    struct raft_seat seats[RAFT_MAX_MEMBERS];
    struct raft_request request = {
        .cluster_id = cluster_id,
        .kind = (int8_t)message->kind,
        .from = raft_wire_node(message->from),
        .to = raft_wire_node(message->to),
        .term = message->term,
        .index = message->index,
        .log_term = message->log_term,
        .commit = message->commit,
        .round = message->round,
        .rejected = message->rejected,
        .ok = message->ok,
        .force = message->force,
        .entries = items_of(message),
        .entries_count = message->entry_count,
        .members = seats,
        .members_count = message->members != NULL ? raft_wire_seats(message->members, seats) : 0,
        .offset = message->offset,
        .size = message->size,
        .data = message->data,
    };
    struct buf *body = msg_encode_buf(desc_raft_request(), 0, &request);
    DMQ_ASSERT(body != NULL);
    free(request.entries);
    return body;
}

static dmq_err
take_members(const struct raft_request *request, struct arena *arena, struct raft_message *message,
             struct err_msg *err)
{
    struct raft_members *members = arena_alloc(arena, sizeof(*members));
    if (members == NULL || !raft_wire_members(request->members, request->members_count, members)) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "the list of members is none");
    }
    message->members = members;
    return DMQ_OK;
}

/* The payloads are copied out of the frame, for Raft keeps them for long and the frame would stay
 * with them. */
static dmq_err
take_entries(const struct raft_request *request, struct arena *arena, struct raft_message *message,
             struct err_msg *err)
{
    size_t size = (request->entries_count + 1) * sizeof(struct raft_entry);
    struct raft_entry *entries = arena_alloc(arena, size);
    if (entries == NULL) {
        return err_set(err, DMQ_ERR_NOMEM, "too many entries");
    }
    message->entries = entries;
    for (uint32_t i = 0; i < request->entries_count; i++) {
        const struct raft_item *item = &request->entries[i];
        if (item->kind < RAFT_ENTRY_NOOP || item->kind > RAFT_ENTRY_MEMBERS) {
            return err_set(err, DMQ_ERR_INVALID_REQUEST, "entries of kind %d are not known",
                           item->kind);
        }
        entries[i].term = item->term;
        entries[i].kind = (enum raft_entry_kind)item->kind;
        entries[i].payload = item->kind == RAFT_ENTRY_NOOP ? NULL : buf_copy(item->payload);
        DMQ_ASSERT(item->kind == RAFT_ENTRY_NOOP || entries[i].payload != NULL);
        message->entry_count = i + 1;
    }
    return DMQ_OK;
}

dmq_err
raft_wire_decode(const struct raft_request *request, struct arena *arena,
                 struct raft_message *ret_message, struct err_msg *err)
{
    *ret_message = (struct raft_message){
        .kind = (enum raft_message_kind)request->kind,
        .from = raft_wire_id(request->from),
        .to = raft_wire_id(request->to),
        .term = request->term,
        .index = request->index,
        .log_term = request->log_term,
        .commit = request->commit,
        .round = request->round,
        .rejected = request->rejected,
        .ok = request->ok,
        .force = request->force,
        .offset = request->offset,
        .size = request->size,
        .data = request->data,
    };
    if (request->kind < RAFT_PRE_VOTE || request->kind > RAFT_TIMEOUT_NOW) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "messages of kind %d are not known",
                       request->kind);
    }
    bool lists = request->kind == RAFT_SNAPSHOT || request->members_count > 0;
    dmq_err code = lists ? take_members(request, arena, ret_message, err) : DMQ_OK;
    bool entries = code == DMQ_OK && request->kind != RAFT_SNAPSHOT;
    return entries ? take_entries(request, arena, ret_message, err) : code;
}

void
raft_wire_release(struct raft_message *message)
{
    for (uint32_t i = 0; i < message->entry_count; i++) {
        buf_unref(message->entries[i].payload);
    }
    message->entry_count = 0;
}
