#include <stdio.h>
#include <stdlib.h>

#include "broker/core/partition.h"
#include "libdmq/meta/rows.h"

/* The logs of deleted topics. A folder is removed only because a deletion says so, never because
 * nothing is known of it: metadata that are behind, or were lost, know nothing of good logs.
 *
 *   deletion is applied -> one synced batch: the image without the topic, the log's rows gone, and
 *                          a row that says that its folder is to go
 *   batch is durable    -> DELETE of the folder
 *   folder is gone      -> the row goes
 *
 * Whenever the process dies, the next start finds the row and asks for the DELETE anew: half a
 * folder goes on being removed, and one that is gone already is gone. Before the batch is durable
 * the folder is whole, as the image of that start says. For the same reason a new log is made only
 * once the image that knows of it is durable: a folder that is there is known, by the image or by
 * its row.
 *
 * The exception is a disk without any space: the batch itself may wait for what the folder takes.
 * Then the folder goes at once. */

/* A disk operation that rests on the image. */
struct awaiting {
    int64_t version; /* of the image that must be durable first */
    struct disk_op op;
    struct list link;
};

/* A log that is going. */
struct removal {
    struct partition_key key;
    uint32_t number;
    struct list link;
};

/* ---- after the image ------------------------------------------------------------------------- */

void
removal_disk(struct brk *brk, struct disk_op op)
{
    int64_t version = image_version(brk->image);
    if (brk->persisted_version >= version || (op.kind == DISK_DELETE && space_is_gone(brk))) {
        brk_disk(brk, op);
        return;
    }
    struct awaiting *awaiting = brk_alloc(sizeof(*awaiting));
    awaiting->version = version;
    awaiting->op = op;
    list_append(&brk->awaiting, &awaiting->link);
}

/* In their order; those whose version is durable, and those that make room. */
void
removal_go_on(struct brk *brk)
{
    bool make_room = space_is_gone(brk);
    struct list *link = brk->awaiting.next;
    while (link != &brk->awaiting) {
        struct awaiting *awaiting = LIST_ENTRY(link, struct awaiting, link);
        link = link->next;
        if (awaiting->version <= brk->persisted_version ||
            (make_room && awaiting->op.kind == DISK_DELETE)) {
            list_remove(&awaiting->link);
            brk_disk(brk, awaiting->op);
            free(awaiting);
        }
    }
}

/* ---- removing -------------------------------------------------------------------------------- */

void
removal_note(struct brk *brk, const struct meta_rows *rows, struct kv_batch *batch)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct partition_key key = {rows->rows[i].topic_id, rows->rows[i].number};
        if (rows->rows[i].kind != META_ROW_PARTITION ||
            image_partition(brk->image, key.topic_id, key.partition) != NULL) {
            continue;
        }
        bool here = partition_find(brk, key.topic_id, key.partition) != NULL;
        if (!here && brk->life != LIFE_STARTING) {
            continue;
        }
        kv_batch_remove_log(batch, key);
        kv_batch_log_row(batch, key, LOG_ROW_REMOVED, bytes_str(""));
        if (!here) { /* no log is open yet: as if the row had been there at the start */
            rows_set_removed(brk, key);
        }
    }
}

/* number: of the log, if it is open. */
void
removal_begin(struct brk *brk, struct partition_key key, uint32_t number)
{
    struct removal *removal = brk_alloc(sizeof(*removal));
    struct log_open *open = brk_alloc(sizeof(*open));
    removal->key = key;
    removal->number = number;
    list_append(&brk->removals, &removal->link);
    partition_name_dir(brk, key, open->dir);
    removal_disk(brk, (struct disk_op){.kind = DISK_DELETE, .log = number, .u.open = open});
}

/* At the start: what a former process did not finish. */
void
removal_resume(struct brk *brk)
{
    size_t count = 0;
    struct log_rows *rows;
    struct log_rows *next;
    HASH_ITER (hh, brk->log_rows, rows, next) {
        if (rows->removed) {
            removal_begin(brk, rows->key, ++brk->last_number);
            count++;
        }
        HASH_DEL(brk->log_rows, rows);
        rows_free(rows);
    }
    if (count > 0) {
        brk_log(brk, false,
                "event=removing_deleted_logs count=%zu text=\"their topics were deleted; a former "
                "process did not get to it\"",
                count);
    }
}

/* A folder that could not be removed, or of which this process ends before it knows, is left to the
 * next start. */
void
removal_on_done(struct brk *brk, const struct disk_done *done)
{
    LIST_FOREACH (link, &brk->removals) {
        struct removal *removal = LIST_ENTRY(link, struct removal, link);
        if (removal->number != done->log) {
            continue;
        }
        if (done->err == DMQ_OK && brk->life < LIFE_CLOSING) {
            struct kv_batch batch = {0};
            kv_batch_remove_log_row(&batch, removal->key, LOG_ROW_REMOVED);
            kv_batch_emit(brk, &batch, KV_REMOVED, false);
        }
        list_remove(&removal->link);
        free(removal);
        return;
    }
    DMQ_UNREACHABLE(); /* each DELETE has one, and comes back once */
}

void
removal_free_all(struct brk *brk)
{
    struct list *link;
    while ((link = list_pop(&brk->awaiting)) != NULL) {
        struct awaiting *awaiting = LIST_ENTRY(link, struct awaiting, link);
        disk_op_deinit(&awaiting->op);
        free(awaiting);
    }
    while ((link = list_pop(&brk->removals)) != NULL) {
        free(LIST_ENTRY(link, struct removal, link));
    }
}
