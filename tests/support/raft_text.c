#include "tests/support/raft_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/support/raft_disk.h"

void
raft_text_add(struct raft_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(t->text + t->size, sizeof(t->text) - t->size, format, args);
    va_end(args);
    size_t left = sizeof(t->text) - t->size - 1;
    t->size += (size_t)size < left ? (size_t)size : left;
}

const char *
raft_result_name(enum raft_result result)
{
    static const char *const names[] = {"ok", "not-leader", "busy", "refused", "dead"};
    return names[result];
}

static const char *
role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return names[role];
}

void
raft_text_id(struct raft_text *t, struct raft_id id)
{
    if (id.node == 0) {
        raft_text_add(t, "none");
        return;
    }
    raft_text_add(t, "%" PRId32, id.node);
    if (raft_test_generation(id) != 1) {
        raft_text_add(t, ".%d", raft_test_generation(id));
    }
}

/* Voters, then learners with a +. */
void
raft_text_members(struct raft_text *t, const struct raft_members *members)
{
    for (uint32_t i = 0; i < members->count; i++) {
        raft_text_add(t, "%s%s", i == 0 ? "" : ",", members->at[i].voter ? "" : "+");
        raft_text_id(t, members->at[i].id);
    }
}

static void
add_entry(struct raft_text *t, const struct raft_entry *entry)
{
    struct raft_members members;
    raft_text_add(t, " %" PRId64 ":", entry->term);
    switch (entry->kind) {
    case RAFT_ENTRY_NOOP:
        raft_text_add(t, "noop");
        break;
    case RAFT_ENTRY_DATA:
        raft_text_add(t, "%.*s", (int)(entry->payload->size > 16 ? 16 : entry->payload->size),
                      (const char *)entry->payload->data);
        break;
    case RAFT_ENTRY_MEMBERS:
        if (raft_members_decode(buf_bytes(entry->payload), &members)) {
            raft_text_add(t, "members(");
            raft_text_members(t, &members);
            raft_text_add(t, ")");
        }
        break;
    }
}

static void
add_entries(struct raft_text *t, const struct raft_entry *entries, int64_t count)
{
    raft_text_add(t, " [");
    for (int64_t i = 0; i < count; i++) {
        add_entry(t, &entries[i]);
    }
    raft_text_add(t, " ]");
}

static const char *
kind_name(enum raft_message_kind kind)
{
    static const char *const names[] = {"pre-vote?", "pre-vote",        "vote?",
                                        "vote",      "append",          "append-answer",
                                        "snapshot",  "snapshot-answer", "timeout-now"};
    return names[kind];
}

static void
add_append_answer(struct raft_text *t, const struct raft_message *m)
{
    if (m->ok) {
        raft_text_add(t, " yes match=%" PRId64, m->index);
    } else {
        raft_text_add(t, " no rejected=%" PRId64 " hint=%" PRId64 "/%" PRId64, m->rejected,
                      m->index, m->log_term);
    }
    if (m->round > 0) {
        raft_text_add(t, " round=%" PRId64, m->round);
    }
}

static void
add_fields(struct raft_text *t, const struct raft_message *m)
{
    switch (m->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        raft_text_add(t, " last=%" PRId64 "/%" PRId64 "%s", m->index, m->log_term,
                      m->force ? " force" : "");
        break;
    case RAFT_PRE_VOTE_ANSWER:
    case RAFT_VOTE_ANSWER:
        raft_text_add(t, " %s", m->ok ? "yes" : "no");
        break;
    case RAFT_APPEND:
        raft_text_add(t, " prev=%" PRId64 "/%" PRId64 " commit=%" PRId64, m->index, m->log_term,
                      m->commit);
        if (m->round > 0) {
            raft_text_add(t, " round=%" PRId64, m->round);
        }
        if (m->members != NULL) {
            raft_text_add(t, " members=");
            raft_text_members(t, m->members);
        }
        add_entries(t, m->entries, m->entry_count);
        break;
    case RAFT_APPEND_ANSWER:
        add_append_answer(t, m);
        break;
    case RAFT_SNAPSHOT:
        raft_text_add(t, " %" PRId64 "/%" PRId64 " members=", m->index, m->log_term);
        raft_text_members(t, m->members);
        raft_text_add(t, " bytes=%" PRId64 "+%zu/%" PRId64, m->offset, m->data.size, m->size);
        break;
    case RAFT_SNAPSHOT_ANSWER:
        raft_text_add(t, " %" PRId64 " next=%" PRId64, m->index, m->offset);
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
}

void
raft_text_message(struct raft_text *t, const struct raft_message *message)
{
    raft_text_id(t, message->from);
    raft_text_add(t, ">");
    raft_text_id(t, message->to);
    raft_text_add(t, " %s term=%" PRId64, kind_name(message->kind), message->term);
    add_fields(t, message);
}

static void
add_persist(struct raft_text *t, const struct raft_persist *write)
{
    raft_text_add(t, "persist #%" PRIu64 " term=%" PRId64 " vote=", write->seq, write->term);
    raft_text_id(t, write->vote);
    raft_text_add(t, " commit=%" PRId64, write->commit);
    if (write->snapshot != NULL) {
        raft_text_add(t, " snapshot=%" PRId64 "/%" PRId64 " drop=%" PRId64, write->snapshot->index,
                      write->snapshot->term, write->prev_index);
    }
    raft_text_add(t, " from=%" PRId64, write->from);
    add_entries(t, write->entries, write->count);
}

void
raft_text_effect(struct raft_text *t, const struct raft *raft, const struct raft_effect *effect)
{
    switch (effect->kind) {
    case RAFT_PERSIST:
        add_persist(t, &effect->u.persist);
        break;
    case RAFT_SEND:
        raft_text_message(t, &effect->u.message);
        break;
    case RAFT_COMMITTED:
        raft_text_add(t, "committed %" PRId64 "..%" PRId64, effect->u.committed.first,
                      effect->u.committed.last);
        break;
    case RAFT_INSTALL:
        raft_text_add(t, "install %" PRId64 "/%" PRId64 " members=", raft->snapshot.index,
                      raft->snapshot.term);
        raft_text_members(t, &raft->snapshot.members);
        break;
    case RAFT_ROLE:
        raft_text_add(t, "%s term=%" PRId64 " leader=", role_name(effect->u.role.role),
                      effect->u.role.term);
        raft_text_id(t, effect->u.role.leader);
        break;
    case RAFT_READ_READY:
        raft_text_add(t, "read %" PRIu64 " sees %" PRId64, effect->u.read.id, effect->u.read.index);
        break;
    case RAFT_READ_FAILED:
        raft_text_add(t, "read %" PRIu64 " failed", effect->u.read.id);
        break;
    case RAFT_CAUGHT_UP:
        raft_text_add(t, "caught up ");
        raft_text_id(t, effect->u.caught_up);
        break;
    case RAFT_FAILED:
        raft_text_add(t, "dead: the disk failed");
        break;
    }
}

void
raft_text_state(struct raft_text *t, const struct raft *raft)
{
    raft_text_add(t, "%s term=%" PRId64 " vote=", role_name(raft->role), raft->term);
    raft_text_id(t, raft->vote);
    raft_text_add(t, " leader=");
    raft_text_id(t, raft->leader);
    raft_text_add(t, " commit=%" PRId64 " synced=%" PRId64 " members=", raft->commit,
                  raft->synced_last);
    raft_text_members(t, &raft->members);
    raft_text_add(t, " log=%" PRId64 "/%" PRId64, raft->log.prev_index, raft->log.prev_term);
    add_entries(t, raft->log.entries, raft->log.count);
}
