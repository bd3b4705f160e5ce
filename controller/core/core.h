/* The controller's core: one step machine, an event in, effects out. It decides on everything that
 * concerns metadata, drives Raft (controller/raft) and does nothing else: sockets, LevelDB and
 * clocks are the shell's (controller/node) or the simulator's.
 *
 * Events are handed in one at a time; the effects of a step are carried out in their order before
 * the next event. At most one CTL_PERSIST is on its way. Nothing is answered or pushed before what
 * it rests on is committed.
 *
 * Other controllers are "mates": the shell keeps a connection to each of services.json from its
 * start on. A connection to a broker is kept only while this node leads, and when the core says. */
#ifndef CONTROLLER_CORE_CORE_H
#define CONTROLLER_CORE_CORE_H

#include "controller/raft/raft.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/messages.h"

#define CTL_MAX_CONTROLLERS 64

struct ctl;

struct ctl_config {
    int32_t controller_id;
    struct uuid disk_id;        /* of the data folder */
    struct uuid cluster_id;     /* that the folder belongs to; zero: none yet */
    const char *data_dir;       /* for people; borrowed, outlives the core; NULL: no name */
    const int32_t *controllers; /* ids of services.json, this one among them; copied */
    size_t controller_count;
    struct uuid instance_id;    /* drawn at this start */
    int64_t session_timeout_ms; /* broker.session.timeout.ms */
    int64_t rebalance_ms;       /* preferred leaders are restored so often; 0: only when asked */
    int64_t max_message_bytes;  /* largest frame that a broker or this node takes */
    int32_t max_requests;       /* without answer, of one connection: advertised */
    int64_t snapshot_bytes; /* of the log since the last snapshot, before the next; 0: default */
    uint64_t seed;          /* of ids and of Raft's chance, from the operating system */
    const struct raft_config *raft; /* times and sizes; NULL: the defaults. self and seed are set */
};

/* ---- events ---------------------------------------------------------------------------------- */

enum ctl_event_kind {
    CTL_STARTED,      /* first: what the store holds */
    CTL_REQUEST,      /* a request came in, of a broker or a mate */
    CTL_PERSISTED,    /* completion of CTL_PERSIST */
    CTL_ANSWERED,     /* completion of CTL_ASK */
    CTL_PUSHED,       /* completion of CTL_PUSH */
    CTL_PEER_UP,      /* the connection to a broker's node port is open */
    CTL_PEER_DOWN,    /* it ended */
    CTL_PEER_GONE,    /* where a broker's process answered connections are refused: it has ended */
    CTL_MATE_UP,      /* the connection to another controller is open */
    CTL_MATE_DOWN,    /* it ended */
    CTL_MATE_GONE,    /* its port refuses connections */
    CTL_MATE_FOREIGN, /* it answers there, and belongs to another cluster */
    CTL_TICK          /* ctl_deadline has passed */
};

struct ctl_event {
    enum ctl_event_kind kind;
    int64_t now_ms; /* monotonic */
    union {
        /* Borrowed; all zero where the store is empty. */
        const struct raft_saved *started;
        struct {
            enum api_listener listener; /* LISTENER_CONTROLLER */
            struct buf *from;           /* routing id: a reference that the step takes */
            struct buf **frames;        /* borrowed array of references that the step takes */
            size_t count;
            const char *peer; /* address, for people; borrowed */
        } request;
        struct {
            uint64_t seq; /* of the write */
            dmq_err err;
        } persisted;
        struct {
            int32_t controller_id;
            uint64_t number;   /* of the question */
            dmq_err err;       /* why there is no answer, or that of the answer */
            struct bytes body; /* of the answer; where err is not DMQ_OK its sentence; borrowed */
        } answered;
        struct {
            int32_t broker_id;
            uint64_t number;   /* of the push */
            dmq_err err;       /* why there is no answer, or that of the answer */
            struct bytes body; /* of the answer, where err is DMQ_OK; borrowed */
        } pushed;
        struct {
            int32_t broker_id;
            struct uuid incarnation; /* of the process that answered there last */
        } gone;
        int32_t peer; /* CTL_PEER_UP, _DOWN: broker id; CTL_MATE_*: controller id */
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

enum ctl_effect_kind {
    CTL_PERSIST,    /* store and sync, all of it atomically; comes back as CTL_PERSISTED */
    CTL_REPLY,      /* to who asked; silently dropped if it is gone */
    CTL_SEND,       /* a RAFT message to a mate; lost if it is not connected */
    CTL_ASK,        /* QUORUM_STATE to a mate; comes back as CTL_ANSWERED, exactly once */
    CTL_CONNECT,    /* keep a connection to a broker's node port, instead of a former one */
    CTL_DISCONNECT, /* give it up; no event follows for this connection */
    CTL_PUSH,       /* PUSH_METADATA to a broker; comes back as CTL_PUSHED, exactly once, unless
                       CTL_DISCONNECT comes first */
    CTL_PROBE,      /* find out whether connections are refused where the broker's process was that
                       answered last: CTL_PEER_GONE */
    CTL_PROBE_MATE, /* the same of a mate's port: CTL_MATE_GONE */
    CTL_CLUSTER, /* the folder belongs to this cluster now: note it, synced, or end the process */
    CTL_READY,   /* this node knows a leader: once */
    CTL_LOG,     /* a line for the log */
    CTL_FAIL     /* end the process with an error, after what was sent before it */
};

struct ctl_effect {
    enum ctl_effect_kind kind;
    union {
        struct raft_persist *persist; /* owned: raft_persist_free */
        struct {
            struct buf *to;      /* owned */
            struct buf **frames; /* owned heap array of owned references */
            size_t count;
        } reply;
        struct {
            int32_t controller_id;
            struct buf *body; /* owned */
        } send;
        struct {
            int32_t controller_id;
            uint64_t number;
            struct buf *body; /* owned */
            int32_t timeout_ms;
        } ask;
        struct {
            int32_t broker_id;
            char host[256];
            int32_t port;
        } connect;
        struct {
            int32_t broker_id;
            uint64_t number;
            struct buf *body; /* owned */
            int32_t timeout_ms;
        } push;
        int32_t peer; /* CTL_DISCONNECT, CTL_PROBE: broker id; CTL_PROBE_MATE: controller id */
        struct uuid cluster_id; /* CTL_CLUSTER, CTL_READY */
        struct {
            bool error;
            char line[400];
        } log;
    } u;
};

/* Grows as a step needs; the caller owns it, carries out items[0..count), then sets count to 0.
 * What one step adds is bounded by the requests of one entry and the number of brokers. */
struct ctl_effects {
    struct ctl_effect *items;
    size_t count;
    size_t capacity;
};

/* Frees what an effect owns. */
void ctl_effect_deinit(struct ctl_effect *effect);
void ctl_effects_deinit(struct ctl_effects *effects);

/* ---- the machine ----------------------------------------------------------------------------- */

struct ctl *ctl_new(const struct ctl_config *config);
void ctl_free(struct ctl *ctl);

/* Requires the order of events that their kinds state. A store whose entries do not add up ends in
 * CTL_FAIL. */
void ctl_step(struct ctl *ctl, const struct ctl_event *event, struct ctl_effects *out);

/* When CTL_TICK is due, in the events' now_ms; INT64_MAX: never. */
int64_t ctl_deadline(const struct ctl *ctl);

/* For health checks and metrics: read on the core thread. */
struct ctl_stats {
    bool ready; /* it knows a leader */
    bool failed;
    bool leading;
    bool voter;
    int32_t leader; /* controller id; -1: unknown */
    struct uuid cluster_id;
    int64_t version; /* committed */
    int64_t term;
    int64_t brokers;
    int64_t brokers_fenced;
    int64_t topics;
    int64_t partitions;
    int64_t leaderless; /* partitions without a leader */
    int64_t requests;
    int64_t requests_failed;
    int64_t waiting; /* requests that wait for their entry */
    int64_t entries; /* committed by this process */
    int64_t pushes;
    int64_t pushes_failed;
    int64_t leaders_restored; /* preferred ones, by this process itself */
    int64_t unclean_elections;
    int64_t fenced_silent;    /* brokers that this process fenced because they were silent */
    int64_t fenced_gone;      /* because a connection to them was refused */
    int64_t elections;        /* that this process stood for */
    int64_t snapshots;        /* of the image, taken or installed */
    int64_t messages_refused; /* Raft's, of other clusters or versions, or malformed */
    int64_t messages_stale;   /* of older terms */
};
void ctl_stats(const struct ctl *ctl, struct ctl_stats *ret_stats);

/* For tests and checkers. The image holds what is proposed and not committed yet, if anything.
 * Raft is NULL while the node has no seat and knows of no cluster. */
struct image;
const struct image *ctl_image(const struct ctl *ctl);
int64_t ctl_version(const struct ctl *ctl);
const struct raft *ctl_raft(const struct ctl *ctl);

#endif
