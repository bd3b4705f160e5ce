/* The broker's state, shared by the files of this folder and by nobody else.
 *
 *   core.c       the one switch over events, and the effects
 *   call.c       a request's life
 *   dispatch.c   the one switch over calls; authorises before a handler sees one
 *   waiters.c    what a call waits for
 *   controller.c finds the leading controller, and talks to it
 *   lifecycle.c  start, registration, heartbeats, stop
 *   push.c       metadata comes in
 *   partition.c  the only place that knows both log and replica
 *   follow.c     what we follow: fetches, and progress told
 *   isr.c        what we lead: changes of the ISR, progress heard
 *   truncate.c   a follower's log is cut, or emptied
 *   repair.c     a damaged log is set aside and fetched anew
 *   sync.c       group commit
 *   space.c      a full disk
 *   removal.c    logs of deleted topics go
 *   retention.c  old segments go
 *   checkpoint.c marks, epochs, snapshots in the store
 *   rows.c       their keys and values
 *   confirm.c    how new the image must be before a name is called unknown
 *   produce.c fetch.c list_offsets.c metadata.c api_versions.c init_producer_id.c forward.c
 *                one straight function per request */
#ifndef BROKER_CORE_BRK_H
#define BROKER_CORE_BRK_H

#include "broker/core/core.h"
#include "broker/log/plog.h"
#include "broker/replica/replica.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/err.h"
#include "libdmq/base/heap.h"
#include "libdmq/base/list.h"
#include "libdmq/base/map.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec.h"

struct follow;
struct partition;
struct call;
struct watch;

/* ---- a client's connection, while it has requests without answer ----------------------------- */

struct connection {
    struct buf *peer;
    int32_t requests;
    int64_t bytes;
    UT_hash_handle hh;
};

/* ---- what a write to the store was for ------------------------------------------------------- */

enum kv_purpose {
    KV_STARTED,    /* the clean checkpoints are gone: logs may be opened for writing */
    KV_IMAGE,      /* the image is durable: answer the push */
    KV_CHECKPOINT, /* marks */
    KV_LOG_STARTS, /* raised log starts: segments below them may go */
    KV_LOWERED,    /* a log's mark lies below where it is to be cut */
    KV_FORGOTTEN,  /* rows of a log that was damaged */
    KV_REMOVED,    /* what was left to do of a deleted topic is done */
    KV_CLOSED      /* clean checkpoints: the process may end */
};

struct kv_pending {
    uint64_t id;
    enum kv_purpose purpose;
    uint32_t log;    /* KV_LOWERED, KV_FORGOTTEN: its number */
    int64_t version; /* KV_IMAGE */
    int64_t term;
    struct call *call; /* KV_IMAGE: the push to answer; NULL: none */
    struct list link;
};

enum lifecycle {
    LIFE_NEW,
    LIFE_STARTING,    /* the clean checkpoints are being removed */
    LIFE_OPENING,     /* logs recover */
    LIFE_REGISTERING, /* the controller does not know this incarnation yet */
    LIFE_FENCED,      /* registered; not unfenced yet */
    LIFE_SERVING,
    LIFE_HANDING_OVER, /* stop was asked for: leaderships move */
    LIFE_CLOSING,      /* logs close, checkpoints are written */
    LIFE_ENDED
};

/* The search for the leading controller (controller.c). A place is one in config.controllers. */
struct seek {
    int place;            /* of the one that is connected or dialled; -1: none, there is a pause */
    int32_t leader;       /* who leads as far as is known; -1: nobody knows */
    uint64_t tried;       /* bits of the places of this round */
    uint64_t reached;     /* and of those that said something */
    uint64_t strange;     /* and of those that belong to another cluster */
    int reached_last;     /* how many did in the last round that found no leader */
    int64_t retry_at_ms;  /* end of the pause; INT64_MAX: none */
    int64_t pause_ms;     /* the next one */
    int64_t answer_by_ms; /* the leader must have said something; INT64_MAX: nothing was asked */
    int64_t first_tag;    /* requests up to this one went over former connections */
};

struct brk {
    struct brk_config config;
    struct brk_effects *out; /* of the step that runs */
    int64_t now_ms;
    int64_t wall_ms;
    enum lifecycle life;
    uint64_t last_effect_id; /* disk and store */
    struct brk_stats stats;

    /* metadata */
    struct image *image;
    int64_t persisted_version; /* of the image in the store: what the controller is told */
    int64_t persisted_term;
    int64_t leader_term;   /* newest term of a controller that pushed */
    int32_t controller_id; /* who leads, as was last known; -1: nobody yet */

    /* partitions */
    struct partition *partitions; /* by topic id and number */
    struct partition *numbered;   /* by number of their log */
    struct log_rows *log_rows;    /* from the store, until their log is opened */
    bool unclean;                 /* the store has a log that was not closed cleanly */
    uint32_t last_number;
    size_t opening; /* logs that recover */
    size_t closing; /* logs that close */

    /* calls */
    struct list calls;   /* all, in order of arrival */
    struct list stalled; /* waiting for newer metadata, or a log that opens */
    struct heap deadlines;
    struct connection *connections;
    struct watch *effect_watches; /* by id of a disk effect */
    struct watch *peer_watches;   /* by tag of a request to the controller */

    /* replication */
    struct follow *follows;    /* leaders of what we follow, by broker id */
    struct partition *altered; /* those with an ISR change on its way, by its tag */
    struct list sharing;       /* partitions whose followers are to hear of the high watermark */
    int64_t share_ms;          /* then; INT64_MAX: there are none */
    int64_t follow_retry_ms;   /* a partition whose fetch failed is tried again; INT64_MAX: none */
    int64_t replica_tick_ms;   /* leaders look who lags; INT64_MAX: nobody follows us */

    /* repair */
    struct list damaged;   /* partitions whose log has lost something */
    int64_t repair_due_ms; /* they are looked at again then */
    int64_t repair_tag;    /* of the report under way; 0: none */
    int64_t quarantined;   /* folders that were set aside and are still there */
    int64_t count_due_ms;  /* they are counted again then */

    /* group commit */
    struct list unsynced; /* partitions whose log has an end above its synced end */
    uint64_t sync_id;     /* of the SYNC in flight; 0: none */
    int64_t sync_due_ms;  /* when the next one is asked for; INT64_MAX: nothing waits */
    bool folder_offline;

    /* space on the disk of the data folder */
    uint64_t space_id;    /* of the SPACE in flight; 0: none */
    int64_t space_due_ms; /* when the next one is asked for */
    int64_t space_free;   /* as last measured; -1: not yet */
    int64_t reserve;      /* below so much free produce is refused */
    int64_t space_budget; /* bytes to append before it is measured again, whatever the time */
    bool disk_full;       /* produce is refused */
    size_t stuck;         /* partitions with operations that came back */

    /* retention */
    int64_t retention_due_ms;
    bool raising; /* log starts are on their way to the store */

    /* store */
    struct list kv_pending;         /* writes in flight, in order */
    struct list awaiting;           /* disk operations that rest on a later image than persisted */
    struct list removals;           /* logs of deleted topics, until their folders are gone */
    struct list dirty;              /* partitions whose rows are behind */
    bool checkpointing;             /* one of them is a checkpoint */
    int64_t checkpoint_due_ms;      /* rows are written at the latest then; INT64_MAX: none dirty */
    int64_t checkpoint_sync_due_ms; /* and are durable soon after this; INT64_MAX: all are */

    /* controller */
    struct seek seek;
    bool controller_up;   /* the one that is connected leads */
    struct list forwards; /* calls that wait for a leading controller, by stalled_link */
    struct list answered; /* forwarded ones whose answer waits for the image, by stalled_link */
    struct list doubts;   /* calls before whose answer the controller is to be asked, likewise */
    struct list asked;    /* those that the question under way is for */
    int64_t confirm_tag;  /* its tag; 0: none */
    int64_t broker_epoch; /* -1: not registered */
    int64_t last_tag;
    int64_t replaces;    /* registration of a former process; -1: none known */
    int64_t register_id; /* tag of the request under way; 0: none */
    int64_t heartbeat_id;
    int64_t heartbeat_due_ms;
    int64_t stop_deadline_ms;

    /* producer ids: a block from the controller, handed out one by one */
    int64_t next_producer_id;
    int64_t producer_ids_left;
    int64_t producer_ids_request;  /* tag; 0: none under way */
    struct list producer_id_calls; /* calls that wait for the next block, by stalled_link */
};

/* ---- core.c ---------------------------------------------------------------------------------- */

struct brk_effect *brk_emit(struct brk *brk, enum brk_effect_kind kind);
__attribute__((format(printf, 3, 4))) void brk_log(struct brk *brk, bool error, const char *format,
                                                   ...);

/* Never NULL: the daemons end where memory does. */
void *brk_alloc(size_t size);

/* A disk effect with a fresh id, which is returned. */
uint64_t brk_disk(struct brk *brk, struct disk_op op);

/* The process is to end with a failure. */
void brk_exit(struct brk *brk, int exit_code);

#endif
