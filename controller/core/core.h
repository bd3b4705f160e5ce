/* The controller's core: one step machine, an event in, effects out. It decides on everything that
 * concerns metadata and does nothing: sockets, LevelDB and clocks are the shell's (controller/node)
 * or the simulator's.
 *
 * Events are handed in one at a time; the effects of a step are carried out in their order before
 * the next event. At most one entry is on its way to the disk. Nothing is answered or pushed before
 * the entry that it rests on came back as CTL_PERSISTED. */
#ifndef CONTROLLER_CORE_CORE_H
#define CONTROLLER_CORE_CORE_H

#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/messages.h"

struct ctl;

struct ctl_config {
    int32_t controller_id;
    struct uuid instance_id;    /* drawn at this start */
    int64_t session_timeout_ms; /* broker.session.timeout.ms */
    int64_t max_message_bytes;  /* largest frame that a broker or this node takes */
    int32_t max_requests;       /* without answer, of one connection: advertised */
    uint64_t seed;              /* of the topic ids, from the operating system */
    struct uuid new_cluster_id; /* of the cluster, if this start forms it */
};

/* ---- events ---------------------------------------------------------------------------------- */

enum ctl_event_kind {
    CTL_LOADED,    /* before CTL_STARTED: one entry of the store, in order */
    CTL_STARTED,   /* all entries were loaded; requests may come */
    CTL_REQUEST,   /* a request came in */
    CTL_PERSISTED, /* completion of CTL_PERSIST */
    CTL_PUSHED,    /* completion of CTL_PUSH */
    CTL_PEER_UP,   /* the connection to a broker's node port is open */
    CTL_PEER_DOWN, /* it ended */
    CTL_PEER_GONE, /* the broker's node port refuses connections: its process has ended */
    CTL_TICK       /* ctl_deadline has passed */
};

struct ctl_event {
    enum ctl_event_kind kind;
    int64_t now_ms; /* monotonic */
    union {
        struct {
            int64_t version;
            struct bytes entry; /* what CTL_PERSIST handed out; borrowed */
        } loaded;
        struct {
            enum api_listener listener; /* LISTENER_CONTROLLER */
            struct buf *from;           /* routing id: a reference that the step takes */
            struct buf **frames;        /* borrowed array of references that the step takes */
            size_t count;
            const char *peer; /* address, for people; borrowed */
        } request;
        struct {
            int64_t version;
            dmq_err err;
        } persisted;
        struct {
            int32_t broker_id;
            uint64_t number;   /* of the push */
            dmq_err err;       /* why there is no answer, or that of the answer */
            struct bytes body; /* of the answer, where err is DMQ_OK; borrowed */
        } pushed;
        int32_t peer; /* CTL_PEER_*: broker id */
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

enum ctl_effect_kind {
    CTL_PERSIST, /* store an entry, synced; comes back as CTL_PERSISTED */
    CTL_REPLY,   /* to who asked; silently dropped if it is gone */
    CTL_CONNECT, /* keep a connection to a broker's node port from now on, instead of a former one
                  */
    CTL_PUSH,    /* PUSH_METADATA to a broker; comes back as CTL_PUSHED, exactly once */
    CTL_PROBE,   /* find out whether the broker's node port refuses connections: CTL_PEER_GONE */
    CTL_READY,   /* the cluster is formed: once */
    CTL_LOG,     /* a line for the log */
    CTL_FAIL     /* end the process with an error: the store failed */
};

struct ctl_effect {
    enum ctl_effect_kind kind;
    union {
        struct {
            int64_t version;
            struct buf *entry; /* owned */
        } persist;
        struct {
            struct buf *to;      /* owned */
            struct buf **frames; /* owned heap array of owned references */
            size_t count;
        } reply;
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
        int32_t probe;          /* broker id */
        struct uuid cluster_id; /* CTL_READY */
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

/* Requires the order of events that their kinds state. CTL_LOADED with an entry that does not fit
 * ends in CTL_FAIL. */
void ctl_step(struct ctl *ctl, const struct ctl_event *event, struct ctl_effects *out);

/* When CTL_TICK is due, in the events' now_ms; INT64_MAX: never. */
int64_t ctl_deadline(const struct ctl *ctl);

/* For health checks and metrics: read on the core thread. */
struct ctl_stats {
    bool ready;
    bool failed;
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
};
void ctl_stats(const struct ctl *ctl, struct ctl_stats *ret_stats);

/* The image, for tests and checkers; with what is not committed yet. */
struct image;
const struct image *ctl_image(const struct ctl *ctl);

#endif
