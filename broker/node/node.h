/* The broker's shell: sockets, disks, LevelDB, clock and signals around brk_step. One core thread
 * runs a zloop; a storage worker, a reader and a store worker carry out what takes time. Nothing
 * here decides anything. */
#ifndef BROKER_NODE_NODE_H
#define BROKER_NODE_NODE_H

#include <czmq.h>

#include "broker/core/core.h"
#include "broker/node/lanes.h"
#include "libdmq/conf/daemon_conf.h"
#include "libdmq/net/peer_watch.h"
#include "libdmq/net/router.h"
#include "libdmq/os/alarm.h"
#include "libdmq/os/folder.h"

struct follow_link;
struct http_server; /* libdmq/http/http.h */

/* A request that could not be sent. */
struct unsent {
    enum brk_event_kind kind; /* of what tells the core */
    int64_t tag;
    dmq_err err;
};

struct node {
    const struct daemon_conf *conf;
    struct folder folder;
    struct brk *brk;
    struct brk_effects effects; /* of the step that runs */
    zloop_t *loop;
    zsock_t *client_socket;
    zsock_t *node_socket;
    struct router client_router;
    struct router node_router;
    struct router_request request; /* used again and again */
    bool client_reading;           /* the client socket is in the loop */
    struct lanes *lanes;
    struct peer_set *peers;  /* of all outgoing connections */
    struct peer *controller; /* NULL: given up, until the core names the next */
    struct peer_watch controller_watch;
    int32_t controller_id;
    dmq_err controller_warned; /* why one was refused, as the log has it */
    struct unsent *unsent;     /* told after the step */
    size_t unsent_count;
    struct follow_link *peer_links; /* peer_links.c */
    struct http_server *http;       /* NULL: no httpPort */
    struct brk_service *services;   /* of services.json, for the core: controllers, then brokers */
    int signal_fd;
    struct alarm_clock alarm;
    int exit_code;
    bool exiting;
};

/* Runs a broker until it is told to stop; the exit code of the process. */
int node_run(const struct daemon_conf *conf);

/* One event in, its effects carried out. */
void node_step(struct node *node, struct brk_event *event);

/* Steps an answer that came by a connection, or the news that none will come; kind is what it is to
 * the core. */
void node_step_reply(struct node *node, enum brk_event_kind kind, struct peer_event *from);

/* Sends what a BRK_CONTROLLER_SEND or BRK_PEER_SEND asks for; what it owns stays in it. The result
 * is that of peer_send. */
dmq_err node_send(struct peer_watch *watch, struct peer *peer, const struct brk_effect *effect);

/* The core hears of it after the step that runs. */
void node_note_unsent(struct node *node, enum brk_event_kind kind, int64_t tag, dmq_err err);

/* At the end of every handler of the loop: what a zloop handler returns. */
int node_settle(struct node *node);

/* ---- controller_link.c ----------------------------------------------------------------------- */

/* Begins a new connection, to this controller, instead of the former. */
void controller_link_connect(struct node *node, int32_t controller_id);
void controller_link_close(struct node *node);

int64_t controller_link_deadline(const struct node *node);
void controller_link_process_due(struct node *node, int64_t now_ms);

/* Carries out BRK_CONTROLLER_SEND; takes what it owns. */
void controller_link_send(struct node *node, struct brk_effect *effect);

/* ---- peer_links.c ---------------------------------------------------------------------------- */

/* Carry out BRK_PEER_CONNECT and BRK_PEER_SEND; the latter takes what it owns. */
void peer_links_connect(struct node *node, const struct brk_effect *effect);
void peer_links_send(struct node *node, struct brk_effect *effect);
int64_t peer_links_deadline(const struct node *node);
void peer_links_process_due(struct node *node, int64_t now_ms);
void peer_links_close(struct node *node);

/* ---- http_pages.c ---------------------------------------------------------------------------- */

/* Serves health and metrics if the broker has an httpPort. */
bool http_pages_open(struct node *node, struct err_msg *err);

#endif
