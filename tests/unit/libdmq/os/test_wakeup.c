#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libdmq/base/queue.h"
#include "libdmq/os/wakeup.h"

#define ITEMS 50000

static void
signals_until_cleared(void **state)
{
    (void)state;
    struct wakeup w;
    assert_int_equal(wakeup_init(&w), 0);
    assert_false(wakeup_wait(&w, 0));
    wakeup_signal(&w);
    wakeup_signal(&w);
    assert_true(wakeup_wait(&w, 0));
    assert_false(wakeup_wait(&w, 1));
    wakeup_signal(&w);
    wakeup_clear(&w);
    assert_false(wakeup_wait(&w, 0));
    wakeup_clear(&w); /* without a signal */
    wakeup_deinit(&w);
}

struct pair {
    struct queue *queue;
    struct wakeup wakeup;
};

static void *
push(void *arg)
{
    struct pair *p = arg;
    for (uintptr_t i = 1; i <= ITEMS; i++) {
        while (!queue_push(p->queue, (void *)i)) {
        }
        wakeup_signal(&p->wakeup);
    }
    return NULL;
}

/* A lost wakeup would leave the sleeper without its items until the timeout. */
static void
no_wakeup_is_lost(void **state)
{
    (void)state;
    struct pair p = {.queue = queue_new(16)};
    pthread_t thread;
    uintptr_t next = 1;
    assert_int_equal(wakeup_init(&p.wakeup), 0);
    assert_int_equal(pthread_create(&thread, NULL, push, &p), 0);
    while (next <= ITEMS) {
        assert_true(wakeup_wait(&p.wakeup, 10000));
        for (uintptr_t item; (item = (uintptr_t)queue_pop(p.queue)) != 0; next++) {
            assert_int_equal(item, next);
        }
    }
    pthread_join(thread, NULL);
    wakeup_deinit(&p.wakeup);
    queue_free(p.queue);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_until_cleared),
        cmocka_unit_test(no_wakeup_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
