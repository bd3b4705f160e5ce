/* Raft as a step machine: an event in, effects out. It holds no clock, disk or socket; whoever
 * drives it (the controller's shell, the simulator, a script) carries the effects out.
 *
 * Raft as published (Ongaro, Ousterhout: "In Search of an Understandable Consensus Algorithm", and
 * Ongaro's thesis) plus pre-vote (thesis §9.6), check-quorum (§6.2), leadership transfer (§3.10),
 * membership changes one at a time through a learner (§4.1 to §4.2.1), snapshots in chunks (§5),
 * batched and pipelined appends (§10.2), a no-op at the start of a term and the read index (§6.4).
 *
 * THE CONTRACT
 *
 * Events. One at a time; each carries now_ms of a monotonic clock (a step back is taken as no
 * step). The first event after raft_init is RAFT_TICK. RAFT_TICK is due at raft_deadline().
 *
 * Effects. Carried out in the order of the array, before the next event. What they point at
 * (entries, messages, members, bytes) is borrowed until the next raft_step: encode or reference it
 * at once.
 *
 * Order of disk and network. RAFT_PERSIST is asked, never waited for: at most one is on its way,
 * and it comes back as RAFT_PERSISTED (or RAFT_PERSIST_FAILED) with its number, after its whole
 * content is synced as one atomic write. What changes meanwhile gathers in the next one. No message
 * and no commit rests on what is not synced: a vote, an acknowledgement, a vote request, entries of
 * the leader itself are all emitted by the step that receives the completion or by a later one. So
 * the shell sends RAFT_SEND at once. Messages may be lost, doubled, delayed and reordered.
 *
 * Ownership. raft_step takes references of its own to what it keeps of an event (payloads, snapshot
 * data) and changes none of the event's. The struct is visible for checkers; only this folder
 * writes.
 *
 * What survives a restart: what RAFT_PERSIST handed out: term, vote, commit, members (in log and
 * snapshot), log, snapshot. raft_init takes it back. All else begins anew.
 *
 * Identity. A member is a (node id, disk id): an emptied or replaced disk has a new disk id and is
 * another member, so that it cannot vote or acknowledge by the promises of the old one (trap 20).
 * Messages are between members; one that is addressed to another disk is ignored.
 *
 * Failure. After RAFT_PERSIST_FAILED the machine is dead until it is made anew from the disk: an
 * fsync that failed is never retried. A leader hands over first. */
#ifndef CONTROLLER_RAFT_RAFT_H
#define CONTROLLER_RAFT_RAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "libdmq/base/buf.h"
#include "libdmq/base/rng.h"

#define RAFT_MAX_VOTERS 7
#define RAFT_MAX_MEMBERS 12  /* voters and learners */
#define RAFT_MAX_INFLIGHT 16 /* appends on their way to one peer */
#define RAFT_MAX_READS 64    /* read indexes that wait for their quorum */
#define RAFT_MAX_OWED 48     /* messages that wait for the disk: four kinds to each member */
#define RAFT_MAX_EFFECTS 400 /* of one step; see raft_emit */
#define RAFT_MAX_SNAPSHOT_BYTES (INT64_C(1) << 31)

/* ---- members --------------------------------------------------------------------------------- */

struct raft_id {
    int32_t node; /* 0: nobody */
    struct uuid disk;
};

struct raft_member {
    struct raft_id id;
    bool voter; /* else a learner: gets the log, counts for nothing (thesis §4.2.1) */
};

struct raft_members {
    uint32_t count;
    struct raft_member at[RAFT_MAX_MEMBERS];
};

/* ---- the log --------------------------------------------------------------------------------- */

enum raft_entry_kind {
    RAFT_ENTRY_NOOP,   /* first of each term; no payload */
    RAFT_ENTRY_DATA,   /* the payload is the state machine's */
    RAFT_ENTRY_MEMBERS /* the payload is the whole member list, by raft_members_encode */
};

struct raft_entry {
    int64_t term;
    enum raft_entry_kind kind;
    struct buf *payload; /* never written once here; NULL only for NOOP */
};

struct raft_snapshot {
    int64_t
        index; /* of the last entry in it; 0: none, and members are those the cluster began with */
    int64_t term;
    struct raft_members members; /* as of index */
    struct buf *data;            /* the state machine's; NULL only where index is 0 */
};

/* ---- messages: plain values, one row of the message table each ------------------------------- */

enum raft_message_kind {
    RAFT_PRE_VOTE,        /* term: the one that it would start; index, log_term: its last entry */
    RAFT_PRE_VOTE_ANSWER, /* ok; term: that of the question if ok, else the answerer's own */
    RAFT_VOTE,            /* index, log_term: its last entry; force: the leader asked for it */
    RAFT_VOTE_ANSWER,     /* ok */
    RAFT_APPEND,          /* index, log_term: the entry before; commit; round; entries; from index 0
                             members: those that the cluster began with */
    RAFT_APPEND_ANSWER,   /* ok; index: equal and synced up to here; round. Not ok: rejected: the
                             index that did not fit; index, log_term: where one may (§3.5) */
    RAFT_SNAPSHOT,        /* index, log_term, members; offset, size, data; round */
    RAFT_SNAPSHOT_ANSWER, /* index; offset: the next byte that is wanted; round */
    RAFT_TIMEOUT_NOW      /* stand for election at once (thesis §3.10) */
};

struct raft_message {
    enum raft_message_kind kind;
    struct raft_id from;
    struct raft_id to;
    int64_t term;
    int64_t index;
    int64_t log_term;
    int64_t commit;
    int64_t round; /* of questions "do you still follow me"; an answer returns it */
    int64_t rejected;
    bool ok;
    bool force;
    const struct raft_entry *entries; /* index + 1, index + 2, ... */
    uint32_t entry_count;
    const struct raft_members *members;
    int64_t offset; /* of data in a snapshot of size bytes */
    int64_t size;
    struct bytes data;
};

/* ---- events ---------------------------------------------------------------------------------- */

enum raft_event_kind {
    RAFT_TICK,           /* time passed; harmless at any time */
    RAFT_PROPOSE,        /* the leader is to append an entry; result, index, term in the effects */
    RAFT_RECEIVED,       /* a message came */
    RAFT_PERSISTED,      /* RAFT_PERSIST seq is synced */
    RAFT_PERSIST_FAILED, /* it is not, and never will be */
    RAFT_TRANSFER,       /* hand the leadership to a voter */
    RAFT_ADD_LEARNER,    /* a new member, without vote; its address is the shell's business */
    RAFT_CHANGE_VOTERS,  /* make a learner a voter that has caught up, or remove a member */
    RAFT_READ_INDEX,     /* a linearizable read wants to know what it must see */
    RAFT_COMPACT,        /* the state machine's snapshot as of an index that was COMMITTED */
    RAFT_PEER_GONE       /* a node's port refuses connections: its process has ended */
};

struct raft_event {
    enum raft_event_kind kind;
    int64_t now_ms;
    union {
        struct buf *propose; /* borrowed */
        const struct raft_message *message;
        uint64_t persisted;  /* seq of PERSISTED, PERSIST_FAILED */
        struct raft_id peer; /* TRANSFER, ADD_LEARNER */
        struct {
            struct raft_id peer;
            bool add;
        } change;
        uint64_t read; /* an id, returned */
        struct {
            int64_t index;
            struct buf *data; /* borrowed */
        } compact;
        int32_t gone; /* node id */
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

enum raft_effect_kind {
    RAFT_PERSIST,    /* store and sync, all of it atomically */
    RAFT_SEND,       /* u.message */
    RAFT_COMMITTED,  /* entries first..last are to be applied: raft_entry_at; in order, once a start
                      */
    RAFT_INSTALL,    /* raft->snapshot replaces the state machine; COMMITTED goes on after it */
    RAFT_ROLE,       /* role, term or leader are others now */
    RAFT_READ_READY, /* the read may be answered from a state that has applied index (it is
                        COMMITTED) */
    RAFT_READ_FAILED, /* the leadership was lost meanwhile: ask the new leader */
    RAFT_CAUGHT_UP,   /* a learner has nearly all of the log: may become a voter */
    RAFT_FAILED       /* the disk failed: nothing happens any more */
};

/* After it: the disk holds exactly these. The log is the entries before `from`, then entries. */
struct raft_persist {
    uint64_t seq;
    int64_t term;
    struct raft_id vote;
    int64_t commit;                   /* a floor for the next start */
    int64_t from;                     /* delete every entry at or above, then append */
    const struct raft_entry *entries; /* from, from + 1, ... */
    int64_t count;
    int64_t prev_index;                   /* entries up to here are dropped; */
    int64_t prev_term;                    /* the term of that one */
    const struct raft_snapshot *snapshot; /* a new one, or NULL */
};

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_effect {
    enum raft_effect_kind kind;
    union {
        struct raft_persist persist;
        struct raft_message message;
        struct {
            int64_t first;
            int64_t last;
        } committed;
        struct {
            enum raft_role role;
            int64_t term;
            struct raft_id leader; /* node 0: unknown */
        } role;
        struct {
            uint64_t id;
            int64_t index;
        } read;
        struct raft_id caught_up;
    } u;
};

/* What became of a request to the leader: PROPOSE, TRANSFER, ADD_LEARNER, CHANGE_VOTERS,
 * READ_INDEX, COMPACT. Anything but OK changed nothing. */
enum raft_result {
    RAFT_OK,
    RAFT_NOT_LEADER,
    RAFT_BUSY,    /* later: too much on its way, another change or a transfer is */
    RAFT_REFUSED, /* not possible: no such member, the last voter, not caught up, index unknown */
    RAFT_DEAD     /* the disk failed */
};

struct raft_effects {
    enum raft_result result;
    int64_t index; /* PROPOSE, ADD_LEARNER, CHANGE_VOTERS: of the entry; it is done when this index
                      is COMMITTED with this term, and never if another term is */
    int64_t term;
    uint32_t count;
    struct raft_effect items[RAFT_MAX_EFFECTS];
};

/* ---- the machine ----------------------------------------------------------------------------- */

struct raft_config {
    struct raft_id self;
    int64_t heartbeat_ms;
    int64_t election_min_ms; /* silence of the leader before an election: drawn between these */
    int64_t election_max_ms;
    int64_t max_append_entries; /* of one message */
    int64_t max_append_bytes;   /* of payload in one message; one entry may be larger */
    int64_t max_inflight;       /* at most RAFT_MAX_INFLIGHT */
    int64_t max_uncommitted;    /* entries of the leader's that wait for their quorum */
    int64_t chunk_bytes;        /* of a snapshot in one message */
    int64_t keep_entries;       /* left before a snapshot, for peers that are a little behind, */
    int64_t keep_bytes;         /* but not more payload than this */
    int64_t caught_up_entries;  /* a learner that lacks no more may become a voter */
    uint64_t seed;
};

/* Elects within a second, also on a busy machine: a heartbeat is lost only if five are. */
void raft_config_defaults(struct raft_config *config);

/* The window of the log in memory: what follows prev. Grows with what the leader has sent and the
 * shell has not compacted. */
struct raft_log {
    int64_t prev_index;
    int64_t prev_term;
    struct raft_entry *entries;
    int64_t count;
    int64_t capacity;
};

/* What a start finds on the disk: what the last synced RAFT_PERSIST left, or for a new cluster only
 * snapshot.members, or for a node that waits to be added nothing at all. */
struct raft_saved {
    int64_t term;
    struct raft_id vote;
    int64_t commit;
    struct raft_snapshot snapshot; /* its data is referenced */
    int64_t prev_index;
    int64_t prev_term;
    const struct raft_entry *entries; /* payloads are referenced */
    int64_t count;
};

enum raft_peer_state {
    RAFT_PROBE,     /* where our logs agree is not known: one append at a time */
    RAFT_REPLICATE, /* known: as many as fit in the window, without waiting (thesis §10.2.1) */
    RAFT_SENDING    /* it needs what we no longer have: chunks of a snapshot */
};

enum raft_vote_state { RAFT_VOTE_NONE, RAFT_VOTE_GRANTED, RAFT_VOTE_REFUSED };

/* What a leader or candidate knows of a member, ours included; same place as in members. */
struct raft_peer {
    struct raft_id id;
    enum raft_vote_state vote;
    enum raft_peer_state state;
    int64_t next;     /* the next entry to send */
    int64_t match;    /* synced there and equal to ours up to here */
    int64_t round;    /* the last round that it answered */
    int64_t heard_ms; /* last answer of this term; at the election, now (trap 27) */
    int64_t sent_ms;  /* the probe or chunk that waits for an answer; -1: none does */
    bool caught_up;   /* said so */
    int64_t inflight[RAFT_MAX_INFLIGHT]; /* last index of each append on its way; oldest first */
    int64_t inflight_count;
    struct raft_snapshot sending; /* its own reference: ours may be replaced meanwhile */
    uint64_t sending_seq;         /* the write that it, or one that replaced it, is in */
    int64_t offset;               /* the next chunk */
};

/* A snapshot on its way in. */
struct raft_incoming {
    int64_t index; /* 0: none */
    int64_t term;
    struct raft_members members;
    int64_t size;
    struct outbuf data;
};

struct raft_read {
    uint64_t id;
    int64_t round; /* 0: not asked yet */
    int64_t index;
};

struct raft_owed {
    struct raft_message message;
    uint64_t seq; /* sent when this much is synced */
};

struct raft_stats {
    int64_t ignored;   /* malformed messages, or not for us, or not from a member */
    int64_t stale;     /* messages of an older term: they change nothing */
    int64_t elections; /* started */
    int64_t won;
    int64_t stepped_down; /* for want of a quorum */
    int64_t truncations;
    int64_t snapshots_sent;
    int64_t snapshots_installed;
};

struct raft {
    struct raft_config config;
    struct rng rng;
    int64_t now_ms;
    struct raft_effects *out; /* only during a step */
    bool dead;                /* the disk failed */

    /* survive a restart */
    int64_t term;
    struct raft_id vote;
    int64_t commit;
    struct raft_snapshot snapshot;
    struct raft_log log;

    /* the disk: changes gather for write next_seq = persist_seq + 1 */
    uint64_t persist_seq; /* last one asked for */
    uint64_t synced_seq;  /* last one synced: equal to it, or one less */
    bool hard_changed;    /* term or vote are not in a write yet */
    bool snapshot_changed;
    uint64_t hard_seq;     /* the write that term and vote are in */
    uint64_t snapshot_seq; /* that the snapshot is in */
    int64_t unsaved_from;  /* the log from here on is in no write yet */
    int64_t synced_last;   /* the log up to here is synced */
    bool installing;       /* the snapshot came from the leader and is not synced */

    /* members in force: the last in the log, committed or not (Raft §6, thesis §4.1) */
    struct raft_members members;
    int64_t members_index;
    struct raft_peer peers[RAFT_MAX_MEMBERS];

    /* role */
    enum raft_role role;
    struct raft_id leader;
    int64_t leader_heard_ms;
    int64_t election_due_ms;
    int64_t
        heartbeat_due_ms; /* leader: next heartbeat; candidates: next question to who is silent */
    bool forced;          /* this candidate was asked to stand by its leader */

    /* follower */
    int64_t matched;       /* equal to the leader's log of this term up to here */
    int64_t leader_commit; /* largest that it told in this term */
    int64_t leader_round;
    bool ack_due; /* of entries that are not synced yet */
    struct raft_incoming incoming;

    /* leader */
    int64_t term_start; /* index of its no-op */
    int64_t quorum_due_ms;
    int64_t round;
    bool broadcast; /* a heartbeat to everyone goes with this step */
    struct raft_id transfer_to;
    int64_t transfer_due_ms;
    bool transfer_told; /* to stand */
    struct raft_read reads[RAFT_MAX_READS];
    uint32_t read_count;

    struct raft_owed owed[RAFT_MAX_OWED];
    uint32_t owed_count;

    /* what the shell was told */
    int64_t told_commit;
    enum raft_role told_role;
    int64_t told_term;
    struct raft_id told_leader;

    struct raft_stats stats;
};

/* The caller's storage. saved must be what a disk can hold: check damage before. */
void raft_init(struct raft *raft, const struct raft_config *config, const struct raft_saved *saved,
               int64_t now_ms);
void raft_deinit(struct raft *raft);

/* ret_out need not be initialised. */
void raft_step(struct raft *raft, const struct raft_event *event, struct raft_effects *ret_out);

/* When RAFT_TICK is due; INT64_MAX: never. */
int64_t raft_deadline(const struct raft *raft);

/* True if it leads and an entry of its term is committed: what it knows is current (trap 30). */
bool raft_ready(const struct raft *raft);

/* Whether it has a vote itself. */
bool raft_votes(const struct raft *raft);

/* Of the window in memory, borrowed; index must be in it. */
const struct raft_entry *raft_entry_at(const struct raft *raft, int64_t index);
int64_t raft_last_index(const struct raft *raft);

/* How long the leader has not heard of a member; -1: no such member, or we do not lead. */
int64_t raft_silent_ms(const struct raft *raft, struct raft_id id);

bool raft_id_equal(struct raft_id a, struct raft_id b);

/* A write that outlives its step: its entries and snapshot are its own, payloads and data are
 * referenced. NULL is a no-op for free. */
struct raft_persist *raft_persist_copy(const struct raft_persist *write);
void raft_persist_free(struct raft_persist *write);

/* Gives up a saved whose entries are one heap array and whose payloads and data are references of
 * its own, as the store hands it out; it is all zero afterwards. */
void raft_saved_free(struct raft_saved *saved);

/* The payload of a MEMBERS entry: count, then for each its node (4 bytes, big-endian), disk (16)
 * and 1 for a voter. encode returns one reference. decode is false for what encode cannot have
 * made: more members or voters than allowed, one twice, two voters of one node. */
struct buf *raft_members_encode(const struct raft_members *members);
bool raft_members_decode(struct bytes bytes, struct raft_members *ret_members);

#endif
