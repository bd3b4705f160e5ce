/* The whole world in one thread: real controllers, brokers and clients (ctl_step, brk_step with
 * plog, client_step) on a virtual network, disk and clock. Everything that happens is an event in a
 * heap ordered by virtual time, and every source of chance is one generator: the same seed gives
 * the same trace hash.
 *
 *   world.c            time, events, the end of a run      link.c       connections and messages
 *   world_broker.c     a broker process                    faults.c     what goes wrong, drawn per
 * seed world_controller.c a controller process                workload.c   what clients want
 *   world_client.c     a client process                    history.c    what they saw; checker.c
 * judges
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
#include "tests/sim/simfs.h"
#include "tests/sim/simkv.h"

#define WORLD_MAX_PROCESSES 16
#define WORLD_MAX_TOPICS 4
#define WORLD_PARTITIONS 2

struct world;
struct link;

/* ---- events ---------------------------------------------------------------------------------- */

enum world_event_kind {
    WORLD_TICK,      /* a deadline of the process has passed */
    WORLD_LANE,      /* the first effect of a lane is carried out */
    WORLD_DELIVER,   /* the first message of one direction of a link arrives */
    WORLD_LINK_UP,   /* a link that was dialled is open, or refused */
    WORLD_LINK_DOWN, /* its dialler hears that it ended */
    WORLD_REDIAL,
    WORLD_START, /* a process that is down starts */
    WORLD_WORK,  /* a client does something */
    WORLD_FAULT  /* something goes wrong */
};

struct world_event {
    struct heap_node node; /* by virtual time in µs */
    enum world_event_kind kind;
    struct process *process;
    uint64_t life; /* of the process: an event of an earlier one is dropped; 0: any */
    struct link *link;
    uint64_t number; /* lane, direction or generation */
};

/* ---- links: one connection after another between two processes ------------------------------- */

enum link_port { PORT_CLIENT, PORT_NODE, PORT_CONTROLLER };

struct message {
    struct list link;
    struct buf **frames; /* owned */
    size_t count;
};

struct link {
    struct list link;
    struct process *from; /* who dials */
    struct process *to;
    enum link_port port;
    uint32_t conn;   /* the dialler's name for it */
    uint64_t number; /* in the world */
    bool wanted;     /* redialled when it ends */
    bool up;
    bool ended;              /* the dialler has not heard of its end yet */
    uint64_t generation;     /* of the connection */
    struct list queue[2];    /* messages on their way: there and back */
    int64_t delay_us;        /* drawn per connection */
    int64_t cut_until_us[2]; /* nothing of this direction arrives before */
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

struct process {
    struct world *world;
    enum process_kind kind;
    int32_t id;
    uint64_t life; /* rises with each start; 0: never started */
    bool alive;
    int64_t paused_until_us;
    int64_t wall_skew_ms;
    int64_t tick_us; /* when its WORLD_TICK is due; INT64_MAX: none */

    /* what outlives it */
    struct simfs *disk;
    struct simkv *store;
    struct uuid cluster_id;

    /* what dies with it */
    struct brk *brk;
    struct ctl *ctl;
    struct sim_client *client;
    struct kv *kv;
    struct raft_store *raft_store; /* a controller's */
    struct plog_io_lane *lane;
    struct plog_reader *reader;
    struct link *controller;                          /* a broker: the one that it dialled last */
    struct brk_service services[WORLD_MAX_PROCESSES]; /* a broker: the controllers */
    struct list lanes[LANE_COUNT];                    /* of struct effect */
    bool lane_busy[LANE_COUNT];
    bool stopping;
    bool probed;        /* a controller: the answer to its probe is due */
    uint64_t pushes[8]; /* a controller: on their way; 0: none */
    size_t push_count;
    int64_t consumed; /* a client: bytes to be reported after the step */
    struct {
        struct uuid topic_id;
        int32_t partition;
        int64_t high_watermark;
    } seen[64]; /* a broker: what broker_check saw last, in this life */
};

/* ---- options, drawn from the seed ------------------------------------------------------------ */

struct world_options {
    uint64_t seed;
    int64_t faults_until_us; /* then everything heals */
    int clients;
    int64_t segment_bytes;
    int64_t batch_bytes;
    int64_t delay_max_us;
    int64_t disk_max_us;
    unsigned stall_per_mille; /* of disk operations take up to two seconds */
    int64_t fault_every_us;   /* mean; INT64_MAX: none */
    bool crashes;             /* each: whether this sort of fault happens at all */
    bool tears;
    bool breaks;
    bool cuts;
    bool pauses;
    bool clock_jumps;
    bool clean_restarts;
    bool topic_churn;
    bool async_topic;
    int64_t delivery_timeout_ms;
    int acks;
};

struct world_counts {
    uint64_t events;
    uint64_t messages;
    uint64_t messages_lost;
    uint64_t connections;
    uint64_t connections_broken;
    uint64_t cuts;
    uint64_t crashes_broker;
    uint64_t crashes_controller;
    uint64_t crashes_in_recovery;
    uint64_t clean_restarts;
    uint64_t pauses;
    uint64_t clock_jumps;
    uint64_t stalls;
    uint64_t duplicates; /* batches that the broker recognised */
    uint64_t sends;
    uint64_t acked;
    uint64_t unknown; /* sends of unknown fate */
    uint64_t polls;
    uint64_t topics_created;
    uint64_t topics_deleted;
    uint64_t rolls;
    uint64_t fenced;
    uint64_t producer_restarts; /* partitions that went on under a new producer id */
};

struct world {
    struct world_options options;
    struct rng rng;
    int64_t now_us;
    struct heap heap;
    struct process *processes[WORLD_MAX_PROCESSES];
    size_t process_count;
    struct list links;
    uint64_t link_count;
    struct history history;
    struct world_counts counts;
    uint64_t trace_hash;
    bool trace; /* print readable lines */
    bool healed;
    uint64_t next_value; /* of a record: every one is another */
    const char *failure; /* first invariant that broke, or NULL */
};

/* Runs a whole life: faults, healing, final drain, verdict. NULL if all is well, else what is
 * wrong. */
const char *world_run(struct world *world);
void world_init(struct world *world, uint64_t seed, int64_t seconds);
void world_deinit(struct world *world);

/* ---- for the files of the world -------------------------------------------------------------- */

void world_at(struct world *world, int64_t at_us, struct world_event event);
void world_fail(struct world *world, const char *what);
__attribute__((format(printf, 2, 3))) void world_trace(struct world *world, const char *format,
                                                       ...);
int64_t process_now_ms(const struct process *p);
struct process *world_process(struct world *world, enum process_kind kind, int index);

/* Asks for a WORLD_TICK at the deadline of the process (ms on its clock). */
void process_tick_at(struct process *p, int64_t due_ms);

/* A lane's first effect is carried out after a drawn time. */
void lane_push(struct process *p, enum lane lane, const struct effect *effect);
void lane_done(struct process *p, enum lane lane);

/* link.c */
struct link *link_dial(struct process *from, struct process *to, enum link_port port,
                       uint32_t conn);
void link_hang_up(struct link *link);
void link_notice(struct link *link);
void link_break(struct world *world, struct link *link);
void link_send(struct link *link, int direction, struct buf **frames, size_t count);
void link_reply(struct process *from, struct bytes routing_id, struct buf **frames, size_t count);
void link_up(struct link *link, uint64_t generation);
void link_deliver(struct link *link, int direction);
void links_of_dead(struct process *p);
void message_free(struct message *message);

/* one set for each kind of process */
void broker_start(struct process *p);
void broker_end(struct process *p);
void broker_lane(struct process *p, enum lane lane);
void broker_tick(struct process *p);
void broker_stop(struct process *p);
void broker_link(struct process *p, struct link *link, bool up);
void broker_receive(struct process *p, struct link *link, int direction, struct message *message);
void broker_check(struct process *p);

void controller_start(struct process *p);
void controller_end(struct process *p);
void controller_lane(struct process *p);
void controller_tick(struct process *p);
void controller_link(struct process *p, struct link *link, bool up);
void controller_receive(struct process *p, struct link *link, int direction,
                        struct message *message);
void controller_refused(struct process *p, int32_t broker_id);

void client_start(struct process *p);
void client_end(struct process *p);
void client_tick(struct process *p);
void client_work(struct process *p);
void client_link(struct process *p, struct link *link, bool up);
void client_receive(struct process *p, struct message *message, struct link *link);
void client_quiesce(struct process *p);       /* send nothing new */
bool client_flushed(const struct process *p); /* all that was sent has an outcome */
void client_reread(struct process *p);        /* begin to read all topics from the start */
bool client_has_read_all(const struct process *p);
void world_consumed(struct process *p, int64_t bytes);

/* faults.c */
void faults_draw(struct world *world);
void faults_happen(struct world *world);
void faults_heal(struct world *world);
void process_crash(struct process *p, enum simfs_crash how);
void process_start(struct process *p);

#endif
