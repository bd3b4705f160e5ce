/* What is known of brokers and topics. One METADATA is in flight at a time; each has a number, so
 * that who asks for a topic gets an answer to a request that was sent after it asked. A topic keeps
 * its handle for the life of the client, whatever becomes of the topic.
 *
 * When it is asked: when somebody wants a topic; when an answer does not fit what is known (other
 * leader, unknown id, lost connection); every five minutes. A row of refreshes backs off, so that a
 * partition without a leader does not become a storm.
 *
 * What is believed: an answer may come from a broker that is behind. Leader epochs never fall
 * (trap 7), and a topic is gone only when an answer says so that was asked for after the doubt. */
#include "libdmq/client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/dlist.h"
#include "libdmq/client/parts.h"
#include "libdmq/wire/codec.h"

#define CALM_MS 2000 /* a refresh so long after the last one is not one of a row */

struct known_topic *
topic_intern(struct client *c, const char *name)
{
    struct known_topic *topic;
    HASH_FIND_STR(c->topics_by_name, name, topic);
    if (topic != NULL) {
        return topic;
    }
    DMQ_ASSERT(strlen(name) < sizeof(topic->name) && name[0] != '\0');
    DMQ_ASSERT(c->topic_count <= CLIENT_MAX_TOPICS);
    if (c->topic_count == CLIENT_MAX_TOPICS) {
        c->broken = true;
        return NULL;
    }
    struct known_topic **topics =
        realloc(c->topics, ((size_t)c->topic_count + 1) * sizeof(struct known_topic *));
    if (topics != NULL) {
        c->topics = topics;
        topic = calloc(1, sizeof(*topic));
    }
    if (topic == NULL) {
        c->broken = true;
        return NULL;
    }
    snprintf(topic->name, sizeof(topic->name), "%s", name);
    topic->handle = c->topic_count;
    HASH_ADD_STR(c->topics_by_name, name, topic);
    if (topic->hh.tbl == NULL) {
        c->broken = true;
        free(topic);
        return NULL;
    }
    topics[c->topic_count++] = topic;
    return topic;
}

void
metadata_free(struct client *c)
{
    HASH_CLEAR(hh, c->topics_by_name);
    for (int32_t i = 0; i < c->topic_count; i++) {
        free(c->topics[i]->partitions);
        free(c->topics[i]);
    }
    free(c->topics);
    free(c->brokers);
}

/* Another cluster sits behind the addresses. */
void
metadata_forget(struct client *c)
{
    DMQ_ASSERT(!uuid_is_zero(c->cluster_id));
    c->metadata_version = 0;
    c->broker_count = 0;
    c->ready = false;
    for (int32_t i = 0; i < c->topic_count; i++) {
        c->topics[i]->answered = 0;
        c->topics[i]->partition_count = 0;
        c->topics[i]->err = DMQ_ERR_LEADER_NOT_AVAILABLE;
    }
    struct sender *s;
    DL_FOREACH (c->senders, s) {
        s->producer_id = BATCH_NO_PRODUCER_ID;
        struct send_partition *p;
        for (p = s->partitions; p != NULL; p = p->hh.next) {
            p->restart = RESTART_NEW_ID;
        }
    }
}

void
metadata_refresh(struct client *c)
{
    c->metadata_wanted = true;
}

void
metadata_want(struct client *c, struct known_topic *topic)
{
    DMQ_ASSERT(c->topics[topic->handle] == topic && topic->answered <= c->metadata_number);
    topic->wanted = c->metadata_number + 1;
    topic->in_use = true;
    c->metadata_wanted = true;
    if (!c->metadata_failed) {
        c->metadata_next_ms = c->now_ms; /* somebody waits, and the last one went well */
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Names of what is in use; CLIENT_MAX_ASKED + 1 of them if there are too many for one request. */
static uint32_t
topics_to_ask(struct client *c, struct bytes *names)
{
    uint32_t count = 0;
    for (int32_t i = 0; i < c->topic_count && count <= CLIENT_MAX_ASKED; i++) {
        if (c->topics[i]->in_use) {
            names[count++] = bytes_str(c->topics[i]->name);
        }
    }
    DMQ_ASSERT(count <= (uint32_t)c->topic_count);
    return count;
}

static void
send_metadata(struct client *c, struct conn *conn)
{
    DMQ_ASSERT(c->metadata_request == NULL && conn->state == CONN_READY);
    struct bytes *names = calloc((size_t)c->topic_count + 1, sizeof(*names));
    if (names == NULL) {
        c->broken = true;
        return;
    }
    struct metadata_request body = {.names = names,
                                    .names_count = topics_to_ask(c, names),
                                    .dialled_host = bytes_str(conn->host),
                                    .dialled_port = conn->port};
    if (body.names_count > CLIENT_MAX_ASKED) {
        body.all_topics = true;
        body.names_count = 0;
    }
    struct request_spec spec = {.kind = REQUEST_METADATA,
                                .api_key = API_METADATA,
                                .body = &body,
                                .timeout_ms = METADATA_TIMEOUT_MS};
    c->metadata_request = conn_send(c, conn, &spec);
    c->metadata_number++;
    c->metadata_wanted = false;
    free(names);
}

void
metadata_pump(struct client *c)
{
    if (c->metadata_request != NULL) {
        return; /* what comes of it says when the next is due */
    }
    c->metadata_wanted |= c->now_ms >= c->metadata_due_ms;
    if (!c->metadata_wanted) {
        if (c->metadata_due_ms != CLIENT_NEVER) {
            wake_at(c, c->metadata_due_ms);
        }
        return;
    }
    if (c->now_ms < c->metadata_next_ms) {
        wake_at(c, c->metadata_next_ms);
        return;
    }
    struct conn *conn = conn_any(c);
    if (conn == NULL) {
        return; /* conns_pump is making one */
    }
    if (c->now_ms > c->metadata_next_ms + CALM_MS) {
        c->metadata_backoff_ms = BACKOFF_FIRST_MS;
    }
    c->metadata_next_ms = back_off(c, &c->metadata_backoff_ms);
    send_metadata(c, conn);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Brokers come whole in every answer: what is missing there is gone. */
static void
learn_brokers(struct client *c, const struct metadata_response *response)
{
    struct known_broker *brokers = calloc(response->brokers_count + 1, sizeof(*brokers));
    if (brokers == NULL) {
        c->broken = true;
        return;
    }
    for (uint32_t i = 0; i < response->brokers_count; i++) {
        const struct metadata_broker *broker = &response->brokers[i];
        brokers[i].broker_id = broker->broker_id;
        brokers[i].port = broker->port;
        brokers[i].fenced = broker->fenced;
        snprintf(brokers[i].host, sizeof(brokers[i].host), "%.*s", (int)broker->host.size,
                 broker->host.data);
    }
    free(c->brokers);
    c->brokers = brokers;
    c->broker_count = response->brokers_count;
}

static void
learn_partitions(struct client *c, struct known_topic *topic, const struct metadata_topic *answer)
{
    DMQ_ASSERT(!uuid_is_zero(answer->topic_id) && answer->partitions_count > 0);
    bool same_topic = uuid_equal(topic->id, answer->topic_id);
    struct known_partition *partitions = calloc(answer->partitions_count + 1, sizeof(*partitions));
    if (partitions == NULL) {
        c->broken = true;
        return;
    }
    for (uint32_t i = 0; i < answer->partitions_count; i++) {
        const struct metadata_partition *now = &answer->partitions[i];
        partitions[i] =
            (struct known_partition){.leader = now->leader, .leader_epoch = now->leader_epoch};
        /* An answer from a broker that is behind does not bring an old leader back. */
        if (same_topic && (int32_t)i < topic->partition_count &&
            topic->partitions[i].leader_epoch > now->leader_epoch) {
            partitions[i] = topic->partitions[i];
        }
    }
    free(topic->partitions);
    topic->partitions = partitions;
    topic->partition_count = (int32_t)answer->partitions_count;
    topic->id = answer->topic_id;
    topic->max_message_bytes = answer->max_message_bytes;
}

/* Partitions must be numbered 0, 1, 2...: everything else is taken for no answer. */
static bool
is_sound(const struct metadata_topic *answer)
{
    for (uint32_t i = 0; i < answer->partitions_count; i++) {
        if (answer->partitions[i].partition != (int32_t)i) {
            return false;
        }
    }
    return answer->error != DMQ_OK ||
           (answer->partitions_count > 0 && !uuid_is_zero(answer->topic_id));
}

/* What a broker says that is behind what another has told: it may not know a topic yet, or still
 * know one that is gone. Only what can be no older than what is known is taken from it. */
static bool
is_outdated(const struct known_topic *topic, const struct metadata_topic *answer)
{
    return answer->error != DMQ_OK ||
           (topic->answered != 0 &&
            (topic->err != DMQ_OK || !uuid_equal(topic->id, answer->topic_id)));
}

static void
learn_topic(struct client *c, const struct metadata_topic *answer, bool behind)
{
    char name[250];
    struct known_topic *topic;
    if (answer->name.size >= sizeof(name)) {
        return;
    }
    memcpy(name, answer->name.data, answer->name.size);
    name[answer->name.size] = '\0';
    HASH_FIND_STR(c->topics_by_name, name, topic);
    if (topic == NULL || !is_sound(answer) || (behind && is_outdated(topic, answer))) {
        return;
    }
    bool news =
        topic->err != answer->error || topic->partition_count != (int32_t)answer->partitions_count;
    topic->err = answer->error;
    topic->answered = c->metadata_number;
    if (topic->err == DMQ_OK) {
        learn_partitions(c, topic, answer);
    }
    if (news && topic->wanted == 0) {
        emit(c, CLIENT_TOPIC)->u.topic = topic->handle;
    }
}

/* Those who asked before this request was sent get their answer, whatever it is; from a broker that
 * is behind, only if it knew of their topic. */
static void
answer_waiting(struct client *c, bool behind)
{
    for (int32_t i = 0; i < c->topic_count; i++) {
        struct known_topic *topic = c->topics[i];
        if (topic->wanted == 0 || topic->wanted > c->metadata_number) {
            continue;
        }
        if (topic->answered != c->metadata_number && behind) {
            c->metadata_wanted = true; /* another broker will know */
            continue;
        }
        if (topic->answered != c->metadata_number) { /* no word about it */
            topic->err = DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
            topic->answered = c->metadata_number;
        }
        DMQ_ASSERT(topic->in_use && topic->answered <= c->metadata_number);
        topic->wanted = 0;
        emit(c, CLIENT_TOPIC)->u.topic = topic->handle;
    }
}

void
metadata_answered(struct client *c, struct client_request *request, const struct answer *answer)
{
    struct metadata_response response;
    struct err_msg msg;
    DMQ_ASSERT(c->metadata_request == request && request->kind == REQUEST_METADATA);
    c->metadata_request = NULL;
    dmq_err err = answer->err;
    if (err == DMQ_OK) {
        err = msg_decode(desc_metadata_response(), 0, buf_bytes(answer->body), &c->arena, &response,
                         &msg);
    }
    c->metadata_failed = err != DMQ_OK;
    if (c->metadata_failed) {
        c->metadata_wanted = true;
        c->metadata_next_ms = back_off(c, &c->metadata_backoff_ms);
        return;
    }
    c->ready = true;
    c->metadata_due_ms = c->now_ms + CLIENT_METADATA_MS;
    bool behind = answer->metadata_version < c->metadata_version;
    if (!behind || c->broker_count == 0) {
        learn_brokers(c, &response);
    }
    for (uint32_t i = 0; i < response.topics_count; i++) {
        learn_topic(c, &response.topics[i], behind);
    }
    answer_waiting(c, behind);
}

/* ---- asking what is known -------------------------------------------------------------------- */

bool
error_asks_for_metadata(dmq_err err)
{
    switch (err) {
    case DMQ_ERR_NETWORK:
    case DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case DMQ_ERR_UNKNOWN_TOPIC_ID:
    case DMQ_ERR_LEADER_NOT_AVAILABLE:
    case DMQ_ERR_NOT_LEADER:
    case DMQ_ERR_FENCED_LEADER_EPOCH:
    case DMQ_ERR_UNKNOWN_LEADER_EPOCH:
    case DMQ_ERR_WRONG_NODE:
    case DMQ_ERR_STORAGE:
        return true;
    default:
        return false;
    }
}

/* Every way to a partition goes through here: one place decides what is known, wanted or final. */
struct conn *
leader_of(struct client *c, int32_t handle, int32_t partition, int32_t *ret_epoch,
          struct err_msg *ret_err)
{
    DMQ_ASSERT(handle >= 0 && handle < c->topic_count);
    struct known_topic *topic = c->topics[handle];
    DMQ_ASSERT(topic->handle == handle);
    topic->in_use = true;
    if (topic->answered == 0) {
        metadata_refresh(c);
        err_set(ret_err, DMQ_ERR_LEADER_NOT_AVAILABLE, "the leader of '%s' is not known yet",
                topic->name);
        return NULL;
    }
    if (topic->err != DMQ_OK) {
        err_set(ret_err, topic->err, "topic '%s': %s", topic->name, err_text(topic->err));
        return NULL;
    }
    if (partition < 0 || partition >= topic->partition_count) {
        err_set(ret_err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                "topic '%s' has %d partitions (0 to %d): there is no partition %d", topic->name,
                (int)topic->partition_count, (int)topic->partition_count - 1, (int)partition);
        return NULL;
    }
    const struct known_partition *known = &topic->partitions[partition];
    *ret_epoch = known->leader_epoch;
    DMQ_ASSERT(topic->partitions != NULL && topic->max_message_bytes >= 0);
    if (known->leader < 0) {
        metadata_refresh(c);
        err_set(ret_err, DMQ_ERR_LEADER_NOT_AVAILABLE,
                "partition %d of '%s' has no leader at the moment", (int)partition, topic->name);
        return NULL;
    }
    return conn_of_broker(c, known->leader, ret_err);
}
