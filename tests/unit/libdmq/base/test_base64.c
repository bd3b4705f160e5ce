#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/base64.h"
#include "libdmq/base/rng.h"

static void
check(const char *data, const char *text)
{
    char made[16] = "";
    uint8_t back[16];
    size_t size = 99;
    assert_int_equal(base64_text_size(strlen(data)), strlen(text));
    base64_encode(bytes_str(data), made);
    assert_string_equal(made, text);
    assert_true(base64_decode(bytes_str(text), back, &size));
    assert_true(bytes_equal(bytes_of(back, size), bytes_str(data)));
}

/* RFC 4648, section 10. */
static void
test_vectors_of_the_rfc(void **state)
{
    (void)state;
    check("", "");
    check("f", "Zg==");
    check("fo", "Zm8=");
    check("foo", "Zm9v");
    check("foob", "Zm9vYg==");
    check("fooba", "Zm9vYmE=");
    check("foobar", "Zm9vYmFy");
}

static void
what_is_not_base64_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",    "Zg=a",   "Z===",     "====",
                                      "=",    "Zh==", "Zm9=",   "Zm9v=",  "Zg==Zg==", "Zm-v",
                                      "Zm_v", "Zm v", "\nZm9v", "Zm9\xff"};
    uint8_t data[16];
    size_t size;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(base64_decode(bytes_str(bad[i]), data, &size));
    }
}

static void
random_bytes_round_trip(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 2000; i++) {
        uint8_t data[64];
        uint8_t back[64];
        char text[96];
        size_t size = (size_t)rng_below(&rng, sizeof(data));
        size_t back_size;
        for (size_t k = 0; k < size; k++) {
            data[k] = (uint8_t)rng_next(&rng);
        }
        base64_encode(bytes_of(data, size), text);
        struct bytes made = bytes_of(text, base64_text_size(size));
        assert_true(base64_data_max(made.size) >= size);
        assert_true(base64_decode(made, back, &back_size));
        assert_true(bytes_equal(bytes_of(back, back_size), bytes_of(data, size)));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_of_the_rfc),
        cmocka_unit_test(what_is_not_base64_is_refused),
        cmocka_unit_test(random_bytes_round_trip),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
