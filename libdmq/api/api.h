/* What the files of the library's surface share.
 *
 * Two kinds of threads. The application's come in through dmq.h: they encode records, read batches
 * and wait. The background thread of a client owns the step machine (libdmq/client) and its
 * connections: it takes commands, carries out effects and wakes who waits.
 *
 * Locks: each handle has a gate (a mutex and a condition); what the other kind of thread may touch
 * too is under it. Order: client.gates_lock, then one gate, then client.interrupt_lock or that of
 * the readiness. No thread holds two gates. */
#ifndef LIBDMQ_API_API_H
#define LIBDMQ_API_API_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dmq/dmq.h"
#include "libdmq/api/error.h"
#include "libdmq/client/client.h"
#include "libdmq/os/wakeup.h"

/* ---- gate.c ---------------------------------------------------------------------------------- */

/* Where the application's threads wait for the background thread. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint32_t quiet;      /* waiters that cannot be interrupted */
    uint32_t waiters;    /* the others: changed with the client's interrupt_lock held, too */
    uint32_t interrupts; /* how often they were interrupted; under interrupt_lock */
    struct gate *prev;   /* of the client's */
    struct gate *next;
    struct dmq_client *client;
};

void gate_init(struct gate *gate, struct dmq_client *client);
void gate_deinit(struct gate *gate);
void gate_lock(struct gate *gate);
void gate_unlock(struct gate *gate);

/* With the lock held: waits for a gate_wake; the caller looks again whether what it waits for is
 * there. DMQ_OK, DMQ_ERR_TIMEOUT (deadline_ms, of clock_ms, is over), DMQ_ERR_INTERRUPTED. */
dmq_err gate_wait(struct gate *gate, int64_t deadline_ms);

/* The same without a time limit, and not to be interrupted. */
void gate_wait_quietly(struct gate *gate);

/* With the lock held. */
void gate_wake(struct gate *gate);

/* The background thread: hands an interrupt to those who wait now. */
void gates_interrupt(struct dmq_client *client);

/* timeout_ms of a call as a point in time. */
int64_t deadline_of(int64_t timeout_ms);

/* ---- readiness.c ----------------------------------------------------------------------------- */

/* What dmq_client_fd shows: readable while any handle has something to take. */
struct readiness {
    pthread_mutex_t lock;
    int fd;           /* -1 until it is asked for */
    uint32_t sources; /* handles that have something */
};

void readiness_init(struct readiness *readiness);
void readiness_deinit(struct readiness *readiness);
int readiness_fd(struct readiness *readiness);

/* A handle has something now, or has nothing any more; *is_source is its memory of that. */
void readiness_set(struct readiness *readiness, bool *is_source, bool has_something);

/* ---- commands -------------------------------------------------------------------------------- */

/* An event of the application for the machine, with what it points to. */
struct command {
    struct command *next;
    struct client_event event;
    char topic[250];
    struct sender_config producer;
    struct fetcher_config consumer;
    struct client_position *positions;
    struct buf *body;
};

/* NULL if memory is out. */
struct command *command_new(enum client_event_type type, uint64_t id);
void command_free(struct command *command);

/* Hands it to the background thread, which frees it. */
void command_post(struct dmq_client *client, struct command *command);

/* ---- requests that a thread waits for (ask.c) ------------------------------------------------ */

/* One that waits; on the stack of the waiting thread, listed under the client's gate. */
struct ask {
    struct ask *prev;
    struct ask *next;
    uint64_t id;
    const char *topic; /* waits for METADATA of it, else NULL */
    bool posted;       /* the machine has seen it: answers count from now on */
    bool done;
    struct err_msg result;
    struct buf *body; /* of an answer; owned */
    int64_t *offsets; /* of a lookup; owned */
    struct uuid topic_id;
    int32_t handle; /* of a topic */
    int32_t partition_count;
    int32_t max_message_bytes;
};

void ask_deinit(struct ask *ask);

/* Asks any broker; request is that API's. DMQ_OK: ask->body is the answer's. */
dmq_err ask_call(struct dmq_client *client, int16_t api_key, const void *request,
                 int64_t deadline_ms, struct ask *ask);

/* Fresh METADATA of a topic. An unknown one gets the nearest name in its sentence. */
dmq_err ask_topic(struct dmq_client *client, const char *topic, int64_t deadline_ms,
                  struct ask *ask);

/* Offsets by time; positions is taken over. */
dmq_err ask_offsets(struct dmq_client *client, struct client_position *positions, size_t count,
                    int64_t deadline_ms, struct ask *ask);

/* Appends "did you mean 'x'?" to the sentence, if there is such a topic. */
void suggest_topic(struct dmq_client *client, const char *topic, int64_t deadline_ms,
                   struct err_msg *msg);

/* ---- client ---------------------------------------------------------------------------------- */

struct link;
struct poll_set;

struct dmq_client {
    struct gate gate;
    uint32_t fork_generation; /* of the process that opened it */
    atomic_uint refs;         /* the client's own, and one for each producer and consumer */
    char *url;                /* for sentences */

    pthread_t thread;
    bool has_thread;
    struct wakeup wakeup;
    atomic_bool interrupted; /* an interrupt that nobody has taken yet */
    struct readiness readiness;

    pthread_mutex_t gates_lock;
    struct gate *gates;
    pthread_mutex_t interrupt_lock;
    uint32_t waiting; /* on all gates; under interrupt_lock */

    /* ---- under the gate */
    struct command *first_command;
    struct command *last_command;
    struct ask *asks;
    uint64_t next_id;
    bool stopping;
    bool exited;            /* the thread does nothing any more */
    bool ready;             /* a broker has answered */
    struct err_msg failure; /* the thread gave up: what every call returns */
    struct err_msg trouble; /* why no broker answers */
    bool refused;           /* every address refused, again and again */
    bool unreachable;       /* every address refused, at least once */
    struct dmq_producer *producers;
    struct dmq_consumer *consumers;
    void (*log)(void *arg, int32_t level, const char *line);
    void *log_arg;
    int32_t log_level;

    /* ---- of the background thread */
    struct client *machine;
    struct client_effects effects;
    void *zmq_context;
    struct link **links; /* by number of the connection */
    uint32_t link_count;
    struct poll_set *poll_set;
};

/* Every entry point: whether the handle is usable in this process. */
dmq_err client_check(struct dmq_client *client, struct dmq_error *error);

void client_ref(struct dmq_client *client);
void client_unref(struct dmq_client *client);

/* Posts the command that ends a producer or consumer (made beforehand: closing must not fail) and
 * waits until *closed, or until the thread is gone. */
void client_end_handle(struct dmq_client *client, struct command *command, const bool *closed);

__attribute__((format(printf, 3, 4))) void client_log(struct dmq_client *client, int32_t level,
                                                      const char *format, ...);

/* The background thread (loop.c). arg is the client. */
void *loop_run(void *arg);

/* loop.c: feeds one event to the machine and carries out what it asks for. */
void loop_step(struct dmq_client *client, struct client_event *event);

/* effects.c: does what the machine asked for, and empties the effects. */
void effects_carry_out(struct dmq_client *client);

/* ---- links.c: connections -------------------------------------------------------------------- */

void link_connect(struct dmq_client *client, uint32_t conn);
void link_disconnect(struct dmq_client *client, uint32_t conn);
void link_send(struct dmq_client *client, uint32_t conn, struct buf *const *frames, size_t count);
void links_close(struct dmq_client *client);

/* Waits for input of any connection or of the wakeup, at most timeout_ms, and feeds it in. */
void links_poll(struct dmq_client *client, int64_t timeout_ms);

/* ---- what the loop asks of producers and consumers ------------------------------------------- */

/* Feeds batches that may leave to the machine. Returns when to be called again. */
int64_t producer_drain(struct dmq_producer *producer);
void producer_batch_done(struct dmq_producer *producer, struct send_batch *batch);
void producer_waits(struct dmq_producer *producer, const struct client_effect *effect);
void producer_topic_changed(struct dmq_producer *producer, const struct known_topic *topic);
void producer_closed(struct dmq_producer *producer);
void producer_failed(struct dmq_producer *producer, const struct err_msg *failure);
struct dmq_producer *producer_find(struct dmq_client *client, uint64_t id);
struct dmq_producer *producer_next(struct dmq_producer *producer);

/* Tells the machine what was consumed. */
void consumer_drain(struct dmq_consumer *consumer);
void consumer_records(struct dmq_consumer *consumer, const struct client_effect *effect);
void consumer_slot_failed(struct dmq_consumer *consumer, const struct client_effect *effect);
void consumer_closed(struct dmq_consumer *consumer);
void consumer_failed(struct dmq_consumer *consumer, const struct err_msg *failure);
struct dmq_consumer *consumer_find(struct dmq_client *client, uint64_t id);
struct dmq_consumer *consumer_next(struct dmq_consumer *consumer);

#endif
