/* What the two halves of the fake broker share: fake_broker.c (connections, faults, the thread) and
 * fake_calls.c (what each call does). */
#ifndef TESTS_SUPPORT_FAKE_CALLS_H
#define TESTS_SUPPORT_FAKE_CALLS_H

#include <pthread.h>

#include "libdmq/base/arena.h"
#include "libdmq/net/router.h"
#include "libdmq/wire/codec.h"
#include "tests/support/fake_broker.h"

#define MAX_TOPICS 16
#define MAX_PARTITIONS 16
#define MAX_FAULTS 16
#define REMEMBERED 5

struct stored {
    struct stored *prev;
    struct stored *next;
    struct buf *bytes;
    int64_t base;
    int64_t end;
    int64_t max_timestamp;
};

struct producer {
    int64_t id;
    int16_t epoch;
    int32_t next_sequence;
    struct {
        int32_t first;
        int32_t last;
        int64_t base;
    } batches[REMEMBERED];
    int count;
};

struct partition {
    struct stored *log;
    int64_t end;
    struct producer producers[8];
    int producer_count;
};

struct topic {
    char name[250];
    struct uuid id;
    int32_t partition_count;
    struct partition partitions[MAX_PARTITIONS];
};

/* An answer that is to leave later; a parked FETCH has no frames yet. */
struct parked {
    struct parked *prev;
    struct parked *next;
    struct buf *routing_id;
    struct buf *request_body; /* of a parked FETCH */
    int64_t correlation_id;
    int64_t due_ms;
    struct buf *frames[2 + MAX_PARTITIONS];
    size_t frame_count;
    bool corrupt;
};

struct fake_broker {
    pthread_t thread;
    pthread_mutex_t lock; /* everything below */
    void *context;
    struct router router;
    int32_t port;
    bool stopping;
    bool want_down;
    bool is_down;
    bool break_connections;
    struct topic topics[MAX_TOPICS];
    int topic_count;
    struct fake_fault faults[MAX_FAULTS];
    struct parked *parked;
    struct uuid cluster_id;
    int64_t metadata_version;
    int64_t next_producer_id;
    int requests[128];
    int duplicates;
};

/* What one request is answered with. */
struct reply {
    dmq_err error;
    const struct struct_desc *desc;
    void *body;
    struct buf *attachments[MAX_PARTITIONS];
    size_t attachment_count;
};

struct topic *fake_find_topic(struct fake_broker *b, struct bytes name);
void fake_add_topic(struct fake_broker *b, struct bytes name, int32_t partitions);
void fake_remove_topic(struct fake_broker *b, struct topic *topic);

/* Carries out a request that is not FETCH. */
void fake_carry_out(struct fake_broker *b, struct arena *arena,
                    const struct router_request *request, int16_t api_key, struct reply *reply);

/* Fills the reply; returns how many bytes of records are in it. -1: some error is. */
int64_t fake_fetch(struct fake_broker *b, struct arena *arena, struct buf *request_body,
                   struct reply *reply);

#endif
