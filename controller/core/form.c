/* How this node comes to its seat (DESIGN: forming a cluster).
 *
 * A node whose disk is empty asks the other controllers of services.json who they are, again and
 * again. If all of them say, in one round, that they are empty too, the one with the lowest id
 * makes the list of first voters: every node with its disk. It is synced before anybody hears of
 * it. The others take that list from whoever has it, if it names their own disk, and sync it before
 * they vote. The cluster's id is the list's hash, so that no two lists are one cluster.
 *
 * A node that finds a cluster in which its disk has no part (emptied, replaced, damaged, new)
 * starts Raft with nothing and goes on asking: the leader hears by that that it wants a seat
 * (seats.c). It has no vote until it has caught up, for it may have forgotten one (trap 20).
 *
 * So does a first voter that slept until nobody knew that list any more. Its disk stands in the
 * list of members, and never promised anything: the others count its vote, and with the leader's
 * log or snapshot it hears who is a member (controller/raft/leader.c). */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/core/call.h"

#define ASK_INTERVAL_MS 100
#define ASK_TIMEOUT_MS 1000
#define LEADERLESS_MS 3000  /* who hears of no leader for so long asks whether it has a seat */
#define OUTNUMBERED_MS 3000 /* the others hear of this node, too, before it ends */

/* ---- mates ----------------------------------------------------------------------------------- */

struct mate *
mate_find(struct ctl *ctl, int32_t controller_id)
{
    for (size_t i = 0; i < ctl->mate_count; i++) {
        if (ctl->mates[i].id == controller_id) {
            return &ctl->mates[i];
        }
    }
    return NULL;
}

static bool
has_seat(const struct ctl *ctl)
{
    for (uint32_t i = 0; i < ctl->raft->members.count; i++) {
        if (raft_id_equal(ctl->raft->members.at[i].id, ctl->raft->config.self)) {
            return true;
        }
    }
    return false;
}

/* One that was removed while it was away, or did not hear of it, has a list of members in which it
 * still stands, and nobody sends it a newer one: it finds no leader, and asks. */
static bool
asks(const struct ctl *ctl)
{
    bool leaderless = ctl->now_ms - ctl->led_ms >= LEADERLESS_MS;
    return ctl->seat == SEAT_NONE || (ctl->seat == SEAT_RAFT && (!has_seat(ctl) || leaderless));
}

static struct raft_id
own_id(const struct ctl *ctl)
{
    return (struct raft_id){.node = ctl->config.controller_id, .disk = ctl->config.disk_id};
}

/* ---- the cluster's id ------------------------------------------------------------------------ */

static uint64_t
mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    hash *= UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ (hash >> 32);
}

/* Two lists differ in disks, which are drawn with 128 bits: nobody chooses them to collide. */
static struct uuid
cluster_id_of(const struct raft_members *members)
{
    struct uuid id;
    struct buf *encoded = raft_members_encode(members);
    uint64_t high = 1, low = 2;
    for (size_t i = 0; i < encoded->size; i++) {
        high = mix(high, encoded->data[i]);
        low = mix(low, encoded->data[i] + UINT64_C(0x100));
    }
    buf_unref(encoded);
    put_be64(id.b, high);
    put_be64(id.b + 8, low | 1); /* never zero: that means none */
    return id;
}

static void
belong_to(struct ctl *ctl, struct uuid cluster_id)
{
    char text[UUID_TEXT_SIZE];
    DMQ_ASSERT(uuid_is_zero(ctl->cluster_id) && !uuid_is_zero(cluster_id));
    ctl->cluster_id = cluster_id;
    ctl_emit(ctl, CTL_CLUSTER)->u.cluster_id = cluster_id;
    ctl_log(ctl, false, "cluster id=%s", uuid_text(cluster_id, text));
}

/* ---- founding -------------------------------------------------------------------------------- */

/* The list goes to the disk; until it is there it is not spoken of. */
static void
found(struct ctl *ctl, const struct raft_members *members)
{
    const struct raft_snapshot first = {.members = *members};
    const struct raft_persist write = {.from = 1, .snapshot = &first};
    DMQ_ASSERT(ctl->seat == SEAT_NONE && ctl->may_found);
    ctl->seat = SEAT_FOUNDING;
    ctl->founders = *members;
    ctl_emit(ctl, CTL_PERSIST)->u.persist = raft_persist_copy(&write);
}

void
form_on_persisted(struct ctl *ctl, dmq_err err)
{
    DMQ_ASSERT(ctl->seat == SEAT_FOUNDING);
    if (err != DMQ_OK) {
        ctl_fail(ctl, "store_failed error=%s text=\"the first voters could not be stored\"",
                 err_name(err));
        return;
    }
    const struct raft_saved saved = {.snapshot = {.members = ctl->founders}};
    belong_to(ctl, cluster_id_of(&ctl->founders));
    quorum_start(ctl, &saved);
}

static void
add_voter(struct raft_members *members, struct raft_id id)
{
    uint32_t at = members->count++;
    for (; at > 0 && members->at[at - 1].id.node > id.node; at--) {
        members->at[at] = members->at[at - 1];
    }
    members->at[at] = (struct raft_member){.id = id, .voter = true};
}

/* Only the lowest id makes a list, and only when everybody was empty in one and the same round: an
 * older answer may be of a disk that is another by now, or of a node that has joined since. */
static void
found_if_all_empty(struct ctl *ctl)
{
    struct raft_members members = {0};
    if (ctl->seat != SEAT_NONE || !ctl->may_found) {
        return;
    }
    add_voter(&members, own_id(ctl));
    for (size_t i = 0; i < ctl->mate_count; i++) {
        const struct mate *mate = &ctl->mates[i];
        if (mate->id < ctl->config.controller_id || mate->empty_in != ctl->form_round) {
            return;
        }
        add_voter(&members, (struct raft_id){.node = mate->id, .disk = mate->disk});
    }
    found(ctl, &members);
}

/* ---- joining --------------------------------------------------------------------------------- */

static bool
names_us(const struct ctl *ctl, const struct raft_members *members)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (raft_id_equal(members->at[i].id, own_id(ctl))) {
            return true;
        }
    }
    return false;
}

/* Takes the first list if it names our disk: then this node is one of them. Otherwise the cluster
 * is there without us. */
static void
join(struct ctl *ctl, const struct quorum_state_response *answer)
{
    struct raft_members members;
    static const struct raft_saved nothing;
    bool whole = answer->first_voters_count > 0 &&
                 raft_wire_members(answer->first_voters, answer->first_voters_count, &members) &&
                 uuid_equal(cluster_id_of(&members), answer->cluster_id);
    if (ctl->may_found && whole && names_us(ctl, &members)) {
        found(ctl, &members);
        return;
    }
    if (uuid_is_zero(ctl->cluster_id)) {
        belong_to(ctl, answer->cluster_id);
    }
    ctl->may_found = false;
    ctl_log(ctl, false, "joining text=\"the cluster began without this disk: asking for a seat\"");
    quorum_start(ctl, &nothing);
}

/* One that has lost the list itself cannot say that this disk is not in it: another is waited for.
 */
static void
take_answer(struct ctl *ctl, struct mate *mate, const struct quorum_state_response *answer)
{
    if (answer->self.node != mate->id) {
        return;
    }
    mate->refused = DMQ_OK;
    if (answer->empty) {
        mate->disk = answer->self.disk;
        mate->empty_in = mate->asked_in;
        found_if_all_empty(ctl);
    } else if (!uuid_is_zero(answer->cluster_id) && !answer->joining && ctl->seat == SEAT_NONE) {
        join(ctl, answer);
    }
}

static size_t
foreign_mates(const struct ctl *ctl)
{
    size_t foreign = 0;
    for (size_t i = 0; i < ctl->mate_count; i++) {
        foreign += ctl->mates[i].foreign;
    }
    return foreign;
}

/* Most controllers of services.json are of another cluster than this folder: waiting helps nobody.
 * Where not so many answer, it cannot be told who is wrong. One that knew a leader goes on, too:
 * somebody may just be starting the wrong ones. */
static void
look_for_strangers(struct ctl *ctl)
{
    bool outnumbered = !ctl->failed && !ctl->ready && 2 * foreign_mates(ctl) > ctl->mate_count + 1;
    if (!outnumbered) {
        ctl->outnumbered_until_ms = INT64_MAX;
    } else if (ctl->outnumbered_until_ms == INT64_MAX) {
        ctl->outnumbered_until_ms = ctl->now_ms + OUTNUMBERED_MS;
    }
}

static void
end_if_outnumbered(struct ctl *ctl)
{
    char ours[UUID_TEXT_SIZE];
    look_for_strangers(ctl);
    if (ctl->failed || ctl->now_ms < ctl->outnumbered_until_ms) {
        return;
    }
    ctl_fail(ctl,
             "other_cluster error=%s text=\"data folder %s is of cluster %s, %zu of the %zu "
             "controllers of services.json are of another: give the services.json of its cluster, "
             "or an empty --data to join them\"",
             err_name(DMQ_ERR_INCONSISTENT_CLUSTER_ID),
             ctl->config.data_dir != NULL ? ctl->config.data_dir : "of this controller",
             uuid_text(ctl->cluster_id, ours), foreign_mates(ctl), ctl->mate_count + 1);
}

void
form_on_foreign(struct ctl *ctl, int32_t controller_id)
{
    struct mate *mate = mate_find(ctl, controller_id);
    if (mate != NULL) {
        mate->foreign = true;
        look_for_strangers(ctl);
    }
}

static void
refuse_once(struct ctl *ctl, struct mate *mate, dmq_err code, const char *text)
{
    if (mate->refused != code) {
        mate->refused = code;
        ctl_log(ctl, true, "refused controller=%" PRId32 " error=%s text=\"%s\"", mate->id,
                err_name(code), text);
    }
}

static bool
is_ours(const struct ctl *ctl, struct uuid cluster_id)
{
    return uuid_is_zero(cluster_id) || uuid_is_zero(ctl->cluster_id) ||
           uuid_equal(cluster_id, ctl->cluster_id);
}

void
form_on_answer(struct ctl *ctl, const struct ctl_event *event)
{
    struct arena arena;
    struct err_msg err = {.text = ""};
    struct quorum_state_response answer;
    struct mate *mate = mate_find(ctl, event->u.answered.controller_id);
    if (mate == NULL || mate->asked != event->u.answered.number) {
        return;
    }
    mate->asked = 0;
    dmq_err code = event->u.answered.err;
    bool there = code != DMQ_ERR_NETWORK && code != DMQ_ERR_TIMEOUT && code != DMQ_ERR_UNREACHABLE;
    arena_init(&arena, 65536);
    if (code != DMQ_OK) {
        struct bytes text = event->u.answered.body;
        err_set(&err, code, "%.*s", (int)text.size, (const char *)text.data);
    } else {
        code = msg_decode(desc_quorum_state_response(), 0, event->u.answered.body, &arena, &answer,
                          &err);
    }
    if (code == DMQ_OK && !is_ours(ctl, answer.cluster_id)) {
        code = err_set(&err, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                       "it belongs to another cluster: check services.json and the data folders");
    }
    if (code == DMQ_OK) {
        take_answer(ctl, mate, &answer);
    } else if (there) {
        refuse_once(ctl, mate, code, err.text[0] != '\0' ? err.text : err_text(code));
    }
    if (code == DMQ_ERR_INCONSISTENT_CLUSTER_ID) {
        form_on_foreign(ctl, mate->id);
    }
    arena_deinit(&arena);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void
ask(struct ctl *ctl, struct mate *mate)
{
    struct quorum_state_request request = {.cluster_id = ctl->cluster_id,
                                           .self = raft_wire_node(own_id(ctl)),
                                           .empty = ctl->seat == SEAT_NONE && ctl->may_found};
    struct ctl_effect *effect = ctl_emit(ctl, CTL_ASK);
    mate->asked = ++ctl->last_ask;
    mate->asked_in = ctl->form_round;
    effect->u.ask.controller_id = mate->id;
    effect->u.ask.number = mate->asked;
    effect->u.ask.timeout_ms = ASK_TIMEOUT_MS;
    effect->u.ask.body = msg_encode_buf(desc_quorum_state_request(), 0, &request);
    DMQ_ASSERT(effect->u.ask.body != NULL);
}

void
form_tick(struct ctl *ctl)
{
    end_if_outnumbered(ctl);
    ctl->led_ms = quorum_leader(ctl) != -1 ? ctl->now_ms : ctl->led_ms;
    if (ctl->failed || !asks(ctl) || ctl->now_ms < ctl->form_due_ms) {
        return;
    }
    ctl->form_round++;
    ctl->form_due_ms = ctl->now_ms + ASK_INTERVAL_MS;
    for (size_t i = 0; i < ctl->mate_count; i++) {
        if (ctl->mates[i].up && ctl->mates[i].asked == 0) {
            ask(ctl, &ctl->mates[i]);
        }
    }
    found_if_all_empty(ctl); /* a lone controller has nobody to ask */
}

int64_t
form_deadline(const struct ctl *ctl)
{
    bool leaderless = ctl->seat == SEAT_RAFT && quorum_leader(ctl) == -1;
    int64_t due = asks(ctl)    ? ctl->form_due_ms
                  : leaderless ? ctl->led_ms + LEADERLESS_MS
                               : INT64_MAX;
    return due < ctl->outnumbered_until_ms ? due : ctl->outnumbered_until_ms;
}

void
form_on_mate(struct ctl *ctl, enum ctl_event_kind kind, int32_t controller_id)
{
    struct mate *mate = mate_find(ctl, controller_id);
    if (mate == NULL) {
        return;
    }
    bool was_up = mate->up;
    mate->up = kind == CTL_MATE_UP || (was_up && kind == CTL_MATE_GONE);
    if (kind == CTL_MATE_UP) {
        mate->foreign = false;
        ctl->form_due_ms = ctl->now_ms; /* perhaps it was the last one missing */
    } else if (kind == CTL_MATE_DOWN) {
        /* libzmq does not tell a process that ended from a network that went silent. */
        ctl_emit(ctl, CTL_PROBE_MATE)->u.peer = controller_id;
    } else if (!was_up && ctl->raft != NULL) { /* else it is old news */
        struct raft_event event = {.kind = RAFT_PEER_GONE};
        event.u.gone = controller_id;
        quorum_step(ctl, &event);
    }
}

/* ---- being asked ----------------------------------------------------------------------------- */

static dmq_err
check_asker(struct ctl *ctl, const struct quorum_state_request *request, struct err_msg *err)
{
    struct mate *mate = mate_find(ctl, request->self.node);
    if (request->self.node == ctl->config.controller_id) {
        return err_set(err, DMQ_ERR_WRONG_NODE,
                       "this is controller %" PRId32 " itself: two processes use one id",
                       ctl->config.controller_id);
    }
    if (mate == NULL) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "controller %" PRId32 " is not in the services.json of controller %" PRId32,
                       request->self.node, ctl->config.controller_id);
    }
    if (!is_ours(ctl, request->cluster_id)) {
        ctl->stats.messages_refused++;
        refuse_once(ctl, mate, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                    "it belongs to another cluster: check services.json and the data folders");
        return err_set(err, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                       "controller %" PRId32 " belongs to another cluster",
                       ctl->config.controller_id);
    }
    return DMQ_OK;
}

/* A leader is not asked by who has its id: the others say that there is one. */
static dmq_err
check_leader_id(const struct ctl *ctl, struct raft_id self, struct err_msg *err)
{
    bool other = ctl->raft != NULL && ctl->raft->leader.node == self.node &&
                 !raft_id_equal(ctl->raft->leader, self);
    return other ? seats_duplicate(self.node, err) : DMQ_OK;
}

dmq_err
ctl_on_quorum_state(struct ctl *ctl, struct call *call)
{
    const struct quorum_state_request *request = call->request;
    struct raft_seat seats[RAFT_MAX_MEMBERS];
    struct quorum_state_response response = {.cluster_id = ctl->cluster_id,
                                             .self = raft_wire_node(own_id(ctl)),
                                             .empty = ctl->seat == SEAT_NONE && ctl->may_found,
                                             .first_voters = seats};
    dmq_err code = check_asker(ctl, request, &call->err);
    if (code == DMQ_OK && !request->empty) {
        struct raft_id self = raft_wire_id(request->self);
        code = ctl->leading ? seats_want(ctl, self, &call->err)
                            : check_leader_id(ctl, self, &call->err);
    }
    if (code != DMQ_OK) {
        return code;
    }
    response.joining = ctl->raft != NULL && ctl->raft->members.count == 0;
    if (ctl->raft != NULL && ctl->raft->snapshot.index == 0) {
        response.first_voters_count = raft_wire_seats(&ctl->raft->snapshot.members, seats);
    }
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* The founding list is still there: then its hash is what the folder must say. */
static bool
check_cluster(struct ctl *ctl, const struct raft_saved *saved)
{
    bool first = saved->snapshot.index == 0 && saved->snapshot.members.count > 0;
    struct uuid hash = first ? cluster_id_of(&saved->snapshot.members) : (struct uuid){{0}};
    if (first && uuid_is_zero(ctl->cluster_id)) {
        belong_to(ctl, hash); /* the process ended between the list and this note */
    }
    if (uuid_is_zero(ctl->cluster_id) || (first && !uuid_equal(ctl->cluster_id, hash))) {
        ctl_fail(ctl,
                 "store_refused text=\"the store is not of the cluster that the folder belongs "
                 "to: restore the one that belongs together\"");
        return false;
    }
    return true;
}

void
form_start(struct ctl *ctl, const struct raft_saved *saved)
{
    bool empty = saved->term == 0 && saved->count == 0 && saved->snapshot.members.count == 0 &&
                 saved->snapshot.index == 0;
    ctl->cluster_id = ctl->config.cluster_id;
    ctl->form_due_ms = ctl->now_ms;
    ctl->led_ms = ctl->now_ms;
    ctl->outnumbered_until_ms = INT64_MAX;
    ctl->may_found = empty && uuid_is_zero(ctl->cluster_id);
    for (size_t i = 0; i < ctl->config.controller_count; i++) {
        if (ctl->config.controllers[i] != ctl->config.controller_id) {
            ctl->mates[ctl->mate_count++].id = ctl->config.controllers[i];
        }
    }
    if (!empty && check_cluster(ctl, saved)) {
        quorum_start(ctl, saved);
    } else if (empty && !ctl->may_found) {
        static const struct raft_saved nothing;
        quorum_start(ctl, &nothing); /* it lost what it had: it asks for a seat anew */
    }
}
