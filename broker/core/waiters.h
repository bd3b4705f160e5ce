/* Waiting happens here and nowhere else: what cannot be answered yet is a call with watches and a
 * deadline. A watch fires once; its call is then told by call_on_watch, the one switch. A call that
 * is answered or cancelled takes its watches with it. */
#ifndef BROKER_CORE_WAITERS_H
#define BROKER_CORE_WAITERS_H

#include <stdint.h>

#include "libdmq/base/list.h"
#include "libdmq/base/map.h"

struct brk;
struct call;
struct partition;

enum watch_kind {
    WATCH_HW,     /* the high watermark of a partition reaches offset */
    WATCH_SYNCED, /* its synced end reaches offset */
    WATCH_DATA,   /* its high watermark moves at all */
    WATCH_END,    /* its end moves at all */
    WATCH_EFFECT, /* a disk effect comes back */
    WATCH_PEER    /* the controller answers */
};

struct watch {
    enum watch_kind kind;
    uint32_t index; /* of the partition in the call */
    int64_t offset;
    uint64_t id; /* of the effect, or tag of the request to the controller */
    struct call *call;
    struct list link;    /* in the partition's list */
    struct watch *other; /* next of the same call */
    UT_hash_handle hh;   /* in brk->effect_watches or brk->peer_watches */
};

void watch_partition(struct brk *brk, struct call *call, enum watch_kind kind, uint32_t index,
                     struct partition *p, int64_t offset);
void watch_id(struct brk *brk, struct call *call, enum watch_kind kind, uint32_t index,
              uint64_t id);

/* Takes back what the call still waits for. */
void watch_cancel_all(struct brk *brk, struct call *call);

/* Fires what a partition's high watermark and synced end satisfy now; `moved`: also every
 * WATCH_DATA. */
void watch_progress(struct brk *brk, struct partition *p, bool moved);

/* Fires every WATCH_END. */
void watch_appended(struct brk *brk, struct partition *p);

/* The ISR is too small for what was appended to be acknowledged. */
void watch_below_min_isr(struct brk *brk, struct partition *p);

/* Ends all that waits for a partition which this broker does not lead any more, or lost. */
void watch_abandon(struct brk *brk, struct partition *p);

/* The call that waits for this id, its watch taken back; NULL if none does. */
struct call *watch_take_effect(struct brk *brk, uint64_t id, uint32_t *ret_index);
struct call *watch_take_peer(struct brk *brk, uint64_t id);

#endif
