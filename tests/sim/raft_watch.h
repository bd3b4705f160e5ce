/* The invariants of Raft, looked at from outside: by what nodes send, apply and have on their
 * disks. Whoever runs nodes (raft_sim, dmq-sim) tells what they do; the first thing that does not
 * hold goes to `wrong`. */
#ifndef TESTS_SIM_RAFT_WATCH_H
#define TESTS_SIM_RAFT_WATCH_H

#include "controller/raft/raft.h"
#include "tests/support/raft_disk.h"

#define RAFT_WATCH_NODES 7 /* node ids 1 to 7 */
#define RAFT_WATCH_MAX_INDEX 20000
#define RAFT_WATCH_MAX_TERM 4000

/* A node with one of its disks. */
struct raft_watched {
    struct raft_id id;
    const struct raft *raft; /* while it runs */
    struct raft_disk disk;   /* what is synced */

    /* the state machine: all that was applied, in its order */
    int64_t applied;
    uint64_t digest;

    /* what it has told the world */
    int64_t voted_term;
    struct raft_id voted_for;
    int64_t disk_commit; /* largest ever synced on this disk */
    int64_t disk_term;

    struct raft_members members; /* that it went by when it was looked at last */
};

/* What a node has acknowledged of the log of a term. */
struct raft_watch_ack {
    struct raft_id id;
    int64_t index;
};

struct raft_watch_entry {
    int64_t term;
    uint64_t hash;
    uint64_t digest;     /* of the state machine after it */
    int64_t commit_term; /* of who committed it first */
};

struct raft_watch {
    void (*wrong)(void *arg, const struct raft_watched *node, const char *what);
    void *arg;
    int64_t committed; /* anywhere */
    uint64_t elected;  /* leaders */
    struct raft_watch_entry log[RAFT_WATCH_MAX_INDEX];
    struct raft_id leaders[RAFT_WATCH_MAX_TERM];
    /* who voted in a term, and for whom */
    struct raft_id votes[RAFT_WATCH_MAX_TERM][RAFT_WATCH_NODES + 1];
    struct raft_id voted[RAFT_WATCH_MAX_TERM][RAFT_WATCH_NODES + 1];
    /* who would vote: a bit for each node, by term and candidate */
    uint8_t pre_votes[RAFT_WATCH_MAX_TERM][RAFT_WATCH_NODES + 1];
    /* by term and node: a leader that was paused counts in its term what came meanwhile, although
     * who said it has gone on to another */
    struct raft_watch_ack acks[RAFT_WATCH_MAX_TERM][RAFT_WATCH_NODES + 1];
};

uint64_t raft_watch_mix(uint64_t hash, const void *data, size_t size);

/* A message leaves; what it rests on is synced. */
void raft_watch_send(struct raft_watch *watch, struct raft_watched *node,
                     const struct raft_message *message);

/* A write of disk is carried out: term, vote and commit never go back. */
void raft_watch_written(struct raft_watch *watch, struct raft_watched *node);

/* It applies the entries up to last, which it has in memory. */
void raft_watch_applied(struct raft_watch *watch, struct raft_watched *node, int64_t last);

/* The snapshot that it has takes the place of its state machine. digest: what that gives, if the
 * caller can tell; 0: what it must be. */
void raft_watch_installed(struct raft_watch *watch, struct raft_watched *node, uint64_t digest);

/* It leads now. */
void raft_watch_leader(struct raft_watch *watch, struct raft_watched *node);

/* A leader: at most one change of members is not committed. */
void raft_watch_one_change(struct raft_watch *watch, struct raft_watched *node);

/* Where two logs have the same term at one index, all before it is equal too. */
void raft_watch_matching(struct raft_watch *watch, struct raft_watched *a, struct raft_watched *b);

#endif
