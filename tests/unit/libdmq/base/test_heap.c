#include "libdmq/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/rng.h"

#define NODES 500

static void
check_order(const struct heap *heap)
{
    for (size_t i = 1; i < heap->count; i++) {
        assert_true(heap->nodes[(i - 1) / 2]->key <= heap->nodes[i]->key);
        assert_int_equal(heap->nodes[i]->place, i + 1);
    }
}

/* Pushes and removals at random: the minimum is right and every node knows its place. */
static void
leaves_in_order_of_keys(void **state)
{
    (void)state;
    struct rng rng;
    struct heap heap = {0};
    struct heap_node nodes[NODES] = {0};
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        struct heap_node *node = &nodes[rng_below(&rng, NODES)];
        if (node->place == 0) {
            assert_true(heap_push(&heap, node, rng_range(&rng, -50, 50)));
        } else {
            heap_remove(&heap, node);
            assert_int_equal(node->place, 0);
        }
        check_order(&heap);
    }
    int64_t last = INT64_MIN;
    while (heap_min(&heap) != NULL) {
        struct heap_node *node = heap_min(&heap);
        assert_true(node->key >= last);
        last = node->key;
        heap_remove(&heap, node);
    }
    heap_deinit(&heap);
}

static void
a_node_that_is_in_no_heap_is_left_alone(void **state)
{
    (void)state;
    struct heap heap = {0};
    struct heap_node in = {0};
    struct heap_node out = {0};
    assert_null(heap_min(&heap));
    assert_true(heap_push(&heap, &in, 1));
    heap_remove(&heap, &out);
    assert_ptr_equal(heap_min(&heap), &in);
    heap_remove(&heap, &in);
    heap_remove(&heap, &in);
    assert_null(heap_min(&heap));
    heap_deinit(&heap);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_in_order_of_keys),
        cmocka_unit_test(a_node_that_is_in_no_heap_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
