#include "broker/core/call.h"
#include "broker/core/partition.h"

/* Group commit. One SYNC is in flight at a time and covers every write before it in the lane; while
 * it runs, the next batches gather, and the next SYNC covers all of them. A topic with
 * durability=async asks for one once a second, so that its synced mark moves on. */

#define ASYNC_SYNC_MS 1000

void
sync_want(struct brk *brk, struct partition *p)
{
    if (!list_linked(&p->unsynced_link)) {
        list_append(&brk->unsynced, &p->unsynced_link);
    }
    int64_t due = p->replica.async ? brk->now_ms + ASYNC_SYNC_MS : brk->now_ms;
    if (due < brk->sync_due_ms) {
        brk->sync_due_ms = due;
    }
}

void
sync_emit(struct brk *brk)
{
    if (brk->sync_id != 0 || brk->sync_due_ms > brk->now_ms || brk->folder_offline) {
        return;
    }
    brk->sync_due_ms = INT64_MAX;
    if (list_empty(&brk->unsynced)) {
        return;
    }
    brk->sync_id = brk_disk(brk, (struct disk_op){.kind = DISK_SYNC});
    brk->stats.syncs++;
    LIST_FOREACH (link, &brk->unsynced) {
        struct partition *p = LIST_ENTRY(link, struct partition, unsynced_link);
        plog_sync_asked(p->log, brk->sync_id);
    }
}

void
sync_on_done(struct brk *brk, const struct disk_done *done)
{
    DMQ_ASSERT(done->id == brk->sync_id);
    brk->sync_id = 0;
    if (done->err != DMQ_OK) {
        folder_failed(brk, done);
        return;
    }
    struct list unsynced;
    list_take(&unsynced, &brk->unsynced);
    struct list *link;
    while ((link = list_pop(&unsynced)) != NULL) {
        struct partition *p = LIST_ENTRY(link, struct partition, unsynced_link);
        partition_on_synced(brk, p, done->id);
        if (plog_synced_end(p->log) < plog_end(p->log) && p->stuck_count == 0) {
            sync_want(brk, p);
        }
    }
    lifecycle_log_settled(brk);
}

/* Whether it was a write, a sync or a roll that failed: the kernel may have dropped pages and
 * marked them clean, so nothing is retried and nothing more is promised. Reads go on. */
void
folder_failed(struct brk *brk, const struct disk_done *done)
{
    if (brk->folder_offline) {
        return;
    }
    brk->folder_offline = true;
    brk->stats.folder_offline = true;
    brk->sync_due_ms = INT64_MAX;
    brk_log(brk, true, "event=folder_offline dir=%s error=%s text=\"%s\"", brk->config.data_dir,
            err_name(done->err), done->text);
    struct partition *p;
    struct partition *next;
    HASH_ITER (by_number, brk->numbered, p, next) {
        if (p->state == PARTITION_OPEN || p->state == PARTITION_DAMAGED) {
            partition_set_offline(brk, p, done->text);
        }
    }
    lifecycle_log_settled(brk);
}
