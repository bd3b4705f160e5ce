/* READ and FIND_TIME from the files alone. */
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
    disk = log_setup(&rig, &model, 4000, 500);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_teardown(disk, &rig, &model);
    return 0;
}

static void
append(const struct rig_batch *batch)
{
    struct buf *buf = rig_batch_encode(batch);
    int64_t base = log_rig_append_buf(&rig, buf, 0);
    log_model_add(&model, buf, base, 0);
    buf_unref(buf);
}

/* Batches of 1 to 4 records, 80 to 900 bytes, timestamps that mostly rise. */
static void
make_log(int count)
{
    struct rng rng;
    rng_init(&rng, 5);
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < count; i++) {
        struct rig_batch batch = RIG_BATCH;
        batch.count = (int32_t)rng_range(&rng, 1, 4);
        batch.value_size = (size_t)rng_below(&rng, 200);
        batch.seed = rng_next(&rng);
        batch.timestamp = 1000 + 10 * i - (int64_t)rng_below(&rng, 60);
        batch.compression = i % 4 == 0 ? BATCH_ZSTD : BATCH_NONE;
        append(&batch);
        if (i % 50 == 49) {
            log_rig_sync(&rig);
        }
    }
    log_rig_sync(&rig);
    assert_int_equal(rig.failed, DMQ_OK);
}

static size_t
batch_index(int64_t offset)
{
    size_t i = 0;
    while (batch_last_offset(&model.batches[i].header) < offset) {
        i++;
    }
    return i;
}

/* One READ is right: whole batches in order from the one that holds offset, as many as fit. */
static void
check_read(int64_t offset, int64_t limit, uint32_t max_bytes)
{
    struct plog_read read;
    struct disk_done done;
    assert_int_equal(plog_read(rig.log, offset, limit, max_bytes, &read), DMQ_OK);
    assert_false(read.hot);
    plog_reader_exec(rig.reader, &read.op, &done);
    assert_int_equal(done.err, DMQ_OK);
    size_t i = batch_index(offset);
    size_t at = 0;
    if (done.u.data == NULL) { /* the batch goes beyond the limit */
        assert_true(batch_last_offset(&model.batches[i].header) >= limit);
        return;
    }
    for (; at < done.u.data->size; i++) {
        struct bytes batch = buf_bytes(model.batches[i].bytes);
        assert_true(at == 0 || at + batch.size <= max_bytes);
        assert_true(batch_last_offset(&model.batches[i].header) < limit);
        assert_true(at + batch.size <= done.u.data->size);
        assert_memory_equal(done.u.data->data + at, batch.data, batch.size);
        at += batch.size;
    }
    assert_true(done.u.data->pinned < 2 * done.u.data->size + 200);
    disk_done_deinit(&done);
}

static void
every_offset_reads(void **state)
{
    (void)state;
    make_log(300);
    for (int64_t offset = 0; offset < plog_end(rig.log); offset++) {
        check_read(offset, plog_end(rig.log), 700);
    }
}

static void
random_reads_are_right(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    make_log(300);
    for (int i = 0; i < 3000; i++) {
        int64_t limit = rng_range(&rng, 1, plog_end(rig.log));
        int64_t offset = rng_range(&rng, 0, limit - 1);
        check_read(offset, limit, (uint32_t)rng_below(&rng, 3000));
    }
}

/* A consumer goes on where it ended: then the index is not looked at. */
static void
reading_on_takes_one_call(void **state)
{
    (void)state;
    struct outbuf out = {0};
    make_log(300);
    assert_int_equal(log_rig_read(&rig, 0, plog_end(rig.log), 1000, &out), DMQ_OK);
    uint64_t before = simfs_counts(disk)->calls[SIMFS_PREAD];
    uint64_t opens = simfs_counts(disk)->calls[SIMFS_OPEN];
    size_t size = out.size;
    outbuf_clear(&out);
    assert_int_equal(log_rig_read(&rig, 0, plog_end(rig.log), 1000, &out), DMQ_OK);
    assert_int_equal(out.size, size);
    uint64_t reads = simfs_counts(disk)->calls[SIMFS_PREAD] - before;
    print_message("%zu bytes in steps of at most 1000: %llu calls\n", size,
                  (unsigned long long)reads);
    assert_true(reads < 200); /* some 140 reads, and where segments begin */
    assert_int_equal(simfs_counts(disk)->calls[SIMFS_OPEN], opens); /* all segments are cached */
    outbuf_deinit(&out);
}

static void
a_first_batch_of_any_size_comes(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    append(&batch);
    batch.value_size = 100000;
    append(&batch);
    batch.value_size = 10;
    append(&batch);
    log_rig_sync(&rig);
    for (uint32_t max = 0; max < 300; max += 7) {
        check_read(0, 3, max);
        check_read(1, 3, max);
        check_read(2, 3, max);
    }
    check_read(1, 3, 1000000);
}

static void
a_missing_or_bad_segment_is_damage(void **state)
{
    (void)state;
    struct buf *data = NULL;
    make_log(50);
    assert_int_equal(log_rig_read_cold(&rig, 3000, 3000, 3010, 100, &data), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(rig.why, "missing"));
    assert_null(data);
    assert_true(simfs_flip(disk, "/data/topic/0/00000000000000000000.log", BATCH_POS_MAGIC, 0));
    rig.failed = DMQ_OK;
    assert_int_equal(log_rig_read_cold(&rig, 0, 0, 5, 100, &data), DMQ_ERR_DAMAGED);
    assert_non_null(strstr(rig.why, "dmq log verify"));
    simfs_fail(disk, SIMFS_PREAD, 5, 0, 1);
    rig.failed = DMQ_OK;
    assert_int_equal(log_rig_read_cold(&rig, 0, 0, 5, 100, &data), DMQ_ERR_IO);
}

/* The reader's cache keeps no file of a log that was deleted and made again. */
static void
a_new_log_of_the_same_name_is_another(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    struct outbuf out = {0};
    make_log(20);
    assert_int_equal(log_rig_read(&rig, 0, plog_end(rig.log), 1000, &out), DMQ_OK);
    struct disk_op op = {.kind = DISK_DELETE, .log = rig.number};
    struct disk_done done;
    plog_io_exec(rig.lane, &op, 1, &done);
    assert_int_equal(done.err, DMQ_OK);
    plog_free(rig.log);
    rig.log = NULL;
    log_stored_deinit(&rig.stored);
    assert_int_equal(log_rig_open(&rig), DMQ_OK); /* the same lane and reader */
    log_model_deinit(&model);
    append(&batch);
    log_rig_sync(&rig);
    check_read(0, 1, 1000);
    outbuf_deinit(&out);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* By going through all records. */
static int64_t
right_offset(int64_t timestamp, int64_t limit)
{
    int64_t found = -1;
    for (size_t i = 0; found < 0 && i < model.count; i++) {
        const struct batch_header *header = &model.batches[i].header;
        /* The rig's records are one ms apart. */
        int64_t delta =
            timestamp <= header->base_timestamp ? 0 : timestamp - header->base_timestamp;
        if (delta <= header->last_offset_delta) {
            found = header->base_offset + delta;
        }
    }
    return found < limit ? found : -1;
}

static void
the_first_record_of_a_time_is_found(void **state)
{
    (void)state;
    make_log(300);
    int64_t end = plog_end(rig.log);
    for (int64_t t = 900; t < 4100; t += 3) {
        assert_int_equal(log_rig_find_time(&rig, t, end), right_offset(t, end));
        assert_int_equal(log_rig_find_time(&rig, t, end / 2), right_offset(t, end / 2));
    }
}

static void
without_timestamps_none_is_found(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    batch.timestamp = BATCH_NO_TIMESTAMP;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < 100; i++) {
        append(&batch);
    }
    log_rig_sync(&rig);
    assert_int_equal(log_rig_find_time(&rig, 0, 100), -1);
    assert_int_equal(log_rig_find_time(&rig, -1, 100), 0);
}

/* Under a right CRC records may be unreadable: their batch then answers by its header. */
static void
unreadable_records_do_not_hide_their_batch(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    append(&batch);
    batch.timestamp = 2000;
    batch.count = 3;
    struct buf *buf = rig_batch_encode(&batch);
    buf->data[BATCH_HEADER_SIZE] ^= 0x40;
    put_be32(buf->data + BATCH_POS_CRC, batch_crc(buf_bytes(buf)));
    assert_int_equal(log_rig_append_buf(&rig, buf, 0), 1);
    buf_unref(buf);
    log_rig_sync(&rig);
    assert_int_equal(log_rig_find_time(&rig, 2001, 4), 1);
    assert_int_equal(log_rig_find_time(&rig, 2003, 4), -1);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_offset_reads),
        TEST(random_reads_are_right),
        TEST(reading_on_takes_one_call),
        TEST(a_first_batch_of_any_size_comes),
        TEST(a_missing_or_bad_segment_is_damage),
        TEST(a_new_log_of_the_same_name_is_another),
        TEST(the_first_record_of_a_time_is_found),
        TEST(without_timestamps_none_is_found),
        TEST(unreadable_records_do_not_hide_their_batch),
    };
    return cmocka_run_group_tests_name("plog_reader", tests, NULL, NULL);
}
