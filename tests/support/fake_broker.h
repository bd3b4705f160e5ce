/* A broker on loopback for tests of clients: a thread that speaks the protocol over a ROUTER, keeps
 * its partitions in memory and behaves badly on request. It checks sequences as a broker does, so
 * that a client that loses, repeats or reorders batches is found out. */
#ifndef TESTS_SUPPORT_FAKE_BROKER_H
#define TESTS_SUPPORT_FAKE_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "dmq/errors.h"

#define FAKE_NODE_ID 101

struct fake_broker;

/* One fault, used up by the next `times` requests of that call. */
struct fake_fault {
    int16_t api_key;
    int times;
    int skip; /* so many requests pass before */
    enum {
        FAKE_NONE,
        FAKE_ERROR,           /* answers with .error, and does nothing */
        FAKE_SWALLOW,         /* does nothing and does not answer */
        FAKE_MUTE,            /* does it, but does not answer */
        FAKE_GARBAGE,         /* answers with bytes that mean nothing */
        FAKE_LATE,            /* does it, answers after .delay_ms */
        FAKE_DISCONNECT,      /* does nothing and breaks all connections */
        FAKE_DONE_DISCONNECT, /* does it, then breaks all connections */
        FAKE_CORRUPT          /* FETCH: flips a bit of what it answers */
    } kind;
    dmq_err error;
    int delay_ms;
};

/* Starts on a free port. */
struct fake_broker *fake_broker_start(void);
void fake_broker_stop(struct fake_broker *broker);
int32_t fake_broker_port(const struct fake_broker *broker);

void fake_broker_fault(struct fake_broker *broker, struct fake_fault fault);

/* Also made by CREATE_TOPIC. */
void fake_broker_topic(struct fake_broker *broker, const char *name, int32_t partitions);

/* Goes away (connections are refused) and comes back at the same port, its logs kept. */
void fake_broker_down(struct fake_broker *broker);
void fake_broker_up(struct fake_broker *broker);

/* The idle producers are forgotten, as their time ends on a real one. */
void fake_broker_forget_producers(struct fake_broker *broker);

int64_t fake_broker_end(struct fake_broker *broker, const char *topic, int32_t partition);
int fake_broker_requests(struct fake_broker *broker, int16_t api_key); /* received so far */
int fake_broker_duplicates(struct fake_broker *broker); /* batches that it had already */

#endif
