#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/wire/clone.h"
#include "tests/support/random_msg.h"

union any_msg {
    max_align_t align;
    unsigned char room[1024];
};

/* The copy stays when all that the original was made of is gone. */
static void
a_copy_of_every_message_stands_alone(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (size_t i = 0; i < 20 * message_count(); i++) {
        const struct struct_desc *desc = message_desc(i % message_count());
        struct rng before = rng;
        struct arena arena;
        union any_msg msg;
        arena_init(&arena, 8 << 20);
        random_msg(&rng, desc, &arena, &msg);
        void *copy = msg_clone(desc, &msg);
        assert_non_null(copy);
        arena_deinit(&arena);

        union any_msg again;
        arena_init(&arena, 8 << 20);
        random_msg(&before, desc, &arena, &again);
        assert_true(msg_equal(desc, 0, copy, &again));
        arena_deinit(&arena);
        free(copy);
    }
}

static void
a_change_of_the_original_does_not_show(void **state)
{
    (void)state;
    char name[] = "segment.bytes";
    struct config_entry entry = {bytes_str(name), bytes_str("1")};
    struct topic_record topic = {.name = bytes_str("t"), .config = &entry, .config_count = 1};
    struct topic_record *copy = msg_clone(desc_topic_record(), &topic);
    assert_non_null(copy);
    name[0] = 'x';
    entry.value = bytes_str("2");
    assert_true(bytes_equal_str(copy->config[0].name, "segment.bytes"));
    assert_true(bytes_equal_str(copy->config[0].value, "1"));
    free(copy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_of_every_message_stands_alone),
        cmocka_unit_test(a_change_of_the_original_does_not_show),
    };
    return cmocka_run_group_tests_name("clone", tests, NULL, NULL);
}
