/* Who is a member, and changes of that: one at a time (thesis §4.1), so that any majority of the
 * old voters and any of the new ones share a voter. A list is in force as soon as it is in the log,
 * committed or not; if it is cut off, the one before it is in force again. */
#include "controller/raft/internal.h"

#define MEMBER_BYTES 21

bool
raft_id_equal(struct raft_id a, struct raft_id b)
{
    return a.node == b.node && uuid_equal(a.disk, b.disk);
}

/* ---- as bytes -------------------------------------------------------------------------------- */

struct buf *
raft_members_encode(const struct raft_members *members)
{
    DMQ_ASSERT(members->count <= RAFT_MAX_MEMBERS);
    struct buf *buf = buf_new(1 + (size_t)members->count * MEMBER_BYTES);
    DMQ_ASSERT(buf != NULL);
    uint8_t *p = buf->data;
    *p++ = (uint8_t)members->count;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->at[i];
        put_be32(p, (uint32_t)member->id.node);
        memcpy(p + 4, member->id.disk.b, 16);
        p[20] = member->voter;
        p += MEMBER_BYTES;
    }
    return buf;
}

/* Whether the member at place i may stand beside those before it. */
static bool
fits(const struct raft_members *members, uint32_t i)
{
    const struct raft_member *member = &members->at[i];
    if (member->id.node <= 0) {
        return false;
    }
    for (uint32_t k = 0; k < i; k++) {
        const struct raft_member *other = &members->at[k];
        bool same_node = other->id.node == member->id.node;
        if (same_node &&
            (uuid_equal(other->id.disk, member->id.disk) || (other->voter && member->voter))) {
            return false;
        }
    }
    return true;
}

bool
raft_members_decode(struct bytes bytes, struct raft_members *ret_members)
{
    struct raft_members members = {0};
    uint32_t voters = 0;
    if (bytes.size == 0 || bytes.data[0] > RAFT_MAX_MEMBERS ||
        bytes.size != 1 + (size_t)bytes.data[0] * MEMBER_BYTES) {
        return false;
    }
    const uint8_t *p = bytes.data + 1;
    for (; members.count < bytes.data[0]; members.count++, p += MEMBER_BYTES) {
        struct raft_member *member = &members.at[members.count];
        member->id.node = (int32_t)get_be32(p);
        memcpy(member->id.disk.b, p + 4, 16);
        member->voter = p[20] == 1;
        voters += member->voter;
        if (p[20] > 1 || !fits(&members, members.count)) {
            return false;
        }
    }
    if (voters == 0 || voters > RAFT_MAX_VOTERS) {
        return false;
    }
    *ret_members = members;
    return true;
}

/* ---- who ------------------------------------------------------------------------------------- */

/* Its place in the list, which is its place among the peers; count if it is no member. */
static uint32_t
place_of(const struct raft_members *members, struct raft_id id)
{
    uint32_t place = 0;
    while (place < members->count && !raft_id_equal(members->at[place].id, id)) {
        place++;
    }
    return place;
}

bool
raft_is_voter(const struct raft *raft, struct raft_id id)
{
    uint32_t place = place_of(&raft->members, id);
    return place < raft->members.count && raft->members.at[place].voter;
}

bool
raft_votes(const struct raft *raft)
{
    return raft_is_voter(raft, raft->config.self);
}

static uint32_t
count_voters(const struct raft_members *members)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        voters += members->at[i].voter;
    }
    return voters;
}

uint32_t
raft_voter_count(const struct raft *raft)
{
    return count_voters(&raft->members);
}

struct raft_peer *
raft_find_peer(struct raft *raft, struct raft_id id)
{
    uint32_t place = place_of(&raft->members, id);
    return place == raft->members.count ? NULL : &raft->peers[place];
}

bool
raft_is_self(const struct raft *raft, const struct raft_peer *peer)
{
    return raft_id_equal(peer->id, raft->config.self);
}

int64_t
raft_silent_ms(const struct raft *raft, struct raft_id id)
{
    uint32_t place = place_of(&raft->members, id);
    if (place == raft->members.count || raft->role != RAFT_LEADER) {
        return -1;
    }
    const struct raft_peer *peer = &raft->peers[place];
    return raft_is_self(raft, peer) ? 0 : raft->now_ms - peer->heard_ms;
}

int64_t
raft_quorum_value(const struct raft *raft,
                  int64_t (*value_of)(const struct raft *raft, const struct raft_peer *peer))
{
    int64_t values[RAFT_MAX_VOTERS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        if (!raft->members.at[i].voter) {
            continue;
        }
        DMQ_ASSERT(count < RAFT_MAX_VOTERS);
        int64_t value = value_of(raft, &raft->peers[i]);
        uint32_t k = count++;
        for (; k > 0 && values[k - 1] < value; k--) {
            values[k] = values[k - 1];
        }
        values[k] = value;
    }
    DMQ_ASSERT(count > 0);
    return values[count / 2]; /* largest first: so many and one more reach it */
}

/* ---- which list is in force ------------------------------------------------------------------ */

/* The last list at or below index; the index that it stands at. */
static int64_t
last_members(const struct raft *raft, int64_t index, struct raft_members *ret_members)
{
    int64_t lowest = max64(raft->snapshot.index, raft->log.prev_index);
    for (int64_t i = index; i > lowest; i--) {
        const struct raft_entry *entry = raft_log_at(&raft->log, i);
        if (entry->kind == RAFT_ENTRY_MEMBERS) {
            bool good = raft_members_decode(buf_bytes(entry->payload), ret_members);
            DMQ_ASSERT(good); /* checked when it was appended */
            return i;
        }
    }
    *ret_members = raft->snapshot.members;
    return raft->snapshot.index;
}

/* Thesis §4.2.2: who is removed by a list that is not committed may still have to stand, without
 * its own vote: it can be the only one whose log a majority of the new list lets win. */
bool
raft_may_stand(const struct raft *raft)
{
    if (raft_is_voter(raft, raft->config.self)) {
        return true;
    }
    struct raft_members before;
    if (raft->members_index <= raft->commit || raft->members_index <= raft->snapshot.index) {
        return false;
    }
    last_members(raft, raft->members_index - 1, &before);
    uint32_t place = place_of(&before, raft->config.self);
    return place < before.count && before.at[place].voter;
}

void
raft_members_as_of(const struct raft *raft, int64_t index, struct raft_members *ret_members)
{
    DMQ_ASSERT(index >= raft->snapshot.index && index <= raft_log_last(&raft->log));
    last_members(raft, index, ret_members);
}

/* Moves what is known of those who stay to their new places. */
static void
adopt(struct raft *raft, const struct raft_members *members)
{
    struct raft_peer before[RAFT_MAX_MEMBERS];
    uint32_t before_count = raft->members.count;
    memcpy(before, raft->peers, sizeof(before));
    raft->members = *members;
    for (uint32_t i = 0; i < members->count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        uint32_t k = 0;
        while (k < before_count && !raft_id_equal(before[k].id, members->at[i].id)) {
            k++;
        }
        if (k < before_count) {
            *peer = before[k];
            before[k].sending = (struct raft_snapshot){0};
        } else {
            *peer = (struct raft_peer){.id = members->at[i].id};
            raft_reset_peer(raft, peer);
        }
    }
    for (uint32_t k = 0; k < before_count; k++) {
        raft_end_sending(&before[k]);
    }
    for (uint32_t i = members->count; i < RAFT_MAX_MEMBERS; i++) {
        raft->peers[i] = (struct raft_peer){0};
    }
}

void
raft_adopt_members(struct raft *raft)
{
    struct raft_members members;
    bool was_voter = raft_is_voter(raft, raft->config.self);
    raft->members_index = last_members(raft, raft_log_last(&raft->log), &members);
    adopt(raft, &members);
    if (!was_voter && raft->role == RAFT_FOLLOWER) {
        raft_reset_election(raft); /* a new voter gives the leader its time */
    }
}

/* ---- changes --------------------------------------------------------------------------------- */

/* A change needs that the one before it is committed (thesis §4.1) and an entry of this term too:
 * without that, two leaders could each append one and get disjoint majorities (Ongaro, raft-dev,
 * "bug in single-server membership changes", 2015). */
static enum raft_result
may_change(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return RAFT_NOT_LEADER;
    }
    bool pending = raft->members_index > raft->commit;
    return pending || !raft_ready(raft) || raft->transfer_to.node != 0 ? RAFT_BUSY : RAFT_OK;
}

static void
append_members(struct raft *raft, const struct raft_members *members)
{
    struct buf *payload = raft_members_encode(members);
    raft->out->index = raft_append_own(raft, RAFT_ENTRY_MEMBERS, payload);
    raft->out->term = raft->term;
    buf_unref(payload);
    DMQ_ASSERT(raft->members_index == raft->out->index);
}

void
raft_on_add_learner(struct raft *raft, const struct raft_event *event)
{
    enum raft_result *result = &raft->out->result;
    struct raft_members members = raft->members;
    *result = may_change(raft);
    if (*result != RAFT_OK) {
        return;
    }
    if (event->u.peer.node <= 0 || members.count == RAFT_MAX_MEMBERS ||
        place_of(&members, event->u.peer) < members.count) {
        *result = RAFT_REFUSED;
        return;
    }
    members.at[members.count++] = (struct raft_member){.id = event->u.peer};
    append_members(raft, &members);
}

/* A learner becomes a voter only when it has nearly all of the log: otherwise it would hold up
 * every commit that needs it (thesis §4.2.1). */
static bool
may_promote(struct raft *raft, const struct raft_members *members, uint32_t place)
{
    struct raft_members after = *members;
    after.at[place].voter = true;
    for (uint32_t i = 0; i < after.count; i++) {
        if (i != place && after.at[i].voter && after.at[i].id.node == after.at[place].id.node) {
            return false; /* its old disk first */
        }
    }
    return !members->at[place].voter && count_voters(&after) <= RAFT_MAX_VOTERS &&
           raft->peers[place].caught_up;
}

void
raft_on_change_voters(struct raft *raft, const struct raft_event *event)
{
    struct raft_members members = raft->members;
    uint32_t place = place_of(&members, event->u.change.peer);
    enum raft_result *result = &raft->out->result;
    *result = may_change(raft);
    if (*result != RAFT_OK) {
        return;
    }
    if (place == members.count) {
        *result = RAFT_REFUSED;
        return;
    }
    if (event->u.change.add && may_promote(raft, &members, place)) {
        members.at[place].voter = true;
    } else if (!event->u.change.add && (!members.at[place].voter || count_voters(&members) > 1)) {
        members.at[place] = members.at[--members.count];
    } else {
        *result = RAFT_REFUSED;
        return;
    }
    append_members(raft, &members);
}
