/* Recovery where something is wrong: damage below the mark, at it and above it, missing files,
 * rotten indexes; what is refused, and what goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/rng.h"
#include "tests/sim/log_setup.h"

static struct simfs *disk;
static struct log_rig rig;
static struct log_model model;

static int
setup(void **state)
{
    (void)state;
    disk = log_setup(&rig, &model, 1000, 200);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_teardown(disk, &rig, &model);
    return 0;
}

/* One batch of one record; offset and batch number are the same. */
static void
append(int32_t epoch)
{
    int64_t base = plog_end(rig.log);
    assert_int_equal(log_append_one(&rig, &model, epoch), base);
}

/* A log of `count` batches, synced, its mark stored; then `more` that are written only. */
static void
make_log(int count, int more)
{
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < count; i++) {
        append(i / 10);
    }
    log_rig_sync(&rig);
    log_rig_checkpoint(&rig);
    model.synced = plog_end(rig.log);
    for (int i = 0; i < more; i++) {
        append(count / 10);
    }
    log_rig_run(&rig);
    assert_int_equal(rig.failed, DMQ_OK);
}

static const char *
segment_path(int64_t base, const char *suffix)
{
    static char path[4][128];
    static unsigned next;
    char *at = path[next++ % 4];
    snprintf(at, sizeof(path[0]), "/data/topic/0/%020lld%s", (long long)base, suffix);
    return at;
}

/* Position of a batch in its segment. */
static uint64_t
pos_of(int64_t offset, int64_t *ret_segment)
{
    uint64_t pos = 0;
    int64_t base = 0;
    for (int64_t i = 0; i < offset; i++) {
        size_t size = model.batches[i].header.size;
        if (pos > 0 && pos + size > (uint64_t)rig.segment_bytes) {
            base = i;
            pos = 0;
        }
        pos += size;
    }
    if (pos > 0 && pos + model.batches[offset].header.size > (uint64_t)rig.segment_bytes) {
        base = offset;
        pos = 0;
    }
    *ret_segment = base;
    return pos;
}

static void
flip_batch(int64_t offset, uint64_t byte)
{
    int64_t segment;
    uint64_t pos = pos_of(offset, &segment);
    assert_true(simfs_flip(disk, segment_path(segment, ".log"), pos + byte, 3));
}

static void
check_sound(int64_t end)
{
    const char *fault = log_model_check(&model, &rig);
    assert_string_equal(fault == NULL ? "" : fault, "");
    assert_int_equal(plog_end(rig.log), end);
}

/* What lies below the damage can be read, what lies beyond cannot, and nothing on the disk changed.
 */
static void
check_damaged_from(int64_t offset)
{
    struct plog_read read;
    uint64_t before = simfs_digest(disk);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    assert_int_equal(simfs_digest(disk), before);
    assert_int_equal(rig.damaged_from, offset);
    assert_non_null(strstr(rig.opened.text, "dmq log verify"));
    assert_int_equal(plog_end(rig.log), offset);
    assert_null(log_model_check_bytes(&model, &rig, offset));
    assert_int_equal(plog_read(rig.log, offset + 1, offset, 100, &read),
                     DMQ_ERR_OFFSET_OUT_OF_RANGE);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void
a_bad_byte_below_the_mark_is_damage(void **state)
{
    (void)state;
    make_log(40, 0);
    flip_batch(37, 70);
    check_damaged_from(37);
}

static void
a_bad_byte_above_the_mark_is_a_torn_tail(void **state)
{
    (void)state;
    make_log(40, 5);
    flip_batch(42, 70);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_true(rig.cut_bytes > 0);
    check_sound(42);
}

static void
a_bad_byte_at_the_mark_is_a_torn_tail(void **state)
{
    (void)state;
    make_log(40, 5);
    flip_batch(40, 0);
    log_rig_kill(&rig);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_sound(40);
}

/* The CRC does not cover offset, length and leader epoch. */
static void
what_the_crc_leaves_uncovered_is_checked(void **state)
{
    (void)state;
    static const uint64_t bytes[] = {7, 11, 15, 16, 20};
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        make_log(40, 0);
        flip_batch(38, bytes[i]);
        check_damaged_from(38);
        teardown(NULL);
        setup(NULL);
    }
    make_log(40, 0);
}

static void
a_log_shorter_than_its_mark_is_damaged(void **state)
{
    (void)state;
    int64_t segment;
    make_log(40, 0);
    uint64_t pos = pos_of(39, &segment);
    log_rig_kill(&rig);
    struct bytes now = simfs_file(disk, segment_path(segment, ".log"));
    uint8_t *shorter = malloc(pos + 1);
    memcpy(shorter, now.data, pos);
    simfs_put_file(disk, segment_path(segment, ".log"), bytes_of(shorter, pos));
    free(shorter);
    check_damaged_from(39);
}

static void
a_missing_segment_is_damage(void **state)
{
    (void)state;
    int64_t middle;
    make_log(40, 0);
    pos_of(20, &middle);
    log_rig_kill(&rig);
    struct simfs *whole = simfs_clone(disk);
    struct fs *fs = simfs_fs(disk);
    assert_int_equal(fs->ops->unlink(fs, segment_path(middle, ".log")), 0);
    check_damaged_from(middle);
    log_rig_kill(&rig);

    /* Without the first, or the last, or all of them, nothing can be read. */
    int64_t last = rig.stored.mark.segment;
    for (int i = 0; i < 3; i++) {
        simfs_free(disk);
        disk = simfs_clone(whole);
        rig.fs = simfs_fs(disk);
        if (i < 2) {
            rig.fs->ops->unlink(rig.fs, segment_path(i == 0 ? 0 : last, ".log"));
        } else {
            simfs_wipe(disk, "/data");
        }
        assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
        assert_null(rig.log);
        assert_non_null(strstr(rig.opened.text, "missing"));
        log_rig_kill(&rig);
    }
    simfs_free(whole);
}

static void
rows_that_do_not_fit_are_damage(void **state)
{
    (void)state;
    make_log(40, 0);
    log_rig_kill(&rig);
    struct log_stored good = {0};
    log_stored_copy(&good, &rig.stored);

    buf_unref(rig.stored.epochs);
    rig.stored.epochs = NULL; /* an entry is missing below the mark */
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    log_rig_kill(&rig);

    log_stored_copy(&rig.stored, &good);
    rig.stored.mark.pos += 1;
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    log_rig_kill(&rig);

    log_stored_copy(&rig.stored, &good);
    rig.stored.mark.segment += 1;
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    log_rig_kill(&rig);

    log_stored_copy(&rig.stored, &good);
    buf_unref(rig.stored.producers);
    rig.stored.producers = buf_copy(bytes_str("nonsense"));
    assert_int_equal(log_rig_open(&rig), DMQ_ERR_DAMAGED);
    log_rig_kill(&rig);

    log_stored_copy(&rig.stored, &good);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_sound(40);
    log_stored_deinit(&good);
}

/* A snapshot is stored only once the log up to it is synced: so bytes below it are as sure as those
 * below the mark, should the store hold an older mark. */
static void
below_the_snapshot_is_damage_too(void **state)
{
    (void)state;
    struct log_stored early = {0};
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    append(0);
    log_rig_sync(&rig);
    log_rig_checkpoint(&rig);
    log_stored_copy(&early, &rig.stored);
    for (int i = 0; i < 30; i++) {
        append(0);
    }
    log_rig_sync(&rig);
    log_rig_checkpoint(&rig);
    assert_non_null(rig.stored.producers);
    rig.stored.mark = early.mark;
    flip_batch(3, 70);
    check_damaged_from(3);
    log_stored_deinit(&early);
}

/* Without a mark nothing was ever synced: whatever is there is a torn tail. */
static void
without_a_mark_nothing_is_damage(void **state)
{
    (void)state;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < 30; i++) {
        append(0);
    }
    log_rig_run(&rig);
    flip_batch(2, 70);
    log_rig_kill(&rig);
    struct simfs *whole = simfs_clone(disk);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_sound(2);
    log_rig_kill(&rig);

    /* Only later segments came to the disk: their records have nothing to follow. */
    simfs_free(disk);
    disk = whole;
    rig.fs = simfs_fs(disk);
    assert_int_equal(rig.fs->ops->unlink(rig.fs, segment_path(0, ".log")), 0);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_sound(0);
}

/* ---- every byte ------------------------------------------------------------------------------ */

/* One bit changes in a file of a log whose mark is its end. Either the log opens and holds what it
 * held, or it is damaged and what can be read below is what was appended. */
static void
try_flip(const char *path, uint64_t pos, uint64_t counts[2])
{
    assert_true(simfs_flip(disk, path, pos, (unsigned)(pos % 8)));
    dmq_err err = log_rig_open(&rig);
    if (err == DMQ_OK) {
        check_sound(log_model_end(&model));
        counts[0]++;
    } else {
        assert_int_equal(err, DMQ_ERR_DAMAGED);
        assert_non_null(rig.log);
        assert_true(rig.damaged_from < log_model_end(&model));
        assert_null(log_model_check_bytes(&model, &rig, rig.damaged_from));
        counts[1]++;
    }
    log_rig_kill(&rig);
}

static void
flip_every_byte(const char *suffix, uint64_t counts[2])
{
    struct simfs *whole = disk;
    struct log_stored good = {0};
    log_stored_copy(&good, &rig.stored);
    log_rig_kill(&rig);
    int64_t segment = -1;
    for (int64_t offset = 0; offset < log_model_end(&model); offset++) {
        int64_t base;
        pos_of(offset, &base);
        if (base == segment) {
            continue;
        }
        segment = base;
        size_t size = simfs_file(whole, segment_path(base, suffix)).size;
        if (base == good.mark.segment && strcmp(suffix, ".log") == 0) {
            size = good.mark.pos; /* behind it is space made ahead */
        }
        for (size_t pos = 0; pos < size; pos++) {
            disk = simfs_clone(whole);
            rig.fs = simfs_fs(disk);
            log_stored_copy(&rig.stored, &good);
            try_flip(segment_path(base, suffix), pos, counts);
            simfs_free(disk);
        }
    }
    disk = whole;
    rig.fs = simfs_fs(disk);
    log_stored_deinit(&good);
}

static void
one_flipped_bit_is_never_a_wrong_record(void **state)
{
    (void)state;
    uint64_t counts[2] = {0, 0};
    make_log(40, 0);
    buf_unref(rig.stored.producers);
    rig.stored.producers = NULL; /* so that all segments are walked */
    flip_every_byte(".log", counts);
    print_message("%llu flips were found\n", (unsigned long long)counts[1]);
    assert_int_equal(counts[0], 0); /* there is no byte that does not count */
    assert_true(counts[1] > 4000);
}

static void
one_flipped_bit_in_an_index_does_no_harm(void **state)
{
    (void)state;
    uint64_t counts[2] = {0, 0};
    make_log(40, 0);
    flip_every_byte(".index", counts);
    flip_every_byte(".timeindex", counts);
    assert_true(counts[0] > 100);
    assert_int_equal(counts[1], 0);
}

/* How many of the batches are sound; each of these must be one that was appended. */
static size_t
count_sound(struct bytes rest)
{
    struct batch_limits limits = {0};
    struct batch_header header;
    struct err_msg msg;
    struct bytes batch;
    size_t sound = 0;
    while (batch_next(&rest, &batch) == DMQ_OK) {
        if (batch_check(batch, &limits, &msg, &header) == DMQ_OK) {
            assert_true(header.base_offset < log_model_end(&model));
            assert_true(bytes_equal(batch, buf_bytes(model.batches[header.base_offset].bytes)));
            sound++;
        }
    }
    return sound;
}

/* After a clean stop segments are not walked. What is wrong in them shows when it is read: by its
 * offsets here, or by its CRC at whoever takes the batch. */
static void
after_a_clean_stop_reads_find_damage(void **state)
{
    (void)state;
    make_log(40, 0);
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    log_rig_kill(&rig);
    struct log_stored good = {0};
    log_stored_copy(&good, &rig.stored);
    struct simfs *whole = disk;
    uint64_t refused = 0;
    for (uint64_t byte = 0; byte < model.batches[1].header.size; byte++) {
        if (byte >= BATCH_POS_LEADER_EPOCH && byte < BATCH_POS_MAGIC) {
            continue; /* below the mark the store has the right one; readers do not look */
        }
        struct outbuf out = {0};
        disk = simfs_clone(whole);
        rig.fs = simfs_fs(disk);
        log_stored_copy(&rig.stored, &good);
        flip_batch(1, byte);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        assert_true(rig.clean);
        dmq_err err = log_rig_read(&rig, 0, 40, 200, &out);
        assert_true(err == DMQ_OK || err == DMQ_ERR_DAMAGED);
        refused += err == DMQ_ERR_DAMAGED ? 1 : 0;
        assert_true(count_sound(bytes_of(out.data, out.size)) < 40);
        outbuf_deinit(&out);
        log_rig_kill(&rig);
        simfs_free(disk);
    }
    assert_true(refused >= 8); /* offset and magic at least */
    disk = whole;
    log_stored_deinit(&good);
}

/* ---- indexes --------------------------------------------------------------------------------- */

static void
missing_indexes_are_made_again(void **state)
{
    (void)state;
    make_log(40, 0);
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    log_rig_kill(&rig);
    uint64_t digest = simfs_digest(disk);
    int64_t segment = -1;
    for (int64_t offset = 0; offset < 40; offset++) {
        int64_t base;
        pos_of(offset, &base);
        if (base != segment) {
            segment = base;
            rig.fs->ops->unlink(rig.fs, segment_path(base, ".index"));
            simfs_put_file(disk, segment_path(base, ".timeindex"), bytes_str("rot"));
        }
    }
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_true(rig.rebuilt_indexes >= 4);
    check_sound(40);
    for (int64_t t = 1000; t < 1400; t += 10) {
        assert_int_equal(log_rig_find_time(&rig, t, 40), (t - 1000) / 10);
    }
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    assert_int_equal(simfs_digest(disk), digest); /* byte for byte what the lane had made */
}

/* ---- the disk fails -------------------------------------------------------------------------- */

/* What is not written is surely not there; the log goes on when it is opened again. */
static void
a_full_disk_loses_only_what_it_refused(void **state)
{
    (void)state;
    make_log(20, 0);
    simfs_set_capacity(disk, simfs_used(disk) + 300);
    for (int i = 0; i < 15; i++) {
        append(2);
        log_rig_sync(&rig);
    }
    assert_int_equal(rig.failed, DMQ_ERR_DISK_FULL);
    int64_t synced = plog_synced_end(rig.log);
    assert_true(synced > 20 && synced < 35);
    assert_int_equal(log_rig_close(&rig), DMQ_ERR_DISK_FULL);
    log_rig_kill(&rig);
    assert_true(log_model_cut(&model, synced));
    model.synced = synced;
    simfs_crash(disk, SIMFS_LOSE, 1);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    check_sound(synced);
    simfs_set_capacity(disk, UINT64_MAX);
    append(2);
    log_rig_sync(&rig);
    assert_int_equal(rig.failed, DMQ_OK);
    model.synced = plog_synced_end(rig.log);
    check_sound(synced + 1);
}

/* What a full disk refused must not rise again behind what later takes its place, whatever the
 * power failure keeps: the cut is durable before anything else is written. */
static void
what_a_full_disk_refused_does_not_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        teardown(NULL);
        setup(NULL);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        simfs_set_capacity(disk, simfs_used(disk) + 600); /* four batches, and some */
        append(0);
        log_rig_sync(&rig);
        log_rig_checkpoint(&rig);
        for (int i = 0; i < 6; i++) { /* one write */
            append(0);
        }
        log_rig_run(&rig);
        assert_int_equal(rig.failed, DMQ_ERR_DISK_FULL);
        assert_int_equal(plog_synced_end(rig.log), 1);
        log_rig_kill(&rig);
        assert_true(log_model_cut(&model, 1));
        simfs_set_capacity(disk, UINT64_MAX);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        check_sound(1);
        append(0); /* as large as the first that was refused: what came after it would follow */
        log_rig_run(&rig);
        log_rig_kill(&rig);
        simfs_crash(disk, SIMFS_TEAR, seed);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        const char *fault = log_model_check(&model, &rig);
        assert_string_equal(fault == NULL ? "" : fault, "");
    }
}

static void
a_failed_sync_ends_the_lane(void **state)
{
    (void)state;
    make_log(20, 0);
    append(2);
    simfs_fail(disk, SIMFS_DATASYNC, 5, 0, 1);
    log_rig_sync(&rig);
    assert_int_equal(rig.failed, DMQ_ERR_IO);
    assert_int_equal(plog_synced_end(rig.log), 20);
    rig.failed = DMQ_OK;
    log_rig_sync(&rig); /* never tried again */
    assert_int_equal(rig.failed, DMQ_ERR_IO);
    assert_int_equal(plog_synced_end(rig.log), 20);
    assert_int_equal(log_rig_close(&rig), DMQ_ERR_IO);
}

static void
a_failed_write_ends_the_lane(void **state)
{
    (void)state;
    make_log(20, 0);
    append(2);
    simfs_fail(disk, SIMFS_PWRITEV, 5, 0, 1);
    log_rig_sync(&rig);
    assert_int_equal(rig.failed, DMQ_ERR_IO);
    assert_true(plog_unwritten_bytes(rig.log) > 0);
    assert_int_equal(plog_synced_end(rig.log), 20);
    log_rig_kill(&rig);
    simfs_crash(disk, SIMFS_TEAR, 3);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_null(log_model_check(&model, &rig));
}

/* The kernel shows what a failed sync has lost until the power fails: a new process must not take
 * it for durable because a sync of its own goes well. */
static void
what_a_failed_sync_lost_is_written_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        make_log(20, 20);
        simfs_fail(disk, SIMFS_DATASYNC, 5, 0, 1);
        log_rig_sync(&rig);
        assert_int_equal(rig.failed, DMQ_ERR_IO);
        log_rig_kill(&rig);
        simfs_kill(disk); /* the process alone */
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        check_sound(40);
        log_rig_sync(&rig);
        assert_int_equal(plog_synced_end(rig.log), 40);
        log_rig_checkpoint(&rig);
        log_rig_kill(&rig);
        simfs_crash(disk, SIMFS_LOSE, seed);
        assert_int_equal(log_rig_open(&rig), DMQ_OK);
        check_sound(40);
        teardown(NULL);
        setup(NULL);
    }
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_bad_byte_below_the_mark_is_damage),
        TEST(a_bad_byte_above_the_mark_is_a_torn_tail),
        TEST(a_bad_byte_at_the_mark_is_a_torn_tail),
        TEST(what_the_crc_leaves_uncovered_is_checked),
        TEST(a_log_shorter_than_its_mark_is_damaged),
        TEST(a_missing_segment_is_damage),
        TEST(rows_that_do_not_fit_are_damage),
        TEST(below_the_snapshot_is_damage_too),
        TEST(without_a_mark_nothing_is_damage),
        TEST(one_flipped_bit_is_never_a_wrong_record),
        TEST(one_flipped_bit_in_an_index_does_no_harm),
        TEST(after_a_clean_stop_reads_find_damage),
        TEST(missing_indexes_are_made_again),
        TEST(a_full_disk_loses_only_what_it_refused),
        TEST(what_a_full_disk_refused_does_not_come_back),
        TEST(a_failed_sync_ends_the_lane),
        TEST(a_failed_write_ends_the_lane),
        TEST(what_a_failed_sync_lost_is_written_again),
    };
    return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
