/* What goes wrong with brokers' disks. A call returns EIO, once or from then on; the store fails;
 * there is no space for a while. A broker whose disk failed writes nothing more to it, is fenced,
 * and waits for somebody who looks at the disk and starts it again. What a sync that failed has
 * lost is seen as if it were there until the power fails (simfs.h). */
#include <errno.h>
#include <inttypes.h>

#include "broker/core/brk.h"
#include "tests/sim/world.h"

#define ROOM_BYTES 65536 /* at most, of a disk that fills up */

static struct process *
any_broker(struct world *world)
{
    return world_process(world, PROCESS_BROKER,
                         (int)rng_below(&world->rng, (uint64_t)world->options.brokers));
}

/* Some time from now: recovery, which reads and cuts, meets it as well as what runs. */
void
fault_disk_of_broker(struct world *world)
{
    static const enum simfs_call calls[] = {
        SIMFS_PWRITEV,  SIMFS_PWRITEV, SIMFS_DATASYNC, SIMFS_DATASYNC, SIMFS_DATASYNC,
        SIMFS_PREAD,    SIMFS_PREAD,   SIMFS_OPEN,     SIMFS_TRUNCATE, SIMFS_ALLOCATE,
        SIMFS_SYNC_DIR, SIMFS_LIST,    SIMFS_UNLINK};
    struct process *p = any_broker(world);
    enum simfs_call call = calls[rng_below(&world->rng, sizeof(calls) / sizeof(calls[0]))];
    bool for_good = rng_chance(&world->rng, 500);
    if (p->disk_offline) {
        return; /* nobody uses it */
    }
    simfs_fail(p->disk, call, EIO, rng_below(&world->rng, 12), for_good ? UINT64_MAX : 1);
    world_trace(world, "broker %" PRId32 ": call %d of its disk is going to fail%s", p->id,
                (int)call, for_good ? " for good" : "");
}

void
fault_store_of_broker(struct world *world)
{
    struct process *p = any_broker(world);
    if (p->alive) {
        p->store_fails = true;
        simkv_die_after(p->store, rng_below(&world->rng, 4));
    }
}

void
fault_full_disk(struct world *world)
{
    struct process *p = any_broker(world);
    uint64_t room = rng_below(&world->rng, ROOM_BYTES);
    int64_t lasts = rng_range(&world->rng, 100 * MS, 8 * SECOND);
    simfs_set_capacity(p->disk, simfs_used(p->disk) + room);
    world->counts.disks_filled++;
    world_trace(world, "broker %" PRId32 " has %" PRIu64 " bytes of space left for %" PRId64 " ms",
                p->id, room, lasts / MS);
    world_at(world, world->now_us + lasts,
             (struct world_event){.kind = WORLD_SPACE, .number = (uint64_t)p->number});
}

void
disk_has_space(struct process *p)
{
    simfs_set_capacity(p->disk, UINT64_MAX);
}

void
disk_mend(struct process *p)
{
    for (int call = 0; call < SIMFS_CALLS; call++) {
        simfs_fail(p->disk, (enum simfs_call)call, 0, 0, 0);
    }
    disk_has_space(p);
    p->disk_offline = false;
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* Somebody looks at it, finds the disk good again, and starts the process. */
void
disk_operator_comes(struct process *p)
{
    struct world *world = p->world;
    world_trace(world, "broker %" PRId32 ": its disk is mended", p->id);
    process_crash(p, process_draw_crash(world));
    disk_mend(p);
    process_start_in(p, rng_range(&world->rng, 0, SECOND));
}

/* After an event of the broker: whether its disk failed. */
void
disk_check(struct process *p)
{
    struct world *world = p->world;
    struct brk_stats stats;
    brk_stats(p->brk, &stats);
    world->counts.refusals += stats.disk_full && !p->was_full;
    p->was_full = stats.disk_full;
    if (!stats.folder_offline) {
        return;
    }
    p->wish_epoch = p->brk->broker_epoch;
    if (p->disk_offline) {
        return;
    }
    p->disk_offline = true;
    world->counts.disks_offline++;
    world_at(world, world->now_us + rng_range(&world->rng, 100 * MS, 10 * SECOND),
             (struct world_event){.kind = WORLD_OPERATOR, .process = p, .life = p->life});
}

/* At the end: what its disk refused. */
void
disk_count(struct process *p)
{
    const struct simfs_counts *counts = simfs_counts(p->disk);
    p->world->counts.eio_write += counts->faults[SIMFS_PWRITEV] + counts->faults[SIMFS_ALLOCATE] +
                                  counts->faults[SIMFS_TRUNCATE];
    p->world->counts.eio_sync += counts->faults[SIMFS_DATASYNC] + counts->faults[SIMFS_SYNC_DIR];
    p->world->counts.eio_read += counts->faults[SIMFS_PREAD] + counts->faults[SIMFS_LIST];
    p->world->counts.enospc += counts->full;
}
