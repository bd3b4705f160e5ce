/* The client's step machine with its hands tied: a test feeds events, sees every request that it
 * wants to send, decoded, and answers them one by one. Time stands still unless the test moves it.
 */
#ifndef TESTS_SUPPORT_CLIENT_RIG_H
#define TESTS_SUPPORT_CLIENT_RIG_H

#include "libdmq/base/arena.h"
#include "libdmq/client/accum.h"
#include "libdmq/client/client.h"

#define RIG_MAX 64
#define RIG_TOPIC "t"
#define RIG_PARTITIONS 4

/* Once the machine is broken (out of memory) the functions below do nothing but take its effects.
 */

/* A request that was sent and has no answer yet. */
struct rig_sent {
    uint32_t conn;
    struct request_header header;
    struct buf *frames[RIG_MAX];
    size_t frame_count;
    union {
        struct metadata_request metadata;
        struct produce_request produce;
        struct fetch_request fetch;
        struct list_offsets_request offsets;
    } u;
};

struct rig {
    struct client *client;
    struct client_effects effects;
    struct accum accum; /* of producer 1 */
    struct accum_topic *topic;
    struct arena arena; /* what is decoded; freed at the end */
    int64_t now_ms;
    void (*arm)(bool on); /* called around what the machine does, or NULL */

    struct rig_sent *sent[RIG_MAX]; /* in order */
    int sent_count;
    bool connecting[RIG_MAX]; /* by connection: CONNECT was asked for and not answered */
    int connects;
    int disconnects;

    struct { /* finished batches, in order */
        int64_t number;
        int32_t partition;
        int32_t count;
        struct err_msg result;
        int64_t base_offset;
    } done[RIG_MAX];
    int done_count;
    struct client_effect others[RIG_MAX]; /* TOPIC, ANSWERED, OFFSETS, RECORDS, SLOT_FAILED */
    int other_count;

    /* ---- what answers say */
    int32_t leaders[RIG_PARTITIONS]; /* of RIG_TOPIC */
    int32_t leader_epoch;
    struct uuid topic_id; /* zero: it does not exist */
    struct uuid cluster_id;
    int64_t metadata_version;
    int32_t max_requests;
    int64_t max_bytes;
};

/* A client of brokers at hosts "b1".."b<addresses>". */
void rig_init(struct rig *rig, int addresses);
void rig_deinit(struct rig *rig);

void rig_event(struct rig *rig, const struct client_event *event);
void rig_tick(struct rig *rig, int64_t ms); /* time passes, then a TICK */

/* The connection comes up and answers API_VERSIONS as node_id. */
void rig_connect(struct rig *rig, uint32_t conn, int32_t node_id);

/* Connects the first that is wanted as node 1, and answers METADATA. */
void rig_open(struct rig *rig);
void rig_disconnect(struct rig *rig, uint32_t conn, dmq_err reason);

/* The nth oldest request without answer of that call, from 0; NULL: there are fewer. */
struct rig_sent *rig_nth(struct rig *rig, int16_t api_key, int n);

/* The oldest. */
struct rig_sent *rig_find(struct rig *rig, int16_t api_key);
int rig_count(struct rig *rig, int16_t api_key);

/* Answers a request, which is forgotten then. With an error body and attachments are left out. */
void rig_answer(struct rig *rig, struct rig_sent *sent, dmq_err err, const struct struct_desc *desc,
                const void *body);
void rig_answer_with(struct rig *rig, struct rig_sent *sent, const struct struct_desc *desc,
                     const void *body, struct buf **attachments);
void rig_answer_metadata(struct rig *rig);
void rig_answer_producer_id(struct rig *rig, int64_t producer_id);

/* All partitions of the oldest PRODUCE get the same error, or offsets from base. */
void rig_answer_produce(struct rig *rig, dmq_err err, int64_t base_offset);

/* Producer 1, which knows RIG_TOPIC. */
void rig_producer(struct rig *rig, const struct sender_config *config);
extern const struct sender_config rig_sender;

/* Appends `count` records of 10 bytes to a partition, and hands the batch to the machine. Their
 * timestamp is the number of the batch: 1, 2, 3... */
void rig_send(struct rig *rig, int32_t partition, int count);

/* Header of attachment i of a PRODUCE. */
struct batch_header rig_batch(const struct rig_sent *sent, size_t i);

/* The first effect of that type among the others, removed; its pointers belong to the rig. False:
 * none. */
bool rig_take(struct rig *rig, enum client_effect_type type, struct client_effect *ret_effect);

#endif
