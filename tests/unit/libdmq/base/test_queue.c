#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/base/queue.h"

#define PUSHERS 3
#define PER_PUSHER 20000

static void
items_come_out_in_order(void **state)
{
    (void)state;
    int items[4];
    struct queue *q = queue_new(3); /* rounded up to 4 */
    assert_null(queue_pop(q));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            assert_true(queue_push(q, &items[i]));
        }
        assert_false(queue_push(q, &items[0]));
        for (int i = 0; i < 4; i++) {
            assert_ptr_equal(queue_pop(q), &items[i]);
        }
        assert_null(queue_pop(q));
    }
    queue_free(q);
    queue_free(NULL);
}

struct shared {
    struct queue *queue;
    atomic_int popped;
    atomic_uchar seen[PUSHERS * PER_PUSHER + 1];
};

struct pusher {
    struct shared *shared;
    uintptr_t first;
};

static void *
push_all(void *arg)
{
    struct pusher *p = arg;
    for (uintptr_t i = 0; i < PER_PUSHER; i++) {
        while (!queue_push(p->shared->queue, (void *)(p->first + i))) {
        }
    }
    return NULL;
}

static void *
pop_some(void *arg)
{
    struct shared *s = arg;
    uintptr_t last[PUSHERS] = {0};
    uintptr_t disorder = 0;
    while (atomic_load(&s->popped) < PUSHERS * PER_PUSHER) {
        uintptr_t item = (uintptr_t)queue_pop(s->queue);
        if (item != 0) {
            uintptr_t pusher = (item - 1) / PER_PUSHER;
            disorder += item <= last[pusher];
            last[pusher] = item;
            atomic_fetch_add(&s->seen[item], 1);
            atomic_fetch_add(&s->popped, 1);
        }
    }
    return (void *)disorder;
}

static void
threads_lose_and_double_nothing(void **state)
{
    (void)state;
    static struct shared s;
    pthread_t pushers[PUSHERS], poppers[2];
    struct pusher args[PUSHERS];
    s.queue = queue_new(64);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&poppers[i], NULL, pop_some, &s), 0);
    }
    for (int i = 0; i < PUSHERS; i++) {
        args[i] = (struct pusher){&s, (uintptr_t)i * PER_PUSHER + 1};
        assert_int_equal(pthread_create(&pushers[i], NULL, push_all, &args[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++) {
        pthread_join(pushers[i], NULL);
    }
    for (int i = 0; i < 2; i++) {
        void *disorder;
        pthread_join(poppers[i], &disorder);
        assert_null(disorder); /* each popper sees one pusher's items in their order */
    }
    for (int i = 1; i <= PUSHERS * PER_PUSHER; i++) {
        assert_int_equal(atomic_load(&s.seen[i]), 1);
    }
    queue_free(s.queue);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_order),
        cmocka_unit_test(threads_lose_and_double_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
