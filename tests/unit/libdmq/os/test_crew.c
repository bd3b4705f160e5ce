#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/os/crew.h"

enum { MANY = 1000, CALLERS = 3, CALLS = 50 };

struct tally {
    atomic_int times[MANY];
    atomic_int running;
    atomic_int most; /* at once */
};

static void
count_one(void *context, size_t i)
{
    struct tally *tally = context;
    int running = atomic_fetch_add(&tally->running, 1) + 1;
    int most = atomic_load(&tally->most);
    while (running > most && !atomic_compare_exchange_weak(&tally->most, &most, running)) {
    }
    if (i % 100 == 0) {
        usleep(1000);
    }
    atomic_fetch_add(&tally->times[i], 1);
    atomic_fetch_sub(&tally->running, 1);
}

static void
assert_done(struct tally *tally, size_t count, int times)
{
    assert_int_equal(atomic_load(&tally->running), 0); /* it came back after the last */
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(atomic_load(&tally->times[i]), i < count ? times : 0);
    }
}

static void
does_each_once(void **state)
{
    (void)state;
    static struct crew crew = CREW_INIT;
    static const size_t counts[] = {0, 1, 2, 7, CREW_THREADS + 1, MANY, 3};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct tally tally = {0};
        crew_run(&crew, count_one, &tally, counts[i]);
        assert_done(&tally, counts[i], 1);
        assert_in_range(atomic_load(&tally.most), counts[i] > 0, CREW_THREADS + 1);
    }
    assert_in_range(crew.threads, 1, CREW_THREADS);
}

/* One thing is not worth a thread. */
static void
one_is_done_by_the_caller(void **state)
{
    (void)state;
    static struct crew crew = CREW_INIT;
    struct tally tally = {0};
    crew_run(&crew, count_one, &tally, 1);
    assert_done(&tally, 1, 1);
    assert_int_equal(crew.threads, 0);
}

static struct crew shared = CREW_INIT;

static void *
call_often(void *arg)
{
    for (int i = 0; i < CALLS; i++) {
        crew_run(&shared, count_one, arg, 20);
    }
    return NULL;
}

static void
callers_take_turns(void **state)
{
    (void)state;
    pthread_t threads[CALLERS];
    static struct tally tallies[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &tallies[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_done(&tallies[i], 20, CALLS);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_each_once),
        cmocka_unit_test(one_is_done_by_the_caller),
        cmocka_unit_test(callers_take_turns),
    };
    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
