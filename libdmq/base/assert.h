/* DMQ_ASSERT is on in release: it marks our own bugs, never bad input and never a failed system
 * call. DMQ_DEBUG_ASSERT is for checks whose cost would show. */
#ifndef DMQ_BASE_ASSERT_H
#define DMQ_BASE_ASSERT_H

_Noreturn void dmq_assert_failed(const char *expr, const char *file, int line);

#ifdef DMQ_NO_ASSERT /* only to see what the simulator catches without them (run_mutants.py) */
#define DMQ_ASSERT(expr)                                                                           \
    do {                                                                                           \
        (void)sizeof(expr);                                                                        \
    } while (0)
#else
#define DMQ_ASSERT(expr)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(expr), 0)) {                                                        \
            dmq_assert_failed(#expr, __FILE__, __LINE__);                                          \
        }                                                                                          \
    } while (0)
#endif

#define DMQ_UNREACHABLE() dmq_assert_failed("unreachable", __FILE__, __LINE__)

#ifdef DMQ_DEBUG
#define DMQ_DEBUG_ASSERT(expr) DMQ_ASSERT(expr)
#else
#define DMQ_DEBUG_ASSERT(expr)                                                                     \
    do {                                                                                           \
        (void)sizeof(expr);                                                                        \
    } while (0)
#endif

#endif
