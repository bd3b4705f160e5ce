/* The controller's shell: sockets, LevelDB, clock and signals around ctl_step. One core thread runs
 * a zloop; one worker stores entries, another looks whether brokers that fell silent have ended.
 * Nothing here decides anything. */
#ifndef CONTROLLER_NODE_NODE_H
#define CONTROLLER_NODE_NODE_H

#include <czmq.h>

#include "controller/core/core.h"
#include "libdmq/base/queue.h"
#include "libdmq/conf/daemon_conf.h"
#include "libdmq/net/peer_watch.h"
#include "libdmq/net/router.h"
#include "libdmq/os/alarm.h"
#include "libdmq/os/folder.h"
#include "libdmq/os/wakeup.h"

#define NODE_MAX_REQUEST_BYTES                                                                     \
    (80 * 1024 * 1024)                      /* of nodes only: a large entry, a snapshot's chunk */
#define NODE_MAX_ANSWER_BYTES (1024 * 1024) /* to a push */
#define NODE_MAX_REQUESTS 1024

struct http_server; /* libdmq/http/http.h */
struct raft_store;  /* controller/store/raft_store.h */
struct lanes;       /* lanes.c */
struct link;        /* links.c */
struct mate_link;   /* mates.c */

struct node {
    const struct daemon_conf *conf;
    struct folder folder;
    struct ctl *ctl;
    struct ctl_effects effects; /* of the step that runs */
    zloop_t *loop;
    zsock_t *socket;
    struct router router;
    struct router_request request; /* used again and again */
    struct lanes *lanes;
    struct peer_set *peers;  /* of all outgoing connections */
    struct link *links;      /* connections to brokers */
    struct mate_link *mates; /* and to the other controllers */
    size_t mate_count;
    struct http_server *http; /* NULL: no httpPort */
    int signal_fd;
    struct alarm_clock alarm;
    int exit_code;
    bool exiting;
};

/* Runs a controller until it is told to stop; the exit code of the process. */
int node_run(const struct daemon_conf *conf);

/* One event in, its effects carried out. */
void node_step(struct node *node, struct ctl_event *event);

/* At the end of every handler of the loop: what a zloop handler returns. */
int node_settle(struct node *node);

/* ---- lanes.c: what takes time, on threads of its own ----------------------------------------- */

/* Takes the store over. NULL if no thread can be made. */
struct lanes *lanes_start(struct raft_store *store);

/* Finishes what was pushed, closes the store. NULL is a no-op. */
void lanes_stop(struct lanes *lanes);
void lanes_persist(struct lanes *lanes, struct raft_persist *write); /* takes it */

/* If the port refuses connections, the event gone (copied) follows. */
void lanes_probe(struct lanes *lanes, const struct ctl_event *gone, const char *address,
                 int32_t port);

/* Readable when something has come back. */
int lanes_fd(const struct lanes *lanes);
void lanes_clear(struct lanes *lanes);

/* The next event; false if nothing came back. */
bool lanes_next(struct lanes *lanes, struct ctl_event *ret_event);

/* ---- mates.c: connections to the other controllers ------------------------------------------- */

#define MATE_BACKOFF_MS 100 /* one that comes back is connected after so long at the latest */

void mates_open(struct node *node);

/* From the next connections on, one of another cluster is refused. */
void mates_expect_cluster(struct node *node, struct uuid cluster_id);
void mates_send(struct node *node, struct ctl_effect *effect); /* takes what it owns */
void mates_ask(struct node *node, struct ctl_effect *effect);  /* takes what it owns */
void mates_probe(struct node *node, int32_t controller_id);

/* Events that came up while effects were carried out; false if there is none. */
bool mates_next_event(struct node *node, struct ctl_event *ret_event);
int64_t mates_deadline(const struct node *node);
void mates_process_due(struct node *node, int64_t now_ms);
void mates_close(struct node *node);

/* ---- links.c: connections to the brokers' node ports ----------------------------------------- */

void links_connect(struct node *node, const struct ctl_effect *effect);
void links_push(struct node *node, struct ctl_effect *effect); /* takes what it owns */
void links_probe(struct node *node, int32_t broker_id);
void links_disconnect(struct node *node, int32_t broker_id);

/* Ends what was disconnected: at the end of a handler of the loop, when nobody uses it. */
void links_sweep(struct node *node);

/* Events that came up while effects were carried out; false if there is none. */
bool links_next_event(struct node *node, struct ctl_event *ret_event);
int64_t links_deadline(const struct node *node);
void links_process_due(struct node *node, int64_t now_ms);
void links_close(struct node *node);

/* ---- http_pages.c ---------------------------------------------------------------------------- */

/* Serves health and metrics if the controller has an httpPort. */
bool http_pages_open(struct node *node, struct err_msg *err);

#endif
