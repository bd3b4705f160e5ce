/* The controller's state, shared by the files of this folder and by nobody else.
 *
 *   core.c       the one switch over events, the effects, invariants
 *   call.c       a request's life; the one switch over calls
 *   decide.c     requests and duties become one entry; the entry is committed
 *   reply.c      the only place where an answer is made
 *   session.c    what is known of each broker; leases
 *   push.c       committed entries go to the brokers
 *   change.c     how partitions change when a broker comes, goes or fails
 *   placement.c  where the replicas of a new topic lie
 *   api_versions.c register_broker.c heartbeat.c create_topic.c delete_topic.c alter_topic.c
 *   create_partitions.c describe_topics.c allocate_producer_ids.c
 *                one straight function per request */
#ifndef CONTROLLER_CORE_CTL_H
#define CONTROLLER_CORE_CTL_H

#include "controller/core/core.h"
#include "libdmq/base/arena.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/list.h"
#include "libdmq/base/rng.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec.h"

/* One voter has one term. The quorum's Raft takes its place. */
#define CTL_TERM 1

#define CTL_MAX_WAITING 10000                    /* requests that wait for their entry */
#define CTL_MAX_WAITING_BYTES (64 * 1024 * 1024) /* and what they hold */
#define CTL_MAX_BATCH_CALLS 256                  /* requests that one entry decides */
#define CTL_MAX_BATCH_RECORDS 200000 /* no further request is decided once an entry has so many */
#define CTL_PRODUCER_ID_BLOCK 1000

struct call;

/* ---- brokers --------------------------------------------------------------------------------- */

/* What is known of a broker beside the image. Nothing of it survives a restart. */
struct session {
    int32_t broker_id;
    int64_t lease_until_ms; /* silent for longer: it is fenced */
    bool gone;              /* its lease was ended because its process has */
    struct uuid former;     /* incarnation that the present one replaced: not taken back */
    bool fenced;            /* as committed; the image may be ahead */
    int64_t acked_version;  /* what it has applied, as it said; -1: not known */
    bool digest_wrong;      /* its image at a version is not ours: needs a snapshot */
    bool ahead;             /* it says that it has applied more than is committed: logged once */
    bool want_fence;        /* as it said last */
    bool peer_up;           /* the connection to its node port is open */
    uint64_t push_number;   /* of the push on its way; 0: none */
    int64_t push_base;      /* acked_version when it left */
    int64_t push_end;       /* version that it brings the broker to */
    int64_t push_after_ms;  /* no push before: the last one failed */
};

/* ---- entries --------------------------------------------------------------------------------- */

/* A committed entry, kept for a while to be pushed. */
struct recent {
    struct metadata_entry entry; /* points into memory */
    struct buf *encoded;         /* what was persisted */
    struct arena arena;          /* the list of records */
};

#define CTL_MAX_RECENT 1024
#define CTL_MAX_RECENT_BYTES (64 * 1024 * 1024)

/* The entry that is being decided, or on its way to the disk. */
struct batch {
    bool open;           /* deciding: meta_undo is active, records may be added */
    bool in_flight;      /* CTL_PERSIST was asked for */
    int64_t version;     /* that it will have */
    struct outbuf bytes; /* of its records, back to back */
    size_t *ends;        /* where record i ends in bytes */
    size_t count;
    size_t capacity;
    struct list calls; /* decided; answered when it is committed */
    size_t call_count;
    struct buf *encoded; /* in flight: what was handed out */
};

struct ctl {
    struct ctl_config config;
    struct ctl_effects *out; /* of the step that runs */
    int64_t now_ms;          /* of the step */
    struct rng rng;
    struct image *image;
    int64_t version; /* committed; the image is one ahead while an entry is in flight */
    uint64_t digest; /* of the image at that version */
    bool started;
    bool ready;  /* the cluster is formed */
    bool failed; /* the store failed: nothing is decided any more */

    struct batch batch;
    struct list waiting; /* requests that need a decision, in order of arrival */
    size_t waiting_count;
    size_t waiting_bytes;

    struct session *sessions; /* by broker id, ascending */
    size_t session_count;
    size_t session_capacity;
    bool duties; /* something changed that may call for an entry without a request */

    struct recent *recent; /* ring of the newest committed entries */
    size_t recent_head;
    size_t recent_count;
    size_t recent_bytes;
    uint64_t last_push;

    struct ctl_stats stats;
};

/* ---- core.c ---------------------------------------------------------------------------------- */

struct ctl_effect *ctl_emit(struct ctl *ctl, enum ctl_effect_kind kind);
__attribute__((format(printf, 3, 4))) void ctl_log(struct ctl *ctl, bool error, const char *format,
                                                   ...);

/* Zeroed, never NULL: the daemons end where memory does. */
void *ctl_alloc(size_t size);

/* Nothing can be promised any more: the process is to end. */
__attribute__((format(printf, 2, 3))) void ctl_fail(struct ctl *ctl, const char *format, ...);

/* ---- decide.c -------------------------------------------------------------------------------- */

/* Adds a record to the batch and applies it to the image. body is a struct of the record's type. It
 * must fit: to decide otherwise is our own bug. */
void ctl_propose(struct ctl *ctl, int type, const void *body);

/* Makes an entry of the duties and requests that wait, if none is in flight. */
void decide(struct ctl *ctl);

/* An entry of the store, at start. */
void decide_load(struct ctl *ctl, int64_t version, struct bytes encoded);
void decide_on_persisted(struct ctl *ctl, int64_t version, dmq_err err);
void decide_free(struct ctl *ctl);

/* ---- session.c ------------------------------------------------------------------------------- */

/* NULL if there is none. */
struct session *session_find(struct ctl *ctl, int32_t broker_id);

/* Makes one where there is none. */
struct session *session_of(struct ctl *ctl, int32_t broker_id);

/* The broker gave a sign of life. */
void session_renew(struct ctl *ctl, struct session *session);

/* True while the broker is to be taken for alive. */
bool session_alive(const struct ctl *ctl, const struct session *session);

/* Asks the shell for a connection to where the image says that the broker is. */
void session_connect(struct ctl *ctl, const struct session *session);

/* At the beginning of every step. */
void session_advance(struct ctl *ctl, int64_t now_ms);
void session_tick(struct ctl *ctl);

/* What a broker said of itself, in a heartbeat or an answer to a push. DMQ_OK, or why it is not to
 * be believed: BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH. */
dmq_err session_take_status(struct ctl *ctl, const struct broker_status *status,
                            struct err_msg *err);

/* After a commit, and at start: what the image says of every broker. */
void session_sync_all(struct ctl *ctl);

/* Fences who is gone, unfences who is ready; into the open batch. */
void session_decide(struct ctl *ctl);

/* Fences a broker, into the open batch. */
void session_fence(struct ctl *ctl, int32_t broker_id, bool shutting_down);

/* When the first lease ends; INT64_MAX: no broker has one. */
int64_t session_deadline(const struct ctl *ctl);

/* ---- push.c ---------------------------------------------------------------------------------- */

/* Keeps a committed entry. Takes encoded. */
void push_keep(struct ctl *ctl, struct buf *encoded);

/* Sends each broker what it lacks, if it is connected and no push is on its way to it. */
void push_all(struct ctl *ctl);
void push_on_done(struct ctl *ctl, const struct ctl_event *event);
int64_t push_deadline(const struct ctl *ctl);
void push_free(struct ctl *ctl);

/* ---- change.c -------------------------------------------------------------------------------- */

/* The broker can serve: registered, not fenced, not shutting down. */
bool broker_is_live(const struct image *image, int32_t broker_id);

/* How a broker leaves the partitions that it stores. */
enum leave {
    LEAVE_FENCED,  /* it may come back with what it has */
    LEAVE_UNCLEAN, /* it came back, but what was not synced is lost */
    LEAVE_DAMAGED, /* it came back with something that is not whole */
    LEAVE_EMPTY    /* it came back with nothing */
};

/* Takes the broker out of leaderships and in-sync replicas; others are elected where they can be.
 */
void change_leave(struct ctl *ctl, int32_t broker_id, enum leave leave);

/* Moves leaderships of the broker to others in sync. True if none is left that another live broker
 * could take over. */
bool change_hand_over(struct ctl *ctl, int32_t broker_id);

/* The broker is live now: what has no leader gets one where it can. */
void change_join(struct ctl *ctl, int32_t broker_id);

/* The settings of the topic changed, in the image as well: min ISR and durability of its partitions
 * follow. became_sync: durability was async until now. */
void change_settings(struct ctl *ctl, struct uuid topic_id, bool became_sync);

/* Asserts what must hold of every partition. */
void change_check(const struct image *image);

/* ---- placement.c ----------------------------------------------------------------------------- */

/* Live brokers. */
uint32_t placement_live(const struct image *image);

/* Fills replicas[partition_count * factor]: for each partition its brokers, preferred leader first.
 * Evenly by leaderships, then by replicas, and over racks. factor <= placement_live. */
void placement_place(const struct image *image, uint32_t partition_count, uint32_t factor,
                     int32_t *replicas);

#endif
