/* dmq log dump and verify, on logs that are sound and on logs that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "broker/log/log_index.h"
#include "broker/log/log_tool.h"
#include "libdmq/wire/batch_build.h"
#include "tests/sim/simfs.h"
#include "tests/support/log_rig.h"

static struct simfs *disk;
static struct log_rig rig;
static struct outbuf out;
static size_t lines;

static void
keep_line(void *arg, const char *text, size_t size)
{
    const struct log_sink *sink = arg;
    outbuf_put(&out, text, size);
    outbuf_put(&out, "\n", 1);
    lines++;
    if (sink->json) {
        json_error_t error;
        json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
        assert_true(json_is_object(value) && json_is_string(json_object_get(value, "type")));
        json_decref(value);
    }
}

static int
dump(const char *path, bool json)
{
    struct log_sink sink = {.line = keep_line, .arg = &sink, .json = json};
    outbuf_clear(&out);
    lines = 0;
    int code = log_tool_dump(simfs_fs(disk), path, &sink);
    outbuf_put(&out, "", 1);
    return code;
}

static int
verify(const char *path, bool json)
{
    struct log_sink sink = {.line = keep_line, .arg = &sink, .json = json};
    outbuf_clear(&out);
    lines = 0;
    int code = log_tool_verify(simfs_fs(disk), path, &sink);
    outbuf_put(&out, "", 1);
    return code;
}

static bool
says(const char *text)
{
    bool found = strstr((const char *)out.data, text) != NULL;
    if (!found) {
        print_message("not \"%s\" in:\n%s", text, (const char *)out.data);
    }
    return found;
}

static int
setup(void **state)
{
    (void)state;
    disk = simfs_new(1);
    simfs_make_folder(disk, "/data");
    simfs_make_folder(disk, "/data/store");
    simfs_put_file(disk, "/data/store/000003.log", bytes_str("LevelDB's"));
    simfs_put_file(disk, "/data/identity", bytes_str("not a folder"));
    log_rig_init(&rig, simfs_fs(disk), "/data/topic/0");
    rig.segment_bytes = 1000;
    rig.index_interval_bytes = 200;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    log_rig_deinit(&rig);
    simfs_free(disk);
    outbuf_deinit(&out);
    return 0;
}

#define FIRST "/data/topic/0/00000000000000000000"

/* 40 batches of 3 records in some ten segments; closed. */
static void
make_log(void)
{
    struct rig_batch batch = RIG_BATCH;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    for (int i = 0; i < 40; i++) {
        batch.count = 3;
        batch.leader_epoch = i / 15;
        batch.timestamp = 1000 + (i * 37) % 200; /* up and down */
        batch.compression = i % 3 == 0 ? BATCH_LZ4 : BATCH_NONE;
        assert_true(log_rig_append(&rig, &batch) >= 0);
    }
    assert_int_equal(log_rig_close(&rig), DMQ_OK);
    log_rig_kill(&rig);
}

static void
a_sound_log_is_sound(void **state)
{
    (void)state;
    make_log();
    assert_int_equal(verify("/data/topic/0", false), 0);
    assert_true(says("checked partitions=1 "));
    assert_true(says(" batches=40 records=120 "));
    assert_true(says(" findings=0"));
    assert_int_equal(lines, 1);
    assert_int_equal(verify("/data/", true), 0); /* the whole folder, LevelDB beside it */
    assert_true(says("\"batches\":40"));
    assert_int_equal(verify("/", true), 0);
    assert_true(says("\"batches\":40"));
    assert_int_equal(dump(FIRST ".log", false), 0);
    assert_int_equal(dump(FIRST ".index", true), 0);
    assert_true(lines > 2 && says("\"position\":"));
    assert_int_equal(dump(FIRST ".timeindex", false), 0);
    assert_true(says("timestamp="));
}

static int64_t told_batches;
static int64_t told_bytes;

static void
hear_progress(void *arg, int64_t batches, int64_t bytes)
{
    assert_non_null(arg);
    assert_int_equal(batches, told_batches + 1);
    assert_true(bytes > told_bytes);
    told_batches = batches;
    told_bytes = bytes;
}

static void
progress_is_told(void **state)
{
    (void)state;
    struct log_sink sink = {.line = keep_line, .arg = &sink, .progress = hear_progress};
    make_log();
    outbuf_clear(&out);
    assert_int_equal(log_tool_verify(simfs_fs(disk), "/data/topic/0", &sink), 0);
    assert_int_equal(told_batches, 40);
}

static void
a_running_log_is_sound(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_true(log_rig_append(&rig, &batch) >= 0);
    log_rig_sync(&rig);
    assert_int_equal(verify("/data/topic/0", false), 0);
    assert_true(says(" batches=1 "));
    assert_int_equal(dump(FIRST ".log", false), 0);
    assert_true(says("end position=") && !strstr((const char *)out.data, "spaceAhead=0"));
}

static void
records_are_printed(void **state)
{
    (void)state;
    struct batch_builder builder;
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    struct record_header headers[] = {{bytes_str("h"), bytes_str("1")},
                                      {bytes_str("n"), {NULL, 0}}};
    struct buf *buf;
    char longer[1000];
    memset(longer, 'x', sizeof(longer));
    options.producer_id = 7;
    options.producer_epoch = 2;
    options.base_sequence = 0;
    batch_builder_init(&builder, 1 << 20);
    assert_int_equal(
        batch_builder_append(&builder, 5, bytes_str("k\"\n"), bytes_str("v"), headers, 2), DMQ_OK);
    assert_int_equal(batch_builder_append(&builder, 6, (struct bytes){NULL, 0},
                                          bytes_of("\xff\x01", 2), NULL, 0),
                     DMQ_OK);
    assert_int_equal(
        batch_builder_append(&builder, 7, bytes_str(""), bytes_of(longer, sizeof(longer)), NULL, 0),
        DMQ_OK);
    assert_int_equal(batch_builder_finish(&builder, &options, NULL, &buf), DMQ_OK);
    batch_builder_deinit(&builder);
    rig.segment_bytes = 1 << 20;
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_int_equal(log_rig_append_buf(&rig, buf, 4), 0);
    buf_unref(buf);
    log_rig_sync(&rig);
    assert_int_equal(dump(FIRST ".log", true), 0);
    assert_true(says("\"baseOffset\":0,\"lastOffset\":2,\"position\":0,"));
    assert_true(says("\"leaderEpoch\":4,\"crc\":\"ok\",\"compression\":\"none\""));
    assert_true(says("\"producerId\":7,\"producerEpoch\":2,\"baseSequence\":0,\"lastSequence\":2"));
    assert_true(says("{\"type\":\"record\",\"offset\":0,\"timestamp\":5,\"key\":\"k\\\"\\n\","
                     "\"value\":\"v\",\"headers\":[{\"key\":\"h\",\"value\":\"1\"},"
                     "{\"key\":\"n\",\"value\":null}]}"));
    assert_true(says("\"key\":null,\"valueBase64\":\"/wE=\",\"headers\":[]"));
    assert_true(says("\"key\":\"\",\"value\":\"xxx"));
    assert_int_equal(dump(FIRST ".log", false), 0);
    assert_true(says("record offset=0 timestamp=5 key=\"k\\\"\\n\" value=\"v\" "
                     "headers=[key=\"h\" value=\"1\", key=\"n\" value=null]\n"));
    assert_true(says("record offset=1 timestamp=6 key=null value=0xff01\n"));
    assert_true(says("xxx\"...(1000 bytes)\n"));
}

/* ---- what is found --------------------------------------------------------------------------- */

static void
a_bad_batch_is_found_and_those_behind_it_shown(void **state)
{
    (void)state;
    make_log();
    assert_true(simfs_flip(disk, FIRST ".log", 80, 0));
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("finding file=\"" FIRST ".log\" position=0 offset=0 problem="));
    assert_true(says("CRC"));
    assert_true(says(" findings=1")); /* the other segments are sound */
    assert_int_equal(dump(FIRST ".log", false), 1);
    assert_true(says("crc=wrong") && says("bad position=0 ") && says("crc=ok"));
}

static void
a_wrong_offset_and_epoch_are_found(void **state)
{
    (void)state;
    make_log();
    struct simfs *whole = simfs_clone(disk);
    assert_true(simfs_flip(disk, FIRST ".log", 7, 2));
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("a batch of offset 4 stands where 0 must"));
    simfs_free(disk);
    disk = whole;
    assert_true(simfs_flip(disk, FIRST ".log", 15, 3)); /* epoch 8, then 0 */
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("leader epoch 0 comes after 8"));
}

static void
a_gap_between_segments_is_found(void **state)
{
    (void)state;
    make_log();
    struct bytes first = simfs_file(disk, FIRST ".log");
    struct batch_header header;
    struct bytes rest = first;
    struct bytes batch;
    size_t before_last = 0;
    while (batch_next(&rest, &batch) == DMQ_OK) {
        before_last = (size_t)(batch.data - first.data);
        assert_int_equal(batch_parse(batch, &header), DMQ_OK);
    }
    uint8_t *copy = malloc(first.size);
    memcpy(copy, first.data, first.size);
    simfs_put_file(disk, FIRST ".log", bytes_of(copy, before_last));
    free(copy);
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("the segment ends here, and the next one begins at offset "));
}

static void
wrong_indexes_are_found(void **state)
{
    (void)state;
    make_log();
    struct simfs *whole = simfs_clone(disk);
    assert_true(simfs_flip(disk, FIRST ".index", 3, 0));
    assert_true(simfs_flip(disk, FIRST ".timeindex", 3, 0));
    assert_int_equal(verify("/data", false), 1);
    assert_true(says(FIRST ".index\" position=0 ") && says(FIRST ".timeindex\" position=0 "));
    assert_true(says("checksum is wrong") && says(" findings=2"));
    assert_int_equal(dump(FIRST ".index", false), 1);
    simfs_free(disk);

    disk = simfs_clone(whole); /* entries that are sound and lie */
    uint8_t entry[TIME_ENTRY_SIZE];
    index_entry_put(entry, 0, (struct index_entry){3, 1});
    simfs_put_file(disk, FIRST ".index", bytes_of(entry, INDEX_ENTRY_SIZE));
    time_entry_put(entry, 0, (struct time_entry){999999, 3});
    simfs_put_file(disk, FIRST ".timeindex", bytes_of(entry, TIME_ENTRY_SIZE));
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("no batch of this offset is where it says"));
    assert_true(says("the batch does not hold the largest timestamp so far"));
    simfs_free(disk);

    disk = whole; /* one missing, one too long */
    assert_int_equal(simfs_fs(disk)->ops->unlink(simfs_fs(disk), FIRST ".index"), 0);
    time_entry_put(entry, 0, (struct time_entry){999999, 1000});
    simfs_put_file(disk, FIRST ".timeindex", bytes_of(entry, TIME_ENTRY_SIZE));
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("the index is missing") && says("entries go on beyond the last batch"));
}

/* Under a right CRC: a producer that is not ours may have sent it. */
static void
unreadable_records_are_found(void **state)
{
    (void)state;
    struct rig_batch batch = RIG_BATCH;
    struct buf *buf = rig_batch_encode(&batch);
    buf->data[BATCH_HEADER_SIZE] ^= 0x40; /* the first record's length */
    put_be32(buf->data + BATCH_POS_CRC, batch_crc(buf_bytes(buf)));
    assert_int_equal(log_rig_open(&rig), DMQ_OK);
    assert_int_equal(log_rig_append_buf(&rig, buf, 0), 0);
    buf_unref(buf);
    log_rig_sync(&rig);
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("records cannot be read"));
    assert_int_equal(dump(FIRST ".log", true), 1);
}

static void
nothing_to_look_at_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(verify("/data", false), 1);
    assert_true(says("there is no log in this folder"));
    assert_int_equal(verify("/none", true), 1);
    assert_true(says("it does not exist"));
    assert_int_equal(dump("/none.log", true), 1);
    assert_true(says("there is no such file"));
    assert_int_equal(dump("/data/identity", false), 1);
    assert_true(says("12 bytes that are no batch"));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_sound_log_is_sound),
        TEST(progress_is_told),
        TEST(a_running_log_is_sound),
        TEST(records_are_printed),
        TEST(a_bad_batch_is_found_and_those_behind_it_shown),
        TEST(a_wrong_offset_and_epoch_are_found),
        TEST(a_gap_between_segments_is_found),
        TEST(wrong_indexes_are_found),
        TEST(unreadable_records_are_found),
        TEST(nothing_to_look_at_is_an_error),
    };
    return cmocka_run_group_tests_name("log_tool", tests, NULL, NULL);
}
