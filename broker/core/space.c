#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/call.h"
#include "broker/core/partition.h"

/* A full disk. Two lines of defence:
 *
 *   1 The free space is measured once a second, and sooner where much is appended. Below
 *     log.disk.reserve.bytes new batches are refused, surely not written; all else goes on: reads,
 *     deletes, checkpoints, syncs of what was appended. Above it, with a little to spare so that it
 *     does not flicker, produce goes on by itself.
 *   2 Others may fill the disk faster than that. Then an operation of a log comes back undone
 *     (DMQ_ERR_DISK_FULL), and with it all that follow in that log. Its batches have offsets, and
 *     duplicates of them are recognised, so they are not undone: they stay in memory, wait in their
 *     order, and are asked for anew once there is space. Who waits for them waits on until its
 *     deadline, and then hears that the batch may be stored.
 *
 * Operations are asked for anew only when all of the log have come back: what was on its way when
 * the first did not fit comes back as well, and its order is that of the lane. */

#define CHECK_MS 1000
#define COUNT_MS 60000 /* folders that were set aside are counted so often */
/* Where the setting does not say: a twentieth of the disk, at most so much. */
#define RESERVE_SHARE 20
#define MOST_RESERVE ((int64_t)256 << 20)
#define LEAST_BUDGET (1 << 20)
#define GONE_BYTES (1 << 20) /* with less than this even the store may find no space */

/* ---- measuring ------------------------------------------------------------------------------- */

void
space_ask(struct brk *brk)
{
    size_t size = strlen(brk->config.data_dir) + 1;
    struct disk_op op = {.kind = DISK_SPACE};
    op.u.space.dir = buf_copy(bytes_of(brk->config.data_dir, size));
    op.u.space.counts = brk->count_due_ms <= brk->now_ms;
    brk->count_due_ms = op.u.space.counts ? brk->now_ms + COUNT_MS : brk->count_due_ms;
    DMQ_ASSERT(op.u.space.dir != NULL && brk->space_id == 0);
    brk->space_id = brk_disk(brk, op);
    brk->space_due_ms = INT64_MAX;
}

void
space_tick(struct brk *brk)
{
    if (space_deadline(brk) <= brk->now_ms) {
        space_ask(brk);
    }
}

int64_t
space_deadline(const struct brk *brk)
{
    return brk->life >= LIFE_CLOSING || brk->folder_offline ? INT64_MAX : brk->space_due_ms;
}

void
space_appended(struct brk *brk, size_t bytes)
{
    brk->space_budget -= (int64_t)bytes;
    if (brk->space_budget <= 0 && brk->space_id == 0) {
        brk->space_due_ms = brk->now_ms;
    }
}

bool
space_is_gone(const struct brk *brk)
{
    return brk->space_free >= 0 && brk->space_free < GONE_BYTES;
}

/* ---- refusing -------------------------------------------------------------------------------- */

dmq_err
space_check(const struct brk *brk, const struct partition *p, struct err_msg *err)
{
    if (!brk->disk_full && p->stuck_count == 0) {
        return DMQ_OK;
    }
    return err_set(err, DMQ_ERR_DISK_FULL,
                   "nothing was written to %s: the disk of broker %d has %" PRId64
                   " MiB left, and log.disk.reserve.bytes keeps %" PRId64
                   " MiB free; reads and deletes go on, and so does produce once there is space",
                   p->label, brk->config.broker_id, brk->space_free >> 20, brk->reserve >> 20);
}

static void
set_full(struct brk *brk, bool full)
{
    if (brk->disk_full == full) {
        return;
    }
    brk->disk_full = full;
    brk_log(
        brk, full, "event=%s dir=%s free_bytes=%" PRId64 " reserve_bytes=%" PRId64 " text=\"%s\"",
        full ? "disk_full" : "disk_has_space", brk->config.data_dir, brk->space_free, brk->reserve,
        full ? "produce is refused; make space or lower log.disk.reserve.bytes"
             : "produce goes on");
}

/* ---- what came back -------------------------------------------------------------------------- */

void
space_keep(struct brk *brk, struct partition *p, struct disk_done *done)
{
    DMQ_ASSERT(done->again != NULL);
    if ((p->truncating || p->quarantining) && done->kind != DISK_OPEN) {
        return; /* of what is cut: recovery begins with what is on the disk */
    }
    if (p->stuck_count == p->stuck_capacity) {
        p->stuck_capacity = p->stuck_capacity == 0 ? 16 : p->stuck_capacity * 2;
        p->stuck = realloc(p->stuck, p->stuck_capacity * sizeof(*p->stuck));
        DMQ_ASSERT(p->stuck != NULL);
    }
    brk->stuck += p->stuck_count == 0 ? 1 : 0;
    p->stuck[p->stuck_count++] = *done->again;
    p->stuck_bytes += done->kind == DISK_WRITE ? done->again->u.write.size : 0;
    free(done->again);
    done->again = NULL;
    brk->space_free = 0; /* until it is measured again */
    set_full(brk, true);
    removal_go_on(brk);
    if (brk->life >= LIFE_CLOSING) {
        space_abandon(brk, p);
    }
}

void
space_forget(struct brk *brk, struct partition *p)
{
    brk->stuck -= p->stuck_count > 0 ? 1 : 0;
    for (size_t i = 0; i < p->stuck_count; i++) {
        disk_op_deinit(&p->stuck[i]);
    }
    free(p->stuck);
    p->stuck = NULL;
    p->stuck_count = 0;
    p->stuck_capacity = 0;
    p->stuck_bytes = 0;
}

void
space_abandon(struct brk *brk, struct partition *p)
{
    list_remove(&p->unsynced_link); /* its end will not be synced */
    watch_abandon(brk, p);
}

void
space_abandon_all(struct brk *brk)
{
    for (struct partition *p = brk->partitions; p != NULL; p = p->by_key.next) {
        if (p->stuck_count > 0) {
            space_abandon(brk, p);
        }
    }
}

/* The log itself could not be opened: nothing else was asked of it. */
static bool
is_open_stuck(const struct partition *p)
{
    return p->stuck_count > 0 && p->stuck[0].kind == DISK_OPEN;
}

/* Whether all operations of the log that were on their way have come back. */
static bool
is_all_back(const struct partition *p)
{
    return p->state == PARTITION_OPEN && p->stuck_bytes == plog_unwritten_bytes(p->log);
}

/* If they do not fit after all, they come back once more. */
static void
go_on(struct brk *brk, struct partition *p)
{
    struct disk_op *stuck = p->stuck;
    size_t count = p->stuck_count;
    bool opens = is_open_stuck(p);
    stuck[0].resume = !opens;
    p->stuck = NULL;
    p->stuck_count = 0;
    p->stuck_capacity = 0;
    p->stuck_bytes = 0;
    brk->stuck--;
    for (size_t i = 0; i < count; i++) {
        brk_disk(brk, stuck[i]);
    }
    free(stuck);
    if (opens) {
        p->state = PARTITION_OPENING;
        brk->opening++;
    } else {
        sync_want(brk, p);
    }
}

static void
go_on_all(struct brk *brk, int64_t left)
{
    for (struct partition *p = brk->partitions; p != NULL && brk->stuck > 0; p = p->by_key.next) {
        bool fits = p->stuck_count > 0 && (int64_t)p->stuck_bytes < left;
        if (fits && (is_open_stuck(p) || is_all_back(p))) {
            left -= (int64_t)p->stuck_bytes;
            go_on(brk, p);
        }
    }
}

static int64_t
reserve_of(const struct brk *brk, uint64_t disk_bytes)
{
    if (brk->config.reserve_bytes >= 0) {
        return brk->config.reserve_bytes;
    }
    int64_t share = (int64_t)(disk_bytes / RESERVE_SHARE);
    return share < MOST_RESERVE ? share : MOST_RESERVE;
}

void
space_on_done(struct brk *brk, const struct disk_done *done)
{
    DMQ_ASSERT(done->id == brk->space_id);
    brk->space_id = 0;
    brk->space_due_ms = brk->now_ms + CHECK_MS;
    if (done->err != DMQ_OK) {
        return; /* what was measured before goes on to hold */
    }
    int64_t reserve = reserve_of(brk, done->u.space.total);
    brk->quarantined = done->quarantined >= 0 ? done->quarantined : brk->quarantined;
    brk->reserve = reserve;
    brk->space_free = done->u.space.free < INT64_MAX ? (int64_t)done->u.space.free : INT64_MAX;
    brk->space_budget = (brk->space_free - reserve) / 4;
    brk->space_budget = brk->space_budget < LEAST_BUDGET ? LEAST_BUDGET : brk->space_budget;
    removal_go_on(brk);
    if (brk->life < LIFE_CLOSING) {
        go_on_all(brk, brk->space_free);
    }
    if (brk->space_free < reserve) {
        set_full(brk, true);
    } else if (brk->stuck == 0 && brk->space_free - reserve >= reserve / 16) {
        set_full(brk, false);
    }
}
