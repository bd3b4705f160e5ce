/* The client as a step machine: one event in, effects out. It owns everything that decides: which
 * broker is asked, when a connection is tried again, what is in flight, which batch carries which
 * sequence, what is fetched next. It never looks at a clock, a socket or the operating system:
 * events carry the time, and the shell (libdmq/api, or the simulator) carries out the effects, in
 * their order.
 *
 *   client_step(client, event, effects)    event -> its arm -> client_pump -> effects
 *
 * Memory: when it runs out inside, `broken` is set and stays; the shell then fails every call. */
#ifndef LIBDMQ_CLIENT_CLIENT_H
#define LIBDMQ_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_NONFATAL_OOM 1 /* an element that could not be added has hh.tbl == NULL */
#include <uthash.h>

#include "libdmq/base/arena.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/base/rng.h"
#include "libdmq/client/send_batch.h"
#include "libdmq/wire/messages.h"

enum {
    CLIENT_MAX_TOPICS = 100000,
    CLIENT_MAX_ASKED = 10000, /* names in one METADATA */
    CLIENT_MAX_CONNS = 10000,
    CLIENT_MAX_GROUP = 64,      /* partitions of one PRODUCE */
    CLIENT_MAX_FETCHED = 1000,  /* partitions of one FETCH */
    CLIENT_MAX_LOOKUPS = 1000,  /* partitions of one LIST_OFFSETS */
    CLIENT_METADATA_MS = 300000 /* metadata in use is asked for again when it is that old */
};
#define CLIENT_MAX_GROUP_BYTES ((size_t)4 << 20) /* of one PRODUCE, unless one batch is larger */
#define CLIENT_NEVER INT64_MAX

/* ---- connections ----------------------------------------------------------------------------- */

enum conn_state {
    CONN_OFF,        /* not wanted, or waiting for retry_at_ms */
    CONN_CONNECTING, /* CONNECT was asked for */
    CONN_GREETING,   /* API_VERSIONS is in flight */
    CONN_READY
};

struct conn {
    uint32_t id; /* index in client.conns */
    enum conn_state state;
    char host[256];
    int32_t port;
    bool bootstrap;        /* from the URL: no node is meant in particular */
    int32_t expected_node; /* -1: any */
    int32_t node_id;       /* who answered; -1: nobody yet */
    int64_t since_ms;      /* of the state */
    int64_t retry_at_ms;   /* not before */
    int64_t throttled_until_ms;
    int32_t backoff_ms;
    uint32_t failures;    /* in a row */
    int32_t max_requests; /* limits that the broker advertised */
    int64_t max_bytes;
    int64_t max_message_bytes;
    int32_t request_count; /* in flight */
    int64_t request_bytes;
    struct client_request *requests; /* in flight, oldest first */
    struct err_msg last_error;       /* why it ended last */
};

/* ---- requests in flight ---------------------------------------------------------------------- */

enum request_kind {
    REQUEST_GREETING,
    REQUEST_METADATA,
    REQUEST_CALL,
    REQUEST_LOOKUP,
    REQUEST_PRODUCER_ID,
    REQUEST_PRODUCE,
    REQUEST_FETCH
};

struct client_request {
    struct client_request *prev;
    struct client_request *next;
    struct conn *conn;
    enum request_kind kind;
    int16_t api_key;
    int64_t correlation_id;
    int64_t deadline_ms; /* without an answer until then the connection ends */
    size_t bytes;
    int64_t asked_bytes; /* FETCH: that the answer may bring */
    void *owner;         /* call, sender or fetcher; NULL: gone, the answer is of no interest */
    /* PRODUCE: send_batch, each NULL if it is not waiting any more. FETCH: slots. LOOKUP: lookups.
     */
    uint32_t item_count;
    void **items;
};

/* An answer, or that there will be none. */
struct answer {
    dmq_err err; /* DMQ_OK: body is there */
    const char *message;
    int64_t metadata_version;
    struct buf *body;               /* borrowed */
    struct buf *const *attachments; /* borrowed */
    size_t attachment_count;
};

/* ---- metadata -------------------------------------------------------------------------------- */

struct known_broker {
    int32_t broker_id;
    char host[256];
    int32_t port;
    bool fenced;
};

struct known_partition {
    int32_t leader; /* -1: none at the moment */
    int32_t leader_epoch;
};

struct known_topic {
    UT_hash_handle hh;
    char name[250];
    int32_t handle; /* index in client.topics */
    struct uuid id;
    dmq_err err; /* of the last answer; DMQ_OK: what follows is valid */
    int32_t max_message_bytes;
    struct known_partition *partitions;
    int32_t partition_count;
    bool in_use;       /* somebody sends to it or fetches from it: kept fresh */
    uint64_t wanted;   /* number of the METADATA request that must answer; 0: nobody waits */
    uint64_t answered; /* number of the last one that did */
};

/* ---- calls and lookups ----------------------------------------------------------------------- */

/* A request of the application to any broker, carried through retries until it has an answer. */
struct client_call {
    struct client_call *prev;
    struct client_call *next;
    uint64_t id;
    int16_t api_key;
    struct buf *body;
    int64_t deadline_ms;
    int64_t retry_at_ms;
    int32_t backoff_ms;
    struct client_request *request; /* in flight, or NULL */
    bool once;                      /* not sent again after an attempt without an answer */
    bool maybe_done;                /* an attempt ended without an answer */
    struct err_msg last;            /* of the last attempt */
};

/* Offset of one partition by time or name. */
struct lookup {
    struct lookup *prev;
    struct lookup *next;
    struct lookup_group *group; /* asked by the application */
    struct fetch_slot *slot;    /* or by a fetcher whose position is gone */
    struct fetcher *fetcher;
    uint32_t index; /* in the group */
    int32_t topic;
    int32_t partition;
    int64_t timestamp; /* ms, or -1 end, -2 start */
    int64_t deadline_ms;
    int64_t retry_at_ms;
    int32_t backoff_ms;
    struct client_request *request;
    struct err_msg last;
};

struct lookup_group {
    struct lookup_group *prev;
    struct lookup_group *next;
    uint64_t id;
    uint32_t count;
    uint32_t pending;
    struct err_msg result; /* the first error */
    int64_t offsets[];
};

/* ---- producers ------------------------------------------------------------------------------- */

struct sender_config {
    int16_t acks; /* -1, 0, 1 */
    bool idempotent;
    uint16_t compression; /* BATCH_NONE, _LZ4, _ZSTD */
    uint32_t max_in_flight;
    int64_t delivery_timeout_ms;
    int64_t request_timeout_ms;
};

/* How a partition goes on after a batch of it was given up (sender.c tells the rules). */
enum send_restart {
    RESTART_NONE,
    RESTART_RENUMBER,  /* from next_sequence, in the same epoch */
    RESTART_NEW_EPOCH, /* from 0, in the next epoch, which shuts out what is left of this one */
    RESTART_NEW_ID     /* from 0, under a producer id that this partition has not used */
};

/* What a producer has under way in one partition. In flight is always a front part of the queue,
 * unless `draining`. */
struct send_partition {
    UT_hash_handle hh;
    struct {
        int32_t topic;
        int32_t partition;
    } key;
    struct send_partition *prev; /* list of those whose queue is not empty */
    struct send_partition *next;
    struct send_batch *queue; /* by sequence */
    uint32_t queued;
    uint32_t in_flight;
    struct conn *conn; /* that those in flight went to */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t next_sequence;
    struct uuid topic_id; /* that the sequences belong to */
    enum send_restart restart;
    bool draining;  /* an attempt failed: nothing is sent until all in flight are answered */
    bool gap_known; /* a batch of unknown fate was given up: OUT_OF_ORDER may follow */
    bool unsure;    /* what came before is of unknown fate: so stays what followed it */
    int64_t retry_at_ms;
    int32_t backoff_ms;
    uint64_t metadata_number;  /* of the METADATA that must answer before it is sent again */
    int64_t metadata_until_ms; /* but not longer */
    struct err_msg last;       /* of the last failed attempt */
    dmq_err told;              /* reason to wait that the shell knows; DMQ_OK: none */
};

struct sender {
    struct sender *prev;
    struct sender *next;
    uint64_t id;
    struct sender_config config;
    struct compressor *compressor;
    int64_t producer_id; /* newest; -1: none yet */
    int16_t producer_epoch;
    struct client_request *id_request;
    bool id_wanted;
    int64_t id_retry_at_ms;
    struct send_partition *partitions; /* hash */
    struct send_partition *active;
};

/* ---- consumers ------------------------------------------------------------------------------- */

enum { FETCH_RESET_ERROR = 0, FETCH_RESET_START = 1, FETCH_RESET_END = 2 };

struct fetcher_config {
    int32_t min_bytes;
    int32_t max_wait_ms;
    int32_t max_bytes;
    int32_t max_partition_bytes;
    int64_t max_queued_bytes;
    int reset; /* FETCH_RESET_* */
};

enum fetch_state {
    FETCH_ACTIVE,
    FETCH_LOOKING_UP, /* its offset was out of range */
    FETCH_STOPPED     /* after an error, until a seek */
};

struct fetch_slot {
    int32_t topic;
    int32_t partition;
    uint32_t generation; /* of the assignment or seek; comes back with every effect */
    enum fetch_state state;
    int64_t offset;         /* next to fetch */
    int64_t least;          /* LOOKING_UP: not to go on below it */
    int32_t last_epoch;     /* leader epoch of the last batch; -1: none */
    int64_t epoch_start;    /* from where on all that was read is of it */
    int64_t high_watermark; /* last told; -1: none */
    int64_t retry_at_ms;
    int32_t backoff_ms;
    struct client_request *request; /* in flight, or NULL */
};

struct fetcher {
    struct fetcher *prev;
    struct fetcher *next;
    uint64_t id;
    struct fetcher_config config;
    struct fetch_slot *slots;
    uint32_t slot_count;
    uint32_t first_slot;  /* where the next request begins, so that all have their turn */
    uint32_t next_conn;   /* likewise the connection that is asked first */
    int64_t queued_bytes; /* handed out and not consumed */
    int64_t asked_bytes;  /* that requests in flight may bring */
    bool starved;         /* it would fetch if less were queued: tell it of CONSUMED at once */
};

/* ---- events ---------------------------------------------------------------------------------- */

enum client_event_type {
    CLIENT_TICK, /* time passed */
    CLIENT_CONNECTED,
    CLIENT_DISCONNECTED,
    CLIENT_RESPONSE,
    CLIENT_TOPIC_WANTED,
    CLIENT_CALLED,
    CLIENT_LOOKED_UP,
    CLIENT_CANCELLED, /* a call or lookup is of no interest any more */
    CLIENT_PRODUCER_OPENED,
    CLIENT_PRODUCER_CLOSED,
    CLIENT_BATCH_CLOSED,
    CLIENT_CONSUMER_OPENED,
    CLIENT_CONSUMER_CLOSED,
    CLIENT_ASSIGNED,
    CLIENT_SOUGHT,
    CLIENT_SLOT_STOPPED, /* what was fetched turned out to be damaged */
    CLIENT_CONSUMED
};

struct client_position {
    int32_t topic;
    int32_t partition;
    int64_t offset; /* ASSIGNED: an offset. LOOKED_UP: a timestamp, -1 or -2 */
};

/* What a pointer points to is borrowed for the step, but for batch, which the machine keeps until
 * its BATCH_DONE. */
struct client_event {
    enum client_event_type type;
    int64_t now_ms; /* never falls */
    uint32_t conn;
    uint64_t id; /* of the call, lookup, producer or consumer: chosen by the shell, not 0 */
    union {
        const struct err_msg *reason; /* DISCONNECTED */
        struct {
            struct buf *const *frames;
            size_t count;
        } response;
        const char *topic; /* TOPIC_WANTED */
        struct {
            int16_t api_key;
            struct buf *body; /* a reference is taken */
            int64_t deadline_ms;
            bool once; /* as client_call_is_once() says */
        } call;
        struct {
            const struct client_position *positions;
            size_t count;
            int64_t deadline_ms; /* LOOKED_UP */
            uint32_t generation; /* ASSIGNED: of every slot */
        } positions;
        const struct sender_config *producer;
        const struct fetcher_config *consumer;
        struct send_batch *batch;
        struct {
            uint32_t slot;
            uint32_t generation; /* SOUGHT: the new one of the slot */
            int64_t offset;
        } seek;        /* SOUGHT, SLOT_STOPPED */
        int64_t bytes; /* CONSUMED */
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

enum client_effect_type {
    CLIENT_CONNECT,
    CLIENT_DISCONNECT,
    CLIENT_SEND,
    CLIENT_TOPIC,      /* METADATA answered for a topic: topic is its handle, read it there */
    CLIENT_ANSWERED,   /* a call is done: result, body */
    CLIENT_OFFSETS,    /* a lookup is done: result, offsets */
    CLIENT_BATCH_DONE, /* the outcome is in the batch, which is the shell's again */
    CLIENT_SEND_WAITS, /* batches of a partition will be tried again: result says why */
    CLIENT_RECORDS,    /* frame may be NULL: only high_watermark is news */
    CLIENT_SLOT_FAILED /* a partition stops: result */
};

struct client_effect {
    enum client_effect_type type;
    uint32_t conn;
    uint64_t id; /* call, lookup, producer, consumer */
    struct err_msg result;
    union {
        struct {
            size_t first; /* in client_effects.frames; the shell owns them */
            size_t count;
        } send;
        int32_t topic;
        struct buf *body; /* owned; may be NULL */
        struct {
            int64_t *offsets; /* to be freed */
            size_t count;
        } offsets;
        struct send_batch *batch;
        struct {
            int32_t topic;
            int32_t partition;
        } waits;
        struct {
            struct buf *frame; /* owned; whole batches back to back */
            uint32_t slot;
            uint32_t generation;
            int64_t offset; /* the first record that is wanted */
            int64_t high_watermark;
        } records;
    } u;
};

struct client_effects {
    struct client_effect *items;
    size_t count;
    size_t capacity;
    struct buf **frames;
    size_t frame_count;
    size_t frame_capacity;
};

/* ---- the machine ----------------------------------------------------------------------------- */

struct client_address {
    char host[256];
    int32_t port;
};

struct client {
    struct bytes client_id; /* owned */
    struct rng rng;
    int64_t now_ms;
    bool broken; /* memory ran out */

    struct conn **conns;
    uint32_t conn_count;
    struct uuid cluster_id;   /* of the first answer; zero: none yet */
    int64_t metadata_version; /* highest seen in this cluster */
    int64_t next_correlation_id;

    struct known_broker *brokers;
    uint32_t broker_count;
    struct known_topic **topics;
    int32_t topic_count;
    struct known_topic *topics_by_name; /* hash */
    struct client_request *metadata_request;
    uint64_t metadata_number; /* of the request in flight, or of the last one */
    bool metadata_wanted;     /* as soon as metadata_next_ms allows */
    bool metadata_failed;     /* the last one */
    int64_t metadata_next_ms;
    int64_t metadata_due_ms; /* at the latest */
    int32_t metadata_backoff_ms;
    bool ready; /* METADATA has answered once */

    struct client_call *calls;
    struct lookup *lookups;
    struct lookup_group *lookup_groups;
    struct sender *senders;
    struct fetcher *fetchers;

    struct arena arena;             /* of the message being decoded */
    struct client_effects *effects; /* of this step */
    struct outbuf scratch;
    int64_t wake_at_ms; /* a TICK is wanted then; CLIENT_NEVER: none */
};

/* addresses are copied. NULL if memory is out. */
struct client *client_new(const char *client_id, const struct client_address *addresses,
                          size_t count, uint64_t seed);

/* Batches still inside are handed back as CANCELLED by client_stop before. */
void client_free(struct client *client);

/* Handles one event. effects must be empty (client_effects_clear); it is filled. */
void client_step(struct client *client, const struct client_event *event,
                 struct client_effects *effects);

/* Ends everything with err: calls, lookups, batches. The machine only takes client_free then. */
void client_stop(struct client *client, dmq_err err, struct client_effects *effects);

/* Whether a request is sent at most once with an effect: a lost answer ends its call then, with an
 * error of the class maybe-done. request: decoded, of that API. */
bool client_call_is_once(int16_t api_key, const void *request);

/* The topic of a handle. */
const struct known_topic *client_topic(const struct client *client, int32_t handle);

/* Whether some broker has answered, and if not, why: a sentence that names the addresses. */
bool client_is_connected(const struct client *client, struct err_msg *ret_reason);

/* Whether every address of the URL refused since the machine began, at least `times` times. */
bool client_is_refused(const struct client *client, uint32_t times);

/* Whether the consumer of that id (opened, or about to be) would fetch more if less were queued. */
bool client_is_starved(const struct client *client, uint64_t consumer);

/* Drops what effects hold (frames, bodies): for those that were not carried out. */
void client_effects_clear(struct client_effects *effects);
void client_effects_deinit(struct client_effects *effects);

void client_check_invariants(const struct client *client);

#endif
