/* A controller decides, a broker applies what is pushed and keeps it as rows: the images stay the
 * same, and rows and snapshots lead back to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/meta/entry.h"
#include "tests/support/image_dump.h"
#include "tests/support/mem_kv.h"
#include "tests/support/random_record.h"

#define MOST_RECORDS 4096

/* Encoded records of one entry. */
struct log {
    struct outbuf records[MOST_RECORDS];
    struct bytes views[MOST_RECORDS];
    uint32_t count;
};

struct fixture {
    struct rng rng;
    struct arena arena;
    struct image *controller;
    struct image *broker;
    struct meta_rows rows;
    struct mem_kv store;
    struct log log;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    rng_init(&f->rng, 7);
    arena_init(&f->arena, 1 << 20);
    f->controller = image_new();
    f->broker = image_new();
    mem_kv_init(&f->store);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < MOST_RECORDS; i++) {
        outbuf_deinit(&f->log.records[i]);
    }
    arena_deinit(&f->arena);
    image_free(f->controller);
    image_free(f->broker);
    meta_rows_deinit(&f->rows);
    mem_kv_deinit(&f->store);
    free(f);
    return 0;
}

static dmq_err
log_bytes(void *arg, struct bytes record)
{
    struct log *log = arg;
    assert_true(log->count < MOST_RECORDS);
    struct outbuf *out = &log->records[log->count];
    outbuf_clear(out);
    outbuf_put(out, record.data, record.size);
    log->views[log->count++] = bytes_of(out->data, out->size);
    return DMQ_OK;
}

static struct metadata_entry
entry_of(struct log *log, int64_t version, int64_t term)
{
    return (struct metadata_entry){version, term, log->views, log->count};
}

/* The controller decides a few records; what fits is in the log. */
static void
decide(struct fixture *f)
{
    struct outbuf out = {0};
    f->log.count = 0;
    meta_undo_begin(f->controller);
    for (uint64_t left = rng_below(&f->rng, 8); left > 0; left--) {
        struct meta_record record;
        struct err_msg err;
        arena_reset(&f->arena);
        random_record(&f->rng, f->controller, &f->arena, &record);
        outbuf_clear(&out);
        record_encode(record.desc->type, &record.u, &out);
        if (meta_apply(f->controller, &record, &err) == DMQ_OK) {
            log_bytes(&f->log, bytes_of(out.data, out.size));
        }
    }
    meta_advance(f->controller, image_version(f->controller) + 1, 3);
    meta_undo_commit(f->controller);
    outbuf_deinit(&out);
}

static void
push(struct fixture *f)
{
    struct err_msg err;
    struct metadata_entry entry = entry_of(&f->log, image_version(f->broker) + 1, 3);
    assert_int_equal(meta_apply_entry(f->broker, &entry, &f->rows, &err), DMQ_OK);
}

static void
store(struct fixture *f)
{
    meta_rows_encode(&f->rows, f->broker);
    assert_int_equal(f->store.kv.ops->write(&f->store.kv, f->rows.ops, f->rows.op_count, true),
                     DMQ_OK);
    meta_rows_deinit(&f->rows);
}

static void
check_store(struct fixture *f)
{
    struct err_msg err;
    struct image *loaded = NULL;
    assert_int_equal(meta_rows_load(&f->store.kv, &loaded, &err), DMQ_OK);
    assert_true(image_same(loaded, f->broker));
    /* One row per entity and that of the whole: nothing is left of what was removed. */
    size_t rows = 1 + image_broker_count(loaded) + image_topic_count(loaded) +
                  image_spent_count(loaded) + image_partition_total(loaded) +
                  (image_next_producer_id(loaded) > 0) + !uuid_is_zero(image_cluster_id(loaded));
    assert_int_equal(f->store.count, rows);
    image_free(loaded);
}

static void
check_snapshot(struct fixture *f)
{
    struct err_msg err;
    struct log *log = calloc(1, sizeof(*log));
    struct image *installed = image_new();
    assert_non_null(log);
    assert_int_equal(meta_snapshot(f->controller, log_bytes, log), DMQ_OK);
    struct metadata_entry snapshot =
        entry_of(log, image_version(f->controller), image_term(f->controller));
    assert_int_equal(meta_install(&installed, &snapshot, NULL, &err), DMQ_OK);
    assert_true(image_same(installed, f->controller));
    image_free(installed);
    for (size_t i = 0; i < MOST_RECORDS; i++) {
        outbuf_deinit(&log->records[i]);
    }
    free(log);
}

static void
broker_rows_and_snapshots_follow_the_controller(void **state)
{
    struct fixture *f = *state;
    uint32_t most_topics = 0;
    for (int round = 0; round < 600; round++) {
        decide(f);
        push(f);
        assert_true(image_same(f->controller, f->broker));
        if (rng_chance(&f->rng, 300)) { /* several entries may be written together */
            store(f);
            check_store(f);
            check_snapshot(f);
        }
        if (image_topic_count(f->broker) > most_topics) {
            most_topics = image_topic_count(f->broker);
        }
    }
    printf("brokers=%u topics=%u partitions=%u most_topics=%u\n", image_broker_count(f->broker),
           image_topic_count(f->broker), image_partition_total(f->broker), most_topics);
    assert_true(image_broker_count(f->broker) > 5 && most_topics > 10);
    assert_true(image_topic_count(f->broker) < most_topics);
}

/* A broker that lags gets the image whole; its old rows go. */
static void
a_snapshot_replaces_image_and_rows(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    for (int round = 0; round < 100; round++) {
        decide(f);
        push(f);
    }
    store(f);
    for (int round = 0; round < 300; round++) {
        decide(f);
    }
    assert_false(image_same(f->controller, f->broker));
    f->log.count = 0;
    assert_int_equal(meta_snapshot(f->controller, log_bytes, &f->log), DMQ_OK);
    struct metadata_entry snapshot = entry_of(&f->log, image_version(f->controller), 3);
    assert_int_equal(meta_install(&f->broker, &snapshot, &f->rows, &err), DMQ_OK);
    assert_true(image_same(f->controller, f->broker));
    store(f);
    check_store(f);
}

static void
a_bad_record_leaves_the_entry_undone(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    struct outbuf before = {0};
    struct outbuf after = {0};
    for (int round = 0; round < 100; round++) {
        decide(f);
        push(f);
    }
    for (decide(f); f->log.count < 2; decide(f)) {
        push(f);
    }
    meta_rows_deinit(&f->rows);
    image_dump(f->broker, &before);
    int64_t next = image_version(f->broker) + 1;
    struct bytes last = f->log.views[f->log.count - 1];

    f->log.views[f->log.count - 1] = bytes_of("\x93\x63\x00\x90", 4);
    struct metadata_entry entry = entry_of(&f->log, next, 3);
    assert_int_equal(meta_apply_entry(f->broker, &entry, &f->rows, &err),
                     DMQ_ERR_UNSUPPORTED_VERSION);
    f->log.views[f->log.count - 1] = bytes_of("\x93\x06\x00\x91\xc4\x10"
                                              "0123456789abcdef",
                                              22);
    assert_int_equal(meta_apply_entry(f->broker, &entry, &f->rows, &err), DMQ_ERR_INVALID_REQUEST);
    assert_non_null(strstr(err.text, "is unknown"));
    f->log.views[f->log.count - 1].size = 21;
    assert_int_equal(meta_apply_entry(f->broker, &entry, &f->rows, &err), DMQ_ERR_INVALID_REQUEST);

    assert_int_equal(f->rows.count, 0);
    image_dump(f->broker, &after);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    f->log.views[f->log.count - 1] = last;
    push(f);
    outbuf_deinit(&before);
    outbuf_deinit(&after);
}

static void
only_the_next_version_is_applied(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    struct metadata_entry entry = {.version = 1, .term = 5};
    assert_int_equal(meta_apply_entry(f->broker, &entry, NULL, &err), DMQ_OK);
    assert_int_equal(meta_apply_entry(f->broker, &entry, NULL, &err), DMQ_ERR_STALE_METADATA);
    entry.version = 3;
    assert_int_equal(meta_apply_entry(f->broker, &entry, NULL, &err), DMQ_ERR_STALE_METADATA);
    entry.version = 2;
    entry.term = 4;
    assert_int_equal(meta_apply_entry(f->broker, &entry, NULL, &err), DMQ_ERR_STALE_METADATA);
    assert_string_equal(err.text, "metadata version 2 of term 4 does not follow version 1 of "
                                  "term 5");
    entry.term = 6;
    assert_int_equal(meta_apply_entry(f->broker, &entry, NULL, &err), DMQ_OK);
    assert_int_equal(image_version(f->broker), 2);
    assert_int_equal(image_term(f->broker), 6);
}

static void
a_bad_snapshot_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    struct image *before = f->broker;
    struct outbuf out = {0};
    for (uint8_t i = 0; i < 2; i++) {
        struct topic_record body = {.name = bytes_str("same"), .topic_id = {{i + 1}}};
        outbuf_clear(&out);
        record_encode(RECORD_TOPIC, &body, &out);
        log_bytes(&f->log, bytes_of(out.data, out.size));
    }
    struct metadata_entry snapshot = entry_of(&f->log, 9, 1);
    assert_int_equal(meta_install(&f->broker, &snapshot, &f->rows, &err), DMQ_ERR_INVALID_REQUEST);
    assert_string_equal(err.text, "metadata snapshot: two topics have one name");

    struct topic_removed_record removed = {{{1}}};
    outbuf_clear(&out);
    record_encode(RECORD_TOPIC_REMOVED, &removed, &out);
    f->log.count = 1;
    log_bytes(&f->log, bytes_of(out.data, out.size));
    snapshot = entry_of(&f->log, 9, 1);
    assert_int_equal(meta_install(&f->broker, &snapshot, &f->rows, &err), DMQ_ERR_INVALID_REQUEST);

    snapshot = entry_of(&f->log, -1, 1);
    assert_int_equal(meta_install(&f->broker, &snapshot, &f->rows, &err), DMQ_ERR_INVALID_REQUEST);
    assert_ptr_equal(f->broker, before);
    assert_int_equal(f->rows.count, 0);
    outbuf_deinit(&out);
}

static dmq_err
fail_at_third(void *arg, struct bytes record)
{
    (void)record;
    return ++*(int *)arg == 3 ? DMQ_ERR_IO : DMQ_OK;
}

static void
an_error_of_emit_ends_a_snapshot(void **state)
{
    struct fixture *f = *state;
    int calls = 0;
    for (int round = 0; round < 100; round++) {
        decide(f);
    }
    assert_int_equal(meta_snapshot(f->controller, fail_at_third, &calls), DMQ_ERR_IO);
    assert_int_equal(calls, 3);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(broker_rows_and_snapshots_follow_the_controller),
        TEST(a_snapshot_replaces_image_and_rows),
        TEST(a_bad_record_leaves_the_entry_undone),
        TEST(only_the_next_version_is_applied),
        TEST(a_bad_snapshot_changes_nothing),
        TEST(an_error_of_emit_ends_a_snapshot),
    };
#undef TEST
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
