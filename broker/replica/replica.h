/* One replica of a partition, as the broker that holds it sees the replication: who leads, how far
 * each log is appended and synced, who is in sync, and the high watermark. Sans I/O: an event in,
 * effects out. It holds no log: what an event needs of the log's epochs comes with the event.
 *
 *   high watermark <= counted end of every member of the maximal ISR
 *   counted end    = synced end, or log end where durability=async
 *   maximal ISR    = the ISR of the image, with everyone that was asked in and may have got in
 *
 * The contract:
 *   - Events are handed in one at a time; effects are carried out before the next event. A step
 *     has at most one effect of each kind, so that its output is one struct.
 *   - The high watermark changes nowhere else. It only rises, but for records that are cut off
 *     (TRUNCATED, OPENED: then they were never safe, or durability=async gave that up), and for a
 *     log that was damaged and begins anew (EMPTIED).
 *   - A role comes from the metadata image alone, and with it the leader epoch, which only rises.
 *     A leader never acts on its own idea of the ISR: it asks (ISR_CHANGE), and what it asked for
 *     is in force when the image says so (trap 13).
 *   - TRUNCATE is answered by TRUNCATED, RESTART by EMPTIED, once it is carried out; until then no
 *     ROLE comes. ISR_CHANGE is answered by ISR_ANSWERED, at most one is on its way.
 *   - A follower's log grows only by batches of an answer that the machine said to APPEND, and each
 *     end that its leader or follower reaches is told by APPENDED and SYNCED. */
#ifndef BROKER_REPLICA_REPLICA_H
#define BROKER_REPLICA_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/base/err.h"

#define REPLICA_MAX 64 /* replicas of a partition: a set of them is a word of bits */

enum replica_role {
    REPLICA_IDLE, /* no leader is known, or the image speaks of a former process of ours */
    REPLICA_FOLLOWER,
    REPLICA_LEADER
};

/* ---- what the image says --------------------------------------------------------------------- */

struct replica_member {
    int32_t broker_id;
    int64_t broker_epoch; /* of its registration */
    bool eligible;        /* neither fenced nor shutting down (KIP-841, trap 18) */
};

/* The partition's record, and the brokers that it names. Borrowed by a step. */
struct replica_image {
    enum replica_role role; /* ours */
    int32_t leader;         /* broker id; -1: none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    int32_t min_isr;
    bool async;          /* of the topic: it wants the end to count, not the synced end */
    bool recorded_async; /* of the partition: an unclean restart is judged by it */
    uint32_t member_count;
    const struct replica_member *members; /* all replicas, ours included */
    uint32_t isr_count;
    const int32_t *isr; /* some of the members */
};

/* ---- events ---------------------------------------------------------------------------------- */

enum replica_event_kind {
    REPLICA_OPENED,   /* the log is recovered: end, and the checkpoint's high watermark */
    REPLICA_ROLE,     /* the image changed; harmless if nothing did */
    REPLICA_APPENDED, /* the log's end is now `end` */
    REPLICA_SYNCED,   /* its synced end is now `end` */
    REPLICA_TICK,     /* time passed; harmless at any time */

    /* to a leader */
    REPLICA_FETCHED,      /* a follower asks for what follows its end */
    REPLICA_PROGRESS,     /* a follower's synced end rose while its fetch is parked */
    REPLICA_ISR_ANSWERED, /* what became of ISR_CHANGE */

    /* to a follower */
    REPLICA_ANSWERED,    /* the leader answered our fetch, without error */
    REPLICA_BELOW_START, /* it answered that its log begins beyond our end */
    REPLICA_TRUNCATED,   /* the log was cut to `end` */

    /* to whoever does not lead */
    REPLICA_EMPTIED /* the log holds nothing any more, and begins at `end`, durably */
};

/* Largest epoch <= the one asked for that a log holds records of, and the end of these (KIP-279);
 * -1 and the log start if there is none. */
struct replica_epoch_end {
    int32_t epoch;
    int64_t end;
};

struct replica_fetched {
    int32_t follower;
    int64_t broker_epoch; /* its registration (KIP-903) */
    int32_t leader_epoch; /* that it follows */
    int32_t last_epoch;   /* of its last record; -1: none (KIP-595). Not in PROGRESS. */
    int64_t end;
    int64_t synced_end;
    struct replica_epoch_end ours; /* what our log says of last_epoch. Not in PROGRESS. */
};

struct replica_answered {
    int32_t leader_epoch; /* that we asked in */
    int64_t asked_end;    /* that we asked from */
    int64_t high_watermark;
    bool diverges;
    struct replica_epoch_end theirs; /* diverges: what the leader's log says of our last epoch */
    struct replica_epoch_end ours;   /* and what our log says of the epoch in it */
};

struct replica_below_start {
    int32_t leader_epoch; /* that we asked in */
    int64_t asked_end;    /* that we asked from */
    int64_t start;        /* where the leader's log begins */
    int64_t high_watermark;
};

enum replica_isr_outcome {
    REPLICA_ISR_SETTLED, /* carried out, or overtaken by another change: the image will tell */
    REPLICA_ISR_REFUSED, /* this request changed nothing and never will, nor did another */
    REPLICA_ISR_UNKNOWN  /* the answer was lost: it may be carried out, now or later */
};

struct replica_event {
    enum replica_event_kind kind;
    int64_t now_ms;
    union {
        int64_t end; /* APPENDED, SYNCED, TRUNCATED, EMPTIED */
        struct {
            int64_t end;
            int64_t high_watermark;
        } opened;
        struct replica_image image; /* ROLE */
        struct replica_fetched fetched;
        struct replica_answered answered;
        struct replica_below_start below;
        struct {
            int32_t partition_epoch; /* that ISR_CHANGE was asked with */
            enum replica_isr_outcome outcome;
        } isr;
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

/* Asked of the controller: carried out only if partition and leader epoch are still these, and
 * every member still has this broker epoch. */
struct replica_isr_change {
    int32_t leader_epoch;
    int32_t partition_epoch;
    bool async; /* of the partition */
    uint32_t count;
    struct {
        int32_t broker_id;
        int64_t broker_epoch;
    } members[REPLICA_MAX];
};

struct replica_effects {
    bool hw_advanced;   /* every waiter at or below may be told */
    bool state_changed; /* role, leader epoch, ISR: what waits may have to end */
    bool isr_change;
    struct replica_isr_change change;

    /* FETCHED: DMQ_OK and the batches from its end on are to be sent; or where it diverges; or why
     * it is refused. ANSWERED: why nothing came of it; DMQ_ERR_STALE_METADATA: it is an old one. */
    dmq_err err;
    bool diverges;
    struct replica_epoch_end theirs;
    int64_t told_hw; /* FETCHED: the follower knows of this much at least */

    bool append;         /* ANSWERED: its batches may be appended, if they follow our end */
    bool truncate;       /* cut the log to truncate_to, synced before a later append counts */
    bool below_hw;       /* that is below the high watermark: records that were safe are lost */
    int64_t truncate_to; /* below our end */
    bool restart;        /* empty the log, which begins at restart_at then: above our end */
    int64_t restart_at;
    bool progress; /* SYNCED: the leader wants to hear it now if our fetch is parked there */
};

/* ---- the machine ----------------------------------------------------------------------------- */

/* What a leader knows of a replica, in this leader epoch and nothing from before (trap 11). */
struct replica_peer {
    int32_t broker_id;
    int64_t broker_epoch; /* of the image, or newer: the one that it fetched with */
    bool eligible;
    bool matched;         /* fetched in this epoch, without divergence: the ends below count */
    int64_t end;          /* its log equals ours up to here */
    int64_t synced_end;   /* and is synced up to here */
    int64_t told_hw;      /* the high watermark that its last fetch was answered with, at least */
    int64_t caught_up_ms; /* when it last had all that we had */
    int64_t goal_end;     /* reached, it was caught up at goal_ms; -1: none is set */
    int64_t goal_ms;
};

struct replica_config {
    int32_t broker_id;
    int64_t lag_max_ms; /* replica.lag.time.max.ms */
    int64_t retry_ms;   /* until a refused or lost ISR change is asked for again */
};

struct replica {
    struct replica_config config;
    enum replica_role role;
    int32_t leader;
    int32_t leader_epoch; /* of the image; -1: none seen */
    int32_t partition_epoch;
    int32_t min_isr;
    bool async; /* the end counts, not the synced end */
    bool recorded_async;
    int64_t end;
    int64_t synced_end;
    int64_t high_watermark; /* survives a restart by its checkpoint */

    /* leader */
    int64_t now_ms;             /* of the newest event */
    struct replica_peer *peers; /* all replicas, ours included; NULL unless we lead */
    uint32_t peer_count;
    uint32_t self;       /* our place among them */
    uint64_t isr;        /* bits by place: of the image */
    uint64_t asked;      /* what we asked to be the ISR at this partition epoch, and may get */
    bool asking;         /* an ISR_CHANGE is on its way */
    bool settled;        /* the controller is beyond this partition epoch: the image will be */
    bool unknown;        /* one of this partition epoch may still be carried out */
    int64_t retry_ms;    /* the next one not before */
    int64_t epoch_start; /* our end when we began to lead */

    /* follower */
    bool matched;        /* the leader of this epoch found no divergence: our ends may be told */
    bool truncating;     /* until TRUNCATED or EMPTIED */
    int64_t truncate_to; /* above our end: the log is emptied, and begins there */
    int64_t leader_hw;   /* largest that it told in this epoch, for what our log has of it */
};

/* The caller's storage. */
void replica_init(struct replica *replica, const struct replica_config *config);
void replica_deinit(struct replica *replica);

/* ret_effects need not be initialised. */
void replica_step(struct replica *replica, const struct replica_event *event,
                  struct replica_effects *ret_effects);

/* When TICK is due; INT64_MAX: never. */
int64_t replica_deadline(const struct replica *replica);

/* Whether a follower may ask its leader for more: it follows, and is not cutting its log. */
bool replica_wants_fetch(const struct replica *replica);

/* Whether acks=all may be appended: |ISR| >= min ISR (trap 12). */
bool replica_has_min_isr(const struct replica *replica);
int replica_isr_size(const struct replica *replica);

#endif
