/* A request under way, from its arrival to its answer. */
#ifndef CONTROLLER_CORE_CALL_H
#define CONTROLLER_CORE_CALL_H

#include "controller/core/ctl.h"

#define CALL_DEFAULT_TIMEOUT_MS 30000
#define CALL_MAX_TIMEOUT_MS 600000

struct call {
    struct list link;           /* waiting, or of the batch */
    const struct api_desc *api; /* NULL until it is known */
    struct request_header header;
    struct buf *from;
    struct buf **frames; /* header, body, attachments */
    size_t frame_count;
    size_t bytes; /* of memory that the frames hold */
    struct arena arena;
    void *request; /* decoded body */
    int64_t answer_by_ms;

    /* A client's request that a broker forwarded: header and api above are those of the client's
     * request; this is what the answer is wrapped into. */
    bool enveloped;
    struct request_header outer;
    struct bytes principal;

    /* The answer, once it is decided: error or body. */
    struct err_msg err;
    struct buf *body;
};

/* Takes from and frames. Decodes the request and answers it or puts it in line. */
void ctl_call_start(struct ctl *ctl, const struct ctl_event *event);
void ctl_call_free(struct call *call);

/* Answers with what the call holds (err or body) at the committed version, and frees it. */
void ctl_call_finish(struct ctl *ctl, struct call *call);

/* Sets the body: a response struct of the call's api. */
void ctl_call_set_body(struct call *call, const void *response);

/* ---- handlers: each sets the body, or returns an error with its sentence in call->err -------- */

/* Answered at once, from what is committed. A heartbeat that calls for an entry comes later, as a
 * wish. */
dmq_err ctl_on_api_versions(struct ctl *ctl, struct call *call);
dmq_err ctl_on_heartbeat(struct ctl *ctl, struct call *call, bool *ret_later);
dmq_err ctl_on_quorum_state(struct ctl *ctl, struct call *call); /* form.c */

/* Decided in turn, against the working image. What was proposed before an error is undone. */
dmq_err ctl_on_register_broker(struct ctl *ctl, struct call *call);
dmq_err ctl_on_heartbeat_wish(struct ctl *ctl, struct call *call);
dmq_err ctl_on_create_topic(struct ctl *ctl, struct call *call);
dmq_err ctl_on_delete_topic(struct ctl *ctl, struct call *call);
dmq_err ctl_on_alter_topic(struct ctl *ctl, struct call *call);
dmq_err ctl_on_create_partitions(struct ctl *ctl, struct call *call);
dmq_err ctl_on_elect_leaders(struct ctl *ctl, struct call *call);
dmq_err ctl_on_describe_topics(struct ctl *ctl, struct call *call);
dmq_err ctl_on_alter_partition(struct ctl *ctl, struct call *call);
dmq_err ctl_on_report_damaged(struct ctl *ctl, struct call *call);
dmq_err ctl_on_allocate_producer_ids(struct ctl *ctl, struct call *call);
dmq_err ctl_on_describe_quorum(struct ctl *ctl, struct call *call);
dmq_err ctl_on_committed_version(struct ctl *ctl, struct call *call);

/* The switch over the above. */
dmq_err ctl_call_decide(struct ctl *ctl, struct call *call);

/* describe_topics.c: sets the body of a call whose response is nothing but a topic_description. */
void ctl_call_set_topic(struct call *call, const struct image_topic *topic);

/* By id where one is given, for a name may belong to another topic by now (traps 24 and 25).
 * INVALID_TOPIC, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION. */
dmq_err find_topic(const struct image *image, struct uuid topic_id, struct bytes name,
                   const struct image_topic **ret_topic, struct err_msg *err);

/* The same for a topic that a client may change. */
dmq_err find_own_topic(const struct image *image, struct uuid topic_id, struct bytes name,
                       const struct image_topic **ret_topic, struct err_msg *err);

/* create_topic.c: INVALID_CONFIG if min.insync.replicas is set above the replication factor. */
dmq_err check_min_isr(const struct topic_config *config, uint32_t factor, struct err_msg *err);

/* create_partitions.c: proposes partitions until the topic has partition_count of them. */
void propose_partitions(struct ctl *ctl, struct uuid topic_id, uint32_t partition_count,
                        uint32_t factor);

#endif
