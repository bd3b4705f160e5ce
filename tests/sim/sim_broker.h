/* A whole broker in one thread: the very brk_step and plog objects that dmq-broker links, on the
 * simulator's disk and store, with a scripted controller. Each lane (disk writes, store, reads)
 * carries out its effects in order; which lane goes next is drawn from the seed.
 *
 * An effect boundary is the moment before a run of disk effects, or a store effect, is carried out,
 * and after the last. A crash at boundary n: everything before it happened, as far as it was
 * synced, and nothing after. die_at crashes it inside an effect instead, at a call that changes the
 * disk. */
#ifndef TESTS_SIM_SIM_BROKER_H
#define TESTS_SIM_SIM_BROKER_H

#include "broker/core/core.h"
#include "broker/log/plog_io.h"
#include "broker/log/plog_reader.h"
#include "libdmq/base/list.h"
#include "libdmq/base/rng.h"
#include "tests/sim/sim_controller.h"
#include "tests/sim/simfs.h"
#include "tests/sim/simkv.h"

#define SIM_BROKER_ID 101
#define SIM_BROKER_WALL_MS INT64_C(1700000000000) /* the time of day when now_ms is 0 */
#define SIM_CONTROLLERS 3
#define SIM_MAX_DIALS 128
#define SIM_MAX_SENT 64

/* How one of the controllers behaves; what they decide comes from the one struct sim_controller. */
struct sim_node {
    int32_t leader; /* who leads, as it says in its hello; -1: it does not know. Only one that says
                       itself answers requests, the others refuse */
    bool refuses;   /* connections */
    bool strange;   /* because it belongs to another cluster */
    bool mute;      /* takes everything, says nothing */
};

/* A response that came back. */
struct sim_reply {
    struct list link;
    int64_t correlation_id;
    struct buf **frames;
    size_t count;
};

struct sim_broker {
    struct rng rng;
    struct simfs *disk;         /* outlives restarts */
    struct simkv *store;        /* outlives restarts */
    struct sim_controller *ctl; /* outlives restarts */
    struct brk *brk;            /* NULL: not running */
    struct kv *kv;              /* the store, open */
    struct plog_io_lane *lane;
    struct plog_reader *reader;
    struct list disk_queue; /* effects that wait, by lane */
    struct list store_queue;
    struct list read_queue;
    struct list replies;
    struct sim_node controllers[SIM_CONTROLLERS + 1]; /* by id */
    size_t controller_count;                          /* 1, unless the test says more */
    int32_t dialled;                                  /* a connection that is asked for; 0: none */
    int32_t connected;                                /* to this controller; 0: none */
    int32_t dials[SIM_MAX_DIALS];                     /* whom the broker dialled, in order */
    size_t dial_count;
    bool keeps_sent;      /* sim_peers.h: the test is the other brokers, and decides on the ISR */
    int32_t peer_dialled; /* the last one */
    struct brk_effect sent[SIM_MAX_SENT]; /* to them, and what concerns the ISR, in order */
    size_t sent_count;
    struct list envelopes; /* requests that the broker forwarded: the test answers them */
    bool store_waits;      /* for space: its lane does nothing */
    bool disk_waits;       /* its lane does nothing, reads go on */
    bool refuse_requests;  /* even the one that leads says that it does not */
    dmq_err heartbeat_error;
    int64_t answer_version; /* in headers of refusals; 0: the controller's */
    int32_t time_left_ms;   /* of clients' requests; 0: the broker's default */
    int64_t now_ms;
    int64_t correlation;
    int64_t metadata_version; /* that clients say they have seen */
    int64_t pushing;          /* correlation id of the push under way; 0: none */
    bool used_before;         /* the folder is not new */
    bool exited;
    int exit_code;
    bool ready;
    uint64_t boundaries; /* passed so far, over restarts */
    uint64_t crash_at;   /* boundary; 0: never */
    uint64_t die_at;     /* change of the disk inside an effect; 0: never */
    bool crashed;        /* stopped at crash_at: call sim_broker_crash */
    uint64_t replies_dropped;
    int64_t retention_check_ms; /* log.retention.check.interval.ms of the next start; 0: never */
    int64_t reserve_bytes;      /* log.disk.reserve.bytes of the next start */
    bool drop_replies;          /* the network loses every answer */
};

void sim_broker_init(struct sim_broker *sim, uint64_t seed);
void sim_broker_deinit(struct sim_broker *sim);

/* Starts the process and runs it until it serves (or has crashed again). */
void sim_broker_start(struct sim_broker *sim);

/* Carries out effects until nothing is left to do at this moment; false if it crashed. */
bool sim_broker_run(struct sim_broker *sim);

/* Lets time pass: ticks that are due happen. False if it crashed. */
bool sim_broker_wait(struct sim_broker *sim, int64_t ms);

/* Time passes at once, and a tick comes, while effects wait that were asked for. */
void sim_broker_skip(struct sim_broker *sim, int64_t ms);

/* SIGTERM, and everything until the process has ended. False if it crashed. */
bool sim_broker_stop(struct sim_broker *sim);

/* The process is gone at once, and with it what was not synced, as `how` says. */
void sim_broker_crash(struct sim_broker *sim, enum simfs_crash how);

/* Any event, at this moment; the effects wait in their lanes. */
void sim_broker_step(struct sim_broker *sim, struct brk_event *event);

/* SIGTERM; sim_broker_wait goes on from there. */
void sim_broker_sigterm(struct sim_broker *sim);

/* What all controllers say of who leads; -1: nobody does. */
void sim_broker_name_leader(struct sim_broker *sim, int32_t leader);

/* The connection to the controller ends. */
void sim_broker_disconnect(struct sim_broker *sim);

/* Answers the oldest request that was forwarded: by its error, or with a body of its api. The
 * request itself goes to *ret_request (NULL: it is not wanted), from the arena; false if there is
 * none. */
bool sim_broker_answer_forward(struct sim_broker *sim, dmq_err err, const void *body,
                               struct arena *arena, void *ret_request);

/* Segments that a partition has on the disk. */
size_t sim_broker_segments(struct sim_broker *sim, struct uuid topic_id, int32_t partition);

/* Sends a request of the client listener; returns its correlation id. attachments are taken. */
int64_t sim_broker_request(struct sim_broker *sim, int api_key, const void *body,
                           struct buf **attachments, size_t count);

/* The same on the listener for nodes. */
int64_t sim_broker_node_request(struct sim_broker *sim, int api_key, const void *body);

/* Frames as they are, on the client listener; they are taken. 0: the correlation id of whoever
 * sends a header that cannot be read. */
int64_t sim_broker_raw_request(struct sim_broker *sim, struct buf **frames, size_t count);

/* The answer to a request, or NULL; to be freed by sim_reply_free. */
struct sim_reply *sim_broker_reply(struct sim_broker *sim, int64_t correlation_id);
void sim_reply_free(struct sim_reply *reply);

/* Decodes an answer, into the arena wholly: the header's error, or that of the body's decoding. */
dmq_err sim_reply_decode(const struct sim_reply *reply, int api_key, struct arena *arena,
                         void *ret_body);

#endif
