/* Snapshots (Raft §7): ours, that the state machine hands in to shorten the log, and the leader's,
 * that arrives in chunks where our log is too short. One chunk is on its way at a time; its answer
 * names the next byte, so a lost chunk is sent again and a doubled one does nothing. A snapshot
 * carries the term of its last entry and the members as of it. */
#include "controller/raft/internal.h"

static void
replace_snapshot(struct raft *raft, int64_t index, int64_t term, struct buf *data)
{
    DMQ_ASSERT(index > raft->snapshot.index && term > 0);
    buf_unref(raft->snapshot.data);
    raft->snapshot.index = index;
    raft->snapshot.term = term;
    raft->snapshot.data = buf_ref(data);
    raft_snapshot_changed(raft);
}

/* ---- ours ------------------------------------------------------------------------------------ */

/* What a snapshot as of index makes superfluous: everything up to the index that is returned. A few
 * entries stay; a peer that lacks more gets the snapshot, which is then hardly the larger one. */
static int64_t
superfluous(const struct raft *raft, int64_t index)
{
    int64_t floor = max64(index - raft->config.keep_entries, raft->log.prev_index);
    int64_t bytes = 0;
    for (int64_t at = index; at > floor; at--) {
        const struct buf *payload = raft_log_at(&raft->log, at)->payload;
        bytes += payload != NULL ? (int64_t)payload->size : 0;
        if (bytes > raft->config.keep_bytes) {
            return at;
        }
    }
    return floor;
}

void
raft_on_compact(struct raft *raft, const struct raft_event *event)
{
    int64_t index = event->u.compact.index;
    if (raft->installing || index <= raft->snapshot.index || index <= raft->log.prev_index ||
        index > raft->told_commit) {
        raft->out->result = RAFT_REFUSED;
        return;
    }
    DMQ_ASSERT(event->u.compact.data != NULL && index <= raft->synced_last);
    struct raft_members members;
    raft_members_as_of(raft, index, &members);
    if (members.count == 0) { /* with it would go what came before: the list may be in that log */
        raft->out->result = RAFT_REFUSED;
        return;
    }
    replace_snapshot(raft, index, raft_log_term_at(&raft->log, index), event->u.compact.data);
    raft->snapshot.members = members;
    raft->members_index = max64(raft->members_index, index);
    raft_log_drop(&raft->log, superfluous(raft, index));
}

/* ---- sending --------------------------------------------------------------------------------- */

void
raft_begin_sending(struct raft *raft, struct raft_peer *peer)
{
    DMQ_ASSERT(raft->snapshot.index >= raft->log.prev_index && raft->snapshot.data != NULL);
    raft_end_sending(peer);
    peer->state = RAFT_SENDING;
    peer->sending = raft->snapshot;
    buf_ref(peer->sending.data);
    peer->sending_seq = raft->snapshot_seq;
    peer->offset = 0;
    peer->sent_ms = -1;
    peer->inflight_count = 0;
    raft->stats.snapshots_sent++;
}

void
raft_end_sending(struct raft_peer *peer)
{
    buf_unref(peer->sending.data);
    peer->sending = (struct raft_snapshot){0};
}

void
raft_send_chunk(struct raft *raft, struct raft_peer *peer)
{
    bool waits = peer->sent_ms >= 0 && raft->now_ms - peer->sent_ms < raft->config.election_min_ms;
    if (waits || peer->sending_seq > raft->synced_seq) {
        return;
    }
    int64_t size = (int64_t)peer->sending.data->size;
    int64_t count = min64(size - peer->offset, raft->config.chunk_bytes);
    DMQ_ASSERT(count >= 0 && raft_hard_synced(raft));
    peer->sent_ms = raft->now_ms;
    raft_emit(raft, RAFT_SEND)->u.message = (struct raft_message){
        .kind = RAFT_SNAPSHOT,
        .from = raft->config.self,
        .to = peer->id,
        .term = raft->term,
        .index = peer->sending.index,
        .log_term = peer->sending.term,
        .round = raft->round,
        .members = &peer->sending.members,
        .offset = peer->offset,
        .size = size,
        .data = bytes_of(peer->sending.data->data + peer->offset, (size_t)count),
    };
}

void
raft_on_snapshot_answer(struct raft *raft, const struct raft_message *message)
{
    struct raft_peer *peer = raft_answered(raft, message);
    if (peer == NULL || peer->state != RAFT_SENDING || message->index != peer->sending.index ||
        message->offset > (int64_t)peer->sending.data->size) {
        return;
    }
    if (message->offset != peer->offset) {
        /* The next chunk goes with this step. After the last one it is synced there, which an
         * append's answer tells; if that does not come, an empty chunk asks what is wanted. */
        bool all = message->offset == (int64_t)peer->sending.data->size;
        peer->offset = message->offset;
        peer->sent_ms = all ? raft->now_ms : -1;
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

void
raft_drop_incoming(struct raft *raft)
{
    outbuf_deinit(&raft->incoming.data);
    raft->incoming = (struct raft_incoming){0};
}

static void
answer_chunk(struct raft *raft, const struct raft_message *message, int64_t offset)
{
    raft_send(raft, &(struct raft_message){.kind = RAFT_SNAPSHOT_ANSWER,
                                           .to = message->from,
                                           .term = raft->term,
                                           .index = message->index,
                                           .offset = offset,
                                           .round = raft->leader_round});
}

/* The whole log goes: where it had the snapshot's last entry, no snapshot was needed. Committed is
 * what is in it, but that is said when it is synced. */
static void
install(struct raft *raft)
{
    struct raft_incoming *in = &raft->incoming;
    struct buf *data = outbuf_take(&in->data);
    DMQ_ASSERT(data != NULL && (int64_t)data->size == in->size && in->index > raft->commit);
    replace_snapshot(raft, in->index, in->term, data);
    buf_unref(data);
    raft->snapshot.members = in->members;
    raft_log_reset(&raft->log, in->index, in->term);
    raft->unsaved_from = in->index + 1;
    raft->synced_last = min64(raft->synced_last, raft->commit);
    raft->installing = true;
    raft->matched = in->index;
    raft->leader_commit = max64(raft->leader_commit, in->index);
    raft->ack_due = true;
    raft_drop_incoming(raft);
    raft_adopt_members(raft);
}

void
raft_installed(struct raft *raft)
{
    DMQ_ASSERT(raft->installing && raft->commit < raft->snapshot.index);
    DMQ_ASSERT(raft->synced_last >= raft->snapshot.index);
    raft->installing = false;
    raft->commit = raft->snapshot.index;
    raft->told_commit = raft->snapshot.index;
    raft->stats.snapshots_installed++;
    raft_emit(raft, RAFT_INSTALL);
}

static void
begin_incoming(struct raft *raft, const struct raft_message *message)
{
    raft_drop_incoming(raft);
    raft->incoming.index = message->index;
    raft->incoming.term = message->log_term;
    raft->incoming.members = *message->members;
    raft->incoming.size = message->size;
}

static void
take_chunk(struct raft *raft, const struct raft_message *message)
{
    struct raft_incoming *in = &raft->incoming;
    bool other =
        in->index != message->index || in->term != message->log_term || in->size != message->size;
    if (other) {
        begin_incoming(raft, message);
    }
    if (message->offset == (int64_t)in->data.size) {
        outbuf_put(&in->data, message->data.data, message->data.size);
        DMQ_ASSERT(!in->data.failed && (int64_t)in->data.size <= in->size);
    }
    int64_t have = (int64_t)in->data.size;
    answer_chunk(raft, message, have);
    if (have == in->size) {
        install(raft);
    }
}

void
raft_on_snapshot(struct raft *raft, const struct raft_message *message)
{
    if (message->term < raft->term) {
        answer_chunk(raft, message, 0);
        return;
    }
    if (raft->role == RAFT_LEADER && message->term == raft->term) {
        raft->stats.ignored++;
        return;
    }
    raft_heard_leader(raft, message);
    bool have = message->index <= raft->commit ||
                raft_log_term_at(&raft->log, message->index) == message->log_term;
    if (have) {
        /* By the log matching property all before it is equal too. */
        raft->matched = max64(raft->matched, message->index);
        raft_follow_commit(raft);
        raft_answer_append(raft);
        return;
    }
    if (!raft->installing) {
        take_chunk(raft, message);
    }
}
