/* A store that is not what was written: every damage is an error, none an image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/meta/rows.h"
#include "tests/support/image_dump.h"
#include "tests/support/mem_kv.h"
#include "tests/support/random_record.h"

struct fixture {
    struct mem_kv store;
    struct image *image;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct rng rng;
    struct arena arena;
    struct meta_rows rows = {0};
    assert_non_null(f);
    rng_init(&rng, 21);
    arena_init(&arena, 1 << 20);
    mem_kv_init(&f->store);
    f->image = image_new();
    for (int i = 0; i < 300; i++) {
        struct meta_record record;
        struct err_msg err;
        arena_reset(&arena);
        random_record(&rng, f->image, &arena, &record);
        meta_apply(f->image, &record, &err);
    }
    meta_advance(f->image, 1, 1);
    meta_rows_touch_all(&rows, f->image);
    meta_rows_encode(&rows, f->image);
    f->store.kv.ops->write(&f->store.kv, rows.ops, rows.op_count, true);
    meta_rows_deinit(&rows);
    arena_deinit(&arena);
    assert_true(f->store.count > 30);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    mem_kv_deinit(&f->store);
    image_free(f->image);
    free(f);
    return 0;
}

static dmq_err
load(struct fixture *f, struct err_msg *err)
{
    struct image *loaded = NULL;
    dmq_err result = meta_rows_load(&f->store.kv, &loaded, err);
    assert_true((result == DMQ_OK) == (loaded != NULL));
    assert_int_equal(err->code, result);
    if (loaded != NULL) {
        assert_true(image_same(loaded, f->image) || image_version(loaded) == 0);
    }
    image_free(loaded);
    return result;
}

static struct kv_op
op_of(const struct mem_kv_row *row)
{
    return (struct kv_op){.key = bytes_of(row->key, row->key_size),
                          .value = bytes_of(row->value, row->value_size)};
}

static void
put(struct fixture *f, const char *key, struct bytes value)
{
    struct kv_op op = {.key = bytes_str(key), .value = value};
    assert_int_equal(f->store.kv.ops->write(&f->store.kv, &op, 1, true), DMQ_OK);
}

static void
what_was_written_is_loaded(void **state)
{
    struct err_msg err;
    assert_int_equal(load(*state, &err), DMQ_OK);
}

static void
no_rows_are_an_empty_image(void **state)
{
    struct fixture *f = *state;
    struct mem_kv empty;
    struct image *loaded = NULL;
    struct err_msg err;
    (void)f;
    mem_kv_init(&empty);
    assert_int_equal(meta_rows_load(&empty.kv, &loaded, &err), DMQ_OK);
    assert_int_equal(image_version(loaded), 0);
    assert_int_equal(image_topic_count(loaded), 0);
    image_free(loaded);
    mem_kv_deinit(&empty);
}

static void
a_missing_row_is_damage(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    for (size_t i = 0; i < f->store.count; i++) {
        struct mem_kv_row row = f->store.rows[i];
        struct kv_op gone = op_of(&row);
        gone.remove = true;
        uint8_t key[META_ROW_KEY_SIZE];
        uint8_t value[4096];
        assert_true(row.value_size <= sizeof(value));
        memcpy(key, row.key, row.key_size);
        memcpy(value, row.value, row.value_size);
        f->store.kv.ops->write(&f->store.kv, &gone, 1, true);
        assert_int_equal(load(f, &err), DMQ_ERR_DAMAGED);
        struct kv_op back = {bytes_of(key, row.key_size), bytes_of(value, row.value_size), false};
        f->store.kv.ops->write(&f->store.kv, &back, 1, true);
    }
    assert_int_equal(load(f, &err), DMQ_OK);
}

/* A bit may make the version of a record a newer one; then it says that. And in the row of producer
 * ids the broker's fields say nothing: the image is the same without them. */
static void
a_flipped_bit_is_damage(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    unsigned damaged = 0;
    for (size_t i = 0; i < f->store.count; i++) {
        struct mem_kv_row *row = &f->store.rows[i];
        for (size_t bit = 0; bit < 8 * row->value_size; bit += 3) {
            row->value[bit / 8] ^= (uint8_t)(1u << bit % 8);
            dmq_err result = load(f, &err);
            assert_true(result == DMQ_ERR_DAMAGED || result == DMQ_ERR_UNSUPPORTED_VERSION ||
                        bytes_equal_str(bytes_of(row->key, row->key_size), "meta/ids"));
            damaged += result == DMQ_ERR_DAMAGED;
            row->value[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    printf("damaged=%u\n", damaged);
    assert_true(damaged > 1000);
    assert_int_equal(load(f, &err), DMQ_OK);
}

static void
a_row_under_another_key_is_damage(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    struct mem_kv_row broker = f->store.rows[0];
    put(f, "meta/broker/0000000077", bytes_of(broker.value, broker.value_size));
    assert_int_equal(load(f, &err), DMQ_ERR_DAMAGED);
    assert_string_equal(err.text, "metadata row meta/broker/0000000077: it holds another entity");
}

static void
a_row_of_a_newer_program_is_told(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    put(f, "meta/cluster", bytes_of("\x93\x01\x05\x90", 4));
    assert_int_equal(load(f, &err), DMQ_ERR_UNSUPPORTED_VERSION);
    assert_string_equal(err.text,
                        "metadata row meta/cluster: record of type 1, version 5 is not known: "
                        "this program is older than what wrote it");
}

static void
rows_beside_ours_are_not_touched(void **state)
{
    struct fixture *f = *state;
    struct err_msg err;
    put(f, "mark/1", bytes_str("x"));
    put(f, "metb", bytes_str("x"));
    assert_int_equal(load(f, &err), DMQ_OK);
}

static dmq_err
failing_scan(struct kv *kv, struct bytes prefix,
             dmq_err (*found)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    (void)kv, (void)prefix, (void)found, (void)arg;
    return DMQ_ERR_IO;
}

static void
an_error_of_the_store_is_returned(void **state)
{
    struct err_msg err;
    struct image *loaded = NULL;
    const struct kv_ops ops = {.scan = failing_scan};
    struct kv kv = {&ops};
    (void)state;
    assert_int_equal(meta_rows_load(&kv, &loaded, &err), DMQ_ERR_IO);
    assert_null(loaded);
    assert_string_equal(err.text, "metadata rows: the store could not be read");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_loaded),        TEST(no_rows_are_an_empty_image),
        TEST(a_missing_row_is_damage),           TEST(a_flipped_bit_is_damage),
        TEST(a_row_under_another_key_is_damage), TEST(a_row_of_a_newer_program_is_told),
        TEST(rows_beside_ours_are_not_touched),  TEST(an_error_of_the_store_is_returned),
    };
#undef TEST
    return cmocka_run_group_tests_name("rows_load", tests, NULL, NULL);
}
