/* Random changes, taken back: the image is the one before, to the last byte and in its digest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/meta/image.h"
#include "tests/support/image_dump.h"
#include "tests/support/random_record.h"

struct fixture {
    struct rng rng;
    struct arena arena;
    unsigned applied;
    unsigned refused;
};

/* Applies up to so many random records; to the twin too, if there is one. */
static void
change(struct fixture *f, struct image *image, struct image *twin, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct meta_record record;
        struct err_msg err;
        struct err_msg twin_err;
        arena_reset(&f->arena);
        random_record(&f->rng, image, &f->arena, &record);
        dmq_err result = meta_apply(image, &record, &err);
        if (result == DMQ_OK) {
            f->applied++;
        } else {
            f->refused++;
        }
        if (twin != NULL) {
            assert_int_equal(meta_apply(twin, &record, &twin_err), result);
        }
    }
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    rng_init(&f->rng, 99);
    arena_init(&f->arena, 1 << 20);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    printf("applied=%u refused=%u\n", f->applied, f->refused);
    assert_true(f->applied > 500 && f->refused > 100);
    arena_deinit(&f->arena);
    free(f);
    return 0;
}

static void
rollback_leads_back(void **state)
{
    struct fixture *f = *state;
    struct image *image = image_new();
    struct outbuf before = {0};
    struct outbuf after = {0};
    for (int round = 0; round < 300; round++) {
        change(f, image, NULL, 5);
        image_dump(image, &before);
        meta_undo_begin(image);
        change(f, image, NULL, 1 + (unsigned)rng_below(&f->rng, 30));
        if (rng_chance(&f->rng, 500)) {
            meta_advance(image, image_version(image) + 1, image_term(image) + 1);
        }
        meta_undo_rollback(image);
        assert_false(meta_undo_active(image));
        image_dump(image, &after);
        assert_int_equal(before.size, after.size);
        assert_memory_equal(before.data, after.data, before.size);
    }
    outbuf_deinit(&before);
    outbuf_deinit(&after);
    image_free(image);
}

/* Requests are decided one after another; one that fails takes back only its own records. */
static void
rollback_to_a_mark_keeps_what_was_before_it(void **state)
{
    struct fixture *f = *state;
    struct image *image = image_new();
    struct image *twin = image_new();
    for (int round = 0; round < 100; round++) {
        meta_undo_begin(image);
        for (int request = 0; request < 4; request++) {
            bool fails = rng_chance(&f->rng, 400);
            size_t mark = meta_undo_mark(image);
            change(f, image, fails ? NULL : twin, 6);
            if (fails) {
                meta_undo_rollback_to(image, mark);
            }
            assert_true(image_same(image, twin));
        }
        meta_advance(image, round + 1, 1);
        meta_undo_commit(image);
        meta_advance(twin, round + 1, 1);
        assert_true(image_same(image, twin));
    }
    image_free(image);
    image_free(twin);
}

static void
an_image_can_go_in_the_middle_of_a_decision(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 50; round++) {
        struct image *image = image_new();
        change(f, image, NULL, 30);
        meta_undo_begin(image);
        change(f, image, NULL, 30);
        image_free(image);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rollback_leads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(rollback_to_a_mark_keeps_what_was_before_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_image_can_go_in_the_middle_of_a_decision, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("image_undo", tests, NULL, NULL);
}
