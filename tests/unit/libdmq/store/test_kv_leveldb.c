#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/base/buf.h"
#include "libdmq/store/kv_leveldb.h"
#include "tests/support/tempdir.h"

static struct tempdir dir;
static struct kv *kv;
static struct err_msg msg;

static dmq_err
open_store(bool create)
{
    kv = NULL;
    return kv_leveldb_open(tempdir_join(&dir, "kv"), create, &kv, &msg);
}

static void
close_store(void)
{
    kv->ops->close(kv);
    kv = NULL;
}

static int
setup(void **state)
{
    (void)state;
    tempdir_make(&dir);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tempdir_remove(&dir);
    return 0;
}

static struct kv_op
put(const char *key, const char *value)
{
    return (struct kv_op){bytes_str(key), bytes_str(value), false};
}

static struct kv_op
drop(const char *key)
{
    return (struct kv_op){bytes_str(key), {NULL, 0}, true};
}

static dmq_err
note_row(void *arg, struct bytes key, struct bytes value)
{
    struct outbuf *out = arg;
    if (bytes_equal_str(value, "stop")) {
        return DMQ_ERR_CANCELLED;
    }
    outbuf_put(out, key.data, key.size);
    outbuf_put(out, "=", 1);
    outbuf_put(out, value.data, value.size);
    outbuf_put(out, " ", 1);
    return DMQ_OK;
}

static void
assert_rows(const char *prefix, dmq_err expected_err, const char *expected)
{
    struct outbuf out = {0};
    assert_int_equal(kv->ops->scan(kv, bytes_str(prefix), note_row, &out), expected_err);
    outbuf_put(&out, "", 1);
    assert_string_equal((const char *)out.data, expected);
    outbuf_deinit(&out);
}

static void
batches_are_kept_in_order_of_keys(void **state)
{
    (void)state;
    assert_int_equal(open_store(true), DMQ_OK);
    struct kv_op first[] = {put("b2", "x"), put("a1", "1"), put("b1", "y"), put("c", "stop")};
    struct kv_op second[] = {put("b2", "z"), drop("a1"), put("b3", "1"), drop("b3"), drop("none")};
    assert_int_equal(kv->ops->write(kv, first, 4, false), DMQ_OK);
    assert_rows("a", DMQ_OK, "a1=1 ");
    assert_int_equal(kv->ops->write(kv, second, 5, true), DMQ_OK);
    assert_rows("a", DMQ_OK, "");
    assert_rows("b", DMQ_OK, "b1=y b2=z ");
    assert_rows("", DMQ_ERR_CANCELLED, "b1=y b2=z ");
    assert_int_equal(kv->ops->write(kv, NULL, 0, true), DMQ_OK);
    close_store();
    assert_int_equal(open_store(false), DMQ_OK);
    assert_rows("b", DMQ_OK, "b1=y b2=z ");
    close_store();
}

static void
missing_is_damaged_unless_it_is_to_be_made(void **state)
{
    (void)state;
    assert_int_equal(open_store(false), DMQ_ERR_DAMAGED);
    assert_null(kv);
    assert_non_null(strstr(msg.text, dir.path));
    assert_int_equal(open_store(true), DMQ_OK);
    close_store();
}

static void
a_second_opening_is_locked_out(void **state)
{
    (void)state;
    struct kv *second = NULL;
    assert_int_equal(open_store(true), DMQ_OK);
    assert_int_equal(kv_leveldb_open(tempdir_join(&dir, "kv"), true, &second, &msg),
                     DMQ_ERR_LOCKED);
    assert_null(second);
    close_store();
}

/* With paranoid_checks off, LevelDB would drop the rest of its log silently here. */
static void
trap_flipped_bit_in_the_log_is_damage(void **state)
{
    (void)state;
    char value[2000];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(open_store(true), DMQ_OK);
    for (int i = 0; i < 8; i++) {
        char key[8];
        snprintf(key, sizeof(key), "k%d", i);
        struct kv_op op = put(key, value);
        assert_int_equal(kv->ops->write(kv, &op, 1, true), DMQ_OK);
    }
    close_store();
    const char *log = tempdir_join(&dir, "kv/000003.log");
    size_t size;
    uint8_t *data = file_read(log, &size);
    assert_true(size > 8 * sizeof(value));
    data[5000] ^= 1;
    file_write(log, data, size);
    free(data);
    assert_int_equal(open_store(false), DMQ_ERR_DAMAGED);
}

static void
trap_flipped_bit_in_a_table_is_damage(void **state)
{
    (void)state;
    struct outbuf out = {0};
    assert_int_equal(open_store(true), DMQ_OK);
    struct kv_op op = put("key", "a value that is long enough to flip a bit in");
    assert_int_equal(kv->ops->write(kv, &op, 1, true), DMQ_OK);
    close_store();
    assert_int_equal(open_store(false), DMQ_OK); /* writes the log out as a table */
    close_store();
    const char *table = tempdir_join(&dir, "kv/000005.ldb");
    size_t size;
    uint8_t *data = file_read(table, &size);
    data[12] ^= 1;
    file_write(table, data, size);
    free(data);
    dmq_err err = open_store(false);
    if (err == DMQ_OK) {
        err = kv->ops->scan(kv, bytes_str("k"), note_row, &out);
        close_store();
    }
    assert_int_equal(err, DMQ_ERR_DAMAGED);
    assert_int_equal(out.size, 0);
    outbuf_deinit(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(batches_are_kept_in_order_of_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_is_damaged_unless_it_is_to_be_made, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_second_opening_is_locked_out, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_flipped_bit_in_the_log_is_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(trap_flipped_bit_in_a_table_is_damage, setup, teardown),
    };
    return cmocka_run_group_tests_name("kv_leveldb", tests, NULL, NULL);
}
