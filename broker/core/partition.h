/* A partition that this broker holds a replica of: its log, its replica and who waits for them.
 * Only partition.c joins the two machines. */
#ifndef BROKER_CORE_PARTITION_H
#define BROKER_CORE_PARTITION_H

#include "broker/core/brk.h"

enum partition_state {
    PARTITION_OPENING, /* its log recovers */
    PARTITION_OPEN,
    PARTITION_DAMAGED, /* bad bytes below the synced mark: reads below them go on, nothing is
                          written */
    PARTITION_OFFLINE, /* its log cannot be used */
    PARTITION_CLOSING, /* clean stop: CLOSE is under way */
    PARTITION_CLOSED
};

/* The log's producers as they were at an offset, as a row of the store. */
struct producer_snapshot {
    int64_t offset; /* -1: none */
    struct buf *row;
};

struct partition_key {
    struct uuid topic_id;
    int32_t partition;
};

struct partition {
    struct partition_key key;
    uint32_t number;
    enum partition_state state;
    char label[272];       /* "orders-0" */
    int64_t segment_bytes; /* at which its log rolls */
    struct plog *log;      /* from OPEN on; NULL before */
    struct replica replica;
    bool truncating;    /* OPENING again: its log is being cut, or emptied */
    bool quarantining;  /* OPENING again: its folder is set aside */
    uint32_t losses;    /* how often this process saw damage take from its end, or set it aside */
    int32_t told_epoch; /* newest leader epoch in which a leader was told of this log's ends */
    bool removed;       /* the topic is gone, but its log still recovers */
    struct disk_op *stuck; /* came back because the disk was full; in the order of the lane */
    size_t stuck_count;
    size_t stuck_capacity;
    size_t stuck_bytes; /* of batches in them */
    bool removing;      /* its log start was raised: once that is durable, segments go */
    struct producer_snapshot snapshots[2]; /* the one in the store, and the one before it: a log
                                              that is cut goes on from the newest that stays */
    int32_t stored_epoch;                  /* newest leader epoch in the store; -1: none */
    char why[200];                         /* DAMAGED, OFFLINE: a sentence */
    struct list hw_watches;
    struct list sync_watches;
    struct list data_watches;
    struct list end_watches;   /* fetches of followers */
    struct follow *follow;     /* whom it follows; NULL: nobody */
    struct list follow_link;   /* in follow->partitions */
    int64_t follow_due_ms;     /* not asked for before */
    bool owes_progress;        /* synced more since its fetch went out */
    struct list share_link;    /* in brk->sharing */
    int64_t isr_tag;           /* of the ISR change on its way; 0: none */
    int32_t isr_epoch;         /* and its partition epoch */
    UT_hash_handle by_isr_tag; /* in brk->altered */
    struct list damaged_link;  /* in brk->damaged: its log has lost something */
    struct list unsynced_link; /* in brk->unsynced */
    struct list dirty_link;    /* in brk->dirty */
    UT_hash_handle by_key;
    UT_hash_handle by_number;
};

struct partition *partition_find(struct brk *brk, struct uuid topic_id, int32_t partition);
struct partition *partition_by_number(struct brk *brk, uint32_t number);

/* Makes what the image says of this partition true here: opens its log, leads or resigns, or
 * removes it if the topic is gone. */
void partition_reconcile(struct brk *brk, struct uuid topic_id, int32_t partition);
void partition_reconcile_all(struct brk *brk);

/* The settings of a topic may have changed: they take effect on its logs that are here. */
void partition_reconcile_settings(struct brk *brk, struct uuid topic_id);

/* Whether a client may use it here: DMQ_OK, or why not, for people in text. `epoch` is the leader
 * epoch that the asker means, -1 if it does not know. *ret_p may be NULL on error. */
dmq_err partition_locate(struct brk *brk, struct uuid topic_id, int32_t partition, int32_t epoch,
                         struct partition **ret_p, struct err_msg *err);

/* Whether such an answer of partition_locate may soon be another one. */
bool partition_may_come(dmq_err err);

/* Whether the image has this broker in the ISR or the ELR: it may be elected, and is counted on. */
bool partition_may_lead(const struct brk *brk, const struct partition *p);

/* Tells the replica what happened, and everyone else what followed. */
void partition_step(struct brk *brk, struct partition *p, struct replica_event event,
                    struct replica_effects *ret_effects);

/* Appends a checked batch whose sequence is new; returns its base offset. */
int64_t partition_append(struct brk *brk, struct partition *p, struct buf *buf,
                         const struct batch_header *header);

/* Appends a batch of the leader's that follows our end, as it is. */
void partition_append_fetched(struct brk *brk, struct partition *p, const struct plog_batch *batch);

/* Where the log of a partition lies. */
void partition_name_dir(const struct brk *brk, struct partition_key key, char dir[DISK_DIR_SIZE]);

/* Names the log's folder and how its segments are made, and says nothing of what it holds yet. */
struct log_open *partition_name_log(const struct brk *brk, const struct partition *p);

/* OPENING again, until an OPEN of its log comes back: whoever waits for it is answered, and what
 * never got to the disk is dropped. */
void partition_withdraw(struct brk *brk, struct partition *p);

/* Makes its role that of the image; not while it is being truncated. */
void partition_reconcile_role(struct brk *brk, struct partition *p);

/* Its topic is gone, and with it the log. */
void partition_remove(struct brk *brk, struct partition *p);

/* Completions of its log. */
void partition_on_opened(struct brk *brk, struct partition *p, struct disk_done *done);
void partition_on_written(struct partition *p, const struct disk_done *done);
void partition_on_synced(struct brk *brk, struct partition *p, uint64_t sync);

/* Takes no writes any more because its folder failed. */
void partition_set_offline(struct brk *brk, struct partition *p, const char *why);

/* Forgets it; nothing on disk changes. */
void partition_free(struct brk *brk, struct partition *p);

/* ---- follow.c -------------------------------------------------------------------------------- */

/* Its role changed: it follows somebody else, or nobody. */
void follow_update(struct brk *brk, struct partition *p);
void follow_forget(struct partition *p);
void follow_owe_progress(struct partition *p);

/* At the end of each step: asks every leader that is not being asked. */
void follow_emit(struct brk *brk);
void follow_on_link(struct brk *brk, int32_t broker_id, bool up);
void follow_on_reply(struct brk *brk, const struct brk_reply *reply);
void follow_image_changed(struct brk *brk);
void follow_tick(struct brk *brk);
void follow_free_all(struct brk *brk);

/* ---- isr.c ----------------------------------------------------------------------------------- */

void isr_ask(struct brk *brk, struct partition *p, const struct replica_isr_change *change);
bool isr_on_reply(struct brk *brk, const struct brk_reply *reply);
void isr_on_controller_down(struct brk *brk);
void isr_forget(struct brk *brk, struct partition *p);
void isr_tick(struct brk *brk);

/* The high watermark rose: followers that wait for batches hear of it soon. */
void isr_share_hw(struct brk *brk, struct partition *p);

/* ---- truncate.c ------------------------------------------------------------------------------ */

void truncate_begin(struct brk *brk, struct partition *p);
void truncate_on_lowered(struct brk *brk, uint32_t log);
void truncate_on_opened(struct brk *brk, struct partition *p);

/* ---- repair.c -------------------------------------------------------------------------------- */

/* Its log has lost something. It is in the log already what. */
void repair_found(struct brk *brk, struct partition *p);
bool repair_is_damaged(const struct partition *p);

/* What to tell whoever asks for what a damaged log has lost: STORAGE if another replica may have
 * the records, DAMAGED if this is the last copy. */
dmq_err repair_told_reader(const struct brk *brk, const struct partition *p);

/* A reader failed: takes note if it found damage. What to tell whoever asked. p: NULL if it was
 * deleted. */
dmq_err repair_found_by_read(struct brk *brk, struct partition *p, const struct disk_done *done);

/* Damaged logs, for the registration; how many there are. */
uint32_t repair_list(const struct brk *brk, struct damaged_log *logs, uint32_t most);

/* The image may have let one of them go. */
void repair_review(struct brk *brk);
void repair_tick(struct brk *brk);
int64_t repair_deadline(const struct brk *brk);
bool repair_on_reply(struct brk *brk, const struct brk_reply *reply);
void repair_on_controller_down(struct brk *brk);
void repair_on_moved(struct brk *brk, struct partition *p, const struct disk_done *done);
void repair_on_forgotten(struct brk *brk, uint32_t log);
void repair_on_opened(struct brk *brk, struct partition *p);

/* ---- sync.c ---------------------------------------------------------------------------------- */

void sync_want(struct brk *brk, struct partition *p);
void sync_emit(struct brk *brk); /* at the end of each step: asks for a SYNC if one is due */
void sync_on_done(struct brk *brk, const struct disk_done *done);

/* The folder failed: nothing is written to it any more (an fsync error is never retried). */
void folder_failed(struct brk *brk, const struct disk_done *done);

/* ---- space.c --------------------------------------------------------------------------------- */

void space_ask(struct brk *brk);
void space_tick(struct brk *brk);
int64_t space_deadline(const struct brk *brk);
void space_appended(struct brk *brk, size_t bytes);
void space_on_done(struct brk *brk, const struct disk_done *done);

/* An operation of the log did not fit: it is kept, and asked for anew when there is space. */
void space_keep(struct brk *brk, struct partition *p, struct disk_done *done);

/* No more of it will come: who waits for it is told. */
void space_abandon(struct brk *brk, struct partition *p);
void space_abandon_all(struct brk *brk);
void space_forget(struct brk *brk, struct partition *p); /* drops what is kept */

/* Whether a batch must be refused: DMQ_ERR_DISK_FULL, with a sentence. */
dmq_err space_check(const struct brk *brk, const struct partition *p, struct err_msg *err);

/* Whether even the store should not be written to without need. */
bool space_is_gone(const struct brk *brk);

/* ---- retention.c ----------------------------------------------------------------------------- */

void retention_tick(struct brk *brk);
int64_t retention_deadline(const struct brk *brk);
void retention_on_stored(struct brk *brk); /* raised log starts are durable */

/* ---- checkpoint.c, rows.c -------------------------------------------------------------------- */

/* What the store keeps of a log. */
struct log_rows {
    struct partition_key key;
    struct buf *mark;
    struct buf *epochs;
    struct buf *producers;
    bool removed; /* its topic was deleted: its folder is to go */
    UT_hash_handle hh;
};

enum log_row_kind {
    LOG_ROW_MARK = 'm',
    LOG_ROW_EPOCHS = 'e',
    LOG_ROW_PRODUCERS = 'p',
    LOG_ROW_REMOVED = 'r'
};

/* Sorts the rows of the store by log; unknown or malformed keys are an error. */
dmq_err rows_load(struct brk *brk, const struct brk_row *rows, size_t count);
struct log_rows *rows_take(struct brk *brk,
                           struct partition_key key); /* NULL: none; caller frees */
void rows_free(struct log_rows *rows);
void rows_set_removed(struct brk *brk, struct partition_key key);

/* A mark row: where the log stood after a SYNC, its high watermark, and whether it was closed
 * cleanly exactly there. False if the row is malformed. */
struct mark_row {
    struct log_mark mark;
    int64_t high_watermark;
    bool clean;
    bool damaged;  /* a reader found that it has lost something */
    int64_t start; /* log start offset */
};
bool mark_row_decode(struct bytes value, struct mark_row *ret_row);

/* A batch for the store that is being put together. */
struct kv_batch {
    struct kv_op *ops;
    size_t count;
    size_t capacity;
    struct outbuf bytes; /* ops hold positions in it until it is emitted */
};
void kv_batch_put(struct kv_batch *batch, struct bytes key, struct bytes value);
void kv_batch_remove(struct kv_batch *batch, struct bytes key);
void kv_batch_log_row(struct kv_batch *batch, struct partition_key key, enum log_row_kind kind,
                      struct bytes value);
void kv_batch_mark(struct kv_batch *batch, struct partition_key key, const struct mark_row *row);
void kv_batch_remove_log_row(struct kv_batch *batch, struct partition_key key,
                             enum log_row_kind kind);
void kv_batch_remove_log(struct kv_batch *batch, struct partition_key key);

/* Hands the batch to the store; true completion is KV_DONE with what is pending. */
struct kv_pending *kv_batch_emit(struct brk *brk, struct kv_batch *batch, enum kv_purpose purpose,
                                 bool sync);

/* What the store has of producers is this now; the row is taken. -1, NULL: nothing. */
void snapshot_keep(struct partition *p, int64_t offset, struct buf *row);

/* Only records below `to` stay, and from the log start on: the snapshot to go on from; NULL: none.
 */
struct buf *snapshot_cut(struct partition *p, int64_t to);
void snapshot_forget(struct partition *p);

/* The rows of one log as they stand. */
void checkpoint_put(struct kv_batch *batch, struct partition *p);
void checkpoint_dirty(struct brk *brk, struct partition *p);
void checkpoint_tick(struct brk *brk);
int64_t checkpoint_deadline(const struct brk *brk);
void checkpoint_clean(struct brk *brk);        /* clean stop: the exact ends */
bool checkpoint_remove_clean(struct brk *brk); /* start; false if there was none */

/* ---- removal.c ------------------------------------------------------------------------------- */

struct meta_rows;

/* What a push removed from the image, put into the batch that makes the image durable. */
void removal_note(struct brk *brk, const struct meta_rows *rows, struct kv_batch *batch);

/* The folder of a log whose topic was deleted is to go. */
void removal_begin(struct brk *brk, struct partition_key key, uint32_t number);
void removal_resume(struct brk *brk); /* once all logs are open: what a former process left */
void removal_on_done(struct brk *brk, const struct disk_done *done);

/* Asks the disk for this once the image as it is now is durable. */
void removal_disk(struct brk *brk, struct disk_op op);

/* The image is durable up to brk->persisted_version, or there is no space for it. */
void removal_go_on(struct brk *brk);
void removal_free_all(struct brk *brk);

/* ---- controller.c ---------------------------------------------------------------------------- */

void controllers_start(struct brk *brk);
void controllers_on_up(struct brk *brk, int32_t id, int32_t leader);
void controllers_on_down(struct brk *brk, int32_t id, dmq_err why);

/* A controller that pushes leads; `newer`: in a term that is news. */
void controllers_named(struct brk *brk, int32_t id, bool newer);

/* An answer of the leader, or one that says that it does not lead (any more). */
void controllers_heard(struct brk *brk, dmq_err err);
void controllers_refused(struct brk *brk);

/* Whether an answer means that its sender does not lead (any more): NOT_CONTROLLER, or NETWORK
 * where what was asked may have been done. */
bool controllers_is_loss(dmq_err err);
bool controllers_is_stray(const struct brk *brk, int64_t tag); /* late: nobody waits any more */

void controllers_tick(struct brk *brk);
int64_t controllers_deadline(const struct brk *brk);

/* "no controller leads at the moment: ..." */
#define NO_LEADER_TEXT_SIZE 128
const char *controllers_no_leader(const struct brk *brk, char text[NO_LEADER_TEXT_SIZE]);

/* Sends a request to the leader; returns the tag of its answer. attachments are taken. */
int64_t controller_send(struct brk *brk, int api_key, const void *body, struct buf **attachments,
                        size_t count, int64_t timeout_ms);

/* The same; if nothing is heard from it for long after this, it is given up. */
int64_t controller_ask(struct brk *brk, int api_key, const void *body);

/* Takes an answer of the controller apart: its error and sentence, or its body, which must hold no
 * list and no text. reply is borrowed. *ret_version: the metadata version that it rests on; -1 if
 * there was no answer. */
dmq_err controller_answer(const struct brk_reply *reply, const struct struct_desc *desc,
                          void *ret_response, int64_t *ret_version, struct err_msg *err);

/* ---- lifecycle.c, push.c, forward.c, init_producer_id.c, confirm.c --------------------------- */

void lifecycle_start(struct brk *brk, struct brk_event *event);
void lifecycle_kv_done(struct brk *brk, enum kv_purpose purpose);
void lifecycle_log_settled(struct brk *brk); /* a log opened, failed to, or closed */
void lifecycle_image_changed(struct brk *brk);
void lifecycle_controller_up(struct brk *brk);
void lifecycle_controller_down(struct brk *brk);
void lifecycle_no_controller(struct brk *brk); /* none of them can be reached at the moment */
bool lifecycle_on_reply(struct brk *brk, const struct brk_reply *reply);
void lifecycle_tick(struct brk *brk);
int64_t lifecycle_deadline(const struct brk *brk);
void lifecycle_stop(struct brk *brk);
void lifecycle_status(struct brk *brk, struct broker_status *ret_status);

/* Whether the image is at or beyond the registration of this very process. */
bool lifecycle_is_registered(const struct brk *brk);

/* Whether clients are served at all. */
bool lifecycle_serves(const struct brk *brk);

void push_on_persisted(struct brk *brk, const struct kv_pending *pending);
bool producer_ids_on_reply(struct brk *brk, const struct brk_reply *reply);
void producer_ids_prepare(struct brk *brk); /* asks for a block if there is none */
void producer_ids_on_controller_down(struct brk *brk);
void forwards_on_controller_up(struct brk *brk);
void forwards_on_controller_down(struct brk *brk);
void forward_on_reply(struct brk *brk, struct call *call, const struct brk_reply *reply);
void forwards_on_image(struct brk *brk); /* what waited for this version is answered */
bool confirm_on_reply(struct brk *brk, const struct brk_reply *reply);
void confirm_on_controller_up(struct brk *brk);
void confirm_on_controller_down(struct brk *brk);

#endif
