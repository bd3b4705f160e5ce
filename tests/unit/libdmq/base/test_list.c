#include "libdmq/base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static void
assert_holds(struct list *head, const int *values, size_t count)
{
    size_t i = 0;
    LIST_FOREACH (link, head) {
        assert_true(i < count);
        assert_int_equal(LIST_ENTRY(link, struct item, link)->value, values[i]);
        i++;
    }
    assert_int_equal(i, count);
}

static void
keeps_the_order_of_insertion(void **state)
{
    (void)state;
    struct list head;
    struct item items[] = {{.value = 0}, {.value = 1}, {.value = 2}};
    list_init(&head);
    assert_true(list_empty(&head));
    list_append(&head, &items[0].link);
    list_append(&head, &items[2].link);
    list_insert(&items[2].link, &items[1].link);
    assert_holds(&head, (int[]){0, 1, 2}, 3);
    list_remove(&items[1].link);
    assert_false(list_linked(&items[1].link));
    list_remove(&items[1].link); /* again: nothing happens */
    assert_holds(&head, (int[]){0, 2}, 2);
    assert_ptr_equal(list_pop(&head), &items[0].link);
    assert_ptr_equal(list_pop(&head), &items[2].link);
    assert_null(list_pop(&head));
}

static void
moves_whole(void **state)
{
    (void)state;
    struct list from;
    struct list to;
    struct item items[] = {{.value = 0}, {.value = 1}};
    list_init(&from);
    list_take(&to, &from);
    assert_true(list_empty(&to) && list_empty(&from));
    list_append(&from, &items[0].link);
    list_append(&from, &items[1].link);
    list_take(&to, &from);
    assert_true(list_empty(&from));
    assert_holds(&to, (int[]){0, 1}, 2);
    list_remove(&items[0].link);
    assert_holds(&to, (int[]){1}, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_order_of_insertion),
        cmocka_unit_test(moves_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
