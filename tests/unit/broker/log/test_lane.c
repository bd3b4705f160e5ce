/* What a lane asks of the disk: nothing twice, and nothing too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/log/log_index.h"
#include "tests/sim/simfs.h"
#include "tests/support/log_rig.h"

#define LOGS 3

static struct simfs *disk;
static struct plog_io_lane *lane;
static struct plog *logs[LOGS + 1]; /* by number, from 1 */
static struct disk_op queue[4096];
static struct disk_done dones[4096];
static size_t queued;
static uint64_t last_id;

static void
add(struct disk_op op)
{
    op.id = ++last_id;
    queue[queued++] = op;
}

static void
run(void)
{
    plog_io_exec(lane, queue, queued, dones);
    for (size_t i = 0; i < queued; i++) {
        if (dones[i].err == DMQ_OK && dones[i].kind == DISK_WRITE) {
            plog_on_written(logs[dones[i].log], &dones[i]);
        } else if (dones[i].err == DMQ_OK && dones[i].kind == DISK_SYNC) {
            for (size_t k = 1; k <= LOGS; k++) {
                plog_on_synced(logs[k], dones[i].id);
            }
        }
        disk_done_deinit(&dones[i]);
    }
    queued = 0;
}

static void
ask_sync(void)
{
    add((struct disk_op){.kind = DISK_SYNC});
    for (size_t k = 1; k <= LOGS; k++) {
        plog_sync_asked(logs[k], last_id);
    }
}

static void
open_log(uint32_t number)
{
    struct log_open *open = calloc(1, sizeof(*open));
    struct plog_config config = {number, 1 << 20, 4096, 1 << 20};
    snprintf(open->dir, sizeof(open->dir), "/data/topic%u/%u", number % 2, number);
    snprintf(open->label, sizeof(open->label), "t-%u", number);
    open->segment_bytes = config.segment_bytes;
    open->index_interval_bytes = config.index_interval_bytes;
    add((struct disk_op){.kind = DISK_OPEN, .log = number, .u.open = open});
    plog_io_exec(lane, queue, 1, dones);
    queued = 0;
    assert_int_equal(dones[0].err, DMQ_OK);
    assert_true(dones[0].u.recovered->created);
    logs[number] = plog_new(&config, dones[0].u.recovered);
}

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    simfs_make_folder(disk, "/data");
    lane = plog_io_new(simfs_fs(disk));
    queued = 0;
    for (uint32_t i = 1; i <= LOGS; i++) {
        open_log(i);
    }
    ask_sync();
    run();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    for (size_t i = 1; i <= LOGS; i++) {
        plog_free(logs[i]);
    }
    plog_io_free(lane);
    simfs_free(disk);
    return 0;
}

static void
append(uint32_t number, size_t value_size)
{
    struct rig_batch rig = RIG_BATCH;
    struct plog_ops ops = {.count = 0};
    struct batch_header header;
    rig.value_size = value_size;
    rig.timestamp = 1000 + plog_end(logs[number]);
    struct buf *buf = rig_batch_encode(&rig);
    assert_int_equal(batch_parse(buf_bytes(buf), &header), DMQ_OK);
    plog_append(logs[number], &(struct plog_batch){buf, 0, &header}, 0, 0, &ops);
    buf_unref(buf);
    for (size_t i = 0; i < ops.count; i++) {
        add(ops.ops[i]);
    }
}

static struct plog_io_counts
counts_since(struct plog_io_counts before)
{
    struct plog_io_counts now = plog_io_counts(lane);
    return (struct plog_io_counts){now.writes - before.writes,
                                   now.batches - before.batches,
                                   now.bytes - before.bytes,
                                   now.index_writes - before.index_writes,
                                   now.syncs - before.syncs,
                                   now.file_syncs - before.file_syncs,
                                   now.folder_syncs - before.folder_syncs};
}

/* A synchronous publish of a small record: one write and one fdatasync, now and then an index
 * entry. */
static void
a_publish_is_one_write_and_one_sync(void **state)
{
    (void)state;
    struct plog_io_counts before = plog_io_counts(lane);
    uint64_t changes = simfs_counts(disk)->changes;
    for (int i = 0; i < 200; i++) {
        append(1, 100);
        ask_sync();
        run();
    }
    struct plog_io_counts counts = counts_since(before);
    assert_int_equal(counts.writes, 200);
    assert_int_equal(counts.file_syncs, 200);
    assert_int_equal(counts.folder_syncs, 0);
    assert_true(counts.index_writes > 0 && counts.index_writes < 24);
    assert_int_equal(simfs_counts(disk)->changes - changes, 400 + counts.index_writes);
    assert_int_equal(plog_synced_end(logs[1]), 200);
}

static void
writes_of_a_run_become_one(void **state)
{
    (void)state;
    struct plog_io_counts before = plog_io_counts(lane);
    for (int i = 0; i < 100; i++) { /* of three logs in turn, with syncs between */
        append((uint32_t)(1 + i % LOGS), 100);
        if (i % 10 == 9) {
            ask_sync();
        }
    }
    run();
    struct plog_io_counts counts = counts_since(before);
    assert_int_equal(counts.batches, 100);
    assert_int_equal(counts.writes, LOGS);
    assert_int_equal(counts.syncs, 1);
    assert_int_equal(counts.file_syncs, LOGS);
    for (size_t k = 1; k <= LOGS; k++) {
        assert_int_equal(plog_synced_end(logs[k]), plog_end(logs[k]));
    }
}

static void
a_run_may_be_longer_than_a_call_takes(void **state)
{
    (void)state;
    for (int i = 0; i < 2500; i++) {
        append(2, 20);
    }
    ask_sync();
    run();
    assert_int_equal(plog_synced_end(logs[2]), 2500);
    assert_true(plog_io_counts(lane).writes <= 4);
}

static void
a_sync_with_nothing_to_do_does_nothing(void **state)
{
    (void)state;
    struct plog_io_counts before = plog_io_counts(lane);
    uint64_t changes = simfs_counts(disk)->changes;
    ask_sync();
    run();
    assert_int_equal(counts_since(before).syncs, 0);
    assert_int_equal(simfs_counts(disk)->changes, changes);
}

static void
new_names_are_synced_with_the_first_sync(void **state)
{
    (void)state;
    /* Done by setup: three folders of logs, two of topics, the data folder for each of these. */
    struct plog_io_counts counts = plog_io_counts(lane);
    assert_int_equal(counts.folder_syncs, 3 + 3 + 1);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_true(simfs_exists(disk, "/data/topic0/2/00000000000000000000.log"));
    assert_true(simfs_exists(disk, "/data/topic1/1/00000000000000000000.log"));
    assert_true(simfs_exists(disk, "/data/topic1/3/00000000000000000000.log"));
}

static void
a_roll_trims_and_syncs_the_segment_that_ended(void **state)
{
    (void)state;
    append(1, 600000);
    append(1, 600000); /* rolls */
    ask_sync();
    run();
    struct bytes first = simfs_file(disk, "/data/topic1/1/00000000000000000000.log");
    assert_true(first.size > 600000 && first.size < 600200);
    struct plog_io_counts before = plog_io_counts(lane);
    append(1, 10);
    ask_sync();
    run();
    assert_int_equal(counts_since(before).file_syncs, 1); /* the old one is done with */
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_int_equal(simfs_file(disk, "/data/topic1/1/00000000000000000000.log").size, first.size);
    assert_int_equal(simfs_file(disk, "/data/topic1/1/00000000000000000000.timeindex").size,
                     TIME_ENTRY_SIZE);
}

static uint64_t
made_by(uint32_t number, size_t value_size, int syncs)
{
    for (int i = 0; i < syncs; i++) {
        append(number, value_size);
        ask_sync();
        run();
    }
    char path[64];
    snprintf(path, sizeof(path), "/data/topic%u/%u/00000000000000000000.log", number % 2, number);
    return simfs_file(disk, path).size - (uint64_t)plog_end_mark(logs[number]).pos;
}

/* Space ahead follows the rate, and is never a whole segment for a few bytes. */
static void
space_is_made_in_steps_that_follow_the_rate(void **state)
{
    (void)state;
    uint64_t little = made_by(1, 100, 3);
    assert_true(little > 0 && little <= 70000);
    assert_int_equal(simfs_counts(disk)->calls[SIMFS_ALLOCATE], 0); /* zeroes, by the write */
    made_by(2, 100000, 3);
    assert_true(simfs_counts(disk)->calls[SIMFS_ALLOCATE] > 0); /* reserved */
    uint64_t size = simfs_file(disk, "/data/topic0/2/00000000000000000000.log").size;
    assert_int_equal(size, 1 << 20); /* never beyond the segment */
}

/* One log does not take what is left from the others. */
static void
little_space_is_not_made_ahead_of_one_log(void **state)
{
    (void)state;
    simfs_set_capacity(disk, simfs_used(disk) + 640000);
    uint64_t made = made_by(2, 100000, 3);
    assert_in_range(made, 1, 10000 + 4096);
    assert_true(simfs_counts(disk)->calls[SIMFS_ALLOCATE] > 0);
}

static void
a_close_ends_files_exactly(void **state)
{
    (void)state;
    append(1, 100);
    ask_sync();
    run();
    uint64_t pos = plog_end_mark(logs[1]).pos;
    add((struct disk_op){.kind = DISK_CLOSE, .log = 1});
    run();
    assert_int_equal(dones[0].err, DMQ_OK);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_int_equal(simfs_file(disk, "/data/topic1/1/00000000000000000000.log").size, pos);
    assert_int_equal(simfs_file(disk, "/data/topic1/1/00000000000000000000.timeindex").size,
                     TIME_ENTRY_SIZE);
}

/* Counts how often syncs are done together, and how many. */
static const struct fs_ops *disk_ops;
static size_t groups;
static size_t grouped;

static void
counted_sync_many(struct fs *fs, struct fs_sync *syncs, size_t count)
{
    groups++;
    grouped += count;
    disk_ops->sync_many(fs, syncs, count);
}

static void
close_all_counted(void)
{
    struct fs_ops counted = *simfs_fs(disk)->ops;
    disk_ops = simfs_fs(disk)->ops;
    counted.sync_many = counted_sync_many;
    simfs_fs(disk)->ops = &counted;
    groups = 0;
    grouped = 0;
    for (uint32_t i = 1; i <= LOGS; i++) {
        add((struct disk_op){.kind = DISK_CLOSE, .log = i});
    }
    run();
    simfs_fs(disk)->ops = disk_ops;
}

/* A clean stop closes all logs: the disk is waited for once, not three times for each. */
static void
closes_of_a_run_are_synced_together(void **state)
{
    (void)state;
    struct plog_io_counts before = plog_io_counts(lane);
    for (uint32_t i = 1; i <= LOGS; i++) {
        append(i, 100 * i);
    }
    run();
    close_all_counted();
    assert_int_equal(groups, 1);
    assert_int_equal(grouped, 3 * LOGS); /* .log, .index, .timeindex */
    assert_int_equal(counts_since(before).file_syncs, 3 * LOGS);
    simfs_crash(disk, SIMFS_LOSE, 1);
    for (uint32_t i = 1; i <= LOGS; i++) {
        char path[64];
        assert_int_equal(dones[i - 1].err, DMQ_OK);
        snprintf(path, sizeof(path), "/data/topic%u/%u/00000000000000000000.log", i % 2, i);
        assert_int_equal(simfs_file(disk, path).size, plog_end_mark(logs[i]).pos);
    }
}

/* The files that did sync are closed well; the other log's end is not known, nor anything after. */
static void
a_close_that_cannot_sync_is_not_the_others(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= LOGS; i++) {
        append(i, 100);
    }
    run();
    simfs_fail(disk, SIMFS_DATASYNC, 5, 4, 1);
    close_all_counted();
    size_t failed = 0;
    for (size_t i = 0; i < LOGS; i++) {
        failed += dones[i].err == DMQ_ERR_IO ? 1 : 0;
    }
    assert_int_equal(failed, 1);
    ask_sync();
    run();
    assert_int_equal(dones[0].err, DMQ_ERR_IO);
}

static void
a_log_that_nobody_wrote_to_is_closed_without_a_sync(void **state)
{
    (void)state;
    struct log_rig rig;
    struct rig_batch batch = RIG_BATCH;
    log_rig_init(&rig, simfs_fs(disk), "/data/topic/0");
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_int_equal(log_rig_append(&rig, &batch), 0);
    log_rig_run(&rig);
    assert_int_equal(log_rig_close(&rig), DMQ_OK); /* with changes that no SYNC covered */
    simfs_crash(disk, SIMFS_LOSE, 1);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_true(rig.clean);
    assert_int_equal(plog_end(rig.log), 1);
    uint64_t changes = simfs_counts(disk)->changes;
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    assert_int_equal(simfs_counts(disk)->changes, changes);
    log_rig_deinit(&rig);
}

static void
a_delete_removes_the_folder_durably(void **state)
{
    (void)state;
    append(1, 100);
    add((struct disk_op){.kind = DISK_DELETE, .log = 1});
    run();
    assert_int_equal(dones[1].err, DMQ_OK);
    assert_true(simfs_exists(disk, "/data/topic1")); /* log 3 is there */
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_false(simfs_exists(disk, "/data/topic1/1"));
    plog_io_free(lane);
    lane = plog_io_new(simfs_fs(disk));

    /* A log that is not open is named by its folder; the topic's goes with the last. */
    struct log_open *open = calloc(1, sizeof(*open));
    snprintf(open->dir, sizeof(open->dir), "/data/topic1/3");
    add((struct disk_op){.kind = DISK_DELETE, .log = 77, .u.open = open});
    run();
    assert_int_equal(dones[0].err, DMQ_OK);
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_false(simfs_exists(disk, "/data/topic1"));
    open = calloc(1, sizeof(*open)); /* what is gone is gone */
    snprintf(open->dir, sizeof(open->dir), "/data/topic1/3");
    add((struct disk_op){.kind = DISK_DELETE, .log = 77, .u.open = open});
    plog_io_free(lane);
    lane = plog_io_new(simfs_fs(disk));
    run();
    assert_int_equal(dones[0].err, DMQ_OK);
}

/* One log's full disk is not the others' (they overwrite space that they have). */
static void
a_full_disk_stops_one_log(void **state)
{
    (void)state;
    append(2, 100);
    ask_sync();
    run();
    simfs_set_capacity(disk, simfs_used(disk) + 1000);
    append(1, 5000);
    append(1, 100);
    append(2, 100);
    ask_sync();
    run();
    assert_int_equal(dones[0].err, DMQ_ERR_DISK_FULL);
    assert_int_equal(dones[1].err, DMQ_ERR_DISK_FULL); /* it would have fitted, but not follow */
    assert_int_equal(dones[2].err, DMQ_OK);
    assert_int_equal(dones[3].err, DMQ_OK);
    assert_int_equal(plog_synced_end(logs[1]), 0);
    assert_int_equal(plog_synced_end(logs[2]), 2);
    assert_non_null(strstr(dones[0].text, "disk is full"));
}

static void
the_first_failure_ends_the_lane(void **state)
{
    (void)state;
    append(1, 100);
    append(2, 100);
    simfs_fail(disk, SIMFS_DATASYNC, 5, 1, 1);
    ask_sync();
    append(3, 100);
    ask_sync();
    run();
    assert_int_equal(dones[0].err, DMQ_OK);
    assert_int_equal(dones[2].err, DMQ_ERR_IO);
    assert_int_equal(dones[4].err, DMQ_ERR_IO);
    append(1, 100);
    add((struct disk_op){.kind = DISK_CLOSE, .log = 2});
    run();
    assert_int_equal(dones[0].err, DMQ_ERR_IO);
    assert_int_equal(dones[1].err, DMQ_ERR_IO);
    assert_string_equal(dones[0].text, dones[1].text);
    assert_int_equal(plog_synced_end(logs[1]), 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_publish_is_one_write_and_one_sync),
        TEST(writes_of_a_run_become_one),
        TEST(a_run_may_be_longer_than_a_call_takes),
        TEST(a_sync_with_nothing_to_do_does_nothing),
        TEST(new_names_are_synced_with_the_first_sync),
        TEST(a_roll_trims_and_syncs_the_segment_that_ended),
        TEST(space_is_made_in_steps_that_follow_the_rate),
        TEST(little_space_is_not_made_ahead_of_one_log),
        TEST(a_close_ends_files_exactly),
        TEST(closes_of_a_run_are_synced_together),
        TEST(a_close_that_cannot_sync_is_not_the_others),
        TEST(a_log_that_nobody_wrote_to_is_closed_without_a_sync),
        TEST(a_delete_removes_the_folder_durably),
        TEST(a_full_disk_stops_one_log),
        TEST(the_first_failure_ends_the_lane),
    };
    return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
