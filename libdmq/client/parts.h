/* What the files of the machine know of each other. Every function works on the step under way:
 * c->now_ms and c->effects. */
#ifndef LIBDMQ_CLIENT_PARTS_H
#define LIBDMQ_CLIENT_PARTS_H

#include "libdmq/client/client.h"

#define BACKOFF_FIRST_MS 5
#define BACKOFF_LAST_MS 1000
#define CALL_TIMEOUT_MS 30000
#define METADATA_TIMEOUT_MS 5000
#define METADATA_WAIT_MS 1000 /* a retry waits for fresh metadata, but no longer than this */

/* ---- client.c -------------------------------------------------------------------------------- */

/* A new, zeroed effect; a dummy (and c->broken) if memory is out. */
struct client_effect *emit(struct client *c, enum client_effect_type type);

/* A time at which the machine has something to do. */
void wake_at(struct client *c, int64_t time_ms);

/* Doubles *backoff_ms within its bounds and returns now + a random part of it. */
int64_t back_off(struct client *c, int32_t *backoff_ms);

/* ---- conn.c ---------------------------------------------------------------------------------- */

struct conn *conn_add(struct client *c, const char *host, int32_t port);
void conn_free(struct conn *conn);

/* The connection to a broker, READY; NULL if there is none yet: then it is being made, or *reason
 * (may be NULL) says why it cannot be. */
struct conn *conn_of_broker(struct client *c, int32_t broker_id, struct err_msg *reason);

/* Any READY connection with room for a request of that size; NULL if there is none yet. */
struct conn *conn_any(struct client *c);

bool conn_has_room(const struct client *c, const struct conn *conn, size_t bytes);

/* Builds and sends a request: body is a struct of api's request, or encoded_body is given.
 * attachments: references are taken. NULL if memory is out. */
struct request_spec {
    enum request_kind kind;
    int16_t api_key;
    const void *body;
    struct buf *encoded_body; /* a reference is taken */
    struct buf *const *attachments;
    size_t attachment_count;
    int64_t timeout_ms;
    void *owner;
    size_t item_count;
};
struct client_request *conn_send(struct client *c, struct conn *conn,
                                 const struct request_spec *spec);

void conn_connected(struct client *c, struct conn *conn);
void conn_disconnected(struct client *c, struct conn *conn, const struct err_msg *reason);
void conn_response(struct client *c, struct conn *conn, struct buf *const *frames, size_t count);

/* Connects what is wanted; ends what is silent. */
void conns_pump(struct client *c);

/* ---- metadata.c ------------------------------------------------------------------------------ */

/* The handle of a topic, made if it is new; NULL if memory is out or there are too many. */
struct known_topic *topic_intern(struct client *c, const char *name);

/* Asks for metadata soon: something that was answered does not fit what is known. */
void metadata_refresh(struct client *c);

/* Somebody waits for METADATA of the topic that is asked for from now on. */
void metadata_want(struct client *c, struct known_topic *topic);
void metadata_answered(struct client *c, struct client_request *request,
                       const struct answer *answer);
void metadata_pump(struct client *c);
void metadata_forget(struct client *c);
void metadata_free(struct client *c);

/* The READY connection to the leader of a partition. NULL: there is none at the moment; *ret_err
 * says why (retriable; UNKNOWN_TOPIC_OR_PARTITION only if METADATA has confirmed it). */
struct conn *leader_of(struct client *c, int32_t topic, int32_t partition, int32_t *ret_epoch,
                       struct err_msg *ret_err);

/* Whether an error of a partition means that the metadata is old. */
bool error_asks_for_metadata(dmq_err err);

/* ---- calls.c, lookup.c ----------------------------------------------------------------------- */

void call_add(struct client *c, const struct client_event *event);
void call_cancel(struct client *c, uint64_t id);
void call_answered(struct client *c, struct client_request *request, const struct answer *answer);
void calls_pump(struct client *c);
void calls_stop(struct client *c, dmq_err err);

void lookup_add(struct client *c, const struct client_event *event);
void lookup_cancel(struct client *c, uint64_t id);
void lookup_slot(struct client *c, struct fetcher *fetcher, struct fetch_slot *slot,
                 int64_t timestamp);
void lookup_forget(struct client *c, const struct fetcher *fetcher);
void lookup_answered(struct client *c, struct client_request *request, const struct answer *answer);
void lookups_pump(struct client *c);
void lookups_stop(struct client *c, dmq_err err);

/* ---- sender.c, send_outcome.c ---------------------------------------------------------------- */

struct sender *sender_find(struct client *c, uint64_t id);
void sender_add(struct client *c, uint64_t id, const struct sender_config *config);
void sender_remove(struct client *c, struct sender *s);
void sender_take(struct client *c, struct sender *s, struct send_batch *batch);
void senders_pump(struct client *c);
void senders_stop(struct client *c, dmq_err err);

void produce_answered(struct client *c, struct client_request *request,
                      const struct answer *answer);
void producer_id_answered(struct client *c, struct client_request *request,
                          const struct answer *answer);

/* Ends batches whose delivery time is over. */
void send_expire(struct client *c, struct sender *s, struct send_partition *p);

/* The first batch of the queue, its result set, will not be sent again: rules 1 and 2. */
/* Nothing was tried, but nothing leaves either: the shell hears why, once for each error. */
void send_waits(struct client *c, const struct sender *s, struct send_partition *p,
                const struct err_msg *why);
void send_give_up(struct client *c, struct sender *s, struct send_partition *p,
                  struct send_batch *batch);

/* Hands a batch back with the result in it. */
void send_done(struct client *c, struct sender *s, struct send_partition *p,
               struct send_batch *batch);

/* ---- fetcher.c ------------------------------------------------------------------------------- */

struct fetcher *fetcher_find(struct client *c, uint64_t id);
void fetcher_add(struct client *c, uint64_t id, const struct fetcher_config *config);
void fetcher_remove(struct client *c, struct fetcher *f);
void fetcher_assign(struct client *c, struct fetcher *f, const struct client_event *event);
void fetcher_seek(struct client *c, struct fetcher *f, const struct client_event *event);
void fetcher_slot_stopped(struct fetcher *f, const struct client_event *event);
void fetcher_looked_up(struct client *c, struct fetcher *f, struct fetch_slot *slot,
                       const struct err_msg *result, int64_t offset);
void fetch_answered(struct client *c, struct client_request *request, const struct answer *answer);
void fetchers_pump(struct client *c);

#endif
