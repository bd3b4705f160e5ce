/* The simulator's store: the same as LevelDB, which one random script runs on as well, and its
 * crashes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/buf.h"
#include "libdmq/base/rng.h"
#include "libdmq/store/kv_leveldb.h"
#include "tests/sim/simkv.h"
#include "tests/support/tempdir.h"

static struct kv_op
put(const char *key, const char *value)
{
    return (struct kv_op){bytes_str(key), bytes_str(value), false};
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
assert_rows(struct simkv *store, const char *expected)
{
    struct outbuf out = {0};
    struct kv *kv = simkv_open(store);
    assert_int_equal(kv->ops->scan(kv, bytes_str(""), note_row, &out), DMQ_OK);
    outbuf_put(&out, "", 1);
    assert_string_equal((const char *)out.data, expected);
    outbuf_deinit(&out);
    kv->ops->close(kv);
}

/* ---- the same as LevelDB --------------------------------------------------------------------- */

#define KEY_BYTES 4

/* A batch of random puts and removes over a small set of keys, so that they meet. */
static void
random_batch(struct rng *rng, struct kv *first, struct kv *second)
{
    struct kv_op ops[8];
    uint8_t keys[8][KEY_BYTES];
    uint8_t values[8][64];
    size_t count = (size_t)rng_below(rng, 8);
    bool sync = rng_chance(rng, 100);
    for (size_t i = 0; i < count; i++) {
        size_t key_size = 1 + (size_t)rng_below(rng, KEY_BYTES);
        size_t value_size = (size_t)rng_below(rng, 64);
        for (size_t k = 0; k < KEY_BYTES; k++) {
            keys[i][k] = (uint8_t)(rng_below(rng, 3) * 127); /* bytes above 127 order as unsigned */
        }
        memset(values[i], (int)rng_below(rng, 256), sizeof(values[i]));
        ops[i] = (struct kv_op){bytes_of(keys[i], key_size), bytes_of(values[i], value_size),
                                rng_chance(rng, 300)};
    }
    assert_int_equal(first->ops->write(first, ops, count, sync), DMQ_OK);
    assert_int_equal(second->ops->write(second, ops, count, sync), DMQ_OK);
}

static void
compare_scans(struct kv *first, struct kv *second, struct bytes prefix)
{
    struct outbuf one = {0};
    struct outbuf two = {0};
    assert_int_equal(first->ops->scan(first, prefix, note_row, &one), DMQ_OK);
    assert_int_equal(second->ops->scan(second, prefix, note_row, &two), DMQ_OK);
    assert_true(bytes_equal(bytes_of(one.data, one.size), bytes_of(two.data, two.size)));
    outbuf_deinit(&one);
    outbuf_deinit(&two);
}

static void
does_what_leveldb_does(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct tempdir dir;
        struct err_msg msg;
        struct rng rng;
        struct kv *real;
        struct simkv *store = simkv_new();
        rng_init(&rng, seed);
        tempdir_make(&dir);
        assert_int_equal(kv_leveldb_open(tempdir_join(&dir, "kv"), true, &real, &msg), DMQ_OK);
        struct kv *model = simkv_open(store);
        for (int i = 0; i < 200; i++) {
            uint8_t prefix[2] = {(uint8_t)(rng_below(&rng, 3) * 127),
                                 (uint8_t)(rng_below(&rng, 3) * 127)};
            random_batch(&rng, real, model);
            compare_scans(real, model, bytes_of(prefix, (size_t)rng_below(&rng, 3)));
            if (rng_chance(&rng, 50)) {
                real->ops->close(real);
                model->ops->close(model);
                assert_int_equal(kv_leveldb_open(tempdir_join(&dir, "kv"), false, &real, &msg),
                                 DMQ_OK);
                model = simkv_open(store);
            }
        }
        compare_scans(real, model, bytes_str(""));
        real->ops->close(real);
        model->ops->close(model);
        simkv_free(store);
        tempdir_remove(&dir);
    }
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void
a_crash_keeps_a_first_part_with_every_synced_batch(void **state)
{
    (void)state;
    bool seen[4] = {false};
    for (uint64_t seed = 0; seed < 100; seed++) {
        static const char *const outcomes[4] = {"a=1 ", "a=1 b=2 c=2 ", "a=3 b=2 c=2 ",
                                                "a=3 b=2 c=4 "};
        struct simkv *store = simkv_new();
        struct kv *kv = simkv_open(store);
        struct kv_op ops[] = {put("a", "1"), put("b", "2"), put("c", "2"), put("a", "3"),
                              put("c", "4")};
        assert_int_equal(kv->ops->write(kv, &ops[0], 1, true), DMQ_OK);
        assert_int_equal(kv->ops->write(kv, &ops[1], 2, false), DMQ_OK); /* both or none */
        assert_int_equal(kv->ops->write(kv, &ops[3], 1, false), DMQ_OK);
        assert_int_equal(kv->ops->write(kv, &ops[4], 1, false), DMQ_OK);
        simkv_crash(store, seed);
        size_t rows = simkv_rows(store);
        size_t outcome = 4;
        struct outbuf out = {0};
        kv = simkv_open(store);
        assert_int_equal(kv->ops->scan(kv, bytes_str(""), note_row, &out), DMQ_OK);
        kv->ops->close(kv);
        for (size_t i = 0; i < 4; i++) {
            outcome = bytes_equal_str(bytes_of(out.data, out.size), outcomes[i]) ? i : outcome;
        }
        assert_true(outcome < 4);
        assert_int_equal(rows, outcome == 0 ? 1 : 3);
        seen[outcome] = true;
        outbuf_deinit(&out);
        simkv_free(store);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

static void
a_later_sync_covers_what_came_before(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct simkv *store = simkv_new();
        struct kv *kv = simkv_open(store);
        struct kv_op ops[] = {put("a", "1"), put("b", "2")};
        assert_int_equal(kv->ops->write(kv, &ops[0], 1, false), DMQ_OK);
        assert_int_equal(kv->ops->write(kv, &ops[1], 1, true), DMQ_OK);
        struct simkv *clone = simkv_clone(store);
        simkv_crash(store, seed);
        assert_rows(store, "a=1 b=2 ");
        simkv_crash(clone, seed);
        assert_int_equal(simkv_digest(clone), simkv_digest(store));
        simkv_free(clone);
        simkv_free(store);
    }
}

static void
a_synced_tail_is_dropped_when_asked(void **state)
{
    (void)state;
    struct simkv *store = simkv_new();
    struct kv *kv = simkv_open(store);
    for (int i = 0; i < 500; i++) { /* so that the oldest are folded */
        char key[16];
        snprintf(key, sizeof(key), "%03d", i);
        struct kv_op op = put(key, "v");
        assert_int_equal(kv->ops->write(kv, &op, 1, true), DMQ_OK);
    }
    assert_int_equal(simkv_rows(store), 500);
    simkv_drop_tail(store, 3);
    assert_int_equal(simkv_rows(store), 497);
    simkv_crash(store, 1);
    assert_int_equal(simkv_rows(store), 497);
    assert_int_equal(simkv_counts(store)->synced_batches_dropped, 3);
    simkv_free(store);
}

static void
it_dies_after_so_many_writes(void **state)
{
    (void)state;
    struct simkv *store = simkv_new();
    struct kv *kv = simkv_open(store);
    struct outbuf out = {0};
    struct kv_op ops[] = {put("a", "1"), put("b", "2")};
    simkv_die_after(store, 1);
    assert_int_equal(kv->ops->write(kv, &ops[0], 1, true), DMQ_OK);
    assert_int_equal(kv->ops->write(kv, &ops[1], 1, true), DMQ_ERR_IO);
    assert_int_equal(kv->ops->scan(kv, bytes_str(""), note_row, &out), DMQ_ERR_IO);
    simkv_crash(store, 1);
    assert_rows(store, "a=1 ");
    simkv_free(store);
}

static void
a_walk_ends_where_it_is_told(void **state)
{
    (void)state;
    struct simkv *store = simkv_new();
    struct kv *kv = simkv_open(store);
    struct outbuf out = {0};
    struct kv_op ops[] = {put("a", "1"), put("b", "stop"), put("c", "3")};
    assert_int_equal(kv->ops->write(kv, ops, 3, true), DMQ_OK);
    assert_int_equal(kv->ops->scan(kv, bytes_str(""), note_row, &out), DMQ_ERR_CANCELLED);
    assert_true(bytes_equal_str(bytes_of(out.data, out.size), "a=1 "));
    outbuf_deinit(&out);
    simkv_free(store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_what_leveldb_does),
        cmocka_unit_test(a_crash_keeps_a_first_part_with_every_synced_batch),
        cmocka_unit_test(a_later_sync_covers_what_came_before),
        cmocka_unit_test(a_synced_tail_is_dropped_when_asked),
        cmocka_unit_test(it_dies_after_so_many_writes),
        cmocka_unit_test(a_walk_ends_where_it_is_told),
    };
    return cmocka_run_group_tests_name("simkv", tests, NULL, NULL);
}
