/* Recovery at every crash point. A random script of appends, rolls, syncs, checkpoints and restarts
 * runs on the simulator's disk; it is stopped before each call that would change something, the
 * power fails in every way, and the log that comes back is held against a model: every synced batch
 * is there, the end is a first part of what was appended, producers and epochs are those of that
 * part. Then recovery itself is stopped and torn; done twice it comes to the same; and the log goes
 * on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/rng.h"
#include "tests/sim/simfs.h"
#include "tests/support/log_model.h"

#define PRODUCERS 3
#define SCRIPT_STEPS 70

/* What a run is made of: small enough that rolls and index entries are common. */
struct shape {
    const char *name;
    int64_t segment_bytes;
    int32_t index_interval_bytes;
    size_t value_bytes; /* at most */
};

static const struct shape small = {"small", 1500, 200, 120};
static const struct shape wide = {"wide", 700000, 4096, 60000}; /* space is reserved, not zeroed */

struct producer {
    int64_t id;
    int16_t epoch;
    int32_t sequence;
    struct buf *last; /* its newest batch, to be sent again */
};

struct run {
    const struct shape *shape;
    struct simfs *disk;
    struct log_rig rig;
    struct log_stored older; /* what the store may have gone back to */
    struct log_model model;
    struct rng rng;
    int32_t leader_epoch;
    struct producer producers[PRODUCERS];
};

static struct {
    uint64_t points;
    uint64_t recoveries;
    uint64_t stopped_recoveries;
    uint64_t tails_cut;
    uint64_t restarts;
    uint64_t clean_starts;
    uint64_t rolls;
    uint64_t reserved; /* space was reserved, not zeroed */
    uint64_t duplicates;
    uint64_t pieces_kept;
    uint64_t pieces_lost;
    uint64_t names_lost;
    uint64_t rebuilt_indexes;
} seen;

/* ---- a run ----------------------------------------------------------------------------------- */

static void
run_init(struct run *run, const struct shape *shape, uint64_t seed)
{
    *run = (struct run){.shape = shape, .disk = simfs_new(seed)};
    simfs_make_folder(run->disk, "/data");
    log_rig_init(&run->rig, simfs_fs(run->disk), "/data/topic/0");
    run->rig.segment_bytes = shape->segment_bytes;
    run->rig.index_interval_bytes = shape->index_interval_bytes;
    rng_init(&run->rng, seed);
    for (int i = 0; i < PRODUCERS; i++) {
        run->producers[i].id = 100 + i;
    }
}

static void
run_deinit(struct run *run)
{
    log_rig_deinit(&run->rig);
    log_stored_deinit(&run->older);
    log_model_deinit(&run->model);
    for (int i = 0; i < PRODUCERS; i++) {
        buf_unref(run->producers[i].last);
    }
    simfs_free(run->disk);
}

static bool
is_over(const struct run *run)
{
    return simfs_is_dead(run->disk) || run->rig.failed != DMQ_OK;
}

static void
note_synced(struct run *run)
{
    int64_t synced = plog_synced_end(run->rig.log);
    run->model.synced = synced > run->model.synced ? synced : run->model.synced;
}

static void
append(struct run *run)
{
    struct rig_batch batch = RIG_BATCH;
    struct producer *producer = &run->producers[rng_below(&run->rng, PRODUCERS)];
    bool idempotent = rng_chance(&run->rng, 800);
    if (rng_chance(&run->rng, 60)) {
        producer->epoch++;
        producer->sequence = 0;
    }
    batch.count = (int32_t)rng_range(&run->rng, 1, 4);
    batch.value_size = (size_t)rng_below(&run->rng, run->shape->value_bytes);
    batch.seed = rng_next(&run->rng);
    batch.timestamp = rng_range(&run->rng, 0, 100000);
    if (idempotent) {
        batch.producer_id = producer->id;
        batch.producer_epoch = producer->epoch;
        batch.base_sequence = producer->sequence;
        producer->sequence += batch.count;
    }
    struct buf *buf = rig_batch_encode(&batch);
    int64_t base = log_rig_append_buf(&run->rig, buf, run->leader_epoch);
    assert_true(base >= 0);
    log_model_add(&run->model, buf, base, run->leader_epoch);
    if (idempotent) {
        buf_unref(producer->last);
        producer->last = buf;
    } else {
        buf_unref(buf);
    }
}

static void
retry(struct run *run)
{
    struct producer *producer = &run->producers[rng_below(&run->rng, PRODUCERS)];
    if (producer->last != NULL && producer->sequence > 0) {
        assert_int_equal(log_rig_append_buf(&run->rig, producer->last, run->leader_epoch),
                         -1 - (int64_t)PLOG_DUPLICATE);
        seen.duplicates++;
    }
}

static void
checkpoint(struct run *run)
{
    log_stored_copy(&run->older, &run->rig.stored);
    log_rig_checkpoint(&run->rig);
}

/* The next process on the same disk; the model goes on from what it finds. */
static void
start(struct run *run)
{
    run->older.clean = false;
    dmq_err err = log_rig_open(&run->rig);
    if (simfs_is_dead(run->disk)) {
        return;
    }
    if (err != DMQ_OK) {
        print_message("%s\n", run->rig.opened.text);
    }
    assert_int_equal(err, DMQ_OK);
    seen.clean_starts += run->rig.clean ? 1 : 0;
    log_rig_sync(&run->rig); /* as the core does at once */
}

static void
restart(struct run *run, bool clean)
{
    log_rig_run(&run->rig);
    if (clean && log_rig_close(&run->rig) == DMQ_OK) {
        log_stored_copy(&run->older, &run->rig.stored);
        note_synced(run);
    }
    log_rig_kill(&run->rig);
    if (is_over(run)) {
        return;
    }
    seen.restarts++;
    start(run);
}

static void
step(struct run *run)
{
    uint64_t kind = rng_below(&run->rng, 100);
    if (kind < 55) {
        append(run);
    } else if (kind < 65) {
        log_rig_run(&run->rig);
    } else if (kind < 80) {
        log_rig_sync(&run->rig);
    } else if (kind < 84) {
        retry(run);
    } else if (kind < 92) {
        checkpoint(run);
    } else if (kind < 96) {
        run->leader_epoch++;
    } else {
        restart(run, kind < 98);
    }
    if (run->rig.log != NULL) {
        note_synced(run);
    }
}

static void
run_script(struct run *run)
{
    start(run);
    for (int i = 0; i < SCRIPT_STEPS && !is_over(run) && run->rig.log != NULL; i++) {
        step(run);
    }
}

/* ---- recovery -------------------------------------------------------------------------------- */

static void
require_sound(const struct run *run, const char *fault, const char *when)
{
    if (fault != NULL) {
        print_message("%s: %s (end %lld, appended %lld, synced %lld)\n", when, fault,
                      (long long)plog_end(run->rig.log), (long long)log_model_end(&run->model),
                      (long long)run->model.synced);
    }
    assert_null(fault);
}

static void
recover_and_check(struct run *run, const char *when)
{
    dmq_err err = log_rig_open(&run->rig);
    if (err != DMQ_OK) {
        print_message("%s: %s\n", when, run->rig.opened.text);
    }
    assert_int_equal(err, DMQ_OK);
    seen.recoveries++;
    seen.tails_cut += run->rig.cut_bytes > 0 ? 1 : 0;
    seen.rebuilt_indexes += run->rig.rebuilt_indexes;
    assert_int_equal(plog_synced_end(run->rig.log), 0); /* nothing counts until a SYNC has run */
    require_sound(run, log_model_check(&run->model, &run->rig), when);
}

static void
recover_again(struct run *run)
{
    int64_t end = plog_end(run->rig.log);
    uint64_t digest = simfs_digest(run->disk);
    log_rig_kill(&run->rig);
    recover_and_check(run, "recovered twice");
    assert_int_equal(plog_end(run->rig.log), end);
    assert_int_equal(simfs_digest(run->disk), digest);
    assert_int_equal(run->rig.cut_bytes, 0);
}

/* What came back may be in memory only, as after kill -9: a SYNC makes it last. */
static void
sync_and_lose(struct run *run)
{
    int64_t end = plog_end(run->rig.log);
    log_rig_sync(&run->rig);
    note_synced(run);
    assert_int_equal(run->model.synced, end);
    log_rig_kill(&run->rig);
    simfs_crash(run->disk, SIMFS_LOSE, 1);
    recover_and_check(run, "after a SYNC of what came back");
    assert_int_equal(plog_end(run->rig.log), end);
}

/* The log that came back takes more, and a later power failure takes none of what it promised. */
static void
go_on(struct run *run)
{
    assert_true(log_model_cut(&run->model, plog_end(run->rig.log)));
    for (int i = 0; i < PRODUCERS; i++) {
        run->producers[i].epoch++; /* some of their batches are gone */
        run->producers[i].sequence = 0;
    }
    for (int i = 0; i < 12; i++) {
        append(run);
        if (i % 4 == 3) {
            log_rig_sync(&run->rig);
            note_synced(run);
        }
    }
    assert_int_equal(run->model.synced, log_model_end(&run->model));
    require_sound(run, log_model_check(&run->model, &run->rig), "after going on");
    log_rig_kill(&run->rig);
    simfs_crash(run->disk, SIMFS_LOSE, 1);
    recover_and_check(run, "after a second failure");
    assert_int_equal(plog_end(run->rig.log), log_model_end(&run->model));
}

static void
fail_power(struct run *run, uint64_t variant)
{
    static const enum simfs_crash first[] = {SIMFS_LOSE, SIMFS_KEEP};
    const struct simfs_counts *counts = simfs_counts(run->disk);
    struct simfs_counts before = *counts;
    log_rig_kill(&run->rig);
    if (variant == 2) {
        simfs_kill(run->disk); /* the process alone died */
    } else {
        simfs_crash(run->disk, variant < 2 ? first[variant] : SIMFS_TEAR, variant);
    }
    if (variant % 3 == 1) { /* the store lost what it had not synced */
        log_stored_copy(&run->rig.stored, &run->older);
    }
    seen.pieces_kept += counts->pieces_kept - before.pieces_kept;
    seen.pieces_lost += counts->pieces_lost - before.pieces_lost;
    seen.names_lost += counts->names_lost - before.names_lost;
}

/* Recovery is stopped after `stop` changes, and the power fails again. */
static void
stop_recovery(struct run *run, uint64_t stop, uint64_t variant)
{
    simfs_die_after(run->disk, stop);
    log_rig_open(&run->rig);
    seen.stopped_recoveries += simfs_is_dead(run->disk) ? 1 : 0;
    log_rig_kill(&run->rig);
    simfs_crash(run->disk, SIMFS_TEAR, variant);
}

/* The script up to the change number `point`, then the power fails in the way of `variant`. */
static uint64_t
try_point(const struct shape *shape, uint64_t seed, uint64_t point, uint64_t variant)
{
    struct run run;
    run_init(&run, shape, seed);
    simfs_die_after(run.disk, point);
    run_script(&run);
    uint64_t changes = simfs_counts(run.disk)->changes;
    fail_power(&run, variant);
    if (variant % 2 == 1) {
        stop_recovery(&run, point % 5, variant);
    }
    recover_and_check(&run, "after the power failure");
    recover_again(&run);
    if (variant % 3 == 2) {
        sync_and_lose(&run);
    }
    go_on(&run);
    run_deinit(&run);
    return changes;
}

/* How many changes the whole script makes. */
static uint64_t
count_changes(const struct shape *shape, uint64_t seed)
{
    struct run run;
    run_init(&run, shape, seed);
    run_script(&run);
    assert_int_equal(run.rig.failed, DMQ_OK);
    require_sound(&run, log_model_check(&run.model, &run.rig), "without any failure");
    uint64_t changes = simfs_counts(run.disk)->changes;
    seen.rolls += run.rig.rolls;
    seen.reserved += simfs_counts(run.disk)->calls[SIMFS_ALLOCATE];
    run_deinit(&run);
    return changes;
}

static void
try_all_points(const struct shape *shape, uint64_t seeds, uint64_t variants)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t changes = count_changes(shape, seed);
        for (uint64_t point = 0; point <= changes; point++) {
            for (uint64_t variant = 0; variant < variants; variant++) {
                try_point(shape, seed, point, variant);
            }
            seen.points++;
        }
    }
}

static void
every_crash_point_of_small_segments(void **state)
{
    (void)state;
    try_all_points(&small, 4, 9);
}

static void
every_crash_point_of_large_batches(void **state)
{
    (void)state;
    try_all_points(&wide, 1, 6);
}

/* A batch that recovery cut must not rise again behind one that took its place: the cut is durable
 * before anything is written, or a crash could keep the new batch and lose the cut. All batches
 * have the same size here, so that an old one would fit. */
static void
what_was_cut_does_not_come_back(void **state)
{
    (void)state;
    uint64_t cut = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct run run;
        run_init(&run, &small, seed);
        run.rig.segment_bytes = seed % 2 == 0 ? 100000 : 1500; /* in one segment; across several */
        start(&run);
        for (int round = 0; round < 6; round++) {
            struct rig_batch batch = RIG_BATCH;
            for (int i = 0; i < 4; i++) {
                batch.value_size = 600;
                batch.seed = rng_next(&run.rng);
                struct buf *buf = rig_batch_encode(&batch);
                int64_t base = log_rig_append_buf(&run.rig, buf, 0);
                log_model_add(&run.model, buf, base, 0);
                buf_unref(buf);
            }
            log_rig_run(&run.rig);
            log_rig_kill(&run.rig);
            simfs_crash(run.disk, SIMFS_TEAR, seed * 10 + (uint64_t)round);
            recover_and_check(&run, "after a torn tail");
            cut += run.rig.cut_bytes > 0 ? 1 : 0;
            assert_true(log_model_cut(&run.model, plog_end(run.rig.log)));
        }
        run_deinit(&run);
    }
    assert_true(cut > 100);
}

static void
everything_that_was_meant_to_happen_did(void **state)
{
    (void)state;
    print_message(
        "%llu crash points in scripts with %llu rolls, %llu recoveries (%llu more stopped on the "
        "way), %llu torn tails "
        "cut, %llu pieces kept, %llu lost, %llu names lost, %llu restarts, %llu clean, %llu "
        "duplicates refused, %llu indexes rebuilt\n",
        (unsigned long long)seen.points, (unsigned long long)seen.rolls,
        (unsigned long long)seen.recoveries, (unsigned long long)seen.stopped_recoveries,
        (unsigned long long)seen.tails_cut, (unsigned long long)seen.pieces_kept,
        (unsigned long long)seen.pieces_lost, (unsigned long long)seen.names_lost,
        (unsigned long long)seen.restarts, (unsigned long long)seen.clean_starts,
        (unsigned long long)seen.duplicates, (unsigned long long)seen.rebuilt_indexes);
    assert_true(seen.points > 300 && seen.rolls > 20 && seen.reserved > 0 &&
                seen.stopped_recoveries > 0 && seen.tails_cut > 0);
    assert_true(seen.pieces_kept > 0 && seen.pieces_lost > 0 && seen.names_lost > 0);
    assert_true(seen.restarts > 0 && seen.clean_starts > 0 && seen.duplicates > 0);
    assert_true(seen.rebuilt_indexes > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_crash_point_of_small_segments),
        cmocka_unit_test(every_crash_point_of_large_batches),
        cmocka_unit_test(what_was_cut_does_not_come_back),
        cmocka_unit_test(everything_that_was_meant_to_happen_did),
    };
    return cmocka_run_group_tests_name("recovery_crash", tests, NULL, NULL);
}
