/* A request under way, from its arrival to its answer. */
#ifndef BROKER_CORE_CALL_H
#define BROKER_CORE_CALL_H

#include "broker/core/brk.h"
#include "broker/core/waiters.h"
#include "libdmq/base/arena.h"

#define CALL_DEFAULT_TIMEOUT_MS 30000
#define CALL_MAX_TIMEOUT_MS 600000
#define CALL_MAX_STALL_MS 1000

struct fetch_part; /* fetch.c */
struct forward;    /* forward.c */

struct call {
    struct list link;              /* in brk->calls */
    struct list stalled_link;      /* in one of the lists of brk that calls wait in */
    struct heap_node deadline;     /* while it is parked */
    struct connection *connection; /* NULL: not a client's */
    enum api_listener listener;
    const struct api_desc *api;
    struct request_header header;
    struct buf *peer;
    struct buf **frames; /* header, body, attachments */
    size_t frame_count;
    int64_t bytes; /* charged to the budgets */
    struct arena arena;
    void *request; /* decoded body */
    int64_t arrived_ms;
    int64_t answer_by_ms;       /* arrival + the time that the asker gave */
    int64_t stall_until_ms;     /* 0: has not stalled yet */
    bool confirmed;             /* confirm.c: the controller has said how new the image must be */
    struct watch *watches;      /* all, fired ones too */
    struct watch *free_watches; /* to be used again */
    uint32_t watch_count;       /* not fired */
    struct forward *forward;    /* forward.c; NULL: not forwarded */
    union {
        struct produce_result *produce;
        struct {
            struct list_offsets_result *results;
            int64_t *starts; /* of the logs, when a time was looked for */
        } list_offsets;
        struct fetch_part *fetch;
    } u;
};

/* Takes peer and frames. Charges, decodes, authorises and hands the call to its handler. */
void call_start(struct brk *brk, enum api_listener listener, struct buf *peer, struct buf **frames,
                size_t count);

/* Attachment i of the request. */
struct buf *call_attachment(const struct call *call, size_t i);
size_t call_attachment_count(const struct call *call);

/* A copy of a sentence that lives as long as the call. */
struct bytes call_text(struct call *call, const char *text);

/* Both answer and end the call. body is a response struct of the call's api; attachments are taken.
 * call_answer_raw sends frames that another node made (a forwarded answer); they are taken. */
void call_answer(struct brk *brk, struct call *call, const void *body, struct buf **attachments,
                 size_t count);
void call_answer_raw(struct brk *brk, struct call *call, const struct response_header *inner,
                     struct buf *body);
__attribute__((format(printf, 4, 5))) void call_fail(struct brk *brk, struct call *call,
                                                     dmq_err err, const char *format, ...);

/* Ends a call without an answer. */
void call_drop(struct brk *brk, struct call *call);

/* call_on_deadline is due at deadline_ms unless the call is answered before. */
void call_park(struct brk *brk, struct call *call, int64_t deadline_ms);

/* When to answer at the latest so that the asker hears why, instead of giving up by itself. */
int64_t call_last_moment(const struct call *call);

/* Parks a call that would have to say "unknown" or "not ready", so that it is handled again when
 * this may have changed; false if it waited for that already: then say so. */
bool call_stall(struct brk *brk, struct call *call, bool newer_metadata_only);

/* Sets the bound of its waits, stall_until_ms, at the first of them; false: it is over. */
bool call_may_stall(struct brk *brk, struct call *call);

/* confirm.c: parks a call that would say "unknown", so that it is handled again with an image that
 * is as new as what was committed when it came; false if that is so, or cannot be found out. */
bool call_confirm(struct brk *brk, struct call *call);

/* Handles every stalled call again, in order of arrival. */
void call_unstall_all(struct brk *brk);

/* ---- dispatch.c: the switches over calls ----------------------------------------------------- */

void call_dispatch(struct brk *brk, struct call *call);

/* A watch of the call fired: err is why it can no longer be satisfied, or DMQ_OK. */
void call_on_watch(struct brk *brk, struct call *call, uint32_t index, dmq_err err);
void call_on_deadline(struct brk *brk, struct call *call);

/* A READ or FIND_TIME of the call came back; done is taken. */
void call_on_disk(struct brk *brk, struct call *call, uint32_t index, struct disk_done *done);

/* ---- one handler per request: answers the call, or parks it ---------------------------------- */

void on_api_versions(struct brk *brk, struct call *call);
void on_metadata(struct brk *brk, struct call *call);
void on_describe_config(struct brk *brk, struct call *call);
void on_describe_cluster(struct brk *brk, struct call *call);
void on_produce(struct brk *brk, struct call *call);
void on_fetch(struct brk *brk, struct call *call);
void on_list_offsets(struct brk *brk, struct call *call);
void on_init_producer_id(struct brk *brk, struct call *call);
void on_forward(struct brk *brk, struct call *call);
void on_replica_progress(struct brk *brk, struct call *call);
void on_push_metadata(struct brk *brk, struct call *call);

/* ---- and how those that park go on ----------------------------------------------------------- */

void produce_on_watch(struct brk *brk, struct call *call, uint32_t index, dmq_err err);
void produce_on_deadline(struct brk *brk, struct call *call);
void fetch_on_watch(struct brk *brk, struct call *call);
void fetch_on_deadline(struct brk *brk, struct call *call);
void fetch_on_disk(struct brk *brk, struct call *call, uint32_t index, struct disk_done *done);
void fetch_free_parts(struct call *call);
void list_offsets_on_disk(struct brk *brk, struct call *call, uint32_t index,
                          struct disk_done *done);
void forward_on_deadline(struct brk *brk, struct call *call);
bool forward_settle(struct brk *brk, struct call *call); /* gives an answer that is held back */
bool forward_maybe_done(const struct call *call); /* it waits for an answer, or one was lost */
void producer_ids_on_deadline(struct brk *brk, struct call *call);
void forward_free(struct call *call);

#endif
