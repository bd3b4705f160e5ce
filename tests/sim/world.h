/* The whole world in one thread: real controllers, brokers and clients (ctl_step, brk_step with
 * plog, client_step) on a virtual network, disk and clock. Everything that happens is an event in a
 * heap ordered by virtual time, and every source of chance is one generator: the same seed gives
 * the same trace hash.
 *
 *   world.c            time, events, lanes                link.c         connections and messages
 *   life.c             beginning, healing, end            request.c      requests that wait
 *   process.c          starts, crashes, clocks            garbage.c      frames of any bytes
 *   quorum.c           controllers' Raft, watched         leases.c       who may be fenced
 *   replicas.c         partitions, watched                faults.c       what goes wrong, drawn
 *   world_broker.c     a broker process                   faults_net.c   partitions, flapping
 *   world_controller.c a controller process               faults_disk.c  brokers' disks
 *   world_client.c     a client process                   admin.c        topics made and deleted
 *                                                         rot.c          bits of logs flip
 *                                                         unclean.c      elections that lose
 *                                                         plots.c        faults in an order
 *                                                         lags.c         who lags leaves the ISR
 *                                                         metadata_checker.c  what must hold of it
 *
 * A crash takes everything that a process had in memory; its disk and store keep what simfs and
 * simkv say. A paused process does nothing until it goes on; what happens to it meanwhile waits. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "broker/core/core.h"
#include "broker/log/plog_io.h"
#include "broker/log/plog_reader.h"
#include "controller/core/core.h"
#include "libdmq/base/heap.h"
#include "libdmq/base/list.h"
#include "libdmq/base/rng.h"
#include "libdmq/meta/image.h"
#include "tests/sim/history.h"
#include "tests/sim/partition_watch.h"
#include "tests/sim/raft_watch.h"
#include "tests/sim/simfs.h"
#include "tests/sim/simkv.h"

#define WORLD_MAX_CONTROLLERS 5
#define WORLD_MAX_BROKERS 6
#define WORLD_MAX_CLIENTS 4
#define WORLD_MAX_PROCESSES 15
#define WORLD_MAX_TOPICS 4
#define WORLD_PARTITIONS 2

#define MS 1000
#define WALL_START_MS INT64_C(1700000000000)
#define SECOND (1000 * (int64_t)MS)

struct world;
struct link;
struct admin;
struct metadata_checker;
struct replicas;

/* ---- events ---------------------------------------------------------------------------------- */

enum world_event_kind {
    WORLD_TICK,      /* a deadline of the process has passed */
    WORLD_LANE,      /* the first effect of a lane is carried out */
    WORLD_DELIVER,   /* the first message of one direction of a link arrives */
    WORLD_STRAGGLE,  /* a message of a connection that has ended arrives */
    WORLD_LINK_UP,   /* a link that was dialled is open, or refused */
    WORLD_LINK_DOWN, /* its dialler hears that it ended */
    WORLD_LINK_DIES, /* nothing was heard for too long: both ends give it up */
    WORLD_REDIAL,
    WORLD_TIMEOUT,  /* a call has waited long enough */
    WORLD_PROBED,   /* a probe found that a process's port refuses connections */
    WORLD_START,    /* a process that is down starts */
    WORLD_WORK,     /* a client does something */
    WORLD_FLAP,     /* a flapping path goes down or comes back */
    WORLD_EARLY,    /* a disk is replaced before the cluster is formed */
    WORLD_SPACE,    /* a broker's disk that was full has space again */
    WORLD_OPERATOR, /* somebody mends a broker's disk that failed */
    WORLD_PLOT,     /* a step of plots.c */
    WORLD_UNCLEAN,  /* a step towards an unclean election (unclean.c) */
    WORLD_FAULT     /* something goes wrong */
};

struct world_event {
    struct heap_node node; /* by virtual time in µs */
    enum world_event_kind kind;
    struct process *process;
    uint64_t life; /* of the process: an event of an earlier one is dropped; 0: any */
    struct link *link;
    uint64_t number;           /* lane, generation and direction, ... */
    struct message *straggler; /* owned */
    struct uuid incarnation;   /* WORLD_PROBED: of the process that has ended */
};

/* ---- links: one connection after another between two processes ------------------------------- */

enum link_port { PORT_CLIENT, PORT_NODE, PORT_CONTROLLER };

struct message {
    struct list link;
    struct buf **frames; /* owned */
    size_t count;
};

/* A request whose end the dialler is owed. */
struct call_out {
    uint64_t tag;
    dmq_err late; /* what it hears when nothing has come in time */
};
#define LINK_MAX_CALLS 1024

struct link {
    struct list link;     /* in its dialler's list */
    struct process *from; /* who dials */
    struct process *to;
    enum link_port port;
    uint32_t conn;   /* the dialler's name for it */
    uint64_t number; /* in the world */
    bool wanted;     /* redialled when it ends */
    bool up;
    bool ended;           /* the dialler has not heard of its end yet */
    uint64_t generation;  /* of the connection */
    struct uuid there;    /* a broker: the process that answered last */
    struct list queue[2]; /* messages on their way: there and back */
    int64_t delay_us;     /* drawn per connection */
    struct call_out calls[LINK_MAX_CALLS];
    size_t call_count;
};

/* The network from one process to another. */
struct path {
    int64_t blocked_until_us; /* nothing arrives before */
    int64_t slow_until_us;
    int64_t slow_us; /* added to each delay until then */
    int64_t flap_until_us;
    int64_t flap_every_us;
};

/* ---- processes ------------------------------------------------------------------------------- */

enum process_kind { PROCESS_CONTROLLER, PROCESS_BROKER, PROCESS_CLIENT };
enum lane { LANE_DISK, LANE_STORE, LANE_READ, LANE_COUNT };

struct effect {
    struct list link;
    union {
        struct brk_effect brk;
        struct ctl_effect ctl;
    } u;
};

struct seen_lease {
    int64_t epoch;
    bool fenced;
};

/* Of a controller: what it has heard of brokers, by number of the process (leases.c). */
struct lease_watch {
    int64_t heard_us[WORLD_MAX_PROCESSES];
    struct uuid refused[WORLD_MAX_PROCESSES]; /* the process that has ended, as it was told */
    struct seen_lease seen[WORLD_MAX_PROCESSES];
    int64_t given_us; /* that the newest pause has added to all of them */
    int64_t led_us;   /* it leads since then */
    int64_t term;
    int64_t version; /* of the image that was looked at last */
};

/* A bit of a broker's disk that has flipped (rot.c). */
#define WORLD_ROTS 4 /* of a broker, at a time */
struct sim_rot {
    bool on;
    bool last; /* in the only copy: it is as it was again, later */
    char path[96];
    uint64_t pos;
    unsigned bit;
    int64_t base; /* offset of the batch */
};

/* Of a controller: the last read that it began (quorum.c). */
struct read_watch {
    uint64_t number;
    int64_t term;
    bool waits;  /* for a quorum */
    bool behind; /* another leader had committed more when it began */
};

struct process {
    struct world *world;
    enum process_kind kind;
    int32_t id;
    int number;    /* in the world */
    uint64_t life; /* rises with each start; 0: never started */
    bool alive;
    bool left_out; /* stays broken when the world heals */
    int64_t paused_until_us;
    int64_t clock_ms;  /* of its monotonic clock when the world began */
    int64_t clock_ppm; /* how much faster than the world's it goes */
    int64_t wall_skew_ms;
    int64_t tick_us;   /* when its WORLD_TICK is due; INT64_MAX: none */
    struct list links; /* that it dials */

    /* what outlives it */
    struct simfs *disk;
    struct simkv *store;
    struct uuid disk_id;
    struct uuid cluster_id;
    int64_t told_version; /* a broker: applied and durable, as it told */
    bool damaged;         /* a controller: its store has lost what was synced; a broker: it
                             has lost something, and is not whole again yet */
    struct sim_rot rots[WORLD_ROTS]; /* a broker */
    bool disk_offline;               /* a broker: its disk failed, and nobody has looked at it */
    struct simfs *ghost;             /* a broker: its disk when it was emptied last; NULL: never */
    uint64_t log_generation;         /* a broker: something may have been taken from its logs */
    int64_t wish_epoch;              /* and with this broker epoch it asked to be fenced */
    int64_t damaged_epoch;           /* a broker that is damaged: it was registered with this */
    bool store_fails;                /* a broker: its store is going to */
    struct raft_watched watched;     /* a controller: its Raft, and what is synced of it */
    struct raft_persist *half_written; /* a controller: may be on the disk, or not; owned */

    /* what dies with it */
    struct brk *brk;
    struct ctl *ctl;
    struct lease_watch leases; /* a controller's */
    struct sim_client *client;
    struct kv *kv;
    struct raft_store *raft_store; /* a controller's */
    struct plog_io_lane *lane;
    struct plog_reader *reader;
    struct list lanes[LANE_COUNT]; /* of struct effect */
    bool lane_busy[LANE_COUNT];
    bool stopping;
    bool disk_fails;         /* a controller: writes return EIO */
    bool was_full;           /* a broker: it refused for lack of space */
    bool lane_failed;        /* a broker: EIO in its lane: nothing may be written any more */
    int64_t checked_version; /* of its image: what the metadata checker saw last */
    struct link *controller; /* a broker: where it turns to */
    struct brk_service services[WORLD_MAX_CONTROLLERS]; /* a broker: the controllers */
    int64_t installs;        /* a controller: snapshots that were installed */
    struct read_watch reads; /* a controller's */
    int64_t consumed;        /* a client: bytes to be reported after the step */
};

/* ---- options, drawn from the seed ------------------------------------------------------------ */

struct world_options {
    uint64_t seed;
    int64_t faults_until_us; /* then everything heals */
    int controllers;
    int brokers;
    int clients;
    struct raft_config raft;
    int64_t snapshot_bytes; /* of the controllers' log before the next snapshot */
    int replication;        /* of each topic */
    int64_t replica_lag_ms;
    int64_t rebalance_ms; /* preferred leaders are restored so often; 0: never */
    int64_t segment_bytes;
    int64_t batch_bytes;
    int64_t delay_max_us;
    int64_t disk_max_us;
    unsigned stall_per_mille; /* of disk operations take up to two seconds */
    unsigned die_per_million; /* of steps end in the middle of their effects */
    int64_t fault_every_us;   /* mean; INT64_MAX: none */
    unsigned weights[24];     /* of each sort of fault (faults.c); 0: it does not happen */
    bool early_wipe;          /* of a controller, before it is in a cluster */
    bool staggered;           /* not all begin at once */
    bool tears;
    bool topic_churn;
    bool plots;
    bool lags;
    bool unclean; /* one of the topics is elected uncleanly */
    bool async_topic;
    bool retention;             /* asked for: otherwise logs keep all */
    int64_t retention_check_ms; /* 0: never */
    int64_t retention_bytes;    /* of the topics that are written to; -1: no limit */
    int64_t retention_ms;
    int64_t reserve_bytes; /* of brokers' disks */
    int64_t clock_ppm_max;
    int64_t work_every_us;
    int64_t delivery_timeout_ms;
    int64_t admin_timeout_ms;
    int acks;
};

/* What is meant to happen: name, and what a person reads. A range of seeds in which one stays zero
 * fails, for what did not happen was not tested; but for what stands in round brackets, which may,
 * and in square ones, which is rare: only an hour of simulated time must cause it. */
#define WORLD_COUNTS(X)                                                                            \
    X(events, "events")                                                                            \
    X(messages, "messages")                                                                        \
    X(requests_lost, "requests lost with a connection, before they came")                          \
    X(answers_lost, "answers lost with a connection, after it was done")                           \
    X(stragglers, "requests that came after their connection had ended")                           \
    X(connections, "connections")                                                                  \
    X(connections_broken, "connections broken")                                                    \
    X(connections_died, "connections given up after silence")                                      \
    X(timeouts, "calls without answer in time")                                                    \
    X(cuts, "paths cut")                                                                           \
    X(partitions, "partitions")                                                                    \
    X(partitions_one_way, "partitions one way only")                                               \
    X(isolations, "processes cut off alone")                                                       \
    X(rings, "rings")                                                                              \
    X(flaps, "flapping paths")                                                                     \
    X(slow_paths, "slow paths")                                                                    \
    X(probes_refused, "probes refused")                                                            \
    X(crashes_broker, "brokers crashed")                                                           \
    X(crashes_controller, "controllers crashed")                                                   \
    X(crashes_mid_step, "crashes between the effects of a step")                                   \
    X(crashes_speaking, "brokers crashed with a word to the controller on its way")                \
    X(crashes_in_recovery, "broker crashes before ready")                                          \
    X(crashes_all, "crashes of everything at once")                                                \
    X(clean_restarts, "clean restarts of brokers")                                                 \
    X(pauses, "pauses")                                                                            \
    X(clock_jumps, "clock jumps")                                                                  \
    X(crashes_mid_write, "crashes within a write of a controller")                                 \
    X(elections, "elections stood for")                                                            \
    X(leaders, "controllers elected")                                                              \
    X(reads, "reads that a quorum confirmed")                                                      \
    X(snapshots, "snapshots of the metadata taken")                                                \
    X(installs, "snapshots of the metadata installed")                                             \
    X(transfers, "leaderships handed over by request")                                             \
    X(writes_failed, "writes of a controller that failed")                                         \
    X(gave_up, "controllers that ended because of their disk")                                     \
    X(wipes, "controllers' disks emptied")                                                         \
    X(damages, "controllers' stores damaged")                                                      \
    X(set_aside, "damaged stores set aside")                                                       \
    X(preferred, "partitions given back to their preferred leader")                                \
    X(seats, "seats that an emptied disk got back")                                                \
    X(stalls, "disk stalls")                                                                       \
    X(rolls, "segments rolled")                                                                    \
    X(topics_created, "topics created")                                                            \
    X(topics_deleted, "topics deleted")                                                            \
    X(topics_altered, "settings of topics altered")                                                \
    X(topics_grown, "topics that got partitions")                                                  \
    X(creates_retried, "creates answered although the topic was there")                            \
    X(late_creates, "late copies of creates refused, for their topics were deleted")               \
    X(admin_unknown, "admin requests of unknown fate")                                             \
    X(admin_reads, "linearizable reads checked")                                                   \
    X(wipes_broker, "brokers' disks emptied")                                                      \
    X(disks_offline, "brokers' disks that failed")                                                 \
    X(eio_write, "writes of brokers that failed")                                                  \
    X(eio_sync, "syncs of brokers that failed")                                                    \
    X(eio_read, "reads of brokers that failed")                                                    \
    X(stores_failed, "brokers that ended because of their store")                                  \
    X(refusals, "times that a broker refused for lack of space")                                   \
    X(starts_raised, "(log starts raised by retention)")                                           \
    X(async_crashes, "brokers crashed where durability is async")                                  \
    X(disks_filled, "brokers' disks with little space")                                            \
    X(enospc, "calls that found no space")                                                         \
    X(restored, "emptied brokers that are whole again")                                            \
    X(rots, "[bits of logs that flipped]")                                                         \
    X(rots_of_last_copies, "[bits of only copies that flipped, for a while]")                      \
    X(readers_told_of_damage, "[readers told that the only copy is damaged]")                      \
    X(quarantines, "[damaged logs set aside]")                                                     \
    X(laggards, "replicas that lagged too long, and were not in the ISR")                          \
    X(two_elections, "[leaders that went with what nobody else had, after another one did]")       \
    X(old_answers, "[answers held up until the leader was deposed and elected again]")             \
    X(lost_changes, "leaders that did not hear of the ISR that they asked for")                    \
    X(last_words, "brokers emptied with a word to a leader on its way")                            \
    X(unclean_elections, "leaders elected that were not in sync")                                  \
    X(given_up, "committed batches that this gave up")                                             \
    X(unclean_refused, "unclean elections refused, for there was a leader or no consent")          \
    X(readers_told, "readers told that what they had read is gone")                                \
    X(leaders_moved, "partitions that got another leader")                                         \
    X(replicas_compared, "replicas compared byte by byte")                                         \
    X(fenced, "brokers fenced")                                                                    \
    X(stale_epochs, "[heartbeats of former registrations]")                                        \
    X(early_wipes, "disks replaced before the cluster was formed")                                 \
    X(garbage, "requests that were garbage")                                                       \
    X(registrations, "broker epochs given")                                                        \
    X(versions, "metadata versions checked")                                                       \
    X(sends, "records sent")                                                                       \
    X(acked, "records acknowledged")                                                               \
    X(unknown, "records of unknown fate")                                                          \
    X(duplicates, "duplicate batches recognised")                                                  \
    X(polls, "records read")

enum plot_armed { PLOT_NONE, PLOT_LOST_CHANGE, PLOT_LAST_WORD };

struct plot {
    struct rng rng;
    int act;
    int step;
    int tries;
    enum plot_armed armed; /* for something that is sent */
    struct uuid topic_id;
    int32_t partition;
    struct process *leader;
    struct process *next;
    struct process *third;
    struct process *speaker;
    bool preferred; /* the leader is the first replica */
    bool deposed;
    bool late; /* what is on its way arrives after all, later */
};

/* How far an unclean election has come. */
enum unclean_stage {
    UNCLEAN_IDLE,
    UNCLEAN_BEHIND, /* a follower is down */
    UNCLEAN_ALONE   /* it is back, and those in sync are gone */
};

struct unclean {
    struct rng rng;
    enum unclean_stage stage;
    struct uuid topic_id;
    int32_t partition;
    int32_t broker_id;
    int asks;
    bool empties;                 /* its disk */
    bool asked[WORLD_PARTITIONS]; /* for these one was asked for, ever */
};

struct world_counts {
#define X(name, text) uint64_t name;
    WORLD_COUNTS(X)
#undef X
};

struct world {
    struct world_options options;
    struct rng rng;
    int64_t now_us;
    struct heap heap;
    struct process *processes[WORLD_MAX_PROCESSES];
    int process_count;
    struct path paths[WORLD_MAX_PROCESSES][WORLD_MAX_PROCESSES]; /* from, to */
    struct link **links;                                         /* by number - 1 */
    size_t link_count;
    size_t link_capacity;
    struct history history;
    struct admin *admin;
    struct metadata_checker *metadata;
    struct raft_watch *watch;
    struct replicas *replicas;
    struct unclean unclean;
    struct plot plot;
    struct world_counts counts;
    uint64_t trace_hash;
    bool trace; /* print readable lines */
    bool healed;
    uint64_t next_value; /* of a record: every one is another */
    char failure[256];   /* first invariant that broke, or empty */
};

/* ---- life.c: a whole life -------------------------------------------------------------------- */

void world_init(struct world *world, uint64_t seed, int64_t seconds, bool retention);
void world_deinit(struct world *world);

/* Faults, healing, final drain, verdict. NULL if all is well, else what is wrong. */
const char *world_run(struct world *world);

/* ---- world.c --------------------------------------------------------------------------------- */

void world_at(struct world *world, int64_t at_us, struct world_event event);
void world_event_free(struct world_event *event);
void world_run_until(struct world *world, int64_t until_us);
__attribute__((format(printf, 2, 3))) void world_fail(struct world *world, const char *format, ...);
__attribute__((format(printf, 2, 3))) void world_trace(struct world *world, const char *format,
                                                       ...);
static inline bool
world_failed(const struct world *world)
{
    return world->failure[0] != '\0';
}

/* The one of a kind with this index, or this id; NULL: none. */
struct process *world_process(struct world *world, enum process_kind kind, int index);
uint64_t world_all(const struct world *world, enum process_kind kind); /* bits by number */
struct process *world_by_id(struct world *world, enum process_kind kind, int32_t id);

/* A lane's first effect is carried out after a drawn time. */
void lane_push(struct process *p, enum lane lane, const struct effect *effect);
struct effect *lane_pop(struct process *p, enum lane lane);
void lane_done(struct process *p, enum lane lane);

/* ---- process.c ------------------------------------------------------------------------------- */

struct process *process_new(struct world *world, enum process_kind kind, int32_t id);
void process_free(struct process *p);
const char *process_name(const struct process *p, char name[24]);

/* On its own clock, which begins somewhere and may be a little fast or slow. */
int64_t process_now_ms(const struct process *p);

/* Asks for a WORLD_TICK at the deadline of the process (ms on its clock). */
void process_tick_at(struct process *p, int64_t due_ms);

void process_start(struct process *p);
void process_start_in(struct process *p, int64_t after_us);
void process_crash(struct process *p, enum simfs_crash how);

/* The crash that the options allow, drawn. */
enum simfs_crash process_draw_crash(struct world *world);

/* Before which effect of its step it dies, by process_dies; SIZE_MAX: it does not. */
size_t process_doom(struct process *p, size_t effects);
bool process_dies_writing(struct process *p);
void process_dies(struct process *p);

/* ---- link.c ---------------------------------------------------------------------------------- */

struct link *link_dial(struct process *from, struct process *to, enum link_port port,
                       uint32_t conn);
struct link *link_find(const struct process *from, const struct process *to, enum link_port port,
                       uint32_t conn); /* NULL: never dialled */
void link_hang_up(struct link *link);
void link_notice(struct link *link);
void link_break(struct link *link);
void link_dies(struct link *link, uint64_t generation);
void link_send(struct link *link, int direction, struct buf **frames, size_t count);
/* The routing id of a connection that there never is: what is answered to it is lost. */
struct buf *link_nobody(const struct link *link);
void link_reply(struct process *from, struct bytes routing_id, struct buf **frames, size_t count);
void link_up(struct link *link, uint64_t generation);
void link_deliver(struct link *link, uint64_t number);
void link_straggle(struct link *link, uint64_t generation, struct message *message);
void link_hasten(struct link *link); /* what waited for a blocked path waits no more */
void links_of_dead(struct process *p);
void message_free(struct message *message);
bool path_is_open(const struct world *world, const struct process *from, const struct process *to);

/* ---- request.c ------------------------------------------------------------------------------- */

struct request_out {
    uint64_t tag;
    int16_t api_key;
    const char *client_id;
    struct buf *body;    /* borrowed */
    struct buf **frames; /* borrowed; after the body */
    size_t count;
    int32_t timeout_ms;
    int64_t metadata_version;
    bool one_way; /* nothing comes back */
};

/* Sends a request whose end its dialler hears of exactly once: X_answered or X_unanswered. */
void request_send(struct link *link, const struct request_out *request);

/* The header of an answer that came; false if its call has ended. */
bool request_answered(struct link *link, const struct message *message, uint64_t *ret_tag,
                      dmq_err *ret_err);
void request_timed_out(struct link *link, uint64_t tag);

/* The connection ended, and its dialler was told: so do its calls. */
void requests_end(struct link *link);

/* ---- one set for each kind of process -------------------------------------------------------- */

void broker_start(struct process *p);
void broker_end(struct process *p);
void broker_lane(struct process *p, enum lane lane);
void broker_tick(struct process *p);
void broker_stop(struct process *p);
void broker_link(struct process *p, struct link *link, bool up);
void broker_receive(struct process *p, struct link *link, int direction, struct message *message);
void broker_unanswered(struct process *p, struct link *link, uint64_t tag, dmq_err err);
void broker_check(struct process *p);
void broker_wipe(struct process *p);
#define BROKER_CLIENT_PORT(id) (20000 + (id))
#define BROKER_NODE_PORT(id) (30000 + (id))

void controller_start(struct process *p);
void controller_end(struct process *p);
void controller_lane(struct process *p);
void controller_tick(struct process *p);
void controller_link(struct process *p, struct link *link, bool up);
void controller_garbage(struct process *p, struct message *message);
void controller_receive(struct process *p, struct link *link, int direction,
                        struct message *message);
void controller_unanswered(struct process *p, struct link *link, uint64_t tag, dmq_err err);
void controller_disk_fails(struct process *p);
void controller_disk_mend(struct process *p);
void controller_wipe(struct process *p);
void controller_damage(struct process *p);
void controller_refused(struct process *p, const struct process *gone, struct uuid incarnation);

void client_start(struct process *p);
void client_end(struct process *p);
void client_tick(struct process *p);
void client_work(struct process *p);
void client_link(struct process *p, struct link *link, bool up);
void client_receive(struct process *p, struct message *message, struct link *link);
void client_quiesce(struct process *p); /* send nothing new */
bool client_flushed(struct process *p); /* all that was sent has an outcome */
void client_reread(struct process *p);  /* begin to read all topics from the start */
bool client_has_read_all(struct process *p);

/* Calls the cluster; the answer, to the number that is next, goes to admin_answered. */
uint64_t client_next_call(const struct process *p);
void client_call_cluster(struct process *p, int16_t api_key, const void *body);
void client_create(struct process *p, const char *name, struct uuid request_id);

/* ---- admin.c: topics that clients make, delete and ask for ----------------------------------- */

struct admin *admin_new(void);
void admin_free(struct admin *admin);
void admin_work(struct process *client);
void admin_create_shared(struct process *client, int topic);
void admin_elect(struct process *client, const struct elect_leaders_request *request);
void admin_answered(struct process *client, uint64_t number, dmq_err err, struct buf *body);

/* Every client makes one more topic, which must be acknowledged. */
void admin_ask_last(struct world *world);
bool admin_is_served(struct process *client);

/* At the end: what was acknowledged is there, what was deleted is not. */
void admin_check_end(struct world *world);

/* ---- metadata_checker.c ---------------------------------------------------------------------- */

struct metadata_checker *metadata_checker_new(void);
void metadata_checker_free(struct metadata_checker *checker);

/* After an event of a controller or broker: its image, where it is at a committed version. */
void metadata_check(struct process *p);

/* A committed image of a process that runs, the newest; NULL: none. */
const struct image *metadata_newest(struct world *world);

/* ---- replicas.c, replica_disks.c: what must hold of a partition's replicas together ---------- */

struct replicas *replicas_new(struct world *world);
void replicas_free(struct replicas *replicas);
void replicas_seen(struct process *broker, struct uuid topic_id, int32_t partition,
                   const struct brk_partition_view *view);

/* A version of the metadata that is seen for the first time. */
void replicas_image(struct world *world, const struct image *image);

/* Whether all brokers hold, in sync, all that they are to hold. */
bool replicas_whole(struct world *world);
void replicas_tell_what_lacks(struct world *world);

/* At the end: where the logs begin, for the history. */
void replicas_note_starts(struct world *world);

/* At the end: every replica has the same bytes. */
void replicas_check_end(struct world *world);

/* A broker whose disk was emptied is whole again, if it is. */
void replicas_settle(struct world *world);

/* The entry of a replica's log that holds offset, as partition_watch.h asks for it. A cursor goes
 * from one batch to the next; zero is one that stands nowhere. */
struct log_cursor {
    bool stands;
    uint64_t generation;
    int64_t segment;
    size_t pos;
    int64_t offset; /* of the batch there */
};
struct log_place {
    const struct simfs *disk;
    struct uuid topic_id;
    int32_t partition;
    bool durable; /* as it is after the worst crash */
};
bool log_entry_at(const struct log_place *place, struct log_cursor *cursor, int64_t offset,
                  struct watch_entry *ret_entry);

/* ---- faults.c, faults_net.c, faults_disk.c --------------------------------------------------- */

void faults_draw(struct world *world);
void faults_happen(struct world *world);
void faults_early(struct world *world);
void faults_heal(struct world *world);
int64_t faults_one_of(struct rng *rng, const int64_t *values, size_t count);
#define FAULTS_ONE_OF(rng, ...)                                                                    \
    faults_one_of(rng, (const int64_t[]){__VA_ARGS__},                                             \
                  sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

struct process *faults_victim(struct world *world);
void faults_pause(struct process *p, int64_t for_us);
bool faults_wipe_broker(struct process *p); /* false: what it holds cannot be spared */
void fault_break(struct world *world);
void fault_cut(struct world *world);
void fault_isolate(struct world *world);
void fault_partition(struct world *world);
void fault_ring(struct world *world);
void fault_flap(struct world *world);
void fault_slow(struct world *world);
void fault_disk_of_broker(struct world *world);
void fault_store_of_broker(struct world *world);
void fault_full_disk(struct world *world);
void disk_has_space(struct process *p);
void disk_mend(struct process *p);
void disk_operator_comes(struct process *p);
void disk_check(struct process *p);
void disk_count(struct process *p);
void flap_on(struct world *world, uint64_t number);
void network_stall(struct world *world, uint64_t from, uint64_t to, int64_t until_us);
void network_separate(struct world *world, uint64_t side, uint64_t others, int64_t until_us);
void network_heal(struct world *world);
void network_leave_out(struct world *world, struct process *p);

/* ---- rot.c ----------------------------------------------------------------------------------- */

/* A bit of a broker's log may flip now. */
void rot_happens(struct world *world);

/* The broker is going to do this. */
void rot_note(struct process *p, const struct disk_op *op);

/* Flips them, so that a second call flips them back: between the two the disk is as it was. */
void rot_hide(const struct process *p);

/* Whether the broker has any that nothing was done about. */
bool rot_is_on(const struct process *p);

/* Whether this log, the only copy, ends where it is damaged for its broker: that is no measure. */
bool rot_ends_last_copy(const struct process *p, struct uuid topic_id, int32_t partition,
                        int64_t end);

/* Only copies are as they were. */
void rot_mend(struct process *p);

/* ---- lags.c ---------------------------------------------------------------------------------- */

void lags_draw(struct world *world);
void lags_require(struct world *world);

/* ---- plots.c --------------------------------------------------------------------------------- */

void plots_draw(struct world *world);
void plots_happen(struct world *world, bool speaks);

/* A broker has sent this, and it is on its way. */
void plots_sent(struct process *p, int16_t api_key);

/* ---- unclean.c ------------------------------------------------------------------------------- */

void unclean_draw(struct world *world);
void unclean_happens(struct world *world);
bool unclean_is_topic(const struct world *world, int topic);

/* No disk may be lost where it holds the only copy that counts. */
bool unclean_spares(struct world *world);

/* Somebody asked for an unclean election of it. */
bool unclean_may_lose(const struct world *world, const struct image_topic *topic,
                      int32_t partition);
void unclean_elected(struct world *world, const struct partition_record *record,
                     const struct watch_cut *cut);
bool unclean_was_cut(const struct world *world, int topic, int partition);

/* ---- garbage.c ------------------------------------------------------------------------------- */

/* Now and then somebody hears what makes no sense. */
void garbage_happens(struct world *world);

#endif
