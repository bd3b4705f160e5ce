/* The controller's state, shared by the files of this folder and by nobody else.
 *
 *   core.c       the one switch over events, the effects, invariants
 *   call.c       a request's life; the one switch over calls
 *   quorum.c     drives Raft: its effects become ours; committed entries are applied
 *   raft_wire.c  Raft's messages as rows of the message table
 *   form.c       how this node comes to its seat: founding a cluster, or asking for a seat
 *   seats.c      the leader gives seats: emptied and replaced disks become voters again
 *   decide.c     requests and duties become one entry
 *   reply.c      the only place where an answer is made
 *   session.c    what is known of each broker; leases
 *   push.c       committed entries go to the brokers
 *   snapshot.c   the image as one entry
 *   change.c     how partitions change when a broker comes, goes or fails
 *   rebalance.c  leaderships go back to the replicas that are preferred, by themselves
 *   placement.c  where the replicas of a new topic lie
 *   api_versions.c register_broker.c heartbeat.c create_topic.c delete_topic.c alter_topic.c
 *   create_partitions.c elect_leaders.c describe_topics.c allocate_producer_ids.c describe_quorum.c
 *   alter_partition.c report_damaged.c
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

/* A push that is on its way to some broker, for others that lack the same. */
struct shared_push {
    struct buf *body; /* NULL: none */
    int64_t from;     /* version before its first entry; a snapshot: 0 */
    int64_t end;      /* version that it brings a broker to */
    int64_t version;  /* committed when it was made */
    int64_t term;
};

#define CTL_MAX_RECENT 1024
#define CTL_MAX_RECENT_BYTES (64 * 1024 * 1024)

enum batch_state {
    BATCH_IDLE,
    BATCH_OPEN,    /* deciding: meta_undo is active, records may be added */
    BATCH_WRITING, /* proposed to Raft; the image is ahead by it, and can go back */
    BATCH_READING  /* nothing changed; the answers wait until it is sure that this node leads */
};

/* The entry that is being decided, or on its way through Raft. */
struct batch {
    enum batch_state state;
    int64_t version; /* that it will have */
    int64_t term;
    uint64_t read;       /* BATCH_READING: its number */
    struct outbuf bytes; /* of its records, back to back */
    size_t *ends;        /* where record i ends in bytes */
    size_t count;
    size_t capacity;
    struct list calls; /* decided; answered when it is committed */
    size_t call_count;
    struct buf *encoded; /* BATCH_WRITING: what was proposed */
};

/* ---- controllers ----------------------------------------------------------------------------- */

/* Another controller of services.json. */
struct mate {
    int32_t id;
    bool up;           /* the connection to it is open */
    uint64_t asked;    /* number of the question on its way; 0: none */
    uint64_t asked_in; /* the round of that question */
    uint64_t empty_in; /* the last round in which it said that it is empty */
    struct uuid disk;  /* as it said then */
    dmq_err refused;   /* why it refused us, or we it: logged once */
    bool foreign;      /* it belongs to another cluster, as far as is known */
    struct uuid wants; /* the disk with which it asks us for a seat; zero: it does not */
    int64_t wanted_ms; /* when it asked last */
};

enum seat {
    SEAT_NONE,     /* the disk is empty: nothing is known of a cluster */
    SEAT_FOUNDING, /* the first voter list is on its way to the disk */
    SEAT_RAFT      /* Raft runs: as voter, learner, or as one who asks to be taken in */
};

struct seat_call; /* seats.c */

struct ctl {
    struct ctl_config config;
    struct ctl_effects *out; /* of the step that runs */
    int64_t now_ms;          /* of the step */
    struct rng rng;
    bool started;
    bool ready;  /* CTL_READY was said */
    bool failed; /* the store failed: nothing is decided any more */

    /* quorum */
    struct raft *raft; /* NULL unless SEAT_RAFT */
    struct raft_effects *raft_out;
    bool in_raft;         /* what its effects lend is in use: it must not be stepped */
    bool leading;         /* what is known here is current: requests may be decided */
    int64_t leading_term; /* if leading */
    int64_t log_bytes;    /* applied since the last snapshot */
    int64_t snapshot_size;

    /* form */
    enum seat seat;
    bool may_found;               /* the disk is empty, and always was */
    struct uuid cluster_id;       /* zero: not known yet */
    struct raft_members founders; /* SEAT_FOUNDING: of whom */
    struct mate *mates;           /* by id, ascending */
    size_t mate_count;
    struct uuid stranger; /* the cluster of a broker that was refused last: logged once a while */
    int64_t stranger_ms;
    uint64_t form_round;
    uint64_t last_ask;
    int64_t form_due_ms;          /* the next round of questions */
    int64_t led_ms;               /* a leader was known last */
    int64_t outnumbered_until_ms; /* most mates are of another cluster: it ends then */

    /* seats */
    struct seat_call *seat_call; /* a request that waits for its change; NULL: none */

    /* the image */
    struct image *image;
    int64_t version; /* committed; the image is one ahead in BATCH_WRITING */
    uint64_t digest; /* of the image at that version */

    struct batch batch;
    struct list waiting; /* requests that need a decision, in order of arrival */
    size_t waiting_count;
    size_t waiting_bytes;

    /* Only while leading. */
    struct session *sessions; /* by broker id, ascending */
    size_t session_count;
    size_t session_capacity;
    bool duties;              /* something changed that may call for an entry without a request */
    int64_t rebalance_due_ms; /* when leaderships are looked at again */
    bool rebalance;           /* they are, in the next entry */

    struct recent *recent; /* ring of the newest committed entries */
    size_t recent_head;
    size_t recent_count;
    size_t recent_bytes;
    uint64_t last_push;
    struct shared_push shared_range;
    struct shared_push shared_image;

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

/* True once the image holds the cluster. */
bool ctl_formed(const struct ctl *ctl);

/* ---- decide.c -------------------------------------------------------------------------------- */

/* Adds a record to the batch and applies it to the image. body is a struct of the record's type. It
 * must fit: to decide otherwise is our own bug. */
void ctl_propose(struct ctl *ctl, int type, const void *body);

/* Makes an entry of the duties and requests that wait, if none is in flight. */
void decide(struct ctl *ctl);

/* The proposed entry was committed. */
void decide_on_committed(struct ctl *ctl);

/* The answers that wait for BATCH_READING number may leave, or not. */
void decide_on_read(struct ctl *ctl, uint64_t number, bool ok);

/* This node does not lead any more, or its store failed: what was proposed is undone, and what it
 * means for those who asked is said. No-op if nothing is in flight. */
void decide_abandon(struct ctl *ctl);

/* Answers all who wait that another node leads. */
void decide_turn_away(struct ctl *ctl);
void decide_free(struct ctl *ctl);

/* ---- quorum.c -------------------------------------------------------------------------------- */

/* Raft begins with what the disk holds. */
void quorum_start(struct ctl *ctl, const struct raft_saved *saved);

/* Steps Raft and carries out its effects; NULL event: only time has passed. What it said to the
 * request is in ctl->raft_out (result, index, term). */
enum raft_result quorum_step(struct ctl *ctl, struct raft_event *event);
void quorum_on_persisted(struct ctl *ctl, uint64_t seq, dmq_err err);

/* Hands Raft a snapshot of the image, when the log has grown enough for one. */
void quorum_compact(struct ctl *ctl);

/* The leader as far as it is known; -1. */
int32_t quorum_leader(const struct ctl *ctl);

/* Nothing is on its way through Raft, so that the next entry has the next version. */
bool quorum_idle(const struct ctl *ctl);
void quorum_free(struct ctl *ctl);

/* Why a request is not decided here. */
dmq_err quorum_not_leader(const struct ctl *ctl, struct err_msg *err);

/* ---- raft_wire.c ----------------------------------------------------------------------------- */

struct buf *raft_wire_encode(const struct raft_message *message, struct uuid cluster_id);

/* Lists come from the arena; the payloads are new references: raft_wire_release. INVALID_REQUEST.
 */
dmq_err raft_wire_decode(const struct raft_request *request, struct arena *arena,
                         struct raft_message *ret_message, struct err_msg *err);
void raft_wire_release(struct raft_message *message);
struct raft_node raft_wire_node(struct raft_id id);
struct raft_id raft_wire_id(struct raft_node node);

/* False for what is no member list: too many, or one twice. */
bool raft_wire_members(const struct raft_seat *seats, uint32_t count,
                       struct raft_members *ret_members);

/* seats has RAFT_MAX_MEMBERS places; the count. */
uint32_t raft_wire_seats(const struct raft_members *members, struct raft_seat *seats);

/* ---- form.c ---------------------------------------------------------------------------------- */

void form_start(struct ctl *ctl, const struct raft_saved *saved);

/* The list of first voters is synced, or not. */
void form_on_persisted(struct ctl *ctl, dmq_err err);
void form_on_mate(struct ctl *ctl, enum ctl_event_kind kind, int32_t controller_id);
void form_on_foreign(struct ctl *ctl, int32_t controller_id);
void form_on_answer(struct ctl *ctl, const struct ctl_event *event);

/* Asks the mates again, if it is time and there is something to ask. */
void form_tick(struct ctl *ctl);
int64_t form_deadline(const struct ctl *ctl);

/* NULL: not in services.json, or this node itself. */
struct mate *mate_find(struct ctl *ctl, int32_t controller_id);

/* ---- seats.c --------------------------------------------------------------------------------- */

/* A controller without a seat asks the leader for one. DMQ_OK: it has one, or will have. */
dmq_err seats_want(struct ctl *ctl, struct raft_id id, struct err_msg *err);

/* Another disk has the seat of that controller, and is there. */
dmq_err seats_duplicate(int32_t node, struct err_msg *err);

/* The leader's next change of members, if one is due. */
void seats_tick(struct ctl *ctl);

/* A request that changes the quorum; it takes the call. */
void seats_call(struct ctl *ctl, struct call *call);

/* Everything up to index is committed. */
void seats_on_committed(struct ctl *ctl, int64_t index);

/* This node does not lead any more. */
void seats_abandon(struct ctl *ctl);
void seats_free(struct ctl *ctl);

/* ---- snapshot.c ------------------------------------------------------------------------------ */

/* The image as one metadata_entry at the committed version. Only while the image holds nothing
 * else. */
struct buf *snapshot_encode(const struct ctl *ctl);

/* Puts a snapshot in the place of the image. DMQ_ERR_DAMAGED if it is none of that version. */
dmq_err snapshot_install(struct ctl *ctl, int64_t version, struct bytes data, struct err_msg *err);

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

/* After a commit, while leading: what the image says of every broker. */
void session_sync_all(struct ctl *ctl);

/* This node leads now: every broker gets a lease and a connection. */
void session_begin_all(struct ctl *ctl);

/* It does not lead any more: nothing of what was known counts. */
void session_end_all(struct ctl *ctl);

/* Fences who is gone, unfences who is ready; into the open batch. */
void session_decide(struct ctl *ctl);

/* Fences a broker, into the open batch. */
void session_fence(struct ctl *ctl, int32_t broker_id, bool shutting_down);

/* When the first lease ends; INT64_MAX: no broker has one. */
int64_t session_deadline(const struct ctl *ctl);

/* ---- push.c ---------------------------------------------------------------------------------- */

/* Keeps a committed entry, metadata_entry encoded, which must have that version; takes encoded. The
 * entry lives until the next push_keep. DMQ_ERR_DAMAGED. */
dmq_err push_keep(struct ctl *ctl, struct buf *encoded, int64_t version,
                  const struct metadata_entry **ret_entry, struct err_msg *err);

/* What is kept has no connection to what follows. */
void push_forget(struct ctl *ctl);

/* Sends each broker what it lacks, if it is connected and no push is on its way to it. */
void push_all(struct ctl *ctl);

/* This node does not lead any more, or nobody lacks anything. */
void push_end_all(struct ctl *ctl);
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

/* The broker's log of one partition is damaged; true if that changes the partition. told_epoch: the
 * newest leader epoch in which a leader may know where that log ends. */
bool change_damaged(struct ctl *ctl, int32_t broker_id, const struct damaged_log *log);

/* Moves leaderships of the broker to others in sync. True if none is left that another live broker
 * could take over. */
bool change_hand_over(struct ctl *ctl, int32_t broker_id);

/* The broker is live now: what has no leader gets one where it can. */
void change_join(struct ctl *ctl, int32_t broker_id);

/* The partition's ISR and durability as its leader wants them: members live, the leader among them.
 * Who leaves a small ISR stays in the ELR (KIP-966). */
void change_isr(struct ctl *ctl, const struct partition_record *from, const int32_t *isr,
                uint32_t isr_count, int8_t durability);

/* The settings of the topic changed, in the image as well: min ISR and durability of its partitions
 * follow. new_durability: it is another one than before. */
void change_settings(struct ctl *ctl, struct uuid topic_id, bool new_durability);

/* Makes the preferred leader, the first replica, lead: ELECTION_NOT_NEEDED, or
 * PREFERRED_LEADER_NOT_AVAILABLE if it is not live and in sync. */
dmq_err change_prefer(struct ctl *ctl, const struct partition_record *from);

/* Gives a partition that nobody may lead a leader all the same: `wanted` if it is live, -1: the
 * first live replica. What the last in sync held beyond it is lost. ELECTION_NOT_NEEDED,
 * ELIGIBLE_LEADERS_NOT_AVAILABLE. */
dmq_err change_elect_unclean(struct ctl *ctl, const struct partition_record *from, int32_t wanted);

/* Asserts what must hold of every partition. */
void change_check(const struct image *image);

/* ---- rebalance.c ----------------------------------------------------------------------------- */

/* This node leads now. */
void rebalance_begin(struct ctl *ctl);
void rebalance_tick(struct ctl *ctl);
int64_t rebalance_deadline(const struct ctl *ctl);

/* Moves some leaderships into the open batch, if it is time. */
void rebalance_decide(struct ctl *ctl);

/* ---- placement.c ----------------------------------------------------------------------------- */

/* Live brokers. */
uint32_t placement_live(const struct image *image);

/* Fills replicas[partition_count * factor]: for each partition its brokers, preferred leader first.
 * Evenly by leaderships, then by replicas, and over racks. factor <= placement_live. */
void placement_place(const struct image *image, uint32_t partition_count, uint32_t factor,
                     int32_t *replicas);

#endif
