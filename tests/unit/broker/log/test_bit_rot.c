/* Each bit of a log that was closed cleanly flips once: it is found, at the start or by the reader,
 * or it changes nothing that is read. What it never does is to end the process, or to give a byte
 * that was not written: nothing that has rotted is sent, not even to who would see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/log/log_files.h"
#include "broker/log/log_tool.h"
#include "tests/sim/simfs.h"
#include "tests/support/log_model.h"

#define DIR "/data/topic/0"
#define BATCHES 12

static struct simfs *sound;
static struct log_stored stored;
static struct log_model model;

static struct {
    int bits;
    int at_start; /* OPEN refuses the log, or all from the damage on */
    int at_read;  /* the reader does */
    int repaired; /* an index was made again at the start */
    int harmless; /* all is read as it was */
    int verified; /* by `dmq log verify`, before the start */
} seen;

static int
setup(void **state)
{
    (void)state;
    struct log_rig rig;
    sound = simfs_new(1);
    simfs_make_folder(sound, "/data");
    log_rig_init(&rig, simfs_fs(sound), DIR);
    rig.segment_bytes = 450;
    rig.index_interval_bytes = 80;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < BATCHES; i++) {
        struct rig_batch batch = RIG_BATCH;
        batch.count = 1 + i % 2;
        batch.leader_epoch = i / 5;
        batch.producer_id = 7;
        batch.producer_epoch = 0;
        batch.base_sequence = (int32_t)plog_end(rig.log);
        batch.timestamp = 1000 + 10 * plog_end(rig.log);
        batch.seed = (uint64_t)i;
        struct buf *buf = rig_batch_encode(&batch);
        int64_t base = log_rig_append_buf(&rig, buf, batch.leader_epoch);
        assert_true(base >= 0);
        log_model_add(&model, buf, base, batch.leader_epoch);
        buf_unref(buf);
    }
    log_rig_sync(&rig);
    log_rig_checkpoint(&rig);
    assert_true(rig.rolls >= 2);
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    log_stored_copy(&stored, &rig.stored);
    log_rig_deinit(&rig);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_stored_deinit(&stored);
    log_model_deinit(&model);
    simfs_free(sound);
    return 0;
}

/* ---- what is read ---------------------------------------------------------------------------- */

enum reading { AS_IT_WAS, REFUSED, SILENT, WRONG };

/* One batch as a consumer gets it. */
static enum reading
read_batch(struct log_rig *rig, const struct model_batch *expected)
{
    struct bytes right = buf_bytes(expected->bytes);
    struct outbuf out = {0};
    int64_t end = batch_last_offset(&expected->header) + 1;
    enum reading reading = AS_IT_WAS;
    if (log_rig_read(rig, expected->header.base_offset, end, 1, &out) != DMQ_OK) {
        reading = REFUSED;
    } else if (out.size == 0) {
        reading = SILENT; /* as if the log ended there: who reads would wait for ever */
    } else if (!bytes_equal(bytes_of(out.data, out.size), right)) {
        reading = WRONG;
    }
    outbuf_deinit(&out);
    return reading;
}

/* The worst that any batch below the log's end comes to. */
static enum reading
read_all(struct log_rig *rig)
{
    enum reading worst = AS_IT_WAS;
    for (size_t i = 0; i < model.count; i++) {
        if (model.batches[i].header.base_offset >= plog_end(rig->log)) {
            assert_true(rig->damaged_from >= 0); /* nothing is cut silently */
            continue;
        }
        enum reading reading = read_batch(rig, &model.batches[i]);
        worst = reading > worst ? reading : worst;
    }
    return worst;
}

/* Times are found as they were, whatever the indexes say; in a segment that has rotted, or the
 * damage is. The second record of a batch is one later than the first, not ten. */
static void
find_times(struct log_rig *rig, bool sound_segments)
{
    int64_t end = plog_end(rig->log);
    for (int64_t offset = 0; offset < end; offset++) {
        int64_t found = log_rig_find_time(rig, 1000 + 10 * offset, end);
        bool right = found == offset || found == (offset + 1 < end ? offset + 1 : -1);
        assert_true(right || (found == -2 && !sound_segments));
    }
}

static void
ignore_line(void *arg, const char *text, size_t size)
{
    (void)arg;
    (void)text;
    (void)size;
}

static void
count_reading(enum reading reading, const struct log_rig *rig)
{
    seen.at_read += reading == REFUSED;
    if (reading == AS_IT_WAS) {
        seen.repaired += rig->rebuilt_indexes > 0;
        seen.harmless += rig->rebuilt_indexes == 0;
    }
}

/* Whether a batch carries its leader epoch there. Only the store knows what that must be, and `dmq
 * log verify` does not look into it. */
static bool
is_epoch(const char *path, uint64_t pos)
{
    char name[80];
    uint64_t at = 0;
    int64_t base = 0;
    for (size_t i = 0; i < model.count; i++) {
        snprintf(name, sizeof(name), DIR "/%020lld.log",
                 (long long)model.batches[i].header.base_offset);
        if (simfs_exists(sound, name)) {
            base = model.batches[i].header.base_offset;
            at = 0;
        }
        snprintf(name, sizeof(name), DIR "/%020lld.log", (long long)base);
        if (strcmp(name, path) == 0 && pos >= at + BATCH_POS_LEADER_EPOCH &&
            pos < at + BATCH_POS_LEADER_EPOCH + 4) {
            return true;
        }
        at += model.batches[i].header.size;
    }
    return false;
}

/* ---- one bit --------------------------------------------------------------------------------- */

static bool
flip(const char *path, uint64_t pos, unsigned bit)
{
    const struct log_sink sink = {.line = ignore_line};
    struct simfs *disk = simfs_clone(sound);
    struct log_rig rig;
    bool flipped = simfs_flip(disk, path, pos, bit);
    if (flipped) {
        bool verified = log_tool_verify(simfs_fs(disk), "/data", &sink) != 0;
        log_tool_dump(simfs_fs(disk), path, &sink);
        log_rig_init(&rig, simfs_fs(disk), DIR);
        rig.segment_bytes = 450;
        rig.index_interval_bytes = 80;
        log_stored_copy(&rig.stored, &stored);
        dmq_err err = log_rig_open(&rig);
        assert_true(err == DMQ_OK || err == DMQ_ERR_DAMAGED);
        enum reading reading = rig.log == NULL ? AS_IT_WAS : read_all(&rig);
        if (reading >= SILENT) {
            fail_msg("%s: %s, byte %d, bit %u", reading == WRONG ? "a wrong record" : "silence",
                     path, (int)pos, bit);
        }
        if (rig.log != NULL) {
            find_times(&rig, strstr(path, LOG_SUFFIX) == NULL);
        }
        seen.bits++;
        seen.verified += verified;
        if (err == DMQ_ERR_DAMAGED) {
            seen.at_start++;
        } else {
            count_reading(reading, &rig);
        }
        if (!verified && reading != AS_IT_WAS && !is_epoch(path, pos)) {
            fail_msg("verify does not see %s, byte %d, bit %u", path, (int)pos, bit);
        }
        log_rig_deinit(&rig);
    }
    simfs_free(disk);
    return flipped;
}

static void
flip_file(int64_t base, const char *suffix)
{
    char path[80];
    snprintf(path, sizeof(path), DIR "/%020lld%s", (long long)base, suffix);
    for (uint64_t at = 0; flip(path, at / 8, (unsigned)(at % 8)); at++) {
    }
}

static void
report(const char *what)
{
    printf("%s: %d bits: found at the start %d, by the reader %d; "
           "index made again %d, harmless %d; dmq log verify sees %d\n",
           what, seen.bits, seen.at_start, seen.at_read, seen.repaired, seen.harmless,
           seen.verified);
}

static void
flip_all(const char *suffix)
{
    memset(&seen, 0, sizeof(seen));
    char path[80];
    for (int64_t base = 0; base < 30; base++) {
        snprintf(path, sizeof(path), DIR "/%020lld.log", (long long)base);
        if (simfs_exists(sound, path)) {
            flip_file(base, suffix);
        }
    }
    report(suffix);
}

static void
a_bit_in_a_segment(void **state)
{
    (void)state;
    flip_all(".log");
    assert_true(seen.bits > 8000);
    assert_int_equal(seen.harmless + seen.repaired, 0); /* every bit counts */
    assert_true(seen.at_start > 0 && seen.at_read > 0);
    assert_true(seen.verified >= seen.bits - 32 * BATCHES);
}

static void
a_bit_in_an_index(void **state)
{
    (void)state;
    flip_all(".index");
    assert_true(seen.bits >= 8 * 5 * 12);
    assert_int_equal(seen.at_start + seen.at_read, 0);
    assert_int_equal(seen.verified, seen.bits);
}

static void
a_bit_in_a_time_index(void **state)
{
    (void)state;
    flip_all(".timeindex");
    assert_true(seen.bits >= 8 * 5 * 16);
    assert_int_equal(seen.at_start + seen.at_read, 0);
    assert_int_equal(seen.verified, seen.bits);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_bit_in_a_segment),
        TEST(a_bit_in_an_index),
        TEST(a_bit_in_a_time_index),
    };
    return cmocka_run_group_tests_name("bit_rot", tests, NULL, NULL);
}
