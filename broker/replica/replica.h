/* One replica of a partition, as the broker that holds it sees the replication: who leads, how far
 * the log is appended and synced, and the high watermark. Sans I/O: an event in, at most one effect
 * out. The high watermark changes nowhere else.
 *
 *   high watermark <= synced end (durability=sync) or end (durability=async) of every ISR member
 *
 * Today the ISR is the leader alone: replication widens the same machine. */
#ifndef BROKER_REPLICA_REPLICA_H
#define BROKER_REPLICA_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

enum replica_role { REPLICA_IDLE, REPLICA_LEADER };

struct replica {
    enum replica_role role;
    int32_t leader_epoch; /* of the metadata image; only rises */
    bool async;           /* durability=async: the end counts, not the synced end */
    int64_t end;
    int64_t synced_end;
    int64_t high_watermark; /* survives a restart by its checkpoint; only rises */
};

enum replica_event_kind {
    REPLICA_OPENED,    /* the log is recovered: end, and the checkpoint's high watermark */
    REPLICA_LEADS,     /* the image says that this broker leads, in a new epoch */
    REPLICA_RESIGNS,   /* it says that this broker does not */
    REPLICA_APPENDED,  /* the log's end is now `end` */
    REPLICA_SYNCED,    /* its synced end is now `end` */
    REPLICA_DURABILITY /* the topic's durability */
};

struct replica_event {
    int64_t now_ms;
    enum replica_event_kind kind;
    int64_t end;
    int64_t high_watermark; /* OPENED */
    int32_t leader_epoch;   /* LEADS, RESIGNS */
    bool async;             /* DURABILITY */
};

/* What the event caused: every waiter at or below may be told. */
struct replica_effects {
    bool hw_advanced;
};

void replica_init(struct replica *replica);
void replica_step(struct replica *replica, const struct replica_event *event,
                  struct replica_effects *out);

#endif
