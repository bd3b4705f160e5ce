#include <stdio.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* Finds the controller that leads, and talks to it.
 *
 *   PAUSE --retry_at--> DIALLING --its hello: it leads--> UP
 *     ^                  |    ^                           |
 *     +-- all tried -----+----+ next one <----------------+ connection ended, silence,
 *                                                           "I do not lead"
 *
 * A round dials each controller of services.json at most once and without a pause: whoever leads as
 * far as is known (a hello, a push), then the paired one, then the others. After a round without a
 * leader there is a pause. A round ends well only when the leader has answered a request: one whose
 * hello says that it leads, but which refuses what it is asked, is not dialled again and again.
 *
 * Invariants: requests are sent only while controller_up; what was on its way when that ends is
 * told to whoever asked, in the same step; a connection that is not the last one asked for says
 * nothing that counts. */

#define FIRST_PAUSE_MS 5 /* an election is short, and dialling costs little */
#define LAST_PAUSE_MS 200
#define SILENCE_BEATS 3 /* so many heartbeats without any answer: the leader is given up */
#define SILENCE_MIN_MS 1000
#define MAX_PLACES 64 /* more members the quorum never has */

/* ---- the round ------------------------------------------------------------------------------- */

static size_t
place_count(const struct brk *brk)
{
    size_t count = brk->config.controller_count;
    return count < MAX_PLACES ? count : MAX_PLACES;
}

static int32_t
id_at(const struct brk *brk, int place)
{
    DMQ_ASSERT(place >= 0 && (size_t)place < place_count(brk));
    return brk->config.controllers[place].id;
}

static int
place_of(const struct brk *brk, int32_t id)
{
    for (int i = 0; i < (int)place_count(brk); i++) {
        if (id_at(brk, i) == id) {
            return i;
        }
    }
    return -1;
}

static int
count_bits(uint64_t bits)
{
    int count = 0;
    for (; bits != 0; bits &= bits - 1) {
        count++;
    }
    return count;
}

static bool
is_tried(const struct seek *seek, int place)
{
    return (seek->tried & UINT64_C(1) << place) != 0;
}

static void
dial(struct brk *brk, int place)
{
    DMQ_ASSERT(!brk->controller_up);
    brk->seek.place = place;
    brk->seek.tried |= UINT64_C(1) << place;
    brk->seek.retry_at_ms = INT64_MAX;
    brk_emit(brk, BRK_CONTROLLER_CONNECT)->u.controller_id = id_at(brk, place);
}

static void
forget_round(struct seek *seek)
{
    seek->place = -1;
    seek->tried = 0;
    seek->reached = 0;
    seek->strange = 0;
}

/* A broker whose folder is of another cluster than all controllers will not get anywhere by
 * waiting. One that served already goes on: somebody may just be starting the wrong controllers. */
static bool
is_lost(const struct brk *brk)
{
    return brk->seek.strange == brk->seek.tried && brk->broker_epoch < 0;
}

/* Nobody leads, or nobody that can be reached. */
static void
end_round(struct brk *brk)
{
    struct seek *seek = &brk->seek;
    if (is_lost(brk)) {
        brk_log(brk, true,
                "event=refused error=%s text=\"data folder %s is of another cluster than the "
                "controllers of services.json: give the services.json of its cluster, or an empty "
                "--data\"",
                err_name(DMQ_ERR_INCONSISTENT_CLUSTER_ID), brk->config.data_dir);
        brk_exit(brk, 1);
    }
    seek->reached_last = count_bits(seek->reached);
    forget_round(seek);
    seek->retry_at_ms = brk->now_ms + seek->pause_ms;
    seek->pause_ms = seek->pause_ms * 2 < LAST_PAUSE_MS ? seek->pause_ms * 2 : LAST_PAUSE_MS;
    if (seek->reached_last == 0) {
        lifecycle_no_controller(brk);
    }
}

/* Whoever leads as far as is known, then the paired one, then the others. */
static void
dial_next(struct brk *brk)
{
    const struct seek *seek = &brk->seek;
    const int first[] = {place_of(brk, seek->leader), place_of(brk, brk->config.first_controller)};
    for (int i = -2; i < (int)place_count(brk); i++) {
        int place = i < 0 ? first[i + 2] : i;
        if (place >= 0 && !is_tried(seek, place)) {
            dial(brk, place);
            return;
        }
    }
    end_round(brk);
}

/* Requests on their way are told, those that may be sent again wait for the next leader. */
static void
lose_leader(struct brk *brk)
{
    brk->seek.answer_by_ms = INT64_MAX;
    brk->seek.first_tag = brk->last_tag;
    if (brk->controller_up) {
        brk->controller_up = false;
        lifecycle_controller_down(brk);
    }
}

static void
give_up(struct brk *brk, bool reached)
{
    uint64_t bit = UINT64_C(1) << brk->seek.place;
    brk->seek.reached = reached ? brk->seek.reached | bit : brk->seek.reached & ~bit;
    if (brk->seek.leader == id_at(brk, brk->seek.place)) {
        brk->seek.leader = -1;
    }
    lose_leader(brk);
    dial_next(brk);
}

void
controllers_start(struct brk *brk)
{
    DMQ_ASSERT(place_count(brk) > 0);
    forget_round(&brk->seek);
    brk->seek.leader = -1;
    brk->seek.pause_ms = FIRST_PAUSE_MS;
    brk->seek.answer_by_ms = INT64_MAX;
    dial_next(brk);
}

/* ---- what connections say -------------------------------------------------------------------- */

static bool
is_dialled(const struct brk *brk, int32_t id)
{
    return brk->seek.place >= 0 && id_at(brk, brk->seek.place) == id;
}

void
controllers_on_up(struct brk *brk, int32_t id, int32_t leader)
{
    struct seek *seek = &brk->seek;
    if (!is_dialled(brk, id) || brk->controller_up) {
        return;
    }
    seek->reached |= UINT64_C(1) << seek->place;
    int place = place_of(brk, leader);
    if (leader != id) {
        seek->leader = place >= 0 && !is_tried(seek, place) ? leader : -1;
        dial_next(brk);
        return;
    }
    seek->leader = id;
    brk->controller_id = id;
    brk->controller_up = true;
    lifecycle_controller_up(brk);
}

void
controllers_on_down(struct brk *brk, int32_t id, dmq_err why)
{
    if (is_dialled(brk, id)) {
        if (why == DMQ_ERR_INCONSISTENT_CLUSTER_ID) {
            brk->seek.strange |= UINT64_C(1) << brk->seek.place;
        }
        give_up(brk, false);
    }
}

/* A push shows who leads before anybody is asked. Pushes of one term come from one controller, so
 * only a newer term is a reason to leave a leader that answers. */
void
controllers_named(struct brk *brk, int32_t id, bool newer)
{
    int place = place_of(brk, id);
    brk->controller_id = id;
    if (place < 0 || is_dialled(brk, id) || (brk->controller_up && !newer)) {
        return;
    }
    lose_leader(brk);
    forget_round(&brk->seek);
    brk->seek.leader = id;
    dial(brk, place);
}

/* ---- what the leader says -------------------------------------------------------------------- */

void
controllers_refused(struct brk *brk)
{
    DMQ_ASSERT(brk->controller_up);
    give_up(brk, true);
}

bool
controllers_is_loss(dmq_err err)
{
    return err == DMQ_ERR_NOT_CONTROLLER || err == DMQ_ERR_NETWORK;
}

void
controllers_heard(struct brk *brk, dmq_err err)
{
    struct seek *seek = &brk->seek;
    DMQ_ASSERT(brk->controller_up && seek->place >= 0);
    if (controllers_is_loss(err)) {
        controllers_refused(brk);
        return;
    }
    seek->tried = UINT64_C(1) << seek->place;
    seek->reached = 0;
    seek->strange = 0;
    seek->pause_ms = FIRST_PAUSE_MS;
    seek->answer_by_ms = INT64_MAX;
}

bool
controllers_is_stray(const struct brk *brk, int64_t tag)
{
    return brk->controller_up && tag > brk->seek.first_tag;
}

int64_t
controller_send(struct brk *brk, int api_key, const void *body, struct buf **attachments,
                size_t count, int64_t timeout_ms)
{
    const struct api_desc *api = api_find(api_key);
    struct buf *frame = msg_encode_buf(api->request(), api->max_version, body);
    DMQ_ASSERT(frame != NULL && brk->controller_up && timeout_ms > 0);
    struct brk_effect *effect = brk_emit(brk, BRK_CONTROLLER_SEND);
    effect->u.send.tag = ++brk->last_tag;
    effect->u.send.api_key = api->key;
    effect->u.send.body = frame;
    effect->u.send.timeout_ms = (int32_t)timeout_ms;
    effect->u.send.metadata_version = image_version(brk->image);
    if (count > 0) {
        effect->u.send.frames = brk_alloc(count * sizeof(*attachments));
        effect->u.send.count = count;
        memcpy(effect->u.send.frames, attachments, count * sizeof(*attachments));
    }
    return brk->last_tag;
}

/* libzmq finds out late that a peer has stopped without closing its connection; a leader that
 * another one followed meanwhile must be left before. */
int64_t
controller_ask(struct brk *brk, int api_key, const void *body)
{
    int64_t silence_ms = SILENCE_BEATS * brk->config.heartbeat_ms;
    silence_ms = silence_ms > SILENCE_MIN_MS ? silence_ms : SILENCE_MIN_MS;
    if (brk->seek.answer_by_ms == INT64_MAX) {
        brk->seek.answer_by_ms = brk->now_ms + silence_ms;
    }
    return controller_send(brk, api_key, body, NULL, 0, CALL_DEFAULT_TIMEOUT_MS);
}

dmq_err
controller_answer(const struct brk_reply *reply, const struct struct_desc *desc, void *ret_response,
                  int64_t *ret_version, struct err_msg *err)
{
    struct arena arena;
    struct response_header header;
    *ret_version = -1;
    if (reply->count == 0) {
        return err_set(err, reply->err != DMQ_OK ? reply->err : DMQ_ERR_NETWORK,
                       "no answer came: %s", err_text(reply->err));
    }
    arena_init(&arena, 4096); /* these answers hold no lists */
    dmq_err failed =
        msg_decode(desc_response_header(), 0, buf_bytes(reply->frames[0]), &arena, &header, err);
    if (failed == DMQ_OK) {
        *ret_version = header.metadata_version;
    }
    if (failed == DMQ_OK && header.error != DMQ_OK) {
        failed = err_set(err, header.error, "%.*s", (int)header.message.size,
                         (const char *)header.message.data);
    } else if (failed == DMQ_OK) {
        failed = reply->count < 2
                     ? err_set(err, DMQ_ERR_INVALID_REQUEST, "answer has no body")
                     : msg_decode(desc, 0, buf_bytes(reply->frames[1]), &arena, ret_response, err);
    }
    arena_deinit(&arena);
    return failed;
}

/* ---- time ------------------------------------------------------------------------------------ */

void
controllers_tick(struct brk *brk)
{
    struct seek *seek = &brk->seek;
    if (seek->retry_at_ms <= brk->now_ms) {
        DMQ_ASSERT(seek->place < 0 && !brk->controller_up);
        dial_next(brk);
    }
    if (seek->answer_by_ms <= brk->now_ms) {
        brk_log(brk, true, "event=controller_silent controller=%d", id_at(brk, seek->place));
        give_up(brk, false);
    }
}

int64_t
controllers_deadline(const struct brk *brk)
{
    const struct seek *seek = &brk->seek;
    return seek->retry_at_ms < seek->answer_by_ms ? seek->retry_at_ms : seek->answer_by_ms;
}

const char *
controllers_no_leader(const struct brk *brk, char text[NO_LEADER_TEXT_SIZE])
{
    size_t count = place_count(brk);
    snprintf(text, NO_LEADER_TEXT_SIZE,
             "no controller leads at the moment: %d of %zu can be reached, %zu %s needed",
             brk->seek.reached_last, count, count / 2 + 1, count == 1 ? "is" : "are");
    return text;
}
