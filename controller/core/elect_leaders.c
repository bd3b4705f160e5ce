/* Leaders by command. Preferred: a leadership goes to the first replica where it is in sync, which
 * loses nothing. Unclean: a partition that nobody may lead, because all who were in sync are gone,
 * is led by a replica that was not; what only the others hold is lost for good, also if they come
 * back. So that takes a request that says so twice, names its topic, and is answered with what may
 * be lost; where a clean leader can be had it gets that one.
 *
 * A partition that cannot get its leader fails alone: the others are done. */
#include <inttypes.h>
#include <stdio.h>

#include "controller/core/call.h"

#define MAX_ROWS 1000     /* of an answer */
#define MAX_ELECTED 10000 /* of a request */

struct tally {
    struct ctl *ctl;
    const struct elect_leaders_request *request;
    struct arena *arena; /* of the call: what rows point to */
    struct elect_leaders_response response;
};

static dmq_err
check(const struct elect_leaders_request *request, struct err_msg *err)
{
    bool named = request->topic_name.size > 0 || !uuid_is_zero(request->topic_id);
    if (request->all_topics == named) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "an election names one topic, or says that it is of all topics");
    }
    if (request->unclean && request->all_topics) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "unclean elections lose records: they are asked for topic by topic");
    }
    if (request->unclean && !request->accept_data_loss) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "an unclean election loses acknowledged records that only the replicas hold "
                       "which are gone, also if they come back: say that this is accepted");
    }
    if (request->partition < -1 || (request->all_topics && request->partition != -1)) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "%" PRId32 " is no partition: -1 means all of them", request->partition);
    }
    if (request->broker_id < -1 || (request->broker_id != -1 && !request->unclean)) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "only an unclean election takes a broker: the preferred one is the first "
                       "replica");
    }
    return DMQ_OK;
}

/* ---- one partition --------------------------------------------------------------------------- */

/* Who holds all that was acknowledged: ISR and ELR. In the arena, for the record is about to go. */
static int32_t *
in_sync(struct arena *arena, const struct partition_record *p, uint32_t *ret_count)
{
    uint32_t count = p->isr_count + p->elr_count;
    int32_t *ids = arena_alloc(arena, (count + 1) * sizeof(*ids));
    DMQ_ASSERT(ids != NULL && count <= META_MAX_REPLICAS);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = i < p->isr_count ? p->isr[i] : p->elr[i - p->isr_count];
    }
    *ret_count = count;
    return ids;
}

static struct bytes
sentence(struct arena *arena, const char *text)
{
    size_t size = strlen(text);
    char *copy = arena_alloc(arena, size + 1);
    DMQ_ASSERT(copy != NULL);
    memcpy(copy, text, size + 1);
    return bytes_of(copy, size);
}

/* What a person is told: why it failed, or what is lost. */
static struct bytes
explain(const struct tally *tally, const struct elected_partition *row,
        const struct partition_record *p)
{
    char text[400];
    char who[200] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < row->last_in_sync_count && at < sizeof(who) - 12; i++) {
        at += (size_t)snprintf(who + at, sizeof(who) - at, "%s%" PRId32, i == 0 ? "" : ", ",
                               row->last_in_sync[i]);
    }
    if (row->error == DMQ_ERR_PREFERRED_LEADER_NOT_AVAILABLE) {
        snprintf(text, sizeof(text), "broker %" PRId32 ", the first replica, is not in sync",
                 p->replicas[0]);
    } else if (row->error != DMQ_OK && tally->request->broker_id != -1) {
        snprintf(text, sizeof(text), "broker %" PRId32 " is no replica that is live",
                 tally->request->broker_id);
    } else if (row->error != DMQ_OK) {
        snprintf(text, sizeof(text), "no broker that holds a replica is live: start one");
    } else {
        snprintf(
            text, sizeof(text),
            "broker %" PRId32 " was not in sync: records that it lacks are lost%s%s", row->leader,
            at > 0 ? "; last in sync were brokers " : ", and nobody is known to hold them", who);
    }
    return sentence(tally->arena, text);
}

static bool
holds(const struct elected_partition *row, int32_t broker_id)
{
    for (uint32_t i = 0; i < row->last_in_sync_count; i++) {
        if (row->last_in_sync[i] == broker_id) {
            return true;
        }
    }
    return false;
}

/* Says in the log, too, what was given up. */
static void
note_unclean(struct ctl *ctl, const struct elected_partition *row)
{
    ctl->stats.unclean_elections++;
    ctl_log(ctl, true,
            "unclean_election topic=%.*s partition=%" PRId32 " leader=%" PRId32 " epoch=%" PRId32
            " text=\"%.*s\"",
            (int)row->topic_name.size, (const char *)row->topic_name.data, row->partition,
            row->leader, row->leader_epoch, (int)row->message.size,
            (const char *)row->message.data);
}

static void
add(struct tally *tally, const struct elected_partition *row)
{
    struct elect_leaders_response *response = &tally->response;
    response->elected_count += row->error == DMQ_OK;
    response->failed_count += row->error != DMQ_OK;
    if (response->partitions_count < MAX_ROWS) {
        response->partitions[response->partitions_count++] = *row;
    }
}

static void
elect(struct tally *tally, const struct image_topic *topic, int32_t partition)
{
    struct ctl *ctl = tally->ctl;
    const struct elect_leaders_request *request = tally->request;
    const struct partition_record *p = topic->partitions[partition];
    struct elected_partition row = {.topic_name = topic->record->name,
                                    .topic_id = topic->record->topic_id,
                                    .partition = partition,
                                    .former_leader = p->leader};
    if (tally->response.elected_count == MAX_ELECTED) {
        tally->response.left_count++;
        return;
    }
    if (request->unclean) {
        row.last_in_sync = in_sync(tally->arena, p, &row.last_in_sync_count);
    }
    row.error =
        request->unclean ? change_elect_unclean(ctl, p, request->broker_id) : change_prefer(ctl, p);
    if (row.error == DMQ_ERR_ELECTION_NOT_NEEDED) {
        tally->response.not_needed_count++;
        return;
    }
    p = image_partition(ctl->image, row.topic_id, partition);
    row.leader = p->leader;
    row.leader_epoch = p->leader_epoch;
    row.unclean = request->unclean && row.error == DMQ_OK && !holds(&row, row.leader);
    if (row.unclean || row.error != DMQ_OK) {
        row.message = explain(tally, &row, p);
    }
    if (row.unclean) {
        note_unclean(ctl, &row);
    } else {
        row.last_in_sync_count = 0;
    }
    add(tally, &row);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void
elect_topic(struct tally *tally, struct uuid topic_id)
{
    uint32_t count = image_topic_by_id(tally->ctl->image, topic_id)->partition_count;
    for (uint32_t i = 0; i < count; i++) {
        elect(tally, image_topic_by_id(tally->ctl->image, topic_id), (int32_t)i);
    }
}

static dmq_err
elect_named(struct tally *tally, struct err_msg *err)
{
    const struct elect_leaders_request *request = tally->request;
    const struct image_topic *topic;
    dmq_err code =
        find_topic(tally->ctl->image, request->topic_id, request->topic_name, &topic, err);
    if (code != DMQ_OK) {
        return code;
    }
    if (request->partition >= (int32_t)topic->partition_count) {
        return err_set(err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "the topic has %" PRIu32 " partitions: there is no partition %" PRId32,
                       topic->partition_count, request->partition);
    }
    if (request->partition == -1) {
        elect_topic(tally, topic->record->topic_id);
    } else {
        elect(tally, topic, request->partition);
    }
    return DMQ_OK;
}

dmq_err
ctl_on_elect_leaders(struct ctl *ctl, struct call *call)
{
    const struct elect_leaders_request *request = call->request;
    struct arena arena;
    struct tally tally = {.ctl = ctl, .request = request, .arena = &arena};
    dmq_err code = check(request, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    arena_init(&arena, SIZE_MAX);
    tally.response.partitions = arena_alloc(&arena, MAX_ROWS * sizeof(*tally.response.partitions));
    DMQ_ASSERT(tally.response.partitions != NULL);
    if (request->all_topics) {
        for (uint32_t i = 0; i < image_topic_count(ctl->image); i++) {
            elect_topic(&tally, image_topic_at(ctl->image, i)->record->topic_id);
        }
    } else {
        code = elect_named(&tally, &call->err);
    }
    if (code == DMQ_OK) {
        ctl_call_set_body(call, &tally.response);
    }
    arena_deinit(&arena);
    return code;
}
