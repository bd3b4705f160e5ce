/* A server on loopback for tests of connections, in the thread that calls it: answers every request
 * with an empty hello, as node 7. */
#ifndef TESTS_SUPPORT_HELLO_SERVER_H
#define TESTS_SUPPORT_HELLO_SERVER_H

#include <stdint.h>

#include "libdmq/net/router.h"

#define HELLO_NODE_ID 7

struct hello_server {
    void *context;        /* of ZeroMQ; its clients' as well */
    struct router router; /* socket NULL: it is down */
    int32_t port;
};

/* On a free port of 127.0.0.1. */
void hello_server_open(struct hello_server *server);

/* Answers what has come. */
void hello_server_serve(struct hello_server *server);

/* Goes away, and comes back at the same port of a host. */
void hello_server_down(struct hello_server *server);
void hello_server_up(struct hello_server *server, const char *host);

/* All sockets of its context must be closed. */
void hello_server_close(struct hello_server *server);

#endif
