/* The broker's core: one step machine, an event in, effects out. It decides everything and does
 * nothing: sockets, disks, LevelDB and clocks are the shell's (broker/node) or the simulator's.
 *
 * Events are handed in one at a time; the effects of a step are carried out in their order before
 * the next event. A disk or LevelDB effect comes back exactly once as its completion. Order between
 * effects holds only inside a lane (the data folder's writes, the store, a peer): what rests on a
 * write is emitted by the step that receives its completion. */
#ifndef BROKER_CORE_CORE_H
#define BROKER_CORE_CORE_H

#include "broker/log/disk_op.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/kv.h"
#include "libdmq/wire/messages.h"

struct brk;
struct image; /* libdmq/meta/image.h */

/* ---- configuration --------------------------------------------------------------------------- */

/* A node of services.json, as people are told of it; the core itself knows it by its id. */
struct brk_service {
    int32_t id;
    const char *host;
    int32_t port;
    const char *rack;   /* of a broker; empty: none */
    int32_t controller; /* of a broker: which one it asks first */
};

struct brk_config {
    int32_t broker_id;
    char cluster_name[256];
    char data_dir[400];
    struct uuid incarnation; /* drawn at this start */
    struct uuid disk_id;     /* of the data folder */
    struct uuid cluster_id;  /* of the data folder; zero: it is of no cluster yet */
    bool new_folder;         /* the folder was empty at this start */
    char host[256];          /* what others dial */
    int32_t client_port;
    int32_t node_port;
    char advertised_host[256]; /* empty: none */
    int32_t advertised_port;   /* 0: none */
    char rack[256];
    int64_t heartbeat_ms;         /* broker.heartbeat.interval.ms */
    int64_t max_request_bytes;    /* queued.max.request.bytes: budget of requests without answer */
    int64_t max_connection_bytes; /* of one connection, advertised in API_VERSIONS */
    int32_t max_connection_requests;
    int64_t replica_lag_ms;       /* replica.lag.time.max.ms */
    int64_t segment_bytes;        /* log.segment.bytes: where the topic does not say */
    int64_t hot_bytes;            /* log.hot.bytes: of a partition, beyond what is not written */
    int64_t retention_check_ms;   /* log.retention.check.interval.ms; 0: never */
    int64_t reserve_bytes;        /* log.disk.reserve.bytes; -1: by the size of the disk */
    int32_t index_interval_bytes; /* log.index.interval.bytes */
    const struct brk_service *controllers; /* borrowed; outlives the core; one at least */
    size_t controller_count;
    int32_t first_controller; /* of them: the one to ask first */
    const struct brk_service *brokers;
    size_t broker_count;
};

/* ---- events ---------------------------------------------------------------------------------- */

enum brk_event_kind {
    BRK_STARTED,         /* first event: what the store holds */
    BRK_REQUEST,         /* a request came in */
    BRK_DISK_DONE,       /* completion of BRK_DISK */
    BRK_KV_DONE,         /* completion of BRK_KV_WRITE */
    BRK_CONTROLLER_UP,   /* the connection that BRK_CONTROLLER_CONNECT asked for is open */
    BRK_CONTROLLER_DOWN, /* it ended, or could not be made; the shell has given it up. Requests
                            without answer get no event of their own */
    BRK_CONTROLLER_REPLY,
    BRK_PEER_UP,    /* a connection that BRK_PEER_CONNECT asked for is open */
    BRK_PEER_DOWN,  /* it ended; the shell makes another one by itself */
    BRK_PEER_REPLY, /* what came of a BRK_PEER_SEND; exactly once, unless it was one-way */
    BRK_STOP,       /* SIGTERM: hand over, close cleanly, then BRK_EXIT */
    BRK_TICK        /* brk_deadline has passed */
};

struct brk_row {
    struct bytes key;
    struct bytes value;
};

#define BRK_MAX_FRAMES 1026 /* header, body, attachments */

/* What came of a BRK_CONTROLLER_SEND or a BRK_PEER_SEND. */
struct brk_reply {
    int64_t tag;
    struct buf **frames; /* as in a request; the first is the header */
    size_t count;        /* 0: no answer came */
    dmq_err err;         /* then why: of class maybe-done if it may have been carried out, else it
                            was surely not sent */
};

struct brk_event {
    enum brk_event_kind kind;
    int64_t now_ms;  /* monotonic */
    int64_t wall_ms; /* since 1970 */
    union {
        struct {
            struct image *image;        /* taken */
            const struct brk_row *rows; /* those with prefix "log/", borrowed */
            size_t count;
        } started;
        struct {
            enum api_listener listener;
            struct buf *peer;    /* routing id, a reference that the step takes */
            struct buf **frames; /* borrowed array of references that the step takes */
            size_t count;
        } request;
        struct disk_done disk_done; /* taken */
        struct {
            uint64_t id;
            dmq_err err;
        } kv_done;
        struct brk_reply reply;
        int32_t peer; /* PEER_UP, PEER_DOWN: id of the broker */
        struct {
            int32_t id;     /* of the controller */
            int32_t leader; /* UP: who leads, as it says itself; -1: it does not know */
            dmq_err err;    /* DOWN: why; DMQ_OK: not known */
        } controller;
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

enum brk_effect_kind {
    BRK_REPLY,    /* to a peer of a listener; silently dropped if it is gone */
    BRK_DISK,     /* a disk operation: READ and FIND_TIME to a reader, others down the lane */
    BRK_KV_WRITE, /* an atomic batch down the store's lane */
    BRK_CONTROLLER_CONNECT, /* to this controller, anew, instead of the former connection: no event
                               of that one follows. Comes back as UP, or as DOWN */
    BRK_CONTROLLER_SEND,    /* a request to the controller that is connected */
    BRK_PEER_CONNECT, /* to the node port of a broker, and again whenever that ends; instead of
                         the connection to it that there was */
    BRK_PEER_SEND,    /* a request to it; without an answer if it is one-way */
    BRK_CLUSTER,      /* note the cluster id in the folder's identity, synced, before going on */
    BRK_READY,        /* registered and unfenced, once */
    BRK_LOG,          /* a line for the log */
    BRK_EXIT          /* end the process with this code */
};

struct brk_effect {
    enum brk_effect_kind kind;
    union {
        struct {
            enum api_listener listener;
            struct buf *peer;    /* owned */
            struct buf **frames; /* owned heap array of owned references */
            size_t count;
        } reply;
        struct disk_op disk; /* owned */
        struct {
            uint64_t id;
            struct kv_op *ops; /* owned heap array */
            size_t count;
            uint8_t *memory; /* owned: what their keys and values point into */
            bool sync;
        } kv;
        struct {
            int32_t broker_id;
            char host[256];
            int32_t port;
        } connect;
        struct {
            int32_t peer; /* BRK_PEER_SEND: id of the broker */
            bool one_way;
            int64_t tag; /* comes back in BRK_CONTROLLER_REPLY, BRK_PEER_REPLY */
            int16_t api_key;
            struct buf *body;    /* owned */
            struct buf **frames; /* attachments, as in reply */
            size_t count;
            int32_t timeout_ms;
            int64_t metadata_version;
        } send;
        int32_t controller_id; /* BRK_CONTROLLER_CONNECT */
        struct uuid cluster_id;
        struct {
            bool error;
            char line[400];
        } log;
        int exit_code;
    } u;
};

/* Grows as a step needs; the caller owns it, carries out items[0..count), then sets count to 0.
 * What one step adds is bounded by the calls and partitions that its event touches. */
struct brk_effects {
    struct brk_effect *items;
    size_t count;
    size_t capacity;
};

/* Frees what an effect owns: for effects that were not carried out. */
void brk_effect_deinit(struct brk_effect *effect);
void brk_effects_deinit(struct brk_effects *effects);

/* ---- the machine ----------------------------------------------------------------------------- */

struct brk *brk_new(const struct brk_config *config);
void brk_free(struct brk *brk);

void brk_step(struct brk *brk, struct brk_event *event, struct brk_effects *out);

/* When BRK_TICK is due, in the events' now_ms; INT64_MAX: never. */
int64_t brk_deadline(const struct brk *brk);

/* False while requests without answer are over budget: then receive nothing on the client port. */
bool brk_accepts_clients(const struct brk *brk);

/* For health checks and metrics: read on the core thread. */
struct brk_stats {
    bool ready;
    bool fenced;
    bool stopping;
    bool folder_offline;
    bool disk_full;              /* produce is refused until there is space */
    int64_t disk_free;           /* as last measured; -1: not yet */
    int64_t damaged_logs;        /* that have lost something, and were not set aside */
    int64_t quarantines;         /* how many were */
    int64_t quarantined_folders; /* of this and former processes, that nobody has removed */
    int64_t metadata_version;
    int64_t partitions;
    int64_t requests;
    int64_t batches_appended;
    int64_t bytes_appended;
    int64_t duplicates;
    int64_t syncs;
    int64_t request_bytes;
    int64_t parked_calls;
};
void brk_stats(const struct brk *brk, struct brk_stats *ret_stats);

/* The position of a partition's log, for tests and checkers; false if the broker does not hold
 * it. */
struct brk_partition_view {
    int64_t start;
    int64_t end;
    int64_t synced_end;
    int64_t high_watermark;
    int32_t leader_epoch;
    uint32_t losses; /* how often damage took from its end, or it was set aside, in this process */
    bool leader;
    bool follower;
};
bool brk_partition_view(const struct brk *brk, struct uuid topic_id, int32_t partition,
                        struct brk_partition_view *ret_view);

#endif
