/* The core's half alone: no lane, no disk; completions are made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/log/epochs.h"
#include "broker/log/plog.h"
#include "broker/log/producer_state.h"
#include "broker/log/recovered.h"
#include "tests/support/log_rig.h"

static struct plog *plog;
static struct plog_ops ops; /* of the last append */
static struct disk_op asked[256];
static size_t asked_count;
static size_t next_done; /* operations before it are completed */

static struct log_recovered *
recovered_at(int64_t start, int64_t end)
{
    struct log_recovered *r = calloc(1, sizeof(*r));
    r->generation = 9;
    r->dir = buf_copy(bytes_of("/data/topic/0", 14));
    r->segments = calloc(1, sizeof(*r->segments));
    r->segments[0] = (struct log_segment){.base = start, .max_timestamp = -1};
    r->segment_count = 1;
    r->end = end;
    r->damaged_from = -1;
    r->mark = (struct log_mark){start, 0, start, -1};
    r->producers = producers_new();
    index_builder_init(&r->index, start, 200);
    return r;
}

static int
setup(void **state)
{
    struct plog_config config = {
        .number = 4, .segment_bytes = 1000, .index_interval_bytes = 200, .hot_bytes = 1500};
    (void)state;
    plog = plog_new(&config, recovered_at(0, 0));
    asked_count = 0;
    next_done = 0;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    plog_free(plog);
    for (size_t i = 0; i < asked_count; i++) {
        disk_op_deinit(&asked[i]);
    }
    return 0;
}

/* A batch of one record of about size bytes. */
static struct buf *
batch_of(size_t size, int64_t timestamp)
{
    struct rig_batch batch = RIG_BATCH;
    batch.value_size = size - 72;
    batch.timestamp = timestamp;
    struct buf *roomy = rig_batch_encode(&batch);
    struct buf *buf = buf_copy(buf_bytes(roomy)); /* pins what it holds */
    buf_unref(roomy);
    return buf;
}

static int64_t
append_at(struct buf *buf, size_t from, int32_t epoch)
{
    struct batch_header header;
    struct plog_batch batch = {buf, from, &header};
    ops.count = 0;
    assert_int_equal(batch_parse(bytes_of(buf->data + from, buf->size - from), &header), DMQ_OK);
    int64_t base = plog_append(plog, &batch, epoch, 1000, &ops);
    for (size_t i = 0; i < ops.count; i++) {
        assert_int_equal(ops.ops[i].log, 4);
        assert_int_equal(ops.ops[i].generation, 9);
        asked[asked_count++] = ops.ops[i];
    }
    return base;
}

static int64_t
append(size_t size)
{
    struct buf *buf = batch_of(size, 1000 + plog_end(plog));
    int64_t base = append_at(buf, 0, 0);
    buf_unref(buf);
    return base;
}

/* The next WRITE that was asked for comes back. */
static void
complete_write(void)
{
    while (asked[next_done].kind != DISK_WRITE) {
        next_done++;
    }
    assert_true(next_done < asked_count);
    struct disk_done done = {.kind = DISK_WRITE, .log = 4, .generation = 9};
    next_done++;
    plog_on_written(plog, &done);
}

static void
complete_writes(int count)
{
    for (int i = 0; i < count; i++) {
        complete_write();
    }
}

/* ---- append ---------------------------------------------------------------------------------- */

static void
an_append_stamps_and_asks_for_one_write(void **state)
{
    (void)state;
    struct batch_header header;
    struct buf *buf = batch_of(100, 1000);
    assert_int_equal(append_at(buf, 0, 3), 0);
    assert_int_equal(ops.count, 1);
    assert_int_equal(ops.ops[0].kind, DISK_WRITE);
    assert_ptr_equal(ops.ops[0].u.write.buf, buf); /* not copied */
    assert_int_equal(ops.ops[0].u.write.size, buf->size);
    assert_int_equal(ops.ops[0].u.write.pos, 0);
    assert_false(ops.ops[0].u.write.indexed || ops.ops[0].u.write.time_indexed);
    assert_int_equal(ops.ops[0].u.write.max_timestamp, 1000);
    buf_unref(buf);
    buf = batch_of(100, 1000);
    assert_int_equal(append_at(buf, 0, 3), 1);
    assert_int_equal(batch_parse(buf_bytes(buf), &header), DMQ_OK);
    assert_int_equal(header.base_offset, 1);
    assert_int_equal(header.leader_epoch, 3);
    assert_int_equal(plog_end(plog), 2);
    assert_int_equal(plog_unwritten_bytes(plog), 2 * buf->size);
    assert_int_equal(plog_last_epoch(plog), 3);
    buf_unref(buf);
}

static void
the_log_rolls_when_a_batch_does_not_fit(void **state)
{
    (void)state;
    struct buf *buf = batch_of(400, 1000);
    size_t size = buf->size;
    buf_unref(buf);
    append(400);
    append(400);
    assert_int_equal(ops.count, 1);
    append(400);
    assert_int_equal(ops.count, 2);
    assert_int_equal(ops.ops[0].kind, DISK_ROLL);
    assert_int_equal(ops.ops[0].u.roll.segment, 2);
    assert_int_equal(ops.ops[0].u.roll.old_size, 2 * size);
    assert_int_equal(ops.ops[1].kind, DISK_WRITE);
    assert_int_equal(ops.ops[1].u.write.pos, 0);
    append(5000); /* larger than a segment: has one for itself */
    assert_int_equal(ops.count, 2);
    append(100);
    assert_int_equal(ops.count, 2);
    assert_int_equal(ops.ops[0].u.roll.segment, 4);
}

/* The topic's segment.bytes was altered: the running log follows, up and down. */
static void
another_segment_size_counts_at_once(void **state)
{
    (void)state;
    plog_set_segment_bytes(plog, 100000);
    for (int i = 0; i < 5; i++) {
        append(400);
        assert_int_equal(ops.count, 1);
        assert_int_equal(ops.ops[0].u.write.segment_bytes, 100000);
    }
    plog_set_segment_bytes(plog, 1000);
    append(400); /* the present segment is larger than that */
    assert_int_equal(ops.count, 2);
    assert_int_equal(ops.ops[0].kind, DISK_ROLL);
    assert_int_equal(ops.ops[1].u.write.segment_bytes, 1000);
}

/* KIP-101: the leader epochs of what was appended. */
static void
epochs_are_those_of_batches(void **state)
{
    (void)state;
    int64_t end;
    for (int32_t epoch = 1; epoch < 4; epoch += 2) {
        struct buf *buf = batch_of(100, 1000);
        append_at(buf, 0, epoch);
        buf_unref(buf);
    }
    assert_int_equal(plog_end_of_epoch(plog, 2, &end), 1);
    assert_int_equal(end, 1);
    assert_int_equal(plog_end_of_epoch(plog, 3, &end), 3);
    assert_int_equal(end, 2);
    assert_int_equal(plog_end_of_epoch(plog, 0, &end), -1);
}

static struct buf *
pin_much(struct buf *batch)
{
    struct buf *large = buf_new(64 << 10);
    memcpy(large->data + 1000, batch->data, batch->size);
    large->size = 1000 + batch->size;
    buf_unref(batch);
    return large;
}

/* A small frame pins libzmq's receive buffer: only a copy of its bytes is kept. */
static void
small_batches_are_copied_out_of_large_buffers(void **state)
{
    (void)state;
    struct buf *large = pin_much(batch_of(200, 1000));
    append_at(large, 1000, 0);
    struct buf *kept = ops.ops[0].u.write.buf;
    assert_ptr_not_equal(kept, large);
    assert_true(kept->pinned < 400);
    assert_int_equal(ops.ops[0].u.write.from, 0);
    assert_int_equal(large->refs, 1);
    assert_memory_equal(kept->data, large->data + 1000, kept->size); /* stamped before */
    buf_unref(large);

    large = pin_much(batch_of(20000, 1000)); /* not small */
    append_at(large, 1000, 0);
    assert_ptr_equal(asked[asked_count - 1].u.write.buf, large);
    assert_int_equal(asked[asked_count - 1].u.write.from, 1000);
    buf_unref(large);
}

/* ---- what is hot ----------------------------------------------------------------------------- */

static void
reads_end_at_limit_and_size(void **state)
{
    (void)state;
    struct plog_read read;
    for (int i = 0; i < 6; i++) {
        append(100);
    }
    size_t one = plog_unwritten_bytes(plog) / 6;
    assert_int_equal(plog_read(plog, 2, 6, 10000, &read), DMQ_OK);
    assert_true(read.hot);
    assert_int_equal(read.count, 4);
    assert_int_equal(read.bytes, 4 * one);
    assert_int_equal(plog_read(plog, 2, 4, 10000, &read), DMQ_OK);
    assert_int_equal(read.count, 2);
    assert_int_equal(plog_read(plog, 0, 6, (uint32_t)(2 * one + 5), &read), DMQ_OK);
    assert_int_equal(read.count, 2);
    assert_int_equal(plog_read(plog, 0, 6, 1, &read), DMQ_OK);
    assert_int_equal(read.count, 1); /* the first comes whatever it is */
    assert_int_equal(plog_read(plog, 6, 6, 100, &read), DMQ_OK);
    assert_int_equal(read.count, 0);
    assert_int_equal(plog_read(plog, 3, 3, 100, &read), DMQ_OK);
    assert_int_equal(read.count, 0);
    assert_int_equal(plog_read(plog, 7, 6, 100, &read), DMQ_ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_read(plog, -1, 6, 100, &read), DMQ_ERR_OFFSET_OUT_OF_RANGE);
}

/* An offset within a batch gets the batch. Batches that came in one frame go out as one part. */
static void
batches_of_one_frame_are_one_part(void **state)
{
    (void)state;
    struct plog_read read;
    struct outbuf frame = {0};
    for (int i = 0; i < 3; i++) {
        struct rig_batch batch = RIG_BATCH;
        batch.count = 4;
        batch.value_size = 9000;
        struct buf *buf = rig_batch_encode(&batch);
        outbuf_put(&frame, buf->data, buf->size);
        buf_unref(buf);
    }
    size_t one = frame.size / 3;
    struct buf *buf = outbuf_take(&frame);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(append_at(buf, i * one, 0), (int64_t)(4 * i));
    }
    buf_unref(buf);
    assert_int_equal(plog_read(plog, 5, 12, 1000000, &read), DMQ_OK);
    assert_int_equal(read.count, 1);
    assert_int_equal(read.parts[0].from, one);
    assert_int_equal(read.parts[0].size, 2 * one);
}

static void
no_read_has_more_parts_than_fit(void **state)
{
    (void)state;
    struct plog_read read;
    for (int i = 0; i < PLOG_MAX_PARTS + 10; i++) {
        append(80);
    }
    assert_int_equal(plog_read(plog, 0, plog_end(plog), 1000000, &read), DMQ_OK);
    assert_int_equal(read.count, PLOG_MAX_PARTS);
}

static void
what_is_not_written_stays_hot(void **state)
{
    (void)state;
    struct plog_read read;
    for (int i = 0; i < 40; i++) { /* far beyond the budget of 1500 bytes */
        append(100);
    }
    assert_int_equal(plog_read(plog, 0, 40, 100, &read), DMQ_OK);
    assert_true(read.hot);
    complete_writes(30);
    assert_int_equal(plog_read(plog, 30, 40, 100, &read), DMQ_OK);
    assert_true(read.hot);
    assert_int_equal(plog_read(plog, 29, 40, 100, &read), DMQ_OK);
    assert_true(read.hot); /* within the budget */
    assert_int_equal(plog_read(plog, 5, 40, 100, &read), DMQ_OK);
    assert_false(read.hot);
    assert_int_equal(read.op.kind, DISK_READ);
    assert_int_equal(read.op.u.read.offset, 5);
    assert_int_equal(read.op.u.read.limit, 30); /* not beyond what is written */
    assert_string_equal((const char *)read.op.u.read.dir->data, "/data/topic/0");
    int64_t segment = read.op.u.read.segment;
    assert_true(segment <= 5 && segment + 10 > 5);
    disk_op_deinit(&read.op);
    complete_writes(10);
    assert_int_equal(plog_unwritten_bytes(plog), 0);
}

static void
available_bytes_are_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        append(100);
    }
    size_t one = plog_unwritten_bytes(plog) / 20;
    assert_int_equal(plog_available(plog, 0, 20, 1), 20 * one);
    assert_int_equal(plog_available(plog, 5, 7, 1), 2 * one);
    assert_int_equal(plog_available(plog, 5, 5, 1), 0);
    assert_int_equal(plog_available(plog, 20, 20, 1), 0);
    complete_writes(20);
    assert_int_equal(plog_available(plog, 0, 20, 777), 777); /* on disk: surely something */
    assert_int_equal(plog_available(plog, 19, 20, 777), one);
}

/* ---- written, synced ------------------------------------------------------------------------- */

static void
a_sync_covers_what_was_asked_for_before_it(void **state)
{
    (void)state;
    append(100);
    append(100);
    plog_sync_asked(plog, 50);
    append(100);
    complete_writes(3);
    assert_int_equal(plog_synced_end(plog), 0);
    assert_true(plog_on_synced(plog, 50));
    assert_int_equal(plog_synced_end(plog), 2);
    assert_int_equal(plog_mark(plog).offset, 2);
    assert_int_equal(plog_end_mark(plog).offset, 3);
    assert_false(plog_on_synced(plog, 50));
    plog_sync_asked(plog, 51);
    plog_sync_asked(plog, 52);
    assert_true(plog_on_synced(plog, 52)); /* a later one covers those before */
    assert_int_equal(plog_synced_end(plog), 3);
    assert_false(plog_on_synced(plog, 60)); /* of other logs */
}

/* The disk was full: the WRITE failed, the SYNC of other logs' bytes went well. */
static void
a_sync_does_not_cover_a_write_that_failed(void **state)
{
    (void)state;
    append(100);
    append(100);
    plog_sync_asked(plog, 50);
    complete_write();
    assert_false(plog_on_synced(plog, 50));
    assert_int_equal(plog_synced_end(plog), 0);
}

static void
rows_go_with_the_mark(void **state)
{
    (void)state;
    struct epochs epochs = {0};
    struct buf *first = batch_of(100, 1000);
    struct buf *second = batch_of(100, 1000);
    append_at(first, 0, 2);
    plog_sync_asked(plog, 1);
    append_at(second, 0, 7);
    complete_writes(2);
    assert_true(plog_on_synced(plog, 1));
    struct buf *row = plog_epochs_row(plog);
    assert_int_equal(epochs_from_row(buf_bytes(row), &epochs), DMQ_OK);
    assert_int_equal(epochs_last(&epochs), 2); /* 7 begins at the mark */
    assert_int_equal(plog_mark(plog).epoch, 2);
    assert_int_equal(plog_end_mark(plog).epoch, 7);
    epochs_deinit(&epochs);
    buf_unref(row);
    buf_unref(first);
    buf_unref(second);
}

static void
a_snapshot_is_handed_out_once_its_roll_is_synced(void **state)
{
    (void)state;
    struct producers *producers = NULL;
    int64_t offset = -1;
    append(600);
    append(600); /* rolls at 1 */
    assert_null(plog_take_snapshot_row(plog));
    complete_writes(2);
    assert_null(plog_take_snapshot_row(plog));
    plog_sync_asked(plog, 1);
    assert_true(plog_on_synced(plog, 1));
    struct buf *row = plog_take_snapshot_row(plog);
    assert_non_null(row);
    assert_int_equal(producers_from_row(buf_bytes(row), &producers, &offset), DMQ_OK);
    assert_int_equal(offset, 1);
    assert_null(plog_take_snapshot_row(plog));
    producers_free(producers);
    buf_unref(row);
}

/* ---- sequences ------------------------------------------------------------------------------- */

static void
a_retry_is_told_where_it_is(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    struct batch_header header;
    int64_t base = -1;
    int64_t end = -1;
    append(100);
    batch.count = 3;
    batch.producer_id = 8;
    batch.producer_epoch = 0;
    batch.base_sequence = 0;
    struct buf *buf = rig_batch_encode(&batch);
    assert_int_equal(batch_parse(buf_bytes(buf), &header), DMQ_OK);
    assert_int_equal(plog_check_sequence(plog, &header, &base, &end), PLOG_NEW);
    assert_int_equal(append_at(buf, 0, 0), 1);
    assert_int_equal(plog_check_sequence(plog, &header, &base, &end), PLOG_DUPLICATE);
    assert_int_equal(base, 1);
    assert_int_equal(end, 4);
    header.base_sequence = 9;
    assert_int_equal(plog_check_sequence(plog, &header, &base, &end), PLOG_GAP);
    header.producer_epoch = -1;
    assert_int_equal(plog_check_sequence(plog, &header, &base, &end), PLOG_FENCED);
    header.producer_id = 9;
    assert_int_equal(plog_check_sequence(plog, &header, &base, &end), PLOG_UNKNOWN);
    buf_unref(buf);
}

static void
time_is_looked_for_where_it_can_be(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) { /* timestamps 1000 to 1029, some ten a segment */
        append(100);
    }
    complete_writes(30);
    ops.count = 0;
    plog_find_time(plog, 1030, 30, &ops);
    assert_int_equal(ops.count, 0);
    plog_find_time(plog, 1015, 30, &ops);
    assert_int_equal(ops.count, 1);
    assert_int_equal(ops.ops[0].kind, DISK_FIND_TIME);
    assert_true(ops.ops[0].u.find_time.segment > 0 && ops.ops[0].u.find_time.segment <= 15);
    assert_int_equal(ops.ops[0].u.find_time.limit, 30);
    disk_op_deinit(&ops.ops[0]);
    ops.count = 0;
    plog_find_time(plog, 0, 30, &ops);
    assert_int_equal(ops.ops[0].u.find_time.segment, 0);
    disk_op_deinit(&ops.ops[0]);
    ops.count = 0;
    plog_find_time(plog, 1015, 5, &ops); /* its segment begins beyond the limit */
    assert_int_equal(ops.count, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_append_stamps_and_asks_for_one_write),
        TEST(the_log_rolls_when_a_batch_does_not_fit),
        TEST(another_segment_size_counts_at_once),
        TEST(epochs_are_those_of_batches),
        TEST(small_batches_are_copied_out_of_large_buffers),
        TEST(reads_end_at_limit_and_size),
        TEST(batches_of_one_frame_are_one_part),
        TEST(no_read_has_more_parts_than_fit),
        TEST(what_is_not_written_stays_hot),
        TEST(available_bytes_are_counted),
        TEST(a_sync_covers_what_was_asked_for_before_it),
        TEST(a_sync_does_not_cover_a_write_that_failed),
        TEST(rows_go_with_the_mark),
        TEST(a_snapshot_is_handed_out_once_its_roll_is_synced),
        TEST(a_retry_is_told_where_it_is),
        TEST(time_is_looked_for_where_it_can_be),
    };
    return cmocka_run_group_tests_name("plog", tests, NULL, NULL);
}
